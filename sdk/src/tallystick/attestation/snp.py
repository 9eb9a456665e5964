"""Verification of AMD SEV-SNP reports: from the pinned keys of a product to the report, without policy.

Sources: AMD, Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification (57230), and the firmware ABI
(56860). AMD publishes no verdict on TCB versions: the policy sets a minimum. A report shows what was launched, and by which
firmware; it shows nothing about the hypervisor's later behaviour towards devices and timing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from tallystick.attestation.certificates import (
    CrlRules,
    check_authority,
    check_issued,
    check_valid,
    common_name,
    elliptic_key,
    expiry,
    fingerprint,
    load_certificate,
    load_chain,
    load_revocation_list,
)
from tallystick.attestation.identity import SNP, identity
from tallystick.attestation.reading import der_integer, der_items
from tallystick.attestation.roots import AMD, Authority, authority
from tallystick.attestation.rules import EvidenceRefused, Rule, refusing, require
from tallystick.attestation.snp_report import VCEK, VLEK, SnpReport, SnpTcb, read_report

_ARC = "1.3.6.1.4.1.3704.1."
_SVNS = {"boot_loader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8"}
_CRL_RULES = CrlRules(Rule.SNP_REVOKED, Rule.SNP_REVOKED, Rule.SNP_REVOKED)


@dataclass(frozen=True)
class SnpEndorsements:
    """``leaf``: the VCEK or VLEK certificate, DER; ``chain``: its issuer and the ARK, PEM; ``crl``: the ARK's list, DER, if any."""

    leaf: bytes
    chain: bytes
    crl: bytes | None = None

    @property
    def digest(self) -> bytes:
        """SHA-256 over all parts, each with its length."""
        digest = hashlib.sha256(b"tallystick/attestation/snp-endorsements/v1")
        for part in (self.leaf, self.chain, self.crl or b""):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


@dataclass(frozen=True)
class SnpFacts:
    """What a verified report says. ``platform`` is a digest of the chip id, empty where a VLEK hides it."""

    authority: Authority
    product: str
    report: SnpReport
    reported: SnpTcb
    committed: SnpTcb
    launch: SnpTcb
    platform: bytes
    revocation_checked: bool
    expires: int

    @property
    def identity(self) -> bytes:
        """What runs, as one digest: family and image id, measurement, host data, digests of the identity and author keys."""
        report = self.report
        names, keys = report.family_id + report.image_id, report.id_key_digest + report.author_key_digest
        return identity(SNP, names, report.measurement, report.host_data, keys)

    @property
    def report_data(self) -> bytes:
        """The 64 bytes that the guest chose."""
        return self.report.report_data

    @property
    def signed(self) -> bytes:
        """The bytes of the report that the platform signed."""
        return self.report.signed


def verify_snp(evidence: bytes, endorsements: SnpEndorsements, at: int, simulations: frozenset[bytes] = frozenset()) -> SnpFacts:
    """Apply rules 101 to 108 and 301 to 310 at time ``at``.

    Arguments and errors are those of :func:`~tallystick.attestation.dcap.verify_dcap`.
    """
    report = read_report(evidence)
    leaf = load_certificate(endorsements.leaf)
    issuer, root = load_chain(endorsements.chain, 2)
    product = _product(leaf)
    require(report.product in (None, product), Rule.SNP_PRODUCT, "report and certificate are of different products")
    require(report.signing_key in (VCEK, VLEK), Rule.SNP_LEAF, "the report is not signed, or by an unknown kind of key")
    chip = report.signing_key == VCEK
    issued_by = f"SEV-{product}" if chip else f"SEV-VLEK-{product}"
    named = common_name(root.subject).endswith(f"ARK-{product}") and common_name(issuer.subject).endswith(issued_by)
    require(named, Rule.SNP_PRODUCT, "the chain is of another product or kind of key")
    check_authority(root, 1, Rule.SNP_CHAIN)
    check_authority(issuer, 0, Rule.SNP_CHAIN)
    check_issued(root, root, Rule.SNP_CHAIN)
    check_issued(issuer, root, Rule.SNP_CHAIN)
    check_issued(leaf, issuer, Rule.SNP_CHAIN)
    pins = AMD[product]
    who = authority(fingerprint(root), common_name(root.subject), frozenset({pins.ark}), simulations, Rule.SNP_ROOT)
    if who.hardware:
        pinned = pins.ask if chip else pins.asvk
        require(fingerprint(issuer) == pinned, Rule.SNP_ROOT, "the intermediate's key is not the pinned one")
    check_valid((leaf, issuer, root), at, Rule.SNP_VALIDITY)
    expires = expiry((leaf, issuer, root))
    if endorsements.crl is not None:
        crl = load_revocation_list(endorsements.crl, root, at, _CRL_RULES)
        require(not crl.revokes(issuer), Rule.SNP_REVOKED, "the intermediate is revoked")
        expires = min(expires, crl.next_update)
    reported = SnpTcb.read(report.reported_tcb, product)
    _check_leaf(leaf, report, reported, product)
    _check_signature(leaf, report)
    return SnpFacts(
        authority=who,
        product=product,
        report=report,
        reported=reported,
        committed=SnpTcb.read(report.committed_tcb, product),
        launch=SnpTcb.read(report.launch_tcb, product),
        platform=hashlib.sha256(b"tallystick/attestation/chip/v1" + report.chip_id).digest() if chip else b"",
        revocation_checked=endorsements.crl is not None,
        expires=expires,
    )


def _extension(leaf: x509.Certificate, name: str) -> bytes | None:
    oid = x509.ObjectIdentifier(_ARC + name)
    for extension in leaf.extensions:
        if extension.oid == oid and isinstance(extension.value, x509.UnrecognizedExtension):
            return extension.value.value
    return None


def _product(leaf: x509.Certificate) -> str:
    """The product of the certificate's product name, which may carry a stepping: ``Milan-B0``."""
    raw = _extension(leaf, "2") or b""
    items = list(der_items(raw, Rule.SNP_LEAF))
    require(len(items) == 1 and items[0][0] == 0x16, Rule.SNP_LEAF, "the leaf certificate names no product")
    with refusing(Rule.SNP_PRODUCT, "the product name is not text"):
        product = items[0][1].decode("ascii").partition("-")[0]
    require(product in AMD, Rule.SNP_PRODUCT, "the leaf certificate is of no product that this verifier knows")
    return product


def _svn(leaf: x509.Certificate, name: str) -> int:
    items = list(der_items(_extension(leaf, name) or b"", Rule.SNP_LEAF))
    require(len(items) == 1 and items[0][0] == 0x02, Rule.SNP_LEAF, "the leaf certificate lacks a security version number")
    return der_integer(items[0][1], Rule.SNP_LEAF)


def _check_leaf(leaf: x509.Certificate, report: SnpReport, reported: SnpTcb, product: str) -> None:
    name = "SEV-VCEK" if report.signing_key == VCEK else "SEV-VLEK"
    require(
        common_name(leaf.subject).endswith(name), Rule.SNP_LEAF, "the leaf certificate is of another kind than the report's key"
    )
    stated = SnpTcb(**{field: _svn(leaf, oid) for field, oid in _SVNS.items()}, fmc=_svn(leaf, "3.9") if product == "Turin" else 0)
    require(stated == reported, Rule.SNP_TCB, "the leaf certificate is for another TCB than the report's")
    hardware_id = _extension(leaf, "4")
    if report.signing_key == VLEK:
        require(hardware_id is None, Rule.SNP_CHIP, "a VLEK certificate names a chip")
        return
    size = 8 if product == "Turin" else 64
    if hardware_id is None or len(hardware_id) != size:
        raise EvidenceRefused(Rule.SNP_CHIP, "the VCEK certificate names no chip")
    require(hardware_id.ljust(64, b"\0") == report.chip_id, Rule.SNP_CHIP, "the VCEK certificate is for another chip")


def _check_signature(leaf: x509.Certificate, report: SnpReport) -> None:
    key = elliptic_key(leaf, "secp384r1")
    try:
        key.verify(encode_dss_signature(*report.signature), report.signed, ECDSA(SHA384()))
    except InvalidSignature as cause:
        raise EvidenceRefused(Rule.SNP_SIGNATURE, "the report's signature does not verify") from cause
