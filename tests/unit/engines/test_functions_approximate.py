"""Approximations against NumPy within their stated bounds: over grids and edges, at several precisions, whatever the rounding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tallystick_node.engines.mpc.functions import divide, exponential, linear, moments, polynomial, root, series, sigmoid
from unit.engines.ideal import ROUNDINGS, clear, evaluated, grid

FRACTIONS = (8, 13, 18, 24)
everywhere = pytest.mark.parametrize(("fraction", "rounding"), [(f, r) for f in FRACTIONS for r in ROUNDINGS])


def spread(fraction: int, low: float, high: float, count: int = 2000, signs: bool = False) -> np.ndarray:
    """Numbers whose logarithms to base 2 are spread from low to high."""
    draw = np.random.default_rng(fraction)
    values = np.exp2(draw.uniform(low, high, count))
    return grid(values * draw.choice([-1, 1], count) if signs else values, fraction)


def run(function, fraction: int, rounding: str, *arrays, **attributes) -> np.ndarray:
    return evaluated(function, *arrays, fraction=fraction, rounding=rounding, **{"out": fraction} | attributes)


def with_fraction(function, fraction: int, **attributes):
    return lambda protocol, *arrays: function(protocol, *arrays, fraction=fraction, **attributes)


@everywhere
def test_sigmoid(fraction, rounding) -> None:
    ulp = 2.0**-fraction
    edges = [0, ulp, -ulp, 8, -8, 8 - ulp, ulp - 8, 8 + ulp, -8 - ulp, 2.0 ** (61 - fraction), -(2.0 ** (61 - fraction))]
    values = np.concatenate([grid(np.linspace(-9, 9, 4001), fraction), edges])
    result = run(with_fraction(sigmoid.sigmoid, fraction), fraction, rounding, values)
    assert np.abs(result - (0.5 + 0.5 * np.tanh(values / 2))).max() <= 1e-3 + 2 * ulp
    assert (result[values >= 8] == 1).all() and (result[values < -8] == 0).all()
    values = np.clip(values, -(2.0 ** (60 - fraction)), 2.0 ** (60 - fraction))
    assert np.abs(run(with_fraction(sigmoid.tanh, fraction), fraction, rounding, values) - np.tanh(values)).max() <= 2e-3 + 4 * ulp


@everywhere
def test_exponential(fraction, rounding) -> None:
    ulp = 2.0**-fraction
    edges = [0, 1, -1, ulp, -ulp, 16, 16 - ulp, 16 + ulp, 2.0 ** (60 - fraction), -(2.0 ** (60 - fraction))]
    values = np.concatenate([grid(np.linspace(-20, 17, 4001), fraction), edges])
    expected = np.exp(np.clip(values, -100, 16))
    result = run(with_fraction(exponential.exp, fraction), fraction, rounding, values)
    assert (np.abs(result - expected) <= (ulp + 2.0**-20) * expected + 2 * ulp).all()


@everywhere
def test_logarithms(fraction, rounding) -> None:
    ulp = 2.0**-fraction
    values = np.concatenate([spread(fraction, -fraction, 60 - fraction), [ulp, 2 * ulp, 3 * ulp, 1, 1 - ulp, 1 + ulp, 0, -ulp, -5]])
    result = run(with_fraction(exponential.log, fraction), fraction, rounding, values)
    assert np.abs(result - np.log(np.maximum(values, ulp))).max() <= 3 * ulp
    values = np.minimum(values, 2.0 ** (59 - fraction))
    result = run(with_fraction(exponential.log1p, fraction), fraction, rounding, values)
    assert np.abs(result - np.log(np.maximum(1 + values, ulp))).max() <= 3 * ulp


@everywhere
def test_roots(fraction, rounding) -> None:
    ulp = 2.0**-fraction
    values = np.concatenate([spread(fraction, -fraction, 60.9 - fraction), [ulp, 2 * ulp, 3 * ulp, 1, 1 - ulp, 4, 0, -ulp, -5]])
    result = run(with_fraction(root.square_root, fraction), fraction, rounding, values)
    expected = np.sqrt(np.maximum(values, 0))
    assert (np.abs(result - expected) <= 2.0**-20 * expected + 3 * ulp).all()
    result = run(with_fraction(root.inverse_square_root, fraction), fraction, rounding, values)
    expected = 1 / np.sqrt(np.maximum(values, ulp))
    assert (np.abs(result - expected) <= 2.0**-20 * expected + 2 * ulp).all()
    fine = with_fraction(root.inverse_square_root, fraction, digits=24)
    assert (np.abs(run(fine, fraction, rounding, values, out=24) - expected) <= 2.0**-20 * expected + 2.0**-23).all()


@everywhere
@pytest.mark.parametrize("bound", [None, 1.5, 1000.0])
def test_quotients(fraction, rounding, bound) -> None:
    ulp, limit = 2.0**-fraction, divide.quotient_limit(fraction)
    above, below = spread(fraction, -fraction, 60 - fraction, signs=True), spread(fraction + 1, -fraction, 22, signs=True)[:2000]
    below = grid(below, fraction)
    edges = [
        (0, 1),
        (0, -1),
        (1, 1),
        (-1, 1),
        (1, -1),
        (ulp, ulp),
        (-ulp, ulp),
        (1, 0),
        (-1, 0),
        (0, 0),
        (3, 3 * ulp),
        (3 * ulp, -1),
    ]
    edges += [(limit, 1), (limit - ulp, 1), (limit - ulp, -1), (-limit, 1), (2.0 ** (60 - fraction), ulp), (1, 2.0**22 - ulp)]
    above, below = np.concatenate([above, [a for a, _ in edges]]), np.concatenate([below, [b for _, b in edges]])
    fits = np.abs(below) < (bound or 2.0**22)
    above, below = above[fits], below[fits]
    with np.errstate(all="ignore"):
        exact = np.where(below == 0, np.where(above < 0, -limit, limit), above / below)
    expected = np.clip(exact, -limit, limit)
    result = run(with_fraction(divide.divide, fraction, bound=bound), fraction, rounding, above, below)
    assert (np.abs(result - expected) <= 2.0**-18 * np.abs(expected) + 4 * ulp).all()
    inverse = run(with_fraction(divide.reciprocal, fraction, bound=bound), fraction, rounding, below[below != 0])
    expected = np.clip(1 / below[below != 0], -limit, limit)
    assert (np.abs(inverse - expected) <= 2.0**-18 * np.abs(expected) + 4 * ulp).all()


def test_a_divisor_may_not_be_declared_too_large() -> None:
    for bound in (0.0, 2.0**22 + 1, float("nan")):
        with pytest.raises(ValueError, match="divisor"):
            evaluated(with_fraction(divide.divide, 18, bound=bound), [1.0], [1.0], fraction=18)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("factor", [1 / 3, 0.001, 3.7, -7 / 3, 0.5, 1e-9, 1e-30, 30000.123])
def test_products_with_a_public_number(factor, rounding) -> None:
    whole = np.concatenate([np.random.default_rng(3).integers(-(2**44), 2**44, 3000), [0, 1, -1, 3, 2**44 - 1, 1 - 2**44]])
    result = evaluated(divide.scale, whole, rounding=rounding, factor=factor)
    exact = [int(each) * Fraction(factor) for each in whole]
    bound = 1.6 if abs(factor) < 2.0**10 else 2.6
    assert max(abs(int(each) - product) for each, product in zip(result, exact, strict=True)) <= bound


@given(st.integers(1, 56), st.floats(-8, 8), st.sampled_from(ROUNDINGS), st.integers(0, 2**32))
@example(bits=56, factor=2.125, rounding="up", seed=0)
@settings(max_examples=60)
def test_products_of_every_declared_size(bits, factor, rounding, seed) -> None:
    whole = np.random.default_rng(seed).integers(-(2**bits) + 1, 2**bits, 20)
    result = evaluated(divide.scale, whole, rounding=rounding, factor=factor, bits=bits)
    exact = [int(each) * Fraction(factor) for each in whole]
    bound = 1.6 if abs(factor) * 2.0**bits <= 2.0**54 else 2.6
    assert max(abs(int(each) - product) for each, product in zip(result, exact, strict=True)) <= bound


def test_whole_factors_are_exact_and_factors_broadcast() -> None:
    whole = np.arange(-6, 6).reshape(3, 4)
    assert (evaluated(divide.scale, whole, rounding="up", factor=-5) == -5 * whole).all()
    assert not evaluated(divide.scale, whole, factor=0).any()
    factors = np.array([0.5, 0.25, 2.0, 0.0])
    assert np.abs(evaluated(divide.scale, whole, factor=factors) - whole * factors).max() <= 1.6
    assert np.abs(evaluated(divide.divide_public, 1000 * whole, divisor=7) - 1000 * whole / 7).max() <= 1.6
    assert evaluated(divide.scale, np.int64(9), factor=0.5).shape == ()


@pytest.mark.parametrize("factor", [2.0**16, -(2.0**17), float("inf"), float("nan")])
def test_factors_that_do_not_fit_are_refused(factor) -> None:
    with pytest.raises(ValueError, match="not fit"):
        evaluated(divide.scale, [1], factor=factor)
    with pytest.raises(ValueError, match="1 to 56"):
        evaluated(divide.scale, [1], factor=0.5, bits=57)
    with pytest.raises(ZeroDivisionError):
        evaluated(divide.divide_public, [1], divisor=0)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("degree", range(17))
def test_polynomials_of_every_degree(degree, rounding) -> None:
    coefficients = np.random.default_rng(degree).uniform(-2, 2, degree + 1)
    values = grid(np.linspace(-1, 1, 201), 18)
    result = run(with_fraction(polynomial.polynomial, 18, coefficients=tuple(coefficients)), 18, rounding, values)
    slopes = 4 * np.abs(coefficients) * np.arange(degree + 1)  # powers err by at most 4 i ulps below 1
    assert np.abs(result - np.polynomial.polynomial.polyval(values, coefficients)).max() <= (slopes.sum() + degree + 4) * 2.0**-18


def test_the_polynomial_of_nothing_is_zero() -> None:
    assert not evaluated(with_fraction(polynomial.polynomial, 18, coefficients=()), [1.0, 2.0], fraction=18).any()


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 5, 6, 7, 8, -1, -3, 0.5, -0.5, 1.7, -2.3])
def test_powers(exponent) -> None:
    values = grid(np.linspace(0.3, 3, 200), 18)
    if exponent == int(exponent):
        values = np.concatenate([values, -values])
    result = run(with_fraction(polynomial.power, 18, exponent=exponent), 18, "random", values)
    expected = values**exponent
    lowest = np.abs(values) ** min(exponent, 0)  # where what a reciprocal is taken of is small, its ulps count more
    assert (np.abs(result - expected) <= 2.0**-18 * (8 + 8 * abs(exponent) * np.maximum(np.abs(expected), lowest**2))).all()


@everywhere
def test_softmax(fraction, rounding) -> None:
    values = grid(np.random.default_rng(5).normal(0, 4, (40, 7)), fraction)
    for axis in (-1, 0, 1):
        result = run(with_fraction(exponential.softmax, fraction, axis=axis), fraction, rounding, values)
        powers = np.exp(values - values.max(axis, keepdims=True))
        bound = (values.shape[axis] + 6) * 2.0**-fraction + 2.0**-17
        assert np.abs(result - powers / powers.sum(axis, keepdims=True)).max() <= bound
    assert run(with_fraction(exponential.softmax, fraction), fraction, rounding, np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_moments(rounding) -> None:
    draw = np.random.default_rng(11)
    values = draw.normal(3, 5, (2100, 4))
    values[:, 1] += values[:, 0]
    values[:, 3] = 2.5
    values, ulp = grid(values, 18), 2.0**-18
    for axis in (None, 0, 1):
        assert np.abs(run(moments.mean, 18, rounding, values, axis=axis) - values.mean(axis)).max() <= 1.7 * ulp
        function = with_fraction(moments.variance, 18, axis=axis, ddof=1)
        assert np.abs(run(function, 18, rounding, values) - values.var(axis, ddof=1)).max() <= 30 * ulp
    assert np.abs(run(with_fraction(moments.covariance, 18), 18, rounding, values) - np.cov(values.T)).max() <= 30 * ulp
    expected = np.zeros((4, 4))
    expected[:3, :3] = np.corrcoef(values[:, :3].T)
    assert np.abs(run(with_fraction(moments.correlation, 18), 18, rounding, values) - expected).max() <= 30 * ulp


def test_moments_of_too_little_are_refused() -> None:
    for wrong in (
        lambda: evaluated(moments.mean, np.zeros(0, np.int64)),
        lambda: evaluated(with_fraction(moments.variance, 18, ddof=1), [1.0], fraction=18),
        lambda: evaluated(with_fraction(moments.covariance, 18), [[1.0, 2.0]], fraction=18),
        lambda: evaluated(with_fraction(moments.covariance, 18), [1.0, 2.0], fraction=18),
    ):
        with pytest.raises(ValueError):
            wrong()


@everywhere
def test_norms_and_inner_products(fraction, rounding) -> None:
    values = grid(np.random.default_rng(13).uniform(-1, 1, (20, 3)), fraction)
    for axis in (None, 0, 1):
        squares = (values**2).sum(axis)
        result = run(with_fraction(linear.norm, fraction, axis=axis), fraction, rounding, values)
        assert np.abs(result - np.sqrt(squares)).max() <= (2 / np.sqrt(squares).min() + 4) * 2.0**-fraction + 2.0**-19
    result = run(with_fraction(linear.dot, fraction), fraction, rounding, values[:, 0], values[:, 1])
    assert result.shape == () and abs(result - values[:, 0] @ values[:, 1]) <= 1.5 * 2.0**-fraction


@pytest.mark.parametrize(
    "function", [sigmoid.sigmoid, sigmoid.tanh, exponential.exp, exponential.log, root.square_root, root.inverse_square_root]
)
def test_too_many_fraction_bits_are_refused(function) -> None:
    with pytest.raises(ValueError, match="fraction bits"):
        evaluated(with_fraction(function, 25), [1.0], fraction=18)


def test_a_protocol_may_bring_its_own_sigmoid() -> None:
    class Own(type(clear())):
        def sigmoid_fixed(self, secret, fraction):
            return secret.map(lambda part: part + np.uint64(fraction))

    protocol = Own(clear().session)
    assert isinstance(protocol, sigmoid.OffersSigmoid) and not isinstance(clear(), sigmoid.OffersSigmoid)
    result = sigmoid.sigmoid(protocol, protocol.public(np.array([5, 6], np.uint64)), fraction=18)
    assert list(protocol.reveal(result)) == [23, 24]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_words_are_mirrored_paired_and_placed(words) -> None:
    given_ = np.array(words, np.uint64)
    text = [f"{word:064b}" for word in words]
    assert [f"{int(word):064b}" for word in series.reversed_bits(given_)] == [each[::-1] for each in text]
    pairs = ["".join(str(int(a) ^ int(b)) for a, b in zip(each[::2], each[1::2], strict=True)) for each in text]
    assert [f"{int(word):032b}" for word in series.paired_bits(given_)] == pairs
    places = np.arange(64, dtype=np.uint64)
    single = np.uint64(1) << places
    assert (series.place_bits(single) == places).all()
    both = single ^ np.roll(single, 1)
    assert (series.place_bits(both) == series.place_bits(single) ^ series.place_bits(np.roll(single, 1))).all()
    protocol = clear()
    top, some = series.highest_bit(protocol, protocol.public(given_))
    assert [int(word) for word in protocol.reveal_binary(top)] == [(1 << word.bit_length()) >> 1 for word in words]
    assert [bool(bit) for bit in protocol.reveal_binary(some)] == [word != 0 for word in words]
