"""What the accountant tells, beside Google's dp-accounting, beside numerical integration, and by its laws."""

import contextlib
import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld.pld_privacy_accountant import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from tallystick_node.engines.dp import renyi
from tallystick_node.engines.dp.accountant import ORDERS, Gaussian, Laplace, Pure, epsilon, least_multiplier, spend
from tallystick_node.engines.dp.spend import Spend


def theirs(event, count, delta, orders=ORDERS):
    accountant = RdpAccountant(orders)
    accountant.compose(event, count)
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize("multiplier", [0.5, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("count", [1, 40, 1000])
def test_gaussian_is_that_of_dp_accounting(multiplier, count):
    ours = epsilon([(Gaussian(multiplier), count)], 1e-6)
    oracle = theirs(dp_accounting.GaussianDpEvent(multiplier), count, 1e-6)
    assert oracle <= ours <= oracle * (1 + 1e-6)


@pytest.mark.parametrize(
    ("sampling", "multiplier", "count"), [(0.01, 1.1, 5000), (0.1, 0.9, 10), (0.5, 3.0, 100), (1e-3, 0.6, 10_000)]
)
def test_subsampled_gaussian_beside_dp_accounting(sampling, multiplier, count):
    """The same at integer orders. Theirs adds the sizes of all terms of the fractional series, so that ours may be lower there."""
    event = dp_accounting.PoissonSampledDpEvent(sampling, dp_accounting.GaussianDpEvent(multiplier))
    oracle = theirs(event, count, 1e-6)
    continuous = epsilon([(Gaussian(multiplier, sampling, continuous=True), count)], 1e-6)
    assert continuous == pytest.approx(oracle, rel=0.01)
    assert continuous <= oracle * (1 + 1e-5)
    assert continuous <= epsilon([(Gaussian(multiplier, sampling), count)], 1e-6) * (1 + 1e-9)
    whole = tuple(order for order in ORDERS if order == int(order))
    accountant = RdpAccountant(whole)
    accountant.compose(event, 1)
    for order, rdp in zip(whole, accountant._rdp, strict=True):
        assert rdp * (1 - 1e-9) <= Gaussian(multiplier, sampling).divergence(order) <= rdp * (1 + 1e-9) + 1e-11


@pytest.mark.parametrize(("sampling", "multiplier"), [(0.01, 1.1), (0.1, 0.7), (0.5, 2.0), (0.9, 5.0)])
@pytest.mark.parametrize("order", [1.1, 1.5, 2.5, 4.7])
def test_fractional_orders_beside_integration(sampling, multiplier, order):
    def excess(x):
        ratio = math.exp((2 * x - 1) / (2 * multiplier**2)) - 1
        density = math.exp(-x * x / (2 * multiplier**2)) / (math.sqrt(2 * math.pi) * multiplier)
        return density * ((1 + sampling * ratio) ** order - 1 - order * sampling * ratio)

    edges = np.arange(-12 * multiplier, 14 * multiplier + order, multiplier)
    truth = math.log1p(sum(quad(excess, a, a + multiplier, epsabs=1e-16, epsrel=1e-12)[0] for a in edges)) / (order - 1)
    ours = renyi.subsampled_gaussian(sampling, multiplier, order)
    assert truth * (1 - 1e-10) <= ours <= truth * (1 + 1e-5)
    assert ours <= renyi.subsampled_discrete_gaussian(sampling, multiplier, order) * (1 + 1e-6)


def direct(weight, shift, order):
    span = np.arange(-400, 401)
    p, q = (weight(np.abs(span - at).astype(float)) for at in (0, shift))
    return np.log(np.exp(order * p + (1 - order) * q).sum() / np.exp(p).sum()) / (order - 1)


@pytest.mark.parametrize("shift", [1, 2, 9])
@pytest.mark.parametrize("order", [1.1, 2, 5.5])
def test_noise_on_integers_beside_sums(shift, order):
    assert renyi.discrete_laplace(7.0, shift, order) == pytest.approx(direct(lambda x: -x / 7, shift, order), rel=1e-9)
    gaussian = direct(lambda x: -x * x / 60, shift, order)
    assert gaussian <= renyi.gaussian(math.sqrt(30) / shift, order) * (1 + 1e-9)
    assert renyi.discrete_laplace(7.0, shift, order) <= renyi.pure(shift / 7, order) * (1 + 1e-12)


def test_subsampled_noise_on_integers_beside_sums():
    span, q = np.arange(-50, 54), 0.2
    p, shifted = (np.exp(-((span - at) ** 2) / (2 * 9.0)) for at in (0, 3))
    p, mixed = p / p.sum(), (1 - q) * p / p.sum() + q * shifted / shifted.sum()
    for order in (1.5, 2, 3, 8.5, 20):
        for a, b in ((mixed, p), (p, mixed)):
            truth = np.log(np.exp(order * np.log(a) + (1 - order) * np.log(b)).sum()) / (order - 1)
            assert truth <= renyi.subsampled_discrete_gaussian(q, 1.0, order) * (1 + 1e-9)


@pytest.mark.parametrize("scale", [0.7, 3.0])
def test_laplace_of_many_steps_is_that_of_dp_accounting(scale):
    ours = epsilon([(Laplace(scale * 4096, 4096), 30)], 1e-6)
    oracle = theirs(dp_accounting.LaplaceDpEvent(scale), 30, 1e-6)
    assert oracle * (1 - 1e-9) <= min(ours, 30 / scale) <= oracle * (1 + 1e-6)


def test_never_below_the_truth():
    """A privacy loss distribution, made optimistic, is below the truth: and so below ours."""
    for event, other in (
        (Gaussian(1.5), dp_accounting.GaussianDpEvent(1.5)),
        (Gaussian(1.0, 0.1), dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(1.0))),
        (Laplace(2 * 4096, 4096), dp_accounting.LaplaceDpEvent(2.0)),
    ):
        accountant = PLDAccountant(value_discretization_interval=1e-3)
        accountant.compose(other, 8)
        truth = accountant.get_epsilon(1e-5)
        ours = epsilon([(event, 8)], 1e-5)
        assert truth * (1 - 1e-2) <= ours <= truth * 1.6


def test_pure_mechanisms():
    assert epsilon([(Pure(0.5), 3)], 0) == pytest.approx(1.5)
    assert epsilon([(Pure(0.5), 3)], 0) >= 1.5
    assert epsilon([(Pure(0.1), 400)], 1e-5) < 0.5 * 40
    assert epsilon([(Gaussian(1.0), 1)], 0) == math.inf
    assert epsilon([], 1e-5) == epsilon([(Gaussian(1.0), 0)], 1e-5) == epsilon([(Gaussian(1.0, 0.0), 9)], 1e-5) == 0
    keep = 1 / (1 + math.exp(-0.8))
    expected = math.log(keep**3 * (1 - keep) ** -2 + (1 - keep) ** 3 * keep**-2) / 2
    assert renyi.pure(0.8, 3) == pytest.approx(expected)


events = st.one_of(
    st.builds(Gaussian, st.floats(0.3, 50), st.sampled_from([0.01, 0.3, 1.0]), st.sampled_from([0.0, 1e-6])),
    st.builds(Laplace, st.floats(0.5, 50), st.integers(1, 5)),
    st.builds(Pure, st.floats(0, 5)),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(events, st.integers(0, 30)), min_size=1, max_size=3), events)
def test_composition_only_adds(used, more):
    before = epsilon(used, 1e-5)
    assert epsilon([*used, (more, 1)], 1e-5) >= before * (1 - 1e-12)
    assert epsilon(used, 1e-3) <= before
    assert epsilon(used[::-1], 1e-5) == pytest.approx(before)
    assert epsilon([(event, 2 * count) for event, count in used], 1e-5) == pytest.approx(epsilon(used * 2, 1e-5))


@given(events, st.floats(1.05, 60), st.floats(1.05, 60))
def test_divergence_grows_with_the_order(event, a, b):
    low, high = sorted((a, b))
    if isinstance(event, Gaussian) and event.slack:
        event = Gaussian(event.multiplier, event.sampling)
    assert event.divergence(low) <= event.divergence(high) * (1 + 1e-9) + 1e-9


def test_less_noise_and_more_sampling_cost_more():
    costs = [epsilon([(Gaussian(2.0, sampling), 50)], 1e-6) for sampling in (0.0, 0.01, 0.1, 0.5, 0.999, 1.0)]
    assert costs == sorted(costs)
    costs = [epsilon([(Gaussian(multiplier, 0.1), 50)], 1e-6) for multiplier in (8, 4, 2, 1, 0.5)]
    assert costs == sorted(costs)
    assert epsilon([(Gaussian(2.0, slack=0.01), 1)], 1e-6) > epsilon([(Gaussian(2.0), 1)], 1e-6) + 0.02


@pytest.mark.parametrize(("target", "rounds", "sampling"), [(3.0, 100, 0.02), (1.0, 1, 1.0), (0.2, 10, 1.0)])
def test_least_multiplier(target, rounds, sampling):
    found = least_multiplier(target, 1e-5, rounds, sampling)
    assert epsilon([(Gaussian(found, sampling), rounds)], 1e-5) <= target
    assert epsilon([(Gaussian(found * 0.999, sampling), rounds)], 1e-5) > target


def test_parameters_out_of_range_are_refused():
    for make in (
        lambda: Gaussian(0), lambda: Gaussian(math.nan), lambda: Gaussian(1, 1.1), lambda: Gaussian(1, 0.5, -1),
        lambda: Laplace(0, 1), lambda: Laplace(1, 0), lambda: Pure(-1), lambda: Pure(math.inf),
        lambda: epsilon([], 1), lambda: epsilon([], -1), lambda: epsilon([(Pure(1), -1)], 0.1),
        lambda: least_multiplier(0, 1e-5, 1), lambda: least_multiplier(1, 0, 1), lambda: least_multiplier(1, 1e-5, 0),
        lambda: least_multiplier(1e-9, 1e-9, 10**6),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            make()


def test_spend_rounds_up_and_adds():
    assert spend([(Pure(0.5), 1)], 0) == Spend(500_001, 0)
    assert Spend.of(1.0, 1e-5) == Spend(1_000_000, 10_000_001)  # 1e-5 as a float is above it
    assert Spend.of(1e-9, 1e-15) == Spend(1, 1)
    assert Spend(1, 2) + Spend(3, 10**12) == Spend(4, 10**12)
    for wrong in ((math.inf, 0), (-1.0, 0), (1.0, 1.5), (math.nan, 0), (1e30, 0)):
        with pytest.raises(ValueError):
            Spend.of(*wrong)


@given(st.integers(0, 2**64 - 1), st.integers(0, 10**12))
def test_spend_travels(micros, picos):
    each = Spend(micros, picos)
    assert Spend.from_json(each.to_json()) == each


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b'{"delta_picos":"01","epsilon_micros":"1"}', b'{"delta_picos":1,"epsilon_micros":"1"}',
        b'{"epsilon_micros":"1","delta_picos":"1"}', b'{"delta_picos":"1","epsilon_micros":"18446744073709551616"}',
        b'{"delta_picos":"1000000000001","epsilon_micros":"1"}', b'{"delta_picos":"1","epsilon_micros":"1"}\n',
        b'{"delta_picos":"1","epsilon_micros":"\xd9\xa1"}',
    ],
)  # fmt: skip
def test_hostile_spends_are_refused(data):
    with pytest.raises(ValueError):
        Spend.from_json(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_spend_or_refused(data):
    with contextlib.suppress(ValueError):
        assert Spend.from_json(data).to_json() == data
