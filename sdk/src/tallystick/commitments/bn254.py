"""The group G1 of BN254 (``alt_bn128`` of EIP-196): y^2 = x^3 + 3 over F_P, of prime order ``ORDER`` and cofactor 1.

Points are affine integer pairs, ``None`` is infinity. Inner loops use XYZZ coordinates (x = X/ZZ, y = Y/ZZZ; formulas
``madd-2008-s``, ``add-2008-s`` and ``dbl-2008-s-1`` of the Explicit-Formulas Database, Bernstein and Lange).

Security: the number field sieve of Kim and Barbulescu (CRYPTO 2016) lowers discrete logarithms of BN254's pairing
target to about 2^100 work, so take ~100 bits, not 128. Python integers do not run in constant time: an observer who
can time this process closely could learn about scalars.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

P = 21888242871839275222246405745257275088696311157297823662689037894645226208583
ORDER = 21888242871839275222246405745257275088548364400416034343698204186575808495617

Point = tuple[int, int] | None
_Extended = tuple[int, int, int, int]  # XYZZ; ZZ = 0 is infinity

_INFINITY: _Extended = (1, 1, 0, 0)
_HALF = ORDER // 2


def is_on_curve(point: Point) -> bool:
    """Whether ``point`` is infinity or has reduced coordinates that satisfy the curve's equation (and so is in G1)."""
    if point is None:
        return True
    x, y = point
    return 0 <= x < P and 0 <= y < P and (y * y - x * x * x - 3) % P == 0


def neg(point: Point) -> Point:
    """The inverse of ``point``."""
    return None if point is None else (point[0], -point[1] % P)


def add(left: Point, right: Point) -> Point:
    """The group sum of two points of the curve."""
    if left is None:
        return right
    if right is None:
        return left
    (x1, y1), (x2, y2) = left, right
    if x1 == x2:
        if (y1 + y2) % P == 0:
            return None
        slope = 3 * x1 * x1 * pow(2 * y1, -1, P) % P
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def total(points: Iterable[Point]) -> Point:
    """The group sum of many points, with one inversion."""
    result = _INFINITY
    for point in points:
        if point is not None:
            result = _add_affine(result, point)
    return _affine(result)


def multiply(point: Point, scalar: int) -> Point:
    """``scalar`` times ``point``; any integer, taken modulo ``ORDER``."""
    return msm([point], [scalar])


def msm(points: Sequence[Point], scalars: Sequence[int]) -> Point:
    """The sum of ``scalars[k] * points[k]`` by Pippenger's buckets with signed digits.

    Scalars are any integers, taken modulo ``ORDER``; those near 0 on either side cost less. Raises ``ValueError``
    when the lengths differ.
    """
    if len(points) != len(scalars):
        raise ValueError("as many scalars as points are needed")
    terms: list[tuple[int, int, int]] = []
    for point, scalar in zip(points, scalars, strict=True):
        scalar %= ORDER
        if point is None or scalar == 0:
            continue
        if scalar > _HALF:
            terms.append((point[0], P - point[1], ORDER - scalar))
        else:
            terms.append((point[0], point[1], scalar))
    if not terms:
        return None
    bits = max(scalar.bit_length() for _, _, scalar in terms)
    width = _window(len(terms), bits)
    half = 1 << (width - 1)
    windows = bits // width + 1  # signed digits can carry into one bit more
    buckets: list[list[_Extended]] = [[_INFINITY] * (half + 1) for _ in range(windows)]
    mask = (1 << width) - 1
    for x, y, scalar in terms:
        index = 0
        while scalar:
            digit = scalar & mask
            scalar >>= width
            if digit > half:
                digit -= mask + 1
                scalar += 1
            if digit > 0:
                row = buckets[index]
                row[digit] = _add_affine(row[digit], (x, y))
            elif digit < 0:
                row = buckets[index]
                row[-digit] = _add_affine(row[-digit], (x, P - y))
            index += 1
    result = _INFINITY
    for row in reversed(buckets):
        if result[2]:
            for _ in range(width):
                result = _double(result)
        running = weighted = _INFINITY
        for bucket in reversed(row[1:]):
            running = _add(running, bucket)
            weighted = _add(weighted, running)
        result = _add(result, weighted)
    return _affine(result)


def encode(point: Point) -> bytes:
    """64 bytes, big-endian x || y as the precompiles take them; zeros for infinity."""
    if point is None:
        return bytes(64)
    return point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def decode(encoded: bytes) -> Point:
    """The point of :func:`encode`'s bytes.

    Raises ``ValueError`` for another length, coordinates that are not reduced, and points off the curve.
    """
    if len(encoded) != 64:
        raise ValueError("a BN254 point takes 64 bytes")
    x, y = int.from_bytes(encoded[:32], "big"), int.from_bytes(encoded[32:], "big")
    if x == 0 and y == 0:
        return None
    if not is_on_curve((x, y)):
        raise ValueError("the bytes are not a point of BN254: coordinates must be below P and on the curve")
    return x, y


def _window(terms: int, bits: int) -> int:
    """The window width with the fewest group operations: each window adds every term and walks its buckets twice."""
    return min(range(2, 16), key=lambda width: (bits // width + 1) * (10 * terms + 14 * (2 << (width - 1)) + 9 * width))


def _double(point: _Extended) -> _Extended:
    x, y, zz, zzz = point
    if not zz:
        return point
    u = 2 * y
    v = u * u % P
    w = u * v % P
    s = x * v % P
    m = 3 * x * x % P
    x3 = (m * m - 2 * s) % P
    return x3, (m * (s - x3) - w * y) % P, v * zz % P, w * zzz % P


def _add_affine(left: _Extended, right: tuple[int, int]) -> _Extended:
    x1, y1, zz, zzz = left
    x2, y2 = right
    if not zz:
        return x2, y2, 1, 1
    p = (x2 * zz - x1) % P
    r = (y2 * zzz - y1) % P
    if not p:
        return _INFINITY if r else _double(left)
    pp = p * p % P
    ppp = p * pp % P
    q = x1 * pp % P
    x3 = (r * r - ppp - 2 * q) % P
    return x3, (r * (q - x3) - y1 * ppp) % P, zz * pp % P, zzz * ppp % P


def _add(left: _Extended, right: _Extended) -> _Extended:
    x1, y1, zz1, zzz1 = left
    x2, y2, zz2, zzz2 = right
    if not zz1:
        return right
    if not zz2:
        return left
    u = x1 * zz2 % P
    s = y1 * zzz2 % P
    p = (x2 * zz1 - u) % P
    r = (y2 * zzz1 - s) % P
    if not p:
        return _INFINITY if r else _double(left)
    pp = p * p % P
    ppp = p * pp % P
    q = u * pp % P
    x3 = (r * r - ppp - 2 * q) % P
    return x3, (r * (q - x3) - s * ppp) % P, zz1 * zz2 * pp % P, zzz1 * zzz2 * ppp % P


def _affine(point: _Extended) -> Point:
    x, y, zz, zzz = point
    if not zz:
        return None
    inverse = pow(zz * zzz, -1, P)
    return x * zzz * inverse % P, y * zz * inverse % P
