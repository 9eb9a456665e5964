"""A launcher inside of an environment: its evidence is the environment's own, and where there is none, nothing is launched.

The kernel's interface is faked as its documentation has it; what it answers is genuine in format, of a simulated authority.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tallystick.attestation import runs
from tallystick.attestation.cca import verify_cca
from tallystick.attestation.documents import read_evidence, write_evidence
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import TDX, TdReport, read_quote
from tallystick.attestation.rules import EvidenceRefused
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import DomainIdentity, SimulatedPlatform
from tallystick.attestation.snp import SnpEndorsements, verify_snp
from tallystick.attestation.snp_report import SnpTcb, read_report
from tallystick.attestation.verifier import Evidence
from tallystick_node.engines.tee import hosting
from tallystick_node.engines.tee.appraisal import Accepted
from tallystick_node.engines.tee.devices import ARK, ASK, VCEK, GramineAttester, RawEvidence, SevGuestAttester, TsmAttester
from tallystick_node.engines.tee.enclave import EnclaveFailed, EnclaveRefused
from tallystick_node.engines.tee.frames import StreamBroken
from tallystick_node.engines.tee.hosting import HostedEnclave
from tallystick_node.engines.tee.joint import Finished
from tallystick_node.engines.tee.manifest import EnclaveManifest, Limits
from tallystick_node.engines.tee.platforms import Devices, hardware
from unit.attestation.amd import AmdAuthority
from unit.attestation.test_cca import Platform
from unit.engines.test_tee_devices import FakeTsm, table
from unit.engines.test_tee_joint import NOW, QUERY, RECEIVER, WINDOW, played, terms_of

DOMAIN = DomainIdentity(b"\x2d" * 48)
NOWHERE = Path("/nowhere")


@pytest.fixture(scope="module")
def authority() -> ProvisioningAuthority:
    return ProvisioningAuthority(WINDOW)


class Guest:
    """A trust domain as the kernel shows it to its processes; ``asked`` is what evidence was asked over."""

    def __init__(self, authority: ProvisioningAuthority) -> None:
        platform, self.asked = SimulatedPlatform(authority), list[bytes]()
        self.tsm = FakeTsm()

        def answer(data: bytes) -> bytes:
            self.asked.append(data)
            return platform.quote_domain(DOMAIN, data)

        self.tsm.answer = answer
        self.identity = read_quote(platform.quote_domain(DOMAIN, bytes(64))).body.identity
        self.endorsements = write_evidence(Evidence(platform.quote_domain(DOMAIN, bytes(64)), authority.collateral(TDX, WINDOW)))

    @property
    def devices(self) -> Devices:
        return {
            "gramine": lambda: GramineAttester(NOWHERE),
            "tsm": lambda: TsmAttester(files=self.tsm),
            "sev-guest": lambda: SevGuestAttester(NOWHERE),
        }


@contextlib.contextmanager
def hosted(devices: Devices, asked: str, endorsements: bytes | None, manifest: EnclaveManifest) -> Iterator[HostedEnclave]:
    """An enclave of a launcher in an environment with these devices."""
    ours, theirs = socket.socketpair()
    given = hosting.device_frame(asked, endorsements)

    def serve() -> None:
        with contextlib.suppress(StreamBroken):  # once the worker's end is closed
            hosting.main(theirs, given, devices)

    served = threading.Thread(target=serve, daemon=True)
    served.start()
    try:
        with ours:
            yield HostedEnclave(ours, manifest)
    except EnclaveRefused as refused:
        if "not in force on this host" in str(refused):
            pytest.skip(str(refused))
        raise
    finally:
        served.join(30)


def query() -> EnclaveManifest:
    return EnclaveManifest(QUERY, bytes(32), "sql", limits=Limits(memory=2 << 30, heap=64 << 20, output=10_000, minimum_group=2))


def test_a_task_runs_in_a_trust_domain_and_its_evidence_is_the_domains(authority: ProvisioningAuthority) -> None:
    guest, manifest = Guest(authority), query()
    terms = terms_of(authority, guest.identity, manifest.conditions)
    with hosted(guest.devices, "auto", guest.endorsements, manifest) as enclave:
        found = played(terms, lambda: enclave)
    assert [isinstance(each, Finished) and each.output for each in found] == [None, None, None, b"group_size,total\n3,180\n"]
    assert {(each.result.kind, each.result.strength) for each in found} == {("tdx", "attested, simulated")}
    body = read_quote(found[RECEIVER].quote).body
    assert isinstance(body, TdReport) and body.mr_td == DOMAIN.mr_td
    bound = runs.task_digest(b"\x05" * 32, hashlib.sha256(QUERY).digest(), found[0].commitments, found[0].digest)
    assert body.report_data[:32] == bound
    assert guest.tsm.entries == {}


def test_simulated_evidence_is_refused_where_hardware_is_asked_for(authority: ProvisioningAuthority) -> None:
    """By whoever appraises: the device that gives it cannot be told from a genuine one by the host itself."""
    guest, manifest = Guest(authority), query()
    terms = terms_of(authority, guest.identity, manifest.conditions)
    with hosted(guest.devices, "tdx", guest.endorsements, manifest) as enclave:
        document = enclave.attest(bytes(32))
        report = terms.before(enclave.public_key, bytes(32))
        assert terms.appraise(document, report).simulated
        for other, rule in (
            (replace(terms, policy=AppraisalPolicy("hardware"), simulated=False), "204"),
            (replace(terms, simulated=False), "701"),
            (replace(terms, conditions=bytes(32)), "704"),
            (replace(terms, identities=frozenset({bytes(32)})), "703"),
        ):
            with pytest.raises(EvidenceRefused, match=rule):
                other.appraise(document, other.before(enclave.public_key, bytes(32)))


@pytest.mark.parametrize(
    ("devices", "asked", "said"),
    [
        ({}, "auto", "is no environment that gives evidence, and nothing is simulated instead"),
        ({"gramine": lambda: GramineAttester(NOWHERE)}, "sgx", "no environment of sgx"),
        ({"tsm": lambda: TsmAttester(NOWHERE)}, "tdx", "gramine|tsm"),
    ],
)
def test_nothing_is_launched_where_there_is_no_environment(devices: Devices, asked: str, said: str) -> None:
    with pytest.raises(EnclaveRefused, match=said), hosted(devices, asked, None, query()):
        pytest.fail("nothing is launched")


def test_an_environment_of_another_kind_is_none_that_was_asked_for(authority: ProvisioningAuthority) -> None:
    guest = Guest(authority)
    with pytest.raises(EnclaveRefused, match="tsm: the evidence is of tdx"), hardware("snp", None, guest.devices):
        pytest.fail("nothing is launched")
    nitro: Devices = {"nsm": lambda: Nitro()}  # of which no launcher here makes an enclave
    with pytest.raises(EnclaveRefused, match="the evidence is of nitro"), hardware("auto", None, nitro):
        pytest.fail("nothing is launched")


def test_evidence_without_endorsements_of_its_family_is_not_given_out(authority: ProvisioningAuthority) -> None:
    guest = Guest(authority)
    amd = write_evidence(Evidence(b"", SnpEndorsements(b"leaf", b"chain")))
    for given in (None, amd):
        with hardware("tdx", given, guest.devices) as platform, pytest.raises(EnclaveRefused, match="set enclave_endorsements"):
            platform.endorsed(b"quote")
    with pytest.raises(EnclaveRefused, match="endorsements are refused"), hardware("tdx", b"{}", guest.devices):
        pytest.fail("nothing is launched")
    with hardware("tdx", guest.endorsements, guest.devices) as platform:
        assert read_evidence(platform.endorsed(b"quote")).raw == b"quote"
        with pytest.raises(EnclaveFailed, match="NoSealingKey"):
            platform.quoting.sealing_key(None, bytes(32))  # type: ignore[arg-type]


class Nitro:
    def attest(self, report_data: bytes) -> RawEvidence:
        return RawEvidence("nitro", b"document")


def test_a_realm_is_hardware_by_a_platform_key_that_a_policy_names_and_by_nothing_else() -> None:
    arm = Platform()
    tsm = FakeTsm("arm_cca_guest")
    tsm.answer = lambda data: arm.token(realm={"CHALLENGE": data}, platform={"IMPLEMENTATION": b"\x11" * 32})
    endorsements = write_evidence(Evidence(arm.token(), arm.endorsements))
    report_data = bytes(range(64))
    with hardware("auto", endorsements, {"tsm": lambda: TsmAttester(files=tsm)}) as platform:
        document = platform.endorsed(platform.quoting.quote(None, report_data))  # type: ignore[arg-type]
    policy = AppraisalPolicy("arm", cca_platforms=frozenset({arm.fingerprint}))
    identity = verify_cca(read_evidence(document).raw, arm.endorsements, policy.cca_platforms).identity
    accepted = Accepted(identities=frozenset({identity}), policy=policy, simulated=False)
    assert accepted.appraise(document, report_data).strength == "attested, hardware"
    with pytest.raises(EvidenceRefused, match="602"):
        replace(accepted, policy=AppraisalPolicy("none")).appraise(document, report_data)


def test_an_environment_that_fails_or_changes_its_kind_ends_the_launch(authority: ProvisioningAuthority) -> None:
    guest = Guest(authority)
    with hardware("tdx", guest.endorsements, guest.devices) as platform:
        guest.tsm.provider = "sev_guest"
        with pytest.raises(EnclaveRefused, match="was tdx and gives evidence of snp"):
            platform.quoting.quote(None, bytes(64))  # type: ignore[arg-type]
        guest.tsm.provider = "tdx_guest"

        def busy(data: bytes) -> bytes:
            raise OSError(errno.EBUSY, "Device or resource busy")

        guest.tsm.answer = busy
        with pytest.raises(EnclaveRefused, match="busy"):
            platform.quoting.quote(None, bytes(64))  # type: ignore[arg-type]


def test_a_guest_of_sev_is_appraised_by_what_its_host_gives_along() -> None:
    amd = AmdAuthority("Milan", WINDOW)
    given = amd.endorsements()
    authorities = [each.public_bytes(Encoding.DER) for each in (amd.issuers["ask"], amd.ark)]
    at, entries = 96, []
    for name, part in zip((VCEK, ASK, ARK), (given.leaf, *authorities), strict=True):
        entries.append((name.bytes, at, len(part)))
        at += len(part)
    along = table(*entries, (bytes(16), 0, 0)) + given.leaf + b"".join(authorities)
    tsm = FakeTsm("sev_guest", auxiliary=along)
    tsm.answer = lambda data: amd.report(report_data=data)
    report_data = bytes(range(64))
    with hardware("snp", None, {"tsm": lambda: TsmAttester(files=tsm)}) as platform:
        document = platform.endorsed(platform.quoting.quote(None, report_data))  # type: ignore[arg-type]
    read = read_report(read_evidence(document).raw)
    policy = AppraisalPolicy(
        "milan",
        simulations=frozenset({amd.root}),
        snp_minimum={"Milan": SnpTcb(4, 1, 20, 200)},
        snp_without_list=frozenset({"Milan"}),
    )
    facts = verify_snp(read_evidence(document).raw, read_evidence(document).endorsements, NOW, policy.simulations)
    accepted = Accepted(identities=frozenset({facts.identity}), policy=policy, simulated=True)
    found = accepted.appraise(document, report_data)
    assert (found.kind, found.strength, found.measurement) == ("snp", "attested, simulated", read.measurement)
    for other, rule in (
        (replace(accepted, simulated=False), "701"),
        (replace(accepted, policy=replace(policy, simulations=frozenset())), "302"),
        (replace(accepted, identities=frozenset({bytes(32)})), "703"),
    ):
        with pytest.raises(EvidenceRefused, match=rule):
            other.appraise(document, report_data)


class Amd:
    """A guest of SEV-SNP whose host gives certificates along, or does not."""

    def __init__(self, auxiliary: bytes) -> None:
        self.auxiliary = auxiliary

    def attest(self, report_data: bytes) -> RawEvidence:
        return RawEvidence("snp", b"report", self.auxiliary)


def test_certificates_that_the_host_of_a_guest_of_sev_gives_along_are_its_endorsements(authority: ProvisioningAuthority) -> None:
    der = [each.public_bytes(Encoding.DER) for each in (authority.intermediate, authority.root)]
    sizes, at, entries = [4, len(der[0]), len(der[1])], 96, []
    for name, size in zip((VCEK, ASK, ARK), sizes, strict=True):
        entries.append((name.bytes, at, size))
        at += size
    along = table(*entries, (bytes(16), 0, 0)) + b"leaf" + der[0] + der[1]

    def document(auxiliary: bytes) -> bytes:
        devices: Devices = {"tsm": lambda: Amd(auxiliary)}
        with hardware("auto", None, devices) as platform:
            return platform.endorsed(platform.quoting.quote(None, bytes(64)))  # type: ignore[arg-type]

    found: Any = read_evidence(document(along)).endorsements
    assert found.leaf == b"leaf" and found.chain.count(b"BEGIN CERTIFICATE") == 2
    for bad in (along[:-1], along[:24] + bytes(len(along) - 24), b"\xff" * 24):
        with pytest.raises(EnclaveRefused, match="set enclave_endorsements"):
            document(bad)
    with pytest.raises(EnclaveRefused, match="no endorsements"):
        document(b"")
