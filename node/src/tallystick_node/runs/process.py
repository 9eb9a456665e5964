"""Giving a worker process its job and the direct connections of its run, and hearing from it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tallystick.attestation.standing import Standing
from tallystick.protocol.errors import PeerFailed, RunFailed
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec

from tallystick_node.peers.links import Link, RunLinks
from tallystick_node.runs.frames import HEADER, MAX_BODY, Kind
from tallystick_node.runs.workers import Worker, Workers

SECOND_THOUGHT = 2.0  # seconds in which the node may learn why a peer's worker closed its link, or whom it waits for itself


async def run_worker(
    workers: Workers,
    spec: TaskSpec,
    account: str,
    links: RunLinks,
    *,
    context: bytes,
    beacon: bytes,
    session_key: tuple[bytes, bytes],
    signers: Sequence[Sequence[str]],
    versions: Mapping[str, bytes],
    data: Mapping[str, Any] | None,
    scratch: Path,
    kept: Path,
    launcher: socket.socket | None,
    standing: Standing | None,
    link_seconds: float,
    run_seconds: float,
    progress: Callable[[str, float], None],
) -> dict[str, Any]:
    """Run one party's side in a process of its own. ``context`` names the attempt, ``beacon`` is what all parties know and none
    chose, ``session_key`` a key of this party for the attempt with its voucher, ``signers`` who may vouch for each party,
    ``versions`` the registered version of every party's dataset; ``data``: path and columns of this party's, None for a receiver;
    ``launcher`` leads to the process that launches this party's enclave, None where it hosts none; ``standing``: which enclaves and
    platforms count on chain, for a task that is proved by one.

    The answer is the outcome of ``worker.run``. Raises RunFailed, or the PeerFailed of a link that is over. The worker is killed
    when it outlives ``run_seconds``, when a link is over, and when this coroutine is cancelled. Its connections stay open in this
    node, so that a peer learns the end of a run from the nodes, with its reason.
    """
    parties = spec.parties
    # copies: a link that fails now must not give its number to another file before the worker has it
    connections = {name: link.connection.dup() for name, link in links.links.items() if link.connection is not None}
    job = json.dumps(
        {
            "spec": base64.b64encode(spec.to_bytes()).decode(),
            "party": account,
            "context": context.hex(),
            "beacon": beacon.hex(),
            "session_key": [part.hex() for part in session_key],
            "signers": [list(each) for each in signers],
            "seconds": link_seconds,
            "versions": {party: version.hex() for party, version in versions.items()},
            "scratch": str(scratch),
            "kept": str(kept),
            "links": [_link(links.links[name], parties.index(name)) for name in connections],
            "launches": launcher is not None,
            "standing": None if standing is None else standing.to_json(),
            **(data or {}),
        }
    ).encode()
    async with AsyncExitStack() as stack:
        try:
            given = [*connections.values(), *([] if launcher is None else [launcher])]
            worker = await stack.enter_async_context(workers.begin(len(job), [each.fileno() for each in given]))
        finally:
            for each in connections.values():
                each.close()
        return await _served(worker, job, parties, links, run_seconds, progress)


async def _served(
    worker: Worker,
    job: bytes,
    parties: tuple[str, ...],
    links: RunLinks,
    run_seconds: float,
    progress: Callable[[str, float], None],
) -> dict[str, Any]:
    """What a worker answers to its job, in time."""
    hearing = asyncio.create_task(_hear(worker, job, parties, links, progress))
    breaking = asyncio.create_task(links.broken())
    try:
        await asyncio.wait((hearing, breaking), timeout=run_seconds, return_when=asyncio.FIRST_COMPLETED)
        if hearing.done():
            return hearing.result()
        if breaking.done():
            raise breaking.result()
        raise RunFailed("the worker ran longer than the task allows", reason=Reason.WORKER)
    finally:
        for task in (hearing, breaking):
            task.cancel()
        await asyncio.gather(hearing, breaking, return_exceptions=True)


def _link(link: Link, peer: int) -> dict[str, Any]:
    """What a worker needs of one link."""
    return {
        "peer": peer,
        "listens": bool(link.ticket),
        "key": link.credential.key.decode(),
        "certificate": base64.b64encode(link.credential.certificate).decode(),
        "peer_certificate": base64.b64encode(link.certificate).decode(),
    }


async def _hear(
    worker: Worker, job: bytes, parties: tuple[str, ...], links: RunLinks, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """Give the worker its job; what it says, until it ends."""
    reader, writer = await asyncio.open_connection(sock=worker.endpoint)
    try:
        writer.write(job)
        while True:
            try:
                kind, size = HEADER.unpack(await reader.readexactly(HEADER.size))
                if size > MAX_BODY:
                    raise RunFailed("the worker's result is too large", reason=Reason.WORKER)
                body = json.loads(await reader.readexactly(size))
            except (asyncio.IncompleteReadError, ConnectionError):
                raise RunFailed("the worker process died", reason=Reason.WORKER) from None
            if kind == Kind.PROGRESS:
                phase, fraction = body
                progress(phase, fraction)
            elif kind == Kind.OUTCOME:
                return dict(body)
            else:
                await _fail(body, parties, links)
    finally:
        writer.close()


async def _fail(problem: dict[str, Any], parties: tuple[str, ...], links: RunLinks) -> None:
    """Raise what the worker ended with; of a silent link the node knows better why it is silent.

    When one party falls silent, all wait at the same moment, some for parties that wait themselves. So each says whom it waits
    for, and the one at the end of the chain is accused.
    """
    peer = None if problem.get("peer") is None else parties[problem["peer"]]
    if peer is not None and problem["reason"] == Reason.PEER_SILENT:
        links.suspect(peer)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(links.links[peer].over.wait(), SECOND_THOUGHT)
        if failure := links.links[peer].failure:
            raise failure
        if (silent := links.silent(peer)) != peer:
            message, remedy = f"is waited for by {peer}, which this party waits for", "look at the peer's node"
            raise PeerFailed(message, party=silent, remedy=remedy, reason=Reason.PEER_SILENT)
    remedy, rule = problem.get("remedy", ""), problem.get("rule", "")
    raise RunFailed(problem["message"], reason=Reason(problem["reason"]), party=peer, remedy=remedy, rule=rule)
