"""What a policy decides about evidence that verifies, and what no policy can."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX, TDX
from tallystick.attestation.references import ReferenceValues, SgxEnclave, SgxProduct, TrustDomain, extended
from tallystick.attestation.result import AttestationResult, Tier, TrustVector, tier
from tallystick.attestation.roots import Authority
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.simulation.authority import Tcb, level, part_level
from tallystick.attestation.simulation.platform import DomainIdentity, EnclaveIdentity
from tallystick.attestation.tcb import TcbStatus
from tallystick.attestation.verifier import Evidence, appraise
from unit.attestation.test_dcap import DATA, DOMAIN, ENCLAVE, NOW, WINDOW, world

DAY = 86_400
ZERO = bytes(48)
REFERENCES = ReferenceValues((SgxEnclave(ENCLAVE.mrenclave), TrustDomain(DOMAIN.mr_td, ZERO, ZERO, ZERO)))


def policy(**changes: Any) -> AppraisalPolicy:
    return replace(AppraisalPolicy("test", simulations=world().roots), **changes)


def sgx(
    tcb: Tcb | None = None,
    enclave: EnclaveIdentity = ENCLAVE,
    references: ReferenceValues = REFERENCES,
    data: bytes = DATA,
    **changes: Any,
) -> AttestationResult:
    w = world()
    evidence = Evidence(w.platform.quote_enclave(enclave, DATA), w.authority.collateral(SGX, WINDOW, tcb))
    return appraise(evidence, references, policy(**changes), data, NOW)


def tdx(identity: DomainIdentity = DOMAIN, references: ReferenceValues = REFERENCES, **changes: Any) -> AttestationResult:
    w = world()
    evidence = Evidence(w.platform.quote_domain(identity, DATA, 5, extended=True), w.collateral[TDX])
    return appraise(evidence, references, policy(**changes), DATA, NOW)


def refused(rule: Rule) -> Any:
    return pytest.raises(EvidenceRefused, match=rf"rule {rule.number} ")


def test_a_simulation_is_contraindicated_and_says_simulated_everywhere() -> None:
    result = sgx()
    assert result.simulated
    assert result.strength == "attested, simulated"
    assert result.status is Tier.CONTRAINDICATED
    claims = result.ear("tallystick", "test")
    part = claims["submods"]["sgx"]
    assert part["ear.status"] == "contraindicated"
    assert part["ear.trustworthiness-vector"]["hardware"] == 97
    assert part["tallystick.strength"] == "attested, simulated"
    assert "SIMULATION ONLY" in part["tallystick.authority"]
    assert claims["exp"] == result.expires


def test_a_result_ends_with_the_first_of_endorsements_and_policy() -> None:
    assert sgx(validity=60).expires == NOW + 60
    assert sgx(validity=10 * DAY).expires == WINDOW[1]


def test_the_same_evidence_has_one_identity_however_it_is_padded() -> None:
    w = world()
    raw = w.platform.quote_enclave(ENCLAVE, DATA)
    results = [
        appraise(Evidence(quote, w.collateral[SGX]), REFERENCES, policy(), DATA, NOW).evidence for quote in (raw, raw + bytes(9))
    ]
    assert results[0] == results[1]


def test_report_data_are_compared_whole() -> None:
    for data in (DATA[:-1], DATA + b"\0", b"", DATA[:-1] + b"\0"):
        with refused(Rule.REPORT_DATA):
            sgx(data=data)


def test_measurements_must_be_reference_values() -> None:
    with refused(Rule.MEASUREMENT):
        sgx(references=ReferenceValues(()))
    with refused(Rule.MEASUREMENT):
        sgx(enclave=replace(ENCLAVE, mrenclave=bytes(32)))
    product = SgxProduct(ENCLAVE.mrsigner, ENCLAVE.isv_prod_id, ENCLAVE.isv_svn)
    assert sgx(references=ReferenceValues((product,))).measurement == ENCLAVE.mrenclave
    for other in (
        replace(product, minimum_isv_svn=ENCLAVE.isv_svn + 1),
        replace(product, isv_prod_id=0),
        replace(product, mrsigner=bytes(32)),
    ):
        with refused(Rule.MEASUREMENT):
            sgx(references=ReferenceValues((other,)))


def test_the_configuration_that_a_host_gives_counts() -> None:
    config = b"\x08" * 64
    given = replace(ENCLAVE, config_id=config)
    with refused(Rule.MEASUREMENT):
        sgx(enclave=given)
    assert sgx(enclave=given, references=ReferenceValues((SgxEnclave(ENCLAVE.mrenclave, 0, config),))).kind == "sgx"
    with refused(Rule.MEASUREMENT):
        sgx(enclave=given, references=ReferenceValues((SgxProduct(ENCLAVE.mrsigner, ENCLAVE.isv_prod_id, 0),)))


def test_every_register_and_setting_of_a_trust_domain_counts() -> None:
    log = extended([b"\x01" * 48, b"\x02" * 48])
    domain = replace(DOMAIN, rtmr=(ZERO, ZERO, ZERO, log))
    reference = TrustDomain(DOMAIN.mr_td, ZERO, ZERO, ZERO, log)
    assert tdx(domain, ReferenceValues((reference,))).kind == "tdx"
    other = b"\x09" * 48
    for changed in ("rtmr0", "rtmr1", "rtmr2", "rtmr3", "mr_config_id", "mr_owner", "mr_owner_config", "mr_td"):
        with refused(Rule.MEASUREMENT):
            tdx(domain, ReferenceValues((replace(reference, **{changed: other}),)))
    assert extended([b"\x02" * 48, b"\x01" * 48]) != log


def test_debug_is_refused_by_every_policy() -> None:
    with refused(Rule.DEBUG):
        sgx(enclave=replace(ENCLAVE, attributes=bytes([0x07]) + ENCLAVE.attributes[1:]))
    with refused(Rule.DEBUG):
        tdx(replace(DOMAIN, td_attributes=(1 | 1 << 28).to_bytes(8, "little")))


def test_an_enclave_with_provisioning_keys_is_refused() -> None:
    for flags in (0x15, 0x25, 0x04):
        with refused(Rule.TD_ATTRIBUTES):
            sgx(enclave=replace(ENCLAVE, attributes=bytes([flags]) + ENCLAVE.attributes[1:]))


@pytest.mark.parametrize(
    ("attributes", "xfam", "rule"),
    [
        (0, 0xE7, Rule.TD_ATTRIBUTES),
        (1 << 28 | 1 << 29, 0xE7, Rule.MIGRATION),
        (1 << 28 | 1 << 63, 0xE7, Rule.TD_ATTRIBUTES),
        (1 << 28 | 1 << 16, 0xE7, Rule.TD_ATTRIBUTES),
        (1 << 28, 0xE4, Rule.TD_ATTRIBUTES),
        (1 << 28, 0xE7 | 1 << 10, Rule.TD_ATTRIBUTES),
    ],
)
def test_a_trust_domains_attributes_are_bounded(attributes: int, xfam: int, rule: Rule) -> None:
    with refused(rule):
        tdx(replace(DOMAIN, td_attributes=attributes.to_bytes(8, "little"), xfam=xfam.to_bytes(8, "little")))


def test_a_bound_service_td_must_be_named() -> None:
    bound = b"\x07" * 48
    with refused(Rule.SERVICE_TD):
        tdx(replace(DOMAIN, mr_service_td=bound))
    assert tdx(replace(DOMAIN, mr_service_td=bound), service_tds=frozenset({bound})).kind == "tdx"


def test_statuses_and_advisories_need_the_policys_word() -> None:
    hardening = Tcb([level("SWHardeningNeeded", NOW, advisories=["INTEL-SA-1", "INTEL-SA-2"])])
    accepted = frozenset({TcbStatus.SW_HARDENING_NEEDED})
    with refused(Rule.TCB_STATUS):
        sgx(hardening, advisories=frozenset({"INTEL-SA-1", "INTEL-SA-2"}))
    with refused(Rule.ADVISORY):
        sgx(hardening, tcb_statuses=accepted, advisories=frozenset({"INTEL-SA-1"}))
    result = sgx(hardening, tcb_statuses=accepted, advisories=frozenset({"INTEL-SA-1", "INTEL-SA-2"}))
    assert result.vector.configuration == 32
    assert result.claims["advisories"] == "INTEL-SA-1,INTEL-SA-2"
    with refused(Rule.ADVISORY):
        sgx(Tcb(qe_levels=[part_level("UpToDate", NOW, 1, ["INTEL-SA-3"])]))


def test_an_outdated_tcb_passes_within_the_grace_only() -> None:
    old = Tcb([level("OutOfDate", NOW - 10 * DAY)])
    accepted = frozenset({TcbStatus.OUT_OF_DATE})
    with refused(Rule.GRACE):
        sgx(old, tcb_statuses=accepted)
    with refused(Rule.GRACE):
        sgx(old, tcb_statuses=accepted, grace=10 * DAY - 1)
    assert sgx(old, tcb_statuses=accepted, grace=10 * DAY).claims["tcb_status"] == "OutOfDate"


def test_a_revoked_tcb_is_refused_by_every_policy() -> None:
    with pytest.raises(ValueError, match="revoked"):
        policy(tcb_statuses=frozenset({TcbStatus.REVOKED}))
    with refused(Rule.TCB_STATUS):
        sgx(Tcb([level("Revoked", NOW)]), tcb_statuses=frozenset(TcbStatus) - {TcbStatus.REVOKED})


def test_old_evaluations_are_refused() -> None:
    with refused(Rule.EVALUATION):
        sgx(Tcb(evaluation=16), minimum_evaluation=17)
    assert sgx(Tcb(evaluation=17), minimum_evaluation=17).claims["tcb_evaluation"] == 17


def test_a_policys_digest_is_of_all_that_it_says() -> None:
    one = AppraisalPolicy("one")
    changed = [
        replace(one, name="two"),
        replace(one, simulations=frozenset({b"\x01"})),
        replace(one, tcb_statuses=frozenset({TcbStatus.OUT_OF_DATE})),
        replace(one, advisories=frozenset({"INTEL-SA-1"})),
        replace(one, grace=1),
        replace(one, minimum_evaluation=1),
    ]
    assert len({item.digest for item in (one, *changed)}) == len(changed) + 1
    assert (
        AppraisalPolicy("one", advisories=frozenset({"b", "a"})).digest
        == AppraisalPolicy("one", advisories=frozenset({"a", "b"})).digest
    )


def test_tiers_are_those_of_ar4si() -> None:
    assert [tier(value) for value in (-1, 0, 1, 2, 31, 32, 95, 96, 99)] == [0, 0, 0, 2, 2, 32, 32, 96, 96]
    assert TrustVector(hardware=2, configuration=32).status is Tier.WARNING
    assert Authority("x", b"", hardware=True).strength == "hardware"


def test_rules_have_one_number_and_code_each_and_the_error_survives_a_process_boundary() -> None:
    assert len({rule.number for rule in Rule}) == len({rule.code for rule in Rule}) == len(Rule)
    error = pickle.loads(pickle.dumps(EvidenceRefused(Rule.DEBUG, "why")))
    assert (error.rule, str(error)) == (Rule.DEBUG, "rule 702 (policy.debug): why")
