"""How the contracts read a platform's certificate: what the authority signed counts only in the one form that DER allows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contracts.conftest import World, b32
from contracts.test_attestation_verifier import SIMULATION, with_precompile, words
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from tallystick.attestation.simulation.authority import new_key
from tallystick.protocol.errors import ContractRefused

pytestmark = with_precompile

VERSION_3 = bytes.fromhex("a003020102")
COMMON_NAME, ORGANISATION = bytes.fromhex("0603550403"), bytes.fromhex("060355040a")
ALGORITHM = bytes.fromhex("300a06082a8648ce3d040302")  # ECDSA with SHA-256


def element(tag: int, content: bytes) -> bytes:
    """One element of DER."""
    size = len(content)
    length = bytes([size]) if size < 0x80 else bytes([0x81, size]) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def sequence(*parts: bytes) -> bytes:
    return element(0x30, b"".join(parts))


def subject(words: str = "SGX PCK Certificate", kind: bytes = COMMON_NAME) -> bytes:
    return sequence(element(0x31, sequence(kind, element(0x0C, words.encode()))))


def utc(text: str) -> bytes:
    return element(0x17, text.encode())


def general(text: str) -> bytes:
    return element(0x18, text.encode())


def public_key() -> bytes:
    """What is said of a new key: its algorithm, its curve and its point."""
    encoded = new_key().public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded[2:]


def body(
    *,
    version: bytes = VERSION_3,
    issuer: bytes = subject("an authority"),
    begin: bytes = utc("200101000000Z"),
    end: bytes = general("21000101000000Z"),
    about: bytes = subject(),
    key: bytes = public_key(),
    whole: int = 0x30,
    after: bytes = b"",
) -> bytes:
    """What is signed of a certificate; ``after`` follows the last part."""
    parts = (version, element(2, b"\1"), ALGORITHM, issuer, sequence(begin, end), about, sequence(key), after)
    return element(whole, b"".join(parts))


def longer(tbs: bytes) -> bytes:
    """With the length in three bytes, where two are enough."""
    size = int.from_bytes(tbs[2:4], "big")
    return tbs[:1] + b"\x83" + size.to_bytes(3, "big") + tbs[4:]


LONG = element(0x31, sequence(COMMON_NAME, element(0x0C, bytes(300))))
MALFORMED: dict[str, tuple[bytes, str]] = {
    "bytes after it": (body() + b"\0", "bytes follow the certificate"),
    "a set": (body(whole=0x31), "another element"),
    "nothing": (b"", "another element"),
    "version 2": (body(version=bytes.fromhex("a003020101")), "not of version 3"),
    "no version": (body(version=b""), "another element"),
    "an organisation first": (body(about=subject(kind=ORGANISATION)), "does not begin with a common name"),
    "another subject": (body(about=subject("SGX PCK Certificates")), "not a PCK certificate"),
    "a short subject": (body(about=subject("PCK Certificate")), "not a PCK certificate"),
    "a key and more": (body(key=public_key() + b"\0"), "the key is not on P-256"),
    "a point in another form": (body(key=public_key()[:24] + b"\6" + public_key()[25:]), "the key is not on P-256"),
    "an open length": (body(issuer=b"\x30\x80" + bytes(9)), "a length is not read here"),
    "a length of three bytes": (longer(body(after=element(4, bytes(300)))), "a length is not read here"),
    "a byte of length too many": (body(issuer=b"\x30\x81\x09" + bytes(9)), "a length is not the shortest"),
    "two bytes of length for one": (body(issuer=b"\x30\x82\x00\xc8" + bytes(200)), "a length is not the shortest"),
    "longer than what holds it": (body()[:-1], "longer than what holds it"),
    "a time without seconds": (body(begin=utc("2001010000Z")), "a time is not in its form"),
    "a time in a zone": (body(begin=utc("2001010000+01")), "a time is not in its form"),
    "a time and more": (body(begin=utc("200101000000Z0")), "a time is not in its form"),
    "a long time and more": (body(end=general("21000101000000Z0")), "a time is not in its form"),
    "a long year in the short form": (body(begin=utc("20200101000000Z")), "a time is not in its form"),
    "no month": (body(begin=utc("200001000000Z")), "a time is none"),
    "a thirteenth month": (body(end=general("20991301000000Z")), "a time is none"),
    "no day": (body(begin=utc("200100000000Z")), "a time is none"),
    "a thirty-second day": (body(end=general("20990132000000Z")), "a time is none"),
    "before 1970": (body(begin=general("19691231235959Z")), "a time is none"),
    "letters": (body(begin=utc("20O101000000Z")), "a time has other than digits"),
    "a sign": (body(end=general("2099010100000-Z")), "a time has other than digits"),
    "a number for a time": (body(begin=element(2, b"1" * 13)), "another element"),
}  # fmt: skip


@pytest.fixture(scope="module")
def authority() -> ec.EllipticCurvePrivateKey:
    return new_key()


@pytest.fixture
def trusting(world: World, authority: ec.EllipticCurvePrivateKey) -> Iterator[World]:
    """A world whose governor has named the authority."""
    world.governor.send(SIMULATION, "nameAuthority", *words(authority.public_key()))
    yield world


def register(world: World, authority: ec.EllipticCurvePrivateKey, tbs: bytes) -> None:
    r, s = decode_dss_signature(authority.sign(tbs, ec.ECDSA(SHA256())))
    world.call(SIMULATION, "registerPlatform", tbs, (b32(r), b32(s)), *words(authority.public_key()))


@pytest.mark.parametrize(
    "tbs", [body(), body(issuer=sequence(LONG)), body(after=element(4, bytes(300))), body(end=utc("491231235959Z"))]
)
def test_certificates_in_their_form_register_platforms(trusting: World, authority: ec.EllipticCurvePrivateKey, tbs: bytes) -> None:
    register(trusting, authority, tbs)


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_not_in_its_form_is_refused(trusting: World, authority: ec.EllipticCurvePrivateKey, what: str) -> None:
    tbs, rule = MALFORMED[what]
    with pytest.raises(ContractRefused, match=f"BadCertificate.*{rule}"):
        register(trusting, authority, tbs)
