"""Packed slots, vectors and the numbers of phe."""

import math

import numpy as np
import phe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.he.errors import InvalidCiphertext, PlaintextOverflow
from tallystick_node.engines.he.paillier.ciphertexts import decrypt
from tallystick_node.engines.he.paillier.numbers import Numbers, decode, encode, exponent_of
from tallystick_node.engines.he.paillier.packing import Packing
from tallystick_node.engines.he.paillier.vectors import VectorCode


@given(st.data())
def test_sums_of_packed_numbers(data):
    terms = data.draw(st.integers(1, 1000))
    slot = data.draw(st.sampled_from([w for w in range(8, 65, 8) if w - (terms - 1).bit_length() >= 2]))
    packing = Packing(2048, slot, terms)
    numbers = st.integers(-packing.bias, packing.bias - 1)
    size = data.draw(st.integers(0, 2 * packing.slots + 1))
    row = st.one_of(numbers, st.sampled_from([-packing.bias, packing.bias - 1]))
    rows = [np.array(data.draw(st.lists(row, min_size=size, max_size=size)), np.int64) for _ in range(min(terms, 2))]
    weights = [1, terms - 1][: len(rows)]
    total = [0] * packing.blocks(size)
    for weight, numbers_of_row in zip(weights, rows, strict=True):
        packed = packing.pack(numbers_of_row)
        assert all(0 <= plaintext < 2**2045 for plaintext in packed)
        total = [a + weight * b for a, b in zip(total, packed, strict=True)]
    expected = [sum(w * int(r[i]) for w, r in zip(weights, rows, strict=True)) for i in range(size)]
    assert packing.unpack(total, size, sum(weights)).tolist() == expected


def test_a_plaintext_of_slots_is_below_a_third_of_any_modulus():
    for slot in range(8, 65, 8):
        packing = Packing(3072, slot, 2)
        assert 1 << packing.slots * slot <= 2**3071 // 3 - 1


def test_numbers_out_of_range_are_refused():
    packing = Packing(2048, 16, 4)
    assert (packing.number_bits, packing.bias) == (14, 1 << 13)
    for number in (packing.bias, -packing.bias - 1, 2**63 - 1, -(2**63)):
        with pytest.raises(PlaintextOverflow):
            packing.pack(np.array([0, number]))
    for wrong in (np.zeros(2), np.zeros((2, 2), np.int64), np.zeros(2, np.uint64)):
        with pytest.raises(ValueError):
            packing.pack(wrong)


def test_what_is_no_sum_is_refused():
    packing = Packing(2048, 16, 4)
    size = packing.slots + 1
    [first, second] = packing.pack(np.zeros(size, np.int64))
    for plaintexts, weight in (
        ([first, -second], 1),
        ([first, 1 << 2044], 1),
        ([first, second + (1 << 16)], 1),
        ([first + 2**14, second], 1),
        ([first, second], 5),
        ([first, second], -1),
    ):
        with pytest.raises(PlaintextOverflow):
            packing.unpack(plaintexts, size, weight)
    with pytest.raises(ValueError, match="due"):
        packing.unpack([first], size, 1)


@pytest.mark.parametrize(
    ("bits", "slot", "terms"), [(1024, 16, 2), (2048, 12, 2), (2048, 72, 2), (2048, 0, 1), (2048, 8, 0), (2048, 8, 65)]
)
def test_layouts_that_cannot_be_are_refused(bits, slot, terms):
    with pytest.raises(ValueError):
        Packing(bits, slot, terms)


@pytest.mark.parametrize("slot", [16, 32, 64])
def test_vectors_add(private, encryptor, slot):
    code = VectorCode(150, 3, 2048, slot)
    vectors = np.random.default_rng(slot).uniform(-1, 1, (3, 150))
    vectors[:, :2] = [1, -1]
    total = code.encrypt(encryptor, vectors[0])
    for vector in vectors[1:]:
        total += code.read(private.public, code.encrypt(encryptor, vector).to_bytes())
    found = code.decrypt(private, total, 3)
    assert (found[:2] == [3, -3]).all()
    assert np.abs(found - vectors.sum(axis=0)).max() <= 3 * 2.0 ** -(code.fraction_bits + 1) + 1e-15


def test_vectors_out_of_range_are_refused(private, encryptor):
    code = VectorCode(2, 2, 2048, 16)
    for wrong in ([0, 1.1], [math.nan, 0], [0, -math.inf]):
        with pytest.raises(PlaintextOverflow):
            code.encrypt(encryptor, np.array(wrong))
    with pytest.raises(ValueError):
        code.encrypt(encryptor, np.zeros(3))
    with pytest.raises(ValueError):
        VectorCode(2, 64, 2048, 8)
    with pytest.raises(InvalidCiphertext):
        code.decrypt(private, encryptor.encrypt([1, 2]), 1)
    high = encryptor.encrypt(code.packing.pack(np.array([code.packing.bias - 1, 0])))
    with pytest.raises(PlaintextOverflow, match="sum to"):
        code.decrypt(private, high, 1)


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.one_of(finite, st.integers(-(2**200), 2**200)))
def test_encoding_is_that_of_phe(number):
    public = phe.PaillierPublicKey(2**4000 - 1)
    theirs = phe.EncodedNumber.encode(public, number)
    exponent = exponent_of(number)
    assert (theirs.exponent, theirs.encoding) == (exponent, encode(number, exponent) % public.n)
    assert decode(encode(number, exponent), exponent) == number


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e-3, 1e3)), min_size=1, max_size=2))
def test_numbers_travel_to_phe_and_back(private, encryptor, pairs):
    public = phe.PaillierPublicKey(private.public.n)
    secret = phe.PaillierPrivateKey(public, private.p, private.q)
    ours = Numbers.encrypt(encryptor, [a for a, _ in pairs])
    assert [secret.decrypt(phe.EncryptedNumber(public, *each)) for each in ours.pairs()] == [a for a, _ in pairs]
    encrypted = [public.encrypt(b) for _, b in pairs]
    theirs = Numbers.of(private.public, [(each.ciphertext(), each.exponent) for each in encrypted])
    assert theirs.decrypt(private) == [b for _, b in pairs]
    sums = [secret.decrypt(phe.EncryptedNumber(public, *each) + other) for each, other in zip(ours.pairs(), encrypted, strict=True)]
    assert (ours + theirs).decrypt(private) == sums


def test_one_exponent_for_all_shows_no_sizes(private, encryptor):
    numbers = Numbers.encrypt(encryptor, [1e-3, 1e3], exponent=-8)
    assert numbers.exponents == (-8, -8)
    assert numbers.decrypt(private) == pytest.approx([1e-3, 1e3], abs=16**-8)
    with pytest.raises(ValueError, match="lowered"):
        numbers.at(-7)
    with pytest.raises(PlaintextOverflow):
        numbers.at(-1000)


@pytest.mark.parametrize("exponent", [1025, -1025, 0.5, None])
def test_hostile_exponents_are_refused(private, encryptor, exponent):
    with pytest.raises(InvalidCiphertext):
        Numbers.of(private.public, [(int(encryptor.encrypt([1]).values[0]), exponent)])
    with pytest.raises(PlaintextOverflow):
        decode(2**1100, -1)


def test_packed_slots_survive_weights(private, encryptor):
    packing = Packing(2048, 24, 8)
    rows = np.random.default_rng(3).integers(-packing.bias, packing.bias, (2, 90))
    weighted = encryptor.encrypt(packing.pack(rows[0])) * [5, 5] + encryptor.encrypt(packing.pack(rows[1])) * [3, 3]
    assert (packing.unpack(decrypt(private, weighted), 90, 8) == 5 * rows[0] + 3 * rows[1]).all()
