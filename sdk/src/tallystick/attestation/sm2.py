"""Verification of SM2 signatures with SM3 (GB/T 32918.2-2016, GB/T 32905-2016): public data only, so time is not hidden.

Points are affine in and out, Jacobian inside; SM3 comes from OpenSSL. There is no signing here.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.hazmat.primitives.hashes import SM3, Hash

from tallystick.attestation.rules import Rule, require

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
ORDER = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)

Point = tuple[int, int]
_Jacobian = tuple[int, int, int]
_INFINITY: _Jacobian = (1, 1, 0)


def sm3(*parts: bytes) -> bytes:
    """The 32-byte SM3 digest of the concatenated parts."""
    digest = Hash(SM3())
    for part in parts:
        digest.update(part)
    return digest.finalize()


def is_on_curve(point: Point) -> bool:
    """Whether both coordinates are reduced and satisfy the equation. The curve has prime order, so that is enough."""
    x, y = point
    return 0 <= x < P and 0 <= y < P and (y * y - x * x * x - A * x - B) % P == 0


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if z == 0 or y == 0:
        return _INFINITY
    delta, gamma = z * z % P, y * y % P  # dbl-2001-b, as a is -3
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P
    x3 = (alpha * alpha - 8 * beta) % P
    return x3, (alpha * (4 * beta - x3) - 8 * gamma * gamma) % P, ((y + z) * (y + z) - gamma - delta) % P


def _add(left: _Jacobian, right: _Jacobian) -> _Jacobian:
    if left[2] == 0:
        return right
    if right[2] == 0:
        return left
    x1, y1, z1 = left
    x2, y2, z2 = right
    zz1, zz2 = z1 * z1 % P, z2 * z2 % P
    u1, u2 = x1 * zz2 % P, x2 * zz1 % P
    s1, s2 = y1 * z2 * zz2 % P, y2 * z1 * zz1 % P
    h, r = (u2 - u1) % P, (s2 - s1) % P
    if h == 0:
        return _double(left) if r == 0 else _INFINITY
    hh = h * h % P
    hhh, v = h * hh % P, u1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - s1 * hhh) % P, z1 * z2 * h % P


def combined(first: int, left: Point, second: int, right: Point) -> Point | None:
    """``first * left + second * right`` by interleaved doubling (Shamir's trick), ``None`` for infinity."""
    one, two = (*left, 1), (*right, 1)
    table = (_INFINITY, one, two, _add(one, two))
    total = _INFINITY
    for place in range(max(first.bit_length(), second.bit_length()) - 1, -1, -1):
        total = _double(total)
        index = (first >> place & 1) | (second >> place & 1) << 1
        if index:
            total = _add(total, table[index])
    x, y, z = total
    if z == 0:
        return None
    inverse = pow(z, -1, P)
    return x * inverse * inverse % P, y * inverse * inverse * inverse % P


def digest(key: Point, identity: bytes, message: bytes) -> int:
    """The number that is signed: SM3 over the signer's identity and key, and the message."""
    numbers = (A, B, *G, *key)
    z = sm3((8 * len(identity)).to_bytes(2, "big"), identity, *(number.to_bytes(32, "big") for number in numbers))
    return int.from_bytes(sm3(z, message), "big")


@lru_cache(maxsize=64)  # a chip brings the same certificates each time; a failure raises, and is not kept
def verify(key: Point, identity: bytes, message: bytes, signature: tuple[int, int], rule: Rule) -> None:
    """Check ``signature`` (r, s) of ``message`` by ``key``, whose owner signs under ``identity`` of at most 8191 bytes."""
    require(is_on_curve(key), Rule.KEY, "a public key is not a point of the SM2 curve")
    r, s = signature
    require(0 < r < ORDER and 0 < s < ORDER, rule, "a signature's halves are out of range")
    t = (r + s) % ORDER
    require(t, rule, "a signature's halves add up to zero")
    point = combined(s, G, t, key)
    require(point is not None and (digest(key, identity, message) + point[0]) % ORDER == r, rule, "a signature does not verify")
