"""Statistics that are asked for again and again: each an ordinary task, none twice, until an owner's grant is used up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from integration.story.conftest import Story
from tallystick.client import follow
from tallystick.client.recurring import SCHEDULE, Recurrence, repeat
from tallystick.protocol.errors import Configuration, TallystickError
from tallystick.protocol.task import TaskSpec, proposal_of

pytestmark = pytest.mark.slow


class Stopped(Exception):
    """The requester's machine stops."""


def test_occurrences_go_on_after_a_stop_and_end_with_the_grant(story: Story, tmp_path: Path) -> None:
    grants = story.grants(uses=2)
    template = story.spec(grants, attempts=1)
    recurrence, folder = Recurrence(template, every=1, times=3, accept_seconds=600), tmp_path / "weekly"
    seen: list[tuple[int, str, str]] = []

    def told(number: int, task: str, state: str) -> None:
        seen.append((number, task, state))
        if (number, state) == (2, "None"):
            raise Stopped

    with pytest.raises(Stopped):  # the second occurrence's spec is kept, and not proposed yet
        repeat(story.alder, recurrence, grants.values(), folder, told)
    assert [(number, state) for number, _, state in seen] == [(1, "None"), (1, "Proved"), (2, "None")]
    first = TaskSpec.parse((folder / "00001.json").read_bytes())
    assert follow.state_of(story.alder.chain, seen[0][1]).state == "Proved" and first.salt != template.salt

    again: list[tuple[int, str, str]] = []
    with pytest.raises(TallystickError, match="TS-2101"):
        repeat(story.alder, recurrence, grants.values(), folder, lambda *each: again.append(each))
    assert [(number, state) for number, _, state in again] == [(1, "Proved"), (2, "None"), (2, "Proved"), (3, "None")]
    assert again[1][1] == seen[2][1], "the occurrence that was kept is the one that is asked for"
    used = [story.alder.chain.grants.account_of(file.grant.id())["used"] for file in grants.values()]
    assert used == [2, 2, 2]
    third = TaskSpec.parse((folder / "00003.json").read_bytes())
    assert proposal_of(third).id() not in {proposal_of(template).id(), proposal_of(first).id()}


def test_a_folder_is_for_one_recurrence(story: Story, tmp_path: Path) -> None:
    grants = story.grants(uses=1)
    template = story.spec(grants, attempts=1)

    def stop(*_: object) -> None:
        raise Stopped

    recurrence = Recurrence(template, 60, 2, 600)
    with pytest.raises(Stopped):
        repeat(story.alder, recurrence, grants.values(), tmp_path, stop)
    start = json.loads((tmp_path / SCHEDULE).read_text())["start"]
    with pytest.raises(Stopped):
        repeat(story.alder, recurrence, grants.values(), tmp_path, stop)
    assert json.loads((tmp_path / SCHEDULE).read_text())["start"] == start
    for other in (replace(recurrence, every=61), replace(recurrence, template=replace(template, run_seconds=601))):
        with pytest.raises(Configuration, match="another schedule or template"):
            repeat(story.alder, other, grants.values(), tmp_path, stop)
    (tmp_path / "00001.json").write_bytes(replace(template, run_seconds=601).to_bytes())
    with pytest.raises(Configuration, match="another task"):
        repeat(story.alder, recurrence, grants.values(), tmp_path, stop)
    for wrong in ({"every": 0}, {"times": 0}, {"accept_seconds": 1}):
        with pytest.raises(Configuration, match="repeated"):
            replace(recurrence, **wrong)
