"""Following a real chain through restarts, re-organisations, outages and a chain that lost its latest blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.chain.deployment import deploy
from tallystick.signing import signer_from_uri
from tallystick.testing.local_chain import LocalChain
from tallystick_node import indexer
from tallystick_node.indexer import Indexer
from tallystick_node.store.database import Store
from web3 import HTTPProvider, Web3


class Scene:
    """A chain whose governor makes events, and an indexer that notes what it hands on."""

    def __init__(self, local: LocalChain, folder: Path) -> None:
        self.local = local
        deployment = deploy(Web3(HTTPProvider(local.url)), signer_from_uri("mnemonic:0"))
        self.chain = Chain(local.url, deployment, signer=signer_from_uri("mnemonic:0"))
        self.store = Store(f"sqlite:///{folder / 'node.db'}")
        self.seen: list[int] = []
        self.indexer = self.restarted()
        self._made = 0

    def restarted(self) -> Indexer:
        async def note(event: Event) -> None:
            if event.name == "AuthorityAdded":
                self.seen.append(event["notBefore"])

        self.indexer = Indexer(self.store, self.chain, note)
        return self.indexer

    def happen(self) -> int:
        """One event, told apart from all others by its number."""
        self._made += 1
        point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
        key = (point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big"))
        self.chain.send("ParticipantRegistry", "addAuthority", *key, self._made, 2**40 - 1)
        return self._made

    def follow(self, seconds: float = 1.5) -> None:
        async def limited() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(self.indexer.follow(), seconds)

        asyncio.run(limited())


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with LocalChain(tmp_path / "chain") as local:
        yield Scene(local, tmp_path)


def test_every_event_once_and_in_order_across_restarts(scene: Scene) -> None:
    made = [scene.happen() for _ in range(3)]
    scene.follow()
    made += [scene.happen() for _ in range(2)]
    scene.restarted()
    scene.follow()
    assert scene.seen == made
    assert scene.indexer.handled == scene.indexer.head == scene.chain.head()


def test_events_of_a_reorganised_chain_are_read_anew(scene: Scene) -> None:
    first = scene.happen()
    snapshot = scene.chain.request("evm_snapshot")
    lost = scene.happen()
    scene.follow()
    assert scene.seen == [first, lost]
    scene.chain.request("evm_revert", snapshot)
    kept = [scene.happen(), scene.happen()]
    scene.seen.clear()
    scene.follow()
    assert [each for each in scene.seen if each in kept] == kept
    assert lost not in scene.seen


def test_a_crash_between_handling_and_noting_hands_over_again(scene: Scene) -> None:
    made = scene.happen()

    async def crash(event: Event) -> None:
        if event.name == "AuthorityAdded":
            scene.seen.append(event["notBefore"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(Indexer(scene.store, scene.chain, crash).follow())
    scene.restarted()
    scene.follow()
    assert scene.seen == [made, made]


def test_an_outage_is_noted_and_loses_nothing(scene: Scene) -> None:
    first = scene.happen()
    scene.follow()
    scene.local.save()
    scene.local.kill()
    scene.follow()
    assert not scene.indexer.reachable
    scene.local.start()
    second = scene.happen()
    scene.follow(3)
    assert scene.indexer.reachable
    assert scene.seen == [first, second] or scene.seen == [first, first, second]


def test_a_chain_that_lost_its_latest_blocks_is_followed(scene: Scene) -> None:
    scene.happen()
    scene.local.save()
    lost = [scene.happen() for _ in range(3)]
    scene.follow()
    scene.local.kill()
    scene.local.start()
    scene.follow()  # the cursor is ahead of the chain
    scene.seen.clear()
    made = scene.happen()
    scene.follow()
    assert made in scene.seen
    assert not set(lost) & set(scene.seen)


def test_what_takes_an_authorisation_back_is_heard_before_it_is_final(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a run stops within a block also where blocks are final late."""
    monkeypatch.setattr(indexer, "ENDING", {"AuthorityRetired"})  # the governor alone can make it happen here
    scene.chain.profile = replace(scene.chain.profile, confirmations=12)
    heard: list[str] = []

    async def note(event: Event) -> None:
        heard.append(event.name)

    scene.chain.request("anvil_mine", hex(20))
    scene.indexer = Indexer(scene.store, scene.chain, note)
    scene.follow()
    heard.clear()
    scene.happen()
    scene.chain.send("ParticipantRegistry", "retireAuthority", 0)
    scene.follow()
    assert heard == ["AuthorityRetired"]
    scene.chain.request("anvil_mine", hex(12))
    scene.follow()
    assert heard == ["AuthorityRetired", "AuthorityAdded", "AuthorityRetired"]
