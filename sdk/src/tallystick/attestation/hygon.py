"""Verification of Hygon CSV attestation reports (version 1): from the pinned HRK to the report, without policy.

Layouts: Hygon's csv-rs (``src/api/guest/types.rs``, ``src/certs``). Its certificates have no dates and are never revoked.
Fields of a report are masked by XOR with a nonce of the firmware that the signature does not cover: who changes the nonce changes
measurement and report data alike, so it is the comparison of both with expected values that fixes it. Policy bits mean nothing
without that comparison.
"""

from __future__ import annotations

import hashlib
import hmac as constant_time
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SM3
from cryptography.hazmat.primitives.hmac import HMAC

from tallystick.attestation import sm2
from tallystick.attestation.identity import CSV, identity
from tallystick.attestation.reading import Reader, bounded
from tallystick.attestation.roots import HYGON_ROOT, Authority, authority
from tallystick.attestation.rules import EvidenceRefused, Rule, require

AUTHORITY_SIZE = 832
CERTIFICATE_SIZE = 2084
REPORT_SIZE = 2548
PAGE = 4096

HRK, HSK, PEK, CEK = 0x0000, 0x0013, 0x1002, 0x1004
_SM2_SIGNING = 4
_SM2_CURVE = 3
_SIGNED = 180


@dataclass(frozen=True)
class CsvEndorsements:
    """Hygon's certificates for one chip: HRK and HSK (832 bytes each), CEK (2084 bytes)."""

    hrk: bytes
    hsk: bytes
    cek: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 over all parts, each with its length."""
        digest = hashlib.sha256(b"tallystick/attestation/csv-endorsements/v1")
        for part in (self.hrk, self.hsk, self.cek):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


@dataclass(frozen=True)
class CsvFacts:
    """What a verified report says, unmasked. ``platform`` is a digest of the chip's endorsement key."""

    authority: Authority
    user_public_key_digest: bytes
    vm_id: bytes
    vm_version: bytes
    report_data: bytes
    nonce: bytes
    measurement: bytes
    policy: int
    platform: bytes
    signed: bytes

    @property
    def identity(self) -> bytes:
        """What runs, as one digest: measurement, the VM's id and version, the digest of its owner's key."""
        return identity(CSV, self.measurement, self.vm_id, self.vm_version, self.user_public_key_digest)

    @property
    def debug(self) -> bool:
        """Whether the guest may be debugged (NODBG, bit 0, is zero)."""
        return not self.policy & 1

    @property
    def sendable(self) -> bool:
        """Whether the guest may be sent to another platform (NOSEND, bit 3, is zero)."""
        return not self.policy & 8


@dataclass(frozen=True)
class _Certificate:
    usage: int
    key: sm2.Point
    identity: bytes
    body: bytes
    signatures: tuple[tuple[int, tuple[int, int]], ...]  # the signer's usage, and the signature
    key_id: bytes = b""
    signer_id: bytes = b""


def _key(reader: Reader) -> tuple[sm2.Point, bytes]:
    require(reader.integer(4) == _SM2_CURVE, Rule.KEY, "a key is not on the SM2 curve")
    x, y = reader.integer(72), reader.integer(72)
    size = reader.integer(2)
    require(size <= 254, Rule.CERTIFICATE, "a signer's identity is too long")
    identity = reader.take(254)
    require(not any(identity[size:]), Rule.RESERVED, "bytes after a signer's identity are not zero")
    return (x, y), identity[:size]


def _read_authority(data: bytes) -> _Certificate:
    """A root or signing certificate."""
    require(len(data) == AUTHORITY_SIZE, Rule.CERTIFICATE, f"an authority's certificate takes {AUTHORITY_SIZE} bytes")
    reader = Reader(data)
    require(reader.integer(4) == 1, Rule.VERSION, "an authority's certificate is of an unknown version")
    key_id, signer_id, usage = reader.take(16), reader.take(16), reader.integer(4)
    reader.zeros(24)
    key, identity = _key(reader)
    reader.zeros(108)
    signature = reader.integer(72), reader.integer(72)
    reader.zeros(112)
    signer = HRK  # the format has no field for it: only the root signs authorities
    return _Certificate(usage, key, identity, data[: AUTHORITY_SIZE - 256], ((signer, signature),), key_id, signer_id)


def _read_certificate(data: bytes) -> _Certificate:
    """A chip's or platform's certificate, with up to two signatures."""
    require(len(data) == CERTIFICATE_SIZE, Rule.CERTIFICATE, f"a platform's certificate takes {CERTIFICATE_SIZE} bytes")
    reader = Reader(data)
    require(reader.integer(4) in (1, 2), Rule.VERSION, "a platform's certificate is of an unknown version")
    reader.take(2)  # firmware version
    reader.zeros(2)
    usage, algorithm = reader.integer(4), reader.integer(4)
    require(algorithm == _SM2_SIGNING, Rule.CERTIFICATE, "a key is not for SM2 signatures")
    key, identity = _key(reader)
    reader.take(16)  # the chip's serial number, or zero
    reader.take(608)
    signatures = []
    for _ in range(2):
        signer, kind = reader.integer(4), reader.integer(4)
        signature = reader.integer(72), reader.integer(72)
        reader.take(368)
        if kind == _SM2_SIGNING:
            signatures.append((signer, signature))
    return _Certificate(usage, key, identity, data[: CERTIFICATE_SIZE - 2 * 520], tuple(signatures))


def _check_signed(child: _Certificate, issuer: _Certificate) -> None:
    for signer, signature in child.signatures:
        if signer == issuer.usage:
            sm2.verify(issuer.key, issuer.identity, child.body, signature, Rule.CSV_CHAIN)
            return
    raise EvidenceRefused(Rule.CSV_CHAIN, "a certificate has no signature by the next one of its chain")


def _masked(data: bytes, nonce: bytes) -> bytes:
    return bytes(byte ^ nonce[place % 4] for place, byte in enumerate(data))


def verify_csv(evidence: bytes, endorsements: CsvEndorsements, simulations: frozenset[bytes] = frozenset()) -> CsvFacts:
    """Apply rules 101 to 108 and 501 to 504 to a report as the device gives it: 2548 bytes, or padded with zeros to 4096.

    Arguments and errors are those of :func:`~tallystick.attestation.dcap.verify_dcap`; there are no dates to check.
    """
    bounded(evidence, PAGE, "a report")
    require(len(evidence) in (REPORT_SIZE, PAGE), Rule.LENGTH, f"a report takes {REPORT_SIZE} bytes, or {PAGE} with padding")
    require(not any(evidence[REPORT_SIZE:]), Rule.RESERVED, "the padding of a report is not zero")
    reader = Reader(evidence[:REPORT_SIZE])
    fields = reader.take(_SIGNED + 8)
    nonce = reader.take(4)
    signature = reader.integer(72), reader.integer(72)
    endorsement, tag = reader.take(CERTIFICATE_SIZE + 64 + 32), reader.take(32)
    plain = Reader(_masked(fields, nonce))
    user_key, vm_id, vm_version = plain.take(32), plain.take(16), plain.take(16)
    report_data, challenge, measurement = plain.take(64), plain.take(16), plain.take(32)
    policy, usage, algorithm = plain.integer(4), plain.integer(4), plain.integer(4)
    require((usage, algorithm) == (PEK, _SM2_SIGNING), Rule.VERSION, "the report is not signed by a PEK with SM2")
    hrk, hsk = _read_authority(endorsements.hrk), _read_authority(endorsements.hsk)
    cek = _read_certificate(endorsements.cek)
    mac = HMAC(challenge, SM3())
    mac.update(endorsement)
    require(constant_time.compare_digest(mac.finalize(), tag), Rule.CSV_MAC, "the PEK's HMAC does not verify")
    pek = _read_certificate(_masked(endorsement[:CERTIFICATE_SIZE], nonce))
    usages = (hrk.usage, hsk.usage, cek.usage, pek.usage)
    require(usages == (HRK, HSK, CEK, PEK), Rule.CSV_CHAIN, "the certificates are not a root, a signing, a chip and a platform key")
    require(hrk.key_id == hrk.signer_id == hsk.signer_id, Rule.CSV_CHAIN, "the authorities' key ids do not fit together")
    root = hashlib.sha256(b"".join(number.to_bytes(72, "big")[-32:] for number in hrk.key)).digest()
    who = authority(root, hrk.identity.decode("ascii", "replace"), frozenset({HYGON_ROOT}), simulations, Rule.CSV_ROOT)
    for child, issuer in ((hrk, hrk), (hsk, hrk), (cek, hsk), (pek, cek)):
        _check_signed(child, issuer)
    sm2.verify(pek.key, pek.identity, fields[:_SIGNED], signature, Rule.CSV_SIGNATURE)
    return CsvFacts(
        authority=who,
        user_public_key_digest=user_key,
        vm_id=vm_id,
        vm_version=vm_version,
        report_data=report_data,
        nonce=challenge,
        measurement=measurement,
        policy=policy,
        platform=hashlib.sha256(b"tallystick/attestation/cek/v1" + cek.body).digest(),
        signed=fields[:_SIGNED] + nonce,
    )
