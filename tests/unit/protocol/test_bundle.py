"""Bundles: both forms carry the same, and hostile archives and directories are refused."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tallystick.protocol import bundle as bundles
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import MalformedDocument
from unit.protocol.world import World


@pytest.fixture
def bundle(world: World) -> Bundle:
    return replace(world.bundle(), results={"result.json": b"{}"})


@pytest.mark.parametrize("name", ["bundle.zip", "bundle"])
def test_round_trip(name: str, bundle: Bundle, tmp_path: Path) -> None:
    bundle.write(tmp_path / name)
    assert Bundle.read(tmp_path / name) == bundle


def test_equal_bundles_are_equal_archives(bundle: Bundle) -> None:
    assert bundle.to_zip() == Bundle.of_zip(bundle.to_zip()).to_zip()


def archive(bundle: Bundle, *extra: tuple[str, bytes], without: str = "", method: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as made:
        for name, data in [*bundle.files().items(), *extra]:
            if name != without:
                made.writestr(zipfile.ZipInfo(name), data, method)
    return sink.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/passwd", "terms/../../evil.json", "terms/a/b.json", "terms/.json", "result/..", "result/.hidden",
        "unknown.txt", "C:\\x", "certificates/x.pem.exe", "terms/", "spec.json\n", "result/" + "x" * 200,
    ],
)  # fmt: skip
def test_names_outside_the_list_are_refused(name: str, bundle: Bundle) -> None:
    if name == "terms/":
        assert Bundle.of_zip(archive(bundle, (name, b""))) == bundle
        return
    with pytest.raises(MalformedDocument):
        Bundle.of_zip(archive(bundle, (name, b"x")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(bundle: Bundle) -> None:
    with pytest.raises(MalformedDocument, match="twice"):
        Bundle.of_zip(archive(bundle, ("spec.json", b"{}")))


def test_a_missing_file_is_named(bundle: Bundle) -> None:
    with pytest.raises(MalformedDocument, match=r"proof\.bin"):
        Bundle.of_zip(archive(bundle, without="proof.bin"))


def test_bombs_stop_at_the_bound(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_FILE", 1 << 16)
    bomb = archive(bundle, ("result/bomb", bytes(1 << 22)), method=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 17
    with pytest.raises(MalformedDocument, match="larger"):
        Bundle.of_zip(bomb)


def test_the_sum_of_files_is_bounded(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_TOTAL", 1 << 14)
    with pytest.raises(MalformedDocument):
        Bundle.of_zip(archive(bundle, ("result/a", bytes(9000)), ("result/b", bytes(9000))))


def test_an_archive_that_lies_about_sizes(bundle: Bundle) -> None:
    data = archive(bundle, ("result/lie", b"L" * 5000))
    at = data.rindex((5000).to_bytes(4, "little") * 2)
    for wrong in (data[:at] + (10).to_bytes(4, "little") * 2 + data[at + 8 :], data[: len(data) // 2], data[:-30]):
        with pytest.raises(MalformedDocument):
            Bundle.of_zip(wrong)


def test_other_compression_and_too_many_files(bundle: Bundle) -> None:
    with pytest.raises(MalformedDocument, match="deflated"):
        Bundle.of_zip(archive(bundle, method=zipfile.ZIP_LZMA))
    with pytest.raises(MalformedDocument, match="512"):
        Bundle.of_zip(archive(bundle, *((f"result/{i}", b"") for i in range(520))))


def test_directories_with_links_or_strangers(bundle: Bundle, tmp_path: Path) -> None:
    bundle.write(tmp_path / "linked")
    (tmp_path / "linked/result/link").symlink_to("/etc/hostname")
    with pytest.raises(MalformedDocument, match="link"):
        Bundle.read(tmp_path / "linked")
    bundle.write(tmp_path / "strange")
    (tmp_path / "strange/notes.txt").write_text("x")
    with pytest.raises(MalformedDocument, match="notes"):
        Bundle.read(tmp_path / "strange")


def test_a_directory_that_exists_is_not_written_into(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        bundle.write(tmp_path)
