"""SEV-SNP reports of an authority of our own, in genuine format: every product, both kinds of key, each rule."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.attestation import roots
from tallystick.attestation.certificates import load_certificate
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.references import ReferenceValues, SnpGuest
from tallystick.attestation.result import Tier
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.snp import SnpEndorsements, verify_snp
from tallystick.attestation.snp_report import SnpTcb, product_of, read_report
from tallystick.attestation.verifier import Evidence, appraise
from unit.attestation.amd import PSS, AmdAuthority, Tcb
from unit.attestation.test_dcap import DATA, NOW, WINDOW

PRODUCTS = ["Milan", "Genoa", "Turin"]
PAST = (NOW - 90_000, NOW - 1)


@functools.cache
def amd(product: str = "Milan") -> AmdAuthority:
    return AmdAuthority(product, WINDOW)


def refused(
    rule: Rule, report: bytes, endorsements: SnpEndorsements | None = None, simulations: frozenset[bytes] | None = None
) -> None:
    known = frozenset({amd().root}) if simulations is None else simulations
    with pytest.raises(EvidenceRefused) as caught:
        verify_snp(report, endorsements or amd().endorsements(), NOW, known)
    assert caught.value.rule is rule, str(caught.value)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("version", [2, 3, 4, 5])
@pytest.mark.parametrize("vlek", [False, True])
def test_reports_of_every_product_version_and_key_verify(product: str, version: int, vlek: bool) -> None:
    a = amd(product)
    tcb = Tcb(fmc=3 if product == "Turin" else 0)
    report = a.report(version=version, key_kind=int(vlek), tcb=tcb)
    facts = verify_snp(report, a.endorsements(tcb, vlek=vlek), NOW, frozenset({a.root}))
    assert facts.reported == SnpTcb(4, 1, 20, 200, tcb.fmc)
    assert (facts.product, facts.report_data, facts.revocation_checked) == (product, DATA, True)
    assert not facts.authority.hardware
    assert bool(facts.platform) is not vlek


Case = tuple[Rule, Callable[[AmdAuthority], bytes], Callable[[AmdAuthority], SnpEndorsements]]


def good(a: AmdAuthority) -> bytes:
    return a.report()


def fit(a: AmdAuthority) -> SnpEndorsements:
    return a.endorsements()


def leaf(**changes: bytes | None) -> Callable[[AmdAuthority], SnpEndorsements]:
    return lambda a: replace(a.endorsements(), leaf=a.leaf(Tcb(), **changes))


def at(place: int, value: int = 1) -> Callable[[AmdAuthority], bytes]:
    def make(a: AmdAuthority) -> bytes:
        report = a.report()  # one: each has a signature of its own, and parts of two may make up a good one
        return report[:place] + bytes([report[place] ^ value]) + report[place + 1 :]

    return make


def lists(make: Callable[[AmdAuthority], bytes]) -> Callable[[AmdAuthority], SnpEndorsements]:
    return lambda a: replace(a.endorsements(), crl=make(a))


OTHER = functools.cache(lambda: AmdAuthority("Milan", WINDOW))

CASES: list[Case] = [
    (Rule.SIZE, lambda a: a.report() + b"\0", fit),
    (Rule.LENGTH, lambda a: a.report()[:-1], fit),
    (Rule.VERSION, lambda a: a.report(version=6), fit),
    (Rule.VERSION, lambda a: a.report(algorithm=2), fit),
    (Rule.RESERVED, at(0x4C), fit),
    (Rule.RESERVED, at(0x200), fit),
    (Rule.RESERVED, at(0x2A0 + 144), fit),
    (Rule.SNP_POLICY, lambda a: a.report(policy=0), fit),
    (Rule.SNP_POLICY, lambda a: a.report(policy=1 << 17 | 1 << 26), fit),
    (Rule.SNP_PRODUCT, lambda a: a.report(cpuid=(0x19, 0x11)), fit),
    (Rule.SNP_PRODUCT, lambda a: a.report(cpuid=(0x17, 0x01)), fit),
    (Rule.SNP_PRODUCT, good, leaf(e2=b"\x16\x05Naple")),
    (Rule.SNP_PRODUCT, good, leaf(e2=b"\x16\x05Genoa")),
    (Rule.SNP_LEAF, good, leaf(e2=None)),
    (Rule.SNP_LEAF, good, leaf(e3_8=None)),
    (Rule.SNP_LEAF, good, leaf(e3_8=b"\x04\x01\x01")),
    (Rule.SNP_LEAF, lambda a: a.report(key_kind=7), fit),
    (Rule.SNP_PRODUCT, lambda a: a.report(key_kind=1), fit),
    (Rule.SNP_CHAIN, good, lambda a: replace(a.endorsements(), chain=OTHER().endorsements().chain)),
    (Rule.SNP_CHAIN, good, lambda a: replace(a.endorsements(), leaf=OTHER().leaf(Tcb()))),
    (Rule.SNP_TCB, lambda a: a.report(tcb=Tcb(microcode=199)), fit),
    (Rule.SNP_TCB, good, lambda a: a.endorsements(Tcb(snp=21))),
    (Rule.SNP_CHIP, good, leaf(e4=b"\x0d" * 64)),
    (Rule.SNP_CHIP, good, leaf(e4=b"\x0c" * 8)),
    (Rule.SNP_CHIP, good, leaf(e4=None)),
    (Rule.SNP_SIGNATURE, at(0x90), fit),
    (Rule.SNP_SIGNATURE, at(0x2A0), fit),
    (Rule.SNP_SIGNATURE, lambda a: a.report(generate_private_key(SECP384R1())), fit),
    (Rule.SNP_REVOKED, good, lists(lambda a: a.crl(a.issuers["ask"]))),
    (Rule.SNP_REVOKED, good, lists(lambda a: a.crl(window=PAST))),
    (Rule.SNP_REVOKED, good, lists(lambda a: a.crl(key="ask"))),
    (Rule.SNP_REVOKED, good, lists(lambda _: OTHER().crl())),
    (Rule.SIZE, good, lists(lambda _: b"")),
    (Rule.CERTIFICATE, good, lambda a: replace(a.endorsements(), leaf=b"\x30\x00")),
    (Rule.CERTIFICATE, good, lambda a: replace(a.endorsements(), chain=a.endorsements().chain + b"\n")),
]


@pytest.mark.parametrize(("rule", "report", "endorsements"), CASES, ids=[f"{case[0].code}-{n}" for n, case in enumerate(CASES)])
def test_one_thing_changed_is_refused_by_its_rule(
    rule: Rule, report: Callable[[AmdAuthority], bytes], endorsements: Callable[[AmdAuthority], SnpEndorsements]
) -> None:
    refused(rule, report(amd()), endorsements(amd()))


def test_every_rule_of_amds_is_tested() -> None:
    tested = {rule for rule, *_ in CASES} | {Rule.SNP_ROOT, Rule.SNP_VALIDITY}
    assert {rule for rule in Rule if rule.code.startswith("snp.")} <= tested


def test_an_unnamed_root_is_refused_and_so_is_a_named_one_without_the_mark() -> None:
    refused(Rule.SNP_ROOT, amd().report(), simulations=frozenset())
    bare = AmdAuthority("Milan", WINDOW, mark="")
    refused(Rule.AUTHORITY, bare.report(), bare.endorsements(), frozenset({bare.root}))


def test_an_intermediate_that_is_not_pinned_is_refused_under_a_vendors_root(monkeypatch: pytest.MonkeyPatch) -> None:
    a = amd()
    pins = {"Milan": replace(roots.AMD["Milan"], ark=a.root)}
    monkeypatch.setattr("tallystick.attestation.snp.AMD", pins)
    monkeypatch.setattr(roots, "_VENDORS", {a.root: "AMD ARK-Milan"})
    refused(Rule.SNP_ROOT, a.report(), simulations=frozenset())


def test_expired_certificates_are_refused() -> None:
    old = AmdAuthority("Milan", PAST)
    refused(Rule.SNP_VALIDITY, old.report(), old.endorsements(), frozenset({old.root}))


def test_a_leaf_on_another_curve_is_refused() -> None:
    a = AmdAuthority("Milan", WINDOW)
    a.leaf_key = generate_private_key(SECP256R1())  # type: ignore[assignment]
    refused(Rule.KEY, a.report(), a.endorsements(), frozenset({a.root}))


def result(report: bytes, **changes: Any) -> Any:
    base = AppraisalPolicy("amd", simulations=frozenset({amd().root}), snp_minimum={"Milan": SnpTcb(4, 1, 20, 200)})
    return appraise(
        Evidence(report, amd().endorsements()),
        ReferenceValues((SnpGuest(b"\x04" * 48, minimum_guest_svn=2),)),
        replace(base, **changes),
        DATA,
        NOW,
    )


def test_a_guest_is_appraised_as_a_simulation() -> None:
    found = result(amd().report())
    assert (found.kind, found.status, found.strength) == ("snp", Tier.CONTRAINDICATED, "attested, simulated")
    assert found.expires == WINDOW[1]


POLICY = 1 << 17


@pytest.mark.parametrize(
    ("rule", "report", "policy"),
    [
        (Rule.DEBUG, {"policy": POLICY | 1 << 19}, {}),
        (Rule.MIGRATION, {"policy": POLICY | 1 << 18}, {}),
        (Rule.SMT, {"policy": POLICY | 1 << 16}, {}),
        (Rule.VMPL, {"vmpl": 1}, {}),
        (Rule.MINIMUM_TCB, {}, {"snp_minimum": {}}),
        (Rule.MINIMUM_TCB, {}, {"snp_minimum": {"Milan": SnpTcb(4, 1, 20, 201)}}),
        (Rule.MINIMUM_TCB, {"committed": Tcb(snp=19)}, {}),
        (Rule.MINIMUM_TCB, {"launch": Tcb(boot_loader=3)}, {}),
        (Rule.MEASUREMENT, {"measurement": b"\x05" * 48}, {}),
        (Rule.MEASUREMENT, {"host_data": b"\x05" * 32}, {}),
        (Rule.MEASUREMENT, {"guest_svn": 1}, {}),
        (Rule.REPORT_DATA, {"report_data": bytes(64)}, {}),
    ],
)
def test_a_policy_decides(rule: Rule, report: dict[str, Any], policy: dict[str, Any]) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        result(amd().report(**report), **policy)
    assert caught.value.rule is rule


def test_a_policy_can_allow_what_is_for_it_to_allow() -> None:
    assert result(amd().report(policy=POLICY | 1 << 16, vmpl=1), smt=True, vmpls=frozenset({0, 1})).claims["vmpl"] == 1
    without = replace(amd().endorsements(), crl=None)
    base = AppraisalPolicy("amd", simulations=frozenset({amd().root}), snp_minimum={"Milan": SnpTcb(0, 0, 0, 0)})
    guests = ReferenceValues((SnpGuest(b"\x04" * 48),))
    with pytest.raises(EvidenceRefused) as caught:
        appraise(Evidence(amd().report(), without), guests, base, DATA, NOW)
    assert caught.value.rule is Rule.SNP_REVOKED
    assert appraise(Evidence(amd().report(), without), guests, replace(base, snp_without_list=frozenset({"Milan"})), DATA, NOW)


def test_products_are_told_apart_by_family_and_model() -> None:
    assert [product_of(0x19, model) for model in (0, 1, 0x11, 0xA0)] == ["Milan", "Milan", "Genoa", "Genoa"]
    assert product_of(0x1A, 2) == "Turin"
    for family, model in ((0x19, 0x20), (0x1A, 0x20), (0x17, 0)):
        with pytest.raises(EvidenceRefused):
            product_of(family, model)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=1300))
def test_the_report_parser_alone_raises_nothing_else(hostile: bytes) -> None:
    for data in (hostile, (amd().report()[:0x50] + hostile)[:1184], hostile.ljust(1184, b"\0")):
        with pytest.raises(EvidenceRefused):
            read_report(data)
            verify_snp(data, amd().endorsements(), NOW, frozenset({amd().root}))


def test_each_step_of_the_chain_counts() -> None:
    a = amd()
    issuer, ark = a.issuers["ask"], a.ark
    chains = {
        "the issuer is no authority": (a._authority("ask", None, ca=False), ark),
        "the root allows no issuer": (issuer, a._authority("ark", 0)),
        "the issuer is signed by another": (a._authority("ask", 0, by="asvk"), ark),
        "the root is signed by another": (issuer, a._authority("ark", None, by="ask")),
    }
    for name, chain in chains.items():
        pem = b"".join(item.public_bytes(Encoding.PEM) for item in chain)
        with pytest.raises(EvidenceRefused) as caught:
            verify_snp(a.report(), replace(a.endorsements(), chain=pem, crl=None), NOW, frozenset({a.root}))
        assert caught.value.rule is Rule.SNP_CHAIN, name


def test_a_leaf_of_the_other_kind_is_refused() -> None:
    a = amd()
    named_vlek = a._builder("SEV-VLEK", a.names["ask"], a.leaf_key.public_key())
    for extension in load_certificate(a.leaf(Tcb())).extensions:
        named_vlek = named_vlek.add_extension(extension.value, critical=False)
    leaf = named_vlek.sign(a.keys["ask"], SHA384(), rsa_padding=PSS).public_bytes(Encoding.DER)
    refused(Rule.SNP_LEAF, a.report(), replace(a.endorsements(), leaf=leaf))
    chip = a.leaf(Tcb(), vlek=True, e4=a.chip)
    refused(Rule.SNP_CHIP, a.report(key_kind=1), replace(a.endorsements(vlek=True), leaf=chip))


def test_reserved_bytes_of_a_signed_report_are_refused() -> None:
    for place, version in ((0x188, 2), (0x18B, 3), (0x1EB, 3), (0x1EF, 3), (0x1F8, 3), (0x208, 5), (0x49, 3)):
        raw = bytearray(amd().report(version=version))
        raw[place] |= 0x80
        with pytest.raises(EvidenceRefused) as caught:
            read_report(bytes(raw))
        assert caught.value.rule is Rule.RESERVED, hex(place)
    for tcb in (bytes([1, 1, 1, 0, 0, 0, 1, 1]), bytes([1, 1, 0, 0, 0, 1, 1, 1])):
        with pytest.raises(EvidenceRefused):
            SnpTcb.read(tcb, "Milan")
    with pytest.raises(EvidenceRefused):
        SnpTcb.read(bytes([1, 1, 1, 1, 1, 0, 0, 1]), "Turin")


def test_a_product_that_nobody_pinned_is_refused_even_under_a_named_root() -> None:
    a = AmdAuthority("Naples", WINDOW)
    refused(Rule.SNP_PRODUCT, a.report(version=2), a.endorsements(), frozenset({a.root}))
