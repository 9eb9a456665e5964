"""Results of tasks that end without a party: who was absent stands in the statement, the proof and on the chain, and nowhere else
does anybody speak for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tallystick.commitments import projection
from tallystick.protocol import canonical, events
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.projection_verified import Projections
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import PROJECTION_ABSENT, PROJECTION_VERIFIED, PROOFS, proposal_of, tolerated
from tallystick.protocol.verify import Report, verify_bundle
from unit.protocol.world import AGGREGATE, DEPLOYED, PARTIES, World, make

GONE, OTHER, RECEIVER = PARTIES
KIND = PROJECTION_ABSENT[0]


def without(world: World, *absent: str) -> World:
    """The same result, proved without parties: what all others agree on, whatever it is."""
    stated = world.statement
    world.statement = replace(
        stated,
        code=tuple(each for each in stated.code if each.party not in absent),
        links=tuple(each for each in stated.links if not {each.sender, each.recipient} & set(absent)),
        absent=absent,
    )
    world.signers = {party: signer for party, signer in world.signers.items() if party not in absent}
    world.settle()
    task = canonical.unhex32(stated.task)
    world.insert_before(events.RESULT_PROVED, events.PARTIES_ABSENT, task=task, attempt=1, parties=absent)
    return world


@pytest.fixture
def world() -> World:
    return without(make(KIND), GONE)


def check(world: World, **changes: Any) -> Report:
    return verify_bundle(
        world.bundle(**changes),
        trusted_blocks=[world.head()],
        contracts=DEPLOYED,
        result_file=world.results[RECEIVER],
        aggregate=[projection.encode(AGGREGATE)],
    )


def failed(world: World) -> tuple[int, ...]:
    return check(world).failed


def test_a_result_without_an_owner_passes_every_rule_and_says_so(world: World) -> None:
    report = check(world)
    report.require(complete=True)
    assert f"absent: {GONE}" in report.rules[11].detail
    assert report.rules[12].detail == "2 parties, 1 absent"


def test_the_same_kind_without_absence_passes() -> None:
    world = make(KIND)
    check(world).require(complete=True)
    assert Projections.parse(world.proof, 3, tolerant=True).absent == 0


def test_a_receiver_cannot_be_absent() -> None:
    world = make(KIND)
    outputs = world.statement.outputs
    assert 12 in failed(without(world, RECEIVER)) and world.statement.outputs == outputs


def test_the_requester_cannot_be_absent(world: World) -> None:
    spec = replace(world.spec, requester=GONE)
    assert GONE in world.spec.may_be_absent and GONE not in spec.may_be_absent and OTHER in spec.may_be_absent


def test_no_more_are_absent_than_the_task_tolerates() -> None:
    found = failed(without(make(KIND), GONE, OTHER))
    assert {12, 16} <= set(found)
    check(without(make(PROJECTION_ABSENT[1]), GONE, OTHER)).require(complete=True)


def test_who_is_absent_has_not_signed(world: World) -> None:
    world.signers = dict(make(KIND).signers)
    assert failed(world) == (13,)


def test_who_is_present_has_signed(world: World) -> None:
    del world.signers[OTHER]
    assert failed(world) == (13,)


def test_a_present_party_named_absent_in_the_statement_alone_is_found_out() -> None:
    """All parties signed the proof bytes of a result in which nobody is absent."""
    world = make(KIND)
    proof = world.proof
    without(world, GONE)
    world.proof = proof
    world.state_proof()
    assert failed(world) == (16,)


@pytest.mark.parametrize("recorded", [(), (OTHER,), (GONE, OTHER)])
def test_the_chain_recorded_the_same_absent_parties(world: World, recorded: tuple[str, ...]) -> None:
    if recorded:
        world.change(events.PARTIES_ABSENT, parties=recorded)
    else:
        world.drop(events.PARTIES_ABSENT)
    assert failed(world) == (17,)


def test_a_link_or_a_release_of_an_absent_party_is_refused(world: World) -> None:
    full = make(KIND).statement
    world.agree(links=full.links)
    assert failed(world) == (14,)
    world = without(make(KIND), GONE)
    world.agree(code=full.code)
    assert failed(world) == (12,)


def test_only_kinds_that_tolerate_absence_have_the_list(world: World) -> None:
    """And there every statement has it."""
    with pytest.raises(MalformedDocument):
        replace(make(PROJECTION_VERIFIED).statement, absent=(GONE,)).to_bytes()
    assert b'"absent"' not in make(PROJECTION_VERIFIED).statement.to_bytes()
    data = world.statement.to_bytes()
    assert Statement.parse(data) == world.statement
    for other in (b'"absent":[],', b""):
        changed = data.replace(b'"absent":["%b"],' % GONE.encode(), other)
        assert changed != data
        if other:
            assert Statement.parse(changed).absent == ()
        else:
            with pytest.raises(MalformedDocument):
                Statement.parse(changed)


def test_the_absent_are_named_once_and_in_order(world: World) -> None:
    for absent in ((OTHER, GONE), (GONE, GONE)):
        with pytest.raises(MalformedDocument):
            replace(world.statement, absent=absent).to_bytes()


CHANGES: list[Callable[[bytes], bytes]] = [
    lambda proof: proof[32:],
    lambda proof: proof + bytes(32),
    lambda proof: bytes([1]) + proof[1:],
    lambda proof: proof[:63] + bytes([proof[63] ^ 1]) + proof[64:],
]


@pytest.mark.parametrize("change", CHANGES)
def test_proof_bytes_are_read_strictly(world: World, change: Callable[[bytes], bytes]) -> None:
    world.proof = change(world.proof)
    assert set(failed(world)) & {15, 16}


def test_the_number_tolerated_is_part_of_the_proposal() -> None:
    """So every owner authorises it."""
    assert {name: tolerated(name) for name in PROOFS if tolerated(name)} == dict(zip(PROJECTION_ABSENT, (1, 2, 3), strict=True))
    kinds = {proposal_of(replace(make(KIND).spec, proof=name)).proof_kind for name in PROOFS}
    assert len(kinds) == len(PROOFS) == len(KINDS)


def test_an_envelope_holds_the_signatures_of_the_present(world: World) -> None:
    assert set(Envelope.parse(world.bundle().statement).signatures) == {OTHER, RECEIVER}
