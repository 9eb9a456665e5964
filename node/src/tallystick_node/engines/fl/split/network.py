"""The algorithm: batches go forward through all bottoms and the top, and their gradients back, whoever brings the columns.

The bottoms give ``cut`` numbers within [-1, 1] for each row; side by side they enter the top, which gives the row's log-odds. The
loss is the logistic one. With exact gradients the network between owners is, number for number, that of :func:`fit`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.split.protection import Bits
from tallystick_node.engines.fl.split.towers import Normals, Tower, Trained, Training

MAX_ROWS, MAX_FEATURES, MAX_OWNERS = 1 << 22, 1 << 14, 64
MAX_WIDTH, MAX_LAYERS, MAX_EPOCHS = 1024, 8, 10_000
LEAST_DIVERGENCE = 1e-6

Done = Callable[[int, float], None]


@dataclass(frozen=True)
class Settings:
    """What all owners agree on. Raises ValueError for what is out of range.

    ``bottom`` and ``top`` are the sizes of hidden layers, ``cut`` what each bottom gives for a row. ``seed`` orders the rows, which
    is no secret among owners. ``divergence`` bounds what all gradients that leave tell of a row's label, to all other owners
    together (see :mod:`.protection`); infinity sends exact gradients, from which labels can be read.
    """

    bottom: tuple[int, ...]
    cut: int
    top: tuple[int, ...]
    epochs: int
    batch: int
    rate: float
    momentum: float
    penalty: float
    divergence: float
    seed: int

    def __post_init__(self) -> None:
        widths = (*self.bottom, self.cut, *self.top)
        whole = (
            all(1 <= width <= MAX_WIDTH for width in widths),
            max(len(self.bottom), len(self.top)) <= MAX_LAYERS,
            1 <= self.epochs <= MAX_EPOCHS,
            1 <= self.batch <= MAX_ROWS,
            0 <= self.seed < 1 << 63,
        )
        real = (0 < self.rate <= 10, 0 <= self.momentum < 1, 0 <= self.penalty <= 10, self.divergence >= LEAST_DIVERGENCE)
        if not all((*whole, *real)):
            raise ValueError(
                f"settings are out of range: at most {MAX_LAYERS} hidden layers, widths from 1 to {MAX_WIDTH}, 1 to {MAX_EPOCHS}"
                f" epochs, a batch of 1 to {MAX_ROWS} rows, rate above 0 and at most 10, momentum within [0, 1), penalty from 0 to"
                f" 10, divergence from {LEAST_DIVERGENCE:g}, a seed below 2^63"
            )

    def digest(self, rows: int) -> bytes:
        """SHA-256 of the settings and of the order in which the first epoch takes so many rows: owners compare it, for the order
        is each one's own computation."""
        state = hashlib.sha256(b"tallystick split settings v1\0" + json.dumps(asdict(self), sort_keys=True).encode())
        for _, part in takewhile(lambda batch: batch[0] == 0, self.batches(rows)):
            state.update(part.astype("<i8").tobytes())
        return state.digest()

    def share(self, others: int) -> float:
        """The divergence of one message, when ``others`` owners get one for each batch: a row is in one batch of each epoch."""
        return self.divergence / (self.epochs * max(others, 1))

    def bottom_of(self, features: int) -> Tower:
        """The bottom for so many columns."""
        return Tower((features, *self.bottom, self.cut), "tanh")

    def top_of(self, bottoms: int) -> Tower:
        """The top over so many bottoms."""
        return Tower((bottoms * self.cut, *self.top, 1), "linear")

    def train(self, tower: Tower, key: bytes) -> Training:
        """A tower that begins with weights from a secret key."""
        return Training(tower, tower.initial(Normals(key, tower.last)), self.rate, self.momentum, self.penalty)

    def batches(self, rows: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Epoch and rows of each batch: about equal in size, ``batch`` or up to twice as many where there are so many."""
        order = np.random.default_rng(self.seed)
        for epoch in range(self.epochs):
            for part in np.array_split(order.permutation(rows), max(rows // self.batch, 1)):
                yield epoch, part


class Bottom(Protocol):
    """Whoever brings columns, as the owner of the label sees it."""

    def forward(self, rows: NDArray[np.int64]) -> Vector:
        """What the bottom gives for these rows: shape (rows, cut)."""

    def backward(self, errors: Vector, labels: Bits) -> None:
        """Take a step by the gradients of the loss by that; ``labels`` are the rows' and stay here."""


class Local:
    """A bottom whose columns are here. Raises ValueError for unfit columns."""

    def __init__(self, columns: Vector, settings: Settings, key: bytes) -> None:
        require_columns(columns)
        self.columns = np.ascontiguousarray(columns, np.float64)
        self._training = settings.train(settings.bottom_of(columns.shape[1]), key)

    @property
    def trained(self) -> Trained:
        """The bottom as it is now. Raises ValueError where the training has diverged."""
        return self._training.trained

    def forward(self, rows: NDArray[np.int64]) -> Vector:
        """See :class:`Bottom`."""
        return self._training.forward(self.columns[rows])

    def backward(self, errors: Vector, labels: Bits | None = None) -> None:
        """See :class:`Bottom`."""
        self._training.backward(errors)


def grow(settings: Settings, bottoms: Sequence[Bottom], labels: Bits, key: bytes, done: Done) -> Trained:
    """Train a top on bottoms, which train along. ``done`` hears of each epoch and its mean loss. Returns the top. Raises ValueError
    where the training diverges."""
    top = settings.train(settings.top_of(len(bottoms)), key)
    losses, last = 0.0, 0
    for epoch, rows in settings.batches(len(labels)):
        if epoch != last:
            done(last, losses / len(labels))
            losses, last = 0.0, epoch
        scores = top.forward(np.concatenate([bottom.forward(rows) for bottom in bottoms], axis=1))[:, 0]
        own = labels[rows]
        losses += float(np.logaddexp(0, np.where(own, -scores, scores)).sum())
        errors = top.backward(((chance(scores) - own) / len(rows))[:, None])
        for bottom, part in zip(bottoms, np.split(errors, len(bottoms), axis=1), strict=True):
            bottom.backward(part, own)
    done(last, losses / len(labels))
    return top.trained


def fit(columns: Sequence[Vector], labels: Bits, settings: Settings, keys: Sequence[bytes]) -> Callable[[Sequence[Vector]], Vector]:
    """Train on columns that are all here, a bottom for each of the arrays: what owners together must come to, gradients exact.

    ``keys`` are the owners', that of the label's first. Returns what gives log-odds for other columns, split alike."""
    require_labels(labels)
    bottoms = [Local(each, settings, key) for each, key in zip(columns, keys, strict=True)]
    top = grow(settings, bottoms, labels, keys[0], lambda _epoch, _loss: None)

    def score(others: Sequence[Vector]) -> Vector:
        given = [bottom.trained.run(each) for each, bottom in zip(others, bottoms, strict=True)]
        return top.run(np.concatenate(given, axis=1))[:, 0]

    return score


def require_labels(labels: Bits) -> None:
    """Raise ValueError unless labels are rows of both classes."""
    if labels.ndim != 1 or len(labels) > MAX_ROWS or not 0 < np.count_nonzero(labels) < len(labels):
        raise ValueError(f"the labels are no array of at most {MAX_ROWS} rows of both classes")


def require_columns(columns: Vector) -> None:
    """Raise ValueError unless columns are a table of finite numbers that can be trained on."""
    if columns.ndim != 2 or not (0 < len(columns) <= MAX_ROWS and 0 < columns.shape[1] <= MAX_FEATURES):
        raise ValueError(f"columns are no table of 1 to {MAX_ROWS} rows and 1 to {MAX_FEATURES} columns")
    if not np.isfinite(columns).all():
        raise ValueError("the columns hold a number that is not finite: impute or drop those rows")


def chance(scores: Vector) -> Vector:
    """The probability for log-odds."""
    found: Vector = 0.5 * (1 + np.tanh(0.5 * scores))
    return found
