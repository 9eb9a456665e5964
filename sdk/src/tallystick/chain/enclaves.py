"""Enclaves and platforms on chain: registering a platform by its certificate, and which of both count now."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tallystick.attestation.certificates import elliptic_key, load_chain
from tallystick.attestation.quote import read_quote
from tallystick.attestation.standing import Standing
from tallystick.chain.connection import Chain, Receipt
from tallystick.chain.contract import Event
from tallystick.protocol.errors import NotFound
from tallystick.protocol.task import ATTESTED_HARDWARE, ATTESTED_SIMULATED

VERIFIERS = {ATTESTED_HARDWARE: "HardwareVerifier", ATTESTED_SIMULATED: "SimulationVerifier"}
"""The contract behind each kind of proof by an enclave."""
_PEM = b"-----BEGIN"


def read_pck_chain(data: bytes) -> tuple[x509.Certificate, ...]:
    """Certificates of a platform, its issuer and the root: from their PEM, or from a quote that brings them.

    Raises :class:`~tallystick.attestation.rules.EvidenceRefused`; verifies nothing.
    """
    return load_chain(data if data.startswith(_PEM) else read_quote(data).pck_chain, 3)


def key_words(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    """The two coordinates of a certificate's P-256 key."""
    point = elliptic_key(certificate, "secp256r1").public_numbers()
    return point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")


def register_platform(chain: Chain, data: bytes) -> tuple[str, Receipt]:
    """Register a platform by its PCK chain or a quote; the kind of proof that it serves, and the receipt.

    The issuer decides the kind: Intel's authorities are hardware, those that the governor named are simulations. The certificate
    becomes public, and with it the platform's PPID. Raises NotFound for an issuer that counts for neither, EvidenceRefused for
    bytes that are no chain, and ContractRefused.
    """
    leaf, issuer, _ = read_pck_chain(data)
    key = key_words(issuer)
    r, s = decode_dss_signature(leaf.signature)
    signature = r.to_bytes(32, "big"), s.to_bytes(32, "big")
    for kind, verifier in ((ATTESTED_HARDWARE, chain.hardware), (ATTESTED_SIMULATED, chain.simulation)):
        if verifier.is_issuer(*key):
            return kind, verifier.register_platform(leaf.tbs_certificate_bytes, signature, *key)
    raise NotFound(
        "nobody on this chain knows who certified the platform",
        party=f"0x{key[0].hex()}",
        remedy="for a simulation the governor names its authority first (`tally platform name`)",
    )


def standing(chain: Chain, kind: str) -> Standing:
    """Which enclaves and platforms count for ``kind`` at the chain's head."""
    return standing_of(chain.events(0, chain.head()), kind)


def standing_of(events: Iterable[Event], kind: str) -> Standing:
    """As :func:`standing`, from the chain's events in their order."""
    contract, enclaves, platforms, revoked = VERIFIERS[kind], set[bytes](), dict[bytes, tuple[bytes, int, int]](), set[bytes]()
    for event in events:
        if event.contract != contract:
            continue
        if event.name == "EnclaveAllowed":
            enclaves.add(event["identity"])
        elif event.name == "EnclaveDisallowed":
            enclaves.discard(event["identity"])
        elif event.name == "PlatformRegistered":
            platforms[event["platform"]] = (event["x"] + event["y"], event["notBefore"], event["notAfter"])
        elif event.name == "PlatformRevoked":
            revoked.add(event["platform"])
    counting = {key: (first, last) for platform, (key, first, last) in platforms.items() if platform not in revoked}
    return Standing(frozenset(enclaves), counting)
