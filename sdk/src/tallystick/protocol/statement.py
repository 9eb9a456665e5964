"""What the parties say about one attempt: an in-toto Statement v1 in a DSSE envelope, signed by all of them.

The envelope's signatures are not over the pre-authentication encoding (PAE) itself but over the EIP-712 ``Result``
whose ``statement`` is SHA-256(PAE), so that the same signature serves on chain. Sources: in-toto Attestation
Framework v1, "Statement"; DSSE v1.0.2, "Signature definition".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tallystick.protocol import canonical, merkle
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields, address, order
from tallystick.protocol.task import MAX_ATTEMPTS, MAX_PARTIES, PROOFS, Security, tolerated

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://tallystick.network/statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
LIMIT = 1 << 20
CONTRACTS = ("AuditLog", "DatasetRegistry", "GrantLedger", "ParticipantRegistry", "ProofRegistry", "TaskLedger")
"""The contracts whose addresses a statement names."""


@dataclass(frozen=True)
class StatementInput:
    """One party's input: ids ``0x…``, ``rows`` its dataset's root ``sha256:…``, ``commitment`` what the run was bound
    to.
    """

    party: str
    dataset: str
    rows: str
    grant: str
    commitment: str

    def to_json(self) -> dict[str, str]:
        """The input as it stands in the predicate."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, value: Any, where: str) -> StatementInput:
        """Read an input strictly."""
        fields = Fields(value, ("party", "dataset", "rows", "grant", "commitment"), where)
        return cls(
            fields.address("party"),
            fields.hex32("dataset"),
            fields.digest("rows"),
            fields.hex32("grant"),
            fields.string("commitment", 400),
        )


@dataclass(frozen=True)
class StatementOutput:
    """One receiver's result file: plain SHA-256, ``sha256:…``."""

    receiver: str
    sha256: str

    def to_json(self) -> dict[str, str]:
        """The output as it stands in the predicate."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, value: Any, where: str) -> StatementOutput:
        """Read an output strictly."""
        fields = Fields(value, ("receiver", "sha256"), where)
        return cls(fields.address("receiver"), fields.digest("sha256"))


@dataclass(frozen=True)
class CodeRelease:
    """What one party's node ran: the digest of its code release, ``sha256:…``. Releases may differ; protocol versions may not."""

    party: str
    sha256: str

    def to_json(self) -> dict[str, str]:
        """The release as it stands in the predicate."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, value: Any, where: str) -> CodeRelease:
        """Read a release strictly."""
        fields = Fields(value, ("party", "sha256"), where)
        return cls(fields.address("party"), fields.digest("sha256"))


@dataclass(frozen=True)
class Link:
    """One direction between two parties: how many messages and bytes went, and their transcript digest as both ends
    saw it.
    """

    sender: str
    recipient: str
    messages: int
    bytes: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        """The link as it stands in the predicate."""
        return {
            "from": self.sender,
            "to": self.recipient,
            "messages": self.messages,
            "bytes": self.bytes,
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, value: Any, where: str) -> Link:
        """Read a link strictly."""
        fields = Fields(value, ("from", "to", "messages", "bytes", "digest"), where)
        return cls(
            fields.address("from"),
            fields.address("to"),
            fields.integer("messages", 0, canonical.MAX_INTEGER),
            fields.integer("bytes", 0, canonical.MAX_INTEGER),
            fields.transcript("digest"),
        )


@dataclass(frozen=True)
class MeasuredCost:
    """What the run took, over all parties: bytes sent, rounds of the longest party, and its milliseconds."""

    bytes: int
    rounds: int
    seconds_ms: int

    @classmethod
    def from_json(cls, value: Any, where: str) -> MeasuredCost:
        """Read a cost strictly."""
        fields = Fields(value, ("bytes", "rounds", "seconds_ms"), where)
        return cls(*(fields.integer(name, 0, canonical.MAX_INTEGER) for name in ("bytes", "rounds", "seconds_ms")))


@dataclass(frozen=True)
class Statement:
    """The predicate.

    Lists are ascending by account; ``proof_inputs`` and ``proof_output`` are ``0x…`` as in ``Result``. ``absent``: parties that
    took no part to the end, for whom there is no signature, link or release; it is written for kinds of proof that tolerate them.
    """

    chain_id: int
    contracts: Mapping[str, str]
    task: str
    attempt: int
    spec: str
    workload: str
    code: tuple[CodeRelease, ...]
    inputs: tuple[StatementInput, ...]
    outputs: tuple[StatementOutput, ...]
    links: tuple[Link, ...]
    proof: str
    proof_inputs: str
    proof_output: str
    security: Security
    cost: MeasuredCost
    absent: tuple[str, ...] = ()

    @property
    def transcript_root(self) -> str:
        """The RFC 9162 root over the canonical links, ``sha256:…``."""
        return transcript_root(self.links)

    def to_bytes(self) -> bytes:
        """The canonical in-toto Statement, the envelope's payload.

        Raises :class:`MalformedDocument` if it would not parse.
        """
        predicate: dict[str, Any] = {
            "chain_id": self.chain_id,
            "contracts": dict(self.contracts),
            "task": self.task,
            "attempt": self.attempt,
            "spec": self.spec,
            "workload": self.workload,
            "code": [each.to_json() for each in self.code],
            "inputs": [each.to_json() for each in self.inputs],
            "outputs": [each.to_json() for each in self.outputs],
            "transcript": {"root": self.transcript_root, "links": [link.to_json() for link in self.links]},
            "proof": self.proof,
            "proof_inputs": self.proof_inputs,
            "proof_output": self.proof_output,
            "security": self.security.to_json(),
            "cost": dict(vars(self.cost)),
        }
        if self.absent or tolerated(self.proof):
            predicate["absent"] = list(self.absent)
        data = canonical.encode(
            {
                "_type": STATEMENT_TYPE,
                "subject": _subjects(self.outputs),
                "predicateType": PREDICATE_TYPE,
                "predicate": predicate,
            }
        )
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> Statement:
        """Read a statement strictly. Raises :class:`MalformedDocument`."""
        outer = Fields(canonical.decode(data, LIMIT), ("_type", "subject", "predicateType", "predicate"), "statement")
        outer.constant("_type", STATEMENT_TYPE)
        outer.constant("predicateType", PREDICATE_TYPE)
        predicate = outer.object("predicate")
        tolerant = isinstance(predicate.get("proof"), str) and tolerated(predicate["proof"]) > 0
        keys = (
            "chain_id", "contracts", "task", "attempt", "spec", "workload", "code", "inputs", "outputs", "transcript",
            "proof", "proof_inputs", "proof_output", "security", "cost",
            *(("absent",) if tolerant else ()),
        )  # fmt: skip
        fields = Fields(predicate, keys, "statement.predicate")
        contracts = Fields(fields.object("contracts"), CONTRACTS, "statement.predicate.contracts")
        transcript = Fields(fields.object("transcript"), ("root", "links"), "statement.predicate.transcript")
        statement = cls(
            chain_id=fields.integer("chain_id", 1, canonical.MAX_INTEGER),
            contracts=MappingProxyType({name: contracts.address(name) for name in CONTRACTS}),
            task=fields.hex32("task"),
            attempt=fields.integer("attempt", 1, MAX_ATTEMPTS),
            spec=fields.digest("spec"),
            workload=fields.string("workload", 64),
            code=fields.items("code", 1, MAX_PARTIES, CodeRelease.from_json),
            inputs=fields.items("inputs", 1, MAX_PARTIES, StatementInput.from_json),
            outputs=fields.items("outputs", 1, MAX_PARTIES, StatementOutput.from_json),
            links=transcript.items("links", 0, MAX_PARTIES * (MAX_PARTIES - 1), Link.from_json),
            proof=fields.choice("proof", PROOFS),
            proof_inputs=fields.hex32("proof_inputs"),
            proof_output=fields.hex32("proof_output"),
            security=Security.from_json(fields.object("security"), "statement.predicate.security"),
            cost=MeasuredCost.from_json(fields.object("cost"), "statement.predicate.cost"),
            absent=fields.accounts("absent", 0, MAX_PARTIES) if tolerant else (),
        )
        _ascending([(order(each.party),) for each in statement.code], "code")
        _ascending([(order(each.party),) for each in statement.inputs], "inputs")
        _ascending([(order(each.receiver),) for each in statement.outputs], "outputs")
        _ascending([(order(each.sender), order(each.recipient)) for each in statement.links], "transcript.links")
        if outer.items("subject", 1, MAX_PARTIES, lambda item, _: item) != tuple(_subjects(statement.outputs)):
            raise MalformedDocument("statement.subject: not the outputs, in their order")
        if transcript.digest("root") != statement.transcript_root:
            raise MalformedDocument("statement.predicate.transcript.root: not the root over the links")
        return statement


@dataclass(frozen=True)
class Envelope:
    """A DSSE envelope: the payload and each party's signature by account."""

    chain_id: int
    payload: bytes
    signatures: Mapping[str, bytes]

    @property
    def statement_digest(self) -> bytes:
        """SHA-256 of the PAE: ``statement`` in the on-chain ``Result``."""
        return hashlib.sha256(pae(PAYLOAD_TYPE, self.payload)).digest()

    def to_bytes(self) -> bytes:
        """The envelope in canonical JSON, signatures ascending by account."""
        signatures = [
            {"keyid": f"eip155:{self.chain_id}:{account}", "sig": _base64(self.signatures[account])}
            for account in sorted(self.signatures, key=order)
        ]
        envelope = {"payload": _base64(self.payload), "payloadType": PAYLOAD_TYPE, "signatures": signatures}
        return canonical.encode(envelope)

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Read an envelope strictly. Raises :class:`MalformedDocument`. Signatures are read, not checked."""
        fields = Fields(canonical.decode(data, 2 * LIMIT), ("payload", "payloadType", "signatures"), "envelope")
        fields.constant("payloadType", PAYLOAD_TYPE)
        signatures: dict[str, bytes] = {}
        chains: set[int] = set()
        for keyid, signature in fields.items("signatures", 1, MAX_PARTIES, _signature):
            scheme, chain, account = (*keyid.split(":"), "", "", "")[:3]
            canonical_chain = chain.isdecimal() and chain.isascii() and len(chain) <= 16 and str(int(chain)) == chain
            if scheme != "eip155" or not canonical_chain or keyid.count(":") != 2:
                raise MalformedDocument("envelope: a keyid is not eip155:<chain>:<account>")
            if address(account, "envelope.keyid") in signatures:
                raise MalformedDocument("envelope: an account signs twice", party=account)
            signatures[account] = signature
            chains.add(int(chain))
        if len(chains) != 1 or list(signatures) != sorted(signatures, key=order):
            raise MalformedDocument("envelope: signatures are for two chains, or not ascending by account")
        payload = _unbase64(fields.string("payload", 2 * LIMIT), "envelope.payload")
        return cls(chains.pop(), payload, MappingProxyType(signatures))


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: ``DSSEv1 <len> <type> <len> <payload>``."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def statement_digest(payload: bytes) -> bytes:
    """SHA-256 of the PAE of a statement's bytes."""
    return hashlib.sha256(pae(PAYLOAD_TYPE, payload)).digest()


def transcript_root(links: Sequence[Link]) -> str:
    """The RFC 9162 root over the canonical JSON of each link, in order, ``sha256:…``."""
    return canonical.text(merkle.root([canonical.encode(link.to_json()) for link in links]))


def _subjects(outputs: Sequence[StatementOutput]) -> list[dict[str, Any]]:
    return [{"name": f"result/{out.receiver}", "digest": {"sha256": out.sha256.partition(":")[2]}} for out in outputs]


def _ascending(keys: Sequence[tuple[int, ...]], what: str) -> None:
    if any(a >= b for a, b in itertools.pairwise(keys)):
        raise MalformedDocument(f"statement.predicate.{what}: not strictly ascending by account")


def _signature(value: Any, where: str) -> tuple[str, bytes]:
    fields = Fields(value, ("keyid", "sig"), where)
    signature = _unbase64(fields.string("sig", 128), f"{where}.sig")
    if len(signature) != 65:
        raise MalformedDocument(f"{where}.sig: {len(signature)} bytes, not 65")
    return fields.string("keyid", 80), signature


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unbase64(text: str, where: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedDocument(f"{where}: not base64") from None
    if _base64(data) != text:
        raise MalformedDocument(f"{where}: not the canonical base64 of its bytes")
    return data
