"""The samplers beside the probabilities they promise. A true sampler fails one of these tests with probability below 1e-9."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from tallystick_node.engines.dp import sampling
from tallystick_node.engines.dp.local import LocalLaplace, RandomisedResponse
from tallystick_node.engines.dp.sampling import Uniform, discrete_gaussian, discrete_laplace, exponential_bounds, uniform_below

IMPOSSIBLE = 1e-12  # there are about a dozen such tests, and the tail of a chi-square test is not exact


def fits(samples, weight, centre=0):
    """A chi-square test against probabilities proportional to ``weight`` of the distance; rare values are pooled."""
    span = np.arange(-3000, 3001)
    masses = weight(np.abs(span).astype(float))
    masses /= masses.sum()
    expected = masses * samples.size
    common = span[expected > 20]
    seen = np.array([(samples == value).sum() for value in common])
    due = expected[expected > 20]
    seen, due = np.append(seen, samples.size - seen.sum()), np.append(due, samples.size - due.sum())
    if due[-1] < 5:
        seen, due = np.append(seen[1:-1], seen[0] + seen[-1]), np.append(due[1:-1], due[0] + due[-1])
    assert chisquare(seen, due).pvalue > IMPOSSIBLE


@pytest.mark.parametrize("variance", [Fraction(1, 10), Fraction(1, 2), 1, Fraction(7, 3), 30, 2000])
def test_discrete_gaussian(variance):
    fits(discrete_gaussian(variance, 200_000), lambda x: np.exp(-x * x / (2 * float(variance))))


@pytest.mark.parametrize("scale", [Fraction(1, 3), 1, Fraction(22, 7), 40])
def test_discrete_laplace(scale):
    fits(discrete_laplace(scale, 200_000), lambda x: np.exp(-x / float(scale)))


def test_every_comparison_decided_exactly(monkeypatch):
    """The slow path alone gives the same distribution."""
    monkeypatch.setattr(sampling, "MARGIN", 2.0)
    fits(discrete_gaussian(2, 4000), lambda x: np.exp(-x * x / 4))


def test_geometric_ties_are_decided_exactly(monkeypatch):
    words = np.concatenate([sampling._POWERS, sampling._POWERS + np.uint64(1), sampling._POWERS[1:] - np.uint64(1)])
    monkeypatch.setattr(sampling, "uniform_words", lambda _: words)
    values = sampling._geometric(words.size)
    size = sampling._POWERS.size
    assert all(value in (k - 1, k) for value, k in zip(values[1:size], range(size - 1, 0, -1), strict=True))
    assert values[0] >= 44
    assert values[size + 1 : 2 * size].tolist() == list(range(size - 2, -1, -1))
    assert values[2 * size + 1 :].tolist() == list(range(size - 2, 0, -1))  # the first is zero, a tie again


@pytest.mark.parametrize("variance", [10**6, 2**60])
def test_large_variance(variance):
    samples = discrete_gaussian(variance, 400_000) / math.sqrt(variance)
    assert abs(samples.mean()) < 7 / math.sqrt(samples.size)
    assert abs(samples.var() - 1) < 7 * math.sqrt(2 / samples.size)
    assert abs((np.abs(samples) < 1).mean() - 0.682689) < 0.006


def test_large_scale():
    samples = discrete_laplace(sampling.LARGEST, 200_000) / sampling.LARGEST
    assert abs(np.abs(samples).mean() - 1) < 7 / math.sqrt(samples.size)
    assert abs(samples.mean()) < 7 * math.sqrt(2 / samples.size)


@given(st.fractions(0, 60, max_denominator=10**9), st.integers(64, 300))
def test_bounds_of_the_exponential(exponent, bits):
    low, high = exponential_bounds(exponent)(bits)
    finer, above = exponential_bounds(exponent)(2 * bits)
    assert low <= finer < above <= high
    assert (high - low) * 2**bits < 1
    assert float(low) == pytest.approx(math.exp(-exponent), rel=1e-14)


def test_a_close_comparison_draws_more_bits(monkeypatch):
    third = Fraction(1, 3)

    def bounds(bits):
        low = Fraction(int(third * (1 << bits)), 1 << bits)
        return low, low + Fraction(1, 1 << bits)

    word = int(third * 2**64)
    for more, expected in ((0, True), (2**64 - 1, False)):
        monkeypatch.setattr(sampling.secrets, "randbits", lambda _, more=more: more)
        assert Uniform(word).below(bounds) is expected
    assert Uniform(word - 1).below(bounds) is True
    assert Uniform(word + 1).below(bounds) is False


@pytest.mark.parametrize("limit", [1, 2, 3, 1000, 2**40])
def test_uniform_below(limit):
    values = uniform_below(limit, 50_000)
    assert values.min() >= 0 and values.max() < limit
    assert abs(values.mean() - (limit - 1) / 2) <= 7 * limit / math.sqrt(12 * values.size)


@pytest.mark.parametrize("wrong", [0, -1, Fraction(-1, 2), 2**80, Fraction(1, 2**80)])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError):
        discrete_laplace(wrong, 1)
    if wrong <= 0 or wrong > 1:
        with pytest.raises(ValueError):
            discrete_gaussian(wrong, 1)


def test_no_samples():
    assert discrete_gaussian(4, 0).size == discrete_laplace(4, 0).size == 0


@pytest.mark.parametrize("categories", [2, 5])
def test_randomised_response(categories):
    response = RandomisedResponse(categories, 1.5)
    people = 100_000
    answers = np.repeat([0, 1], [people - people // 4, people // 4])
    randomised = response.randomise(answers)
    kept = (randomised == answers).mean()
    assert kept / ((1 - kept) / (categories - 1)) == pytest.approx(math.exp(1.5), rel=0.1)
    assert response.counts(randomised)[:2] == pytest.approx([75_000, 25_000], abs=3000)
    assert response.counts(randomised).sum() == pytest.approx(people)
    low, high = response._bounds(64)
    assert low < response.kept + 1e-15 and high > response.kept - 1e-15 and (high - low) * 2**64 < 1
    for wrong in (np.array([categories]), np.array([-1]), np.array([0.5])):
        with pytest.raises(ValueError):
            response.randomise(wrong)
    assert response.event().epsilon == 1.5


def test_local_laplace():
    local = LocalLaplace(-1.0, 3.0, 0.5, 16)
    noisy = local.randomise(np.array([-5.0, 1.0, 9.0] * 50_000)).reshape(-1, 3)
    assert noisy.mean(axis=0) == pytest.approx([-1, 1, 3], abs=7 * 8 * math.sqrt(2 / 50_000))
    assert np.abs(noisy - [-1, 1, 3]).mean() == pytest.approx(8, rel=0.05)
    assert (np.ldexp(noisy, 16) == np.rint(np.ldexp(noisy, 16))).all()
    with pytest.raises(ValueError):
        local.randomise(np.array([math.nan]))
    with pytest.raises(ValueError):
        LocalLaplace(1, 1, 1.0, 16)
