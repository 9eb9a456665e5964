"""Enclaves and platforms on chain: registering a platform by its certificate, and which of both count now."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from weakref import WeakKeyDictionary

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
    """Which enclaves and platforms count for ``kind`` at the chain's head.

    What was read of a connection is kept with it: a later call reads the blocks since, or all of them where the chain no longer has
    the last block that was read.
    """
    with _LOCK:
        register = _REGISTERS.setdefault(chain, _Register())
    return register.at_head(chain, kind)


def standing_of(events: Iterable[Event], kind: str) -> Standing:
    """As :func:`standing`, from the chain's events in their order."""
    listed = _Lists()
    for event in events:
        if event.contract == VERIFIERS[kind]:
            listed.take(event)
    return listed.standing()


class _Lists:
    """One verifier's lists, as its events leave them."""

    def __init__(self) -> None:
        self._enclaves: set[bytes] = set()
        self._platforms: dict[bytes, tuple[bytes, int, int]] = {}
        self._revoked: set[bytes] = set()

    def take(self, event: Event) -> None:
        if event.name == "EnclaveAllowed":
            self._enclaves.add(event["identity"])
        elif event.name == "EnclaveDisallowed":
            self._enclaves.discard(event["identity"])
        elif event.name == "PlatformRegistered":
            self._platforms[event["platform"]] = (event["x"] + event["y"], event["notBefore"], event["notAfter"])
        elif event.name == "PlatformRevoked":
            self._revoked.add(event["platform"])

    def standing(self) -> Standing:
        listed = {platform: found for platform, found in self._platforms.items() if platform not in self._revoked}
        return Standing(frozenset(self._enclaves), {key: (first, last) for key, first, last in listed.values()})


class _Register:
    """The lists of all verifiers as of one final block, which is known by its hash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._lists = {contract: _Lists() for contract in VERIFIERS.values()}
        self._block, self._hash = -1, ""

    def at_head(self, chain: Chain, kind: str) -> Standing:
        with self._lock:
            head = chain.head()
            if self._block >= 0 and (head < self._block or chain.block(self._block)["hash"] != self._hash):
                self._forget()
            if head > self._block:
                read = chain.block(head)["hash"]
                found = list(chain.events(self._block + 1, head))  # all of them, or none where the node fails in between
                for event in found:
                    if event.contract in self._lists:
                        self._lists[event.contract].take(event)
                self._block, self._hash = head, read
            return self._lists[VERIFIERS[kind]].standing()


_LOCK = threading.Lock()
_REGISTERS: WeakKeyDictionary[Chain, _Register] = WeakKeyDictionary()
