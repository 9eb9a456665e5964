"""What the array API talks to: something that records operations, or does them at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from tallystick_node.engines.mpc.plan.kinds import Kind, Type
from tallystick_node.engines.mpc.plan.table import OPERATIONS
from tallystick_node.engines.mpc.ring import Ring

Reference = Any  # how an engine names a value: only the engine that gave it looks inside


class Engine(ABC):
    """``fraction`` is the number of fraction bits that plain numbers get where nothing else says."""

    def __init__(self, fraction: int) -> None:
        self.fraction = fraction

    @abstractmethod
    def constant(self, elements: Ring, kind: Kind) -> Reference:
        """A public value."""

    @abstractmethod
    def apply(
        self,
        operation: str,
        operands: Sequence[Reference],
        attributes: Mapping[str, Any],
        operand_types: Sequence[Type],
        types: Sequence[Type],
    ) -> Sequence[Reference]:
        """The results of an operation whose types were inferred before."""

    @abstractmethod
    def reveal(self, value: Reference, kind: Type, to: Sequence[str] | None, name: str | None) -> Any:
        """Show a value to the parties of ``to``, None: to all, under a name. What comes back is the engine's affair."""


def infer(operation: str, operands: Sequence[Type], attributes: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[Type, ...]]:
    """The attributes as they are recorded, and the types of the results. Raises ShapeMismatch, KindMismatch or ValueError."""
    described = OPERATIONS[operation]
    read = described.read(attributes)
    return read, described.types(operands, read)
