"""Three hospitals train a model together: over real processes, proved on chain, and as good as on the pooled rows."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import data
import numpy as np
import pytest
from integration.processes import anchor
from integration.story.conftest import PURPOSE, Story
from sklearn.linear_model import LogisticRegression
from tallystick.cli.main import app
from tallystick.client.result_files import beside, source_of, task_in
from tallystick.protocol import canonical
from tallystick.protocol.errors import VerificationFailed
from tallystick.protocol.proof.projection_verified import Projections
from tallystick.protocol.result import ResultFile
from tallystick.protocol.task import PROJECTION_VERIFIED
from tallystick.protocol.verify import verify_bundle
from tallystick.testing.network import Institution
from tallystick_node.engines.fl.parameters import Parameters as Model
from tallystick_node.workloads.training.parameters import Parameters
from typer.testing import CliRunner, Result

COLUMNS = ["mean radius", "mean texture", "mean smoothness", "diagnosis"]
FEATURES = [("mean radius", "14.1", "3.5"), ("mean texture", "19.3", "4.3"), ("mean smoothness", "0.096", "0.014")]


def tally(who: Institution, *arguments: object) -> Result:
    front = ["--config", str(who.folder / "tally.toml"), "--password-file", str(who.folder / "password")]
    return CliRunner().invoke(app, [*front, *map(str, arguments)])


def parameters() -> dict[str, Any]:
    return {
        "features": [{"column": name, "center": center, "scale": scale} for name, center, scale in FEATURES],
        "target": {"column": "diagnosis", "values": ["benign", "malignant"]},
        "model": {"name": "logistic", "penalty": "0.001"},
        "strategy": {"name": "fedavg", "weighting": "examples", "rate": "1"},
        "schedule": {
            "rounds": 10, "rows": 200, "epochs": 2, "batch": 16, "rate": "0.3", "momentum": "0", "seed": 1, "stop": None,
            "norm": "64", "entry": 3,
        },
        "aggregation": {"method": "secure"},
        "privacy": None,
        "held_out": 20,
        "minimum_group": 30,
        "contribution": None,
    }  # fmt: skip


def test_a_model_is_trained_proved_and_verified_with_its_sums(story: Story, tmp_path: Path) -> None:
    grants = story.grants(algorithms=["training"], columns=COLUMNS)
    spec = story.alder.draft(
        "training",
        parameters(),
        grants,
        dict.fromkeys(grants, COLUMNS),
        proof=PROJECTION_VERIFIED,
        receivers=[story.alder.account],
        purpose=PURPOSE,
        corruptions=2,
    )
    task = story.alder.submit(spec, list(grants.values()))
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(lambda: {status.phase for status in story.birch.nodes.watch(story.alder.account, task)})
        done = tally(story.hospitals[0], "task", "watch", task)
    assert done.exit_code == 0 and "proved" in done.stdout
    assert re.search(r"\d+%  round \d+ of 10: loss 0\.\d+, accuracy 0\.\d+, auc 0\.\d+", done.stderr)
    # How good the model is so far is for Alder's own account: Birch hears it of its own node.
    assert any(phase.startswith("round ") for phase in heard.result()) and not any(":" in phase for phase in heard.result())
    paths = {path.name: path for path in story.patiently(lambda: story.alder.result(task, tmp_path / "result"))}
    assert paths.keys() == {"result.json", "model.safetensors", "model-card.md", "aggregate.bin"}
    bundle = story.bundle(task, tmp_path / "bundle")
    content, sums = paths["result.json"].read_bytes(), paths["aggregate.bin"].read_bytes()
    contracts = story.network.deployment.contracts

    assert beside(paths["result.json"], content) == ResultFile.parse(content).files

    def verify(aggregate: bytes) -> None:
        verify_bundle(
            bundle,
            trusted_blocks=[anchor(story.network, task)],
            contracts=contracts,
            result_file=content,
            files=beside(paths["result.json"], content),
            aggregate=[aggregate],
        ).require(complete=True)

    verify(sums)
    changed = bytearray(sums)
    changed[8 * 5] ^= 1
    with pytest.raises(VerificationFailed, match="19"):
        verify(bytes(changed))

    assert task_in(paths["model.safetensors"]) == task and task in paths["model-card.md"].read_text()
    assert source_of(paths["model.safetensors"]) == content

    model = Model.load(paths["model.safetensors"].read_bytes(), Parameters.parse(spec.parameters).federation.learner.layout)
    card = canonical.decode(content, 1 << 20)["values"]
    assert model.digest() == card["model"]["digest"]
    people = data.clinical()
    features = np.column_stack([(people[name] - float(center)) / float(scale) for name, center, scale in FEATURES])
    ill = (people["diagnosis"] == "malignant").to_numpy()
    found = (features @ model["weight"] + model["bias"]).argmax(axis=1) == 1
    pooled = LogisticRegression(C=1 / (0.001 * len(people)), max_iter=1000).fit(features, ill)
    assert (found == ill).mean() >= pooled.score(features, ill) - 0.01
    zipped = tmp_path / "bundle.zip"
    bundle.write(zipped)
    where = tally(story.hospitals[1], "provenance", "file", paths["model.safetensors"], "--bundle", zipped)
    assert where.exit_code == 0, where.output
    for said in (task, PURPOSE, "training", PROJECTION_VERIFIED, *story.datasets.values(), *(each.grant for each in spec.inputs)):
        assert said in where.stdout
    content = bytearray(paths["model.safetensors"].read_bytes())
    content[-1] ^= 1
    paths["model.safetensors"].write_bytes(content)
    changed = tally(story.hospitals[1], "provenance", "file", paths["model.safetensors"], "--bundle", zipped)
    assert changed.exit_code == 30 and "rule 18" in changed.stderr

    proof = Projections.parse(bundle.proof, len(spec.parties))
    assert all(any(each) for each in proof.own)
