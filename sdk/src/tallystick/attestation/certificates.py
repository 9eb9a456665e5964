"""X.509 certificates and revocation lists from strangers: strict parsing, one issuing step at a time.

Path building is not attempted: every family has chains of a fixed shape, so each step is checked where its place is known.
Signatures, names and constraints follow RFC 5280, sections 4.2 and 6.1; unknown critical extensions are refused.

A platform's evidence brings the same certificates and lists each time. What follows from their bytes alone, that they parse and
that one signed the other, is kept for the last few of them, under all of their bytes and only where it held; whatever depends on
the time is checked each time.
"""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID, NameOID

from tallystick.attestation.reading import bounded, der_items
from tallystick.attestation.rules import EvidenceRefused, Rule, refusing, require

# AMD issues VCEKs with serial number zero, against RFC 5280; their serial number plays no part in verification.
warnings.filterwarnings("ignore", message="Parsed a serial number which wasn't positive", category=CryptographyDeprecationWarning)

MAX_CERTIFICATE = 8 * 1024
MAX_REVOCATION_LIST = 1024 * 1024

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\n((?:[A-Za-z0-9+/=]{1,64}\n){1,200})-----END CERTIFICATE-----")
_KNOWN = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.CRL_DISTRIBUTION_POINTS,
}
_HASHES = {"sha256", "sha384", "sha512"}


def load_certificate(der: bytes) -> x509.Certificate:
    """One DER certificate whose extensions parse and hold no unknown critical one."""
    return _certificate(bounded(der, MAX_CERTIFICATE, "a certificate"))


@lru_cache(maxsize=256)
def _certificate(der: bytes) -> x509.Certificate:
    with refusing(Rule.CERTIFICATE, "a certificate is not well-formed"):
        certificate = x509.load_der_x509_certificate(der)
        for extension in certificate.extensions:
            require(
                not extension.critical or extension.oid in _KNOWN,
                Rule.CERTIFICATE,
                f"a certificate has an unknown critical extension {extension.oid.dotted_string}",
            )
        # These are parsed on first access; here a failure is a refusal, later it would be a surprise.
        _ = certificate.subject, certificate.issuer, certificate.public_key()
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        # Outside of what is signed, a parser may overlook the count of unused bits: pin it, so that no byte can be changed.
        ((_, content),) = der_items(der, Rule.CERTIFICATE)
        _, _, (tag, signature) = der_items(content, Rule.CERTIFICATE)
        require(tag == 0x03 and signature[:1] == b"\0", Rule.CERTIFICATE, "a certificate's signature is not whole bytes")
        algorithm = certificate.signature_hash_algorithm
        require(algorithm is not None and algorithm.name in _HASHES, Rule.CERTIFICATE, "a certificate is signed with a weak hash")
        return certificate


def load_chain(pem: bytes, count: int) -> tuple[x509.Certificate, ...]:
    """Exactly ``count`` PEM certificates in their one encoding: lines of 64, nothing between, a NUL at most at the end.

    Nothing signs this text: with one encoding only, no byte of it can be changed unnoticed.
    """
    bounded(pem, count * 2 * MAX_CERTIFICATE, "a certificate chain")
    bodies = _PEM.findall(pem)
    require(len(bodies) == count, Rule.CERTIFICATE, f"a chain of {count} PEM certificates is expected")
    with refusing(Rule.CERTIFICATE, "a certificate is not well-formed PEM"):
        chain = tuple(load_certificate(base64.b64decode(body.replace(b"\n", b""), validate=True)) for body in bodies)
        text = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
    require(pem in (text, text[:-1], text + b"\0"), Rule.CERTIFICATE, "a certificate chain is not in the one encoding of PEM")
    return chain


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate's SubjectPublicKeyInfo: what a pin compares, so that a re-issued certificate still matches."""
    with refusing(Rule.CERTIFICATE, "a public key cannot be encoded"):
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()


def common_name(name: x509.Name) -> str:
    """The one common name of ``name``, or nothing."""
    with refusing(Rule.CERTIFICATE, "a name is not well-formed"):
        values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(values[0].value) if len(values) == 1 else ""


def elliptic_key(certificate: x509.Certificate, curve: str) -> EllipticCurvePublicKey:
    """The certificate's key, which must be on ``curve``."""
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != curve:
        raise EvidenceRefused(Rule.KEY, f"a certificate's key is not on {curve}")
    return key


def check_issued(child: x509.Certificate, issuer: x509.Certificate, rule: Rule) -> None:
    """``issuer`` names and signed ``child``."""
    with refusing(rule, "a certificate is not signed by the next one of its chain"):
        _verify_issued(child, issuer)


@lru_cache(maxsize=256)
def _verify_issued(child: x509.Certificate, issuer: x509.Certificate) -> None:
    child.verify_directly_issued_by(issuer)


def check_authority(certificate: x509.Certificate, below: int, rule: Rule) -> None:
    """``certificate`` may sign certificates, with ``below`` further authorities under it."""
    with refusing(rule, "an issuing certificate lacks the constraints of an authority"):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        require(constraints.ca and usage.key_cert_sign, rule, "an issuing certificate is not an authority")
        require(
            constraints.path_length is None or constraints.path_length >= below, rule, "a chain is longer than its authority allows"
        )


def check_leaf(certificate: x509.Certificate, rule: Rule) -> None:
    """``certificate`` may sign data and is no authority."""
    with refusing(rule, "a leaf certificate lacks the constraints of a leaf"):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        require(not constraints.ca and usage.digital_signature, rule, "a leaf certificate is an authority, or may not sign")


def check_valid(certificates: tuple[x509.Certificate, ...], at: int, rule: Rule) -> None:
    """Every certificate is valid at ``at``, in seconds since 1970."""
    for certificate in certificates:
        first = certificate.not_valid_before_utc.timestamp()
        last = certificate.not_valid_after_utc.timestamp()
        require(first <= at <= last, rule, "a certificate is not valid at the time of verification")


def expiry(certificates: tuple[x509.Certificate, ...]) -> int:
    """The time at which the first of the certificates expires."""
    return min(int(certificate.not_valid_after_utc.timestamp()) for certificate in certificates)


@dataclass(frozen=True)
class CrlRules:
    """The rules that a revocation list of one family breaks: by another issuer, with a bad signature, not current."""

    issuer: Rule
    signature: Rule
    fresh: Rule


@dataclass(frozen=True)
class RevocationList:
    """A checked list: the serial numbers it revokes are asked for one by one."""

    crl: x509.CertificateRevocationList
    next_update: int

    def revokes(self, certificate: x509.Certificate) -> bool:
        """Whether the list holds the certificate's serial number; the certificate's issuer is the list's."""
        with refusing(Rule.ENDORSEMENT, "a revocation list's entries are not well-formed"):
            return self.crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def load_revocation_list(der: bytes, issuer: x509.Certificate, at: int, rules: CrlRules) -> RevocationList:
    """A complete list by ``issuer``, signed by it and current at ``at``. Delta and partial lists are refused."""
    crl, first, last = _revocation_list(bounded(der, MAX_REVOCATION_LIST, "a revocation list"), issuer, rules)
    require(first <= at <= last, rules.fresh, "a revocation list is not current")
    return RevocationList(crl, int(last))


@lru_cache(maxsize=16)
def _revocation_list(der: bytes, issuer: x509.Certificate, rules: CrlRules) -> tuple[x509.CertificateRevocationList, float, float]:
    """The list, and from when until when it is current."""
    with refusing(Rule.ENDORSEMENT, "a revocation list is not well-formed DER"):
        crl = x509.load_der_x509_crl(der)
        for extension in crl.extensions:
            require(not extension.critical, Rule.ENDORSEMENT, "a revocation list has a critical extension: it is not complete")
        first, last = crl.last_update_utc, crl.next_update_utc
        by = crl.issuer
        algorithm = crl.signature_hash_algorithm
        # As with certificates: the count of unused bits, which stands before the signature, is not signed.
        require(der.endswith(b"\0" + crl.signature), Rule.ENDORSEMENT, "a revocation list's signature is not whole bytes")
    require(by == issuer.subject, rules.issuer, "a revocation list is by another issuer")
    require(algorithm is not None and algorithm.name in _HASHES, rules.signature, "a revocation list is signed with a weak hash")
    with refusing(rules.signature, "a revocation list's signature cannot be checked"):
        key = issuer.public_key()
        require(crl.is_signature_valid(key), rules.signature, "a revocation list is not signed by its issuer")  # type: ignore[arg-type]
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        require(usage.crl_sign, rules.signature, "a revocation list's issuer may not sign lists")
    require(last is not None, rules.fresh, "a revocation list has no next update")
    assert last is not None
    return crl, first.timestamp(), last.timestamp()
