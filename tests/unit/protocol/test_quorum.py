"""The kind of proof by a quorum: honest bundles pass every rule, and each change fails the rule that is about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.attestation.cca import verify_cca
from tallystick.attestation.documents import write_evidence
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.references import Identified, ReferenceValues
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.verifier import appraise
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.attested import Appraisal
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.quorum import (
    LEAST,
    AttestedQuorum,
    QuorumRun,
    QuorumTerms,
    with_vouchings,
    write_vouchings,
)
from tallystick.protocol.proof.subject import Subject, subject_of
from tallystick.protocol.proof.vouching import RunClaim, Vouching, vouch
from tallystick.protocol.verify import Report, verify_bundle
from unit.attestation.test_cca import MARK
from unit.protocol import quorum_world
from unit.protocol.quorum_world import AT, VERIFIERS, claim, evidence, policy, sign, vouching
from unit.protocol.world import ACCOUNTS, DEPLOYED, PARTIES, World, make

OTHER = hashlib.sha256(b"other").digest()
KIND = KINDS["attested-hardware-quorum"]
BOUND = 96 + 227 + 60  # of three parties and three verifiers


@pytest.fixture
def world() -> World:
    return make("attested-hardware-quorum")


def check(world: World, **given: Any) -> Report:
    options = {"trusted_blocks": [world.head()], "contracts": DEPLOYED, "result_file": world.results[PARTIES[2]]}
    return verify_bundle(world.bundle(), **(options | given))


def subject(world: World) -> Subject:
    return subject_of(world.statement, world.spec.parties)


def run_of(world: World) -> QuorumRun:
    return QuorumRun.parse(world.proof[96:])[0]


def vouched(world: World) -> list[Vouching]:
    assert isinstance(KIND, AttestedQuorum)
    return KIND.vouchings(subject(world), run_of(world), world.proof[BOUND:])


def test_an_honest_bundle_passes_every_rule_and_names_who_vouched(world: World) -> None:
    report = check(world)
    report.require(complete=True)
    shown = report.rules[15].detail
    assert "2 of 3 verifiers vouch" in shown
    assert all(account in shown for account in VERIFIERS[:2])


def test_vouchings_are_collected_after_the_parties_signed(world: World) -> None:
    signed = world.bundle().statement
    about, shown = claim(subject(world)), evidence(claim(subject(world)).report_data)
    run = run_of(world)
    third = replace(vouching(about, VERIFIERS[2], shown), evidence=run.evidence)
    third = replace(third, signature=sign(VERIFIERS[2], third.digest))
    world.proof = world.proof[:BOUND]
    assert check(world).failed == (16,)
    world.proof = with_vouchings(world.proof, 3, [third, vouched_again(world, run, VERIFIERS[0])])
    check(world).require(complete=True)
    assert world.bundle().statement == signed


def vouched_again(world: World, run: QuorumRun, verifier: str, **changes: Any) -> Vouching:
    """A vouching for exactly this run."""
    about = claim(subject(world))
    found = replace(vouching(about, verifier), evidence=run.evidence, **changes)
    return replace(found, signature=sign(verifier, found.digest))


def test_fewer_than_the_task_asks_for_or_one_twice_do_not_pass(world: World) -> None:
    run, (first, second) = run_of(world), vouched(world)
    for rest, words in (
        (b"", "0 verifiers vouch"),
        (write_vouchings(run, [first]), "1 verifiers vouch"),
        (write_vouchings(run, [first]) * 2, "each once"),
        (write_vouchings(run, [second]) + write_vouchings(run, [first]), "each once"),
        (write_vouchings(run, [first, second])[:-1], "cut off"),
        (write_vouchings(run, [first, second]) + b"\0", "cut off"),
        (b"\3" + write_vouchings(run, [first])[1:], "none that the task names"),
    ):
        world.proof = world.proof[:BOUND] + rest
        report = check(world)
        assert report.failed == (16,)
        assert words in report.rules[15].detail
    with pytest.raises(MalformedDocument, match="twice"):
        write_vouchings(run, [first, first])
    with pytest.raises(MalformedDocument, match="none of the verifiers"):
        write_vouchings(run, [replace(first, verifier=PARTIES[0])])


@pytest.mark.parametrize(
    "name", ["task", "attempt", "chain_id", "registry", "identity", "platform", "report_data", "policy", "not_after"]
)
def test_a_vouching_about_anything_else_does_not_count(world: World, name: str) -> None:
    run, (first, second) = run_of(world), vouched(world)
    values = {"attempt": 2, "chain_id": 1, "registry": PARTIES[0], "report_data": bytes(64), "not_after": AT}
    other = replace(first, **{name: values.get(name, OTHER)})
    forged = replace(first, signature=sign(first.verifier, other.digest))
    world.proof = world.proof[:BOUND] + write_vouchings(run, [forged, second])
    report = check(world)
    assert report.failed == (16,)
    assert "not about this run" in report.rules[15].detail


def test_the_word_of_a_contract_is_left_to_the_chain(world: World) -> None:
    """What signs for an account that is a contract looks like anybody's signature here."""
    run, (first, second) = run_of(world), vouched(world)
    third = vouched_again(world, run, VERIFIERS[2])
    wallet = replace(third, signature=sign(VERIFIERS[0], third.digest))
    world.proof = with_vouchings(world.proof, 3, [first, second, wallet])
    report = check(world)
    report.require(complete=True)
    assert "2 of 3 verifiers vouch" in report.rules[15].detail and "1 more that only the chain" in report.rules[15].detail
    assert isinstance(KIND, AttestedQuorum)
    assert KIND.vouched_by(subject(world), world.proof) == VERIFIERS[:2]
    world.proof = with_vouchings(world.proof, 3, [second, wallet])
    assert check(world).failed == (16,)
    again = write_vouchings(run, [wallet])
    world.proof = world.proof[:BOUND] + again + again
    assert "each once" in check(world).rules[15].detail


CHANGES: dict[str, Callable[[QuorumRun], QuorumRun]] = {
    "threshold": lambda run: replace(run, threshold=3),
    "one verifier": lambda run: replace(run, threshold=1),
    "verifiers": lambda run: replace(run, verifiers=run.verifiers[:2]),
    "policy": lambda run: replace(run, policy=OTHER),
    "identity": lambda run: replace(run, identity=OTHER),
    "algorithm": lambda run: replace(run, algorithm=OTHER),
    "output": lambda run: replace(run, output=OTHER),
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_another_run_that_all_sign_fails(world: World, name: str) -> None:
    run = CHANGES[name](run_of(world))
    report_data = claim(subject(world)).report_data[:32] + run.key
    said = [
        Vouching(
            *(subject(world).chain_id, subject(world).registry, subject(world).task, 1),
            *(run.family, run.identity, run.platform, report_data, run.evidence, run.policy, AT + 100, verifier),
        )
        for verifier in VERIFIERS[:2]
    ]
    said = [replace(each, signature=sign(each.verifier, each.digest)) for each in said]
    world.proof = world.proof[:96] + run.to_bytes() + write_vouchings(run, said)
    world.state_proof()
    assert 16 in check(world).failed


def test_a_partys_own_word_does_not_count(world: World) -> None:
    party = ACCOUNTS[0]
    run = replace(run_of(world), verifiers=tuple(sorted((party.address, *VERIFIERS[:2]), key=lambda each: int(each, 16))))
    own = replace(vouched_again(world, run, VERIFIERS[0]), verifier=party.address)
    own = replace(own, signature=party.sign(own.digest))
    world.proof = world.proof[:96] + run.to_bytes() + write_vouchings(run, [own, vouched_again(world, run, VERIFIERS[1])])
    world.state_proof()
    with pytest.raises(MalformedDocument, match="a party of the task"):
        KIND.check(subject(world), world.proof)


def test_an_auditor_appraises_the_evidence_anew(world: World) -> None:
    about = claim(subject(world))
    shown = evidence(about.report_data)
    found = [vouching(about, verifier, shown) for verifier in VERIFIERS[:2]]
    run = QuorumRun.of(quorum_world.ALGORITHM, quorum_world.OUTPUT, found[0], quorum_world.terms())
    world.proof = world.proof[:96] + run.to_bytes() + write_vouchings(run, found)
    world.state_proof()
    report = check(world, appraisal=Appraisal(write_evidence(shown), policy()))
    report.require(complete=True)
    assert "evidence appraised: attested, hardware, cca" in report.rules[15].detail
    for document, by, words in (
        (write_evidence(evidence(about.report_data, instance=b"\x01" * 33)), policy(), "not what the verifiers vouched for"),
        (write_evidence(evidence(bytes(64))), policy(), "rule 704"),
        (write_evidence(shown), AppraisalPolicy("strict"), "rule 602"),
        (b"{}", policy(), "rule 103"),
    ):
        failed = check(world, appraisal=Appraisal(document, by))
        assert failed.failed == (16,)
        assert words in failed.rules[15].detail


def test_nobody_vouches_for_a_simulation_or_for_other_report_data(world: World) -> None:
    about = claim(subject(world))
    lax = policy(cca_platforms=frozenset(), simulations=frozenset({quorum_world.platform().fingerprint}))
    shown = evidence(about.report_data, MARK)
    marked = [verify_cca(shown.raw, shown.endorsements, frozenset(), lax.simulations).identity]
    with pytest.raises(EvidenceRefused) as caught:
        vouch(about, shown, marked, lax, VERIFIERS[0], lambda digest: sign(VERIFIERS[0], digest), AT)
    assert caught.value.rule is Rule.AUTHORITY
    for changed in (replace(about, output=OTHER), replace(about, task=OTHER), replace(about, attempt=2), replace(about, key=OTHER)):
        with pytest.raises(EvidenceRefused) as caught:
            vouching(changed, VERIFIERS[0], evidence(about.report_data))
        assert caught.value.rule is Rule.REPORT_DATA
    with pytest.raises(EvidenceRefused) as caught:
        vouch(about, evidence(about.report_data), [OTHER], policy(), VERIFIERS[0], lambda digest: digest, AT)
    assert caught.value.rule is Rule.MEASUREMENT


def test_a_machine_has_another_name_in_each_attempt(world: World) -> None:
    about = claim(subject(world))
    names = {vouching(each, VERIFIERS[0]).platform for each in (about, replace(about, attempt=2), replace(about, task=OTHER))}
    assert len(names) == 3
    assert vouching(about, VERIFIERS[1]).platform in names


def test_documents_are_read_strictly(world: World) -> None:
    about, (first, _) = claim(subject(world)), vouched(world)
    assert RunClaim.parse(about.to_bytes()) == about
    assert Vouching.parse(first.to_bytes()) == first
    for document, read in ((about.to_bytes(), RunClaim.parse), (first.to_bytes(), Vouching.parse)):
        value = canonical.decode(document, 1 << 16)
        for name in value:
            for other in (None, "", -1, [], "0x0", 2**60):
                with pytest.raises(MalformedDocument):
                    read(canonical.encode({**value, name: other}))
            with pytest.raises(MalformedDocument):
                read(canonical.encode({key: item for key, item in value.items() if key != name}))
        with pytest.raises(MalformedDocument):
            read(canonical.encode({**value, "more": 1}))
    with pytest.raises(MalformedDocument, match="family"):
        _ = replace(first, family="simulated").digest


def test_the_specification_has_what_is_signed() -> None:
    words = [bytes([number]) * 32 for number in range(1, 7)]
    about = (1, "0x0000000000000000000000000000000000000001", words[0], 1)
    said = Vouching(*about, "snp", words[1], words[2], words[3] * 2, words[4], words[5], 7, VERIFIERS[0])
    page = (Path(__file__).parents[3] / "docs" / "spec" / "attested-task.md").read_text()
    assert f"`{said.digest.hex()}`" in page


def test_terms_are_read_strictly() -> None:
    honest = quorum_world.terms().to_json()
    assert QuorumTerms.of({"quorum": honest}) == quorum_world.terms()
    for bad in (
        {"threshold": LEAST - 1},
        {"threshold": 4},
        {"verifiers": list(VERIFIERS[:1])},
        {"verifiers": list(reversed(VERIFIERS))},
        {"verifiers": [VERIFIERS[0], VERIFIERS[0]]},
        {"policy": "x"},
        {"more": 1},
    ):
        with pytest.raises(MalformedDocument):
            QuorumTerms.of({"quorum": {**honest, **bad}})
    with pytest.raises(MalformedDocument):
        QuorumTerms.of({})


def test_parties_that_name_different_runs_are_named(world: World) -> None:
    about = subject(world)
    honest = quorum_world.said(about)
    assert KIND.assemble(about, dict.fromkeys(about.parties, honest))
    with pytest.raises(MalformedDocument) as caught:
        KIND.assemble(about, dict.fromkeys(about.parties, honest) | {about.parties[1]: quorum_world.said(about, 3)})
    assert caught.value.party == about.parties[1]
    for other in ("", honest.upper(), honest[:-1], honest.removeprefix("quorum:")):
        with pytest.raises(MalformedDocument):
            KIND.assemble(about, dict.fromkeys(about.parties, other))


def test_a_party_states_the_run_that_it_appraised_itself_before_anybody_vouches(world: World) -> None:
    about = claim(subject(world))
    shown, references = evidence(about.report_data), ReferenceValues((Identified(quorum_world.identity()),))
    found = appraise(shown, references, policy(), about.report_data, AT)
    run = QuorumRun.appraised(about.context, quorum_world.ALGORITHM, quorum_world.OUTPUT, found, quorum_world.terms())
    said = [vouching(about, verifier, shown) for verifier in VERIFIERS[:2]]
    assert run == QuorumRun.of(quorum_world.ALGORITHM, quorum_world.OUTPUT, said[0], quorum_world.terms())
    bare = KIND.assemble(subject(world), dict.fromkeys(subject(world).parties, run.to_text()))
    assert len(bare) == BOUND
    with pytest.raises(MalformedDocument, match="0 verifiers vouch"):
        KIND.check(subject(world), bare)
    whole = with_vouchings(bare, 3, said)
    assert "2 of 3 verifiers vouch" in KIND.check(subject(world), whole)
    assert KIND.output(subject(world), whole) == KIND.output(subject(world), bare)
    for other, words in (
        (replace(found, policy_digest=OTHER), "another policy"),
        (replace(found, kind="simulated"), "genuine hardware alone"),
        (replace(found, authority=replace(found.authority, hardware=False)), "genuine hardware alone"),
    ):
        with pytest.raises(MalformedDocument, match=words):
            QuorumRun.appraised(about.context, quorum_world.ALGORITHM, quorum_world.OUTPUT, other, quorum_world.terms())


@given(st.binary(max_size=600))
def test_hostile_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    for read in (QuorumRun.parse, RunClaim.parse, Vouching.parse):
        try:
            read(data)
        except MalformedDocument:
            continue
        assert read is QuorumRun.parse
