"""Reading the parameters of a task: one way for all kinds to say what is wrong with them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from tallystick.protocol.errors import InvalidTask, MalformedDocument

RANGE = 1 << 62  # magnitudes of numbers in fixed point stay below it
DECIMAL = re.compile(r"[+-]?[0-9]{1,19}(\.[0-9]{1,18})?")


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


def fixed(text: str, scale: int, where: str) -> int:
    """A decimal text in fixed point. Raises InvalidTask when it is no number or has more digits than the scale."""
    if not DECIMAL.fullmatch(text):
        raise InvalidTask(f"{where}: {text[:40]!r} is not a decimal number", remedy="write it like -12.5")
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > scale:
        raise InvalidTask(f"{where}: {text!r} has more than {scale} digits after the point", remedy="use the column's scale")
    number = int(whole + fraction.ljust(scale, "0"))
    if abs(number) >= RANGE:
        raise InvalidTask(f"{where}: {text!r} is out of range", remedy="use a smaller number")
    return number
