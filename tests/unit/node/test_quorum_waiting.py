"""Waiting for verifiers: enough that vouch for this very run make the proof, and nothing else that any of them does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.attestation.verifier import Evidence
from tallystick.protocol.errors import ChainUnreachable, ContractRefused, PeerFailed, RunFailed
from tallystick.protocol.proof.quorum import KIND, QuorumRun, write_vouchings
from tallystick.protocol.proof.subject import Subject, subject_of
from tallystick.protocol.proof.vouching import RunClaim, Vouching
from tallystick.protocol.reasons import Reason
from tallystick.wire import node_pb2
from tallystick_node.peers import knocking
from tallystick_node.peers import vouching as asking_verifiers
from tallystick_node.runs import quorum
from tallystick_node.runs.quorum import Quorum
from unit.protocol import quorum_world
from unit.protocol.quorum_world import AT, VERIFIERS, claim, evidence, sign, vouching
from unit.protocol.world import make

FOREVER = 60.0  # seconds: more than any test takes that reaches its quorum
HOLD = 30


class FakeChain:
    """What a chain says of verifiers; ``named`` and ``active`` of them, at the time ``now``."""

    def __init__(self) -> None:
        self.named, self.active, self.silent, self.time = set(VERIFIERS), set(VERIFIERS), False, AT
        self.quorum = SimpleNamespace(is_verifier=lambda account: account in self.named)
        self.participants = SimpleNamespace(require_active=self.require_active)

    def now(self) -> int:
        if self.silent:
            raise ChainUnreachable("no answer")
        return self.time

    def require_active(self, account: str, _: int) -> None:
        if account not in self.active:
            raise ContractRefused("is suspended", error="NotActive", arguments={})


class Case:
    """One run, and what its verifiers sign of it."""

    def __init__(self) -> None:
        world = make("attested-hardware-quorum")
        self.subject: Subject = subject_of(world.statement, world.spec.parties)
        self.about: RunClaim = claim(self.subject)
        self.shown: Evidence = evidence(self.about.report_data)
        self.said = {verifier: vouching(self.about, verifier, self.shown) for verifier in VERIFIERS}
        self.run = QuorumRun.of(quorum_world.ALGORITHM, quorum_world.OUTPUT, self.said[VERIFIERS[0]], quorum_world.terms())
        self.signed = KIND.assemble(self.subject, dict.fromkeys(self.subject.parties, self.run.to_text()))
        self.chain = FakeChain()

    def collecting(self) -> Quorum:
        chain: Any = self.chain
        return Quorum(chain, self.subject, self.signed, HOLD)


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(quorum, "AGAIN", (0.01, 0.02))
    monkeypatch.setattr(quorum, "LOOK", 0.05)
    monkeypatch.setattr("time.time", lambda: float(AT))
    return Case()


Answer = Callable[[], Coroutine[Any, Any, Vouching]]


def asked(answers: Mapping[str, Answer]) -> Callable[[str], Awaitable[Vouching]]:
    return lambda verifier: answers[verifier]()


def says(found: Vouching) -> Answer:
    async def answer() -> Vouching:
        return found

    return answer


async def never() -> Any:
    await asyncio.sleep(3600)


async def absent() -> Vouching:
    raise PeerFailed("no TLS session with the node", party=VERIFIERS[2], reason=Reason.PEER_SILENT)


def collect(case: Case, answers: Mapping[str, Answer], seconds: float = FOREVER, hear: Any = ()) -> bytes:
    async def run() -> bytes:
        return await case.collecting().collect(asked(answers), hear, asyncio.get_running_loop().time() + seconds)

    return asyncio.run(run())


def lacking(case: Case, answers: Mapping[str, Answer], *words: str) -> RunFailed:
    """Why an attempt fails whose verifiers answer so, once all of these words stand in it."""

    async def run() -> RunFailed:
        collecting = case.collecting()
        waiting = asyncio.create_task(collecting.collect(asked(answers), (), asyncio.get_running_loop().time() + FOREVER))
        try:
            async with asyncio.timeout(FOREVER):
                while not all(each in collecting._failed().message for each in words):
                    await asyncio.sleep(0.01)
        finally:
            waiting.cancel()
        return collecting._failed()

    return asyncio.run(run())


def test_an_attempt_that_nobody_vouches_for_ends_in_time_and_says_what_to_do(case: Case) -> None:
    with pytest.raises(RunFailed) as failed:
        collect(case, dict.fromkeys(VERIFIERS, never), 0.05)
    error = failed.value
    assert (error.reason, error.rule, error.party) == (Reason.NOT_VOUCHED, "quorum", VERIFIERS[0])
    assert "0 of 3 verifiers vouched in time, and 2 have to" in error.message
    assert f"{VERIFIERS[1]}: has not answered yet" in error.message and "policy.vouches" in error.remedy


def test_enough_verifiers_make_the_proof_and_one_that_is_absent_or_slow_costs_nothing(case: Case) -> None:
    for third in (never, absent):
        answers = {VERIFIERS[0]: says(case.said[VERIFIERS[0]]), VERIFIERS[1]: says(case.said[VERIFIERS[1]]), VERIFIERS[2]: third}
        whole = collect(case, answers)
        assert "2 of 3 verifiers vouch" in KIND.check(case.subject, whole)
        assert whole.startswith(case.signed)
        assert KIND.output(case.subject, whole) == KIND.output(case.subject, case.signed)


def test_no_more_vouchings_than_the_task_asks_for_those_that_hold_longest(case: Case) -> None:
    """One more could only spoil the proof: the chain takes all of them or none."""
    early = replace(case.said[VERIFIERS[1]], not_after=case.said[VERIFIERS[0]].not_after - 1)
    early = replace(early, signature=sign(VERIFIERS[1], early.digest))
    tail = write_vouchings(case.run, [case.said[VERIFIERS[0]], early, case.said[VERIFIERS[2]]])

    told = iter([tail])

    async def hear() -> bytes | None:
        return next(told, None)

    whole = collect(case, dict.fromkeys(VERIFIERS, absent), hear=(hear,))
    assert KIND.vouched_by(case.subject, whole) == (VERIFIERS[0], VERIFIERS[2])


def other_runs(case: Case) -> dict[str, Vouching]:
    first = case.said[VERIFIERS[2]]
    made = {
        "attempt": replace(first, attempt=2),
        "task": replace(first, task=bytes(32)),
        "evidence": replace(first, evidence=bytes(32)),
        "policy": replace(first, policy=bytes(32)),
        "report": replace(first, report_data=bytes(32) + first.report_data[32:]),
        "platform": replace(first, platform=bytes(32)),
    }
    made = {name: replace(each, signature=sign(VERIFIERS[2], each.digest)) for name, each in made.items()}
    return made | {
        "signature": replace(first, signature=bytes(65)),
        "another's": case.said[VERIFIERS[0]],
        "another's key": replace(first, signature=sign(VERIFIERS[0], first.digest)),
    }


@pytest.mark.parametrize(
    "what", ["attempt", "task", "evidence", "policy", "report", "platform", "signature", "another's", "another's key"]
)
def test_a_verifier_that_vouches_for_anything_else_neither_counts_nor_hangs_the_run(case: Case, what: str) -> None:
    lie, said = says(other_runs(case)[what]), "answered with another's" if what == "another's" else "vouches for another"
    answers = {VERIFIERS[0]: says(case.said[VERIFIERS[0]]), VERIFIERS[1]: never, VERIFIERS[2]: lie}
    error = lacking(case, answers, "1 of 3 verifiers vouched in time, and 2 have to", f"{VERIFIERS[2]}: {said}")
    assert f"{VERIFIERS[1]}: has not answered yet" in error.message
    assert f"{VERIFIERS[0]}: " not in error.message
    assert error.party == VERIFIERS[1]


def test_a_verifier_is_asked_again_until_it_vouches(case: Case) -> None:
    asked_before: list[str] = []

    async def later() -> Vouching:
        asked_before.append("")
        if len(asked_before) < 3:
            return await absent()
        return case.said[VERIFIERS[1]]

    answers = {VERIFIERS[0]: says(case.said[VERIFIERS[0]]), VERIFIERS[1]: later, VERIFIERS[2]: absent}
    assert KIND.vouched_by(case.subject, collect(case, answers)) == VERIFIERS[:2]
    assert len(asked_before) == 3


def test_a_verifier_whose_word_ends_too_soon_is_asked_for_one_that_holds_longer(case: Case) -> None:
    """Also where a party passed on the one that ends: whose vouchings do not hold takes nothing from the verifiers' own word."""
    short = replace(case.said[VERIFIERS[1]], not_after=AT + HOLD - 1)
    short = replace(short, signature=sign(VERIFIERS[1], short.digest))
    answers = {VERIFIERS[0]: says(case.said[VERIFIERS[0]]), VERIFIERS[2]: absent}
    given = iter([short])

    async def renewed() -> Vouching:
        return next(given, case.said[VERIFIERS[1]])

    assert KIND.vouched_by(case.subject, collect(case, answers | {VERIFIERS[1]: renewed})) == VERIFIERS[:2]

    told, heard = iter([write_vouchings(case.run, [short])]), asyncio.Event()

    async def hear() -> bytes | None:
        passed = next(told, None)
        if passed is None:  # what was passed on before is taken
            heard.set()
        return passed

    async def later() -> Vouching:
        await heard.wait()
        return case.said[VERIFIERS[1]]

    assert KIND.vouched_by(case.subject, collect(case, answers | {VERIFIERS[1]: later}, hear=(hear,))) == VERIFIERS[:2]


def test_one_party_that_reaches_the_verifiers_is_enough_for_all(case: Case) -> None:
    tail = write_vouchings(case.run, [case.said[VERIFIERS[0]], case.said[VERIFIERS[1]]])
    forged = write_vouchings(case.run, [replace(case.said[VERIFIERS[0]], signature=bytes(65))])
    told = iter([b"\xff", forged, b"\0" * 9, tail])

    async def hear() -> bytes | None:
        return next(told, None)

    async def gone() -> bytes | None:
        return None

    whole = collect(case, dict.fromkeys(VERIFIERS, absent), hear=(gone, hear))
    assert KIND.vouched_by(case.subject, whole) == VERIFIERS[:2]
    assert case.collecting().passed_on(whole) == tail


@pytest.mark.parametrize("what", ["dropped", "suspended", "expiring"])
def test_a_word_that_the_chain_would_not_take_is_not_waited_with(case: Case, what: str) -> None:
    if what == "dropped":
        case.chain.named.remove(VERIFIERS[1])
    elif what == "suspended":
        case.chain.active.remove(VERIFIERS[1])
    else:
        short = replace(case.said[VERIFIERS[1]], not_after=AT + HOLD - 1)
        case.said[VERIFIERS[1]] = replace(short, signature=sign(VERIFIERS[1], short.digest))
    answers = {verifier: says(case.said[verifier]) for verifier in VERIFIERS}
    assert KIND.vouched_by(case.subject, collect(case, answers)) == (VERIFIERS[0], VERIFIERS[2])
    lacking(case, answers | {VERIFIERS[2]: absent}, f"{VERIFIERS[1]}: vouched, but", f"{VERIFIERS[2]}: no TLS session")


def test_a_chain_that_is_silent_for_a_while_only_delays(case: Case) -> None:
    case.chain.silent = True
    answers = {verifier: says(case.said[verifier]) for verifier in VERIFIERS}

    async def run() -> bytes:
        collecting = asyncio.create_task(case.collecting().collect(asked(answers), (), asyncio.get_running_loop().time() + FOREVER))
        await asyncio.sleep(0.1)
        assert not collecting.done()
        case.chain.silent = False
        return await collecting

    assert len(KIND.vouched_by(case.subject, asyncio.run(run()))) == 2


def test_verifiers_that_take_no_connection_keep_no_thread_from_the_rest_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def silent(*_: Any) -> None:
        go_on.wait(FOREVER)
        raise PeerFailed("no TLS session with the node", party=VERIFIERS[0], reason=Reason.PEER_SILENT)

    monkeypatch.setattr(knocking, "require_server", silent)
    settings: Any = SimpleNamespace(peers=dict.fromkeys(VERIFIERS, "127.0.0.1:1"), key="", certificate="", authority="")
    chain: Any = None

    async def run() -> list[Any]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        asking = [asyncio.create_task(asking_verifiers.ask(settings, chain, each, node_pb2.VouchRequest())) for each in VERIFIERS]
        await asyncio.sleep(0)  # each has begun
        try:
            async with asyncio.timeout(FOREVER):
                assert await asyncio.to_thread(lambda: "served") == "served"
            assert not any(each.done() for each in asking)
        finally:
            go_on.set()
        return await asyncio.gather(*asking, return_exceptions=True)

    assert [type(each) for each in asyncio.run(run())] == [PeerFailed] * len(VERIFIERS)
