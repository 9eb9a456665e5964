"""`tally quorum`: from the governor's list over evidence that verifiers appraise to a result that their word proves."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.conftest import Case, World
from contracts.test_oversight_commands import tally
from tallystick.attestation.documents import write_evidence, write_policy
from tallystick.protocol import canonical, typed
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.fields import order
from tallystick.protocol.proof.attested import EnclaveTerms
from tallystick.protocol.proof.quorum import KIND, QuorumRun, QuorumTerms
from tallystick.protocol.proof.subject import Subject, result_of, subject_of
from tallystick.protocol.proof.vouching import RunClaim, Vouching
from tallystick.protocol.statement import (
    CONTRACTS,
    CodeRelease,
    Envelope,
    Link,
    MeasuredCost,
    Statement,
    StatementInput,
    StatementOutput,
)
from tallystick.protocol.task import ATTESTED_QUORUM, Security, TaskInput, TaskSpec, proposal_of
from tallystick.provenance import build
from unit.attestation.test_cca import MARK
from unit.protocol import quorum_world

POLICY = quorum_world.policy(validity=400 * 86_400)


def spec_of(case: Case, verifiers: list[str]) -> TaskSpec:
    """A task of the case's three parties, of whose word the verifiers' counts."""
    world, parties = case.world, [party.account for party in case.proposal.parties]
    by_owner = {party.account: grant for party in case.proposal.parties for grant in case.grants if grant.id() == party.grant}
    terms = QuorumTerms(tuple(verifiers), 2, POLICY.digest)
    enclave = EnclaveTerms(quorum_world.ALGORITHM, (quorum_world.identity(),))
    return TaskSpec(
        chain_id=world.deployment.chain_id,
        task_ledger=world.deployment.contracts["TaskLedger"],
        requester=world.requester.address,
        workload="enclave",
        parameters={"enclave": enclave.to_json(), "quorum": terms.to_json()},
        purpose="quality of care",
        inputs=tuple(
            TaskInput(
                account,
                canonical.hex32(by_owner[account].dataset),
                canonical.hex32(by_owner[account].id()),
                canonical.hex32(by_owner[account].terms),
                ("age",),
            )
            for account in parties
        ),
        receivers=(parties[0],),
        compute=(),
        security=Security("semi-honest", 0),
        proof=ATTESTED_QUORUM,
        accept_by=world.chain.now() + 3600,
        run_seconds=600,
        attempts=2,
        salt=canonical.hex32(secrets.token_bytes(32)),
    )


def stated(spec: TaskSpec, world: World, **changes: Any) -> Statement:
    """What its parties say of the run, but for the proof."""
    word = canonical.text(secrets.token_bytes(32))
    return Statement(
        chain_id=spec.chain_id,
        contracts={name: world.deployment.contracts[name] for name in CONTRACTS},
        task=canonical.hex32(proposal_of(spec).id()),
        attempt=1,
        spec=canonical.text(spec.digest()),
        workload=spec.workload,
        code=tuple(CodeRelease(party, word) for party in spec.parties),
        inputs=tuple(StatementInput(each.party, each.dataset, word, each.grant, word) for each in spec.inputs),
        outputs=(StatementOutput(spec.receivers[0], word),),
        links=tuple(Link(a, b, 1, 1, "blake3:" + secrets.token_hex(32)) for a in spec.parties for b in spec.parties if a != b),
        proof=spec.proof,
        security=spec.security,
        cost=MeasuredCost(1, 1, 1),
        **{"proof_inputs": "0x" + "00" * 32, "proof_output": "0x" + "00" * 32, **changes},
    )


def test_verifiers_vouch_and_a_prover_submits(case: Case, tmp_path: Path) -> None:
    world, governor, anyone = case.world, case.world.governor, case.world.stranger
    verifiers = [world.regulator, world.newcomer]
    world.enrol(world.newcomer)
    for actor in verifiers:
        tally(world, tmp_path, governor, "quorum", "name", actor.address)
    tally(world, tmp_path, governor, "quorum", "threshold", 2)
    identity = canonical.text(quorum_world.identity())
    tally(world, tmp_path, anyone, "quorum", "allow", identity, code=42)
    tally(world, tmp_path, governor, "quorum", "allow", identity)
    shown = tally(world, tmp_path, anyone, "quorum", "list")
    assert [row["id"] for row in shown] == ["2", *sorted(actor.address for actor in verifiers), identity]

    spec = spec_of(case, sorted((actor.address for actor in verifiers), key=order))
    case.proposal = proposal_of(spec)
    case.start()
    first = stated(spec, world)
    about = subject_of(first, spec.parties)
    evidence = quorum_world.evidence(quorum_world.claim(about).report_data)
    (tmp_path / "evidence.json").write_bytes(write_evidence(evidence))
    (tmp_path / "policy.json").write_bytes(write_policy(POLICY))
    claimed(world, tmp_path, about)
    assert RunClaim.parse((tmp_path / "claim.json").read_bytes()) == quorum_world.claim(about)

    arguments = ("quorum", "vouch", tmp_path / "evidence.json", tmp_path / "claim.json")
    arguments += ("--policy", tmp_path / "policy.json", "--identity", identity, "--out")
    said = []
    for actor in verifiers:
        made = tally(world, tmp_path, actor, *arguments, tmp_path / f"{actor.address}.json")
        assert (made["verifier"], made["family"], made["identity"]) == (actor.address, "cca", identity)
        said.append(tmp_path / f"{actor.address}.json")
    (tmp_path / "simulated.json").write_bytes(write_evidence(quorum_world.evidence(quorum_world.claim(about).report_data, MARK)))
    arguments = (arguments[0], arguments[1], tmp_path / "simulated.json", *arguments[3:])
    refusal = tally(world, tmp_path, verifiers[0], *arguments, tmp_path / "none.json", code=11)
    assert "rule 701" in refusal["error"]["message"]
    assert not (tmp_path / "none.json").exists()

    vouching = Vouching.parse(said[0].read_bytes())
    run = QuorumRun.of(quorum_world.ALGORITHM, quorum_world.OUTPUT, vouching, QuorumTerms.of(spec.parameters))
    proof = b"".join(canonical.untext(text) for text in about.commitments) + run.to_bytes()
    words = {"proof_inputs": KIND.inputs(about), "proof_output": KIND.output(about, proof)}
    signed = Statement.parse(replaced(first, words))
    digest = typed.result_digest(world.domain("ProofRegistry"), result_of(signed))
    signatures = {party: world.actor(party).signer.sign_digest(digest) for party in spec.parties}
    (tmp_path / "spec.json").write_bytes(spec.to_bytes())
    (tmp_path / "statement.dsse.json").write_bytes(Envelope(spec.chain_id, signed.to_bytes(), signatures).to_bytes())
    (tmp_path / "proof.bin").write_bytes(proof)
    submit = ("--spec", tmp_path / "spec.json", "--statement", tmp_path / "statement.dsse.json")
    submit += ("--proof", tmp_path / "proof.bin", "--out", tmp_path / "whole.bin")
    few = tally(world, tmp_path, anyone, "quorum", "submit", said[0], *submit, code=11)
    assert "1 verifiers vouch" in few["error"]["message"]
    done = tally(world, tmp_path, anyone, "quorum", "submit", *said, *submit)
    assert "2 of 2 verifiers vouch" in done["shown"]
    assert world.state(case.proposal) == "Proved"
    assert KIND.vouched_by(about, (tmp_path / "whole.bin").read_bytes()) == tuple(sorted(signed_by(said), key=order))

    files = {name: (tmp_path / name).read_bytes() for name in ("spec.json", "statement.dsse.json", "whole.bin")}
    bundle = Bundle(files["spec.json"], b"", b"", files["statement.dsse.json"], files["whole.bin"], b"", {}, {})
    head = world.chain.head()
    graph = build(world.chain.events(0, head), chain_id=spec.chain_id, block=head, block_hash="", bundles=[bundle])
    vouched = {edge.source for edge in graph.edges if edge.relation == "vouched for the evidence of"}
    assert vouched == {f"participant:{actor.address}" for actor in verifiers}

    tally(world, tmp_path, governor, "quorum", "drop", verifiers[0].address, "--reason", "a conflict of interest")
    tally(world, tmp_path, governor, "quorum", "disallow", identity, "--reason", "a fault")
    assert [row["id"] for row in tally(world, tmp_path, anyone, "quorum", "list")] == ["2", verifiers[1].address]


def signed_by(said: list[Path]) -> list[str]:
    return [Vouching.parse(each.read_bytes()).verifier for each in said]


def replaced(statement: Statement, words: dict[str, bytes]) -> bytes:
    return replace(statement, **{name: canonical.hex32(value) for name, value in words.items()}).to_bytes()


def claimed(world: World, folder: Path, about: Subject) -> None:
    commitments = [each for text in about.commitments for each in ("--commitment", text)]
    options = ["--attempt", 1, "--algorithm", canonical.text(quorum_world.ALGORITHM), *commitments]
    options += ["--output", canonical.text(quorum_world.OUTPUT), "--key", canonical.hex32(quorum_world.KEY)]
    tally(world, folder, world.stranger, "quorum", "claim", canonical.hex32(about.task), *options, "--out", folder / "claim.json")
