"""An oblivious pseudorandom function on Curve25519, F(x) = SHA-512(x, k H(x)): 2HashDH (Jarecki, Kiayias and Krawczyk, ASIACRYPT
2014) on u-coordinates.

The holder of the key k evaluates many items at once. Whoever does not hold it sends points r H(x) with a secret r of its own, gets
them back multiplied by k, and takes r away. A holder of several keys evaluates every point under each. One r serves a batch: its
points are indistinguishable from random ones under decisional Diffie-Hellman with the hash a random oracle, as in
:mod:`~tallystick_node.engines.psi.ecdh`.

Security for the key's holder against a malicious asker: it knows F only at as many items as it had points evaluated, under the
one-more gap Diffie-Hellman assumption; points off the curve or of low order are refused. (An asker may send evaluated points again:
d turns give it powers of k up to the d-th, by which k is easier to find by at most the square root of d; Cheon, EUROCRYPT 2006.)
Against a holder who answers under another key than it stated: each batch holds, at a secret place, one known item whose outputs it
has committed to.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.psi import curve25519
from tallystick_node.engines.psi import field25519 as field
from tallystick_node.engines.psi.curve25519 import POINT, Points
from tallystick_node.engines.psi.field25519 import WORDS, Numbers, Row

OUTPUT = 64  # bytes of F
SECURITY_BITS = 125  # of the group

_DOMAIN = b"tallystick/v1/pir/oprf\0"
_KNOWN = b"known item"
_ITEM = b"item\0"
_BATCH = 1 << 13
_CURVE = field.constant(486662)
_ONE = field.constant(1)
_ONE_BYTES = np.frombuffer((1).to_bytes(POINT, "little"), np.uint8)


def random_key() -> bytes:
    """A key."""
    return curve25519.random_scalar()


def evaluate(key: bytes, items: Sequence[bytes]) -> NDArray[np.uint8]:
    """F of each item, shape (items, OUTPUT). About 35 microseconds of a core each."""
    return _evaluate(key, [_ITEM + item for item in items])


def check_of(keys: Sequence[bytes]) -> bytes:
    """What commits to the keys: a digest of F under each at the known item. 32 bytes."""
    return _check(np.concatenate([_evaluate(key, [_KNOWN]) for key in keys]))


class Blinding:
    """The asker's side of one batch. ``points`` is what to send, of one more item than there are."""

    def __init__(self, items: Sequence[bytes]) -> None:
        self._messages = [_ITEM + item for item in items]
        self._known = secrets.randbelow(len(items) + 1)
        self._messages.insert(self._known, _KNOWN)
        scalar, self._inverse = curve25519.invertible_scalar()
        self.points = curve25519.multiply(curve25519.hash_to_curve(self._messages, _DOMAIN), scalar)

    def finish(self, points: Points, keys: int, check: bytes) -> NDArray[np.uint8]:
        """F of each item under each key, shape (keys, items, OUTPUT), from the evaluated points, shape (keys * (items + 1), POINT).
        Raises ValueError when a point is none, or the keys are not those of ``check``."""
        outputs = _outputs(self._messages * keys, _multiplied(points, self._inverse)).reshape(keys, len(self._messages), OUTPUT)
        if not hmac.compare_digest(_check(outputs[:, self._known]), check):
            raise ValueError("it evaluates under other keys than those of its table")
        return np.delete(outputs, self._known, axis=1)


def evaluate_blinded(keys: Sequence[bytes], points: Points) -> Points:
    """An asker's points under each key, one key after another. Raises ValueError when one is not in the curve's large subgroup."""
    return np.concatenate([_multiplied(points, key) for key in keys])


def _multiplied(points: Points, scalar: bytes) -> Points:
    """Another party's points, which must be on the curve, not on its twist, and not of low order, times a scalar."""
    squares = field.to_bytes(_on_curve(field.from_bytes(points), _CURVE, _ONE), len(points))
    multiples = curve25519.multiply(points, scalar)
    if not (squares == _ONE_BYTES).all() or not multiples.any(axis=1).all():
        raise ValueError("a point is not on the curve, or of low order")
    return multiples


def _evaluate(key: bytes, messages: Sequence[bytes]) -> NDArray[np.uint8]:
    """Batches side by side on all cores: the curve's kernels let other threads run."""

    def outputs(start: int) -> NDArray[np.uint8]:
        part = messages[start : start + _BATCH]
        return _outputs(part, curve25519.multiply(curve25519.hash_to_curve(part, _DOMAIN), key))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return np.concatenate([np.empty((0, OUTPUT), np.uint8), *pool.map(outputs, range(0, len(messages), _BATCH))])


def _outputs(messages: Sequence[bytes], points: Points) -> NDArray[np.uint8]:
    flat = points.tobytes()
    start = hashlib.sha512(_DOMAIN)
    digests = bytearray()
    for number, message in enumerate(messages):
        state = start.copy()
        state.update(flat[number * POINT : (number + 1) * POINT] + message)
        digests += state.digest()
    return np.frombuffer(bytes(digests), np.uint8).reshape(-1, OUTPUT)


def _check(outputs: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(_DOMAIN + b"check\0" + outputs.tobytes()).digest()


@compiled
def _on_curve(points: Numbers, a: Row, one: Row) -> Numbers:
    """1 where u^3 + A u^2 + u = u (u (u + A) + 1) is a square, -1 where not, 0 for u = 0."""
    out = np.empty_like(points)
    s, t = np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64)
    for row in range(len(points)):
        u = points[row]
        field.carry(s, a, u, np.uint64(1))
        field.multiply(t, s, u)
        field.carry(s, one, t, np.uint64(1))
        field.multiply(t, s, u)
        field.legendre(out[row], t)
    return out
