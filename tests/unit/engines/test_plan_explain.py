"""Predictions against what the meter measures: the same bytes and rounds, party by party, without a message having passed."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.clear import Clear
from tallystick_node.engines.mpc.plan import explain as explaining
from tallystick_node.engines.mpc.plan import stage
from tallystick_node.engines.mpc.plan.execute import evaluate
from tallystick_node.engines.mpc.plan.explain import explain, memory
from tallystick_node.engines.mpc.plan.kinds import encode
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.plan.roles import Cast, Part
from unit.engines.conftest import run_parties

OFFER = OFFERS["replicated"]
COMPUTING = {"inside": ("a", "b", "c"), "outside": ("p", "q", "r"), "mixed": ("c", "p", "a"), "two": ("a", "b")}
EXACT = {
    "sum": lambda x, y, k, b: (x + y).sum(),
    "product": lambda x, y, k, b: x * y,
    "products of integers and with bits": lambda x, y, k, b: k * k * b,
    "matrix product": lambda x, y, k, b: x.reshape(3, -1) @ y.reshape(-1, 3),
    "integer matrix product": lambda x, y, k, b: k.reshape(3, -1) @ k.reshape(-1, 3),
    "scaled": lambda x, y, k, b: x * 0.3 + y / 7,
    "comparison": lambda x, y, k, b: x < y,
    "equality": lambda x, y, k, b: k == 3,
    "bits": lambda x, y, k, b: (b & (x > 0)) | ~b,
    "choice": lambda x, y, k, b: sa.where(b, x, y),
    "extreme": lambda x, y, k, b: x.max() - y.min(),
    "place of the greatest": lambda x, y, k, b: x.argmax(),
    "moments": lambda x, y, k, b: x.var() + y.mean(),
    "correlation": lambda x, y, k, b: sa.corrcoef(sa.column_stack([x, y])),
    "quotient": lambda x, y, k, b: x / (y + 10),
    "root": lambda x, y, k, b: sa.sqrt(abs(x)),
    "exponential and logarithm": lambda x, y, k, b: sa.log(sa.exp(x)),
    "sigmoid": lambda x, y, k, b: sa.sigmoid(x),
    "polynomial": lambda x, y, k, b: sa.polynomial(x, [1, 2, 3, 4]),
    "softmax": lambda x, y, k, b: sa.softmax(x),
    "groups of a public domain": lambda x, y, k, b: sa.group_public(k, x, size=5)[1],
}  # fmt: skip
BY_CHANCE = {
    "sort": lambda x, y, k, b: sa.sort(x),
    "median": lambda x, y, k, b: sa.median(x),
    "groups": lambda x, y, k, b: sa.group_by(k, x)[3],
}


@pytest.fixture(scope="module", autouse=True)
def nothing_priced():
    """What an earlier file had priced would change by some per cent what is foretold of what is made in advance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "_prices", {})
        patch.setattr(stage, "_tiles", {})
        yield


def setting(function, rows: int, where: str = "inside"):
    declared = {"x": sa.declare("a", rows), "y": sa.declare("b", rows), "k": sa.declare("b", rows, kind="integer"),
                "b": sa.declare("c", rows, kind="bit")}  # fmt: skip
    draw = np.random.default_rng(rows)
    data = {
        "x": draw.uniform(-1, 1, rows),
        "y": draw.uniform(-1, 1, rows),
        "k": draw.integers(0, 5, rows),
        "b": draw.integers(0, 2, rows),
    }

    def program(x, y, k, b):
        found = function(x, y, k, b)
        sa.reveal(found, to=["a"], name="result")
        sa.reveal(found.sum() + (x.sum() + k[0] + b[0]), name="to all")

    plan = sa.plan_of(program, declared, ["d"])
    cast = Cast(tuple(dict.fromkeys((*plan.parties, *COMPUTING[where]))), COMPUTING[where])
    return plan, data, cast


def measured(plan, data, cast, offer=OFFER):
    """Bytes that each party sends, and the most rounds of one that computes."""
    sessions = local_sessions(len(cast.parties))

    def engine(session):
        name = cast.parties[session.index]
        return Part(plan, offer, cast, session).run(
            {each.name: encode(data[each.name], each.kind) for each in plan.inputs if each.owner == name}
        )

    for found in run_parties(sessions, engine):
        assert not isinstance(found, Exception), found
    steps = [session.meter.steps.values() for session in sessions]
    rounds = max(sum(each.rounds for each in steps[seat]) for seat in cast.seats)
    return [sum(each.bytes for each in party) for party in steps], rounds


@pytest.mark.parametrize("name", EXACT)
def test_bytes_and_rounds_are_foretold_exactly(name) -> None:
    plan, data, cast = setting(EXACT[name], 123)
    foretold = explain(plan, OFFER, cast)
    sent, rounds = measured(plan, data, cast)
    assert (foretold.bytes_all, foretold.bytes_most, foretold.rounds) == (sum(sent), max(sent), rounds)


@pytest.mark.parametrize("where", ["outside", "mixed"])
@pytest.mark.parametrize("rows", [3, 64])
def test_parties_outside_the_computation_are_counted_too(where, rows) -> None:
    plan, data, cast = setting(lambda x, y, k, b: sa.where(b, x * y, 0), rows, where)
    foretold = explain(plan, OFFER, cast)
    sent, rounds = measured(plan, data, cast)
    assert (foretold.bytes_all, foretold.bytes_most, foretold.rounds) == (sum(sent), max(sent), rounds)


@pytest.mark.parametrize("name", BY_CHANCE)
def test_what_sorts_costs_about_what_is_foretold(name) -> None:
    plan, data, cast = setting(BY_CHANCE[name], 400)
    foretold = explain(plan, OFFER, cast)
    runs = [measured(plan, data, cast) for _ in range(3)]
    assert foretold.bytes_all == pytest.approx(np.mean([sum(sent) for sent, _ in runs]), rel=0.3)
    assert foretold.rounds == pytest.approx(np.mean([rounds for _, rounds in runs]), rel=0.3)


def test_bytes_are_divided_among_operations_and_told_in_lines() -> None:
    plan, _, cast = setting(lambda x, y, k, b: sa.exp(x) * y, 1000)
    foretold = explain(plan, OFFER, cast)
    setup = 3 * 16  # the seeds of the protocol belong to no operation
    assert sum(foretold.bytes_by_operation.values()) == foretold.bytes_all - setup
    lines = str(foretold).splitlines()
    assert lines[0] == "protocol   replicated" and any(line.split()[0] == "exp" for line in lines)
    assert foretold.seconds > 0


def test_more_rows_cost_more_and_memory_stays_within_what_is_foretold() -> None:
    def program(x, y, k, b):
        for _ in range(20):
            x = x * y - x
        return x

    small, _, _ = setting(program, 1000)
    large, data, _ = setting(program, 50_000)
    assert memory(large).together > 40 * memory(small).together
    protocol = Clear(local_sessions(1)[0])
    inputs = []
    for each in large.inputs:
        elements = encode(data[each.name], each.kind)
        inputs.append(protocol.public_binary(elements, 1) if each.kind.name == "bit" else protocol.public(elements))
    tracemalloc.start()
    for _ in evaluate(protocol, large, inputs):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most <= memory(large).together < 20 * 20 * 8 * 50_000  # values are freed: far less than all of them together


def test_a_prediction_moves_no_message(monkeypatch) -> None:
    plan, _, cast = setting(lambda x, y, k, b: x * y, 100)
    explain(plan, OFFER, cast)  # prices are known from here on
    monkeypatch.setattr(explaining.Predictor, "session", None, raising=False)
    monkeypatch.setattr("tallystick_node.engines.channel._LocalChannel.send", lambda *_: pytest.fail("a message passed"))
    assert explain(plan, OFFER, cast).rounds > 0


@pytest.mark.parametrize("name", ["product", "comparison", "choice", "sigmoid", "quotient"])
def test_a_protocol_that_checks_in_batches_is_estimated(name) -> None:
    plan, data, cast = setting(EXACT[name], 2000)
    checked = OFFERS["replicated-malicious"]
    foretold = explain(plan, checked, cast)
    sent, rounds = measured(plan, data, cast, checked)
    assert sum(sent) / 2 < foretold.bytes_all < 2 * sum(sent)
    assert rounds / 2 < foretold.rounds < 2 * rounds
    assert foretold.bytes_all > 2 * explain(plan, OFFER, cast).bytes_all


TWO = OFFERS["two-party"]


@pytest.mark.parametrize("name", ["sum", "product", "comparison", "sigmoid", "matrix product"])
@pytest.mark.parametrize(("rows", "off"), [(123, 0.1), (2001, 0.35)])
def test_what_is_made_in_advance_is_counted_once(name, rows, off) -> None:
    plan, data, cast = setting(EXACT[name], rows, "two")
    foretold = explain(plan, TWO, cast)
    sent, rounds = measured(plan, data, cast, TWO)
    assert foretold.bytes_all == pytest.approx(sum(sent), rel=off)
    assert foretold.rounds == pytest.approx(rounds, rel=0.35)


@pytest.mark.parametrize(("rows", "off"), [(400, 0.1), (1000, 0.5)])
def test_sorting_with_what_is_made_in_advance_is_estimated(rows, off) -> None:
    """Most comparisons come after the first few, on which what is made in advance is rehearsed at first. Above 512 rows, how many
    there are depends on the permutation: 1.23 times the estimate, with a standard deviation of 0.08."""
    plan, data, cast = setting(BY_CHANCE["sort"], rows, "two")
    foretold = explain(plan, TWO, cast)
    sent, rounds = measured(plan, data, cast, TWO)
    assert foretold.bytes_all == pytest.approx(sum(sent), rel=off)
    assert rounds / 1.5 < foretold.rounds < 1.5 * rounds


def test_a_second_operation_of_a_kind_costs_no_second_set_up() -> None:
    one, two = (setting(function, 50, "two") for function in (lambda x, y, k, b: x * y, lambda x, y, k, b: x * y * x))
    once, twice = (explain(plan, TWO, cast) for plan, _, cast in (one, two))
    assert twice.bytes_all - once.bytes_all < 20_000 < 1_500_000 < once.bytes_all


def test_matrices_of_several_tiles() -> None:
    def program(x, y, k, b):
        return x.reshape(3, -1) @ y.reshape(-1, 3)

    plan, data, cast = setting(program, 3 * 300, "two")
    assert explain(plan, TWO, cast).bytes_all == pytest.approx(sum(measured(plan, data, cast, TWO)[0]), rel=0.15)
