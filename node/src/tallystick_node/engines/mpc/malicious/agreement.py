"""What two honest parties of three can settle between them: equal copies, coins, values that are zero, and that nobody objects.

Part j of a secret is held by parties j and j - 1. Whatever party j - 2 gets or computes as part j it can therefore compare with
the copy of party j - 1, and one of any two parties that ought to agree is honest, or both are.

- :meth:`Agreement.open` opens a sharing: each part comes from one holder, and the other holder's copy is put down for comparison.
- :meth:`Agreement.reveal` opens one with certainty: the other holder sends the hash of its copy in the same round.
- :meth:`Agreement.same` compares copies at once, by their hash.
- :meth:`Agreement.zero` puts down that a shared value is zero: the missing part then is minus the sum of the other two.
- :meth:`Agreement.coin` opens two pseudo-random sharings, each missing part of one by one holder and of the other by the other
  holder. So a party learns a coin only when both others toss it, that is, when both have received all that came before. Each holder
  adds the hash of what the other one gives: who tosses last, and knows the coin, can make it no other.
- :meth:`Agreement.confirm` compares all that was put down: by a GMAC (NIST SP 800-38D) under a key tossed when the data are fixed
  on both sides. For n 16-byte blocks that differ somewhere the tags agree with probability at most (n + 1) / 2^128: below 2^-90
  for anything that fits in memory.
- :meth:`Agreement.unanimous` ends a verification: a party that found a deviation never says so, and nobody goes on without all. Of
  two honest parties only one may find it, so nothing that was checked may be shown, or met by a secret, before.

Two honest parties' copies of a part are equal whenever they compute with it: what comes from an owner is compared at once, and what
is opened to compute shares with is opened with certainty. Copies that differ by what the deviating party chose would soon differ by
what depends on secrets (in the bits of a sum with somebody else's secret, or where an opened word decides what becomes of a part),
and tags of them would tell.

What is compared is either already known to both ends in an honest run, or masked; in a run with a deviation the difference of two
copies is one that the deviating party chose. That holds for :meth:`zero` only if the value depends on nothing secret when it is
not zero: callers see to that, and confirm openings before they use what was opened in such a value."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
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
_HASH = 32


class Agreement:
    """What one party has put down for comparison with its neighbours, in the order of the protocol."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._held: list[Words] = []  # copies that the party before must have too
        self._due: list[Words] = []  # copies that the party after must have too
        self.settled = True  # whether all have said so since something was last confirmed

    def compare(self, held: Words, due: Words) -> None:
        """Put down that ``held`` is what the party before has, and ``due`` what the party after has. All parties call it."""
        self._held.append(held)
        self._due.append(due)

    def open(self, first: Words, second: Words) -> Words:
        """The part that this party misses, from the party before; the party after confirms it later."""
        third = self._seat.exchange(self._seat.after, first, self._seat.before)
        self.compare(second, third)
        return third

    def reveal(self, first: Words, second: Words, to: Sequence[int] | None = None) -> Words | None:
        """The part that a party of ``to`` (None: all) misses, None elsewhere: from the party before, and its hash from the party
        after. Raises ProtocolViolation where they differ."""
        seat = self._seat
        first, second = (np.asarray(part, order="C") for part in (first, second))
        receivers = range(3) if to is None else to
        if seat.before in receivers:
            seat.send(seat.before, _hash(b"part", second))
        if seat.index not in receivers:
            if seat.after in receivers:
                seat.send(seat.after, first)
            return None
        if seat.after in receivers:
            third = seat.exchange(seat.after, first, seat.before)
        else:
            third = seat.receive(seat.before, first.shape, first.dtype.type)
        if not _equal(seat.receive(seat.after, (_HASH,), np.uint8), _hash(b"part", third)):
            raise ProtocolViolation(
                seat.before, seat.step, "it or the party after has another copy of the part that is missing here"
            )
        return third

    def same(self, held: Words | None = None, due: Words | None = None) -> None:
        """Compare at once: ``held`` is what the party before gives as ``due``. Raises ProtocolViolation where they differ."""
        seat = self._seat
        if held is not None:
            seat.send(seat.before, _hash(b"copy", held))
        if due is not None and not _equal(seat.receive(seat.after, (_HASH,), np.uint8), _hash(b"copy", due)):
            raise ProtocolViolation(seat.after, seat.step, "it or the owner has another copy of a part than this party was sent")

    def zero(self, first: Ring, second: Ring) -> None:
        """Put down that the shared ring elements are all zero."""
        self.compare(second, np.uint64(0) - first - second)

    def coin(self) -> bytes:
        """Sixteen bytes that no party could choose, nor know before the others reached this step. 96 bytes from each party. Raises
        ProtocolViolation where what one holder gave has not the hash that the other gave."""
        seat = self._seat
        first, second = seat.prss.own.elements((2, COIN), np.uint8), seat.prss.after.elements((2, COIN), np.uint8)
        seat.send(seat.after, np.concatenate([first[0], _hash(b"coin", first[1])]))
        seat.send(seat.before, np.concatenate([second[1], _hash(b"coin", second[0])]))
        given, other = (seat.receive(peer, (COIN + _HASH,), np.uint8) for peer in (seat.before, seat.after))
        for half, hashed in ((given[:COIN], other[COIN:]), (other[:COIN], given[COIN:])):
            if not _equal(_hash(b"coin", half), hashed):
                raise ProtocolViolation(seat.before, seat.step, "it or the party after tossed what their seed does not give")
        return bytes(first[0] ^ first[1] ^ second[0] ^ second[1] ^ given[:COIN] ^ other[:COIN])

    def confirm(self, key: bytes | None = None) -> bytes:
        """Compare what was put down. Returns the key of the tags, under which values computed from what it confirmed may be
        compared as well; ``key`` is such a key. Raises ProtocolViolation when copies differ."""
        seat = self._seat
        if key is None:
            key = derived(self.coin(), b"compare")
        held, due = (_tag(key, arrays) for arrays in (self._held, self._due))
        self._held, self._due, self.settled = [], [], False
        found = seat.exchange(seat.before, held, seat.after)
        if not _equal(found, due):
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
        self.settled = True


def derived(coin: bytes, purpose: bytes) -> bytes:
    """A key or seed of sixteen bytes for one purpose, from a coin."""
    return hashlib.sha256(purpose + b"\0" + coin).digest()[:16]


def _hash(purpose: bytes, part: Words) -> NDArray[np.uint8]:
    state = hashlib.sha256(purpose + b"\0")
    state.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
    return np.frombuffer(state.digest(), np.uint8)


def _equal(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return hmac.compare_digest(one.tobytes(), other.tobytes())


def _tag(key: bytes, arrays: list[Words]) -> NDArray[np.uint8]:
    tagger = Cipher(algorithms.AES128(key), modes.GCM(bytes(12))).encryptor()
    for array in arrays:
        flat = np.ascontiguousarray(array).reshape(-1)
        if flat.size:
            tagger.authenticate_additional_data(flat.view(np.uint8).data)
    tagger.finalize()
    return np.frombuffer(tagger.tag, np.uint8)
