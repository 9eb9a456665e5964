"""Ethereum's hash, addresses and encoding of values, as the contracts compute them.

The libraries that do more than that (``eth_abi``, ``eth_utils``) take a third of a second to import. A worker process reads tasks
and encodes nothing: so what it needs stands here by itself, and they are imported by who first encodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eth_hash.auto import keccak as _keccak

ADDRESS = 20  # bytes


def keccak(data: bytes) -> bytes:
    """keccak-256."""
    return bytes(_keccak(data))


def to_checksum_address(account: str | bytes) -> str:
    """An address of 20 bytes, or ``0x`` and 40 hexadecimal digits, with its checksum (EIP-55). Raises ValueError."""
    raw = bytes(account) if isinstance(account, bytes | bytearray) else _unhex(account)
    if len(raw) != ADDRESS:
        raise ValueError("an address has 20 bytes")
    digits = raw.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(digit.upper() if mark >= "8" else digit for digit, mark in zip(digits, marks, strict=False))


def abi_encode(types: Iterable[str], values: Sequence[Any]) -> bytes:
    """``abi.encode`` of Solidity. Raises ValueError or TypeError for a value that is not of its type."""
    from eth_abi.abi import encode
    from eth_abi.exceptions import EncodingError

    try:
        return encode(tuple(types), values)
    except EncodingError as error:
        raise ValueError(str(error)) from None


def _unhex(text: str) -> bytes:
    if text[:2] not in ("0x", "0X"):
        raise ValueError("an address begins with 0x")
    return bytes.fromhex(text[2:])
