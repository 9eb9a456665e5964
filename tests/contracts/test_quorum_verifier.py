"""The contract behind `attested-hardware-quorum`: enough named verifiers vouch for what all sign, or nothing is proved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from contracts.conftest import DAY, Actor, Case, World, refused
from contracts.foreign import create, creation_code
from contracts.test_attestation_verifier import b32, bad
from contracts.test_contract_accounts import Wallet
from eth_abi import encode as abi_encode
from eth_utils import keccak
from tallystick.attestation.runs import task_digest
from tallystick.chain.connection import Receipt
from tallystick.protocol import typed
from tallystick.protocol.fields import order
from tallystick.protocol.proof.quorum import QuorumRun, write_vouchings
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.proof.vouching import FAMILIES, Vouching
from tallystick.protocol.task import ATTESTED_HARDWARE, ATTESTED_QUORUM, ATTESTED_SIMULATED, Proposal

QUORUM = "QuorumVerifier"
NO_WORD = bytes(32)


def word(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass
class Vouched:
    """An attempt of a three-party task, three verifiers that the governor named, and a threshold of two."""

    world: World
    proposal: Proposal
    verifiers: list[Actor] = field(init=False)
    commitments: tuple[bytes, ...] = (word("first"), word("second"), NO_WORD)

    def __post_init__(self) -> None:
        world = self.world
        for actor in (world.newcomer, world.relayer, world.regulator):
            if not world.call("ParticipantRegistry", "participant", actor.address)["status"]:
                world.enrol(actor)
        self.verifiers = sorted((world.newcomer, world.relayer, world.regulator), key=lambda actor: order(actor.address))
        for actor in self.verifiers:
            self.govern("nameVerifier", actor.address)
        self.govern("setThreshold", 2)
        self.govern("allow", word("identity"))

    def govern(self, function: str, *arguments: Any) -> Receipt:
        return self.world.governor.send(QUORUM, function, *arguments)

    def run(self, **changes: Any) -> QuorumRun:
        words = {name: word(name) for name in ("algorithm", "output", "identity", "platform", "key", "evidence", "policy")}
        accounts = tuple(actor.address for actor in self.verifiers)
        return QuorumRun(**{**words, "family": "snp", "threshold": 2, "verifiers": accounts, **changes})

    def vouching(self, by: Actor, run: QuorumRun | None = None, **changes: Any) -> Vouching:
        """What ``by`` signs of this attempt, or of what ``changes`` say."""
        run, deployment = run or self.run(), self.world.deployment
        about = {
            "chain_id": deployment.chain_id,
            "registry": deployment.contracts["ProofRegistry"],
            "task": self.proposal.id(),
            "attempt": 1,
        }
        about |= {name: changes.pop(name) for name in list(changes) if name in about}
        inputs = [each for each in self.commitments if each != NO_WORD]
        report_data = task_digest(context_of(*about.values()), run.algorithm, inputs, run.output) + run.key
        found = {name: getattr(run, name) for name in ("family", "identity", "platform", "evidence", "policy")}
        until = self.world.now + 10 * DAY
        said = Vouching(**{**about, **found, "report_data": report_data, "not_after": until, "verifier": by.address, **changes})
        return replace(said, signature=by.signer.sign_digest(said.digest))

    def bound(self, run: QuorumRun | None = None) -> bytes:
        return b"".join(self.commitments) + (run or self.run()).to_bytes()

    def proof(self, *vouchings: Vouching, run: QuorumRun | None = None) -> bytes:
        run = run or self.run()
        given = vouchings or [self.vouching(actor, run) for actor in self.verifiers[:2]]
        return self.bound(run) + write_vouchings(run, given)

    def result(self, bound: bytes, **changes: Any) -> typed.Result:
        return self.world.result(self.proposal, inputs=keccak(bound[:96]), output=keccak(bound), **changes)

    def arguments(self, proof: bytes, bound: bytes | None = None) -> tuple[Any, ...]:
        made = self.result(bound or self.bound())
        return self.proposal.as_tuple(), made.as_tuple(), self.world.signatures(self.proposal, made), proof

    def try_out(self, proof: bytes, bound: bytes | None = None) -> None:
        self.world.call("ProofRegistry", "submit", *self.arguments(proof, bound))

    def prove(self, proof: bytes) -> Receipt:
        return self.world.stranger.send("ProofRegistry", "submit", *self.arguments(proof))


def started(case: Case) -> Vouched:
    case.proposal = replace(case.proposal, proof_kind=typed.proof_kind(ATTESTED_QUORUM))
    case.start()
    return Vouched(case.world, case.proposal)


@pytest.fixture
def vouched(case: Case) -> Vouched:
    return started(case)


def test_two_of_three_verifiers_prove_a_result(vouched: Vouched) -> None:
    everybody = [vouched.vouching(actor) for actor in vouched.verifiers]
    for pair in (everybody[:2], everybody[1:], everybody[::2], everybody):
        vouched.try_out(vouched.proof(*pair))
    receipt = vouched.prove(vouched.proof())
    assert vouched.world.state(vouched.proposal) == "Proved"
    assert receipt.event("ResultProved")["kind"] == typed.proof_kind(ATTESTED_QUORUM)


def test_every_family_of_genuine_hardware_is_vouched_for(vouched: Vouched) -> None:
    for family in FAMILIES:
        run = vouched.run(family=family)
        vouched.try_out(vouched.proof(run=run), vouched.bound(run))


def test_fewer_verifiers_than_the_task_asks_for_prove_nothing(vouched: Vouched) -> None:
    first, second, third = vouched.verifiers
    with bad("fewer verifiers vouch"):
        vouched.try_out(vouched.bound())
    with bad("fewer verifiers vouch"):
        vouched.try_out(vouched.proof(vouched.vouching(first)))
    strict = vouched.run(threshold=3)
    with bad("fewer verifiers vouch"):
        vouched.try_out(vouched.proof(run=strict), vouched.bound(strict))
    vouched.govern("setThreshold", 3)
    with bad("asks for too few"):
        vouched.try_out(vouched.proof())
    vouched.try_out(
        vouched.proof(*(vouched.vouching(each, strict) for each in (first, second, third)), run=strict), vouched.bound(strict)
    )


def test_a_verifier_counts_once(vouched: Vouched) -> None:
    first, second, _ = vouched.verifiers
    run, said = vouched.run(), vouched.vouching(first)
    once = write_vouchings(run, [said])
    for twice in (once + once, write_vouchings(run, [vouched.vouching(second)]) + once):
        with bad("not ascending, each once"):
            vouched.try_out(vouched.bound() + twice)
    later = write_vouchings(run, [vouched.vouching(first, not_after=said.not_after + 1)])
    with bad("not ascending, each once"):
        vouched.try_out(vouched.bound() + once + later)
    doubled = vouched.run(verifiers=(first.address, first.address, second.address))
    parts = once + b"\1" + once[1:]
    with bad("not ascending, each once"):
        vouched.try_out(vouched.bound(doubled) + parts, vouched.bound(doubled))


def test_suspended_dropped_and_unnamed_verifiers_do_not_count(vouched: Vouched) -> None:
    world, (first, second, third) = vouched.world, vouched.verifiers
    proof, reason = vouched.proof(), bytes(32)
    world.governor.send("ParticipantRegistry", "suspend", first.address, reason)
    with refused("NotActive"):
        vouched.try_out(proof)
    vouched.try_out(vouched.proof(vouched.vouching(second), vouched.vouching(third)))
    world.governor.send("ParticipantRegistry", "reinstate", first.address)
    vouched.try_out(proof)
    vouched.govern("dropVerifier", second.address, reason)
    with bad("none that the governor named"):
        vouched.try_out(proof)
    vouched.govern("nameVerifier", second.address)
    named = tuple(actor.address for actor in (first, third))
    run = vouched.run(verifiers=named)
    with bad("none that the task names"):
        vouched.try_out(vouched.bound(run) + b"\2" + write_vouchings(run, [vouched.vouching(first, run)])[1:], vouched.bound(run))


def test_a_partys_own_word_does_not_count(vouched: Vouched) -> None:
    party = vouched.world.actor(vouched.proposal.parties[0].account)
    vouched.govern("nameVerifier", party.address)
    chosen = sorted((party, vouched.verifiers[0]), key=lambda actor: order(actor.address))
    run = vouched.run(verifiers=tuple(actor.address for actor in chosen))
    proof = vouched.proof(*(vouched.vouching(actor, run) for actor in chosen), run=run)
    with bad("a party of the task"):
        vouched.try_out(proof, vouched.bound(run))


def test_a_vouching_about_anything_else_is_refused(vouched: Vouched) -> None:
    first, second, _ = vouched.verifiers
    others: dict[str, Any] = {
        "chain_id": vouched.world.deployment.chain_id + 1,
        "registry": vouched.world.stranger.address,
        "task": word("another task"),
        "attempt": 2,
    }
    for name, other in others.items():
        with refused("BadSignature"):
            vouched.try_out(vouched.proof(vouched.vouching(first, **{name: other}), vouched.vouching(second)))
    run = vouched.run()
    for name in ("identity", "platform", "key", "evidence", "policy", "algorithm", "output"):
        said = replace(vouched.vouching(first, replace(run, **{name: word("other")})), **vouched_for(run))
        with refused("BadSignature"):
            vouched.try_out(vouched.proof(said, vouched.vouching(second)))
    forged = replace(vouched.vouching(first), verifier=second.address)
    with refused("BadSignature"):
        vouched.try_out(vouched.proof(forged, vouched.vouching(first)))


def vouched_for(run: QuorumRun) -> dict[str, Any]:
    """The members that would let a vouching pass for one about ``run``."""
    report = {"report_data": NO_WORD + run.key}
    return {name: getattr(run, name) for name in ("family", "identity", "platform", "evidence", "policy")} | report


def test_a_measurement_that_all_sign_but_nobody_allowed_is_refused(vouched: Vouched) -> None:
    run = vouched.run(identity=word("changed"))
    with bad("not allowed"):
        vouched.try_out(vouched.proof(run=run), vouched.bound(run))
    vouched.govern("disallow", word("identity"), bytes(32))
    with bad("not allowed"):
        vouched.try_out(vouched.proof())


def test_an_appraisal_counts_until_it_expires(vouched: Vouched) -> None:
    first, second, _ = vouched.verifiers
    proof = vouched.proof(vouched.vouching(first), vouched.vouching(second, not_after=vouched.world.now + DAY))
    vouched.try_out(proof)
    vouched.world.travel(2 * DAY)
    with bad("has expired"):
        vouched.try_out(proof)
    later = replace(vouched.vouching(second), signature=vouched.vouching(second, not_after=vouched.world.now - 10).signature)
    with refused("BadSignature"):
        vouched.try_out(vouched.proof(vouched.vouching(first), later))


def test_neither_a_simulation_nor_a_debug_enclave_is_vouched_for(vouched: Vouched) -> None:
    bound, place = vouched.bound(), 96 + 224
    for family in (0, len(FAMILIES) + 1, 0x80 | 3, 255):
        changed = bound[:place] + bytes([family]) + bound[place + 1 :]
        with bad("none of genuine hardware"):
            vouched.try_out(changed + vouched.proof()[len(bound) :], changed)
    first, second, _ = vouched.verifiers
    said = vouched.vouching(first)
    about = (said.task, 1, 3, said.identity, said.platform, said.report_data[:32], said.report_data[32:], True, said.evidence)
    struct = keccak(keccak(VOUCHING.encode()) + b"".join(each if isinstance(each, bytes) else b32(each) for each in about)
                    + said.policy + b32(said.not_after))  # fmt: skip
    debug = first.signer.sign_digest(vouched.world.domain("ProofRegistry").digest(struct))
    with refused("BadSignature"):
        vouched.try_out(vouched.proof(replace(said, signature=debug), vouched.vouching(second)))


VOUCHING = (
    "Vouching(bytes32 task,uint8 attempt,uint8 family,bytes32 identity,bytes32 platform,bytes32 reportData,"
    "bytes32 reportDataRest,bool debug,bytes32 evidence,bytes32 policy,uint40 notAfter)"
)


def test_a_quorum_and_a_quote_do_not_stand_in_for_each_other(case: Case) -> None:
    """The kind of proof stands in the proposal, and each kind is another contract."""
    case.proposal = replace(case.proposal, proof_kind=typed.proof_kind(ATTESTED_SIMULATED))
    case.start()
    vouched = Vouched(case.world, case.proposal)
    with bad(""):
        vouched.try_out(vouched.proof())
    for kind in (ATTESTED_QUORUM, ATTESTED_HARDWARE):
        proposal, result, signatures, proof = vouched.arguments(vouched.proof())
        other = (*result[:5], typed.proof_kind(kind))
        with refused("WrongKind"):
            vouched.world.call("ProofRegistry", "submit", proposal, other, signatures, proof)


def test_what_was_not_signed_or_is_cut_off_is_refused(vouched: Vouched) -> None:
    proof, bound = vouched.proof(), vouched.bound()
    for at in range(0, len(bound), 31):
        with bad("not the one signed|too short|none of genuine"):
            vouched.try_out(proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :])
    for short in (b"", proof[:95], proof[: len(bound) - 1]):
        with bad("too short|not the one signed"):
            vouched.try_out(short)
    for cut in (1, 7, 64):
        with bad("cut off"):
            vouched.try_out(proof[:-cut] if cut > 7 else proof + bytes(cut))
    with bad("input commitments"):
        swapped = bound[32:64] + bound[:32] + bound[64:]
        made = replace(vouched.result(swapped), inputs=keccak(bound[:96]))
        signatures = vouched.world.signatures(vouched.proposal, made)
        vouched.world.call("ProofRegistry", "submit", vouched.proposal.as_tuple(), made.as_tuple(), signatures, swapped)


def test_a_quorum_stands_in_for_no_partys_signature(vouched: Vouched) -> None:
    world, made = vouched.world, vouched.result(vouched.bound())
    good = world.signatures(vouched.proposal, made)
    by_stranger = world.stranger.signer.sign_digest(typed.result_digest(world.domain("ProofRegistry"), made))
    for signatures, error in (
        ([good[0], by_stranger, good[2]], "BadSignature"),
        (good[:2], "SignatureMissing"),
        ([], "SignatureMissing"),
    ):
        with refused(error):
            world.call("ProofRegistry", "submit", vouched.proposal.as_tuple(), made.as_tuple(), signatures, vouched.proof())


def test_a_contract_account_vouches_too(vouched: Vouched) -> None:
    """EIP-1271: an institution's account may be a contract."""
    world, first = vouched.world, vouched.verifiers[0]
    owner = world.stranger
    wallet = Wallet(owner, create(owner, creation_code("Wallet") + abi_encode(["address"], [owner.address])))
    world.enrol(wallet)  # type: ignore[arg-type]
    vouched.govern("nameVerifier", wallet.address)
    named = sorted((first.address, wallet.address), key=order)
    run = vouched.run(verifiers=tuple(named))
    said = vouched.vouching(owner, run, verifier=wallet.address)
    proof = vouched.proof(vouched.vouching(first, run), said, run=run)
    vouched.try_out(proof, vouched.bound(run))
    wallet.answers("Refuses")
    with refused("BadSignature"):
        vouched.try_out(proof, vouched.bound(run))


def test_only_the_governor_says_who_vouches_and_how_many(vouched: Vouched) -> None:
    world, first = vouched.world, vouched.verifiers[0]
    with refused("AlreadySo"):
        vouched.govern("nameVerifier", first.address)
    with refused("AlreadySo"):
        vouched.govern("dropVerifier", world.stranger.address, bytes(32))
    with refused("NotActive"):
        vouched.govern("nameVerifier", world.stranger.address)
    for least in (0, 1):
        with refused("BadThreshold"):
            vouched.govern("setThreshold", least)
    assert world.chain.quorum.threshold() == 2
    assert world.chain.quorum.is_verifier(first.address)
    calls: Sequence[tuple[str, list[Any]]] = (
        ("nameVerifier", [world.requester.address]),
        ("dropVerifier", [first.address, bytes(32)]),
        ("setThreshold", [3]),
    )
    for function, arguments in calls:
        with refused("OnlyGovernor"):
            world.stranger.send(QUORUM, function, *arguments)


def test_nothing_is_proved_before_a_threshold_is_set(case: Case) -> None:
    case.proposal = replace(case.proposal, proof_kind=typed.proof_kind(ATTESTED_QUORUM))
    case.start()
    fresh = Vouched.__new__(Vouched)
    fresh.world, fresh.proposal, fresh.verifiers = case.world, case.proposal, []
    fresh.govern("allow", word("identity"))
    run = fresh.run(threshold=0)
    with bad("asks for too few"):
        fresh.try_out(fresh.bound(run), fresh.bound(run))
