from __future__ import annotations

import secrets
from dataclasses import replace

from contracts.conftest import DAY, Case, World, refused
from tallystick.protocol import typed

LEDGER = "GrantLedger"


def test_the_contract_and_the_sdk_compute_the_same_ids(world: World) -> None:
    grant = world.grant(secrets.token_bytes(32))
    assert world.call(LEDGER, "grantId", grant.as_tuple()) == grant.id()
    expected = typed.grant_digest(world.domain(LEDGER), grant.id())
    assert world.call(LEDGER, "grantDigest", grant.as_tuple()) == expected


def test_anyone_relays_a_grant_that_the_owner_signed(world: World) -> None:
    owner = world.parties[0]
    grant = world.grant(world.publish(owner), uses=2)
    world.issue(owner, grant, by=world.stranger)
    account = world.call(LEDGER, "accountOf", grant.id())
    assert (account["grantee"], account["uses"], account["used"]) == (world.requester.address, 2, 0)


def test_nobody_grants_the_use_of_anothers_data(world: World) -> None:
    grant = world.grant(world.publish(world.parties[0]))
    for other in (world.parties[1], world.stranger, world.requester):
        with refused("BadOwnerSignature"):
            world.issue(other, grant)


def test_a_changed_member_breaks_the_signature(world: World) -> None:
    owner = world.parties[0]
    grant = world.grant(world.publish(owner))
    signature = owner.signer.sign_digest(typed.grant_digest(world.domain(LEDGER), grant.id()))
    changes = [
        {"grantee": world.stranger.address},
        {"uses": grant.uses + 1},
        {"terms": secrets.token_bytes(32)},
        {"epsilon_micros": 1},
        {"not_after": grant.not_after + 1},
        {"salt": secrets.token_bytes(32)},
    ]
    for change in changes:
        with refused("BadOwnerSignature"):
            world.relayer.send(LEDGER, "issue", replace(grant, **change).as_tuple(), signature)


def test_a_grant_for_another_chain_or_contract_does_not_count(world: World) -> None:
    owner = world.parties[0]
    grant = world.grant(world.publish(owner))
    here = world.domain(LEDGER)
    for domain in (replace(here, chain_id=here.chain_id + 1), replace(here, address=world.stranger.address)):
        with refused("BadOwnerSignature"):
            world.issue(owner, grant, domain=domain)


def test_a_grant_is_issued_once(world: World) -> None:
    owner = world.parties[0]
    grant = world.grant(world.publish(owner))
    world.issue(owner, grant)
    with refused("GrantExists"):
        world.issue(owner, grant)


def test_a_grant_needs_uses_a_grantee_and_a_future(world: World) -> None:
    owner = world.parties[0]
    dataset = world.publish(owner)
    with refused("NoUses"):
        world.issue(owner, world.grant(dataset, uses=0))
    with refused("NoUses"):
        world.issue(owner, world.grant(dataset, grantee="0x" + "00" * 20))
    with refused("BadGrantValidity"):
        world.issue(owner, world.grant(dataset, not_after=world.now - 1))
    with refused("BadGrantValidity"):
        world.issue(owner, world.grant(dataset, not_before=world.now + 9 * DAY, not_after=world.now + 8 * DAY))


def test_a_suspended_owner_or_a_withdrawn_dataset_cannot_be_granted(world: World) -> None:
    owner, other = world.parties[:2]
    grant, withdrawn = world.grant(world.publish(owner)), world.grant(world.publish(other))
    world.governor.send("ParticipantRegistry", "suspend", owner.address, bytes(32))
    with refused("NotActive"):
        world.issue(owner, grant)
    other.send("DatasetRegistry", "withdraw", withdrawn.dataset)
    with refused("DatasetWithdrawn"):
        world.issue(other, withdrawn)


def test_only_the_owner_revokes(world: World) -> None:
    owner = world.parties[0]
    grant = world.grant(world.publish(owner))
    world.issue(owner, grant)
    for other in (world.stranger, world.requester, world.parties[1]):
        with refused("NotTheDatasetOwner"):
            other.send(LEDGER, "revoke", grant.as_tuple())
    owner.send(LEDGER, "revoke", grant.as_tuple())
    with refused("GrantIsRevoked"):
        owner.send(LEDGER, "revoke", grant.as_tuple())


def test_only_the_task_ledger_debits(case: Case) -> None:
    grant = case.grants[0]
    for who in (case.world.stranger, case.world.requester, case.world.parties[0], case.world.governor):
        with refused("OnlyTaskLedger"):
            who.send(LEDGER, "debit", grant.id(), grant.dataset, grant.terms, case.world.requester.address, bytes(32), 1, 1, 0)


def test_a_started_task_debits_every_grant_once(case: Case) -> None:
    receipt = case.start()
    assert sum(event.name == "Debited" for event in receipt.events) == 3
    for grant in case.grants:
        assert case.world.call(LEDGER, "accountOf", grant.id())["used"] == 1


def test_one_bad_grant_and_nothing_is_debited(case: Case) -> None:
    case.propose()
    owner = case.world.actor(next(p.account for p in case.proposal.parties if p.grant == case.grants[2].id()))
    owner.send(LEDGER, "revoke", case.grants[2].as_tuple())
    with refused("GrantIsRevoked"):
        case.world.accept(case.proposal, case.grants)
    assert [case.world.call(LEDGER, "accountOf", grant.id())["used"] for grant in case.grants] == [0, 0, 0]
    assert case.world.state(case.proposal) == "Proposed"


def started_with(world: World, **changes: object) -> None:
    owner = world.parties[0]
    grant = world.grant(world.publish(owner), **changes)
    world.issue(owner, grant)
    proposal = world.proposal([grant])
    world.requester.send("TaskLedger", "propose", proposal.as_tuple())
    world.accept(proposal, [grant])


def test_a_grant_is_used_no_more_often_than_it_says(world: World) -> None:
    owner = world.parties[0]
    grant = world.grant(world.publish(owner), uses=1)
    world.issue(owner, grant)
    for expected in (None, "GrantUsedUp"):
        proposal = world.proposal([grant])
        world.requester.send("TaskLedger", "propose", proposal.as_tuple())
        if expected is None:
            world.accept(proposal, [grant])
        else:
            with refused(expected):
                world.accept(proposal, [grant])


def test_a_grant_outside_its_validity_is_refused(world: World) -> None:
    with refused("GrantOutsideValidity"):
        started_with(world, not_before=world.now + 5 * DAY, not_after=world.now + 6 * DAY)


def test_a_grant_serves_its_grantee_alone(world: World) -> None:
    with refused("NotTheGrantee"):
        started_with(world, grantee=world.regulator.address)


def test_terms_that_are_not_the_grants_are_refused(case: Case) -> None:
    case.propose()
    forged = [replace(grant, terms=secrets.token_bytes(32)) for grant in case.grants]
    world = case.world
    signatures = [world.acceptance(world.actor(p.account), case.proposal) for p in case.proposal.parties]
    with refused("WrongDataset"):
        world.relayer.send("TaskLedger", "accept", case.proposal.as_tuple(), 1, [0, 1, 2], signatures, [g.terms for g in forged])


def test_an_unknown_grant_is_refused(world: World) -> None:
    owner = world.parties[0]
    grant = world.grant(world.publish(owner))
    proposal = world.proposal([grant])
    world.requester.send("TaskLedger", "propose", proposal.as_tuple())
    with refused("UnknownGrant"):
        world.accept(proposal, [grant])


def test_an_attempt_takes_as_many_uses_as_its_proposal_says(world: World) -> None:
    owner = world.parties[0]
    grant = world.grant(world.publish(owner), uses=10)
    world.issue(owner, grant)
    for uses, error in ((7, None), (4, "GrantUsedUp"), (2**32 - 1, "GrantUsedUp"), (3, None), (1, "GrantUsedUp")):
        proposal = world.proposal([grant])
        proposal = replace(proposal, parties=(replace(proposal.parties[0], uses=uses),))
        world.requester.send("TaskLedger", "propose", proposal.as_tuple())
        if error:
            with refused(error):
                world.accept(proposal, [grant])
        else:
            world.accept(proposal, [grant])
    assert world.call(LEDGER, "accountOf", grant.id())["used"] == 10


def test_the_privacy_budget_is_debited_and_ends(world: World) -> None:
    owner = world.parties[0]
    grant = world.grant(world.publish(owner), epsilon_micros=1_000_000)
    world.issue(owner, grant)
    for spent, error in ((600_000, None), (400_001, "BudgetExceeded"), (400_000, None)):
        proposal = world.proposal([grant])
        proposal = replace(proposal, parties=(replace(proposal.parties[0], epsilon_micros=spent),))
        world.requester.send("TaskLedger", "propose", proposal.as_tuple())
        if error:
            with refused(error):
                world.accept(proposal, [grant])
        else:
            world.accept(proposal, [grant])
    assert world.call(LEDGER, "accountOf", grant.id())["spentMicros"] == 1_000_000
