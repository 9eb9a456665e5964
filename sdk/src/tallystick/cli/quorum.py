"""`tally quorum`: verifiers appraise an enclave's evidence that the chain cannot check, and a result is proved by their word."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick.attestation.documents import read_evidence, read_policy
from tallystick.attestation.rules import EvidenceRefused
from tallystick.chain.connection import Chain, Receipt
from tallystick.chain.deployment import Deployment
from tallystick.cli.session import Session, address, hex32, of, read, write
from tallystick.ethereum import keccak
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof import quorum
from tallystick.protocol.proof.subject import result_of, subject_of
from tallystick.protocol.proof.vouching import RunClaim, Vouching, vouch
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import TaskSpec, proposal_of

app = typer.Typer(name="quorum", help="Verifiers that vouch for evidence which the chain cannot check.", no_args_is_help=True)
Account = Annotated[str, typer.Argument(help="A participant's account, 0x….")]
Identity = Annotated[str, typer.Argument(help="An enclave's identity, sha256:….")]
Reason = Annotated[str, typer.Option(help="The grounds; only their digest goes on chain.")]
Out = Annotated[Path, typer.Option(help="Where the document goes.")]


@app.command("claim")
def claim(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="The task, 0x….")],
    attempt: Annotated[int, typer.Option(min=1, help="The attempt that the enclave ran.")],
    algorithm: Annotated[str, typer.Option(help="Digest of its algorithm, sha256:….")],
    commitment: Annotated[list[str], typer.Option(help="Commitment of an input, sha256:…; once for each, in the parties' order.")],
    output: Annotated[str, typer.Option(help="Digest of its output, sha256:….")],
    key: Annotated[str, typer.Option(help="Its public key, 0x….")],
    out: Out,
) -> None:
    """Write what a run's evidence has to be about, for verifiers to hold it against."""
    session = of(context)
    deployment = Deployment.load(Path(session.setting("deployment")))
    made = RunClaim(
        chain_id=deployment.chain_id,
        registry=deployment.contracts["ProofRegistry"],
        task=hex32(task),
        attempt=attempt,
        algorithm=canonical.untext(algorithm),
        commitments=tuple(map(canonical.untext, commitment)),
        output=canonical.untext(output),
        key=hex32(key),
    )
    write(out, made.to_bytes())
    session.terminal.record({"claim": str(out), "report_data": f"0x{made.report_data.hex()}"})


@app.command("vouch")
def vouching(
    context: typer.Context,
    evidence: Annotated[Path, typer.Argument(help="The evidence with its endorsements, as a document.")],
    about: Annotated[Path, typer.Argument(help="What it has to be about, from `tally quorum claim`.")],
    identity: Annotated[list[str], typer.Option(help="An enclave that may be behind it, sha256:…; repeatable.")],
    policy: Annotated[Path, typer.Option(help="The appraisal policy, as a document.")],
    out: Out,
) -> None:
    """Appraise evidence of genuine hardware in full, offline, and sign what was found (a verifier). A simulation is refused."""
    session = of(context)
    signer = session.signer()
    deployment = Deployment.load(Path(session.setting("deployment")))
    run = RunClaim.parse(read(about))
    if (run.chain_id, run.registry) != (deployment.chain_id, deployment.contracts["ProofRegistry"]):
        raise MalformedDocument("the claim is for another chain or deployment", party=str(about))
    try:
        found = vouch(
            run,
            read_evidence(read(evidence)),
            [canonical.untext(each) for each in identity],
            read_policy(read(policy)),
            signer.address,
            signer.sign_digest,
            int(time.time()),
        )
    except EvidenceRefused as refusal:
        raise MalformedDocument(
            f"the evidence is refused: {refusal}", party=str(evidence), remedy="docs/spec/attestation.md has the rules"
        ) from None
    write(out, found.to_bytes())
    session.terminal.record(
        {
            "verifier": found.verifier,
            "family": found.family,
            "identity": canonical.text(found.identity),
            "policy": canonical.text(found.policy),
            "not_after": found.not_after,
            "vouching": str(out),
        }
    )


@app.command("submit")
def submit(
    context: typer.Context,
    vouchings: Annotated[list[Path], typer.Argument(help="The verifiers' documents.")],
    spec: Annotated[Path, typer.Option(help="The task's spec.")],
    statement: Annotated[Path, typer.Option(help="The statement that every party signed, statement.dsse.json.")],
    proof: Annotated[Path, typer.Option(help="The proof bytes, proof.bin, with or without vouchings.")],
    out: Annotated[Path, typer.Option(help="Where the proof bytes with the vouchings go.")],
) -> None:
    """Prove a result by its parties' signatures and the verifiers' word (anyone)."""
    session = of(context)
    task, envelope = TaskSpec.parse(read(spec)), Envelope.parse(read(statement))
    stated, proposal = Statement.parse(envelope.payload), proposal_of(task)
    given = [Vouching.parse(read(each)) for each in vouchings]
    whole = quorum.with_vouchings(read(proof), len(task.parties), given)
    words = quorum.KIND.check(subject_of(stated, task.parties), whole)
    quorum.KIND.require_terms(task.parameters, len(task.parties), whole)
    signatures = [envelope.signatures.get(account, b"") for account in proposal.accounts]
    sent = session.chain(signing=True).proofs.submit(proposal, result_of(stated), signatures, whole)
    write(out, whole)
    session.terminal.record({"task": stated.task, "shown": words, "proof": str(out), **_sent(sent)})


@app.command("list")
def listing(context: typer.Context) -> None:
    """List who may vouch, how many a task has to ask for, and the enclaves that count."""
    session = of(context)
    chain = session.chain()
    rows = [{"kind": "threshold", "id": str(chain.quorum.threshold())}]
    rows += [{"kind": "verifier", "id": each} for each in _kept(session, chain, "VerifierNamed", "VerifierDropped", "account")]
    enclaves = _kept(session, chain, "EnclaveAllowed", "EnclaveDisallowed", "identity")
    rows += [{"kind": "enclave", "id": canonical.text(each)} for each in enclaves]
    session.terminal.table(("kind", "id"), rows)


@app.command("name")
def name(context: typer.Context, account: Account) -> None:
    """Let a participant vouch (governor)."""
    _record(context, lambda chain: chain.quorum.name_verifier(address(account)))


@app.command("drop")
def drop(context: typer.Context, account: Account, reason: Reason) -> None:
    """End at once that a participant may vouch (governor)."""
    _record(context, lambda chain: chain.quorum.drop_verifier(address(account), keccak(reason.encode())))


@app.command("threshold")
def threshold(context: typer.Context, least: Annotated[int, typer.Argument(min=2, max=16, help="How many.")]) -> None:
    """Set how many verifiers a task has to ask for at least (governor)."""
    _record(context, lambda chain: chain.quorum.set_threshold(least))


@app.command("allow")
def allow(context: typer.Context, identity: Identity) -> None:
    """Let results that are vouched for come from an enclave (governor)."""
    _record(context, lambda chain: chain.quorum.allow(canonical.untext(identity)))


@app.command("disallow")
def disallow(context: typer.Context, identity: Identity, reason: Reason) -> None:
    """End the use of an enclave at once (governor)."""
    _record(context, lambda chain: chain.quorum.disallow(canonical.untext(identity), keccak(reason.encode())))


def _kept(session: Session, chain: Chain, added: str, dropped: str, member: str) -> list[Any]:
    """What was added and not dropped since, in order."""
    kept: set[Any] = set()
    for event in session.events(chain, added, dropped):
        if event.contract == "QuorumVerifier":
            (kept.add if event.name == added else kept.discard)(event[member])
    return sorted(kept)


def _record(context: typer.Context, send: Callable[[Chain], Receipt]) -> None:
    session = of(context)
    session.terminal.record(_sent(send(session.chain(signing=True))))


def _sent(sent: Receipt) -> dict[str, Any]:
    return {"transaction": sent.transaction, "block": sent.block, "gas": sent.gas_used}
