"""A sum under Paillier encryption: exact on the numbers' fixed-point steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.aggregation.encrypted import EncryptedSum, roles
from tallystick_node.engines.he.errors import InvalidKey
from tallystick_node.engines.he.paillier.ciphertexts import Ciphertexts, Encryptor
from tallystick_node.engines.he.paillier.keys import PrivateKey, PublicKey, generate, security
from tallystick_node.engines.he.paillier.vectors import VectorCode
from tallystick_node.engines.security import SecurityStatement


class PaillierSum(EncryptedSum):
    """An encrypted sum under a Paillier key of ``key_bits``, the numbers packed in slots of ``slot_bits``.

    Each number is rounded to a multiple of 2^-f, f = ``slot_bits`` - 2 - ceil(log2(members)): the sum is off by at most
    members x 2^-(f + 1) in each entry. A member's number out of range is seen only where it takes the sum out of range.
    """

    def __init__(self, holder: int, adder: int, key_bits: int = 3072, slot_bits: int = 32) -> None:
        super().__init__(holder, adder)
        self._key_bits = key_bits
        self._slot_bits = slot_bits
        self._code(0, 2)
        self._private: PrivateKey | None = None
        self._encryptor: Encryptor | None = None

    def security(self, parties: int) -> SecurityStatement:
        """See :class:`EncryptedSum` and :func:`~tallystick_node.engines.he.paillier.keys.security`."""
        return roles(security(self._key_bits), parties)

    @property
    def key_limit(self) -> int:
        """See :class:`EncryptedSum`."""
        return self._key_bits // 8

    def limit(self, size: int, terms: int) -> int:
        """See :class:`EncryptedSum`."""
        return self._code(size, terms).blocks * self._key_bits // 4

    def make_key(self) -> bytes:
        """See :class:`EncryptedSum`."""
        self._private = generate(self._key_bits)
        self._encryptor = Encryptor(self._private)
        return self._private.public.to_bytes()

    def read_key(self, data: bytes) -> None:
        """See :class:`EncryptedSum`. A key of another length than agreed is none: under a shorter one vectors are
        less secret."""
        key = PublicKey.from_bytes(data)
        if key.bits != self._key_bits:
            raise InvalidKey(f"a key of {key.bits} bits where {self._key_bits} were agreed")
        self._encryptor = Encryptor(key)

    def encrypt(self, vector: NDArray[np.float64], terms: int) -> bytes:
        """See :class:`EncryptedSum`."""
        return self._code(vector.size, terms).encrypt(self._held, vector).to_bytes()

    def read(self, data: bytes, size: int, terms: int) -> Ciphertexts:
        """See :class:`EncryptedSum`."""
        return self._code(size, terms).read(self._held.key, data)

    def add(self, vectors: Sequence[Ciphertexts]) -> bytes:
        """See :class:`EncryptedSum`."""
        total = vectors[0]
        for each in vectors[1:]:
            total = total + each
        return self._held.refresh(total).to_bytes()

    def decrypt(self, data: bytes, size: int, terms: int) -> NDArray[np.float64]:
        """See :class:`EncryptedSum`."""
        assert self._private is not None  # only the holder decrypts
        code = self._code(size, terms)
        return code.decrypt(self._private, code.read(self._held.key, data), terms)

    @property
    def _held(self) -> Encryptor:
        assert self._encryptor is not None  # the key comes before the first round
        return self._encryptor

    def _code(self, size: int, terms: int) -> VectorCode:
        return VectorCode(size, terms, self._key_bits, self._slot_bits)
