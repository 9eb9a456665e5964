"""Following a real chain through restarts, re-organisations, outages and a chain that lost its latest blocks."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
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

    def follow(self, until: Callable[[], bool] | None = None) -> None:
        """Until there is nothing left to read, or something else is so."""

        async def limited() -> None:
            following = asyncio.create_task(self.indexer.follow())
            while not (until or self.idle)():
                await asyncio.sleep(0.01)
            following.cancel()

        asyncio.run(asyncio.wait_for(limited(), 60))

    def idle(self) -> bool:
        return self.indexer._seen == self.chain.tip()[1]


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


@pytest.mark.parametrize("blocks", [1, 150])
def test_a_reorganisation_of_any_depth_loses_no_event(scene: Scene, blocks: int) -> None:
    first = scene.happen()
    snapshot = scene.chain.request("evm_snapshot")
    scene.happen()
    scene.chain.request("anvil_mine", hex(blocks))
    scene.follow()
    scene.chain.request("evm_revert", snapshot)
    kept = [scene.happen(), scene.happen()]
    scene.chain.request("anvil_mine", hex(2 * blocks))
    scene.seen.clear()
    scene.follow()
    assert [each for each in scene.seen if each != first] == kept
    assert scene.indexer.handled == scene.chain.head()


def test_a_page_is_handed_on_only_if_the_chain_was_the_same_before_it_and_after(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the events of blocks that are no more would stand for those that took their place."""
    scene.happen()
    snapshot = scene.chain.request("evm_snapshot")
    lost = scene.happen()
    kept, pages = [], scene.chain.log_pages

    def part(first: int, last: int) -> Iterator[tuple[int, list]]:
        for page in pages(first, last):
            if not kept:
                scene.chain.request("evm_revert", snapshot)
                kept.append(scene.happen())
            yield page

    monkeypatch.setattr(scene.chain, "log_pages", part)
    scene.follow()
    assert scene.seen == [1, *kept] and lost not in scene.seen


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
    scene.follow(until=lambda: not scene.indexer.reachable)
    scene.local.start()
    second = scene.happen()
    scene.follow()
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


FOLLOWER = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from tallystick.chain.connection import Chain
from tallystick.chain.deployment import Deployment
from tallystick_node.indexer import Indexer
from tallystick_node.store.database import Store

chain = Chain(sys.argv[1], Deployment.load(Path(sys.argv[2])))
chain = Chain(chain.url, chain.deployment, profile=replace(chain.profile, log_page=3))
store = Store(sys.argv[3])

async def note(event):
    if event.name == "AuthorityAdded":
        number = event["notBefore"].to_bytes(32, "big")
        store.put_document("event", number, b"")
        print(event["notBefore"], flush=True)
        sys.stdin.readline()

asyncio.run(Indexer(store, chain, note).follow())
"""


@pytest.mark.slow
def test_a_follower_that_is_killed_goes_on_with_the_page_that_it_was_at(scene: Scene, tmp_path: Path) -> None:
    """kill -9 in the middle of a page, and between two pages: what was handled before the page comes no more, nothing is left out,
    and each event leaves one record."""
    made = [scene.happen() for _ in range(9)]
    scene.chain.deployment.save(tmp_path / "deployment.json")
    first = next(event.block for event in scene.chain.events(0, scene.chain.head()) if event.name == "AuthorityAdded")
    pages = [(first + number) // 3 for number in range(9)]  # by event, of three blocks each
    middle = next(number for number in range(3, 9) if pages[number - 1] == pages[number])
    handed: list[list[int]] = []
    for stop in (middle, 2, 9):  # events that a process hands on before it is killed
        command = [
            sys.executable,
            "-c",
            FOLLOWER,
            scene.local.url,
            str(tmp_path / "deployment.json"),
            f"sqlite:///{tmp_path / 'node.db'}",
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as follower:
            assert follower.stdout is not None and follower.stdin is not None
            seen = []
            while len(seen) < stop and (not seen or seen[-1] != made[-1]):
                seen.append(int(follower.stdout.readline()))
                if len(seen) < stop:
                    follower.stdin.write(b"\n")
                    follower.stdin.flush()
            follower.kill()
        handed.append(seen)
    for before, after in itertools.pairwise(handed):
        again = next(number for number in made if pages[number - 1] == pages[before[-1] - 1])
        assert after[0] == again
    assert set().union(*handed) == set(made) and all(each == sorted(each) for each in handed)
    records = [number for number in made if scene.store.document(number.to_bytes(32, "big")) is not None]
    assert records == made
