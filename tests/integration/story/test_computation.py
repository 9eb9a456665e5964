"""A user-defined computation through the whole story: the tutorial's training, on columns of two owners, as a network task."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "docs" / "tutorials"))
import joint_training
from integration.story.conftest import PURPOSE, Story
from tallystick.client import GrantFile
from tallystick.protocol import canonical
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import Refused
from tallystick.protocol.task import TaskSpec
from tallystick.protocol.verify import verify_bundle

pytestmark = pytest.mark.slow

ROWS = 150
SCALES = {"mean radius": 4, "mean texture": 4, "mean smoothness": 5, "mean symmetry": 5}


def kind_of(name: str) -> Column:
    return Column(name, "decimal", SCALES[name]) if name in SCALES else Column(name, "int64")


@pytest.fixture(scope="module")
def vertical(story: Story) -> dict[str, str]:
    """Alder's and Birch's columns of the same patients, published."""
    datasets = {}
    for client, who, names, values in zip(
        (story.alder, story.birch),
        story.hospitals,
        (joint_training.ALDER, joint_training.BIRCH),
        joint_training.tables(),
        strict=False,
    ):
        frame = pd.DataFrame(values[:ROWS], columns=names)
        for name in names:
            scale = SCALES.get(name, 0)
            frame[name] = frame[name].map(lambda value, scale=scale: f"{value:.{scale}f}")
        frame.to_csv(who.data / "vertical.csv", index=False)
        columns = [kind_of(name) for name in names]
        datasets[client.account] = client.publish("vertical", "vertical.csv", columns)[0]
    return datasets


def parameters(story: Story, **changes: object) -> dict[str, object]:
    accounts = [client.account for client in (story.alder, story.birch, story.cedar)]
    return {**joint_training.parameters(*accounts, rows=ROWS), **changes}


def algorithm(value: dict[str, object]) -> str:
    return f"computation:{canonical.text(canonical.digest('plan', canonical.encode(value['plan'])))}"


def granted(story: Story, vertical: dict[str, str], *algorithms: str) -> dict[str, GrantFile]:
    columns = {story.alder.account: joint_training.ALDER, story.birch.account: joint_training.BIRCH}
    return {
        client.account: client.grant(
            vertical[client.account],
            story.alder.account,
            purpose=PURPOSE,
            algorithms=algorithms,
            columns=columns[client.account],
            receivers=[story.cedar.account],
            uses=3,
        )
        for client in (story.alder, story.birch)
    }


def spec_of(story: Story, value: dict[str, object], grants: dict[str, GrantFile], **options: object) -> TaskSpec:
    columns = {story.alder.account: joint_training.ALDER, story.birch.account: joint_training.BIRCH}
    return story.alder.draft(
        "computation",
        value,
        grants,
        columns,
        receivers=[story.cedar.account],
        compute=[client.account for client in story.clients],
        purpose=PURPOSE,
        proof="signed-by-all",
        **options,
    )


def test_the_tutorials_training_runs_as_a_task_and_gives_the_rehearsals_model(story: Story, vertical, tmp_path: Path) -> None:
    value = parameters(story)
    grants = granted(story, vertical, algorithm(value))
    task = story.alder.submit(spec_of(story, value, grants), grants.values())
    assert story.alder.wait(task, 300) == "Proved"
    paths = story.patiently(lambda: story.cedar.result(task, tmp_path / "result"))
    content = next(path for path in paths if path.name == "result.json").read_bytes()
    outputs = {each["name"]: each for each in json.loads(content)["values"]["outputs"]}
    found = [float(each) for name in ("weights", "intercept") for each in outputs[name]["numbers"]]
    with pytest.MonkeyPatch.context() as patch:
        kept = tuple(each[:ROWS] for each in joint_training.tables())
        patch.setattr(joint_training, "tables", lambda: kept)
        weights, intercept = joint_training.rehearse()
    assert np.abs(np.array(found) - [*weights, float(intercept)]).max() < 0.01
    bundle = story.bundle(task, tmp_path / "bundle")
    report = verify_bundle(bundle, contracts=story.network.deployment.contracts, result_file=content)
    assert not report.failed


def test_a_grant_for_one_plan_allows_no_other(story: Story, vertical) -> None:
    grants = granted(story, vertical, algorithm(parameters(story)))
    other = parameters(story)
    reveals = other["plan"]["reveals"]
    other["plan"] = {**other["plan"], "reveals": [*reveals, {**reveals[0], "name": "more"}]}
    with pytest.raises(Refused, match="is not allowed"):
        story.alder.submit(spec_of(story, other, grants), grants.values())


def test_what_the_plan_does_not_bear_is_refused_at_the_gate(story: Story, vertical) -> None:
    grants = granted(story, vertical, "computation")
    with pytest.raises(Refused, match="withstands"):
        story.alder.submit(spec_of(story, parameters(story), grants, adversary="malicious-with-abort"), grants.values())
    with pytest.raises(Refused, match="no operation"):
        broken = parameters(story)
        broken["plan"] = {**broken["plan"], "steps": [{"op": "eval", "in": [0]}]}
        story.alder.submit(spec_of(story, broken, grants), grants.values())
