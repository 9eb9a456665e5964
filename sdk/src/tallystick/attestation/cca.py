"""Verification of Arm CCA attestation tokens: platform and realm token, each signed, the one bound to the other's key.

Sources: Arm, Realm Management Monitor Specification (DEN0137), chapter on attestation; draft-ffm-rats-cca-token. There is no vendor
root: the maker of each platform endorses its platform key (CPAK), so the policy names the keys that it takes for hardware.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from tallystick.attestation.cbor import Tagged, decode
from tallystick.attestation.cose import Sign1, point, read_key, read_sign1
from tallystick.attestation.identity import CCA, identity, sized
from tallystick.attestation.reading import MAX_EVIDENCE, bounded
from tallystick.attestation.roots import SIMULATION_MARK, Authority, authority
from tallystick.attestation.rules import EvidenceRefused, Rule, refusing, require

TOKEN_TAG = 399
PLATFORM, REALM = 44234, 44241
PLATFORM_PROFILES = frozenset({"http://arm.com/CCA-SSD/1.0.0", "tag:arm.com,2023:cca_platform#1.0.0"})
REALM_PROFILE = "tag:arm.com,2023:realm#1.0.0"

CHALLENGE, PROFILE, INSTANCE = 10, 265, 256
LIFECYCLE, IMPLEMENTATION, COMPONENTS, SERVICE, CONFIGURATION, PLATFORM_HASH = 2395, 2396, 2399, 2400, 2401, 2402
PERSONALISATION, REALM_HASH, REALM_KEY, INITIAL, EXTENSIBLE, REALM_KEY_HASH = 44235, 44236, 44237, 44238, 44239, 44240

_DIGESTS: dict[str, Callable[[bytes], Any]] = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}
_SIZES = (32, 48, 64)
_SECURED = range(0x3000, 0x3100)
_MAX_COMPONENTS = 32


@dataclass(frozen=True)
class CcaEndorsements:
    """The platform's public key (CPAK) as SubjectPublicKeyInfo, DER, from its maker or from the verifier's own records."""

    platform_key: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the key, under its domain."""
        return hashlib.sha256(b"tallystick/attestation/cca-endorsements/v1" + self.platform_key).digest()


@dataclass(frozen=True)
class CcaFacts:
    """What a verified token says. ``components`` are (signer id, measurement) of the platform's firmware."""

    authority: Authority
    implementation: bytes
    instance: bytes
    lifecycle: int
    configuration: bytes
    components: frozenset[tuple[bytes, bytes]]
    personalisation: bytes
    initial: bytes
    extensible: tuple[bytes, ...]
    report_data: bytes
    signed: bytes

    @property
    def identity(self) -> bytes:
        """What runs, as one digest: the realm's registers and personalisation, the platform's implementation, configuration and
        firmware."""
        registers = [sized(each) for each in (self.initial, *self.extensible)]
        firmware = [sized(signer) + sized(measured) for signer, measured in sorted(self.components)]
        platform = self.implementation + sized(self.configuration)
        return identity(CCA, *registers, self.personalisation, platform, *firmware)

    @property
    def platform(self) -> bytes:
        """A digest of the instance id: one machine, one value."""
        return hashlib.sha256(b"tallystick/attestation/platform/v1" + self.instance).digest()


def verify_cca(
    evidence: bytes, endorsements: CcaEndorsements, platforms: frozenset[bytes], simulations: frozenset[bytes] = frozenset()
) -> CcaFacts:
    """Apply rules 101 to 108 and 601 to 608.

    ``platforms`` are fingerprints (SHA-256 of the SubjectPublicKeyInfo) of platform keys that count as hardware; a key that is also
    in ``simulations`` counts as simulated. A simulation's implementation id must carry the mark, and what
    carries it never counts as hardware.
    """
    bounded(evidence, MAX_EVIDENCE, "a token")
    token = decode(evidence)
    parts = token.value if isinstance(token, Tagged) and token.tag == TOKEN_TAG else None
    if (
        not isinstance(parts, dict)
        or set(parts) != {PLATFORM, REALM}
        or not all(isinstance(part, bytes) for part in parts.values())
    ):
        raise EvidenceRefused(Rule.CCA_TOKEN, "the token is not a collection of one platform and one realm token")
    platform, realm = (read_sign1(parts[name], Rule.CCA_TOKEN) for name in (PLATFORM, REALM))
    claims = _claims(platform, Rule.CCA_PLATFORM_CLAIMS)
    key, fingerprint = _platform_key(endorsements)
    mark = str(claims.get(IMPLEMENTATION, b"")[:32].rstrip(b"\0"), "ascii", "replace") if _is_bytes(claims, IMPLEMENTATION) else ""
    if fingerprint in platforms - simulations:
        require(SIMULATION_MARK not in mark, Rule.AUTHORITY, "a platform that says it is a simulation is no hardware")
        who = Authority("Arm CCA platform key named by the policy", fingerprint, hardware=True)
    else:
        who = authority(fingerprint, mark, frozenset(), simulations, Rule.CCA_PLATFORM_KEY)
    platform.verify(key, Rule.CCA_PLATFORM_SIGNATURE)
    _check_platform(claims)
    guest = _claims(realm, Rule.CCA_REALM_CLAIMS)
    _check_realm(guest)
    digest = _DIGESTS[guest[REALM_KEY_HASH]](guest[REALM_KEY]).digest()
    require(claims[CHALLENGE] == digest, Rule.CCA_BINDING, "the platform's challenge is not the digest of the realm's key")
    realm.verify(_realm_key(guest), Rule.CCA_REALM_SIGNATURE)
    require(claims[LIFECYCLE] in _SECURED, Rule.CCA_LIFECYCLE, "the platform's life cycle is not secured")
    return CcaFacts(
        authority=who,
        implementation=claims[IMPLEMENTATION],
        instance=claims[INSTANCE],
        lifecycle=claims[LIFECYCLE],
        configuration=claims[CONFIGURATION],
        components=frozenset((item[5], item[2]) for item in claims[COMPONENTS]),
        personalisation=guest[PERSONALISATION],
        initial=guest[INITIAL],
        extensible=tuple(guest[EXTENSIBLE]),
        report_data=guest[CHALLENGE],
        signed=platform.signed + realm.signed,
    )


def _claims(message: Sign1, rule: Rule) -> dict[Any, Any]:
    value = decode(message.payload)
    if not isinstance(value, dict):
        raise EvidenceRefused(rule, "a token's payload is not a map of claims")
    return value


def _platform_key(endorsements: CcaEndorsements) -> tuple[EllipticCurvePublicKey, bytes]:
    bounded(endorsements.platform_key, 1024, "a platform key")
    with refusing(Rule.KEY, "the platform key is not a SubjectPublicKeyInfo"):
        key = load_der_public_key(endorsements.platform_key)
        encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if not isinstance(key, EllipticCurvePublicKey):
        raise EvidenceRefused(Rule.KEY, "the platform key is not of an elliptic curve")
    return key, hashlib.sha256(encoded).digest()


def _is_bytes(claims: dict[Any, Any], name: int, sizes: tuple[int, ...] | None = None) -> bool:
    value = claims.get(name)
    return isinstance(value, bytes) and (sizes is None or len(value) in sizes)


def _check_platform(claims: dict[Any, Any]) -> None:
    rule = Rule.CCA_PLATFORM_CLAIMS
    profile = claims.get(PROFILE)
    require(isinstance(profile, str) and profile in PLATFORM_PROFILES, rule, "the platform's profile is unknown")
    require(_is_bytes(claims, CHALLENGE, _SIZES), rule, "the platform's challenge is not a digest")
    require(_is_bytes(claims, IMPLEMENTATION, (32,)), rule, "the implementation id is not 32 bytes")
    require(_is_bytes(claims, INSTANCE, (33,)) and claims[INSTANCE][0] == 1, rule, "the instance id is not 33 bytes of type 1")
    require(_is_bytes(claims, CONFIGURATION) and len(claims[CONFIGURATION]) <= 256, rule, "the configuration is not short bytes")
    require(type(claims.get(LIFECYCLE)) is int and 0 <= claims[LIFECYCLE] < 1 << 16, rule, "the life cycle is out of range")
    require(_is_digest_name(claims, PLATFORM_HASH), rule, "the platform's hash algorithm is unknown")
    components = claims.get(COMPONENTS)
    require(
        isinstance(components, list)
        and 0 < len(components) <= _MAX_COMPONENTS
        and all(isinstance(item, dict) and _is_bytes(item, 2, _SIZES) and _is_bytes(item, 5, _SIZES) for item in components),
        rule,
        "the software components are not a list with measurements and signer ids",
    )


def _check_realm(claims: dict[Any, Any]) -> None:
    rule = Rule.CCA_REALM_CLAIMS
    require(claims.get(PROFILE) in (None, REALM_PROFILE), rule, "the realm's profile is unknown")
    require(_is_bytes(claims, CHALLENGE, (64,)), rule, "the realm's challenge is not 64 bytes")
    require(_is_bytes(claims, PERSONALISATION, (64,)), rule, "the personalisation value is not 64 bytes")
    require(_is_bytes(claims, INITIAL, _SIZES), rule, "the initial measurement is not a digest")
    extensible = claims.get(EXTENSIBLE)
    require(
        isinstance(extensible, list)
        and len(extensible) == 4
        and all(isinstance(item, bytes) and len(item) == len(claims[INITIAL]) for item in extensible),
        rule,
        "the extensible measurements are not four digests",
    )
    require(_is_digest_name(claims, REALM_HASH) and _is_digest_name(claims, REALM_KEY_HASH), rule, "a hash algorithm is unknown")
    require(_is_bytes(claims, REALM_KEY) and len(claims[REALM_KEY]) <= 256, rule, "the realm's key is not short bytes")


def _is_digest_name(claims: dict[Any, Any], name: int) -> bool:
    value = claims.get(name)
    return isinstance(value, str) and value in _DIGESTS


def _realm_key(claims: dict[Any, Any]) -> EllipticCurvePublicKey:
    """The realm's key: an encoded COSE_Key since the realm profile has a name, before that a raw P-384 point."""
    raw = claims[REALM_KEY]
    if PROFILE in claims:
        return read_key(decode(raw), Rule.CCA_REALM_CLAIMS)
    require(len(raw) == 97 and raw[0] == 4, Rule.CCA_REALM_CLAIMS, "the realm's key is not an uncompressed P-384 point")
    return point(SECP384R1(), raw)
