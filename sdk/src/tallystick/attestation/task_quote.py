"""The parts of a DCAP quote that a chain checks for a task: no certificate chain, no collateral, no lengths.

A contract that knows the platform's key from its registration checks the rest by two signatures; this is the same check, for who
reads a proof offline. It shows that the quoting enclave of a platform with this key vouches for the report. Whether that platform
counts, and is patched, shows the whole evidence (:mod:`~tallystick.attestation.verifier`), or the chain's registry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from tallystick.attestation.certificates import elliptic_key, load_chain
from tallystick.attestation.collateral import check_signature
from tallystick.attestation.quote import (
    BODIES,
    DESCRIPTION_SIZE,
    ECDSA_P256,
    HEADER_SIZE,
    INTEL_QE_VENDOR,
    SGX,
    SGX_REPORT_SIZE,
    TD_REPORT_SIZE,
    TDX,
    SgxReport,
    TdReport,
    read_quote,
)
from tallystick.attestation.roots import INTEL_QE_SIGNERS
from tallystick.attestation.rules import EvidenceRefused, Rule, refusing, require
from tallystick.attestation.simulation.authority import QE_PRODUCTS, QE_SIGNER

KEY = 64
ENDORSEMENT = 64 + KEY + SGX_REPORT_SIZE + 64  # before the authentication data
MAX_AUTHENTICATION = 64
_BODIES = {(3, SGX): SGX_REPORT_SIZE, (4, SGX): SGX_REPORT_SIZE, (4, TDX): TD_REPORT_SIZE}  # from version 5 on it is described
_QE_MASK, _QE_FLAGS = ~0x04, 0x11  # MODE64BIT either way; INIT and PROVISION_KEY

HARDWARE: Mapping[int, bytes] = INTEL_QE_SIGNERS
SIMULATED: Mapping[int, bytes] = MappingProxyType({SGX: QE_SIGNER, TDX: QE_SIGNER})
"""Signers of quoting enclaves by TEE: Intel's, and the simulation's."""


@dataclass(frozen=True)
class TaskQuote:
    """``platform``: the PCK certificate's public key, ``x || y``. ``signed``: header and body. ``endorsement``: signature (64
    bytes), attestation key (64), the quoting enclave's report (384), its signature (64), authentication data (at most 64)."""

    platform: bytes
    signed: bytes
    endorsement: bytes

    @classmethod
    def cut(cls, quote: bytes) -> TaskQuote:
        """The parts of a whole quote, of a kind that the chain reads. Raises :class:`EvidenceRefused`; verifies nothing."""
        found = read_quote(quote)
        require(len(found.qe_authentication) <= MAX_AUTHENTICATION, Rule.SIZE, "the authentication data are too long for the chain")
        numbers = elliptic_key(load_chain(found.pck_chain, 3)[0], "secp256r1").public_numbers()
        endorsement = found.signature + found.attestation_key + found.qe_report.raw + found.qe_report_signature
        platform = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        return cls(platform, found.signed, endorsement + found.qe_authentication)

    def verify(self, signers: Mapping[int, bytes]) -> SgxReport | TdReport:
        """The report, once the quote shows that a quoting enclave by one of ``signers`` on this platform vouches for it, and that
        it is no debug enclave: rules 102 to 104, 108, 201, 217 to 219, 223 to 225, 702, 711. Raises :class:`EvidenceRefused`."""
        tee = _tee(self.signed)
        spare = len(self.endorsement) - ENDORSEMENT
        require(0 <= spare <= MAX_AUTHENTICATION, Rule.LENGTH, "the endorsement is of another size")
        signature, key = self.endorsement[:64], self.endorsement[64:128]
        raw, qe_signature = self.endorsement[128:512], self.endorsement[512:576]
        check_signature(_point(self.platform), qe_signature, raw, Rule.DCAP_QE_SIGNATURE)
        report = SgxReport.read(raw)
        require(
            (report.mrsigner, report.isv_prod_id) == (signers[tee], QE_PRODUCTS[tee]),
            Rule.DCAP_QE_IDENTITY,
            "the quoting enclave is not the vendor's",
        )
        flags = int.from_bytes(report.attributes[:8], "little")
        plain = flags & _QE_MASK == _QE_FLAGS and not any(report.misc_select)
        require(plain, Rule.DCAP_QE_IDENTITY, "the quoting enclave has other attributes")
        binding = hashlib.sha256(key + self.endorsement[576:]).digest() + bytes(32)
        require(report.report_data == binding, Rule.DCAP_QE_BINDING, "the QE report is for another attestation key")
        check_signature(_point(key), signature, self.signed, Rule.DCAP_QUOTE_SIGNATURE)
        body = self.report
        if isinstance(body, TdReport):
            module = any(body.mr_signer_seam) or any(body.seam_attributes)
            require(not module, Rule.DCAP_MODULE, "the TDX module is not the vendor's")
            require(not any(body.mr_service_td or b""), Rule.SERVICE_TD, "a service TD is bound")
        require(not body.debug, Rule.DEBUG, "the environment can be debugged")
        return body

    @property
    def report(self) -> SgxReport | TdReport:
        """What the quote is about. Raises :class:`EvidenceRefused`; verifies nothing."""
        tee, (start, _) = _tee(self.signed), _layout(self.signed)
        body = self.signed[start:]
        return TdReport.read(body) if tee == TDX else SgxReport.read(body)


def signed_size(quote: bytes) -> int:
    """How many bytes at the beginning of a quote its attestation key signs. Raises :class:`EvidenceRefused`."""
    start, size = _layout(quote)
    return start + size


def _layout(quote: bytes) -> tuple[int, int]:
    """Where the body starts, and its size."""
    version, tee = int.from_bytes(quote[:2], "little"), int.from_bytes(quote[4:8], "little")
    start, size = HEADER_SIZE, _BODIES.get((version, tee))
    if version == 5:
        start = HEADER_SIZE + DESCRIPTION_SIZE
        kind, said = (int.from_bytes(quote[a:b], "little") for a, b in ((HEADER_SIZE, HEADER_SIZE + 2), (HEADER_SIZE + 2, start)))
        size = said if BODIES.get(kind) == (tee, said) else None
    require(size is not None, Rule.VERSION, "the quote is of an unknown version or type")
    assert size is not None
    return start, size


def _tee(signed: bytes) -> int:
    """The TEE of header and body, whose header is one that the chain reads."""
    require(len(signed) == signed_size(signed), Rule.LENGTH, "the quote's body is of another size")
    known = int.from_bytes(signed[2:4], "little") == ECDSA_P256 and signed[12:28] == INTEL_QE_VENDOR
    require(known, Rule.DCAP_HEADER, "the quote is not by Intel's quoting enclave with ECDSA on P-256")
    return int.from_bytes(signed[4:8], "little")


def _point(raw: bytes) -> EllipticCurvePublicKey:
    if len(raw) != KEY:
        raise EvidenceRefused(Rule.KEY, "a key takes 64 bytes")
    with refusing(Rule.KEY, "a key is not a point of P-256"):
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), b"\x04" + raw)
