"""Encrypted derivatives: two of a row in one plaintext, sums of them over the bins of columns, and several sums in one plaintext.

A row's plaintext is G 2^s + H for its first derivative G and its second H > 0 (as in Chen et al., "SecureBoost+", arXiv 2110.10927,
where it is called packing), with room for the sums of all rows. What is sent back holds several such sums at distances of w bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.fl.vertical.binning import Binned, Integers
from tallystick_node.engines.fl.vertical.boosting import FRACTION, Sums
from tallystick_node.engines.he.errors import PlaintextOverflow
from tallystick_node.engines.he.paillier.ciphertexts import Ciphertexts
from tallystick_node.engines.he.paillier.integers import ARITHMETIC
from tallystick_node.engines.he.paillier.keys import PublicKey

Cells = list[int | None]  # a ciphertext's value for each cell; None for the sum of no rows


@dataclass(frozen=True)
class Layout:
    """Where derivatives of up to ``rows`` rows lie in plaintexts under a key of ``key_bits``."""

    rows: int
    key_bits: int

    @property
    def shift(self) -> int:
        """Bits of the lower number: a second derivative is at most a quarter."""
        return FRACTION - 2 + self.rows.bit_length()

    @property
    def width(self) -> int:
        """Bits of both, a sign among them."""
        return self.shift + FRACTION + self.rows.bit_length() + 1

    @property
    def slots(self) -> int:
        """Sums in one plaintext."""
        return (self.key_bits - 3) // self.width

    def blocks(self, sums: int) -> int:
        """Plaintexts that ``sums`` sums take."""
        return -(-sums // self.slots)

    def join(self, first: Integers, second: Integers) -> list[int]:
        """The plaintexts of rows."""
        return [(g << self.shift) + h for g, h in zip(first.tolist(), second.tolist(), strict=True)]

    def pack(self, key: PublicKey, sums: Sequence[int]) -> Ciphertexts:
        """Encrypted sums, several in each: of the ciphertexts' values, not fresh."""
        square, power, step = key.square, ARITHMETIC.power, 1 << self.width
        packed = []
        for start in range(0, len(sums), self.slots):
            block = sums[start : start + self.slots]
            value = block[-1]
            for other in block[-2::-1]:
                value = power(value, step, square) * other % square
            packed.append(value)
        return Ciphertexts(key, tuple(packed))

    def unpack(self, plaintexts: Sequence[int], sums: int) -> Sums:
        """The sums in decrypted blocks. Raises :class:`PlaintextOverflow` for a block that holds no so many sums."""
        modulus, half = 1 << self.width, 1 << self.width - 1
        found: list[int] = []
        for number, plaintext in enumerate(plaintexts):
            for _ in range(min(self.slots, sums - number * self.slots)):
                low = (plaintext + half) % modulus - half
                found.append(low)
                plaintext = (plaintext - low) >> self.width
            if plaintext:
                raise PlaintextOverflow("a plaintext holds more than its sums")
        lower = (1 << self.shift) - 1
        return Sums(
            np.array([each >> self.shift for each in found], np.int64), np.array([each & lower for each in found], np.int64)
        )


class Histograms:
    """Products of rows' ciphertexts in the cells of an owner's columns."""

    def __init__(self, columns: Binned, ciphertexts: Ciphertexts) -> None:
        self._columns, self._values = columns, ciphertexts.values
        self._square = ciphertexts.key.square

    def of(self, rows: Integers) -> Cells:
        """The sums over ``rows``.

        Columns with few bins are taken together: a row is multiplied once into its combination of their bins, and each combination
        into its cells, which are fewer multiplications as long as combinations are few beside rows.
        """
        found: Cells = []
        order: list[int] = []
        widths, values = self._columns.widths.tolist(), [self._values[row] for row in rows.tolist()]
        by_feature: dict[int, Cells] = {}
        for group in self._groups(widths, len(rows)):
            joint = np.zeros(len(rows), np.int64)
            for feature in group:
                joint = joint * widths[feature] + self._columns.bins[feature][rows]
            combined = self._products(values, joint)
            present, rest = np.array(list(combined), np.int64), list(combined.values())
            for feature in reversed(group):
                own = present % widths[feature]
                cells = combined if len(group) == 1 else self._products(rest, own)
                by_feature[feature] = [cells.get(cell) for cell in range(widths[feature])]
                present //= widths[feature]
            order += group
        for feature in sorted(order):
            found += by_feature[feature]
        return found

    def without(self, whole: Cells, part: Cells, rest: Integers) -> Cells:
        """The sums over the rows of ``whole`` that are not in ``part``; ``rest`` counts them in each cell."""
        square = self._square
        counts = rest.tolist()
        places = [place for place, each in enumerate(part) if each is not None and counts[place]]
        inverses = dict(zip(places, self._inverses([each for place in places if (each := part[place]) is not None]), strict=True))
        found: Cells = []
        for place, each in enumerate(whole):
            if each is None or not counts[place]:
                found.append(None)
            else:
                found.append(each * inverses[place] % square if place in inverses else each)
        return found

    def cumulative(self, cells: Cells, cuts: Integers) -> list[int]:
        """The sums on the left of each cut."""
        square = self._square
        wanted = set(cuts.tolist())
        found: list[int] = []
        for start, width in zip(self._columns.starts.tolist(), self._columns.widths.tolist(), strict=True):
            running: int | None = None
            for place in range(start, start + width):
                each = cells[place]
                if each is not None:
                    running = each if running is None else running * each % square
                if place in wanted and running is not None:
                    found.append(running)
        return found

    def _groups(self, widths: Sequence[int], rows: int) -> Iterator[list[int]]:
        group: list[int] = []
        combinations = 1
        for feature in sorted(range(len(widths)), key=widths.__getitem__):
            if group and combinations * widths[feature] > rows // 4:
                yield group
                group, combinations = [], 1
            group.append(feature)
            combinations *= widths[feature]
        if group:
            yield group

    def _products(self, values: Sequence[int], cells: Integers) -> dict[int, int]:
        """The product of the values of each cell that has one."""
        square = self._square
        order = np.argsort(cells, kind="stable")
        present, starts = np.unique(cells[order], return_index=True)
        ends = np.append(starts[1:], len(cells)).tolist()
        places = order.tolist()
        found = {}
        for cell, start, end in zip(present.tolist(), starts.tolist(), ends, strict=True):
            product = values[places[start]]
            for place in places[start + 1 : end]:
                product = product * values[place] % square
            found[cell] = product
        return found

    def _inverses(self, values: Sequence[int]) -> list[int]:
        """All inverses with one inversion (Montgomery 1987, section 10.3.1)."""
        if not values:
            return []
        square = self._square
        running = [values[0]]
        for value in values[1:]:
            running.append(running[-1] * value % square)
        inverse = ARITHMETIC.inverse(running[-1], square)
        found = []
        for place in range(len(values) - 1, 0, -1):
            found.append(inverse * running[place - 1] % square)
            inverse = inverse * values[place] % square
        return [inverse, *found[::-1]]
