"""Running a plan on a protocol, value by value; each is freed after its last use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tallystick_node.engines.mpc.plan import pieces
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.engines.mpc.plan.kinds import BIT, Type, parse_kind
from tallystick_node.engines.mpc.plan.operation import Value
from tallystick_node.engines.mpc.plan.step import Step
from tallystick_node.engines.mpc.plan.table import OPERATIONS
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares
from tallystick_node.engines.store import Store

Progress = Callable[[float], None]


def perform(protocol: Protocol, step: Step, values: Sequence[Value], types: Sequence[Type]) -> Sequence[Value]:
    """Do one step on its operands."""
    if step.constant is not None:
        bit = parse_kind(step.attributes["kind"]) == BIT
        return [step.constant.astype(np.uint8) if bit else step.constant]
    with np.errstate(over="ignore"):  # the ring wraps; NumPy warns of it for arrays without axes
        return pieces.run(protocol, OPERATIONS[step.operation], values, types, step.attributes)


def evaluate(
    protocol: Protocol, plan: Plan, inputs: Sequence[Shares | Binary], progress: Progress = lambda _: None
) -> Iterator[tuple[int, Shares | Binary]]:
    """The values that the plan reveals, each as soon as it is there, with the number of its reveal.

    ``inputs`` are the shared inputs in the plan's order. All parties run the same steps in the same order.
    """
    last = last_uses(plan)
    wanted: dict[int, list[int]] = {}
    for number, reveal in enumerate(plan.reveals):
        wanted.setdefault(reveal.value, []).append(number)
    values: dict[int, Value] = dict(enumerate(inputs))
    count = len(inputs)
    del inputs  # the table alone keeps values
    yield from _shown(wanted, values, range(count))
    for position in [each for each in values if last[each] < 0]:
        del values[position]
    for number, (step, first) in enumerate(zip(plan.steps, plan.first_values, strict=True)):
        operands = [values[each] for each in step.operands]
        results = perform(protocol, step, operands, [plan.types[each] for each in step.operands])
        del operands
        after = first + len(results)
        values.update(enumerate([_kept(protocol.session.store, each) for each in results], first))
        del results
        yield from _shown(wanted, values, range(first, after))
        for each in {*step.operands, *range(first, after)}:
            if last[each] <= number:
                del values[each]
        progress((number + 1) / len(plan.steps))


def _kept(store: Store, value: Value) -> Value:
    return store.keep(value) if isinstance(value, np.ndarray) else value.map(store.keep)


def last_uses(plan: Plan) -> list[int]:
    """For each value the number of the last step that takes it; -1 for none."""
    last = [-1] * len(plan.types)
    for number, step in enumerate(plan.steps):
        for each in step.operands:
            last[each] = number
    return last


def _shown(wanted: dict[int, list[int]], values: dict[int, Value], fresh: range) -> Iterator[tuple[int, Shares | Binary]]:
    for value in fresh:
        for reveal in wanted.get(value, ()):
            shared = values[value]
            assert not isinstance(shared, np.ndarray)  # a plan reveals no constants
            yield reveal, shared
