"""The twelve refusals of docs/explanation/refusals.md: that the page names tests that exist, and what the contracts refuse of them.

Named by their numbers. Numbers 5, 8, 9 and 10 are the nodes' alone.
"""

from __future__ import annotations

import ast
import re
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contracts.bargain import Bargain
from contracts.conftest import DAY, Case, World, refused
from contracts.test_proof_registry import Sum
from eth_abi import encode as abi_encode
from tallystick.protocol import merkle
from tallystick.protocol.errors import ContractRefused, VerificationFailed

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "explanation" / "refusals.md"


def numbered() -> dict[int, list[str]]:
    """The tests that the page names for each number."""
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", PAGE.read_text(), flags=re.MULTILINE)
    return {int(number): re.findall(r"`(tests/[\w/]+\.py::test_\w+)`", row) for number, row in rows}


def functions(path: Path) -> set[str]:
    found = ast.parse(path.read_text()).body
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_page_has_every_number_and_names_tests_that_exist() -> None:
    found = numbered()
    assert list(found) == list(range(1, 13))
    for number, names in found.items():
        assert names, f"number {number} names no test"
        for name in names:
            path, _, function = name.partition("::")
            assert function in functions(TESTS.parent / path), name


def test_every_refusal_of_this_file_is_on_the_page() -> None:
    here = {name for name in functions(Path(__file__)) if re.match(r"test_\d\d_", name)}
    named = {name.rpartition("::")[2]: number for number, names in numbered().items() for name in names}
    assert {name: named.get(name) for name in here} == {name: int(name[5:7]) for name in here}


def expire(case: Case) -> Any:
    return case.world.stranger.send("TaskLedger", "expire", case.proposal.as_tuple()).event("Expired")


def test_01_a_stranger_completes_cancels_or_fails_nothing(case: Case) -> None:
    world, stranger, task = case.world, case.world.stranger, case.proposal.as_tuple()
    case.propose()
    with refused("NotTheRequester"):
        stranger.send("TaskLedger", "cancel", task)
    with refused("TooEarly"):
        stranger.send("TaskLedger", "expire", task)
    world.accept(case.proposal, case.grants)
    result = world.result(case.proposal)
    with refused("NotAParty"):
        stranger.send("TaskLedger", "fail", task, 1, world.parties[0].address, 1, bytes(32))
    with refused("OnlyProofRegistry"):
        stranger.send("TaskLedger", "prove", case.proposal.id(), 1, case.proposal.proof_kind, result.statement)
    with refused("NotAllowed"):
        stranger.send("ParticipantRegistry", "suspend", world.parties[0].address, bytes(32))
    assert world.state(case.proposal) == "Running"


def test_02_a_record_is_in_the_name_of_who_sent_it_whatever_it_says(world: World) -> None:
    """A member cannot say whose dataset it publishes: the same descriptor is another dataset, and its own."""
    victim, member, *_ = world.parties
    descriptor = [secrets.token_bytes(32) for _ in range(3)]
    theirs = bytes(victim.send("DatasetRegistry", "publish", *descriptor).event("Published")["dataset"])
    copied = member.send("DatasetRegistry", "publish", *descriptor).event("Published")
    assert copied["owner"] == member.address and bytes(copied["dataset"]) != theirs
    with refused("NotTheOwner"):
        member.send("DatasetRegistry", "revise", theirs, *descriptor)
    with refused("NotTheOwner"):
        member.send("DatasetRegistry", "withdraw", theirs)
    with refused("BadOwnerSignature"):
        world.issue(member, world.grant(theirs))


def test_03_a_grant_of_one_use_is_used_once(world: World) -> None:
    grants = [world.grant(world.publish(actor), uses=1) for actor in world.parties]
    for actor, grant in zip(world.parties, grants, strict=True):
        world.issue(actor, grant)
    Case(world, grants, world.proposal(grants)).start()
    again = Case(world, grants, world.proposal(grants))
    with refused("GrantUsedUp"):
        again.start()
    assert world.state(again.proposal) == "Proposed"


def test_04_a_proof_that_shows_nothing_proves_nothing_and_pays_nobody(case: Case) -> None:
    proof = Sum(case.world, case.proposal)
    bargain = Bargain.of(Case(case.world, case.grants, proof.proposal))
    bargain.ready()
    case.world.accept(proof.proposal, case.grants)
    result = proof.result(proof.inputs, proof.sum)
    for content in (b"", secrets.token_bytes(64), abi_encode(["uint256[2][]", "uint256[2]"], [proof.inputs, proof.inputs[0]])):
        with pytest.raises(ContractRefused):
            case.world.prove(proof.proposal, result, content)
    with refused("TaskNotEnded"):
        bargain.settle()
    with refused("WrongStage"):
        bargain.claim(bargain.parties[0])
    assert case.world.state(proof.proposal) == "Running"


def test_06_a_log_that_was_edited_does_not_lead_to_its_anchored_root(world: World) -> None:
    who, records = world.parties[0], [secrets.token_bytes(99) for _ in range(5)]
    who.send("AuditLog", "anchor", merkle.root(records), len(records))
    edited = [*records[:2], secrets.token_bytes(99), *records[3:]]
    anchored = world.call("AuditLog", "headOf", who.address)
    assert anchored["root"] != merkle.root(edited)
    for shorter in (edited, edited[:-1]):  # what is anchored stays: neither another log as long, nor a shorter one
        with refused("NotGrowing"):
            who.send("AuditLog", "anchor", merkle.root(shorter), len(shorter))
    longer = [*edited, secrets.token_bytes(99)]
    proof = merkle.consistency_proof(longer, len(records))
    with pytest.raises(VerificationFailed):
        merkle.verify_consistency(len(records), len(longer), proof, anchored["root"], merkle.root(longer))


def test_07_a_task_of_one_who_stopped_is_closed_by_anyone_and_the_next_one_runs(case: Case) -> None:
    world, proposal = case.world, case.proposal
    case.propose()
    world.accept(proposal, case.grants, indices=[0, 2])
    world.travel(2 * 3600)
    assert expire(case)["late"] == 0b010
    following = Case(world, case.grants, world.proposal(case.grants))
    following.start()
    world.travel(601)
    with refused("TooLate"):
        world.prove(following.proposal, world.result(following.proposal))
    assert expire(following)["late"] == 0b111  # of a run that ended in silence each has to show what it did
    last = Case(world, case.grants, world.proposal(case.grants))
    last.start()
    world.prove(last.proposal, world.result(last.proposal))
    assert world.state(last.proposal) == "Proved"


def test_11_who_is_revoked_in_a_run_neither_accepts_nor_proves(case: Case) -> None:
    world = case.world
    case.start()
    result = world.result(case.proposal)
    world.governor.send("ParticipantRegistry", "revoke", world.parties[1].address, bytes(32))
    with refused("NotActive"):
        world.prove(case.proposal, result)
    following = Case(world, case.grants, world.proposal(case.grants))
    with refused("NotActive"):
        following.start()
    with refused("NotActive"):
        world.parties[1].send("AuditLog", "anchor", secrets.token_bytes(32), 1)


def test_12_nothing_starts_without_every_grant_on_record(case: Case) -> None:
    world = case.world
    unrecorded = world.grant(case.grants[2].dataset)
    grants = [*case.grants[:2], unrecorded]
    waiting = Case(world, grants, world.proposal(grants))
    with refused("UnknownGrant"):
        waiting.start()
    expired = replace(unrecorded, not_after=world.now - 1, not_before=world.now - DAY, salt=secrets.token_bytes(32))
    with refused("BadGrantValidity"):
        world.issue(world.parties[2], expired)
    assert world.state(waiting.proposal) == "Proposed"
    assert [world.call("GrantLedger", "accountOf", grant.id())["used"] for grant in case.grants[:2]] == [0, 0]
