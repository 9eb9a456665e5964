"""Pairs of 128-bit strings that all differ by one delta, as garbling with free XOR has them.

The sender holds k and delta, the receiver k ^ c delta for its choices c. They are rows of an extension of their own
(:mod:`rows`, malicious with abort), whose delta is odd: the lowest bits of the two strings of a pair differ (point and permute).
That bit is known, so a guess at delta has 127 bits to find.

Security: a receiver that deviates may guess bits of delta and goes unnoticed when it guesses right; see :mod:`rows`. The strings
are not hashed: whoever uses them as keys hashes them, with the same delta under a hash that allows that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session
from tallystick_node.engines.ot.bits import Words
from tallystick_node.engines.ot.rows import RowReceiver, RowSender

_LABEL = b"global correlation"


class GlobalSender:
    """Holds ``delta``, two words; its lowest bit is 1. Constructing it makes base transfers with ``peer``."""

    def __init__(self, session: Session, peer: int) -> None:
        self._rows = RowSender(session, peer, _LABEL, one=1)
        self.delta = self._rows.delta

    def strings(self, count: int) -> Words:
        """The strings k of ``count`` choices of the receiver, of shape (count, 2)."""
        return self._rows.rows(count)


class GlobalReceiver:
    """Holds choices. Constructing it makes base transfers with ``peer``."""

    def __init__(self, session: Session, peer: int) -> None:
        self._rows = RowReceiver(session, peer, _LABEL)

    def strings(self, choices: NDArray[np.uint8]) -> Words:
        """k ^ c delta for each choice c (0 or 1), of shape (count, 2)."""
        return self._rows.rows(choices)
