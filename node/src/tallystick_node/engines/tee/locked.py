"""Inputs that lie at the host under a data key, and what a data key is released for.

Imported inside of enclaves, and part of the measurement. A locked input is AES-256-GCM over salt and data, under a key that its
owner keeps with a key service (:mod:`tallystick_node.engines.tee.keys`) and under the key's name. The service seals the
key, for one :class:`Use`, to the public key of an enclave; nobody else can open what it releases.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tallystick.attestation.runs import input_context, seal, unseal

KEY, SALT, NONCE, TAG = 32, 32, 12, 16
MAX_NAME, MAX_RECEIVERS = 128, 64
_DATA, _RELEASE, _REQUEST = (b"tallystick/tee/%s/v1" % purpose for purpose in (b"locked-data", b"key-release", b"key-request"))


@dataclass(frozen=True)
class Use:
    """What one key is asked for: the key's ``name``; the run's ``context``, the SHA-256 of its ``algorithm``, and the
    ``conditions`` that it runs under; the ``receivers`` of its output (raw X25519 keys); the input's ``place``; and ``inputs``, the
    digest of the commitments of all inputs (:func:`~tallystick.attestation.runs.inputs_digest`). ``run`` says in words where
    whoever permits finds the run."""

    name: str
    context: bytes
    algorithm: bytes
    conditions: bytes
    receivers: tuple[bytes, ...]
    place: int
    inputs: bytes
    run: str = ""

    def __post_init__(self) -> None:
        sizes = (len(self.context), len(self.algorithm), len(self.conditions), len(self.inputs), *map(len, self.receivers))
        if set(sizes) != {32} or len(self.receivers) > MAX_RECEIVERS or not 0 <= self.place < 1 << 16:
            raise ValueError("a use names context, code, conditions, inputs and receivers by 32 bytes each, and a place")
        if not 0 < len(self.name.encode()) <= MAX_NAME or len(self.run.encode()) > MAX_NAME:
            raise ValueError("a key's name has 1 to 128 bytes in UTF-8, and a run's at most 128")

    def sealing(self) -> bytes:
        """What the released key is sealed for."""
        return released_for(self.name, self.context + self.algorithm, self.receivers, self.place)

    def request(self, nonce: bytes) -> bytes:
        """What evidence has to be fresh for: the service's nonce, for this use."""
        return hashlib.sha256(_REQUEST + nonce + self.sealing() + self.inputs + hashlib.sha256(self.run.encode()).digest()).digest()


def released_for(name: str, code: bytes, receivers: Sequence[bytes], place: int) -> bytes:
    """The context of a sealed key: its name, and what a sealed input would be for."""
    return hashlib.sha256(_RELEASE + hashlib.sha256(name.encode()).digest() + input_context(code, receivers, place)).digest()


def release(public_key: bytes, key: bytes, use: Use) -> bytes:
    """``key`` for ``use``, sealed to an enclave's public key."""
    return seal(public_key, key + use.inputs, use.sealing())


def opened(own: X25519PrivateKey, sealed: bytes, context: bytes) -> tuple[bytes, bytes]:
    """The key that was released, and the digest of the inputs that it is for. Raises ``InvalidTag`` for another."""
    content = unseal(own, sealed, context)
    if len(content) != KEY + 32:
        raise ValueError("a released key is of another size")
    return content[:KEY], content[KEY:]


def lock(key: bytes, name: str, salt: bytes, data: bytes) -> bytes:
    """``data`` with its salt (32 bytes, of its commitment) under the key ``name``: at most 2^32 inputs under one key."""
    if len(salt) != SALT:
        raise ValueError("a salt takes 32 bytes")
    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, salt + data, _DATA + name.encode())


def unlock(key: bytes, name: str, locked: bytes) -> bytes:
    """Salt and data. ``cryptography.exceptions.InvalidTag`` for another key, name or text."""
    content = AESGCM(key).decrypt(locked[:NONCE], locked[NONCE:], _DATA + name.encode())
    if len(content) < SALT:
        raise ValueError("a locked input has no salt")
    return content
