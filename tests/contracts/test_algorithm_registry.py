from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

import pytest
from contracts.conftest import DAY, KIND, Actor, World, refused
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.identity import ROLES
from tallystick.protocol.operators import Scope

REGISTRY = "AlgorithmRegistry"
NOBODY = "0x" + "00" * 20
SQL = 1


def digest() -> bytes:
    return secrets.token_bytes(32)


@dataclass
class Registered:
    """One algorithm on chain, and who may say something of it."""

    world: World
    code: bytes

    @property
    def author(self) -> Actor:
        return self.world.parties[0]

    @property
    def reviewers(self) -> list[Actor]:
        return [*self.world.parties[1:], self.world.regulator]

    def review(self, actor: Actor, approved: bool, reason: bytes | None = None) -> Any:
        return actor.send(REGISTRY, "review", self.code, approved, reason or digest())

    def approvals(self, *actors: Actor) -> tuple[int, int]:
        accounts = sorted((actor.address for actor in actors), key=lambda account: int(account, 16))
        found = self.world.call(REGISTRY, "approvals", self.code, accounts)
        return found["approved"], found["rejected"]

    def listed(self, page: int = 10) -> list[tuple[str, bool, bytes]]:
        found: list[Any] = []
        while True:
            after = found[-1]["reviewer"] if found else NOBODY
            more = self.world.call(REGISTRY, "reviewsOf", self.code, after, page)
            if not more:
                return [(each["reviewer"], each["approved"], each["reason"]) for each in found]
            found += more


@pytest.fixture
def registered(world: World) -> Registered:
    code = digest()
    world.parties[0].send(REGISTRY, "register", code, SQL, digest())
    return Registered(world, code)


def test_an_algorithm_is_its_codes_digest_and_its_first_registrants(world: World) -> None:
    author, code, card = world.parties[0], digest(), digest()
    event = author.send(REGISTRY, "register", code, SQL, card).event("AlgorithmRegistered")
    assert (event["code"], event["author"], event["kind"], event["card"]) == (code, author.address, SQL, card)
    found = world.call(REGISTRY, "algorithmAt", code)
    assert (found["author"], found["kind"], found["card"], found["withdrawn"]) == (author.address, SQL, card, False)
    assert (found["reviewers"], found["newest"]) == (0, author.address) and found["registeredAt"]
    for actor in world.parties[:2]:
        with refused("AlgorithmExists"):
            actor.send(REGISTRY, "register", code, SQL, digest())
    changed = bytes([code[0] ^ 1]) + code[1:]
    assert world.call(REGISTRY, "algorithmAt", changed)["author"] == NOBODY
    with refused("UnknownAlgorithm"):
        world.call(REGISTRY, "approvals", changed, [])


def test_only_active_algorithm_providers_register(world: World) -> None:
    with refused("NotActive"):
        world.stranger.send(REGISTRY, "register", digest(), SQL, digest())
    world.enrol(world.newcomer, world.enrolment(world.newcomer, roles=ROLES["requester"]))
    with refused("RoleMissing"):
        world.newcomer.send(REGISTRY, "register", digest(), SQL, digest())
    world.governor.send("ParticipantRegistry", "suspend", world.parties[0].address, bytes(32))
    with refused("NotActive"):
        world.parties[0].send(REGISTRY, "register", digest(), SQL, digest())


def test_nothing_of_a_registration_or_a_review_is_empty(registered: Registered) -> None:
    for members in ((bytes(32), SQL, digest()), (digest(), 0, digest()), (digest(), SQL, bytes(32))):
        with refused("MemberMissing"):
            registered.author.send(REGISTRY, "register", *members)
    with refused("MemberMissing"):
        registered.reviewers[0].send(REGISTRY, "review", registered.code, True, bytes(32))


def test_only_the_author_withdraws_for_good_even_when_suspended(registered: Registered) -> None:
    world, author = registered.world, registered.author
    registered.review(registered.reviewers[0], True)
    for actor in (registered.reviewers[0], world.governor, world.stranger):
        with refused("NotTheAuthor"):
            actor.send(REGISTRY, "withdraw", registered.code)
    world.governor.send("ParticipantRegistry", "suspend", author.address, bytes(32))
    author.send(REGISTRY, "withdraw", registered.code)
    for call in (
        lambda: author.send(REGISTRY, "withdraw", registered.code),
        lambda: registered.review(registered.reviewers[1], True),
        lambda: registered.approvals(registered.reviewers[0]),
    ):
        with refused("AlgorithmIsWithdrawn"):
            call()
    world.governor.send("ParticipantRegistry", "reinstate", author.address)
    with refused("AlgorithmExists"):
        author.send(REGISTRY, "register", registered.code, SQL, digest())
    assert len(registered.listed()) == 1  # what was said stays readable


def test_every_active_participant_but_the_author_reviews(registered: Registered) -> None:
    world = registered.world
    for approved in (True, False):
        with refused("OwnAlgorithm"):
            registered.review(registered.author, approved)
        with refused("NotActive"):
            registered.review(world.stranger, approved)
    world.enrol(world.newcomer, world.enrolment(world.newcomer, roles=ROLES["result-receiver"]))
    registered.review(world.newcomer, True)
    suspended = registered.reviewers[0]
    world.governor.send("ParticipantRegistry", "suspend", suspended.address, bytes(32))
    with refused("NotActive"):
        registered.review(suspended, True)
    with refused("UnknownAlgorithm"):
        registered.reviewers[1].send(REGISTRY, "review", digest(), True, digest())


def test_a_verdict_is_given_once_until_it_changes_and_events_keep_the_history(registered: Registered) -> None:
    world, reviewer = registered.world, registered.reviewers[0]
    reasons = [digest() for _ in range(3)]
    first = registered.review(reviewer, True, reasons[0])
    with refused("SameVerdict"):
        registered.review(reviewer, True, reasons[0])  # the same call again
    with refused("SameVerdict"):
        registered.review(reviewer, True, digest())
    registered.review(reviewer, False, reasons[1])
    last = registered.review(reviewer, True, reasons[2])
    now = world.call(REGISTRY, "reviewAt", registered.code, reviewer.address)
    assert (now["approved"], now["reason"]) == (True, reasons[2])
    assert registered.listed() == [(reviewer.address, True, reasons[2])]
    said = [
        (event["reviewer"], event["approved"], event["reason"])
        for event in world.chain.events(first.block, last.block)
        if event.name == "AlgorithmReviewed"
    ]
    assert said == list(zip([reviewer.address] * 3, (True, False, True), reasons, strict=True))
    with refused("NotAReviewer"):
        world.call(REGISTRY, "reviewAt", registered.code, registered.reviewers[1].address)


def test_an_organisation_does_not_approve_its_own_code(registered: Registered) -> None:
    """By the author's operator, by who has the author for an operator, and by another account with the author's certificate."""
    world, author = registered.world, registered.author
    serving, served = registered.reviewers[:2]
    ends = world.chain.now() + DAY
    author.send("ParticipantRegistry", "authorise", serving.address, int(Scope.REPORT), ends)
    served.send("ParticipantRegistry", "authorise", author.address, int(Scope.REPORT), ends)
    twin = world.enrolment(world.newcomer, fingerprint=author.fingerprint)
    world.enrol(world.newcomer, twin)
    for actor in (serving, served, world.newcomer):
        with refused("OwnAlgorithm"):
            registered.review(actor, True)
    author.send("ParticipantRegistry", "authorise", serving.address, 0, 0)
    with refused("OwnAlgorithm"):  # what it once was stays known
        registered.review(serving, True)


def test_what_tells_organisations_apart_does_not_show(registered: Registered) -> None:
    """As docs/spec/algorithm.md says: operators of a third account, and who had the certificate that the author had."""
    world, author = registered.world, registered.author
    sibling, third = registered.reviewers[:2]
    for operator in (author, sibling):
        third.send("ParticipantRegistry", "authorise", operator.address, int(Scope.REPORT), world.chain.now() + DAY)
    registered.review(sibling, True)
    world.enrol(world.newcomer, world.enrolment(world.newcomer, fingerprint=author.fingerprint))
    with refused("OwnAlgorithm"):
        registered.review(world.newcomer, True)
    old = world.enrolment(author)
    world.enrol(author, replace(old, fingerprint=digest(), not_before=old.not_before + 1))
    registered.review(world.newcomer, True)
    assert registered.approvals(sibling, world.newcomer) == (2, 0)


def test_no_author_silences_who_rejects(registered: Registered) -> None:
    """Making an account one's operator needs no word of it."""
    silenced, other = registered.reviewers[:2]
    ends = registered.world.chain.now() + DAY
    registered.author.send("ParticipantRegistry", "authorise", silenced.address, int(Scope.REPORT), ends)
    registered.review(silenced, False)
    registered.review(other, True)
    assert registered.approvals(silenced, other) == (1, 1)


def test_an_approval_counts_while_its_reviewer_is_active_and_independent(registered: Registered) -> None:
    world = registered.world
    first, second, third = registered.reviewers
    registered.review(first, True)
    registered.review(second, True)
    registered.review(third, False)
    assert registered.approvals(first, second, third) == (2, 1)
    assert registered.approvals(first) == (1, 0)
    assert registered.approvals(world.stranger, registered.author) == (0, 0)
    for actor in (first, third):
        world.governor.send("ParticipantRegistry", "suspend", actor.address, bytes(32))
    assert registered.approvals(first, second, third) == (1, 1)  # a rejection counts all the same
    world.governor.send("ParticipantRegistry", "reinstate", first.address)
    assert registered.approvals(first, second, third) == (2, 1)
    registered.author.send("ParticipantRegistry", "authorise", second.address, int(Scope.REPORT), world.chain.now() + DAY)
    assert registered.approvals(first, second, third) == (1, 1)


def test_each_reviewer_is_counted_once(registered: Registered) -> None:
    reviewer, other = sorted((actor.address for actor in registered.reviewers[:2]), key=lambda each: int(each, 16))
    for accounts in ([reviewer, reviewer], [other, reviewer], [NOBODY]):
        with refused("NotAscending"):
            registered.world.call(REGISTRY, "approvals", registered.code, accounts)


def test_reviews_are_read_page_by_page(registered: Registered) -> None:
    world = registered.world
    assert registered.listed() == []
    given = []
    for number, actor in enumerate(registered.reviewers):
        reason = digest()
        registered.review(actor, number != 1, reason)
        given.insert(0, (actor.address, number != 1, reason))
    for page in (1, 2, 3, 10):
        assert registered.listed(page) == given
    assert world.call(REGISTRY, "reviewsOf", registered.code, NOBODY, 0) == []
    assert len(world.call(REGISTRY, "reviewsOf", registered.code, NOBODY, 2**256 - 1)) == len(given)
    for most in (0, 1):
        with refused("NotAReviewer"):
            world.call(REGISTRY, "reviewsOf", registered.code, world.stranger.address, most)
    with refused("UnknownAlgorithm"):
        world.call(REGISTRY, "reviewsOf", digest(), NOBODY, 1)


class ReviewLife(RuleBasedStateMachine):
    """Two algorithms of one author, four accounts that review, are suspended or become operators: the chain against a model."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.snapshot = world.chain.request("evm_snapshot")
        self.cast = [world.parties[0], *world.parties[1:], world.regulator, world.stranger]
        self.codes = [digest(), digest()]
        self.withdrawn: set[int] = set()
        self.suspended: set[int] = set()
        self.related: set[int] = set()
        self.verdicts: list[dict[int, bool]] = [{}, {}]
        self.history: list[tuple[int, int, bool]] = []
        self.first_block = int(world.chain.request("eth_blockNumber"), 16) + 1

    @initialize()
    def start(self) -> None:
        for code in self.codes:
            self.cast[0].send(REGISTRY, "register", code, SQL, digest())

    def attempt(self, expected: str, actor: Actor, *call: Any) -> bool:
        """Send; whether it was carried out, as the model expects where it names no error."""
        try:
            actor.send(*call)
        except ContractRefused as refusal:
            assert refusal.error == expected
            return False
        assert not expected
        return True

    @rule(number=st.integers(0, 1), who=st.integers(0, 4), approved=st.booleans())
    def review(self, number: int, who: int, approved: bool) -> None:
        expected = ""
        if who == 4 or who in self.suspended:
            expected = "NotActive"
        elif number in self.withdrawn:
            expected = "AlgorithmIsWithdrawn"
        elif who == 0 or (approved and who in self.related):
            expected = "OwnAlgorithm"
        elif self.verdicts[number].get(who) == approved:
            expected = "SameVerdict"
        if self.attempt(expected, self.cast[who], REGISTRY, "review", self.codes[number], approved, digest()):
            self.verdicts[number][who] = approved
            self.history.append((number, who, approved))

    @rule(number=st.integers(0, 1), who=st.sampled_from([0, 1]), wish=st.sampled_from([False, False, True]))
    def withdraw(self, number: int, who: int, wish: bool) -> None:
        if not wish:
            return
        expected = "AlgorithmIsWithdrawn" if number in self.withdrawn else "NotTheAuthor" if who else ""
        if self.attempt(expected, self.cast[who], REGISTRY, "withdraw", self.codes[number]):
            self.withdrawn.add(number)

    @rule(who=st.integers(1, 3))
    def suspend_or_reinstate(self, who: int) -> None:
        function, more = ("reinstate", ()) if who in self.suspended else ("suspend", (bytes(32),))
        self.world.governor.send("ParticipantRegistry", function, self.cast[who].address, *more)
        self.suspended ^= {who}

    @rule(who=st.integers(2, 3), by_author=st.booleans())
    def relate(self, who: int, by_author: bool) -> None:
        one, other = (self.cast[0], self.cast[who]) if by_author else (self.cast[who], self.cast[0])
        ends = self.world.chain.now() + DAY
        expected = "InactiveParticipant" if not by_author and who in self.suspended else ""
        try:
            one.send("ParticipantRegistry", "authorise", other.address, int(Scope.REPORT), ends)
        except ContractRefused as refusal:
            assert refusal.error in (expected, "ServesAnother")
            return
        self.related.add(who)

    @invariant()
    def chain_and_model_agree(self) -> None:
        accounts = sorted((actor.address for actor in self.cast), key=lambda each: int(each, 16))
        for number, code in enumerate(self.codes):
            if not self.world.call(REGISTRY, "algorithmAt", code)["kind"]:
                return  # before the start
            verdicts = self.verdicts[number]
            listed = self.world.call(REGISTRY, "reviewsOf", code, NOBODY, 10)
            assert {each["reviewer"]: each["approved"] for each in listed} == {
                self.cast[who].address: approved for who, approved in verdicts.items()
            }
            if number in self.withdrawn:
                continue
            found = self.world.call(REGISTRY, "approvals", code, accounts)
            count = sum(approved and who not in self.suspended | self.related for who, approved in verdicts.items())
            assert (found["approved"], found["rejected"]) == (count, sum(not approved for approved in verdicts.values()))

    def teardown(self) -> None:
        head = int(self.world.chain.request("eth_blockNumber"), 16)
        at = {actor.address: who for who, actor in enumerate(self.cast)}
        said = [
            (self.codes.index(event["code"]), at[event["reviewer"]], event["approved"])
            for event in self.world.chain.events(self.first_block, head)
            if event.name == "AlgorithmReviewed"
        ]
        self.world.chain.request("evm_revert", self.snapshot)
        assert said == self.history


@pytest.mark.skipif(KIND != "anvil", reason="the same bytecode, and Ganache takes ten times as long")
def test_any_sequence_of_reviews_leaves_chain_and_model_in_the_same_state(world: World) -> None:
    run_state_machine_as_test(
        lambda: ReviewLife(world),
        settings=settings(
            max_examples=8,
            stateful_step_count=12,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
