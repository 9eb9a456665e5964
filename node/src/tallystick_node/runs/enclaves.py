"""Starting, beside a worker, the process that launches the enclave of its run."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tallystick.protocol.errors import RunFailed
from tallystick.protocol.reasons import Reason

from tallystick_node.engines.tee.hosting import authority_frame
from tallystick_node.runs.workers import environment


@asynccontextmanager
async def launcher(authority: Path | None, password_file: Path | None) -> AsyncIterator[socket.socket]:
    """A worker's end of the way to a process that launches one enclave under the simulated ``authority``; the process ends with the
    context. Raises RunFailed where this node's settings name no authority."""
    if authority is None or password_file is None:
        raise RunFailed(
            "this node launches no enclaves",
            reason=Reason.INTERNAL,
            remedy="set enclave_authority and enclave_password_file, or let another party be the host",
        )
    given = await asyncio.to_thread(lambda: authority_frame(authority.read_bytes(), password_file.read_bytes().strip()))
    ours, theirs = socket.socketpair()
    with ours:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tallystick_node.engines.tee.hosting",
                str(theirs.fileno()),
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment(),
                start_new_session=True,
            )
        finally:
            theirs.close()
        try:
            assert process.stdin is not None
            process.stdin.write(given)
            process.stdin.close()
            yield ours
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
