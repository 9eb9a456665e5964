"""Trainings over real processes that add up in other ways than the secure sum: signed by all, and where grants name the way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from integration.processes import anchor
from integration.story.conftest import PURPOSE, Story
from integration.story.test_training import COLUMNS, parameters, tally
from tallystick.client.result_files import beside
from tallystick.protocol import canonical
from tallystick.protocol.errors import Refused
from tallystick.protocol.task import SIGNED_BY_ALL
from tallystick.protocol.verify import verify_bundle

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("method", ["ring", "ckks"])
def test_a_training_by_another_aggregation_is_signed_by_all_and_says_so(story: Story, tmp_path: Path, method: str) -> None:
    aggregation = {"method": method}
    if method == "ckks":
        aggregation |= {"holder": story.birch.account, "adder": story.alder.account}
    asked = {**parameters(), "aggregation": aggregation}
    asked["schedule"] = {**asked["schedule"], "rounds": 4, "entry": 0}

    def drafted(algorithm: str):
        grants = story.grants(algorithms=[algorithm], columns=COLUMNS)
        spec = story.alder.draft(
            "training", asked, grants, dict.fromkeys(grants, COLUMNS), proof=SIGNED_BY_ALL, receivers=[story.alder.account],
            purpose=PURPOSE, corruptions=1,
        )  # fmt: skip
        return spec, list(grants.values())

    spec, grants = drafted(f"training:{method}")
    task = story.alder.submit(spec, grants)
    done = tally(story.hospitals[0], "task", "watch", task)
    assert done.exit_code == 0, done.output
    paths = {path.name: path for path in story.patiently(lambda: story.alder.result(task, tmp_path / "result"))}
    assert paths.keys() == {"result.json", "model.safetensors", "model-card.md"}
    bundle = story.bundle(task, tmp_path / "bundle")
    content = paths["result.json"].read_bytes()
    verify_bundle(
        bundle,
        trusted_blocks=[anchor(story.network, task)],
        contracts=story.network.deployment.contracts,
        result_file=content,
        files=beside(paths["result.json"], content),
    ).require(complete=True)
    values = canonical.decode(content, 1 << 20)["values"]
    assert values["aggregation"] == aggregation and float(values["validation"]["auc"]) > 0.9
    assert f"- Aggregation: {method}" in paths["model-card.md"].read_text()
    zipped = tmp_path / "bundle.zip"
    bundle.write(zipped)
    where = tally(story.hospitals[1], "provenance", "file", paths["model.safetensors"], "--bundle", zipped)
    assert where.exit_code == 0 and re.search(rf"aggregation +{method}\n", where.stdout), where.output

    if method == "ring":
        with pytest.raises(Refused, match="grant.algorithm|not allowed"):
            story.alder.submit(*drafted("training"))
