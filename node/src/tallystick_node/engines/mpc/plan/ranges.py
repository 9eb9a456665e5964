"""Which steps of a plan could pass the range, given how large its inputs are: told before the run, since no step tells it.

Every value gets a bound of its magnitude, in units in the last place, from the bounds of what it is made of; every step the largest
number that it comes across, which must stay below 2^62. A bound holds for all inputs within theirs and includes what a protocol may
round, as each function states it (:mod:`~tallystick_node.engines.mpc.functions`). It is often far above what comes: a difference
counts like a sum, and a quotient like one by the least divisor. So nothing found means that nothing wraps; what is found may be
harmless, and is best answered by tighter bounds of the inputs, by clip(), or by smaller units.

What owners bring is checked by themselves only: a bound is a promise of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tallystick_node.engines.mpc.functions.exponential import HIGHEST
from tallystick_node.engines.mpc.functions.moments import ROWS
from tallystick_node.engines.mpc.plan.arithmetic import product_kind
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.engines.mpc.plan.kinds import BIT, Type, parse_kind
from tallystick_node.engines.mpc.plan.operation import Attributes
from tallystick_node.engines.mpc.plan.step import Step
from tallystick_node.engines.mpc.ring import MAGNITUDE

_SCALED = 44  # bits of what is multiplied by a public factor that is not whole
_SUMMED = 52  # of a sum that a mean, a variance or a covariance divides
_DIVISOR = 22  # of a divisor, before the point
_QUOTIENT = (1 << 40) + (1 << 22) + 4  # where quotients saturate, and what they are off by
_TRUNCATED = 2  # what truncation adds to a magnitude at most: one by rounding down, one by its error

Bounds = Sequence[int]
Found = tuple[list[int], int]  # of each result, and the largest number on the way, as if the range were 2^62
Rule = Callable[[Bounds, Sequence[Type], Attributes], Found]


@dataclass(frozen=True)
class Overflow:
    """Step ``step``, counted from 0, may come across numbers of up to ``bits`` bits where 62 fit."""

    step: int
    operation: str
    bits: int

    def __str__(self) -> str:
        return f"step {self.step} ({self.operation}) may pass the range: {self.bits} bits where 62 fit"


def overflows(plan: Plan, bounds: Mapping[str, float]) -> list[Overflow]:
    """The steps that could pass the range when every element of each input is at most as large as ``bounds`` says of its name, in
    order; of bits nothing need be said. Behind a step that could, values count as if they just fitted. Raises ValueError for an
    input without a bound, or for a bound that is no number from 0 to what the input's kind holds."""
    return magnitudes(plan, bounds)[1]


def magnitudes(plan: Plan, bounds: Mapping[str, float]) -> tuple[list[int], list[Overflow]]:
    """The bound of each value, in units in the last place, and :func:`overflows`."""
    known = [1 if each.kind == BIT else _given(each.name, each.kind.fraction, bounds) for each in plan.inputs]
    found = []
    for number, (step, first) in enumerate(zip(plan.steps, plan.first_values, strict=True)):
        types = [plan.types[each] for each in step.operands]
        rule = RULES.get(step.operation)
        results, most = _constant(step) if rule is None else rule([known[each] for each in step.operands], types, step.attributes)
        for kept, each in zip(plan.types[first : first + len(results)], results, strict=True):
            known.append(1 if kept.kind == BIT else min(each, MAGNITUDE - 1))
            most = max(most, known[-1] if kept.kind == BIT else each)
        if most >= MAGNITUDE:
            found.append(Overflow(number, step.operation, most.bit_length()))
    return known, found


def _given(name: str, fraction: int, bounds: Mapping[str, float]) -> int:
    if name not in bounds:
        raise ValueError(f"input {name} has no bound: say how large its elements are at most")
    bound = float(bounds[name])
    if not 0 <= bound < MAGNITUDE >> fraction:
        raise ValueError(f"the bound of input {name} is a number from 0 to below 2^{62 - fraction}")
    return math.ceil(Fraction(bound) * (1 << fraction))


def _constant(step: Step) -> Found:
    elements = np.asarray(step.constant)
    if elements.dtype == np.uint8 or not elements.size:
        return [1], 0
    whole = elements.view(np.int64)
    most = max(abs(int(whole.min())), abs(int(whole.max())))
    return [most], most


def _length(kept: Type, axis: int | None) -> int:
    return kept.size if axis is None else kept.shape[axis]


def _all(bounds: Bounds, _types: Sequence[Type], _attributes: Attributes) -> Found:
    """As large as the operands, whose differences may be met."""
    return [max(bounds)], 0


def _compared(bounds: Bounds, types: Sequence[Type], _attributes: Attributes) -> Found:
    return [max(bounds)], 0 if types[-1].kind == BIT else sum(bounds[-2:])


def _added(bounds: Bounds, _types: Sequence[Type], _attributes: Attributes) -> Found:
    return [sum(bounds)], 0


def _product(bounds: Bounds, types: Sequence[Type], _attributes: Attributes, terms: int = 1) -> Found:
    exact = bounds[0] * bounds[1] * terms
    bits = product_kind("multiply", *types)[1]
    return [(exact >> bits) + _TRUNCATED if bits else exact], exact


def _matrix(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    return _product(bounds, types, attributes, types[0].shape[1])


def _scale(bounds: Bounds, _types: Sequence[Type], attributes: Attributes) -> Found:
    scaled = math.ceil(bounds[0] * abs(Fraction(attributes["factor"])))
    return [scaled + (scaled >> 53) + 3], bounds[0] << (62 - _SCALED)


def _cast(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    more = parse_kind(attributes["kind"]).fraction - types[0].kind.fraction
    return [bounds[0] << more if more >= 0 else (bounds[0] >> -more) + _TRUNCATED], 0


def _clip(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    edges = [attributes["low"], attributes["high"]]
    limits = [math.ceil(abs(Fraction(each)) * (1 << types[0].kind.fraction)) for each in edges if each is not None]
    kept = max(limits) if len(limits) == 2 else max(bounds[0], *limits, 0)
    return [kept], bounds[0] + max(limits, default=0)


def _among(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    most = max(abs(Fraction(each)) for each in attributes["values"])
    return [1], bounds[0] + math.ceil(most * (1 << types[0].kind.fraction))


def _one_hot(bounds: Bounds, _types: Sequence[Type], attributes: Attributes) -> Found:
    return [1], bounds[0] + attributes["size"]


def _sum(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    return [bounds[0] * _length(types[0], attributes["axis"])], 0


def _extreme(bounds: Bounds, _types: Sequence[Type], _attributes: Attributes) -> Found:
    return [bounds[0]], 2 * bounds[0]


def _quantile(bounds: Bounds, _types: Sequence[Type], _attributes: Attributes) -> Found:
    """Between two numbers; keys out of the ordering's domain are found in the run."""
    return [bounds[0] + 2], 0


def _place(bounds: Bounds, types: Sequence[Type], _attributes: Attributes) -> Found:
    return [types[0].size], 2 * bounds[0]


def _mean(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    return [bounds[0] + 2], bounds[0] * _length(types[0], attributes["axis"]) << (62 - _SUMMED)


def _moment(bounds: Bounds, types: Sequence[Type], attributes: Attributes, at_once: int = 1) -> Found:
    """Squared distances from a mean: ``at_once`` of them are added up before they are truncated."""
    fraction, count = types[0].kind.fraction, _length(types[0], attributes.get("axis", 0))
    exact = (2 * bounds[0] + 2) ** 2
    summed = (exact >> fraction) + 1
    result = summed * count // max(1, count - attributes.get("ddof", 0)) + 8
    means = bounds[0] * count
    return [result], max(2 * exact * min(at_once, count), max(summed * count, means) << (62 - _SUMMED))


def _covariance(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    return _moment(bounds, types, attributes, ROWS)


def _correlation(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    deviations = 4 * bounds[0] << 24  # times inverse ones of 24 bits after the point
    return [(1 << types[0].kind.fraction) + 1], max(deviations, _covariance(bounds, types, attributes)[1])


def _unit(bounds: Bounds, types: Sequence[Type], _attributes: Attributes) -> Found:
    """At most one, of any number that leaves room for a few more."""
    one = 1 << types[0].kind.fraction
    return [one + one // 64 + 64], 4 * bounds[0] + 16 * one


def _softmax(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    """Each share of one is off by units in the last place as many as there are shares."""
    (most,), met = _unit(bounds, types, attributes)
    return [most + _length(types[0], attributes["axis"])], met


def _quotient(bounds: Bounds, types: Sequence[Type], _attributes: Attributes) -> Found:
    widest = bounds[-1] << (62 - _DIVISOR - types[0].kind.fraction)
    return [_QUOTIENT], max(widest, 2 * bounds[0] if len(bounds) == 2 else 0)


def _root(bounds: Bounds, types: Sequence[Type], _attributes: Attributes) -> Found:
    root = math.isqrt(bounds[0] << types[0].kind.fraction) + 1
    return [root + (root >> 20) + 4], 2 * bounds[0]


def _inverse_root(bounds: Bounds, types: Sequence[Type], _attributes: Attributes) -> Found:
    return [2 << (3 * types[0].kind.fraction // 2)], 2 * bounds[0]


def _exponential(bounds: Bounds, types: Sequence[Type], _attributes: Attributes) -> Found:
    one = 1 << types[0].kind.fraction
    return [_raised(min(HIGHEST, bounds[0] / one), one)], 2 * bounds[0]


def _raised(exponent: float, one: int) -> int:
    return math.ceil(math.exp(exponent) * (one * 1.000001 + 1)) + 3


def _logarithm(bounds: Bounds, types: Sequence[Type], _attributes: Attributes) -> Found:
    return [64 << types[0].kind.fraction], 2 * bounds[0] + (1 << types[0].kind.fraction)


def _polynomial(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    one = 1 << types[0].kind.fraction
    x, coefficients = Fraction(bounds[0], one), [abs(Fraction(each)) for each in attributes["coefficients"]]
    total = sum((each * x**power for power, each in enumerate(coefficients)), Fraction(0))
    highest = max(Fraction(1), x) ** max(1, len(coefficients) - 1)
    off = sum(
        (each * _powers(x, power) + x**power for power, each in enumerate(coefficients)), Fraction(0)
    )  # these are rounded too
    return [math.ceil(total * one + off) + 64], math.ceil(2 * max(total, highest) * one * one)


def _powers(x: Fraction, power: int) -> Fraction:
    """What a power is off by, in units in the last place: see :mod:`~tallystick_node.engines.mpc.functions.polynomial`."""
    return (2 + 2 * x) ** max(0, power - 1)


def _power(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    one, exponent = 1 << types[0].kind.fraction, Fraction(attributes["exponent"])
    x = max(Fraction(1), Fraction(bounds[0], one))
    if exponent < 0 or exponent.denominator > 2:  # a saturating quotient or exponential, of what may be large
        return [max(_QUOTIENT, _raised(HIGHEST, one))], 2 * bounds[0]
    whole = math.ceil(exponent)
    highest = x**whole
    off = highest * one / (1 << 20) if exponent.denominator == 2 else 0  # of the root
    return [math.ceil(highest * one + off + _powers(x, whole + 1)) + 2], math.ceil(2 * highest * one * one)


def _each(bounds: Bounds, _types: Sequence[Type], _attributes: Attributes) -> Found:
    """Keys and what moves with them; keys out of an ordering's domain are found in the run."""
    return list(bounds), 0


def _group_sums(bounds: Bounds, types: Sequence[Type], _attributes: Attributes) -> Found:
    count = types[0].size
    return [count, bounds[0], count, *(count * each for each in bounds[1:])], 0


def _group_extremes(bounds: Bounds, types: Sequence[Type], _attributes: Attributes) -> Found:
    return [types[0].size, bounds[0], bounds[1], bounds[1]], 0


def _group_public(bounds: Bounds, types: Sequence[Type], attributes: Attributes) -> Found:
    count = types[0].size
    return [count, *(count * each for each in bounds[1:])], bounds[0] + attributes["size"]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("negative", "absolute", "relu", "reshape", "broadcast", "transpose", "index", "take", "concatenate"), _all),
    **dict.fromkeys(("and", "or", "xor", "not"), _all),
    **dict.fromkeys(("less", "less_equal", "equal", "not_equal", "maximum", "minimum", "select"), _compared),
    **dict.fromkeys(("add", "subtract"), _added),
    **dict.fromkeys(("sum", "cumulative_sum"), _sum),
    **dict.fromkeys(("amax", "amin"), _extreme),
    **dict.fromkeys(("argmax", "argmin", "argsort", "rank"), _place),
    **dict.fromkeys(("sigmoid", "tanh", "sign"), _unit),
    **dict.fromkeys(("divide", "reciprocal"), _quotient),
    **dict.fromkeys(("log", "log1p"), _logarithm),
    **dict.fromkeys(("sort", "top_k"), _each),
    "multiply": _product, "matmul": _matrix, "scale": _scale, "cast": _cast, "clip": _clip, "is_in": _among, "one_hot": _one_hot,
    "quantile": _quantile, "softmax": _softmax,
    "mean": _mean, "variance": _moment, "covariance": _covariance, "correlation": _correlation, "square_root": _root,
    "inverse_square_root": _inverse_root, "exp": _exponential, "polynomial": _polynomial, "power": _power,
    "group_sums": _group_sums, "group_extremes": _group_extremes, "group_public": _group_public,
}  # fmt: skip
