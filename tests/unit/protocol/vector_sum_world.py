"""Two parties' vectors, committed to, and what all add to the proof of their sum."""

from __future__ import annotations

from functools import cache

from tallystick.commitments import kzg, vector_sum
from tallystick.commitments.kzg import ORDER
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.proof.vector_sum_verified import Contribution, commitments_of, commitments_text

VECTORS = ((3, 5, 2**32 - 1, 0, 9, 1, 2, 8), (4, 6, 2**31, 1, 0, 0, 7, 8))
BLINDS = (((11, 12),), ((ORDER - 5, 21),))
SUM = tuple(map(sum, zip(*VECTORS, strict=True)))
SUM_BLINDS = [(6, 33)]
CONTENT = b"".join(vector_sum.write_sum(SUM, SUM_BLINDS))


@cache
def elements() -> tuple[list[int], list[int], list[int]]:
    """Of both parties and of the sum."""
    made = [vector_sum.elements_of(*each)[0] for each in zip((*VECTORS, SUM), (*BLINDS, SUM_BLINDS), strict=True)]
    return made[0], made[1], made[2]


@cache
def points() -> tuple[bytes, bytes, bytes]:
    """The commitments to them."""
    first, second, total = map(kzg.commit, elements())
    return first, second, total


def commitments() -> list[str]:
    """Of both parties, as a statement has them."""
    return [commitments_text([each]) for each in points()[:2]]


def challenge(subject: Subject) -> int:
    """z."""
    given = [commitments_of(text)[0] if text else None for text in subject.commitments]
    return vector_sum.challenge(subject.context, vector_sum.hash_of(given), vector_sum.hash_of(points()[2:]))


def contributions(subject: Subject) -> dict[str, str]:
    """Honest parties' parts of a proof; the third party has no input."""
    return _contributions(challenge(subject), subject.parties)


@cache
def _contributions(z: int, parties: tuple[str, ...]) -> dict[str, str]:
    *own, shown = (kzg.open_at(each, z) for each in elements())
    said = [Contribution(each, points()[2:], (shown,)) for each in ((own[0],), (own[1],), ())]
    return {party: each.to_text() for party, each in zip(parties, said, strict=True)}
