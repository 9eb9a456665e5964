"""What a client says in a round: one flat vector whose sum over clients is all that anybody needs.

In order: the client's change of the model times its weight; with control variates (SCAFFOLD) its change of them; the sums of its
measures on held-out rows; the loss and the number of rows of its training; whether a change was cut; 1; and its weight. Every entry
is divided by a public bound, a power of two, so that it lies within [-1, 1] without rounding: a quantiser knows its range, and the
scaling costs no bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tallystick_node.engines.fl.learner import Measure
from tallystick_node.engines.fl.parameters import Vector

TAIL = 5  # training loss, training rows, cut, contributors, weight


@dataclass(frozen=True)
class Clip:
    """How large a change may be: its L2 norm at most ``norm``, each entry at most ``entry``, a power of two, either way. A larger
    one is shortened to fit, its direction kept."""

    norm: float = 64.0
    entry: float = 8.0

    def __post_init__(self) -> None:
        if not 0 < self.norm < np.inf:
            raise ValueError("the norm of a change is bounded by a number above 0")
        Measure("entry", bound=self.entry)

    def __call__(self, change: Vector) -> Vector:
        """The change, shortened where it is too large."""
        if not change.size:
            return change
        norm, largest = float(np.linalg.norm(change)), float(np.abs(change).max())
        factor = min(1.0, self.norm / norm if norm else 1.0, self.entry / largest if largest else 1.0)
        return change if factor == 1.0 else np.clip(change * factor, -self.entry, self.entry)


@dataclass(frozen=True)
class Contribution:
    """What a client has to say. ``change``: trained minus global parameters; ``control``: its change of its control variate."""

    change: Vector
    control: Vector | None
    weight: float
    measures: Vector
    loss: float  # of the training, summed over its rows
    rows: int


@dataclass(frozen=True)
class Total:
    """The sum over the clients of a round. ``change`` is the sum of weight times change; ``control`` of the changes of control
    variates."""

    change: Vector
    control: Vector | None
    weight: float
    measures: Vector
    loss: float
    rows: float
    cut: float
    contributors: float


@dataclass(frozen=True)
class Packing:
    """How a contribution lies in a vector: ``size`` parameters, ``controls`` or none, ``measures``, with the bounds that all
    parties know.

    ``rows``: the most rows that a client may train or be evaluated on. ``weight``: the largest weight. Both are rounded up to a
    power of two. The smaller they are, the finer a quantiser of a fixed number of bits.
    """

    size: int
    controls: bool
    measures: tuple[Measure, ...]
    rows: int
    weight: float
    clip: Clip
    control_clip: Clip

    @cached_property
    def scale(self) -> Vector:
        """The bound of every entry."""
        rows, weight = _power(self.rows), _power(self.weight)
        parts = [np.full(self.size, self.clip.entry * weight)]
        if self.controls:
            parts.append(np.full(self.size, self.control_clip.entry))
        parts += [np.full(measure.width, measure.bound * rows) for measure in self.measures]
        loss = self.measures[1].bound
        return np.concatenate([*parts, [loss * rows, rows, 1.0, 1.0, weight]])

    @property
    def length(self) -> int:
        """How many entries a vector has."""
        return len(self.scale)

    def pack(self, said: Contribution) -> Vector:
        """The vector of a contribution, changes cut to their bounds. Raises ValueError where a client has more rows than
        allowed."""
        if max(said.rows, said.measures[0]) > self.rows:
            raise ValueError(f"a client has more than the {self.rows} rows that the parties agreed on: agree on more, or use fewer")
        change = self.clip(said.change)
        parts, cut = [change * said.weight], change is not said.change
        if self.controls:
            assert said.control is not None
            control = self.control_clip(said.control)
            cut = cut or control is not said.control
            parts.append(control)
        loss = min(said.loss, self.measures[1].bound * said.rows)
        packed = np.concatenate([*parts, said.measures, [loss, said.rows, cut, 1.0, said.weight]]) / self.scale
        if not (np.abs(packed) <= 1).all():
            raise ValueError("a measure or a weight of this client exceeds its stated bound")
        return packed

    def control(self, packed: Vector) -> Vector:
        """The change of the control variate that a vector tells: what its sender adds to its own."""
        return packed[self.size : 2 * self.size] * self.scale[self.size : 2 * self.size]

    def unpack(self, packed: Vector, members: int) -> Total:
        """What the sum of at most ``members`` vectors says. Raises ValueError unless it has the length of one, is finite, within
        what so many can add up to, and tells of one contributor or more."""
        if packed.shape != (self.length,):
            raise ValueError(f"a sum of shape {packed.shape} where ({self.length},) is due")
        if not (np.abs(packed) <= members).all():
            raise ValueError(f"a sum holds a number that is not finite or that {members} clients cannot add up to")
        sums = packed * self.scale
        end = len(sums) - TAIL
        loss, rows, cut, contributors, weight = (float(entry) for entry in sums[end:])
        if contributors < 0.5:
            raise ValueError("no client contributed to the sum")
        controls = self.size * (1 + self.controls)
        control = sums[self.size : controls] if self.controls else None
        return Total(sums[: self.size], control, weight, sums[controls:end], loss, rows, cut, contributors)


def _power(number: float) -> float:
    return float(2.0 ** np.ceil(np.log2(number)))
