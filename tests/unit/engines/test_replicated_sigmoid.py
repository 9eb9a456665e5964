"""The logistic function: its error everywhere, and that its parties weigh alike to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from tallystick_node.engines.mpc.functions.sigmoid import OffersSigmoid
from tallystick_node.engines.mpc.replicated import Replicated
from tallystick_node.engines.mpc.replicated import sigmoid as series
from unit.engines.three_parties import revealed, ring


def logistic(x):
    return 0.5 * (1 + np.tanh(x / 2))


@pytest.mark.parametrize("fraction", [1, 2, 8, 18, 24])
def test_the_error_is_below_the_bound_everywhere(fraction) -> None:
    unit = 2.0**-fraction
    far = [sign * 2.0**power for power in (3, 4, 20, 37) for sign in (-1, 1)]
    near = [edge + step * unit for edge in (-8, 0, 8) for step in range(-3, 4)]
    beyond = [(2.0**62 * 0.99) * unit, -(2.0**62 * 0.99) * unit, 2.0**40 * min(1, 2.0 ** (20 - fraction)), -(2.0**36)]
    x = np.concatenate([np.linspace(-9, 9, 60_001), far, near, beyond])
    given = np.rint(x / unit).astype(np.int64)
    found = revealed(lambda protocol, a: protocol.sigmoid_fixed(a, fraction), given.view(np.uint64)).view(np.int64)
    error = np.abs(found * unit - logistic(given * unit))
    assert error.max() <= 6e-4 + 2 * unit
    if fraction == 24:
        assert error.max() > 5e-4  # the bound is not loose


def test_two_to_the_forty() -> None:
    given = np.array([1 << 58, -(1 << 58), (1 << 58) + 12345, (1 << 62) - (1 << 21) - 1, -(1 << 62) + (1 << 21) + 1], np.int64)
    found = revealed(lambda protocol, a: protocol.sigmoid_fixed(a, 18), given.view(np.uint64)).view(np.int64)
    assert np.abs(found - (given > 0) * 2**18).max() <= 1


def test_the_fit_is_what_it_says() -> None:
    x = np.linspace(-8, 8, 100_001)
    sines = sum(c * np.sin(np.pi * k * x / 8) for k, c in enumerate(series.HARMONICS, 1))
    assert np.abs(0.5 + x / 16 + sines - logistic(x)).max() < 5.4e-4


def test_sines_are_summed_in_one_order_without_contraction() -> None:
    """Bit by bit what NumPy's single steps give: a machine that fused a product and a sum would differ."""
    f = np.float32
    b = ring(5, 5000)
    angle, size = np.uint64(10), len(b)
    half = (b << angle).astype(np.uint32).view(np.int32).astype(f) * f(np.pi / (1 << 32))
    square = half * half
    sine, cosine = f(-1 / 39916800), f(1 / 479001600)
    for c in (1 / 362880, -1 / 5040, 1 / 120, -1 / 6, 1):
        sine = sine * square + f(c)
    for c in (-1 / 3628800, 1 / 40320, -1 / 720, 1 / 24, -1 / 2, 1):
        cosine = cosine * square + f(c)
    sine = sine * half
    sine, cosine = f(2) * sine * cosine, cosine * cosine - sine * sine
    given, total, found = ring(6, 10, size).astype(np.uint32), np.zeros(size, np.uint32), np.empty(size, np.uint32)
    s, c = sine, cosine
    for k, weight in enumerate(np.array(series.HARMONICS, f) * f(1 << (series.SCALE - series.GIVEN))):
        total += given[2 * k] * np.rint(c * weight).astype(np.int32).view(np.uint32)
        total += given[2 * k + 1] * np.rint(s * weight).astype(np.int32).view(np.uint32)
        s, c = s * cosine + c * sine, c * cosine - s * sine
    series._weigh_sines(b, angle, given, series._WEIGHTS, found)
    assert (found == total).all()


def test_the_functions_find_it() -> None:
    assert issubclass(Replicated, OffersSigmoid)
