"""A sum under CKKS encryption: approximate, and quick for long vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.aggregation.encrypted import EncryptedSum, roles
from tallystick_node.engines.he.ckks import SUMS, CkksVector, PrivateContext, PublicContext, security
from tallystick_node.engines.he.errors import InvalidCiphertext, PlaintextOverflow
from tallystick_node.engines.security import SecurityStatement


class CkksSum(EncryptedSum):
    """An encrypted sum under CKKS with the parameters ``SUMS``, in blocks of 4096 numbers.

    The holder adds noise before it tells the sum, since an exact decryption shows of its key (``PrivateContext.release``): each
    entry is off by noise of a standard deviation of about 1.3e-4 x members. The noise hides the key less, the more numbers are told
    (:func:`~tallystick_node.engines.he.ckks.released_bits`). Choose :class:`PaillierSum` where exactness counts.
    """

    def __init__(self, holder: int, adder: int) -> None:
        super().__init__(holder, adder)
        self._public: PublicContext | None = None
        self._private: PrivateContext | None = None

    def security(self, parties: int) -> SecurityStatement:
        """See :class:`EncryptedSum` and :mod:`~tallystick_node.engines.he.ckks`."""
        return roles(security(), parties)

    @property
    def key_limit(self) -> int:
        """See :class:`EncryptedSum`."""
        return SUMS.context_limit

    def limit(self, size: int, terms: int) -> int:
        """See :class:`EncryptedSum`."""
        return len(_blocks(size)) * (4 + SUMS.ciphertext_limit)

    def make_key(self) -> bytes:
        """See :class:`EncryptedSum`."""
        self._public = self._private = PrivateContext(SUMS)
        return self._private.public()

    def read_key(self, data: bytes) -> None:
        """See :class:`EncryptedSum`."""
        self._public = PublicContext.from_bytes(SUMS, data)

    def encrypt(self, vector: NDArray[np.float64], terms: int) -> bytes:
        """See :class:`EncryptedSum`."""
        return _joined([self._held.encrypt(vector[block]) for block in _blocks(vector.size)])

    def read(self, data: bytes, size: int, terms: int) -> list[CkksVector]:
        """See :class:`EncryptedSum`."""
        vectors, start = [], 0
        for block in _blocks(size):
            end = start + 4 + int.from_bytes(data[start : start + 4], "big")
            vectors.append(self._held.read(data[start + 4 : end], block.stop - block.start))
            start = end
        if start != len(data):
            raise InvalidCiphertext(f"{len(data)} bytes where the blocks have {start}")
        return vectors

    def add(self, vectors: Sequence[list[CkksVector]]) -> bytes:
        """See :class:`EncryptedSum`. The noise that the holder finds in a sum comes from the members' randomness, and from their
        numbers only by the rounding of their encoding."""
        total = list(vectors[0])
        for each in vectors[1:]:
            total = [a + b for a, b in zip(total, each, strict=True)]
        return _joined(total)

    def decrypt(self, data: bytes, size: int, terms: int) -> NDArray[np.float64]:
        """See :class:`EncryptedSum`."""
        assert self._private is not None  # only the holder decrypts
        error = SUMS.sum_error(terms)
        parts = [self._private.release(vector, error) for vector in self.read(data, size, terms)]
        out = np.concatenate(parts) if parts else np.zeros(0)
        if (np.abs(out) > terms + 1).any():
            raise PlaintextOverflow(f"an entry is beyond what {terms} numbers from -1 to 1 sum to")
        return np.clip(out, -terms, terms)

    @property
    def _held(self) -> PublicContext:
        assert self._public is not None  # the key comes before the first round
        return self._public


def _blocks(size: int) -> list[slice]:
    return [slice(start, min(start + SUMS.slots, size)) for start in range(0, size, SUMS.slots)]


def _joined(vectors: Sequence[CkksVector]) -> bytes:
    parts = [vector.to_bytes() for vector in vectors]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
