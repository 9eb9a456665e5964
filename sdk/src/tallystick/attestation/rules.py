"""The numbered rules of attestation and the one error that says which of them fails.

The numbers are those of ``docs/spec/attestation.md``: 1xx form, 2xx Intel DCAP, 3xx AMD SEV-SNP, 4xx AWS Nitro, 5xx Hygon CSV,
6xx Arm CCA, 7xx the appraisal policy. Numbers and codes are stable: neither is ever used again for something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class Rule(Enum):
    """One rule: its number, its stable reason code, and what holds when it holds."""

    SIZE = 101, "form.size", "evidence and endorsements are within their size limits"
    LENGTH = 102, "form.length", "every field lies inside the bytes and every length is consumed exactly"
    VERSION = 103, "form.version", "format, version and algorithm are ones that this verifier knows"
    RESERVED = 104, "form.reserved", "reserved and padding bytes are zero"
    CERTIFICATE = 105, "form.certificate", "certificates are well-formed X.509 (or the vendor's format)"
    ENDORSEMENT = 106, "form.endorsement", "endorsements are complete and well-formed"
    CBOR = 107, "form.cbor", "CBOR is definite, minimal, bounded, without duplicate keys"
    KEY = 108, "form.key", "public keys are points of the expected curve"

    DCAP_HEADER = 201, "dcap.header", "the quote is ECDSA-P256 by Intel's quoting enclave, body and TEE type agree"
    DCAP_CERTIFICATION = 202, "dcap.certification", "certification data is a PCK chain (type 5, nested in 6 from v4 on)"
    DCAP_CHAIN = 203, "dcap.chain", "leaf, intermediate and root are named, signed and constrained as a PCK chain"
    DCAP_ROOT = 204, "dcap.root", "the root's key is pinned"
    DCAP_VALIDITY = 205, "dcap.validity", "every certificate is valid at the time of verification"
    DCAP_CRL_ISSUER = 206, "dcap.crl-issuer", "revocation lists are by the issuers of what they revoke"
    DCAP_CRL_SIGNATURE = 207, "dcap.crl-signature", "revocation lists are signed by their issuers"
    DCAP_CRL_FRESH = 208, "dcap.crl-fresh", "revocation lists are current at the time of verification"
    DCAP_CA_REVOKED = 209, "dcap.ca-revoked", "the root's list revokes neither intermediate nor TCB signing certificate"
    DCAP_PCK_REVOKED = 210, "dcap.pck-revoked", "the intermediate's list does not revoke the PCK certificate"
    DCAP_PCK_EXTENSION = 211, "dcap.pck-extension", "the PCK certificate states TCB, PCE-ID and FMSPC"
    DCAP_TCB_CHAIN = 212, "dcap.tcb-chain", "the TCB signing certificate is named, signed and constrained as such, under the root"
    DCAP_TCB_SIGNATURE = 213, "dcap.tcb-signature", "TCB info is signed over its exact bytes"
    DCAP_TCB_FRESH = 214, "dcap.tcb-fresh", "TCB info is current at the time of verification"
    DCAP_TCB_KIND = 215, "dcap.tcb-kind", "TCB info is of version 3 and for the quote's TEE"
    DCAP_PLATFORM = 216, "dcap.platform", "FMSPC and PCE-ID of TCB info are those of the PCK certificate"
    DCAP_MODULE = 217, "dcap.module", "the TDX module has the signer and attributes of its identity"
    DCAP_QE_SIGNATURE = 218, "dcap.qe-signature", "the QE report is signed by the PCK key"
    DCAP_QE_BINDING = 219, "dcap.qe-binding", "the QE report holds the digest of attestation key and authentication data"
    DCAP_QE_IDENTITY_SIGNATURE = 220, "dcap.qe-identity-signature", "QE identity is signed over its exact bytes"
    DCAP_QE_IDENTITY_FRESH = 221, "dcap.qe-identity-fresh", "QE identity is current at the time of verification"
    DCAP_QE_IDENTITY_KIND = 222, "dcap.qe-identity-kind", "QE identity is of version 2 and for the quote's TEE"
    DCAP_QE_IDENTITY = 223, "dcap.qe-identity", "the QE report is of the identified enclave"
    DCAP_QE_DEBUG = 224, "dcap.qe-debug", "the quoting enclave is not a debug enclave"
    DCAP_QUOTE_SIGNATURE = 225, "dcap.quote-signature", "header and body are signed by the attestation key"
    DCAP_TCB_LEVEL = 226, "dcap.tcb-level", "a TCB level matches the platform"
    DCAP_MODULE_LEVEL = 227, "dcap.module-level", "a TCB level matches the TDX module"
    DCAP_QE_LEVEL = 228, "dcap.qe-level", "a TCB level matches the quoting enclave"
    DCAP_STATUS = 229, "dcap.status", "every TCB status is a known word"

    SNP_PRODUCT = 301, "snp.product", "leaf certificate, issuer and report name one product: Milan, Genoa or Turin"
    SNP_ROOT = 302, "snp.root", "the keys of ARK and ASK (or ASVK) are pinned"
    SNP_CHAIN = 303, "snp.chain", "ARK signs itself and the intermediate, which signs the leaf"
    SNP_VALIDITY = 304, "snp.validity", "every certificate is valid at the time of verification"
    SNP_LEAF = 305, "snp.leaf", "the leaf is a VCEK or VLEK as the report's signing key says, with all SVN extensions"
    SNP_TCB = 306, "snp.tcb", "the leaf's SVNs are those of the report's reported TCB"
    SNP_CHIP = 307, "snp.chip", "the VCEK's hardware id is the report's chip id; a VLEK has none"
    SNP_SIGNATURE = 308, "snp.signature", "the report is signed by the leaf's key (ECDSA P-384, SHA-384)"
    SNP_POLICY = 309, "snp.policy", "bit 17 of the guest policy is one and its reserved bits are zero"
    SNP_REVOKED = 310, "snp.revoked", "the ARK's revocation list is current and does not revoke the intermediate"

    NITRO_COSE = 401, "nitro.cose", "the document is an untagged or tagged COSE_Sign1 with algorithm ES384"
    NITRO_DOCUMENT = 402, "nitro.document", "the payload has exactly the fields of an attestation document, in their ranges"
    NITRO_CHAIN = 403, "nitro.chain", "the bundle leads from the root to the leaf, within constraints"
    NITRO_ROOT = 404, "nitro.root", "the root's key is pinned"
    NITRO_VALIDITY = 405, "nitro.validity", "every certificate is valid at the document's time"
    NITRO_SIGNATURE = 406, "nitro.signature", "the document is signed by the leaf's key"

    CSV_CHAIN = 501, "csv.chain", "HRK signs itself and HSK, HSK signs CEK, CEK signs PEK, each with its usage"
    CSV_ROOT = 502, "csv.root", "the HRK's key is pinned"
    CSV_SIGNATURE = 503, "csv.signature", "the report is signed by the PEK (SM2 with SM3)"
    CSV_MAC = 504, "csv.mac", "PEK and serial number carry the report's HMAC-SM3"

    CCA_TOKEN = 601, "cca.token", "the token is a collection of one platform and one realm token, each a COSE_Sign1"
    CCA_PLATFORM_KEY = 602, "cca.platform-key", "the platform's key is one that the policy names"
    CCA_PLATFORM_SIGNATURE = 603, "cca.platform-signature", "the platform token is signed by that key"
    CCA_PLATFORM_CLAIMS = 604, "cca.platform-claims", "the platform token has its mandatory claims, in their ranges"
    CCA_BINDING = 605, "cca.binding", "the platform's challenge is the digest of the realm's key"
    CCA_REALM_SIGNATURE = 606, "cca.realm-signature", "the realm token is signed by the realm's key"
    CCA_REALM_CLAIMS = 607, "cca.realm-claims", "the realm token has its mandatory claims, in their ranges"
    CCA_LIFECYCLE = 608, "cca.lifecycle", "the platform's life cycle is secured"

    AUTHORITY = 701, "policy.authority", "the root is a vendor's, or a simulation's that the policy names and that is marked as one"
    DEBUG = 702, "policy.debug", "the environment cannot be debugged"
    MEASUREMENT = 703, "policy.measurement", "the measurement is a reference value"
    REPORT_DATA = 704, "policy.report-data", "the report data are the expected ones, all of them"
    TCB_STATUS = 705, "policy.tcb-status", "the TCB status is acceptable"
    ADVISORY = 706, "policy.advisory", "every open advisory is one that the policy accepts"
    GRACE = 707, "policy.grace", "an outdated TCB is within the policy's grace"
    EVALUATION = 708, "policy.evaluation", "the TCB evaluation number is at least the policy's"
    AGE = (
        709,
        "policy.age",
        "dated evidence is neither older than the policy allows, nor from the future, nor older than its certificates last",
    )
    TD_ATTRIBUTES = 710, "policy.td-attributes", "a trust domain has only attributes and features that the policy allows"
    SERVICE_TD = 711, "policy.service-td", "no service TD is bound to a trust domain"
    VMPL = 712, "policy.vmpl", "the report's privilege level is one that the policy allows"
    MINIMUM_TCB = 713, "policy.minimum-tcb", "reported, committed and launch TCB reach the policy's minimum"
    MIGRATION = 714, "policy.migration", "the guest cannot be migrated or sent elsewhere"
    SMT = 715, "policy.smt", "simultaneous multithreading is off unless the policy allows it"
    STANDING = 716, "policy.standing", "where a chain keeps lists, it lets the platform and the enclave count"

    def __init__(self, number: int, code: str, title: str) -> None:
        self.number = number
        self.code = code
        self.title = title


class EvidenceRefused(ValueError):  # noqa: N818 - the name says what happened
    """Evidence, endorsements or their appraisal break ``rule``. Nothing else is ever raised for hostile bytes.

    The message holds no secret and no bytes of the evidence. ``rule.code`` is stable; messages are for people.
    """

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(f"rule {rule.number} ({rule.code}): {message}")
        self.rule = rule
        self.message = message

    def __reduce__(self) -> tuple[type[EvidenceRefused], tuple[Rule, str]]:
        return type(self), (self.rule, self.message)


def require(holds: object, rule: Rule, message: str) -> None:
    """Raise :class:`EvidenceRefused` by ``rule`` unless ``holds``."""
    if not holds:
        raise EvidenceRefused(rule, message)


@contextmanager
def refusing(rule: Rule, message: str) -> Iterator[None]:
    """Turn whatever a parser or a signature check raises inside into :class:`EvidenceRefused` by ``rule``.

    Libraries raise many types for hostile bytes (``ValueError``, ``UnsupportedAlgorithm``, ``InvalidSignature``, ``TypeError``,
    ``OverflowError``, ...) and may add more; failing closed means treating each of them as a refusal.
    """
    try:
        yield
    except EvidenceRefused:
        raise
    except Exception as cause:
        raise EvidenceRefused(rule, message) from cause
