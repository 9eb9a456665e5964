"""A provisioning authority for simulated platforms: root, PCK authority, TCB signing key, revocation lists, TCB statements."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from tallystick import flat_json
from tallystick.attestation.certificates import fingerprint
from tallystick.attestation.collateral import DcapCollateral
from tallystick.attestation.quote import SGX, TDX
from tallystick.attestation.roots import SIMULATION_MARK

FMSPC = b"SIMULA"
PCE_ID = bytes(2)
QE_SIGNER = hashlib.sha256(f"{SIMULATION_MARK} quoting enclave".encode()).digest()
QE_PRODUCTS = {SGX: 1, TDX: 2}  # numbered as Intel numbers its own
TOP = bytes([1] * 16)  # the SVNs of the only TCB level of a fresh authority

_SGX_EXTENSION = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
_PREFIX_DER = bytes.fromhex("2a864886f84d010d01")


def sign(key: EllipticCurvePrivateKey, message: bytes) -> bytes:
    """ECDSA with SHA-256 as DCAP writes it: ``r || s``, 32 bytes each, big-endian."""
    r, s = decode_dss_signature(key.sign(message, ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def new_key() -> EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return generate_private_key(SECP256R1())


def _name(role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"{SIMULATION_MARK} {role}"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, SIMULATION_MARK),
        ]
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def text_time(seconds: int) -> str:
    """A time as TCB info writes it."""
    return _moment(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def _der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    length = bytes([size]) if size < 0x80 else bytes([0x82]) + size.to_bytes(2, "big") if size > 0xFF else bytes([0x81, size])
    return bytes([tag]) + length + content


def sgx_extension(ppid: bytes, components: bytes, pce_svn: int, fmspc: bytes = FMSPC) -> bytes:
    """The value of a PCK certificate's SGX extension: PPID, sixteen SVNs, the PCE's, PCE-ID, FMSPC, type."""

    def integer(value: int) -> bytes:
        return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    def member(name: bytes, value: bytes) -> bytes:
        return _der(0x30, _der(0x06, _PREFIX_DER + name), value)

    svns = [member(bytes([2, index + 1]), integer(svn)) for index, svn in enumerate(components)]
    tcb = _der(0x30, *svns, member(bytes([2, 17]), integer(pce_svn)), member(bytes([2, 18]), _der(0x04, components)))
    return _der(
        0x30,
        member(b"\x01", _der(0x04, ppid)),
        member(b"\x02", tcb),
        member(b"\x03", _der(0x04, PCE_ID)),
        member(b"\x04", _der(0x04, fmspc)),
        member(b"\x05", _der(0x0A, b"\x00")),
    )


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for: its role, its key, and how many authorities may stand below it (``None``: it is a leaf)."""

    role: str
    key: EllipticCurvePublicKey
    below: int | None = None


def certificate(
    subject: Subject, issuer: str, key: EllipticCurvePrivateKey, window: tuple[int, int], extension: bytes | None = None
) -> x509.Certificate:
    """A certificate by ``issuer`` with ``key``, valid within ``window``; ``extension`` is the value of the SGX extension."""
    leaf = subject.below is None
    usage = x509.KeyUsage(
        digital_signature=leaf,
        content_commitment=leaf,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject.role))
        .issuer_name(_name(issuer))
        .public_key(subject.key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(window[0]))
        .not_valid_after(_moment(window[1]))
        .add_extension(x509.BasicConstraints(ca=not leaf, path_length=subject.below), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject.key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    if extension is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(_SGX_EXTENSION, extension), critical=False)
    return builder.sign(key, SHA256())


ROOT, PCK_AUTHORITY, TCB_SIGNING, PCK = "SGX Root CA", "SGX PCK Platform CA", "SGX TCB Signing", "SGX PCK Certificate"


@dataclass(frozen=True)
class Tcb:
    """What an authority says of its platforms' TCB. The defaults are one level that every fresh platform reaches.

    ``levels``, ``module_levels`` and ``qe_levels`` are JSON values of TCB info and QE identity, best first; see :func:`level` and
    :func:`part_level`. ``modules`` maps ``TDX_01`` and the like to their levels.
    """

    levels: Sequence[Mapping[str, Any]] = ()
    qe_levels: Sequence[Mapping[str, Any]] = ()
    modules: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    evaluation: int = 1
    fmspc: bytes = FMSPC


def level(
    status: str, date: int, svn: bytes = TOP, tdx: bytes = bytes(16), pce_svn: int = 1, advisories: Sequence[str] = ()
) -> dict[str, Any]:
    """One TCB level of a platform."""
    tcb: dict[str, Any] = {
        "sgxtcbcomponents": [{"svn": value} for value in svn],
        "tdxtcbcomponents": [{"svn": value} for value in tdx],
        "pcesvn": pce_svn,
    }
    stated = {"advisoryIDs": list(advisories)} if advisories else {}
    return {"tcb": tcb, "tcbDate": text_time(date), "tcbStatus": status, **stated}


def part_level(status: str, date: int, isv_svn: int = 1, advisories: Sequence[str] = ()) -> dict[str, Any]:
    """One TCB level of a TDX module or a quoting enclave."""
    stated = {"advisoryIDs": list(advisories)} if advisories else {}
    return {"tcb": {"isvsvn": isv_svn}, "tcbDate": text_time(date), "tcbStatus": status, **stated}


class ProvisioningAuthority:
    """A root with a PCK authority and a TCB signing key under it, all marked, valid within ``window``.

    It lives as long as the object, or as what :meth:`export` gives: whoever verifies names its root, so a network keeps one.
    """

    def __init__(self, window: tuple[int, int], keys: Sequence[EllipticCurvePrivateKey] = ()) -> None:
        self.window = window
        self.root_key, self.pck_key, self.tcb_key = keys or (new_key(), new_key(), new_key())
        self.root = certificate(Subject(ROOT, self.root_key.public_key(), 1), ROOT, self.root_key, window)
        self.intermediate = certificate(Subject(PCK_AUTHORITY, self.pck_key.public_key(), 0), ROOT, self.root_key, window)
        self.signing = certificate(Subject(TCB_SIGNING, self.tcb_key.public_key()), ROOT, self.root_key, window)

    def export(self, password: bytes) -> bytes:
        """Keys (PKCS #8, encrypted) and window as text, for a file that only its owner can read."""
        encryption = BestAvailableEncryption(password)
        keys = (self.root_key, self.pck_key, self.tcb_key)
        texts = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode() for key in keys]
        return json.dumps({"authority": SIMULATION_MARK, "window": self.window, "keys": texts}).encode()

    @classmethod
    def restore(cls, exported: bytes, password: bytes) -> ProvisioningAuthority:
        """The authority that was exported: its keys, and so its fingerprint; certificates are made anew.

        Raises ``ValueError`` where the text is not an export or the password is wrong.
        """
        try:
            value = flat_json.parse(exported)
            mark, (first, last), texts = value["authority"], value["window"], value["keys"]
            keys = [load_pem_private_key(text.encode(), password) for text in texts]
            named = [key for key in keys if isinstance(key, EllipticCurvePrivateKey) and key.curve.name == SECP256R1.name]
            window = int(first), int(last)
        except (AttributeError, KeyError, TypeError, UnsupportedAlgorithm) as cause:
            raise ValueError("this is not an exported authority") from cause
        if mark != SIMULATION_MARK or not len(keys) == len(named) == 3:
            raise ValueError("an exported authority is marked and has three keys on P-256")
        return cls(window, named)

    @property
    def fingerprint(self) -> bytes:
        """What a policy names to accept this authority's evidence, as simulated."""
        return fingerprint(self.root)

    def certify(self, key: EllipticCurvePublicKey, extension: bytes) -> x509.Certificate:
        """A PCK certificate for a platform's key."""
        return certificate(Subject(PCK, key), PCK_AUTHORITY, self.pck_key, self.window, extension)

    def chain(self, pck: x509.Certificate) -> bytes:
        """The PEM chain that goes into quotes."""
        return b"".join(item.public_bytes(Encoding.PEM) for item in (pck, self.intermediate, self.root)) + b"\0"

    def signing_chain(self) -> bytes:
        """The PEM chain of TCB info and QE identity."""
        return b"".join(item.public_bytes(Encoding.PEM) for item in (self.signing, self.root))

    def root_crl(self, window: tuple[int, int], revoked: Iterable[x509.Certificate] = ()) -> bytes:
        """The root's revocation list."""
        return _revocation_list(ROOT, self.root_key, window, revoked)

    def pck_crl(self, window: tuple[int, int], revoked: Iterable[x509.Certificate] = ()) -> bytes:
        """The PCK authority's revocation list."""
        return _revocation_list(PCK_AUTHORITY, self.pck_key, window, revoked)

    def tcb_info(self, tee: int, window: tuple[int, int], tcb: Tcb) -> bytes:
        """TCB info, version 3, as the bytes that are signed."""
        value: dict[str, Any] = {
            "id": "SGX" if tee == SGX else "TDX",
            "version": 3,
            "issueDate": text_time(window[0]),
            "nextUpdate": text_time(window[1]),
            "fmspc": tcb.fmspc.hex().upper(),
            "pceId": PCE_ID.hex(),
            "tcbType": 0,
            "tcbEvaluationDataNumber": tcb.evaluation,
            "tcbLevels": list(tcb.levels) or [level("UpToDate", window[0])],
        }
        if tee == TDX:
            module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
            modules = {"TDX_01": [part_level("UpToDate", window[0])]} if tcb.modules is None else tcb.modules
            value["tdxModule"] = module
            value["tdxModuleIdentities"] = [{"id": name, **module, "tcbLevels": list(levels)} for name, levels in modules.items()]
        return json.dumps(value, separators=(",", ":")).encode()

    def qe_identity(self, tee: int, window: tuple[int, int], tcb: Tcb) -> bytes:
        """The quoting enclave's identity, version 2, as the bytes that are signed."""
        value = {
            "id": "QE" if tee == SGX else "TD_QE",
            "version": 2,
            "issueDate": text_time(window[0]),
            "nextUpdate": text_time(window[1]),
            "tcbEvaluationDataNumber": tcb.evaluation,
            "miscselect": "00" * 4,
            "miscselectMask": "FF" * 4,
            "attributes": "11" + "00" * 15,
            "attributesMask": "FB" + "FF" * 7 + "00" * 8,
            "mrsigner": QE_SIGNER.hex().upper(),
            "isvprodid": QE_PRODUCTS[tee],
            "tcbLevels": list(tcb.qe_levels) or [part_level("UpToDate", window[0])],
        }
        return json.dumps(value, separators=(",", ":")).encode()

    def collateral(
        self, tee: int, window: tuple[int, int], tcb: Tcb | None = None, revoked: Iterable[x509.Certificate] = ()
    ) -> DcapCollateral:
        """All endorsements for quotes of ``tee``, current within ``window``; ``revoked`` are PCK certificates."""
        stated = tcb or Tcb()
        info, identity = self.tcb_info(tee, window, stated), self.qe_identity(tee, window, stated)
        return DcapCollateral(
            tcb_info=info,
            tcb_info_signature=sign(self.tcb_key, info),
            qe_identity=identity,
            qe_identity_signature=sign(self.tcb_key, identity),
            signing_chain=self.signing_chain(),
            root_crl=self.root_crl(window),
            pck_crl=self.pck_crl(window, revoked),
        )


def _revocation_list(
    issuer: str, key: EllipticCurvePrivateKey, window: tuple[int, int], revoked: Iterable[x509.Certificate]
) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(_name(issuer)).last_update(_moment(window[0]))
    builder = (
        builder.next_update(_moment(window[1]))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for item in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(item.serial_number).revocation_date(_moment(window[0]))
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)
