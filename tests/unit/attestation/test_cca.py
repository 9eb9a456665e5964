"""Arm CCA tokens of a platform and realm of our own, in genuine format: each rule, and the policy."""

from __future__ import annotations

import functools
import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicNumbers,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tallystick.attestation import cca
from tallystick.attestation.cbor import Tagged, encode
from tallystick.attestation.cca import CcaEndorsements, verify_cca
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.references import CcaRealm, ReferenceValues
from tallystick.attestation.result import Tier
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.verifier import Evidence, appraise
from unit.attestation import vectors
from unit.attestation.test_dcap import DATA, NOW

MARK = b"SIMULATION ONLY".ljust(32, b"\0")
COMPONENT = {1: "RMM", 2: b"\x01" * 32, 4: "1.0", 5: b"\x02" * 32}
COMPONENTS = frozenset({(b"\x02" * 32, b"\x01" * 32)})


def spki(key: EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signed(key: EllipticCurvePrivateKey, claims: Any) -> bytes:
    small = key.curve.name == "secp256r1"
    protected, payload = encode({1: -7 if small else -35}), encode(claims)
    message = encode(["Signature1", protected, b"", payload])
    halves = decode_dss_signature(key.sign(message, ECDSA(SHA256() if small else SHA384())))
    signature = b"".join(half.to_bytes(32 if small else 48, "big") for half in halves)
    return encode(Tagged(18, [protected, {}, payload, signature]))


class Platform:
    """A platform key and a realm key, and the tokens that they sign."""

    def __init__(self) -> None:
        self.key, self.realm_key = generate_private_key(SECP256R1()), generate_private_key(SECP384R1())
        self.endorsements = CcaEndorsements(spki(self.key))
        self.fingerprint = hashlib.sha256(spki(self.key)).digest()

    def cose_key(self, key: EllipticCurvePrivateKey | None = None) -> bytes:
        numbers = (key or self.realm_key).public_key().public_numbers()
        return encode({1: 2, -1: 2, -2: numbers.x.to_bytes(48, "big"), -3: numbers.y.to_bytes(48, "big")})

    def raw_key(self) -> bytes:
        return self.realm_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def realm(self, **changes: Any) -> dict[int, Any]:
        claims = {
            cca.PROFILE: cca.REALM_PROFILE,
            cca.CHALLENGE: DATA,
            cca.PERSONALISATION: bytes(64),
            cca.INITIAL: b"\x03" * 48,
            cca.EXTENSIBLE: [bytes(48)] * 4,
            cca.REALM_HASH: "sha-384",
            cca.REALM_KEY: self.cose_key(),
            cca.REALM_KEY_HASH: "sha-256",
        }
        return edited(claims, changes)

    def platform(self, realm: dict[int, Any], **changes: Any) -> dict[int, Any]:
        digest = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}.get(realm.get(cca.REALM_KEY_HASH, ""), hashlib.sha256)
        claims = {
            cca.PROFILE: "tag:arm.com,2023:cca_platform#1.0.0",
            cca.CHALLENGE: digest(realm.get(cca.REALM_KEY, b"")).digest(),
            cca.IMPLEMENTATION: MARK,
            cca.INSTANCE: b"\x01" + bytes(32),
            cca.CONFIGURATION: b"\x07",
            cca.LIFECYCLE: 0x3000,
            cca.COMPONENTS: [COMPONENT],
            cca.PLATFORM_HASH: "sha-256",
        }
        return edited(claims, changes)

    def token(
        self,
        realm: dict[str, Any] | None = None,
        platform: dict[str, Any] | None = None,
        realm_key: EllipticCurvePrivateKey | None = None,
        key: EllipticCurvePrivateKey | None = None,
    ) -> bytes:
        guest = self.realm(**(realm or {}))
        host = self.platform(guest, **(platform or {}))
        parts = {cca.PLATFORM: signed(key or self.key, host), cca.REALM: signed(realm_key or self.realm_key, guest)}
        return encode(Tagged(cca.TOKEN_TAG, parts))


def edited(claims: dict[int, Any], changes: dict[str, Any]) -> dict[int, Any]:
    """``claims`` with those of the given names replaced, or left out for ``...``."""
    claims = claims | {getattr(cca, name): value for name, value in changes.items()}
    return {name: value for name, value in claims.items() if value is not ...}


@functools.cache
def arm() -> Platform:
    return Platform()


OTHER = functools.cache(Platform)


def refused(
    rule: Rule, token: bytes, endorsements: CcaEndorsements | None = None, simulations: frozenset[bytes] | None = None
) -> None:
    known = frozenset({arm().fingerprint}) if simulations is None else simulations
    with pytest.raises(EvidenceRefused) as caught:
        verify_cca(token, endorsements or arm().endorsements, frozenset(), known)
    assert caught.value.rule is rule, str(caught.value)


def test_a_token_verifies_with_either_form_of_key_and_any_digest() -> None:
    simulations = frozenset({arm().fingerprint})
    for realm in (
        {},
        {"REALM_KEY_HASH": "sha-512"},
        {"PROFILE": ..., "REALM_KEY": arm().raw_key()},
    ):
        facts = verify_cca(arm().token(realm), arm().endorsements, frozenset(), simulations)
        assert (facts.report_data, facts.initial, facts.components) == (DATA, b"\x03" * 48, COMPONENTS)
        assert not facts.authority.hardware


def test_only_the_policy_makes_a_key_hardware_and_a_simulation_never_is() -> None:
    key = frozenset({arm().fingerprint})
    maker = arm().token(platform={"IMPLEMENTATION": b"\x01" * 32})
    assert verify_cca(maker, arm().endorsements, key).authority.hardware
    with pytest.raises(EvidenceRefused) as caught:
        verify_cca(arm().token(), arm().endorsements, key)
    assert caught.value.rule is Rule.AUTHORITY
    assert not verify_cca(arm().token(), arm().endorsements, key, key).authority.hardware
    refused(Rule.CCA_PLATFORM_KEY, arm().token(), simulations=frozenset())
    refused(Rule.AUTHORITY, arm().token(platform={"IMPLEMENTATION": bytes(32)}))


Make = Callable[[], bytes]


def realm(**changes: Any) -> Make:
    return lambda: arm().token(realm=changes)


def host(**changes: Any) -> Make:
    return lambda: arm().token(platform=changes)


CASES: list[tuple[Rule, Make]] = [
    (Rule.SIZE, lambda: bytes(70_000)),
    (Rule.CBOR, lambda: arm().token() + b"\0"),
    (Rule.CCA_TOKEN, lambda: arm().token()[3:]),
    (Rule.CCA_TOKEN, lambda: encode(Tagged(cca.TOKEN_TAG, {cca.PLATFORM: signed(arm().key, {})}))),
    (Rule.CCA_TOKEN, lambda: encode(Tagged(cca.TOKEN_TAG, {cca.PLATFORM: b"\x80", cca.REALM: b"\x80"}))),
    (Rule.CCA_TOKEN, lambda: encode(Tagged(cca.TOKEN_TAG, {cca.PLATFORM: 1, cca.REALM: 2}))),
    (Rule.CCA_PLATFORM_SIGNATURE, lambda: arm().token(key=OTHER().key)),
    (Rule.KEY, lambda: arm().token(key=arm().realm_key)),
    (Rule.CCA_PLATFORM_CLAIMS, host(PROFILE="other")),
    (Rule.CCA_PLATFORM_CLAIMS, host(CHALLENGE=bytes(31))),
    (Rule.CCA_PLATFORM_CLAIMS, host(IMPLEMENTATION=MARK[:31])),
    (Rule.CCA_PLATFORM_CLAIMS, host(INSTANCE=bytes(33))),
    (Rule.CCA_PLATFORM_CLAIMS, host(CONFIGURATION=...)),
    (Rule.CCA_PLATFORM_CLAIMS, host(LIFECYCLE=True)),
    (Rule.CCA_PLATFORM_CLAIMS, host(PLATFORM_HASH="md5")),
    (Rule.CCA_PLATFORM_CLAIMS, host(PLATFORM_HASH=[])),
    (Rule.CCA_PLATFORM_CLAIMS, host(COMPONENTS=[])),
    (Rule.CCA_PLATFORM_CLAIMS, host(COMPONENTS=[{2: bytes(32)}])),
    (Rule.CCA_BINDING, host(CHALLENGE=bytes(32))),
    (Rule.CCA_REALM_SIGNATURE, lambda: arm().token(realm_key=OTHER().realm_key)),
    (Rule.CCA_REALM_CLAIMS, realm(PROFILE="other")),
    (Rule.CCA_REALM_CLAIMS, realm(PROFILE=[])),
    (Rule.CCA_REALM_CLAIMS, realm(CHALLENGE=bytes(32))),
    (Rule.CCA_REALM_CLAIMS, realm(PERSONALISATION=...)),
    (Rule.CCA_REALM_CLAIMS, realm(INITIAL=b"")),
    (Rule.CCA_REALM_CLAIMS, realm(INITIAL=bytes(33), EXTENSIBLE=[bytes(33)] * 4)),
    (Rule.CCA_REALM_CLAIMS, realm(EXTENSIBLE=[bytes(48)] * 3)),
    (Rule.CCA_REALM_CLAIMS, realm(EXTENSIBLE=[bytes(32)] * 4)),
    (Rule.CCA_REALM_CLAIMS, realm(REALM_HASH="md5")),
    (Rule.CCA_REALM_CLAIMS, realm(REALM_KEY=bytes(257))),
    (Rule.CCA_REALM_CLAIMS, realm(REALM_KEY=encode({1: 2}))),
    (Rule.CCA_REALM_CLAIMS, realm(PROFILE=...)),
    (Rule.KEY, lambda: arm().token({"PROFILE": ..., "REALM_KEY": b"\x04" + bytes(96)})),
    (Rule.CCA_LIFECYCLE, host(LIFECYCLE=0x2FFF)),
    (Rule.CCA_LIFECYCLE, host(LIFECYCLE=0x4000)),
]


@pytest.mark.parametrize(("rule", "make"), CASES, ids=[f"{case[0].code}-{n}" for n, case in enumerate(CASES)])
def test_one_thing_changed_is_refused_by_its_rule(rule: Rule, make: Make) -> None:
    refused(rule, make())


def test_every_rule_of_arms_is_tested() -> None:
    assert {rule for rule in Rule if rule.code.startswith("cca.")} <= {rule for rule, _ in CASES} | {Rule.CCA_PLATFORM_KEY}


def test_platform_keys_of_other_kinds_are_refused() -> None:
    for key in (b"\x30\x00", spki(Ed25519PrivateKey.generate())):
        refused(Rule.KEY, arm().token(), CcaEndorsements(key))
    refused(Rule.SIZE, arm().token(), CcaEndorsements(bytes(1025)))


REFERENCE = CcaRealm(b"\x03" * 48, MARK, COMPONENTS, configuration=b"\x07")


def result(reference: CcaRealm = REFERENCE, data: bytes = DATA) -> Any:
    policy = AppraisalPolicy("cca", simulations=frozenset({arm().fingerprint}))
    return appraise(Evidence(arm().token(), arm().endorsements), ReferenceValues((reference,)), policy, data, NOW)


def test_a_realm_is_appraised_as_a_simulation() -> None:
    found = result()
    assert (found.kind, found.status, found.strength) == ("cca", Tier.CONTRAINDICATED, "attested, simulated")


@pytest.mark.parametrize(
    "changes",
    [
        {"initial": bytes(48)},
        {"implementation": bytes(32)},
        {"components": frozenset()},
        {"extensible": (b"\x01" * 48,) * 4},
        {"personalisation": b"\x01" * 64},
        {"configuration": b""},
    ],
)
def test_everything_measured_counts(changes: dict[str, Any]) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        result(replace(REFERENCE, **changes))
    assert caught.value.rule is Rule.MEASUREMENT
    with pytest.raises(EvidenceRefused) as caught:
        result(data=bytes(64))
    assert caught.value.rule is Rule.REPORT_DATA


@vectors.needs_vectors
@pytest.mark.parametrize(
    ("token", "key"),
    [
        ("veraison/cca-evidence.cbor", "veraison/ec.p256.jwk"),
        ("veraison/cca-good.cbor", "veraison/ec.p256.jwk"),
        ("trustee/cca/misc/cca-example-token.cbor", "trustee/cca/misc/cpak-pub.json"),
    ],
)
def test_tokens_of_others_verify_with_their_test_keys(token: str, key: str) -> None:
    jwk = json.loads(vectors.read(key))
    x, y = (int.from_bytes(urlsafe_b64decode(jwk[name] + "=="), "big") for name in ("x", "y"))
    curve = SECP256R1() if jwk["crv"] == "P-256" else SECP384R1()
    public = EllipticCurvePublicNumbers(x, y, curve).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    named, raw = frozenset({hashlib.sha256(public).digest()}), vectors.read(token)
    facts = verify_cca(raw, CcaEndorsements(public), named)
    reference = CcaRealm(
        facts.initial, facts.implementation, facts.components, facts.extensible, facts.personalisation, facts.configuration
    )
    policy = AppraisalPolicy("cca", cca_platforms=named)
    found = appraise(Evidence(raw, CcaEndorsements(public)), ReferenceValues((reference,)), policy, facts.report_data, NOW)
    assert found.status is Tier.AFFIRMING
    with pytest.raises(EvidenceRefused) as caught:
        verify_cca(raw, CcaEndorsements(public), frozenset())
    assert caught.value.rule is Rule.CCA_PLATFORM_KEY
