"""What changes on chain as an attempt starts ends it, and accuses nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tallystick.chain.contract import Event
from tallystick.protocol import canonical
from tallystick.protocol.errors import RunFailed
from tallystick.protocol.operators import Scope
from tallystick.protocol.reasons import Reason
from tallystick_node.runs.start import Start, require_no_change
from unit.node.test_agreements import WORLD
from unit.workloads.test_enclave_task import spec as enclosed

SPEC = WORLD.spec
START = Start(7, bytes(32), 1_700_000_000)
ATTESTED, IDENTITY, PLATFORM = enclosed(proof="attested-simulated"), b"\x22" * 32, b"\x33" * 32
OWN, OTHER = SPEC.inputs[0].dataset, "0x" + "ee" * 32
PARTY, STRANGER = SPEC.parties[0], "0x" + "77" * 20


def published(dataset: str, block: int) -> Event:
    return event("Published", block, dataset=canonical.unhex32(dataset), owner=PARTY, version=2)


def operators(account: str, block: int) -> Event:
    return event("OperatorChanged", block, account=account, operator=STRANGER, scopes=int(Scope.SIGN), notAfter=1)


def enclaves(name: str, block: int, contract: str = "SimulationVerifier", **arguments: bytes) -> Event:
    return replace(event(name, block, **arguments), contract=contract)


def event(name: str, block: int, **arguments: Any) -> Event:
    return Event("", name, arguments, block, "0x" + "00" * 32, "0x" + "00" * 32, 0)


class Ledger:
    """A chain of ten blocks with some events."""

    def __init__(self, *events: Event) -> None:
        self._events = events

    def latest(self) -> tuple[int, str]:
        return 10, "0x" + "00" * 32

    def events(self, first: int, last: int) -> Iterator[Event]:
        return (each for each in self._events if first <= each.block <= last)


@pytest.mark.parametrize("change", [published(OWN, 8), published(OWN, 10), operators(PARTY, 8), operators(SPEC.parties[-1], 10)])
def test_a_change_after_the_start_ends_the_attempt_and_accuses_nobody(change: Event) -> None:
    with pytest.raises(RunFailed, match=f"in block {change.block}, as the attempt started in block 7") as caught:
        require_no_change(Ledger(event("Started", 8), change), SPEC, START)  # type: ignore[arg-type]
    assert (caught.value.reason, caught.value.party) == (Reason.CHANGED_AT_START, None)


@pytest.mark.parametrize(
    "event", [published(OWN, 7), operators(PARTY, 7), published(OTHER, 8), operators(STRANGER, 8), published(OWN, 3)]
)
def test_what_stood_before_and_what_is_anothers_does_not(event: Event) -> None:
    require_no_change(Ledger(event), SPEC, START)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        enclaves("EnclaveAllowed", 8, identity=IDENTITY),
        enclaves("EnclaveDisallowed", 8, identity=IDENTITY),
        enclaves("PlatformRegistered", 8, platform=PLATFORM),
        enclaves("PlatformRevoked", 8, platform=PLATFORM),
    ],
    ids=lambda each: each.name,
)
def test_what_counts_of_enclaves_may_change_before_the_start_of_a_task_that_they_prove_and_not_after_it(change: Event) -> None:
    with pytest.raises(RunFailed, match="in block 8, as the attempt started in block 7") as caught:
        require_no_change(Ledger(change), ATTESTED, START)  # type: ignore[arg-type]
    assert (caught.value.reason, caught.value.party) == (Reason.CHANGED_AT_START, None)
    require_no_change(Ledger(replace(change, block=7)), ATTESTED, START)  # type: ignore[arg-type]
    require_no_change(Ledger(replace(change, contract="HardwareVerifier")), ATTESTED, START)  # type: ignore[arg-type]
    for other in (SPEC, enclosed()):
        require_no_change(Ledger(change), other, START)  # type: ignore[arg-type]


def test_the_standing_of_an_enclave_that_the_task_does_not_name_may_change() -> None:
    require_no_change(Ledger(enclaves("EnclaveDisallowed", 8, identity=PLATFORM)), ATTESTED, START)  # type: ignore[arg-type]
