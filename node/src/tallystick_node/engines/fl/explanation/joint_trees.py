"""Explanations of boosted trees by all owners together, against the rows that are explained.

Each other owner tells the owner of the label, for all of its splits and all rows, who goes left, and which splits ask for the same
column, under random numbers in place of the columns' names. The owner of the label computes all values and gives each owner those
of its columns.

Adversary: semi-honest. The owner of the label learns the directions of every row at every split, not only at those that the row
comes to, which splits share a column, and the values of those nameless columns. Another owner learns the values of its columns, and
not which rows come to which split; the values tell of the trees and of other owners' columns in so far as these change them.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.explanation import trees
from tallystick_node.engines.fl.explanation.trees import Column
from tallystick_node.engines.fl.vertical.binning import MAX_FEATURES, Floats
from tallystick_node.engines.fl.vertical.boosting import MAX_ROWS, Bits
from tallystick_node.engines.fl.vertical.messages import read_bits, send_bits
from tallystick_node.engines.fl.vertical.parts import Branch, Ensemble, Part

STEP = "explanation"
MAX_CELLS = 1 << 28  # rows times splits of one owner: 32 MiB of bits


@dataclass(frozen=True)
class Explanation:
    """What one owner gets: the values of its own columns, shape (rows, features); and the owner of the label the mean score and the
    values of all owners, shape (rows, owners)."""

    columns: Floats
    base: float | None = None
    owners: Floats | None = None


def explain(session: Session, owners: Sequence[int], part: Part, columns: Floats, widths: Sequence[int]) -> Explanation:
    """Explain rows whose columns, shape (rows, features), are those of ``part``, in the order of the other owners'.

    ``owners`` are the owners' numbers in the session in the order of the training, ``widths`` how many columns each has, as all of
    them know. Raises ValueError for what does not fit or cannot be explained; ProtocolViolation and ChannelError naming a peer.
    """
    if len(widths) != len(owners) or not all(0 <= width <= MAX_FEATURES for width in widths):
        raise ValueError(f"owners have at most {MAX_FEATURES} columns each")
    own_width = widths[part.owner] == len(part.features) == columns.shape[1]
    if owners[part.owner] != session.index or not own_width or not 0 < len(columns) <= MAX_ROWS:
        raise ValueError("the part is another owner's, or the columns are not its")
    if len(columns) * len(part.splits) > MAX_CELLS:
        raise ValueError("there are too many rows and splits to explain at once: take fewer rows")
    peers = owners[1:] if part.owner == 0 else owners[:1]
    for peer in sorted(peers):
        session.channels[peer].mark(STEP)
    own = {name: (split.feature, columns[:, split.feature] <= split.threshold) for name, split in part.splits.items()}
    if part.ensemble is None:
        return Explanation(_tell(session, owners[0], own, columns))
    if part.ensemble.owners != len(owners):
        raise ValueError(f"the model has {part.ensemble.owners} owners, not {len(owners)}")
    asked = {(0, name): (Column(0, feature), left) for name, (feature, left) in own.items()}
    for number, peer in enumerate(peers, 1):
        heard = _hear(session, peer, _splits(part.ensemble, number), len(columns), widths[number])
        asked |= {(number, name): (Column(number, column), left) for name, (column, left) in heard.items()}
    found = trees.explain(part.ensemble, asked, widths, len(columns))
    for peer, values in zip(peers, found.columns[1:], strict=True):
        send_array(session, peer, values)
    return Explanation(found.columns[0], found.base, found.owners)


def _tell(session: Session, label: int, own: dict[str, tuple[int, Bits]], columns: Floats) -> Floats:
    """As another owner: directions and nameless columns, and what comes back, under the columns' own numbers."""
    rows, width = columns.shape
    nameless = list(range(width))
    secrets.SystemRandom().shuffle(nameless)  # the number of each feature
    names = sorted(own)
    send_array(session, label, np.array([rows, len(names)], np.uint64))
    if names:
        send_array(session, label, np.array([int(name, 16) for name in names], np.uint64))
        send_array(session, label, np.array([nameless[own[name][0]] for name in names], np.uint32))
        send_bits(session, label, [own[name][1] for name in names])
    session.patience(label)
    values = receive_array(session, label, (rows, width), STEP, np.float64)
    if not np.isfinite(values).all():
        raise ProtocolViolation(label, STEP, "sent a value that is not finite")
    return values[:, nameless]


def _hear(session: Session, peer: int, splits: set[str], rows: int, width: int) -> dict[str, tuple[int, Bits]]:
    """As the owner of the label: for each split of an owner of ``width`` columns the column and who goes left."""
    session.patience(peer)
    count, known = (int(each) for each in receive_array(session, peer, (2,), STEP))
    if count != rows:
        raise ProtocolViolation(peer, STEP, f"has another number of rows than this party's {rows}")
    if known != len(splits):
        raise ProtocolViolation(peer, STEP, "has another number of splits than the model")
    if not known:
        return {}
    names = [f"{each:016x}" for each in receive_array(session, peer, (known,), STEP).tolist()]
    if set(names) != splits:
        raise ProtocolViolation(peer, STEP, "names other splits than the model's")
    columns = receive_array(session, peer, (known,), STEP, np.uint32)
    if columns.max() >= width:
        raise ProtocolViolation(peer, STEP, "names a column beyond its last")
    lefts = read_bits(session, peer, [rows] * known, STEP)
    return dict(zip(names, zip(columns.tolist(), lefts, strict=True), strict=True))


def _splits(ensemble: Ensemble, owner: int) -> set[str]:
    return {node.split for tree in ensemble.trees for node in tree if isinstance(node, Branch) and node.owner == owner}
