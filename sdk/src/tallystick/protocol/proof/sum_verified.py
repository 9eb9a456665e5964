"""``sum-verified``: the result commitment is the sum of the parties' Pedersen commitments, which the chain adds up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tallystick.commitments import bn254, pedersen
from tallystick.ethereum import abi_encode, keccak
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.kind import require_no_aggregate, require_nothing_said
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.result import ResultFile
from tallystick.protocol.task import SUM_VERIFIED

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


def points_of(subject: Subject) -> list[bn254.Point]:
    """Each party's commitment in the proposal's order; a party without input has the point at infinity, written (0, 0)."""
    return [point_of(text) if text else None for text in subject.commitments]


def sum_of(points: Sequence[bn254.Point]) -> bn254.Point:
    """The sum of the commitments."""
    total: bn254.Point = None
    for point in points:
        total = bn254.add(total, point)
    return total


class SumVerified:
    """Additively homomorphic commitments on BN254."""

    name = SUM_VERIFIED

    def check_commitment(self, text: str) -> None:
        """A point of the curve."""
        point_of(text)

    def assemble(self, subject: Subject, said: Mapping[str, str]) -> bytes:
        """The commitments and their sum."""
        require_nothing_said(said)
        points = points_of(subject)
        return abi_encode(["uint256[2][]", "uint256[2]"], [[_pair(point) for point in points], _pair(sum_of(points))])

    def require_terms(self, parameters: Mapping[str, Any], parties: int, proof: bytes) -> None:
        """Parameters say nothing about a proof of this kind."""

    def inputs(self, subject: Subject) -> bytes:
        """keccak-256 over the commitments."""
        return keccak(abi_encode(["uint256[2][]"], [[_pair(point) for point in points_of(subject)]]))

    def output(self, subject: Subject, proof: bytes) -> bytes:
        """keccak-256 over their sum."""
        return keccak(abi_encode(["uint256[2]"], [_pair(sum_of(points_of(subject)))]))

    def check(self, subject: Subject, proof: bytes) -> str:
        """Refuse other bytes than the commitments with their sum."""
        if proof != self.assemble(subject, {}):
            raise MalformedDocument("the proof is not the inputs' commitments with their sum")
        return "sum of the committed inputs"

    def open(self, subject: Subject, proof: bytes, file: ResultFile, aggregate: Iterable[bytes] | None) -> str | None:
        """The totals and the blinding in the result file open the sum."""
        require_no_aggregate(aggregate)
        if file.opening is None:
            raise MalformedDocument("the result file does not open the proved sum")
        try:
            pedersen.verify_opening(sum_of(points_of(subject)), list(file.opening.totals), file.opening.blinding)
        except pedersen.OpeningMismatch:
            raise MalformedDocument("the totals and blinding in the file do not open the proved sum") from None
        return f"opens the proved sum of {len(file.opening.totals)} totals"


def _pair(point: bn254.Point) -> list[int]:
    return [0, 0] if point is None else [point[0], point[1]]
