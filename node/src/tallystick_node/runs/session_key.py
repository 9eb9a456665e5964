"""The key that a party's word within a run is signed with, and its institution's signature under it.

The worker holds no key of the institution. Its node draws a key for the attempt alone and signs its public half, bound to the
attempt's context; what the worker signs with it can be shown to every other party, and two keys of one attempt convict whoever
signed both. See docs/spec/session-key.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tallystick.protocol import canonical
from tallystick.protocol.signature import recover
from tallystick.signing import Signer

from tallystick_node.engines.channel import Identity

DOMAIN = "session-key"


def digest(context: bytes, public: bytes) -> bytes:
    """What an institution signs: the attempt's context, 32 bytes, and an Ed25519 public key, 32 bytes."""
    return canonical.digest(DOMAIN, context + public)


def issue(signer: Signer, context: bytes) -> tuple[bytes, bytes]:
    """A fresh key for an attempt, 32 secret bytes, and its voucher."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes_raw(), signer.sign_digest(digest(context, key.public_key().public_bytes_raw()))


def identity(key: bytes, voucher: bytes, context: bytes, signers: Sequence[Sequence[str]]) -> Identity:
    """What a worker signs with and checks others by; ``signers``: for each party, in the order of the task, the accounts that may
    sign for it, its own first and then its operators'. A party's own account vouches for no other, whoever named it its operator
    unasked: a voucher names no party, so another's key and all that is signed with it could be shown as one's own."""
    owners = {own: party for party, (own, *_) in enumerate(signers)}

    def check(peer: int, public: bytes, given: bytes) -> bool:
        signer = recover(digest(context, public), given)
        return signer is not None and signer in signers[peer] and owners.get(signer, peer) == peer

    return Identity(key, voucher, check)
