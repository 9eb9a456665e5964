"""Our Shamir shares beside MPyC's (PyPI `mpyc`), which is no dependency of ours: what one shares, the other reconstructs."""

from __future__ import annotations

import numpy as np
import pytest
from tallystick_node.engines.mpc.shamir import code, field

thresha = pytest.importorskip("mpyc.thresha", reason="MPyC is not installed: run `make setup`")
finfields = pytest.importorskip("mpyc.finfields")

FIELD = finfields.GF(field.ORDER)
VALUES = [0, 1, field.ORDER - 1, *field.random((20,)).tolist()]


@pytest.mark.parametrize(("number", "degree"), [(3, 1), (5, 2), (9, 4)])
def test_mpyc_reconstructs_our_shares(number, degree) -> None:
    points = range(1, number + 1)
    shares = [share.tolist() for share in code.deal(np.array(VALUES, np.uint64), degree, points)]
    for first in range(number - degree):
        chosen = [(point, shares[point - 1]) for point in points[first : first + degree + 1]]
        assert [value % field.ORDER for value in thresha.recombine(FIELD, chosen)] == VALUES
        other = [value % field.ORDER for value in thresha.recombine(FIELD, chosen, number + 3)]  # another member's share
        given = {point: np.array(share, np.uint64) for point, share in chosen}
        assert code.reconstruct(given, degree, at=number + 3).values.tolist() == other


@pytest.mark.parametrize(("number", "degree"), [(3, 1), (5, 2), (9, 4)])
def test_we_reconstruct_mpycs_shares_and_products(number, degree) -> None:
    values = [FIELD(value) for value in VALUES]
    shares = thresha.random_split(FIELD, values, degree, number)
    given = {point: np.array(share, np.uint64) for point, share in enumerate(shares, 1)}
    assert code.reconstruct(given, degree).values.tolist() == VALUES
    squares = {point: field.multiply(share, share) for point, share in given.items()}
    assert code.reconstruct(squares, 2 * degree).values.tolist() == [(value * value).value for value in values]
