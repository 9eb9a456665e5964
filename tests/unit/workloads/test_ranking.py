"""The workload `ranking` on the German credit data, against pandas on the joint table."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.engines.channel import local_sessions, send_array
from tallystick_node.workloads.plans.ranking import Parameters, Ranking
from unit.workloads.conftest import ACCOUNTS, COMPUTING, Watched, frame_table, join_of, make_spec

A, B = ACCOUNTS[:2]
AMOUNT, DURATION, AGE = "credit_amount", "duration_in_month", "age_in_years"
WEIGHTS = {AMOUNT: "0.25", DURATION: "-1.5", AGE: "2"}


def term(party, name):
    return {"party": party, "column": name, "weight": WEIGHTS[name]}


def parameters_of(**changes):
    return {
        "split": join_of((0, 1), "order"),
        "id": {"party": B, "column": "id"},
        "score": [term(A, AMOUNT), term(A, DURATION), term(B, AGE)],
        "order": "highest",
        "k": 12,
        "scores": True,
        "protocol": "replicated",
        "fraction": 8,
        "minimum_group": 10,
        **changes,
    }


def task(frame, receivers=(2,), **changes):
    columns = {0: ["id", AMOUNT, DURATION], 1: ["id", AGE]}
    parameters = parameters_of(**changes)
    spec = make_spec("ranking", parameters, columns, list(receivers), COMPUTING[parameters["protocol"]])
    return spec, {number: frame_table(frame, columns[number]) for number in (0, 1)}


def scores_of(frame: pd.DataFrame) -> pd.Series:
    return sum(frame[name] * float(weight) for name, weight in WEIGHTS.items())


@pytest.mark.parametrize("order", ["highest", "lowest"])
def test_the_best_rows_of_a_joint_score(run_workload, credit, order) -> None:
    spec, tables = task(credit, order=order)
    ran = run_workload(Ranking(), spec, tables)
    best = scores_of(credit).sort_values(ascending=order == "lowest", kind="stable").iloc[:12]
    found = ran.outcomes[2].result
    assert found["rows"] == 1000
    assert [int(each["id"]) for each in found["best"]] == credit["id"][best.index].tolist()
    assert [float(each["score"]) for each in found["best"]] == best.tolist()
    assert ran.outcomes[0].result is None and ran.outcomes[1].result is None
    assert Ranking().cost(spec, {A: 1000, B: 1000}).bytes_sent > 0


def test_ids_without_scores(run_workload, credit) -> None:
    watched = Watched(Ranking())
    spec, tables = task(credit, scores=False)
    values = run_workload(watched, spec, tables).outcomes[2].result
    assert list(watched.seen) == ["ids"]
    assert all(list(each) == ["id"] for each in values["best"])


def test_people_whom_both_have(run_workload, credit) -> None:
    spec, tables = task(credit, split=join_of((0, 1)))
    tables[1] = tables[1].slice(200).take(np.arange(800)[::-1])
    best = scores_of(credit.iloc[200:]).sort_values(ascending=False).iloc[:12]
    values = run_workload(Ranking(), spec, tables).outcomes[2].result
    assert {int(each["id"]) for each in values["best"]} == set(credit["id"][best.index])
    assert [float(each["score"]) for each in values["best"]] == best.tolist()


def test_rows_of_several_owners(run_workload, credit) -> None:
    score = [term(None, name) for name in WEIGHTS]
    parameters = parameters_of(split={"by": "rows", "join": None}, id={"party": None, "column": "id"}, score=score)
    columns = ["id", *WEIGHTS]
    spec = make_spec("ranking", parameters, dict.fromkeys(range(3), columns), [1], (0, 1, 2))
    parts = [slice(0, 300), slice(300, 320), slice(320, None)]
    tables = {number: frame_table(credit.iloc[part], columns) for number, part in enumerate(parts)}
    values = run_workload(Ranking(), spec, tables).outcomes[1].result
    best = scores_of(credit).sort_values(ascending=False, kind="stable").iloc[:12]
    assert [int(each["id"]) for each in values["best"]] == credit["id"][best.index].tolist()


@pytest.mark.parametrize("protocol", COMPUTING)
def test_every_protocol(run_workload, credit, protocol) -> None:
    few = credit.iloc[:40]
    spec, tables = task(few, protocol=protocol, k=3)
    best = scores_of(few).sort_values(ascending=False, kind="stable").iloc[:3]
    values = run_workload(Ranking(), spec, tables).outcomes[2].result
    assert [int(each["id"]) for each in values["best"]] == few["id"][best.index].tolist()


def test_an_owner_brings_as_many_rows_as_are_named(run_workload, credit) -> None:
    spec, tables = task(credit.iloc[:40], k=41)
    for outcome in run_workload(Ranking(), spec, tables).outcomes.values():
        assert isinstance(outcome, OutputRefused) and "fewer than 41" in str(outcome)


def test_what_does_not_fit_is_refused(run_workload, credit) -> None:
    score = [term(A, AMOUNT) | {"weight": "1000000000"}, term(A, DURATION), term(B, AGE)]
    spec, tables = task(credit.iloc[:40], score=score)
    outcome = run_workload(Ranking(), spec, tables).outcomes[0]
    assert isinstance(outcome, InvalidData) and "fraction bits" in str(outcome)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("split", {"by": "columns", "join": None}), ("id", {"party": B}), ("score", []), ("score", [term(A, AMOUNT)] * 2),
        ("score", [term(A, AMOUNT) | {"weight": 1}]), ("order", "best"), ("k", 0), ("k", 10_001), ("scores", "yes"),
        ("protocol", "clear"), ("fraction", 0), ("fraction", 25), ("minimum_group", 1),
    ],
)  # fmt: skip
def test_each_rule_of_the_parameters_broken_once(key, value) -> None:
    Parameters.parse(parameters_of())
    with pytest.raises(InvalidTask) as caught:
        Parameters.parse(parameters_of(**{key: value}))
    assert f"parameters.{key}" in caught.value.message
    assert caught.value.remedy


def test_the_statement_says_what_is_shown(credit) -> None:
    promised = Ranking().security(task(credit)[0])
    assert "ids, 12 numbers" in promised.learns["receiver"] and "scores, 12 numbers" in promised.learns["receiver"]


def test_a_plan_does_not_grow_with_the_rows(credit) -> None:
    assert len(Ranking().plan(task(credit)[0], {A: 2_000_000, B: 2_000_000}).to_bytes()) < 10_000


def test_owners_are_waited_for_while_they_prepare_their_rows(credit) -> None:
    """A channel bears a tenth of a second of silence; the second owner speaks after the first has waited for longer."""
    spec, _ = task(credit)
    prepared, waiting = threading.Event(), threading.Event()
    first, second, _ = local_sessions(3, 0.1)

    def patience(peer: int) -> None:
        if peer == second.index:
            waiting.set()
            assert prepared.wait(300)

    def slow() -> None:
        assert waiting.wait(300)
        time.sleep(0.3)
        for peer in second.channels:
            send_array(second, peer, np.array([500], np.uint64))
        prepared.set()

    thread = threading.Thread(target=slow)
    thread.start()
    rows = Ranking()._announce(spec, A, {"scores": np.zeros(700)}, replace(first, patience=patience))
    thread.join()
    assert rows == {A: 700, B: 500}
