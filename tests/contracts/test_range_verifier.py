"""`RangeVerifier` refuses an input out of range, a group too small, and a proof of anything else than what was signed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from contracts.conftest import Case, World, refused
from eth_abi import encode as abi_encode
from tallystick.chain import artifacts
from tallystick.chain.connection import Receipt
from tallystick.commitments import bn254, pedersen, ranges
from tallystick.commitments.bn254 import ORDER
from tallystick.commitments.ranges import TOTAL, Form, Shape
from tallystick.ethereum import keccak
from tallystick.protocol import typed
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.task import SUM_IN_RANGE, Proposal

BYTE = Form(4, 0, ((0, 1),))
# A count below 2^8, a sum of values from 10 to 25 each; ten in all.
SHAPE = Shape(2, (BYTE, Form(6, 0, ((1, 1), (0, -10))), Form(6, 0, ((0, 25), (1, -1)))), (Form(6, -10, ((0, 1),)),))
WORD = 32


_ROOT = next(root for root in (pow(g, (bn254.P - 1) // 3, bn254.P) for g in range(2, 9)) if root != 1)  # of unity, the third
#: Maps of the curve to itself that are additive: each keeps one coordinate, and the other not.
ALIKE: list[Callable[[bn254.Point], bn254.Point]] = [
    lambda point: point and (point[0], bn254.P - point[1]),
    lambda point: point and (point[0] * _ROOT % bn254.P, point[1]),
]


@dataclass
class Ranged:
    """A task of three parties with committed vectors, and whatever goes into its proof."""

    world: World
    proposal: Proposal
    shape: Shape = SHAPE
    vectors: list[list[int]] = field(default_factory=lambda: [[4, 60], [3, 30], [200, 4000]])
    blindings: list[int] = field(default_factory=lambda: [secrets.randbelow(ORDER) for _ in range(3)])
    attempt: int = 1

    def __post_init__(self) -> None:
        self.proposal = replace(self.proposal, proof_kind=typed.proof_kind(SUM_IN_RANGE))

    def start(self, case: Case) -> Ranged:
        case.proposal = self.proposal
        case.start()
        return self

    @property
    def context(self) -> bytes:
        deployment = self.world.deployment
        return context_of(deployment.chain_id, deployment.contracts["ProofRegistry"], self.proposal.id(), self.attempt)

    @property
    def commitments(self) -> list[bn254.Point]:
        return [pedersen.commit(*each) if each[0] else None for each in zip(self.vectors, self.blindings, strict=True)]

    def own(self, place: int, shape: Shape | None = None, context: bytes | None = None) -> bytes:
        """The range proof of one party's input."""
        shape = shape or self.shape
        encoded = shape.to_bytes()
        given = (self.vectors[place], self.blindings[place])
        return ranges.prove(context or self.context, encoded, place, shape.inputs, *given).to_bytes()

    def total(self) -> bytes:
        """The range proof of the sum."""
        totals = [sum(column) for column in zip(*(each for each in self.vectors if each), strict=True)]
        blinding = sum(b for v, b in zip(self.vectors, self.blindings, strict=True) if v)
        return ranges.prove(self.context, self.shape.to_bytes(), TOTAL, self.shape.total, totals, blinding).to_bytes()

    def proof(self) -> bytes:
        return self.bytes([self.own(place) if vector else b"" for place, vector in enumerate(self.vectors)], self.total())

    def bytes(self, own: list[bytes], total: bytes, commitments: list[bn254.Point] | None = None) -> bytes:
        points = self.commitments if commitments is None else commitments
        listed = b"".join(map(bn254.encode, [*points, bn254.total(points)]))
        return self.shape.to_bytes() + listed + b"".join(own) + total

    def result(self, proof: bytes, points: list[bn254.Point], total: bn254.Point = None) -> typed.Result:
        return self.world.result(
            self.proposal,
            inputs=keccak(abi_encode(["uint256[2][]"], [[each or (0, 0) for each in points]])),
            output=keccak(bn254.encode(total or bn254.total(points)) + keccak(proof)),
        )

    def prove(self, proof: bytes, commitments: list[bn254.Point] | None = None, total: bn254.Point = None) -> Receipt:
        """Submit it, signed by all, for these commitments and this sum."""
        result = self.result(proof, self.commitments if commitments is None else commitments, total)
        return self.world.prove(self.proposal, result, proof)


def refuses(rule: str) -> Any:
    """The contract refuses for this reason."""
    return pytest.raises(ContractRefused, match=re.escape(f"BadProof(rule={rule}"))


NO_PROOF, TOO_SOON, NO_POINT = (
    "a range proof does not hold",
    "the proof ends too soon",
    "what should be a point is none of the curve",
)
NOT_REDUCED, UNSIGNED = "a number is not reduced", "result commitment or proof is not the one signed"


def cheat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Provers put what is left into the last digit, whatever that comes to."""

    def digits_of(form: Form, vector: list[int]) -> list[int]:
        value = form.of(vector)
        low = [value >> (2 * j) & 3 for j in range(form.digits - 1)]
        return [*low, (value - sum(each << (2 * j) for j, each in enumerate(low))) >> (2 * form.digits - 2)]

    monkeypatch.setattr(Form, "digits_of", digits_of)


def test_inputs_in_range_and_a_group_that_is_large_enough_are_proved(case: Case) -> None:
    ranged = Ranged(case.world, case.proposal).start(case)
    ranged.prove(ranged.proof())
    assert case.world.state(ranged.proposal) == "Proved"


def test_a_party_without_input_proves_nothing(case: Case) -> None:
    ranged = Ranged(case.world, case.proposal, vectors=[[4, 60], [], [9, 90]]).start(case)
    ranged.prove(ranged.proof())
    assert case.world.state(ranged.proposal) == "Proved"


@pytest.mark.parametrize(
    "vector",
    [[256, 5000], [-1, -20], [ORDER - 1, 0], [4, 39], [4, 101], [4, ORDER - 1]],
    ids=["2^b", "negative", "p - 1", "a sum too low", "a sum too high", "a sum of p - 1"],
)
def test_an_input_out_of_range_is_refused_though_all_signed(case: Case, monkeypatch: pytest.MonkeyPatch, vector: list[int]) -> None:
    ranged = Ranged(case.world, case.proposal).start(case)
    ranged.vectors[1] = vector
    cheat(monkeypatch)
    proof = ranged.proof()
    with refuses(NO_PROOF):
        ranged.prove(proof)
    assert case.world.state(ranged.proposal) == "Running"


@pytest.mark.parametrize("counts", [(4, 3, 2), (9, 0, 0)])
def test_one_member_too_few_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch, counts: tuple[int, ...]) -> None:
    ranged = Ranged(case.world, case.proposal, vectors=[[n, 20 * n] for n in counts]).start(case)
    cheat(monkeypatch)
    proof = ranged.proof()
    with refuses(NO_PROOF):
        ranged.prove(proof)


def test_exactly_as_many_members_as_needed_are_enough(case: Case) -> None:
    ranged = Ranged(case.world, case.proposal, vectors=[[4, 60], [3, 30], [3, 75]]).start(case)
    ranged.prove(ranged.proof())


def test_swapped_commitments_and_proofs_are_refused(case: Case) -> None:
    ranged = Ranged(case.world, case.proposal).start(case)
    own, total = [ranged.own(place) for place in range(3)], ranged.total()
    first, second, third = ranged.commitments
    swapped = [second, first, third]
    for proofs, points in (
        (own, swapped),
        ([own[1], own[0], own[2]], swapped),  # each with its own commitment, at another's place
        ([own[1], own[0], own[2]], [first, second, third]),
    ):
        with refuses(NO_PROOF):
            ranged.prove(ranged.bytes(proofs, total, points), points)


def test_a_proof_of_another_task_attempt_or_registry_is_refused(case: Case) -> None:
    ranged = Ranged(case.world, case.proposal).start(case)
    elsewhere = replace(ranged, proposal=replace(ranged.proposal, salt=secrets.token_bytes(32)))
    again = replace(ranged, attempt=2)
    for other in (elsewhere, again):
        with refuses(NO_PROOF):
            ranged.prove(other.proof())


def test_a_proof_under_other_bounds_is_refused(case: Case) -> None:
    """Bounds are part of the challenge, and signed with the proof."""
    ranged = Ranged(case.world, case.proposal).start(case)
    own, total = [ranged.own(place) for place in range(3)], ranged.total()
    proof = ranged.proof()
    narrower = replace(SHAPE, total=(replace(SHAPE.total[0], offset=-9),))
    bounded = replace(SHAPE, inputs=(BYTE, SHAPE.inputs[1], Form(6, 0, ((0, 24), (1, -1)))))
    for shape in (narrower, bounded):
        with refuses(NO_PROOF):
            ranged.prove(replace(ranged, shape=shape).bytes(own, total))
    signed = ranged.world.result(ranged.proposal)
    with refuses("input commitments are not those signed"):  # for another result
        ranged.world.prove(ranged.proposal, signed, proof)


def test_no_word_of_a_proof_can_be_changed(case: Case) -> None:
    ranged = Ranged(case.world, case.proposal).start(case)
    proof = ranged.proof()
    start = len(SHAPE.to_bytes()) + 64 * 4
    size = ranges.size_of(2, SHAPE.inputs)
    points, scalars = (start, start + 64 * 2), range(start + 64 * 7, start + size, 4 * WORD)
    changes = [(at, 1, NO_POINT) for at in points]
    for at in (*scalars, len(proof) - WORD, len(proof) - 3 * WORD):
        changes += [(at, 1, NO_PROOF), (at, ORDER, NOT_REDUCED)]
    for at, more, rule in changes:
        word = int.from_bytes(proof[at : at + WORD], "big") + more
        with refuses(rule):
            ranged.prove(proof[:at] + word.to_bytes(WORD, "big") + proof[at + WORD :])
    for other in (proof[:-WORD], proof[: start + 32], proof[: start - 1], proof[:100], b""):
        with refuses(TOO_SOON):
            ranged.prove(other)
    with refuses("the proof is longer than its forms say"):
        ranged.prove(proof + bytes(WORD))


LIMITS = {
    0: ("1 to 126 values", [0, 127]),
    1: ("1 to 256 forms", [0, 257]),
    2: ("1 to 256 forms", [0, 2**200]),
    3: ("a form has 1 to 64 digits", [0, 65, 2**255]),
    4: ("a form has at least one term", [0, 3, 2**255]),
    5: ("an offset is not reduced", [ORDER]),
    6: ("a form names a value that there is not", [2, 2**256 - 1]),
    7: ("a coefficient is not reduced", [ORDER]),
}


def test_a_proof_of_ranges_stands_in_for_no_partys_signature(case: Case) -> None:
    made = Ranged(case.world, case.proposal).start(case)
    world, proof = case.world, made.proof()
    result = made.result(proof, made.commitments)
    good = world.signatures(made.proposal, result)
    by_stranger = world.stranger.signer.sign_digest(typed.result_digest(world.domain("ProofRegistry"), result))
    for signatures, error in (([good[0], by_stranger, good[2]], "BadSignature"), (good[:2], "SignatureMissing")):
        with refused(error):
            world.prove(made.proposal, result, proof, signatures=signatures)
    world.prove(made.proposal, result, proof, signatures=good)


def test_forms_have_limits(case: Case) -> None:
    ranged = Ranged(case.world, case.proposal).start(case)
    proof = ranged.proof()
    for place, (rule, values) in LIMITS.items():
        for value in values:
            with refuses(rule):
                ranged.prove(proof[: WORD * place] + value.to_bytes(WORD, "big") + proof[WORD * (place + 1) :])
    many = [2, 5, 1, *[64, 1, 0, 0, 1] * 5]
    with refuses("more than 256 digits"):
        ranged.prove(b"".join(word.to_bytes(WORD, "big") for word in many) + proof)


def test_a_false_sum_and_points_off_the_curve_are_refused(case: Case) -> None:
    ranged = Ranged(case.world, case.proposal).start(case)
    own, total = [ranged.own(place) for place in range(3)], ranged.total()
    points, other = ranged.commitments, bn254.multiply((1, 2), 5)
    with refuses(NO_PROOF):
        ranged.prove(ranged.bytes(own, total, [*points[:2], other]), [*points[:2], other])
    proof = ranged.bytes(own, total)
    with refuses("input commitments are not those signed"):
        ranged.prove(proof, [*points[:2], other])
    with refuses(UNSIGNED):
        ranged.prove(proof, total=other)
    at = len(SHAPE.to_bytes())
    for false in (other, *(each(bn254.total(points)) for each in ALIKE)):
        with refuses("the input commitments do not add up to the result"):
            ranged.prove(proof[: at + 64 * 3] + bn254.encode(false) + proof[at + 64 * 4 :], total=false)
    off = (1, 3)
    with refuses("a commitment is not a point of the curve"):
        ranged.prove(proof[:at] + bn254.encode(off) + proof[at + 64 :], [off, *points[1:]], bn254.total(points))
    with refuses(NO_POINT):
        ranged.prove(proof[: at + 64 * 4] + (1).to_bytes(WORD, "big") + proof[at + 64 * 4 + WORD :])


@pytest.mark.parametrize("alike", ALIKE)
def test_proofs_over_generators_that_share_a_coordinate_with_the_releases_are_refused(
    case: Case, monkeypatch: pytest.MonkeyPatch, alike: Callable[[bn254.Point], bn254.Point]
) -> None:
    """All points of such a proof are the images of a true one's: the two sides differ in one coordinate alone."""
    ranged = Ranged(case.world, case.proposal).start(case)
    genuine = pedersen._generator
    with monkeypatch.context() as patched:
        patched.setattr(pedersen, "_generator", lambda label: alike(genuine(label)))
        proof, points = ranged.proof(), ranged.commitments
    with refuses(NO_PROOF):
        ranged.prove(proof, points)
    ranged.prove(ranged.proof())


def test_the_generators_are_those_of_the_release(world: World) -> None:
    """The verifier is not constructed over others, and keeps the right ones."""
    chain = world.chain
    at = world.call("RangeVerifier", "generators")
    table = ranges.table()
    assert chain.request("eth_getCode", at, "latest") == "0x00" + table.hex()
    bytecode = artifacts.load("RangeVerifier").bytecode
    for points in (table[:-64], table[64:] + table[:64]):
        data = bytecode + abi_encode(["bytes"], [points])
        with pytest.raises(Exception, match=f"{keccak(b'WrongGenerators()')[:4].hex()}|revert"):
            chain.request("eth_call", {"from": world.governor.address, "data": "0x" + data.hex(), "gas": hex(12_000_000)}, "latest")
