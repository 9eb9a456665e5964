"""Replicated secret sharing over Z_2^64 for three parties, honest majority (Araki, Furukawa, Lindell, Nof and Ohara, CCS 2016).

A secret x is x_0 + x_1 + x_2 mod 2^64; party i holds x_i and x_{i+1}. Linear operations are local; a product costs one element
sent by each party; all elements of an array share a round.

Security: semi-honest, one corrupted party of three, under AES as a pseudo-random permutation (:mod:`prss`). A party that deviates
can change results: the variant that is secure against it checks every product. Lengths are checked, and a message of another
length names its sender.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Channel, Session, receive_block, send_block
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.prss import Prss
from tallystick_node.engines.mpc.ring import Ring

_OFFSET = np.uint64(1 << 62)
_TOP = np.uint64(63)


@dataclass(frozen=True)
class Shares:
    """An array of secrets, as one party holds it: ``first`` is x_i, ``second`` x_{i+1}; both of the array's shape."""

    first: Ring
    second: Ring

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.first.shape

    def __add__(self, other: Shares) -> Shares:
        return Shares(self.first + other.first, self.second + other.second)

    def __sub__(self, other: Shares) -> Shares:
        return Shares(self.first - other.first, self.second - other.second)

    def __neg__(self) -> Shares:
        return Shares(np.uint64(0) - self.first, np.uint64(0) - self.second)

    def scaled(self, factor: Ring | np.uint64) -> Shares:
        """Each secret times a public ring element."""
        return Shares(self.first * factor, self.second * factor)

    def sum(self, axis: int | None = None) -> Shares:
        """The sum along an axis, or of all."""
        return Shares(np.asarray(self.first.sum(axis=axis)), np.asarray(self.second.sum(axis=axis)))

    def __getitem__(self, index: Any) -> Shares:
        return Shares(np.asarray(self.first[index]), np.asarray(self.second[index]))


class Replicated:
    """One party's side of the protocol. All three call the same methods in the same order with the same public arguments."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._index = session.index
        self._prss = Prss(session)
        self._before = session.channels[(session.index - 1) % 3]
        self._after = session.channels[(session.index + 1) % 3]

    # -- in and out

    def share(self, owner: int, shape: tuple[int, ...], values: Ring | None = None) -> Shares:
        """Secrets of one party; only ``owner`` gives ``values``. One round, 16 bytes an element from the owner."""
        self._session.mark("share")
        if self._index == owner:
            if values is None or values.shape != shape:
                raise ValueError("the owner gives values of the announced shape")
            first, second = self._prss.own.elements(shape), self._prss.after.elements(shape)
            rest = values - first - second
            for peer in (self._before, self._after):
                send_block(peer, rest.tobytes())
            return Shares(first, second)
        if self._index == (owner + 1) % 3:  # holds x_{o+1} by its own seed, and gets x_{o+2}
            return Shares(self._prss.own.elements(shape), self._receive(self._before, shape, "share"))
        return Shares(self._receive(self._after, shape, "share"), self._prss.after.elements(shape))

    def public(self, values: Ring) -> Shares:
        """Public values as shares, without a message."""
        nothing = np.zeros_like(values)
        return Shares(values if self._index == 0 else nothing, values if self._index == 2 else nothing)

    def reveal(self, secret: Shares, to: Sequence[int] = (0, 1, 2)) -> Ring | None:
        """The values at the parties of ``to``, None elsewhere. One round, 8 bytes an element for each of them."""
        self._session.mark("reveal")
        if (self._index + 1) % 3 in to:
            send_block(self._after, np.ascontiguousarray(secret.first).tobytes())
        if self._index not in to:
            return None
        return self._receive(self._before, secret.shape, "reveal") + secret.first + secret.second

    # -- products

    def multiply(self, left: Shares, right: Shares) -> Shares:
        """Element by element, of one shape. One round, 8 bytes an element from each party."""
        self._session.mark("multiply")
        return self._reshare(self._local_product(left, right))

    def matmul(self, left: Shares, right: Shares) -> Shares:
        """The matrix product of (m, k) and (k, n). One round, 8 bytes for each element of the result from each party."""
        self._session.mark("matmul")
        return self._reshare(self._local_matmul(left, right))

    def multiply_fixed(self, left: Shares, right: Shares, fraction: int) -> Shares:
        """Fixed-point product: the product shifted right by ``fraction``; the error is 0 or -1 unit in the last place."""
        self._session.mark("multiply")
        return self._truncate(self._local_product(left, right), fraction)

    def matmul_fixed(self, left: Shares, right: Shares, fraction: int) -> Shares:
        """Fixed-point matrix product; one truncation for each element of the result."""
        self._session.mark("matmul")
        return self._truncate(self._local_matmul(left, right), fraction)

    def truncate(self, secret: Shares, bits: int) -> Shares:
        """Secrets below 2^62 in magnitude, shifted right by 1 to 31 bits; the error is 0 or -1. Three rounds."""
        part = secret.first + self._prss.zero(secret.shape)
        return self._truncate(part, bits)

    # -- steps

    def _local_product(self, left: Shares, right: Shares) -> Ring:
        if left.shape != right.shape:
            raise ValueError(f"the shapes {left.shape} and {right.shape} differ")
        out = self._prss.zero(left.shape)
        flat = [np.ascontiguousarray(part).reshape(-1) for part in (left.first, left.second, right.first, right.second)]
        _add_products(out.reshape(-1), *flat)
        return out

    def _local_matmul(self, left: Shares, right: Shares) -> Ring:
        if len(left.shape) != 2 or len(right.shape) != 2 or left.shape[1] != right.shape[0]:
            raise ValueError(f"matrices of shapes {left.shape} and {right.shape} have no product")
        # x_i (y_i + y_{i+1}) + x_{i+1} y_i is one product of twice the inner length.
        wide = np.concatenate([left.first, left.second], axis=1)
        tall = np.concatenate([right.first + right.second, right.first], axis=0)
        out = self._prss.zero((left.shape[0], right.shape[1]))
        _add_matmul(out, wide, tall)
        return out

    def _reshare(self, part: Ring) -> Shares:
        """From parts that add up to the secrets, masked by a sharing of zero."""
        send_block(self._before, part.tobytes())
        return Shares(part, self._receive(self._after, part.shape, "reshare"))

    def _truncate(self, part: Ring, bits: int) -> Shares:
        """Shift secrets, given as masked parts, right.

        Party 0 comes to know a = z_0 + z_1, parties 1 and 2 know b = z_2, with x = a + b mod 2^64. For x + 2^62 in [0, 2^63) the
        sum wraps exactly when a or b has its top bit: w = 1 - n_a n_b with n = 1 - top bit. So (a >> m) + (b >> m) - 2^(64-m) w is
        the shifted sum but for a carry out of the low bits; n_a n_b is needed modulo 2^m only, and shared in 32 bits.
        """
        if not 1 <= bits <= 31:
            raise ValueError("secrets are shifted by 1 to 31 bits")
        self._session.mark("truncate")
        shape, shift, lift = part.shape, np.uint64(bits), np.uint64(64 - bits)
        if self._index == 0:
            a = part + self._receive(self._after, shape, "truncate")
            not_top = (np.uint64(1) - (a >> _TOP)).astype(np.uint32)
            second = self._prss.after.elements(shape)  # y_1, known to parties 0 and 1
            first = (a >> shift) - second
            masked = not_top - self._prss.after.elements(shape, np.uint32)
            send_block(self._before, first.tobytes())
            send_block(self._before, masked.tobytes())
            second += self._prss.after.elements(shape, np.uint32).astype(np.uint64) << lift  # t_1
            first += self._prss.own.elements(shape, np.uint32).astype(np.uint64) << lift  # t_0
            return Shares(first, second)
        if self._index == 1:
            send_block(self._before, part.tobytes())
            b = self._receive(self._after, shape, "truncate") + _OFFSET
            first = self._prss.own.elements(shape)
            crossed = (np.uint64(1) - (b >> _TOP)).astype(np.uint32) * self._prss.own.elements(shape, np.uint32)
            mask = self._prss.own.elements(shape, np.uint32)  # t_1
            crossed -= mask
            send_block(self._after, crossed.tobytes())
            crossed += self._receive(self._after, shape, "wrap", np.uint32)
            first += mask.astype(np.uint64) << lift
            return Shares(first, self._shifted(b, crossed, shift, lift))
        send_block(self._before, part.tobytes())
        b = part + _OFFSET
        zeroth = self._receive(self._after, shape, "truncate")
        crossed = (np.uint64(1) - (b >> _TOP)).astype(np.uint32) * self._receive(self._after, shape, "wrap", np.uint32)
        mask = self._prss.after.elements(shape, np.uint32)  # t_0
        crossed -= mask
        send_block(self._before, crossed.tobytes())
        crossed += self._receive(self._before, shape, "wrap", np.uint32)
        zeroth += mask.astype(np.uint64) << lift
        return Shares(self._shifted(b, crossed, shift, lift), zeroth)

    @staticmethod
    def _shifted(b: Ring, crossed: NDArray[np.uint32], shift: np.uint64, lift: np.uint64) -> Ring:
        """y_2: b shifted, less 2^(64-m) and the offset, plus this part of n_a n_b 2^(64-m)."""
        constant = (np.uint64(1) << lift) + (_OFFSET >> shift)
        return (b >> shift) - constant + (crossed.astype(np.uint64) << lift)

    def _receive(
        self, channel: Channel, shape: tuple[int, ...], step: str, kind: type[np.unsignedinteger[Any]] = np.uint64
    ) -> NDArray[Any]:
        count = int(np.prod(shape, dtype=np.int64))
        packed = receive_block(channel, count * np.dtype(kind).itemsize, step)
        return np.frombuffer(bytearray(packed), kind).reshape(shape)


@compiled
def _add_products(out: Ring, x: Ring, x_next: Ring, y: Ring, y_next: Ring) -> None:
    """out += x y + x y' + x' y, in one pass."""
    for i in range(len(out)):
        out[i] += x[i] * (y[i] + y_next[i]) + x_next[i] * y[i]


@compiled
def _add_matmul(out: Ring, left: Ring, right: Ring) -> None:
    """out += left @ right in the ring; rows of ``right`` stay in cache while four rows of ``left`` pass over them."""
    rows, inner, columns = left.shape[0], left.shape[1], right.shape[1]
    for block in range(0, inner, 96):
        last = min(block + 96, inner)
        for start in range(0, columns, 256):
            stop = min(start + 256, columns)
            for row in range(rows):
                target = out[row, start:stop]
                for k in range(block, last):
                    factor = left[row, k]
                    source = right[k, start:stop]
                    for column in range(stop - start):
                        target[column] += factor * source[column]
