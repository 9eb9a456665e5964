"""The contract behind `projection-verified`: true sums of committed vectors pass, whatever else the parties signed does not."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
from contracts.conftest import Case, World, refused
from eth_abi import encode as abi_encode
from eth_utils import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tallystick.chain.connection import Receipt
from tallystick.commitments import projection
from tallystick.commitments.projection import MODULUS
from tallystick.protocol import typed
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.proof.projection_verified import Projections
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.task import Proposal

VERIFIER = "ProjectionVerifier"


def bad(rule: str) -> AbstractContextManager[Any]:
    """The block ends in `BadProof` with this rule."""
    return pytest.raises(ContractRefused, match=f"BadProof.*{rule}")


class Training:
    """Three parties' vectors, their aggregate, and what all sign about them."""

    def __init__(self, world: World, proposal: Proposal, vectors: list[list[int]] | None = None) -> None:
        self.world = world
        self.proposal = replace(proposal, proof_kind=typed.proof_kind("projection-verified"))
        self.vectors = vectors or [[secrets.randbelow(2**32) for _ in range(50)] for _ in proposal.parties]
        self.aggregate = [sum(column) for column in zip(*self.vectors, strict=True)]

    def context(self, **changes: Any) -> bytes:
        deployment = self.world.deployment
        about = {
            "chain_id": deployment.chain_id,
            "registry": deployment.contracts["ProofRegistry"],
            "task": self.proposal.id(),
            "attempt": 1,
        }
        return context_of(**{**about, **changes})

    def proof(self, aggregate: list[int] | None = None, **context: Any) -> Projections:
        """What honest parties announce of their vectors and the aggregate that they were given."""
        whole = self.aggregate if aggregate is None else aggregate
        roots = tuple(projection.root([projection.encode(each)]) for each in self.vectors)
        aggregate_root = projection.root([projection.encode(whole)])
        points = projection.points(projection.challenge(self.context(**context), roots, aggregate_root))
        own = tuple(projection.project(each, points) for each in self.vectors)
        return Projections(roots, aggregate_root, own, projection.project(whole, points))

    def result(self, proof: Projections, content: bytes | None = None, **context: Any) -> typed.Result:
        challenge = projection.challenge(self.context(**context), proof.roots, proof.aggregate_root)
        hashed = keccak(proof.to_bytes() if content is None else content)
        return self.world.result(
            self.proposal,
            inputs=keccak(abi_encode(["bytes32[]"], [proof.roots])),
            output=keccak(abi_encode(["bytes32", "bytes32"], [challenge, hashed])),
        )

    def prove(
        self, proof: Projections, result: typed.Result | None = None, content: bytes | None = None, **options: Any
    ) -> Receipt:
        made = result or self.result(proof, content)
        return self.world.prove(self.proposal, made, proof.to_bytes() if content is None else content, **options)


@pytest.fixture
def training(case: Case) -> Training:
    made = Training(case.world, case.proposal)
    case.proposal = made.proposal
    case.start()
    return made


def test_a_true_aggregate_is_verified(training: Training) -> None:
    receipt = training.prove(training.proof())
    assert training.world.state(training.proposal) == "Proved"
    assert receipt.event("ResultProved")["kind"] == typed.proof_kind("projection-verified")


def test_a_party_without_input_has_zeros(training: Training) -> None:
    aggregate_root = projection.root([projection.encode(a + b for a, b in zip(*training.vectors[:2], strict=True))])
    roots = (*training.proof().roots[:2], bytes(32))
    points = projection.points(projection.challenge(training.context(), roots, aggregate_root))
    own = [projection.project(each, points) for each in training.vectors[:2]]
    total, extra = projection.add(own), (0, 0, 0, 1)
    with bad("without input"):
        training.prove(Projections(roots, aggregate_root, (*own, extra), projection.add([total, extra])))
    training.prove(Projections(roots, aggregate_root, (*own, projection.ZERO), total))


def test_contract_and_python_agree_on_context_and_challenge(world: World) -> None:
    for parties in (0, 1, 3, 16):
        context, aggregate, *roots = (secrets.token_bytes(32) for _ in range(2 + parties))
        expected = projection.challenge(context, roots, aggregate)
        assert world.call(VERIFIER, "challenge", context, roots, aggregate) == expected
    task = secrets.token_bytes(32)
    expected = context_of(world.deployment.chain_id, world.relayer.address, task, 7)
    assert world.call(VERIFIER, "context", world.relayer.address, task, 7) == expected
    assert world.call(VERIFIER, "MODULUS") == MODULUS
    assert world.call(VERIFIER, "kind") == typed.proof_kind("projection-verified")


def test_a_coordinator_that_adds_otherwise_is_refused(training: Training) -> None:
    first, second, third = training.vectors
    aggregates = {
        "dropped": [a + b for a, b in zip(first, second, strict=True)],
        "changed": [training.aggregate[0] + 1, *training.aggregate[1:]],
        "invented": [total + 5 for total in training.aggregate],
        "repeated": [total + c for total, c in zip(training.aggregate, third, strict=True)],
    }
    for aggregate in aggregates.values():
        with bad("add up"):
            training.prove(training.proof(aggregate))
    assert training.world.state(training.proposal) == "Running"


def flipped(proof: Projections, number: int) -> Projections:
    """One bit of one part changed."""
    own = [list(each) for each in proof.own]
    own[1][2] ^= 1
    parts: list[dict[str, Any]] = [
        {"roots": (proof.roots[0], bytes([proof.roots[1][0] ^ 1]) + proof.roots[1][1:], proof.roots[2])},
        {"aggregate_root": bytes([proof.aggregate_root[0] ^ 1]) + proof.aggregate_root[1:]},
        {"own": tuple(tuple(each) for each in own)},
        {"aggregate": (proof.aggregate[0] ^ 1, *proof.aggregate[1:])},
    ]
    return replace(proof, **parts[number])


def test_one_bit_that_was_not_signed_is_refused(training: Training) -> None:
    """A root, the aggregate's root, a projection, the aggregate's projection."""
    proof = training.proof()
    for part, rule in enumerate(["roots are not those signed", *["not those signed, or for another challenge"] * 3]):
        with bad(rule):
            training.prove(flipped(proof, part), training.result(proof))


def test_one_bit_that_all_signed_still_does_not_add_up(training: Training) -> None:
    for part in (2, 3):
        with bad("add up"):
            training.prove(flipped(training.proof(), part))


def test_projections_that_are_swapped_after_signing_are_refused(training: Training) -> None:
    proof = training.proof()
    shifted = (projection.add([proof.own[0], (1, 0, 0, 0)]), projection.add([proof.own[1], (MODULUS - 1, 0, 0, 0)]), proof.own[2])
    with bad("not those signed"):
        training.prove(replace(proof, own=shifted), training.result(proof))


def test_projections_are_below_the_modulus(training: Training) -> None:
    proof = training.proof()
    raised = ((proof.own[0][0] + MODULUS, *proof.own[0][1:]), *proof.own[1:])
    huge = ((2**256 - 1, 0, 0, 0), *proof.own[1:])
    for own in (raised, huge):
        with bad("below"):
            training.prove(replace(proof, own=own))
    with bad("add up"):
        training.prove(replace(proof, aggregate=(proof.aggregate[0] + MODULUS, *proof.aggregate[1:])))


COUNTS: list[Callable[[Projections], Projections]] = [
    lambda proof: replace(proof, roots=proof.roots[:2], own=proof.own[:2]),
    lambda proof: replace(proof, roots=(*proof.roots, bytes(32)), own=(*proof.own, projection.ZERO)),
    lambda proof: replace(proof, roots=proof.roots[:2]),
    lambda proof: replace(proof, roots=(*proof.roots, bytes(32))),
    lambda proof: replace(proof, own=proof.own[:2]),
    lambda proof: replace(proof, own=(*proof.own, projection.ZERO)),
    lambda proof: replace(proof, roots=(), own=(), aggregate=projection.ZERO),
]


def test_there_is_one_root_and_one_projection_for_each_party(training: Training) -> None:
    for change in COUNTS:
        with bad("for each party"):
            training.prove(change(training.proof()))


def test_bytes_that_are_no_proof_are_refused(training: Training) -> None:
    proof = training.proof()
    for garbage in (b"", b"\0", bytes(32), secrets.token_bytes(96), b"\xff" * 1000, proof.to_bytes()[:-1]):
        with refused("unknown"):  # the decoder reverts before any rule can say why
            training.prove(proof, content=garbage)


def test_bytes_that_decode_alike_are_not_those_signed(training: Training) -> None:
    proof = training.proof()
    with bad("not those signed"):
        training.prove(proof, training.result(proof), proof.to_bytes() + bytes(32))


def test_a_strangers_signature_does_not_count(training: Training) -> None:
    world, proof = training.world, training.proof()
    result = training.result(proof)
    digest = typed.result_digest(world.domain("ProofRegistry"), result)
    good = world.signatures(training.proposal, result)
    with refused("BadSignature"):
        training.prove(proof, result, signatures=[good[0], world.stranger.signer.sign_digest(digest), good[2]])
    with refused("SignatureMissing"):
        training.prove(proof, result, signatures=good[:2])


def test_a_proof_for_another_chain_registry_task_or_attempt_is_refused(training: Training) -> None:
    """All parties sign it, and its projections add up: but at the points of another challenge."""
    others = {
        "chain_id": training.world.deployment.chain_id + 1,
        "registry": training.world.stranger.address,
        "task": secrets.token_bytes(32),
        "attempt": 2,
    }
    for member, other in others.items():
        proof = training.proof(**{member: other})
        proof.require_sum()
        with bad("another challenge"):
            training.prove(proof, training.result(proof, **{member: other}))


def test_a_proof_is_not_replayed_for_another_task(case: Case, training: Training) -> None:
    world = case.world
    training.prove(proof := training.proof())
    second = Training(world, world.proposal(case.grants), training.vectors)
    world.requester.send("TaskLedger", "propose", second.proposal.as_tuple())
    world.accept(second.proposal, case.grants)
    first = training.result(proof)
    for result in (first, replace(first, task=second.proposal.id())):
        with refused("WrongTask") if result is first else bad("another challenge"):
            second.prove(proof, result)
    second.prove(second.proof())


def test_another_caller_is_another_registry(training: Training) -> None:
    """The verifier answers anyone, but to whom is not the registry the challenge is another."""
    world, proof = training.world, training.proof()
    result = training.result(proof)
    digest = typed.result_digest(world.domain("ProofRegistry"), result)
    parties = [party.account for party in training.proposal.parties]
    arguments = (parties, result.as_tuple(), digest, world.signatures(training.proposal, result), proof.to_bytes())
    with bad("another challenge"):
        world.call(VERIFIER, "verify", *arguments)


@given(data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_the_sum_passes(training: Training, data: st.DataObject) -> None:
    """Tried and not sent, so that one task serves all examples."""
    length = data.draw(st.integers(1, 12))
    entries = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, MODULUS // 16]))
    vectors = data.draw(st.lists(st.lists(entries, min_size=length, max_size=length), min_size=3, max_size=3))
    made = Training(training.world, training.proposal, vectors)
    aggregate = list(made.aggregate)
    if cheats := data.draw(st.booleans()):
        at = data.draw(st.integers(0, length - 1))
        aggregate[at] = data.draw(entries.filter(lambda entry: entry != made.aggregate[at]))
    proof = made.proof(aggregate)
    result = made.result(proof)
    arguments = (made.proposal.as_tuple(), result.as_tuple(), made.world.signatures(made.proposal, result), proof.to_bytes())
    if cheats:
        with bad("add up"):
            made.world.call("ProofRegistry", "submit", *arguments)
    else:
        made.world.call("ProofRegistry", "submit", *arguments)
