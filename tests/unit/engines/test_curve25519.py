"""The curve against RFC 7748, RFC 9380 (appendix J.4.2) and OpenSSL."""

import secrets

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from tallystick_node.engines.psi import curve25519
from tallystick_node.engines.psi.items import Items

P = curve25519.P
SUITE = b"QUUX-V01-CS02-with-curve25519_XMD:SHA-512_ELL2_NU_"
VECTORS = [
    (
        b"",
        "608d892b641f0328523802a6603427c26e55e6f27e71a91a478148d45b5093cd",
        "51125222da5e763d97f3c10fcc92ea6860b9ccbbd2eb1285728f566721c1e65b",
    ),
    (
        b"abc",
        "46f5b22494bfeaa7f232cc8d054be68561af50230234d7d1d63d1d9abeca8da5",
        "7d56d1e08cb0ccb92baf069c18c49bb5a0dcd927eff8dcf75ca921ef7f3e6eeb",
    ),
    (
        b"abcdef0123456789",
        "235fe40c443766ce7e18111c33862d66c3b33267efa50d50f9e8e5d252a40aaa",
        "3fbe66b9c9883d79e8407150e7c2a1c8680bee496c62fabe4619a72b3cabe90f",
    ),
]


def rows(*points):
    return np.frombuffer(b"".join(points), np.uint8).reshape(-1, 32)


def openssl(point, scalar):
    return X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(point))


def test_hash_to_curve_equals_the_rfc():
    for message, element, point in VECTORS:
        assert curve25519.hash_to_field([message], SUITE).tobytes()[::-1].hex() == element
        assert curve25519.hash_to_curve([message], b"", SUITE).tobytes()[::-1].hex() == point


@pytest.mark.parametrize("number", [0, 1, P - 1, P, P + 1, 2**255 - 1, 2**255, 19 * P, (2**129 - 1) * P, 2**383, 2**384 - 1])
def test_long_numbers_are_reduced(number):
    words = np.frombuffer(number.to_bytes(48, "little"), "<u8").reshape(1, 6)
    assert int.from_bytes(curve25519._reduced(words).tobytes(), "little") == number % P


def test_a_salt_stands_before_every_message():
    messages = [bytes([i]) * i for i in range(40)]
    salted = curve25519.hash_to_field([b"salt" + each for each in messages], SUITE)
    assert (curve25519.hash_to_field(Items.of(messages), SUITE, b"salt") == salted).all()
    assert curve25519.hash_to_field([], SUITE, b"salt").shape == (0, 32)


def test_hashed_points_are_on_the_curve_and_not_the_twist():
    for row in curve25519.hash_to_curve([bytes([i]) for i in range(100)], b"salt"):
        u = int.from_bytes(row.tobytes(), "little")
        assert pow(u**3 + 486662 * u**2 + u, (curve25519.P - 1) // 2, curve25519.P) == 1


def test_multiply_equals_rfc_7748():
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    expected = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    assert curve25519.multiply(rows(point), scalar).tobytes().hex() == expected


def test_a_thousand_iterations_of_rfc_7748():
    scalar = point = (9).to_bytes(32, "little")
    for _ in range(1000):
        scalar, point = curve25519.multiply(rows(point), scalar).tobytes(), scalar
    assert scalar.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


@pytest.mark.parametrize("number", [0, 1, 7, 64, 129])
def test_multiply_equals_openssl(number):
    scalar = curve25519.random_scalar()
    points = [secrets.token_bytes(32) for _ in range(number)]
    points[:3] = [b"\xff" * 32, (2**255 - 18 + 5).to_bytes(32, "little"), (2**255 - 21).to_bytes(32, "little")][:number]
    expected = [openssl(point, scalar) for point in points]
    assert curve25519.multiply(rows(*points), scalar).tobytes() == b"".join(expected)


def test_points_of_low_order_become_zero():
    low = [0, 1, curve25519.P - 1, curve25519.P, curve25519.P + 1]
    low.append(325606250916557431795983626356110631294008115727848805560023387167927233504)
    points = rows(*(each.to_bytes(32, "little") for each in low), (9).to_bytes(32, "little"))
    out = curve25519.multiply(points, curve25519.random_scalar())
    assert not out[:-1].any()
    assert out[-1].any()
