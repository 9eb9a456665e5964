"""Range proofs: what is in range is proved, what is not cannot be, and no proof serves for another statement."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc import optimized_bn128 as reference
from py_ecc.fields import optimized_bn128_FQ as Element
from tallystick.commitments import bn254, pedersen, ranges
from tallystick.commitments.bn254 import ORDER
from tallystick.commitments.ranges import TOTAL, Form, OutOfRange, Proof, RangeRefused, Shape
from tallystick.ethereum import keccak

CONTEXT = bytes(range(32))
BYTE = Form(4, 0, ((0, 1),))
SHAPE = Shape(2, (BYTE, Form(3, 5, ((1, 1), (0, -2)))), (Form(4, -10, ((0, 1),)),))
VECTOR, BLINDING = [30, 60], 987654321
FEW = settings(max_examples=8, deadline=None)


def proved(vector=VECTOR, shape=SHAPE, place=1, context=CONTEXT, blinding=BLINDING) -> Proof:
    return ranges.prove(context, shape.to_bytes(), place, shape.inputs, vector, blinding)


def check(proof, shape=SHAPE, place=1, context=CONTEXT, commitment=None):
    commitment = commitment or pedersen.commit(VECTOR, BLINDING)
    ranges.verify(context, shape.to_bytes(), place, shape.inputs, commitment, proof)


def cheating(monkeypatch, digits):
    """A prover that does all as the protocol says, with these digits."""
    monkeypatch.setattr(Form, "digits_of", lambda form, _: digits[: form.digits])


@FEW
@given(st.data())
def test_whatever_is_in_range_is_proved_and_read_back(data):
    digits = data.draw(st.integers(1, 5))
    coefficients = data.draw(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=3))
    vector = data.draw(st.lists(st.integers(-(10**9), 10**9), min_size=3, max_size=3))
    value = data.draw(st.integers(0, 4**digits - 1))
    terms = tuple(enumerate(coefficients))
    form = Form(digits, value - sum(c * vector[k] for k, c in terms), terms)
    shape = Shape(3, (form, Form(1, 2 - vector[2], ((2, 1),))), (form,))
    proof = proved(vector, shape)
    assert Proof.parse(proof.to_bytes(), 3, shape.inputs) == proof
    assert Shape.read(shape.to_bytes() + b"rest") == (shape, len(shape.to_bytes()))
    check(proof, shape, commitment=pedersen.commit(vector, BLINDING))


@pytest.mark.parametrize("value", [-1, 256, ORDER - 1, 1 << 250])
def test_what_is_out_of_range_has_no_proof(value):
    with pytest.raises(OutOfRange):
        proved([value, 2 * value])


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        (256, [0, 0, 0, 4]),  # 2^b: one digit too large
        (-1, [3, 3, 3, -1]),  # 63 - 64
        (ORDER - 1, [-1, 0, 0, 0]),
        (1000, [1000, 0, 0, 0]),
    ],
)
def test_a_prover_that_cheats_with_digits_is_refused(monkeypatch, value, digits):
    shape = Shape(1, (BYTE,), (BYTE,))
    assert sum(digit << (2 * j) for j, digit in enumerate(digits)) % ORDER == value % ORDER
    cheating(monkeypatch, digits)
    with pytest.raises(RangeRefused):
        check(proved([value], shape), shape, commitment=pedersen.commit([value], BLINDING))


def test_a_prover_that_cheats_with_another_value_is_refused(monkeypatch):
    """The digits are those of 5, the commitment is to 300."""
    shape = Shape(1, (BYTE,), (BYTE,))
    cheating(monkeypatch, [1, 1, 0, 0])
    with pytest.raises(RangeRefused):
        check(proved([300], shape), shape, commitment=pedersen.commit([300], BLINDING))


def test_a_proof_is_of_one_context_place_and_shape_and_commitment():
    proof = proved()
    check(proof)
    wider = replace(SHAPE, inputs=(BYTE, replace(SHAPE.inputs[1], offset=6)))
    others = (
        {"context": bytes(32)},
        {"place": 0},
        {"place": TOTAL},
        {"shape": wider},
        {"shape": replace(SHAPE, total=(BYTE,))},
        {"commitment": pedersen.commit(VECTOR, BLINDING + 1)},
        {"commitment": bn254.neg(pedersen.commit(VECTOR, BLINDING))},
    )
    for other in others:
        with pytest.raises(RangeRefused):
            check(proof, **other)


def test_no_part_of_a_proof_can_be_changed():
    proof = proved()
    point = bn254.multiply((1, 2), 7)
    changed = [replace(proof, points=(*proof.points[:k], point, *proof.points[k + 1 :])) for k in range(7)]
    for name in ("values", "digits", "blindings"):
        numbers = getattr(proof, name)
        changed += [
            replace(proof, **{name: (*numbers[:k], (numbers[k] + 1) % ORDER, *numbers[k + 1 :])}) for k in range(len(numbers))
        ]
    for other in changed:
        with pytest.raises(RangeRefused):
            check(other)


def test_bytes_have_one_reading():
    data = proved().to_bytes()
    scalars = 64 * ranges.POINT_COUNT
    bad = (
        data[:-1],
        data + bytes(32),
        data[:scalars] + ORDER.to_bytes(32, "big") + data[scalars + 32 :],
        (bn254.P + 1).to_bytes(32, "big") + data[32:],
        (1).to_bytes(32, "big") + (3).to_bytes(32, "big") + data[64:],
    )
    for other in bad:
        with pytest.raises(RangeRefused):
            Proof.parse(other, 2, SHAPE.inputs)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_hostile_shapes_are_refused_by_value_errors_alone(data):
    small = b"".join(byte.to_bytes(32, "big") for byte in data[:24])
    for each in (data, small, SHAPE.to_bytes()[: len(data)] + data):
        try:
            shape, end = Shape.read(each)
        except ValueError:
            continue
        assert shape.to_bytes() == each[:end]


@pytest.mark.parametrize(
    "arguments",
    [
        (0, (BYTE,), (BYTE,)),
        (127, (BYTE,), (BYTE,)),
        (1, (), (BYTE,)),
        (1, (BYTE,) * 65, (BYTE,)),
        (1, (Form(0, 0, ((0, 1),)),), (BYTE,)),
        (1, (Form(65, 0, ((0, 1),)),), (BYTE,)),
        (1, (Form(1, 0, ()),), (BYTE,)),
        (1, (Form(1, 0, ((1, 1),)),), (BYTE,)),
    ],
)
def test_shapes_have_limits(arguments):
    with pytest.raises(ValueError, match=r"values|digits|form"):
        Shape(*arguments)


def test_the_equations_hold_in_another_implementation_of_the_curve():
    """The verifier's equations as the page of the specification writes them, over py_ecc's arithmetic."""

    def lift(point):
        return reference.Z1 if point is None else (Element(point[0]), Element(point[1]), Element(1))

    def combine(points, scalars):
        total = reference.Z1
        for point, scalar in zip(points, scalars, strict=True):
            total = reference.add(total, reference.multiply(lift(point), scalar % ORDER))
        return reference.normalize(total)

    shape = Shape(1, (Form(2, -1, ((0, 3),)),), (BYTE,))
    secret, blinding = [4], secrets.randbelow(ORDER)
    commitment = pedersen.commit(secret, blinding)
    proof = ranges.prove(CONTEXT, shape.to_bytes(), 3, shape.inputs, secret, blinding)
    b, a, e, *k = proof.points
    head = keccak(b"tallystick/range/v1") + CONTEXT + keccak(shape.to_bytes()) + (3).to_bytes(32, "big")
    hashed = keccak(head + b"".join(map(bn254.encode, (commitment, *proof.points))))
    x = int.from_bytes(hashed, "big") % ORDER
    f_1 = proof.digits[0]
    f_0 = (-x + 3 * proof.values[0] - 4 * f_1) % ORDER
    (g_0,), h = pedersen.generators(1)
    d = ranges.digit_generators(2)
    products = [f * (f - x) * (f - 2 * x) * (f - 3 * x) for f in (f_0, f_1)]
    z_1, z_2, z_3 = proof.blindings
    assert combine([b, a], [x, 1]) == combine([*d, h], [f_0, f_1, z_1])
    assert combine(k, [1, x, x**2, x**3]) == combine([*d, h], [*products, z_2])
    assert combine([commitment, e], [x, 1]) == combine([g_0, h], [proof.values[0], z_3])


def test_two_proofs_of_one_value_have_nothing_in_common():
    first, second = proved(), proved()
    assert not set(first.points) & set(second.points)
    assert not {*first.values, *first.digits, *first.blindings} & {*second.values, *second.digits, *second.blindings}


def test_generators_are_independent_of_one_another_and_pinned():
    table = ranges.table()
    points = {table[at : at + 64] for at in range(0, len(table), 64)}
    assert len(points) == 1 + ranges.MAX_VALUES + ranges.MAX_DIGITS
    assert keccak(b"\0" + table).hex() == "b11bf449fb68ea8c01fd920b390aaf25d0f5cbe99be58448df42314e01498f98"
