"""`statistics` whose owners prove that what they commit to is within the task's bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tallystick.commitments.ranges import Form, size_of
from tallystick.protocol.bounds import shape_of
from tallystick.protocol.errors import InvalidData, InvalidTask, MalformedDocument, OutputRefused
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.proof.sum_in_range import Contribution
from tallystick.protocol.result import Opening, ResultFile
from tallystick.protocol.statement import StatementInput, StatementOutput
from tallystick.protocol.task import SUM_IN_RANGE, TaskSpec
from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.evidence.agreement import MAX_CONTRIBUTION
from tallystick_node.workloads.statistics import part as statistics_part
from tallystick_node.workloads.statistics import workload as statistics
from tallystick_node.workloads.statistics.workload import Statistics
from unit.workloads.conftest import ACCOUNTS, ID, make_spec, table_of

KIND = KINDS[SUM_IN_RANGE]
AGES = {0: [30, 41, 52], 1: [19, 88], 2: [60, 61, 62, 63]}
RECEIVER = 3


def parameters(**changes: Any) -> dict[str, Any]:
    return {
        "columns": [{"name": "age", "scale": 0}],
        "compute": ["count", "mean"],
        "regression": None,
        "histograms": [],
        "where": [],
        "group_by": None,
        "minimum_group": 5,
        "ddof": 1,
        "bounds": {"row_bits": 4, "values": [{"column": "age", "low": "18", "high": "90"}]},
        **changes,
    }


def spec_of(given: dict[str, Any], receivers: tuple[int, ...] = (RECEIVER,), proof: str = SUM_IN_RANGE) -> TaskSpec:
    columns = {number: ["age"] for number in AGES}
    return replace(make_spec("statistics", given, columns, list(receivers)), proof=proof)


def tables(ages: dict[int, list[int]]) -> dict[int, Any]:
    return {number: table_of({"age": (values, "int64", 0)}) for number, values in ages.items()}


def subject_of(spec: TaskSpec, outcomes: dict[int, Any]) -> Subject:
    inputs = tuple(StatementInput(ACCOUNTS[number], ID, ID, ID, outcomes[number].commitment) for number in AGES)
    return Subject(b"", spec.parties, inputs, tuple(StatementOutput(each, ID) for each in spec.receivers))


def said(outcomes: dict[int, Any]) -> dict[str, str]:
    return {ACCOUNTS[number]: outcome.contribution for number, outcome in outcomes.items()}


@pytest.mark.parametrize("receivers", [(3,), (0, 2)])
def test_the_parties_make_a_proof_that_holds_and_opens(run_workload: Any, receivers: tuple[int, ...]) -> None:
    spec = spec_of(parameters(), receivers)
    ran = run_workload(Statistics(), spec, tables(AGES))
    subject = subject_of(spec, ran.outcomes)
    proof = KIND.assemble(subject, said(ran.outcomes))
    KIND.require_terms(spec.parameters, len(spec.parties), proof)
    outcome = ran.outcomes[receivers[0]]
    assert outcome.result["groups"][0]["count"] == 9
    opening = Opening(tuple(map(int, outcome.opening["totals"])), int(outcome.opening["blinding"]))
    file = ResultFile(ID, 1, spec.receivers[0], "statistics", {}, {}, opening, ID)
    assert KIND.open(subject, proof, file, None) == "opens the proved sum of 2 totals"
    predicted = Statistics().cost(spec, dict.fromkeys(spec.parties, 4))
    assert predicted.bytes_sent == pytest.approx(ran.most_sent(), rel=0.1)


def test_rows_out_of_bounds_stay_at_home(run_workload: Any) -> None:
    ran = run_workload(Statistics(), spec_of(parameters()), tables(AGES | {1: [19, 16]}))
    assert isinstance(ran.outcomes[1], InvalidData)


def cheat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at its own rows, and provers put what is left into the last digit."""

    def digits_of(form: Form, vector: list[int]) -> list[int]:
        value = form.of(vector)
        low = [value >> (2 * j) & 3 for j in range(form.digits - 1)]
        return [*low, (value - sum(each << (2 * j) for j, each in enumerate(low))) >> (2 * form.digits - 2)]

    monkeypatch.setattr(Form, "digits_of", digits_of)
    monkeypatch.setattr(statistics_part, "_require_within", lambda *_: None)


def test_a_poisoned_input_ends_the_run_before_any_share_is_sent(run_workload: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cheat(monkeypatch)
    ran = run_workload(Statistics(), spec_of(parameters()), tables(AGES | {1: [19, 2**40]}))
    for number in (0, 2, RECEIVER):
        error = ran.outcomes[number]
        assert isinstance(error, ProtocolViolation) and (error.peer, error.step) == (1, "range")
        assert ran.sent[number]["sum/share"] == ran.sent[number]["sum/partial"] == 0


def test_an_owner_that_lies_to_the_size_test_is_found_out(run_workload: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = statistics.at_least

    def lying(session: Any, count: Any, **given: Any) -> list[bool]:
        return honest(session, count and (lambda going_on: count(going_on) and [5]), **given)

    monkeypatch.setattr(statistics, "at_least", lying)
    ran = run_workload(Statistics(), spec_of(parameters(minimum_group=10)), tables(AGES))
    assert isinstance(ran.outcomes[RECEIVER], OutputRefused)
    assert "size test" in str(ran.outcomes[RECEIVER])


def test_bounds_and_proof_go_together() -> None:
    bare = parameters()
    del bare["bounds"]
    for given, proof in ((parameters(), "sum-verified"), (bare, SUM_IN_RANGE)):
        with pytest.raises(InvalidTask, match="bounds"):
            Statistics().check(spec_of(given, proof=proof))
    Statistics().check(spec_of(bare, proof="sum-verified"))


def test_a_proof_of_less_than_the_spec_demands_is_refused(run_workload: Any) -> None:
    spec = spec_of(parameters())
    ran = run_workload(Statistics(), spec, tables(AGES))
    proof = KIND.assemble(subject_of(spec, ran.outcomes), said(ran.outcomes))
    for changed in (parameters(minimum_group=6), parameters(bounds={"row_bits": 6, "values": parameters()["bounds"]["values"]})):
        with pytest.raises(MalformedDocument, match="other ranges"):
            KIND.require_terms(changed, len(spec.parties), proof)


def test_proofs_fit_into_a_transaction() -> None:
    values = parameters()["bounds"]["values"]
    wide = parameters(group_by={"column": "ward", "values": [str(k) for k in range(8)]}, bounds={"row_bits": 16, "values": values})
    columns = {number: ["age", "ward"] for number in range(5)}
    spec = replace(make_spec("statistics", wide, columns, [0]), proof=SUM_IN_RANGE)
    Statistics().check(spec)
    many = replace(spec, inputs=tuple(replace(spec.inputs[0], party=account) for account in ACCOUNTS) * 3)
    with pytest.raises(InvalidTask, match="range proofs"):
        Statistics().check(many)


def test_what_the_proofs_say_counts_too_and_what_is_accepted_fits_into_a_partys_word() -> None:
    """Many forms of one digit: their text is longer than the proofs."""
    names = ["age", "mass"]
    many = parameters(
        columns=[{"name": name, "scale": 0} for name in names],
        compute=["correlation"],
        group_by={"column": "ward", "values": [str(k) for k in range(17)]},
        bounds={"row_bits": 2, "values": [{"column": name, "low": "1", "high": "2"} for name in names]},
    )
    spec = replace(make_spec("statistics", many, {number: [*names, "ward"] for number in range(2)}, [0]), proof=SUM_IN_RANGE)
    Statistics().check(spec)
    shape = shape_of(many)
    own, total = (bytes(size_of(shape.entries, forms)) for forms in (shape.inputs, shape.total))
    assert len(Contribution(shape.to_bytes(), own, total).to_text()) <= MAX_CONTRIBUTION
    more = replace(spec, inputs=tuple(replace(spec.inputs[0], party=account) for account in ACCOUNTS) * 2)
    with pytest.raises(InvalidTask, match="range proofs"):
        Statistics().check(more)
