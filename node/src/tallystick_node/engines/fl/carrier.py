"""What carries a federation: something that holds clients and adds what the members of a round say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.parameters import Vector


class Carrier(ABC):
    """Where clients are: all in one process, or one here and the others across a network. The loop of rounds is the same."""

    @property
    @abstractmethod
    def clients(self) -> int:
        """How many clients there are in all, numbered from 0."""

    @property
    @abstractmethod
    def local(self) -> Sequence[Client]:
        """Those that are here."""

    @abstractmethod
    def total(self, say: Callable[[Client], Vector], length: int, members: Sequence[int], round: int) -> Vector:  # noqa: A002
        """The sum of what ``say`` gives for every member, a vector of ``length`` entries within [-1, 1]: the same to the bit
        wherever it is computed. ``members``, ascending, are the same everywhere; no ``round`` comes twice."""

    @abstractmethod
    def agree(self, digest: bytes, step: str) -> tuple[int, ...]:
        """Compare 32 bytes with everyone: the parties that said nothing. Raises ProtocolViolation naming one that has others."""
