"""`Groth16Verifier` registers keys for good, and refuses a proof of anything else than what was signed for this attempt."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from contracts.conftest import Actor, Case, World, refused
from eth_abi import encode as abi_encode
from py_ecc import optimized_bn128 as curve
from tallystick.chain import artifacts
from tallystick.chain.connection import Receipt
from tallystick.chain.deployment import ensure
from tallystick.chain.transport import Transport
from tallystick.commitments import bn254, bn254_pairing
from tallystick.commitments.bn254 import ORDER, P
from tallystick.ethereum import keccak
from tallystick.protocol import typed
from tallystick.protocol.errors import ContractRefused, WrongChain
from tallystick.protocol.proof.groth16 import Circuit, ProvedCircuit, attempt_input
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.task import GROTH16, Proposal
from unit.protocol import groth16_world as oracle
from web3 import HTTPProvider, Web3

CONTRACT = "Groth16Verifier"
DESCRIPTION = keccak(b"w times w is y")
INPUTS = keccak(b"what went in")
GAS = 12_000_000


def refuses(rule: str, error: str = "BadProof") -> Any:
    return pytest.raises(ContractRefused, match=re.escape(f"{error}(rule={rule}"))


@dataclass
class Proved:
    """A task of three parties, whose registrant is the first, and a proof of a square."""

    world: World
    proposal: Proposal
    attempt: int = 1
    inputs: bytes = INPUTS
    root: int = 7

    @property
    def registrant(self) -> Actor:
        return self.world.parties[0]

    @property
    def circuit(self) -> Circuit:
        return Circuit(self.registrant.address, DESCRIPTION, oracle.ceremony()[1])

    @property
    def context(self) -> bytes:
        deployment = self.world.deployment
        return context_of(deployment.chain_id, deployment.contracts["ProofRegistry"], self.proposal.id(), self.attempt)

    def points(self, context: bytes | None = None) -> bytes:
        return points_of(attempt_input(context or self.context, self.inputs), self.root)

    def proof(self, points: bytes | None = None, **changes: Any) -> bytes:
        given = {"circuit": self.circuit, "inputs": (self.root**2,), "proof": points or self.points()}
        return ProvedCircuit(**{**given, **changes}).to_bytes()

    def arguments(self, proof: bytes, inputs: bytes = INPUTS) -> tuple[Any, ...]:
        made = self.world.result(self.proposal, inputs=inputs, output=keccak(proof))
        return self.proposal.as_tuple(), made.as_tuple(), self.world.signatures(self.proposal, made), proof

    def try_out(self, proof: bytes, inputs: bytes = INPUTS) -> None:
        self.world.call("ProofRegistry", "submit", *self.arguments(proof, inputs))

    def prove(self, proof: bytes) -> Receipt:
        return self.world.relayer.send("ProofRegistry", "submit", *self.arguments(proof))


@cache
def points_of(first: int, root: int) -> bytes:
    return oracle.encoded(*oracle.prove(oracle.ceremony()[2], first, root))


def register(actor: Actor, points: bytes | None = None) -> Receipt:
    return actor.send(CONTRACT, "register", DESCRIPTION, oracle.ceremony()[1] if points is None else points)


@pytest.fixture
def proved(case: Case) -> Proved:
    case.proposal = replace(case.proposal, proof_kind=typed.proof_kind(GROTH16))
    case.start()
    made = Proved(case.world, case.proposal)
    register(made.registrant)
    return made


def test_a_proof_for_this_attempt_and_what_all_signed_is_accepted(proved: Proved) -> None:
    proved.prove(proved.proof())
    assert proved.world.state(proved.proposal) == "Proved"


def test_a_proof_of_another_task_attempt_registry_chain_or_input_is_refused(proved: Proved) -> None:
    deployment, task = proved.world.deployment, proved.proposal.id()
    registry = deployment.contracts["ProofRegistry"]
    for about in (
        (deployment.chain_id, registry, secrets.token_bytes(32), 1),
        (deployment.chain_id, registry, task, 2),
        (deployment.chain_id, deployment.contracts["TaskLedger"], task, 1),
        (deployment.chain_id + 1, registry, task, 1),
    ):
        with refuses("the proof does not hold"):
            proved.try_out(proved.proof(proved.points(context_of(*about))))
    with refuses("the proof does not hold"):
        proved.try_out(proved.proof(), inputs=keccak(b"something else went in"))


@pytest.mark.slow
def test_no_word_of_a_proof_can_be_changed(proved: Proved) -> None:
    """Neither the public input nor a coordinate; and with what is signed, nothing at all."""
    proof = proved.proof()
    changed = bytearray(proof)
    changed[-1] ^= 1
    result = proved.world.result(proved.proposal, inputs=INPUTS, output=keccak(proof))
    with refuses("the proof is not the one signed"):
        proved.world.prove(proved.proposal, result, bytes(changed))
    for place in range(8):
        at = len(proof) - 256 + 32 * place
        other = bytearray(proof)
        other[at + 31] ^= 1
        with refuses("a point of the proof is none of its group"):
            proved.try_out(bytes(other))
    a, b, c = oracle.prove(oracle.ceremony()[2], attempt_input(proved.context, INPUTS), 7)
    for points in (
        (oracle.mul(a, 2), b, c),
        (a, oracle.mul(b, 2), c),
        (a, b, oracle.mul(c, 2)),
        (curve.neg(a), b, c),
        (c, b, a),
    ):
        with refuses("the proof does not hold"):
            proved.try_out(proved.proof(oracle.encoded(*points)))
    for value in (0, 1, 48, 50, ORDER - 49):
        with refuses("the proof does not hold"):
            proved.try_out(proved.proof(inputs=(value,)))


def test_public_inputs_are_reduced(proved: Proved) -> None:
    """The same number, written in another way, would be another result with the same proof."""
    for value in (ORDER + 49, 2 * ORDER + 49, ORDER, 2**256 - 1):
        with refuses("a public input is not reduced"):
            proved.try_out(proved.proof(inputs=(value,)))


def test_a_proof_has_as_many_public_inputs_as_its_key(proved: Proved) -> None:
    proof = proved.proof()
    for inputs in ((), (49, 0)):
        with refuses("the proof is not of its length"):
            proved.try_out(proof[:32] + proved.proof(inputs=inputs)[32:])
    for inputs in ((), (49, 0)):
        with refuses("the proof is not of its length"):
            proved.try_out(proved.proof(inputs=inputs))
    for count in (0, 33, 2**255):
        with refuses("1 to 32 public inputs"):
            proved.try_out(count.to_bytes(32, "big") + proof[32:])
    for other in (proof[:-1], proof + bytes(32), proof[:96]):
        with refuses("the proof is not of its length"):
            proved.try_out(other)
    with refuses("the proof ends too soon"):
        proved.try_out(b"")


def test_a_key_that_nobody_registered_proves_nothing(proved: Proved) -> None:
    """Neither somebody else's name, nor another circuit, nor other points lead to a key."""
    good = proved.circuit
    for circuit in (
        replace(good, registrant=proved.world.parties[1].address),
        replace(good, description=keccak(b"another circuit")),
        replace(good, points=good.points[:-64] + bn254.encode((1, 2))),
    ):
        with refuses("the verifying key is not registered"):
            proved.try_out(proved.proof(circuit=circuit))
    upper = bytearray(proved.proof())
    upper[32] = 1
    with refuses("the verifying key is not registered"):
        proved.try_out(bytes(upper))
    other = oracle.set_up()
    register(proved.registrant, oracle.encoded(*other.verifying()))
    with refuses("the proof does not hold"):  # by another set-up of the same circuit
        proved.try_out(proved.proof(circuit=replace(good, points=oracle.encoded(*other.verifying()))))


@pytest.mark.slow
def test_points_at_infinity_or_of_no_group_prove_nothing(proved: Proved) -> None:
    a, b, c = oracle.prove(oracle.ceremony()[2], attempt_input(proved.context, INPUTS), 7)
    first, second, third = map(oracle.encoded, (a, b, c))
    y = int.from_bytes(first[32:], "big")
    unreduced = first[:32] + (y + P).to_bytes(32, "big")
    for points in (bytes(64) + second + third, unreduced + second + third):
        with refuses("A is none of the proof's points"):
            proved.try_out(proved.proof(points))
    for points in (first + oracle.outside() + third, first + second + bn254.encode((1, 3))):
        with refuses("a point of the proof is none of its group"):
            proved.try_out(proved.proof(points))
    for points in (first + bytes(128) + third, first + second + bytes(64)):
        with refuses("the proof does not hold"):
            proved.try_out(proved.proof(points))


def test_a_proof_needs_every_partys_signature(proved: Proved) -> None:
    proposal, result, signatures, proof = proved.arguments(proved.proof())
    with refused("SignatureMissing"):
        proved.world.relayer.send("ProofRegistry", "submit", proposal, result, signatures[:-1], proof)
    with refused("BadSignature"):
        proved.world.relayer.send("ProofRegistry", "submit", proposal, result, [signatures[0]] * 3, proof)


def test_a_key_is_registered_once_by_an_active_participant_and_stays(world: World) -> None:
    first, second, _ = world.parties
    circuit = Circuit(first.address, DESCRIPTION, oracle.ceremony()[1])
    assert world.call(CONTRACT, "registeredAt", circuit.id) == 0
    event = register(first).event("KeyRegistered")
    assert (event["key"], event["registrant"], event["circuit"]) == (circuit.id, first.address, DESCRIPTION)
    assert event["points"] == circuit.points
    at = world.call(CONTRACT, "registeredAt", circuit.id)
    assert world.now <= at <= world.chain.now()
    with refused("KeyExists"):
        register(first)
    assert register(second).event("KeyRegistered")["key"] == replace(circuit, registrant=second.address).id
    with refused("NotActive"):
        register(world.stranger)
    world.governor.send("ParticipantRegistry", "suspend", first.address, bytes(32))
    with refused("NotActive"):
        first.send(CONTRACT, "register", keccak(b"another circuit"), circuit.points)
    assert world.call(CONTRACT, "registeredAt", circuit.id) == at


@pytest.mark.slow
def test_keys_that_would_let_anybody_prove_anything_are_refused(world: World) -> None:
    made, points, _ = oracle.ceremony()
    alpha, beta, gamma, delta, one, x, y = (oracle.encoded(each) for each in made.verifying())

    def key(**changes: bytes) -> bytes:
        parts = {"alpha": alpha, "beta": beta, "gamma": gamma, "delta": delta, "one": one, "x": x, "y": y}
        return b"".join({**parts, **changes}.values())

    assert key() == points
    infinity = [{name: bytes(64)} for name in ("alpha", "x", "y")] + [{name: bytes(128)} for name in ("beta", "gamma", "delta")]
    for changes in infinity:
        with refuses("a point is at infinity", "BadKey"):
            register(world.parties[0], key(**changes))
    negated = oracle.encoded(curve.neg(made.verifying()[2]))
    for changes in ({"delta": gamma}, {"delta": negated}):
        with refuses("gamma and delta are the same", "BadKey"):
            register(world.parties[0], key(**changes))
    for name in ("beta", "gamma", "delta"):
        with refuses("a point is none of its group", "BadKey"):
            register(world.parties[0], key(**{name: oracle.outside()}))
        with refuses("a point is none of its group", "BadKey"):
            register(world.parties[0], key(**{name: bytes(31) + b"\1" + bytes(96)}))
    with refuses("a point is none of its group", "BadKey"):
        register(world.parties[0], key(alpha=bn254.encode((1, 3))))
    for name in ("one", "x", "y"):
        for point in (bn254.encode((1, 3)), (P + 1).to_bytes(32, "big") + (2).to_bytes(32, "big")):
            with refuses("a point is none of the first group", "BadKey"):
                register(world.parties[0], key(**{name: point}))
    for other in (points[:-1], points[: 448 + 64], points + x * 31, b""):
        with refuses("1 to 32 public inputs, each with a point", "BadKey"):
            register(world.parties[0], other)
    register(world.parties[0], key(one=bytes(64)))  # frees nobody of anything
    register(world.parties[0], points[:-64])
    register(world.parties[0], points + x * 30)


def test_what_the_refused_keys_would_have_proved(world: World) -> None:
    """With gamma = delta, A = alpha, B = beta and C = minus the sum hold for any public inputs: no witness is needed."""
    made = oracle.set_up(gamma=5, delta=5)
    alpha, beta, gamma, delta, one, *inputs = made.verifying()
    total = oracle.total(one, *(oracle.mul(point, value) for point, value in zip(inputs, (123, 50), strict=True)))
    pairs = ((curve.neg(alpha), beta), (alpha, beta), (total, gamma), (curve.neg(total), delta))
    data = b"".join(oracle.encoded(*pair) for pair in pairs)
    answer = world.chain.request("eth_call", {"to": "0x" + "00" * 19 + "08", "data": "0x" + data.hex()}, "latest")
    assert int(answer, 16) == 1


def test_a_chain_whose_pairing_is_missing_or_too_lenient_is_refused(world: World) -> None:
    """What the constructor asks has one answer. A chain that answers otherwise is one that pairs other points."""
    bytecode = artifacts.load(CONTRACT).bytecode + abi_encode(["address"], [world.deployment.contracts["ParticipantRegistry"]])
    generator, outside = bn254_pairing.encode(bn254_pairing.GENERATOR), oracle.outside()
    assert created(world, bytecode) is None
    assert bytecode.count(generator) == bytecode.count(outside) == 1
    # The pairing of another point refuses, and one of the group in place of the other is taken.
    assert created(world, bytecode.replace(generator, outside)) == "PrecompileMissing(address)"
    assert created(world, bytecode.replace(outside, generator)) == "PrecompileTooLenient(address)"


def test_a_deployment_says_which_precompile_a_chain_lacks(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, generator = artifacts.load(CONTRACT), bn254_pairing.encode(bn254_pairing.GENERATOR)
    other = replace(whole, bytecode=whole.bytecode.replace(generator, oracle.outside()))
    load = artifacts.load
    monkeypatch.setattr(artifacts, "load", lambda name: other if name == CONTRACT else load(name))
    older = {name: at for name, at in world.deployment.contracts.items() if name != CONTRACT}
    replace(world.deployment, contracts=older).save(tmp_path / "deployment.json")
    with pytest.raises(WrongChain, match=r"Groth16Verifier refused: PrecompileMissing\(precompile=0x0+8\)"):
        ensure(Web3(HTTPProvider(world.url)), world.governor.signer, tmp_path / "deployment.json")


def created(world: World, code: bytes) -> str | None:
    """Which error ends the construction, if one does."""
    call = {"from": world.governor.address, "data": "0x" + code.hex(), "gas": hex(GAS)}
    answer = Transport(world.url, 60).answer("eth_call", [call, "latest"])
    if "error" not in answer:
        return None
    errors = ("PrecompileMissing(address)", "PrecompileTooLenient(address)")
    return next((each for each in errors if keccak(each.encode())[:4].hex() in str(answer)), str(answer))
