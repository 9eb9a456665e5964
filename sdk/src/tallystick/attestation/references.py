"""Reference values: which code may be behind evidence. Evidence is accepted if one of them matches; without any, none is.

A reference names everything that decides what runs. In particular a signer alone is never enough: an SGX signer comes with product
and minimal version, and a trust domain with all its run-time registers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tallystick.attestation.cca import CcaFacts
from tallystick.attestation.dcap import DcapFacts
from tallystick.attestation.hygon import CsvFacts
from tallystick.attestation.nitro import NitroFacts
from tallystick.attestation.quote import SgxReport, TdReport
from tallystick.attestation.snp import SnpFacts

_ZERO_48 = bytes(48)


@dataclass(frozen=True)
class SgxEnclave:
    """One enclave, by its measurement, and by the configuration that its host gave it (CONFIGID; zero: none)."""

    mrenclave: bytes
    minimum_isv_svn: int = 0
    config_id: bytes = bytes(64)

    def matches(self, facts: object) -> bool:
        """Whether ``facts`` are of this enclave."""
        report = facts.report if isinstance(facts, DcapFacts) else None
        return (
            isinstance(report, SgxReport)
            and (report.mrenclave, report.config_id) == (self.mrenclave, self.config_id)
            and report.isv_svn >= self.minimum_isv_svn
        )


@dataclass(frozen=True)
class SgxProduct:
    """Every enclave of one product of one signer, from a version on."""

    mrsigner: bytes
    isv_prod_id: int
    minimum_isv_svn: int
    config_id: bytes = bytes(64)

    def matches(self, facts: object) -> bool:
        """Whether ``facts`` are of this product."""
        report = facts.report if isinstance(facts, DcapFacts) else None
        return (
            isinstance(report, SgxReport)
            and (report.mrsigner, report.isv_prod_id, report.config_id) == (self.mrsigner, self.isv_prod_id, self.config_id)
            and report.isv_svn >= self.minimum_isv_svn
        )


@dataclass(frozen=True)
class TrustDomain:
    """One TDX guest: firmware (MRTD), boot chain (RTMR 0 to 2), what was loaded since (RTMR 3), and its owner's settings.

    RTMR 3 is zero where nothing extends it; otherwise give the value that the expected events lead to (:func:`extended`).
    """

    mr_td: bytes
    rtmr0: bytes
    rtmr1: bytes
    rtmr2: bytes
    rtmr3: bytes = _ZERO_48
    mr_config_id: bytes = _ZERO_48
    mr_owner: bytes = _ZERO_48
    mr_owner_config: bytes = _ZERO_48

    def matches(self, facts: object) -> bool:
        """Whether ``facts`` are of this guest."""
        report = facts.report if isinstance(facts, DcapFacts) else None
        return (
            isinstance(report, TdReport)
            and report.mr_td == self.mr_td
            and report.rtmr == (self.rtmr0, self.rtmr1, self.rtmr2, self.rtmr3)
            and (report.mr_config_id, report.mr_owner, report.mr_owner_config)
            == (self.mr_config_id, self.mr_owner, self.mr_owner_config)
        )


@dataclass(frozen=True)
class Identified:
    """One environment of any family by its identity: the digest by which chains and task specs name it."""

    identity: bytes

    def matches(self, facts: object) -> bool:
        """Whether ``facts`` are of this environment."""
        return isinstance(facts, DcapFacts | SnpFacts | NitroFacts | CsvFacts | CcaFacts) and facts.identity == self.identity


@dataclass(frozen=True)
class SnpGuest:
    """One SEV-SNP guest: launch measurement, what the host was told to bind, and who signed its identity block (zero: nobody)."""

    measurement: bytes
    host_data: bytes = bytes(32)
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    id_key_digest: bytes = _ZERO_48
    author_key_digest: bytes = _ZERO_48
    minimum_guest_svn: int = 0

    def matches(self, facts: object) -> bool:
        """Whether ``facts`` are of this guest."""
        report = facts.report if isinstance(facts, SnpFacts) else None
        return (
            report is not None
            and (report.measurement, report.host_data) == (self.measurement, self.host_data)
            and (report.family_id, report.image_id) == (self.family_id, self.image_id)
            and (report.id_key_digest, report.author_key_digest) == (self.id_key_digest, self.author_key_digest)
            and report.guest_svn >= self.minimum_guest_svn
        )


@dataclass(frozen=True)
class NitroEnclave:
    """One Nitro enclave: PCR 0 (image), 1 (kernel and boot), 2 (application), and ``others`` (3: role, 4: host, 8: signer)."""

    pcr0: bytes
    pcr1: bytes
    pcr2: bytes
    others: Mapping[int, bytes] = field(default_factory=dict)

    def matches(self, facts: object) -> bool:
        """Whether ``facts`` are of this enclave."""
        expected = {**self.others, 0: self.pcr0, 1: self.pcr1, 2: self.pcr2}
        return isinstance(facts, NitroFacts) and all(facts.pcrs.get(index) == value for index, value in expected.items())


@dataclass(frozen=True)
class CsvGuest:
    """One Hygon CSV guest: launch measurement, and what its owner set (zero: nothing)."""

    measurement: bytes
    vm_id: bytes = bytes(16)
    vm_version: bytes = bytes(16)
    user_public_key_digest: bytes = bytes(32)

    def matches(self, facts: object) -> bool:
        """Whether ``facts`` are of this guest."""
        return (
            isinstance(facts, CsvFacts)
            and (facts.measurement, facts.vm_id, facts.vm_version) == (self.measurement, self.vm_id, self.vm_version)
            and facts.user_public_key_digest == self.user_public_key_digest
        )


@dataclass(frozen=True)
class CcaRealm:
    """One Arm CCA realm on one kind of platform: what the realm measured, and every firmware component (signer id, measurement)."""

    initial: bytes
    implementation: bytes
    components: frozenset[tuple[bytes, bytes]]
    extensible: tuple[bytes, ...] = ()
    personalisation: bytes = bytes(64)
    configuration: bytes = b""

    def matches(self, facts: object) -> bool:
        """Whether ``facts`` are of this realm; without ``extensible`` its four registers must be zero."""
        if not isinstance(facts, CcaFacts):
            return False
        expected = self.extensible or (bytes(len(self.initial)),) * 4
        return (
            (facts.initial, facts.extensible, facts.personalisation) == (self.initial, expected, self.personalisation)
            and (facts.implementation, facts.configuration) == (self.implementation, self.configuration)
            and facts.components == self.components
        )


def extended(events: Iterable[bytes], register: bytes = _ZERO_48) -> bytes:
    """The value of a run-time register after extending it by the SHA-384 digests ``events``, in order."""
    for event in events:
        register = hashlib.sha384(register + event).digest()
    return register


Reference = SgxEnclave | SgxProduct | TrustDomain | Identified | SnpGuest | NitroEnclave | CsvGuest | CcaRealm
"""One reference value of any family."""


@dataclass(frozen=True)
class ReferenceValues:
    """What a relying party expects to run, from a reference value provider that it trusts."""

    accepted: tuple[Reference, ...]

    def matches(self, facts: object) -> bool:
        """Whether any of the values matches."""
        return any(reference.matches(facts) for reference in self.accepted)
