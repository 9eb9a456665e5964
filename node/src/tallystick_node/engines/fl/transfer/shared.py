"""The transfer on secret shares: the destination learns the weights of its model, and nobody anything else.

Security: that of the protocol. The weights tell of the common rows: with no more common rows than columns, whoever has the columns
can find from them what the source wanted of each common row, a mixture of its label and its representation. So the labels of few
common rows are as good as shown to the destination, as they are by any model that fits them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.transfer.objective import Destination, Settings, Source
from tallystick_node.engines.mpc.array import plan_of, reveal
from tallystick_node.engines.mpc.array.program import Declared
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.engines.mpc.plan.kinds import fixed


@dataclass(frozen=True)
class SharedTransfer:
    """A transfer from ``source`` to ``destination``, names of parties, over ``rows`` common rows and ``columns`` of the
    destination; ``fraction`` is the bits after the point."""

    source: str
    destination: str
    rows: int
    columns: int
    settings: Settings
    fraction: int = 20

    def plan(self) -> Plan:
        """What the parties compute: inputs are those of :meth:`give` and :meth:`take`, the result is ``weights``."""
        kind, width = fixed(self.fraction), self.settings.width
        inputs = {
            "targets": Declared(self.source, (self.rows, width), kind, ()),
            "curvatures": Declared(self.source, (1, width), kind, ()),
            "readout": Declared(self.source, (width, 1), kind, ()),
            "turned": Declared(self.destination, (self.rows, self.columns), kind, ()),
            "spectrum": Declared(self.destination, (self.columns, 1), kind, ()),
        }
        return plan_of(self._program, inputs, [self.destination], self.fraction)

    def give(self, source: Source) -> dict[str, NDArray[Any]]:
        """The source's inputs."""
        return {"targets": source.targets, "curvatures": source.curvatures[None], "readout": source.readout[:, None]}

    def take(self, destination: Destination) -> dict[str, NDArray[Any]]:
        """The destination's inputs."""
        return {"turned": destination.turned, "spectrum": destination.spectrum[:, None]}

    def weights(self, destination: Destination, shown: Mapping[str, NDArray[Any]]) -> Vector:
        """The weights of the destination's columns."""
        return destination.weights(shown["weights"][:, 0])

    def _program(
        self, targets: SecretArray, curvatures: SecretArray, readout: SecretArray, turned: SecretArray, spectrum: SecretArray
    ) -> None:
        product = turned.T @ targets
        weights = (product / (spectrum @ curvatures + self.settings.penalty)) @ readout
        reveal(weights, to=[self.destination], name="weights")
