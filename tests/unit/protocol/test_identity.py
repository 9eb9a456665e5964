"""Certificates: what is issued reads back, and each rule of the chain to the authority refuses."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.x509.oid import NameOID
from tallystick.protocol import identity
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.identity import Certificate, verify_chain
from unit.protocol.world import DAY, PARTIES, START, certificates, p256

CA_KEY, AUTHORITY, ISSUED = certificates()


def test_what_is_issued_reads_back() -> None:
    certificate = ISSUED[PARTIES[1]]
    assert Certificate.parse(certificate.pem) == Certificate.parse(certificate.der) == certificate
    assert (certificate.account, certificate.common_name) == (PARTIES[1], "Hospital 1")
    assert certificate.roles == ("data-provider", "result-receiver")
    assert certificate.hosts == ("localhost", "127.0.0.1")
    numbers = p256(2001).public_key().public_numbers()
    assert certificate.subject_x == numbers.x.to_bytes(32, "big")
    assert certificate.subject_y == numbers.y.to_bytes(32, "big")
    verify_chain(certificate, AUTHORITY, START)


@pytest.mark.parametrize("at", [AUTHORITY.not_before, AUTHORITY.not_after])
def test_both_ends_of_the_validity_are_inside(at: int) -> None:
    verify_chain(ISSUED[PARTIES[0]], AUTHORITY, at)


def issue(authority: Certificate, key: Any, validity: tuple[int, int] = (START - DAY, START + DAY)) -> Certificate:
    return identity.issue_certificate(authority, key, p256(5).public_key(), PARTIES[0], "H", [], ["compute"], validity)


def plain(*, ca: bool | None, uris: list[str], key: Any = None, signer: Any = None, names: int = 1) -> bytes:
    """A certificate by the test authority's name with chosen defects."""
    key, signer = key or p256(5), signer or CA_KEY
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"n{i}") for i in range(names)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(AUTHORITY.x509.subject)
    builder = builder.public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(dt.datetime.fromtimestamp(START - DAY, dt.UTC))
    builder = builder.not_valid_after(dt.datetime.fromtimestamp(START + DAY, dt.UTC))
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if uris:
        names_extension = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names_extension, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


ACCOUNT = identity.ACCOUNT_URN + PARTIES[0]


def test_chains_that_break_a_rule() -> None:
    other = identity.issue_authority("Test consortium", p256(6), (START - DAY, START + DAY))
    named = identity.issue_authority("Another", CA_KEY, (START - DAY, START + DAY))
    late = identity.issue_authority("Test consortium", CA_KEY, (START + 1, START + DAY))
    no_usage = Certificate.parse(plain(ca=True, uris=[], key=CA_KEY))
    good = issue(AUTHORITY, CA_KEY)
    cases = {
        "another key": (good, other),
        "another name": (good, named),
        "the authority is not valid yet": (issue(late, CA_KEY), late),
        "the certificate has expired": (issue(AUTHORITY, CA_KEY, (START - DAY, START - 1)), AUTHORITY),
        "the certificate is not valid yet": (issue(AUTHORITY, CA_KEY, (START + 1, START + DAY)), AUTHORITY),
        "a participant as authority": (good, good),
        "an authority as participant": (AUTHORITY, AUTHORITY),
        "no key usage": (good, no_usage),
        "signed by a participant": (issue(good, p256(5)), good),
        "self-signed": (Certificate.parse(plain(ca=False, uris=[ACCOUNT], signer=p256(5))), AUTHORITY),
    }
    for what, (certificate, authority) in cases.items():
        with pytest.raises(VerificationFailed) as caught:
            verify_chain(certificate, authority, START)
        assert caught.value.rule == 5, what


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30\x03\x02\x01\x01",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"x" * (identity.LIMIT + 1),
        plain(ca=False, uris=[]),
        plain(ca=None, uris=["https://example.org"]),
        plain(ca=False, uris=[ACCOUNT, identity.ACCOUNT_URN + PARTIES[1]]),
        plain(ca=False, uris=[ACCOUNT.lower()]),
        plain(ca=False, uris=[ACCOUNT, identity.ROLE_URN + "emperor"]),
        plain(ca=True, uris=[ACCOUNT]),
        plain(ca=False, uris=[ACCOUNT], names=2),
        plain(ca=False, uris=[ACCOUNT], names=0),
        plain(ca=False, uris=[ACCOUNT], key=ec.generate_private_key(ec.SECP384R1())),
        plain(ca=False, uris=[ACCOUNT], key=rsa.generate_private_key(65537, 2048)),
    ],
    ids=range(14),
)
def test_certificates_that_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedDocument):
        Certificate.parse(data)


def test_masks_and_names_of_roles() -> None:
    for mask in range(128):
        assert identity.roles_mask(identity.role_names(mask)) == mask
    for wrong in (-1, 128):
        with pytest.raises(MalformedDocument):
            identity.role_names(wrong)
    with pytest.raises(MalformedDocument):
        identity.roles_mask(["emperor"])


def test_p256_signatures_are_low_and_verify() -> None:
    key = p256(9)
    for number in range(16):
        digest = bytes([number]) * 32
        r, s = (int.from_bytes(part, "big") for part in identity.sign_p256(key, digest))
        assert 0 < s <= identity.P256_ORDER // 2
        encoded = utils.encode_dss_signature(r, s)
        key.public_key().verify(encoded, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
