"""``sum-in-range``: as ``sum-verified``, and each input and the sum lie in the ranges that follow from the spec, in zero knowledge.

Every party with input proves its own commitment's forms, the first receiver those of the sum, which it alone can open: among them
that every group that is revealed has its least number of members. The chain checks all of them (``RangeVerifier.sol``), and so does
rule 16. What they show and what not stands in ``docs/spec/ranges.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tallystick.commitments import bn254, ranges
from tallystick.commitments.ranges import Proof, RangeRefused, Shape
from tallystick.ethereum import keccak
from tallystick.protocol.bounds import shape_of
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.proof.sum_verified import SumVerified, point_of, points_of, sum_of
from tallystick.protocol.result import ResultFile
from tallystick.protocol.task import SUM_IN_RANGE

PREFIX = "range:"


@dataclass(frozen=True)
class Contribution:
    """What one party adds to the proof: the forms, the range proof of its input (empty without one), and that of the sum (empty
    unless it is the first receiver), each in bytes."""

    shape: bytes
    own: bytes
    total: bytes

    def to_text(self) -> str:
        """``range:`` and the three in lower-case hex, between colons."""
        return PREFIX + ":".join(each.hex() for each in (self.shape, self.own, self.total))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a contribution strictly. Raises :class:`MalformedDocument`."""
        parts = text.removeprefix(PREFIX).split(":")
        if (
            not text.startswith(PREFIX)
            or len(parts) != 3
            or any(len(each) % 2 or set(each) - set("0123456789abcdef") for each in parts)
        ):
            raise MalformedDocument("a contribution is written range: and three parts in lower-case hex, between colons")
        shape, own, total = (bytes.fromhex(each) for each in parts)
        return cls(shape, own, total)


class SumInRange(SumVerified):
    """The commitments and their sum are as for ``sum-verified``; ranges are proved of each of them."""

    name = SUM_IN_RANGE

    def check_commitment(self, text: str) -> None:
        """A point of the curve, not the one at infinity: that is of a party without input."""
        if point_of(text) is None:
            raise MalformedDocument("a commitment of zeros stands for a party without input")

    def assemble(self, subject: Subject, said: Mapping[str, str]) -> bytes:
        """Forms, commitments, sum and range proofs. Raises :class:`MalformedDocument`, naming whose proof does not hold."""
        parsed = {}
        for party in subject.parties:
            try:
                parsed[party] = Contribution.parse(said.get(party, ""))
            except MalformedDocument as error:
                raise MalformedDocument(error.message, party=party) from None
        encoded, first = parsed[subject.parties[0]].shape, subject.outputs[0].receiver
        if any(each.shape != encoded for each in parsed.values()):
            # Which of them are the spec's is not known here, so nobody is named for what another may have said.
            raise MalformedDocument("the parties prove different ranges")
        shape, _ = _shape(encoded)
        size, total = ranges.size_of(shape.entries, shape.inputs), ranges.size_of(shape.entries, shape.total)
        for (party, each), commitment in zip(parsed.items(), subject.commitments, strict=True):
            if len(each.own) != (size if commitment else 0):
                raise MalformedDocument(
                    "a range proof belongs to an input, and an input has one, of its forms' length", party=party
                )
            if len(each.total) != (total if party == first else 0):
                raise MalformedDocument("the first receiver, and nobody else, proves the ranges of the sum", party=party)
        owned = [parsed[party].own for party in subject.parties]
        proof = b"".join((encoded, _commitments(subject), *owned, parsed[first].total))
        self.check(subject, proof)
        return proof

    def require_terms(self, parameters: Mapping[str, Any], parties: int, proof: bytes) -> None:
        """Refuse other forms than those that follow from the spec's bounds and its least group."""
        if _shape(proof)[0] != shape_of(parameters):
            raise MalformedDocument("the proof is about other ranges than the spec's")

    def output(self, subject: Subject, proof: bytes) -> bytes:
        """keccak-256 over the sum of the commitments and the hash of the proof bytes."""
        return keccak(bn254.encode(sum_of(points_of(subject))) + keccak(proof))

    def check(self, subject: Subject, proof: bytes) -> str:
        """Every range proof holds, for these commitments and their sum, in this attempt."""
        shape, end = _shape(proof)
        commitments = _commitments(subject)
        if proof[end : end + len(commitments)] != commitments:
            raise MalformedDocument("the proof is not about the inputs' commitments with their sum")
        at = end + len(commitments)
        claims = [(place, party, shape.inputs, point) for place, (party, point) in enumerate(_of_parties(subject))]
        claims.append((ranges.TOTAL, subject.outputs[0].receiver, shape.total, sum_of(points_of(subject))))
        for place, party, forms, point in claims:
            if point is None and place != ranges.TOTAL:
                continue
            size = ranges.size_of(shape.entries, forms)
            try:
                found = Proof.parse(proof[at : at + size], shape.entries, forms)
                ranges.verify(subject.context, proof[:end], place, forms, point, found)
            except RangeRefused as error:
                of = "the sum" if place == ranges.TOTAL else "its input"
                raise MalformedDocument(f"the range proof of {of} is refused: {error}", party=party) from None
            at += size
        if at != len(proof):
            raise MalformedDocument("the proof is longer than its forms say")
        return f"sum of the committed inputs, each within {len(shape.inputs)} ranges, the sum within {len(shape.total)}"

    def open(self, subject: Subject, proof: bytes, file: ResultFile, aggregate: Iterable[bytes] | None) -> str | None:
        """The totals and the blinding in the result file open the sum; there are as many totals as values were proved."""
        words = super().open(subject, proof, file, aggregate)
        if file.opening is not None and len(file.opening.totals) != _shape(proof)[0].entries:
            raise MalformedDocument("the result file opens another number of totals than was proved")
        return words


def _commitments(subject: Subject) -> bytes:
    points = points_of(subject)
    return b"".join(map(bn254.encode, (*points, sum_of(points))))


def _of_parties(subject: Subject) -> list[tuple[str, bn254.Point]]:
    return list(zip(subject.parties, points_of(subject), strict=True))


def _shape(proof: bytes) -> tuple[Shape, int]:
    try:
        return Shape.read(proof)
    except ValueError as error:
        raise MalformedDocument(f"the forms of the proof: {error}") from None
