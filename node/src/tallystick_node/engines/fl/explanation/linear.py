"""Explanations of linear predictors by all owners together, against the rows that are explained.

A column's share of a predictor is its weight times what the row has more of it than the mean of all rows: the Shapley value, and
the Owen value, of the game in which unknown columns are taken from other rows, since columns do not interact (Lundberg and Lee, "A
Unified Approach to Interpreting Model Predictions", NIPS 2017, section 4). So each owner computes its own, and tells the owner of
the label their sum.

Adversary: semi-honest. The owner of the label learns every owner's part of every score but for a constant, which :mod:`scoring`
hides among three or more; whoever knows an owner's columns in as many rows as it has weights can solve for them. Another owner
learns nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.explanation.joint_trees import Explanation
from tallystick_node.engines.fl.vertical.binning import Floats
from tallystick_node.engines.fl.vertical.coefficients import MAX_FEATURES, MAX_WEIGHT, Coefficients
from tallystick_node.engines.fl.vertical.regression import LIMIT, Table

STEP = "explanation"
LARGEST = 2 * LIMIT * MAX_WEIGHT * MAX_FEATURES  # an owner's share of a predictor


def explain(session: Session, owners: Sequence[int], part: Coefficients, columns: Floats, widths: Sequence[int]) -> Explanation:
    """Explain rows whose columns, shape (rows, features), are those of ``part``, in the order of the other owners'.

    ``owners`` are the owners' numbers in the session in the order of the training, ``widths`` how many columns each has. The base
    is with the scores, whose mean it is. Raises ValueError for what does not fit; ProtocolViolation and ChannelError naming a peer.
    """
    if len(owners) != part.owners or owners[part.owner] != session.index or widths[part.owner] != len(part.features):
        raise ValueError("the owners are others than those of the model, or the part is another owner's")
    table = Table(columns, part.features)
    values: Floats = (table.columns - table.columns.mean(axis=0)) * np.array(part.weights)
    peers = owners[1:] if part.owner == 0 else owners[:1]
    for peer in sorted(peers):
        session.channels[peer].mark(STEP)
    if part.owner:
        send_array(session, owners[0], values.sum(axis=1))
        return Explanation(values)
    shares = [values.sum(axis=1)]
    for peer in peers:
        session.patience(peer)
        shares.append(receive_array(session, peer, (len(values),), STEP, np.float64))
        if not (np.abs(shares[-1]) <= LARGEST).all():  # a NaN is not
            raise ProtocolViolation(peer, STEP, "sent what is no share of a predictor")
    return Explanation(values, None, np.column_stack(shares))
