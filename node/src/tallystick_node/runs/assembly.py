"""Putting a proof together from what the parties say, where that would hold the node up: in a process of its own.

Openings of commitments are checked with the public ceremony's set-up. Loading it takes some seconds, in which no other thread of
the process runs: a node that did it would say nothing to its peers meanwhile. So such a proof is put together by
``python -m tallystick_node.runs.assembly FD``, which lives for one attempt: it loads the set-up while the worker computes, and then
waits. It reads peers' bytes, so it is confined like a worker, and it has no secret. Over the socket ``FD`` it sends an OUTCOME when
the set-up is loaded, takes one JOB, and sends the proof.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tallystick.protocol.errors import RunFailed, TallystickError, error_of
from tallystick.protocol.proof import vector_sum_verified
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.subject import subject_of
from tallystick.protocol.reasons import Reason
from tallystick.protocol.statement import Statement
from tallystick.protocol.task import VECTOR_SUM_VERIFIED

from tallystick_node.runs.confinement import confine
from tallystick_node.runs.frames import HEADER, MAX_BODY, Kind, pack
from tallystick_node.runs.workers import python

SECONDS = 120.0  # for what is left of the set-up, and again for the proof: on an idle core they take four, and a fraction of one

#: From a drafted statement, the proposal's parties in order, and what each says for the proof, the bytes of the proof. Raises
#: MalformedDocument and Configuration, as the kind of proof does, and RunFailed where a process is at fault.
Assemble = Callable[[Statement, Sequence[str], Mapping[str, str]], Awaitable[bytes]]
#: Wait until a proof can be put together at once, which may take seconds, in which the event loop and other threads go on; then
#: what puts it together. Raises RunFailed, and what the process ended with.
Ready = Callable[[], Awaitable[Assemble]]


def _assemble(statement: Statement, parties: Sequence[str], said: Mapping[str, str]) -> bytes:
    return KINDS[statement.proof].assemble(subject_of(statement, parties), said)


@asynccontextmanager
async def assembly(proof: str) -> AsyncIterator[Ready]:
    """Begin to get ready for one proof of a kind; a process that this needs ends with the context. Raises RunFailed when it cannot
    be started."""
    if proof != VECTOR_SUM_VERIFIED:
        yield _at_once
        return
    ours, theirs = socket.socketpair()
    with ours:
        try:
            process = await python("tallystick_node.runs.assembly", [theirs])
        except OSError as error:
            raise RunFailed(f"a process for the proof cannot be started: {error.strerror}", reason=Reason.WORKER) from None
        finally:
            theirs.close()
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:

                async def assemble(statement: Statement, parties: Sequence[str], said: Mapping[str, str]) -> bytes:
                    job = [base64.b64encode(statement.to_bytes()).decode(), list(parties), dict(said)]
                    writer.write(pack(Kind.JOB, json.dumps(job).encode()))
                    return base64.b64decode(await _answer(reader, "the proof was not put together"))

                async def ready() -> Assemble:
                    await _answer(reader, "the ceremony's set-up was not loaded")
                    return assemble

                yield ready
            finally:
                writer.close()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _at_once() -> Assemble:
    return _in_thread


async def _in_thread(statement: Statement, parties: Sequence[str], said: Mapping[str, str]) -> bytes:
    return await asyncio.to_thread(_assemble, statement, parties, said)  # it may check proofs of ranges, for a second or more


async def _answer(reader: asyncio.StreamReader, otherwise: str) -> Any:
    """What the process answers; raises what it ended with. ``otherwise``: what did not happen if it answers too late."""
    try:
        async with asyncio.timeout(SECONDS):
            kind, size = HEADER.unpack(await reader.readexactly(HEADER.size))
            body = json.loads(await reader.readexactly(min(size, MAX_BODY)))
    except TimeoutError:
        raise RunFailed(
            f"{otherwise} within {SECONDS:g} s",
            reason=Reason.WORKER,
            remedy="look at the load of this node's machine",
        ) from None
    except (asyncio.IncompleteReadError, ConnectionError):
        raise RunFailed(
            "the process that puts the proof together died",
            reason=Reason.WORKER,
            remedy="look at the memory of this node's machine",
        ) from None
    if kind == Kind.ERROR:
        raise error_of(**body)
    return body


def _serve(connection: socket.socket) -> str:
    """Load the set-up, say so, and put the one proof together that is asked for."""
    confine()
    vector_sum_verified.require_setup()
    connection.sendall(pack(Kind.OUTCOME, b"null"))
    with connection.makefile("rb") as stream:
        _, size = HEADER.unpack(stream.read(HEADER.size))
        statement, parties, said = json.loads(stream.read(size))
    return base64.b64encode(_assemble(Statement.parse(base64.b64decode(statement)), parties, said)).decode()


def main() -> None:
    """Entry point."""
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            frame = pack(Kind.OUTCOME, json.dumps(_serve(connection)).encode())
        except TallystickError as error:
            frame = pack(Kind.ERROR, json.dumps(error.problem()).encode())
        connection.sendall(frame)


if __name__ == "__main__":
    main()
