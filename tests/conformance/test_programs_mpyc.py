"""The same programs, written for MPyC (PyPI `mpyc`) and for our arrays, give the same numbers.

MPyC runs with one party here: what is compared is what the programs compute. Integers must agree exactly; fixed-point numbers
within the errors that both state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tallystick_node.engines.mpc import array as sa

runtime = pytest.importorskip("mpyc.runtime", reason="MPyC is not installed: run `make setup`")
mpc = runtime.mpc
PARTIES = ["alder", "birch", "cedar"]
ORDER = np.random.default_rng(11)
X = ORDER.integers(-1000, 1000, 24)
Y = ORDER.integers(-1000, 1000, 24)
A = ORDER.integers(-50, 50, (4, 6))
B = ORDER.integers(-50, 50, (6, 3))
REAL = ORDER.uniform(0.5, 6, 16)
OTHER = ORDER.uniform(0.5, 6, 16)

Program = Callable[..., Any]


def ours(program: Program, *inputs: np.ndarray, protocol: str) -> np.ndarray:
    with sa.simulate(PARTIES, protocol):
        secrets = [sa.secret(values, owner=PARTIES[number % 3]) for number, values in enumerate(inputs)]
        return np.asarray(sa.reveal(program(*secrets)))


def theirs(program: Program, kind: Any, *inputs: np.ndarray) -> np.ndarray:
    async def run() -> Any:
        return await mpc.output(program(*(kind.array(values) for values in inputs)))

    return np.array(mpc.run(run()), dtype=float)


INTEGERS = {
    "product": (lambda x, y: x * y, lambda x, y: x * y, (X, Y)),
    "matrix product": (lambda a, b: a @ b, lambda a, b: a @ b, (A, B)),
    "inner product less a sum": (
        lambda x, y: (x * y).sum() - 3 * x.sum(),
        lambda x, y: mpc.np_sum(x * y) - 3 * mpc.np_sum(x),
        (X, Y),
    ),
    "comparison": (lambda x, y: (x < y).astype(int), lambda x, y: x < y, (X, Y)),
    "equality": (lambda x, y: (x == y).astype(int), lambda x, y: x == y, (X, np.where(X % 2, X, Y))),
    "sort": (lambda x: sa.sort(x), lambda x: mpc.np_sort(x), (X,)),
    "greatest": (lambda x: x.max(), lambda x: mpc.np_amax(x), (X,)),
    "place of the least": (lambda x: x.argmin(), lambda x: mpc.np_argmin(x), (X,)),
    "magnitude": (lambda x: abs(x), lambda x: mpc.np_absolute(x), (X,)),
    "choice": (lambda x, y: sa.where(x < y, x * x, y), lambda x, y: mpc.np_where(x < y, x * x, y), (X, Y)),
    "counting": (lambda x, y: ((x > 0) & (y > 0)).sum(), lambda x, y: mpc.np_sum((x > 0) * (y > 0)), (X, Y)),
}


@pytest.mark.parametrize("protocol", ["replicated", "replicated-malicious"])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_agree_exactly(name, protocol) -> None:
    mine, other, inputs = INTEGERS[name]
    assert (ours(mine, *inputs, protocol=protocol) == theirs(other, mpc.SecInt(64), *inputs)).all()


REALS = {
    "product": (lambda x, y: x * y, lambda x, y: x * y, (REAL, OTHER)),
    "variance": (
        lambda x: ((x - x.mean()) * (x - x.mean())).mean(),
        lambda x: mpc.np_sum((x - mpc.np_sum(x) / len(REAL)) ** 2) / len(REAL),
        (REAL,),
    ),
    "polynomial": (lambda x: 1 + x * (0.5 + x * 0.25), lambda x: 1 + x * (0.5 + x * 0.25), (REAL,)),
}


@pytest.mark.parametrize("name", REALS)
def test_fixed_point_agrees_within_its_errors(name) -> None:
    mine, other, inputs = REALS[name]
    found, expected = ours(mine, *inputs, protocol="replicated"), theirs(other, mpc.SecFxp(64, 18), *inputs)
    assert np.abs(found - expected).max() < 40 * 2.0**-18
