"""The logistic function of the checked protocol: where a number lies, the error everywhere, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
from tallystick_node.engines.mpc.functions.sigmoid import OffersSigmoid
from tallystick_node.engines.mpc.malicious import MaliciousReplicated, conjunctions
from tallystick_node.engines.mpc.malicious import protocol as checked
from tallystick_node.engines.mpc.protocol import Binary
from unit.engines.test_malicious import given_by, revealed, together


def logistic(x):
    return 0.5 * (1 + np.tanh(x / 2))


def located(values, place):
    """Whether each is below, inside, and inside and negative."""

    def engine(protocol):
        secret = given_by(protocol, 2, values.view(np.uint64))
        return [protocol.reveal_binary(Binary(pair)) for pair in protocol._conversions.interval(secret.parts, place)]

    return together(engine)[0]


@pytest.mark.parametrize("place", [3, 4, 9, 10])
def test_limits_are_exact_where_nothing_is_cut(place) -> None:
    edge = 1 << place
    far = [sign * (1 << power) - step for power in (11, 30, 45, 61) for sign in (-1, 1) for step in (0, 1)]
    x = np.concatenate([np.arange(-3 * edge, 3 * edge), far])
    below, inside, lower = located(x, place)
    assert (below == (x < -edge)).all()
    assert (inside == ((x >= -edge) & (x < edge))).all()
    assert (lower == ((x >= -edge) & (x < 0))).all()


@pytest.mark.parametrize("place", [11, 21, 27])
def test_limits_are_met_closely_where_low_bits_are_cut(place) -> None:
    edge, slack = 1 << place, 3 << (place - 10)
    x = np.random.default_rng(place).integers(-2 * edge, 2 * edge, 20_000)
    near = np.concatenate([np.arange(-slack - 9, slack + 9, max(1, slack // 40)) + limit for limit in (-edge, 0, edge)])
    x = np.concatenate([x, near, [(1 << 62) - edge - 1, edge + 1 - (1 << 62)]])
    below, inside, lower = located(x, place)
    assert not (below & inside).any() and not (lower & ~inside & 1).any()
    for bit, limit in ((below, -edge), (below | inside, edge), (below | lower, 0)):
        assert bit[x < limit].all() and not bit[x >= limit + slack].any()


@pytest.mark.parametrize("fraction", [1, 2, 8, 18, 24])
def test_the_error_is_below_the_bound_everywhere(fraction) -> None:
    unit = 2.0**-fraction
    x = np.concatenate([np.linspace(-9, 9, 20_001), [edge + step * unit for edge in (-8, 0, 8) for step in range(-3, 4)]])
    given = np.rint(x / unit).astype(np.int64)
    most = (1 << 62) - (1 << (fraction + 3)) - 1
    given = np.concatenate([given, [most, -most, 1 << 40, -(1 << 40)]])
    found = revealed(lambda protocol, a: protocol.sigmoid_fixed(a, fraction), given.view(np.uint64)).view(np.int64)
    assert np.abs(found * unit - logistic(given * unit)).max() <= 1e-3 + 2 * unit


def test_pieces_and_shapes(monkeypatch) -> None:
    monkeypatch.setattr(checked, "_PIECE", 7)
    monkeypatch.setattr(conjunctions, "BATCH", 20)
    x = np.linspace(-9, 9, 24).reshape(4, 6)
    given = np.rint(x * 2**18).astype(np.int64).view(np.uint64)
    found = revealed(lambda protocol, a: protocol.sigmoid_fixed(a, 18), given).view(np.int64)
    assert found.shape == (4, 6) and np.abs(found / 2**18 - logistic(x)).max() < 1e-3
    assert revealed(lambda protocol, a: protocol.sigmoid_fixed(a, 18), given[:0]).shape == (0, 6)


def test_what_it_costs() -> None:
    count = 6400
    given = np.zeros(count, np.uint64)

    def engine(protocol):
        secret = given_by(protocol, 0, given)
        protocol.sigmoid_fixed(secret, 18)
        return protocol.cost()["interval"]

    for step in together(engine):
        assert step.bytes == 225 * count // 8
        assert step.rounds in (13, 14)  # who sent last before goes on with the same round


def test_the_functions_find_it() -> None:
    assert issubclass(MaliciousReplicated, OffersSigmoid)
