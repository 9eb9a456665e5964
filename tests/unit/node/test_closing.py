"""What nodes say when a run is over: words that are the same at all, cheaters that are named, and who is present in the end."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest
from tallystick.protocol import typed
from tallystick.protocol.errors import ChainUnreachable, NotFound, PeerFailed, RunFailed
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import tolerated
from tallystick_node.evidence import signed_links
from tallystick_node.evidence.agreement import Word
from tallystick_node.evidence.signed_words import SIGNATURE, Heard, Report, Said
from tallystick_node.peers.links import Link, RunLinks
from tallystick_node.runs import patience
from tallystick_node.runs.closing import Closing
from unit.node.test_agreement import word_of
from unit.protocol.world import ACCOUNTS, PARTIES, STRANGER, WORLD_DOMAIN, Account, World, make

A, B, C = PARTIES
KEYS = dict(zip(PARTIES, ACCOUNTS, strict=True))
TASK, CONTEXT, STARTED = bytes([7]) * 32, hashlib.sha256(b"one attempt").digest(), 1_800_000_000
SECONDS = 60.0  # of patience, where a peer is to be silent for none of it
WORLD, TOLERANT = make("sum-verified"), make("projection-verified-absent-1")  # the latter without A or B, not both
WORD, REPORT = 0, 1  # the order of a node's messages
Tamper = Callable[[str, str, int, bytes], bytes]


def awaited(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in an event loop."""

    @wraps(test)
    def run(*given: Any, **named: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*given, **named), 2 * SECONDS))

    return run


class Key:
    """A node's signer."""

    def __init__(self, account: Account) -> None:
        self.address, self.sign_digest = account.address, account.sign


class Chained:
    """A deployment without a contract for digests of links. ``away``: how often it does not answer."""

    def __init__(self, away: int = 0) -> None:
        self.participants = self
        self.away = away

    def domain(self, contract: str) -> typed.Domain:
        if contract == "Disputes":
            raise NotFound(f"this deployment has no {contract}")
        return WORLD_DOMAIN

    def could_sign(self, operator: str, account: str, since: int) -> bool:
        self.away -= 1
        if self.away >= 0:
            raise ChainUnreachable("no answer")
        return (operator, account, since) == (STRANGER.address, A, STARTED)


class Node:
    """One party's end of a run."""

    def __init__(self, world: World, account: str, chain: Any = None, seconds: float = SECONDS) -> None:
        spec, others = world.spec, [Link(each) for each in PARTIES if each != account]
        self.account, self.word, self.chain = account, word_of(world, account), chain or Chained()
        spare, most = spec.may_be_absent, tolerated(spec.proof)
        self.links = RunLinks("0x" + TASK.hex(), 1, spec.digest(), others, 0, seconds, spare, most)
        self.operators: tuple[str, ...] = ()  # keys that this node takes for A's
        self.closing = Closing(self.chain, Key(KEYS[account]), spec, TASK, 1, self.links)  # type: ignore[arg-type]

    def hearing(self, context: bytes = CONTEXT) -> Heard:
        return Heard(self.chain, self.account, context, STARTED, {each: (each,) for each in PARTIES} | {A: (A, *self.operators)})

    async def words(self) -> dict[str, Word]:
        return await self.closing.words(self.word, self.hearing())

    def signed(self, word: Word, key: Account | None = None, context: bytes = CONTEXT) -> bytes:
        """The message that tells a peer a word."""
        return self.hearing(context).say(Key(key or KEYS[self.account]), word.to_bytes())  # type: ignore[arg-type]

    def another(self) -> Word:
        """A word that this party could say as well: its run took longer."""
        return replace(self.word, seconds_ms=self.word.seconds_ms + 1)


def honest(sender: str, recipient: str, number: int, message: bytes) -> bytes:
    return message


async def closed(nodes: Mapping[str, Node], tamper: Tamper = honest) -> dict[str, Any]:
    """The words that each party ends with, or what it raises; ``tamper`` is the way between them, and knows all keys."""

    async def carry(sender: str, recipient: str) -> None:
        number = 0
        while True:
            frame = await nodes[sender].links.links[recipient].outbound.get()
            said = tamper(sender, recipient, number, frame.evidence)
            await nodes[recipient].links.links[sender].inbound.put(said)
            number += 1

    ways = [asyncio.create_task(carry(one, other)) for one in nodes for other in nodes if one != other]
    try:
        ended = await asyncio.gather(*(node.words() for node in nodes.values()), return_exceptions=True)
    finally:
        for way in ways:
            way.cancel()
    return dict(zip(nodes, ended, strict=True))


def network(world: World = WORLD, **chains: Any) -> dict[str, Node]:
    return {account: Node(world, account, chains.get(account)) for account in PARTIES}


def twice(nodes: Mapping[str, Node], key: Account | None = None) -> Tamper:
    """A tells C another word than B, and signs both."""

    def tamper(sender: str, recipient: str, number: int, message: bytes) -> bytes:
        if (sender, recipient, number) == (A, C, WORD):
            return nodes[A].signed(nodes[A].another(), key)
        return message

    return tamper


# -- words


@pytest.mark.parametrize("world", [WORLD, TOLERANT], ids=["all stay", "one may be absent"])
def test_honest_parties_have_the_same_words_and_ask_no_chain(world: World) -> None:
    nodes = network(world, **{account: Chained(away=1) for account in PARTIES})
    ended = asyncio.run(closed(nodes))
    for words in ended.values():
        assert {account: words[account] for account in PARTIES} == {account: nodes[account].word for account in PARTIES}
    assert all(node.chain.away == 1 and node.closing.awaited is None for node in nodes.values())


@pytest.mark.parametrize("world", [WORLD, TOLERANT], ids=["all stay", "one may be absent"])
def test_who_tells_two_parties_two_words_is_named_by_both(world: World) -> None:
    nodes = network(world)
    ended = asyncio.run(closed(nodes, twice(nodes)))
    for account in (B, C):
        assert isinstance(ended[account], PeerFailed) and "two words" in ended[account].message
        assert (ended[account].party, ended[account].reason) == (A, Reason.STATEMENT_MISMATCH)
    assert isinstance(ended[A], RunFailed) and ended[A].party is None


def test_who_forges_a_report_is_named_and_nobody_else() -> None:
    nodes = network()

    def tamper(sender: str, recipient: str, number: int, message: bytes) -> bytes:
        if (sender, number) != (A, REPORT):
            return message
        report = Report.parse(message, A, WORLD.spec)
        forged = Said(hashlib.sha256(nodes[B].another().to_bytes()).digest(), report.heard[B].signature)
        return Report((), {**report.heard, B: forged}).to_bytes()

    ended = asyncio.run(closed(nodes, tamper))
    for account in (B, C):
        assert isinstance(ended[account], PeerFailed) and ended[account].party == A
        assert f"reports a word of {B}" in ended[account].message
    assert set(ended[A]) == set(PARTIES)


@pytest.mark.parametrize("how", ["replayed", "unsigned", "by another"])
@awaited
async def test_a_word_that_is_not_its_senders_names_it(how: str) -> None:
    sender, node = Node(WORLD, A), Node(WORLD, B)
    told = {
        "replayed": sender.signed(sender.word, context=hashlib.sha256(b"another attempt").digest()),
        "unsigned": bytes(SIGNATURE) + sender.word.to_bytes(),
        "by another": sender.signed(sender.word, key=STRANGER),
    }[how]
    node.links.links[A].inbound.put_nowait(told)
    with pytest.raises(PeerFailed, match="did not sign its word") as caught:
        await node.words()
    assert (caught.value.party, caught.value.reason) == (A, Reason.STATEMENT_MISMATCH)


@awaited
async def test_a_chain_that_is_away_for_a_moment_keeps_nobody_from_being_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """C heard a word that A's operator signed, which B did not know of; the chain does."""
    monkeypatch.setattr(patience, "AGAIN", 0)
    nodes = network(**{B: Chained(away=2)})
    nodes[C].operators = (STRANGER.address,)
    ended = await closed(nodes, twice(nodes, STRANGER))
    assert isinstance(ended[B], PeerFailed) and ended[B].party == A
    assert nodes[B].chain.away == -1


@awaited
async def test_contradictions_of_links_are_kept_where_words_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [("one", "other")]
    monkeypatch.setattr(signed_links, "contradictions", lambda *_: found)
    nodes = network()
    ended = await closed(nodes, twice(nodes))
    assert isinstance(ended[B], PeerFailed) and nodes[B].closing.contradictions == found


# -- who is present in the end


def present(*absent: str) -> bytes:
    """What a party reports that heard all but some. Nobody compares what a party heard that this one did not."""
    heard = Node(TOLERANT, C).hearing()
    for account in PARTIES:
        node = Node(TOLERANT, account)
        if account == C:
            heard.say(Key(KEYS[C]), node.word.to_bytes())  # type: ignore[arg-type]
        elif account not in absent:
            heard.take(account, node.signed(node.word))
    return heard.report(PARTIES)


def town(own: str = B, **reports: tuple[str, ...] | None) -> Node:
    """One end of a run in which the named others have told their words, and then report whom they miss, where they report."""
    node = Node(TOLERANT, own, seconds=0.5)
    for account, missed in reports.items():
        inbound, peer = node.links.links[account].inbound, Node(TOLERANT, account)
        inbound.put_nowait(peer.signed(peer.word))
        if missed is not None:
            inbound.put_nowait(present(*missed))
    return node


def ends_when_heard(node: Node, account: str) -> None:
    """The link to a party ends as soon as its word, and what else it said, has been read."""
    receive = node.links.receive

    async def reading(sender: str) -> bytes:
        message = await receive(sender)
        if sender == account and node.links.links[account].inbound.empty():
            node.links.links[account].fail("is gone")
        return message

    node.links.receive = reading  # type: ignore[method-assign]


@awaited
async def test_all_leave_out_whom_one_misses_when_its_link_ends_here_too() -> None:
    node = town(**{A: (), C: (A,)})
    ended = node.links.ended

    async def asked(account: str) -> bool:
        asyncio.get_running_loop().call_soon(node.links.links[account].fail, "is gone")
        return await ended(account)

    node.links.ended = asked  # type: ignore[method-assign]
    words = await node.words()
    assert set(words) == {B, C}
    node.links.links[C].outbound.get_nowait()
    assert Report.parse(node.links.links[C].outbound.get_nowait().evidence, B, TOLERANT.spec).absent == ()


@awaited
async def test_who_heard_nothing_of_a_party_that_died_agrees_with_who_heard_its_word() -> None:
    node = town(**{C: ()})
    node.links.links[A].fail("is gone")
    assert set(await node.words()) == {B, C}
    node.links.links[C].outbound.get_nowait()
    assert Report.parse(node.links.links[C].outbound.get_nowait().evidence, B, TOLERANT.spec).absent == (A,)


@awaited
async def test_nobody_is_absent_with_whom_this_party_is_connected() -> None:
    for named in (A, B):
        node = town(**{A: (), C: (named,)})
        with pytest.raises(RunFailed, match=f"{C} says that {named} is absent") as caught:
            await node.words()
        assert (caught.value.party, caught.value.reason) == (None, Reason.PEER_SILENT)


@awaited
async def test_one_whom_another_misses_and_that_is_gone_is_not_heard() -> None:
    """A's report comes before B's own would: B, whose link has ended, need not send any."""
    node = town(C, **{A: (B,), B: None})
    ends_when_heard(node, B)
    assert set(await node.words()) == {A, C}


@awaited
async def test_one_that_goes_unmissed_stays_to_be_waited_for() -> None:
    node = town(**{A: None, C: ()})
    ends_when_heard(node, A)
    assert set(await node.words()) == {A, B, C}
    with pytest.raises(PeerFailed) as caught:
        await node.links.send(A, b"a signature")
    assert caught.value.party == A


@awaited
async def test_one_that_is_needed_and_goes_ends_the_run() -> None:
    node = town(**{A: (), C: None})
    ends_when_heard(node, C)
    with pytest.raises(PeerFailed) as caught:
        await node.words()
    assert caught.value.party == C


@awaited
async def test_more_that_go_than_the_run_spares_end_it() -> None:
    node = town(**{C: None})
    node.links.links[A].fail("is gone")
    ends_when_heard(node, C)
    with pytest.raises(PeerFailed):
        await node.words()
