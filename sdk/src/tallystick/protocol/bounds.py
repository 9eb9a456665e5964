"""What a `statistics` task with range proofs lets an owner contribute: the forms that follow from its parameters.

The committed vector holds for each group the count of rows, and where they are asked for each column's sum and the sums of
products of columns (:func:`needed`), then the counts of each histogram's bins. The object ``bounds`` in the parameters says that
an owner has fewer than 2^row_bits rows in a group, and of each column x the least and the greatest value, l and h. Of n rows with
such values hold, and no vector is accepted that breaks one of them:

- 0 <= n < 2^row_bits; l n <= sum x <= h n;
- for two columns, sum (x - l)(y - l') >= 0, sum (h - x)(h' - y) >= 0, sum (x - l)(h' - y) >= 0 and sum (h - x)(y - l') >= 0,
  which are linear in the committed values (McCormick, Mathematical Programming 10, 1976); for squares the same with y = x;
- 0 <= each bin < 2^row_bits, and a histogram's bins are n rows at most.

Of the sum holds that each group and each bin counts at least ``minimum_group`` rows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tallystick.commitments.ranges import MAX_VALUES, Form, Shape
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import MAX_PARTIES

BOUNDS = "bounds"
MAX_ROW_BITS = 40
SQUARES = {"variance", "std"}
PRODUCTS = {"covariance", "correlation"}
_DIGIT_BITS = 2
_SUM_DIGITS = (MAX_PARTIES - 1).bit_length() // _DIGIT_BITS
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,9})?")


def needed(columns: Sequence[str], compute: Collection[str], regressed: Collection[str]) -> tuple[int, ...]:
    """Positions, among count, sums and the upper triangle of products, that statistics over ``columns`` need."""
    number = len(columns)
    wanted = {0}
    if set(compute) - {"count"} or regressed:
        wanted |= set(range(1, 1 + number))
    pairs = itertools.combinations_with_replacement(range(number), 2)
    for position, (i, j) in enumerate(pairs, 1 + number):
        both = {columns[i], columns[j]} <= set(regressed)
        square = i == j and bool(SQUARES & set(compute))
        if both or square or PRODUCTS & set(compute):
            wanted.add(position)
    return tuple(sorted(wanted))


@dataclass(frozen=True)
class Bounds:
    """Rows of an owner in a group take fewer than ``row_bits`` bits; ``low`` and ``high`` bound each column, in fixed point."""

    row_bits: int
    low: tuple[int, ...]
    high: tuple[int, ...]

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Bounds:
        """Read the object strictly. Raises :class:`MalformedDocument`."""
        columns = _columns(parameters)
        fields = Fields(parameters.get(BOUNDS), ("row_bits", "values"), f"parameters.{BOUNDS}")
        bits = fields.integer("row_bits", _DIGIT_BITS, MAX_ROW_BITS)
        if bits % _DIGIT_BITS:
            raise MalformedDocument(f"parameters.{BOUNDS}.row_bits: must be even")
        values = fields.items("values", len(columns), len(columns), _value)
        if [name for name, _, _ in values] != list(columns):
            raise MalformedDocument(f"parameters.{BOUNDS}.values: must name every column, in the order of parameters.columns")
        low = tuple(_fixed(text, columns[name]) for name, text, _ in values)
        high = tuple(_fixed(text, columns[name]) for name, _, text in values)
        if any(least > greatest for least, greatest in zip(low, high, strict=True)):
            raise MalformedDocument(f"parameters.{BOUNDS}.values: a low value lies above its high value")
        return cls(bits, low, high)


def shape_of(parameters: Mapping[str, Any]) -> Shape:
    """The forms that every input and the sum of a `statistics` task must satisfy. Raises :class:`MalformedDocument`."""
    bounds = Bounds.of(parameters)
    layout = _Layout.of(parameters)
    if layout.groups * layout.width > MAX_VALUES:  # before a form of each of them is written out
        raise _too_large(f"range proofs are about at most {MAX_VALUES} values, and these are {layout.groups * layout.width}")
    inputs: list[Form] = []
    counted: list[int] = []
    for start in range(0, layout.groups * layout.width, layout.width):
        inputs += _moments(bounds, layout.places, start)
        bins = start + len(layout.places)
        counted.append(start)
        for number in layout.bins:
            here = range(bins, bins + number)
            inputs += [_form(bounds, 1, {place: 1}) for place in here]
            inputs.append(_form(bounds, 1, {start: 1} | dict.fromkeys(here, -1)))
            counted += here
            bins += number
    digits = bounds.row_bits // _DIGIT_BITS + _SUM_DIGITS
    try:
        return Shape(
            layout.groups * layout.width, tuple(inputs), tuple(Form(digits, -layout.least, ((place, 1),)) for place in counted)
        )
    except ValueError as error:
        raise _too_large(str(error)) from None


def _too_large(why: str) -> MalformedDocument:
    remedy = "ask for fewer columns, groups or bins, for narrower bounds, or for sum-verified"
    return MalformedDocument(f"parameters.{BOUNDS}: {why}", remedy=remedy)


@dataclass(frozen=True)
class _Layout:
    """Of each group: the places of its moments, the number of bins of each histogram, and the least number of rows in all."""

    groups: int
    least: int
    places: tuple[int, ...]
    bins: tuple[int, ...]

    @property
    def width(self) -> int:
        return len(self.places) + sum(self.bins)

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> _Layout:
        columns = tuple(_columns(parameters))
        given = Fields(
            dict(parameters), ("compute", "regression", "histograms", "group_by", "minimum_group"), "parameters", tuple(parameters)
        )
        regressed: tuple[str, ...] = ()
        if parameters["regression"] is not None:
            fields = Fields(parameters["regression"], ("target", "regressors"), "parameters.regression")
            regressed = (fields.string("target", 128), *fields.names("regressors", 1, 64))
        groups = 1
        if parameters["group_by"] is not None:
            groups = len(Fields(parameters["group_by"], ("column", "values"), "parameters.group_by").names("values", 1, 256))
        bins = given.items("histograms", 0, 64, _bins)
        least = given.integer("minimum_group", 1, 1 << 20)
        return cls(groups, least, needed(columns, given.names("compute", 0, 16), regressed), bins)


def _moments(bounds: Bounds, places: Sequence[int], start: int) -> list[Form]:
    """The forms of one group's moments, whose first value is number ``start`` of the vector."""
    at = {position: start + index for index, position in enumerate(places)}
    number = len(bounds.low)
    forms = [_form(bounds, 1, {at[0]: 1})]
    for column in range(number):
        if 1 + column in at:
            low, high = bounds.low[column], bounds.high[column]
            forms.append(_form(bounds, high - low, {at[1 + column]: 1, at[0]: -low}))
            forms.append(_form(bounds, high - low, {at[0]: high, at[1 + column]: -1}))
    for position, (i, j) in enumerate(itertools.combinations_with_replacement(range(number), 2), 1 + number):
        if position not in at:
            continue
        ends = itertools.product((bounds.low[i], bounds.high[i]), (bounds.low[j], bounds.high[j]))
        for a, b in dict.fromkeys((min(a, b), max(a, b)) if i == j else (a, b) for a, b in ends):
            sign = 1 if (a == bounds.low[i]) == (b == bounds.low[j]) else -1
            largest = (bounds.high[i] - bounds.low[i]) * (bounds.high[j] - bounds.low[j])
            terms = {at[position]: sign, at[0]: sign * a * b}
            for place, coefficient in ((at[1 + i], -sign * b), (at[1 + j], -sign * a)):
                terms[place] = terms.get(place, 0) + coefficient
            forms.append(_form(bounds, largest, terms))
    return forms


def _form(bounds: Bounds, largest: int, terms: Mapping[int, int]) -> Form:
    """Between 0 and the least power of 4 above what the form comes to for rows that each add at most ``largest``."""
    most = largest * ((1 << bounds.row_bits) - 1)
    digits = max(1, -(-most.bit_length() // _DIGIT_BITS))
    return Form(digits, 0, tuple((place, coefficient) for place, coefficient in sorted(terms.items()) if coefficient))


def _columns(parameters: Mapping[str, Any]) -> dict[str, int]:
    fields = Fields({"columns": parameters.get("columns")}, ("columns",), "parameters")
    listed = fields.items("columns", 0, 128, _column)
    if len(dict(listed)) != len(listed):
        raise MalformedDocument("parameters.columns: names the same column twice")
    return dict(listed)


def _column(value: Any, where: str) -> tuple[str, int]:
    fields = Fields(value, ("name", "scale"), where)
    return fields.string("name", 128), fields.integer("scale", 0, 9)


def _bins(value: Any, where: str) -> int:
    return len(Fields(value, ("column", "edges"), where).names("edges", 2, 1024)) - 1


def _value(value: Any, where: str) -> tuple[str, str, str]:
    fields = Fields(value, ("column", "low", "high"), where)
    return fields.string("column", 128), fields.string("low", 32), fields.string("high", 32)


def _fixed(text: str, scale: int) -> int:
    number = Decimal(text).scaleb(scale) if _DECIMAL.fullmatch(text) else Decimal("0.5")
    if number != number.to_integral_value() or abs(number) >= 1 << 62:
        raise MalformedDocument(
            f"parameters.{BOUNDS}.values: {text!r} is no decimal number of at most {scale} digits after the point"
        )
    return int(number)
