"""Signatures of accounts over 32-byte digests: secp256k1 with recovery, 65 bytes r || s || v, v 27 or 28, s low.

Accounts that are contracts (EIP-1271) can only be checked by asking the chain; here they fail, with a remedy that
says so. Source: Ethereum yellow paper, appendix F; EIP-2 for the low s.
"""

from __future__ import annotations

from coincurve import PublicKey

from tallystick.ethereum import keccak, to_checksum_address
from tallystick.protocol.errors import VerificationFailed

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def recover(digest: bytes, signature: bytes) -> str | None:
    """The account that signed ``digest``, or None when the 65 bytes are not a valid signature in the one accepted
    form.
    """
    if len(digest) != 32 or len(signature) != 65 or signature[64] not in (27, 28):
        return None
    if not 0 < int.from_bytes(signature[32:64], "big") <= HALF_ORDER:
        return None
    recoverable = signature[:64] + bytes([signature[64] - 27])
    try:
        key = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except (ValueError, RuntimeError):
        # libsecp256k1 says no: r is no coordinate of a point, or the recovered point is at infinity.
        return None
    return to_checksum_address(keccak(key.format(compressed=False)[1:])[12:])


def verify_signature(account: str, digest: bytes, signature: bytes, *, rule: int = 0) -> None:
    """Raise :class:`VerificationFailed` under ``rule`` unless ``account`` signed ``digest``."""
    if recover(digest, signature) != account:
        raise VerificationFailed(
            "the signature is not this account's over this digest",
            rule=rule,
            party=account,
            remedy="get the original document from the party; contract accounts can only be checked on chain",
        )
