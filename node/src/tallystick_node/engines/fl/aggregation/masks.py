"""Masks that two members agree on without a message, and that cancel in the sum; and the keys under which they talk through others.

Key agreement is X25519 (RFC 7748), keys are derived by HKDF-SHA-256 (RFC 5869) whose ``info`` names what the key is for, the
round's digest and the two members in order, and masks are AES-128-CTR streams of one key each.

Security: gap Diffie-Hellman in Curve25519, AES as a pseudo-random permutation and the random oracle; 128 bits.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tallystick_node.engines.fl.aggregation.quantisation import Words
from tallystick_node.engines.mpc.prss import SEED, Stream

KEY = 32  # bytes of a public or a secret key
_PIECE = 1 << 15  # elements masked at a time: sum and keystream stay in the cache of one core
_DOMAIN = b"tallystick/v1/secure-aggregation/"
_PROBE = X25519PrivateKey.generate()  # any scalar does: all are multiples of eight, which points of small order come to zero by


def private_key(secret: bytes) -> X25519PrivateKey:
    """The key that 32 secret bytes are."""
    return X25519PrivateKey.from_private_bytes(secret)


def public_key(secret: X25519PrivateKey) -> bytes:
    """The public key of a secret one."""
    return secret.public_key().public_bytes_raw()


def is_usable(public: bytes) -> bool:
    """Whether a public key is not of small order: with those, every secret agrees on the same."""
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return False
    return True


def agree(secret: X25519PrivateKey, public: bytes) -> bytes:
    """What two members have in common to derive keys from, from a public key that is usable."""
    return secret.exchange(X25519PublicKey.from_public_bytes(public))


def derive(secret: bytes, purpose: bytes, digest: bytes, first: int, second: int) -> bytes:
    """A key of 16 bytes for a purpose, a round and two members (twice the same for one's own)."""
    info = _DOMAIN + purpose + b"\0" + digest + first.to_bytes(4, "big") + second.to_bytes(4, "big")
    return HKDF(SHA256(), SEED, salt=None, info=info).derive(secret)


def pair_seed(secret: X25519PrivateKey, public: bytes, digest: bytes, mine: int, other: int) -> bytes:
    """The seed of the mask that two members share."""
    return derive(agree(secret, public), b"pair", digest, min(mine, other), max(mine, other))


def self_seed(secret: bytes, digest: bytes, mine: int) -> bytes:
    """The seed of a member's own mask."""
    return derive(secret, b"self", digest, mine, mine)


def add(out: Words, seeds: Iterable[tuple[bytes, bool]]) -> None:
    """Add the masks of seeds to ``out``, modulo 2^32; subtract those that are marked True."""
    streams = [(Stream(seed), subtracted) for seed, subtracted in seeds]
    for start in range(0, len(out), _PIECE):
        piece = out[start : start + _PIECE]
        for stream, subtracted in streams:
            mask = stream.passing(len(piece), np.uint32)
            if subtracted:
                np.subtract(piece, mask, out=piece)
            else:
                np.add(piece, mask, out=piece)
