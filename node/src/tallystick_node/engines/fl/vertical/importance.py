"""How much each column told of the label: the share that its splits have of all that the splits of a model gained.

The gain of a split is what it is worth when it is chosen (Chen and Guestrin, KDD 2016, equation 7, but for the factor of a half),
and a column's share is XGBoost's importance of the type "total_gain" over the whole. The owner of the label knows what each split
is worth, the others of which column theirs are. So each other owner says which of its splits are of one column, under random
numbers, and gets back one share for each.

Adversary: semi-honest. The owner of the label learns which splits of another owner share a column. Another owner learns the shares
of its own columns: one number for each of them over the whole training, and not what single splits are worth, which would tell how
many rows of a node have which label.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.vertical.binning import MAX_FEATURES, Floats
from tallystick_node.engines.fl.vertical.parts import Part

STEP = "importance"
Gains = Mapping[tuple[int, str], float]  # of each split, by its owner's number and its name


def share(session: Session, owners: Sequence[int], part: Part, gains: Gains, widths: Sequence[int]) -> Floats:
    """As the owner of the label, the first of ``owners``: tell each owner its columns' shares; returns this one's, shape
    (features,). ``widths`` is how many columns each owner has, as all know. Raises ProtocolViolation and ChannelError naming a
    peer, and ValueError for more columns than there may be."""
    if len(widths) != len(owners) or not all(0 <= width <= MAX_FEATURES for width in widths):
        raise ValueError(f"owners have at most {MAX_FEATURES} columns each")
    total = sum(gains.values()) or 1.0
    for peer in sorted(owners[1:]):
        session.channels[peer].mark(STEP)
    for number, peer in enumerate(owners[1:], 1):
        names = sorted(name for owner, name in gains if owner == number)
        width = widths[number]
        session.patience(peer)
        columns = receive_array(session, peer, (len(names),), STEP, np.uint32)
        if names and columns.max() >= width:
            raise ProtocolViolation(peer, STEP, "names a column beyond its last")
        worth = np.array([gains[number, name] for name in names])
        send_array(session, peer, np.bincount(columns.astype(np.int64), worth, width).astype(np.float64) / total)
    found = np.zeros(len(part.features))
    for name, split in part.splits.items():
        found[split.feature] += gains[0, name] / total
    return found


def ask(session: Session, owners: Sequence[int], part: Part) -> Floats:
    """As another owner: the shares of its columns, shape (features,). Raises as :func:`share` does."""
    label, width = owners[0], len(part.features)
    session.channels[label].mark(STEP)
    nameless = list(range(width))
    secrets.SystemRandom().shuffle(nameless)  # the number of each feature
    send_array(session, label, np.array([nameless[part.splits[name].feature] for name in sorted(part.splits)], np.uint32))
    session.patience(label)
    found = receive_array(session, label, (width,), STEP, np.float64)
    if not ((found >= 0) & (found <= 1)).all():  # a NaN is not
        raise ProtocolViolation(label, STEP, "sent what is no share")
    return found[nameless]
