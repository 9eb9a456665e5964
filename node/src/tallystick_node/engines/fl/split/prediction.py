"""Scores of rows by all owners together: the others send what their bottoms give, the owner of the label runs the top.

Adversary: semi-honest. The owner of the label learns what each other owner's bottom gives for each row, and the scores; the others
learn how many rows there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.split.network import require_columns
from tallystick_node.engines.fl.split.parts import Part
from tallystick_node.engines.fl.split.training import read_numbers

STEP = "prediction"


def predict(session: Session, owners: Sequence[int], part: Part, columns: Vector) -> Vector:
    """The scores, log-odds of shape (rows,), at the owner of the label; at the others the same number of zeros.

    ``owners`` are the owners' numbers in the session in the order of the training, ``part`` is this owner's, ``columns`` its own of
    shape (rows, features) for the same rows in the same order. Raises ValueError for a part that does not fit; ProtocolViolation
    and ChannelError naming a peer.
    """
    if len(owners) != part.owners or owners[part.owner] != session.index:
        raise ValueError("the part is another owner's, or of a model of other owners")
    if columns.ndim != 2 or columns.shape[1] != len(part.features):
        raise ValueError(f"columns of shape {columns.shape} where the model has {len(part.features)}")
    if part.features:
        require_columns(columns)
    peers = owners[1:] if part.owner == 0 else owners[:1]
    for peer in sorted(peers):
        session.channels[peer].mark(STEP)
    count = np.array([len(columns)], np.uint64)
    for peer in peers:
        send_array(session, peer, count)
    for peer in peers:
        session.patience(peer)
        if int(receive_array(session, peer, (1,), STEP)[0]) != len(columns):
            raise ProtocolViolation(
                peer, STEP, f"has another number of rows than this party's {len(columns)}: align the rows first"
            )
    own = [part.bottom.run(columns)] if part.bottom is not None else []
    if part.top is None:
        send_array(session, owners[0], own[0])
        return np.zeros(len(columns))
    given = [read_numbers(session, peer, (len(columns), part.cut), STEP, 1.0) for peer in peers]
    return part.top.run(np.concatenate([*own, *given], axis=1))[:, 0]
