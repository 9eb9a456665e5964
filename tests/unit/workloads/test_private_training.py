"""`training` with a privacy budget: what a task may ask for, what it says that it spends, and a model that is still good."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.task import Security, TaskSpec, proposal_of
from tallystick_node.engines.fl.parameters import Parameters as Model
from tallystick_node.workloads.registry import workloads
from tallystick_node.workloads.training.parameters import Parameters
from tallystick_node.workloads.training.workload import MODEL, Training
from unit.workloads.conftest import ACCOUNTS
from unit.workloads.test_training import CENTERS, DATA, SCALES, TABLES, asked, spec_of

PRIVACY = {"epsilon": "3", "delta": "0.00001", "norm": "1"}
SCHEDULE = {
    "rounds": 20, "rows": 190, "epochs": 1, "batch": 190, "rate": "2", "momentum": "0", "seed": 7, "stop": None,
    "norm": "64", "entry": 3,
}  # fmt: skip


def private(**changes):
    return asked(**{"privacy": dict(PRIVACY), "schedule": dict(SCHEDULE), "held_out": 0, **changes})


def test_a_private_model_is_good_and_nothing_else_is_told(run_workload) -> None:
    spec = spec_of(private())
    outcome = run_workload(Training(), spec, TABLES).outcomes[0]
    assert outcome.result["validation"] == {} and outcome.result["rounds"] == 20
    for record in outcome.result["history"]:
        assert (record["loss"], record["validation"], record["cut"]) == (None, {}, 0)
    model = Model.load(outcome.files[MODEL].read_bytes(), Parameters.parse(spec.parameters).federation.learner.layout)
    found = ((DATA.data - CENTERS) / SCALES @ model["weight"] + model["bias"]).argmax(axis=1)
    assert (found == DATA.target).mean() > 0.9


def test_two_runs_draw_other_noise(run_workload, tmp_path) -> None:
    spec = spec_of(private(schedule={**SCHEDULE, "rounds": 1}))
    digests = [run_workload(Training(), spec, TABLES).outcomes[0].result["model"]["digest"]]
    for folder in tmp_path.iterdir():
        folder.rename(tmp_path.parent / f"{tmp_path.name}-{folder.name}")
    digests.append(run_workload(Training(), spec, TABLES).outcomes[0].result["model"]["digest"])
    assert digests[0] != digests[1]


@pytest.mark.parametrize(("epsilon", "batch"), [("3", 190), ("0.1", 190), ("1.2345678", 190), ("3", 19)])
def test_the_accountant_finds_what_the_proposal_debits_or_a_little_less(epsilon, batch) -> None:
    schedule = {**SCHEDULE, "batch": batch, "rate": "0.1", "entry": 6}
    spec = spec_of(private(privacy={**PRIVACY, "epsilon": epsilon}, schedule=schedule))
    debits = {party.epsilon_micros for party in proposal_of(spec).parties if any(party.grant)}
    assert debits == {spec.epsilon_micros} and spec.epsilon_micros == -(-int(float(epsilon) * 10**7) // 10)
    assert 0.99 * spec.epsilon_micros <= Training().epsilon_micros(spec) <= spec.epsilon_micros


def test_a_training_without_privacy_and_other_workloads_spend_nothing() -> None:
    assert Training().epsilon_micros(spec_of(asked())) == 0 == spec_of(asked()).epsilon_micros
    assert all(
        workload.epsilon_micros(spec_of(asked())) == 0
        for name, workload in workloads().items()
        if name not in ("training", "lookup")
    )


def test_the_noise_protects_from_as_many_owners_as_the_task_says() -> None:
    spec = spec_of(private())
    for said, colluding in ((0, 1), (1, 1), (2, 2)):
        asked_for = replace(spec, security=Security("semi-honest", said))
        Training().check(asked_for)
        promised = Training().security(asked_for)
        assert promised.corruptions == colluding
        assert "epsilon 3 and delta 1e-05" in promised.learns["owner"] and f"{colluding} colluding" in promised.learns["owner"]
    federation = Parameters.parse(spec.parameters)
    variances = [federation.towards(colluding).private_rounds(3).mechanism.variance for colluding in (1, 2)]
    assert variances[1] == pytest.approx(2 * variances[0], rel=1e-6)
    with pytest.raises(InvalidTask, match="at most 2 may collude"):
        Training().check(replace(spec, security=Security("semi-honest", 3)))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"held_out": 20}, "held_out: must be 0 in private training"),
        ({"privacy__epsilon": "0"}, "epsilon is above 0"),
        ({"privacy__epsilon": "100"}, "at most 64"),
        ({"privacy__delta": "0"}, "delta from"),
        ({"privacy__norm": "0"}, "norm of a row"),
        ({"privacy": {"epsilon": "3", "delta": "0.00001"}}, "norm"),
        ({"privacy": {**PRIVACY, "sampling": "1"}}, "sampling"),
        ({"schedule__epochs": 2}, "epochs to 1"),
        ({"schedule__momentum": "0.9"}, "momentum to 0"),
        ({"strategy": {"name": "fedavg", "weighting": "uniform", "rate": "1"}}, "equal weight"),
        ({"strategy": {"name": "scaffold", "weighting": "examples", "rate": "1"}}, "control variates"),
        ({"strategy": {"name": "fedprox", "weighting": "examples", "rate": "1", "proximal": "0.1"}}, "proximal"),
        ({"schedule__stop": {"metric": "auc", "patience": 2, "improvement": "0"}}, "hold some out"),
        ({"schedule__entry": -20}, "raise entry"),
    ],
)
def test_what_a_private_task_may_not_say(changes, rule) -> None:
    with pytest.raises(InvalidTask, match=rule):
        Training().check(spec_of(private(**changes)))


def test_a_budget_that_no_ledger_can_debit_is_no_spec() -> None:
    with pytest.raises(MalformedDocument, match="debited"):
        TaskSpec.parse(spec_of(private(privacy={**PRIVACY, "epsilon": "-3"})).to_bytes())


def test_the_predicted_bytes_are_those_of_the_private_run(run_workload) -> None:
    spec = spec_of(private(model={"name": "perceptron", "hidden": [64], "penalty": "0"}, schedule={**SCHEDULE, "rounds": 5}))
    ran = run_workload(Training(), spec, TABLES)
    predicted = Training().cost(spec, {ACCOUNTS[number]: TABLES[number].num_rows for number in TABLES})
    assert 0.8 * ran.most_sent() <= predicted.bytes_sent <= 1.3 * ran.most_sent()
