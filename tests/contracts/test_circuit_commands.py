"""`tally circuit`: a key that snarkjs exported is registered, and a proof of its circuit stands behind a result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contracts.conftest import Case
from contracts.test_oversight_commands import tally
from contracts.test_quorum_commands import replaced, spec_of, stated
from tallystick.protocol import canonical, typed
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import VerificationFailed
from tallystick.protocol.proof.groth16 import KIND, Circuit, Groth16Terms, ProvedCircuit
from tallystick.protocol.proof.subject import result_of, subject_of
from tallystick.protocol.statement import Envelope
from tallystick.protocol.task import GROTH16, proposal_of
from tallystick.provenance import build
from unit.protocol import groth16_world as oracle


def one(point: Any) -> list[str]:
    """A point of G1 as snarkjs writes it."""
    return [*map(str, oracle.words(point)), "1"]


def two(point: Any) -> list[list[str]]:
    b, a, d, c = map(str, oracle.words(point))
    return [[a, b], [c, d], ["1", "0"]]


def written(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(value))
    return path


def test_a_circuit_is_registered_and_a_proof_of_it_submitted(case: Case, tmp_path: Path) -> None:
    world, owner, anyone = case.world, case.world.parties[0], case.world.stranger
    alpha, beta, gamma, delta, *inputs = oracle.ceremony()[0].verifying()
    kind = {"protocol": "groth16", "curve": "bn128"}
    exported = {
        **kind,
        "nPublic": 2,
        "vk_alpha_1": one(alpha),
        "vk_beta_2": two(beta),
        "vk_gamma_2": two(gamma),
        "vk_delta_2": two(delta),
        "IC": [one(point) for point in inputs],
    }
    key_file = written(tmp_path, "verification_key.json", exported)
    description = written(tmp_path, "square.md", "w times w is y")
    made = tally(world, tmp_path, owner, "circuit", "register", key_file, "--description", description)
    digest = hashlib.sha256(description.read_bytes()).digest()
    circuit = Circuit(owner.address, digest, oracle.ceremony()[1])
    assert (made["key"], made["public_inputs"]) == (canonical.hex32(circuit.id), 2)
    again = tally(world, tmp_path, owner, "circuit", "register", key_file, "--description", description, code=42)
    assert "KeyExists" in again["error"]["message"]
    broken = written(tmp_path, "broken.json", {**exported, "vk_delta_2": two(gamma)})
    refusal = tally(world, tmp_path, owner, "circuit", "register", broken, "--description", description, code=11)
    assert "no second phase" in refusal["error"]["message"]

    (row,) = tally(world, tmp_path, anyone, "circuit", "list")
    shown = tally(world, tmp_path, anyone, "circuit", "show", made["key"])
    assert row["registrant"] == shown["registrant"] == owner.address
    assert row["public_inputs"] == shown["public_inputs"] == 2
    assert shown["description"] == canonical.text(digest)
    assert world.now <= shown["registered_at"] <= world.chain.now()
    assert tally(world, tmp_path, anyone, "circuit", "show", "0x" + "11" * 32, code=70)["error"]["remedy"]

    base = spec_of(case, [each.address for each in world.parties[:2]])
    parameters = {GROTH16: Groth16Terms(circuit.id).to_json()}
    spec = replace(base, workload="square", parameters=parameters, proof=GROTH16)
    case.proposal = proposal_of(spec)
    case.start()
    first = stated(spec, world)
    about = subject_of(first, spec.parties)
    went_in = canonical.hex32(KIND.inputs(about))
    number = tally(world, tmp_path, anyone, "circuit", "input", first.task, "--attempt", 1, "--inputs", went_in)["input"]
    assert int(number) == KIND.public_inputs(about, ())[0]

    a, b, c = oracle.prove(oracle.ceremony()[2], int(number), 7)
    proof_file = written(tmp_path, "proof.json", {**kind, "pi_a": one(a), "pi_b": two(b), "pi_c": one(c)})
    public = written(tmp_path, "public.json", [number, "49"])
    whole = tmp_path / "proof.bin"
    tally(world, tmp_path, anyone, "circuit", "assemble", made["key"], proof_file, public, "--out", whole)
    words = {"proof_inputs": KIND.inputs(about), "proof_output": KIND.output(about, whole.read_bytes())}
    signed = replaced(first, words)
    (tmp_path / "spec.json").write_bytes(spec.to_bytes())
    final = type(first).parse(signed)
    result = typed.result_digest(world.domain("ProofRegistry"), result_of(final))
    signatures = {party: world.actor(party).signer.sign_digest(result) for party in spec.parties}
    (tmp_path / "statement.dsse.json").write_bytes(Envelope(spec.chain_id, signed, signatures).to_bytes())

    submit = ("circuit", "submit", "--spec", tmp_path / "spec.json", "--statement", tmp_path / "statement.dsse.json", "--proof")
    other = tmp_path / "other.bin"
    tally(
        world, tmp_path, anyone, "circuit", "assemble", made["key"], proof_file,
        written(tmp_path, "other.json", [number, "50"]), "--out", other,
    )  # fmt: skip
    assert "does not hold" in tally(world, tmp_path, anyone, *submit, other, code=11)["error"]["message"]
    done = tally(world, tmp_path, anyone, *submit, whole)
    assert made["key"] in done["shown"]
    assert world.state(case.proposal) == "Proved"

    files = {name: (tmp_path / name).read_bytes() for name in ("spec.json", "statement.dsse.json", "proof.bin")}
    bundle = Bundle(files["spec.json"], b"", b"", files["statement.dsse.json"], files["proof.bin"], b"", {}, {})
    head = world.chain.head()
    graph = build(world.chain.events(0, head), chain_id=spec.chain_id, block=head, block_hash="", bundles=[bundle])
    (edge,) = [each for each in graph.edges if each.relation == "answers for the set-up behind"]
    assert edge.source == f"participant:{owner.address}"
    proved = graph.nodes[edge.target]
    assert (proved.attributes["key"], proved.attributes["proof"]) == (made["key"], GROTH16)
    swapped = replace(ProvedCircuit.parse(files["proof.bin"]), circuit=replace(circuit, registrant=world.parties[1].address))
    with pytest.raises(VerificationFailed, match="not the one that its statement names"):
        build(
            world.chain.events(0, head), chain_id=spec.chain_id, block=head, block_hash="",
            bundles=[replace(bundle, proof=swapped.to_bytes())],
        )  # fmt: skip
