"""Following the chain: every event of ours, in order, at least once, across restarts, outages and re-organisations.

A page of blocks is handed on only when the chain up to it was the same before it was read and after, and the cursor moves when all
of it is handled: who is killed hands on again the page that it was at, and no other. Where the last handled block is no longer on
the chain, the node goes back to the newest one that it noted and that still is: however deep, no event is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.protocol.errors import ChainUnreachable

from tallystick_node.store.database import Store

LOG = structlog.get_logger()
ENDING = frozenset({"Suspended", "Revoked", "GrantRevoked", "Withdrawn"})  # events that only stop what runs
IDLE = 5  # how much longer the pauses become, step by step, while nothing happens on the chain
Page = tuple[int, str, list[Event]]  # number and hash of its last block, and its events


class Indexer:
    """Hands events to ``handle`` and keeps the cursor. ``head`` and ``handled`` are block numbers, for health checks."""

    def __init__(self, store: Store, chain: Chain, handle: Callable[[Event], Awaitable[None]]) -> None:
        self._store = store
        self._chain = chain
        self._handle = handle
        self.head = 0
        self.handled = 0
        self.reachable = True
        self._seen = ""  # hash of the latest block when there was nothing left to read

    async def follow(self) -> None:
        """Run for ever."""
        pause = self._chain.profile.poll_seconds
        while True:
            try:
                advanced = await self._advance()
                if not self.reachable:
                    LOG.info("chain answers again")
                least = self._chain.profile.poll_seconds
                self.reachable, pause = True, least if advanced else min(IDLE * least, max(least, 1.5 * pause))
                if advanced and self.handled < self.head:
                    continue
            except ChainUnreachable as error:
                if self.reachable:
                    LOG.warning("chain does not answer", problem=error.message, party=error.party)
                self.reachable, pause = False, min(10.0, 2 * max(pause, 0.25))
            await asyncio.sleep(pause)

    async def _advance(self) -> bool:
        """Handle the next page of blocks; whether there was any."""
        self.head, latest = await asyncio.to_thread(self._chain.tip)
        if latest == self._seen:
            return False
        page = await asyncio.to_thread(self._read, self.head, latest)
        if page is None:
            return False
        last, found, events = page
        if not found:
            await self._hear_endings()
            self.handled, self._seen = self.head, latest
            return False
        for event in events:
            await self._handle(event)
        await asyncio.to_thread(self._store.set_cursor, last, found)
        self.handled = last
        return True

    async def _hear_endings(self) -> None:
        """Hand on what takes an authorisation back as soon as a block has it, final or not. It comes once more when it is final;
        one that a re-organisation takes away has stopped a run that may be asked for again."""
        if self._chain.profile.confirmations:
            latest = self.head + self._chain.profile.confirmations
            for event in await asyncio.to_thread(lambda: list(self._chain.events(self.head + 1, latest))):
                if event.name in ENDING:
                    await self._handle(event)

    def _read(self, head: int, latest: str) -> Page | None:
        """The next page up to ``head``, without a hash when there is none; None when the chain was another one before it was read
        than after. While the hash of ``head`` is the same, so is every block before it."""
        anchor = self._chain.hash_at(head) if self._chain.profile.confirmations else latest
        first = self._next()
        if first > head:
            return head, "", []
        until, events = next(self._chain.event_pages(first, head))
        found = self._chain.hash_at(until)
        same = bool(anchor and found) and anchor == (found if until == head else self._chain.hash_at(head))
        return (until, found, events) if same else None

    def _next(self) -> int:
        """The first block to read. When the last handled block has another hash now, some blocks are read again."""
        cursor = self._store.cursor()
        if cursor is None:
            return 0
        number, known = cursor
        if self._chain.hash_at(number) == known:
            return number + 1
        LOG.warning("chain re-organised", block=number)
        past = (block for block, known in self._store.past_cursors() if self._chain.hash_at(block) == known)
        common = next(past, -1)
        self._store.rewind(common)
        return common + 1
