"""A protocol that makes randomness in advance, opened once for a rehearsal: what it makes at first belongs to no operation.

Each primitive is done once, in the order of the plan and on as many elements as there, up to a bound, so that what the parties
then make for the first time is seen, and counted, once for the whole plan. What is seen afterwards are the primitive's own
messages: they are its price, which stays known. At the end it is done on as many more as the whole plan has, up to another bound,
for batches of silent correlations grow with those before. What is made beyond, but for products, is not foretold: it takes few
bytes for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any

from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc.plan.primitives import product_of, step_of
from tallystick_node.engines.mpc.plan.rehearse import FITTED, SECONDS, Price, fitted
from tallystick_node.engines.mpc.plan.roles import Offer
from tallystick_node.engines.mpc.plan.watch import Seen
from tallystick_node.engines.mpc.protocol import Protocol

Step = Callable[[Protocol, int], Callable[[], Any]]
Want = tuple[str, int, tuple[int, ...] | None]  # a primitive, its words' width, and the owner or the receivers
Observed = tuple[list[int], list[str]]  # each party's bytes, and the order of its sending and receiving

_TRIES = 4  # of which the cheapest counts: in others something may be made in advance
_PRODUCTS = frozenset({"multiply", "multiply_fixed"})
_WORD = 8
_MOST = 2048  # elements that a primitive is done on at first, as many as the plan has for it if they are fewer
_ALL = 1 << 14  # and at most in all

_prices: dict[tuple[Any, ...], Price] = {}
_tiles: dict[tuple[Any, ...], Observed] = {}


class Stage:
    """All parties of one rehearsal, in a thread each. To be closed."""

    def __init__(self, offer: Offer, parties: int) -> None:
        self._offer, self._parties = offer, parties
        self._threads = [ThreadPoolExecutor(1) for _ in range(parties)]
        self._seen = [Seen(dealer=parties) for _ in range(parties)]
        self._done: dict[Want, int] = {}
        sessions = local_sessions(parties, SECONDS)
        self._protocols = self._together(lambda seat: offer.open(self._seen[seat].watching(sessions[seat])))
        self.opening: Observed = self._sent()
        self._stocks: list[Observed] = []  # what each primitive made in advance when it was done first

    def close(self) -> None:
        """Let the parties go, without waiting for one that another left alone."""
        for thread in self._threads:
            thread.shutdown(wait=False)

    def price(self, primitive: str, width: int, seats: tuple[int, ...] | None, count: int) -> Price:
        """The price of a primitive: see :func:`~tallystick_node.engines.mpc.plan.rehearse.price`. The plan has it for ``count``
        elements at first."""
        key, want = (self._offer, self._parties, primitive, width, seats), (primitive, width, seats)
        if want in self._done:
            return _prices[key]
        step, self._done[want] = step_of(primitive, width, seats), min(count, _MOST)
        seen = self._observe(step, self._done[want])
        if key not in _prices:
            _prices[key] = self._learnt(step, primitive)
        self._stock(seen, _prices[key], self._done[want])
        return _prices[key]

    def stocks(self, wanted: Mapping[Want, int]) -> list[Observed]:
        """What is made in advance for a plan that has each primitive for so many elements, of those that were priced."""
        for want, count in wanted.items():
            rest = min(count, _ALL) - self._done[want]
            if rest > 0 and want[0] not in _PRODUCTS:  # whose price has it
                self._stock(self._observe(step_of(*want), rest), _prices[self._offer, self._parties, *want], rest)
                self._done[want] += rest
        return self._stocks

    def _stock(self, seen: Observed, due: Price, count: int) -> None:
        stock = [max(0, size - usual) for size, usual in zip(seen[0], due.bytes_sent(count), strict=True)]
        before = [pattern.removesuffix(own) for pattern, own in zip(seen[1], due.pattern, strict=True)]
        self._stocks.append((stock, before))

    def matrix(self, primitive: str, rows: int, inner: int, columns: int) -> Observed:
        """What each party sends, and in which order, for the product of (rows, inner) and (inner, columns): tile by tile, but the
        factors are opened once."""
        again = _WORD * rows * inner * (-(-columns // self._offer.tile) - 1)
        again += _WORD * inner * columns * (-(-rows // self._offer.tile) - 1)
        sent, patterns = [-again] * self._parties, [""] * self._parties
        for shape in product(self._cut(rows), self._cut(inner), self._cut(columns)):
            for party, (size, pattern) in enumerate(zip(*self._tile(primitive, shape), strict=True)):
                sent[party] += size
                patterns[party] += pattern
        return sent, patterns

    def _cut(self, length: int) -> list[int]:
        tile = self._offer.tile
        return [min(tile, length - start) for start in range(0, length, tile)]

    def _tile(self, primitive: str, shape: tuple[int, ...]) -> Observed:
        key = (self._offer, self._parties, primitive, shape)
        if key not in _tiles:
            _tiles[key] = self._usual(lambda protocol, _: product_of(protocol, primitive, *shape), 0)
        return _tiles[key]

    def _learnt(self, step: Step, primitive: str) -> Price:
        seen = [self._usual(step, count) for count in FITTED]
        found = fitted([list(zip(*each, strict=True)) for each in seen])
        if primitive not in _PRODUCTS:
            return found
        batch = self._offer.batch
        return replace(found, batch=batch, whole=tuple(self._observe(step, batch)[0]))

    def _usual(self, step: Step, count: int) -> Observed:
        return min((self._observe(step, count) for _ in range(_TRIES)), key=lambda seen: sum(seen[0]))

    def _observe(self, step: Step, count: int) -> Observed:
        def one(seat: int) -> None:
            work = step(self._protocols[seat], count)
            self._seen[seat].forget()
            work()

        self._together(one)
        return self._sent()

    def _sent(self) -> Observed:
        return [each.bytes for each in self._seen], [each.pattern for each in self._seen]

    def _together(self, work: Callable[[int], Any]) -> list[Any]:
        running = [thread.submit(work, seat) for seat, thread in enumerate(self._threads)]
        return [each.result() for each in running]


@contextmanager
def staged(offer: Offer, parties: int) -> Iterator[Stage | None]:
    """A stage for a protocol that makes randomness in advance, None for others."""
    if not offer.batch:
        yield None
        return
    stage = Stage(offer, parties)
    try:
        yield stage
    finally:
        stage.close()
