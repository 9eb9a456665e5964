"""Intel DCAP quotes: versions 3 (SGX), 4 and 5 (SGX, TDX 1.0, TDX 1.5), as bytes that are read exactly.

Layouts: Intel SGX ECDSA QuoteLibReference DCAP API (v3, appendix A), Intel TDX DCAP Quoting Library API (v4 and v5, appendix A).
Integers are little-endian. Only ECDSA-256-with-P-256 quotes with an embedded PCK chain are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tallystick.attestation.identity import identity
from tallystick.attestation.reading import MAX_EVIDENCE, Reader, bounded
from tallystick.attestation.rules import Rule, require

HEADER_SIZE = 48
SGX_REPORT_SIZE = 384
TD_REPORT_SIZE = 584
TD_REPORT_15_SIZE = 648

SGX, TDX = 0x00, 0x81
ECDSA_P256 = 2
INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")

PCK_CHAIN = 5
QE_REPORT_DATA = 6

BODIES = {1: (SGX, SGX_REPORT_SIZE), 2: (TDX, TD_REPORT_SIZE), 3: (TDX, TD_REPORT_15_SIZE)}
"""TEE and size of the body by its type, which versions from 5 on name behind the header."""
DESCRIPTION_SIZE = 6


@dataclass(frozen=True)
class SgxReport:
    """The body of an SGX report. ``raw`` are its 384 bytes."""

    raw: bytes
    cpu_svn: bytes
    misc_select: bytes
    attributes: bytes
    mrenclave: bytes
    mrsigner: bytes
    config_id: bytes
    isv_prod_id: int
    isv_svn: int
    report_data: bytes

    @property
    def identity(self) -> bytes:
        """What runs, as one digest for lists of enclaves: the measurement, and the configuration, which can change it."""
        return identity(SGX, self.mrenclave, self.config_id)

    @property
    def debug(self) -> bool:
        """Whether the enclave was initialised for debugging (bit 1 of the attributes' flags)."""
        return bool(self.attributes[0] & 0x02)

    @classmethod
    def read(cls, raw: bytes) -> SgxReport:
        """Parse 384 bytes. Of the fields of key separation and sharing (KSS) only CONFIGID, which can change what runs, is kept."""
        reader = Reader(raw)
        cpu_svn, misc_select = reader.take(16), reader.take(4)
        reader.zeros(12)
        reader.take(16)  # ISVEXTPRODID
        attributes, mrenclave = reader.take(16), reader.take(32)
        reader.zeros(32)
        mrsigner = reader.take(32)
        reader.zeros(32)
        config_id = reader.take(64)
        isv_prod_id, isv_svn = reader.integer(2), reader.integer(2)
        reader.take(2)  # CONFIGSVN
        reader.zeros(42)
        reader.take(16)  # ISVFAMILYID
        report_data = reader.take(64)
        reader.end()
        return cls(raw, cpu_svn, misc_select, attributes, mrenclave, mrsigner, config_id, isv_prod_id, isv_svn, report_data)


@dataclass(frozen=True)
class TdReport:
    """The body of a TD report: 584 bytes, or 648 with the two fields of TDX 1.5 (``None`` before)."""

    raw: bytes
    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmr: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes
    tee_tcb_svn_2: bytes | None = None
    mr_service_td: bytes | None = None

    @property
    def identity(self) -> bytes:
        """What runs, as one digest for lists of enclaves: attributes, XFAM, and all registers from MRTD to RTMR 3."""
        return identity(TDX, self.raw[120:520])

    @property
    def debug(self) -> bool:
        """Whether the TD runs in a debug mode (the TUD byte of the attributes; bit 0 is DEBUG, the others are reserved)."""
        return bool(self.td_attributes[0])

    @classmethod
    def read(cls, raw: bytes) -> TdReport:
        """Parse 584 or 648 bytes."""
        reader = Reader(raw)
        take: Callable[[int], bytes] = reader.take
        first = (take(16), take(48), take(48), take(8), take(8), take(8), take(48), take(48), take(48), take(48))
        rtmr = (take(48), take(48), take(48), take(48))
        report_data = take(64)
        extended = (take(16), take(48)) if len(raw) == TD_REPORT_15_SIZE else (None, None)
        reader.end()
        return cls(raw, *first, rtmr, report_data, *extended)


@dataclass(frozen=True)
class Quote:
    """A parsed quote; nothing in it is verified yet. ``signed`` is header and body as the attestation key signs them."""

    version: int
    tee: int
    body: SgxReport | TdReport
    signed: bytes
    signature: bytes
    attestation_key: bytes
    qe_report: SgxReport
    qe_report_signature: bytes
    qe_authentication: bytes
    pck_chain: bytes


def read_quote(data: bytes) -> Quote:
    """Parse a quote. Zero padding after the signature data is allowed, as some platforms pad to a fixed size."""
    bounded(data, MAX_EVIDENCE, "a quote")
    reader = Reader(data)
    header = Reader(reader.take(HEADER_SIZE))
    version, key_type, tee = header.integer(2), header.integer(2), header.integer(4)
    require(version in (3, 4, 5), Rule.VERSION, "quotes of versions 3, 4 and 5 are known")
    require(key_type == ECDSA_P256, Rule.DCAP_HEADER, "the attestation key is not ECDSA with P-256")
    require(tee in ((SGX,) if version == 3 else (SGX, TDX)), Rule.DCAP_HEADER, "the TEE type does not fit the version")
    header.take(4)  # QE and PCE SVN in version 3, reserved later; both are taken from the certificate and the QE report instead
    require(header.take(16) == INTEL_QE_VENDOR, Rule.DCAP_HEADER, "the quoting enclave is not Intel's")
    if version == 5:
        kind, size = reader.integer(2), reader.integer(4)
        require(BODIES.get(kind) == (tee, size), Rule.DCAP_HEADER, "body type, body size and TEE type do not agree")
        prefix = HEADER_SIZE + DESCRIPTION_SIZE
    else:
        size, prefix = (TD_REPORT_SIZE if tee == TDX else SGX_REPORT_SIZE), HEADER_SIZE
    raw = reader.take(size)
    body = TdReport.read(raw) if tee == TDX else SgxReport.read(raw)
    signature_data = Reader(reader.take(reader.integer(4)))
    require(not any(reader.rest()), Rule.RESERVED, "bytes after the signature data are not zero")
    signature, key = signature_data.take(64), signature_data.take(64)
    certification = signature_data
    if version >= 4:
        outer = signature_data.integer(2)
        require(outer == QE_REPORT_DATA, Rule.DCAP_CERTIFICATION, "certification data is not a QE report with its chain")
        certification = Reader(signature_data.take(signature_data.integer(4)))
        signature_data.end()
    qe_report = SgxReport.read(certification.take(SGX_REPORT_SIZE))
    qe_signature = certification.take(64)
    authentication = certification.take(certification.integer(2))
    inner = certification.integer(2)
    require(inner == PCK_CHAIN, Rule.DCAP_CERTIFICATION, "certification data is not a PCK certificate chain")
    chain = certification.take(certification.integer(4))
    certification.end()
    return Quote(version, tee, body, data[: prefix + size], signature, key, qe_report, qe_signature, authentication, chain)
