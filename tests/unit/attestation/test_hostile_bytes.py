"""Whatever the bytes, a verifier gives a result or :class:`EvidenceRefused`, and no changed evidence gives a result."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tallystick.attestation.cca import verify_cca
from tallystick.attestation.certificates import load_certificate
from tallystick.attestation.dcap import verify_dcap
from tallystick.attestation.hygon import verify_csv
from tallystick.attestation.nitro import verify_nitro
from tallystick.attestation.quote import SGX, TDX, read_quote
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.snp import verify_snp
from unit.attestation.test_cca import arm
from unit.attestation.test_csv import endorsements, hygon
from unit.attestation.test_dcap import DATA, DOMAIN, NOW, WINDOW, world
from unit.attestation.test_nitro import nitro
from unit.attestation.test_snp import amd

Verify = Callable[[bytes], object]

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


report = functools.cache(lambda: amd().report())
amd_endorsements = functools.cache(lambda: amd().endorsements())


@functools.cache
def families() -> dict[str, tuple[bytes, Verify]]:
    """Good evidence of every family, and its verification."""
    w = world()
    domain = w.platform.quote_domain(DOMAIN, DATA, 5, extended=True)
    return {
        "sgx-3": (w.quote(3), lambda raw: verify_dcap(raw, w.collateral[SGX], NOW, w.roots)),
        "sgx-5": (w.quote(5), lambda raw: verify_dcap(raw, w.collateral[SGX], NOW, w.roots)),
        "tdx-5": (domain, lambda raw: verify_dcap(raw, w.collateral[TDX], NOW, w.roots)),
        "snp": (report(), lambda raw: verify_snp(raw, amd_endorsements(), NOW, frozenset({amd().root}))),
        "csv": (hygon().report(), lambda raw: verify_csv(raw, endorsements(), frozenset({hygon().fingerprint}))),
        "cca": (arm().token(), lambda raw: verify_cca(raw, arm().endorsements, frozenset(), frozenset({arm().fingerprint}))),
        "nitro": (nitro().document(NOW), lambda raw: verify_nitro(raw, frozenset({nitro().fingerprint}))),
    }


NAMES = list(families())


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_any_one_byte_changed_is_refused(name: str, data: st.DataObject) -> None:
    good, verify = families()[name]
    at = data.draw(st.integers(0, len(good) - 1))
    changed = good[at] ^ data.draw(st.integers(1, 255))
    with pytest.raises(EvidenceRefused):
        verify(good[:at] + bytes([changed]) + good[at + 1 :])


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_any_truncation_insertion_or_deletion_is_refused(name: str, data: st.DataObject) -> None:
    good, verify = families()[name]
    start = data.draw(st.integers(0, len(good) - 1))
    end = data.draw(st.integers(start, len(good)))
    middle = data.draw(st.binary(max_size=40))
    hostile = good[:start] + middle + good[end:]
    if hostile.rstrip(b"\0") != good.rstrip(b"\0"):
        with pytest.raises(EvidenceRefused):
            verify(hostile)


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(hostile=st.binary(max_size=2_000), keep=st.integers(0, 700))
def test_random_bytes_are_refused_wherever_they_begin(name: str, hostile: bytes, keep: int) -> None:
    good, verify = families()[name]
    if not hostile.rstrip(b"\0") and keep >= len(good.rstrip(b"\0")):
        return
    with pytest.raises(EvidenceRefused):
        verify(good[:keep] + hostile)


@FEW
@given(data=st.data())
def test_any_change_to_intels_endorsements_is_refused_or_without_effect(data: st.DataObject) -> None:
    w = world()
    good = w.collateral[TDX]
    member = data.draw(st.sampled_from([field.name for field in fields(good)]))
    value = getattr(good, member)
    start = data.draw(st.integers(0, len(value) - 1))
    end = min(len(value), start + data.draw(st.integers(0, 3)))
    hostile = replace(good, **{member: value[:start] + data.draw(st.binary(max_size=4)) + value[end:]})
    quote = w.platform.quote_domain(DOMAIN, DATA)
    try:
        facts = verify_dcap(quote, hostile, NOW, w.roots)
    except EvidenceRefused:
        return
    assert member == "signing_chain" or hostile == good
    assert facts.status.value == "UpToDate"


@FEW
@given(st.binary(max_size=600))
def test_the_quote_parser_alone_raises_nothing_else(hostile: bytes) -> None:
    for prefix in (b"", *(families()[name][0][:60] for name in NAMES if name.startswith(("sgx", "tdx")))):
        with pytest.raises(EvidenceRefused):
            read_quote(prefix + hostile)


@pytest.mark.parametrize("place", range(3))
def test_a_certificates_count_of_unused_bits_cannot_be_changed(place: int) -> None:
    """Nothing signs that byte, and parsers let it pass where the signature's last bit is zero."""
    w = world()
    chain = x509.load_pem_x509_certificates(read_quote(w.quote()).pck_chain)
    der = chain[place].public_bytes(Encoding.DER)
    at = len(der) - len(chain[place].signature) - 1
    assert der[at] == 0
    with pytest.raises(EvidenceRefused) as caught:
        load_certificate(der[:at] + b"\x01" + der[at + 1 :])
    assert caught.value.rule is Rule.CERTIFICATE


@pytest.mark.parametrize("name", ["root_crl", "pck_crl"])
def test_a_revocation_lists_count_of_unused_bits_cannot_be_changed(name: str) -> None:
    w = world()
    while (good := getattr(w.authority, name)(WINDOW))[-1] & 1:  # the others no parser lets pass
        pass
    at = len(good) - len(x509.load_der_x509_crl(good).signature) - 1
    assert good[at] == 0
    verify_dcap(w.quote(), replace(w.collateral[SGX], **{name: good}), NOW, w.roots)
    with pytest.raises(EvidenceRefused) as caught:
        verify_dcap(w.quote(), replace(w.collateral[SGX], **{name: good[:at] + b"\x01" + good[at + 1 :]}), NOW, w.roots)
    assert caught.value.rule is Rule.ENDORSEMENT
