"""A simulated platform: its certified key, its quoting enclave, and quotes for reports of enclaves and trust domains."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tallystick.attestation.quote import ECDSA_P256, INTEL_QE_VENDOR, PCK_CHAIN, QE_REPORT_DATA, SGX, TD_REPORT_SIZE, TDX
from tallystick.attestation.simulation.authority import (
    QE_PRODUCTS,
    QE_SIGNER,
    TOP,
    ProvisioningAuthority,
    new_key,
    sgx_extension,
    sign,
)

ENCLAVE_FLAGS = 0x05  # INIT, MODE64BIT
_QE_ATTRIBUTES = bytes([0x11]) + bytes(7) + bytes([0x03]) + bytes(7)  # INIT, PROVISION_KEY; x87 and SSE


@dataclass(frozen=True)
class EnclaveIdentity:
    """What a quoting enclave is told about the enclave that asks: by its launcher, never by the enclave itself."""

    mrenclave: bytes
    mrsigner: bytes
    isv_prod_id: int = 0
    isv_svn: int = 0
    attributes: bytes = bytes([ENCLAVE_FLAGS]) + bytes(7) + bytes([0x03]) + bytes(7)
    config_id: bytes = bytes(64)


@dataclass(frozen=True)
class DomainIdentity:
    """The same for a trust domain; registers are those of :class:`~tallystick.attestation.references.TrustDomain`."""

    mr_td: bytes
    rtmr: tuple[bytes, bytes, bytes, bytes] = (bytes(48),) * 4
    tee_tcb_svn: bytes = bytes([1, 1]) + bytes(14)
    td_attributes: bytes = (1 << 28).to_bytes(8, "little")
    xfam: bytes = (0xE7).to_bytes(8, "little")
    seam_attributes: bytes = bytes(8)
    mr_signer_seam: bytes = bytes(48)
    mr_config_id: bytes = bytes(48)
    mr_owner: bytes = bytes(48)
    mr_owner_config: bytes = bytes(48)
    tee_tcb_svn_2: bytes = bytes([1, 1]) + bytes(14)
    mr_service_td: bytes = bytes(48)


def sgx_report(enclave: EnclaveIdentity, report_data: bytes, cpu_svn: bytes = TOP) -> bytes:
    """The 384 bytes of an SGX report body."""
    return b"".join(
        (
            cpu_svn,
            bytes(4 + 12 + 16),
            enclave.attributes,
            enclave.mrenclave,
            bytes(32),
            enclave.mrsigner,
            bytes(32),
            enclave.config_id,
            enclave.isv_prod_id.to_bytes(2, "little"),
            enclave.isv_svn.to_bytes(2, "little"),
            bytes(2 + 42 + 16),
            report_data,
        )
    )


def td_report(domain: DomainIdentity, report_data: bytes, *, extended: bool) -> bytes:
    """The 584 bytes of a TD report body, or 648 of TDX 1.5 if ``extended``."""
    body = b"".join(
        (
            domain.tee_tcb_svn,
            bytes(48),
            domain.mr_signer_seam,
            domain.seam_attributes,
            domain.td_attributes,
            domain.xfam,
            domain.mr_td,
            domain.mr_config_id,
            domain.mr_owner,
            domain.mr_owner_config,
            *domain.rtmr,
            report_data,
        )
    )
    return body + domain.tee_tcb_svn_2 + domain.mr_service_td if extended else body


class QuotingEnclave:
    """Makes quotes with a certified platform key and an attestation key of its own. ``chain`` is PEM: PCK, intermediate, root."""

    def __init__(self, pck_key: EllipticCurvePrivateKey, chain: bytes) -> None:
        self._pck_key = pck_key
        self._attestation_key = new_key()
        self._chain = chain

    def quote_enclave(self, enclave: EnclaveIdentity, report_data: bytes, version: int = 3) -> bytes:
        """A quote of version 3, 4 or 5 for an enclave with 64 bytes of report data."""
        return self.quote(version, SGX, sgx_report(enclave, report_data))

    def quote_domain(self, domain: DomainIdentity, report_data: bytes, version: int = 4, *, extended: bool = False) -> bytes:
        """A quote of version 4 or 5 for a trust domain; ``extended`` (TDX 1.5) needs version 5."""
        return self.quote(version, TDX, td_report(domain, report_data, extended=extended))

    def quote(self, version: int, tee: int, body: bytes, qe: EnclaveIdentity | None = None) -> bytes:
        """A quote for any report body; ``qe`` replaces the quoting enclave's identity."""
        header = b"".join(number.to_bytes(size, "little") for number, size in ((version, 2), (ECDSA_P256, 2), (tee, 4)))
        header += bytes(4) + INTEL_QE_VENDOR + bytes(20)
        if version == 5:
            kind = 1 if tee == SGX else 2 if len(body) == TD_REPORT_SIZE else 3
            header += kind.to_bytes(2, "little") + len(body).to_bytes(4, "little")
        key = raw_key(self._attestation_key)
        authentication = bytes(range(32))
        identity = qe or EnclaveIdentity(
            mrenclave=hashlib.sha256(QE_SIGNER).digest(),
            mrsigner=QE_SIGNER,
            isv_prod_id=QE_PRODUCTS[tee],
            isv_svn=1,
            attributes=_QE_ATTRIBUTES,
        )
        report = sgx_report(identity, hashlib.sha256(key + authentication).digest() + bytes(32))
        certification = report + sign(self._pck_key, report) + _sized(authentication, 2)
        certification += PCK_CHAIN.to_bytes(2, "little") + _sized(self._chain, 4)
        if version >= 4:
            certification = QE_REPORT_DATA.to_bytes(2, "little") + _sized(certification, 4)
        return header + body + _sized(sign(self._attestation_key, header + body) + key + certification, 4)


class SimulatedPlatform(QuotingEnclave):
    """One platform under ``authority``: ``components`` and ``pce_svn`` are the TCB that its certificate (``pck``) states."""

    def __init__(self, authority: ProvisioningAuthority, components: bytes = TOP, pce_svn: int = 1) -> None:
        key = new_key()
        self.pck = authority.certify(key.public_key(), sgx_extension(os.urandom(16), components, pce_svn))
        super().__init__(key, authority.chain(self.pck))


def raw_key(key: EllipticCurvePrivateKey) -> bytes:
    """The public point as DCAP writes it: ``x || y``, 64 bytes."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def _sized(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "little") + data
