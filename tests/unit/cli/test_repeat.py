"""`tally task repeat`: lengths of time, and drafts that are none."""

from __future__ import annotations

import pytest
from tallystick.cli import main as cli
from tallystick.cli.task import _seconds
from tallystick.protocol.errors import MalformedDocument
from typer.testing import CliRunner
from unit.protocol.world import make


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("90m", 5400), ("12h", 43_200), ("7d", 604_800)])
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "0d", "7 d", "1.5h", "7w", "9999999999s"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(MalformedDocument, match="no length of time"):
        _seconds(text)


def test_the_command_names_what_is_wrong(tmp_path) -> None:
    spec = tmp_path / "task.json"
    spec.write_bytes(make().spec.to_bytes())
    asked = ["task", "repeat", str(spec), "--grant", str(spec), "--folder", str(tmp_path / "kept")]
    for wrong, words in (
        (["--every", "7w", "--times", "2"], "no length of time"),
        (["--every", "1d", "--times", "2"], "grant file"),
    ):
        done = CliRunner().invoke(cli.app, [*asked, *wrong])
        assert done.exit_code and words in f"{done.output} {done.exception}"
    assert not (tmp_path / "kept").exists()
