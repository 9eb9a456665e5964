"""`vertical-regression`: a linear or logistic model of one owner's label on the columns of several owners of the same people.

The owners fit it with Paillier and without an arbiter (:mod:`tallystick_node.engines.fl.vertical.regression`); each keeps the
weights of its own columns. The workload `regression` shows the whole model to receivers instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.fl.vertical import regression
from tallystick_node.engines.fl.vertical.coefficients import Coefficients
from tallystick_node.engines.fl.vertical.regression import MAX_BATCH, Settings, Table
from tallystick_node.engines.he.paillier.keys import generate
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.encodings import measured
from tallystick_node.workloads.features import decimal
from tallystick_node.workloads.vertical.model_kinds import LINEAR
from tallystick_node.workloads.vertical.parameters import DECRYPTION, ENCRYPTION, PRODUCT, Vertical, read_common, read_key_bits
from tallystick_node.workloads.vertical.training import Fitted, Owned, VerticalTraining

ROWS_PER_WEIGHT = 5  # fewer would let weights stand for single rows
MAX_EPOCHS = 100
DIGITS = 8  # products of ciphertexts for an entry of a matrix
SLOTS = 14  # sums in one ciphertext, about
ROUNDS = 4  # for each batch: two products, each of a vector sent there and an answer back


@dataclass(frozen=True)
class Parameters(Vertical):
    """A target of two values makes it a logistic model, a number a linear one. ``key_bits`` is the size of the Paillier keys."""

    settings: Settings
    key_bits: int

    @property
    def weights(self) -> int:
        """Of the model, without the intercept."""
        return sum(len(each.names) for each in self.features)

    @property
    def least_rows(self) -> int:
        """As many that no weight stands for a single row."""
        return max(self.minimum_group, ROWS_PER_WEIGHT * (self.weights + 1))

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        keys = ("split", "features", "target", "epochs", "batch", "rate", "ridge", "held_out", "seed", "key_bits", "minimum_group")
        fields = Fields(dict(value), keys, "parameters")
        said = read_common(fields, value, measured, numbers=True)
        try:
            settings = Settings(
                "logistic" if isinstance(said["target"], Category) else "linear",
                epochs=fields.integer("epochs", 1, MAX_EPOCHS),
                batch=fields.integer("batch", 2, MAX_BATCH),
                rate=decimal(value["rate"], "parameters.rate"),
                ridge=decimal(value["ridge"], "parameters.ridge"),
            )
        except ValueError as error:
            raise MalformedDocument(f"parameters: {error}") from None
        return cls(**said, settings=settings, key_bits=read_key_bits(fields))


class VerticalRegression(VerticalTraining[Coefficients, Parameters]):
    """The workload `vertical-regression`."""

    name = "vertical-regression"
    kind = LINEAR
    kernels = ("intersection", "two-party")  # the second between the two holders of shares

    def parameters(self, spec: TaskSpec) -> Parameters:
        """Read them. Raises InvalidTask."""
        return Parameters.parse(spec.parameters)

    def promised(self, spec: TaskSpec) -> SecurityStatement:
        """See :class:`VerticalTraining`."""
        return regression.security(len(spec.inputs), self.parameters(spec).key_bits)

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of a holder of shares: for each batch ciphertexts of its rows and of the weights to each other owner, and products in few
        ciphertexts back; and what the engine between the holders takes. As if all rows matched."""
        parameters = self.parameters(spec)
        settings, others, size = parameters.settings, len(spec.inputs) - 1, parameters.key_bits // 4
        matched = min(rows.values(), default=0)
        trained = max(1, matched - matched * parameters.held_out // 100)
        steps, batch = settings.epochs * len(settings.batches(trained)), min(settings.batch, trained)
        width = max(len(parameters.names(part.party)) for part in spec.inputs) + 1
        engine, turns = regression.between_holders(settings, trained, parameters.weights + 1)
        seen = settings.epochs * trained
        sealed = others * (seen + steps * width)
        products = 2 * seen * width * DIGITS + sealed * (ENCRYPTION + DECRYPTION // SLOTS)
        return Cost(
            bytes_sent=engine + int(sealed * size * (1 + 1 / SLOTS)) + 100 * matched,
            rounds=turns + ROUNDS * steps + 20,
            seconds=3.0 + products * PRODUCT[parameters.key_bits] + 0.05 * steps,
            memory_bytes=300_000_000 + 24 * matched * width + 2 * size * (batch + width),
        )

    def train(self, parameters: Parameters, own: Owned) -> Fitted[Coefficients]:
        """See :class:`VerticalTraining`."""
        settings, bits, place = parameters.settings, parameters.key_bits, own.owners.index(own.session.index)
        order = np.random.default_rng(parameters.seed).permutation(len(own.columns))
        table = Table(own.columns[order], tuple(own.names), None if own.answers is None else own.answers[order])

        def done(epoch: int) -> None:
            own.session.progress(f"epoch {epoch + 1} of {settings.epochs}", (epoch + 1) / (settings.epochs + 1))

        key = generate(bits) if place < 2 else None
        part = regression.train(own.session, own.owners, table, settings, bits, key, done)
        return Fitted(part, {"family": settings.family, "weights": len(part.weights)})
