"""``groth16``: every party signed the result, and a proof of a registered circuit holds for the public inputs that they signed.

The first public input of every circuit is the attempt's: a number that follows from chain, registry, task, attempt and the inputs
of the statement. So a proof that was made for one attempt holds for no other. The chain checks it, and that the key is registered
(``Groth16Verifier.sol``); this module checks all of it offline but the registration. What the kind shows and what it leaves to
trust stands in ``docs/spec/groth16.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tallystick.commitments.bn254 import ORDER
from tallystick.commitments.groth16 import (
    MAX_INPUTS,
    PROOF_SIZE,
    WORD,
    Groth16Proof,
    Groth16Refused,
    VerifyingKey,
    verify,
)
from tallystick.ethereum import keccak, to_checksum_address
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.proof.kind import require_no_aggregate
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.result import ResultFile
from tallystick.protocol.task import GROTH16

PREFIX = "groth16:"
PUBLIC_INPUTS = "public_inputs"  # the member of a result file's values
_TAG = keccak(b"tallystick/groth16/v1")
_HEAD = 3 * WORD
_FIXED = 64 + 3 * 128  # bytes of a key's points before those of the inputs


@dataclass(frozen=True)
class Circuit:
    """A registered key: who answers for its set-up, the digest of the circuit's description, and the points."""

    registrant: str
    description: bytes
    points: bytes

    @property
    def id(self) -> bytes:
        """The key's id on chain."""
        return keccak(self.to_bytes())

    @property
    def count(self) -> int:
        """How many public inputs its proofs have, by the number of points."""
        return (len(self.points) - _FIXED) // 64 - 1

    @property
    def key(self) -> VerifyingKey:
        """The points, checked. Raises :class:`Groth16Refused`."""
        return VerifyingKey.parse(self.points)

    def to_bytes(self) -> bytes:
        """What the id is over: registrant in 32 bytes, description's digest, points."""
        return bytes(12) + bytes.fromhex(self.registrant[2:]) + self.description + self.points


@dataclass(frozen=True)
class Groth16Terms:
    """The object ``groth16`` in a spec's parameters: the id of the key whose proofs count."""

    key: bytes

    def to_json(self) -> dict[str, Any]:
        """The object as it stands in the parameters."""
        return {"key": canonical.hex32(self.key)}

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Read the object strictly. Raises :class:`MalformedDocument`."""
        fields = Fields(parameters.get(GROTH16), ("key",), f"parameters.{GROTH16}")
        return cls(canonical.unhex32(fields.hex32("key")))


@dataclass(frozen=True)
class ProvedCircuit:
    """The proof bytes: a key with all that its id is over, the public inputs but the attempt's, and the proof."""

    circuit: Circuit
    inputs: tuple[int, ...]
    proof: bytes

    def to_bytes(self) -> bytes:
        """What ``ProofRegistry.submit`` gets as ``proof``."""
        words = [each.to_bytes(WORD, "big") for each in (len(self.inputs) + 1, *self.inputs)]
        return words[0] + self.circuit.to_bytes() + b"".join(words[1:]) + self.proof

    def to_text(self) -> str:
        """What a party adds to the proof: ``groth16:`` and hex digits."""
        return PREFIX + self.to_bytes().hex()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote. Raises :class:`MalformedDocument`; checks neither points nor proof."""
        if len(data) < _HEAD:
            raise MalformedDocument("the proof ends too soon")
        count = int.from_bytes(data[:WORD], "big")
        if not 1 <= count <= MAX_INPUTS:
            raise MalformedDocument(f"a proof has 1 to {MAX_INPUTS} public inputs")
        end = _HEAD + _FIXED + 64 * (count + 1)
        if len(data) != end + WORD * (count - 1) + PROOF_SIZE:
            raise MalformedDocument("the proof is not of its length")
        if any(data[WORD : WORD + 12]):
            raise MalformedDocument("the registrant is no account")
        circuit = Circuit(to_checksum_address(data[WORD + 12 : 2 * WORD]), data[2 * WORD : _HEAD], data[_HEAD:end])
        inputs = tuple(int.from_bytes(data[at : at + WORD], "big") for at in range(end, len(data) - PROOF_SIZE, WORD))
        return cls(circuit, inputs, data[-PROOF_SIZE:])


def attempt_input(context: bytes, inputs: bytes) -> int:
    """The first public input: of the attempt with this context, and the inputs with this digest (``Result.inputs``)."""
    return int.from_bytes(keccak(_TAG + context + inputs), "big") % ORDER


class Groth16:
    """The kind of proof."""

    name = GROTH16

    def check_commitment(self, text: str) -> None:
        """Any text: what a commitment is, the workload defines."""

    def assemble(self, subject: Subject, said: Mapping[str, str]) -> bytes:
        """What at least one party says, and no other party says otherwise. Raises :class:`MalformedDocument`, naming whose proof
        does not hold, and nobody where several proofs do: who is to give way cannot be told from them."""
        given: dict[str, str] = {}  # what is said, and who says it first
        for party in subject.parties:
            if said.get(party, ""):
                given.setdefault(said[party], party)
        if not given:
            raise MalformedDocument("no party has given a proof")
        proofs = [self._read(subject, text, party) for text, party in given.items()]
        if len(proofs) > 1:
            raise MalformedDocument("the parties give different proofs, each of which holds")
        return proofs[0]

    def _read(self, subject: Subject, text: str, party: str) -> bytes:
        digits = text.removeprefix(PREFIX)
        if not text.startswith(PREFIX) or len(digits) % 2 or set(digits) - set("0123456789abcdef"):
            raise MalformedDocument("a contribution is written groth16: and lower-case hex digits", party=party)
        proof = bytes.fromhex(digits)
        try:
            self.check(subject, proof)
        except MalformedDocument as error:
            raise MalformedDocument(error.message, party=party) from None
        return proof

    def require_terms(self, parameters: Mapping[str, Any], parties: int, proof: bytes) -> None:
        """Refuse a proof by another key than the spec's."""
        if ProvedCircuit.parse(proof).circuit.id != Groth16Terms.of(parameters).key:
            raise MalformedDocument("the proof is by another key than the spec names")

    def inputs(self, subject: Subject) -> bytes:
        """``digest("inputs", canonical inputs)``."""
        return canonical.digest("inputs", canonical.encode([each.to_json() for each in subject.inputs]))

    def output(self, subject: Subject, proof: bytes) -> bytes:
        """keccak-256 over the proof bytes."""
        ProvedCircuit.parse(proof)
        return keccak(proof)

    def check(self, subject: Subject, proof: bytes) -> str:
        """The key is one that a chain registers, and the proof holds for it, this attempt, these inputs and its public inputs."""
        found = ProvedCircuit.parse(proof)
        try:
            verify(found.circuit.key, self.public_inputs(subject, found.inputs), Groth16Proof.parse(found.proof))
        except Groth16Refused as refusal:
            raise MalformedDocument(f"the proof is refused: {refusal}") from None
        key, by = canonical.hex32(found.circuit.id), found.circuit.registrant
        return f"{len(found.inputs)} public inputs of the circuit with the key {key}, registered by {by}"

    def public_inputs(self, subject: Subject, further: Sequence[int]) -> tuple[int, ...]:
        """All public inputs of a proof for this subject."""
        return attempt_input(subject.context, self.inputs(subject)), *further

    def open(self, subject: Subject, proof: bytes, file: ResultFile, aggregate: Iterable[bytes] | None) -> str | None:
        """The file's values name the public inputs."""
        require_no_aggregate(aggregate)
        further = ProvedCircuit.parse(proof).inputs
        if file.values.get(PUBLIC_INPUTS) != [str(each) for each in further]:
            raise MalformedDocument("the result file names other public inputs than were proved")
        return f"names the {len(further)} public inputs that were proved"


KIND = Groth16()
