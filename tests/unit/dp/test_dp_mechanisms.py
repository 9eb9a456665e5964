"""Clipping is exact, noise has the stated size, and shares of noise add up to it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tallystick_node.engines.dp.accountant import epsilon
from tallystick_node.engines.dp.mechanisms import GaussianMechanism, LaplaceMechanism, clip

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(arrays(np.float64, st.integers(0, 30), elements=finite), st.floats(0.01, 100), st.sampled_from([1, 2]))
def test_the_norm_is_within_the_bound_exactly(vector, bound, norm):
    steps = clip(vector, bound, 20, norm)
    assert sum(abs(int(step)) ** norm for step in steps) <= (bound * 2**20) ** norm
    assert (np.sign(steps) * np.sign(vector) >= 0).all()


def test_vectors_within_the_bound_stay():
    vector = np.array([0.25, -0.5, 0.125])
    assert clip(vector, 1.0, 10, 2).tolist() == [256, -512, 128]
    assert clip(vector, 0.875, 10, 1).tolist() == [256, -512, 128]
    long = np.full(10_000, 1.0)
    assert np.ldexp(clip(long, 1.0, 30, 2), -30) == pytest.approx(np.full(10_000, 0.01), abs=1e-8)


@pytest.mark.parametrize("norm", [1, 2])
def test_a_norm_computed_too_small_is_corrected(monkeypatch, norm):
    true_norm = np.linalg.norm
    monkeypatch.setattr(np.linalg, "norm", lambda *arguments: true_norm(*arguments) * (1 - 1e-9))
    steps = clip(np.array([3.0, 4.0]), 1.0, 31, norm)
    assert sum(abs(int(step)) ** norm for step in steps) <= (2**31) ** norm


def test_what_cannot_be_clipped_is_refused():
    for vector, bound, bits in (
        ([math.nan], 1, 8), ([math.inf], 1, 8), ([[1.0]], 1, 8), ([1.0], 0, 8),
        ([1.0], math.nan, 8), ([1.0], 1, 32), ([1.0], 0.001, 8),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            clip(np.array(vector), bound, bits, 2)


def test_shares_of_noise_add_up():
    members, dropouts, size = 5, 1, 100_000
    mechanism = GaussianMechanism(2.0, 1.5, 8, members, dropouts)
    shares = [mechanism.prepare(np.zeros(size)) for _ in range(members - dropouts)]
    assert mechanism.read(sum(shares)).std() == pytest.approx(3.0, rel=0.03)
    assert float(mechanism.variance) * 4 >= (3 * 2**8) ** 2
    alone = GaussianMechanism(2.0, 1.5, 8)
    assert alone.read(alone.prepare(np.zeros(size))).std() == pytest.approx(3.0, rel=0.03)


def ratio(variance, members):
    """The largest |log(P/Q)| that convolution finds where both are not tiny."""
    span = np.arange(-60, 61)
    one = np.exp(-(span**2) / (2 * variance))
    one /= one.sum()
    whole = one
    for _ in range(members - 1):
        whole = np.convolve(whole, one)
    middle = whole.size // 2
    reach = np.arange(-12, 13)
    other = np.exp(-(np.arange(-200, 201) ** 2) / (2 * members * variance))
    return np.abs(np.log(whole[middle + reach] / (other[200 + reach] / other.sum()))).max()


@pytest.mark.parametrize("members", [2, 3, 6])
def test_the_sum_of_shares_is_as_close_as_stated(members):
    mechanism = GaussianMechanism(1.0, math.sqrt(members), 0, members)
    assert mechanism.variance == 1 or float(mechanism.variance) == pytest.approx(1, abs=1e-4)
    stated = mechanism._divergence()
    assert ratio(float(mechanism.variance), members) <= stated < 0.01
    assert mechanism.event(1000).slack == pytest.approx(1000 * stated)
    assert GaussianMechanism(1.0, 1.0, 0).event(1000).slack == 0


def test_fine_steps_make_the_difference_vanish():
    mechanism = GaussianMechanism(1.0, 1.0, 16, 100, 10)
    event = mechanism.event(10**6)
    assert event.slack == 0
    assert epsilon([(event, 1)], 1e-6) == epsilon([(GaussianMechanism(1.0, 1.0, 16).event(1), 1)], 1e-6)


def test_laplace():
    mechanism = LaplaceMechanism(1.0, 0.5, 16)
    noisy = mechanism.release(np.zeros(100_000))
    assert np.abs(noisy).mean() == pytest.approx(2, rel=0.04)
    assert epsilon([(mechanism.event(), 2)], 0) == pytest.approx(1)


def test_settings_that_cannot_be_are_refused():
    for make in (
        lambda: GaussianMechanism(1, 0, 8), lambda: GaussianMechanism(1, 1, 8, 3, 3), lambda: GaussianMechanism(1, 1, 8, 3, -1),
        lambda: GaussianMechanism(1, 1, 0, 30), lambda: LaplaceMechanism(1, 0, 8), lambda: LaplaceMechanism(1, 1e-9, 8),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            make()
