"""Shuffles that no party knows, by three resharings under permutations of two parties each, checked by secret row tags.

A step permutes by pi, which the parties i and i + 1 derive from the seed they share: x becomes (x_i + x_{i+1}) + x_{i+2}, of
which they hold one term each. Both permute and mask their terms and send them to party i + 2, who thereby holds two parts; the
third is drawn by the two. After three steps every party misses one of the three permutations, and the whole is uniform to it. A
party that deviates in a step changes the result by an additive error of its choice, for it knows all that it permutes and sends
(Laur, Willemson and Zhang, ISC 2011, for honest parties). So it suffices to check that nothing was added.

Before a step each row gets two tags t = sum of k_j x_j modulo 2^128, for fresh secret keys k. Rows, taken as integers, and tags
are permuted together modulo 2^128. Then the parties toss weights, which also says that all has arrived, and open the keys; for
each tag the weighted sum of t - sum of k_j x_j must be zero modulo 2^96. Keys were unknown when errors were made: an error that
is not zero modulo 2^64 passes one of the two checks with probability at most 34 / 2^33 (:func:`~.matrices.error` for 32 bits in
excess; key and weight take the places of factor and weight there), and both with at most 2^-55. Every step is checked by itself:
whoever added errors knows where they are in the order after the step, but not after the next, so that a check at the end would
say something of that one.

Tags must be right modulo 2^96 before rows move, or a wrong one would tell which row went where. Each is proved twice by sacrifice
like products (:mod:`products`), at the keys' side: h = sum of m_j x_j for drawn m, tossed u, opened u k - m, and the weighted sum
of u t - h - sum of (u k_j - m_j) x_j is zero modulo 2^128. An error of a tag passes one proof with probability at most 34 / 2^33,
and both with at most 2^-55."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.malicious.agreement import Agreement, derived
from tallystick_node.engines.mpc.malicious.buckets import permutation
from tallystick_node.engines.mpc.malicious.wide import add_matrix, carry, high
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

Pair = tuple[Ring, Ring]
Part = Ring  # (2, ...): low and high limbs modulo 2^128

TAGS = 2
PROOFS = 2

_CHECKED = 1 << 96


class Shuffles:
    """One party's shuffles."""

    def __init__(self, seat: Seat, agreement: Agreement) -> None:
        self._seat = seat
        self._agreement = agreement

    def shuffle(self, rows: list[Pair]) -> list[Pair]:
        """Arrays of one first dimension, of n rows and J columns together. Each of three steps takes 96 bytes a row from
        each party and 16 (J + 2) from two of them, and nine rounds. Raises ProtocolViolation."""
        count = rows[0][0].shape[0]
        if count < 2 or not any(pair[0].size for pair in rows):
            return rows
        columns = tuple(np.concatenate([pair[part].reshape(count, -1).T for pair in rows]) for part in (0, 1))
        for step in range(3):
            keys, tags = self._tags((columns[0], columns[1]))
            tables = [self._stacked(part, tag) for part, tag in zip(columns, tags, strict=True)]
            tables = self._permuted(tables, step)
            self._check(tables, keys)
            columns = tuple(np.ascontiguousarray(table[0, :-TAGS]) for table in tables)
        return self._apart(columns, rows)

    def _tags(self, columns: Pair) -> tuple[list[Part], list[Part]]:
        """Keys (tags, columns) and proved tags (tags, rows), both parts of each."""
        seat, agreement = self._seat, self._agreement
        width, count = columns[0].shape
        keys = [stream.elements((2, TAGS + TAGS * PROOFS, width)) for stream in (seat.prss.own, seat.prss.after)]
        masks = [stream.elements((2, TAGS + TAGS * PROOFS, count)) for stream in (seat.prss.own, seat.prss.after)]
        made = _minus(masks[0], masks[1])
        for left, right in ((keys[0], columns[0]), (keys[0], columns[1]), (keys[1], columns[0])):
            add_matrix(made[0], made[1], left[0], left[1], right)
        sums = made, seat.reshare(made)
        coin = agreement.coin()
        tosses = Stream(derived(coin, b"tags"))
        factors = tosses.elements((TAGS * PROOFS,))
        public = self._open([_gaps(factors, key) for key in keys])
        key = agreement.confirm()
        for proof, factor in enumerate(factors):
            weights = tosses.elements((count,))
            defects = []
            for part in (0, 1):
                tag, drawn = (_weighted(weights, *sums[part][:, row]) for row in (proof // PROOFS, TAGS + proof))
                crossed = _crossed(weights, public[:, proof], columns[part])
                defects.append(int(factor) * tag - drawn - crossed)
            self._settle(defects, 1 << 128)
        agreement.confirm(key)
        return [key_part[:, :TAGS] for key_part in keys], [part[:, :TAGS] for part in sums]

    def _stacked(self, columns: Ring, tags: Part) -> Part:
        """Columns as integers modulo 2^128, and the tags below."""
        table = np.zeros((2, columns.shape[0] + TAGS, columns.shape[1]), np.uint64)
        table[0, :-TAGS] = columns
        table[:, -TAGS:] = tags
        return table

    def _permuted(self, tables: list[Part], step: int) -> list[Part]:
        """One step: the parties ``step`` and the next permute for the third."""
        seat, shape = self._seat, tables[0].shape
        outsider = (step + 2) % 3
        if seat.index == outsider:
            second = seat.receive(step, shape)
            return [seat.receive((step + 1) % 3, shape), second]
        stream = seat.prss.after if seat.index == step else seat.prss.own
        order = permutation(stream.elements((16,), np.uint8).tobytes(), shape[2])
        drawn, mask = stream.elements(shape), stream.elements(shape)
        if seat.index == step:
            sent = _minus(_plus(tables[0], tables[1])[:, :, order], mask)
            seat.send(outsider, sent)
            return [sent, drawn]
        sent = _minus(_plus(tables[1][:, :, order], mask), drawn)
        seat.send(outsider, sent)
        return [drawn, sent]

    def _check(self, tables: list[Part], keys: list[Part]) -> None:
        """That nothing was added on the way."""
        weights = Stream(derived(self._agreement.coin(), b"rows"))
        opened = self._open(keys)
        key = self._agreement.confirm()
        for tag in range(TAGS):
            weight = weights.elements((tables[0].shape[2],))
            row = tables[0].shape[1] - TAGS + tag
            self._settle(
                [
                    _weighted(weight, *table[:, row])
                    - sum(
                        _integer(opened[:, tag, column]) * _weighted(weight, *table[:, column])
                        for column in range(table.shape[1] - TAGS)
                    )
                    for table in tables
                ],
                _CHECKED,
            )
        self._agreement.confirm(key)

    def _open(self, parts: list[Part]) -> Part:
        first, second = (np.ascontiguousarray(part) for part in parts)
        return _plus(_plus(first, second), self._agreement.open(first, second))

    def _settle(self, sums: list[int], modulus: int) -> None:
        """Put down that a secret is zero modulo ``modulus``."""
        values = (sums[1] % modulus, -(sums[0] + sums[1]) % modulus)
        self._agreement.compare(*(np.array([value & 2**64 - 1, value >> 64], np.uint64) for value in values))

    def _apart(self, columns: tuple[Ring, ...], like: list[Pair]) -> list[Pair]:
        """Columns as arrays of the shapes they came in."""
        result, start = [], 0
        for pair in like:
            shape = pair[0].shape
            stop = start + pair[0].size // shape[0]
            first, second = (np.ascontiguousarray(part[start:stop].T).reshape(shape) for part in columns)
            result.append((first, second))
            start = stop
        return result


def _integer(limbs: Ring) -> int:
    return int(limbs[0]) + (int(limbs[1]) << 64)


def _plus(a: Part, b: Part) -> Part:
    out = np.empty(a.shape, np.uint64)
    np.add(a[0], b[0], out=out[0])
    np.add(a[1], b[1], out=out[1])
    out[1] += out[0] < a[0]
    return out


def _minus(a: Part, b: Part) -> Part:
    out = np.empty(a.shape, np.uint64)
    np.subtract(a[0], b[0], out=out[0])
    np.subtract(a[1], b[1], out=out[1])
    out[1] -= a[0] < b[0]
    return out


def _gaps(factors: Ring, keys: Part) -> Part:
    """u k - m for each proof."""
    proved = keys[:, np.arange(TAGS * PROOFS) // PROOFS]
    scaled = np.empty(proved.shape, np.uint64)
    for place in np.ndindex(proved.shape[1:]):
        value = int(factors[place[0]]) * _integer(proved[(slice(None), *place)])
        scaled[(slice(None), *place)] = value & 2**64 - 1, value >> 64 & 2**64 - 1
    return _minus(scaled, keys[:, TAGS:])


def _crossed(weights: Ring, public: Ring, columns: Ring) -> int:
    """The weighted sum of the rows' sums of public times column."""
    nothing = np.zeros_like(weights)
    return sum(_integer(public[:, column]) * _weighted(weights, columns[column], nothing) for column in range(len(columns)))


def _weighted(weights: Ring, low: Ring, top: Ring) -> int:
    """The sum of weight times element modulo 2^128."""
    first, second = _dot(weights, low, top)
    return int(first) + (int(second) << 64)


@compiled
def _dot(weights: Ring, low: Ring, top: Ring) -> tuple[np.uint64, np.uint64]:
    total = np.uint64(0)
    total_top = np.uint64(0)
    for i in range(weights.size):
        term = weights[i] * low[i]
        total += term
        total_top += high(weights[i], low[i]) + weights[i] * top[i] + carry(total, term)
    return total, total_top
