"""What is measured of the files that an enclave loads."""

from __future__ import annotations

from pathlib import Path

import pytest
from tallystick_node.engines.tee.manifest import files_digest

# Maps two libraries as the dynamic linker does; the kernel puts the later one where it likes, here below the earlier one.
HOLDER = """
import mmap, os
here = os.path.dirname(__file__)
held = []
for name in open(os.path.join(here, "order")).read().split():
    with open(os.path.join(here, name, "_same.so"), "rb") as file:
        held.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "holder.py").write_text(HOLDER)
    (tmp_path / "order").write_text("one two")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "_same.so").write_bytes(name.encode() * 4096)
    return tmp_path


def digest(place: Path) -> bytes:
    return files_digest(["holder"], [str(place)])


def test_libraries_of_one_file_name_count_each_in_whatever_order_they_are_mapped(place: Path) -> None:
    before = digest(place)
    (place / "order").write_text("two one")
    assert digest(place) == before
    one, two = (place / name / "_same.so" for name in ("one", "two"))
    first, second = one.read_bytes(), two.read_bytes()
    for path, content in ((one, first), (two, second)):
        path.write_bytes(content[:-1] + b"?")
        assert digest(place) != before
        path.write_bytes(content)
    assert digest(place) == before
    one.write_bytes(second)
    two.write_bytes(first)
    assert digest(place) != before


def test_one_byte_of_a_module_and_another_library_are_measured(place: Path) -> None:
    before = digest(place)
    (place / "holder.py").write_text(HOLDER + "\n")
    changed = digest(place)
    (place / "order").write_text("one")
    assert len({before, changed, digest(place)}) == 3
