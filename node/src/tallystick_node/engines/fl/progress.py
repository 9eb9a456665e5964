"""Where training stands: the strategy's state, what happened so far, and the file from which it goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.parameters import Vector, load_arrays, load_header, save_arrays
from tallystick_node.engines.fl.strategies.base import State

_BEST = "best"
_CLIENT = "client "


@dataclass(frozen=True)
class Record:
    """A round: its members, the digest of the model that it began with, how many contributed and how many of them were cut to their
    bounds, their weight, the mean training loss, and the quality of that model on the members' held-out rows and on the public
    ones.
    """

    round: int
    members: tuple[int, ...]
    model: str
    contributors: float
    cut: float
    weight: float
    loss: float | None
    validation: dict[str, float]
    public: dict[str, float]


@dataclass(frozen=True)
class Best:
    """The best model so far: after how many rounds, by which value of the metric."""

    round: int
    value: float
    model: Vector


@dataclass(frozen=True)
class Progress:
    """Where training stands. ``stale``: evaluations since the best; ``stopped``: whether the rule to stop early has struck."""

    state: State
    history: tuple[Record, ...] = ()
    best: Best | None = None
    stale: int = 0
    stopped: bool = False

    def digest(self, binding: bytes) -> bytes:
        """SHA-256 of the settings and of all that the parties have in common: they compare it before they go on."""
        return hashlib.sha256(b"tallystick progress v1\0" + self._file(binding, ())).digest()

    def save(self, binding: bytes, clients: Sequence[Client]) -> bytes:
        """A safetensors file of it, with the control variates of some clients. ``binding`` says under which settings it can go
        on."""
        return self._file(binding, clients)

    def _file(self, binding: bytes, clients: Sequence[Client]) -> bytes:
        arrays: dict[str, Vector] = dict(self.state.arrays)
        if self.best is not None:
            arrays[_BEST] = self.best.model
        arrays |= {f"{_CLIENT}{client.number}": client.control for client in clients if client.control is not None}
        header = {
            "binding": binding.hex(),
            "round": self.state.round,
            "history": [asdict(record) for record in self.history],
            "best": None if self.best is None else [self.best.round, self.best.value],
            "stale": self.stale,
            "stopped": self.stopped,
        }
        return save_arrays(arrays, header)

    @classmethod
    def load(cls, content: bytes, binding: bytes, names: Sequence[str], size: int, clients: Sequence[Client]) -> Progress:
        """Progress from a file, whose control variates the clients get. Raises ValueError unless it was saved under ``binding``
        with the vectors ``names`` of ``size`` finite numbers."""
        arrays, header = load_arrays(content)
        try:
            if header["binding"] != binding.hex():
                raise ValueError("the checkpoint is of training with other settings, or is none")
            best = header["best"]
            wanted = [*names, *([_BEST] if best is not None else [])]
            vectors = {name: _vector(arrays, name, size) for name in wanted}
            controls = {client.number: f"{_CLIENT}{client.number}" for client in clients}
            held = {number: _vector(arrays, name, size) for number, name in controls.items() if name in arrays}
            progress = cls(
                State(int(header["round"]), {name: vectors[name] for name in names}),
                tuple(Record(**{**record, "members": tuple(record["members"])}) for record in header["history"]),
                None if best is None else Best(int(best[0]), float(best[1]), vectors[_BEST]),
                int(header["stale"]),
                bool(header["stopped"]),
            )
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"the checkpoint lacks what training goes on from: {error}") from None
        if progress.state.round != len(progress.history) - progress.stopped:
            raise ValueError("the checkpoint's round is not that of its history")
        for client in clients:
            client.control = held.get(client.number)
        return progress


def last_record(content: bytes) -> Record:
    """The latest round in a file of progress that this party saved itself."""
    record = load_header(content)["history"][-1]
    return Record(**{**record, "members": tuple(record["members"])})


def _vector(arrays: Mapping[str, NDArray[Any]], name: str, size: int) -> Vector:
    array: Vector | None = arrays.get(name)
    if array is None or array.shape != (size,) or array.dtype != np.float64 or not np.isfinite(array).all():
        raise ValueError(f"the checkpoint lacks {name}, {size} finite numbers of float64")
    return array
