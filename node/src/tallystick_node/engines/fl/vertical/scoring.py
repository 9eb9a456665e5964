"""Scores of rows by all owners of a vertical regression together: the owner of the label learns them, and nobody anything else.

Every owner has the part of each score that its own columns and weights make. The owners without the label hide theirs, in pairs, by
random numbers modulo 2^64 that cancel in the sum; the owner of the label adds all.

Security (semi-honest): with three owners or more the owner of the label learns the sum of the others' parts alone, unless it
colludes with all others but one. With two that sum is the other's part. The part is linear in the columns and the weights, neither
of which it knows; but whoever knew the columns of as many rows as there are weights could solve for the weights. So the scores of
many rows tell more than those of few: each prediction is a task of its own, asked for, granted and counted.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.vertical.coefficients import MAX_FEATURES, MAX_WEIGHT, Coefficients, Family
from tallystick_node.engines.fl.vertical.regression import COLUMN, LIMIT, WEIGHT, Floats, Table
from tallystick_node.engines.mpc.ring import Ring

STEP = "scores"
_PART = int(LIMIT) * MAX_WEIGHT * (MAX_FEATURES + 1) << COLUMN + WEIGHT  # the largest part of a score


def score(session: Session, owners: Sequence[int], part: Coefficients, columns: Floats) -> Floats | None:
    """The linear predictors of all rows, shape (rows,), at the owner of the label; None at the others.

    ``owners`` are the owners' numbers in the session in the order of the training, ``part`` is this owner's, ``columns`` its own of
    shape (rows, features) for the same rows in the same order. Raises ValueError for what does not fit; ProtocolViolation and
    ChannelError naming a peer.
    """
    if len(owners) != part.owners or owners[part.owner] != session.index:
        raise ValueError("the owners are others than those of the model, or the part is another owner's")
    own = _part(part, Table(columns, part.features))
    for owner in sorted(set(owners) - {session.index}):
        session.channels[owner].mark(STEP)
    if part.owner:
        send_array(session, owners[0], own + _cancelling(session, owners, part.owner, len(own)))
        return None
    others = np.zeros(len(own), np.uint64)
    for owner in owners[1:]:
        session.patience(owner)
        others += receive_array(session, owner, own.shape, STEP)
    most, found = (len(owners) - 1) * _PART, others.view(np.int64)
    if len(found) and not -most <= found.min() <= found.max() <= most:
        if len(owners) == 2:
            raise ProtocolViolation(owners[1], STEP, "sent what is no part of a score")
        raise ValueError("the other owners' parts do not add up to scores: one of them sent what is none")
    return np.ldexp((own + others).view(np.int64).astype(np.float64), -COLUMN - WEIGHT)


def mean(family: Family, scores: Floats) -> Floats:
    """The expected targets of linear predictors: themselves, or probabilities."""
    return scores if family == "linear" else 0.5 * (1 + np.tanh(scores / 2))


def _part(part: Coefficients, table: Table) -> Ring:
    """This owner's part of each score, exact for the columns and weights as they are rounded."""
    weights = np.rint(np.ldexp(np.array(part.weights), WEIGHT)).astype(np.int64)
    intercept = round((part.intercept or 0.0) * (1 << WEIGHT)) << COLUMN
    found: Ring = (table.matrix() @ weights + intercept).view(np.uint64)
    return found


def _cancelling(session: Session, owners: Sequence[int], place: int, rows: int) -> Ring:
    """Random numbers that add up to nothing over the owners without the label: of each two, the first draws some for both."""
    total = np.zeros(rows, np.uint64)
    for owner in owners[place + 1 :]:
        drawn = np.frombuffer(secrets.token_bytes(8 * rows), np.uint64)
        send_array(session, owner, drawn)
        total -= drawn
    for owner in owners[1:place]:
        session.patience(owner)
        total += receive_array(session, owner, (rows,), STEP)
    return total
