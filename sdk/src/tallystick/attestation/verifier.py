"""Appraisal: evidence and endorsements in, an attestation result out, or a refusal by a numbered rule.

Security: what is trusted are the vendor's root (or, for a simulation, whoever holds its key), the vendor's statements about TCBs
until they expire, SHA-2 (SM3), ECDSA, RSA-PSS and SM2, and the caller's clock, reference values and policy. Neither evidence nor
endorsements are trusted. Every step is bounded by the size limits of its input; nothing is fetched.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from tallystick.attestation import result as ear
from tallystick.attestation.cca import CcaEndorsements, CcaFacts, verify_cca
from tallystick.attestation.collateral import DcapCollateral
from tallystick.attestation.dcap import DcapFacts, verify_dcap
from tallystick.attestation.hygon import CsvEndorsements, CsvFacts, verify_csv
from tallystick.attestation.nitro import NitroEndorsements, NitroFacts, verify_nitro
from tallystick.attestation.policy import AppraisalPolicy, check_csv, check_dcap, check_nitro, check_snp
from tallystick.attestation.quote import SgxReport
from tallystick.attestation.references import ReferenceValues
from tallystick.attestation.result import AttestationResult, TrustVector
from tallystick.attestation.rules import EvidenceRefused, Rule, require
from tallystick.attestation.snp import SnpEndorsements, SnpFacts, verify_snp
from tallystick.attestation.tcb import CURRENT, TcbStatus

Endorsements = DcapCollateral | SnpEndorsements | NitroEndorsements | CsvEndorsements | CcaEndorsements
"""What a family of evidence needs beside the evidence. Its type says which family the evidence is of."""


@dataclass(frozen=True)
class Evidence:
    """``raw`` bytes of an attester, with the endorsements that came with them or were looked up for them."""

    raw: bytes
    endorsements: Endorsements


_Facts = DcapFacts | SnpFacts | NitroFacts | CsvFacts | CcaFacts


@dataclass(frozen=True)
class _Reading:
    """What every family's facts come down to, beside the members that all of them have.

    Only Intel states how good a platform is; of others it is good enough if the policy took it.
    """

    kind: str
    measurement: bytes
    expires: int
    claims: Mapping[str, str | int]
    configuration: int = ear.APPROVED
    hardware: int = ear.GENUINE_HARDWARE


def appraise(
    evidence: Evidence, references: ReferenceValues, policy: AppraisalPolicy, expected_report_data: bytes, at: int
) -> AttestationResult:
    """Apply every rule to ``evidence`` at time ``at`` (seconds since 1970) and say what was found.

    ``expected_report_data`` is compared with all of the evidence's: give what the statement of the task, with a nonce of the
    verifier's or the chain's, leads to. Raises :class:`EvidenceRefused` by the first rule that fails.
    """
    facts, reading = _verify(evidence, policy, at)
    require(references.matches(facts), Rule.MEASUREMENT, "no reference value matches the measurement")
    same = hmac.compare_digest(facts.report_data, expected_report_data)
    require(same, Rule.REPORT_DATA, "the report data are not the expected ones")
    hardware = facts.authority.hardware
    vector = TrustVector(
        configuration=reading.configuration,
        executables=ear.APPROVED_RUNTIME,
        hardware=reading.hardware if hardware else ear.UNRECOGNIZED_HARDWARE,
        runtime_opaque=ear.ENCRYPTED_MEMORY if hardware else ear.VISIBLE_MEMORY,
    )
    return AttestationResult(
        kind=reading.kind,
        authority=facts.authority,
        vector=vector,
        report_data=facts.report_data,
        measurement=reading.measurement,
        identity=facts.identity,
        platform=facts.platform,
        evidence=ear.digest(facts.signed),
        endorsements=evidence.endorsements.digest,
        policy=policy.name,
        policy_digest=policy.digest,
        appraised=at,
        expires=min(reading.expires, at + policy.validity),
        claims=reading.claims,
    )


def _verify(evidence: Evidence, policy: AppraisalPolicy, at: int) -> tuple[_Facts, _Reading]:
    endorsements = evidence.endorsements
    if isinstance(endorsements, DcapCollateral):
        quote = verify_dcap(evidence.raw, endorsements, at, policy.simulations)
        check_dcap(quote, policy, at)
        return quote, _read_dcap(quote)
    if isinstance(endorsements, SnpEndorsements):
        report = verify_snp(evidence.raw, endorsements, at, policy.simulations)
        check_snp(report, policy)
        return report, _read_snp(report)
    if isinstance(endorsements, NitroEndorsements):
        document = verify_nitro(evidence.raw, policy.simulations)
        check_nitro(document, policy, at)
        return document, _read_nitro(document)
    if isinstance(endorsements, CsvEndorsements):
        guest = verify_csv(evidence.raw, endorsements, policy.simulations)
        check_csv(guest, policy)
        return guest, _read_csv(guest, at + policy.validity)
    if isinstance(endorsements, CcaEndorsements):
        token = verify_cca(evidence.raw, endorsements, policy.cca_platforms, policy.simulations)
        return token, _read_cca(token, at + policy.validity)
    raise EvidenceRefused(Rule.VERSION, "the endorsements are of no family that this verifier knows")


def _read_dcap(facts: DcapFacts) -> _Reading:
    report = facts.report
    sgx = isinstance(report, SgxReport)
    return _Reading(
        kind="sgx" if sgx else "tdx",
        measurement=report.mrenclave if isinstance(report, SgxReport) else report.mr_td,
        expires=facts.expires,
        configuration=ear.APPROVED if facts.status is TcbStatus.UP_TO_DATE else ear.UNSAFE_CONFIGURATION,
        hardware=ear.GENUINE_HARDWARE if facts.status in CURRENT else ear.UNSAFE_HARDWARE,
        claims={
            "quote_version": facts.version,
            "tcb_status": facts.status.value,
            "tcb_date": facts.tcb_date,
            "tcb_evaluation": facts.evaluation,
            "advisories": ",".join(facts.advisories),
            "fmspc": facts.fmspc.hex(),
            "platform": facts.platform.hex(),
        },
    )


def _read_snp(facts: SnpFacts) -> _Reading:
    report = facts.report
    return _Reading(
        kind="snp",
        measurement=report.measurement,
        expires=facts.expires,
        claims={
            "report_version": report.version,
            "product": facts.product,
            "tcb": "/".join(f"{name}={value}" for name, value in vars(facts.reported).items()),
            "vmpl": report.vmpl,
            "guest_svn": report.guest_svn,
            "platform": facts.platform.hex(),
        },
    )


def _read_nitro(facts: NitroFacts) -> _Reading:
    return _Reading(
        kind="nitro",
        measurement=facts.pcrs[0],
        expires=facts.expires,
        claims={
            "module": facts.module,
            "timestamp": facts.timestamp,
            "nonce": facts.nonce.hex(),
            "public_key": facts.public_key.hex(),
        },
    )


def _read_csv(facts: CsvFacts, expires: int) -> _Reading:
    return _Reading(
        kind="csv",
        measurement=facts.measurement,
        expires=expires,
        claims={"policy": facts.policy, "nonce": facts.nonce.hex(), "platform": facts.platform.hex()},
    )


def _read_cca(facts: CcaFacts, expires: int) -> _Reading:
    return _Reading(
        kind="cca",
        measurement=facts.initial,
        expires=expires,
        claims={
            "implementation": facts.implementation.hex(),
            "instance": facts.instance.hex(),
            "lifecycle": facts.lifecycle,
            "components": len(facts.components),
        },
    )
