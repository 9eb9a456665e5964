"""Questions to a chain that may be away for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from tallystick.protocol.errors import ChainUnreachable

T = TypeVar("T")
AGAIN = 1.0  # seconds between two questions


async def patiently(ask: Callable[[], T], seconds: float) -> T:
    """What the chain answers within so many seconds. Raises ChainUnreachable, and what ``ask`` does."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            return await asyncio.to_thread(ask)
        except ChainUnreachable:
            if time.monotonic() > give_up:
                raise
        await asyncio.sleep(AGAIN)
