"""Explanations of split networks by all owners together, against a few of the rows that are explained.

The game is that of :mod:`.trees`: what is unknown of a row is taken from a background row, and the players are columns in the
unions that their owners make (Owen, "Values of games with a priori unions", 1977). The background is at most ``BACKGROUND`` of the
rows, evenly placed in their common order. Between owners the values are exact for it: every coalition is formed, from what the
bottoms give for the rows, which the owner of the label has from scoring. Among an owner's columns they are means over ``ORDERS``
of their orders, half of which are drawn and the others their reverses (Mitchell, Cooper, Frank and Holmes, "Sampling permutations
for Shapley value estimation", JMLR 2022), or over all orders where there are no more: exact for up to three columns. They add up to
the owner's share either way, since in every order what the columns add does.

Only an owner can run its bottom, so it runs it on hybrids, of a row in the first columns of an order and of a background row in
the others, and the owner of the label runs the top. It gives each owner the values of its columns, which it knows under random
numbers.

Adversary: semi-honest. The owner of the label learns what the other owners' bottoms give for hybrids of rows, from which columns
can be guessed better than from what scoring tells; not which columns were exchanged, but which ones are the same in all orders; and
the values of those nameless columns. Another owner learns the values of its columns.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.explanation.joint_trees import Explanation
from tallystick_node.engines.fl.split.network import require_columns
from tallystick_node.engines.fl.split.parts import Part
from tallystick_node.engines.fl.split.towers import Trained
from tallystick_node.engines.fl.split.training import read_numbers
from tallystick_node.engines.fl.vertical.binning import Floats

STEP = "explanation"
BACKGROUND, ORDERS = 32, 8
MAX_OWNERS, MAX_COLUMNS = 8, 64  # of those with columns, and of one owner
MAX_NUMBERS = 1 << 28  # that one owner's bottom gives for all hybrids
_PIECE = 1 << 18  # hybrids that are run at a time

Orders = NDArray[np.int64]  # of shape (orders, columns): the columns in each order


def require(widths: Sequence[int]) -> None:
    """Raise ValueError unless networks of owners with so many columns are explained."""
    if sum(width > 0 for width in widths) > MAX_OWNERS or max(widths, default=0) > MAX_COLUMNS:
        raise ValueError(
            f"networks are explained for at most {MAX_OWNERS} owners with columns, of at most {MAX_COLUMNS} columns each"
        )


def hybrids(width: int) -> int:
    """How many hybrids an owner of so many columns sends for a row."""
    return BACKGROUND * min(ORDERS, factorial(width)) * max(width - 1, 0)


def explain(session: Session, owners: Sequence[int], part: Part, columns: Floats, widths: Sequence[int]) -> Explanation:
    """Explain rows whose columns, shape (rows, features), are those of ``part``, in the order of the other owners'.

    ``owners`` are the owners' numbers in the session in the order of the training, ``widths`` how many columns each has. Raises
    ValueError for what does not fit or is too much; ProtocolViolation and ChannelError naming a peer.
    """
    require(widths)
    if len(owners) != part.owners or owners[part.owner] != session.index or len(widths) != len(owners):
        raise ValueError("the part is another owner's, or of a model of other owners")
    if columns.shape[1:] != (len(part.features),) or widths[part.owner] != len(part.features) or not len(columns):
        raise ValueError(f"columns of shape {columns.shape} where the model has {len(part.features)}")
    if part.features:
        require_columns(columns)
    if len(columns) * max(map(hybrids, widths)) * part.cut > MAX_NUMBERS:
        raise ValueError("there are too many rows and columns to explain at once: take fewer rows")
    peers = owners[1:] if part.owner == 0 else owners[:1]
    for peer in sorted(peers):
        session.channels[peer].mark(STEP)
    if part.top is None:
        assert part.bottom is not None  # who has no top has a bottom
        return Explanation(_tell(session, owners[0], part.bottom, columns))
    given = {0: part.bottom.run(columns)} if part.bottom is not None else {}
    for number, peer in enumerate(peers, 1):
        session.patience(peer)
        given[number] = read_numbers(session, peer, (len(columns), part.cut), STEP, 1.0)
    game = _Game(part.top, given, _background(len(columns)))
    values = [np.zeros((len(columns), width)) for width in widths]
    if part.bottom is not None:
        orders = _orders(widths[0])
        chains = _chains(part.bottom, columns, orders)
        values[0] = np.concatenate([game.worth(0, rows, chain, orders) for rows, chain in chains])
    for number, peer in enumerate(peers, 1):
        values[number] = _hear(session, peer, game, number, widths[number], part.cut)
        send_array(session, peer, values[number])
    return Explanation(values[0], game.base, np.column_stack([each.sum(axis=1) for each in values]))


@dataclass(frozen=True)
class _Game:
    """The owner of the label's: what each owner's bottom ``given`` for each row, and which rows are the background."""

    top: Trained
    given: dict[int, Floats]
    background: Orders

    @property
    def base(self) -> float:
        """The mean score of the background."""
        return float(self._run(np.concatenate([each[self.background] for each in self.given.values()], axis=1)).mean())

    def worth(self, player: int, rows: slice, chain: Floats, orders: Orders) -> Floats:
        """The values of an owner's columns for some rows: shape (rows, columns). ``chain``, of shape (rows, background, orders,
        columns + 1, cut), is what its bottom gives when more and more columns in each order are the row's own."""
        others = [each for each in self.given if each != player]
        length, width = len(self.given), orders.shape[1]
        mixed = np.empty((*chain.shape[:4], length, chain.shape[4]))
        mixed[..., list(self.given).index(player), :] = chain
        found = np.zeros((chain.shape[0], len(orders), width))
        for size in range(len(others) + 1):
            weight = factorial(size) * factorial(length - size - 1) / factorial(length)
            for coalition in combinations(others, size):
                for each in others:
                    own = self.given[each]
                    known = own[rows][:, None] if each in coalition else own[self.background][None]
                    mixed[..., list(self.given).index(each), :] = known[:, :, None, None]
                scores = self._run(mixed.reshape(-1, length * chain.shape[4])).reshape(chain.shape[:4])
                found += weight * np.diff(scores.mean(axis=1), axis=2)
        values = np.zeros((chain.shape[0], width))
        for place, order in enumerate(orders):
            values[:, order] += found[:, place]
        return values / len(orders)

    def _run(self, rows: Floats) -> Floats:
        return self.top.run(rows)[:, 0]


def _background(rows: int) -> Orders:
    """Which rows are the background, the same at all owners."""
    return np.unique(np.linspace(0, rows - 1, min(rows, BACKGROUND)).astype(np.int64))


def _orders(width: int) -> Orders:
    """Orders of so many columns: all, or half as many as are wanted, drawn, and their reverses."""
    if factorial(width) <= ORDERS:
        return np.array(list(permutations(range(width))), np.int64)
    drawn = []
    for _ in range(ORDERS // 2):
        order = list(range(width))
        secrets.SystemRandom().shuffle(order)
        drawn += [order, order[::-1]]
    return np.array(drawn, np.int64)


def _pieces(rows: int, orders: int, width: int) -> Iterator[slice]:
    """The rows in pieces, the same at all owners: hybrids of one are run together."""
    step = max(1, _PIECE // (min(rows, BACKGROUND) * orders * (width + 1)))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _chains(bottom: Trained, columns: Floats, orders: Orders) -> Iterator[tuple[slice, Floats]]:
    """What a bottom gives for the hybrids of each piece of the rows: shape (rows, background, orders, columns + 1, cut)."""
    width, background = columns.shape[1], columns[_background(len(columns))]
    ranks = np.argsort(orders, axis=1)  # the place of each column in each order
    own = ranks[:, None, :] < np.arange(width + 1)[None, :, None]  # of the row's, not of the background's
    for rows in _pieces(len(columns), len(orders), width):
        mixed = np.where(own[None, None], columns[rows][:, None, None, None], background[None, :, None, None])
        yield rows, bottom.run(mixed.reshape(-1, width)).reshape(*mixed.shape[:4], -1)


def _tell(session: Session, label: int, bottom: Trained, columns: Floats) -> Floats:
    """As another owner: what its bottom gives for rows and hybrids, under nameless columns, and what comes back."""
    width = columns.shape[1]
    numbers, orders = list(range(width)), _orders(width)
    secrets.SystemRandom().shuffle(numbers)
    nameless = np.array(numbers, np.int64)  # the number of each column
    send_array(session, label, bottom.run(columns))
    send_array(session, label, nameless[orders].astype(np.uint32))
    for _, chain in _chains(bottom, columns, orders):
        if width > 1:  # the ends are what the bottom gives for rows
            send_array(session, label, chain[:, :, :, 1:-1])
    session.patience(label)
    values = receive_array(session, label, (len(columns), width), STEP, np.float64)
    if not np.isfinite(values).all():
        raise ProtocolViolation(label, STEP, "sent a value that is not finite")
    return values[:, nameless]


def _hear(session: Session, peer: int, game: _Game, number: int, width: int, cut: int) -> Floats:
    """As the owner of the label: the values of another owner's nameless columns. Raises ProtocolViolation."""
    given, count = game.given[number], min(ORDERS, factorial(width))
    orders = receive_array(session, peer, (count, width), STEP, np.uint32).astype(np.int64)
    if not (np.sort(orders, axis=1) == np.arange(width)).all():
        raise ProtocolViolation(peer, STEP, f"names orders that are none of its {width} columns")
    found = []
    for rows in _pieces(len(given), count, width):
        chain = np.empty((len(given[rows]), len(game.background), count, width + 1, cut))
        chain[:, :, :, 0], chain[:, :, :, -1] = given[game.background][None, :, None], given[rows][:, None, None]
        if width > 1:
            session.patience(peer)
            chain[:, :, :, 1:-1] = read_numbers(session, peer, (*chain.shape[:3], width - 1, cut), STEP, 1.0)
        found.append(game.worth(number, rows, chain, orders))
    return np.concatenate(found)
