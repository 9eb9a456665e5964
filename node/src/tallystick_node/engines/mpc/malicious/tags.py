"""Comparing long copies piece by piece, without keeping them.

Parties i and i + 1 draw the same key from the seed that only they hold. So the third party, whose deviation would make their copies
differ, knows neither key nor tags, and the tags may grow while the copies arrive: a GMAC (NIST SP 800-38D) under a key used once.
For n 16-byte blocks that differ somewhere, the tags agree with probability at most (n + 1) / 2^128."""

from __future__ import annotations

from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tallystick_node.engines.mpc.malicious.agreement import Agreement
from tallystick_node.engines.mpc.replicated.seat import Seat

Words = NDArray[Any]

_KEY = 16  # bytes


class Tags:
    """Two running tags: of what the party before has too, and of what the party after has too. All parties make them at once."""

    def __init__(self, seat: Seat) -> None:
        keys = (stream.elements((_KEY,), np.uint8).tobytes() for stream in (seat.prss.own, seat.prss.after))
        self._taggers = [Cipher(algorithms.AES128(key), modes.GCM(bytes(12))).encryptor() for key in keys]

    def add(self, held: Words, due: Words) -> None:
        """The next piece, of contiguous arrays: ``held`` is what the party before has, ``due`` what the party after has."""
        for tagger, piece in zip(self._taggers, (held, due), strict=True):
            tagger.authenticate_additional_data(piece.reshape(-1).view(np.uint8).data)

    def put_down(self, agreement: Agreement) -> None:
        """Nothing follows: let :meth:`Agreement.confirm` compare."""
        for tagger in self._taggers:
            tagger.finalize()
        held, due = (np.frombuffer(tagger.tag, np.uint8) for tagger in self._taggers)
        agreement.compare(held, due)
