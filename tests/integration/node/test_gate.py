"""Every admission rule, met and broken, against a real chain."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from integration.node.conftest import PURPOSE, Consortium
from tallystick.client import Client, GrantFile
from tallystick.protocol.errors import Refused
from tallystick.protocol.task import Security, TaskSpec
from tallystick_node.admission.gate import Gate
from tallystick_node.engines.mpc import array as sa
from tallystick_node.settings import Policy
from tallystick_node.workloads.training.workload import Training


def check(consortium: Consortium, spec: TaskSpec, policy: Policy | None = None) -> None:
    birch, results = consortium.birch, consortium.birch_home.folder / "results"
    Gate(birch.account, birch.chain, consortium.store, policy or consortium.policy, results).check(spec)


def refused(consortium: Consortium, spec: TaskSpec, rule: str, policy: Policy | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        check(consortium, spec, policy)
    assert caught.value.rule == rule, caught.value
    assert caught.value.message
    return caught.value


@pytest.fixture(scope="module")
def grants(consortium: Consortium) -> dict[str, GrantFile]:
    made = consortium.grants()
    consortium.hand_over(made)
    return made


def granted(consortium: Consortium, **changes: Any) -> dict[str, GrantFile]:
    made = consortium.grants(**changes)
    consortium.hand_over(made)
    return made


def test_a_task_within_its_grants_is_admitted(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    check(consortium, consortium.draft(grants))


def test_a_narrower_purpose_is_within_a_wider_grant(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    check(consortium, consortium.draft(grants, purpose=PURPOSE + "/oncology"))


@pytest.mark.parametrize("change", [{"chain_id": 1}, {"task_ledger": "0x" + "11" * 20}])
def test_chain(consortium: Consortium, grants: dict[str, GrantFile], change: dict[str, Any]) -> None:
    refused(consortium, replace(consortium.draft(grants), **change), "chain")


def test_workload(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    spec = consortium.draft(grants)
    refused(consortium, replace(spec, workload="telepathy"), "workload")
    refused(consortium, spec, "workload", Policy(workloads=("intersection",)))
    refused(consortium, replace(spec, parameters={**spec.parameters, "compute": []}), "workload")


def test_parties(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    spec = consortium.draft(grants)
    refused(consortium, spec, "parties", Policy(max_parties=2))
    without = tuple(part for part in spec.inputs if part.party != consortium.birch.account)
    refused(consortium, replace(spec, inputs=without), "parties")


def test_proof(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    refused(consortium, replace(consortium.draft(grants), proof="signed-by-all"), "proof")


def test_a_nodes_own_demand_of_security(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    refused(consortium, consortium.draft(grants), "security", Policy(adversary="malicious-with-abort"))


@pytest.mark.parametrize("security", [Security("malicious-with-abort", 1), Security("semi-honest", 3)])
def test_security(consortium: Consortium, grants: dict[str, GrantFile], security: Security) -> None:
    refused(consortium, replace(consortium.draft(grants), security=security), "security")


def mean(consortium: Consortium, protocol: str, compute: list[Client]) -> TaskSpec:
    """A computation on Birch's data alone, of which Alder learns a mean."""
    birch, alder = consortium.birch.account, consortium.alder.account
    inputs = {"radius": sa.declare(birch, 50, "mean radius")}
    plan = sa.plan_of(lambda radius: sa.reveal(radius.mean(), to=[alder], name="mean"), inputs, [alder])
    made = granted(consortium, algorithms=["computation"], columns=["mean radius"])
    return consortium.alder.draft(
        "computation",
        {"plan": plan.to_json(), "protocol": protocol, "minimum_group": 10},
        {birch: made[birch]},
        {birch: ["mean radius"]},
        receivers=[alder],
        compute=[each.account for each in compute],
        purpose=PURPOSE,
        proof="signed-by-all",
    )


def test_owners_and_receivers_of_a_task_compute_on_its_data_unasked(consortium: Consortium) -> None:
    check(consortium, mean(consortium, "two-party", [consortium.alder, consortium.birch]))


@pytest.mark.parametrize("protocol", ["replicated", "two-party"])
def test_a_stranger_computes_only_when_the_owner_names_it(consortium: Consortium, protocol: str) -> None:
    """Cedar holds the role on chain, which is not enough: it neither owns nor receives."""
    alder, cedar = consortium.alder.account, consortium.cedar.account
    spec = mean(consortium, protocol, consortium.owners if protocol == "replicated" else [consortium.alder, consortium.cedar])
    for named in ((), (alder,)):
        refusal = refused(consortium, spec, "parties", Policy(compute=named))
        assert refusal.party == cedar and cedar in refusal.message and "policy.compute" in refusal.remedy
    check(consortium, spec, Policy(compute=(cedar,)))


def test_an_owner_that_fears_cheaters_takes_part_in_what_withstands_them(consortium: Consortium) -> None:
    policy = Policy(adversary="malicious-with-abort", compute=(consortium.cedar.account,))
    refused(consortium, mean(consortium, "replicated", consortium.owners), "security", policy)
    refused(consortium, mean(consortium, "two-party", [consortium.alder, consortium.cedar]), "security", policy)
    check(consortium, mean(consortium, "replicated-malicious", consortium.owners), policy)


def test_a_requester_without_the_role_or_unknown(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    spec = consortium.draft(grants)
    outsider = consortium.outsider.account
    assert refused(consortium, replace(spec, requester=outsider), "requester").party == outsider
    refused(consortium, replace(spec, requester="0x" + "77" * 20), "requester")


def test_a_receiver_without_the_role(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    spec = replace(consortium.draft(grants), receivers=(consortium.outsider.account,))
    assert refused(consortium, spec, "participants").party == consortium.outsider.account


def test_computing_parties_are_named_by_a_workload_that_has_them(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    refused(consortium, consortium.draft(grants, compute=[consortium.cedar.account]), "workload")


def test_a_suspended_participant(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    governor, cedar = consortium.network.governor.chain, consortium.cedar.account
    governor.send("ParticipantRegistry", "suspend", cedar, bytes(32))
    try:
        assert refused(consortium, consortium.draft(grants), "participants").party == cedar
    finally:
        governor.send("ParticipantRegistry", "reinstate", cedar)
    check(consortium, consortium.draft(grants))


def test_a_dataset_that_is_not_attached(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    spec = consortium.draft(grants)
    inputs = tuple(
        replace(part, dataset=consortium.datasets[consortium.cedar.account]) if part.party == consortium.birch.account else part
        for part in spec.inputs
    )
    refused(consortium, replace(spec, inputs=inputs), "dataset")


def test_a_data_file_that_changed(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    path = consortium.birch_home.data / "clinical.csv"
    content, stat = path.read_bytes(), path.stat()
    spec = consortium.draft(grants)
    try:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
        check(consortium, spec)  # touched, and still the same rows
        path.write_bytes(content.replace(b"benign", b"malignant", 1))
        assert "not the one that was published" in refused(consortium, spec, "dataset").message
        path.unlink()
        refused(consortium, spec, "dataset")
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_terms_that_nobody_handed_over(consortium: Consortium) -> None:
    refused(consortium, consortium.draft(consortium.grants()), "terms")


def test_terms_that_are_not_the_grants(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    other = granted(consortium, uses=1)
    spec, account = consortium.draft(grants), consortium.birch.account
    inputs = tuple(
        replace(part, terms="0x" + other[account].terms.root().hex()) if part.party == account else part for part in spec.inputs
    )
    refused(consortium, replace(spec, inputs=inputs), "terms")


@pytest.mark.parametrize(
    ("rule", "terms", "task"),
    [
        ("grant.purpose", {}, {"purpose": "marketing"}),
        ("grant.purpose", {}, {"purpose": "health"}),
        ("grant.purpose", {}, {"purpose": "health/researchers"}),
        ("grant.algorithm", {"algorithms": ["intersection"]}, {}),
        ("grant.columns", {"columns": ["diagnosis"]}, {}),
    ],
)
def test_terms_that_do_not_permit_the_task(consortium: Consortium, rule: str, terms: dict[str, Any], task: dict[str, Any]) -> None:
    refused(consortium, consortium.draft(granted(consortium, **terms), **task), rule)


def test_a_receiver_that_the_terms_do_not_name(consortium: Consortium) -> None:
    made = granted(consortium, receivers=[consortium.cedar.account])
    refused(consortium, consortium.draft(made), "grant.receivers")


def test_a_grant_that_is_not_on_chain_or_revoked(consortium: Consortium) -> None:
    made = granted(consortium)
    account = consortium.birch.account
    unknown = GrantFile(replace(made[account].grant, salt=b"\1" * 32), made[account].terms)
    refused(consortium, consortium.draft({**made, account: unknown}), "terms")
    consortium.birch.revoke_grant(made[account].grant)
    assert "revoked" in refused(consortium, consortium.draft(made), "grant-state").message


def test_a_grant_outside_its_time(consortium: Consortium) -> None:
    chain = consortium.network.governor.chain
    made = granted(consortium, days=1)
    spec = consortium.draft(made)
    snapshot = chain.request("evm_snapshot")
    chain.request("evm_increaseTime", 2 * 86400)
    chain.request("evm_mine")
    try:
        assert "not valid now" in refused(consortium, spec, "grant-state").message
    finally:
        chain.request("evm_revert", snapshot)


def private_training(consortium: Consortium, made: dict[str, GrantFile], epsilon: str) -> TaskSpec:
    columns = ["mean radius", "diagnosis"]
    parameters = {
        "features": [{"column": "mean radius", "center": "14", "scale": "4"}],
        "target": {"column": "diagnosis", "values": ["benign", "malignant"]},
        "model": {"name": "logistic", "penalty": "0"},
        "strategy": {"name": "fedavg", "weighting": "examples", "rate": "1"},
        "schedule": {
            "rounds": 5, "rows": 200, "epochs": 1, "batch": 200, "rate": "1", "momentum": "0", "seed": 1, "stop": None,
            "norm": "64", "entry": 3,
        },
        "aggregation": {"method": "secure"},
        "privacy": {"epsilon": epsilon, "delta": "0.00001", "norm": "1"},
        "held_out": 0,
        "minimum_group": 10,
        "contribution": None,
    }  # fmt: skip
    return consortium.alder.draft(
        "training", parameters, made, dict.fromkeys(made, columns), proof="projection-verified",
        receivers=[consortium.alder.account], purpose=PURPOSE,
    )  # fmt: skip


def test_a_task_that_spends_more_epsilon_than_the_grant_has_left(consortium: Consortium) -> None:
    made = granted(consortium, algorithms=["training:private"], epsilon_micros=2_500_000)
    spec = private_training(consortium, made, "2.5")
    check(consortium, spec)
    refused(consortium, replace(spec, parameters={**spec.parameters, "privacy": None}), "grant.algorithm")
    refusal = refused(consortium, private_training(consortium, made, "2.500001"), "privacy-budget")
    assert "spends 2.500001 of epsilon and the grant has 2.5 left of 2.5" in refusal.message
    assert "new grant" in refusal.remedy
    none = granted(consortium, algorithms=["training"])
    assert "has 0 left" in refused(consortium, private_training(consortium, none, "1"), "privacy-budget").message


def test_a_run_that_spends_more_epsilon_than_its_proposal_debits(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    made = granted(consortium, algorithms=["training"], epsilon_micros=10_000_000)
    spec = private_training(consortium, made, "1")
    check(consortium, spec)
    monkeypatch.setattr(Training, "epsilon_micros", lambda self, spec: 1_000_001)
    refusal = refused(consortium, spec, "privacy-budget")
    assert "spends 1.000001 of epsilon and the proposal debits 1" in refusal.message and "parameters.privacy" in refusal.remedy


def test_the_nodes_own_minimum(consortium: Consortium, grants: dict[str, GrantFile]) -> None:
    refused(consortium, consortium.draft(grants), "minimum-group", Policy(minimum_group=11))
    check(consortium, consortium.draft(grants), Policy(minimum_group=10))


def test_a_dataset_that_was_compared_often(consortium: Consortium) -> None:
    """A run that was admitted is counted, and one that was only received is not."""
    alder, birch = consortium.alder.account, consortium.birch.account
    made = granted(consortium, algorithms=["intersection"], columns=["diagnosis"])
    pair = {account: made[account] for account in (alder, birch)}
    parameters = {
        "keys": [{"party": account, "columns": ["diagnosis"]} for account in pair],
        "types": ["string"],
        "fold": False,
        "duplicates": "group",
        "mode": "cardinality",
        "protocol": "automatic",
        "minimum_group": 10,
    }
    columns = {account: ["diagnosis"] for account in pair}
    options: dict[str, Any] = {"receivers": [alder], "purpose": PURPOSE, "proof": "signed-by-all"}
    spec = consortium.alder.draft("intersection", parameters, pair, columns, **options)
    once = Policy(intersections_per_day=1)
    check(consortium, spec, once)
    consortium.store.create_run("0x" + "dd" * 32, spec.to_bytes())
    check(consortium, spec, once)
    consortium.store.advance("0x" + "dd" * 32, "admitted")
    assert refused(consortium, spec, "differencing", once).party == alder
    check(consortium, spec)
