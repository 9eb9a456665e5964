"""Trainings whose sums the chain checks by openings of commitments, so that no party's word stands behind them.

The kind of proof is ``vector-sum-verified``: what all rounds together added up is committed to number by number, which bounds how
much that is. How it goes stands at :mod:`...engines.fl.aggregation.opened`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tallystick.commitments import vector_sum
from tallystick.protocol.errors import InvalidData, InvalidTask
from tallystick.protocol.proof.vector_sum_verified import Contribution, commitments_text, require_setup
from tallystick.protocol.task import PROJECTION_VERIFIED, VECTOR_SUM_VERIFIED, TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.engines.fl.aggregation.opened import open_sums
from tallystick_node.workloads.base import Outcome

LOADING = 8.0  # seconds for the ceremony's set-up, in a worker and in its node
CHUNK = 0.5  # for a chunk's commitments and openings


def check_opening(spec: TaskSpec, lengths: Sequence[int]) -> None:
    """Raise InvalidTask when the sums of a training, of these lengths, are too long for the kind of proof."""
    words = sum(lengths)
    if spec.proof == VECTOR_SUM_VERIFIED and words > vector_sum.MAX_WORDS:
        raise InvalidTask(
            f"proof: {spec.proof} commits to each number of every round's sum, {words} here, and takes {vector_sum.MAX_WORDS}",
            remedy=f"ask for fewer rounds, for a smaller model, or for the proof {PROJECTION_VERIFIED}",
        )


def opening_seconds(spec: TaskSpec, lengths: Sequence[int]) -> float:
    """What the proof takes; nothing for other kinds."""
    return LOADING + CHUNK * sum(lengths) / vector_sum.CHUNK_WORDS if spec.proof == VECTOR_SUM_VERIFIED else 0.0


def opened(session: Session, owners: Sequence[int], journal: Journal) -> tuple[Outcome, Callable[[Path], None]]:
    """All parties' commitments to what they sent, and what this one adds to the proof; and what writes the file of the sums, with
    which a receiver computes the sum's commitments.

    Raises Configuration where another set-up is installed than the ceremony's, and InvalidData for a sum that cannot be that of
    words: a coordinator and an owner that say so together pass the check of a round.
    """
    require_setup()
    sent, sums = journal.words()
    if max(sums) >> vector_sum.LANE_BITS:
        raise InvalidData(
            "a sum of a round is greater than what its owners can have sent, so one of them and its coordinator lie: the proof "
            f"takes sums below 2^{vector_sum.LANE_BITS}",
            remedy="ask again, if need be without an owner that you do not trust",
        )
    found = open_sums(session, owners, sent if session.index in owners else None, sums)
    commitments = [commitments_text(row) if row else "" for row in found.commitments]

    def share(path: Path) -> None:
        with path.open("wb") as file:
            file.writelines(vector_sum.write_sum(sums, found.blinds))

    outcome = Outcome(
        commitment=commitments[session.index],
        all_commitments=commitments,
        contribution=Contribution(found.own, found.total, found.shown).to_text(),
    )
    return outcome, share
