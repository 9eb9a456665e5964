"""Exact functions of secrets against NumPy: comparison, selection, extremes, one-hot, sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.mpc.functions import compare, extreme, linear, select
from tallystick_node.engines.mpc.ring import MAGNITUDE
from unit.engines.ideal import clear, evaluated, opened, ring

TOP = MAGNITUDE - 1
EDGES = np.array([0, 1, -1, 2, -2, TOP, -TOP, 1 << 40, -(1 << 40), 5, 5], np.int64)
LEFT, RIGHT = (side.reshape(-1) for side in np.meshgrid(EDGES, EDGES))
numbers = st.lists(st.integers(-TOP, TOP) | st.integers(-3, 3), min_size=1, max_size=30).map(lambda many: np.array(many, np.int64))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (compare.less, np.less),
        (compare.less_equal, np.less_equal),
        (compare.equal, np.equal),
        (compare.not_equal, np.not_equal),
        (select.maximum, np.maximum),
        (select.minimum, np.minimum),
    ],
)
def test_functions_of_two(function, expected) -> None:
    assert (evaluated(function, LEFT, RIGHT) == expected(LEFT, RIGHT)).all()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (compare.is_negative, lambda x: x < 0),
        (compare.is_zero, lambda x: x == 0),
        (select.absolute, np.abs),
        (select.relu, lambda x: np.maximum(x, 0)),
        (select.sign, np.sign),
    ],
)
@pytest.mark.parametrize("shape", [(11,), (11, 1), (0,), (1, 1, 1), ()])
def test_functions_of_one_in_every_shape(function, expected, shape) -> None:
    values = EDGES[: int(np.prod(shape))].reshape(shape)
    result = evaluated(function, values)
    assert result.shape == shape and (result == expected(values)).all()


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ"):
        evaluated(compare.less, EDGES, EDGES[:3])


def test_a_sign_in_fixed_point() -> None:
    assert (evaluated(select.sign, [-2.5, 0.0, 2.0**-18], fraction=18) * 2.0**18 == [-1, 0, 1]).all()
    result = evaluated(lambda p, x: select.sign(p, x, fraction=18), [-2.5, 0.0, 2.0**-18], fraction=18)
    assert (result == [-1.0, 0.0, 1.0]).all()


@given(yes=numbers, seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_selection(yes, seed) -> None:
    draw = np.random.default_rng(seed)
    no, wide = draw.integers(-(2**63), 2**63, (2, len(yes)), np.int64)
    condition = draw.integers(0, 2, len(yes)).astype(bool)
    protocol = clear()
    bits = protocol.public_binary(condition, 1)
    pairs = [(protocol.public(ring(a)), protocol.public(ring(b))) for a, b in ((yes, no), (wide, yes))]
    assert (protocol.reveal(select.select(protocol, bits, *pairs[1])) == ring(np.where(condition, wide, yes))).all()
    first, second = select.select_many(protocol, bits, pairs)
    assert (protocol.reveal(first) == ring(np.where(condition, yes, no))).all()
    assert (protocol.reveal(second) == ring(np.where(condition, wide, yes))).all()
    other = draw.integers(0, 2, len(yes)).astype(bool)
    assert (opened(protocol, select.or_(protocol, bits, protocol.public_binary(other, 1))) == condition | other).all()
    assert (opened(protocol, select.lift(protocol, bits, fraction=8), 8) == condition).all()


@pytest.mark.parametrize(("low", "high"), [(None, None), (-1.5, None), (None, 2.25), (-1.5, 2.25), (1.0, 1.0)])
def test_clip(low, high) -> None:
    values = np.array([-3, -1.5 - 2.0**-18, -1.5, 0, 1, 2.25, 2.25 + 2.0**-18, 2.0**43, -(2.0**43)])
    expected = values if low is None and high is None else np.clip(values, low, high)
    assert (evaluated(lambda p, x: select.clip(p, x, low=low, high=high, fraction=18), values, fraction=18) == expected).all()


def test_bounds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="above"):
        evaluated(select.clip, EDGES, low=2, high=1)


def test_membership() -> None:
    values = np.array([0, 1, -1, 2.5, 7, 2.5 + 2.0**-18])
    for among in ((), (2.5,), (0, 7, 7, -1), (3,)):
        result = evaluated(lambda p, x, chosen=among: compare.is_in(p, x, values=chosen, fraction=18), values, fraction=18)
        assert (result == np.isin(values, among)).all()


@pytest.mark.parametrize("fraction", [0, 18])
def test_one_hot(fraction) -> None:
    values = np.array([[0, 1, 4], [5, -1, 2**30]])
    result = evaluated(lambda p, x: compare.one_hot(p, x, size=5, fraction=fraction), values, fraction=fraction, out=0)
    assert result.shape == (2, 3, 5) and (result == (values[..., None] == np.arange(5))).all()
    with pytest.raises(ValueError, match="one place"):
        evaluated(compare.one_hot, values, size=0)


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (8,), (13,), (3, 5), (5, 2, 3)])
@pytest.mark.parametrize("spread", [1, 2, TOP])
def test_extremes(shape, spread) -> None:
    values = np.random.default_rng(spread % 97).integers(-spread, spread, shape, np.int64)
    for axis in (None, *range(len(shape)), -1):
        for function, expected in (
            (extreme.amax, np.max),
            (extreme.amin, np.min),
            (extreme.argmax, np.argmax),
            (extreme.argmin, np.argmin),
        ):
            result = evaluated(function, values, axis=axis)
            assert result.shape == np.shape(expected(values, axis=axis)) and (result == expected(values, axis=axis)).all()


def test_of_nothing_there_is_no_largest() -> None:
    for function in (extreme.amax, extreme.argmin):
        with pytest.raises(ValueError, match="no largest"):
            evaluated(function, np.zeros(0, np.int64))
    assert evaluated(extreme.amax, np.zeros((3, 0), np.int64), axis=0).shape == (0,)


def test_running_sums_and_inner_products() -> None:
    values = np.random.default_rng(1).integers(-1000, 1000, (5, 4))
    for axis in (None, 0, 1, -1):
        assert (evaluated(linear.cumulative_sum, values, axis=axis) == np.cumsum(values, axis=axis)).all()
    assert evaluated(linear.dot, values[0], values[1]) == values[0] @ values[1]
    with pytest.raises(ValueError, match="two vectors"):
        evaluated(linear.dot, values, values)
