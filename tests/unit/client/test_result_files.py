"""From a file back to the result file that names it; a file of other bytes is refused by name of the rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from tallystick.client.result_files import beside, source_of, task_in
from tallystick.protocol import canonical
from tallystick.protocol.errors import NotFound, VerificationFailed
from tallystick.protocol.result import ResultFile, file_digest
from unit.protocol.world import PARTIES, make

TASK = "0x" + "5c" * 32
MODEL = save({"weight": np.ones(3)}, metadata={"header": json.dumps({"task": TASK})})


def result(task: str = TASK, model: bytes = MODEL) -> bytes:
    file = ResultFile.parse(make().results[PARTIES[2]])
    values = {**vars(file), "task": task, "files": {"model.safetensors": file_digest(model)}}
    return ResultFile(**values).to_bytes()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "result.json").write_bytes(result())
    (tmp_path / "model.safetensors").write_bytes(MODEL)
    return tmp_path / "model.safetensors"


def test_a_model_and_its_result_file_lead_to_the_result_file(model: Path) -> None:
    found = model.with_name("result.json")
    assert source_of(model) == source_of(found) == result()
    assert beside(found, result()) == {"model.safetensors": file_digest(MODEL)}
    renamed = model.rename(model.with_name("best.safetensors"))
    assert source_of(renamed) == result() and beside(found, result()) == {}


@pytest.mark.parametrize("name", ["model.safetensors", "best.safetensors"])
@pytest.mark.parametrize("place", [len(MODEL) - 1, MODEL.index(b"weight")])
def test_one_flipped_bit_is_refused_under_any_name(model: Path, name: str, place: int) -> None:
    content = bytearray(MODEL)
    content[place] ^= 1
    changed = model.rename(model.with_name(name))
    changed.write_bytes(content)
    with pytest.raises(VerificationFailed, match="rule 18.*was changed") as caught:
        source_of(changed)
    assert (caught.value.rule, caught.value.party) == (18, PARTIES[2])


def test_another_place_may_hold_the_result_file(model: Path, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(result(canonical.hex32(bytes(32)), b"another"))
    assert source_of(model, [b"no result", result()]) == result()
    with pytest.raises(VerificationFailed):
        source_of(model)


def test_what_a_file_says_of_itself_is_only_a_hint(model: Path) -> None:
    model.with_name("result.json").unlink()
    with pytest.raises(NotFound, match="which shows nothing") as caught:
        source_of(model)
    assert TASK in caught.value.remedy
    model.write_bytes(b"other bytes")
    with pytest.raises(NotFound, match="no result file names"):
        source_of(model)
    with pytest.raises(NotFound, match="cannot be read"):
        source_of(model.with_name("missing"))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff" * 64, (1 << 62).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}", (4000).to_bytes(8, "little") + b"[" * 4000,
        save({"a": np.ones(1)}, metadata={"header": '{"task": 7}'}),
        save({"a": np.ones(1)}, metadata={"header": '{"task": "0x1"}'}),
    ],
)  # fmt: skip
def test_strange_headers_name_no_task(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert task_in(path) is None
