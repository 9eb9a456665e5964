"""Genuine SEV-SNP reports of Milan and Genoa, by VCEK and VLEK; see vectors.py."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.references import ReferenceValues, SnpGuest
from tallystick.attestation.result import Tier
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.snp import SnpEndorsements, verify_snp
from tallystick.attestation.snp_report import SnpTcb
from tallystick.attestation.verifier import Evidence, appraise
from unit.attestation import vectors

pytestmark = [vectors.needs_vectors, pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")]

DAY = "2025-06-25"
ROWS: list[tuple[str, str, str, Rule | None]] = [
    ("snp/google/attestation.bin", "snp/google/vcek.testcer", "milan", Rule.DEBUG),
    ("snp/virtee/report_milan.hex", "snp/virtee/vcek_milan.der", "milan", None),
    ("snp/confidential-ai/live-report-v5-genoa.bin", "snp/confidential-ai/live-vcek-genoa.der", "genoa", None),
    ("trustee/snp/test-report.bin", "trustee/snp/test-vcek.der", "milan", None),
    ("trustee/snp/test-vlek-report.bin", "trustee/snp/test-vlek.der", "milan", Rule.VMPL),
    ("trustee/snp/test-report.bin", "trustee/snp/test-vcek-invalid-new.der", "milan", Rule.SNP_CHAIN),
    ("trustee/snp/test-report.bin", "trustee/snp/test-vcek-invalid-legacy.der", "milan", Rule.SNP_CHAIN),
    ("trustee/snp/test-report.bin", "snp/virtee/vcek_milan.der", "milan", Rule.SNP_CHIP),
    ("trustee/snp/test-report.bin", "trustee/snp/test-vcek.der", "genoa", Rule.SNP_PRODUCT),
    ("trustee/snp/test-report.bin", "snp/virtee/vcek_turin.der", "turin", Rule.RESERVED),
]


def endorsements(leaf: str, product: str, *, vlek: bool) -> SnpEndorsements:
    ask, ark, asvk = x509.load_pem_x509_certificates(vectors.read(f"trustee/snp/{product}_ask_ark_asvk.pem"))
    chain = (asvk if vlek else ask).public_bytes(Encoding.PEM) + ark.public_bytes(Encoding.PEM)
    return SnpEndorsements(vectors.read(leaf), chain)


@pytest.mark.parametrize(("report", "leaf", "product", "expected"), ROWS, ids=[f"{row[0]}-{row[1][-16:]}-{row[2]}" for row in ROWS])
def test_verdict(report: str, leaf: str, product: str, expected: Rule | None) -> None:
    raw, day = vectors.read(report), vectors.at("2026-03-01" if product == "genoa" else DAY)
    given = endorsements(leaf, product, vlek="vlek" in leaf)
    minimum = {"Milan": SnpTcb(2, 0, 5, 68), "Genoa": SnpTcb(7, 0, 20, 20), "Turin": SnpTcb(0, 0, 0, 0)}
    policy = AppraisalPolicy("smt", snp_minimum=minimum, snp_without_list=frozenset(minimum), smt=True)

    def result() -> object:
        found = verify_snp(raw, given, day).report
        guest = SnpGuest(
            found.measurement, found.host_data, found.family_id, found.image_id, found.id_key_digest, found.author_key_digest
        )
        return appraise(Evidence(raw, given), ReferenceValues((guest,)), policy, found.report_data, day)

    if expected is not None:
        with pytest.raises(EvidenceRefused) as refused:
            result()
        assert refused.value.rule is expected
        return
    found = result()
    assert (found.status, found.strength, found.kind) == (Tier.AFFIRMING, "attested, hardware", "snp")  # type: ignore[attr-defined]


def test_a_vlek_report_verifies_where_the_policy_allows_its_privilege_level() -> None:
    facts = verify_snp(
        vectors.read("trustee/snp/test-vlek-report.bin"),
        endorsements("trustee/snp/test-vlek.der", "milan", vlek=True),
        vectors.at(DAY),
    )
    assert (facts.authority.name, facts.report.vmpl, facts.platform) == ("AMD ARK-Milan", 1, b"")
    with pytest.raises(EvidenceRefused) as refused:
        verify_snp(
            vectors.read("trustee/snp/test-vlek-report.bin"),
            endorsements("trustee/snp/test-vlek.der", "milan", vlek=True),
            vectors.at("2026-06-01"),
        )
    assert refused.value.rule is Rule.SNP_VALIDITY
