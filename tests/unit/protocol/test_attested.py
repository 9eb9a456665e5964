"""The kinds of proof by an enclave's quote: honest bundles pass every rule, and each change fails the rule that is about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.attestation.documents import write_evidence
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX
from tallystick.attestation.rules import Rule
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import SimulatedPlatform
from tallystick.attestation.verifier import Evidence
from tallystick.protocol import canonical, events
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.attested import PREFIX, Appraisal, AttestedRun, EnclaveTerms
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.subject import Subject, subject_of
from tallystick.protocol.result import ResultFile
from tallystick.protocol.verify import Report, verify_bundle
from unit.protocol.world import (
    ALGORITHM,
    DAY,
    DEPLOYED,
    ENCLAVE,
    OUTPUT,
    PARTIES,
    START,
    World,
    attested_quote,
    attested_run,
    make,
    simulated_platform,
)

KIND = KINDS["attested-simulated"]
OTHER = hashlib.sha256(b"other").digest()


@pytest.fixture
def world() -> World:
    return make("attested-simulated")


def check(world: World, **given: Any) -> Report:
    options: dict[str, Any] = {
        "trusted_blocks": [world.head()],
        "contracts": DEPLOYED,
        "result_file": world.results[PARTIES[2]],
    }
    return verify_bundle(world.bundle(), **(options | given))


def subject(world: World) -> Subject:
    return subject_of(world.statement, world.spec.parties)


def run_of(world: World) -> AttestedRun:
    return AttestedRun.parse(world.proof[96:])


def agree_on(world: World, run: AttestedRun) -> None:
    """Let all parties sign another proof."""
    world.proof = world.proof[:96] + run.to_bytes()
    world.state_proof()


def test_an_honest_bundle_passes_every_rule(world: World) -> None:
    report = check(world)
    report.require(complete=True)
    assert "attested-simulated: enclave" in report.rules[15].detail


def test_a_simulations_quote_is_not_hardwares(world: World) -> None:
    with pytest.raises(MalformedDocument, match="not the vendor's"):
        KINDS["attested-hardware"].check(subject(world), world.proof)


CHANGES: dict[str, Callable[[AttestedRun], AttestedRun]] = {
    "algorithm": lambda run: replace(run, algorithm=OTHER),
    "output": lambda run: replace(run, output=OTHER),
    "platform": lambda run: replace(run, quote=replace(run.quote, platform=run.quote.endorsement[64:128])),
    "body": lambda run: replace(run, quote=replace(run.quote, signed=run.quote.signed[:-1] + b"\7")),
    "signature": lambda run: replace(run, quote=replace(run.quote, endorsement=OTHER + run.quote.endorsement[32:])),
    "authentication": lambda run: replace(run, quote=replace(run.quote, endorsement=run.quote.endorsement + b"\0")),
    "version": lambda run: replace(run, quote=replace(run.quote, signed=b"\4" + run.quote.signed[1:])),
    "point": lambda run: replace(run, quote=replace(run.quote, platform=bytes(64))),
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_another_proof_that_all_signed_fails_where_proofs_are_checked(world: World, name: str) -> None:
    agree_on(world, CHANGES[name](run_of(world)))
    assert 16 in check(world).failed


def test_a_quote_of_another_attempt_or_of_other_inputs_is_refused(world: World) -> None:
    honest = subject(world)
    swapped = tuple(replace(each, commitment=canonical.text(OTHER)) for each in honest.inputs)
    for other in (replace(honest, context=OTHER), replace(honest, inputs=swapped)):
        agree_on(world, attested_run(other))
        assert check(world).failed == (16,)


def test_only_enclave_and_algorithm_of_the_spec(world: World) -> None:
    agree_on(world, attested_run(subject(world), replace(ENCLAVE, mrenclave=OTHER)))
    report = check(world)
    assert report.failed == (16,)
    assert "none that the spec names" in report.rules[15].detail
    parameters = dict(world.spec.parameters)
    terms = EnclaveTerms.of(parameters)
    parameters["enclave"] = replace(terms, algorithm=OTHER).to_json()
    with pytest.raises(MalformedDocument, match="another algorithm"):
        KIND.require_terms(parameters, 3, world.proof)
    with pytest.raises(MalformedDocument, match="enclave"):
        KIND.require_terms({}, 3, world.proof)


def test_terms_are_read_strictly(world: World) -> None:
    honest = dict(world.spec.parameters)["enclave"]
    one, two = canonical.text(bytes(32)), canonical.text(OTHER)
    for bad in ({"identities": []}, {"identities": [two, one]}, {"identities": [one, one]}, {"algorithm": "x"}, {"more": 1}):
        with pytest.raises(MalformedDocument):
            EnclaveTerms.of({"enclave": {**honest, **bad}})


def test_parties_that_name_different_runs_are_named(world: World) -> None:
    about = subject(world)
    honest = attested_run(about).to_text()
    assert KIND.assemble(about, dict.fromkeys(about.parties, honest))
    for other in ("", honest[:-2], honest.upper(), honest.replace(PREFIX, ""), attested_run(about).to_text()):
        said = dict.fromkeys(about.parties, honest) | {about.parties[1]: other}
        with pytest.raises(MalformedDocument) as caught:
            KIND.assemble(about, said)
        assert caught.value.party == about.parties[1]


def test_the_result_file_names_the_enclaves_output(world: World) -> None:
    file = ResultFile.parse(world.results[PARTIES[2]])
    assert KIND.open(subject(world), world.proof, file, None) is not None
    for values in ({}, {"output": canonical.text(OTHER)}, {"output": OUTPUT.hex()}):
        with pytest.raises(MalformedDocument, match="another output"):
            KIND.open(subject(world), world.proof, replace(file, values=values), None)
    with pytest.raises(MalformedDocument, match="no aggregate"):
        KIND.open(subject(world), world.proof, file, [b""])


def test_commitments_are_digests_and_not_zero() -> None:
    KIND.check_commitment(canonical.text(OTHER))
    for text in ("", "anything", canonical.text(bytes(32))):
        with pytest.raises(MalformedDocument):
            KIND.check_commitment(text)


@given(st.binary(max_size=3000))
def test_bytes_that_are_no_run_are_refused(data: bytes) -> None:
    try:
        run = AttestedRun.parse(data)
    except MalformedDocument:
        return
    assert run.to_bytes() == data


# -- full appraisal

POLICY = AppraisalPolicy("test")


def test_evidence_with_endorsements_is_appraised_in_full(world: World) -> None:
    authority = ProvisioningAuthority((START - DAY, START + 365 * DAY))
    platform = SimulatedPlatform(authority)
    quote = platform.quote(3, SGX, attested_quote(subject(world))[48:432])
    agree_on(world, AttestedRun.of_quote(ALGORITHM, OUTPUT, quote))
    window = (START, START + DAY)
    document = write_evidence(Evidence(quote, authority.collateral(SGX, window)))
    accepting = replace(POLICY, simulations=frozenset({authority.fingerprint}))
    report = check(world, appraisal=Appraisal(document, accepting))
    report.require(complete=True)
    assert "evidence appraised: attested, simulated" in report.rules[15].detail

    def refused(document: bytes, words: str, policy: AppraisalPolicy = accepting) -> None:
        report = check(world, appraisal=Appraisal(document, policy))
        assert report.failed == (16,)
        assert words in report.rules[15].detail

    refused(document, Rule.DCAP_ROOT.code, POLICY)
    refused(b"{}", Rule.VERSION.code)
    stale = authority.collateral(SGX, (START - DAY, START - 1))
    refused(write_evidence(Evidence(quote, stale)), Rule.DCAP_CRL_FRESH.code)
    revoked = authority.collateral(SGX, window, revoked=[platform.pck])
    refused(write_evidence(Evidence(quote, revoked)), Rule.DCAP_PCK_REVOKED.code)
    another = simulated_platform().quote(3, SGX, attested_quote(subject(world))[48:432])
    refused(write_evidence(Evidence(another, authority.collateral(SGX, window))), "not the proof's quote")


def test_evidence_does_not_belong_to_other_kinds() -> None:
    other = make("signed-by-all")
    options: dict[str, Any] = {"trusted_blocks": [other.head()], "contracts": DEPLOYED}
    assert verify_bundle(other.bundle(), appraisal=Appraisal(b"", POLICY), **options).failed == (16,)


def test_without_a_proof_on_chain_there_is_no_time_to_appraise_at(world: World) -> None:
    world.drop(events.RESULT_PROVED)
    report = check(world, appraisal=Appraisal(b"", POLICY))
    assert (report.rules[15].verdict, report.failed) == ("skipped", (17,))
