"""The contract behind `vector-sum-verified`: true sums of committed vectors pass, whatever else the parties signed does not."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest
from contracts.conftest import KIND, Case, World, refused
from tallystick.chain import artifacts
from tallystick.chain.connection import Chain, Receipt
from tallystick.chain.deployment import evaluates_points
from tallystick.chain.transport import Transport
from tallystick.commitments import kzg, vector_sum
from tallystick.commitments.kzg import BLINDS, ORDER, POINT, Opening
from tallystick.ethereum import abi_encode, keccak
from tallystick.protocol import typed
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.proof.vector_sum_verified import VectorSum
from tallystick.protocol.task import VECTOR_SUM_VERIFIED, Proposal

VERIFIER = "VectorSumVerifier"
WORDS = 10
needs_openings = pytest.mark.skipif(KIND != "anvil", reason="Ganache stops at Shanghai: it lacks the precompile for KZG openings")


def bad(rule: str) -> Any:
    """The contract refuses for this reason."""
    return pytest.raises(ContractRefused, match=re.escape(f"BadProof(rule={rule}"))


UNSIGNED = "the sum's commitment or an opening is not the one signed"
UNSIGNED_INPUT, NOT_OPEN = "input commitments are not those signed", "an opening does not hold"
NO_SUM = "the parties' values do not add up to the sum's"


@cache
def drawn(chunks: int) -> list[list[list[int]]]:
    """Hidden vectors of three parties, by chunk."""
    words = [[[secrets.randbelow(2**32) for _ in range(WORDS)] for _ in range(chunks)] for _ in range(3)]
    return [[vector_sum.elements_of(each, [kzg.draw_blinds()])[0] for each in party] for party in words]


@cache
def _commit(elements: tuple[int, ...]) -> bytes:
    return kzg.commit(elements)


def commit(elements: list[int]) -> bytes:
    """As the library does, each vector once."""
    return _commit(tuple(elements))


@dataclass
class Vectors:
    """A task of three parties with committed vectors of one chunk, and whatever goes into its proof."""

    world: World
    proposal: Proposal
    chunks: int = 1
    elements: list[list[list[int]]] = field(default_factory=list)  # of each party and chunk
    attempt: int = 1

    def __post_init__(self) -> None:
        self.proposal = replace(self.proposal, proof_kind=typed.proof_kind(VECTOR_SUM_VERIFIED))
        self.elements = self.elements or list(drawn(self.chunks))

    def start(self, case: Case) -> Vectors:
        case.proposal = self.proposal
        case.start()
        return self

    @property
    def total(self) -> list[list[int]]:
        parts = zip(*self.elements, strict=True)
        return [[sum(column) % ORDER for column in zip(*part, strict=True)] for part in parts]

    def context(self, **changes: Any) -> bytes:
        deployment = self.world.deployment
        about = {
            "chain_id": deployment.chain_id,
            "registry": deployment.contracts["ProofRegistry"],
            "task": self.proposal.id(),
            "attempt": self.attempt,
        }
        return context_of(**{**about, **changes})

    def proof(self, total: list[list[int]] | None = None, **context: Any) -> VectorSum:
        """What honest parties open, of their vectors and of the sum that they were given."""
        summed = self.total if total is None else total
        rows = tuple(tuple(map(commit, each)) for each in self.elements)
        made = VectorSum(rows, (None,) * len(rows), tuple(map(commit, summed)), ())
        z = made.challenge(self.context(**context))
        openings = tuple(tuple(kzg.open_at(part, z) for part in each) for each in self.elements)
        return replace(made, openings=openings, shown=tuple(kzg.open_at(part, z) for part in summed))

    def result(self, proof: VectorSum, content: bytes | None = None) -> typed.Result:
        hashed = keccak(proof.to_bytes() if content is None else content)
        return self.world.result(
            self.proposal,
            inputs=proof.inputs,
            output=keccak(abi_encode(["bytes32", "bytes32"], [vector_sum.hash_of(proof.total), hashed])),
        )

    def prove(self, proof: VectorSum, result: typed.Result | None = None, content: bytes | None = None, **options: Any) -> Receipt:
        made = result or self.result(proof, content)
        return self.world.prove(self.proposal, made, proof.to_bytes() if content is None else content, **options)

    def call(self, proof: VectorSum) -> None:
        """The same without a transaction."""
        result = self.result(proof)
        signatures = self.world.signatures(self.proposal, result)
        self.world.call("ProofRegistry", "submit", self.proposal.as_tuple(), result.as_tuple(), signatures, proof.to_bytes())


def ready(url: str) -> None:
    """Anvil loads the ceremony's set-up when the precompile is first used, for some seconds: not in a call of ours with a
    deadline."""
    commitment, shown = kzg.commit([1]), kzg.open_at([1], 5)
    versioned = b"\1" + hashlib.sha256(commitment).digest()[1:]
    whole = b"".join((versioned, (5).to_bytes(32, "big"), shown.value.to_bytes(32, "big"), commitment, shown.proof))
    answer = Transport(url, 300).request("eth_call", {"to": f"0x{10:040x}", "data": "0x" + whole.hex()}, "latest")
    assert answer == "0x" + (kzg.SIZE.to_bytes(32, "big") + ORDER.to_bytes(32, "big")).hex()


@pytest.fixture(scope="module", autouse=True)
def _ready(_connections: list[Chain]) -> None:
    if KIND == "anvil":
        ready(_connections[0].url)


@pytest.fixture
def vectors(case: Case) -> Vectors:
    return Vectors(case.world, case.proposal).start(case)


def opening(proof: VectorSum, party: int, /, **changes: Any) -> VectorSum:
    """The proof with a party's first opening changed."""
    rows = [list(row or ()) for row in proof.openings]
    rows[party][0] = replace(rows[party][0], **changes)
    return replace(proof, openings=tuple(map(tuple, rows)))


def flip(data: bytes, at: int = 20) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@needs_openings
def test_a_true_sum_is_verified(vectors: Vectors) -> None:
    receipt = vectors.prove(vectors.proof())
    assert vectors.world.state(vectors.proposal) == "Proved"
    assert receipt.event("ResultProved")["kind"] == typed.proof_kind(VECTOR_SUM_VERIFIED)


@needs_openings
@pytest.mark.slow
def test_longer_vectors_have_several_chunks_and_each_must_add_up(case: Case) -> None:
    vectors = Vectors(case.world, case.proposal, chunks=2).start(case)
    false = [vectors.total[0], [vectors.total[1][0] + 1, *vectors.total[1][1:]]]
    with bad(NO_SUM):
        vectors.call(vectors.proof(false))
    vectors.prove(vectors.proof())
    assert case.world.state(vectors.proposal) == "Proved"


@needs_openings
def test_a_party_without_input_has_zeros(vectors: Vectors) -> None:
    vectors.elements[1] = [[0] * kzg.SIZE]
    proof = vectors.proof()
    rows, openings = list(proof.commitments), list(proof.openings)
    rows[1] = openings[1] = None
    made = replace(proof, commitments=tuple(rows), openings=tuple(openings))
    z = made.challenge(vectors.context())
    shown = {party: (kzg.open_at(vectors.elements[party][0], z),) for party in (0, 2)}
    made = replace(made, openings=(shown[0], None, shown[2]), shown=(kzg.open_at(vectors.total[0], z),))
    spoken = replace(made, openings=(shown[0], (Opening(1, bytes(POINT)),), shown[2]))
    with bad("a party without input has a value"):
        vectors.call(spoken)
    vectors.prove(made)


@needs_openings
def test_a_sum_that_is_not_the_vectors_is_refused(vectors: Vectors) -> None:
    """Truly committed to and opened, and signed by all: dropped, changed by one, invented."""
    first, second, third = (each[0] for each in vectors.elements)
    sums = [
        [(a + b) % ORDER for a, b in zip(first, second, strict=True)],
        [(vectors.total[0][0] + 1) % ORDER, *vectors.total[0][1:]],
        [(a + b) % ORDER for a, b in zip(vectors.total[0], third, strict=True)],
    ]
    for each in sums:
        with bad(NO_SUM):
            vectors.call(vectors.proof([each]))


@needs_openings
def test_the_contract_and_the_sdk_compute_the_same(world: World) -> None:
    task, inputs, total = (secrets.token_bytes(32) for _ in range(3))
    context = context_of(world.deployment.chain_id, world.relayer.address, task, 7)
    assert world.call(VERIFIER, "context", world.relayer.address, task, 7) == context
    assert world.call(VERIFIER, "challenge", context, inputs, total) == vector_sum.challenge(context, inputs, total)
    assert world.call(VERIFIER, "ORDER") == ORDER
    assert world.call(VERIFIER, "MAX_CHUNKS") == vector_sum.MAX_CHUNKS
    assert world.call(VERIFIER, "kind") == typed.proof_kind(VECTOR_SUM_VERIFIED)


@needs_openings
def test_one_bit_that_was_not_signed_is_refused(vectors: Vectors) -> None:
    proof = vectors.proof()
    result = vectors.result(proof)
    points = [list(row or ()) for row in proof.commitments]
    points[1][0] = flip(points[1][0])
    (shown,) = proof.shown
    cases = [
        (replace(proof, commitments=tuple(map(tuple, points))), UNSIGNED_INPUT),
        (replace(proof, total=(flip(proof.total[0]),)), UNSIGNED),
        (opening(proof, 1, value=(proof.openings[1] or ())[0].value ^ 1), UNSIGNED),
        (opening(proof, 1, proof=flip((proof.openings[1] or ())[0].proof)), UNSIGNED),
        (replace(proof, shown=(replace(shown, value=shown.value ^ 1),)), UNSIGNED),
        (replace(proof, shown=(replace(shown, proof=flip(shown.proof)),)), UNSIGNED),
    ]
    for changed, rule in cases:
        with bad(rule):
            vectors.prove(changed, result)


@needs_openings
def test_one_bit_that_all_signed_opens_nothing(vectors: Vectors) -> None:
    proof = vectors.proof()
    (shown,) = proof.shown
    second = (proof.openings[1] or ())[0]
    cases = [
        opening(proof, 1, value=second.value ^ 1),
        opening(proof, 1, proof=flip(second.proof)),
        replace(proof, shown=(replace(shown, value=shown.value ^ 1),)),
        replace(proof, shown=(replace(shown, proof=flip(shown.proof)),)),
        replace(proof, total=(flip(proof.total[0]),)),
    ]
    for changed in cases:
        with bad(NOT_OPEN):
            vectors.call(changed)


@needs_openings
def test_points_and_values_are_of_the_group_and_the_field(vectors: Vectors) -> None:
    proof = vectors.proof()
    second = (proof.openings[1] or ())[0]
    with bad("a value is not reduced"):
        vectors.call(opening(proof, 1, value=second.value + ORDER))
    outside = b"\x80" + bytes(POINT - 2) + b"\4"  # x = 4: on the curve, not in the group
    for point in (b"\xff" * POINT, b"\x80" + bytes(POINT - 2) + b"\1", outside, b"\xc0" + bytes(POINT - 2) + b"\1"):
        for at in range(2):
            points = [list(row or ()) for row in proof.commitments]
            points[0][0] = point
            made = opening(proof, 0, proof=point) if at else replace(proof, commitments=tuple(map(tuple, points)))
            with bad(NOT_OPEN):
                vectors.call(made)


@needs_openings
@pytest.mark.slow
def test_a_proof_is_good_for_its_chain_registry_task_and_attempt_alone(vectors: Vectors) -> None:
    """All parties sign it, and its openings add up: but at another point."""
    others: dict[str, Any] = {
        "chain_id": vectors.world.deployment.chain_id + 1,
        "registry": vectors.world.stranger.address,
        "task": secrets.token_bytes(32),
        "attempt": 2,
    }
    for member, other in others.items():
        with bad(NOT_OPEN):
            vectors.call(vectors.proof(**{member: other}))


@needs_openings
def test_a_proof_is_not_replayed_for_another_task(case: Case, vectors: Vectors) -> None:
    world = case.world
    vectors.prove(proof := vectors.proof())
    second = Vectors(world, world.proposal(case.grants), elements=vectors.elements)
    world.requester.send("TaskLedger", "propose", second.proposal.as_tuple())
    world.accept(second.proposal, case.grants)
    first = vectors.result(proof)
    with refused("WrongTask"):
        second.prove(proof, first)
    with bad(NOT_OPEN):
        second.call(proof)
    second.prove(second.proof())


@needs_openings
@pytest.mark.slow
def test_another_caller_is_another_registry(vectors: Vectors) -> None:
    world, proof = vectors.world, vectors.proof()
    result = vectors.result(proof)
    digest = typed.result_digest(world.domain("ProofRegistry"), result)
    parties = [party.account for party in vectors.proposal.parties]
    with bad(NOT_OPEN):
        world.call(
            VERIFIER, "verify", parties, result.as_tuple(), digest, world.signatures(vectors.proposal, result), proof.to_bytes()
        )


@needs_openings
def test_every_party_has_its_place_and_signs(vectors: Vectors) -> None:
    world, proof = vectors.world, vectors.proof()
    whole = "one commitment and one opening for each chunk of each party and of the sum"
    missing = replace(proof, commitments=proof.commitments[:2], openings=proof.openings[:2])
    more = replace(proof, commitments=(*proof.commitments, None), openings=(*proof.openings, None))
    content = proof.to_bytes()
    for made, data, rule in [
        (missing, missing.to_bytes(), whole),
        (more, more.to_bytes(), whole),
        (proof, content[:-1], whole),
        (proof, content + bytes(1), whole),
        (proof, b"", "the proof ends too soon"),
        (proof, bytes(31), "the proof ends too soon"),
        (proof, bytes(32), "a vector has 1 to 4 chunks"),
        (proof, (5).to_bytes(32, "big") + content[32:], "a vector has 1 to 4 chunks"),
        (proof, b"\xff" * 32 + content[32:], "a vector has 1 to 4 chunks"),
        (proof, (2).to_bytes(32, "big") + content[32:], whole),
    ]:
        with bad(rule):
            vectors.prove(made, content=data)
    result = vectors.result(proof)
    digest = typed.result_digest(world.domain("ProofRegistry"), result)
    good = world.signatures(vectors.proposal, result)
    with refused("BadSignature"):
        vectors.prove(proof, result, signatures=[good[0], world.stranger.signer.sign_digest(digest), good[2]])
    with refused("SignatureMissing"):
        vectors.prove(proof, result, signatures=good[:2])


def test_a_chain_without_openings_gets_no_verifier_and_no_task(world: World) -> None:
    """On Anvil it has both. A task of the kind is refused where it is proposed."""
    chain = world.chain
    able = evaluates_points(Transport(world.url))
    assert able == (KIND == "anvil") == (VERIFIER in world.deployment.contracts)
    bytecode = "0x" + artifacts.load(VERIFIER).bytecode.hex()
    call = [{"from": world.governor.address, "data": bytecode, "gas": hex(6_000_000)}, "latest"]
    if able:
        assert chain.request("eth_call", *call).startswith("0x60")
        return
    with pytest.raises(Exception, match=rf"{keccak(b'PrecompileMissing(address)')[:4].hex()}|revert"):
        chain.request("eth_call", *call)
    grant = world.grant(world.publish(world.parties[0]))
    world.issue(world.parties[0], grant)
    proposal = replace(world.proposal([grant]), proof_kind=typed.proof_kind(VECTOR_SUM_VERIFIED))
    with refused("UnknownProofKind"):
        world.requester.send("TaskLedger", "propose", proposal.as_tuple())


def test_hiding_elements_are_as_many_as_the_layout_keeps() -> None:
    assert vector_sum.CHUNK_WORDS == vector_sum.LANES * (kzg.SIZE - BLINDS)
