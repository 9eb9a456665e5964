"""Looking at the certificates that peers' nodes serve, in threads of each peer's own: one that takes a connection and says nothing
holds up nobody but those who wait for it, neither another peer nor the rest of the node."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from tallystick.chain.connection import Chain
from tallystick.protocol.identity import Certificate

from tallystick_node.peers.identity import require_server
from tallystick_node.settings import Settings

EACH = 4  # looks at one peer's certificate at a time, of all runs: a chain that answers late does not line them up

_threads: dict[str, ThreadPoolExecutor] = {}  # by account: no more than the settings name


async def shown(settings: Settings, chain: Chain, account: str) -> Certificate:
    """The certificate that the node of ``account``, one of ``settings.peers``, serves, checked before anything is sent to it.
    Raises what :func:`identity.require_server` does."""
    if account not in _threads:
        _threads[account] = ThreadPoolExecutor(EACH, "peer")
    loop, target, own = (
        asyncio.get_running_loop(),
        settings.peers[account],
        (settings.key, settings.certificate, settings.authority),
    )
    return await loop.run_in_executor(_threads[account], require_server, chain, account, target, *own)


def close() -> None:
    """Begin no more looks, and wait for none that a silent peer holds up."""
    while _threads:
        _threads.popitem()[1].shutdown(wait=False, cancel_futures=True)
