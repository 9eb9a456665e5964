"""Trainings that end without owners that drop out: what such a task needs, and how those who are left prove it.

The kind of proof says how many may be absent (:func:`tallystick.protocol.task.tolerated`). The requester, receivers and parties
without data have to stay. While the run goes on a round's sum is that of its survivors; what an owner gave in the rounds before it
left stays in the model, and in the proof, for which all others hold what it vouched for
(:mod:`...engines.fl.aggregation.record`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tallystick.commitments import projection
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidTask
from tallystick.protocol.proof.projection_verified import Contribution
from tallystick.protocol.task import PROJECTION_VERIFIED, TaskSpec, tolerated

from tallystick_node.engines.channel import ChannelError, Session
from tallystick_node.engines.fl.aggregation.record import Record
from tallystick_node.workloads.base import Outcome


def check_absence(spec: TaskSpec) -> None:
    """Raise InvalidTask unless the training can end without as many owners as its kind of proof tolerates."""
    most, owners, spare = tolerated(spec.proof), len(spec.inputs), len(spec.may_be_absent)
    if not most:
        return
    if spare < most:
        raise InvalidTask(
            f"proof: {spec.proof} tolerates {most} absent, and only {spare} parties neither ask, receive nor lack data",
            remedy="name fewer receivers, or a kind of proof that tolerates fewer",
        )
    if owners < 2 * most + 2:
        raise InvalidTask(
            f"proof: of {owners} owners {most} may not be absent: a coordinator alone could read others' changes",
            remedy=f"name {2 * most + 2} or more owners, or a kind of proof that tolerates fewer",
        )
    if spec.parameters["privacy"] is not None or spec.parameters["contribution"] is not None:
        raise InvalidTask(
            "proof: private training, and the measure of contributions, need every owner in every round",
            remedy=f"ask for {PROJECTION_VERIFIED}, or leave privacy and contribution out",
        )


def absent_of(spec: TaskSpec, gone: Collection[int]) -> list[int]:
    """The parties that dropped out, in order. Raises ChannelError naming one that the task cannot do without."""
    absent = sorted(gone)
    needed = [peer for peer in absent if spec.parties[peer] not in spec.may_be_absent]
    if needed or len(absent) > tolerated(spec.proof):
        raise ChannelError((needed or absent)[0], "did not confirm that it holds the same model")
    return absent


def attested(session: Session, owners: Sequence[int], record: Record, absent: Sequence[int]) -> Outcome:
    """All parties' commitments, and what each adds to the proof: every party knows both of all, so nobody is asked any more."""
    session.mark("proof")
    every, sums = record.roots()
    roots = [root if index in owners else bytes(len(root)) for index, root in enumerate(every)]
    own, aggregate = record.project(projection.points(projection.challenge(session.context, roots, sums)))
    commitments = [canonical.text(root) if index in owners else "" for index, root in enumerate(roots)]
    contributions = [Contribution(each, sums, aggregate).to_text() for each in own]
    return Outcome(
        commitment=commitments[session.index],
        all_commitments=commitments,
        contribution=contributions[session.index],
        all_contributions=contributions,
        absent=absent,
    )
