"""An authority that makes Hygon CSV reports in genuine format, for tests. Its root's identity is marked as a simulation's."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from cryptography.hazmat.primitives.hashes import SM3
from cryptography.hazmat.primitives.hmac import HMAC
from tallystick.attestation import sm2
from tallystick.attestation.hygon import CEK, HRK, HSK, PEK, CsvEndorsements


class Sm2Key:
    """A key pair with the identity that its owner signs under."""

    def __init__(self, identity: str) -> None:
        self.secret = secrets.randbelow(sm2.ORDER - 2) + 1
        point = sm2.combined(self.secret, sm2.G, 0, sm2.G)
        assert point is not None
        self.public, self.identity = point, identity.encode()

    def sign(self, message: bytes) -> tuple[int, int]:
        e = sm2.digest(self.public, self.identity, message)
        while True:
            k = secrets.randbelow(sm2.ORDER - 1) + 1
            point = sm2.combined(k, sm2.G, 0, sm2.G)
            assert point is not None
            r = (e + point[0]) % sm2.ORDER
            s = pow(1 + self.secret, -1, sm2.ORDER) * (k - r * self.secret) % sm2.ORDER
            if r and s and (r + k) % sm2.ORDER:
                return r, s


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def halves(signature: tuple[int, int]) -> bytes:
    return number(signature[0], 72) + number(signature[1], 72)


def key_block(key: Sm2Key) -> bytes:
    x, y = key.public
    return number(3, 4) + number(x, 72) + number(y, 72) + number(len(key.identity), 2) + key.identity.ljust(254, b"\0")


class HygonAuthority:
    """HRK, HSK, CEK and PEK of one chip."""

    def __init__(self, mark: str = "SIMULATION ONLY ") -> None:
        self.hrk, self.hsk, self.cek, self.pek = (Sm2Key(f"{mark}{name}") for name in ("HRK", "HSK", "CEK", "PEK"))

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(b"".join(value.to_bytes(32, "big") for value in self.hrk.public)).digest()

    def authority(self, key: Sm2Key, usage: int, by: Sm2Key, key_id: bytes) -> bytes:
        body = number(1, 4) + key_id + b"\x01" * 16 + number(usage, 4) + bytes(24) + key_block(key) + bytes(108)
        return body + halves(by.sign(body)) + bytes(112)

    def certificate(self, key: Sm2Key, usage: int, by: Sm2Key, signer: int) -> bytes:
        body = number(1, 4) + bytes([1, 3, 0, 0]) + number(usage, 4) + number(4, 4) + key_block(key) + bytes(16 + 608)
        return body + number(signer, 4) + number(4, 4) + halves(by.sign(body)) + bytes(368 + 520)

    def endorsements(self, **changes: Any) -> CsvEndorsements:
        parts = {
            "hrk": self.authority(self.hrk, HRK, self.hrk, b"\x01" * 16),
            "hsk": self.authority(self.hsk, HSK, self.hrk, b"\x02" * 16),
            "cek": self.certificate(self.cek, CEK, self.hsk, HSK),
        }
        return CsvEndorsements(**(parts | changes))

    def report(
        self,
        *,
        policy: int = 0b1001,
        report_data: bytes = bytes(range(64)),
        measurement: bytes = b"\x06" * 32,
        usage: int = PEK,
        pek: bytes | None = None,
        key: Sm2Key | None = None,
        mac_key: bytes | None = None,
    ) -> bytes:
        nonce, challenge = secrets.token_bytes(4), b"challenge-16byte"

        def masked(data: bytes) -> bytes:
            return bytes(byte ^ nonce[place % 4] for place, byte in enumerate(data))

        fields = masked(bytes(64) + report_data + challenge + measurement + number(policy, 4) + number(usage, 4) + number(4, 4))
        signature = halves((key or self.pek).sign(fields[:180]))
        certificate = pek or self.certificate(self.pek, PEK, self.cek, CEK)
        endorsement = masked(certificate) + masked(b"SERIAL".ljust(64, b"\0")) + bytes(32)
        mac = HMAC(mac_key or challenge, SM3())
        mac.update(endorsement)
        return fields + nonce + signature + endorsement + mac.finalize()
