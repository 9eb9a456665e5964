"""Ten thousand tasks on one chain: how fast an index and a node catch up, how long questions take, what a kill in the middle costs.

``TASKS=n`` takes another number of tasks. Filling the chain is not measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests
from contracts.conftest import KIND, Actor, World
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.chain.deployment import Deployment
from tallystick.chain.index import EventIndex
from tallystick.protocol import typed
from tallystick.protocol.grant import Grant
from tallystick.protocol.task import Proposal
from tallystick.testing.local_chain import LocalChain
from tallystick_node.indexer import Indexer
from tallystick_node.store.database import Store

from benchmarks.chain_records import world_on

TASKS = 10_000
BATCH = 120  # tasks whose transactions go into a few blocks together
EVENTS = 10  # of a proved task of three parties: proposed, 3 accepted, started, 3 debited, and the proof in both ledgers
GAS = 1_000_000
ASKED = 200


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
            if len(filled.proposals) % (10 * BATCH) == 0:
                sys.stderr.write(f"{len(filled.proposals)} tasks ...\n")
    finally:
        world.chain.request("evm_setAutomine", True)
    return filled


def _batch(filled: Filled, size: int) -> None:
    world = filled.world
    pattern = world.proposal(filled.grants, accept_by=world.chain.now() + 86_400, run_seconds=86_400)
    terms, ledger, proofs = world.terms(pattern, filled.grants), world.domain("TaskLedger"), world.domain("ProofRegistry")
    made = [replace(pattern, spec=secrets.token_bytes(32), salt=secrets.token_bytes(32)) for _ in range(size)]
    results = [world.result(proposal) for proposal in made]
    accepted = [typed.acceptance_digest(ledger, r.task, p.spec, 1) for p, r in zip(made, results, strict=True)]
    proved = [typed.result_digest(proofs, result) for result in results]
    acceptances, signatures = ([_signed(world, digest) for digest in digests] for digests in (accepted, proved))
    _mined(world, world.requester, "TaskLedger", "propose", [(p.as_tuple(),) for p in made])
    accepting = [(p.as_tuple(), 1, [0, 1, 2], a, terms) for p, a in zip(made, acceptances, strict=True)]
    _mined(world, world.relayer, "TaskLedger", "accept", accepting)
    proving = [(p.as_tuple(), r.as_tuple(), s, b"") for p, r, s in zip(made, results, signatures, strict=True)]
    _mined(world, world.relayer, "ProofRegistry", "submit", proving)
    filled.proposals += made


def _signed(world: World, digest: bytes) -> list[bytes]:
    return [actor.signer.sign_digest(digest) for actor in world.parties]


def _mined(world: World, sender: Actor, contract: str, function: str, calls: list[tuple[Any, ...]]) -> None:
    """The calls as transactions of one account, whose key the development chain has, mined in as many blocks as they need."""
    nonce = int(world.chain.request("eth_getTransactionCount", sender.address, "latest"), 16)
    bound = world.chain.contracts[contract]
    asked = []
    for number, call in enumerate(calls, nonce):
        transaction = {"from": sender.address, "to": bound.address, "nonce": hex(number), "gas": hex(GAS)}
        transaction["data"] = bound.encode(function, *call)
        asked.append({"jsonrpc": "2.0", "id": number, "method": "eth_sendTransaction", "params": [transaction]})
    assert all("result" in answer for answer in requests.post(world.chain.url, json=asked, timeout=60).json())
    while int(world.chain.request("eth_getTransactionCount", sender.address, "latest"), 16) < nonce + len(calls):
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
    with _other_process("index", path, url, deployment) as reader:
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
    with EventIndex(folder / "whole.db", chain) as index:
        began = Moment()
        came = index.catch_up()
        rows: list[dict[str, Any]] = [{"operation": "catch up", **began.rates(came)}]
        expected = [_place(event) for event in chain.events(0, chain.head())]
        assert [_place(event) for event in index.events()] == expected and came == len(expected) >= filled.events
        rows += [_asked(name, ask) for name, ask in questions(filled, index)]
    read = killed_in_the_middle(folder / "killed.db", chain.url, deployment)
    with EventIndex(folder / "killed.db", chain) as index:
        rest = index.catch_up()
        found = [_place(event) for event in index.events()]
        assert 0 < read < came == read + rest and found == expected
    rows.append({"operation": "killed and gone on", "events_before": read, "events_after": rest, **_compared(found, expected)})
    began = Moment()
    seen = asyncio.run(_followed(f"sqlite:///{folder / 'node.db'}", chain))
    assert seen == expected
    rows.append({"operation": "a node catches up", **began.rates(len(seen))})
    rows.append(_node_killed(folder, chain, deployment, expected))
    slowest = min(row["events_per_second"] for row in rows if "events_per_second" in row)
    return {
        "ours": slowest,
        "unit": "events/s",
        "chain": KIND,
        "tasks": len(filled.proposals),
        "load": os.getloadavg(),
        "rows": rows,
    }


class Moment:
    """When something began, by the clock and by what this process has worked."""

    def __init__(self) -> None:
        self.clock, self.work = time.perf_counter(), time.process_time()

    def rates(self, events: int) -> dict[str, Any]:
        """Events per second of the clock and per second of one core."""
        clock, work = time.perf_counter() - self.clock, time.process_time() - self.work
        return {"events": events, "events_per_second": events / clock, "events_per_cpu_second": events / work}


def _place(event: Event) -> tuple[int, int]:
    return event.block, event.log_index


def _compared(found: list[tuple[int, int]], expected: list[tuple[int, int]]) -> dict[str, int]:
    return {"lost": len(set(expected) - set(found)), "doubled": len(found) - len(set(found))}


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
    for number in range(ASKED):
        began = time.perf_counter()
        assert ask(number)
        took.append(1000 * (time.perf_counter() - began))
    took.sort()
    return {"operation": name, "asked": ASKED, "p50_milliseconds": took[ASKED // 2], "p99_milliseconds": took[ASKED * 99 // 100]}


async def _followed(url: str, chain: Chain, stop: int = -1) -> list[tuple[int, int]]:
    """A node's own follower, until it has read the chain: what it hands on, where no task is the node's own. Where ``stop`` events
    were handed on it says so and stands still."""
    store, seen = Store(url), []

    async def look(event: Event) -> None:
        seen.append(_place(event))
        assert "task" not in event.arguments or not store.concerns("0x" + event["task"].hex())
        if len(seen) == stop:
            sys.stdout.write(json.dumps(seen) + "\n")
            sys.stdout.flush()
            sys.stdin.read()

    indexer = Indexer(store, chain, look)
    following = asyncio.create_task(indexer.follow())
    while indexer.handled < chain.head():
        await asyncio.sleep(0.05)
    following.cancel()
    store.close()
    return seen


def _node_killed(folder: Path, chain: Chain, deployment: Path, expected: list[tuple[int, int]]) -> dict[str, Any]:
    """A node's follower that is killed when half of the events are handed on, in the middle of a page, and goes on. Of that page it
    hands on again what it had; a node's records of an event are one however often it comes."""
    url = f"sqlite:///{folder / 'killed-node.db'}"
    with _other_process("node", url, chain.url, deployment, len(expected) // 2) as follower:
        before = [tuple(each) for each in json.loads(follower.stdout.readline())]
        follower.kill()
    after = asyncio.run(_followed(url, chain))
    again = len(set(before) & set(after))
    assert before + after[again:] == expected and before[len(before) - again :] == after[:again]
    counts = {"events_before": len(before), "events_after": len(after), "of_the_page_again": again}
    return {"operation": "a node killed and gone on", **counts, **_compared(before + after[again:], expected)}


def _other_process(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.indexer", *map(str, arguments)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def main() -> None:
    """The process that is killed: ``index`` or ``node``, its file, the chain, the deployment, for a node after how many events."""
    kind, file, url, deployment = sys.argv[1:5]
    chain = Chain(url, Deployment.load(Path(deployment)))
    chain = Chain(url, chain.deployment, profile=replace(chain.profile, log_page=max(1, chain.head() // 4)))
    if kind == "node":
        asyncio.run(_followed(file, chain, int(sys.argv[5])))
        return
    with Halting(Path(file), chain) as index:
        index.catch_up()


if __name__ == "__main__":
    main()
