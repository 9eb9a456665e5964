"""What an enclave's evidence is about: the digests that go into report data, and the sealing of inputs and outputs.

Shared by who runs an enclave, by data owners, by receivers, and by auditors; an enclave loads this very file, and measures it.

Report data are 64 bytes: one of the digests here, then 32 bytes of a nonce that the relying party chose. Sealing is HPKE
(RFC 9180) in base mode with X25519, HKDF-SHA256 and AES-256-GCM, to a key that exists once, in one enclave. A sealed input is for
its context: this code, output to these keys, this place. Whoever starts the enclave can drop an input or withhold an output; it
cannot read them, exchange places, run other code on them, or add itself to the receivers. It can choose inputs of its own:
:func:`run_digest` names all that were used. In a task it can neither drop one nor choose others: :func:`inputs_digest`.

An enclave that keeps a state seals it (AES-256-GCM) under a key that its platform derives for its measurement. A launcher can give
an old state; evidence names the state before and the state after, so whoever records the last one, as a chain does, sees it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

# ``cryptography`` imports its backend late, when a confined enclave has no files any more.
import cryptography.hazmat.backends.openssl.backend  # noqa: F401
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

OVERHEAD = 32 + 16  # bytes that sealing adds: the encapsulated key and the tag
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_DOMAIN = b"tallystick/tee/%s/v1"


def _digest(purpose: bytes, *groups: Sequence[bytes]) -> bytes:
    """SHA-256 over a domain and, group by group, how many items there are (four bytes, big-endian) and the SHA-256 of each."""
    digest = hashlib.sha256(_DOMAIN % purpose)
    for group in groups:
        digest.update(len(group).to_bytes(4, "big"))
        for item in group:
            digest.update(hashlib.sha256(item).digest())
    return digest.digest()


def key_digest(public_key: bytes) -> bytes:
    """What evidence binds before a run: the enclave's public key."""
    return _digest(b"key", [public_key])


def input_context(algorithm: bytes, receivers: Sequence[bytes], place: int) -> bytes:
    """What a sealed input is for: this code, output to these keys (raw X25519, 32 bytes each), and the input's place, from 0."""
    return _digest(b"input", [algorithm], receivers, [place.to_bytes(4, "big")])


def output_context(algorithm: bytes, receivers: Sequence[bytes], inputs: Sequence[bytes]) -> bytes:
    """What a sealed output is of: this code over these sealed inputs, for these keys."""
    return _digest(b"output", [algorithm], receivers, inputs)


def key_context(public_key: bytes) -> bytes:
    """What a platform's sealing key is sealed for: the enclave with this key."""
    return _digest(b"sealing", [public_key])


def run_digest(
    algorithm: bytes,
    receivers: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    states: Sequence[bytes] = (),
) -> bytes:
    """What evidence binds about a run: code, receivers, sealed inputs and outputs, and the sealed states before and after.

    ``states`` is empty for code without a state; the state before the first run is empty bytes.
    """
    return _digest(b"run", [algorithm], receivers, inputs, outputs, states)


def commitment(salt: bytes, data: bytes) -> bytes:
    """What stands for a task's input in its statement: salted with 32 random bytes, and computed inside the enclave."""
    return hashlib.sha256(_DOMAIN % b"commitment" + salt + data).digest()


def inputs_digest(commitments: Sequence[bytes]) -> bytes:
    """What each sealed input of a task says of all of them: it is used together with these, and with no others.

    Sealing says nothing of who sealed. Without this, a host that has a receiver on its side could run the code on one owner's input
    and others of its own choice, and learn from the output, which nobody would sign, more than from that of the task.
    """
    return _digest(b"inputs", commitments)


def task_digest(context: bytes, algorithm: bytes, commitments: Sequence[bytes], output: bytes) -> bytes:
    """What evidence binds about a task's run: its attempt, code and inputs, and the digest of its output. 32 bytes each.

    ``commitments`` ascend by party. ``algorithm`` is plain SHA-256 of the code's bytes; ``output`` that of 32 random bytes and the
    output. Followed in the report data by plain SHA-256 of the enclave's public key.
    """
    return hashlib.sha256(_DOMAIN % b"task" + context + algorithm + _digest(b"result", commitments, [output])).digest()


def seal(public_key: bytes, data: bytes, context: bytes) -> bytes:
    """Seal ``data`` to a raw X25519 key of 32 bytes."""
    return _SUITE.encrypt(data, X25519PublicKey.from_public_bytes(public_key), info=context)


def seal_state(key: bytes, state: bytes, algorithm: bytes) -> bytes:
    """Seal a state under a key of 32 bytes: a nonce of 12, then the text. At most 2^32 states under one key."""
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, state, _digest(b"state", [algorithm]))


def unseal_state(key: bytes, sealed: bytes, algorithm: bytes) -> bytes:
    """Open what :func:`seal_state` gave; ``cryptography.exceptions.InvalidTag`` for another key, code or text."""
    return AESGCM(key).decrypt(sealed[:12], sealed[12:], _digest(b"state", [algorithm]))


def unseal(key: X25519PrivateKey, sealed: bytes, context: bytes) -> bytes:
    """Open what :func:`seal` gave; ``cryptography.exceptions.InvalidTag`` for another key, context or text."""
    return _SUITE.decrypt(sealed, key, info=context)
