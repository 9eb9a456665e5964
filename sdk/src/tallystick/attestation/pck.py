"""The provisioning certification key's certificate chain: who made the platform, and which TCB its maker measured.

Sources: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification (the SGX extension, OID
1.2.840.113741.1.13.1); steps 4.1.2.4.4 to 4.1.2.4.7 of Intel's quote verification library.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from tallystick.attestation.certificates import (
    CrlRules,
    RevocationList,
    check_authority,
    check_issued,
    check_leaf,
    check_valid,
    common_name,
    expiry,
    fingerprint,
    load_chain,
    load_revocation_list,
)
from tallystick.attestation.collateral import DcapCollateral
from tallystick.attestation.reading import der_integer, der_items
from tallystick.attestation.roots import INTEL_SGX_ROOT, Authority, authority
from tallystick.attestation.rules import EvidenceRefused, Rule, refusing, require
from tallystick.attestation.tcb import PlatformTcb

_SGX_EXTENSION = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
_PREFIX = bytes.fromhex("2a864886f84d010d01")  # 1.2.840.113741.1.13.1 in DER
_CRL_RULES = CrlRules(Rule.DCAP_CRL_ISSUER, Rule.DCAP_CRL_SIGNATURE, Rule.DCAP_CRL_FRESH)


@dataclass(frozen=True)
class PckStatement:
    """The SGX extension of a PCK certificate. ``ppid`` identifies one processor: it is never published as it stands."""

    ppid: bytes
    tcb: PlatformTcb
    pce_id: bytes
    fmspc: bytes


@dataclass(frozen=True)
class Platform:
    """A verified PCK chain with its TCB signing key: where a quote's trust comes from. ``expires`` bounds it all."""

    authority: Authority
    pck: x509.Certificate
    signing: x509.Certificate
    statement: PckStatement
    expires: int


def read_statement(certificate: x509.Certificate) -> PckStatement:
    """The SGX extension, read strictly: every member at most once, all that are needed present."""
    rule = Rule.DCAP_PCK_EXTENSION
    with refusing(rule, "the PCK certificate has no SGX extension"):
        extension = certificate.extensions.get_extension_for_oid(_SGX_EXTENSION).value
        assert isinstance(extension, x509.UnrecognizedExtension)
        raw = extension.value
    members = _members(_sequence(raw, rule), rule)
    tcb = _members(members.get(b"\x02", (0, b""))[1], rule, prefix=_PREFIX + b"\x02")
    svns = bytes(_svn(tcb.get(bytes([index])), 255) for index in range(1, 17))
    pce_svn = _svn(tcb.get(b"\x11"), 0xFFFF)
    return PckStatement(
        ppid=_octets(members.get(b"\x01"), 16),
        tcb=PlatformTcb(svns, pce_svn),
        pce_id=_octets(members.get(b"\x03"), 2),
        fmspc=_octets(members.get(b"\x04"), 6),
    )


def _sequence(data: bytes, rule: Rule) -> bytes:
    items = list(der_items(data, rule))
    require(len(items) == 1 and items[0][0] == 0x30, rule, "the SGX extension is not a sequence")
    return items[0][1]


def _members(data: bytes, rule: Rule, prefix: bytes = _PREFIX) -> dict[bytes, tuple[int, bytes]]:
    """Pairs of object identifier and value, by the identifier's bytes after ``prefix``."""
    found: dict[bytes, tuple[int, bytes]] = {}
    for tag, content in der_items(data, rule):
        pair = list(der_items(content, rule))
        require(tag == 0x30 and len(pair) == 2 and pair[0][0] == 0x06, rule, "a member of the SGX extension is not a pair")
        name = pair[0][1]
        require(name.startswith(prefix), rule, "a member of the SGX extension has a foreign name")
        require(name[len(prefix) :] not in found, rule, "a member of the SGX extension stands twice")
        found[name[len(prefix) :]] = pair[1]
    return found


def _octets(member: tuple[int, bytes] | None, size: int) -> bytes:
    if member is None or member[0] != 0x04 or len(member[1]) != size:
        raise EvidenceRefused(Rule.DCAP_PCK_EXTENSION, "a member of the SGX extension is missing or of another size")
    return member[1]


def _svn(member: tuple[int, bytes] | None, limit: int) -> int:
    if member is None or member[0] != 0x02:
        raise EvidenceRefused(Rule.DCAP_PCK_EXTENSION, "a security version number is missing")
    value = der_integer(member[1], Rule.DCAP_PCK_EXTENSION)
    require(value <= limit, Rule.DCAP_PCK_EXTENSION, "a security version number is out of range")
    return value


def verify_platform(chain: bytes, collateral: DcapCollateral, at: int, simulations: frozenset[bytes]) -> Platform:
    """Check the PCK chain, the TCB signing chain and both revocation lists at ``at``: rules 203 to 212 and 701."""
    leaf, middle, root = certificates = load_chain(chain, 3)
    require("SGX PCK Certificate" in common_name(leaf.subject), Rule.DCAP_CHAIN, "the leaf is not a PCK certificate")
    require("CA" in common_name(middle.subject), Rule.DCAP_CHAIN, "the intermediate is not named as an authority")
    check_leaf(leaf, Rule.DCAP_CHAIN)
    check_authority(middle, 0, Rule.DCAP_CHAIN)
    check_authority(root, 1, Rule.DCAP_CHAIN)
    check_issued(leaf, middle, Rule.DCAP_CHAIN)
    check_issued(middle, root, Rule.DCAP_CHAIN)
    check_issued(root, root, Rule.DCAP_CHAIN)
    who = authority(fingerprint(root), common_name(root.subject), frozenset({INTEL_SGX_ROOT}), simulations, Rule.DCAP_ROOT)
    check_valid(certificates, at, Rule.DCAP_VALIDITY)
    root_list = load_revocation_list(collateral.root_crl, root, at, _CRL_RULES)
    pck_list = load_revocation_list(collateral.pck_crl, middle, at, _CRL_RULES)
    signing = _signing_certificate(collateral.signing_chain, root, root_list, at)
    require(not root_list.revokes(middle), Rule.DCAP_CA_REVOKED, "the intermediate is revoked")
    require(not pck_list.revokes(leaf), Rule.DCAP_PCK_REVOKED, "the platform's PCK certificate is revoked")
    expires = min(expiry((*certificates, signing)), root_list.next_update, pck_list.next_update)
    return Platform(who, leaf, signing, read_statement(leaf), expires)


def _signing_certificate(chain: bytes, root: x509.Certificate, root_list: RevocationList, at: int) -> x509.Certificate:
    """The TCB signing certificate: under the quote's own root, and no PCK authority."""
    signing, its_root = load_chain(chain, 2)
    rule = Rule.DCAP_TCB_CHAIN
    require(fingerprint(its_root) == fingerprint(root), rule, "collateral and quote end in different roots")
    require("SGX TCB Signing" in common_name(signing.subject), rule, "the certificate is not for signing TCB info")
    check_leaf(signing, rule)
    check_issued(signing, root, rule)
    check_valid((signing,), at, Rule.DCAP_VALIDITY)
    require(not root_list.revokes(signing), Rule.DCAP_CA_REVOKED, "the TCB signing certificate is revoked")
    return signing
