"""The compiled contracts that this release speaks to: ABI, bytecode, compiler settings and source hash, one file each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

LEDGERS = ("ParticipantRegistry", "DatasetRegistry", "GrantLedger", "TaskLedger", "ProofRegistry", "AuditLog")
"""What every deployment has."""

ATTESTATION = ("HardwareVerifier", "SimulationVerifier", "QuorumVerifier")
"""The verifiers that keep lists of their own (platforms, enclaves, who vouches) for the governor of the participants' registry."""

ABSENCE = ("ProjectionAbsent1Verifier", "ProjectionAbsent2Verifier", "ProjectionAbsent3Verifier")
"""The verifiers of results without one, two or three of their parties."""

CIRCUITS = ("Groth16Verifier",)
"""The verifiers of circuits, whose keys participants register there."""

SUMS = ("SumVerifier", "RangeVerifier", "ProjectionVerifier", "VectorSumVerifier")
"""The verifiers of sums of what the parties committed to."""

VERIFIERS = ("SignedByAllVerifier", *SUMS, *ATTESTATION, *ABSENCE, *CIRCUITS)
"""One for each kind of proof. No other contract depends on them: a deployment of an older release may lack the newest, and one on a
chain without the precompile for KZG openings lacks ``VectorSumVerifier``."""

ENFORCEMENT = ("Settlement", "Disputes")
"""Fees, bonds and who broke the rules. They name each other and the ledgers, and no ledger names them: a deployment of an older
release may lack them."""

REVIEWS = ("AlgorithmRegistry",)
"""Which algorithms were reviewed, and by whom. It names the participants alone and no contract names it: a deployment of an older
release may lack it."""

CONTRACTS = (*LEDGERS, *ENFORCEMENT, *REVIEWS, *VERIFIERS)


@dataclass(frozen=True)
class Artifact:
    """One compiled contract.

    ``notices``: what its functions say of themselves, by signature. ``immutables``: (start, length) byte ranges that construction
    fills in.
    """

    name: str
    abi: list[dict[str, Any]]
    notices: dict[str, str]
    bytecode: bytes
    runtime: bytes
    immutables: tuple[tuple[int, int], ...]
    source_hash: str

    def masked(self, code: bytes) -> bytes:
        """``code`` with the immutable ranges zeroed, to be compared with :attr:`runtime`."""
        body = bytearray(code)
        for start, length in self.immutables:
            body[start : start + length] = bytes(length)
        return bytes(body)


@cache
def load(name: str) -> Artifact:
    """The artefact of one contract. Raises ``FileNotFoundError`` for a name that this release does not ship."""
    text = resources.files(__name__).joinpath(f"{name}.json").read_text()
    raw = json.loads(text)
    return Artifact(
        name=raw["name"],
        abi=raw["abi"],
        notices=raw["notices"],
        bytecode=bytes.fromhex(raw["bytecode"][2:]),
        runtime=bytes.fromhex(raw["deployedBytecode"][2:]),
        immutables=tuple((start, length) for start, length in raw["immutableReferences"]),
        source_hash=raw["sourceHash"],
    )
