"""Recording a computation as a plan.

Equal operations on equal values are recorded once; what no reveal depends on is left out. So two programs that compute the same in
the same order have one plan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tallystick_node.engines.mpc.plan.document import Input, InvalidPlan, Plan, Reveal
from tallystick_node.engines.mpc.plan.engine import Engine
from tallystick_node.engines.mpc.plan.kinds import Kind, Type
from tallystick_node.engines.mpc.plan.step import Step, constant
from tallystick_node.engines.mpc.ring import Ring


class Tracer(Engine):
    """Records for parties of these names."""

    def __init__(self, parties: Sequence[str], fraction: int) -> None:
        super().__init__(fraction)
        self._parties = tuple(parties)
        self._inputs: list[Input] = []
        self._steps: list[tuple[Step, tuple[int, ...]]] = []  # with the numbers of its results
        self._known: dict[Any, tuple[int, ...]] = {}
        self._reveals: list[Reveal] = []
        self._count = 0

    def input(self, declared: Input) -> int:
        """Declare an input."""
        if declared.owner not in self._parties:
            raise ValueError(f"{declared.owner} is no party of the computation: {', '.join(self._parties)}")
        self._inputs.append(declared)
        return self._number(1)[0]

    def constant(self, elements: Ring, kind: Kind) -> int:
        """A public value."""
        return self._record(constant(elements, kind), 1)[0]

    def apply(
        self,
        operation: str,
        operands: Sequence[int],
        attributes: Mapping[str, Any],
        operand_types: Sequence[Type],
        types: Sequence[Type],
    ) -> Sequence[int]:
        """Record an operation."""
        return self._record(Step(operation, tuple(operands), attributes), len(types))

    def reveal(self, value: int, kind: Type, to: Sequence[str] | None, name: str | None) -> Revealed:
        """Record who is shown a value."""
        wanted = self._parties if to is None else tuple(to)
        unknown = [party for party in wanted if party not in self._parties]
        if unknown or not wanted:
            raise ValueError(f"reveal to one or more of {', '.join(self._parties)}, not to {', '.join(unknown) or 'nobody'}")
        name = name or f"result {len(self._reveals) + 1}"
        if any(each.name == name for each in self._reveals):
            raise ValueError(f"two values are revealed as {name!r}: give each its own name")
        self._reveals.append(Reveal(name, value, tuple(party for party in self._parties if party in wanted)))
        return Revealed(name)

    def plan(self) -> Plan:
        """The plan so far. Raises InvalidPlan, when nothing is revealed or a bound is passed."""
        if not self._reveals:
            raise InvalidPlan("the computation reveals nothing")
        needed = {each.value for each in self._reveals}
        kept = []
        for step, results in reversed(self._steps):
            if needed.intersection(results):
                needed.update(step.operands)
                kept.append((step, results))
        number = {old: old for old in range(len(self._inputs))}  # inputs come first
        steps = []
        for step, results in reversed(kept):
            steps.append(Step(step.operation, tuple(number[each] for each in step.operands), step.attributes, step.constant))
            for each in results:
                number[each] = len(number)
        reveals = tuple(Reveal(each.name, number[each.value], each.receivers) for each in self._reveals)
        plan = Plan(self._parties, tuple(self._inputs), tuple(steps), reveals)
        return Plan.parse(plan.to_bytes())

    def _record(self, step: Step, results: int) -> tuple[int, ...]:
        body = step.constant.tobytes() if step.constant is not None else b""
        key = (step.operation, step.operands, json.dumps(step.attributes, sort_keys=True), body)
        if key not in self._known:
            self._known[key] = self._number(results)
            self._steps.append((step, self._known[key]))
        return self._known[key]

    def _number(self, results: int) -> tuple[int, ...]:
        self._count += results
        return tuple(range(self._count - results, self._count))


class Revealed:
    """Stands, while a computation is recorded, for numbers that only its receivers will see, after the run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}: revealed when the plan runs>"
