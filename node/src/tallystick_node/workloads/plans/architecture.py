"""The public part of a secret model, as JSON: which layers or trees it has, and what its outputs are called.

The secret part is a table of :data:`WEIGHT`, one number for each row: a network's tensors in the order of its layers, or the nodes
and leaves of its trees, as :mod:`tallystick_node.engines.mpc.models` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.mpc.models import network as nn
from tallystick_node.engines.mpc.models.answers import LINKS
from tallystick_node.engines.mpc.models.trees import RULES, Trees

WEIGHT = "weight"
MAX_INPUTS = 1024
MAX_LENGTH = 65_536  # of a layer's vector, and of an image's channels and sides
MAX_LAYERS = 64
MAX_WINDOW = 64
MAX_WEIGHTS = 1 << 22
MAX_WIDTH = 1 << 22  # numbers of one row that are held at a time
MAX_DEPTH = 10
MAX_TREES = 4096
MAX_CLASSES = 1024

_PLAIN: dict[str, type[nn.Layer]] = {each.name: each for each in (nn.Relu, nn.Sigmoid, nn.Tanh, nn.Flatten)}
_POOLS: dict[str, type[nn.MaxPool | nn.AveragePool]] = {each.name: each for each in (nn.MaxPool, nn.AveragePool)}


@dataclass(frozen=True)
class Architecture:
    """``classes`` names the classes in their order; empty where they are only counted."""

    model: nn.Network | Trees
    classes: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: Any, where: str) -> Architecture:
        """From JSON, strictly. Raises MalformedDocument."""
        if not isinstance(value, dict) or value.get("type") not in ("network", "trees"):
            raise MalformedDocument(f"{where}.type: must be network or trees")
        model = _network(value, where) if value["type"] == "network" else _trees(value, where)
        for what, number, most in (("weights", model.weights, MAX_WEIGHTS), ("numbers of one row", model.widest, MAX_WIDTH)):
            if number > most:
                raise MalformedDocument(f"{where}: {number} {what}, more than {most}")
        fields = Fields(value, value, where)
        classes, expected = fields.names("classes", 0, MAX_CLASSES), 2 if model.outputs == 1 else model.outputs
        if classes and len(classes) != expected:
            raise MalformedDocument(f"{where}.classes: none, or the {expected} of the model")
        return cls(model, classes)

    def to_json(self) -> dict[str, Any]:
        """What :meth:`read` reads."""
        model = self.model
        if isinstance(model, nn.Network):
            return {
                "type": "network",
                "inputs": list(model.inputs),
                "layers": [_layer_json(each) for each in model.layers],
                "link": model.link,
                "classes": list(self.classes),
            }
        return {
            "type": "trees",
            "inputs": [model.features],
            "trees": model.trees,
            "depth": model.depth,
            "outputs": model.outputs,
            "rule": model.rule,
            "link": model.link,
            "classes": list(self.classes),
        }


def _network(value: dict[str, Any], where: str) -> nn.Network:
    fields = Fields(value, ("type", "inputs", "layers", "link", "classes"), where)
    inputs = fields.items("inputs", 1, 3, _length)
    if len(inputs) == 2 or math.prod(inputs) > MAX_INPUTS:
        raise MalformedDocument(f"{where}.inputs: one number, or channels, height and width; at most {MAX_INPUTS} together")
    link: Any = fields.choice("link", LINKS)
    layers = fields.items("layers", 1, MAX_LAYERS, _layer)
    try:
        return nn.Network(inputs, layers, link)
    except nn.WrongShape as error:
        raise MalformedDocument(f"{where}.layers: {error}") from None


def _trees(value: dict[str, Any], where: str) -> Trees:
    fields = Fields(value, ("type", "inputs", "trees", "depth", "outputs", "rule", "link", "classes"), where)
    (features,) = fields.items("inputs", 1, 1, _length)
    if features > MAX_INPUTS:
        raise MalformedDocument(f"{where}.inputs: at most {MAX_INPUTS}")
    rule: Any = fields.choice("rule", RULES)
    link: Any = fields.choice("link", LINKS)
    return Trees(
        features=features,
        trees=fields.integer("trees", 1, MAX_TREES),
        depth=fields.integer("depth", 1, MAX_DEPTH),
        outputs=fields.integer("outputs", 1, MAX_CLASSES),
        rule=rule,
        link=link,
    )


def _layer(value: Any, where: str) -> nn.Layer:
    name = value.get("layer") if isinstance(value, dict) else None
    if not isinstance(name, str):
        raise MalformedDocument(f"{where}.layer: must name a layer")
    if name in _PLAIN:
        Fields(value, ("layer",), where)
        return _PLAIN[name]()
    if name == nn.Dense.name:
        return nn.Dense(Fields(value, ("layer", "outputs"), where).integer("outputs", 1, MAX_LENGTH))
    if name in _POOLS:
        fields = Fields(value, ("layer", "window", "stride"), where)
        return _POOLS[name](_pair(fields, "window"), _pair(fields, "stride"))
    if name == nn.Convolution.name:
        fields = Fields(value, ("layer", "filters", "window", "stride", "padding"), where)
        top, left, bottom, right = fields.items("padding", 4, 4, _edge)
        filters = fields.integer("filters", 1, MAX_LENGTH)
        return nn.Convolution(_pair(fields, "window"), _pair(fields, "stride"), (top, left, bottom, right), filters)
    raise MalformedDocument(f"{where}.layer: must be one of {', '.join(LAYERS)}")


LAYERS = (nn.Dense.name, *_PLAIN, nn.Convolution.name, *_POOLS)


def _layer_json(layer: nn.Layer) -> dict[str, Any]:
    value: dict[str, Any] = {"layer": layer.name}
    if isinstance(layer, nn.Dense):
        value["outputs"] = layer.outputs
    if isinstance(layer, nn.Windowed):
        value |= {"window": list(layer.window), "stride": list(layer.stride)}
    if isinstance(layer, nn.Convolution):
        value |= {"filters": layer.filters, "padding": list(layer.padding)}
    return value


def _length(value: Any, where: str) -> int:
    return Fields({"it": value}, ("it",), where).integer("it", 1, MAX_LENGTH)


def _edge(value: Any, where: str) -> int:
    return Fields({"it": value}, ("it",), where).integer("it", 0, MAX_WINDOW)


def _pair(fields: Fields, key: str) -> tuple[int, int]:
    height, width = fields.items(key, 2, 2, lambda item, where: Fields({"it": item}, ("it",), where).integer("it", 1, MAX_WINDOW))
    return height, width
