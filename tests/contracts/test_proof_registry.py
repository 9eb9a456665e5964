from __future__ import annotations

import secrets
from dataclasses import replace

from contracts.conftest import KIND, Case, World, refused
from contracts.test_range_verifier import ALIKE, refuses
from eth_abi import encode as abi_encode
from eth_utils import keccak
from tallystick.commitments import bn254, pedersen
from tallystick.protocol import typed
from tallystick.protocol.task import PROOFS, VECTOR_SUM_VERIFIED, Proposal

REGISTRY = "ProofRegistry"


def xy(point: bn254.Point) -> tuple[int, int]:
    return point or (0, 0)


class Sum:
    """Three committed vectors, their sum, and the proof bytes."""

    def __init__(self, world: World, proposal: Proposal) -> None:
        self.world = world
        self.proposal = replace(proposal, proof_kind=typed.proof_kind("sum-verified"))
        vectors = [[secrets.randbelow(10**9) - 5 * 10**8 for _ in range(4)] for _ in proposal.parties]
        blindings = [secrets.randbelow(bn254.ORDER) for _ in proposal.parties]
        self.inputs = [xy(pedersen.commit(v, r)) for v, r in zip(vectors, blindings, strict=True)]
        totals = [sum(column) for column in zip(*vectors, strict=True)]
        self.sum = xy(pedersen.commit(totals, sum(blindings)))

    def result(self, inputs: list[tuple[int, int]], total: tuple[int, int]) -> typed.Result:
        return self.world.result(
            self.proposal,
            inputs=keccak(abi_encode(["uint256[2][]"], [inputs])),
            output=keccak(abi_encode(["uint256[2]"], [total])),
        )

    def prove(self, inputs: list[tuple[int, int]], total: tuple[int, int], result: typed.Result | None = None) -> None:
        proof = abi_encode(["uint256[2][]", "uint256[2]"], [inputs, total])
        self.world.prove(self.proposal, result or self.result(inputs, total), proof)

    def start(self, case: Case) -> None:
        case.proposal = self.proposal
        case.start()


def test_a_result_signed_by_all_is_recorded_with_its_kind(case: Case) -> None:
    case.start()
    result = case.world.result(case.proposal)
    receipt = case.world.prove(case.proposal, result)
    event = receipt.event("ResultProved")
    assert (event["statement"], event["inputs"], event["output"]) == (result.statement, result.inputs, result.output)
    proof = case.world.call(REGISTRY, "proofOf", case.proposal.id())
    assert (proof["kind"], proof["digest"]) == (typed.proof_kind("signed-by-all"), result.hash())
    expected = typed.result_digest(case.world.domain(REGISTRY), result)
    assert case.world.call(REGISTRY, "resultDigest", result.as_tuple()) == expected


def test_one_signature_missing_or_wrong_and_nothing_is_proved(case: Case) -> None:
    case.start()
    world, proposal = case.world, case.proposal
    result = world.result(proposal)
    good = world.signatures(proposal, result)
    flipped = bytearray(good[1])
    flipped[3] ^= 1
    bad = [
        ("SignatureMissing", good[:2]),
        ("BadSignature", [good[0], bytes(flipped), good[2]]),
        ("BadSignature", [good[1], good[0], good[2]]),
        ("BadProof", [*good, good[0]]),
    ]
    for error, signatures in bad:
        with refused(error):
            world.prove(proposal, result, signatures=signatures)
    assert world.state(proposal) == "Running"


def test_a_changed_member_breaks_the_signatures(case: Case) -> None:
    case.start()
    world, proposal = case.world, case.proposal
    result = world.result(proposal)
    signatures = world.signatures(proposal, result)
    for change in ("statement", "inputs", "output"):
        with refused("BadSignature"):
            world.prove(proposal, replace(result, **{change: secrets.token_bytes(32)}), signatures=signatures)


def test_signatures_for_another_chain_or_contract_do_not_count(case: Case) -> None:
    case.start()
    world, proposal = case.world, case.proposal
    result = world.result(proposal)
    here = world.domain(REGISTRY)
    for domain in (replace(here, chain_id=here.chain_id + 1), replace(here, address=world.stranger.address)):
        with refused("BadSignature"):
            world.prove(proposal, result, signatures=world.signatures(proposal, result, domain))


def test_a_result_belongs_to_its_task_kind_and_attempt(case: Case) -> None:
    case.start()
    world, proposal = case.world, case.proposal
    with refused("WrongTask"):
        world.prove(proposal, world.result(proposal, task=secrets.token_bytes(32)))
    with refused("WrongKind"):
        world.prove(proposal, world.result(proposal, proof_kind=typed.proof_kind("sum-verified")))
    with refused("WrongAttempt"):
        world.prove(proposal, world.result(proposal, attempt=2))
    unheard = typed.proof_kind("unheard-of")
    another = replace(proposal, proof_kind=unheard)  # nobody can propose it, and nobody has
    with refused("UnknownKind"):
        world.prove(another, world.result(another, proof_kind=unheard))


def test_a_result_is_proved_once(case: Case) -> None:
    case.start()
    world, proposal = case.world, case.proposal
    world.prove(proposal, world.result(proposal))
    with refused("WrongState"):
        world.prove(proposal, world.result(proposal))


def test_a_suspended_partys_signature_does_not_count(case: Case) -> None:
    case.start()
    world = case.world
    world.governor.send("ParticipantRegistry", "suspend", world.parties[2].address, bytes(32))
    with refused("NotActive"):
        world.prove(case.proposal, world.result(case.proposal))


def test_signed_by_all_takes_no_proof_bytes(case: Case) -> None:
    case.start()
    with refused("BadProof"):
        case.world.prove(case.proposal, case.world.result(case.proposal), b"anything")


def test_a_true_sum_is_verified(case: Case) -> None:
    proof = Sum(case.world, case.proposal)
    proof.start(case)
    proof.prove(proof.inputs, proof.sum)
    assert case.world.state(proof.proposal) == "Proved"


def test_a_true_sum_stands_in_for_no_partys_signature(case: Case) -> None:
    made = Sum(case.world, case.proposal)
    made.start(case)
    world, result = case.world, made.result(made.inputs, made.sum)
    proof = abi_encode(["uint256[2][]", "uint256[2]"], [made.inputs, made.sum])
    good = world.signatures(made.proposal, result)
    by_stranger = world.stranger.signer.sign_digest(typed.result_digest(world.domain(REGISTRY), result))
    for signatures, error in (([good[0], by_stranger, good[2]], "BadSignature"), (good[:2], "SignatureMissing")):
        with refused(error):
            world.prove(made.proposal, result, proof, signatures=signatures)


def test_a_false_sum_is_refused_even_when_all_signed_it(case: Case) -> None:
    proof = Sum(case.world, case.proposal)
    proof.start(case)
    other = xy(bn254.multiply((1, 2), 5))
    for inputs, total in (
        (proof.inputs, other),
        *((proof.inputs, each(proof.sum)) for each in ALIKE),
        ([proof.inputs[0], proof.inputs[1], other], proof.sum),
        ([proof.inputs[0], proof.inputs[1], (0, 0)], proof.sum),
    ):
        with refuses("the input commitments do not add up to the result"):
            proof.prove(inputs, total)


def test_each_party_has_its_own_commitment_in_a_sum(case: Case) -> None:
    """Two commitments of three parties, or four, may well add up to the sum, and all have signed them."""
    proof = Sum(case.world, case.proposal)
    proof.start(case)
    first, second, third = proof.inputs
    for inputs in ([first, xy(bn254.add(second, third))], [*proof.inputs, (0, 0)]):
        with refuses("one input commitment for each party"):
            proof.prove(inputs, proof.sum)


def test_commitments_that_are_no_points_of_the_curve_are_refused(case: Case) -> None:
    proof = Sum(case.world, case.proposal)
    proof.start(case)
    for x, y in ((1, 3), (bn254.P, 2), (1, bn254.P + 2)):
        with refuses("an input commitment is not a point of the curve"):
            proof.prove([(x, y), *proof.inputs[1:]], proof.sum)


def test_commitments_that_were_not_signed_are_refused(case: Case) -> None:
    """Even where they add up: those of two parties in each other's place, and the true sum where another was signed."""
    proof = Sum(case.world, case.proposal)
    proof.start(case)
    first, second, third = proof.inputs
    with refuses("input commitments are not those signed"):
        proof.prove([second, first, third], proof.sum, proof.result(proof.inputs, proof.sum))
    with refuses("result commitment is not the one signed"):
        proof.prove(proof.inputs, proof.sum, proof.result(proof.inputs, first))


def test_every_kind_of_proof_has_its_verifier_and_is_named_alike_on_both_sides(world: World) -> None:
    verifiers = {name: at for name, at in world.deployment.contracts.items() if name.endswith("Verifier")}
    named = {world.call(name, "name"): name for name in verifiers}
    assert set(named) == set(PROOFS) - (set() if KIND == "anvil" else {VECTOR_SUM_VERIFIED})
    for name, verifier in named.items():
        kind = typed.proof_kind(name)
        assert world.call(verifier, "kind") == kind
        assert world.call(REGISTRY, "verifierOf", kind) == verifiers[verifier]


def test_only_the_governor_adds_verifiers_and_none_is_replaced(world: World) -> None:
    verifier = world.deployment.contracts["SumVerifier"]
    with refused("OnlyGovernor"):
        world.stranger.send(REGISTRY, "addVerifier", verifier)
    with refused("VerifierExists"):
        world.governor.send(REGISTRY, "addVerifier", verifier)
