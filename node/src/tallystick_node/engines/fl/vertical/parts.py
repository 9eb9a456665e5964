"""The part of a boosted model that one owner keeps: its own splits, and with the owner of the label the shape of the trees.

A part is a JSON document; numbers that are not whole stand as text, the shortest of their float64.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallystick import flat_json

from tallystick_node.engines.fl.vertical.binning import MAX_FEATURES

FORMAT = "tallystick boosted trees v1"
MAX_TREES, MAX_DEPTH, MAX_OWNERS = 1024, 12, 64
MAX_BYTES = 256 << 20
_ID = re.compile(r"[0-9a-f]{16}")


class InvalidPart(ValueError):  # noqa: N818 - the name says what is wrong
    """A document is no part of a boosted model: the message says where and why."""


@dataclass(frozen=True)
class Split:
    """Rows go left where the owner's ``feature``-th column is at most ``threshold``."""

    feature: int
    threshold: float


@dataclass(frozen=True)
class Branch:
    """A node that is split: by which owner, by its split of which name, and the places of its children in the tree."""

    owner: int
    split: str
    left: int
    right: int


@dataclass(frozen=True)
class Leaf:
    """A node that ends the way of its rows with what it adds to their scores."""

    value: float


Tree = tuple[Branch | Leaf, ...]  # the root first, parents before children


@dataclass(frozen=True)
class Ensemble:
    """What the owner of the label keeps: the score that all rows begin with, and the trees. Scores are log-odds."""

    owners: int
    base: float
    trees: tuple[Tree, ...]


@dataclass(frozen=True)
class Part:
    """``owner`` is this owner's number, 0 for the owner of the label; ``features`` names its columns in their order; ``splits`` are
    its own, by their random names. ``ensemble`` is there with owner 0 alone."""

    owner: int
    features: tuple[str, ...]
    splits: Mapping[str, Split]
    ensemble: Ensemble | None

    def to_json(self) -> bytes:
        """The document."""
        splits = [
            {"id": name, "feature": each.feature, "threshold": repr(each.threshold)} for name, each in sorted(self.splits.items())
        ]
        ensemble = None
        if self.ensemble is not None:
            ensemble = {
                "owners": self.ensemble.owners,
                "base": repr(self.ensemble.base),
                "trees": [[_node(each) for each in tree] for tree in self.ensemble.trees],
            }
        document = {
            "format": FORMAT, "owner": self.owner, "features": list(self.features), "splits": splits, "ensemble": ensemble,
        }  # fmt: skip
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Part:
        """The part in a document. Raises :class:`InvalidPart` for anything that :meth:`to_json` could not have written."""
        if len(data) > MAX_BYTES:
            raise InvalidPart(f"the document has more than {MAX_BYTES} bytes")
        try:
            value = flat_json.parse(data)
        except ValueError:
            raise InvalidPart("the document is not JSON") from None
        fields = _members(value, ("format", "owner", "features", "splits", "ensemble"), "document")
        if fields["format"] != FORMAT:
            raise InvalidPart(f"the document's format is not {FORMAT!r}")
        owner = _integer(fields["owner"], 0, MAX_OWNERS - 1, "owner")
        features = _list(fields["features"], MAX_FEATURES, "features")
        if not all(isinstance(each, str) and 0 < len(each) <= 128 for each in features) or len(set(features)) != len(features):
            raise InvalidPart("features: must be different names of 1 to 128 characters")
        listed = _list(fields["splits"], MAX_TREES << MAX_DEPTH, "splits")
        splits = dict(_read_split(each, len(features), f"splits[{place}]") for place, each in enumerate(listed))
        if len(splits) != len(listed):
            raise InvalidPart("splits: two have one id")
        if (owner == 0) != (fields["ensemble"] is not None):
            raise InvalidPart("ensemble: is with owner 0, the owner of the label, and with nobody else")
        ensemble = None if fields["ensemble"] is None else _ensemble(fields["ensemble"])
        part = cls(owner, tuple(features), splits, ensemble)
        if ensemble is not None:
            own = [node.split for tree in ensemble.trees for node in tree if isinstance(node, Branch) and node.owner == 0]
            if sorted(own) != sorted(splits):
                raise InvalidPart("ensemble: its nodes of owner 0 are not the splits of the document")
        return part


def _node(node: Branch | Leaf) -> dict[str, Any]:
    if isinstance(node, Leaf):
        return {"value": repr(node.value)}
    return {"owner": node.owner, "split": node.split, "left": node.left, "right": node.right}


def _ensemble(value: Any) -> Ensemble:
    fields = _members(value, ("owners", "base", "trees"), "ensemble")
    owners = _integer(fields["owners"], 1, MAX_OWNERS, "ensemble.owners")
    trees = _list(fields["trees"], MAX_TREES, "ensemble.trees")
    read = tuple(_tree(tree, owners, f"ensemble.trees[{place}]") for place, tree in enumerate(trees))
    named = [(node.owner, node.split) for tree in read for node in tree if isinstance(node, Branch)]
    if len(set(named)) != len(named):
        raise InvalidPart("ensemble.trees: a split is used by two nodes")
    return Ensemble(owners, _number(fields["base"], "ensemble.base"), read)


def _tree(value: Any, owners: int, where: str) -> Tree:
    """The nodes: each but the root is the child of one node before it."""
    nodes: list[Branch | Leaf] = []
    depths = {0: 0}
    for place, each in enumerate(_list(value, 2 << MAX_DEPTH, where)):
        at = f"{where}[{place}]"
        if place not in depths:
            raise InvalidPart(f"{at}: no node before it leads to it")
        if isinstance(each, dict) and "value" in each:
            nodes.append(Leaf(_number(_members(each, ("value",), at)["value"], f"{at}.value")))
            continue
        fields = _members(each, ("owner", "split", "left", "right"), at)
        children = [_integer(fields[side], place + 1, 2 << MAX_DEPTH, f"{at}.{side}") for side in ("left", "right")]
        if depths[place] == MAX_DEPTH or children[0] == children[1] or any(child in depths for child in children):
            raise InvalidPart(f"{at}: is too deep, or a child has two parents")
        depths |= dict.fromkeys(children, depths[place] + 1)
        nodes.append(Branch(_integer(fields["owner"], 0, owners - 1, f"{at}.owner"), _id(fields["split"], at), *children))
    if len(nodes) != len(depths):
        raise InvalidPart(f"{where}: a child is missing")
    return tuple(nodes)


def _read_split(value: Any, features: int, where: str) -> tuple[str, Split]:
    fields = _members(value, ("id", "feature", "threshold"), where)
    feature = _integer(fields["feature"], 0, features - 1, f"{where}.feature")
    return _id(fields["id"], where), Split(feature, _number(fields["threshold"], f"{where}.threshold"))


def _members(value: Any, names: Sequence[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise InvalidPart(f"{where}: must be an object of {', '.join(names)}")
    return value


def _list(value: Any, most: int, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise InvalidPart(f"{where}: must be a list of at most {most} items")
    return value


def _integer(value: Any, low: int, high: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidPart(f"{where}: must be an integer from {low} to {high}")
    return value


def _id(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidPart(f"{where}: names no split by 16 lower-case hex digits")
    return value


def _number(value: Any, where: str) -> float:
    """From the text that ``repr`` makes, and no other."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or repr(number) != value:
        raise InvalidPart(f"{where}: must be the shortest text of a finite number")
    return number
