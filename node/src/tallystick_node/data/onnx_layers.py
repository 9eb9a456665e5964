"""Operators of ONNX as the layers of a network: along one chain, each with its weights beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.data.onnx_graph import ML, Graph, Operation, bad
from tallystick_node.data.onnx_trees import TreeModel, class_names
from tallystick_node.engines.mpc.models.answers import Link
from tallystick_node.engines.mpc.models.network import (
    AveragePool,
    Convolution,
    Dense,
    Flatten,
    Layer,
    MaxPool,
    Relu,
    Shape,
    Sigmoid,
    Tanh,
    WrongShape,
)

Numbers = NDArray[np.float64]
LINKS: dict[str, Link] = {"NONE": "identity", "LOGISTIC": "sigmoid", "SOFTMAX": "softmax"}


class Chain:
    """What has been read so far: ``current`` is the value at its end, of ``shape`` for one row; ``tensors`` the weights and biases
    of each layer that has such."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.current = graph.input
        self.inputs = self.shape = graph.shape
        self.layers: list[Layer] = []
        self.tensors: list[list[Numbers]] = []
        self.link: Link = "identity"
        self.classes: tuple[str, ...] = ()
        self.scaling: tuple[Numbers, Numbers] | None = None
        self.trees: TreeModel | None = None
        self.ended = False

    def take(self, operation: Operation) -> bool:
        """Add an operator to the chain; False for one that is none of a network's. Raises InvalidData."""
        reader = _READERS.get(operation.name)
        if reader is None:
            return False
        if operation.inputs[0] != self.current and operation.name != "Add":
            raise bad(f"{operation.name}: the rows are not its first input")
        try:
            reader(self, operation)
        except WrongShape as error:
            raise bad(str(error)) from None
        return True

    def go_on(self, operation: Operation, shape: Shape, *, ended: bool = False, place: int = 0) -> None:
        """The chain goes on from an output of the operation."""
        if not operation.outputs:
            raise bad(f"{operation.name} gives nothing")
        self.current, self.shape, self.ended = operation.outputs[place], shape, ended

    def add(self, operation: Operation, layer: Layer, *tensors: Numbers) -> None:
        """A layer with its weights. Raises WrongShape and InvalidData."""
        shape = layer.output(self.shape)
        expected = layer.tensors(self.shape)
        if [each.shape for each in tensors] != list(expected):
            raise bad(f"{operation.name}: its weights have shapes {[each.shape for each in tensors]}, not {list(expected)}")
        self.layers.append(layer)
        if tensors:
            self.tensors.append(list(tensors))
        self.go_on(operation, shape)


def _pass(chain: Chain, operation: Operation) -> None:
    chain.go_on(operation, chain.shape)


def _plain(layer: Callable[[], Layer]) -> Callable[[Chain, Operation], None]:
    return lambda chain, operation: chain.add(operation, layer())


def _softmax(chain: Chain, operation: Operation) -> None:
    if len(chain.shape) != 1 or operation.attribute("axis", -1) not in (-1, 1):
        raise bad("Softmax is taken over a row's outputs, at the end")
    chain.link = "softmax"
    chain.go_on(operation, chain.shape, ended=True)


def _matrix(chain: Chain, operation: Operation, weights: Numbers, biases: Numbers | None) -> None:
    if weights.ndim != 2:
        raise bad(f"{operation.name}: its weights are no matrix")
    outputs = weights.shape[1]
    given = np.zeros(outputs) if biases is None else _biases(operation, biases, outputs)
    chain.add(operation, Dense(outputs), weights, given)


def _biases(operation: Operation, values: Numbers, outputs: int) -> Numbers:
    if values.size not in (1, outputs) or values.shape not in ((), (values.size,), (1, values.size)):
        raise bad(f"{operation.name}: {values.shape} are no biases of {outputs} outputs")
    return np.array(np.broadcast_to(values.ravel(), (outputs,)))


def _gemm(chain: Chain, operation: Operation) -> None:
    if operation.attribute("transA", 0):
        raise bad("Gemm: the rows are transposed")
    weights = chain.graph.constant(operation, 1)
    weights = weights.T if operation.attribute("transB", 0) else weights
    biases = chain.graph.constant(operation, 2) if len(operation.inputs) > 2 and operation.inputs[2] else None
    if biases is not None:
        biases = biases * operation.attribute("beta", 1.0)
    _matrix(chain, operation, weights * operation.attribute("alpha", 1.0), biases)


def _matmul(chain: Chain, operation: Operation) -> None:
    _matrix(chain, operation, chain.graph.constant(operation, 1), None)


def _add(chain: Chain, operation: Operation) -> None:
    if not chain.layers or not isinstance(chain.layers[-1], Dense) or len(operation.inputs) != 2:
        raise bad("Add: only biases after a matrix product are added")
    values = chain.graph.constant(operation, 1 - operation.inputs.index(chain.current))
    chain.tensors[-1][1] = chain.tensors[-1][1] + _biases(operation, values, chain.shape[0])
    chain.go_on(operation, chain.shape)


def _pads(operation: Operation, shape: Shape, window: list[int], stride: list[int]) -> tuple[int, int, int, int]:
    """At the top, left, bottom and right."""
    mode = operation.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        top, left, bottom, right = operation.integers("pads", [0, 0, 0, 0])
        return top, left, bottom, right
    if mode == "VALID":
        return 0, 0, 0, 0
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise bad(f"{operation.name}: auto_pad {mode!r}")
    before, after = [], []
    for length, wide, step in zip(shape[1:], window, stride, strict=True):
        missing = max(0, (-(-length // step) - 1) * step + wide - length)
        less, more = missing // 2, missing - missing // 2
        before.append(less if mode == "SAME_UPPER" else more)
        after.append(more if mode == "SAME_UPPER" else less)
    return before[0], before[1], after[0], after[1]


def _sliding(chain: Chain, operation: Operation, window: list[int]) -> tuple[list[int], tuple[int, int, int, int]]:
    """The stride and the padding. Raises InvalidData for what a window of ours cannot do."""
    if len(chain.shape) != 3:
        raise bad(f"{operation.name}: its input is no image")
    stride = operation.integers("strides", [1, 1])
    if (
        operation.integers("dilations", [1, 1]) != [1, 1]
        or operation.attribute("group", 1) != 1
        or operation.attribute("ceil_mode", 0)
    ):
        raise bad(f"{operation.name}: dilations, groups and ceil_mode are not taken")
    if min(*stride, *window) < 1:
        raise bad(f"{operation.name}: windows and strides are 1 or more")
    padding = _pads(operation, chain.shape, window, stride)
    if min(padding) < 0:
        raise bad(f"{operation.name}: negative padding")
    return stride, padding


def _convolution(chain: Chain, operation: Operation) -> None:
    filters = chain.graph.constant(operation, 1)
    if filters.ndim != 4:
        raise bad("Conv: only images are convolved")
    window = [int(each) for each in filters.shape[2:]]
    stride, padding = _sliding(chain, operation, window)
    biases = chain.graph.constant(operation, 2) if len(operation.inputs) > 2 and operation.inputs[2] else np.zeros(len(filters))
    layer = Convolution((window[0], window[1]), (stride[0], stride[1]), padding, len(filters))
    chain.add(operation, layer, filters, biases)


def _pool(kind: type[MaxPool | AveragePool]) -> Callable[[Chain, Operation], None]:
    def read(chain: Chain, operation: Operation) -> None:
        window = operation.integers("kernel_shape", [0, 0])
        stride, padding = _sliding(chain, operation, window)
        if any(padding):
            raise bad(f"{operation.name}: padding of pools is not taken")
        chain.add(operation, kind((window[0], window[1]), (stride[0], stride[1])))

    return read


def _global_pool(chain: Chain, operation: Operation) -> None:
    if len(chain.shape) != 3:
        raise bad(f"{operation.name}: its input is no image")
    chain.add(operation, AveragePool((chain.shape[1], chain.shape[2]), (1, 1)))


def _flatten(chain: Chain, operation: Operation) -> None:
    if operation.attribute("axis", 1) != 1:
        raise bad("Flatten: rows stay apart, axis is 1")
    chain.add(operation, Flatten())


def _reshape(chain: Chain, operation: Operation) -> None:
    wanted = [int(each) for each in chain.graph.constant(operation, 1).ravel()]
    size = math.prod(chain.shape)
    if wanted == [-1] and size == 1:
        wanted = [-1, 1]
    if (
        len(wanted) < 2
        or wanted[0] not in (-1, 0, 1)
        or wanted[1:].count(-1) > 1
        or any(each < -1 or each == 0 for each in wanted[1:])
    ):
        raise bad("Reshape: each row becomes a vector or an image")
    if -1 in wanted[1:]:
        wanted[wanted.index(-1, 1)] = max(1, size // math.prod(each for each in wanted[1:] if each != -1))
    shape = tuple(wanted[1:])
    if math.prod(shape) != size:
        raise bad(f"Reshape: {chain.shape} does not become {shape}")
    if shape == chain.shape:
        chain.go_on(operation, shape)
    elif shape == (size,):
        chain.add(operation, Flatten())
    elif len(shape) == 3 and not chain.layers:
        chain.inputs = shape
        chain.go_on(operation, shape)
    else:
        raise bad("Reshape: each row becomes a vector, or at the start an image")


def _scaler(chain: Chain, operation: Operation) -> None:
    offset, factor = (operation.numbers(name, []).astype(np.float32) for name in ("offset", "scale"))
    features = chain.shape[0]
    if chain.layers or chain.scaling or len(chain.shape) != 1 or {len(offset), len(factor)} - {1, features}:
        raise bad("Scaler: one of all features is taken, at the start")
    if not (np.isfinite(offset).all() and np.isfinite(factor).all() and (factor > 0).all()):
        raise bad("Scaler: its numbers are finite, and factors above 0")
    scale = (1 / factor.astype(np.float64)).astype(np.float32)
    chain.scaling = (np.broadcast_to(offset, (features,)), np.broadcast_to(scale, (features,)))
    chain.go_on(operation, chain.shape)


def _linear(chain: Chain, operation: Operation) -> None:
    classifier = operation.name.endswith("Classifier")
    coefficients = operation.numbers("coefficients", []).astype(np.float64)
    link = LINKS.get(operation.attribute("post_transform", "NONE"))
    features = chain.shape[0]
    if len(chain.shape) != 1 or not len(coefficients) or len(coefficients) % features or link is None:
        raise bad(f"{operation.name}: its coefficients are not those of {features} features, or its transform is not taken")
    weights = coefficients.reshape(-1, features).T
    biases = operation.numbers("intercepts", [0.0] * weights.shape[1]).astype(np.float64)
    if len(biases) != weights.shape[1]:
        raise bad(f"{operation.name}: {len(biases)} intercepts for {weights.shape[1]} outputs")
    if classifier:
        chain.classes = class_names(operation)
        mirrored = weights.shape[1] == 2 and np.array_equal(weights[:, 0], -weights[:, 1]) and biases[0] == -biases[1]
        if link == "sigmoid" and mirrored:
            weights, biases = weights[:, 1:], biases[1:]
        if len(chain.classes) not in (0, 2 if weights.shape[1] == 1 else weights.shape[1]):
            raise bad(f"{operation.name}: {len(chain.classes)} classes for {weights.shape[1]} scores")
    chain.add(operation, Dense(weights.shape[1]), weights, biases)
    if link == "sigmoid":
        chain.layers.append(Sigmoid())
    chain.link = "softmax" if link == "softmax" else "identity"
    chain.go_on(operation, chain.shape, ended=True, place=-1)


_READERS: dict[str, Callable[[Chain, Operation], Any]] = {
    "Cast": _pass,
    "Identity": _pass,
    "Relu": _plain(Relu),
    "Sigmoid": _plain(Sigmoid),
    "Tanh": _plain(Tanh),
    "Softmax": _softmax,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Conv": _convolution,
    "MaxPool": _pool(MaxPool),
    "AveragePool": _pool(AveragePool),
    "GlobalAveragePool": _global_pool,
    "Flatten": _flatten,
    "Reshape": _reshape,
    f"{ML}.Scaler": _scaler,
    f"{ML}.LinearClassifier": _linear,
    f"{ML}.LinearRegressor": _linear,
}
