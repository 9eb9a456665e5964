"""Genuine quotes with genuine collateral give the verdicts that Intel's library and dcap-qvl give; see vectors.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tallystick.attestation.collateral import DcapCollateral
from tallystick.attestation.dcap import verify_dcap
from tallystick.attestation.pck import verify_platform
from tallystick.attestation.policy import AppraisalPolicy, check_dcap
from tallystick.attestation.quote import SgxReport, read_quote
from tallystick.attestation.references import ReferenceValues, SgxEnclave, TrustDomain
from tallystick.attestation.result import Tier
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.tcb import TcbStatus
from tallystick.attestation.verifier import Evidence, appraise
from unit.attestation import vectors

pytestmark = vectors.needs_vectors

PHALA, AUTOMATA, CONFIDENTIAL = "dcap/phala", "dcap/automata", "dcap/confidential-ai"
CRL_0625, CRL_0925 = f"{PHALA}/tdx_quote_collateral.json", f"{PHALA}/near_quote_collateral.json"


def phala(name: str) -> Callable[[], DcapCollateral]:
    return lambda: vectors.bundle(f"{PHALA}/{name}_collateral.json")


def fetched(info: str, identity: str, crl: str) -> Callable[[], DcapCollateral]:
    return lambda: vectors.responses(info, identity, crl)


SGX_0825 = fetched(
    f"{AUTOMATA}/evm/0825/sgx_tcbinfov3_00606a000000.json",
    f"{AUTOMATA}/evm/0825/sgx_qeidentity_v4.json",
    f"{AUTOMATA}/evm/0825/platform_crl.der",
)
TDX_0725 = fetched(
    f"{AUTOMATA}/solana/tcb_info_v3_with_tdx_module.json",
    f"{AUTOMATA}/solana/qe_identity.json",
    f"{AUTOMATA}/solana/pck_platform_crl.der",
)
TDX_1025 = fetched(f"{AUTOMATA}/evm/1025/tcb_info.json", f"{AUTOMATA}/evm/1025/identity.json", f"{AUTOMATA}/evm/1025/pck_crl.der")
TDX_0625 = fetched(f"{AUTOMATA}/evm/0625/tcbinfov3_90C06F000000.json", f"{AUTOMATA}/evm/0625/qe_td.json", CRL_0625)
TDX_0625_80 = fetched(f"{AUTOMATA}/evm/0625/tcbinfov3_00806f050000.json", f"{AUTOMATA}/evm/0625/qe_td.json", CRL_0625)
TRUSTEE = fetched("trustee/tcbInfo.json", "trustee/enclaveIdentity.json", f"{AUTOMATA}/evm/1025/pck_crl.der")


def march(fmspc: str) -> Callable[[], DcapCollateral]:
    def load() -> DcapCollateral:
        return vectors.responses(
            f"{CONFIDENTIAL}/tcb_info_{fmspc}.json",
            f"{CONFIDENTIAL}/td_qe_identity.json",
            f"{CONFIDENTIAL}/pck_crl_platform.der",
            f"{CONFIDENTIAL}/root_ca_crl.der",
        )

    return load


ROWS: list[tuple[str, Callable[[], DcapCollateral], str, str | Rule, str]] = [
    (f"{PHALA}/sgx_quote", phala("sgx_quote"), "2025-06-25", "ConfigurationAndSWHardeningNeeded", "INTEL-SA-00289 INTEL-SA-00615"),
    (f"{PHALA}/tdx_quote", phala("tdx_quote"), "2025-06-25", "UpToDate", ""),
    (f"{PHALA}/tdx_quote_outdated", phala("tdx_quote_outdated"), "2026-03-01", Rule.DCAP_TCB_LEVEL, ""),
    (f"{PHALA}/near_quote.hex", phala("near_quote"), "2025-09-10", "UpToDate", ""),
    (f"{AUTOMATA}/rust/quotev3.hex", SGX_0825, "2025-08-20", "SWHardeningNeeded", "INTEL-SA-00615"),
    (f"{AUTOMATA}/rust/quotev4.hex", TDX_0725, "2025-07-10", "OutOfDate", "INTEL-SA-00960 INTEL-SA-00982 INTEL-SA-00986"),
    (f"{AUTOMATA}/rust/quotev4.hex", TDX_1025, "2025-10-25", "OutOfDate", "INTEL-SA-00960 INTEL-SA-00982 INTEL-SA-00986"),
    (f"{AUTOMATA}/rust/quotev5.dat", TDX_0625, "2025-06-25", "UpToDate", ""),
    (f"{AUTOMATA}/rust/quotev5.dat", march("90c06f000000"), "2026-03-20", "OutOfDate", "*"),
    (f"{AUTOMATA}/evm/quotes/tdx_quote_5.dat", TDX_0625, "2025-06-25", Rule.DCAP_TCB_LEVEL, ""),
    (f"{AUTOMATA}/evm/quotes/tdx_quote_5.dat", march("90c06f000000"), "2026-03-20", Rule.DCAP_TCB_LEVEL, ""),
    (f"{AUTOMATA}/solana/quote_sgx.bin", phala("sgx_quote"), "2025-06-25", "ConfigurationAndSWHardeningNeeded", "*"),
    ("trustee/occlum_quote.dat", SGX_0825, "2025-08-20", "OutOfDate", "*"),
    ("trustee/tdx_quote_4.dat", march("50806f000000"), "2026-03-20", "OutOfDate", "*"),
    ("trustee/tdx_quote_6.dat", TRUSTEE, "2025-10-30", "OutOfDate", "*"),
    ("trustee/az-tdx-vtpm/td-quote.bin", TDX_0625_80, "2025-06-25", "OutOfDate", "*"),
    ("trustee/az-tdx-vtpm/td-quote.bin", TDX_1025, "2025-10-25", "OutOfDate", "*"),
    (f"{PHALA}/tdx_quote", phala("near_quote"), "2025-09-10", Rule.DCAP_PLATFORM, ""),
    (f"{PHALA}/sgx_quote", phala("tdx_quote"), "2025-06-25", Rule.DCAP_CRL_ISSUER, ""),
    (f"{PHALA}/tdx_quote", phala("tdx_quote"), "2025-08-01", Rule.DCAP_CRL_FRESH, ""),
    (f"{PHALA}/tdx_quote", phala("tdx_quote"), "2025-06-01", Rule.DCAP_CRL_FRESH, ""),
    ("dcap/intel-qvl-sample/quote.dat", phala("sgx_quote"), "2025-06-25", Rule.DCAP_CERTIFICATION, ""),
]
DEBUG = [f"{AUTOMATA}/solana/quote_sgx.bin", "trustee/occlum_quote.dat", "trustee/tdx_quote_4.dat"]


@pytest.mark.parametrize(("quote", "collateral", "day", "expected", "advisories"), ROWS, ids=[f"{row[0]}@{row[2]}" for row in ROWS])
def test_verdict(quote: str, collateral: Callable[[], DcapCollateral], day: str, expected: str | Rule, advisories: str) -> None:
    if isinstance(expected, Rule):
        with pytest.raises(EvidenceRefused) as refused:
            verify_dcap(vectors.read(quote), collateral(), vectors.at(day))
        assert refused.value.rule is expected
        return
    facts = verify_dcap(vectors.read(quote), collateral(), vectors.at(day))
    assert facts.authority.hardware
    assert facts.status.value == expected
    assert advisories == "*" or " ".join(facts.advisories) == advisories
    assert facts.report.debug == (quote in DEBUG)
    if facts.report.debug:
        lax = AppraisalPolicy(
            "lax", tcb_statuses=frozenset(TcbStatus) - {TcbStatus.REVOKED}, advisories=frozenset(facts.advisories)
        )
        with pytest.raises(EvidenceRefused) as refused:
            check_dcap(facts, lax, vectors.at(day))
        assert refused.value.rule is Rule.DEBUG


def test_a_current_domain_is_affirmed_and_one_with_a_bound_service_td_is_not() -> None:
    raw, day = vectors.read(f"{PHALA}/tdx_quote"), vectors.at("2025-06-25")
    body = read_quote(raw).body
    assert not isinstance(body, SgxReport)
    domain = TrustDomain(body.mr_td, *body.rtmr, body.mr_config_id, body.mr_owner, body.mr_owner_config)
    collateral = phala("tdx_quote")()
    result = appraise(Evidence(raw, collateral), ReferenceValues((domain,)), AppraisalPolicy("strict"), body.report_data, day)
    assert (result.status, result.strength, result.kind) == (Tier.AFFIRMING, "attested, hardware", "tdx")
    with pytest.raises(EvidenceRefused) as refused:
        appraise(
            Evidence(raw, collateral), ReferenceValues((SgxEnclave(bytes(32)),)), AppraisalPolicy("strict"), body.report_data, day
        )
    assert refused.value.rule is Rule.MEASUREMENT
    facts = verify_dcap(vectors.read(f"{AUTOMATA}/rust/quotev5.dat"), TDX_0625(), day)
    with pytest.raises(EvidenceRefused) as refused:
        check_dcap(facts, AppraisalPolicy("strict"), day)
    assert refused.value.rule is Rule.SERVICE_TD


def test_a_root_that_only_looks_like_intels_is_refused() -> None:
    sample = "dcap/intel-qvl-sample"
    pem = vectors.read(f"{sample}/pckCert.pem") + vectors.read(f"{sample}/pckSignChain.pem")
    leaf, *others = x509.load_pem_x509_certificates(pem)
    others.sort(key=lambda item: item.issuer == item.subject)
    chain = b"".join(item.public_bytes(Encoding.PEM) for item in (leaf, *others))
    assert others[-1].subject.rfc4514_string().endswith("CN=Intel SGX Root CA")
    with pytest.raises(EvidenceRefused) as refused:
        verify_platform(chain, phala("sgx_quote")(), vectors.at("2025-06-25"), frozenset())
    assert refused.value.rule is Rule.DCAP_ROOT
