"""Whose the keys that sign are in the eyes of third parties.

What a party says that others are to be shown is signed with a key for the session alone. Where the session has an
:class:`.Identity`, the party's institution vouches for that key, and the key carries its word: a party that gives two others
different keys has signed that it did, and is named. Without one, whoever forwards what does not fit is.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tallystick_node.engines.channel import VOUCHER, ProtocolViolation, Session

KEY = 32  # bytes of a public key
KEYS = "keys"


class Signers:
    """Who signs with which key. ``vouched(member, key, voucher)``: whether the member's institution vouches for a key, None where
    none does."""

    def __init__(self, keys: dict[int, Ed25519PublicKey], vouched: Callable[[int, bytes, bytes], bool] | None = None) -> None:
        self._keys = keys
        self._vouched = vouched

    def meet(self, member: int, announced: bytes) -> None:
        """Take the key that a party announced itself. Raises ProtocolViolation when its institution does not vouch for it."""
        key, voucher = announced[:KEY], announced[KEY:]
        if self._vouched is not None and not self._vouched(member, key, voucher):
            raise ProtocolViolation(member, KEYS, "announced a key for the session that its institution does not vouch for")
        self._keys[member] = Ed25519PublicKey.from_public_bytes(key)

    def check_announced(self, peer: int, member: int, announced: bytes) -> None:
        """The key that ``peer`` says a member announced. Raises ProtocolViolation naming the member when it announced two, and
        ``peer`` when the key is not the member's."""
        key, voucher = announced[:KEY], announced[KEY:]
        known = self._keys.get(member)
        if known is not None and known.public_bytes_raw() == key:
            return
        if self._vouched is None or not self._vouched(member, key, voucher):
            raise ProtocolViolation(peer, KEYS, f"sent a key of party {member} that is not the one that it announced")
        if known is not None:
            raise ProtocolViolation(member, KEYS, "announced two keys for one session, and its institution vouched for both")
        self._keys[member] = Ed25519PublicKey.from_public_bytes(key)

    def signed(self, member: int, statement: bytes, signature: bytes) -> bool:
        """Whether the signature is the member's under a statement."""
        try:
            self._keys[member].verify(signature, statement)
        except (KeyError, InvalidSignature):
            return False
        return True


class Credential:
    """What a party signs with in a session: a key, and its institution's word for it."""

    def __init__(self, key: Ed25519PrivateKey, voucher: bytes = bytes(VOUCHER)) -> None:
        self._key = key
        self.announced = key.public_key().public_bytes_raw() + voucher

    @classmethod
    def of(cls, session: Session) -> Credential:
        """That of a session's identity, or a fresh key for which nobody vouches."""
        if session.identity is None:
            return cls(Ed25519PrivateKey.generate())
        return cls(Ed25519PrivateKey.from_private_bytes(session.identity.key), session.identity.voucher)

    def sign(self, statement: bytes) -> bytes:
        """A signature of 64 bytes."""
        return self._key.sign(statement)
