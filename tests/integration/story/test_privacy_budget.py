"""Three hospitals train under a privacy budget: the chain debits it, and when it is spent there is no more training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import data
import numpy as np
import pytest
from integration.processes import anchor
from integration.story.conftest import PURPOSE, Story
from integration.story.test_training import COLUMNS, FEATURES, parameters
from tallystick.client import GrantFile
from tallystick.client import plan as planning
from tallystick.protocol import canonical, typed
from tallystick.protocol.errors import ContractRefused, Refused
from tallystick.protocol.task import PROJECTION_VERIFIED, TaskSpec, proposal_of
from tallystick.protocol.verify import verify_bundle
from tallystick_node.engines.fl.parameters import Parameters as Model
from tallystick_node.workloads.training.parameters import Parameters

pytestmark = pytest.mark.slow

EPSILON, MICROS = "3", 3_000_000


def asked() -> dict[str, Any]:
    schedule = {
        "rounds": 20, "rows": 190, "epochs": 1, "batch": 190, "rate": "2", "momentum": "0", "seed": 1, "stop": None,
        "norm": "64", "entry": 3,
    }  # fmt: skip
    privacy = {"epsilon": EPSILON, "delta": "0.00001", "norm": "1"}
    return {**parameters(), "schedule": schedule, "privacy": privacy, "held_out": 0}


def drafted(story: Story, grants: dict[str, GrantFile]) -> TaskSpec:
    columns = dict.fromkeys(grants, COLUMNS)
    return story.alder.draft(
        "training", asked(), grants, columns, proof=PROJECTION_VERIFIED, receivers=[story.alder.account], purpose=PURPOSE,
        corruptions=2,
    )  # fmt: skip


def spent(story: Story, grants: dict[str, GrantFile]) -> list[int]:
    return [story.alder.chain.grants.account_of(file.grant.id())["spentMicros"] for file in grants.values()]


def test_a_budget_for_one_training_pays_one_and_refuses_the_second(story: Story, tmp_path: Path) -> None:
    grants = story.grants(algorithms=["training"], columns=COLUMNS, epsilon_micros=MICROS + 1_000_000)
    assert spent(story, grants) == [0, 0, 0]
    spec = drafted(story, grants)
    task, state = story.run(spec, grants)
    assert state == "Proved" and spent(story, grants) == [MICROS] * 3

    paths = {path.name: path for path in story.patiently(lambda: story.alder.result(task, tmp_path / "result"))}
    content = paths["result.json"].read_bytes()
    verify_bundle(
        story.bundle(task, tmp_path / "bundle"),
        trusted_blocks=[anchor(story.network, task)],
        contracts=story.network.deployment.contracts,
        result_file=content,
        aggregate=[paths["aggregate.bin"].read_bytes()],
    ).require(complete=True)
    assert canonical.decode(content, 1 << 20)["values"]["validation"] == {}
    model = Model.load(paths["model.safetensors"].read_bytes(), Parameters.parse(spec.parameters).federation.learner.layout)
    people = data.clinical()
    features = np.column_stack([(people[name] - float(center)) / float(scale) for name, center, scale in FEATURES])
    found = (features @ model["weight"] + model["bias"]).argmax(axis=1) == 1
    assert (found == (people["diagnosis"] == "malignant").to_numpy()).mean() > 0.85

    foretold = planning.plan(drafted(story, grants), story.alder.chain).obstacles
    assert len(foretold) == 3 and all("less of its privacy budget left" in each for each in foretold)
    with pytest.raises(Refused, match="spends 3 of epsilon and the grant has 1 left of 4") as caught:
        story.alder.submit(drafted(story, grants), grants.values())
    assert caught.value.remedy and "new grant" in caught.value.remedy
    _the_chain_refuses(story, drafted(story, grants))
    assert spent(story, grants) == [MICROS] * 3


def _the_chain_refuses(story: Story, spec: TaskSpec) -> None:
    """Also where all parties accept, as nodes that do not look would."""
    chain, proposal = story.alder.chain, proposal_of(spec)
    chain.tasks.propose(proposal)
    domain = typed.Domain("TaskLedger", chain.deployment.chain_id, chain.deployment.contracts["TaskLedger"])
    digest = typed.acceptance_digest(domain, proposal.id(), proposal.spec, 1)
    signers = {client.account: client.signer for client in story.clients}
    signatures = [signers[party].sign_digest(digest) for party in spec.parties]
    terms = [canonical.unhex32(part.terms) for part in spec.inputs]
    with pytest.raises(ContractRefused) as caught:
        chain.tasks.accept(proposal, 1, range(len(spec.parties)), signatures, terms)
    assert caught.value.error == "BudgetExceeded"
