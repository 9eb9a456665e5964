"""Reading the parameters of a task: one way for all kinds to say what is wrong with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from tallystick.protocol.errors import InvalidTask, MalformedDocument


class TaskParameters(ABC):
    """Parameters of one kind of task, as a frozen dataclass that reads itself."""

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Self:
        """Check and read. Raises InvalidTask naming the field and the rule."""
        try:
            return cls._read(value)
        except MalformedDocument as error:
            raise InvalidTask(error.message, remedy=error.remedy or "see docs/reference/workloads.md") from None

    @classmethod
    @abstractmethod
    def _read(cls, value: Mapping[str, Any]) -> Self:
        """Read strictly. Raises MalformedDocument, or InvalidTask."""
