"""The picture of a training: where its points stand, that it is readable, and that no values can break it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.cli import main as cli
from tallystick.client.learning_curve import HEIGHT, MAX_MEASURE, MAX_ROUNDS, WIDTH, curves, draw
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.result import ResultFile
from typer.testing import CliRunner
from unit.protocol.world import PARTIES, make

SVG = "{http://www.w3.org/2000/svg}"


def values(rounds: int = 4, kept: int | None = None, **measures: Any) -> dict[str, Any]:
    history = [
        {
            "round": number,
            "loss": str(1 / (number + 2)),
            "validation": {"loss": str(1 / (number + 1)), "accuracy": str(1 - 0.5 / (number + 1)), **measures},
        }
        for number in range(rounds)
    ]
    said = {"loss": str(1 / (rounds + 1)), "accuracy": str(1 - 0.5 / (rounds + 1)), **measures}
    return {"history": history, "rounds": rounds if kept is None else kept, "validation": said}


def texts(picture: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(picture).iter(f"{SVG}text")]


def test_a_measure_stands_where_it_was_true() -> None:
    found = {each.name: each.points for each in curves(values())}
    assert list(found) == ["training loss", "loss", "accuracy"]
    assert found["training loss"] == ((1, 1 / 2), (2, 1 / 3), (3, 1 / 4), (4, 1 / 5))
    assert [x for x, _ in found["loss"]] == [0, 1, 2, 3, 4]
    assert found["accuracy"][-1] == (4, 0.9)


def test_the_picture_has_axes_a_legend_and_both_grounds() -> None:
    picture = draw(values(), "Learning curves")
    said = texts(picture)
    assert {"Learning curves", "training loss 0.2", "held-out loss 0.2", "accuracy 0.9"} <= set(said)
    assert "rounds of training; dashed line: the model that was kept, after 4" in said
    assert {"0.0", "1.0", "0", "4"} <= set(said)
    assert "prefers-color-scheme:dark" in picture and picture.count('class="line"') == 2 * 3


def test_without_held_out_rows_there_is_one_wide_panel() -> None:
    plain = values()
    plain["validation"] = {}
    for each in plain["history"]:
        each["validation"] = {}
    assert [each.name for each in curves(plain)] == ["training loss"]
    right = max(float(x) for x in re.findall(r'class="axis" d="M[0-9.]+ \d+H([0-9.]+)"', draw(plain, "t")))
    assert right == WIDTH - 20


def test_the_model_that_was_kept_may_be_an_earlier_one() -> None:
    early = values(kept=2)
    early["validation"] = early["history"][2]["validation"]
    assert [x for x, _ in curves(early)[1].points] == [0, 1, 2, 3]
    assert "the model that was kept, after 2" in draw(early, "t")


NUMBERS = st.floats(-MAX_MEASURE, MAX_MEASURE)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=50))
def test_any_finite_numbers_make_a_picture_that_keeps_its_edges(pairs: list[tuple[float, float]]) -> None:
    history = [{"round": n, "loss": repr(a), "validation": {"r2": repr(b)}} for n, (a, b) in enumerate(pairs)]
    picture = draw({"history": history, "rounds": len(pairs), "validation": {}}, "t")
    for x, y in re.findall(r"[ML](-?[0-9.]+) (-?[0-9.]+)", picture):
        assert 0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT
    assert not any("nan" in said or "inf" in said for said in texts(picture))


@pytest.mark.parametrize(
    "broken",
    [
        {"mean": "3.5"}, {"history": []}, {"history": [7]}, {"history": [{"round": -1, "loss": None, "validation": {}}]},
        {"history": [{"round": 0, "loss": None, "validation": {}}]}, {"history": [{"round": 0, "loss": "nan", "validation": {}}]},
        {"history": [{"round": 0, "loss": "1e13", "validation": {}}]}, {"history": [{"round": 0, "loss": 1, "validation": {}}]},
        {"history": [{"round": 0, "loss": None, "validation": {"<b>": "1"}}]}, {"history": [{"round": 0, "loss": "1"}]},
        {"history": [{"round": 0, "loss": None, "validation": dict.fromkeys("abcde", "1")}]},
        {"history": [{"round": MAX_ROUNDS + 1, "loss": "1", "validation": {}}]},
    ],
)  # fmt: skip
def test_other_values_have_no_curve(broken: dict[str, Any]) -> None:
    with pytest.raises(MalformedDocument):
        draw({"rounds": 1, "validation": {}, **broken}, "t")


def test_the_command_draws_into_a_new_file(tmp_path: Path) -> None:
    file = ResultFile.parse(make().results[PARTIES[2]])
    source, out = tmp_path / "result.json", tmp_path / "curve.svg"
    source.write_bytes(ResultFile(**{**vars(file), "values": values()}).to_bytes())
    done = CliRunner().invoke(cli.app, ["--json", "result", "curve", str(source), "--out", str(out)])
    assert done.exit_code == 0 and json.loads(done.stdout)["picture"] == str(out)
    assert f"Learning curves of task {file.task[:10]}…" in texts(out.read_text())
    source.write_bytes(ResultFile(**vars(file)).to_bytes())
    done = CliRunner().invoke(cli.app, ["--json", "result", "curve", str(source), "--out", str(tmp_path / "other.svg")])
    assert done.exit_code == 11 and "no history" in done.stderr
