"""The contract behind `projection-verified-absent-1` to `-3`: all but so many parties sign who was absent, and nobody else is."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest
from contracts.conftest import Actor, Case, World, refused
from contracts.test_projection_verifier import bad
from eth_abi import encode as abi_encode
from eth_utils import keccak
from tallystick.chain.connection import Receipt
from tallystick.commitments import projection
from tallystick.protocol import typed
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.grant import Grant
from tallystick.protocol.proof.projection_verified import Projections
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.task import PROJECTION_ABSENT, PROJECTION_VERIFIED, Party


class Quorum:
    """Four owners, one of whom proposed the task, and a receiver without data; what all hold of the owners' rounds."""

    def __init__(
        self, world: World, kind: str = PROJECTION_ABSENT[0], owners: int = 4, before: Callable[[Case], object] = lambda _: None
    ) -> None:
        """``before``: what is done between proposal and acceptance."""
        self.world = world
        self.owners = [*world.parties, world.newcomer][:owners]
        self.requester = self.owners[0]
        self.grants = [self._grant(owner) for owner in self.owners]
        made = world.proposal(self.grants, (world.regulator,), requester=self.requester.address, proof_kind=typed.proof_kind(kind))
        parties = [*made.parties]
        parties += [Party(world.newcomer.address, grant.dataset, grant.id(), 0, 1) for grant in self.grants[3:]]
        self.proposal = replace(made, parties=tuple(sorted(parties, key=lambda party: int(party.account, 16))))
        self.requester.send("TaskLedger", "propose", self.proposal.as_tuple())
        before(Case(world, self.grants, self.proposal))
        world.accept(self.proposal, self.grants)
        self.vectors = [
            [secrets.randbelow(2**32) for _ in range(12)] if any(each.dataset) else [] for each in self.proposal.parties
        ]

    def _grant(self, owner: Actor) -> Grant:
        made = self.world.grant(self.world.publish(owner), grantee=self.requester.address)
        self.world.issue(owner, made)
        return made

    def place(self, actor: Actor) -> int:
        return [party.account for party in self.proposal.parties].index(actor.address)

    def proof(self, absent: Collection[Actor] = ()) -> Projections:
        aggregate = [sum(column) for column in zip(*(each for each in self.vectors if each), strict=True)]
        roots = tuple(projection.root([projection.encode(each)]) if each else bytes(32) for each in self.vectors)
        root = projection.root([projection.encode(aggregate)])
        deployment = self.world.deployment
        context = context_of(deployment.chain_id, deployment.contracts["ProofRegistry"], self.proposal.id(), 1)
        self.challenge = projection.challenge(context, roots, root)
        at = projection.points(self.challenge)
        own = tuple(projection.project(each, at) for each in self.vectors)
        bits = sum(1 << self.place(each) for each in absent)
        return Projections(roots, root, own, projection.project(aggregate, at), bits)

    def result(self, proof: Projections) -> typed.Result:
        return self.world.result(
            self.proposal,
            inputs=keccak(abi_encode(["bytes32[]"], [proof.roots])),
            output=keccak(abi_encode(["bytes32", "bytes32"], [self.challenge, keccak(proof.to_bytes())])),
        )

    def prove(self, proof: Projections, silent: Collection[Actor], signed: Projections | None = None) -> Receipt:
        """``silent``: who does not sign; ``signed``: what the others sign, if not what is shown."""
        result = self.result(signed or proof)
        signatures = self.world.signatures(self.proposal, result)
        for each in silent:
            signatures[self.place(each)] = b""
        return self.world.prove(self.proposal, result, proof.to_bytes(), signatures=signatures)


@pytest.fixture
def quorum(world: World) -> Quorum:
    world.enrol(world.newcomer)
    return Quorum(world)


def test_a_result_without_one_owner_is_proved_and_names_it(quorum: Quorum) -> None:
    gone = quorum.owners[1]
    receipt = quorum.prove(quorum.proof([gone]), [gone])
    assert quorum.world.state(quorum.proposal) == "Proved"
    assert receipt.event("PartiesAbsent")["parties"] == [gone.address]
    found = quorum.world.call("ProofRegistry", "proofOf", quorum.proposal.id())
    assert found["absent"] == 1 << quorum.place(gone)


def test_a_result_that_all_signed_names_nobody(quorum: Quorum) -> None:
    receipt = quorum.prove(quorum.proof(), [])
    assert not [event for event in receipt.events if event.name == "PartiesAbsent"]
    assert quorum.world.call("ProofRegistry", "proofOf", quorum.proposal.id())["absent"] == 0


def test_fewer_signatures_than_the_task_needs_are_refused(quorum: Quorum) -> None:
    one, other = quorum.owners[1:3]
    with bad("more parties are absent than the task tolerates"):
        quorum.prove(quorum.proof([one, other]), [one, other])
    for named in ([], [one]):
        with refused("BadSignature"):
            quorum.prove(quorum.proof(named), [one, other])
    assert quorum.world.state(quorum.proposal) == "Running"


def test_who_signed_is_not_named_absent(quorum: Quorum) -> None:
    """Neither by all, nor by a relayer that leaves its signature out of a result that says that all are present."""
    gone = quorum.owners[2]
    with bad("named absent has signed"):
        quorum.prove(quorum.proof([gone]), [])
    with bad("not those signed"):
        quorum.prove(quorum.proof([gone]), [gone], signed=quorum.proof())
    with refused("BadSignature"):
        quorum.prove(quorum.proof(), [gone])


def test_a_forged_projection_of_an_absent_owner_is_refused(quorum: Quorum) -> None:
    """Not what was signed; and if all sign it, it does not add up."""
    gone, true = quorum.owners[1], quorum.proof([quorum.owners[1]])
    own = list(true.own)
    own[quorum.place(gone)] = projection.add([own[quorum.place(gone)], (1, 0, 0, 0)])
    forged = replace(true, own=tuple(own))
    with bad("not those signed"):
        quorum.prove(forged, [gone], signed=true)
    with bad("add up"):
        quorum.prove(forged, [gone])


def test_the_requester_and_who_has_no_data_are_never_absent(quorum: Quorum) -> None:
    for needed in (quorum.requester, quorum.world.regulator):
        with refused("MustBePresent"):
            quorum.prove(quorum.proof([needed]), [needed])


def test_nobody_outside_the_task_is_absent(quorum: Quorum) -> None:
    gone = quorum.owners[1]
    for extra in (1 << len(quorum.proposal.parties), 1 << 16, 1 << 255):
        proof = quorum.proof([gone])
        with bad("none of the task's"):
            quorum.prove(replace(proof, absent=(proof.absent or 0) | extra), [gone])


def test_three_owners_are_present_in_every_result(world: World) -> None:
    quorum = Quorum(world, owners=3)
    gone = quorum.owners[1]
    with bad("fewer than three owners"):
        quorum.prove(quorum.proof([gone]), [gone])
    quorum.prove(quorum.proof(), [])


def test_a_kind_that_tolerates_more_takes_more(world: World) -> None:
    world.enrol(world.newcomer)
    quorum = Quorum(world, PROJECTION_ABSENT[1])
    two = quorum.owners[1:3]
    with bad("fewer than three owners"):
        quorum.prove(quorum.proof(two), two)
    with bad("more parties are absent than the task tolerates"):
        quorum.prove(quorum.proof(quorum.owners[1:]), quorum.owners[1:])


def test_the_kind_without_absence_takes_no_empty_signature(world: World) -> None:
    world.enrol(world.newcomer)
    quorum = Quorum(world, PROJECTION_VERIFIED)
    gone, proof = quorum.owners[1], replace(quorum.proof(), absent=None)
    with refused("BadSignature"):
        quorum.prove(proof, [gone])
    with pytest.raises(ContractRefused):
        quorum.prove(quorum.proof([gone]), [gone])
    quorum.prove(proof, [])


def test_contract_and_python_agree_on_the_kinds(world: World) -> None:
    for number, name in enumerate(PROJECTION_ABSENT, start=1):
        verifier = f"ProjectionAbsent{number}Verifier"
        assert world.call(verifier, "name") == name
        assert world.call(verifier, "kind") == typed.proof_kind(name)
        assert world.call(verifier, "tolerated") == number
