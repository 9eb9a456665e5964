"""Following the chain: every event of ours, in order, at least once, across restarts, outages and re-organisations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.protocol.errors import ChainUnreachable

from tallystick_node.store.database import Store

LOG = structlog.get_logger()
REWIND = 64  # blocks to go back when the last handled block is no longer on the chain
ENDING = frozenset({"Suspended", "Revoked", "GrantRevoked", "Withdrawn"})  # events that only stop what runs
IDLE = 5  # how much longer the pauses become, step by step, while nothing happens on the chain


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
        first = await asyncio.to_thread(self._next)
        if first > self.head:
            await self._hear_endings()
            self.handled, self._seen = self.head, latest
            return False
        last = min(self.head, first + self._chain.profile.log_page - 1)
        for event in await asyncio.to_thread(lambda: list(self._chain.events(first, last))):
            await self._handle(event)
        block = await asyncio.to_thread(self._chain.block, last)
        await asyncio.to_thread(self._store.set_cursor, last, block["hash"])
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

    def _next(self) -> int:
        """The first block to read. When the last handled block has another hash now, some blocks are read again."""
        cursor = self._store.cursor()
        if cursor is None:
            return 0
        number, known = cursor
        if number <= self.head and self._chain.block(number)["hash"] == known:
            return number + 1
        LOG.warning("chain re-organised", block=number)
        return max(0, min(number, self.head) - REWIND)
