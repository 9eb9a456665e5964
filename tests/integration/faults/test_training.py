"""An owner's node dies in the middle of a training: the next attempt goes on from the rounds that all parties kept."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.faults.test_faults import failures, settled
from integration.processes import number, until
from integration.story.conftest import PURPOSE, Story
from integration.story.test_training import COLUMNS, parameters
from tallystick.protocol.task import PROJECTION_VERIFIED
from tallystick.testing.network import Institution, Network

ROUNDS = 40


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Network(tmp_path_factory.mktemp("lost"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Story(network)


def kept(who: Institution, attempt: int) -> list[int]:
    """The rounds whose checkpoints an institution keeps of an attempt."""
    return [int(path.name.split("-")[0]) for path in who.folder.glob(f"**/runs/*-{attempt}/checkpoints/*-*")]


def test_a_killed_owner_comes_back_and_the_training_goes_on(story: Story, tmp_path: Path) -> None:
    """Birch dies by SIGKILL, whichever part it has in that round."""
    grants = story.grants(algorithms=["training"], columns=COLUMNS)
    asked = parameters()
    asked["schedule"] |= {"rounds": ROUNDS, "rate": "0.05"}
    columns = dict.fromkeys(grants, COLUMNS)
    spec = story.alder.draft(
        "training", asked, grants, columns, proof=PROJECTION_VERIFIED, receivers=[story.alder.account], purpose=PURPOSE,
        corruptions=2, attempts=3, run_seconds=120,
    )  # fmt: skip
    task = story.alder.submit(spec, grants.values())
    birch = story.hospitals[1]
    until(lambda: max(kept(birch, 1), default=0) >= 3)
    story.network.halt(birch, by=signal.SIGKILL)
    before = kept(birch, 1)
    assert max(before) < ROUNDS
    story.network.launch(birch, link_seconds=10)
    assert number(birch)
    assert settled(story, task, 180) == "Proved"
    assert failures(story, task)
    assert not kept(birch, 1)  # moved on with the attempt
    paths = story.patiently(lambda: story.alder.result(task, tmp_path / "result"))
    card = json.loads(next(path for path in paths if path.name == "result.json").read_bytes())["values"]
    assert [each["round"] for each in card["history"]] == list(range(ROUNDS))
    log = "".join(path.read_text(errors="replace") for path in birch.folder.rglob("*.log"))
    assert "Traceback" not in log
