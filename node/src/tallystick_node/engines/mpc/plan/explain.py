"""What a plan will cost, said before it runs.

Bytes and rounds follow from the protocol's prices. They are exact for everything but operations that sort, which cost what their
secret permutation makes them: there they are the average of some rehearsals. Rounds are exact while arrays are short enough to be
sent before anything is awaited (16 MiB). A protocol that checks in batches what it did is estimated, for few
elements to a factor of two. Seconds are an estimate for parties in one data centre; memory is one computing party's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.engines.mpc.plan.execute import last_uses, perform
from tallystick_node.engines.mpc.plan.kinds import BIT
from tallystick_node.engines.mpc.plan.operation import Value
from tallystick_node.engines.mpc.plan.predict import Predictor, zeros
from tallystick_node.engines.mpc.plan.roles import Cast, Offer
from tallystick_node.engines.mpc.protocol import Binary, Shares

Result = TypeVar("Result")

SECONDS_ROUND = 5e-4
SECONDS_BYTE = 4e-9  # over all parties, with the local work that goes with it
SECONDS_MULTIPLICATION = 3e-10  # in matrix products
BASE_MEMORY = 150_000_000  # of the process
BY_CHANCE = frozenset({"sort", "argsort", "rank", "top_k", "quantile", "group_sums", "group_extremes"})
SAMPLES = 4  # rehearsals of an operation that costs what its secret permutation makes it
TEMPORARY = 6  # a step's own arrays, in sizes of its operands and results


@dataclass(frozen=True)
class Explanation:
    """``bytes_most`` is what the party that sends most sends, ``bytes_all`` all of them; ``bytes_by_operation`` is of all."""

    protocol: str
    rounds: int
    bytes_all: int
    bytes_most: int
    seconds: float
    memory_bytes: int
    bytes_by_operation: dict[str, int]

    def __str__(self) -> str:
        """A few lines to read."""
        lines = [
            f"protocol   {self.protocol}",
            f"rounds     {self.rounds}",
            f"traffic    {_size(self.bytes_all)} in all, {_size(self.bytes_most)} by the party that sends most",
            f"time       about {self.seconds:.2g} s",
            f"memory     about {_size(self.memory_bytes)} at each computing party",
        ]
        dearest = sorted(self.bytes_by_operation.items(), key=lambda item: -item[1])
        lines += [f"  {name:<16} {_size(size)}" for name, size in dearest if size]
        return "\n".join(lines)


def explain(plan: Plan, offer: Offer, cast: Cast) -> Explanation:
    """Predict a run of the plan by these parties."""
    found = _Rehearsal(plan, offer, cast)
    found.run()
    predictor = found.predictor
    sent = [*predictor.bytes_sent, *found.outside.values()]
    seconds = SECONDS_ROUND * max(predictor.rounds) + SECONDS_BYTE * sum(sent) + SECONDS_MULTIPLICATION * predictor.multiplications
    return Explanation(
        protocol=offer.kind.name,
        rounds=max(predictor.rounds),
        bytes_all=sum(sent),
        bytes_most=max(sent),
        seconds=seconds,
        memory_bytes=BASE_MEMORY + found.parts * peak(plan),
        bytes_by_operation=found.by_operation,
    )


def peak(plan: Plan) -> int:
    """The most bytes of one part of all values that are alive together, with what a step needs besides."""
    last = last_uses(plan)
    types = plan.types
    alive = sum(each.bytes_shared for each in types[: len(plan.inputs)])
    most = alive
    for number, (step, first) in enumerate(zip(plan.steps, plan.first_values, strict=True)):
        after = plan.first_values[number + 1] if number + 1 < len(plan.steps) else len(types)
        made = sum(each.bytes_shared for each in types[first:after])
        used = sum(types[each].bytes_shared for each in step.operands)
        alive += made
        most = max(most, alive + TEMPORARY * max(made, used))
        alive -= sum(types[each].bytes_shared for each in {*step.operands, *range(first, after)} if last[each] <= number)
    return most


class _Rehearsal:
    """One run on zeros, counting; what passes to and from outside parties besides."""

    def __init__(self, plan: Plan, offer: Offer, cast: Cast) -> None:
        self._plan, self._cast = plan, cast
        self.predictor = Predictor(offer, len(cast.computing))
        self.parts = len(offer.kind.split(zeros((0,), bits=False).parts[0], len(cast.computing))[0])
        self.outside: dict[str, int] = {}
        self.by_operation: dict[str, int] = {}

    def run(self) -> None:
        """Rehearse the whole plan."""
        plan, values = self._plan, dict[int, Value]()
        for number, given in enumerate(plan.inputs):
            values[number] = self._spend("input", partial(self._input, given.owner, given.shape, bits=given.kind == BIT))
        last = last_uses(plan)
        for value in range(len(plan.inputs)):
            self._show(value, values)
        for number, (step, first) in enumerate(zip(plan.steps, plan.first_values, strict=True)):
            operands = [values[each] for each in step.operands]
            types = [plan.types[each] for each in step.operands]
            work = partial(perform, self.predictor, step, operands, types)
            if step.operation in BY_CHANCE:
                work = partial(self.predictor.averaged, work, SAMPLES)
            results = self._spend(step.operation, work)
            values.update(enumerate(results, first))
            fresh = range(first, first + len(results))
            for value in fresh:
                self._show(value, values)
            for value in {*step.operands, *fresh}:
                if last[value] <= number:
                    del values[value]

    def _spend(self, name: str, work: Callable[[], Result]) -> Result:
        before = sum(self.predictor.bytes_sent) + sum(self.outside.values())
        found = work()
        spent = sum(self.predictor.bytes_sent) + sum(self.outside.values()) - before
        self.by_operation[name] = self.by_operation.get(name, 0) + spent
        return found

    def _input(self, owner: str, shape: tuple[int, ...], *, bits: bool) -> Shares | Binary:
        value = zeros(shape, bits=False)
        if owner in self._cast.computing:
            self.predictor.pay("share", value.size, seats=[self._cast.computing.index(owner)])
        else:
            self._add(owner, 8 * value.size * self.parts * len(self._cast.computing))
            self.predictor.hear_outside()
            self.predictor.pay("accept", value.size)
        return self.predictor.negative(value) if bits else value

    def _show(self, number: int, values: Mapping[int, Value]) -> None:
        for reveal in self._plan.reveals:
            if reveal.value == number:
                value = values[number]
                assert isinstance(value, Shares | Binary)
                self._spend("reveal", partial(self._reveal, value, reveal.receivers))

    def _reveal(self, value: Shares | Binary, receivers: Sequence[str]) -> None:
        predictor, cast = self.predictor, self._cast
        numbers = predictor.to_arithmetic(value) if isinstance(value, Binary) else value
        inside = [cast.computing.index(party) for party in receivers if party in cast.computing]
        if inside:
            predictor.reveal(numbers, inside)
        if outside := len(receivers) - len(inside):
            predictor.disclose(numbers)
            for _ in range(outside):
                predictor.tell_outside(8 * numbers.size * self.parts)

    def _add(self, party: str, count: int) -> None:
        self.outside[party] = self.outside.get(party, 0) + count


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.4g} {unit}"
        count /= 1000
    raise AssertionError
