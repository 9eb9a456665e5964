"""What differs between EVM chains, as settings: fees, finality, page size, polling."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tallystick.protocol.errors import Configuration

FEES = ("eip1559", "legacy", "zero")
OUTBOX_SECONDS = 2  # between the moment at which a node knows what to write and its sending


@dataclass(frozen=True)
class ChainProfile:
    """How to talk to one kind of chain.

    ``fees``: ``eip1559``, ``legacy`` or ``zero`` (consortium chains without gas price). ``confirmations``: a block counts as
    final when that many blocks follow it; 0 where blocks are final at once (QBFT, PBFT). ``block_seconds``: how long a block takes.
    ``log_page``: blocks per ``eth_getLogs``. ``clock``: whether to ask first what time contracts are told, where that may be in
    milliseconds, although headers say seconds. Times in seconds. Headers need no setting: the longer extra data of
    proof-of-authority chains is read as it is.
    """

    name: str
    fees: str = "eip1559"
    confirmations: int = 0
    block_seconds: float = 5.0
    log_page: int = 1000
    poll_seconds: float = 1.0
    receipt_seconds: float = 120.0
    gas_margin: float = 1.25
    clock: bool = False

    def __post_init__(self) -> None:
        if self.fees not in FEES:
            raise Configuration(f"unknown fee rule {self.fees!r}", remedy=f"use one of {', '.join(FEES)}")

    @property
    def reporting_seconds(self) -> int:
        """Seconds that a node needs to have something on chain by a deadline, and final: three blocks until it is taken, those that
        make it final, and its own pauses."""
        return math.ceil((3 + self.confirmations) * self.block_seconds + 2 * self.poll_seconds + OUTBOX_SECONDS)


PROFILES = {
    profile.name: profile
    for profile in (
        ChainProfile("development", block_seconds=1, poll_seconds=0.05, receipt_seconds=30),
        ChainProfile("ganache", fees="legacy", block_seconds=1, poll_seconds=0.2, receipt_seconds=30),
        ChainProfile("besu-qbft", fees="zero"),
        ChainProfile("fisco-bcos", fees="zero", log_page=500, clock=True),
        ChainProfile("public", confirmations=12, block_seconds=12, poll_seconds=4, receipt_seconds=600),
    )
}


def profile_named(name: str) -> ChainProfile:
    """A profile by its name. Raises Configuration."""
    if name not in PROFILES:
        raise Configuration(f"unknown chain profile {name!r}", remedy=f"use one of {', '.join(sorted(PROFILES))}")
    return PROFILES[name]
