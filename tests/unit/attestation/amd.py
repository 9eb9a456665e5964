"""An authority that makes SEV-SNP reports of every product in genuine format, for tests. Its root is marked as a simulation's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tallystick.attestation.certificates import fingerprint
from tallystick.attestation.snp import SnpEndorsements

ARC = "1.3.6.1.4.1.3704.1."
CPUID = {"Milan": (0x19, 0x01), "Genoa": (0x19, 0x11), "Turin": (0x1A, 0x02)}
PSS = padding.PSS(padding.MGF1(SHA384()), 48)


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Tcb:
    """SVNs as eight bytes in the order of the product, and as extensions of the leaf."""

    boot_loader: int = 4
    tee: int = 1
    snp: int = 20
    microcode: int = 200
    fmc: int = 0

    def raw(self, product: str) -> bytes:
        if product == "Turin":
            return bytes([self.fmc, self.boot_loader, self.tee, self.snp, 0, 0, 0, self.microcode])
        return bytes([self.boot_loader, self.tee, 0, 0, 0, 0, self.snp, self.microcode])


@dataclass(frozen=True)
class Report:
    """The fields of a report that tests change."""

    version: int = 3
    policy: int = 1 << 17
    vmpl: int = 0
    algorithm: int = 1
    key_kind: int = 0
    report_data: bytes = bytes(range(64))
    measurement: bytes = b"\x04" * 48
    host_data: bytes = bytes(32)
    guest_svn: int = 2
    cpuid: tuple[int, int] | None = None
    tcb: Tcb = field(default_factory=Tcb)
    committed: Tcb | None = None
    launch: Tcb | None = None


class AmdAuthority:
    """ARK, ASK and ASVK of one product, one chip, its VCEK and one VLEK."""

    def __init__(self, product: str, window: tuple[int, int], mark: str = "SIMULATION ONLY ") -> None:
        self.product, self.window = product, window
        self.keys = {name: rsa.generate_private_key(65537, 2048) for name in ("ark", "ask", "asvk")}
        self.leaf_key = generate_private_key(SECP384R1())
        self.chip = (b"\x0c" * 8).ljust(64, b"\0") if product == "Turin" else b"\x0c" * 64
        names = {"ark": f"{mark}ARK-{product}", "ask": f"{mark}SEV-{product}", "asvk": f"{mark}SEV-VLEK-{product}"}
        self.names = names
        self.ark = self._authority("ark", None)
        self.issuers = {"ask": self._authority("ask", 0), "asvk": self._authority("asvk", 0)}

    @property
    def root(self) -> bytes:
        return fingerprint(self.ark)

    def _builder(self, subject: str, issuer: str, key: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(issuer))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(moment(self.window[0]))
            .not_valid_after(moment(self.window[1]))
        )

    def _authority(self, name: str, below: int | None, *, ca: bool = True, by: str = "ark") -> x509.Certificate:
        usage = x509.KeyUsage(False, False, False, False, False, ca, ca, False, False)
        builder = self._builder(self.names[name], self.names["ark"], self.keys[name].public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca, below), critical=True).add_extension(usage, critical=True)
        return builder.sign(self.keys[by], SHA384(), rsa_padding=PSS)

    def leaf(self, tcb: Tcb, *, vlek: bool = False, **changes: bytes | None) -> bytes:
        """The VCEK or VLEK certificate; ``changes`` replace extensions by name (``e4=None`` leaves one out)."""

        def integer(value: int) -> bytes:
            return b"\x02" + bytes([value.bit_length() // 8 + 1]) + value.to_bytes(value.bit_length() // 8 + 1, "big")

        name = f"{self.product}-B0".encode() if not vlek else self.product.encode()
        extensions: dict[str, bytes | None] = {
            "1": integer(0),
            "2": b"\x16" + bytes([len(name)]) + name,
            "3.1": integer(tcb.boot_loader),
            "3.2": integer(tcb.tee),
            "3.3": integer(tcb.snp),
            "3.8": integer(tcb.microcode),
            "3.9": integer(tcb.fmc) if self.product == "Turin" else None,
            "4": None if vlek else self.chip[:8] if self.product == "Turin" else self.chip,
            "5": b"\x16\x04CN=x" if vlek else None,
        }
        extensions |= {key[1:].replace("_", "."): value for key, value in changes.items()}
        issuer = "asvk" if vlek else "ask"
        builder = self._builder("SEV-VLEK" if vlek else "SEV-VCEK", self.names[issuer], self.leaf_key.public_key())
        for oid, value in extensions.items():
            if value is not None:
                builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(ARC + oid), value), critical=False)
        return builder.sign(self.keys[issuer], SHA384(), rsa_padding=PSS).public_bytes(Encoding.DER)

    def endorsements(self, tcb: Tcb | None = None, *, vlek: bool = False) -> SnpEndorsements:
        issuer = self.issuers["asvk" if vlek else "ask"]
        chain = issuer.public_bytes(Encoding.PEM) + self.ark.public_bytes(Encoding.PEM)
        return SnpEndorsements(self.leaf(tcb or Tcb(), vlek=vlek), chain, self.crl())

    def crl(self, *revoked: x509.Certificate, key: str = "ark", window: tuple[int, int] | None = None) -> bytes:
        first, last = window or self.window
        builder = x509.CertificateRevocationListBuilder().issuer_name(named(self.names[key]))
        builder = builder.last_update(moment(first)).next_update(moment(last))
        for item in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(item.serial_number).revocation_date(moment(first)).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.keys[key], SHA384(), rsa_padding=PSS).public_bytes(Encoding.DER)

    def report(self, key: EllipticCurvePrivateKey | None = None, **changes: Any) -> bytes:
        """A signed report."""
        r = replace(Report(), **changes)
        family, model = (r.cpuid or CPUID[self.product]) if r.version > 2 else (0, 0)

        def number(value: int, size: int) -> bytes:
            return value.to_bytes(size, "little")

        committed, launch = r.committed or r.tcb, r.launch or r.tcb
        chip = bytes(64) if r.key_kind == 1 else self.chip
        body = b"".join(
            (
                number(r.version, 4),
                number(r.guest_svn, 4),
                number(r.policy, 8),
                bytes(32),
                number(r.vmpl, 4),
                number(r.algorithm, 4),
                r.tcb.raw(self.product),
                number(1, 8),
                number(r.key_kind << 2, 4),
                bytes(4),
                r.report_data,
                r.measurement,
                r.host_data,
                bytes(48 + 48 + 64),
                r.tcb.raw(self.product),
                bytes([family, model, 0]),
                bytes(21),
                chip,
                committed.raw(self.product),
                bytes(8),
                launch.raw(self.product),
            )
        ).ljust(0x2A0, b"\0")
        halves = decode_dss_signature((key or self.leaf_key).sign(body, ECDSA(SHA384())))
        return body + b"".join(number(half, 72) for half in halves) + bytes(368)
