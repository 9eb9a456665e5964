"""KZG commitments: as the ceremony's powers and pairings say, as others compute them, and hiding what they are to hide."""

from __future__ import annotations

import hashlib
import secrets
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bls.point_compression import decompress_G1, decompress_G2
from py_ecc.optimized_bls12_381 import G1, G2, add, multiply, neg, pairing
from tallystick.commitments import kzg
from tallystick.commitments.kzg import BLINDS, ORDER, POINT, SIZE, Opening, OpeningRefused, SetupRefused

ROOT = pow(7, (ORDER - 1) // SIZE, ORDER)  # of unity; 7 generates the field's multiplicative group
BITS = SIZE.bit_length() - 1
#: A test vector of go-ethereum for the precompile (core/vm/testdata/precompiles/pointEvaluation.json): versioned hash, z, y, C,
#: proof.
GETH = bytes.fromhex(
    "01e798154708fe7789429634053cbf9f99b619f9f084048927333fce637f549b564c0a11a0f704f4fc3e8acfe0f8245f0ad1347b378fbf96e206da11a5d36306"
    "24d25032e67a7e6a4910df5834b8fe70e6bcfeeac0352434196bdf4b2485d5a18f59a8d2a1a625a17f3fea0fe5eb8c896db3764f3185481bc22f91b4aaffcca2"
    "5f26936857bc3a7c2539ea8ec3a952b7873033e038326e87ed3e1276fd140253fa08e9fc25fb2d9a98527fc22a2c9612fbeafdad446cbc7bcdbdcd780af2c16a"
)


def place(number: int) -> int:
    """Where the value at the root with this exponent stands: its bits reversed."""
    return int(f"{number:0{BITS}b}"[::-1], 2)


def values_of(coefficients: list[int]) -> list[int]:
    """The vector of a polynomial, by Horner at every root."""
    values, point = [0] * SIZE, 1
    for number in range(SIZE):
        total = 0
        for coefficient in reversed(coefficients):
            total = (total * point + coefficient) % ORDER
        values[place(number)] = total
        point = point * ROOT % ORDER
    return values


def evaluate(values: list[int], z: int) -> int:
    """At a point that is no root, by the barycentric formula."""
    total = 0
    for number in range(SIZE):
        if value := values[place(number)]:
            root = pow(ROOT, number, ORDER)
            total += value * root * pow(z - root, -1, ORDER)
    return total * (pow(z, SIZE, ORDER) - 1) * pow(SIZE, -1, ORDER) % ORDER


def point(data: bytes):  # type: ignore[no-untyped-def]
    return decompress_G1(int.from_bytes(data, "big"))


def powers() -> tuple[bytes, bytes]:
    """s G1 and s G2 of the ceremony."""
    shipped = resources.files("eth_account").joinpath("typed_transactions", "blob_transactions", "kzg_trusted_setup.txt")
    lines = shipped.read_text().split()
    return bytes.fromhex(lines[2 + SIZE + 65 + 1]), bytes.fromhex(lines[2 + SIZE + 1])


def test_a_commitment_and_its_opening_are_what_pairings_say() -> None:
    """Another library's arithmetic: X commits to s G1, and the quotient of 3 + 2 X at z is 2."""
    in_g1, in_g2 = powers()
    assert kzg.commit(values_of([0, 1])) == in_g1
    z = secrets.randbelow(ORDER)
    vector = values_of([3, 2])
    commitment, opening = kzg.commit(vector), kzg.open_at(vector, z)
    assert point(commitment)[0] is not None
    assert (opening.value, opening.proof) == ((3 + 2 * z) % ORDER, kzg.commit(values_of([2])))
    shifted = decompress_G2((int.from_bytes(in_g2[:POINT], "big"), int.from_bytes(in_g2[POINT:], "big")))
    left = pairing(G2, add(point(commitment), neg(multiply(G1, opening.value))))
    assert left == pairing(add(shifted, neg(multiply(G2, z))), point(opening.proof))


def test_a_published_vector_is_accepted_and_none_of_its_bits_is_spare() -> None:
    versioned, z, y, commitment, proof = GETH[:32], GETH[32:64], GETH[64:96], GETH[96:144], GETH[144:]
    assert versioned[1:] == hashlib.sha256(commitment).digest()[1:]
    kzg.verify(commitment, int.from_bytes(z, "big"), Opening(int.from_bytes(y, "big"), proof))
    for at in (0, 31, 32, 63, 64, 90, 111, 112, 140, 159):
        changed = bytearray(GETH[32:])
        changed[at] ^= 1
        z_, y_ = int.from_bytes(changed[:32], "big"), int.from_bytes(changed[32:64], "big")
        with pytest.raises((OpeningRefused, ValueError)):
            kzg.verify(bytes(changed[64:112]), z_, Opening(y_, bytes(changed[112:])))


def test_values_are_those_of_the_polynomial_through_the_vector() -> None:
    vector = [secrets.randbelow(ORDER) for _ in range(5)]
    z = secrets.randbelow(ORDER)
    assert kzg.open_at(vector, z).value == evaluate([*vector, *[0] * (SIZE - 5)], z)
    root = pow(ROOT, 3, ORDER)  # at a root the value is an element
    assert kzg.open_at(list(range(SIZE)), root).value == place(3)


elements = st.lists(st.integers(0, ORDER - 1), min_size=1, max_size=6)


@given(elements, elements, st.integers(0, ORDER - 1))
@settings(max_examples=4, deadline=None)
def test_openings_add_up_as_vectors_do(first: list[int], second: list[int], z: int) -> None:
    wide = max(len(first), len(second))
    first, second = (each + [0] * (wide - len(each)) for each in (first, second))
    total = [(a + b) % ORDER for a, b in zip(first, second, strict=True)]
    opened = [kzg.open_at(each, z) for each in (first, second, total)]
    assert (opened[0].value + opened[1].value) % ORDER == opened[2].value
    kzg.verify(kzg.commit(total), z, opened[2])


def test_what_is_no_opening_is_refused() -> None:
    vector, z = [1, 2, 3], 99
    commitment, opening = kzg.commit(vector), kzg.open_at(vector, z)
    infinity = b"\xc0" + bytes(POINT - 1)
    for other in (kzg.commit([1, 2, 4]), infinity, bytes(POINT), b"\xff" * POINT, b"\x80" + bytes(POINT - 1), b"", commitment[:-1]):
        with pytest.raises(OpeningRefused):
            kzg.verify(other, z, opening)
        with pytest.raises(OpeningRefused):
            kzg.verify(commitment, z, Opening(opening.value, other))
    for value in (opening.value ^ 1, opening.value + ORDER, -1, 2**256):
        with pytest.raises(OpeningRefused):
            kzg.verify(commitment, z, Opening(value, opening.proof))
    with pytest.raises(OpeningRefused):
        kzg.verify(commitment, z + 1, opening)


@pytest.mark.parametrize("change", [("_SETUP_DIGEST", "00" * 32), ("_SETUP", ("typed_transactions", "no such file"))])
def test_another_setup_accuses_nobody(monkeypatch: pytest.MonkeyPatch, change: tuple[str, Any]) -> None:
    """An installation that is not as it should be is no opening of a peer's that does not hold."""
    monkeypatch.setattr(kzg, *change)
    monkeypatch.setattr(kzg, "_load", kzg._load.__wrapped__)
    z, y, commitment, proof = GETH[32:64], GETH[64:96], GETH[96:144], GETH[144:]
    with pytest.raises(SetupRefused, match="eth-account ships"):
        kzg.verify(commitment, int.from_bytes(z, "big"), Opening(int.from_bytes(y, "big"), proof))


def test_vectors_are_bounded() -> None:
    for wrong in ([ORDER], [-1], [0] * (SIZE + 1)):
        with pytest.raises(ValueError, match="element"):
            kzg.commit(wrong)
    with pytest.raises(ValueError, match="cut it into several"):
        kzg.hidden([0] * (SIZE - 1), (1, 2))
    with pytest.raises(ValueError, match="2 random elements"):
        kzg.hidden([0], (1,))


def lagrange(number: int, at: int) -> int:
    """The polynomial that is 1 at the root of this place and 0 at all others, at a point."""
    root = pow(ROOT, place(number), ORDER)
    return root * (pow(at, SIZE, ORDER) - 1) * pow(SIZE * (at - root), -1, ORDER) % ORDER


def test_two_random_elements_hide_commitment_and_opening() -> None:
    """For an s that we know: whatever the vector, exactly one pair of elements gives any wanted values at s and at z."""
    s, z = secrets.randbelow(ORDER), secrets.randbelow(ORDER)
    wanted = (secrets.randbelow(ORDER), secrets.randbelow(ORDER))
    for vector in ([0] * (SIZE - BLINDS), [7] * 5 + [0] * (SIZE - BLINDS - 5)):
        rest = [(goal - evaluate([*vector, 0, 0], at)) % ORDER for goal, at in zip(wanted, (s, z), strict=True)]
        (a, b), (c, d) = ([lagrange(number, at) for number in (SIZE - 2, SIZE - 1)] for at in (s, z))
        determinant = (a * d - b * c) % ORDER
        assert determinant
        inverse = pow(determinant, -1, ORDER)
        blinds = ((rest[0] * d - rest[1] * b) * inverse % ORDER, (rest[1] * a - rest[0] * c) * inverse % ORDER)
        whole = kzg.hidden(vector, blinds)
        assert (evaluate(whole, s), evaluate(whole, z)) == wanted


def test_one_random_element_would_confirm_a_guess() -> None:
    """Why there are two: from a guess at the vector and the published value follows the element, and the commitment tells."""
    vector, z = [1, 0, 1, 1], secrets.randbelow(ORDER)
    whole = [*vector, *[0] * (SIZE - 5), secrets.randbelow(ORDER)]
    commitment, published = kzg.commit(whole), kzg.open_at(whole, z).value

    def explained(guess: list[int]) -> bytes:
        rest = (published - evaluate([*guess, *[0] * (SIZE - len(guess))], z)) % ORDER
        element = rest * pow(lagrange(SIZE - 1, z), -1, ORDER) % ORDER
        return kzg.commit([*guess, *[0] * (SIZE - 5), element])

    assert explained(vector) == commitment
    assert explained([1, 0, 1, 0]) != commitment
