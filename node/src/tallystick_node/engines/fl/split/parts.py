"""The part of a split network that one owner keeps: its bottom, and with the owner of the label the top.

A part is a safetensors file with a header. An owner of the label without columns keeps the top alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tallystick_node.engines.fl.parameters import Entry, Layout, Parameters, load_header
from tallystick_node.engines.fl.split.network import MAX_FEATURES, MAX_LAYERS, MAX_OWNERS, MAX_WIDTH
from tallystick_node.engines.fl.split.towers import Tower, Trained

FORMAT = "tallystick split network v1"
MAX_BYTES = 512 << 20
_LAST: tuple[tuple[str, Literal["tanh", "linear"]], ...] = (("bottom", "tanh"), ("top", "linear"))


class InvalidPart(ValueError):  # noqa: N818 - the name says what is wrong
    """A file is no part of a split network: the message says why."""


@dataclass(frozen=True)
class Part:
    """``owner`` is this owner's number, 0 for the owner of the label; ``features`` names its columns in their order; ``bottom`` is
    there where it has columns, ``top`` with owner 0 alone. Bottoms give ``cut`` numbers; ``owners`` counts all, owner 0 too."""

    owner: int
    owners: int
    features: tuple[str, ...]
    cut: int
    bottom: Trained | None
    top: Trained | None

    @property
    def bottoms(self) -> int:
        """How many bottoms the top joins, at owner 0."""
        return self.owners - (self.bottom is None)

    def __post_init__(self) -> None:
        named = all(isinstance(each, str) and 0 < len(each) <= 128 for each in self.features)
        if not named or len(set(self.features)) != len(self.features) or len(self.features) > MAX_FEATURES:
            raise InvalidPart(f"features: must be at most {MAX_FEATURES} different names of 1 to 128 characters")
        if not (2 <= self.owners <= MAX_OWNERS and 0 <= self.owner < self.owners and 1 <= self.cut <= MAX_WIDTH):
            raise InvalidPart(f"owner: is a number below that of owners, 2 to {MAX_OWNERS}; cut: 1 to {MAX_WIDTH}")
        if (self.owner == 0) != (self.top is not None) or bool(self.features) != (self.bottom is not None):
            raise InvalidPart("top: is with owner 0 and nobody else; bottom: is with whoever has columns")
        if self.owner and self.bottom is None:
            raise InvalidPart("bottom: every owner but 0 has one")
        if self.bottom is not None and (self.bottom.tower.sizes[0], self.bottom.tower.sizes[-1]) != (len(self.features), self.cut):
            raise InvalidPart("bottom: does not lead from the columns to the cut")
        if self.top is not None and (self.top.tower.sizes[0], self.top.tower.sizes[-1]) != (self.bottoms * self.cut, 1):
            raise InvalidPart("top: does not lead from all bottoms to one number")

    def to_bytes(self) -> bytes:
        """The file."""
        arrays: dict[str, Any] = {}
        sizes: dict[str, list[int] | None] = {"bottom": None, "top": None}
        for name, piece in (("bottom", self.bottom), ("top", self.top)):
            if piece is not None:
                sizes[name] = list(piece.tower.sizes)
                arrays |= {f"{name}.{key}": array for key, array in piece.parameters.items()}
        said = {"format": FORMAT, "owner": self.owner, "owners": self.owners, "features": self.features, "cut": self.cut, **sizes}
        return Parameters(arrays).save(said)

    @classmethod
    def from_bytes(cls, data: bytes) -> Part:
        """The part in a file. Raises :class:`InvalidPart` for anything that :meth:`to_bytes` could not have written."""
        if len(data) > MAX_BYTES:
            raise InvalidPart(f"the file has more than {MAX_BYTES} bytes")
        try:
            header = load_header(data)
            if header.get("format") != FORMAT:
                raise InvalidPart(f"the file's format is not {FORMAT!r}")
            towers = {name: tower for name, last in _LAST if (tower := _tower(header.get(name), last)) is not None}
            entries = [_renamed(entry, name) for name, tower in towers.items() for entry in tower.layout.entries]
            arrays = Parameters.load(data, Layout(tuple(entries)))
            pieces = {
                name: Trained(tower, Parameters({entry.name: arrays[f"{name}.{entry.name}"] for entry in tower.layout.entries}))
                for name, tower in towers.items()
            }
        except InvalidPart:
            raise
        except ValueError as error:
            raise InvalidPart(str(error)) from None
        owner, owners, cut = (header.get(name) for name in ("owner", "owners", "cut"))
        features = header.get("features")
        if not (type(owner) is type(owners) is type(cut) is int and isinstance(features, list)):
            raise InvalidPart("owner, owners and cut are no whole numbers, or features no list")
        if not all(isinstance(each, str) for each in features):
            raise InvalidPart("features: must be names")
        return cls(owner, owners, tuple(features), cut, pieces.get("bottom"), pieces.get("top"))


def _tower(sizes: Any, last: Literal["tanh", "linear"]) -> Tower | None:
    if sizes is None:
        return None
    if not (isinstance(sizes, list) and 2 <= len(sizes) <= MAX_LAYERS + 2 and all(type(each) is int for each in sizes)):
        raise InvalidPart(f"the sizes of a network are no list of 2 to {MAX_LAYERS + 2} whole numbers")
    if not (1 <= sizes[0] <= MAX_OWNERS * MAX_FEATURES and all(1 <= each <= MAX_WIDTH for each in sizes[1:])):
        raise InvalidPart(f"the sizes of a network are not within 1 to {MAX_WIDTH}")
    return Tower(tuple(sizes), last)


def _renamed(entry: Entry, name: str) -> Entry:
    return Entry(f"{name}.{entry.name}", entry.shape, entry.kind)
