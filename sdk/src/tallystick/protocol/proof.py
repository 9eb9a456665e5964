"""What the proof kinds put into ``Result.inputs``, ``Result.output`` and the proof bytes, recomputed from a statement.

``signed-by-all``: digests of the statement's input and output lists; no proof bytes. ``sum-verified``: keccak-256
over the parties' Pedersen commitments and over their sum, both of which the proof bytes carry.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from tallystick.commitments import bn254
from tallystick.protocol import canonical, typed
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.statement import Statement, StatementInput, StatementOutput, statement_digest
from tallystick.protocol.task import SIGNED_BY_ALL, SUM_VERIFIED

PREFIX = "bn254:"


def point_text(point: bn254.Point) -> str:
    """The text form of a commitment: ``bn254:<128 hex>``."""
    return f"{PREFIX}{bn254.encode(point).hex()}"


def point_of(text: str) -> bn254.Point:
    """The point of ``bn254:<128 lower hex>``.

    Raises :class:`MalformedDocument` for other text and for points off the curve.
    """
    digits = text.removeprefix(PREFIX)
    if not text.startswith(PREFIX) or len(digits) != 128 or digits != digits.lower():
        raise MalformedDocument("a commitment is written bn254: and 128 lower-case hex digits")
    try:
        return bn254.decode(bytes.fromhex(digits))
    except ValueError:
        raise MalformedDocument("a commitment is not a point of BN254") from None


def commitments_of(parties: Sequence[str], inputs: Sequence[StatementInput]) -> list[bn254.Point]:
    """Each party's commitment in the proposal's order; a party without input has the point at infinity, written (0,
    0).
    """
    given = {each.party: point_of(each.commitment) for each in inputs}
    return [given.get(party) for party in parties]


def sum_of(points: Sequence[bn254.Point]) -> bn254.Point:
    """The sum of the commitments."""
    total: bn254.Point = None
    for point in points:
        total = bn254.add(total, point)
    return total


def result_inputs(proof: str, parties: Sequence[str], inputs: Sequence[StatementInput]) -> bytes:
    """``Result.inputs`` for this proof kind.

    ``parties`` are the proposal's, in order. Raises :class:`MalformedDocument`.
    """
    if proof == SIGNED_BY_ALL:
        return canonical.digest("inputs", canonical.encode([each.to_json() for each in inputs]))
    points = [_pair(point) for point in commitments_of(parties, inputs)]
    return keccak(abi_encode(["uint256[2][]"], [points]))


def result_output(
    proof: str, parties: Sequence[str], inputs: Sequence[StatementInput], outputs: Sequence[StatementOutput]
) -> bytes:
    """``Result.output`` for this proof kind. Raises :class:`MalformedDocument`."""
    if proof == SIGNED_BY_ALL:
        return canonical.digest("outputs", canonical.encode([each.to_json() for each in outputs]))
    return keccak(abi_encode(["uint256[2]"], [_pair(sum_of(commitments_of(parties, inputs)))]))


def proof_bytes(proof: str, parties: Sequence[str], inputs: Sequence[StatementInput]) -> bytes:
    """What ``ProofRegistry.submit`` gets as ``proof``, and ``proof.bin`` holds: empty unless sum-verified."""
    if proof != SUM_VERIFIED:
        return b""
    points = commitments_of(parties, inputs)
    return abi_encode(["uint256[2][]", "uint256[2]"], [[_pair(point) for point in points], _pair(sum_of(points))])


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


def _pair(point: bn254.Point) -> list[int]:
    return [0, 0] if point is None else [point[0], point[1]]
