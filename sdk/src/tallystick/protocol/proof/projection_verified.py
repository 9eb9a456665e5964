"""``projection-verified``: the parties' committed vectors add up to the committed aggregate at four random points.

The commitments are digests (:func:`tallystick.commitments.projection.root`), so they add up to nothing; instead each party computes
with its own vector, and with the aggregate that it used, what both are at four points that follow from all digests. It announces
these projections and signs them with the result; the chain, and anyone with the bundle, checks that they add up. What that
catches and what not stands at ``ProjectionVerifier.sol`` and in ``docs/spec/statement.md``.

``projection-verified-absent-1`` to ``-3``: the same for parties of whom so many may be absent in the end. There a party's vector is
what all others know of it, the roots and projections that it vouched for in each round, so that they speak for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tallystick.commitments import projection
from tallystick.commitments.projection import MODULUS, POINTS, Projection
from tallystick.ethereum import abi_encode, keccak
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.result import ResultFile
from tallystick.protocol.task import PROJECTION_VERIFIED, tolerated

PREFIX = "projection:"
WORD = 32
_TYPES = ("bytes32[]", "bytes32", "uint256[4][]", "uint256[4]")
_ZERO_ROOT = bytes(WORD)


@dataclass(frozen=True)
class Contribution:
    """What one party adds to the proof: the projections of its own vector (zeros without input), the root of the aggregate that
    it used, and the aggregate's projections."""

    own: Projection
    aggregate_root: bytes
    aggregate: Projection

    def to_text(self) -> str:
        """``projection:`` and 192 hex digits: own projections, root, aggregate's projections; 64-bit numbers, big-endian."""
        return PREFIX + (_bytes(self.own) + self.aggregate_root + _bytes(self.aggregate)).hex()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a contribution strictly. Raises :class:`MalformedDocument`."""
        digits = text.removeprefix(PREFIX)
        if not text.startswith(PREFIX) or len(digits) != 6 * WORD or set(digits) - set("0123456789abcdef"):
            raise MalformedDocument("a contribution is written projection: and 192 lower-case hex digits")
        data = bytes.fromhex(digits)
        return cls(_numbers(data[:WORD]), data[WORD : 2 * WORD], _numbers(data[2 * WORD :]))


@dataclass(frozen=True)
class Projections:
    """The proof: a root and four projections for each party, in the proposal's order, and the aggregate's. ``absent``: bit i stands
    for party i; None for the kind that tolerates no absence."""

    roots: tuple[bytes, ...]
    aggregate_root: bytes
    own: tuple[Projection, ...]
    aggregate: Projection
    absent: int | None = None

    def to_bytes(self) -> bytes:
        """``abi.encode(bytes32[] roots, bytes32 aggregateRoot, uint256[4][] projections, uint256[4] aggregateProjection)``, with
        ``uint256 absent`` before them where the kind tolerates absence."""
        said = [self.roots, self.aggregate_root, self.own, self.aggregate]
        return abi_encode(_TYPES, said) if self.absent is None else abi_encode(("uint256", *_TYPES), [self.absent, *said])

    @classmethod
    def parse(cls, data: bytes, parties: int, *, tolerant: bool = False) -> Self:
        """Read the proof of so many parties; the encoding is the one that :meth:`to_bytes` writes.

        Raises :class:`MalformedDocument`.
        """
        if len(data) != WORD * (9 + tolerant + 5 * parties):
            raise MalformedDocument(f"the proof is not of {parties} parties: {len(data)} bytes")
        words = [data[at : at + WORD] for at in range(0, len(data), WORD)]
        numbers = [int.from_bytes(word, "big") for word in words]
        head = 7 + tolerant  # words; then the roots with their number, and the number of the projections
        first = head + 2 + parties
        proof = cls(
            roots=tuple(words[head + 1 : head + 1 + parties]),
            aggregate_root=words[head - 6],
            own=tuple(_four(numbers[at : at + POINTS]) for at in range(first, first + POINTS * parties, POINTS)),
            aggregate=_four(numbers[head - 4 : head]),
            absent=numbers[0] if tolerant else None,
        )
        if proof.to_bytes() != data:
            raise MalformedDocument("the proof is not encoded as it must be")
        return proof

    def require_sum(self) -> None:
        """Raise :class:`MalformedDocument` unless the projections are below p and add up, and those without a root are zero."""
        if any(number >= MODULUS for each in (*self.own, self.aggregate) for number in each):
            raise MalformedDocument("a projection is not below 2^61 - 1")
        if any(root == _ZERO_ROOT and own != projection.ZERO for root, own in zip(self.roots, self.own, strict=True)):
            raise MalformedDocument("a party without input has a projection")
        if projection.add(self.own) != self.aggregate:
            raise MalformedDocument("the projections do not add up to the aggregate's")


class ProjectionVerified:
    """Digests of vectors, and projections that follow from them. ``name``: of the kind, which says how many may be absent."""

    def __init__(self, name: str = PROJECTION_VERIFIED) -> None:
        self.name = name
        self._tolerated = tolerated(name)

    def check_commitment(self, text: str) -> None:
        """``sha256:<64 hex>``, not zero."""
        if canonical.untext(text) == _ZERO_ROOT:
            raise MalformedDocument("a root of zeros stands for a party without input")

    def assemble(self, subject: Subject, said: Mapping[str, str]) -> bytes:
        """The roots, and what every party announced.

        Raises :class:`MalformedDocument` when two parties used different aggregates, or the projections do not add up. Then the
        updates were not added as they were sent, or somebody announced a false projection: no party is named.
        """
        roots, contributions = _roots(subject), {}
        for party in subject.parties:
            try:
                contributions[party] = given = Contribution.parse(said.get(party, ""))
            except MalformedDocument as error:
                raise MalformedDocument(error.message, party=party) from None
            first = contributions[subject.parties[0]]
            if (given.aggregate_root, given.aggregate) != (first.aggregate_root, first.aggregate):
                raise MalformedDocument(f"used another aggregate than {subject.parties[0]}", party=party)
            if any(number >= MODULUS for number in given.own):
                raise MalformedDocument("announces a projection that is not below 2^61 - 1", party=party)
            if given.own != projection.ZERO and party not in {each.party for each in subject.inputs}:
                raise MalformedDocument("announces a projection without an input", party=party)
        own = tuple(contributions[party].own for party in subject.parties)
        absent = _bits(subject) if self._tolerated else None
        proof = Projections(roots, first.aggregate_root, own, first.aggregate, absent)
        proof.require_sum()
        return proof.to_bytes()

    def require_terms(self, parameters: Mapping[str, Any], parties: int, proof: bytes) -> None:
        """Parameters say nothing about a proof of this kind."""

    def inputs(self, subject: Subject) -> bytes:
        """keccak-256 over the roots."""
        return keccak(abi_encode(["bytes32[]"], [_roots(subject)]))

    def output(self, subject: Subject, proof: bytes) -> bytes:
        """keccak-256 over the challenge and the hash of the proof bytes."""
        found = self._parse(subject, proof)
        return keccak(abi_encode(["bytes32", "bytes32"], [_challenge(subject, found), keccak(proof)]))

    def check(self, subject: Subject, proof: bytes) -> str:
        """The roots and the absent are the statement's, and the projections add up."""
        found = self._parse(subject, proof)
        if len(subject.absent) > self._tolerated or (found.absent or 0) != _bits(subject):
            raise MalformedDocument("the proof is for other absent parties than the statement names, or for too many")
        if found.roots != _roots(subject):
            raise MalformedDocument("the proof is for other roots than the statement's commitments")
        found.require_sum()
        return f"{len(subject.inputs)} projections add up to the aggregate's, challenge 0x{_challenge(subject, found).hex()[:16]}"

    def open(self, subject: Subject, proof: bytes, file: ResultFile, aggregate: Iterable[bytes] | None) -> str | None:
        """The aggregate's file has the proved root, and at the points of the challenge the proved projections."""
        if aggregate is None:
            return None
        found = self._parse(subject, proof)
        points = projection.points(_challenge(subject, found))
        try:
            root, projections = projection.project_content(aggregate, points)
        except ValueError as error:
            raise MalformedDocument(f"the aggregate's file is none: {error}") from None
        if root != found.aggregate_root:
            raise MalformedDocument("the aggregate's file is not the one that the proof is about")
        if projections != found.aggregate:
            raise MalformedDocument("the aggregate does not have the projections that all parties signed")
        return "the aggregate has the proved root and projections"

    def _parse(self, subject: Subject, proof: bytes) -> Projections:
        return Projections.parse(proof, len(subject.parties), tolerant=self._tolerated > 0)


def _roots(subject: Subject) -> tuple[bytes, ...]:
    return tuple(canonical.untext(text) if text else _ZERO_ROOT for text in subject.commitments)


def _bits(subject: Subject) -> int:
    return sum(1 << place for place, party in enumerate(subject.parties) if party in subject.absent)


def _challenge(subject: Subject, proof: Projections) -> bytes:
    return projection.challenge(subject.context, _roots(subject), proof.aggregate_root)


def _bytes(numbers: Projection) -> bytes:
    return b"".join(number.to_bytes(WORD // POINTS, "big") for number in numbers)


def _numbers(data: bytes) -> Projection:
    width = WORD // POINTS
    return _four([int.from_bytes(data[at : at + width], "big") for at in range(0, WORD, width)])


def _four(numbers: list[int]) -> Projection:
    a, b, c, d = numbers
    return a, b, c, d
