"""What differs between EVM chains, as settings: fees, finality, page size, polling."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.protocol.errors import Configuration

FEES = ("eip1559", "legacy", "zero")


@dataclass(frozen=True)
class ChainProfile:
    """How to talk to one kind of chain.

    ``fees``: ``eip1559``, ``legacy`` or ``zero`` (consortium chains without gas price). ``confirmations``: a block counts as
    final when that many blocks follow it; 0 where blocks are final at once (QBFT, PBFT). ``log_page``: blocks per
    ``eth_getLogs``. Times in seconds. Headers need no setting: the longer extra data of proof-of-authority chains is read as
    it is.
    """

    name: str
    fees: str = "eip1559"
    confirmations: int = 0
    log_page: int = 1000
    poll_seconds: float = 1.0
    receipt_seconds: float = 120.0
    gas_margin: float = 1.25

    def __post_init__(self) -> None:
        if self.fees not in FEES:
            raise Configuration(f"unknown fee rule {self.fees!r}", remedy=f"use one of {', '.join(FEES)}")


PROFILES = {
    profile.name: profile
    for profile in (
        ChainProfile("development", poll_seconds=0.05, receipt_seconds=30),
        ChainProfile("ganache", fees="legacy", poll_seconds=0.2, receipt_seconds=30),
        ChainProfile("besu-qbft", fees="zero"),
        ChainProfile("fisco-bcos", fees="zero", log_page=500),
        ChainProfile("public", confirmations=12, poll_seconds=4, receipt_seconds=600),
    )
}


def profile_named(name: str) -> ChainProfile:
    """A profile by its name. Raises Configuration."""
    if name not in PROFILES:
        raise Configuration(f"unknown chain profile {name!r}", remedy=f"use one of {', '.join(sorted(PROFILES))}")
    return PROFILES[name]
