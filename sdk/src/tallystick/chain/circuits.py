"""The registered keys of circuits, as the events of ``Groth16Verifier`` tell them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.protocol import canonical
from tallystick.protocol.errors import NotFound
from tallystick.protocol.proof.groth16 import Circuit

EVENT = "KeyRegistered"


@dataclass(frozen=True)
class Registered:
    """A circuit's key, and the block that has it."""

    circuit: Circuit
    block: int


def registered(events: Iterable[Event]) -> Iterator[Registered]:
    """The keys among events, in order."""
    for event in events:
        if event.name == EVENT:
            yield Registered(Circuit(event["registrant"], bytes(event["circuit"]), bytes(event["points"])), event.block)


def find(events: Iterable[Event], key: bytes) -> Registered:
    """The key with this id. Raises NotFound."""
    for each in registered(events):
        if each.circuit.id == key:
            return each
    raise NotFound(
        "no key with this id is registered", party=canonical.hex32(key), remedy="`tally circuit list` shows those that are"
    )


def register(chain: Chain, description: bytes, points: bytes) -> tuple[bytes, str]:
    """Register a key as the own account's; its id, and the transaction. Raises ContractRefused."""
    sent = chain.circuits.register(description, points)
    return bytes(sent.event(EVENT)["key"]), sent.transaction
