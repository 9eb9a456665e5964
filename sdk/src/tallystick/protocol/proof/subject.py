"""What a proof is about, and the on-chain ``Result`` that stands for a statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tallystick.ethereum import abi_encode, keccak
from tallystick.protocol import canonical, typed
from tallystick.protocol.statement import Statement, StatementInput, StatementOutput, statement_digest


@dataclass(frozen=True)
class Subject:
    """The attempt (``context``, and by its parts), the proposal's parties in order, and what the statement says of inputs, outputs
    and absent parties."""

    context: bytes
    parties: tuple[str, ...]
    inputs: tuple[StatementInput, ...]
    outputs: tuple[StatementOutput, ...]
    absent: tuple[str, ...] = ()
    chain_id: int = 0
    registry: str = ""
    task: bytes = b""
    attempt: int = 0

    @property
    def commitments(self) -> list[str]:
        """Each party's commitment in the proposal's order, empty for a party without input."""
        given = {each.party: each.commitment for each in self.inputs}
        return [given.get(party, "") for party in self.parties]


def context_of(chain_id: int, registry: str, task: bytes, attempt: int) -> bytes:
    """The 32 bytes that name one attempt of one task on one chain: what every proof and challenge of the run is bound to.

    keccak256(abi.encode(uint256 chain id, address of the ProofRegistry, bytes32 task, uint8 attempt)), as
    ``ProjectionVerifier.context`` computes it.
    """
    return keccak(abi_encode(["uint256", "address", "bytes32", "uint8"], [chain_id, registry, task, attempt]))


def subject_of(statement: Statement, parties: Sequence[str]) -> Subject:
    """The subject of a statement's proof. ``parties`` are the proposal's, in order."""
    task = canonical.unhex32(statement.task)
    attempt = (statement.chain_id, statement.contracts["ProofRegistry"], task, statement.attempt)
    return Subject(context_of(*attempt), tuple(parties), statement.inputs, statement.outputs, statement.absent, *attempt)


def result_of(statement: Statement) -> typed.Result:
    """The on-chain ``Result`` that stands for a statement: what every party signs."""
    return typed.Result(
        task=canonical.unhex32(statement.task),
        attempt=statement.attempt,
        statement=statement_digest(statement.to_bytes()),
        inputs=canonical.unhex32(statement.proof_inputs),
        output=canonical.unhex32(statement.proof_output),
        proof_kind=typed.proof_kind(statement.proof),
    )
