"""Certificates: X.509 with P-256 keys, issued by a consortium authority to one account.

The account stands in a subject alternative name URI, ``urn:tallystick:account:0x<40 hex>``, the roles in further URIs,
``urn:tallystick:role:<name>``. The chain holds SHA-256 of the certificate's DER (its fingerprint) and the subject's
public key. Path rules are explicit and few (RFC 5280, section 6.1, for a path of length one): see
:func:`verify_chain`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.fields import address

LIMIT = 1 << 16
ACCOUNT_URN = "urn:tallystick:account:"
ROLE_URN = "urn:tallystick:role:"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

ROLES: Mapping[str, int] = MappingProxyType(
    {
        "data-provider": 1 << 0,
        "algorithm-provider": 1 << 1,
        "compute": 1 << 2,
        "coordinator": 1 << 3,
        "result-receiver": 1 << 4,
        "requester": 1 << 5,
        "regulator": 1 << 6,
    }
)
"""Role names and their bits, as ``Roles`` in ``Types.sol``."""

_PARSING = (
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)


def roles_mask(names: Iterable[str]) -> int:
    """The mask of role names. Raises :class:`MalformedDocument` for an unknown name."""
    mask = 0
    for name in names:
        if name not in ROLES:
            raise MalformedDocument(f"no role {str(name)[:40]!r}", remedy=f"roles are {', '.join(ROLES)}")
        mask |= ROLES[name]
    return mask


def role_names(mask: int) -> tuple[str, ...]:
    """The names of the roles in ``mask``, in the order of their bits.

    Raises :class:`MalformedDocument` for unknown bits.
    """
    if not 0 <= mask < 1 << len(ROLES):
        raise MalformedDocument(f"role mask {mask} has unknown bits")
    return tuple(name for name, bit in ROLES.items() if mask & bit)


@dataclass(frozen=True)
class Certificate:
    """A certificate and what the protocol reads of it. ``account`` is empty, and ``roles`` too, for an authority."""

    der: bytes
    fingerprint: bytes
    subject_x: bytes
    subject_y: bytes
    account: str
    roles: tuple[str, ...]
    common_name: str
    hosts: tuple[str, ...]
    not_before: int
    not_after: int
    is_authority: bool

    @classmethod
    def parse(cls, data: bytes) -> Certificate:
        """Read one certificate in PEM or DER, of at most 64 KiB.

        Raises :class:`MalformedDocument`, and nothing else.
        """
        if len(data) > LIMIT:
            raise MalformedDocument(f"certificate: {len(data)} bytes, more than {LIMIT}")
        try:
            pem = data.lstrip().startswith(b"-----BEGIN")
            return cls._read(x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data))
        except _PARSING as error:
            raise MalformedDocument(f"certificate: {type(error).__name__} while reading") from None

    @classmethod
    def _read(cls, certificate: x509.Certificate) -> Certificate:
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise MalformedDocument("certificate: the key is not on P-256")
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if len(names) != 1 or not isinstance(names[0].value, str):
            raise MalformedDocument("certificate: not exactly one common name")
        authority = _is_authority(certificate)
        accounts, roles, hosts = _alternative_names(certificate)
        if len(accounts) != (0 if authority else 1):
            raise MalformedDocument("certificate: a participant's has exactly one account URI, an authority's none")
        point = key.public_numbers()
        der = certificate.public_bytes(serialization.Encoding.DER)
        return cls(
            der=der,
            fingerprint=hashlib.sha256(der).digest(),
            subject_x=point.x.to_bytes(32, "big"),
            subject_y=point.y.to_bytes(32, "big"),
            account=address(accounts[0], "certificate.account") if accounts else "",
            roles=role_names(roles_mask(roles)),
            common_name=names[0].value,
            hosts=hosts,
            not_before=int(certificate.not_valid_before_utc.timestamp()),
            not_after=int(certificate.not_valid_after_utc.timestamp()),
            is_authority=authority,
        )

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.x509.public_bytes(serialization.Encoding.PEM)

    @property
    def x509(self) -> x509.Certificate:
        """The certificate as ``cryptography`` holds it."""
        return x509.load_der_x509_certificate(self.der)

    @property
    def roles_mask(self) -> int:
        """The roles as a mask."""
        return roles_mask(self.roles)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _alternative_names(certificate: x509.Certificate) -> tuple[list[str], list[str], tuple[str, ...]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], [], ()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    accounts = [uri.removeprefix(ACCOUNT_URN) for uri in uris if uri.startswith(ACCOUNT_URN)]
    roles = [uri.removeprefix(ROLE_URN) for uri in uris if uri.startswith(ROLE_URN)]
    addresses = [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    return accounts, roles, (*names.get_values_for_type(x509.DNSName), *addresses)


def verify_chain(certificate: Certificate, authority: Certificate, at: int, *, rule: int = 5) -> None:
    """Raise :class:`VerificationFailed` under ``rule`` unless ``authority`` issued ``certificate`` and both are valid
    at ``at``.

    Checked: the authority is a CA that signed itself and may sign certificates; issuer and subject names match; the
    signature is ECDSA with SHA-256 by the authority's key; the certificate is no CA; ``at`` (seconds) is inside both
    validities.
    """
    given, issuer = certificate.x509, authority.x509
    party = certificate.account or None

    def require(holds: object, message: str) -> None:
        if not holds:
            raise VerificationFailed(message, rule=rule, party=party, remedy="enrol again with a valid certificate")

    require(authority.is_authority, "the authority's certificate is not a CA's")
    require(not certificate.is_authority, "a CA's certificate cannot be a participant's")
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        require(usage.key_cert_sign, "the authority's key may not sign certificates")
        issuer.verify_directly_issued_by(issuer)
        given.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        require(False, "the certificate was not signed by this authority")
    require(isinstance(given.signature_hash_algorithm, hashes.SHA256), "the signature is not over SHA-256")
    for each, whose in ((certificate, "certificate"), (authority, "authority's certificate")):
        require(each.not_before <= at <= each.not_after, f"the {whose} was not valid at {at}")


def issue_authority(name: str, key: ec.EllipticCurvePrivateKey, validity: tuple[int, int]) -> Certificate:
    """A self-signed authority. ``validity`` is (not before, not after) in seconds since 1970."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key.public_key(), validity)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signing_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Certificate.parse(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


def issue_certificate(
    authority: Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    subject_public_key: ec.EllipticCurvePublicKey,
    account: str,
    name: str,
    hosts: Sequence[str],
    roles: Iterable[str],
    validity: tuple[int, int],
) -> Certificate:
    """A participant's certificate, for TLS as client and server under ``hosts`` (DNS names or IP addresses).

    ``validity`` as in :func:`issue_authority`. Raises :class:`MalformedDocument` for a bad account, role or key.
    """
    uris = [ACCOUNT_URN + address(account), *(ROLE_URN + role for role in role_names(roles_mask(roles)))]
    alternative: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    alternative += [_host(host) for host in hosts]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, authority.x509.subject, subject_public_key, validity)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signing_certificates=False), critical=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_public_key), critical=False)
    return Certificate.parse(builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


def sign_p256(key: ec.EllipticCurvePrivateKey, digest: bytes) -> tuple[bytes, bytes]:
    """ECDSA over a 32-byte digest, as (r, s) of 32 bytes each with s in the lower half of the order, as contracts
    demand.
    """
    r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
    s = min(s, P256_ORDER - s)
    return r.to_bytes(32, "big"), s.to_bytes(32, "big")


def _builder(subject: x509.Name, issuer: x509.Name, key: Any, validity: tuple[int, int]) -> x509.CertificateBuilder:
    begin, end = (dt.datetime.fromtimestamp(seconds, dt.UTC) for seconds in validity)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)


def _usage(*, signing_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signing_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signing_certificates,
        crl_sign=signing_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
