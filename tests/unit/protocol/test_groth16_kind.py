"""`groth16`: honest bundles pass every rule, and each change fails the rule that is about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.commitments import bn254, bn254_pairing
from tallystick.commitments.bn254 import ORDER
from tallystick.commitments.groth16 import Groth16Proof
from tallystick.ethereum import keccak
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.groth16 import Circuit, Groth16Terms, ProvedCircuit, attempt_input
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.subject import Subject, context_of, subject_of
from tallystick.protocol.result import ResultFile, file_digest
from tallystick.protocol.statement import StatementOutput
from tallystick.protocol.verify import Report, verify_bundle
from unit.protocol import groth16_world as oracle
from unit.protocol.world import DAY, DEPLOYED, PARTIES, START, World, circuit, make, proved_circuit

KIND = KINDS["groth16"]


@pytest.fixture
def world() -> World:
    return make("groth16")


def subject(world: World) -> Subject:
    return subject_of(world.statement, world.spec.parties)


def check(world: World) -> Report:
    result = world.results[PARTIES[2]]
    trusted, at = [world.head()], START + DAY
    return verify_bundle(world.bundle(), trusted_blocks=trusted, contracts=DEPLOYED, result_file=result, at=at)


def agree_on(world: World, proof: bytes) -> Report:
    """Let all parties sign other proof bytes, and the chain record them."""
    world.proof = proof
    world.state_proof()
    return check(world)


def test_an_honest_bundle_passes_every_rule(world: World) -> None:
    report = check(world)
    report.require(complete=True)
    shown = report.rules[15].detail
    assert canonical.hex32(circuit().id) in shown
    assert circuit().registrant in shown


def test_a_proof_for_anything_else_fails_rule_16(world: World) -> None:
    about = subject(world)
    others = (
        replace(about, context=context_of(about.chain_id, about.registry, about.task, 2)),
        replace(about, context=context_of(about.chain_id + 1, about.registry, about.task, 1)),
        replace(about, context=context_of(about.chain_id, about.registry, bytes(32), 1)),
        replace(about, inputs=(replace(about.inputs[0], commitment="sha256:" + "11" * 32), *about.inputs[1:])),
    )
    for other in others:
        report = agree_on(world, proved_circuit(other).to_bytes())
        assert report.failed == (16,)
        assert "does not hold" in report.rules[15].detail
    honest = proved_circuit(about)
    for inputs in ((50,), (49 + ORDER,)):
        assert 16 in agree_on(world, replace(honest, inputs=inputs).to_bytes()).failed
    for at in (31, 159, 223):
        points = honest.proof[:at] + bytes([honest.proof[at] ^ 1]) + honest.proof[at + 1 :]
        assert agree_on(world, replace(honest, proof=points).to_bytes()).failed == (16,)


def test_another_key_than_the_specs_fails_rule_16(world: World) -> None:
    """All parties agree on a proof of the same circuit by a set-up of their own."""
    made = oracle.set_up()
    about = subject(world)
    key = oracle.encoded(*made.verifying())
    first = attempt_input(about.context, KIND.inputs(about))
    points = oracle.encoded(*oracle.prove(made.proving(), first, 7))
    report = agree_on(world, ProvedCircuit(replace(circuit(), points=key), (49,), points).to_bytes())
    assert report.failed == (16,)
    assert "another key than the spec names" in report.rules[15].detail
    for other in (replace(circuit(), registrant=PARTIES[1]), replace(circuit(), description=bytes(32))):
        assert agree_on(world, replace(proved_circuit(about), circuit=other).to_bytes()).failed == (16,)


def test_proof_bytes_other_than_those_signed_fail_rule_15(world: World) -> None:
    world.proof = replace(proved_circuit(subject(world)), inputs=(50,)).to_bytes()
    assert 15 in check(world).failed


@pytest.mark.parametrize("values", [{}, {"public_inputs": ["50"]}, {"public_inputs": [49]}, {"public_inputs": ["49", "0"]}])
def test_a_result_file_with_other_public_inputs_fails_rule_19(world: World, values: dict[str, object]) -> None:
    file = replace(ResultFile.parse(world.results[PARTIES[2]]), values={"mean": "3.5", **values}).to_bytes()
    world.results[PARTIES[2]] = file
    world.statement = replace(world.statement, outputs=(StatementOutput(PARTIES[2], file_digest(file)),))
    world.settle()
    assert check(world).failed == (19,)


def test_whoever_says_another_proof_is_named(world: World) -> None:
    about = subject(world)
    good = proved_circuit(about).to_text()
    broken = good[:-1] + ("1" if good[-1] == "0" else "0")
    assert KIND.assemble(about, dict.fromkeys(PARTIES, good)) == KIND.assemble(about, {PARTIES[1]: good})
    for party, said in (
        (PARTIES[1], {PARTIES[0]: good, PARTIES[1]: broken}),
        # Whoever speaks first has no other accused by a proof that does not hold.
        (PARTIES[0], {PARTIES[0]: broken, PARTIES[1]: good}),
        (PARTIES[0], {PARTIES[0]: "groth16:0"}),
        (PARTIES[0], {PARTIES[0]: "range:00"}),
        (PARTIES[0], {PARTIES[0]: good.upper()}),
        (PARTIES[2], {PARTIES[2]: good[:-2]}),
        (PARTIES[2], {PARTIES[2]: replace(proved_circuit(about), inputs=(50,)).to_text()}),
    ):
        with pytest.raises(MalformedDocument) as caught:
            KIND.assemble(about, said)
        assert caught.value.party == party
    with pytest.raises(MalformedDocument, match="each of which holds") as caught:
        KIND.assemble(about, {PARTIES[0]: good, PARTIES[1]: negated(good)})
    assert caught.value.party is None
    with pytest.raises(MalformedDocument, match="no party has given a proof"):
        KIND.assemble(about, {})


def negated(text: str) -> str:
    """The same proof with A and B negated, which anybody can write from it."""
    proof = ProvedCircuit.parse(bytes.fromhex(text.removeprefix("groth16:")))
    points = Groth16Proof.parse(proof.proof)
    b = bn254_pairing.multiply(points.b, ORDER - 1)
    return replace(proof, proof=replace(points, a=bn254.neg(points.a), b=b).to_bytes()).to_text()


def test_the_parameters_name_a_key_strictly() -> None:
    terms = Groth16Terms(keccak(b"key"))
    assert Groth16Terms.of({"groth16": terms.to_json()}) == terms
    for value in (None, {}, {"key": "0x00"}, {"key": canonical.hex32(bytes(32)), "more": 1}, []):
        with pytest.raises(MalformedDocument):
            Groth16Terms.of({"groth16": value})


CHANGES: list[Callable[[bytes], bytes]] = [
    lambda proof: b"",
    lambda proof: proof[:95],
    lambda proof: proof[:-1],
    lambda proof: proof + bytes(32),
    lambda proof: bytes(32) + proof[32:],
    lambda proof: (33).to_bytes(32, "big") + proof[32:],
    lambda proof: (3).to_bytes(32, "big") + proof[32:],
    lambda proof: proof[:32] + b"\1" + proof[33:],
]


@pytest.mark.parametrize("change", CHANGES)
def test_proof_bytes_are_read_strictly(change: Callable[[bytes], bytes]) -> None:
    whole = ProvedCircuit(circuit(), (49,), bytes(256)).to_bytes()
    assert ProvedCircuit.parse(whole).to_bytes() == whole
    with pytest.raises(MalformedDocument):
        ProvedCircuit.parse(change(whole))


@given(st.lists(st.integers(min_value=0, max_value=2**256 - 1), max_size=31), st.binary(min_size=256, max_size=256))
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read(inputs: list[int], points: bytes) -> None:
    made = Circuit(PARTIES[0], keccak(b"circuit"), bytes(448 + 64 * (len(inputs) + 2)))
    proof = ProvedCircuit(made, tuple(inputs), points)
    assert ProvedCircuit.parse(proof.to_bytes()) == proof
