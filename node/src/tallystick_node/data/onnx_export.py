"""A model that a task of `training` gave, as an ONNX file: it takes the raw columns, and carries its card and where it came from.

The graph is a chain: ``Scaler`` (the centers and scales of the task), ``Gemm`` with ``Relu`` between layers, and for classes
``Softmax``, ``ArgMax`` and the class's name. Its numbers are of float32, as runtimes compute with; the model's are of float64. The
same model gives the same bytes, so that whoever has the result files can make the file again and compare.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tallystick.protocol import canonical
from tallystick.protocol.errors import Configuration, InvalidData, MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.result import LIMIT, NAME, ResultFile, file_digest

from tallystick_node.data.onnx_graph import ML
from tallystick_node.engines.fl.parameters import Parameters
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.features import Feature
from tallystick_node.workloads.model_card import CARD
from tallystick_node.workloads.training.parameters import read_model
from tallystick_node.workloads.training.workload import MODEL

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8  # of 2022: what runtimes of today all read
REMEDY = "give the result files of a training, as they came"
Numbers = NDArray[np.float64]


def export_model(folder: Path) -> bytes:
    """The ONNX file of the model in a folder of result files.

    Raises InvalidData when they are not those of a training of a model that this knows, or one of them was changed, and
    Configuration when a file cannot be read or the package ``onnx`` is missing. That the result file is the task's is for
    `tally verify` to show.
    """
    try:
        import onnx
    except ImportError:
        raise Configuration("writing ONNX files needs the package onnx", remedy="install tallystick-node[onnx]") from None
    content = _content(folder / NAME)
    try:
        result = ResultFile.parse(content)
        if result.workload != "training":
            raise InvalidData(f"the result is of {result.workload}", remedy=REMEDY)
        features, target, numbers = _read(result.values, _bound(folder, result, MODEL))
    except MalformedDocument as error:
        raise InvalidData(f"{folder}: {error.message}", remedy=REMEDY) from None
    except ValueError as error:
        raise InvalidData(f"{folder}: {error}", remedy=REMEDY) from None
    imports = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(ML, ML_OPSET)]
    graph = _graph(onnx, features, target, _layers(target, numbers))
    model = onnx.helper.make_model(graph, producer_name="tallystick", opset_imports=imports, ir_version=IR_VERSION)
    said = {
        "task": result.task,
        "result": file_digest(content),
        "model": numbers.digest(),
        "columns": json.dumps([each.column for each in features], ensure_ascii=False),
        "target": target.column,
        "card": _bound(folder, result, CARD).decode(),
    }
    onnx.helper.set_model_props(model, said)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LIMIT:
            raise InvalidData(f"{path} has more than {LIMIT} bytes", remedy=REMEDY)
        return path.read_bytes()
    except OSError as error:
        raise Configuration(f"{path} cannot be read: {error.strerror}", remedy="name the folder of result files") from None


def _bound(folder: Path, result: ResultFile, name: str) -> bytes:
    """A file that the result file names, unchanged."""
    content = _content(folder / name)
    if result.files.get(name) != canonical.text(hashlib.sha256(content).digest()):
        raise InvalidData(
            f"{folder / name} is not the file that the result file names: it was changed",
            party=result.receiver,
            remedy="fetch the result again",
        )
    return content


def _read(values: Mapping[str, Any], content: bytes) -> tuple[Sequence[Feature], Feature | Category, Parameters]:
    """What goes in, what comes out, and the numbers between. Raises MalformedDocument or ValueError."""
    said = Fields({"model": values.get("model")}, ("model",), "values").object("model")
    fields = Fields(said, ("digest", "layout", "kind", "features", "target"), "values.model")
    features, answers, learner = read_model(said["kind"], said["features"], said["target"], "values.model")
    numbers = Parameters.load(content, learner.layout)
    if numbers.digest() != fields.digest("digest"):
        raise InvalidData(f"the numbers of {MODEL} are not those that the result file names", remedy="fetch the result again")
    return features, answers, numbers


def _layers(target: Feature | Category, numbers: Parameters) -> list[tuple[Numbers, Numbers]]:
    """Weights and intercepts of each layer; a number is brought back from its center and scale."""
    arrays = [np.asarray(each, np.float64) for each in numbers.values()]
    if isinstance(target, Feature):
        weight, bias = arrays
        return [(weight[:, None] * target.scale, bias[None] * target.scale + target.center)]
    return list(zip(arrays[0::2], arrays[1::2], strict=True))


def _graph(onnx: Any, features: Sequence[Feature], target: Feature | Category, layers: Sequence[tuple[Numbers, Numbers]]) -> Any:
    """From the raw columns to a number, or to the classes' probabilities and the name of the likeliest."""
    make, inform, kinds = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto
    offset, factor = [each.center for each in features], [1 / each.scale for each in features]
    nodes = [make("Scaler", ["columns"], ["units"], domain=ML, offset=offset, scale=factor)]
    tensors, current = [], "units"
    for number, layer in enumerate(layers):
        names = [f"weight{number}", f"bias{number}"]
        tensors += [_tensor(onnx, name, each) for name, each in zip(names, layer, strict=True)]
        last = number == len(layers) - 1
        out = f"sums{number}" if not last else "scores" if isinstance(target, Category) else "number"
        nodes.append(make("Gemm", [current, *names], [out]))
        if not last:
            nodes.append(make("Relu", [out], [f"units{number}"]))
        current = f"units{number}"
    if isinstance(target, Feature):
        outputs = [inform("number", kinds.FLOAT, ["rows", 1])]
    else:
        nodes += [
            make("Softmax", ["scores"], ["probabilities"], axis=-1),
            make("ArgMax", ["probabilities"], ["likeliest"], axis=1, keepdims=0),
            make("ArrayFeatureExtractor", ["classes", "likeliest"], ["named"], domain=ML),
            make("Reshape", ["named", "flat"], ["class"]),
        ]
        tensors.append(
            onnx.helper.make_tensor("classes", kinds.STRING, [len(target.values)], [each.encode() for each in target.values])
        )
        tensors.append(onnx.helper.make_tensor("flat", kinds.INT64, [1], [-1]))
        outputs = [inform("class", kinds.STRING, ["rows"]), inform("probabilities", kinds.FLOAT, ["rows", len(target.values)])]
    return onnx.helper.make_graph(nodes, "model", [inform("columns", kinds.FLOAT, ["rows", len(features)])], outputs, tensors)


def _tensor(onnx: Any, name: str, numbers: Numbers) -> Any:
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise InvalidData("a number of the model is too large for float32", remedy="train with a penalty, or scale the columns")
    return onnx.numpy_helper.from_array(narrow, name)
