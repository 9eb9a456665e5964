"""The numbers of `linked-statistics`: what an owner brings beside its keys, and what both add up in shares and show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidData

from tallystick_node.engines.moments import Moments
from tallystick_node.engines.mpc.beaver.lattice.products import inner_bytes
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.functions.batch import stack, times
from tallystick_node.engines.mpc.protocol import Shares, concatenate
from tallystick_node.engines.mpc.ring import OutOfRange, Ring, decode_integers
from tallystick_node.engines.psi.circuit import Joined
from tallystick_node.engines.psi.circuit_totals import in_digits
from tallystick_node.workloads.linked.parameters import LIMB, Measure, Pair, Parameters

_LOW = (1 << LIMB) - 1

Numbers = NDArray[np.int64]


def words_of(parameters: Parameters, party: str, table: pa.Table) -> Ring:
    """An owner's words for each row, of shape (rows, words). Raises InvalidData for columns that are not as the task says."""
    limbs = {place: _limbs(_numbers(table, parameters.columns[place]), parameters.limbs(place)) for place in parameters.own(party)}
    columns = [limb for each in limbs.values() for limb in each]
    for i, j in parameters.own_pairs(party):
        columns += _convolved(limbs[i], limbs[j])
    if not parameters.marks(party):
        return np.stack(columns, axis=1).view(np.uint64) if columns else np.empty((table.num_rows, 0), np.uint64)
    assert parameters.group_by is not None
    groups = parameters.group_by.places(table)
    together = np.stack([np.ones(table.num_rows, np.int64), *columns], axis=1)
    return np.concatenate([together * (groups == group)[:, None] for group in range(len(parameters.groups))], axis=1).view(
        np.uint64
    )


@dataclass(frozen=True)
class Totals:
    """Shares of what is added up, group by group: counts (groups,), sums of columns (groups, columns), and sums of products as
    words of 20 bits and more (3, groups, pairs)."""

    counts: Shares
    sums: Shares
    products: Shares

    @classmethod
    def of(cls, protocol: ObliviousAdditive, parameters: Parameters, parties: Sequence[str], joined: Joined) -> Totals:
        """From the joint table."""
        marker = _marker(parameters, parties)
        own, other = parties[marker], parties[1 - marker]
        rows, others = joined.rows[marker], joined.rows[1 - marker]
        span, number = parameters.span(own), len(parameters.groups)
        added = rows.sum(axis=0).reshape(number, span)
        crossed = _crossed(protocol, _reach(parameters, parties, marker), rows.reshape(rows.shape[0], number, span), others)
        if parameters.group_by is None:
            counts = joined.matched.sum().reshape(1)
            added_others = others.sum(axis=0).reshape(1, parameters.span(other))
        else:
            counts, added_others = added[:, 0], crossed[:, 0]
        zero = counts - counts

        def words(name: int | Pair) -> list[Shares]:
            """Of a column's or a product's sums in all groups, each of shape (groups,)."""
            for party, found in ((own, added), (other, added_others)):
                if name in (places := parameters.words(party)):
                    return [found[:, place] for place in places[name]]
            i, j = _ordered(parameters, own, name)
            left, right = parameters.words(own)[i], parameters.words(other)[j]
            out = [zero] * (len(left) + len(right) - 1)
            for (a, x), (b, y) in product(enumerate(left), enumerate(right)):
                out[a + b] = out[a + b] + crossed[:, x, y]
            return out

        sums = [_whole(words(place)) for place in range(len(parameters.columns))]
        products = [stack([*words(pair), zero, zero])[:3] for pair in parameters.pairs]
        return cls(
            counts,
            stack(sums).map(np.transpose) if sums else zero.reshape(number, 1)[:, :0],
            stack(products).map(lambda part: part.transpose(1, 2, 0))
            if products
            else stack([zero] * 3).reshape(3, number, 1)[:, :, :0],
        )

    def packed(self, protocol: ObliviousAdditive, parameters: Parameters) -> Shares:
        """Shares of what is shown: the counts, the sums, and the sums of products in digits, as :func:`moments_of` takes them."""
        wide = self.products.reshape(3, -1)
        if parameters.pairs and any(parameters.limbs(place) > 1 for place in range(len(parameters.columns))):
            wide = in_digits(protocol, wide)
        return concatenate([self.counts, self.sums.reshape(-1), wide.reshape(-1)])


class NoTotals(ValueError):  # noqa: N818 - a verdict
    """Numbers that are the totals of no rows."""


def totals_length(parameters: Parameters) -> int:
    """How many numbers are shown."""
    return len(parameters.groups) * (1 + len(parameters.columns) + 3 * len(parameters.pairs))


def moments_of(parameters: Parameters, opened: Ring, most: int) -> list[Moments]:
    """The moments of each group; what the task does not need is 0. ``most`` keys can match. Raises NoTotals."""
    try:
        numbers = decode_integers(opened)
    except OutOfRange:
        raise NoTotals("the owners' parts add up to no totals") from None
    groups, width = len(parameters.groups), len(parameters.columns)
    counts, sums, digits = np.split(numbers, [groups, groups + groups * width])
    sums, digits = sums.reshape(groups, width), digits.reshape(3, groups, -1)
    found = []
    for group in range(groups):
        totals = {
            pair: sum(int(digits[place, group, at]) << (LIMB * place) for place in range(3))
            for at, pair in enumerate(parameters.pairs)
        }
        upper = [totals.get((i, j), 0) for i in range(width) for j in range(i, width)]
        found.append(Moments(int(counts[group]), tuple(sums[group].tolist()), tuple(upper)))
    squares = [place for place in range(width) if (place, place) in parameters.pairs]
    if any(not parameters.minimum_group <= each.count <= most or any(each.scatter(i, i) < 0 for i in squares) for each in found):
        raise NoTotals("the owners' parts add up to totals of no rows")
    return found


def crossed_bytes(parameters: Parameters, parties: Sequence[str], bins: int) -> tuple[int, int]:
    """What parties 0 and 1 send for products of words of both."""
    left, right = _reach(parameters, parties, _marker(parameters, parties))
    return inner_bytes(len(parameters.groups) * left, bins, right) if left and right else (0, 0)


def _marker(parameters: Parameters, parties: Sequence[str]) -> int:
    """Whose words say which group a row is in: the owner of the groups, or the first."""
    return next((place for place, party in enumerate(parties) if parameters.marks(party)), 0)


def _reach(parameters: Parameters, parties: Sequence[str], marker: int) -> tuple[int, int]:
    """How many words of the marker's, of each group, are multiplied with how many of the other's: marks with all, columns with
    columns."""
    own, other = parties[marker], parties[1 - marker]
    grouped = parameters.marks(own)
    left = int(grouped) + (_column_words(parameters, own) if parameters.crossing() else 0)
    return left, parameters.span(other) if grouped else _column_words(parameters, other)


def _column_words(parameters: Parameters, party: str) -> int:
    return sum(parameters.limbs(place) for place in parameters.own(party))


def _crossed(protocol: ObliviousAdditive, reach: tuple[int, int], rows: Shares, others: Shares) -> Shares:
    """The sums of products of the first words of the marker's rows (bins, groups, words) and of the other's (bins, words):
    (groups, words of the one, words of the other)."""
    (left, right), groups = reach, rows.shape[1]
    if not left or not right:
        return Shares((np.zeros((groups, left, right), np.uint64),))
    tall = rows[:, :, :left].reshape(rows.shape[0], groups * left).map(lambda part: np.ascontiguousarray(part.T))
    return protocol.inner(tall, others[:, :right]).reshape(groups, left, right)


def _ordered(parameters: Parameters, own: str, pair: int | Pair) -> Pair:
    """The marker's column first."""
    assert isinstance(pair, tuple)
    i, j = pair
    return (i, j) if parameters.columns[i].party == own else (j, i)


def _whole(words: Sequence[Shares]) -> Shares:
    """A sum that fits a word, from those of its limbs."""
    total = words[0]
    for place, word in enumerate(words[1:], 1):
        total = total + times(word, 1 << LIMB * place)
    return total


def _numbers(table: pa.Table, measure: Measure) -> Numbers:
    field, cells = table.schema.field(measure.column), table.column(measure.column)
    if field.type != pa.int64() or int((field.metadata or {}).get(b"scale", b"0")) != measure.scale:
        raise InvalidData(
            f"column {measure.column!r} is no number with {measure.scale} digits after the point",
            remedy="say the column's own scale in `columns`",
        )
    numbers: Numbers = cells.to_numpy()
    bound = 1 << measure.bits
    if len(numbers) and not (-bound < numbers.min() and numbers.max() < bound):
        raise InvalidData(
            f"column {measure.column!r} has numbers of 2^{measure.bits} or more at its scale", remedy="say more bits, or scale it"
        )
    return numbers


def _limbs(numbers: Numbers, count: int) -> list[Numbers]:
    """Lowest first; the highest has the sign."""
    if count == 1:
        return [numbers]
    return [numbers & _LOW, numbers >> LIMB]


def _convolved(left: Sequence[Numbers], right: Sequence[Numbers]) -> list[Numbers]:
    """The limbs of the product, each below 2^41 or a whole product."""
    out: list[Numbers] = [np.zeros_like(left[0]) for _ in range(len(left) + len(right) - 1)]
    for (a, x), (b, y) in product(enumerate(left), enumerate(right)):
        out[a + b] += x * y
    return out
