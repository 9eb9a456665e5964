"""Trees on secret rows against a walk through them in the clear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.mpc.array import plan_of, reveal
from tallystick_node.engines.mpc.array.program import Declared
from tallystick_node.engines.mpc.array.simulate import run_locally
from tallystick_node.engines.mpc.models.trees import Trees
from tallystick_node.engines.mpc.plan.kinds import INTEGER, fixed

KIND = fixed(18)


def evaluated(trees, rows, selectors, thresholds, leaves, base, protocol="clear"):
    arrays = {"rows": rows, "selectors": selectors, "thresholds": thresholds, "leaves": leaves, "base": base}
    inputs = {name: Declared("A", values.shape, INTEGER if name == "selectors" else KIND, ()) for name, values in arrays.items()}
    plan = plan_of(lambda **secrets: reveal(trees.scores(**secrets), to=["A"], name="found"), inputs)
    return run_locally(plan, arrays, ["A"] if protocol == "clear" else ["A", "B", "C"], protocol)["A"]["found"]


def walked(trees, rows, chosen, thresholds, leaves, base):
    found = np.tile(base, (len(rows), 1))
    each_nodes = (1 << trees.depth) - 1
    for number, row in enumerate(rows):
        for tree in range(trees.trees):
            place = 0
            while place < each_nodes:
                value, threshold = row[chosen[tree * each_nodes + place]], thresholds[tree * each_nodes + place]
                left = value < threshold if trees.rule == "less" else value <= threshold
                place = 2 * place + (1 if left else 2)
            found[number] += leaves[(tree << trees.depth) + place - each_nodes]
    return found


def model(trees, seed):
    order = np.random.default_rng(seed)
    chosen = order.integers(0, trees.features, trees.nodes)
    whole = order.integers(-3, 4, trees.nodes).astype(float)  # often equal to a feature
    return chosen, whole, order.integers(-99, 99, (trees.leaves, trees.outputs)) / 8, order.integers(-9, 9, trees.outputs) / 4


@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.sampled_from(["less", "less_equal"]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_every_depth_and_rule(features, count, depth, outputs, rule, seed) -> None:
    trees = Trees(features, count, depth, outputs, rule, "identity")
    chosen, *rest = model(trees, seed)
    rows = np.random.default_rng(seed + 1).integers(-3, 4, (9, features)).astype(float)
    found = evaluated(trees, rows, np.eye(features, dtype=np.int64)[chosen], *rest)
    assert np.array_equal(found, walked(trees, rows, chosen, *rest))


@pytest.mark.parametrize("protocol", ["replicated", "replicated-malicious"])
def test_between_three_parties(protocol) -> None:
    trees = Trees(3, 5, 3, 2, "less_equal", "softmax")
    chosen, *rest = model(trees, 7)
    rows = np.random.default_rng(8).integers(-3, 4, (20, 3)).astype(float)
    found = evaluated(trees, rows, np.eye(3, dtype=np.int64)[chosen], *rest, protocol=protocol)
    assert np.array_equal(found, walked(trees, rows, chosen, *rest))


def test_what_does_not_fit_is_named() -> None:
    trees = Trees(3, 1, 1, 1, "less", "identity")
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        evaluated(trees, np.zeros((4, 2)), np.zeros((1, 3), int), np.zeros(1), np.zeros((2, 1)), np.zeros(1))
