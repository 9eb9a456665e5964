"""Verification of AWS Nitro Enclaves attestation documents: from the pinned root to the measurements, without policy.

Source: AWS, "Verifying the root of trust" (aws-nitro-enclaves-nsm-api, docs/attestation_process.md). A document is signed by a
certificate that lives for hours; the chain is verified at the document's own time, and its age is for the policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from tallystick.attestation.cbor import decode
from tallystick.attestation.certificates import (
    check_authority,
    check_issued,
    check_leaf,
    check_valid,
    common_name,
    elliptic_key,
    expiry,
    fingerprint,
    load_certificate,
)
from tallystick.attestation.cose import ES384, read_sign1
from tallystick.attestation.identity import NITRO, identity
from tallystick.attestation.reading import MAX_EVIDENCE, bounded
from tallystick.attestation.roots import AWS_NITRO_ROOT, Authority, authority
from tallystick.attestation.rules import EvidenceRefused, Rule, require

_FIELDS = {"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle", "public_key", "user_data", "nonce"}
_MAX_CHAIN = 8
_PCRS = 32
_PCR_SIZE = 48


@dataclass(frozen=True)
class NitroEndorsements:
    """A Nitro document brings its certificates along; nothing else endorses it. AWS publishes no revocation lists for it."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of nothing, under its domain."""
        return hashlib.sha256(b"tallystick/attestation/nitro-endorsements/v1").digest()


@dataclass(frozen=True)
class NitroFacts:
    """What a verified document says. ``timestamp`` is in seconds; ``pcrs`` are the platform's registers by number."""

    authority: Authority
    module: str
    timestamp: int
    pcrs: Mapping[int, bytes]
    user_data: bytes
    nonce: bytes
    public_key: bytes
    signed: bytes
    expires: int

    @property
    def identity(self) -> bytes:
        """What runs, as one digest: PCR 0 to 2."""
        return identity(NITRO, *(self.pcrs.get(index, bytes(_PCR_SIZE)) for index in range(3)))

    @property
    def platform(self) -> bytes:
        """A digest of the module's id: AWS names the instance and its enclave, not the machine."""
        return hashlib.sha256(b"tallystick/attestation/platform/v1" + self.module.encode()).digest()

    @property
    def report_data(self) -> bytes:
        """The user data of the enclave: up to 512 bytes, empty if it gave none."""
        return self.user_data

    @property
    def debug(self) -> bool:
        """Whether any of PCR 0 to 2 is zero: then the enclave ran in debug mode and nothing was measured."""
        return any(not any(self.pcrs.get(index, b"")) for index in range(3))


def verify_nitro(evidence: bytes, simulations: frozenset[bytes] = frozenset()) -> NitroFacts:
    """Apply rules 101 to 108 and 401 to 406.

    Arguments and errors are those of :func:`~tallystick.attestation.dcap.verify_dcap`; the time is the document's own.
    """
    bounded(evidence, MAX_EVIDENCE, "an attestation document")
    message = read_sign1(evidence, Rule.NITRO_COSE)
    require(message.algorithm == ES384, Rule.NITRO_COSE, "the signature is not ES384")
    document = _read_document(decode(message.payload))
    timestamp = document["timestamp"] // 1000
    leaf = load_certificate(document["certificate"])
    authorities = tuple(load_certificate(item) for item in document["cabundle"])
    root = authorities[0]
    chain = (*authorities, leaf)
    check_issued(root, root, Rule.NITRO_CHAIN)
    for place, (issuer, child) in enumerate(pairwise(chain)):
        check_authority(issuer, len(authorities) - 1 - place, Rule.NITRO_CHAIN)
        check_issued(child, issuer, Rule.NITRO_CHAIN)
    check_leaf(leaf, Rule.NITRO_CHAIN)
    who = authority(fingerprint(root), common_name(root.subject), frozenset({AWS_NITRO_ROOT}), simulations, Rule.NITRO_ROOT)
    check_valid(chain, timestamp, Rule.NITRO_VALIDITY)
    message.verify(elliptic_key(leaf, "secp384r1"), Rule.NITRO_SIGNATURE)
    return NitroFacts(
        authority=who,
        module=document["module_id"],
        timestamp=timestamp,
        pcrs=MappingProxyType(document["pcrs"]),
        user_data=document["user_data"] or b"",
        nonce=document["nonce"] or b"",
        public_key=document["public_key"] or b"",
        signed=message.signed,
        expires=expiry(chain),
    )


def _read_document(value: object) -> dict[str, Any]:
    """Check types and ranges of every field, as AWS specifies them."""
    rule = Rule.NITRO_DOCUMENT
    if not isinstance(value, dict) or set(value) != _FIELDS:
        raise EvidenceRefused(rule, "the payload has not exactly the fields of an attestation document")

    def sized(item: object, kind: type, least: int, most: int) -> bool:
        return isinstance(item, kind) and least <= len(item) <= most  # type: ignore[arg-type]

    require(sized(value["module_id"], str, 1, 128), rule, "module_id is not a short text")
    require(value["digest"] == "SHA384", rule, "the digest is not SHA384")
    require(type(value["timestamp"]) is int and 0 < value["timestamp"] < 1 << 48, rule, "the timestamp is out of range")
    pcrs, bundle = value["pcrs"], value["cabundle"]
    require(
        sized(pcrs, dict, 1, _PCRS)
        and all(type(index) is int and 0 <= index < _PCRS for index in pcrs)
        and all(sized(item, bytes, _PCR_SIZE, _PCR_SIZE) for item in pcrs.values()),
        rule,
        "the registers are not up to 32 of 48 bytes",
    )
    require(sized(value["certificate"], bytes, 1, 1024), rule, "the certificate is out of range")
    require(
        sized(bundle, list, 1, _MAX_CHAIN) and all(sized(item, bytes, 1, 1024) for item in bundle),
        rule,
        "the bundle is not a short list of certificates",
    )
    for name, least, most in (("public_key", 1, 1024), ("user_data", 0, 512), ("nonce", 0, 512)):
        require(value[name] is None or sized(value[name], bytes, least, most), rule, f"{name} is out of range")
    return value
