"""Hygon CSV reports of an authority of our own, in genuine format: each rule, the policy, and SM2 beneath."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tallystick.attestation import sm2
from tallystick.attestation.hygon import CEK, HRK, HSK, PEK, CsvEndorsements, verify_csv
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.references import CsvGuest, ReferenceValues
from tallystick.attestation.result import Tier
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.verifier import Evidence, appraise
from unit.attestation import vectors
from unit.attestation.sm import HygonAuthority, Sm2Key, halves, number
from unit.attestation.test_dcap import DATA, NOW


@functools.cache
def hygon() -> HygonAuthority:
    return HygonAuthority()


@functools.cache
def endorsements() -> CsvEndorsements:
    return hygon().endorsements()


OTHER = functools.cache(HygonAuthority)


def refused(rule: Rule, report: bytes, given: CsvEndorsements | None = None, simulations: frozenset[bytes] | None = None) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        verify_csv(report, given or endorsements(), frozenset({hygon().fingerprint}) if simulations is None else simulations)
    assert caught.value.rule is rule, str(caught.value)


def test_a_report_verifies_padded_or_not() -> None:
    report = hygon().report()
    facts = verify_csv(report, endorsements(), frozenset({hygon().fingerprint}))
    assert (facts.report_data, facts.measurement, facts.policy, facts.debug, facts.sendable) == (
        DATA,
        b"\x06" * 32,
        9,
        False,
        False,
    )
    assert not facts.authority.hardware
    assert verify_csv(report.ljust(4096, b"\0"), endorsements(), frozenset({hygon().fingerprint})) == facts


def flipped(place: int) -> Callable[[], bytes]:
    def make() -> bytes:
        report = hygon().report()
        return report[:place] + bytes([report[place] ^ 1]) + report[place + 1 :]

    return make


def report(**changes: Any) -> Callable[[], bytes]:
    return lambda: hygon().report(**changes)


def pek(key: Sm2Key, usage: int, by: Sm2Key, signer: int) -> bytes:
    return hygon().certificate(key, usage, by, signer)


def changed(name: str, make: Callable[[], bytes]) -> Callable[[], CsvEndorsements]:
    return lambda: replace(endorsements(), **{name: make()})


def off_the_curve() -> CsvEndorsements:
    """The lowest byte of the root's x is another: it is random, so none that is written over it is always another."""
    data = endorsements().hrk
    return replace(endorsements(), hrk=data[:68] + bytes([data[68] ^ 1]) + data[69:])


def overwritten(name: str, place: int, value: bytes) -> Callable[[], CsvEndorsements]:
    def make() -> CsvEndorsements:
        data = getattr(endorsements(), name)
        return replace(endorsements(), **{name: data[:place] + value + data[place + len(value) :]})

    return make


FIT = endorsements
PEK_AT = 336  # where the masked PEK stands

CASES: list[tuple[Rule, Callable[[], bytes], Callable[[], CsvEndorsements]]] = [
    (Rule.SIZE, lambda: bytes(4097), FIT),
    (Rule.LENGTH, lambda: hygon().report()[:-1], FIT),
    (Rule.LENGTH, lambda: hygon().report() + b"\0", FIT),
    (Rule.RESERVED, lambda: hygon().report().ljust(4095, b"\0") + b"\x01", FIT),
    (Rule.VERSION, report(usage=CEK), FIT),
    (Rule.VERSION, flipped(188), FIT),
    (Rule.CSV_MAC, report(mac_key=b"other"), FIT),
    (Rule.CSV_MAC, flipped(PEK_AT + 30), FIT),
    (Rule.CSV_MAC, flipped(2547), FIT),
    (Rule.CSV_SIGNATURE, flipped(0), FIT),
    (Rule.CSV_SIGNATURE, flipped(192), FIT),
    (Rule.CSV_SIGNATURE, report(key=OTHER().pek), FIT),
    (Rule.CSV_CHAIN, lambda: hygon().report(pek=pek(hygon().pek, PEK, OTHER().cek, CEK)), FIT),
    (Rule.CSV_CHAIN, lambda: hygon().report(pek=pek(hygon().pek, PEK, hygon().cek, HSK)), FIT),
    (Rule.CSV_CHAIN, lambda: hygon().report(pek=pek(hygon().pek, CEK, hygon().cek, CEK)), FIT),
    (Rule.CSV_CHAIN, report(), changed("cek", lambda: OTHER().endorsements().cek)),
    (Rule.CSV_CHAIN, report(), changed("hsk", lambda: OTHER().endorsements().hsk)),
    (Rule.CSV_CHAIN, report(), changed("hsk", lambda: endorsements().hrk)),
    (Rule.CSV_CHAIN, report(), overwritten("hsk", 20, b"\x09")),
    (Rule.CSV_CHAIN, report(), overwritten("hrk", 64 + 148 + 256, b"\0" * 40 + bytes(68) + halves((1, 1)))),
    (Rule.CSV_CHAIN, report(), changed("hrk", lambda: hygon().authority(hygon().hrk, HRK, hygon().hrk, b"\x07" * 16))),
    (Rule.CSV_ROOT, report(), lambda: OTHER().endorsements()),
    (Rule.KEY, report(), overwritten("hsk", 64, number(2, 4))),
    (Rule.KEY, report(), off_the_curve),
    (Rule.CERTIFICATE, report(), changed("hrk", lambda: b"short")),
    (Rule.CERTIFICATE, report(), changed("cek", lambda: bytes(2083))),
    (Rule.CERTIFICATE, report(), overwritten("hrk", 212, b"\xff")),
    (Rule.VERSION, report(), overwritten("hrk", 0, b"\x02")),
    (Rule.VERSION, report(), overwritten("cek", 0, b"\x09")),
    *[(Rule.RESERVED, report(), overwritten("hsk", place, b"\x01")) for place in (40, 470, 831)],
    (Rule.RESERVED, report(), overwritten("cek", 6, b"\x01")),
    (Rule.CERTIFICATE, report(), overwritten("cek", 12, number(5, 4))),
    (Rule.RESERVED, report(), overwritten("hsk", 64 + 148 + 2 + 100, b"\x01")),
]


@pytest.mark.parametrize(("rule", "make", "given"), CASES, ids=[f"{case[0].code}-{n}" for n, case in enumerate(CASES)])
def test_one_thing_changed_is_refused_by_its_rule(
    rule: Rule, make: Callable[[], bytes], given: Callable[[], CsvEndorsements]
) -> None:
    known = frozenset({hygon().fingerprint})
    if rule is Rule.KEY and given().hrk != endorsements().hrk:  # a root with another key is only looked at if it is named
        block = given().hrk[68:212]
        known = frozenset({hashlib.sha256(block[:32][::-1] + block[72:104][::-1]).digest()})
    refused(rule, make(), given(), known)


def test_every_rule_of_hygons_is_tested() -> None:
    assert {rule for rule in Rule if rule.code.startswith("csv.")} <= {rule for rule, *_ in CASES}


def test_a_named_root_without_the_mark_is_refused() -> None:
    bare = HygonAuthority(mark="")
    refused(Rule.AUTHORITY, bare.report(), bare.endorsements(), frozenset({bare.fingerprint}))


def result(reference: CsvGuest | None = None, data: bytes = DATA, policy: dict[str, Any] | None = None, **changes: Any) -> Any:
    base = AppraisalPolicy("csv", simulations=frozenset({hygon().fingerprint}))
    evidence = Evidence(hygon().report(**changes), endorsements())
    return appraise(evidence, ReferenceValues((reference or CsvGuest(b"\x06" * 32),)), replace(base, **(policy or {})), data, NOW)


def test_a_guest_is_appraised_as_a_simulation() -> None:
    found = result()
    assert (found.kind, found.status, found.strength) == ("csv", Tier.CONTRAINDICATED, "attested, simulated")
    assert found.expires == NOW + 86_400


@pytest.mark.parametrize(
    ("rule", "given"),
    [
        (Rule.DEBUG, {"policy_bits": 0b1000}),
        (Rule.MIGRATION, {"policy_bits": 0b0001}),
        (Rule.MEASUREMENT, {"measurement": bytes(32)}),
        (Rule.MEASUREMENT, {"reference": CsvGuest(b"\x06" * 32, vm_id=b"\x01" * 16)}),
        (Rule.MEASUREMENT, {"reference": CsvGuest(b"\x06" * 32, user_public_key_digest=b"\x01" * 32)}),
        (Rule.REPORT_DATA, {"data": bytes(64)}),
    ],
)
def test_a_policy_decides(rule: Rule, given: dict[str, Any]) -> None:
    bits = given.pop("policy_bits", None)
    with pytest.raises(EvidenceRefused) as caught:
        if bits is None:
            result(**given)
        else:
            evidence = Evidence(hygon().report(policy=bits), endorsements())
            named = AppraisalPolicy("csv", simulations=frozenset({hygon().fingerprint}))
            appraise(evidence, ReferenceValues((CsvGuest(b"\x06" * 32),)), named, DATA, NOW)
    assert caught.value.rule is rule


def test_the_nonce_that_nothing_signs_cannot_be_changed_without_changing_the_measurement() -> None:
    raw = hygon().report()
    nonce = bytes(a ^ b for a, b in zip(raw[188:192], b"\x01\0\0\0", strict=True))
    hostile = raw[:180] + bytes(raw[180 + n] ^ b"\x01\0\0\0"[n % 4] for n in range(8)) + nonce + raw[192:]
    with pytest.raises(EvidenceRefused):  # the masked PEK no longer unmasks, and the MAC's key has changed
        verify_csv(hostile, endorsements(), frozenset({hygon().fingerprint}))


def test_sm2_agrees_with_the_published_example() -> None:
    # GB/T 32918.5-2017, annex A.2: the message digest example on the recommended curve.
    key = (
        0x09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020,
        0xCCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13,
    )
    signature = (
        0xF5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3,
        0xB1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA,
    )
    sm2.verify(key, b"1234567812345678", b"message digest", signature, Rule.CSV_SIGNATURE)
    for bad in (
        (signature[0] ^ 1, signature[1]),
        (0, signature[1]),
        (signature[0], sm2.ORDER),
        (signature[0], signature[1] + sm2.ORDER),
        (1, sm2.ORDER - 1),
    ):
        with pytest.raises(EvidenceRefused):
            sm2.verify(key, b"1234567812345678", b"message digest", bad, Rule.CSV_SIGNATURE)
    with pytest.raises(EvidenceRefused) as caught:
        sm2.verify((key[0], key[1] ^ 1), b"", b"", signature, Rule.CSV_SIGNATURE)
    assert caught.value.rule is Rule.KEY


def test_points_add_up() -> None:
    double = sm2.combined(2, sm2.G, 0, sm2.G)
    assert double is not None
    assert double == sm2.combined(1, sm2.G, 1, sm2.G)
    assert sm2.is_on_curve(double)
    assert sm2.combined(sm2.ORDER - 1, sm2.G, 1, sm2.G) is None
    assert sm2.combined(5, sm2.G, 7, double) == sm2.combined(19, sm2.G, 0, sm2.G)


@vectors.needs_vectors
def test_a_genuine_report_verifies_and_its_guest_may_be_sent() -> None:
    names = ("hrk", "hsk", "cek")
    given = CsvEndorsements(*(vectors.read(f"csv/csv-rs/{name}.cert") for name in names))
    raw = vectors.read("csv/csv-rs/report.cert")
    facts = verify_csv(raw, given)
    assert facts.authority.hardware
    reference = ReferenceValues((CsvGuest(facts.measurement, facts.vm_id, facts.vm_version, facts.user_public_key_digest),))
    with pytest.raises(EvidenceRefused) as caught:
        appraise(Evidence(raw, given), reference, AppraisalPolicy("csv"), facts.report_data, NOW)
    assert caught.value.rule is Rule.MIGRATION
    found = appraise(Evidence(raw, given), reference, AppraisalPolicy("csv", sendable=True), facts.report_data, NOW)
    assert (found.status, found.strength) == (Tier.AFFIRMING, "attested, hardware")
