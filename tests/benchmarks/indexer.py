"""Ten thousand tasks on one chain: how fast an index catches up, how long questions take, and what a kill in the middle costs."""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests
from contracts.conftest import KIND, World
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.chain.deployment import Deployment
from tallystick.chain.index import EventIndex
from tallystick.protocol.grant import Grant
from tallystick.protocol.task import Proposal
from tallystick.testing.local_chain import LocalChain
from tallystick_node.indexer import Indexer
from tallystick_node.store.database import Store

from benchmarks.chain_records import world_on

TASKS = 10_000
BATCH = 60  # tasks whose transactions go into a few blocks together
EVENTS = 10  # of a proved task of three parties: proposed, 3 accepted, started, 3 debited, and the proof in both ledgers
GAS = 2_000_000


@dataclass
class Filled:
    """Tasks that the real contracts took through their whole life, each signed by all; three grants stand for all of them."""

    world: World
    grants: list[Grant]
    proposals: list[Proposal]

    @property
    def events(self) -> int:
        return EVENTS * len(self.proposals)


def fill(world: World, tasks: int) -> Filled:
    """Propose, accept and prove ``tasks`` tasks. Mining waits until the transactions of a step are in the pool."""
    for actor in (*world.parties, world.requester):
        world.enrol(actor)
    grants = [world.grant(world.publish(actor), uses=tasks) for actor in world.parties]
    for actor, grant in zip(world.parties, grants, strict=True):
        world.issue(actor, grant)
    filled = Filled(world, grants, [])
    world.chain.request("evm_setAutomine", False)
    try:
        while len(filled.proposals) < tasks:
            _batch(filled, min(BATCH, tasks - len(filled.proposals)))
            if len(filled.proposals) % (20 * BATCH) == 0:
                sys.stderr.write(f"{len(filled.proposals)} tasks ...\n")
    finally:
        world.chain.request("evm_setAutomine", True)
    return filled


def _batch(filled: Filled, size: int) -> None:
    world = filled.world
    pattern = world.proposal(filled.grants, accept_by=world.chain.now() + 86_400, run_seconds=86_400)
    made = [replace(pattern, spec=secrets.token_bytes(32), salt=secrets.token_bytes(32)) for _ in range(size)]
    terms = [world.terms(proposal, filled.grants) for proposal in made]
    results = [world.result(proposal) for proposal in made]
    acceptances = [[world.acceptance(actor, proposal) for actor in world.parties] for proposal in made]
    signatures = [world.signatures(*each) for each in zip(made, results, strict=True)]
    _mined(world, world.requester.chain, "TaskLedger", "propose", [(p.as_tuple(),) for p in made])
    accepting = [(p.as_tuple(), 1, [0, 1, 2], a, t) for p, a, t in zip(made, acceptances, terms, strict=True)]
    _mined(world, world.relayer.chain, "TaskLedger", "accept", accepting)
    proving = [(p.as_tuple(), r.as_tuple(), s, b"") for p, r, s in zip(made, results, signatures, strict=True)]
    _mined(world, world.relayer.chain, "ProofRegistry", "submit", proving)
    filled.proposals += made


def _mined(world: World, chain: Chain, contract: str, function: str, calls: list[tuple[Any, ...]]) -> None:
    """The calls as transactions of one account, mined in as many blocks as they need."""
    own = chain.own()
    nonce = int(chain.request("eth_getTransactionCount", own.address, "latest"), 16)
    bound = chain.contracts[contract]
    raw = []
    for number, call in enumerate(calls, nonce):
        transaction = {
            "chainId": chain.deployment.chain_id, "nonce": number, "gas": GAS, "to": bound.address, "value": 0,
            "data": bound.encode(function, *call), "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9, "type": 2,
        }  # fmt: skip
        raw.append("0x" + own.sign_transaction(transaction).hex())
    asked = [{"jsonrpc": "2.0", "id": i, "method": "eth_sendRawTransaction", "params": [each]} for i, each in enumerate(raw)]
    assert all("result" in answer for answer in requests.post(chain.url, json=asked, timeout=60).json())
    while int(chain.request("eth_getTransactionCount", own.address, "latest"), 16) < nonce + len(calls):
        world.chain.request("evm_mine")


class Halting(EventIndex):
    """Says so and stands still when the second page is written and not yet committed."""

    def _keep(self, *page: Any) -> int:
        second, kept = self.last >= 0, super()._keep(*page)
        if second:
            sys.stdout.write("halfway\n")
            sys.stdout.flush()
            sys.stdin.read()
        return kept


def killed_in_the_middle(path: Path, url: str, deployment: Path) -> int:
    """Catch up in a process of its own that is killed in the middle of its second page; how many events it has left."""
    command = [sys.executable, "-m", "benchmarks.indexer", str(path), url, str(deployment)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"halfway\n"
        reader.kill()
    with EventIndex(path, Chain(url, Deployment.load(deployment))) as index:
        return len(index)


def run() -> dict[str, Any]:
    """10,000 tasks and 100,000 events on one chain: catching up, questions, and going on after a kill."""
    with tempfile.TemporaryDirectory() as name, LocalChain(Path(name) / "chain", kind=KIND) as local:
        folder = Path(name)
        filled = fill(world_on(local), int(os.environ.get("TASKS", TASKS)))
        return measure(filled, folder)


def measure(filled: Filled, folder: Path) -> dict[str, Any]:
    """The rows of the benchmark; each finds every event once."""
    chain, deployment = filled.world.chain, folder / "deployment.json"
    chain.deployment.save(deployment)
    began = time.perf_counter()
    with EventIndex(folder / "whole.db", chain) as index:
        came = index.catch_up()
        rate = came / (time.perf_counter() - began)
        expected = [(event.block, event.log_index) for event in chain.events(0, chain.head())]
        assert [(e.block, e.log_index) for e in index.events()] == expected and came == len(expected) >= filled.events
        rows: list[dict[str, Any]] = [{"operation": "catch up", "events": came, "events_per_second": rate}]
        rows += [_asked(name, ask) for name, ask in questions(filled, index)]
    read = killed_in_the_middle(folder / "killed.db", chain.url, deployment)
    with EventIndex(folder / "killed.db", chain) as index:
        rest = index.catch_up()
        assert 0 < read < came == read + rest and [(e.block, e.log_index) for e in index.events()] == expected
    rows.append({"operation": "killed and gone on", "events_before": read, "events_after": rest})
    rows.append(_node(filled, folder, came))
    return {"ours": rate, "unit": "events/s", "chain": KIND, "tasks": len(filled.proposals), "rows": rows}


def questions(filled: Filled, index: EventIndex) -> Iterator[tuple[str, Callable[[int], list[Event]]]]:
    """What people ask of one thing among all."""
    tasks = [proposal.id() for proposal in filled.proposals]
    yield "one task", lambda i: index.events(about=tasks[i * 7919 % len(tasks)])
    yield "one dataset's grants", lambda i: index.events("Granted", about=filled.grants[i % 3].dataset)
    yield "one participant's enrolments", lambda i: index.events("Enrolled", about=filled.world.parties[i % 3].address)
    yield "all grants", lambda _: index.events("Granted")
    yield "all authorities", lambda _: index.events("AuthorityAdded")


def _asked(name: str, ask: Callable[[int], list[Event]]) -> dict[str, Any]:
    took = []
    for number in range(100):
        began = time.perf_counter()
        assert ask(number)
        took.append(1000 * (time.perf_counter() - began))
    return {"operation": name, "milliseconds": statistics.median(took), "slowest_milliseconds": max(took)}


def _node(filled: Filled, folder: Path, events: int) -> dict[str, Any]:
    """A node's own follower, which reads every event that concerns no run of its."""
    store, seen = Store(f"sqlite:///{folder / 'node.db'}"), 0

    async def look(event: Event) -> None:
        nonlocal seen
        seen += 1
        assert "task" not in event.arguments or not store.concerns("0x" + event["task"].hex())

    async def follow() -> None:
        indexer = Indexer(store, filled.world.chain, look)
        following = asyncio.create_task(indexer.follow())
        while indexer.handled < filled.world.chain.head():
            await asyncio.sleep(0.05)
        following.cancel()

    began = time.perf_counter()
    asyncio.run(follow())
    store.close()
    assert seen == events
    return {"operation": "a node catches up", "events": seen, "events_per_second": seen / (time.perf_counter() - began)}


def main() -> None:
    """The process that is killed."""
    chain = Chain(sys.argv[2], Deployment.load(Path(sys.argv[3])))
    chain = Chain(chain.url, chain.deployment, profile=replace(chain.profile, log_page=max(1, chain.head() // 4)))
    with Halting(Path(sys.argv[1]), chain) as index:
        index.catch_up()


if __name__ == "__main__":
    main()
