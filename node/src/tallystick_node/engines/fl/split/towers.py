"""Dense networks in NumPy: ReLU between layers, and at the end tanh or nothing; momentum gradient descent on one flat vector."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from tallystick_node.engines.fl.parameters import Entry, Layout, Parameters, Vector
from tallystick_node.engines.mpc.prss import SEED, Stream

KEY = 32  # bytes
_LARGEST = 1e12  # of what leaves a tower that is in training


class Normals:
    """Standard normal numbers from a secret key of ``KEY`` bytes, by AES-128-CTR and the method of Box and Muller (1958): other
    numbers for each purpose. Whoever has no key cannot tell them from fresh ones, up to rounding."""

    def __init__(self, key: bytes, purpose: str) -> None:
        if len(key) != KEY:
            raise ValueError(f"a key has {KEY} bytes")
        self._stream = Stream(hashlib.sha256(b"tallystick split v1\0" + key + purpose.encode()).digest()[:SEED])

    def draw(self, shape: tuple[int, ...]) -> Vector:
        """The next numbers."""
        words = self._stream.elements((2, *shape)) >> np.uint64(11)
        uniform = (words.astype(np.float64) + 0.5) * 2.0**-53  # never 0
        normal: Vector = np.sqrt(-2 * np.log(uniform[0])) * np.cos(2 * np.pi * uniform[1])
        return normal


@dataclass(frozen=True)
class Tower:
    """Layers of ``sizes`` numbers, the columns first. After the last layer comes tanh, which keeps what leaves within [-1, 1], or
    nothing."""

    sizes: tuple[int, ...]
    last: Literal["tanh", "linear"]

    @cached_property
    def layout(self) -> Layout:
        """Weight and intercept of each layer: weight0, bias0, weight1, ..."""
        entries = []
        for number, shape in enumerate(pairwise(self.sizes)):
            entries += [Entry(f"weight{number}", shape, "float64"), Entry(f"bias{number}", shape[1:], "float64")]
        return Layout(tuple(entries))

    def initial(self, normals: Normals) -> Vector:
        """Weights by He et al. (ICCV 2015), intercepts 0."""
        point = np.zeros(self.layout.size)
        for view in self.layout.views(point).values():
            if view.ndim == 2:
                view[...] = normals.draw(view.shape) * (2 / view.shape[0]) ** 0.5
        return point

    def forward(self, point: Vector, rows: Vector) -> list[Vector]:
        """What enters each layer, and last what leaves the tower."""
        views, held = self.layout.views(point), [rows]
        for number in range(len(self.sizes) - 1):
            out = held[-1] @ views[f"weight{number}"] + views[f"bias{number}"]
            if number < len(self.sizes) - 2:
                out = np.maximum(out, 0)
            elif self.last == "tanh":
                out = np.tanh(out)
            held.append(out)
        return held

    def backward(self, point: Vector, held: list[Vector], errors: Vector) -> tuple[Vector, Vector]:
        """From the loss's gradient by what left the tower, of shape (rows, outputs), its gradients by the numbers of the tower and
        by the rows that entered, summed over rows in the former."""
        gradient = np.empty_like(point)
        views, slots = self.layout.views(point), self.layout.views(gradient)
        if self.last == "tanh":
            errors = errors * (1 - held[-1] ** 2)
        for number in reversed(range(len(self.sizes) - 1)):
            np.matmul(held[number].T, errors, out=slots[f"weight{number}"])
            errors.sum(axis=0, out=slots[f"bias{number}"])
            errors = errors @ views[f"weight{number}"].T
            if number:
                errors = errors * (held[number] > 0)
        return gradient, errors


@dataclass(frozen=True)
class Trained:
    """A tower and its numbers. Raises ValueError unless the parameters are the tower's."""

    tower: Tower
    parameters: Parameters

    def __post_init__(self) -> None:
        if self.parameters.layout != self.tower.layout:
            raise ValueError("the numbers are not those of the tower")

    def run(self, rows: Vector) -> Vector:
        """What leaves the tower for rows. Raises ValueError for rows of another width."""
        if rows.ndim != 2 or rows.shape[1] != self.tower.sizes[0]:
            raise ValueError(f"rows of shape {rows.shape} where {self.tower.sizes[0]} columns are due")
        return self.tower.forward(self.tower.layout.flatten(self.parameters), rows)[-1]


class Training:
    """A tower while it is trained. ``forward`` and ``backward`` take turns."""

    def __init__(self, tower: Tower, point: Vector, rate: float, momentum: float, penalty: float) -> None:
        self._tower, self._point = tower, point
        self._rate, self._momentum, self._penalty = rate, momentum, penalty
        self._velocity = np.zeros_like(point)
        self._held: list[Vector] = []

    @property
    def trained(self) -> Trained:
        """The tower as it is now. Raises ValueError where the training has diverged."""
        return Trained(self._tower, self._tower.layout.unflatten(self._point))

    def forward(self, rows: Vector) -> Vector:
        """What leaves the tower. Raises ValueError where the training has diverged."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._held = self._tower.forward(self._point, rows)
        if not (np.abs(self._held[-1]) <= _LARGEST).all():
            raise ValueError("the training diverged: choose a lower rate, or bring the columns to a scale of 1")
        return self._held[-1]

    def backward(self, errors: Vector) -> Vector:
        """Take a step, ``penalty`` times the weights with it. Returns the gradient by the rows that entered, before the step."""
        with np.errstate(over="ignore", invalid="ignore"):  # the next forward pass tells
            gradient, before = self._tower.backward(self._point, self._held, errors)
            slots, views = (self._tower.layout.views(flat).values() for flat in (gradient, self._point))
            for slot, view in zip(slots, views, strict=True):
                if view.ndim == 2:
                    slot += self._penalty * view
            self._velocity = self._momentum * self._velocity - self._rate * gradient
            self._point = self._point + self._velocity
        return before
