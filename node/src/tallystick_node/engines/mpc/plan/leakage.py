"""What a plan shows to whom, in words: for people who decide whether to allow it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.engines.mpc.plan.kinds import Type, parse_kind
from tallystick_node.engines.mpc.plan.step import CONSTANT, Step
from tallystick_node.engines.security import SecurityStatement

DEPTH = 5  # nested operations that a sentence still names
OPERANDS = 4  # of one of them
LENGTH = 200  # characters
_WORDS = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} × {1}", "matmul": "{0} @ {1}", "divide": "{0} / {1}",
    "less": "{0} < {1}", "less_equal": "{0} <= {1}", "equal": "{0} = {1}", "not_equal": "{0} ≠ {1}", "negative": "-{0}",
    "and": "{0} and {1}", "or": "{0} or {1}", "xor": "either {0} or {1}", "not": "not {0}", "cast": "{0}", "reshape": "{0}",
    "transpose": "{0} transposed", "broadcast": "{0}", "sum": "sum({0})", "select": "{1} if {0} else {2}",
    "amax": "max({0})", "amin": "min({0})", "absolute": "|{0}|", "square_root": "√{0}",
}  # fmt: skip
_INFIX = frozenset(
    {"add", "subtract", "multiply", "matmul", "divide", "less", "less_equal", "equal", "not_equal", "and", "or", "xor"}
)


def leakage(plan: Plan, security: SecurityStatement) -> list[str]:
    """Sentences: who brings what, who learns what of it, and what else the protocol shows to whom."""
    origins = _origins(plan)
    sentences = []
    for each in plan.inputs:
        columns = f" from the columns {', '.join(each.columns)}" if each.columns else ""
        sentences.append(f"{each.owner} brings {each.name}, {_amount(Type(each.shape, each.kind))}{columns}.")
    for party in plan.receivers:
        for reveal in plan.reveals:
            if party in reveal.receivers:
                owners = sorted({plan.inputs[number].owner for number in origins[reveal.value]}, key=plan.parties.index)
                computed = _words(plan, origins, reveal.value, DEPTH)
                what = f"{reveal.name}, {_amount(plan.types[reveal.value])}"
                own = " (its own input)" if owners == [party] else ""
                made = "" if computed == reveal.name else f" = {computed}"
                sentences.append(f"{party} learns {what}{made}, which depends on the data of {', '.join(owners)}{own}.")
    sentences += [f"{party} learns no result." for party in plan.parties if party not in plan.receivers]
    sentences += [f"Besides, each {role} learns {what}." for role, what in sorted(security.learns.items())]
    sentences += [f"All trust the {each} to deal well, and to work together with none of them." for each in security.trusted]
    together = "any one party" if security.corruptions == 1 else f"any {security.corruptions} parties together"
    sentences.append(f"This holds against {together} of the {security.parties} that compute ({security.adversary}).")
    return sentences


def _origins(plan: Plan) -> list[frozenset[int]]:
    """For each value the inputs that it depends on."""
    found = [frozenset([number]) for number in range(len(plan.inputs))]
    count = len(plan.types)
    for number, step in enumerate(plan.steps):
        after = plan.first_values[number + 1] if number + 1 < len(plan.steps) else count
        depends: frozenset[int] = frozenset().union(*(found[each] for each in step.operands))
        found += [depends] * (after - plan.first_values[number])
    return found


def _amount(kept: Type) -> str:
    unit = "bit" if kept.kind.name == "bit" else "number"
    shape = " × ".join(map(str, kept.shape)) if len(kept.shape) > 1 else ""
    return f"{kept.size} {unit}{'' if kept.size == 1 else 's'}{f' ({shape})' if shape else ''}"


def _words(plan: Plan, origins: Sequence[frozenset[int]], value: int, depth: int) -> str:
    """How a value is computed, as far as that can be said shortly."""
    if value < len(plan.inputs):
        return plan.inputs[value].name
    number = bisect_right(plan.first_values, value) - 1
    step = plan.steps[number]
    if step.operation == CONSTANT:
        return _constant(step)
    if depth and len(step.operands) <= OPERANDS:
        operands = [_words(plan, origins, each, depth - 1) for each in step.operands]
        said = _said(step, operands, value - plan.first_values[number])
        if len(said) <= LENGTH:
            return said
    return f"a computation on {', '.join(plan.inputs[each].name for each in sorted(origins[value]))}"


def _said(step: Step, operands: Sequence[str], part: int) -> str:
    if step.operation in _WORDS:
        bracketed = [f"({each})" if step.operation in _INFIX and " " in each else each for each in operands]
        return _WORDS[step.operation].format(*bracketed)
    if step.operation == "index":
        whole = f"({operands[0]})" if " " in operands[0] and not operands[0].endswith(")") else operands[0]
        return f"{whole}[{', '.join(map(_item, step.attributes['items']))}]"
    attributes = [f"{name} {_attribute(each)}" for name, each in step.attributes.items() if each is not None and name != "bits"]
    return f"{step.operation}({', '.join([*operands, *attributes])}){f'[{part}]' if part else ''}"


def _item(item: int | list[int]) -> str:
    if isinstance(item, int):
        return str(item)
    start, count, step = item
    return f"{start}:{start + count * step}" + (f":{step}" if step != 1 else "")


def _constant(step: Step) -> str:
    """A number by the shortest decimal text that is encoded as it; of more than one, how many."""
    assert step.constant is not None
    if step.constant.size != 1:
        return f"public numbers of shape {tuple(step.attributes['shape'])}"
    element, unit = int(step.constant.view(np.int64).ravel()[0]), 1 << parse_kind(step.attributes["kind"]).fraction
    texts = (f"{Decimal(element) / unit:.{digits}f}" for digits in range(20))
    return next(text for text in texts if round(Decimal(text) * unit) == element)


def _attribute(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
