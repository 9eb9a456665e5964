"""What a way of adding up the owners' vectors of a training says of itself: promise, price and proof."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tallystick.protocol.errors import InvalidTask
from tallystick.protocol.task import SIGNED_BY_ALL, TaskSpec

from tallystick_node.engines.fl.aggregation.base import Aggregation
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.engines.fl.aggregation.record import Record
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.security import SecurityStatement


@dataclass(frozen=True)
class Price:
    """What all sums of a training cost the party that sends most; ``memory`` in bytes for a number of the longest vector."""

    bytes_sent: int
    rounds: int
    seconds: float
    memory: int


class Choice(ABC):
    """A way to add vectors up. ``name`` is its method in a task; ``proofs`` the kinds that fit its evidence."""

    name: ClassVar[str]
    reads: ClassVar[Mapping[str, Callable[[Any, str], Any]]] = {}  # what the parameter holds besides the method, and how it is read
    proofs: ClassVar[tuple[str, ...]] = (SIGNED_BY_ALL,)
    hides: ClassVar[bool] = True  # whether no single party sees an owner's vector

    @abstractmethod
    def make(self, spec: TaskSpec, federation: Federation, journal: Journal | Record | None) -> Aggregation:
        """One party's side of it, for one attempt. ``journal`` keeps what the proof needs, where the kind is of projections."""

    @property
    def proves(self) -> bool:
        """Whether the kind of proof is of projections."""
        return SIGNED_BY_ALL not in self.proofs

    @abstractmethod
    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """Who learns what by it, besides what every training tells, and what whoever deviates can do."""

    @abstractmethod
    def price(self, spec: TaskSpec, lengths: Sequence[int]) -> Price:
        """What sums of vectors of these lengths cost."""

    def require(self, federation: Federation, held_out: int) -> None:
        """Raise ValueError where a training cannot be added up like this."""
        if federation.privacy is not None and not self.proves:
            raise ValueError("private training takes the aggregation secure: what its noise promises is of that sum")

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask where a task cannot be: its proof kind is another, or parties are missing."""
        if spec.proof not in self.proofs:
            raise InvalidTask(
                f"the aggregation {self.name} gives evidence of the kind {self.proofs[0]}, not {spec.proof}",
                remedy=f"ask for the proof {self.proofs[0]}" + ("" if self.proves else ", or take the aggregation secure"),
            )

    def promised(self, spec: TaskSpec, federation: Federation) -> SecurityStatement:
        """The engine's statement for the task."""
        return self.make(spec, federation, None).security(len(spec.inputs))
