"""The parameters of an `enclave`: which code, under which limits, in which enclaves, whose evidence ends in which root."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.attestation.documents import read_policy
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.rules import EvidenceRefused
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.proof.attested import EnclaveTerms
from tallystick.protocol.proof.quorum import QUORUM, QuorumTerms
from tallystick.protocol.task import ATTESTED_QUORUM, TaskSpec

from tallystick_node.engines.tee import learning_terms
from tallystick_node.engines.tee.joint import MAX_INPUT
from tallystick_node.engines.tee.manifest import EnclaveManifest, Limits
from tallystick_node.engines.tee.reasons import AlgorithmRefused
from tallystick_node.workloads.reading import TaskParameters

KINDS = ("sql", "learn", "wasm", "python")
SIMULATED, HARDWARE = "simulated", "hardware"
MAX_TEXT = 768 << 10  # characters of an algorithm, which stands in the spec
MIB = 1 << 20
ADDRESS_SPACE = 1 << 30  # bytes that interpreter and libraries take, beside what an algorithm works in
FRAME = 64 << 20
PUBLISHER = bytes(32)  # none: what counts is the measurement


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``code`` of a ``kind``; ``digest``: its SHA-256; ``identities`` of the enclaves that are accepted; ``family`` of their
    evidence, simulated or hardware; ``authority``: fingerprint of the simulated root that it ends in, None of hardware; ``policy``
    by which every party appraises it; ``tables``: by owner the name of its table; ``limits``; ``quorum``: of a task that verifiers
    vouch for, whose word counts."""

    kind: str
    code: bytes
    digest: bytes
    identities: frozenset[bytes]
    family: str
    authority: bytes | None
    policy: AppraisalPolicy
    tables: Mapping[str, str]
    limits: Limits
    quorum: QuorumTerms | None = None

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        members = ("algorithm", "enclave", "attestation", "tables", "limits", "minimum_group")
        fields = Fields(dict(value), members, "parameters", (QUORUM,))
        algorithm = Fields(fields.object("algorithm"), ("kind", "content"), "parameters.algorithm")
        kind = algorithm.choice("kind", KINDS)
        code = _code(kind, algorithm.string("content", MAX_TEXT))
        enclave = EnclaveTerms.of(value)
        if enclave.algorithm != hashlib.sha256(code).digest():
            raise MalformedDocument("parameters.enclave.algorithm: is not the SHA-256 of the algorithm's content")
        listed = fields.items("tables", 1, 16, _table)
        tables = dict(listed)
        if len(tables) != len(listed) or len({name.lower() for name in tables.values()}) != len(listed):
            raise MalformedDocument("parameters.tables: one for each owner, each of another name")
        family, authority, policy = _attestation(fields.object("attestation"))
        limits = read_limits(fields.object("limits"), kind, fields.integer("minimum_group", 2, 1000))
        quorum = QuorumTerms.of(value) if QUORUM in value else None
        identities = frozenset(enclave.identities)
        return cls(kind, code, enclave.algorithm, identities, family, authority, policy, tables, limits, quorum)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec has one host, and tables for its owners."""
        if len(spec.compute) != 1:
            raise InvalidTask("an enclave runs at one party, the host", remedy="name the host, and nobody else, in compute")
        if {part.party for part in spec.inputs} != set(self.tables):
            raise InvalidTask("the owners of the tables are not those of the inputs", remedy="name a table for each input's party")
        if self.kind == "learn":
            self._check_columns(spec)
        self._check_quorum(spec)

    def _check_columns(self, spec: TaskSpec) -> None:
        """A description names columns, so that what would be missing in the enclave is known now."""
        try:
            needed = learning_terms.columns_of(learning_terms.read(self.code), list(self.tables.values()))
        except AlgorithmRefused as refused:
            raise InvalidTask(
                f"parameters.algorithm.content: {refused}",
                remedy="see docs/how-to/compute-in-an-enclave.md#training-and-prediction",
            ) from None
        for part in spec.inputs:
            if missing := sorted(needed[self.tables[part.party]] - set(part.columns)):
                raise InvalidTask(
                    f"the description reads the column {missing[0]!r} of {part.party}, which the task does not",
                    remedy="name it in the input's columns, and have it granted",
                )

    def _check_quorum(self, spec: TaskSpec) -> None:
        asked = spec.proof == ATTESTED_QUORUM
        if asked != (self.quorum is not None):
            raise InvalidTask(
                f"parameters.quorum goes with the proof {ATTESTED_QUORUM}, and only with it",
                remedy="name verifiers, threshold and policy for that proof, and none for another",
            )
        if self.policy.cca_platforms and not asked:
            raise InvalidTask(
                "parameters.attestation.policy: of hardware, it names no roots and keys of its own",
                remedy=f"Arm CCA has no maker's root, so that only verifiers can vouch for it: ask for the proof {ATTESTED_QUORUM}",
            )
        if self.quorum is None:
            return
        if self.quorum.policy != self.policy.digest:
            raise InvalidTask(
                "parameters.quorum.policy is not the digest of parameters.attestation.policy, by which the parties appraise",
                remedy=f"write {canonical.text(self.policy.digest)}",
            )
        if party := next((each for each in self.quorum.verifiers if each in spec.parties), None):
            raise InvalidTask(
                f"parameters.quorum.verifiers: {party} is a party of the task, whose word never counts",
                remedy="name verifiers that take no part in the task",
            )

    @property
    def manifest(self) -> EnclaveManifest:
        """The enclave that the host launches."""
        return EnclaveManifest(self.code, PUBLISHER, self.kind, limits=self.limits)


def _attestation(value: Any) -> tuple[str, bytes | None, AppraisalPolicy]:
    """Family, simulated root, and policy. Of hardware the parameters state the policy; it names no root but the vendors'."""
    where = "parameters.attestation"
    family = Fields(value, ("family",), where, ("authority", "policy")).choice("family", (SIMULATED, HARDWARE))
    if family == SIMULATED:
        authority = canonical.unhex32(Fields(value, ("family", "authority"), where).hex32("authority"))
        return family, authority, AppraisalPolicy("task", simulations=frozenset({authority}))
    stated = Fields(value, ("family", "policy"), where).object("policy")
    try:
        policy = read_policy(json.dumps(stated).encode())
    except EvidenceRefused as refused:
        raise MalformedDocument(f"{where}.policy: {refused.message}") from None
    if policy.simulations:
        raise MalformedDocument(f"{where}.policy: of hardware, it names no roots and keys of its own")
    return family, None, policy


def read_limits(value: Any, kind: str, minimum_group: int) -> Limits:
    """The limits of an enclave, from ``parameters.limits``. Raises MalformedDocument."""
    fields = Fields(value, ("memory_mib", "seconds", "fuel", "output_bytes"), "parameters.limits")
    fuel = fields.integer("fuel", 0, canonical.MAX_INTEGER)
    if bool(fuel) != (kind == "wasm"):
        raise MalformedDocument(
            "parameters.limits.fuel: how many instructions a module may execute; 0 for other code, which has none"
        )
    heap = fields.integer("memory_mib", 16, 4096) * MIB
    return Limits(
        memory=ADDRESS_SPACE + heap,
        seconds=fields.integer("seconds", 5, 3600),
        frame=FRAME,
        heap=heap,
        fuel=fuel,
        output=fields.integer("output_bytes", 1, MAX_INPUT),
        minimum_group=minimum_group,
    )


def _code(kind: str, content: str) -> bytes:
    if kind != "wasm":
        return content.encode()
    try:
        code = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        code = b""
    if base64.b64encode(code).decode() != content or not code.startswith(b"\0asm"):
        raise MalformedDocument("parameters.algorithm.content: of kind wasm, a module as base64 without line breaks")
    return code


def _table(value: Any, where: str) -> tuple[str, str]:
    fields = Fields(value, ("party", "name"), where)
    return fields.address("party"), fields.string("name", 128)
