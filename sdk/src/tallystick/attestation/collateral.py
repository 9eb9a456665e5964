"""Endorsements of Intel platforms: TCB info, quoting-enclave identity, their signing chain, and revocation lists.

Everything here is untrusted input, however it was fetched: it is checked at the time of verification, and never fetched by it.
What a key signed is kept for the last few statements, under all of their bytes and only where it held and could be read; whether
it is current is checked each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tallystick.attestation.quote import SGX, TDX
from tallystick.attestation.reading import Fields, bounded, read_json, signed_member
from tallystick.attestation.rules import EvidenceRefused, Rule, refusing, require
from tallystick.attestation.tcb import ModuleIdentity, PartLevel, TcbLevel, read_level, read_part_level

MAX_SIGNED_JSON = 256 * 1024
_MAX_LEVELS = 256


@dataclass(frozen=True)
class DcapCollateral:
    """What Intel's provisioning certification service says about one kind of platform.

    ``tcb_info`` and ``qe_identity`` are the exact signed bytes with their raw 64-byte signatures; ``signing_chain`` is PEM (TCB
    signing certificate, root); ``root_crl`` and ``pck_crl`` are DER. ``pck_crl_issuer`` is not needed: it is in the quote.
    """

    tcb_info: bytes
    tcb_info_signature: bytes
    qe_identity: bytes
    qe_identity_signature: bytes
    signing_chain: bytes
    root_crl: bytes
    pck_crl: bytes

    @classmethod
    def of_responses(
        cls, tcb_info: bytes, qe_identity: bytes, signing_chain: bytes, root_crl: bytes, pck_crl: bytes
    ) -> DcapCollateral:
        """From the bodies of the service's responses: ``{"tcbInfo": ..., "signature": ...}``, ``{"enclaveIdentity": ...}``."""
        info, info_signature = signed_member(tcb_info, "tcbInfo", "TCB info")
        identity, identity_signature = signed_member(qe_identity, "enclaveIdentity", "QE identity")
        return cls(info, info_signature, identity, identity_signature, signing_chain, root_crl, pck_crl)

    @property
    def digest(self) -> bytes:
        """SHA-256 over all parts, each with its length: which endorsements a result rests on."""
        digest = hashlib.sha256(b"tallystick/attestation/dcap-collateral/v1")
        for part in (
            self.tcb_info,
            self.tcb_info_signature,
            self.qe_identity,
            self.qe_identity_signature,
            self.signing_chain,
            self.root_crl,
            self.pck_crl,
        ):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


@dataclass(frozen=True)
class TcbInfo:
    """Checked TCB info."""

    fmspc: bytes
    pce_id: bytes
    evaluation: int
    issued: int
    next_update: int
    levels: tuple[TcbLevel, ...]
    modules: tuple[ModuleIdentity, Sequence[ModuleIdentity]] | None


@dataclass(frozen=True)
class QeIdentity:
    """Checked identity of the quoting enclave."""

    misc_select: bytes
    misc_select_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    isv_prod_id: int
    evaluation: int
    issued: int
    next_update: int
    levels: tuple[PartLevel, ...]


def check_signature(key: EllipticCurvePublicKey, signature: bytes, message: bytes, rule: Rule) -> None:
    """``signature`` (64 bytes, ``r || s`` big-endian) is ECDSA with SHA-256 over ``message`` by ``key``."""
    require(len(signature) == 64, Rule.LENGTH, "a signature takes 64 bytes")
    encoded = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        key.verify(encoded, message, ECDSA(SHA256()))
    except InvalidSignature as cause:
        raise EvidenceRefused(rule, "a signature does not verify") from cause


def read_tcb_info(collateral: DcapCollateral, key: EllipticCurvePublicKey, tee: int, at: int) -> TcbInfo:
    """Check the signature over the exact bytes, then read: rules 213 to 215, 106 and 229."""
    data = bounded(collateral.tcb_info, MAX_SIGNED_JSON, "TCB info")
    found = _tcb_info(data, collateral.tcb_info_signature, _encoded(key), tee)
    require(found.issued <= at <= found.next_update, Rule.DCAP_TCB_FRESH, "TCB info is not current at the time of verification")
    return found


def _encoded(key: EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@lru_cache(maxsize=16)
def _tcb_info(data: bytes, signature: bytes, key: bytes, tee: int) -> TcbInfo:
    signer = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), key)
    check_signature(signer, signature, data, Rule.DCAP_TCB_SIGNATURE)
    fields = Fields(read_json(data, "TCB info"), "TCB info")
    require(
        fields.integer("version", 255) == 3 and fields.text("id") == _name(tee),
        Rule.DCAP_TCB_KIND,
        "TCB info is of another version or for another TEE than the quote",
    )
    require(fields.integer("tcbType", 255) == 0, Rule.DCAP_TCB_KIND, "the TCB type is unknown")
    return TcbInfo(
        fmspc=fields.hexadecimal("fmspc", 6),
        pce_id=fields.hexadecimal("pceId", 2),
        evaluation=fields.integer("tcbEvaluationDataNumber", 0xFFFF),
        issued=fields.time("issueDate"),
        next_update=fields.time("nextUpdate"),
        levels=tuple(read_level(item, tee == TDX) for item in fields.items("tcbLevels", _MAX_LEVELS)),
        modules=_modules(fields) if tee == TDX else None,
    )


def _name(tee: int) -> str:
    return {SGX: "SGX", TDX: "TDX"}[tee]


def _modules(fields: Fields) -> tuple[ModuleIdentity, Sequence[ModuleIdentity]]:
    first = _module(fields.inner("tdxModule"), named=False)
    if not fields.has("tdxModuleIdentities"):
        return first, ()
    others = tuple(
        _module(Fields(item, "tdxModuleIdentities"), named=True) for item in fields.items("tdxModuleIdentities", _MAX_LEVELS)
    )
    require(len({item.name.upper() for item in others}) == len(others), Rule.ENDORSEMENT, "two TDX modules have one name")
    return first, others


def _module(fields: Fields, *, named: bool) -> ModuleIdentity:
    name = fields.text("id", 16) if named else ""
    require(name or not named, Rule.ENDORSEMENT, "a TDX module has no name")
    return ModuleIdentity(
        name=name,
        mr_signer=fields.hexadecimal("mrsigner", 48),
        attributes=fields.hexadecimal("attributes", 8),
        mask=fields.hexadecimal("attributesMask", 8),
        levels=tuple(read_part_level(item) for item in fields.items("tcbLevels", _MAX_LEVELS)) if named else (),
    )


def read_qe_identity(collateral: DcapCollateral, key: EllipticCurvePublicKey, tee: int, at: int) -> QeIdentity:
    """Check the signature over the exact bytes, then read: rules 220 to 222, 106 and 229."""
    data = bounded(collateral.qe_identity, MAX_SIGNED_JSON, "QE identity")
    found = _qe_identity(data, collateral.qe_identity_signature, _encoded(key), tee)
    current = found.issued <= at <= found.next_update
    require(current, Rule.DCAP_QE_IDENTITY_FRESH, "QE identity is not current at the time of verification")
    return found


@lru_cache(maxsize=16)
def _qe_identity(data: bytes, signature: bytes, key: bytes, tee: int) -> QeIdentity:
    signer = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), key)
    check_signature(signer, signature, data, Rule.DCAP_QE_IDENTITY_SIGNATURE)
    fields = Fields(read_json(data, "QE identity"), "QE identity")
    require(
        fields.integer("version", 255) == 2 and fields.text("id") == {SGX: "QE", TDX: "TD_QE"}[tee],
        Rule.DCAP_QE_IDENTITY_KIND,
        "QE identity is of another version or for another TEE than the quote",
    )
    return QeIdentity(
        misc_select=fields.hexadecimal("miscselect", 4),
        misc_select_mask=fields.hexadecimal("miscselectMask", 4),
        attributes=fields.hexadecimal("attributes", 16),
        attributes_mask=fields.hexadecimal("attributesMask", 16),
        mr_signer=fields.hexadecimal("mrsigner", 32),
        isv_prod_id=fields.integer("isvprodid", 0xFFFF),
        evaluation=fields.integer("tcbEvaluationDataNumber", 0xFFFF),
        issued=fields.time("issueDate"),
        next_update=fields.time("nextUpdate"),
        levels=tuple(read_part_level(item) for item in fields.items("tcbLevels", _MAX_LEVELS)),
    )


def masked(value: bytes, mask: bytes) -> bytes:
    """``value`` where ``mask`` has ones; both of one length."""
    with refusing(Rule.LENGTH, "a mask has another length than its value"):
        return bytes(have & keep for have, keep in zip(value, mask, strict=True))
