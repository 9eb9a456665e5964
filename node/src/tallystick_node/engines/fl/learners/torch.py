"""Modules of PyTorch as learners, on the processor or another device. PyTorch is imported when such a learner is made.

Training repeats to the bit on one kind of machine as far as the module's operations do; on an accelerator they may not.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tallystick_node.engines.fl.learner import Instructions, Learner, Measure, Rows, Trained
from tallystick_node.engines.fl.metrics import Classification
from tallystick_node.engines.fl.parameters import Entry, Layout, Parameters, Vector

_GENERATOR = threading.Lock()  # PyTorch has one generator a process: parties in threads take turns


class TorchClassifier(Learner):
    """A module that maps features to scores of ``classes`` classes, trained by cross-entropy with stochastic gradient descent.

    ``make()`` gives a new module of float32 or float64; ``shape`` is that of one example's features; ``name`` says which module
    it is to the parties that compare settings. Raises ValueError for a module with buffers, such as batch normalisation:
    statistics of the rows would leave the client, and no strategy is made for them.
    """

    def __init__(
        self, make: Callable[[], Any], shape: tuple[int, ...], classes: int, name: str, bins: int = 0, device: str = "cpu"
    ) -> None:
        self._torch = importlib.import_module("torch")
        self._make, self._shape, self._name, self._device = make, shape, name, device
        self._quality = Classification(classes, bins)
        with self._seeded(0):
            module = self._make()
        if buffers := [key for key, _ in module.named_buffers()]:
            raise ValueError(f"the module has the buffer {buffers[0]}: use layers without, such as group normalisation")
        self._kind = next(module.parameters()).dtype
        self._layout = Layout(
            tuple(Entry(key, tuple(held.shape), str(held.dtype).removeprefix("torch.")) for key, held in module.named_parameters())
        )

    @property
    def layout(self) -> Layout:
        """The module's parameters, as it names them."""
        return self._layout

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those of a classification."""
        return self._quality.measures

    def initial(self, seed: int) -> Parameters:
        """What ``make`` gives with PyTorch's generator at this seed."""
        with self._seeded(seed):
            return self._read(self._make())

    def accept(self, instructions: Instructions) -> None:
        """Any instructions can be followed."""

    def check(self, rows: Rows) -> None:
        """See :meth:`Learner.check`."""
        if rows.features.shape[1:] != self._shape:
            raise ValueError(f"the examples have features of shape {rows.features.shape[1:]} where {self._shape} is due")
        self._quality.check(rows)

    def train(self, parameters: Parameters, rows: Rows, instructions: Instructions, generator: np.random.Generator) -> Trained:
        """See :meth:`Learner.train`."""
        with self._seeded(int(generator.integers(1 << 31))):
            return self._descend(parameters, rows, instructions, generator)

    def _descend(self, parameters: Parameters, rows: Rows, instructions: Instructions, generator: np.random.Generator) -> Trained:
        torch = self._torch
        module = self._write(self._make(), parameters).train()
        weights = list(module.parameters())
        start = [weight.detach().clone() for weight in weights]
        velocity = [torch.zeros_like(weight) for weight in weights]
        correction = [0.0] * len(weights)
        if instructions.correction is not None:
            views = self._layout.views(instructions.correction).values()
            correction = [
                torch.tensor(view, dtype=weight.dtype, device=self._device) for view, weight in zip(views, weights, strict=True)
            ]
        batch = min(instructions.batch or len(rows), len(rows))
        steps, losses = 0, 0.0
        features, targets = self._tensors(rows)
        for _ in range(instructions.epochs):
            order = torch.from_numpy(generator.permutation(len(rows))).to(self._device)
            losses = 0.0
            for some in order.split(batch):
                loss = torch.nn.functional.cross_entropy(module(features[some]), targets[some])
                gradients = torch.autograd.grad(loss, weights, allow_unused=False)
                losses += loss.item() * len(some)
                with torch.no_grad():
                    for weight, gradient, origin, moving, added in zip(
                        weights, gradients, start, velocity, correction, strict=True
                    ):
                        moving.mul_(instructions.momentum).add_(gradient + instructions.proximal * (weight - origin) + added)
                        weight.sub_(instructions.rate * moving)
                steps += 1
            if not np.isfinite(losses):
                raise ValueError("training diverged: lower the rate, or scale the features")
        return Trained(self._read(module), steps, losses / len(rows))

    def evaluate(self, parameters: Parameters, rows: Rows) -> Vector:
        """See :meth:`Learner.evaluate`."""
        torch = self._torch
        with self._seeded(0), torch.no_grad():
            module = self._write(self._make(), parameters).eval()
            logarithms = torch.log_softmax(module(self._tensors(rows)[0]).double(), dim=1)
        return self._quality.sums(logarithms.cpu().numpy(), rows.targets)

    def summary(self, sums: Vector) -> dict[str, float]:
        """See :meth:`Classification.summary`."""
        return self._quality.summary(sums)

    def describe(self) -> Mapping[str, Any]:
        """The module's name and parameters."""
        return {
            "learner": type(self).__name__,
            "module": self._name,
            "layout": self._layout.document,
            "quality": repr(self._quality),
        }

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """PyTorch's generator at this seed, for this thread alone; then as it was."""
        with _GENERATOR, self._torch.random.fork_rng():
            self._torch.manual_seed(seed)
            yield

    def _tensors(self, rows: Rows) -> tuple[Any, Any]:
        features = self._torch.tensor(rows.features, dtype=self._kind, device=self._device)
        return features, self._torch.tensor(rows.targets.astype(np.int64), device=self._device)

    def _read(self, module: Any) -> Parameters:
        return Parameters({key: held.detach().cpu().numpy() for key, held in module.named_parameters()})

    def _write(self, module: Any, parameters: Parameters) -> Any:
        with self._torch.no_grad():
            for key, held in module.named_parameters():
                held.copy_(self._torch.tensor(parameters[key]))
        return module.to(self._device)
