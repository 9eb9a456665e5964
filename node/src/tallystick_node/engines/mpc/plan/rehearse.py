"""What each primitive of a protocol costs, learnt by doing it once on a few elements, all parties in this process.

So a prediction needs no table that somebody keeps in step with the protocols. Eight more elements make a primitive's messages
longer by the same, however many there are (bits travel eight in a byte, so one more need not; two more do as the two before), and
by what a word of 64 bits takes where bits are kept in words; and the order in which a party sends and receives does not depend on
the number.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from tallystick_node.engines.channel import Session, local_sessions
from tallystick_node.engines.mpc.plan.primitives import product_of, step_of
from tallystick_node.engines.mpc.plan.roles import Offer
from tallystick_node.engines.mpc.plan.watch import Seen
from tallystick_node.engines.mpc.protocol import Protocol

OPENING = "open"  # what joining the protocol costs, before anything is computed
CLOSING = "close"  # and leaving it
SECONDS = 300.0  # in a new installation kernels are compiled meanwhile
START = 64
_MANY = 4096
FITTED = tuple(START + more for more in (0, 1, 2, 3, 8, 9))
_SHOWING = frozenset({"reveal", "reveal_binary", "disclose"})  # before these, what is checked in batches is checked


@dataclass(frozen=True)
class Price:
    """For each party, the dealer last: the bytes that it sends for 64 to 71 elements, without words; those for eight more, and for
    each word of 64 elements begun; and the order of its sending (s) and receiving (r). Of products made in advance a ``batch`` has
    a price of its own, and as much is set aside for those elements that fill none."""

    start: tuple[tuple[int, ...], ...]
    eight: tuple[int, ...]
    word: tuple[int, ...]
    pattern: tuple[str, ...]
    batch: int = 0
    whole: tuple[int, ...] = ()

    def bytes_sent(self, count: int) -> list[int]:
        """The bytes that each party sends for ``count`` elements."""
        part = count % self.batch if self.batch else count
        steps, rest = divmod(part - START, 8)
        words = -(-part // START)
        sent = [
            start[rest] + steps * eight + words * word for start, eight, word in zip(self.start, self.eight, self.word, strict=True)
        ]
        if not self.batch:
            return sent
        sent = sent if part else [0] * len(sent)
        return [size + count * each // self.batch for size, each in zip(sent, self.whole, strict=True)]


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
    step = None if primitive == OPENING else step_of(primitive, width, seats)
    if hasattr(offer.kind, "verify") and step is not None and primitive not in _SHOWING:
        return _checked(_observe(offer, parties, primitive, step, _MANY), _observe(offer, parties, primitive, step, START))
    if primitive in (OPENING, CLOSING):  # whatever the number of elements
        once = _observe(offer, parties, primitive, step, START)
        nothing = (0,) * len(once)
        return Price(tuple((size,) * 8 for size, _ in once), nothing, nothing, tuple(pattern for _, pattern in once))
    return fitted([_observe(offer, parties, primitive, step, count) for count in FITTED])


def fitted(seen: list[list[tuple[int, str]]]) -> Price:
    """The price from what was seen of ``FITTED`` elements."""
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
    start = tuple(tuple(round(size * (START + rest) / _MANY) for rest in range(8)) for size, _ in many)
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
        seen = Seen(dealer=parties)
        protocol = offer.open(seen.watching(session))
        if step is None:
            sent, pattern, dealt[session.index] = seen.bytes, seen.pattern, seen.dealt
            protocol.close()
            return sent, pattern
        work = step(protocol, count)
        checks = getattr(protocol, "verify", None)
        if checks is not None and primitive in _SHOWING:
            protocol.multiply(protocol.random((8,)), protocol.random((8,)))  # there is something to check
        seen.forget()  # the step's own is left, without what prepared it
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
        return _observe(offer, parties, primitive, lambda protocol, _: product_of(protocol, primitive, *shape), 0)

    least, more, inner, wide = observed(8, 8, 8), observed(16, 8, 8), observed(8, 16, 8), observed(8, 8, 16)
    terms = []
    for (base, _), (by_rows, _), (by_inner, _), (by_columns, _) in zip(least, more, inner, wide, strict=True):
        rows, length, columns = by_rows - base, by_inner - base, by_columns - base  # each of two factors of 64 more
        left, right, out = (rows + length - columns) // 128, (length + columns - rows) // 128, (rows + columns - length) // 128
        terms.append((base - 64 * (left + right + out), left, right, out))
    return MatrixPrice(tuple(terms), tuple(pattern for _, pattern in least))
