"""What a plan will cost, said before it runs.

Bytes and rounds follow from the protocol's prices, those of its dealer among them. How near they come is a matter of the protocol:

- Three-party replicated sharing and additive sharing with a dealer: exact. But operations that sort cost what their secret
  permutation makes them: there they are the average of some rehearsals; and with a dealer, bytes are off by up to a hundredth where
  bits of few numbers share words. Rounds are exact while arrays are short enough to be sent before anything is awaited (16 MiB);
  additive sharing takes longer ones in chunks.
- Replicated sharing that checks what parties do: estimates, since it checks in batches; for few elements to a factor of two.
- Two parties alone: estimates, since they make randomness in advance, when they need it; to about a third, but sorting to a factor
  of two.

Seconds are an estimate for parties in one data centre. Memory is one computing party's, whose values lie in files beyond half of
its bound (:mod:`tallystick_node.engines.store`); a step that needs more than the other half at once is refused before the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.functions import moments
from tallystick_node.engines.mpc.plan import pieces
from tallystick_node.engines.mpc.plan.document import Input, Plan, Reveal
from tallystick_node.engines.mpc.plan.execute import last_uses, perform
from tallystick_node.engines.mpc.plan.kinds import BIT, Type
from tallystick_node.engines.mpc.plan.operation import Value, broadcast_shape
from tallystick_node.engines.mpc.plan.predict import Ledger, Predictor, zeros
from tallystick_node.engines.mpc.plan.ranges import Overflow, overflows
from tallystick_node.engines.mpc.plan.rehearse import CLOSING, OPENING
from tallystick_node.engines.mpc.plan.roles import Cast, Offer
from tallystick_node.engines.mpc.plan.stage import Stage, staged
from tallystick_node.engines.mpc.plan.step import CONSTANT, Step
from tallystick_node.engines.store import MEMORY

SECONDS_ROUND = 5e-4
SECONDS_BYTE = 4e-9  # over all parties, with the local work that goes with it
SECONDS_MULTIPLICATION = 3e-10  # in matrix products
BASE_MEMORY = 150_000_000  # of the process
LOCAL = frozenset({
    CONSTANT, "add", "subtract", "negative", "xor", "not", "sum", "cumulative_sum",
    "reshape", "broadcast", "transpose", "index", "take", "concatenate",
})  # fmt: skip
BY_CHANCE = frozenset({"sort", "argsort", "rank", "top_k", "quantile", "group_sums", "group_extremes"})
PLACED = LOCAL | {"mean"}  # their results are written where the store says, and they make nothing else of that size
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
    file_bytes: int
    bytes_by_operation: dict[str, int]
    overflows: tuple[Overflow, ...] = ()

    def __str__(self) -> str:
        """A few lines to read."""
        lines = [
            f"protocol   {self.protocol}",
            f"rounds     {self.rounds}",
            f"traffic    {_size(self.bytes_all)} in all, {_size(self.bytes_most)} by the party that sends most",
            f"time       about {self.seconds:.2g} s",
            f"memory     about {_size(self.memory_bytes)} at each computing party",
        ]
        if self.file_bytes:
            lines.append(f"files      {_size(self.file_bytes)} at each computing party while it runs")
        dearest = sorted(self.bytes_by_operation.items(), key=lambda item: -item[1])
        lines += [f"  {name:<16} {_size(size)}" for name, size in dearest if size]
        lines += [str(each) for each in self.overflows]
        return "\n".join(lines)


def explain(plan: Plan, offer: Offer, cast: Cast, bounds: Mapping[str, float] | None = None) -> Explanation:
    """Predict a run of the plan by these parties; with ``bounds``, how large the elements of each input are at most, also which
    steps could pass the range. Raises ValueError like :func:`~tallystick_node.engines.mpc.plan.ranges.overflows`."""
    passing = () if bounds is None else tuple(overflows(plan, bounds))
    with staged(offer, len(cast.computing)) as stage:
        found = _Rehearsal(plan, offer, cast, stage)
        found.run()
    ledger, needed = found.ledger, memory(plan)
    sent = [*ledger.bytes_sent, *found.outside.values()]
    return Explanation(
        protocol=offer.kind.name,
        rounds=ledger.rounds,
        bytes_all=sum(sent),
        bytes_most=max(sent),
        seconds=SECONDS_ROUND * ledger.rounds + SECONDS_BYTE * sum(sent) + SECONDS_MULTIPLICATION * ledger.multiplications,
        memory_bytes=BASE_MEMORY + min(found.parts * needed.together, MEMORY // 2 + found.parts * needed.at_once),
        file_bytes=max(0, found.parts * needed.kept - MEMORY // 2),
        bytes_by_operation=found.by_operation,
        overflows=passing,
    )


def effort(plan: Plan) -> int:
    """How many elements the different steps of a plan have that must be rehearsed: what :func:`explain` takes time for."""
    sizes = {}
    for step, first in zip(plan.steps, plan.first_values, strict=True):
        if step.operation not in LOCAL:
            types = tuple(plan.types[each] for each in step.operands)
            size = sum(each.size for each in types) + plan.types[first].size
            if step.operation in pieces.BY_ELEMENT:  # of those that are cut, a whole piece and the last one
                size = min(size, 2 * (len(types) + 1) * pieces.PIECE)
            sizes[_key(step, types)] = size
    return sum(sizes.values())


@dataclass(frozen=True)
class Memory:
    """Bytes of one part. ``kept``: the most of all values that are alive together. ``at_once``: the most that a step, of the
    operation ``dearest``, needs in memory besides values that may lie in files. ``together``: the most of both at one time."""

    kept: int
    at_once: int
    dearest: str
    together: int


def memory(plan: Plan) -> Memory:
    """What a run of the plan needs."""
    last = last_uses(plan)
    types = plan.types
    alive = sum(each.bytes_shared for each in types[: len(plan.inputs)])
    kept = together = alive
    at_once, dearest = 0, "input"
    for number, (step, first) in enumerate(zip(plan.steps, plan.first_values, strict=True)):
        after = plan.first_values[number + 1] if number + 1 < len(plan.steps) else len(types)
        made = sum(each.bytes_shared for each in types[first:after])
        alive += made
        working, resident = _working(step, [types[each] for each in step.operands], made)
        if resident > at_once:
            at_once, dearest = resident, step.operation
        kept, together = max(kept, alive), max(together, alive + working)
        alive -= sum(types[each].bytes_shared for each in {*step.operands, *range(first, after)} if last[each] <= number)
    return Memory(kept, at_once, dearest, together)


def too_large(plan: Plan, parties: int, offer: Offer, bound: int) -> str | None:
    """In words, why a plan does not run in ``bound`` bytes of memory; None where it does."""
    needed = memory(plan)
    size = held_parts(offer, parties) * needed.at_once
    if size <= bound - bound // 2:
        return None
    return f"{needed.dearest} needs {_size(size)} in memory at once, of {_size(bound - bound // 2)} that there are for one step"


def held_parts(offer: Offer, parties: int) -> int:
    """How many parts a party of the protocol holds of each secret."""
    return len(offer.kind.split(np.zeros(0, np.uint64), parties)[0])


def _working(step: Step, operands: Sequence[Type], made: int) -> tuple[int, int]:
    """What a step takes besides its operands and results; and what of it all cannot lie in files: a step that is not done in
    pieces also makes its results in memory."""
    most = max(made, sum(each.bytes_shared for each in operands))
    if operands and pieces.cut(step.operation, operands, step.attributes):
        longest = max(made // 8, *(each.size for each in operands))
        working = TEMPORARY * most * pieces.PIECE // max(longest, pieces.PIECE)
        return working, working
    if step.operation in PLACED:
        return most, 0
    if step.operation == "variance":
        most = min(most, 8 * moments.BLOCK)
    if step.operation in ("covariance", "correlation"):
        rows, columns = operands[0].shape
        most = 8 * columns * (min(rows, moments.ROWS) + columns * -(-rows // moments.ROWS))
    return TEMPORARY * most, TEMPORARY * most + made


class _Rehearsal:
    """Every different step once, on zeros, counting; what passes to and from outside parties besides."""

    def __init__(self, plan: Plan, offer: Offer, cast: Cast, stage: Stage | None) -> None:
        self._plan, self._offer, self._cast, self._stage = plan, offer, cast, stage
        self._known: dict[Any, Ledger] = {}
        self.ledger = Ledger(offer.members(len(cast.computing)))
        self.parts = held_parts(offer, len(cast.computing))
        self.outside: dict[str, int] = {}
        self.by_operation: dict[str, int] = {}

    def run(self) -> None:
        """Rehearse the whole plan."""
        plan = self._plan
        shown: dict[int, list[Reveal]] = {}
        for reveal in plan.reveals:
            shown.setdefault(reveal.value, []).append(reveal)
        if self._stage is None:
            self.ledger.append(self._rehearsed(lambda predictor: predictor.pay(OPENING, 1)))
        else:
            self.ledger.note(*self._stage.opening)
        for value, given in enumerate(plan.inputs):
            self._add("input", self._rehearsed(partial(self._input, given)))
            if given.owner not in self._cast.computing:
                size = 8 * plan.types[value].size * self.parts * len(self._cast.computing)
                self.outside[given.owner] = self.outside.get(given.owner, 0) + size
                self.by_operation["input"] += size
        for value in range(len(plan.inputs)):
            self._show(value, shown)
        for number, (step, first) in enumerate(zip(plan.steps, plan.first_values, strict=True)):
            if step.operation not in LOCAL:
                self._add(step.operation, self._step(step))
            after = plan.first_values[number + 1] if number + 1 < len(plan.steps) else len(plan.types)
            for value in range(first, after):
                self._show(value, shown)
        if self._stage is not None:
            for stock in self._stage.stocks(self.ledger.wanted):
                self.ledger.note(*stock)
        if self._offer.deal is not None:  # the others have nobody to take leave of
            self.ledger.append(self._rehearsed(lambda predictor: predictor.pay(CLOSING, 1)))

    def _step(self, step: Step) -> Ledger:
        types = tuple(self._plan.types[each] for each in step.operands)
        if step.operation in pieces.BY_ELEMENT and pieces.cut(step.operation, types, step.attributes):
            found = Ledger(self._offer.members(len(self._cast.computing)))
            for _, count in pieces.parts(math.prod(broadcast_shape(*types))):
                found.append(self._one(step, tuple(Type((count,), each.kind, each.public) for each in types)))
            return found
        return self._one(step, types)

    def _one(self, step: Step, types: tuple[Type, ...]) -> Ledger:
        key = _key(step, types)
        if key not in self._known:
            samples = [
                self._rehearsed(partial(_perform, step, types)) for _ in range(SAMPLES if step.operation in BY_CHANCE else 1)
            ]
            self._known[key] = Ledger.averaged(samples)
        return self._known[key]

    def _rehearsed(self, work: Callable[[Predictor], Any]) -> Ledger:
        predictor = Predictor(self._offer, len(self._cast.computing), self._stage)
        work(predictor)
        return predictor.ledger

    def _add(self, name: str, spent: Ledger) -> None:
        self.ledger.append(spent)
        self.by_operation[name] = self.by_operation.get(name, 0) + sum(spent.bytes_sent)

    def _input(self, given: Input, predictor: Predictor) -> None:
        for _, count in pieces.parts(math.prod(given.shape)):
            if given.owner in self._cast.computing:
                predictor.pay("share", count, seats=[self._cast.computing.index(given.owner)])
            else:
                predictor.hear_outside()
                predictor.pay("accept", count)
            if given.kind == BIT:
                predictor.negative(zeros((count,)))

    def _show(self, value: int, shown: Mapping[int, Sequence[Reveal]]) -> None:
        for reveal in shown.get(value, ()):
            self._add("reveal", self._rehearsed(partial(self._reveal, self._plan.types[value], reveal.receivers)))

    def _reveal(self, kept: Type, receivers: Sequence[str], predictor: Predictor) -> None:
        cast = self._cast
        inside = [cast.computing.index(party) for party in receivers if party in cast.computing]
        for _, count in pieces.parts(kept.size):
            numbers = zeros((count,))
            if kept.kind == BIT:
                predictor.to_arithmetic(zeros((count,), bits=True))
            if inside:
                predictor.reveal(numbers, inside)
            if outside := len(receivers) - len(inside):
                predictor.disclose(numbers)
                for _ in range(outside):
                    predictor.tell_outside(8 * count * self.parts)


def _key(step: Step, types: tuple[Type, ...]) -> Any:
    return step.operation, types, json.dumps(step.attributes, sort_keys=True)


def _perform(step: Step, types: Sequence[Type], predictor: Predictor) -> None:
    perform(predictor, step, [_operand(each) for each in types], types)


def _operand(kept: Type) -> Value:
    if kept.public:
        return np.zeros(kept.shape, np.uint8 if kept.kind == BIT else np.uint64)
    secret: Value = zeros(kept.shape, bits=kept.kind == BIT)
    return secret


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.4g} {unit}"
        count /= 1000
    raise AssertionError
