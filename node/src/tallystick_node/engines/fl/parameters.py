"""The numbers of a model: named arrays in a fixed order, their layout, one flat vector of them, their digest and their file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from tallystick import flat_json

Vector = NDArray[np.float64]
KINDS = ("float32", "float64")
MAX_ARRAYS = 4096
MAX_SIZE = 1 << 28  # numbers of one model: 2 GiB of float64
MAX_NAME = 256  # characters
_DOMAIN = b"tallystick federated model v1\0"


@dataclass(frozen=True)
class Entry:
    """One array of a model: its name, its shape and "float32" or "float64"."""

    name: str
    shape: tuple[int, ...]
    kind: str

    def __post_init__(self) -> None:
        if not (0 < len(self.name) <= MAX_NAME and self.name.isprintable() and self.name != "__metadata__"):
            raise ValueError(f"the name {self.name[:MAX_NAME]!r} is not one of 1 to {MAX_NAME} printable characters")
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: holds {self.kind}, not one of {', '.join(KINDS)}")

    @property
    def size(self) -> int:
        """How many numbers the array has."""
        return prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The arrays of a model in the order in which one flat float64 vector holds them, each in C order.

    Raises ValueError unless names are distinct, kinds are known and the whole has 1 to ``MAX_SIZE`` numbers.
    """

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        if len({entry.name for entry in self.entries}) != len(self.entries):
            raise ValueError("two arrays of a model have one name")
        if not (len(self.entries) <= MAX_ARRAYS and 0 < self.size <= MAX_SIZE):
            raise ValueError(f"a model has 1 to {MAX_SIZE} numbers in at most {MAX_ARRAYS} arrays")

    @cached_property
    def size(self) -> int:
        """The length of the flat vector."""
        return sum(entry.size for entry in self.entries)

    @cached_property
    def document(self) -> list[list[Any]]:
        """The layout as JSON holds it: name, kind and shape of each array."""
        return [[entry.name, entry.kind, list(entry.shape)] for entry in self.entries]

    def views(self, vector: Vector) -> dict[str, Vector]:
        """The arrays as views of a flat vector: what is written into them is written into it. No number is checked."""
        ends = accumulate((entry.size for entry in self.entries), initial=0)
        return {
            entry.name: vector[start:end].reshape(entry.shape)
            for entry, (start, end) in zip(self.entries, pairwise(ends), strict=True)
        }

    def flatten(self, parameters: Parameters) -> Vector:
        """The numbers as one new vector. Raises ValueError unless the parameters have this layout."""
        if parameters.layout != self:
            raise ValueError(f"the parameters are {parameters.layout.document}, not {self.document}")
        return np.concatenate([array.reshape(-1) for array in parameters.values()], dtype=np.float64)

    def unflatten(self, vector: Vector) -> Parameters:
        """The parameters that a flat vector holds, rounded to each array's kind. Raises ValueError unless it has the layout's
        length, and naming the array where a number is not finite."""
        if vector.shape != (self.size,):
            raise ValueError(f"a vector of shape {vector.shape} where ({self.size},) is due")
        kinds = {entry.name: entry.kind for entry in self.entries}
        with np.errstate(over="ignore"):  # what overflows is refused by name
            return Parameters({name: view.astype(kinds[name]) for name, view in self.views(vector).items()})


class Parameters(Mapping[str, NDArray[Any]]):
    """Named arrays of float32 or float64 in the order given, copied and read-only, every number finite and no zero negative, so
    that equal parameters have equal bytes. Raises ValueError naming the array otherwise."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        held = {}
        entries = []
        for name, array in arrays.items():
            entries.append(Entry(name, array.shape, array.dtype.name))
            held[name] = np.ascontiguousarray(array + array.dtype.type(0)).reshape(array.shape)
            if not np.isfinite(held[name]).all():
                raise ValueError(f"{name}: holds a number that is not finite")
            held[name].flags.writeable = False
        self.layout = Layout(tuple(entries))
        self._arrays = held

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def digest(self) -> str:
        """SHA-256 of a domain tag, the layout and the numbers, little-endian: "sha256:" and 64 hexadecimal digits."""
        state = hashlib.sha256(_DOMAIN)
        header = json.dumps(self.layout.document, separators=(",", ":")).encode()
        state.update(len(header).to_bytes(8, "little") + header)
        for array in self.values():
            state.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        return f"sha256:{state.hexdigest()}"

    def save(self, said: Mapping[str, Any] = MappingProxyType({})) -> bytes:
        """The parameters as a safetensors file, whose header has their layout, their digest and what else is to be said."""
        return save_arrays(self, {**said, "layout": self.layout.document, "digest": self.digest()})

    @classmethod
    def load(cls, content: bytes, layout: Layout) -> Parameters:
        """The parameters in a safetensors file from anywhere. Raises ValueError unless it holds exactly the arrays of ``layout``,
        with finite numbers."""
        arrays, _ = load_arrays(content)
        if missing := [entry.name for entry in layout.entries if entry.name not in arrays]:
            raise ValueError(f"the file lacks the array {missing[0]}")
        if len(arrays) > len(layout.entries):
            raise ValueError(f"the file has {len(arrays)} arrays where {len(layout.entries)} are due")
        parameters = cls({entry.name: arrays[entry.name] for entry in layout.entries})
        if parameters.layout != layout:
            raise ValueError(f"the file's arrays are {parameters.layout.document}, not {layout.document}")
        return parameters


def save_arrays(arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> bytes:
    """A safetensors file of arrays with a header, one JSON object; the same content gives the same bytes."""
    return save(dict(arrays), metadata={"header": json.dumps(header, sort_keys=True, separators=(",", ":"))})


def load_arrays(content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and header of a safetensors file; the header is empty where the file has none of ours. Raises ValueError when it is no
    such file or its arrays are not of float32 or float64."""
    try:
        arrays = load(content)  # checks lengths and offsets
        header = load_header(content)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"no safetensors file: {error}") from None
    for name, array in arrays.items():
        if array.dtype.name not in KINDS:
            raise ValueError(f"{name}: holds {array.dtype.name}, not one of {', '.join(KINDS)}")
    return arrays, header


def load_header(content: bytes) -> dict[str, Any]:
    """The header of a safetensors file, empty where it has none of ours; no array is read. Raises ValueError."""
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = flat_json.parse(content[8 : 8 + length]).get("__metadata__", {})
        header = flat_json.parse(metadata.get("header", "{}").encode())
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"no safetensors file: {error}") from None
    if not isinstance(header, dict):
        raise ValueError("no safetensors file of ours: its header is no JSON object")
    return header
