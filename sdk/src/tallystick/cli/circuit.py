"""`tally circuit`: register the verifying key of a circuit, and prove a result by a proof of it that snarkjs made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from tallystick.chain import circuits
from tallystick.chain.circuits import Registered
from tallystick.chain.deployment import Deployment
from tallystick.cli.session import hex32, of, read, write
from tallystick.commitments import snarkjs
from tallystick.commitments.groth16 import Groth16Refused
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.groth16 import KIND, ProvedCircuit, attempt_input
from tallystick.protocol.proof.subject import context_of, result_of, subject_of
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import TaskSpec, proposal_of

app = typer.Typer(name="circuit", help="Circuits whose proofs stand behind results.", no_args_is_help=True)
Read = TypeVar("Read")
Key = Annotated[str, typer.Argument(help="A registered key's id, 0x….")]


@app.command("register")
def register(
    context: typer.Context,
    verification_key: Annotated[Path, typer.Argument(help="The verifying key, as snarkjs writes verification_key.json.")],
    description: Annotated[Path, typer.Option(help="What the circuit says and how its set-up was held; its digest goes on chain.")],
) -> None:
    """Register a circuit's verifying key for good, and answer for its set-up (a participant)."""
    session = of(context)
    key = _taken(verification_key, snarkjs.read_key)
    digest = hashlib.sha256(read(description)).digest()
    made, sent = circuits.register(session.chain(signing=True), digest, key.to_bytes())
    session.terminal.record(
        {"key": canonical.hex32(made), "description": canonical.text(digest), "public_inputs": key.count, "transaction": sent}
    )


@app.command("list")
def listing(context: typer.Context) -> None:
    """List the registered keys, and who answers for each."""
    session = of(context)
    found = circuits.registered(session.events(session.chain(), circuits.EVENT))
    session.terminal.table(("key", "registrant", "description", "public_inputs", "block"), [_row(each) for each in found])


@app.command("show")
def show(context: typer.Context, key: Key) -> None:
    """Show who registered a key, when, and the digest of what its circuit says."""
    session = of(context)
    chain = session.chain()
    found = circuits.find(session.events(chain, circuits.EVENT), hex32(key))
    session.terminal.record({**_row(found), "registered_at": chain.circuits.registered_at(found.circuit.id)})


@app.command("input")
def attempt_number(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="The task, 0x….")],
    attempt: Annotated[int, typer.Option(min=1, max=16, help="The attempt that the proof is for.")],
    inputs: Annotated[str, typer.Option(help="The digest of what went in: proof_inputs of the statement, 0x….")],
) -> None:
    """Show the first public input that a proof for an attempt has to have; the circuit's own inputs follow it."""
    session = of(context)
    deployment = Deployment.load(Path(session.setting("deployment")))
    about = context_of(deployment.chain_id, deployment.contracts["ProofRegistry"], hex32(task), attempt)
    session.terminal.record({"input": str(attempt_input(about, hex32(inputs)))})


@app.command("assemble")
def assemble(
    context: typer.Context,
    key: Key,
    proof: Annotated[Path, typer.Argument(help="The proof, as snarkjs writes proof.json.")],
    public: Annotated[Path, typer.Argument(help="All its public inputs, as snarkjs writes public.json.")],
    out: Annotated[Path, typer.Option(help="Where the proof bytes go.")],
) -> None:
    """Write the proof bytes that the parties sign with their result. They are checked when they are submitted."""
    session = of(context)
    found = circuits.find(session.events(session.chain(), circuits.EVENT), hex32(key)).circuit
    inputs = _taken(public, snarkjs.read_public)
    whole = ProvedCircuit(found, inputs[1:], _taken(proof, snarkjs.read_proof).to_bytes()).to_bytes()
    ProvedCircuit.parse(whole)
    write(out, whole)
    session.terminal.record({"proof": str(out), "public_inputs": [str(each) for each in inputs[1:]]})


@app.command("submit")
def submit(
    context: typer.Context,
    spec: Annotated[Path, typer.Option(help="The task's spec.")],
    statement: Annotated[Path, typer.Option(help="The statement that every party signed, statement.dsse.json.")],
    proof: Annotated[Path, typer.Option(help="The proof bytes, from `tally circuit assemble`.")],
) -> None:
    """Check a proof as the chain does, and prove a result by it and its parties' signatures (anyone)."""
    session = of(context)
    task, envelope, whole = TaskSpec.parse(read(spec)), Envelope.parse(read(statement)), read(proof)
    stated, proposal = Statement.parse(envelope.payload), proposal_of(task)
    words = KIND.check(subject_of(stated, task.parties), whole)
    KIND.require_terms(task.parameters, len(task.parties), whole)
    signatures = [envelope.signatures.get(account, b"") for account in proposal.accounts]
    sent = session.chain(signing=True).proofs.submit(proposal, result_of(stated), signatures, whole)
    session.terminal.record(
        {"task": stated.task, "shown": words, "transaction": sent.transaction, "block": sent.block, "gas": sent.gas_used}
    )


def _row(found: Registered) -> dict[str, Any]:
    circuit = found.circuit
    return {
        "key": canonical.hex32(circuit.id),
        "registrant": circuit.registrant,
        "description": canonical.text(circuit.description),
        "public_inputs": circuit.count,
        "block": found.block,
    }


def _taken(path: Path, reader: Callable[[bytes], Read]) -> Read:
    try:
        return reader(read(path))
    except Groth16Refused as refusal:
        raise MalformedDocument(str(refusal), party=str(path), remedy="write it with snarkjs, for groth16 on bn128") from None
