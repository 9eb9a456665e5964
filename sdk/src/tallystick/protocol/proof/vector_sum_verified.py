"""``vector-sum-verified``: the committed sum is the sum of the parties' committed vectors, which the chain checks at one point.

The commitments are KZG commitments (:mod:`tallystick.commitments.kzg`), a few for each vector
(:mod:`tallystick.commitments.vector_sum`). All of them, and those of the sum, fix the point z at which every party opens its own.
Whoever has the sum's file computes the sum's commitments from it. What is shown, what hides the vectors and what not stands in
``docs/spec/vector-sum.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from tallystick.commitments import kzg, vector_sum
from tallystick.commitments.kzg import ORDER, POINT, SCALAR, Opening, OpeningRefused
from tallystick.commitments.vector_sum import MAX_CHUNKS
from tallystick.ethereum import abi_encode, keccak
from tallystick.protocol.errors import Configuration, MalformedDocument
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.result import ResultFile
from tallystick.protocol.task import VECTOR_SUM_VERIFIED

COMMITMENT, CONTRIBUTION = "kzg:", "kzg-openings:"
HEAD = 32  # bytes that hold the number of chunks
SHOWN = SCALAR + POINT  # bytes of an opening
_NOTHING = Opening(0, bytes(POINT))
_HEX = frozenset("0123456789abcdef")
_T = TypeVar("_T")


def require_setup() -> None:
    """Load the ceremony's set-up. Raises Configuration where another is installed: then nothing is said of anybody's commitment."""
    try:
        kzg.require_setup()
    except kzg.SetupRefused as error:
        raise Configuration(str(error), remedy="install the release of eth-account that this release is locked to") from None


def commitments_text(commitments: Sequence[bytes]) -> str:
    """The text form of the commitments to one vector's chunks: ``kzg:`` and 96 hex digits for each of 1 to 4."""
    return COMMITMENT + b"".join(commitments).hex()


def commitments_of(text: str) -> list[bytes]:
    """What :func:`commitments_text` wrote. Raises :class:`MalformedDocument`; whether they are points, their openings show."""
    digits = text.removeprefix(COMMITMENT)
    chunks, left = divmod(len(digits), 2 * POINT)
    if not text.startswith(COMMITMENT) or left or not 1 <= chunks <= MAX_CHUNKS or set(digits) - _HEX:
        raise MalformedDocument(f"commitments are written kzg: and 96 lower-case hex digits for each of 1 to {MAX_CHUNKS} chunks")
    found = _cut(bytes.fromhex(digits), POINT)
    if any(each == bytes(POINT) for each in found):
        raise MalformedDocument("commitments of zeros stand for a party without input")
    return found


@dataclass(frozen=True)
class Contribution:
    """What one party adds to the proof: the openings of its own chunks (none without input), and of the sum's chunks, as it found
    them, the commitments and the openings."""

    own: tuple[Opening, ...]
    total: tuple[bytes, ...]
    shown: tuple[Opening, ...]

    def to_text(self) -> str:
        """``kzg-openings:`` and three parts in lower-case hex, between colons."""
        return CONTRIBUTION + ":".join(part.hex() for part in (_shown(self.own), b"".join(self.total), _shown(self.shown)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a contribution strictly. Raises :class:`MalformedDocument`."""
        parts = text.removeprefix(CONTRIBUTION).split(":")
        widths = (SHOWN, POINT, SHOWN)
        if (
            not text.startswith(CONTRIBUTION)
            or len(parts) != len(widths)
            or any(
                set(part) - _HEX or len(part) % (2 * width) or len(part) > 2 * width * MAX_CHUNKS
                for part, width in zip(parts, widths, strict=True)
            )
        ):
            raise MalformedDocument("a contribution is written kzg-openings: and three parts in lower-case hex, between colons")
        own, total, shown = (bytes.fromhex(part) for part in parts)
        return cls(_openings(own), tuple(_cut(total, POINT)), _openings(shown))


@dataclass(frozen=True)
class VectorSum:
    """The proof: of each party in the proposal's order, None for one without input, and of the sum, a commitment and an opening for
    each chunk."""

    commitments: tuple[tuple[bytes, ...] | None, ...]
    openings: tuple[tuple[Opening, ...] | None, ...]
    total: tuple[bytes, ...]
    shown: tuple[Opening, ...]

    def to_bytes(self) -> bytes:
        """As ``VectorSumVerifier`` reads it: the number of chunks, all commitments, all openings."""
        chunks = len(self.total)
        points = [point for row in self.commitments for point in (row or [bytes(POINT)] * chunks)]
        shown = [opening for row in self.openings for opening in (row or [_NOTHING] * chunks)]
        return chunks.to_bytes(HEAD, "big") + b"".join((*points, *self.total)) + _shown((*shown, *self.shown))

    @classmethod
    def parse(cls, data: bytes, parties: int) -> Self:
        """Read the proof of so many parties. Raises :class:`MalformedDocument`."""
        chunks = int.from_bytes(data[:HEAD], "big")
        count = chunks * (parties + 1)
        if not 1 <= chunks <= MAX_CHUNKS or len(data) != HEAD + (POINT + SHOWN) * count:
            raise MalformedDocument(f"the proof is not of {parties} parties with 1 to {MAX_CHUNKS} chunks: {len(data)} bytes")
        points = _rows(_cut(data[HEAD : HEAD + POINT * count], POINT), chunks)
        openings = _rows(_openings(data[HEAD + POINT * count :]), chunks)
        has = [any(any(point) for point in row) for row in points]
        proof = cls(
            commitments=tuple(row if given else None for row, given in zip(points[:-1], has, strict=False)),
            openings=tuple(row if given else None for row, given in zip(openings[:-1], has, strict=False)),
            total=points[-1],
            shown=openings[-1],
        )
        if proof.to_bytes() != data:
            raise MalformedDocument("a party without input has a value")
        return proof

    @property
    def inputs(self) -> bytes:
        """The hash of all parties' commitments."""
        chunks = len(self.total)
        return vector_sum.hash_of(point for row in self.commitments for point in (row or (None,) * chunks))

    def challenge(self, context: bytes) -> int:
        """z of an attempt."""
        return vector_sum.challenge(context, self.inputs, vector_sum.hash_of(self.total))

    def require_sum(self, subject: Subject) -> None:
        """Raise :class:`MalformedDocument` unless every opening at z holds, naming the party whose does not, and the values of the
        parties add up to the sum's; Configuration as :func:`require_setup`."""
        require_setup()
        z = self.challenge(subject.context)
        for party, points, openings in zip(subject.parties, self.commitments, self.openings, strict=True):
            _require_openings(points or (), openings or (), z, party)
        _require_openings(self.total, self.shown, z, None)
        for chunk, shown in enumerate(self.shown):
            if sum(row[chunk].value for row in self.openings if row) % ORDER != shown.value:
                raise MalformedDocument("the sum is not the sum of what the parties committed to")


class VectorSumVerified:
    """KZG commitments, opened at a point that follows from all of them."""

    name = VECTOR_SUM_VERIFIED

    def check_commitment(self, text: str) -> None:
        """``kzg:`` and a point for each chunk."""
        commitments_of(text)

    def assemble(self, subject: Subject, said: Mapping[str, str]) -> bytes:
        """The commitments, and what every party opened.

        Raises :class:`MalformedDocument`, naming the party whose vector has another length, who found another sum than the first,
        or whose opening does not hold. Where the values do not add up no party is named: the sum was not made of what was committed
        to.
        """
        rows = _commitments(subject)
        chunks = next((len(row) for row in rows if row), 0)
        contributions: dict[str, Contribution] = {}
        for party, row in zip(subject.parties, rows, strict=True):
            try:
                contributions[party] = given = Contribution.parse(said.get(party, ""))
            except MalformedDocument as error:
                raise MalformedDocument(error.message, party=party) from None
            first = contributions[subject.parties[0]]
            if (given.total, given.shown) != (first.total, first.shown):
                raise MalformedDocument(f"used another sum than {subject.parties[0]}", party=party)
            if len(row or ()) not in (0, chunks) or len(given.own) != len(row or ()):
                raise MalformedDocument("opens another number of chunks than it committed to, or than others have", party=party)
        if not chunks or len(first.total) != chunks or len(first.shown) != chunks:
            raise MalformedDocument("the sum has another number of chunks than the parties' vectors")
        openings = tuple(contributions[party].own or None for party in subject.parties)
        proof = VectorSum(rows, openings, first.total, first.shown)
        proof.require_sum(subject)
        return proof.to_bytes()

    def require_terms(self, parameters: Mapping[str, Any], parties: int, proof: bytes) -> None:
        """Parameters say nothing about a proof of this kind."""

    def inputs(self, subject: Subject) -> bytes:
        """keccak-256 over the commitments."""
        rows = _commitments(subject)
        chunks = next((len(row) for row in rows if row), 0)
        return vector_sum.hash_of(point for row in rows for point in (row or (None,) * chunks))

    def output(self, subject: Subject, proof: bytes) -> bytes:
        """keccak-256 over the hash of the sum's commitments and that of the proof bytes."""
        total = vector_sum.hash_of(VectorSum.parse(proof, len(subject.parties)).total)
        return keccak(abi_encode(["bytes32", "bytes32"], [total, keccak(proof)]))

    def check(self, subject: Subject, proof: bytes) -> str:
        """The commitments are the statement's, every opening holds, and the values add up."""
        found = VectorSum.parse(proof, len(subject.parties))
        if found.commitments != _commitments(subject):
            raise MalformedDocument("the proof is for other commitments than the statement's")
        found.require_sum(subject)
        z = found.challenge(subject.context).to_bytes(SCALAR, "big")
        return f"{len(subject.inputs)} committed vectors add up to the sum's, opened at 0x{z.hex()[:16]}"

    def open(self, subject: Subject, proof: bytes, file: ResultFile, aggregate: Iterable[bytes] | None) -> str | None:
        """The sum's file leads to the proved commitments."""
        if aggregate is None:
            return None
        found = VectorSum.parse(proof, len(subject.parties))
        try:
            chunks = vector_sum.read_sum(aggregate, len(found.total))
        except ValueError as error:
            raise MalformedDocument(f"the aggregate's file is none: {error}") from None
        require_setup()
        if tuple(map(kzg.commit, chunks)) != found.total:
            raise MalformedDocument("the aggregate's file is not the one that the proof is about")
        return "the aggregate has the proved commitments"


def _commitments(subject: Subject) -> tuple[tuple[bytes, ...] | None, ...]:
    return tuple(tuple(commitments_of(text)) if text else None for text in subject.commitments)


def _require_openings(points: Sequence[bytes], openings: Sequence[Opening], z: int, party: str | None) -> None:
    for point, opening in zip(points, openings, strict=True):
        try:
            kzg.verify(point, z, opening)
        except OpeningRefused as error:
            of = "the sum" if party is None else "its vector"
            raise MalformedDocument(f"the opening of {of} is refused: {error}", party=party) from None


def _cut(data: bytes, width: int) -> list[bytes]:
    return [data[at : at + width] for at in range(0, len(data), width)]


def _rows(items: Sequence[_T], chunks: int) -> list[tuple[_T, ...]]:
    return [tuple(items[at : at + chunks]) for at in range(0, len(items), chunks)]


def _shown(openings: Iterable[Opening]) -> bytes:
    return b"".join(each.value.to_bytes(SCALAR, "big") + each.proof for each in openings)


def _openings(data: bytes) -> tuple[Opening, ...]:
    return tuple(Opening(int.from_bytes(each[:SCALAR], "big"), each[SCALAR:]) for each in _cut(data, SHOWN))
