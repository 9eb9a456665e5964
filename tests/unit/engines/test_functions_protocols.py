"""The same functions on every protocol: each gives what the ideal functionality gives, within the stated error.

All cases of a protocol run in one session, so that what it prepares once is prepared once.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc.beaver.dealer import Dealer
from tallystick_node.engines.mpc.beaver.dealt import DealtAdditive
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.functions import (
    compare,
    divide,
    exponential,
    extreme,
    group,
    linear,
    moments,
    order,
    polynomial,
    root,
    select,
    sigmoid,
    sort,
)
from tallystick_node.engines.mpc.malicious.protocol import MaliciousReplicated
from tallystick_node.engines.mpc.replicated.protocol import Replicated
from tallystick_node.engines.mpc.ring import FixedPoint
from unit.engines.conftest import run_parties
from unit.engines.ideal import clear, grid, opened

F = 18
ULP = 2.0**-F
X = grid([0, ULP, -ULP, 1, -1, 2.5, -2.5, 7.75, -8, 9, 3.25, 3.25, -100, 1000.5, 0.001, -0.75], F)
Y = np.roll(X, 3)
POSITIVE = np.abs(X) + ULP
KEYS = grid([3, 1, 3, 3, 2, 1, 3, 2, 9, 1, 9, 3, 3, 2, 2, 1], F)

# name: function of the protocol and two arrays; the arrays; error allowed, relative and absolute, beyond that of the ideal one
CASES = {
    "less": (lambda p, x, y: compare.less(p, x, y), X, Y, 0, 0),
    "equal": (lambda p, x, y: compare.equal(p, x, y), X, Y, 0, 0),
    "is_in": (lambda p, x, y: compare.is_in(p, x, values=(1, 3.25, 7), fraction=F), X, Y, 0, 0),
    "one_hot": (lambda p, x, y: compare.one_hot(p, x, size=4, fraction=F), KEYS, Y, 0, 0),
    "select": (lambda p, x, y: select.select(p, compare.less(p, x, y), x, y), X, Y, 0, 0),
    "clip": (lambda p, x, y: select.clip(p, x, low=-2, high=2.75, fraction=F), X, Y, 0, 0),
    "sign": (lambda p, x, y: select.sign(p, x, fraction=F), X, Y, 0, 0),
    "argmax": (lambda p, x, y: extreme.argmax(p, x), X, Y, 0, 0),
    "amin": (lambda p, x, y: extreme.amin(p, x.reshape(4, 4), axis=0), X, Y, 0, 0),
    "relu of none": (lambda p, x, y: select.relu(p, x[:0]), X, Y, 0, 0),
    "sigmoid of none": (lambda p, x, y: sigmoid.sigmoid(p, x[:0], fraction=F), X, Y, 0, 0),
    "quotient of none": (lambda p, x, y: divide.divide(p, x[:0], y[:0], fraction=F), X, Y, 0, 0),
    "sort of one": (lambda p, x, y: sort.sort(p, x[3:4]), X, Y, 0, 0),
    "sort of two": (lambda p, x, y: sort.sort(p, x[3:5]), X, Y, 0, 0),
    "scale": (lambda p, x, y: divide.scale(p, x, factor=0.3), X, Y, 0, 3 * ULP),
    "divide": (lambda p, x, y: divide.divide(p, x, y, fraction=F), X, Y, 2.0**-17, 8 * ULP),
    "square_root": (lambda p, x, y: root.square_root(p, x, fraction=F), X, Y, 2.0**-19, 5 * ULP),
    "inverse_square_root": (lambda p, x, y: root.inverse_square_root(p, x, fraction=F), X, Y, 2.0**-19, 5 * ULP),
    "exp": (lambda p, x, y: exponential.exp(p, x, fraction=F), X, Y, 2.0**-16, 5 * ULP),
    "log": (lambda p, x, y: exponential.log(p, x, fraction=F), X, Y, 0, 6 * ULP),
    "softmax": (lambda p, x, y: exponential.softmax(p, x.reshape(4, 4), fraction=F), X, Y, 0, 2.0**-14),
    "sigmoid": (lambda p, x, y: sigmoid.sigmoid(p, x, fraction=F), X, Y, 0, 2e-3),
    "power": (lambda p, x, y: polynomial.power(p, x, exponent=3, fraction=F), Y / 128, Y, 0, 30 * ULP),
    "polynomial": (lambda p, x, y: polynomial.polynomial(p, x, coefficients=(1, -2, 0.5, 3), fraction=F), X / 1024, Y, 0, 30 * ULP),
    "norm": (lambda p, x, y: linear.norm(p, x, fraction=F), X, Y, 2.0**-19, 5 * ULP),
    "variance": (lambda p, x, y: moments.variance(p, x, fraction=F), X / 16, Y, 0, 400 * ULP),
    "sort": (lambda p, x, y: sort.sort(p, x), X, Y, 0, 0),
    "argsort": (lambda p, x, y: sort.argsort(p, x, bits=62, descending=True), X, Y, 0, 0),
    "rank": (lambda p, x, y: order.rank(p, x), X, Y, 0, 0),
    "top_k": (lambda p, x, y: order.top_k(p, x, y, k=3)[1], X, Y, 0, 0),
    "quantile": (lambda p, x, y: order.quantile(p, x.reshape(8, 2), q=[0.1, 0.5]), X, Y, 0, 4 * ULP),
    "group_sums": (lambda p, x, y: group.group_sums(p, x, y, limit=5)[3], KEYS, Y, 0, 0),
    "group_extremes": (lambda p, x, y: group.group_extremes(p, x, y)[2], KEYS, Y, 0, 0),
    "group_public": (lambda p, x, y: group.group_public(p, x, y, size=4, fraction=F)[1], KEYS, Y, 0, 0),
}


def answers(protocol) -> dict[str, np.ndarray]:
    """Every case's result, as numbers; both arrays belong to party 0."""
    encode = FixedPoint(F).encode
    results = {}
    for name, (function, left, right, _, _) in CASES.items():
        owned = [protocol.share(0, each.shape, encode(each) if protocol.index == 0 else None) for each in (left, right)]
        results[name] = opened(protocol, function(protocol, *owned), F)
    return results


def dealt(session):
    if session.index == 2:
        return Dealer(session).serve()
    protocol = DealtAdditive(session, 2)
    try:
        return answers(protocol)
    finally:
        protocol.close()


PROTOCOLS = {
    "replicated": (3, lambda session: answers(Replicated(session))),
    "malicious": (3, lambda session: answers(MaliciousReplicated(session))),
    "dealt": (3, dealt),
    "two-party": (2, lambda session: answers(ObliviousAdditive(session))),
}


@cache
def outcome(protocol: str) -> list[dict[str, np.ndarray]]:
    parties, engine = PROTOCOLS[protocol]
    results = [each for each in run_parties(local_sessions(parties), engine) if each is not None]
    for each in results:
        if isinstance(each, Exception):
            raise each
    return results


@cache
def ideal() -> dict[str, np.ndarray]:
    return answers(clear())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("case", CASES)
def test_a_protocol_gives_what_the_ideal_functionality_gives(protocol, case) -> None:
    *_, relative, absolute = CASES[case]
    first, *others = (each[case] for each in outcome(protocol))
    assert all((each == first).all() for each in others)
    expected = ideal()[case]
    assert first.shape == expected.shape
    if first.dtype == bool:
        assert (first == expected).all()
    else:
        assert (np.abs(first - expected) <= relative * np.abs(expected) + absolute).all()
