"""What each primitive of a protocol costs, learnt by doing it once on a few elements, all parties in this process.

So a prediction needs no table that somebody keeps in step with the protocols. Eight more elements make a primitive's messages
longer by the same, however many there are (bits travel eight in a byte, so one more need not; two more do as the two before), and
by what a word of 64 bits takes where bits are kept in words; and the order in which a party sends and receives does not depend on
the number.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from tallystick_node.engines.channel import Buffer, Channel, Session, local_sessions
from tallystick_node.engines.mpc.plan.roles import Offer
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares

OPENING = "open"  # what joining the protocol costs, before anything is computed
CLOSING = "close"  # and leaving it
SECONDS = 300.0  # in a new installation kernels are compiled meanwhile
_START = 64
_MANY = 4096
_SHOWING = frozenset({"reveal", "reveal_binary", "disclose"})  # before these, what is checked in batches is checked


@dataclass(frozen=True)
class Price:
    """For each party, the dealer last: the bytes that it sends for 64 to 71 elements, without words; those for eight more, and for
    each word of 64 elements begun; and the order of its sending (s) and receiving (r)."""

    start: tuple[tuple[int, ...], ...]
    eight: tuple[int, ...]
    word: tuple[int, ...]
    pattern: tuple[str, ...]

    def bytes_sent(self, count: int) -> list[int]:
        """The bytes that each party sends for ``count`` elements."""
        steps, rest = divmod(count - _START, 8)
        words = -(-count // _START)
        return [
            start[rest] + steps * eight + words * word for start, eight, word in zip(self.start, self.eight, self.word, strict=True)
        ]


@dataclass(frozen=True)
class MatrixPrice:
    """For each party, the dealer last: the bytes that it sends whatever the size, and for each element of the left factor, of the
    right one and of the product; and the order of its sending and receiving."""

    terms: tuple[tuple[int, int, int, int], ...]
    pattern: tuple[str, ...]

    def bytes_sent(self, rows: int, inner: int, columns: int) -> list[int]:
        """The bytes that each party sends for the product of (rows, inner) and (inner, columns)."""
        return [
            base + left * rows * inner + right * inner * columns + out * rows * columns for base, left, right, out in self.terms
        ]


@cache
def price(offer: Offer, parties: int, primitive: str, width: int = 64, seats: tuple[int, ...] | None = None) -> Price:
    """The price of a primitive, a method of the protocol, for words of ``width`` bits; ``seats`` are the owner or the receivers."""
    step = None if primitive == OPENING else _steps(primitive, width, seats)
    if hasattr(offer.kind, "verify") and step is not None and primitive not in _SHOWING:
        return _checked(_observe(offer, parties, primitive, step, _MANY), _observe(offer, parties, primitive, step, _START))
    if primitive in (OPENING, CLOSING):  # whatever the number of elements
        once = _observe(offer, parties, primitive, step, _START)
        nothing = (0,) * len(once)
        return Price(tuple((size,) * 8 for size, _ in once), nothing, nothing, tuple(pattern for _, pattern in once))
    seen = [_observe(offer, parties, primitive, step, _START + more) for more in (0, 1, 2, 3, 8, 9)]
    start, eight, word = [], [], []
    for none, one, two, three, byte, more in zip(*([size for size, _ in each] for each in seen), strict=True):
        eight.append(more - one)
        word.append(byte - none - eight[-1])  # the second begins at 65
        beyond = [one + pair * (three - one) + odd * (two - one) for pair in range(4) for odd in range(2)][:7]
        start.append((none - word[-1], *(size - 2 * word[-1] for size in beyond)))
    return Price(tuple(start), tuple(eight), tuple(word), tuple(pattern for _, pattern in seen[0]))


def _checked(many: list[tuple[int, str]], few: list[tuple[int, str]]) -> Price:
    """The price under a protocol that checks what it has done before it shows anything: with the share of a check of many elements,
    since checks of many cost less for each. The rounds of a check belong to what shows."""
    start = tuple(tuple(round(size * (_START + rest) / _MANY) for rest in range(8)) for size, _ in many)
    eight = tuple(round(size * 8 / _MANY) for size, _ in many)
    return Price(start, eight, (0,) * len(many), tuple(pattern for _, pattern in few))


def _observe(
    offer: Offer, parties: int, primitive: str, step: Callable[[Protocol, int], Any] | None, count: int
) -> list[tuple[int, str]]:
    """For each party the bytes it sent and its pattern; last a dealer's, by what the others got of it and without a pattern, since
    it only answers."""
    dealt = [0] * parties

    def one(session: Session) -> tuple[int, str]:
        if offer.deal is not None and session.index == parties:
            offer.deal(session)
            return 0, ""
        seen = _Seen(dealer=parties)
        channels: dict[int, Channel] = {peer: _Watched(channel, seen) for peer, channel in session.channels.items()}
        protocol = offer.open(replace(session, channels=channels))
        if step is None:
            sent, pattern, dealt[session.index] = seen.bytes, seen.pattern, seen.dealt
            protocol.close()
            return sent, pattern
        work = step(protocol, count)
        checks = getattr(protocol, "verify", None)
        if checks is not None and primitive in _SHOWING:
            protocol.multiply(protocol.random((8,)), protocol.random((8,)))  # there is something to check
        seen.bytes, seen.dealt, seen.pattern = 0, 0, ""  # the step's own, without what prepared it
        work()
        pattern, dealt[session.index] = seen.pattern, seen.dealt
        if checks is not None and primitive not in _SHOWING:
            checks()
        sent = seen.bytes
        if primitive != CLOSING:
            protocol.close()
        return sent, pattern

    with ThreadPoolExecutor(offer.members(parties)) as pool:
        found = list(pool.map(one, local_sessions(offer.members(parties), SECONDS)))
    return found if offer.deal is None else [*found[:-1], (sum(dealt), "")]


@cache
def matrix_price(offer: Offer, parties: int, primitive: str) -> MatrixPrice:
    """The price of ``matmul`` or ``matmul_fixed`` where the messages grow with the factors too."""

    def observed(*shape: int) -> list[tuple[int, str]]:
        return _observe(offer, parties, primitive, lambda protocol, _: _product(protocol, primitive, *shape), 0)

    least, more, inner, wide = observed(8, 8, 8), observed(16, 8, 8), observed(8, 16, 8), observed(8, 8, 16)
    terms = []
    for (base, _), (by_rows, _), (by_inner, _), (by_columns, _) in zip(least, more, inner, wide, strict=True):
        rows, length, columns = by_rows - base, by_inner - base, by_columns - base  # each of two factors of 64 more
        left, right, out = (rows + length - columns) // 128, (length + columns - rows) // 128, (rows + columns - length) // 128
        terms.append((base - 64 * (left + right + out), left, right, out))
    return MatrixPrice(tuple(terms), tuple(pattern for _, pattern in least))


def _product(protocol: Protocol, primitive: str, rows: int, inner: int, columns: int) -> Callable[[], Any]:
    left, right = protocol.random((rows, inner)), protocol.random((inner, columns))
    fraction = (18,) if primitive == "matmul_fixed" else ()
    return lambda: getattr(protocol, primitive)(left, right, *fraction)


class _Seen:
    def __init__(self, dealer: int) -> None:
        self.dealer = dealer
        self.bytes = 0
        self.dealt = 0  # bytes that came from the dealer
        self.pattern = ""

    def note(self, what: str) -> None:
        if not self.pattern.endswith(what):
            self.pattern += what


class _Watched:
    """A channel that notes what passes."""

    def __init__(self, inner: Channel, seen: _Seen) -> None:
        self.peer = inner.peer
        self._inner = inner
        self._seen = seen

    def send(self, message: Buffer) -> None:
        self._seen.bytes += len(message)
        self._seen.note("s")
        self._inner.send(message)

    def receive(self) -> bytes:
        message = self._inner.receive()
        self._received(len(message))
        return message

    def receive_into(self, view: memoryview) -> int:
        size = self._inner.receive_into(view)
        self._received(size)
        return size

    def _received(self, size: int) -> None:
        self._seen.note("r")
        if self.peer == self._seen.dealer:
            self._seen.dealt += size

    def mark(self, phase: str) -> None:
        self._inner.mark(phase)


def _steps(primitive: str, width: int, seats: tuple[int, ...] | None) -> Callable[[Protocol, int], Callable[[], Any]]:
    """Given a protocol and a number of elements: the primitive, ready to be done."""

    def shares(protocol: Protocol, shape: tuple[int, ...]) -> Shares:
        return protocol.random(shape)

    def words(protocol: Protocol, shape: tuple[int, ...]) -> Binary:
        return protocol.public_binary(np.zeros(shape, np.uint64), width)

    def prepare(protocol: Protocol, count: int) -> Callable[[], Any]:
        shape = (count,)
        match primitive:
            case "share":
                assert seats is not None
                owner = seats[0]
                values = np.zeros(shape, np.uint64) if protocol.index == owner else None
                return lambda: protocol.share(owner, shape, values)
            case "accept":
                parts = protocol.split(np.zeros(shape, np.uint64), protocol.parties)[protocol.index]
                parts = tuple(np.zeros_like(part) for part in parts)  # the same at every party, whoever drew them
                return lambda: protocol.accept(parts)
            case "reveal":
                secret = shares(protocol, shape)
                return lambda: protocol.reveal(secret, seats)
            case "reveal_binary":
                bits = words(protocol, shape)
                return lambda: protocol.reveal_binary(bits, seats)
            case "disclose" | "negative" | "decompose":
                secret = shares(protocol, shape)
                return lambda: getattr(protocol, primitive)(secret)
            case "multiply":
                left, right = shares(protocol, shape), shares(protocol, shape)
                return lambda: protocol.multiply(left, right)
            case "multiply_fixed":
                left, right = shares(protocol, shape), shares(protocol, shape)
                return lambda: protocol.multiply_fixed(left, right, 18)
            case "matmul":
                left, right = shares(protocol, (count, 2)), shares(protocol, (2, 1))
                return lambda: protocol.matmul(left, right)
            case "matmul_fixed":
                left, right = shares(protocol, (count, 2)), shares(protocol, (2, 1))
                return lambda: protocol.matmul_fixed(left, right, 18)
            case "truncate":
                secret = shares(protocol, shape)
                return lambda: protocol.truncate(secret, 18)
            case "sigmoid_fixed":
                secret = protocol.public(np.zeros(shape, np.uint64))
                return lambda: protocol.sigmoid_fixed(secret, 18)  # type: ignore[attr-defined]
            case "and_":
                one, other = words(protocol, shape), words(protocol, shape)
                return lambda: protocol.and_(one, other)
            case "to_arithmetic" | "compose":
                bits = words(protocol, shape)
                return lambda: getattr(protocol, primitive)(bits)
            case "shuffle":
                secret = shares(protocol, shape)
                return lambda: protocol.shuffle([secret])
            case "close":
                return protocol.close
            case "random":
                return lambda: protocol.random(shape)
        raise ValueError(f"{primitive} is no primitive")

    return prepare
