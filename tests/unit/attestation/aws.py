"""An authority that makes Nitro attestation documents in genuine format, for tests. Its root is marked as a simulation's."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from tallystick.attestation.cbor import Tagged, encode
from tallystick.attestation.certificates import fingerprint
from tallystick.attestation.cose import ES384
from unit.attestation.amd import moment, named


def sign1(key: EllipticCurvePrivateKey, payload: bytes, algorithm: int = ES384, unprotected: Any = None) -> bytes:
    """An untagged COSE_Sign1."""
    protected = encode({1: algorithm})
    size = (key.curve.key_size + 7) // 8
    message = encode(["Signature1", protected, b"", payload])
    signature = b"".join(half.to_bytes(size, "big") for half in decode_dss_signature(key.sign(message, ECDSA(SHA384()))))
    return encode([protected, unprotected or {}, payload, signature])


def certificate(
    subject: str,
    issuer: str,
    key: EllipticCurvePrivateKey,
    by: EllipticCurvePrivateKey,
    window: tuple[int, int],
    below: int | None = None,
    ca: bool = True,
) -> x509.Certificate:
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(window[0]))
        .not_valid_after(moment(window[1]))
        .add_extension(x509.BasicConstraints(ca, below if ca else None), critical=True)
        .add_extension(usage, critical=True)
    )
    return builder.sign(by, SHA384())


class NitroAuthority:
    """A root, one intermediate and one enclave's certificate."""

    def __init__(self, window: tuple[int, int], mark: str = "SIMULATION ONLY ", leaf_window: tuple[int, int] | None = None) -> None:
        self.window = window
        self.root_key, self.middle_key, self.key = (generate_private_key(SECP384R1()) for _ in range(3))
        root, middle = f"{mark}nitro root", "nitro intermediate"
        self.root = certificate(root, root, self.root_key, self.root_key, window)
        self.middle = certificate(middle, root, self.middle_key, self.root_key, window, 0)
        self.leaf = certificate("enclave", middle, self.key, self.middle_key, leaf_window or window, ca=False)

    @property
    def fingerprint(self) -> bytes:
        return fingerprint(self.root)

    def fields(self, at: int, **changes: Any) -> dict[str, Any]:
        """The payload; a change to ``...`` leaves a field out."""
        value = {
            "module_id": "i-0-enc0",
            "digest": "SHA384",
            "timestamp": at * 1000,
            "pcrs": {index: bytes([index + 1]) * 48 for index in (0, 1, 2, 3, 4, 8)},
            "certificate": self.leaf.public_bytes(Encoding.DER),
            "cabundle": [self.root.public_bytes(Encoding.DER), self.middle.public_bytes(Encoding.DER)],
            "public_key": None,
            "user_data": bytes(range(64)),
            "nonce": b"nonce",
        }
        return {name: item for name, item in (value | changes).items() if item is not ...}

    def document(self, at: int, *, tagged: bool = False, **changes: Any) -> bytes:
        message = sign1(self.key, encode(self.fields(at, **changes)))
        return encode(Tagged(18, None))[:1] + message if tagged else message
