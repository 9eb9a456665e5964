"""Verifiers that appraise the evidence of an Arm platform whose key their policy names as hardware, and vouch for its runs."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from coincurve import PrivateKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from tallystick.attestation.cca import verify_cca
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.verifier import Evidence
from tallystick.protocol import canonical
from tallystick.protocol.fields import order
from tallystick.protocol.proof.attested import EnclaveTerms
from tallystick.protocol.proof.quorum import PREFIX, QuorumRun, QuorumTerms, write_vouchings
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.proof.vouching import RunClaim, Vouching, vouch
from unit.attestation.test_cca import Platform

ALGORITHM, OUTPUT = hashlib.sha256(b"select 1").digest(), hashlib.sha256(b"salted output").digest()
KEY = hashlib.sha256(b"key").digest()
AT = 1_800_000_060
KEYS = {
    to_checksum_address(keccak(key.public_key.format(compressed=False)[1:])[12:]): key
    for key in (PrivateKey.from_int(number) for number in (501, 502, 503))
}
VERIFIERS = tuple(sorted(KEYS, key=order))


@cache
def platform() -> Platform:
    return Platform()


def policy(**changes: Any) -> AppraisalPolicy:
    return AppraisalPolicy("quorum", **{"cca_platforms": frozenset({platform().fingerprint}), **changes})


def evidence(report_data: bytes, implementation: bytes = b"\x11" * 32, instance: bytes = b"\x01" + bytes(32)) -> Evidence:
    claims = {"IMPLEMENTATION": implementation, "INSTANCE": instance}
    raw = platform().token(realm={"CHALLENGE": report_data}, platform=claims)
    return Evidence(raw, platform().endorsements)


@cache
def identity() -> bytes:
    given = evidence(bytes(64))
    return verify_cca(given.raw, platform().endorsements, policy().cca_platforms).identity


def terms() -> QuorumTerms:
    return QuorumTerms(VERIFIERS, 2, policy().digest)


def parameters() -> dict[str, Any]:
    """What a task's spec says of the enclave and of who vouches for it."""
    return {"enclave": EnclaveTerms(ALGORITHM, (identity(),)).to_json(), "quorum": terms().to_json()}


def claim(subject: Subject) -> RunClaim:
    commitments = tuple(canonical.untext(text) for text in subject.commitments if text)
    attempt = (subject.chain_id, subject.registry, subject.task, subject.attempt)
    return RunClaim(*attempt, ALGORITHM, commitments, OUTPUT, KEY)


def sign(verifier: str, digest: bytes) -> bytes:
    signature = KEYS[verifier].sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([27 + signature[64]])


def vouching(about: RunClaim, verifier: str, given: Evidence | None = None) -> Vouching:
    shown = given or evidence(about.report_data)
    return vouch(about, shown, [identity()], policy(), verifier, lambda digest: sign(verifier, digest), AT)


def said(subject: Subject, count: int = 2) -> str:
    """What each party adds to the proof: the run, and ``count`` vouchings for one piece of evidence."""
    about = claim(subject)
    given = evidence(about.report_data)
    found = [vouching(about, verifier, given) for verifier in VERIFIERS[:count]]
    run = QuorumRun.of(ALGORITHM, OUTPUT, found[0], terms())
    return f"{PREFIX}{(run.to_bytes() + write_vouchings(run, found)).hex()}"
