"""Arithmetic modulo 2^255 - 19 against Python's integers, at the limits of every bound too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick_node.engines.psi import field25519 as field
from tallystick_node.engines.psi.field25519 import LANES, LIMBS, WORDS, P

EDGES = [0, 1, 2, 19, P - 1, P, P + 1, P + 18, 2**255 - 1, 2**254, 2**26 - 1, 2**51, 2**230 - 1, (P - 1) // 2]
numbers = st.lists(st.one_of(st.sampled_from(EDGES), st.integers(0, 2**255 - 1)), min_size=LANES, max_size=LANES)


def row(values):
    packed = b"".join(value.to_bytes(32, "little") for value in values)
    return field.from_bytes(np.frombuffer(packed, np.uint8).reshape(-1, 32))[0]


def values(found, count=LANES):
    return [int.from_bytes(each.tobytes(), "little") for each in field.to_bytes(found.reshape(1, WORDS), count)]


def reduced(many):
    return [each % P for each in many]


@given(numbers)
def test_packing_is_undone_and_reduces(many):
    assert values(row(many)) == reduced(many)


@given(numbers, numbers)
def test_ring_operations(left, right):
    f, g, h = row(left), row(right), np.empty(WORDS, np.uint64)
    pairs = list(zip(left, right, strict=True))
    field.multiply(h, f, g)
    assert values(h) == [a * b % P for a, b in pairs]
    field.square(h, f)
    assert values(h) == [a * a % P for a in left]
    difference = np.empty(WORDS, np.uint64)
    field.sum_and_difference(h, difference, f, g)
    assert values(h) == [(a + b) % P for a, b in pairs]
    assert values(difference) == [(a - b) % P for a, b in pairs]
    field.subtract(h, f, g)
    assert values(h) == [(a - b) % P for a, b in pairs]
    field.carry(h, f, g, np.uint64(121665))
    assert values(h) == [(a + 121665 * b) % P for a, b in pairs]


@given(numbers, numbers)
def test_inverse_and_character(left, right):
    f, h = row(left), np.empty(WORDS, np.uint64)
    field.invert(h, f)
    assert values(h) == [pow(a, -1, P) if a % P else 0 for a in left]
    field.legendre(h, f)
    assert values(h) == [pow(a, (P - 1) // 2, P) for a in left]
    many = np.stack([row([a % P or 1 for a in side]) for side in (left, right, left)])
    out = np.empty_like(many)
    field.invert_all(out, many)
    assert values(out[1]) == [pow(a % P or 1, -1, P) for a in right]
    assert values(out[2]) == [pow(a % P or 1, -1, P) for a in left]


def test_the_largest_factors_that_the_bounds_allow():
    """What a sum and a difference can leave of carried numbers, in every limb at once."""
    carried = np.array([(1 << (25 if i % 2 else 26)) + (1 << 17) - 1 for i in range(LIMBS)], np.uint64)
    high, zero = np.repeat(carried, LANES), np.zeros(WORDS, np.uint64)
    added, taken, product = (np.empty(WORDS, np.uint64) for _ in range(3))
    field.sum_and_difference(added, product, high, high)
    field.subtract(taken, high, zero)
    for f in (added, taken):
        for g in (added, taken):
            field.multiply(product, f, g)
            assert values(product) == [whole(f) * whole(g) % P] * LANES
            assert (product.reshape(LIMBS, LANES) <= carried[:, None]).all()
        field.square(product, f)
        assert values(product) == [whole(f) ** 2 % P] * LANES
        assert (product.reshape(LIMBS, LANES) <= carried[:, None]).all()


def whole(many):
    shifts = [0, 26, 51, 77, 102, 128, 153, 179, 204, 230]
    return sum(int(many[i * LANES]) << shift for i, shift in enumerate(shifts))


@pytest.mark.parametrize("bit", [0, 1])
def test_swap(bit):
    f, g = row([1] * LANES), row([2] * LANES)
    field.swap(f, g, np.uint64(2**64 - bit if bit else 0))
    assert (values(f)[0], values(g)[0]) == ((2, 1) if bit else (1, 2))
