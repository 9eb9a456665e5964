"""How long a peer is silent, in time for which this process ran."""

from __future__ import annotations

import time

PARTS = 4


class Silence:
    """The silence of a peer that may last ``seconds``: wait for a ``part`` of them, say when that began, until it is ``over``.

    A wait counts for no more than its part, however late it ends. So who stood still itself, as a machine does that sleeps or is
    moved, does not take its own pause for its peers' silence: it looks at what has come meanwhile, and gives time for more.
    """

    def __init__(self, seconds: float) -> None:
        self._part = seconds / PARTS
        self._left = seconds

    @property
    def part(self) -> float:
        """Seconds of the next wait; 0 when the silence is over."""
        return max(0.0, min(self._part, self._left))

    @property
    def over(self) -> bool:
        """Whether it has lasted as long as it may."""
        return self._left <= 0

    def waited(self, since: float) -> None:
        """Count a wait that began at this time of the monotonic clock."""
        self._left -= min(self.part, time.monotonic() - since)
