"""Bounds of a plan's values hold for whatever stays within those of the inputs, and steps that could wrap are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.clear import Clear
from tallystick_node.engines.mpc.plan.execute import evaluate
from tallystick_node.engines.mpc.plan.explain import explain
from tallystick_node.engines.mpc.plan.kinds import encode
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.plan.ranges import RULES, magnitudes, overflows
from tallystick_node.engines.mpc.plan.roles import Cast
from tallystick_node.engines.mpc.plan.table import OPERATIONS
from tallystick_node.engines.mpc.protocol import Shares
from unit.engines.conftest import run_parties

ROWS = 12
PROGRAMS = {
    "sums": lambda x, y, k, b: [x + y - x * 3, x.sum(), k.cumsum(), -x, abs(y) + b],
    "products": lambda x, y, k, b: [x * y, k * k * b, x * k, x * 0.3, y / 7, x.reshape(3, -1) @ y.reshape(-1, 3)],
    "choices": lambda x, y, k, b: [sa.where(b, x, y), sa.maximum(x, y), x.clip(-1, 2.5), x.clip(low=0), sa.one_hot(k, 5)],
    "order": lambda x, y, k, b: [sa.sort(x), sa.median(y), x.max(), y.argmin(), *sa.top_k(x, y, k=3)],
    "groups": lambda x, y, k, b: [*sa.group_by(k, x), *sa.group_extremes(k, y), *sa.group_public(k, x, size=5)],
    "moments": lambda x, y, k, b: [x.mean(), y.var(ddof=1), sa.cov(sa.column_stack([x, y])), sa.corrcoef(sa.column_stack([x, y]))],
    "functions": lambda x, y, k, b: [sa.exp(x), sa.log(abs(x) + 0.01), sa.sqrt(x), sa.rsqrt(y), sa.sigmoid(x), sa.tanh(x), x / y],
    "powers": lambda x, y, k, b: [x**3, sa.polynomial(x, [1, -2.5, 0, 4]), sa.softmax(x), 1 / y, k**4, sa.sign(x), abs(x) ** 0.5],
}  # fmt: skip


def planned(program, rows=ROWS):
    declared = {"x": sa.declare("a", rows), "y": sa.declare("b", rows), "k": sa.declare("b", rows, kind="integer"),
                "b": sa.declare("c", rows, kind="bit")}  # fmt: skip

    def traced(x, y, k, b):
        for number, each in enumerate(program(x, y, k, b)):
            sa.reveal(each, to=["a"], name=f"{number}")

    return sa.plan_of(traced, declared, ["a", "b", "c"])


def test_every_operation_has_a_rule() -> None:
    assert RULES.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("name", PROGRAMS)
@given(st.sampled_from([0.01, 1, 7.5, 60]), st.integers(0, 2**32), st.booleans())
@settings(max_examples=8, deadline=None)
def test_no_value_is_above_its_bound(name, bound, seed, extreme) -> None:
    plan, draw = planned(PROGRAMS[name]), np.random.default_rng(seed)
    real = draw.choice([-bound, bound], ROWS) if extreme else draw.uniform(-bound, bound, ROWS)
    data = {"x": real, "y": real[::-1].copy(), "k": draw.integers(0, 5, ROWS), "b": draw.integers(0, 2, ROWS)}
    known, found = magnitudes(plan, {"x": bound, "y": bound, "k": 5})
    assert not found
    require_within(plan, known, computed(Clear(local_sessions(1)[0]), plan, data))


ROUNDED = {
    "products": lambda x, y, k, b: [x * y, x * y * x, x * 0.3, y / 7, x**3, x**4, sa.polynomial(x, [1, 2.5, 0, 4])],
    "quotients": lambda x, y, k, b: [x / y, 1 / y, sa.sqrt(abs(x)), abs(x) ** 1.5, sa.median(x), x.mean(), sa.softmax(x)],
}


@pytest.mark.parametrize("name", ROUNDED)
@pytest.mark.parametrize("bound", [2.0**-18, 0.013, 0.99, 59.9])
@pytest.mark.parametrize("offer", ["replicated", "replicated-malicious"])
def test_bounds_include_what_protocols_round(name, bound, offer) -> None:
    """As only protocols do: in the clear, a product is rounded down and no further."""
    plan, draw = planned(ROUNDED[name]), np.random.default_rng(2)
    real = draw.choice([-bound, bound], ROWS)
    data = {"x": real, "y": real[::-1].copy(), "k": np.ones(ROWS, np.int64), "b": np.ones(ROWS, np.int64)}
    known, found = magnitudes(plan, {"x": bound, "y": bound, "k": 5})
    assert not found
    for revealed in run_parties(local_sessions(3), lambda session: computed(OFFERS[offer].open(session), plan, data)):
        require_within(plan, known, revealed)


def computed(protocol, plan, data) -> list[Any]:
    inputs = []
    for each in plan.inputs:
        elements = encode(data[each.name], each.kind)
        inputs.append(protocol.public_binary(elements, 1) if each.kind.name == "bit" else protocol.public(elements))
    return [
        (number, protocol.reveal(value) if isinstance(value, Shares) else protocol.reveal_binary(value))
        for number, value in evaluate(protocol, plan, inputs)
    ]


def require_within(plan, known, revealed) -> None:
    for number, value in revealed:
        most = np.abs(value.astype(np.int64)).max(initial=0)
        assert most <= known[plan.reveals[number].value], plan.reveals[number].name


def test_steps_that_could_wrap_are_named_in_order() -> None:
    plan = planned(lambda x, y, k, b: [x * y, (x * y) * x, k.sum()])
    assert overflows(plan, {"x": 2**8, "y": 2**8, "k": 2**40}) == []
    found = overflows(plan, {"x": 2**13, "y": 2**14, "k": 2**59})
    assert [each.operation for each in found] == ["multiply", "multiply", "sum"]
    assert found[0].bits == 64 and "step 0 (multiply) may pass the range: 64 bits" in str(found[0])


def test_bounds_are_asked_for_and_checked() -> None:
    plan = planned(lambda x, y, k, b: [x + y])
    with pytest.raises(ValueError, match="input y has no bound"):
        overflows(plan, {"x": 1, "k": 1})
    for wrong in (-1, float("nan"), float("inf"), 2.0**44):
        with pytest.raises(ValueError, match="the bound of input y"):
            overflows(plan, {"x": 1, "y": wrong, "k": 1})


def test_an_explanation_names_them() -> None:
    plan = planned(lambda x, y, k, b: [x * y])
    offer, cast = OFFERS["replicated"], Cast(("a", "b", "c"), ("a", "b", "c"))
    assert not explain(plan, offer, cast, {"x": 1, "y": 1, "k": 1}).overflows
    assert "may pass the range" in str(explain(plan, offer, cast, {"x": 2**20, "y": 2**20, "k": 1}))
