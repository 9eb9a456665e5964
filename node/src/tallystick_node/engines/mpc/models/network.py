"""Feed-forward networks on secret rows with secret weights: the layers, their shapes, and one pass through them.

The architecture is public: which layers there are, and their sizes. The weights are one secret vector, the tensors of the layers
in their order, each in C order; a layer's weights come before its biases. Shapes leave out the axis of the rows: (features,), or
(channels, height, width) for images, in whose order a row's features stand too.

Security is that of the protocol below: nothing of the rows, the weights or the activations is shown. Error: one unit in the last
place for each number that a dense or convolutional layer gives, besides what its inputs and weights were rounded by; 1e-3 for
sigmoid and 2e-3 for tanh; none for the others but the average pool, 1.6 units.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tallystick_node.engines.mpc.array import broadcast_to, concatenate, relu, sigmoid, stack, tanh
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.models.answers import Link

Shape = tuple[int, ...]


class WrongShape(ValueError):  # noqa: N818 - a verdict
    """A layer does not take what the layer before it gives. The message says which and why."""


@dataclass(frozen=True)
class Layer(ABC):
    """A layer without weights that keeps the shape, unless a subclass says else."""

    name: ClassVar[str]

    def output(self, shape: Shape) -> Shape:
        """The shape that it gives for one row of ``shape``. Raises WrongShape."""
        return shape

    def tensors(self, shape: Shape) -> Sequence[Shape]:
        """The shapes of its weights."""
        return ()

    @abstractmethod
    def apply(self, x: SecretArray, weights: Sequence[SecretArray]) -> SecretArray:
        """All rows: images are (n, height, width, channels) inside, so that products need no transposition."""


@dataclass(frozen=True)
class Dense(Layer):
    """x W + b, W of shape (inputs, outputs)."""

    outputs: int
    name: ClassVar[str] = "dense"

    def output(self, shape: Shape) -> Shape:
        """(outputs,)."""
        if len(shape) != 1:
            raise WrongShape(f"dense takes a vector, not shape {shape}: flatten first")
        return (self.outputs,)

    def tensors(self, shape: Shape) -> Sequence[Shape]:
        """W and b."""
        return ((shape[0], self.outputs), (self.outputs,))

    def apply(self, x: SecretArray, weights: Sequence[SecretArray]) -> SecretArray:
        """One matrix product."""
        return x @ weights[0] + weights[1]


@dataclass(frozen=True)
class Relu(Layer):
    """The greater of x and 0."""

    name: ClassVar[str] = "relu"

    def apply(self, x: SecretArray, weights: Sequence[SecretArray]) -> SecretArray:
        """One comparison for each number."""
        return relu(x)


@dataclass(frozen=True)
class Sigmoid(Layer):
    """1 / (1 + e^-x)."""

    name: ClassVar[str] = "sigmoid"

    def apply(self, x: SecretArray, weights: Sequence[SecretArray]) -> SecretArray:
        """Number by number."""
        return sigmoid(x)


@dataclass(frozen=True)
class Tanh(Layer):
    """The hyperbolic tangent."""

    name: ClassVar[str] = "tanh"

    def apply(self, x: SecretArray, weights: Sequence[SecretArray]) -> SecretArray:
        """Number by number."""
        return tanh(x)


@dataclass(frozen=True)
class Flatten(Layer):
    """An image as a vector: channel by channel, row by row."""

    name: ClassVar[str] = "flatten"

    def output(self, shape: Shape) -> Shape:
        """(channels x height x width,)."""
        return (math.prod(shape),)

    def apply(self, x: SecretArray, weights: Sequence[SecretArray]) -> SecretArray:
        """Nothing is computed."""
        return x if x.ndim == 2 else x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)


@dataclass(frozen=True)
class Windowed(Layer):
    """What slides a ``window`` of (height, width) over an image in steps of ``stride``."""

    window: tuple[int, int]
    stride: tuple[int, int]

    def _slid(self, shape: Shape, padding: tuple[int, int, int, int] = (0, 0, 0, 0)) -> tuple[int, int]:
        if len(shape) != 3:
            raise WrongShape(f"{self.name} takes an image of (channels, height, width), not shape {shape}")
        height, width = shape[1] + padding[0] + padding[2], shape[2] + padding[1] + padding[3]
        if height < self.window[0] or width < self.window[1]:
            raise WrongShape(f"{self.name}: a window of {self.window} does not fit an image of {(height, width)}")
        return (height - self.window[0]) // self.stride[0] + 1, (width - self.window[1]) // self.stride[1] + 1

    def _places(self, x: SecretArray) -> Iterator[SecretArray]:
        """For each place in the window the pixels that lie under it: (n, height, width, channels) of the result's size."""
        height, width = self._slid((x.shape[3], *x.shape[1:3]))
        down, right = self.stride
        for row in range(self.window[0]):
            for column in range(self.window[1]):
                yield x[:, row : row + down * (height - 1) + 1 : down, column : column + right * (width - 1) + 1 : right, :]


@dataclass(frozen=True)
class Convolution(Windowed):
    """``filters`` of the window's size over all channels, W of shape (filters, channels, height, width), after ``padding`` with
    zeros at the top, left, bottom and right."""

    padding: tuple[int, int, int, int]
    filters: int
    name: ClassVar[str] = "convolution"

    def output(self, shape: Shape) -> Shape:
        """(filters, height, width)."""
        return (self.filters, *self._slid(shape, self.padding))

    def tensors(self, shape: Shape) -> Sequence[Shape]:
        """W and b."""
        return ((self.filters, shape[0], *self.window), (self.filters,))

    def apply(self, x: SecretArray, weights: Sequence[SecretArray]) -> SecretArray:
        """One matrix product of the windows' pixels (im2col)."""
        patches = concatenate(list(self._places(self._padded(x))), axis=3)
        rows, height, width, depth = patches.shape
        kernel = weights[0].transpose(2, 3, 1, 0).reshape(depth, self.filters)
        return (patches.reshape(-1, depth) @ kernel + weights[1]).reshape(rows, height, width, self.filters)

    def _padded(self, x: SecretArray) -> SecretArray:
        top, left, bottom, right = self.padding
        zero = x[0:1, 0:1, 0:1, 0:1] * 0
        for axis, before, after in ((1, top, bottom), (2, left, right)):
            edges = [broadcast_to(zero, (*x.shape[:axis], thick, *x.shape[axis + 1 :])) for thick in (before, after)]
            x = concatenate([each for each in (edges[0], x, edges[1]) if each.size], axis)
        return x


@dataclass(frozen=True)
class AveragePool(Windowed):
    """The mean of each window, channel by channel."""

    name: ClassVar[str] = "average_pool"

    def output(self, shape: Shape) -> Shape:
        """(channels, height, width)."""
        return (shape[0], *self._slid(shape))

    def apply(self, x: SecretArray, weights: Sequence[SecretArray]) -> SecretArray:
        """One truncation."""
        return stack(list(self._places(x))).sum(axis=0) * (1.0 / math.prod(self.window))


@dataclass(frozen=True)
class MaxPool(Windowed):
    """The greatest of each window, channel by channel."""

    name: ClassVar[str] = "max_pool"

    def output(self, shape: Shape) -> Shape:
        """(channels, height, width)."""
        return (shape[0], *self._slid(shape))

    def apply(self, x: SecretArray, weights: Sequence[SecretArray]) -> SecretArray:
        """Comparisons in a tree."""
        return stack(list(self._places(x))).max(axis=0)


@dataclass(frozen=True)
class Network:
    """``inputs`` is the shape of one row, ``link`` what follows the last layer's scores."""

    inputs: Shape
    layers: tuple[Layer, ...]
    link: Link

    def __post_init__(self) -> None:
        shape = list(self.shapes())[-1]
        if len(shape) != 1:
            raise WrongShape(f"the last layer gives shape {shape} for a row, not a vector: flatten it")

    def shapes(self) -> Iterator[Shape]:
        """The shape of one row before each layer, and after the last. Raises WrongShape."""
        shape = self.inputs
        yield shape
        for number, layer in enumerate(self.layers):
            try:
                shape = layer.output(shape)
            except WrongShape as error:
                raise WrongShape(f"layer {number}: {error}") from None
            yield shape

    @property
    def features(self) -> int:
        """How many numbers a row has."""
        return math.prod(self.inputs)

    @property
    def outputs(self) -> int:
        """How many scores a row gets."""
        return list(self.shapes())[-1][0]

    @property
    def tensors(self) -> list[Shape]:
        """The shapes of all weights, in the order in which they stand in the vector."""
        return [each for layer, shape in zip(self.layers, self.shapes(), strict=False) for each in layer.tensors(shape)]

    @property
    def weights(self) -> int:
        """How many weights there are."""
        return sum(math.prod(each) for each in self.tensors)

    @property
    def widest(self) -> int:
        """Numbers of one row that are held at a time, at most about: a layer's, or its windows' pixels."""
        sizes = [math.prod(each) for each in self.shapes()]
        for layer, before, after in zip(self.layers, self.shapes(), list(self.shapes())[1:], strict=False):
            if isinstance(layer, Windowed):
                sizes.append(math.prod(after[1:]) * before[0] * math.prod(layer.window))
        return max(sizes)

    def scores(self, rows: SecretArray, weights: SecretArray) -> SecretArray:
        """Scores of shape (n, outputs), before the link, of rows of shape (n, features). Raises WrongShape."""
        if rows.shape[1:] != (self.features,) or weights.shape != (self.weights,):
            raise WrongShape(f"rows of shape {rows.shape} and weights of shape {weights.shape} are not the network's")
        x = rows
        if len(self.inputs) == 3:
            x = x.reshape(rows.shape[0], *self.inputs).transpose(0, 2, 3, 1)
        first = 0
        for layer, shape in _fewer_comparisons(self.layers, self.shapes()):
            held = []
            for tensor in layer.tensors(shape):
                size = math.prod(tensor)
                held.append(weights[first : first + size].reshape(tensor))
                first += size
            x = layer.apply(x, held)
        return x


def _fewer_comparisons(layers: Sequence[Layer], shapes: Iterator[Shape]) -> list[tuple[Layer, Shape]]:
    """The layers with the shapes before them; a maximum is taken before relu instead of after it, which gives the same."""
    found = list(zip(layers, shapes, strict=False))
    for place in range(len(found) - 1):
        (layer, shape), (after, _) = found[place : place + 2]
        if isinstance(layer, Relu) and isinstance(after, MaxPool):
            found[place : place + 2] = [(after, shape), (layer, after.output(shape))]
    return found
