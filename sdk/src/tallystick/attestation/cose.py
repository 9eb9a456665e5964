"""COSE_Sign1 (RFC 9052) with ECDSA, and COSE keys of two coordinates: what Nitro documents and CCA tokens are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from tallystick.attestation.cbor import Tagged, decode, encode
from tallystick.attestation.rules import EvidenceRefused, Rule, refusing, require

SIGN1_TAG = 18
ES256, ES384, ES512 = -7, -35, -36

_ALGORITHMS: dict[int, tuple[str, type[HashAlgorithm], int]] = {
    ES256: ("secp256r1", SHA256, 32),
    ES384: ("secp384r1", SHA384, 48),
    ES512: ("secp521r1", SHA512, 66),
}
_CURVES: dict[int, tuple[type[EllipticCurve], int]] = {1: (SECP256R1, 32), 2: (SECP384R1, 48), 3: (SECP521R1, 66)}


@dataclass(frozen=True)
class Sign1:
    """A parsed message; its signature is not verified yet."""

    algorithm: int
    protected: bytes
    payload: bytes
    signature: bytes

    @property
    def signed(self) -> bytes:
        """The Sig_structure of RFC 9052, section 4.4, without external data."""
        return encode(["Signature1", self.protected, b"", self.payload])

    def verify(self, key: EllipticCurvePublicKey, rule: Rule) -> None:
        """Check the signature by ``key``, whose curve must be the algorithm's."""
        curve, algorithm, size = _ALGORITHMS[self.algorithm]
        require(key.curve.name == curve, Rule.KEY, "the key is not on the algorithm's curve")
        require(len(self.signature) == 2 * size, rule, "a signature has another size than its algorithm's")
        r, s = (int.from_bytes(half, "big") for half in (self.signature[:size], self.signature[size:]))
        try:
            key.verify(encode_dss_signature(r, s), self.signed, ECDSA(algorithm()))
        except InvalidSignature as cause:
            raise EvidenceRefused(rule, "a signature does not verify") from cause


def read_sign1(data: bytes, rule: Rule) -> Sign1:
    """Parse a tagged or untagged COSE_Sign1 whose only header is its algorithm."""
    value = decode(data)
    if isinstance(value, Tagged) and value.tag == SIGN1_TAG:
        value = value.value
    if not isinstance(value, list) or len(value) != 4:
        raise EvidenceRefused(rule, "the message is not a COSE_Sign1")
    protected, unprotected, payload, signature = value
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)) or unprotected != {}:
        raise EvidenceRefused(rule, "the parts of a COSE_Sign1 are of other types, or it has unprotected headers")
    header: Any = decode(protected) if protected else None
    if not isinstance(header, dict) or set(header) != {1} or type(header[1]) is not int or header[1] not in _ALGORITHMS:
        raise EvidenceRefused(rule, "the protected header is not one known algorithm")
    return Sign1(header[1], protected, payload, signature)


def read_key(value: object, rule: Rule) -> EllipticCurvePublicKey:
    """An elliptic-curve key from a COSE_Key map (RFC 9053, section 7.1)."""
    if not isinstance(value, dict) or not {1, -1, -2, -3} <= set(value) <= {1, 2, 3, 4, -1, -2, -3}:
        raise EvidenceRefused(rule, "a key is not a COSE_Key of an elliptic curve")
    found = _CURVES.get(value[-1]) if type(value[-1]) is int else None
    x, y = value[-2], value[-3]
    if value[1] != 2 or found is None or not isinstance(x, bytes) or not isinstance(y, bytes):
        raise EvidenceRefused(rule, "a key is not a COSE_Key of a known curve")
    curve, size = found
    require(len(x) == len(y) == size, Rule.KEY, "a key's coordinates have another size than its curve's")
    return point(curve(), b"\x04" + x + y)


def point(curve: EllipticCurve, encoded: bytes) -> EllipticCurvePublicKey:
    """The key of an uncompressed point."""
    with refusing(Rule.KEY, "a public key is not a point of its curve"):
        return EllipticCurvePublicKey.from_encoded_point(curve, encoded)
