"""Verification of Intel DCAP quotes: from the pinned root to the report, without policy.

What a quote shows: a quoting enclave of Intel's, on a platform with the stated TCB, vouches for the report. It does not show that
the platform is free of flaws found later: that is what TCB info and its evaluation number are for. The order of the steps
follows Intel's quote verification library (steps 4.1.2.4.4 to 4.1.2.4.17).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from tallystick.attestation.certificates import elliptic_key
from tallystick.attestation.collateral import (
    DcapCollateral,
    QeIdentity,
    TcbInfo,
    check_signature,
    masked,
    read_qe_identity,
    read_tcb_info,
)
from tallystick.attestation.pck import verify_platform
from tallystick.attestation.quote import SgxReport, TdReport, read_quote
from tallystick.attestation.roots import Authority
from tallystick.attestation.rules import Rule, refusing, require
from tallystick.attestation.tcb import TcbStatus, evaluate, module_identity, part_level


@dataclass(frozen=True)
class DcapFacts:
    """What a verified quote says. ``platform`` is a digest of the processor's PPID: one machine, one value."""

    authority: Authority
    version: int
    report: SgxReport | TdReport
    status: TcbStatus
    tcb_date: int
    advisories: tuple[str, ...]
    evaluation: int
    fmspc: bytes
    platform: bytes
    signed: bytes
    expires: int

    @property
    def identity(self) -> bytes:
        """What runs, as one digest."""
        return self.report.identity

    @property
    def report_data(self) -> bytes:
        """The 64 bytes that the attested code chose."""
        return self.report.report_data


def verify_dcap(evidence: bytes, collateral: DcapCollateral, at: int, simulations: frozenset[bytes] = frozenset()) -> DcapFacts:
    """Apply rules 101 to 108 and 201 to 229 at time ``at`` (seconds since 1970).

    ``simulations`` are fingerprints of simulation roots to accept beside Intel's; the facts say which it was. Raises
    :class:`~tallystick.attestation.rules.EvidenceRefused` and nothing else.
    """
    quote = read_quote(evidence)
    platform = verify_platform(quote.pck_chain, collateral, at, simulations)
    signing_key = elliptic_key(platform.signing, "secp256r1")
    info = read_tcb_info(collateral, signing_key, quote.tee, at)
    statement = platform.statement
    require(info.fmspc == statement.fmspc, Rule.DCAP_PLATFORM, "TCB info is for another FMSPC")
    require(info.pce_id == statement.pce_id, Rule.DCAP_PLATFORM, "TCB info is for another PCE")
    if isinstance(quote.body, TdReport):
        _check_module(quote.body, info)
    pck_key = elliptic_key(platform.pck, "secp256r1")
    check_signature(pck_key, quote.qe_report_signature, quote.qe_report.raw, Rule.DCAP_QE_SIGNATURE)
    binding = hashlib.sha256(quote.attestation_key + quote.qe_authentication).digest() + bytes(32)
    require(quote.qe_report.report_data == binding, Rule.DCAP_QE_BINDING, "the QE report is for another attestation key")
    identity = read_qe_identity(collateral, signing_key, quote.tee, at)
    _check_quoting_enclave(quote.qe_report, identity)
    check_signature(_attestation_key(quote.attestation_key), quote.signature, quote.signed, Rule.DCAP_QUOTE_SIGNATURE)
    qe_level = part_level(identity.levels, quote.qe_report.isv_svn, Rule.DCAP_QE_LEVEL)
    if isinstance(quote.body, TdReport):
        evaluation = evaluate(info.levels, statement.tcb, qe_level, quote.body, info.modules)
    else:
        evaluation = evaluate(info.levels, statement.tcb, qe_level)
    return DcapFacts(
        authority=platform.authority,
        version=quote.version,
        report=quote.body,
        status=evaluation.status,
        tcb_date=evaluation.date,
        advisories=evaluation.advisories,
        evaluation=min(info.evaluation, identity.evaluation),
        fmspc=statement.fmspc,
        platform=hashlib.sha256(b"tallystick/attestation/ppid/v1" + statement.ppid).digest(),
        signed=quote.signed,
        expires=min(platform.expires, info.next_update, identity.next_update),
    )


def _attestation_key(raw: bytes) -> EllipticCurvePublicKey:
    with refusing(Rule.KEY, "the attestation key is not a point of P-256"):
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), b"\x04" + raw)


def _check_module(report: TdReport, info: TcbInfo) -> None:
    assert info.modules is not None
    module = module_identity(report, *info.modules)
    require(report.mr_signer_seam == module.mr_signer, Rule.DCAP_MODULE, "the TDX module has another signer")
    require(
        masked(report.seam_attributes, module.mask) == module.attributes and not any(report.seam_attributes),
        Rule.DCAP_MODULE,
        "the TDX module has other attributes",
    )


def _check_quoting_enclave(report: SgxReport, identity: QeIdentity) -> None:
    rule = Rule.DCAP_QE_IDENTITY
    require(report.mrsigner == identity.mr_signer, rule, "the quoting enclave has another signer")
    require(report.isv_prod_id == identity.isv_prod_id, rule, "the quoting enclave is another product")
    require(masked(report.misc_select, identity.misc_select_mask) == identity.misc_select, rule, "MISCSELECT differs")
    require(masked(report.attributes, identity.attributes_mask) == identity.attributes, rule, "the attributes differ")
    require(not report.debug, Rule.DCAP_QE_DEBUG, "the quoting enclave is a debug enclave")
