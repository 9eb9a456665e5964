"""AMD SEV-SNP attestation reports, versions 2 to 5, as bytes that are read exactly.

Layout: AMD, SEV Secure Nested Paging Firmware ABI Specification (56860), table "ATTESTATION_REPORT Structure". Integers are
little-endian; so are the two halves of the signature, in fields of 72 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.attestation.reading import Reader, bounded
from tallystick.attestation.rules import EvidenceRefused, Rule, require

REPORT_SIZE = 0x4A0
SIGNED_SIZE = 0x2A0
ECDSA_P384_SHA384 = 1
VCEK, VLEK = 0, 1

_RESERVED_ONE = 1 << 17
_POLICY_BITS = (1 << 26) - 1


@dataclass(frozen=True)
class SnpTcb:
    """Security version numbers of an AMD platform. ``fmc`` exists from Turin on and is zero before."""

    boot_loader: int
    tee: int
    snp: int
    microcode: int
    fmc: int = 0

    def reaches(self, other: SnpTcb) -> bool:
        """Whether no component is below ``other``'s."""
        return all(have >= need for have, need in zip(vars(self).values(), vars(other).values(), strict=True))

    @classmethod
    def read(cls, raw: bytes, product: str) -> SnpTcb:
        """Eight bytes, in the order of ``product``; unused ones must be zero."""
        if product == "Turin":
            fmc, boot_loader, tee, snp, *unused, microcode = raw
        else:
            boot_loader, tee, *unused, snp, microcode = raw
            fmc = 0
        require(not any(unused), Rule.RESERVED, "reserved bytes of a TCB version are not zero")
        return cls(boot_loader, tee, snp, microcode, fmc)


@dataclass(frozen=True)
class GuestPolicy:
    """The bits of a guest's policy that an appraisal looks at."""

    smt: bool
    migration_agent: bool
    debug: bool

    @classmethod
    def read(cls, value: int) -> GuestPolicy:
        """Bit 17 must be one, bits from 26 on zero."""
        require(value & _RESERVED_ONE and not value & ~_POLICY_BITS, Rule.SNP_POLICY, "reserved bits of the guest policy are wrong")
        return cls(bool(value >> 16 & 1), bool(value >> 18 & 1), bool(value >> 19 & 1))


@dataclass(frozen=True)
class SnpReport:
    """A parsed report; nothing in it is verified yet. TCB versions stay raw until the product is known."""

    version: int
    guest_svn: int
    policy: GuestPolicy
    family_id: bytes
    image_id: bytes
    vmpl: int
    current_tcb: bytes
    signing_key: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    reported_tcb: bytes
    product: str | None
    chip_id: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    signed: bytes
    signature: tuple[int, int]


def read_report(raw: bytes) -> SnpReport:
    """Parse 1184 bytes."""
    bounded(raw, REPORT_SIZE, "a report")
    reader = Reader(raw)
    version = reader.integer(4)
    require(2 <= version <= 5, Rule.VERSION, "reports of versions 2 to 5 are known")
    guest_svn, policy = reader.integer(4), GuestPolicy.read(reader.integer(8))
    family_id, image_id = reader.take(16), reader.take(16)
    vmpl, algorithm = reader.integer(4), reader.integer(4)
    require(algorithm == ECDSA_P384_SHA384, Rule.VERSION, "the signature is not ECDSA P-384 with SHA-384")
    current_tcb = reader.take(8)
    reader.take(8)  # platform information: SMT, TSME and the like, as enabled; the guest policy says what was allowed
    flags = reader.integer(4)
    require(not flags >> 5, Rule.RESERVED, "reserved bits of the key information are not zero")
    reader.zeros(4)
    report_data, measurement, host_data = reader.take(64), reader.take(48), reader.take(32)
    id_key_digest, author_key_digest = reader.take(48), reader.take(48)
    reader.take(64)  # report ids of the guest and of its migration agent
    reported_tcb = reader.take(8)
    family, model = reader.integer(1), reader.integer(1)
    reader.take(1)  # stepping
    reader.zeros(21)
    if version == 2:
        require(not any(raw[0x188:0x18B]), Rule.RESERVED, "reserved bytes are not zero")
    chip_id, committed_tcb = reader.take(64), reader.take(8)
    for _ in range(2):  # build, minor, major of the current and the committed firmware
        reader.take(3)
        reader.zeros(1)
    launch_tcb = reader.take(8)
    if version == 5:
        reader.take(16)  # mitigation vectors at launch and now
    else:
        reader.zeros(16)
    reader.zeros(SIGNED_SIZE - 0x208)
    halves = reader.integer(72), reader.integer(72)
    reader.zeros(512 - 144)
    reader.end()
    return SnpReport(
        version=version,
        guest_svn=guest_svn,
        policy=policy,
        family_id=family_id,
        image_id=image_id,
        vmpl=vmpl,
        current_tcb=current_tcb,
        signing_key=flags >> 2 & 7,
        report_data=report_data,
        measurement=measurement,
        host_data=host_data,
        id_key_digest=id_key_digest,
        author_key_digest=author_key_digest,
        reported_tcb=reported_tcb,
        product=None if version == 2 else product_of(family, model),
        chip_id=chip_id,
        committed_tcb=committed_tcb,
        launch_tcb=launch_tcb,
        signed=raw[:SIGNED_SIZE],
        signature=halves,
    )


def product_of(family: int, model: int) -> str:
    """The product line whose keys serve a processor, by the family and model of CPUID."""
    if family == 0x19 and model <= 0x0F:
        return "Milan"
    if family == 0x19 and (0x10 <= model <= 0x1F or 0xA0 <= model <= 0xAF):
        return "Genoa"
    if family == 0x1A and model <= 0x1F:
        return "Turin"
    raise EvidenceRefused(Rule.SNP_PRODUCT, "the report's processor is of no product that this verifier knows")
