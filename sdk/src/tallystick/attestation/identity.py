"""What runs in an environment, as one digest: how lists of enclaves, task specs and contracts name it, whatever its family.

An identity binds everything by which the family says what runs, and nothing that says where. Its bytes stand in
``docs/spec/attested-task.md``.
"""

from __future__ import annotations

import hashlib

SNP, NITRO, CSV, CCA = 0x02, 0x03, 0x04, 0x05  # SGX and TDX have Intel's types of TEE, 0x00 and 0x81
_DOMAIN = b"tallystick/tee/identity/v1"


def identity(family: int, *fields: bytes) -> bytes:
    """SHA-256 over the domain, the family's byte, and its fields: each of a fixed length, or behind its own length."""
    return hashlib.sha256(_DOMAIN + bytes([family]) + b"".join(fields)).digest()


def sized(field: bytes) -> bytes:
    """A field of another length in each environment, behind two bytes of length, big-endian."""
    return len(field).to_bytes(2, "big") + field
