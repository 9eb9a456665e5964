"""An ONNX file as a bounded graph of plain values. What a stranger sends can only raise :class:`InvalidData`.

Read are tensors that stand in the file itself; external data, sparse tensors, functions of the model and subgraphs are refused. The
package ``onnx`` is needed here alone: ``tallystick-node[onnx]``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tallystick.protocol.errors import Configuration, InvalidData

MAX_BYTES = 1 << 26
MAX_NODES = 1024
MAX_TENSORS = 1024
MAX_ELEMENTS = 1 << 22  # of all tensors together, and of one attribute
ML = "ai.onnx.ml"
REMEDY = "export a model that docs/how-to/private-prediction.md lists"


@dataclass(frozen=True)
class Operation:
    """One node. ``name`` is the operator's, after its domain where that is not ONNX's own: ``Gemm``, ``ai.onnx.ml.Scaler``."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute of the type of ``default``. Raises InvalidData for another type."""
        value = self.attributes.get(name, default)
        if type(value) is not type(default):
            raise bad(f"{self.name}: attribute {name!r} is of another type")
        return value

    def integers(self, name: str, default: list[int]) -> list[int]:
        """A list of integers, as many as ``default`` has. Raises InvalidData."""
        value = self.ids(name) or default
        if len(value) != len(default):
            raise bad(f"{self.name}: attribute {name!r} has {len(value)} numbers, not {len(default)}")
        return value

    def ids(self, name: str) -> list[int]:
        """A list of whole numbers, of any length. Raises InvalidData."""
        found = self.numbers(name, [])
        if found.size and found.dtype.kind not in "iu":
            raise bad(f"{self.name}: attribute {name!r} holds no whole numbers")
        return [int(each) for each in found]

    def numbers(self, name: str, default: list[Any]) -> NDArray[Any]:
        """A list of numbers, or the tensor of the same name that later versions have in its place. Raises InvalidData."""
        value = self.attributes.get(name, self.attributes.get(f"{name}_as_tensor", default))
        found = np.asarray(value)
        if not isinstance(value, list | np.ndarray) or found.ndim != 1 or (found.size and found.dtype.kind not in "iuf"):
            raise bad(f"{self.name}: attribute {name!r} is no list of numbers")
        return found


@dataclass(frozen=True)
class Graph:
    """One input of rows, each of ``shape``; ``constants`` by name; the operations in order."""

    input: str
    shape: tuple[int, ...]
    constants: Mapping[str, NDArray[Any]]
    operations: tuple[Operation, ...]

    def constant(self, operation: Operation, place: int) -> NDArray[np.float64]:
        """The numbers that an operation takes at a place. Raises InvalidData where they are computed or missing."""
        name = operation.inputs[place] if place < len(operation.inputs) else ""
        if name not in self.constants or self.constants[name].dtype.kind not in "iuf":
            raise bad(f"{operation.name}: input {place} is no constant of numbers")
        return self.constants[name].astype(np.float64)


def bad(rule: str) -> InvalidData:
    """The one error of a file that is not a model we take."""
    return InvalidData(f"the ONNX file: {rule}", remedy=REMEDY)


def read_graph(path: Path) -> Graph:
    """The graph of a file. Raises InvalidData, and Configuration where the package ``onnx`` is missing."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise Configuration("reading ONNX files needs the package onnx", remedy="install tallystick-node[onnx]") from None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidData(f"{path.name} cannot be read: {error.strerror}", remedy="name an .onnx file") from None
    if len(data) > MAX_BYTES:
        raise bad(f"more than {MAX_BYTES} bytes")
    try:
        model = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError):
        raise bad("it cannot be decoded") from None
    return _graph(model, onnx)


def _graph(model: Any, onnx: Any) -> Graph:
    graph = model.graph
    if model.functions or graph.sparse_initializer:
        raise bad("functions and sparse tensors are not taken")
    if not 1 <= len(graph.node) <= MAX_NODES or len(graph.initializer) > MAX_TENSORS:
        raise bad(f"more than {MAX_NODES} nodes or {MAX_TENSORS} tensors, or none")
    if sum(_elements(each, onnx) for each in _tensors(graph)) > MAX_ELEMENTS:
        raise bad(f"its tensors have more than {MAX_ELEMENTS} elements together")
    constants = {each.name: _array(each, onnx) for each in graph.initializer}
    operations = []
    for node in graph.node:
        domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
        attributes = {each.name: _attribute(each, onnx) for each in node.attribute}
        operation = Operation(f"{domain}{node.op_type}"[:64], tuple(node.input), tuple(node.output), attributes)
        if operation.name == "Constant":
            constants[operation.outputs[0] if operation.outputs else ""] = _constant(operation)
        else:
            operations.append(operation)
    made = [name for each in operations for name in each.outputs if name]
    inputs = [each for each in graph.input if each.name not in constants]
    if len(set(made) | constants.keys()) != len(made) + len(constants):
        raise bad("a value is made twice")
    if len(inputs) != 1 or inputs[0].name in made:
        raise bad(f"it has {len(inputs)} inputs: convert with one input, a matrix of all features")
    return Graph(inputs[0].name, _shape(inputs[0]), constants, tuple(operations))


def _shape(given: Any) -> tuple[int, ...]:
    dims = [each.dim_value if each.WhichOneof("value") == "dim_value" else 0 for each in given.type.tensor_type.shape.dim]
    if len(dims) not in (2, 4) or any(not 1 <= each <= MAX_ELEMENTS for each in dims[1:]):
        raise bad("its input is neither (rows, features) nor (rows, channels, height, width) of stated lengths")
    return tuple(dims[1:])


def _tensors(graph: Any) -> Iterable[Any]:
    yield from graph.initializer
    for node in graph.node:
        for each in node.attribute:
            yield from (each.t,) if each.HasField("t") else ()


def _elements(tensor: Any, onnx: Any) -> int:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise bad("a tensor stands in another file: save the model as one file")
    if len(tensor.dims) > 8 or any(not 0 <= each <= MAX_ELEMENTS for each in tensor.dims):
        raise bad("a tensor has an impossible shape")
    return math.prod(tensor.dims)


def _array(tensor: Any, onnx: Any) -> NDArray[Any]:
    """A tensor whose number of elements is known to be bounded."""
    try:
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, UnicodeDecodeError, OverflowError):
        raise bad("a tensor's data are not of its shape and type") from None


def _attribute(attribute: Any, onnx: Any) -> Any:
    kinds = onnx.AttributeProto
    if attribute.type == kinds.FLOAT:
        return float(attribute.f)
    if attribute.type == kinds.INT:
        return int(attribute.i)
    if attribute.type == kinds.STRING:
        return _text(attribute.s)
    if attribute.type == kinds.TENSOR:
        return _array(attribute.t, onnx)
    lists = {kinds.FLOATS: attribute.floats, kinds.INTS: attribute.ints, kinds.STRINGS: attribute.strings}
    found = lists.get(attribute.type)
    if found is None or len(found) > MAX_ELEMENTS:
        raise bad("an attribute is of a type that is not taken, or too long")
    return [_text(each) for each in found] if attribute.type == kinds.STRINGS else list(found)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise bad("a text is not UTF-8") from None


def _constant(operation: Operation) -> NDArray[Any]:
    if len(operation.attributes) != 1 or len(operation.outputs) != 1:
        raise bad("a Constant has one value")
    (value,) = operation.attributes.values()
    return np.asarray(value)
