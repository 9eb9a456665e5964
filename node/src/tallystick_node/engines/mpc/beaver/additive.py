"""Additive secret sharing over Z_2^64: the secret is the sum of all parties' parts, and any all but one know nothing about it.

What needs interaction is done with correlated randomness (:mod:`correlations`) that does not depend on the secrets: x and y are
opened less random a and b, and x y = c + (x - a) b + (y - b) a + (x - a)(y - b) for c = a b (Beaver, CRYPTO 1991). The two
protocols differ in where the randomness comes from, and in what each can do more cheaply: :mod:`oblivious` and :mod:`dealt`.

Security: semi-honest, all but one of the parties may collude, under AES as a pseudo-random function for what parties share by
seeds. Every opened value is masked by randomness that is used once. Lengths are checked, and a message of another length names its
sender; a party that deviates can change results.

| method | bytes that each party sends to each other, beside the correlated randomness | rounds |
|---|---|---|
| ``share``, ``random`` | 0 | 0 |
| ``reveal`` | 8 to each that learns | 1 |
| ``multiply`` | 16 | 1 |
| ``matmul`` of (m, k) and (k, n) | 8 (m k + k n) in all | 1 |
| ``and_`` | 2 for each byte of the words | 1 |
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.beaver import planes
from tallystick_node.engines.mpc.beaver.correlations import Correlations, Triple
from tallystick_node.engines.mpc.matrix import add_product
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares, Words, word_type
from tallystick_node.engines.mpc.prss import SEED, Stream, blocks
from tallystick_node.engines.mpc.ring import Ring

CHUNK = 1 << 18  # elements at a time: with their correlated randomness they take some 100 MiB


class Additive(Protocol):
    """One party's side: parts are one array. All parties call the same methods in the same order with the same public arguments."""

    def __init__(self, session: Session) -> None:
        """Agrees on a seed with every party in each direction."""
        self.session = session
        self._own = Stream(secrets.token_bytes(SEED))
        session.mark("seeds")
        self._given: dict[int, Stream] = {}
        for peer in sorted(session.channels):
            seed = secrets.token_bytes(SEED)
            send_array(session, peer, np.frombuffer(seed, np.uint8))
            self._given[peer] = Stream(seed)
        self._got = {
            peer: Stream(receive_array(session, peer, (SEED,), "seeds", np.uint8).tobytes()) for peer in sorted(session.channels)
        }

    @property
    @abstractmethod
    def _source(self) -> Correlations: ...

    # -- in and out

    def share(self, owner: int, shape: tuple[int, ...], values: Ring | None = None) -> Shares:
        """Secrets of one party; only ``owner`` gives ``values``. Without a message: the others' parts come from seeds."""
        if self.index != owner:
            return Shares((self._got[owner].elements(shape),))
        if values is None or values.shape != shape:
            raise ValueError("the owner gives values of the announced shape")
        part = values.copy()
        for stream in self._given.values():
            part -= stream.elements(shape)
        return Shares((part,))

    def public(self, values: Ring) -> Shares:
        """Public values as shares, without a message."""
        return Shares((values if self.index == 0 else np.zeros_like(values),))

    def public_binary(self, values: Words, width: int) -> Binary:
        """Public words as shares, without a message."""
        words = values.astype(word_type(width))
        return Binary((words if self.index == 0 else np.zeros_like(words),), width)

    def reveal(self, secret: Shares, to: Sequence[int] | None = None) -> Ring | None:
        """The values at the parties of ``to`` (None: all), None elsewhere."""
        self.session.mark("reveal")
        total: Ring = secret.parts[0] + self._zero(secret.shape)
        parts = self._gather(total, to, "reveal")
        return None if parts is None else np.asarray(sum(parts, total))

    def reveal_binary(self, secret: Binary, to: Sequence[int] | None = None) -> Words | None:
        """The words at the parties of ``to`` (None: all), None elsewhere."""
        self.session.mark("reveal")
        own = secret.parts[0]
        mask = own.dtype.type((1 << secret.width) - 1)
        for peer in sorted(self._given):
            for stream in (self._given[peer], self._got[peer]):
                own = own ^ (stream.elements(own.shape, own.dtype.type) & mask)
        parts = self._gather(own, to, "reveal")
        if parts is None:
            return None
        for part in parts:
            own = own ^ part
        return np.asarray(own & mask)

    @classmethod
    def split(cls, values: Ring, parties: int) -> list[tuple[Ring, ...]]:
        """What an outside owner sends to each computing party."""
        stream = Stream(secrets.token_bytes(SEED))
        parts = [stream.elements(values.shape) for _ in range(parties - 1)]
        rest = values.copy()
        for part in parts:
            rest -= part
        return [(part,) for part in [*parts, rest]]

    def accept(self, parts: tuple[Ring, ...]) -> Shares:
        """Secrets from the part that an outside owner sent: any one part is as good as another, so nothing can be checked."""
        (part,) = parts
        return Shares((part,))

    def disclose(self, secret: Shares) -> tuple[Ring, ...]:
        """What this party sends to an outside receiver: its part, made fresh, so that all parts together tell the sum alone."""
        return (secret.parts[0] + self._zero(secret.shape),)

    @classmethod
    def combine(cls, parts: Sequence[tuple[Ring, ...]]) -> Ring:
        """The values, from what every computing party disclosed. Raises ProtocolViolation for parts of different shapes."""
        arrays = []
        for party, given in enumerate(parts):
            if len(given) != 1 or given[0].shape != parts[0][0].shape or given[0].dtype != np.uint64:
                raise ProtocolViolation(party, "combine", "one array of 64-bit words was due, of the shape that party 0 disclosed")
            arrays.append(given[0])
        return np.asarray(sum(arrays[1:], arrays[0]))

    # -- arithmetic

    def multiply(self, left: Shares, right: Shares) -> Shares:
        """Element by element, in the ring."""
        if left.shape != right.shape:
            raise ValueError(f"the shapes {left.shape} and {right.shape} differ")
        x, y = (np.ascontiguousarray(each.parts[0]).reshape(-1) for each in (left, right))
        out = np.empty(left.shape, np.uint64)
        flat = out.reshape(-1)
        for block in blocks(flat.size, CHUNK):
            triple = self._source.triples(block.stop - block.start)
            self.session.mark("multiply")
            opened = self._open(np.concatenate([x[block] - triple.a, y[block] - triple.b]), "multiply")
            d, e = opened.reshape(2, -1)
            _finish(flat[block], d, e, triple.a, triple.b, triple.c, np.uint64(self.index == 0))
        return Shares((out,))

    def matmul(self, left: Shares, right: Shares) -> Shares:
        """The matrix product of (m, k) and (k, n), in the ring."""
        if len(left.shape) != 2 or len(right.shape) != 2 or left.shape[1] != right.shape[0]:
            raise ValueError(f"matrices of shapes {left.shape} and {right.shape} have no product")
        triple: Triple = self._source.matrices(*left.shape, right.shape[1])
        self.session.mark("matmul")
        masked = [(left.parts[0] - triple.a).reshape(-1), (right.parts[0] - triple.b).reshape(-1)]
        opened = self._open(np.concatenate(masked), "matmul")
        d, e = opened[: left.size].reshape(left.shape), opened[left.size :].reshape(right.shape)
        out = triple.c
        add_product(out, d, triple.b + e if self.index == 0 else triple.b)
        add_product(out, triple.a, e)
        return Shares((out,))

    # -- Boolean

    def and_(self, left: Binary, right: Binary) -> Binary:
        """Bit by bit, of words of one width."""
        if left.shape != right.shape or left.width != right.width:
            raise ValueError("both sides of AND have one shape and one width")
        x, y = (planes.packed(each.parts[0], left.width) for each in (left, right))
        return Binary((planes.unpacked(self._and(x, y, "and"), left.shape, left.width),), left.width)

    def to_arithmetic(self, bits: Binary) -> Shares:
        """Bits (width 1) as the ring elements 0 and 1."""
        if bits.width != 1:
            raise ValueError("bits are expected: compose makes ring elements of wider words")
        given = np.ascontiguousarray(bits.parts[0]).reshape(-1)
        out = np.empty(given.size, np.uint64)
        for block in blocks(given.size, CHUNK):
            out[block] = self._lift(given[block])
        return Shares((out.reshape(bits.shape),))

    def compose(self, words: Binary) -> Shares:
        """The ring elements whose low ``width`` bits are the words: every bit is made a ring element."""
        given = np.ascontiguousarray(words.parts[0]).reshape(-1)
        out = np.zeros(given.size, np.uint64)
        places = np.arange(words.width, dtype=np.uint64)[:, None]
        for block in blocks(given.size, max(1, CHUNK // words.width)):
            bits = ((given[block].astype(np.uint64) >> places) & np.uint64(1)).astype(np.uint8)
            lifted = self._lift(bits.reshape(-1)).reshape(bits.shape)
            out[block] = (lifted << places).sum(axis=0, dtype=np.uint64)
        return Shares((out.reshape(words.shape),))

    def random(self, shape: tuple[int, ...]) -> Shares:
        """Uniform ring elements that no party knows, without a message."""
        return Shares((self._own.elements(shape),))

    # -- steps

    @abstractmethod
    def _lift(self, bits: NDArray[np.uint8]) -> Ring:
        """This party's additive part of each bit, of which it has the part by XOR."""

    def _zero(self, shape: tuple[int, ...]) -> Ring:
        """This party's part of a fresh sharing of zero, by the seeds that it shares with each other."""
        out = np.zeros(shape, np.uint64)
        for peer in sorted(self._given):
            out += self._given[peer].elements(shape)
            out -= self._got[peer].elements(shape)
        return out

    def _gather(self, own: Words, to: Sequence[int] | None, step: str) -> list[Words] | None:
        """The others' arrays, at the parties of ``to``."""
        receivers = range(self.parties) if to is None else to
        for peer in sorted(self.session.channels):
            if peer in receivers:
                send_array(self.session, peer, own)
        if self.index not in receivers:
            return None
        return [receive_array(self.session, peer, own.shape, step, own.dtype.type) for peer in sorted(self.session.channels)]

    def _open(self, own: Ring, step: str) -> Ring:
        """The sum of all parties' masked arrays, at all of them."""
        parts = self._gather(own, None, step)
        assert parts is not None
        return np.asarray(sum(parts, own))

    def _fork(self, x: Ring, y: tuple[Ring, Ring], step: str) -> tuple[Ring, Ring]:
        """x & y_0 and x & y_1, of words shared by XOR."""
        out = np.empty_like(x), np.empty_like(x)
        flat, ends = [x.reshape(-1), *(each.reshape(-1) for each in y)], [each.reshape(-1) for each in out]
        for block in blocks(x.size, CHUNK):
            fork = self._source.forks(block.stop - block.start)
            self.session.mark(step)
            masked = np.stack([flat[0][block] ^ fork.a, flat[1][block] ^ fork.b[0], flat[2][block] ^ fork.b[1]])
            d, e_0, e_1 = self._open_binary(masked, step)
            for target, e, b, c in zip(ends, (e_0, e_1), fork.b, fork.c, strict=True):
                target[block] = self._conjunction(d, e, fork.a, b, c)
        return out

    def _and(self, x: Ring, y: Ring, step: str) -> Ring:
        """x & y, of words shared by XOR."""
        out = np.empty_like(x)
        flat, left, right = out.reshape(-1), x.reshape(-1), y.reshape(-1)
        for block in blocks(x.size, CHUNK):
            fork = self._source.forks(block.stop - block.start)
            self.session.mark(step)
            d, e = self._open_binary(np.stack([left[block] ^ fork.a, right[block] ^ fork.b[0]]), step)
            flat[block] = self._conjunction(d, e, fork.a, fork.b[0], fork.c[0])
        return out

    def _conjunction(self, d: Ring, e: Ring, a: Ring, b: Ring, c: Ring) -> Ring:
        out: Ring = c ^ (d & b) ^ (e & a)
        return out ^ (d & e) if self.index == 0 else out

    def _open_binary(self, own: Ring, step: str) -> Ring:
        parts = self._gather(own, None, step)
        assert parts is not None
        for part in parts:
            own = own ^ part
        return own

    # -- carries, on planes of bits

    def _carry(self, generate: Ring, propagate: Ring, step: str) -> Ring:
        """The carry out of a power of two of places, lowest first: whether each makes a carry, and whether it passes one on."""
        while len(generate) > 2:
            g, p = self._fork(propagate[1::2], (generate[::2], propagate[::2]), step)
            generate, propagate = generate[1::2] ^ g, p
        return np.asarray(generate[1] ^ self._and(propagate[1], generate[0], step))

    def _carries(self, generate: Ring, propagate: Ring, step: str) -> Ring:
        """The carry into each of 64 places (Sklansky, 1960): into the lowest, none."""
        generate, propagate = generate.copy(), propagate.copy()
        for level in range(6):
            upper = np.flatnonzero(np.arange(64) >> level & 1)
            lower = (upper >> level << level) - 1
            g, p = self._fork(propagate[upper], (generate[lower], propagate[lower]), step)
            generate[upper] ^= g
            propagate[upper] = p
        return np.concatenate([np.zeros_like(generate[:1]), generate[:-1]])


@compiled
def _finish(out: Ring, d: Ring, e: Ring, a: Ring, b: Ring, c: Ring, leads: np.uint64) -> None:
    """out = c + d b + e a, and + d e at one party."""
    for i in range(len(out)):
        out[i] = c[i] + d[i] * (b[i] + leads * e[i]) + e[i] * a[i]
