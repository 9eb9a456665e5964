"""The contracts' events that the verification rules read, decoded from logs to values by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError

from tallystick.ethereum import keccak, to_checksum_address
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.facts import ChainFacts, Log
from tallystick.protocol.task import Party, Proposal

PARTY = "(address,bytes32,bytes32,uint64,uint32)"
PROPOSAL = f"(address,bytes32,{PARTY}[],bytes4,uint40,uint32,uint8,bytes32)"


@dataclass(frozen=True)
class EventType:
    """An event of one contract: (name, ABI type) pairs, those that are topics first."""

    contract: str
    name: str
    indexed: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...]

    @property
    def topic(self) -> bytes:
        """The first topic: keccak-256 of the signature, its types in the order of the declaration."""
        # Every event read here declares its indexed parameters first.
        return keccak(f"{self.name}({','.join(kind for _, kind in (*self.indexed, *self.data))})".encode())


@dataclass(frozen=True)
class Event:
    """A decoded event. Addresses are EIP-55 text, bytes are bytes."""

    type: EventType
    values: Mapping[str, Any]
    log: Log

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def position(self) -> tuple[int, int]:
        """Block and index in the block: events compare by it."""
        return (self.log.block, self.log.index)


def _type(contract: str, name: str, indexed: str, data: str = "") -> EventType:
    def pairs(text: str) -> tuple[tuple[str, str], ...]:
        return tuple((each.split()[1], each.split()[0]) for each in text.split(", ") if each)

    return EventType(contract, name, pairs(indexed), pairs(data))


AUTHORITY_ADDED = _type(
    "ParticipantRegistry",
    "AuthorityAdded",
    "uint32 authority",
    "bytes32 x, bytes32 y, uint40 notBefore, uint40 notAfter",
)
ENROLLED = _type(
    "ParticipantRegistry",
    "Enrolled",
    "address account, bytes32 fingerprint, uint32 authority",
    "bytes32 subjectX, bytes32 subjectY, uint16 roles, uint40 notBefore, uint40 notAfter",
)
SUSPENDED = _type("ParticipantRegistry", "Suspended", "address account, bytes32 fingerprint", "bytes32 reason")
REINSTATED = _type("ParticipantRegistry", "Reinstated", "address account, bytes32 fingerprint")
REVOKED = _type("ParticipantRegistry", "Revoked", "address account, bytes32 fingerprint", "bytes32 reason")
OPERATOR_CHANGED = _type(
    "ParticipantRegistry", "OperatorChanged", "address account, address operator", "uint16 scopes, uint40 notAfter"
)
PUBLISHED = _type(
    "DatasetRegistry",
    "Published",
    "bytes32 dataset, address owner",
    "uint32 version, bytes32 descriptor, bytes32 rows, bytes32 schema",
)
GRANTED = _type(
    "GrantLedger",
    "Granted",
    "bytes32 grant, bytes32 dataset, address grantee",
    "bytes32 terms, uint32 uses, uint64 epsilonMicros, uint40 notBefore, uint40 notAfter",
)
DEBITED = _type("GrantLedger", "Debited", "bytes32 grant, bytes32 task", "uint8 attempt, uint32 used, uint64 spentMicros")
PROPOSED = _type("TaskLedger", "Proposed", "bytes32 task, address requester, bytes32 spec", f"{PROPOSAL} proposal")
ACCEPTED = _type("TaskLedger", "Accepted", "bytes32 task, address party", "uint8 attempt")
STARTED = _type("TaskLedger", "Started", "bytes32 task", "uint8 attempt, uint40 runBy")
RESULT_PROVED = _type(
    "ProofRegistry",
    "ResultProved",
    "bytes32 task, bytes32 statement, bytes4 kind",
    "uint8 attempt, bytes32 inputs, bytes32 output, address submitter",
)
PARTIES_ABSENT = _type("ProofRegistry", "PartiesAbsent", "bytes32 task", "uint8 attempt, address[] parties")


def find(facts: ChainFacts, kind: EventType, **indexed: Any) -> list[Event]:
    """The events of this type whose named topics have these values, in the order of the chain.

    Raises :class:`MalformedDocument` for a log that does not decode.
    """
    topics: list[bytes | None] = [kind.topic]
    for name, abi in kind.indexed:
        topics.append(abi_encode([abi], [indexed[name]]) if name in indexed else None)
    return [decode(kind, log) for log in facts.logs(kind.contract, topics)]


def decode(kind: EventType, log: Log) -> Event:
    """Decode one log. Raises :class:`MalformedDocument`."""
    if len(log.topics) != 1 + len(kind.indexed) or log.topics[0] != kind.topic:
        raise MalformedDocument(f"{kind.name}: a log with other topics")
    values: dict[str, Any] = {}
    try:
        for (name, abi), topic in zip(kind.indexed, log.topics[1:], strict=True):
            values[name] = _value(abi, abi_decode([abi], topic)[0])
        for (name, abi), value in zip(kind.data, abi_decode([abi for _, abi in kind.data], log.data), strict=True):
            values[name] = _value(abi, value)
    except (DecodingError, ValueError, OverflowError) as error:
        raise MalformedDocument(f"{kind.name}: {type(error).__name__} in a log") from None
    return Event(kind, MappingProxyType(values), log)


def _value(abi: str, value: Any) -> Any:
    if abi == "address":
        return to_checksum_address(value)
    if abi == "address[]":
        return tuple(to_checksum_address(each) for each in value)
    if abi == PROPOSAL:
        requester, spec, parties, kind, accept_by, run_seconds, attempts, salt = value
        made = tuple(Party(to_checksum_address(account), *rest) for account, *rest in parties)
        return Proposal(to_checksum_address(requester), spec, made, kind, accept_by, run_seconds, attempts, salt)
    return value
