"""Profiles of consortium chains against what such chains do differently: no price of gas, long headers, ranges of logs, missing
methods, other clocks, late endpoints; and writes and events through re-organisations, where there are any."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account
from integration.chain.imitation import BESU, FISCO, RANGE, FreeChain, Imitation
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.chain.deployment import Deployment, deploy
from tallystick.chain.index import EventIndex
from tallystick.chain.profile import PROFILES
from tallystick.protocol.errors import ChainUnreachable, Deadline, WrongChain
from tallystick.signing import AccountSigner, signer_from_uri
from tallystick.testing.local_chain import LocalChain
from tallystick_node.anchoring.outbox import Outbox
from tallystick_node.indexer import Indexer
from tallystick_node.store.database import Store, Write
from web3 import HTTPProvider, Web3

pytestmark = pytest.mark.slow

IDS = {BESU: 2018, FISCO: 20200}  # FISCO's default web3_chain_id


class Consortium:
    """A chain of one kind, and its governor, whose account holds no coins."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.local = FreeChain(folder, chain_id=IDS[kind])
        self.local.start()
        self.imitation = Imitation(kind, self.local)
        self.governor = AccountSigner(Account.create())
        self.profile = replace(PROFILES[kind], poll_seconds=0.1)
        self.deployment = deploy(Web3(HTTPProvider(self.imitation.url)), self.governor)

    def connect(self) -> Chain:
        return Chain(self.imitation.url, self.deployment, signer=self.governor, profile=self.profile)

    def close(self) -> None:
        self.imitation.close()
        self.local.stop()


@pytest.fixture(scope="module", params=[BESU, FISCO])
def consortium(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    made = Consortium(request.param, tmp_path_factory.mktemp(request.param))
    yield made
    made.close()


@pytest.fixture
def chain(consortium: Consortium) -> Iterator[Chain]:
    """What a test does to the endpoint is undone after it."""
    consortium.imitation.refusals.clear()
    consortium.imitation.pages.clear()
    yield consortium.connect()
    consortium.imitation.behind, consortium.imitation.milliseconds = 0, False
    consortium.imitation.range = RANGE[consortium.imitation.kind]


def happen(chain: Chain) -> int:
    """One event, told apart from all others by a number."""
    point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    number = 1 + secrets.randbelow(2**39)
    key = (point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big"))
    chain.send("ParticipantRegistry", "addAuthority", *key, number, 2**40 - 1)
    return number


def test_an_account_without_coins_writes_and_only_what_such_chains_have_is_asked_for(consortium: Consortium, chain: Chain) -> None:
    governor = consortium.governor.address
    assert consortium.local.rpc("eth_getBalance", governor, "latest") == "0x0"
    number = happen(chain)
    found = [event for event in chain.events(0, chain.head()) if event.name == "AuthorityAdded"]
    assert found[-1]["notBefore"] == number
    assert len(chain.block("latest")["extraData"]) > 2 + 2 * 32 and chain.now() > 10**9
    assert consortium.imitation.refusals == []
    assert consortium.local.rpc("eth_getBalance", governor, "latest") == "0x0"


def test_ranges_of_logs_that_the_node_refuses_are_halved(consortium: Consortium, chain: Chain) -> None:
    number = happen(chain)
    consortium.imitation.range = 10
    consortium.local.rpc("anvil_mine", hex(30))
    generous = Chain(chain.url, chain.deployment, profile=replace(chain.profile, log_page=10**6))
    found = [event["notBefore"] for event in generous.events(0, generous.head()) if event.name == "AuthorityAdded"]
    assert found[-1] == number and found == sorted(set(found), key=found.index)
    assert "eth_getLogs" in consortium.imitation.refusals
    consortium.imitation.refusals.clear()
    list(generous.events(0, generous.head()))
    assert len(consortium.imitation.refusals) <= 1  # it begins near the size that was taken
    consortium.imitation.refusals.clear()
    assert chain.profile.log_page <= RANGE[chain.profile.name]  # of the product: nothing is refused by default


def test_a_late_endpoint_is_believed_no_further_than_it_goes(consortium: Consortium, chain: Chain, tmp_path: Path) -> None:
    before = chain.head()
    consortium.imitation.behind = 3
    number = happen(chain)
    assert chain.head() < before
    with EventIndex(tmp_path / "index.db", chain) as index:
        index.catch_up()
        assert number not in [event["notBefore"] for event in index.events("AuthorityAdded")]
        consortium.imitation.behind = 0
        index.catch_up()
        assert [event["notBefore"] for event in index.events("AuthorityAdded")].count(number) == 1


def test_another_chain_id_is_refused(consortium: Consortium) -> None:
    deployment = replace(consortium.deployment, chain_id=20201)
    with pytest.raises(WrongChain, match="20201"):
        Chain(consortium.imitation.url, deployment, profile=consortium.profile)


def test_a_clock_of_milliseconds_is_refused_where_it_can_be(consortium: Consortium) -> None:
    consortium.imitation.milliseconds = True
    try:
        if consortium.profile.clock:
            with pytest.raises(WrongChain, match="milliseconds"):
                consortium.connect()
        else:
            consortium.connect()
    finally:
        consortium.imitation.milliseconds = False


# -- re-organisations


class Reorganised:
    """A chain that loses blocks, a node's outbox and follower over it, and its governor, who adds authorities."""

    def __init__(self, local: LocalChain, folder: Path) -> None:
        signer = signer_from_uri("mnemonic:0")
        self.deployment: Deployment = deploy(Web3(HTTPProvider(local.url)), signer)
        self.chain = Chain(local.url, self.deployment, signer=signer)
        self.store = Store(f"sqlite:///{folder / 'node.db'}")
        self.seen: list[Event] = []

    def follow(self, until: int) -> None:
        async def note(event: Event) -> None:
            self.seen.append(event)

        async def limited() -> None:
            indexer = Indexer(self.store, self.chain, note)
            following = asyncio.create_task(indexer.follow())
            while indexer.handled < until:
                await asyncio.sleep(0.01)
            following.cancel()

        asyncio.run(asyncio.wait_for(limited(), 60))

    def write(self, key: str, first: int) -> None:
        point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
        arguments = [point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big"), first, 2**40 - 1]
        self.store.enqueue(Write(key, "ParticipantRegistry", "addAuthority", arguments))

    def flush(self) -> None:
        Outbox(self.store, self.chain, lambda *_: None).flush()

    def recorded(self) -> list[int]:
        return [e["notBefore"] for e in self.chain.events(0, self.chain.head()) if e.name == "AuthorityAdded"]


@pytest.fixture
def reorganised(tmp_path: Path) -> Iterator[Reorganised]:
    with LocalChain(tmp_path / "chain") as local:
        made = Reorganised(local, tmp_path)
        yield made
        made.store.close()


def test_a_write_whose_block_vanishes_before_its_receipt_is_sent_again_and_recorded_once(reorganised: Reorganised) -> None:
    """The transaction was mined, and its block is gone when the outbox asks for the receipt: what was sent is not yet done."""
    chain, lost = reorganised.chain, []
    receipt = chain.receipt

    def gone(transaction: str, contract: str = "") -> object:
        if not lost:
            lost.append(transaction)
            chain.request("anvil_reorg", 1, [])
            raise Deadline("not carried out")
        return receipt(transaction, contract)

    chain.receipt = gone  # type: ignore[method-assign,assignment]
    reorganised.write("one", 7)
    reorganised.flush()
    assert len(reorganised.store.due_writes()) == 1
    reorganised.flush()
    chain.request("evm_mine")
    assert reorganised.store.due_writes() == [] and reorganised.recorded() == [7]


def test_events_of_other_blocks_replace_those_of_lost_ones_in_follower_and_index(reorganised: Reorganised, tmp_path: Path) -> None:
    chain = reorganised.chain
    for number in (1, 2, 3):
        reorganised.write(f"w{number}", number)
    reorganised.flush()
    reorganised.follow(chain.head())
    with EventIndex(tmp_path / "index.db", chain) as index:
        index.catch_up()
        chain.request("anvil_reorg", 2, [])
        for number in (8, 9, 10):
            reorganised.write(f"w{number}", number)
        reorganised.flush()
        index.catch_up()
        kept = reorganised.recorded()
        assert [event["notBefore"] for event in index.events("AuthorityAdded")] == kept
        assert kept[0] == 1 and kept[-3:] == [8, 9, 10] and len(kept) == len(set(kept))
        reorganised.seen.clear()
        reorganised.follow(chain.head())
        assert [e["notBefore"] for e in reorganised.seen if e.name == "AuthorityAdded"][-len(kept) :] == kept


def test_nothing_is_written_where_nobody_answers(reorganised: Reorganised) -> None:
    reorganised.write("one", 7)
    away = Chain(reorganised.chain.url, reorganised.deployment)
    away.send = _unreachable  # type: ignore[method-assign]
    Outbox(reorganised.store, away, lambda *_: None).flush()
    assert len(reorganised.store.due_writes()) == 1
    reorganised.flush()
    assert reorganised.recorded() == [7]


def _unreachable(*_: object, **__: object) -> None:
    raise ChainUnreachable("gone")
