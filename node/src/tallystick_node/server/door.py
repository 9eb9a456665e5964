"""Who may come in: every caller of both services passes here, and who is refused is put on record.

A caller can knock as often as it likes, so the same account and rule are recorded once in a while only: a hostile caller must not
be able to fill the log.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn

from tallystick.chain.connection import Chain
from tallystick.protocol.errors import Refused

from tallystick_node.peers.identity import certificate_of, require_enrolled

SECONDS = 60.0  # between two records of the same account and rule
REMEMBERED = 1024  # accounts and rules


class Door:
    """``record`` keeps a refusal: rule, message, account."""

    def __init__(self, chain: Chain, record: Callable[[str, str, str], object]) -> None:
        self._chain = chain
        self._record = record
        self._last: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    async def caller(self, context: Any) -> str:
        """The account that calls. Raises Refused, on record, unless it is enrolled with this certificate and active now."""
        return await asyncio.to_thread(self._enrolled, context)

    def refuse(self, refusal: Refused) -> NoReturn:
        """Put a refusal on record and raise it."""
        if self._is_news((refusal.party or "", refusal.rule)):
            self._record(refusal.rule, refusal.message, refusal.party or "")
        raise refusal

    def _enrolled(self, context: Any) -> str:
        try:
            return require_enrolled(self._chain, certificate_of(context))
        except Refused as refusal:
            self.refuse(refusal)

    def _is_news(self, key: tuple[str, str]) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._last.get(key, now - SECONDS) < SECONDS:
                return False
            self._last[key] = now
            self._last.move_to_end(key)
            if len(self._last) > REMEMBERED:
                self._last.popitem(last=False)
            return True
