"""BN254 and Pedersen against py-ecc, the laws of the group, and hostile encodings."""

import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc import bn128
from tallystick.commitments import bn254, pedersen

G = (1, 2)
SCALARS = st.one_of(
    st.integers(-5, 5),
    st.integers(0, bn254.ORDER),
    st.integers(-(2**70), 2**70),
    st.just(bn254.ORDER),
    st.just(bn254.ORDER - 1),
)


def reference(scalar: int) -> bn254.Point:
    point = bn128.multiply(bn128.G1, scalar % bn254.ORDER)
    return None if point is None else (int(point[0]), int(point[1]))


@settings(max_examples=25)
@given(SCALARS)
def test_multiply_equals_py_ecc(scalar):
    assert bn254.multiply(G, scalar) == reference(scalar)


@settings(max_examples=25)
@given(st.lists(st.tuples(SCALARS, SCALARS), max_size=12))
def test_msm_is_the_sum_of_the_products(pairs):
    points = [reference(a) for a, _ in pairs]
    assert bn254.msm(points, [b for _, b in pairs]) == reference(sum(a * b for a, b in pairs))


def test_msm_of_many_terms_with_equal_and_opposite_points():
    exponents = [secrets.randbelow(bn254.ORDER) for _ in range(8)] * 20
    scalars = [secrets.randbelow(bn254.ORDER) for _ in exponents]
    points = [bn254.multiply(G, each) for each in exponents]
    points[3] = bn254.neg(points[4])
    exponents[3] = -exponents[4]
    expected = sum(a * b for a, b in zip(exponents, scalars, strict=True))
    assert bn254.msm(points, scalars) == reference(expected)


@settings(max_examples=25)
@given(SCALARS, SCALARS)
def test_addition_equals_py_ecc(a, b):
    left, right = reference(a), reference(b)
    assert bn254.add(left, right) == reference(a + b) == bn254.total([left, right])
    assert bn254.add(left, bn254.neg(left)) is None


def test_msm_refuses_lengths_that_differ():
    with pytest.raises(ValueError, match="as many scalars"):
        bn254.msm([G], [])


def test_encoding_round_trip():
    for point in (None, G, reference(12345)):
        assert bn254.decode(bn254.encode(point)) == point
    assert bn254.encode(None) == bytes(64)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        bytes(63),
        bytes(65),
        (1).to_bytes(32, "big") + (3).to_bytes(32, "big"),
        (bn254.P + 1).to_bytes(32, "big") + (2).to_bytes(32, "big"),
        (1).to_bytes(32, "big") + (bn254.P + 2).to_bytes(32, "big"),
        bn254.P.to_bytes(32, "big") + bytes(32),
        bytes(32) + (1).to_bytes(32, "big"),
        b"\xff" * 64,
    ],
)
def test_hostile_encodings_are_refused(encoded):
    with pytest.raises(ValueError, match="BN254"):
        bn254.decode(encoded)


def test_generators_are_on_the_curve_distinct_and_stable():
    points, blind = pedersen.generators(40)
    assert all(bn254.is_on_curve(each) for each in [*points, blind])
    assert len({*points, blind}) == 41
    assert pedersen.generators(7)[0] == points[:7]


@settings(max_examples=15)
@given(st.lists(st.tuples(SCALARS, SCALARS), min_size=1, max_size=6), SCALARS, SCALARS)
def test_commitments_are_homomorphic(pairs, r, s):
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    both = bn254.add(pedersen.commit(left, r), pedersen.commit(right, s))
    pedersen.verify_opening(both, [a + b for a, b in pairs], r + s)


def test_commitment_equals_py_ecc():
    points, blind = pedersen.generators(2)

    def lift(point):
        return bn128.FQ(point[0]), bn128.FQ(point[1])

    terms = zip([*points, blind], [7, 8, 9], strict=True)
    expected = None
    for point, scalar in terms:
        expected = bn128.add(expected, bn128.multiply(lift(point), scalar))
    assert pedersen.commit([7, 8], 9) == (int(expected[0]), int(expected[1]))


@pytest.mark.parametrize(("values", "blinding"), [([1, 2], 4), ([1, 3], 3), ([2, 1], 3), ([1], 3), ([-1, 2], 3)])
def test_a_wrong_opening_is_refused(values, blinding):
    point = pedersen.commit([1, 2], 3)
    pedersen.verify_opening(point, [1, 2], 3)
    with pytest.raises(pedersen.OpeningMismatch):
        pedersen.verify_opening(point, values, blinding)
