"""The appraisal policy: what a relying party takes for good enough. It is data; its digest goes into every result.

What no policy can allow: a debuggable environment, a revoked TCB, an unknown status, evidence without reference values, report
data other than the expected ones, a simulation presented as hardware.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from tallystick.attestation.dcap import DcapFacts
from tallystick.attestation.hygon import CsvFacts
from tallystick.attestation.nitro import NitroFacts
from tallystick.attestation.quote import SgxReport, TdReport
from tallystick.attestation.reading import plain
from tallystick.attestation.rules import EvidenceRefused, Rule, require
from tallystick.attestation.snp import SnpFacts
from tallystick.attestation.snp_report import SnpTcb
from tallystick.attestation.tcb import CURRENT, TcbStatus

SEPT_VE_DISABLE = 1 << 28
MIGRATABLE = 1 << 29
_TD_ATTRIBUTES = SEPT_VE_DISABLE | 1 << 30 | 1 << 31  # and PKS, KL: protection keys and key locker, of use inside only
_XFAM_REQUIRED, _XFAM_ALLOWED = 0x3, 0x6DBE7  # x87 and SSE; with AVX, AVX-512, PKRU, CET, PT, LBR, UINTR, AMX
_SGX_INIT = 1
_SKEW = 60  # seconds that an attester's clock may be ahead
_SGX_FLAGS = 1 | 2 | 4 | 1 << 7 | 1 << 10  # INIT, DEBUG (refused apart), MODE64BIT, KSS, AEXNOTIFY; no provisioning or launch key


@dataclass(frozen=True)
class AppraisalPolicy:
    """One named policy. The defaults are the strictest: hardware only, fully patched, no open advisory.

    ``simulations``: fingerprints of simulation roots whose evidence is accepted, as simulated. ``tcb_statuses``: accepted beside
    ``UpToDate``; those that say *out of date* only until ``grace`` seconds after the date of the TCB level. ``advisories``: open
    advisories that are accepted, each by name. ``minimum_evaluation``: least TCB evaluation data number; raise it, never lower it.
    ``max_age``: seconds that dated evidence may be old. ``validity``: most seconds that a result is good for. ``service_tds``:
    accepted MRSERVICETD values beside none.

    ``snp_minimum``: by AMD product, the least TCB; without one a product is refused, as AMD gives no verdict on TCBs.
    ``snp_without_list``: products that are accepted without AMD's revocation list. ``vmpls``: privilege levels that may ask for a
    report. ``smt``: whether a guest may allow simultaneous multithreading. ``sendable``: whether a CSV guest may be sent elsewhere.
    ``cca_platforms``: fingerprints of Arm CCA platform keys that count as hardware, as their makers endorse them.
    """

    name: str
    simulations: frozenset[bytes] = frozenset()
    tcb_statuses: frozenset[TcbStatus] = frozenset()
    advisories: frozenset[str] = frozenset()
    grace: int = 0
    minimum_evaluation: int = 0
    max_age: int = 300
    validity: int = 86_400
    service_tds: frozenset[bytes] = frozenset()
    snp_minimum: Mapping[str, SnpTcb] = field(default_factory=dict)
    snp_without_list: frozenset[str] = frozenset()
    vmpls: frozenset[int] = frozenset({0})
    smt: bool = False
    sendable: bool = False
    cca_platforms: frozenset[bytes] = frozenset()

    def __post_init__(self) -> None:
        if TcbStatus.REVOKED in self.tcb_statuses:
            raise ValueError("no policy can accept a revoked TCB")
        if not self.name or min(self.grace, self.minimum_evaluation, self.max_age) < 0 or self.validity <= 0:
            raise ValueError("a policy has a name, and numbers that are not negative")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the policy's canonical JSON."""
        value = {member.name: plain(getattr(self, member.name)) for member in fields(self)}
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(b"tallystick/attestation/policy/v1" + text.encode()).digest()


def check_dcap(facts: DcapFacts, policy: AppraisalPolicy, at: int) -> None:
    """Apply rules 702, 705 to 708, 710 and 711 to a verified quote."""
    report = facts.report
    require(not report.debug, Rule.DEBUG, "the environment can be debugged")
    accepted = facts.status is TcbStatus.UP_TO_DATE or facts.status in policy.tcb_statuses
    require(accepted, Rule.TCB_STATUS, f"the TCB status {facts.status.value} is not accepted")
    open_advisories = sorted(set(facts.advisories) - policy.advisories)
    require(not open_advisories, Rule.ADVISORY, f"open advisories are not accepted: {', '.join(open_advisories)[:200]}")
    if facts.status not in CURRENT:
        require(at <= facts.tcb_date + policy.grace, Rule.GRACE, "the outdated TCB is past the policy's grace")
    require(facts.evaluation >= policy.minimum_evaluation, Rule.EVALUATION, "the TCB evaluation is older than the policy asks for")
    if isinstance(report, SgxReport):
        flags = int.from_bytes(report.attributes[:8], "little")
        require(
            flags & _SGX_INIT and not flags & ~_SGX_FLAGS,
            Rule.TD_ATTRIBUTES,
            "the enclave is not initialised, or may use provisioning or launch keys",
        )
    else:
        _check_trust_domain(report, policy)


def _check_trust_domain(report: TdReport, policy: AppraisalPolicy) -> None:
    attributes = int.from_bytes(report.td_attributes, "little")
    features = int.from_bytes(report.xfam, "little")
    require(attributes & SEPT_VE_DISABLE, Rule.TD_ATTRIBUTES, "SEPT_VE_DISABLE is off: the host can inject exceptions")
    require(not attributes & MIGRATABLE, Rule.MIGRATION, "the trust domain can be migrated")
    require(not attributes & ~_TD_ATTRIBUTES, Rule.TD_ATTRIBUTES, "the trust domain has other attributes than are accepted")
    require(
        features & _XFAM_REQUIRED == _XFAM_REQUIRED and not features & ~_XFAM_ALLOWED,
        Rule.TD_ATTRIBUTES,
        "the trust domain has other extended features than are accepted",
    )
    bound = report.mr_service_td
    require(bound is None or not any(bound) or bound in policy.service_tds, Rule.SERVICE_TD, "a service TD is bound")


def check_snp(facts: SnpFacts, policy: AppraisalPolicy) -> None:
    """Apply rules 702 and 712 to 715 to a verified report; rule 310 where the revocation list is missing."""
    guest = facts.report.policy
    require(not guest.debug, Rule.DEBUG, "the guest's policy allows debugging")
    require(not guest.migration_agent, Rule.MIGRATION, "the guest's policy allows a migration agent")
    require(not guest.smt or policy.smt, Rule.SMT, "the guest's policy allows simultaneous multithreading")
    require(facts.report.vmpl in policy.vmpls, Rule.VMPL, "the report was asked for at another privilege level")
    listed = facts.revocation_checked or facts.product in policy.snp_without_list
    require(listed, Rule.SNP_REVOKED, "AMD's revocation list is missing")
    minimum = policy.snp_minimum.get(facts.product)
    if minimum is None:
        raise EvidenceRefused(Rule.MINIMUM_TCB, f"the policy sets no minimal TCB for {facts.product}")
    for name, tcb in (("reported", facts.reported), ("committed", facts.committed), ("launch", facts.launch)):
        require(tcb.reaches(minimum), Rule.MINIMUM_TCB, f"the {name} TCB is below the policy's minimum")


def check_nitro(facts: NitroFacts, policy: AppraisalPolicy, at: int) -> None:
    """Apply rules 702 and 709 to a verified document."""
    require(not facts.debug, Rule.DEBUG, "the enclave ran in debug mode")
    age = at - facts.timestamp
    require(-_SKEW <= age <= policy.max_age, Rule.AGE, "the document is too old, or from the future")
    require(at <= facts.expires, Rule.AGE, "the document's certificates have ended since")


def check_csv(facts: CsvFacts, policy: AppraisalPolicy) -> None:
    """Apply rules 702 and 714 to a verified report."""
    require(not facts.debug, Rule.DEBUG, "the guest's policy allows debugging")
    require(not facts.sendable or policy.sendable, Rule.MIGRATION, "the guest's policy allows sending it to another platform")
