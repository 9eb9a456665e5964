# ruff: noqa: E501 - one row of the table of tampers is one line
"""Each numbered rule: an honest bundle passes it, and a bundle with one thing changed fails it under its number."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tallystick.protocol import canonical, events
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.facts import BlockEvidence, BundleFacts, ChainEvidence
from tallystick.protocol.fields import order
from tallystick.protocol.identity import issue_authority, issue_certificate
from tallystick.protocol.proof import sum_verified
from tallystick.protocol.proof.subject import subject_of
from tallystick.protocol.result import Opening, ResultFile, file_digest
from tallystick.protocol.statement import Envelope, StatementOutput
from tallystick.protocol.task import Security, TaskSpec, proposal_of
from tallystick.protocol.typed import proof_kind
from tallystick.protocol.verify import TITLES, Report, verify_bundle
from unit.protocol.world import (
    CHAIN,
    DAY,
    DEPLOYED,
    FILES,
    PARTIES,
    REQUESTER,
    START,
    STRANGER,
    World,
    make,
    p256,
    salt,
)

OTHER = hashlib.sha256(b"other").digest()


def check(world: World, bundle: Bundle | None = None, **given: Any) -> Report:
    arguments: dict[str, Any] = {
        "trusted_blocks": [world.head()],
        "contracts": DEPLOYED,
        "result_file": world.results[PARTIES[2]],
        "at": START + DAY,
    }
    return verify_bundle(bundle or world.bundle(), **(arguments | given))


def respec(world: World, **changes: Any) -> None:
    """Change the spec alone: the chain keeps the digest of the original."""
    world.spec = replace(world.spec, **changes)


def repropose(world: World, spec: TaskSpec) -> None:
    """Let everybody run another spec: proposal, events and statement follow it."""
    world.spec = spec
    proposal = proposal_of(spec)
    task = proposal.id()
    world.change(events.PROPOSED, task=task, spec=proposal.spec, proposal=proposal.as_tuple(), requester=spec.requester)
    for kind, values in world.events:
        if "task" in values and kind is not events.PROPOSED:
            values["task"] = task
    world.agree(task=canonical.hex32(task), spec=canonical.text(spec.digest()), security=spec.security)


def reproposed(world: World, **changes: Any) -> None:
    """Change the proposal on chain, and its id everywhere, but not the spec."""
    proposal = replace(proposal_of(world.spec), **changes)
    task = proposal.id()
    for kind, values in world.events:
        if "task" in values:
            values["task"] = task
        if kind is events.PROPOSED:
            values["proposal"] = proposal.as_tuple()
    world.agree(task=canonical.hex32(task))


def result_without_opening(world: World, opening: Opening | None) -> None:
    """Let all parties agree on a result file with another opening."""
    file = ResultFile.parse(world.results[PARTIES[2]])
    data = replace(file, opening=opening, task=world.statement.task).to_bytes()
    world.results[PARTIES[2]] = data
    world.agree(outputs=(StatementOutput(PARTIES[2], file_digest(data)),))


@pytest.mark.parametrize("kind", ["sum-verified", "signed-by-all"])
def test_an_honest_bundle_passes_every_rule(kind: str) -> None:
    report = check(make(kind))
    assert [rule.number for rule in report.rules] == list(range(1, 21))
    assert {rule.verdict for rule in report.rules} == {"ok"}
    assert report.ok
    report.require(complete=True)


def test_it_also_verifies_against_online_facts(world: World) -> None:
    facts = BundleFacts(ChainEvidence.parse(world.bundle().chain), [world.head()])
    assert check(world, trusted=facts, trusted_blocks=()).ok


def test_files_beside_the_result_file_are_bound_by_rule_18(world: World) -> None:
    def verdict(files: dict[str, str]) -> str:
        rule = check(world, files=files).rules[17]
        assert rule.number == 18
        return f"{rule.verdict}: {rule.detail}"

    other = canonical.text(OTHER)
    assert verdict(dict(FILES)) == f"ok: the file of {PARTIES[2]}, with 1 of the 1 files that it names"
    assert verdict({"model.bin": other}) == "failed: model.bin: not a file that the result file names, or changed"
    assert verdict({**FILES, "more.bin": other}).startswith("failed: more.bin")
    world.results[PARTIES[2]] = b"{}"
    world.agree(outputs=(StatementOutput(PARTIES[2], file_digest(b"{}")),))
    report = check(world, files=FILES)
    assert report.rules[17].detail.endswith("(rule 19)") and report.failed == (19,)


@pytest.mark.parametrize(
    "files", [{"../x": "sha256:" + "0" * 64}, {"result.json": "sha256:" + "0" * 64}, {"x": "sha256:0"}, {"": 1}, []]
)
def test_names_and_digests_of_files_are_read_strictly(world: World, files: Any) -> None:
    value = canonical.decode(world.results[PARTIES[2]], 1 << 20) | {"files": files}
    with pytest.raises(MalformedDocument, match="files"):
        ResultFile.parse(canonical.encode(value))


def test_what_is_not_given_is_skipped_with_a_reason(world: World) -> None:
    report = verify_bundle(world.bundle())
    skipped = {rule.number: rule.detail for rule in report.rules if rule.verdict == "skipped"}
    assert set(skipped) == {18, 19, 20}
    assert all(skipped.values())
    report.require()
    with pytest.raises(VerificationFailed) as caught:
        report.require(complete=True)
    assert caught.value.rule == 18


def other_ca(world: World) -> None:
    world.authority = issue_authority("Test consortium", p256(31), (START - DAY, START + DAY))


def short_certificate(world: World, validity: tuple[int, int]) -> None:
    party = PARTIES[0]
    made = issue_certificate(
        world.authority, world.ca_key, p256(2000).public_key(), party, "H", ["localhost"], ["data-provider"], validity
    )
    world.certificates[party] = made
    world.change(events.ENROLLED, 0, fingerprint=made.fingerprint)


def foreign_authority(world: World) -> None:
    """A second CA certifies everyone with the same keys; the chain holds these fingerprints, but another authority's key."""
    key = p256(77)
    world.authority = issue_authority("Forger", key, (START - DAY, START + DAY))
    for index, party in enumerate(PARTIES):
        made = issue_certificate(
            world.authority, key, p256(2000 + index).public_key(), party, "H", [], [], (START - DAY, START + DAY)
        )
        world.certificates[party] = made
        world.change(events.ENROLLED, index, fingerprint=made.fingerprint)


def suspend(world: World, *, reinstated: bool = False) -> None:
    fingerprint = world.certificates[PARTIES[1]].fingerprint
    world.insert_before(events.STARTED, events.SUSPENDED, account=PARTIES[1], fingerprint=fingerprint, reason=OTHER)
    if reinstated:
        world.insert_before(events.STARTED, events.REINSTATED, account=PARTIES[1], fingerprint=fingerprint)


def revoke(world: World) -> None:
    fingerprint = world.certificates[PARTIES[1]].fingerprint
    world.insert_before(events.STARTED, events.REVOKED, account=PARTIES[1], fingerprint=fingerprint, reason=OTHER)


def wrong_terms(world: World) -> None:
    """The spec names other terms than the grant on chain commits to."""
    other = replace(world.terms[0], salts=replace(world.terms[0].salts, purpose=salt("fresh")))
    world.terms[0] = other
    given = replace(world.spec.inputs[0], terms=canonical.hex32(other.root()))
    repropose(world, replace(world.spec, inputs=(given, *world.spec.inputs[1:])))


def expired_grant(world: World) -> None:
    """The grant ended before the attempt started; everyone agrees on its new id."""
    old = world.grants[0]
    grant = replace(old, not_after=START - 1)
    world.grants[0] = grant
    for _, values in world.events:
        if values.get("grant") == old.id():
            values["grant"] = grant.id()
    given = replace(world.spec.inputs[0], grant=canonical.hex32(grant.id()))
    stated = replace(world.statement.inputs[0], grant=given.grant)
    world.statement = replace(world.statement, inputs=(stated, *world.statement.inputs[1:]))
    repropose(world, replace(world.spec, inputs=(given, *world.spec.inputs[1:])))


def columns(world: World) -> None:
    given = replace(world.spec.inputs[0], columns=("age", "diagnosis"))
    repropose(world, replace(world.spec, inputs=(given, *world.spec.inputs[1:])))


def more_receivers(world: World) -> None:
    spec = replace(world.spec, receivers=(PARTIES[0], PARTIES[2]))
    digest = world.statement.outputs[0].sha256
    world.statement = replace(world.statement, outputs=(StatementOutput(PARTIES[0], digest), StatementOutput(PARTIES[2], digest)))
    repropose(world, spec)


def first_input(world: World, **changes: Any) -> None:
    world.agree(inputs=(replace(world.statement.inputs[0], **changes), *world.statement.inputs[1:]))


def unproved_fields(world: World, **changes: Any) -> None:
    world.statement = replace(world.statement, **changes)
    world.record()


def link_to_a_stranger(world: World) -> None:
    links = [*world.statement.links[:-1], replace(world.statement.links[-1], recipient=STRANGER.address)]
    world.agree(links=tuple(sorted(links, key=lambda link: (order(link.sender), order(link.recipient)))))


Tamper = Callable[[World], object]
TAMPERS: list[tuple[int, str, Tamper]] = [
    (2, "a parameter of the spec", lambda w: respec(w, parameters={"measures": ["sum"], "minimum_group": 1})),
    (2, "the digest on chain", lambda w: w.change(events.PROPOSED, proposal=replace(proposal_of(w.spec), spec=OTHER).as_tuple())),
    (3, "the proposal was never made", lambda w: w.drop(events.PROPOSED)),
    (3, "the proposal hashes otherwise", lambda w: w.change(events.PROPOSED, proposal=replace(proposal_of(w.spec), salt=OTHER).as_tuple())),
    (3, "another chain", lambda w: repropose(w, replace(w.spec, chain_id=1))),
    (3, "another ledger", lambda w: repropose(w, replace(w.spec, task_ledger=REQUESTER))),
    (4, "other attempts than the spec's", lambda w: reproposed(w, attempts=9)),
    (4, "another requester than the spec's", lambda w: reproposed(w, requester=PARTIES[0])),
    (4, "a grant is debited less than the spec says", lambda w: reproposed(w, parties=(replace(proposal_of(w.spec).parties[0], epsilon_micros=249_999), *proposal_of(w.spec).parties[1:]))),
    (4, "a party is left out", lambda w: reproposed(w, parties=proposal_of(w.spec).parties[:2])),
    (5, "another authority of the same name", other_ca),
    (5, "a certificate that had expired", lambda w: short_certificate(w, (START - DAY, START - 1))),
    (5, "a certificate that was not yet valid", lambda w: short_certificate(w, (START + DAY, START + 2 * DAY))),
    (5, "a certificate is missing", lambda w: w.certificates.pop(PARTIES[1])),
    (6, "another fingerprint on chain", lambda w: w.change(events.ENROLLED, 1, fingerprint=OTHER)),
    (6, "another key on chain", lambda w: w.change(events.ENROLLED, 1, subjectX=OTHER)),
    (6, "never enrolled", lambda w: w.drop(events.ENROLLED, 2)),
    (6, "the enrolment had ended", lambda w: w.change(events.ENROLLED, 0, notAfter=START - 1)),
    (6, "an authority that the chain does not know", foreign_authority),
    (6, "a suspended participant", suspend),
    (6, "a revoked participant", revoke),
    (7, "the grant was never issued", lambda w: w.drop(events.GRANTED)),
    (7, "the grant is missing", lambda w: w.grants.pop(0)),
    (7, "the terms are missing", lambda w: w.terms.pop(1)),
    (7, "other terms", wrong_terms),
    (7, "the dataset is another party's", lambda w: w.change(events.PUBLISHED, 0, owner=PARTIES[1])),
    (8, "another purpose", lambda w: repropose(w, replace(w.spec, purpose="marketing"))),
    (8, "another algorithm", lambda w: (setattr(w, "statement", replace(w.statement, workload="training")), repropose(w, replace(w.spec, workload="training")))),
    (8, "a column that was not granted", columns),
    (8, "a receiver that was not granted", more_receivers),
    (8, "another requester", lambda w: repropose(w, replace(w.spec, requester=PARTIES[0]))),
    (8, "the grant had ended", expired_grant),
    (9, "a grant was not debited", lambda w: w.drop(events.DEBITED)),
    (9, "debited for another attempt", lambda w: w.change(events.DEBITED, 1, attempt=2)),
    (9, "more uses than granted", lambda w: w.change(events.DEBITED, 0, used=4)),
    (9, "more epsilon than granted", lambda w: w.change(events.DEBITED, 0, spentMicros=5_000_001)),
    (10, "a party did not accept", lambda w: w.drop(events.ACCEPTED, 1)),
    (10, "a party accepted another attempt", lambda w: w.change(events.ACCEPTED, 2, attempt=2)),
    (10, "accepted too late", lambda w: repropose(w, replace(w.spec, accept_by=START + 1))),
    (10, "the attempt never started", lambda w: w.drop(events.STARTED)),
    (11, "the chain proved another statement", lambda w: w.change(events.RESULT_PROVED, statement=OTHER)),
    (11, "the statement's cost was changed later", lambda w: setattr(w, "statement", replace(w.statement, workload=w.statement.workload, cost=replace(w.statement.cost, rounds=5)))),
    (12, "another spec", lambda w: w.agree(spec=canonical.text(OTHER))),
    (12, "another workload", lambda w: w.agree(workload="training")),
    (12, "a party's code release left out", lambda w: w.agree(code=w.statement.code[1:])),
    (12, "weaker security", lambda w: w.agree(security=Security("semi-honest", 0))),
    (12, "another contract", lambda w: w.agree(contracts={**DEPLOYED, "AuditLog": REQUESTER})),
    (12, "another chain", lambda w: w.agree(chain_id=1)),
    (12, "rows that the chain does not have", lambda w: first_input(w, rows=canonical.text(OTHER))),
    (12, "another grant", lambda w: first_input(w, grant=canonical.hex32(OTHER))),
    (12, "another receiver", lambda w: w.agree(outputs=(replace(w.statement.outputs[0], receiver=PARTIES[1]),))),
    (13, "a stranger signs for a party", lambda w: w.signers.update({PARTIES[1]: STRANGER})),
    (13, "a signature is missing", lambda w: w.signers.pop(PARTIES[0])),
    (13, "a stranger signs too", lambda w: w.signers.update({STRANGER.address: STRANGER})),
    (14, "a link is missing", lambda w: w.agree(links=w.statement.links[1:])),
    (14, "a link to a stranger", link_to_a_stranger),
    (15, "other proof inputs", lambda w: unproved_fields(w, proof_inputs=canonical.hex32(OTHER))),
    (15, "another proof output", lambda w: unproved_fields(w, proof_output=canonical.hex32(OTHER))),
    (15, "a commitment that is no point", lambda w: unproved_fields(w, inputs=(replace(w.statement.inputs[0], commitment="bn254:" + "01" * 64), w.statement.inputs[1]))),
    (16, "other proof bytes", lambda w: setattr(w, "proof", w.proof[:-1] + bytes([w.proof[-1] ^ 1]))),
    (16, "no proof bytes", lambda w: setattr(w, "proof", b"")),
    (17, "no proof on chain", lambda w: w.drop(events.RESULT_PROVED)),
    (17, "a weaker kind on chain", lambda w: w.change(events.RESULT_PROVED, kind=proof_kind("signed-by-all"))),
    (17, "other inputs on chain", lambda w: w.change(events.RESULT_PROVED, inputs=OTHER)),
    (17, "another output on chain", lambda w: w.change(events.RESULT_PROVED, output=OTHER)),
    (17, "another attempt on chain", lambda w: w.change(events.RESULT_PROVED, attempt=2)),
    (18, "another file", lambda w: w.results.update({PARTIES[2]: replace(ResultFile.parse(w.results[PARTIES[2]]), values={"mean": "3.6"}).to_bytes()})),
    (18, "not a result file at all", lambda w: w.results.update({PARTIES[2]: b"{}"})),
    (19, "totals that are not the sum", lambda w: result_without_opening(w, Opening((8, -1), 77 + 1234))),
    (19, "a blinding that is not the sum", lambda w: result_without_opening(w, Opening((7, -1), 77))),
    (19, "no opening", lambda w: result_without_opening(w, None)),
]  # fmt: skip

# What fails along with a rule, because the same change cannot be made without it.
ALONG = {
    "a parameter of the spec": {12},
    "the digest on chain": {3},
    "another chain": {12},
    "the proposal hashes otherwise": {4},
    "not a result file at all": {19},
    "the attempt never started": set(),
    "another authority of the same name": {6},
    "a commitment that is no point": {19},
    "another requester": {4},
}


@pytest.mark.parametrize(("rule", "what", "tamper"), TAMPERS, ids=[f"{rule}-{what}" for rule, what, _ in TAMPERS])
def test_one_change_fails_its_rule(rule: int, what: str, tamper: Tamper, world: World) -> None:
    tamper(world)
    report = check(world)
    assert rule in report.failed, [each for each in report.rules if each.verdict != "ok"]
    assert set(report.failed) - {rule} <= ALONG.get(what, set())
    with pytest.raises(VerificationFailed) as caught:
        report.require()
    assert caught.value.rule == report.failed[0]


def test_every_rule_has_a_negative_test() -> None:
    assert {rule for rule, _, _ in TAMPERS} | {1, 20} == set(TITLES)


DAMAGES = {
    "spec.json": {"spec": b"{}"},
    "grants.json": {"grants": b"[]"},
    "authority.pem": {"authority": b"-----BEGIN CERTIFICATE-----\n"},
    "statement.dsse.json": {"statement": b'{"payload":1}'},
    "chain.json": {"chain": b"\xff"},
    "terms/x.json": {"terms": {"x.json": b"[1,2]"}},
    "certificates/x.pem": {"certificates": {"x.pem": b""}},
}


@pytest.mark.parametrize("name", DAMAGES)
def test_rule_1_names_the_file_that_does_not_parse(name: str, world: World) -> None:
    report = check(world, world.bundle(**DAMAGES[name]))
    assert report.failed == (1,)
    assert name in report.rules[0].detail
    assert {rule.verdict for rule in report.rules[1:]} == {"skipped"}


def test_rule_3_refuses_contracts_that_are_not_the_deployment(world: World) -> None:
    assert check(world, contracts={**DEPLOYED, "GrantLedger": REQUESTER}).failed == (3,)


def test_a_reinstated_participant_is_active(world: World) -> None:
    suspend(world, reinstated=True)
    assert check(world).ok


def test_a_suspension_after_the_start_does_not_undo_the_result(world: World) -> None:
    fingerprint = world.certificates[PARTIES[1]].fingerprint
    world.insert_before(events.RESULT_PROVED, events.SUSPENDED, account=PARTIES[1], fingerprint=fingerprint, reason=OTHER)
    assert check(world).ok


def test_rule_13_refuses_signatures_for_another_chain(world: World) -> None:
    envelope = Envelope(CHAIN, world.statement.to_bytes(), world.signatures())
    assert check(world, world.bundle(statement=replace(envelope, chain_id=1).to_bytes())).failed == (12,)
    for account, signature in envelope.signatures.items():
        swapped = {**envelope.signatures, account: signature[:64] + bytes([55 - signature[64]])}
        assert check(world, world.bundle(statement=replace(envelope, signatures=swapped).to_bytes())).failed == (13,)


def test_rule_16_for_signed_by_all_allows_no_proof_bytes() -> None:
    world = make("signed-by-all")
    world.proof = b"\0"
    assert check(world).failed == (16,)


def evidence(world: World, blocks: list[BlockEvidence]) -> Bundle:
    return world.bundle(chain=ChainEvidence(CHAIN, DEPLOYED, tuple(blocks)).to_bytes())


def test_rule_20_refuses_a_receipt_that_the_header_does_not_have(world: World) -> None:
    blocks = world.blocks()
    blocks[3] = replace(blocks[3], receipts=(*blocks[3].receipts, blocks[2].receipts[0]))
    assert check(world, evidence(world, blocks)).failed == (20,)


def test_rule_20_refuses_blocks_that_lead_nowhere(world: World) -> None:
    assert check(world, trusted_blocks=[OTHER]).failed == (20,)
    first = world.blocks()[0]
    assert check(world, trusted_blocks=[hashlib.sha256(first.header).digest()]).failed == (20,)


def test_rule_20_needs_the_links_between_blocks(world: World) -> None:
    world.insert_before(events.STARTED, events.REINSTATED, account=PARTIES[0], fingerprint=OTHER)
    blocks = world.blocks()
    position = [kind for kind, _ in world.events].index(events.REINSTATED)
    linked = [replace(block, receipts=()) if at == position else block for at, block in enumerate(blocks)]
    assert check(world, evidence(world, linked)).ok
    assert check(world, evidence(world, linked[:position] + linked[position + 1 :])).failed == (20,)


def test_rule_20_refuses_the_same_block_twice_and_evidence_from_the_future(world: World) -> None:
    blocks = world.blocks()
    assert check(world, evidence(world, [*blocks, blocks[0]])).failed == (20,)
    assert check(world, at=START).failed == (20,)


def test_a_log_that_does_not_decode_fails_the_rule_that_reads_it(world: World) -> None:
    class Garbled(BundleFacts):
        def logs(self, contract: str, topics: Any) -> Any:
            found = super().logs(contract, topics)
            return [replace(log, data=b"\1") for log in found] if contract == "ProofRegistry" else found

    facts = Garbled(ChainEvidence.parse(world.bundle().chain), [world.head()])
    assert check(world, trusted=facts).failed == (11, 17)


def test_commitments_of_a_party_without_input_are_zero(world: World) -> None:
    points = sum_verified.points_of(subject_of(world.statement, world.spec.parties))
    assert points[2] is None
    assert len(points) == 3


def test_the_page_has_the_same_rules() -> None:
    page = (Path(__file__).parents[3] / "docs/spec/verification.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| ([^|]+?) \|", page, re.MULTILINE))
    assert {int(number): title for number, title in rows.items()} == dict(TITLES)
