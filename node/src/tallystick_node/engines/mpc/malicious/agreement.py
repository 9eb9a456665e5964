"""What two honest parties of three can settle between them: equal copies, coins, values that are zero, and that nobody objects.

Part j of a secret is held by parties j and j - 1. Whatever party j - 2 gets or computes as part j it can therefore compare with
the copy of party j - 1, and one of any two parties that ought to agree is honest, or both are.

- :meth:`Agreement.open` opens a sharing: each part comes from one holder, and the other holder's copy is put down for comparison.
- :meth:`Agreement.zero` puts down that a shared value is zero: the missing part then is minus the sum of the other two.
- :meth:`Agreement.coin` opens two pseudo-random sharings, each missing part of one by one holder and of the other by the other
  holder. So a party learns a coin only when both others toss it, that is, when both have received all that came before. What a
  holder gave is compared later: two honest parties with different coins would find out.
- :meth:`Agreement.confirm` compares all that was put down: by a GMAC (NIST SP 800-38D) under a key tossed when the data are fixed
  on both sides. For n 16-byte blocks that differ somewhere the tags agree with probability at most (n + 1) / 2^128: below 2^-90
  for anything that fits in memory.
- :meth:`Agreement.unanimous` ends a verification: a party that found a deviation never says so, and nobody goes on without all.

What is compared is either already known to both ends in an honest run, or masked; in a run with a deviation the difference of two
copies is one that the deviating party chose. That holds for :meth:`zero` only if the value depends on nothing secret when it is
not zero: callers see to that, and confirm openings before they use what was opened in such a value."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

Words = NDArray[Any]

COIN = 16  # bytes
_TAG = 16


class Agreement:
    """What one party has put down for comparison with its neighbours, in the order of the protocol."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._held: list[Words] = []  # copies that the party before must have too
        self._due: list[Words] = []  # copies that the party after must have too
        self._pending = False

    @property
    def pending(self) -> bool:
        """Whether something waits for :meth:`confirm`: the same at every party."""
        return self._pending

    def compare(self, held: Words | None = None, due: Words | None = None) -> None:
        """Put down that ``held`` is what the party before has, and ``due`` what the party after has. All parties call it."""
        self._pending = True
        if held is not None:
            self._held.append(held)
        if due is not None:
            self._due.append(due)

    def open(self, first: Words, second: Words) -> Words:
        """The part that this party misses, from the party before; the party after confirms it later."""
        third = self._seat.exchange(self._seat.after, first, self._seat.before)
        self.compare(second, third)
        return third

    def zero(self, first: Ring, second: Ring) -> None:
        """Put down that the shared ring elements are all zero."""
        self.compare(second, np.uint64(0) - first - second)

    def coin(self) -> bytes:
        """Sixteen bytes that no party could choose, nor know before the others reached this step. Copies are compared later."""
        seat = self._seat
        first, second = seat.prss.own.elements((2, COIN), np.uint8), seat.prss.after.elements((2, COIN), np.uint8)
        seat.send(seat.after, first[0])
        seat.send(seat.before, second[1])
        third = seat.receive(seat.before, (COIN,), np.uint8) ^ seat.receive(seat.after, (COIN,), np.uint8)
        coin = first[0] ^ first[1] ^ second[0] ^ second[1] ^ third
        self.compare(coin, coin)
        return bytes(coin)

    def confirm(self, key: bytes | None = None) -> bytes:
        """Compare what was put down. Returns the key of the tags, under which values computed from what it confirmed may be
        compared as well; ``key`` is such a key. Raises ProtocolViolation when copies differ."""
        seat = self._seat
        if key is None:
            key = derived(self.coin(), b"compare")
        held, due = (_tag(key, arrays) for arrays in (self._held, self._due))
        self._held, self._due, self._pending = [], [], False
        found = seat.exchange(seat.before, held, seat.after)
        if not hmac.compare_digest(found.tobytes(), due.tobytes()):
            raise ProtocolViolation(seat.after, seat.step, "it or the party before deviated: copies of a part differ")
        return key

    def unanimous(self) -> None:
        """Go on only if both others found nothing. Raises ProtocolViolation for any other word; a party that did find something is
        silent, which raises ChannelError here."""
        seat = self._seat
        word = np.frombuffer(hashlib.sha256(b"verified" + seat.step.encode()).digest()[:_TAG], np.uint8)
        seat.send(seat.after, word)
        seat.send(seat.before, word)
        for peer in (seat.before, seat.after):
            if not np.array_equal(seat.receive(peer, (_TAG,), np.uint8), word):
                raise ProtocolViolation(peer, seat.step, "did not say that it verified")


def derived(coin: bytes, purpose: bytes) -> bytes:
    """A key or seed of sixteen bytes for one purpose, from a coin."""
    return hashlib.sha256(purpose + b"\0" + coin).digest()[:16]


def _tag(key: bytes, arrays: list[Words]) -> NDArray[np.uint8]:
    tagger = Cipher(algorithms.AES128(key), modes.GCM(bytes(12))).encryptor()
    for array in arrays:
        flat = np.ascontiguousarray(array).reshape(-1)
        if flat.size:
            tagger.authenticate_additional_data(flat.view(np.uint8).data)
    tagger.finalize()
    return np.frombuffer(tagger.tag, np.uint8)
