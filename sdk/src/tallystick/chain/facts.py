"""What a chain node that the verifier trusts says about the chain, as the numbered rules ask it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from eth_abi.abi import encode as abi_encode

from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.protocol import events
from tallystick.protocol.events import EventType
from tallystick.protocol.facts import Log
from tallystick.protocol.statement import CONTRACTS

_TYPES = {(kind.contract, kind.name): kind for kind in vars(events).values() if isinstance(kind, EventType)}


class OnlineFacts:
    """The chain's events up to the head at construction: later blocks change no verdict half-way through.

    The chain is scanned once, page by page (:meth:`Chain.events`), and each of the twenty rules asks that scan; asking the
    node for every rule anew would read the whole chain a dozen times. Trusted: the node behind ``chain``.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._head = chain.head()
        self._times: dict[int, int] = {}

    @property
    def chain_id(self) -> int:
        """The chain's id."""
        return self._chain.deployment.chain_id

    @property
    def contracts(self) -> Mapping[str, str]:
        """The deployment's addresses."""
        return {name: self._chain.contracts[name].address for name in CONTRACTS}

    def logs(self, contract: str, topics: Sequence[bytes | None]) -> Sequence[Log]:
        """Every matching log of an event that the rules read, in the order of the chain."""
        found = []
        for kind, have, event in self._scan:
            if kind.contract != contract or len(have) < len(topics):
                continue
            if all(want in (None, topic) for want, topic in zip(topics, have, strict=False)):
                data = abi_encode([abi for _, abi in kind.data], [_plain(event[name]) for name, _ in kind.data])
                found.append(Log(self.contracts[contract], have, data, event.block, self._time(event.block), event.log_index))
        return found

    def anchored(self) -> str | None:
        """What the facts rest on."""
        return f"the node at {self._chain.shown_url}, up to block {self._head}"

    @cached_property
    def _scan(self) -> list[tuple[EventType, tuple[bytes, ...], Event]]:
        scanned = []
        for event in self._chain.events(0, self._head):
            kind = _TYPES.get((event.contract, event.name))
            if kind is not None:
                topics = (kind.topic, *(abi_encode([abi], [event[name]]) for name, abi in kind.indexed))
                scanned.append((kind, topics, event))
        return scanned

    def _time(self, block: int) -> int:
        if block not in self._times:
            self._times[block] = int(self._chain.block(block)["timestamp"], 16)
        return self._times[block]


def _plain(value: Any) -> Any:
    """A struct as the tuple that the ABI encodes."""
    if isinstance(value, Mapping):
        return tuple(_plain(each) for each in value.values())
    return [_plain(each) for each in value] if isinstance(value, list) else value
