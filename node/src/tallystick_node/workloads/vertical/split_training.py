"""`split-training`: a neural network of one owner's label on the columns of several owners of the same people.

Each owner runs its columns through a network of its own, and the owner of the label joins what they give
(:mod:`tallystick_node.engines.fl.split`). Gradients are noised before they leave it, by as much as the task's `divergence` asks.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.fl.split import training
from tallystick_node.engines.fl.split.network import MAX_LAYERS, MAX_ROWS, MAX_WIDTH, Settings
from tallystick_node.engines.fl.split.parts import Part
from tallystick_node.engines.fl.split.towers import KEY
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost
from tallystick_node.workloads.encodings import measured
from tallystick_node.workloads.features import decimal
from tallystick_node.workloads.tabular import text
from tallystick_node.workloads.vertical.model_kinds import NETWORK
from tallystick_node.workloads.vertical.parameters import Vertical, read_common
from tallystick_node.workloads.vertical.training import Fitted, Owned, VerticalTraining

MAX_EPOCHS = 1000
MAX_DIVERGENCE = 1e9


@dataclass(frozen=True)
class Parameters(Vertical):
    """``settings.divergence`` is finite: exact gradients show labels, and no task sends them."""

    settings: Settings

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        keys = (
            "split", "features", "target", "bottom", "cut", "top", "epochs", "batch", "rate", "momentum", "penalty", "divergence",
            "held_out", "seed", "minimum_group",
        )  # fmt: skip
        fields = Fields(dict(value), keys, "parameters")
        said = read_common(fields, value, measured)
        numbers = {name: decimal(value[name], f"parameters.{name}") for name in ("rate", "momentum", "penalty", "divergence")}
        if numbers["divergence"] > MAX_DIVERGENCE:
            raise MalformedDocument(f"parameters.divergence: must be at most {MAX_DIVERGENCE:g}")
        try:
            settings = Settings(
                bottom=fields.items("bottom", 0, MAX_LAYERS, _units),
                cut=fields.integer("cut", 1, MAX_WIDTH),
                top=fields.items("top", 0, MAX_LAYERS, _units),
                epochs=fields.integer("epochs", 1, MAX_EPOCHS),
                batch=fields.integer("batch", 1, MAX_ROWS),
                seed=said["seed"],
                **numbers,
            )
        except ValueError as error:
            raise MalformedDocument(f"parameters: {error}") from None
        return cls(**said, settings=settings)


class SplitTraining(VerticalTraining[Part, Parameters]):
    """The workload `split-training`."""

    name = "split-training"
    kind = NETWORK

    def parameters(self, spec: TaskSpec) -> Parameters:
        """Read them. Raises InvalidTask."""
        return Parameters.parse(spec.parameters)

    def promised(self, spec: TaskSpec) -> SecurityStatement:
        """See :class:`VerticalTraining`."""
        return training.security(len(spec.inputs), self.parameters(spec).settings)

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of the owner of the label: eight bytes for each row, number of the cut, epoch and other owner. As if all rows matched."""
        parameters = self.parameters(spec)
        settings, others = parameters.settings, len(spec.inputs) - 1
        matched = min(rows.values(), default=0)
        trained = max(1, matched - matched * parameters.held_out // 100)
        batches = max(trained // settings.batch, 1)
        width = max(len(parameters.names(part.party)) for part in spec.inputs)
        weights = settings.bottom_of(max(width, 1)).layout.size + settings.top_of(others + 1).layout.size
        return Cost(
            bytes_sent=8 * settings.epochs * trained * settings.cut * others + 100 * matched + 400,
            rounds=settings.epochs * batches + 8,
            seconds=1.5 + settings.epochs * (batches * 0.001 * others + trained * (weights * 4e-9 + settings.cut * others * 1e-7)),
            memory_bytes=200_000_000 + 32 * weights + 24 * matched * (width + settings.cut * others),
        )

    def train(self, parameters: Parameters, own: Owned) -> Fitted[Part]:
        """See :class:`VerticalTraining`."""
        settings, key, history = parameters.settings, secrets.token_bytes(KEY), list[dict[str, Any]]()
        if own.answers is None:
            return Fitted(training.assist(own.session, own.owners, own.columns, own.names, settings, key))

        def done(epoch: int, loss: float) -> None:
            history.append({"epoch": epoch + 1, "loss": text(loss)})
            own.session.progress(f"epoch {epoch + 1} of {settings.epochs}", (epoch + 1) / (settings.epochs + 1))

        part = training.lead(own.session, own.owners, own.columns, own.names, own.answers > 0, settings, key, done)
        return Fitted(part, {"history": history})


def _units(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_WIDTH:
        raise MalformedDocument(f"{where}: must be a number of units from 1 to {MAX_WIDTH}")
    return value
