"""The field of 2^61 - 1 and the code of shares, against Python's integers: every law, every number of wrong shares."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.mpc.ring import OutOfRange
from tallystick_node.engines.mpc.shamir import code, field
from tallystick_node.engines.mpc.shamir.field import MAGNITUDE, ORDER

EDGES = [0, 1, 2, 7, 8, (1 << 29) - 1, 1 << 29, (1 << 32) - 1, 1 << 32, 1 << 60, ORDER - 2, ORDER - 1]
element = st.one_of(st.integers(0, ORDER - 1), st.sampled_from(EDGES))
pairs = st.lists(st.tuples(element, element), min_size=1, max_size=40)


def array(values) -> np.ndarray:
    return np.array(values, np.uint64)


@given(pairs)
def test_operations_are_those_of_integers(values) -> None:
    a, b = (list(side) for side in zip(*values, strict=True))
    x, y = array(a), array(b)
    assert field.add(x, y).tolist() == [(p + q) % ORDER for p, q in values]
    assert field.multiply(x, y).tolist() == [p * q % ORDER for p, q in values]
    assert field.negate(x).tolist() == [-p % ORDER for p in a]
    assert int(field.total(x)) == sum(a) % ORDER
    assert field.total(np.stack([x, y]), axis=0).tolist() == [(p + q) % ORDER for p, q in values]
    matrix = [[a[0], b[0]], [ORDER - 1, ORDER - 1]]
    wanted = [[(row[0] * p + row[1] * q) % ORDER for p, q in values] for row in matrix]
    assert [found.tolist() for found in field.combine(matrix, [x, y])] == wanted


def test_products_of_edges_and_of_arrays_that_broadcast() -> None:
    x = array(EDGES)
    assert field.multiply(x[:, None], x).tolist() == [[p * q % ORDER for q in EDGES] for p in EDGES]
    assert field.combine([], [x]) == []
    many = np.full(5000, ORDER - 1, np.uint64)  # over several pieces, sums at their largest
    assert set(field.combine([[ORDER - 1] * 9], [many] * 9)[0].tolist()) == {9}
    assert int(field.total(many)) == -5000 % ORDER


def test_integers() -> None:
    values = np.array([0, 1, -1, MAGNITUDE - 1, 1 - MAGNITUDE])
    assert field.decode(field.encode(values)).tolist() == values.tolist()
    assert field.encode([-1]).tolist() == [ORDER - 1]
    for wrong in ([MAGNITUDE], [-MAGNITUDE], array([2**63])):
        with pytest.raises(OutOfRange):
            field.encode(wrong)
    with pytest.raises(TypeError):
        field.encode([0.5])


def test_random_elements_are_elements() -> None:
    drawn = field.random((3, 10_000))
    assert field.are_elements(drawn)
    assert len(np.unique(drawn)) == drawn.size
    assert abs(drawn.astype(float).mean() / ORDER - 0.5) < 0.013  # nearly 8 standard deviations
    assert not field.are_elements(array([ORDER]))


def test_a_word_of_ones_is_drawn_again() -> None:
    class Ones(Stream):
        """A stream whose first words have all bits set."""

        def fill(self, out) -> None:
            out[:] = b"\xff" * len(out) if not hasattr(self, "used") else b"\x05" * len(out)
            self.used = True

    assert field.expand(Ones(bytes(16)), (4,)).tolist() == [0x0505050505050505] * 4


# -- shares


@given(values=st.lists(element, min_size=1, max_size=5), degree=st.integers(0, 4), extra=st.integers(1, 4), data=st.data())
@settings(max_examples=60)
def test_any_of_enough_shares_give_the_values(values, degree, extra, data) -> None:
    points = data.draw(st.lists(st.integers(1, 50), min_size=degree + extra, max_size=degree + extra, unique=True))
    secret = array(values)
    shares = dict(zip(points, code.deal(secret, degree, points), strict=True))
    for few in combinations(points, degree + 1):
        found = code.reconstruct({point: shares[point] for point in few}, degree)
        assert (found.values == secret).all()
        assert found.wrong == ()
    assert (code.reconstruct({point: shares[point] for point in points[1:] + points[:1]}, degree).values == secret).all()
    if degree:
        with pytest.raises(code.Inconsistent, match="too few"):
            code.reconstruct({point: shares[point] for point in points[:degree]}, degree)
    if extra > 1:  # the share at a point from the others
        others = {point: shares[point] for point in points[1:]}
        assert (code.reconstruct(others, degree, at=points[0]).values == shares[points[0]]).all()


@pytest.mark.parametrize(("number", "degree"), [(3, 1), (4, 1), (5, 1), (5, 2), (7, 2), (8, 1), (9, 3)])
def test_wrong_shares_are_found_or_noticed(number, degree) -> None:
    """Each of the surplus is noticed; half of it is named and left out, whichever they are and however little they are off."""
    points = range(1, number + 1)
    secret = field.random((30,))
    shares = dict(zip(points, code.deal(secret, degree, points), strict=True))
    surplus = number - degree - 1
    for count in range(1, surplus + 1):
        for bad in list(combinations(points, count))[:12]:
            given = {point: share.copy() for point, share in shares.items()}
            for place, point in enumerate(bad):
                given[point][place] = (int(given[point][place]) + 1 + place) % ORDER
            if 2 * count <= surplus:
                found = code.reconstruct(given, degree)
                assert (found.values == secret).all()
                assert found.wrong == bad
            else:
                with pytest.raises(code.Inconsistent) as caught:
                    code.reconstruct(given, degree)
                assert caught.value.points == tuple(points)


def test_shares_of_another_polynomial_of_higher_degree_are_noticed() -> None:
    points = range(1, 6)
    shares = dict(zip(points, code.deal(field.random((1,)), 2, points), strict=True))
    with pytest.raises(code.Inconsistent):
        code.reconstruct(shares, 1)


def test_as_few_shares_as_the_threshold_say_nothing() -> None:
    """Two shares of five, threshold two: uniform together, whatever the secret, and fresh. Counted in cells of a square."""
    for secret in (0, ORDER - 1):
        first, second, *_ = code.deal(np.full(40_000, secret, np.uint64), 2, range(1, 6))
        cells = (first.astype(object) * 8 // ORDER * 8 + second.astype(object) * 8 // ORDER).astype(np.int64)
        counts = np.bincount(cells, minlength=64)
        assert ((counts - 625) ** 2 / 625).sum() < 180  # chi-square, 63 degrees of freedom: by chance once in 10^12
        assert len(np.unique(first)) == len(first)


def test_a_third_share_with_them_gives_the_secret() -> None:
    """What the test above would show if the degree were too small."""
    first, second, *_ = code.deal(np.zeros(1000, np.uint64), 1, range(1, 6))
    assert (second == field.add(first, first)).all()


def test_lagrange_weights_are_those_of_the_definition() -> None:
    points = [2, 3, 7]
    for at in (0, 5, 7):
        weights = code.lagrange(points, at)
        for degree in range(3):
            assert sum(w * point**degree for w, point in zip(weights, points, strict=True)) % ORDER == at**degree
