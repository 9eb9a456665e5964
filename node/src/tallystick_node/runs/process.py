"""Starting a worker process and relaying its frames to and from the links of its run."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tallystick.protocol.errors import PeerFailed, RunFailed
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec

from tallystick_node.peers.links import ENGINE, RunLinks
from tallystick_node.runs.frames import HEADER, Kind, pack


async def run_worker(
    spec: TaskSpec,
    account: str,
    links: RunLinks,
    *,
    data: Mapping[str, Any] | None,
    scratch: Path,
    link_seconds: float,
    run_seconds: float,
    progress: Callable[[str, float], None],
) -> dict[str, Any]:
    """Run one party's side in a process of its own. ``data``: path and columns of its dataset, None for a receiver.

    The answer is the outcome of ``worker.run``. Raises RunFailed. The worker is killed when it outlives ``run_seconds``, and
    when this coroutine is cancelled.
    """
    parties = spec.parties
    index = parties.index(account)
    job = {
        "spec": base64.b64encode(spec.to_bytes()).decode(),
        "party": account,
        "index": index,
        "attempt": links.attempt,
        "parties": len(parties),
        "seconds": link_seconds,
        "scratch": str(scratch),
        **(data or {}),
    }
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tallystick_node.runs.worker",
        str(theirs.fileno()),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(Path.home())},
        start_new_session=True,
    )
    theirs.close()
    relay = _Relay(parties, index, links, progress)
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
        try:
            return await asyncio.wait_for(relay.run(ours), run_seconds)
        except TimeoutError:
            raise RunFailed("the worker ran longer than the task allows", reason=Reason.WORKER) from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        ours.close()


class _Relay:
    """The frames of one worker."""

    def __init__(self, parties: tuple[str, ...], index: int, links: RunLinks, progress: Callable[[str, float], None]) -> None:
        self._parties = parties
        self._links = links
        self._progress = progress
        self._peers = [account for position, account in enumerate(parties) if position != index]

    async def run(self, endpoint: socket.socket) -> dict[str, Any]:
        """Relay until the worker ends."""
        reader, writer = await asyncio.open_connection(sock=endpoint)
        inward = [asyncio.create_task(self._inward(account, writer)) for account in self._peers]
        try:
            return await self._outward(reader)
        finally:
            for task in inward:
                task.cancel()
            await asyncio.gather(*inward, return_exceptions=True)
            writer.close()

    async def _outward(self, reader: asyncio.StreamReader) -> dict[str, Any]:
        while True:
            try:
                kind, peer, size = HEADER.unpack(await reader.readexactly(HEADER.size))
                body = await reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                raise RunFailed("the worker process died", reason=Reason.WORKER) from None
            if kind == Kind.DATA:
                # when the link is down the inward side tells the worker, which then says what it was waiting for
                with contextlib.suppress(PeerFailed):
                    await self._links.send(self._parties[peer], ENGINE, body)
            elif kind == Kind.PROGRESS:
                phase, fraction = json.loads(body)
                self._progress(phase, fraction)
            elif kind == Kind.OUTCOME:
                return dict(json.loads(body))
            else:
                problem = json.loads(body)
                peer_index = problem.get("peer")
                link = None if peer_index is None else self._links.links[self._parties[peer_index]]
                if link is not None and link.failure and problem["reason"] == Reason.PEER_SILENT:
                    raise link.failure  # the node knows better than its worker why a link is silent
                raise RunFailed(
                    problem["message"],
                    reason=Reason(problem["reason"]),
                    party=None if peer_index is None else self._parties[peer_index],
                    remedy=problem.get("remedy", ""),
                )

    async def _inward(self, account: str, writer: asyncio.StreamWriter) -> None:
        index = self._parties.index(account)
        while True:
            try:
                message = await self._links.receive(account, ENGINE, patient=True)
            except PeerFailed as error:
                writer.write(pack(Kind.LOST, index, error.message.encode()))
                await writer.drain()
                return
            writer.write(pack(Kind.DATA, index, message))
            await writer.drain()
