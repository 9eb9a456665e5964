"""A trained model from an ONNX file: its public architecture, and its secret weights.

The chain of operators from the input is followed until it ends or becomes a class or its name. What is not understood is refused:
no model is imported that would compute something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tallystick.protocol.errors import MalformedDocument

from tallystick_node.data.onnx_graph import ML, Operation, bad, read_graph
from tallystick_node.data.onnx_layers import Chain
from tallystick_node.data.onnx_trees import class_names, distinct, read_trees
from tallystick_node.engines.mpc.models.network import Dense, Network, Sigmoid, WrongShape
from tallystick_node.workloads.plans.architecture import Architecture

Numbers = NDArray[np.float64]
MAX_WEIGHT = float(1 << 31)
TAIL = {"ArgMax", "Cast", "Identity", "Reshape", f"{ML}.ZipMap", f"{ML}.ArrayFeatureExtractor"}


@dataclass(frozen=True)
class Imported:
    """``scaling`` holds the centers and scales of the features where the file began with a scaler."""

    architecture: Architecture
    weights: Numbers
    scaling: tuple[Numbers, Numbers] | None


def read_model(path: Path) -> Imported:
    """The model of an ``.onnx`` file. Raises InvalidData, and Configuration where the package ``onnx`` is missing."""
    graph = read_graph(path)
    chain = Chain(graph)
    rest = _followed(chain)
    _require_tail(chain, rest)
    try:
        imported = _assembled(chain)
        Architecture.read(imported.architecture.to_json(), "architecture")
    except (MalformedDocument, WrongShape) as error:
        raise bad(str(error.args[0])) from None
    if not np.all(np.abs(imported.weights) < MAX_WEIGHT):  # NaN among them
        raise bad(f"a weight is not a number below {MAX_WEIGHT:.0f}")
    return imported


def _followed(chain: Chain) -> list[Operation]:
    """Take operators as long as one alone takes what the one before gives; the operators that are left."""
    rest = list(chain.graph.operations)
    while True:
        takers = [each for each in rest if chain.current in each.inputs]
        if len(takers) != 1 or chain.ended or not _take(chain, takers[0]):
            return rest
        rest.remove(takers[0])


def _take(chain: Chain, operation: Operation) -> bool:
    if operation.name in (f"{ML}.TreeEnsembleClassifier", f"{ML}.TreeEnsembleRegressor"):
        if chain.layers or len(chain.shape) != 1:
            raise bad("trees stand after layers")
        chain.trees = read_trees(operation, chain.shape[0])
        chain.classes = chain.trees.classes
        chain.go_on(operation, chain.shape, ended=True, place=-1)
        return True
    return chain.take(operation)


def _require_tail(chain: Chain, rest: Sequence[Operation]) -> None:
    """What is left only names the class, or states the other class's probability."""
    binary = bool(chain.layers) and isinstance(chain.layers[-1], Sigmoid) and chain.shape == (1,)
    certain = chain.link == "softmax" or binary or (chain.trees is not None and chain.trees.model.link != "identity")
    checks: dict[str, Callable[[Operation], bool]] = {
        f"{ML}.Normalizer": lambda each: certain and each.attribute("norm", "MAX") == "L1",
        "Sub": lambda each: binary and each.inputs[1:] == (chain.current,) and bool(np.all(chain.graph.constant(each, 0) == 1)),
        "Concat": lambda each: binary and len(each.inputs) == 2 and each.inputs[1] == chain.current,
    }
    for each in rest:
        if each.name not in TAIL and not (each.name in checks and checks[each.name](each)):
            raise bad(f"operator {each.name!r} is not taken, or not in this place")
        if each.name == f"{ML}.ZipMap" and not chain.classes:
            chain.classes = class_names(each)
        if each.name == f"{ML}.ArrayFeatureExtractor" and not chain.classes:
            listed = chain.graph.constants.get(each.inputs[0]) if each.inputs else None
            if listed is not None and listed.ndim == 1 and listed.dtype.kind in "OUi":
                chain.classes = distinct(each, listed)


def _assembled(chain: Chain) -> Imported:
    if chain.trees is not None:
        return Imported(Architecture(chain.trees.model, chain.classes), chain.trees.weights, chain.scaling)
    layers, link = list(chain.layers), chain.link
    if layers and isinstance(layers[-1], Sigmoid):
        layers.pop()
        link = "sigmoid"
    if not any(isinstance(each, Dense) for each in layers) and not chain.tensors:
        raise bad("there is no model in it: no layer with weights")
    network = Network(chain.inputs, tuple(layers), link)
    weights = np.concatenate([np.ravel(each) for pair in chain.tensors for each in pair])
    if len(weights) != network.weights:
        raise bad("the weights are not those of its layers")
    return Imported(Architecture(network, chain.classes), weights, chain.scaling)
