"""Paillier: the laws of the ciphertexts, hostile input, and what phe makes of ours and we of phe's."""

import math
import subprocess
import sys

import numpy as np
import phe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.he.errors import InvalidCiphertext, InvalidKey, PlaintextOverflow
from tallystick_node.engines.he.paillier import integers
from tallystick_node.engines.he.paillier.ciphertexts import Ciphertexts, Encryptor, decrypt
from tallystick_node.engines.he.paillier.keys import EXPONENT, STRENGTH, PrivateKey, PublicKey, generate, security
from tallystick_node.engines.he.paillier.powers import PowerTable, SplitPowerTable, product_of_powers
from tallystick_node.engines.he.paillier.primes import SMALL_PRODUCT, is_prime


def test_generated_key_has_the_stated_form(private):
    p, q = private.p, private.q
    assert (p * q).bit_length() == 2048
    assert p % 4 == q % 4 == 3
    assert math.gcd(p - 1, q - 1) == 2
    assert math.gcd((p - 1) // 2 * ((q - 1) // 2), SMALL_PRODUCT) == 1
    assert is_prime(p) and is_prime(q)
    assert not is_prime(p * q)


@pytest.mark.parametrize("carmichael", [9746347772161, 1590231231043178376951698401])
def test_a_carmichael_number_is_no_prime(carmichael):
    assert not is_prime(carmichael)


def test_short_exponents_are_twice_the_strength():
    assert all(EXPONENT[bits] >= 2 * strength and EXPONENT[bits] % 8 == 0 for bits, strength in STRENGTH.items())
    assert "2010" in security(3072).references[1]


def test_secret_factors_are_not_shown(private):
    assert str(private.p) not in repr(private)


@pytest.mark.parametrize(
    "n",
    [0, 1, 2**2047 + 1, 2**2048 - 1, 2**1023 * 3, 15, (1 << 2047) | 2, 2.0**100],
    ids=["0", "1", "small factor", "small factor too", "even", "short", "even too", "float"],
)
def test_a_modulus_of_another_form_is_refused(n):
    with pytest.raises(InvalidKey):
        PublicKey(n)


def test_public_key_bytes(private):
    assert PublicKey.from_bytes(private.public.to_bytes()) == private.public
    padded = bytes(384 - 256) + private.public.to_bytes()[-256:]  # of 2048 bits, in the bytes of 3072
    for data in (b"", private.public.to_bytes()[1:], private.public.to_bytes() + b"\0", bytes(256), padded):
        with pytest.raises(InvalidKey):
            PublicKey.from_bytes(data)


def test_a_private_key_needs_two_primes(private):
    composite = next(number for number in range(private.q + 2, private.q + 1000, 2) if pow(2, number - 1, number) != 1)
    for p, q in ((private.p, private.p), (private.p, composite), (1, private.public.n)):
        with pytest.raises(InvalidKey):
            PrivateKey(p, q)


def test_other_sizes_are_not_generated():
    with pytest.raises(InvalidKey):
        generate(1024)


big = st.integers(-(2**2000), 2**2000)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(big, big), min_size=1, max_size=3))
def test_sums_are_sums(private, encryptor, pairs):
    left, right = ([pair[side] for pair in pairs] for side in (0, 1))
    a, b = encryptor.encrypt(left), encryptor.encrypt(right)
    sums = [x + y for x, y in pairs]
    assert decrypt(private, a + b) == sums
    assert decrypt(private, a.add_plain(right)) == sums
    assert decrypt(private, a.total()) == [sum(left)]
    assert decrypt(private, encryptor.refresh(a)) == left


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**64), 2**64), st.integers(-(2**40), 2**40)), min_size=1, max_size=6))
def test_products_with_integers(private, encryptor, pairs):
    numbers, weights = [n for n, _ in pairs], [w for _, w in pairs]
    ciphertexts = encryptor.encrypt(numbers)
    assert decrypt(private, ciphertexts * weights) == [n * w for n, w in pairs]
    assert decrypt(private, ciphertexts.weighted_sum(weights)) == [sum(n * w for n, w in pairs)]


def test_weighted_sum_of_many(private, encryptor):
    numbers = np.arange(-200, 200)
    weights = np.random.default_rng(1).integers(-(2**31), 2**31, 400)
    assert decrypt(private, encryptor.encrypt(numbers).weighted_sum(weights)) == [int(numbers @ weights)]


def test_limits_of_plaintexts(private, encryptor):
    largest = private.public.largest
    assert decrypt(private, encryptor.encrypt([largest, -largest])) == [largest, -largest]
    for number in (largest + 1, -largest - 1):
        with pytest.raises(PlaintextOverflow):
            encryptor.encrypt([number])
    full = encryptor.encrypt([largest])
    with pytest.raises(PlaintextOverflow):
        decrypt(private, full + full)
    with pytest.raises(PlaintextOverflow):
        full * [largest + 1]


def test_floats_and_wrong_shapes_are_refused(encryptor):
    for numbers in ([1.0], np.array([1.0]), np.array([[1]]), ["1"]):
        with pytest.raises(ValueError, match="integers"):
            encryptor.encrypt(numbers)
    one = encryptor.encrypt([1])
    for work in (
        lambda: one * [1, 2],
        lambda: one.add_plain([]),
        lambda: one.weighted_sum([1, 2]),
        lambda: one + encryptor.encrypt([1, 2]),
    ):
        with pytest.raises(ValueError):
            work()


def test_equal_plaintexts_look_different_and_refresh_unlinks(encryptor):
    a = encryptor.encrypt([7, 7])
    assert a.values[0] != a.values[1]
    assert encryptor.refresh(a).values[0] != a.values[0]
    assert Encryptor(encryptor.key)._table._rows[0][1] != encryptor._table._rows[0][1]


def test_only_fresh_ciphertexts_leave(private, encryptor):
    a = encryptor.encrypt([1, 2])
    for derived in (a + a, a * [3, 4], a.add_plain([1, 1]), a.total(), a.weighted_sum([1, 2])):
        with pytest.raises(ValueError, match="fresh"):
            derived.to_bytes()
    again = Ciphertexts.from_bytes(private.public, encryptor.refresh(a * [3, 4]).to_bytes(), 2)
    assert decrypt(private, again) == [3, 8]
    with pytest.raises(ValueError, match="fresh"):
        again.to_bytes()


def test_hostile_ciphertexts_are_refused(private, encryptor):
    key = private.public
    good = int(encryptor.encrypt([5]).values[0])
    for bad in (0, -good, key.n, private.p * 12345, key.n**2, key.n**2 + good, good * private.q % key.n**2):
        with pytest.raises(InvalidCiphertext, match="ciphertext 1"):
            Ciphertexts.of(key, [good, bad])
        with pytest.raises(InvalidCiphertext):
            private.decrypt([bad])
    data = encryptor.encrypt([1, 2]).to_bytes()
    for part, count in ((data[:-1], 2), (data, 1), (data, 3), (data + b"\0", 2), (bytes(len(data)), 2), (b"\xff" * len(data), 2)):
        with pytest.raises(InvalidCiphertext):
            Ciphertexts.from_bytes(key, part, count)


def test_keys_do_not_mix(private, encryptor):
    n, _ = phe.generate_paillier_keypair(n_length=2048)
    other = Encryptor(PublicKey(int(n.n)))
    foreign = other.encrypt([1])
    with pytest.raises(InvalidKey):
        foreign + encryptor.encrypt([1])
    with pytest.raises(InvalidKey):
        encryptor.refresh(foreign)
    with pytest.raises(InvalidKey):
        decrypt(private, foreign)


def test_phe_decrypts_ours_and_we_decrypt_phe(private, encryptor):
    public = phe.PaillierPublicKey(private.public.n)
    secret = phe.PaillierPrivateKey(public, private.p, private.q)
    numbers = [0, 1, -1, 2**100, -(2**100)]
    ours = encryptor.encrypt(numbers)
    assert [secret.decrypt(phe.EncryptedNumber(public, int(c))) for c in ours.values] == numbers
    theirs = Ciphertexts.of(private.public, [public.encrypt(number).ciphertext() for number in numbers])
    assert decrypt(private, theirs) == numbers
    assert decrypt(private, ours + theirs) == [2 * number for number in numbers]


def test_a_key_of_phe_serves(encryptor):
    public, secret = phe.generate_paillier_keypair(n_length=2048)
    ours = PrivateKey(int(secret.p), int(secret.q))
    ciphertexts = Encryptor(PublicKey(int(public.n))).encrypt([-12])
    assert decrypt(ours, ciphertexts) == [-12]
    assert secret.decrypt(phe.EncryptedNumber(public, int(ciphertexts.values[0]))) == -12


@given(st.lists(st.tuples(st.integers(1, 10**30), st.integers(0, 2**70)), max_size=9))
def test_product_of_powers(pairs):
    modulus = 2**89 - 1
    expected = math.prod(pow(b, e, modulus) for b, e in pairs) % modulus
    assert product_of_powers([b for b, _ in pairs], [e for _, e in pairs], modulus) == expected


@given(st.binary(min_size=4, max_size=4), st.integers(1, 11))
def test_power_table(exponent, width):
    modulus = 2**61 - 1
    assert PowerTable(3, 4, modulus, width).power(exponent) == pow(3, int.from_bytes(exponent, "little"), modulus)


@given(st.binary(min_size=4, max_size=4))
def test_split_power_table(exponent):
    first, second = 2**61 - 1, (2**31 - 1) ** 2
    power = SplitPowerTable(3**40, 4, first, second).power(exponent)
    assert power == pow(3**40, int.from_bytes(exponent, "little"), first * second)


def test_the_holder_encrypts_with_its_factors(private, encryptor):
    own = Encryptor(private)
    numbers = [0, -5, 2**60, -private.public.largest, private.public.largest]
    made = own.encrypt(numbers)
    assert made.key == encryptor.key and made.fresh
    assert decrypt(private, made) == numbers
    assert decrypt(private, own.refresh(encryptor.encrypt(numbers))) == numbers
    assert len(set(own.encrypt([0] * 4).values)) == 4


def test_without_gmpy2(private):
    """The same numbers with Python's own arithmetic, chosen when the import fails."""
    program = f"""
import sys
sys.modules["gmpy2"] = None
from tallystick_node.engines.he.paillier import integers
from tallystick_node.engines.he.paillier.ciphertexts import Encryptor, decrypt
from tallystick_node.engines.he.paillier.keys import PrivateKey
assert integers.ARITHMETIC.name == "python"
key = PrivateKey({private.p}, {private.q})
a = Encryptor(key.public).encrypt([3, -4])
assert decrypt(key, a + a * [5, 6]) == [18, -28]
assert decrypt(key, a.weighted_sum([2, -3])) == [18]
print("done")
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert answer.stdout == "done\n", answer.stderr
    assert integers.ARITHMETIC.name == "gmpy2"
