"""Quotes of a simulated authority in genuine format: each rule refuses a quote or collateral with one thing changed."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from tallystick.attestation.collateral import DcapCollateral
from tallystick.attestation.dcap import verify_dcap
from tallystick.attestation.quote import SGX, TDX, SgxReport, TdReport, read_quote
from tallystick.attestation.references import ReferenceValues, SgxEnclave
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.simulation import authority as ca
from tallystick.attestation.simulation.authority import ProvisioningAuthority, Tcb, level, new_key, part_level, sgx_extension, sign
from tallystick.attestation.simulation.platform import DomainIdentity, EnclaveIdentity, SimulatedPlatform, sgx_report
from tallystick.attestation.tcb import TcbStatus

NOW = 1_780_000_000
WINDOW = (NOW - 86_400, NOW + 86_400)
PAST = (NOW - 90_000, NOW - 1)
DATA = bytes(range(64))
ENCLAVE = EnclaveIdentity(b"\x01" * 32, b"\x02" * 32, 7, 3)
DOMAIN = DomainIdentity(b"\x03" * 48)


class World:
    """One authority, one platform, current collateral for both kinds of TEE."""

    def __init__(self) -> None:
        self.authority = ProvisioningAuthority(WINDOW)
        self.platform = SimulatedPlatform(self.authority)
        self.collateral = {tee: self.authority.collateral(tee, WINDOW) for tee in (SGX, TDX)}
        self.roots = frozenset({self.authority.fingerprint})

    def quote(self, version: int = 3) -> bytes:
        return self.platform.quote_enclave(ENCLAVE, DATA, version)

    def stated(self, **changes: Any) -> DcapCollateral:
        """SGX collateral with members of TCB info changed and signed again."""
        return resigned(self, "tcb_info", changes)

    def identified(self, **changes: Any) -> DcapCollateral:
        return resigned(self, "qe_identity", changes)


@functools.cache
def world() -> World:
    return World()


def resigned(w: World, member: str, changes: dict[str, Any], tee: int = SGX) -> DcapCollateral:
    value = json.loads(getattr(w.collateral[tee], member)) | changes
    data = json.dumps({key: item for key, item in value.items() if item is not None}).encode()
    return replace(w.collateral[tee], **{member: data, f"{member}_signature": sign(w.authority.tcb_key, data)})


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def refused(rule: Rule, evidence: bytes, collateral: DcapCollateral, at: int = NOW, roots: frozenset[bytes] | None = None) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        verify_dcap(evidence, collateral, at, world().roots if roots is None else roots)
    assert caught.value.rule is rule, str(caught.value)
    assert f"rule {rule.number} ({rule.code})" in str(caught.value)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_an_enclaves_quote_verifies_in_every_version(version: int) -> None:
    w = world()
    facts = verify_dcap(w.quote(version), w.collateral[SGX], NOW, w.roots)
    assert facts.status is TcbStatus.UP_TO_DATE
    assert (facts.version, facts.report_data, facts.expires) == (version, DATA, WINDOW[1])
    assert not facts.authority.hardware
    assert "SIMULATION ONLY" in facts.authority.name


@pytest.mark.parametrize(("version", "extended"), [(4, False), (5, False), (5, True)])
def test_a_trust_domains_quote_verifies_in_every_version(version: int, extended: bool) -> None:
    w = world()
    quote = w.platform.quote_domain(DOMAIN, DATA, version, extended=extended)
    facts = verify_dcap(quote, w.collateral[TDX], NOW, w.roots)
    assert facts.status is TcbStatus.UP_TO_DATE
    assert facts.report.raw in quote


def test_padding_with_zeros_changes_nothing_and_any_other_tail_is_refused() -> None:
    w = world()
    assert verify_dcap(w.quote() + bytes(900), w.collateral[SGX], NOW, w.roots).signed == w.quote()[: 48 + 384]
    refused(Rule.RESERVED, w.quote() + b"\0\x01", w.collateral[SGX])


def test_a_simulations_root_is_refused_by_a_verifier_that_does_not_name_it() -> None:
    refused(Rule.DCAP_ROOT, world().quote(), world().collateral[SGX], roots=frozenset())


def test_a_root_without_the_mark_is_refused_even_if_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca, "SIMULATION_MARK", "Intel")
    unmarked = World()
    refused(Rule.AUTHORITY, unmarked.quote(), unmarked.collateral[SGX], roots=unmarked.roots)


def resealed(
    w: World, issuer: str = ca.PCK_AUTHORITY, role: str = ca.PCK, window: tuple[int, int] = WINDOW, below: int | None = None
) -> bytes:
    """A quote of a platform whose PCK certificate differs in name, issuer, window or constraints."""

    class Authority(ProvisioningAuthority):
        def certify(self, key: Any, extension: bytes) -> x509.Certificate:
            return ca.certificate(ca.Subject(role, key, below), issuer, self.pck_key, window, extension)

    other = Authority.__new__(Authority)
    other.__dict__.update(w.authority.__dict__)
    return SimulatedPlatform(other).quote_enclave(ENCLAVE, DATA)


def with_extension(w: World, extension: bytes) -> bytes:
    class Authority(ProvisioningAuthority):
        def certify(self, key: Any, _extension: bytes) -> x509.Certificate:
            return super().certify(key, extension)

    other = Authority.__new__(Authority)
    other.__dict__.update(w.authority.__dict__)
    return SimulatedPlatform(other).quote_enclave(ENCLAVE, DATA)


def quoted_by(w: World, **changes: Any) -> bytes:
    """A quote whose quoting enclave differs."""
    identity = EnclaveIdentity(b"\x05" * 32, ca.QE_SIGNER, 1, 1, bytes([0x11]) + bytes(7) + bytes([3]) + bytes(7))
    return w.platform.quote(3, SGX, sgx_report(ENCLAVE, DATA), replace(identity, **changes))


def domain(w: World, version: int = 4, **changes: Any) -> bytes:
    return w.platform.quote_domain(replace(DOMAIN, **changes), DATA, version, extended=version == 5)


KEY = 48 + 384 + 4 + 64  # where the attestation key stands in a quote of version 3
QE = KEY + 64  # where the QE report stands
OTHER = functools.cache(World)

Case = tuple[Rule, Callable[[World], bytes], Callable[[World], DcapCollateral]]


def sgx(w: World) -> DcapCollateral:
    return w.collateral[SGX]


def tdx(w: World) -> DcapCollateral:
    return w.collateral[TDX]


def crl(**changes: Callable[[World], bytes]) -> Callable[[World], DcapCollateral]:
    return lambda w: replace(w.collateral[SGX], **{name: make(w) for name, make in changes.items()})


def reserved(w: World, place: int) -> bytes:
    """A quote for a report with a reserved byte set, and signed so."""
    report = sgx_report(ENCLAVE, DATA)
    return w.platform.quote(3, SGX, report[:place] + b"\x01" + report[place + 1 :])


def lengthened(w: World, version: int, nested: bool = True) -> bytes:
    """A quote whose signature data (and, from version 4 on, the nested data) hold one byte more than their fields."""
    quote = w.quote(version)
    body = 54 + 384 if version == 5 else 48 + 384
    places = [body] if version == 3 or not nested else [body, body + 4 + 128 + 2]
    for place in places:
        size = int.from_bytes(quote[place : place + 4], "little") + 1
        quote = quote[:place] + size.to_bytes(4, "little") + quote[place + 4 :]
    return quote + b"\0"


def without_leaf(w: World) -> bytes:
    """The PCK authority's certificate and the root's, in the place of the TCB signing chain."""
    chain = w.authority.chain(w.platform.pck)
    return chain[chain.index(b"-----BEGIN", 10) : -1]


def other_kind(w: World) -> DcapCollateral:
    return replace(sgx(w), tcb_info=tdx(w).tcb_info, tcb_info_signature=tdx(w).tcb_info_signature)


def lowered(w: World) -> DcapCollateral:
    return replace(sgx(w), tcb_info=sgx(w).tcb_info.replace(b'"pcesvn":1', b'"pcesvn":0'))


def blind_to_debug(w: World) -> DcapCollateral:
    return w.identified(attributesMask="F9" + "FF" * 7 + "00" * 8)


CASES: list[Case] = [
    (Rule.SIZE, lambda _: bytes(70_000), sgx),
    (Rule.SIZE, lambda _: b"", sgx),
    (Rule.LENGTH, lambda w: w.quote()[:-1], sgx),
    (Rule.LENGTH, lambda w: w.quote()[:400], sgx),
    *[(Rule.RESERVED, functools.partial(reserved, place=place), sgx) for place in (20, 120, 180, 280)],
    *[(Rule.LENGTH, functools.partial(lengthened, version=version), sgx) for version in (3, 4, 5)],
    *[(Rule.LENGTH, functools.partial(lengthened, version=version, nested=False), sgx) for version in (4, 5)],
    (Rule.VERSION, lambda w: b"\x02" + w.quote()[1:], sgx),
    (Rule.DCAP_HEADER, lambda w: flipped(w.quote(), 2), sgx),
    (Rule.DCAP_HEADER, lambda w: w.quote()[:4] + b"\x81" + w.quote()[5:], sgx),
    (Rule.DCAP_HEADER, lambda w: flipped(w.quote(), 12), sgx),
    (Rule.DCAP_HEADER, lambda w: flipped(w.quote(5), 48), sgx),
    (Rule.DCAP_CERTIFICATION, lambda w: flipped(w.quote(), w.quote().index(b"-----BEGIN") - 6), sgx),
    (Rule.DCAP_CERTIFICATION, lambda w: flipped(w.quote(5), 54 + 384 + 4 + 128), sgx),
    (Rule.CERTIFICATE, lambda w: w.quote().replace(b"BEGIN CERTIFICATE", b"BEGIN CERTIFICATF", 1), sgx),
    (Rule.DCAP_CHAIN, lambda w: resealed(w, issuer=ca.ROOT), sgx),
    (Rule.DCAP_CHAIN, lambda w: resealed(w, role="SGX PCX Certificate"), sgx),
    (Rule.DCAP_CHAIN, lambda w: resealed(w, below=0), sgx),
    (Rule.DCAP_VALIDITY, lambda w: resealed(w, window=PAST), sgx),
    (Rule.DCAP_CRL_ISSUER, World.quote, crl(pck_crl=lambda w: w.authority.root_crl(WINDOW))),
    (Rule.DCAP_CRL_ISSUER, World.quote, crl(root_crl=lambda w: w.authority.pck_crl(WINDOW))),
    (Rule.DCAP_CRL_SIGNATURE, World.quote, crl(pck_crl=lambda _: OTHER().authority.pck_crl(WINDOW))),
    (Rule.DCAP_CRL_SIGNATURE, World.quote, crl(root_crl=lambda _: OTHER().authority.root_crl(WINDOW))),
    (Rule.DCAP_CRL_FRESH, World.quote, crl(pck_crl=lambda w: w.authority.pck_crl(PAST))),
    (Rule.DCAP_CRL_FRESH, World.quote, crl(root_crl=lambda w: w.authority.root_crl((NOW + 1, NOW + 2)))),
    (Rule.DCAP_CA_REVOKED, World.quote, crl(root_crl=lambda w: w.authority.root_crl(WINDOW, [w.authority.intermediate]))),
    (Rule.DCAP_CA_REVOKED, World.quote, crl(root_crl=lambda w: w.authority.root_crl(WINDOW, [w.authority.signing]))),
    (Rule.DCAP_PCK_REVOKED, World.quote, crl(pck_crl=lambda w: w.authority.pck_crl(WINDOW, [w.platform.pck]))),
    (Rule.SIZE, World.quote, crl(pck_crl=lambda _: b"")),
    (Rule.ENDORSEMENT, World.quote, crl(root_crl=lambda _: b"\x30\x03\x02\x01\x00")),
    (Rule.DCAP_PCK_EXTENSION, lambda w: with_extension(w, b"\x30\x00"), sgx),
    (Rule.DCAP_PCK_EXTENSION, lambda w: with_extension(w, sgx_extension(bytes(16), ca.TOP, 1, b"short")), sgx),
    (Rule.DCAP_PCK_EXTENSION, lambda w: with_extension(w, sgx_extension(bytes(16), ca.TOP, 70_000)), sgx),
    (Rule.DCAP_TCB_CHAIN, World.quote, crl(signing_chain=lambda _: OTHER().authority.signing_chain())),
    (Rule.DCAP_TCB_CHAIN, World.quote, crl(signing_chain=without_leaf)),
    (Rule.DCAP_TCB_SIGNATURE, World.quote, lowered),
    (Rule.DCAP_TCB_SIGNATURE, World.quote, lambda w: replace(sgx(w), tcb_info=sgx(w).tcb_info + b" ")),
    (Rule.DCAP_TCB_FRESH, World.quote, lambda w: w.stated(nextUpdate=ca.text_time(NOW - 1))),
    (Rule.DCAP_TCB_FRESH, World.quote, lambda w: w.stated(issueDate=ca.text_time(NOW + 1))),
    (Rule.DCAP_TCB_KIND, World.quote, lambda w: w.stated(version=2)),
    (Rule.DCAP_TCB_KIND, World.quote, lambda w: w.stated(tcbType=1)),
    (Rule.DCAP_TCB_KIND, World.quote, other_kind),
    (Rule.DCAP_PLATFORM, World.quote, lambda w: w.stated(fmspc="00" * 6)),
    (Rule.DCAP_PLATFORM, World.quote, lambda w: w.stated(pceId="0001")),
    (Rule.DCAP_MODULE, lambda w: domain(w, mr_signer_seam=b"\x01" * 48), tdx),
    (Rule.DCAP_MODULE, lambda w: domain(w, seam_attributes=b"\x01" + bytes(7)), tdx),
    (Rule.DCAP_MODULE, lambda w: domain(w, tee_tcb_svn=b"\x01\x09" + bytes(14)), tdx),
    (Rule.DCAP_MODULE_LEVEL, lambda w: domain(w, tee_tcb_svn=b"\x00\x01" + bytes(14)), tdx),
    (Rule.DCAP_QE_SIGNATURE, lambda w: flipped(w.quote(), QE), sgx),
    (Rule.DCAP_QE_SIGNATURE, lambda w: flipped(w.quote(), QE + 384), sgx),
    (Rule.DCAP_QE_BINDING, lambda w: flipped(w.quote(), QE + 384 + 64 + 2), sgx),
    (Rule.DCAP_QE_IDENTITY_SIGNATURE, World.quote, lambda w: replace(sgx(w), qe_identity=sgx(w).qe_identity + b"\n")),
    (Rule.DCAP_QE_IDENTITY_FRESH, World.quote, lambda w: w.identified(nextUpdate=ca.text_time(NOW - 1))),
    (Rule.DCAP_QE_IDENTITY_KIND, World.quote, lambda w: w.identified(version=1)),
    (Rule.DCAP_QE_IDENTITY_KIND, World.quote, lambda w: w.identified(id="TD_QE")),
    (Rule.DCAP_QE_IDENTITY, lambda w: quoted_by(w, mrsigner=bytes(32)), sgx),
    (Rule.DCAP_QE_IDENTITY, lambda w: quoted_by(w, isv_prod_id=2), sgx),
    (Rule.DCAP_QE_IDENTITY, lambda w: quoted_by(w, attributes=bytes([0x01]) + bytes(15)), sgx),
    (Rule.DCAP_QE_IDENTITY, World.quote, lambda w: w.identified(miscselect="00000001")),
    (Rule.DCAP_QE_DEBUG, lambda w: quoted_by(w, attributes=bytes([0x13]) + bytes(15)), blind_to_debug),
    (Rule.DCAP_QE_LEVEL, lambda w: quoted_by(w, isv_svn=0), sgx),
    (Rule.DCAP_QUOTE_SIGNATURE, lambda w: flipped(w.quote(), 48 + 383), sgx),
    (Rule.DCAP_QUOTE_SIGNATURE, lambda w: flipped(w.quote(), 30), sgx),
    (Rule.DCAP_TCB_LEVEL, World.quote, lambda w: w.stated(tcbLevels=[level("UpToDate", NOW, bytes([2] * 16))])),
    (Rule.DCAP_TCB_LEVEL, World.quote, lambda w: w.stated(tcbLevels=[level("UpToDate", NOW, pce_svn=2)])),
    (Rule.DCAP_TCB_LEVEL, World.quote, lambda w: w.stated(tcbLevels=[])),
    (Rule.DCAP_STATUS, World.quote, lambda w: w.stated(tcbLevels=[level("Fine", NOW)])),
    (Rule.DCAP_STATUS, World.quote, lambda w: w.stated(tcbLevels=[level("TDRelaunchAdvised", NOW)])),
    (Rule.DCAP_STATUS, World.quote, lambda w: w.identified(tcbLevels=[part_level("SWHardeningNeeded", NOW)])),
    (Rule.ENDORSEMENT, World.quote, lambda w: w.stated(tcbLevels=None)),
    (Rule.ENDORSEMENT, World.quote, lambda w: w.stated(tcbEvaluationDataNumber=True)),
    (Rule.ENDORSEMENT, World.quote, lambda w: w.stated(tcbEvaluationDataNumber=1.0)),
    (Rule.ENDORSEMENT, World.quote, lambda w: w.stated(nextUpdate="2027-1-1T00:00:00Z")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "evidence", "collateral"), CASES, ids=[f"{case[0].code}-{place}" for place, case in enumerate(CASES)]
)
def test_one_thing_changed_is_refused_by_its_rule(
    rule: Rule, evidence: Callable[[World], bytes], collateral: Callable[[World], DcapCollateral]
) -> None:
    refused(rule, evidence(world()), collateral(world()))


def test_every_rule_of_intels_is_tested() -> None:
    tested = {rule for rule, *_ in CASES} | {Rule.DCAP_ROOT}
    assert {rule for rule in Rule if rule.code.startswith("dcap.")} <= tested


def test_duplicate_keys_in_signed_json_are_refused() -> None:
    w = world()
    data = sgx(w).tcb_info[:-1] + b',"version":3}'
    refused(Rule.ENDORSEMENT, w.quote(), replace(sgx(w), tcb_info=data, tcb_info_signature=sign(w.authority.tcb_key, data)))


def test_an_attestation_key_off_the_curve_is_refused() -> None:
    w = world()
    platform = SimulatedPlatform(w.authority)
    quote = platform.quote_enclave(ENCLAVE, DATA)
    key, authentication = quote[KEY : KEY + 64], read_quote(quote).qe_authentication
    bad = key[:-1] + bytes([key[-1] ^ 1])
    identity = EnclaveIdentity(b"\x05" * 32, ca.QE_SIGNER, 1, 1, bytes([0x11]) + bytes(15))
    report = sgx_report(identity, hashlib.sha256(bad + authentication).digest() + bytes(32))
    signed = report + sign(platform._pck_key, report)
    refused(Rule.KEY, quote[:KEY] + bad + signed + quote[QE + 448 :], sgx(w))


def test_responses_of_the_service_are_sliced_not_serialised_again() -> None:
    w = world()
    c = sgx(w)
    spaced = json.dumps(json.loads(c.tcb_info), indent=2).encode()
    info = b'{ "tcbInfo": ' + spaced + b', "signature": "' + sign(w.authority.tcb_key, spaced).hex().encode() + b'" }'
    identity = b'{"signature":"' + c.qe_identity_signature.hex().encode() + b'","enclaveIdentity":' + c.qe_identity + b"}"
    again = DcapCollateral.of_responses(info, identity, c.signing_chain, c.root_crl, c.pck_crl)
    assert again.tcb_info == spaced
    assert verify_dcap(w.quote(), again, NOW, w.roots).status is TcbStatus.UP_TO_DATE
    with pytest.raises(EvidenceRefused):
        DcapCollateral.of_responses(b"{}", identity, c.signing_chain, c.root_crl, c.pck_crl)


STATUSES = [
    ("UpToDate", "UpToDate", "UpToDate"),
    ("SWHardeningNeeded", "UpToDate", "SWHardeningNeeded"),
    ("UpToDate", "OutOfDate", "OutOfDate"),
    ("SWHardeningNeeded", "OutOfDate", "OutOfDate"),
    ("ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"),
    ("ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"),
    ("OutOfDate", "UpToDate", "OutOfDate"),
    ("OutOfDateConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"),
    ("UpToDate", "Revoked", "Revoked"),
    ("Revoked", "UpToDate", "Revoked"),
    ("Revoked", "OutOfDate", "Revoked"),
]


@pytest.mark.parametrize(("platform", "part", "expected"), STATUSES)
def test_statuses_of_platform_and_quoting_enclave_or_module_combine_by_the_table(platform: str, part: str, expected: str) -> None:
    w = world()
    by_qe = Tcb([level(platform, NOW, advisories=["INTEL-SA-00002"])], [part_level(part, NOW - 5, 1, ["INTEL-SA-00001"])])
    facts = verify_dcap(w.quote(), w.authority.collateral(SGX, WINDOW, by_qe), NOW, w.roots)
    assert (facts.status.value, facts.tcb_date, facts.advisories) == (expected, NOW - 5, ("INTEL-SA-00001", "INTEL-SA-00002"))
    by_module = Tcb([level(platform, NOW)], modules={"TDX_01": [part_level(part, NOW - 5)]})
    facts = verify_dcap(domain(w), w.authority.collateral(TDX, WINDOW, by_module), NOW, w.roots)
    assert facts.status.value == expected


def test_relaunch_is_advised_where_only_the_domain_is_old() -> None:
    w = world()
    for stated, expected in (("UpToDate", "TDRelaunchAdvised"), ("ConfigurationNeeded", "TDRelaunchAdvisedConfigurationNeeded")):
        tcb = Tcb([level(stated, NOW)], modules={"TDX_01": [part_level("UpToDate", NOW, 4), part_level("OutOfDate", NOW, 1)]})
        collateral = w.authority.collateral(TDX, WINDOW, tcb)
        now_current = domain(w, 5, tee_tcb_svn_2=b"\x04\x01" + bytes(14))
        assert verify_dcap(now_current, collateral, NOW, w.roots).status.value == expected
        still_old = verify_dcap(domain(w, 5), collateral, NOW, w.roots).status
        assert still_old in (TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED)


def test_a_module_of_the_second_generation_skips_the_first_two_svns_of_a_level() -> None:
    w = world()
    collateral = w.authority.collateral(TDX, WINDOW, Tcb([level("UpToDate", NOW, tdx=bytes([9, 9]) + bytes(14))]))
    assert verify_dcap(domain(w), collateral, NOW, w.roots).status is TcbStatus.UP_TO_DATE
    refused(Rule.DCAP_TCB_LEVEL, domain(w, tee_tcb_svn=bytes(16)), collateral)
    refused(
        Rule.DCAP_TCB_LEVEL,
        domain(w),
        w.authority.collateral(TDX, WINDOW, Tcb([level("UpToDate", NOW, tdx=bytes([0, 0, 1]) + bytes(13))])),
    )


def test_reference_values_name_version_and_product() -> None:
    facts = verify_dcap(world().quote(), sgx(world()), NOW, world().roots)
    assert ReferenceValues((SgxEnclave(b"\x01" * 32, 3),)).matches(facts)
    assert not ReferenceValues((SgxEnclave(b"\x01" * 32, 4),)).matches(facts)
    assert not ReferenceValues(()).matches(facts)


def test_an_authority_survives_its_process_by_its_export() -> None:
    w = world()
    exported = w.authority.export(b"password")
    assert b"PRIVATE KEY" in exported and b"ENCRYPTED" in exported
    again = ProvisioningAuthority.restore(exported, b"password")
    assert again.fingerprint == w.authority.fingerprint
    assert verify_dcap(w.quote(), again.collateral(SGX, WINDOW), NOW, w.roots).status is TcbStatus.UP_TO_DATE
    fresh = SimulatedPlatform(again).quote_enclave(ENCLAVE, DATA)
    assert verify_dcap(fresh, sgx(w), NOW, w.roots).status is TcbStatus.UP_TO_DATE
    value = json.loads(exported)
    curve = generate_private_key(SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    changes: list[dict[str, Any]] = [
        {"keys": 1},
        {"keys": [1, 2, 3]},
        {"keys": value["keys"][:2]},
        {"keys": [*value["keys"][:2], curve.decode()]},
        {"keys": [new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()] * 3},
        {"window": 1},
        {"window": [None, 2]},
        {"authority": "other"},
    ]
    for text, password in (
        (exported, b"other"),
        (b"{}", b"password"),
        (b"[]", b"password"),
        (b"[" * 100_000, b"password"),
        (b'{"authority": "SIMULATION ONLY"}', b"password"),
        *((json.dumps(value | change).encode(), b"password") for change in changes),
    ):
        with pytest.raises(ValueError):
            ProvisioningAuthority.restore(text, password)


def test_reports_have_their_exact_sizes() -> None:
    for read, sizes in ((SgxReport.read, (383, 385)), (TdReport.read, (583, 585, 647, 649))):
        for size in sizes:
            with pytest.raises(EvidenceRefused) as caught:
                read(bytes(size))
            assert caught.value.rule is Rule.LENGTH


def other_authority(**changes: Any) -> ProvisioningAuthority:
    """The authority with certificates of its own replaced; keys stay."""
    other = ProvisioningAuthority.__new__(ProvisioningAuthority)
    other.__dict__.update(world().authority.__dict__ | changes)
    return other


def issued(role: str, key: Any, below: int | None, by: Any = None, issuer: str = ca.ROOT, window: tuple[int, int] = WINDOW) -> Any:
    return ca.certificate(ca.Subject(role, key.public_key(), below), issuer, by or world().authority.root_key, window)


def chains() -> dict[str, tuple[Rule, ProvisioningAuthority]]:
    """Authorities whose PCK or TCB signing chain has one thing wrong."""
    a, stranger = world().authority, ca.new_key()
    return {
        "the intermediate is no authority": (
            Rule.DCAP_CHAIN,
            other_authority(intermediate=issued(ca.PCK_AUTHORITY, a.pck_key, None)),
        ),
        "the root allows no intermediate": (Rule.DCAP_CHAIN, other_authority(root=issued(ca.ROOT, a.root_key, 0))),
        "the intermediate is signed by another": (
            Rule.DCAP_CHAIN,
            other_authority(intermediate=issued(ca.PCK_AUTHORITY, a.pck_key, 0, stranger)),
        ),
        "the root is signed by another": (Rule.DCAP_CHAIN, other_authority(root=issued(ca.ROOT, a.root_key, 1, stranger))),
        "the signing certificate has another name": (
            Rule.DCAP_TCB_CHAIN,
            other_authority(signing=issued("SGX PCK Processor CA", a.tcb_key, None)),
        ),
        "the signing certificate is an authority": (
            Rule.DCAP_TCB_CHAIN,
            other_authority(signing=issued(ca.TCB_SIGNING, a.tcb_key, 0)),
        ),
        "the signing certificate is by another": (
            Rule.DCAP_TCB_CHAIN,
            other_authority(signing=issued(ca.TCB_SIGNING, a.tcb_key, None, stranger)),
        ),
        "the signing certificate has expired": (
            Rule.DCAP_VALIDITY,
            other_authority(signing=issued(ca.TCB_SIGNING, a.tcb_key, None, window=PAST)),
        ),
    }


@pytest.mark.parametrize("name", chains())
def test_each_step_of_the_chains_counts(name: str) -> None:
    rule, other = chains()[name]
    quote = SimulatedPlatform(other).quote_enclave(ENCLAVE, DATA)
    refused(rule, quote, other.collateral(SGX, WINDOW))


def test_an_intermediate_that_is_not_named_as_an_authority_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca, "PCK_AUTHORITY", "SGX PCK Platform")
    w = World()
    refused(Rule.DCAP_CHAIN, w.quote(), w.collateral[SGX], roots=w.roots)


def test_collateral_under_another_root_is_refused_even_if_its_signer_is_the_same() -> None:
    w = world()
    genuine = w.authority.signing_chain()
    first = genuine[: genuine.index(b"-----BEGIN", 10)]
    other = OTHER().authority.signing_chain()
    refused(Rule.DCAP_TCB_CHAIN, w.quote(), replace(sgx(w), signing_chain=first + other[other.index(b"-----BEGIN", 10) :]))


def test_the_extension_of_a_pck_certificate_is_read_strictly() -> None:
    w, good = world(), sgx_extension(bytes(16), ca.TOP, 1)
    inner = good[4:]  # after the tag and its length of three bytes
    assert good[:2] == b"\x30\x82"

    def wrapped(content: bytes) -> bytes:
        return b"\x30\x82" + len(content).to_bytes(2, "big") + content

    last = inner[-17:]  # the member that says the type of SGX, which is not needed
    assert last[:2] == b"\x30\x0f"
    ppid = inner[: 2 + inner[1]]
    for extension in (
        good + b"\x05\x00",
        b"\x31" + good[1:],
        wrapped(inner[:-17] + b"\x31" + last[1:]),
        wrapped(inner + b"\x30\x02\x05\x00"),
        wrapped(inner[:-17] + last.replace(bytes.fromhex("2a864886f84d010d01"), bytes.fromhex("2a864886f84d010d02"))),
        wrapped(inner + ppid),
        wrapped(inner)[:-1],
    ):
        refused(Rule.DCAP_PCK_EXTENSION, with_extension(w, extension), sgx(w))
    verify_dcap(with_extension(w, wrapped(inner)), sgx(w), NOW, w.roots)


def test_signed_statements_are_bounded_and_read_strictly() -> None:
    w = world()
    padded = sgx(w).tcb_info[:-1] + b" " * (300 << 10) + b"}"
    refused(Rule.SIZE, w.quote(), replace(sgx(w), tcb_info=padded, tcb_info_signature=sign(w.authority.tcb_key, padded)))
    padded = sgx(w).qe_identity[:-1] + b" " * (300 << 10) + b"}"
    refused(Rule.SIZE, w.quote(), replace(sgx(w), qe_identity=padded, qe_identity_signature=sign(w.authority.tcb_key, padded)))
    refused(Rule.LENGTH, w.quote(), replace(sgx(w), tcb_info_signature=sgx(w).tcb_info_signature[:-1]))
    short = level("UpToDate", NOW)
    short["tcb"]["sgxtcbcomponents"].pop()
    for levels in ([short], [level("UpToDate", NOW) | {"advisoryIDs": [5]}], [level("UpToDate", NOW) | {"advisoryIDs": [""]}]):
        refused(Rule.ENDORSEMENT, w.quote(), w.stated(tcbLevels=levels))
    module = json.loads(tdx(w).tcb_info)["tdxModuleIdentities"][0]
    for modules in ([module, module], [module | {"id": ""}], [module | {"mrsigner": "00"}]):
        refused(Rule.ENDORSEMENT, domain(w), resigned(w, "tcb_info", {"tdxModuleIdentities": modules}, TDX))


def test_what_is_kept_of_earlier_appraisals_vouches_for_nothing_else() -> None:
    """Time, keys and every byte are checked as if it were the first time."""
    w = World()
    quote, good = w.quote(), w.collateral[SGX]
    for _ in range(2):
        verify_dcap(quote, good, NOW, w.roots)
        for at in (WINDOW[0] - 1, WINDOW[1] + 1):
            with pytest.raises(EvidenceRefused):
                verify_dcap(quote, good, at, w.roots)
        for name, value in vars(good).items():
            if name != "signing_chain":
                with pytest.raises(EvidenceRefused):
                    verify_dcap(quote, replace(good, **{name: flipped(value, len(value) // 2)}), NOW, w.roots)
        other = OTHER()
        for name in ("tcb_info_signature", "qe_identity_signature", "root_crl", "pck_crl", "signing_chain"):
            with pytest.raises(EvidenceRefused):
                verify_dcap(quote, replace(good, **{name: getattr(other.collateral[SGX], name)}), NOW, w.roots)
        with pytest.raises(EvidenceRefused):
            verify_dcap(quote, other.collateral[SGX], NOW, w.roots | other.roots)


@pytest.mark.parametrize(
    "text",
    [
        "2026-6-01T00:00:00Z",
        "2026-06-01T00:00:00z",
        "2026-06-01T00:00:00",
        " 2026-06-01T00:00:00Z",
        "2026-06-01T00:00:00Z\n",
        "2026-06-01 00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-06-01T24:00:00Z",
        "2026-06-01T00:00:60Z",
        "0000-06-01T00:00:00Z",
        "\u0662026-06-01T00:00:00Z",
        1_700_000_000,
    ],
)
def test_times_have_one_form(text: object) -> None:
    refused(Rule.ENDORSEMENT, world().quote(), world().stated(issueDate=text))
    refused(Rule.ENDORSEMENT, world().quote(), world().identified(nextUpdate=text))
