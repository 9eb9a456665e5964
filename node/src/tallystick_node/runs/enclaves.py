"""Starting, beside a worker, the process that launches the enclave of its run."""

from __future__ import annotations

import asyncio
import contextlib
import os
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
from tallystick_node.settings import Settings

PLATFORM = "platform.secret"
"""The file in a node's folder with the secret of its simulated platform: 32 bytes, made when it is first needed."""


@asynccontextmanager
async def launcher(settings: Settings) -> AsyncIterator[socket.socket]:
    """A worker's end of the way to a process that launches one enclave on this node's simulated platform; the process ends with the
    context. Raises RunFailed where the settings name no authority."""
    if settings.enclave_authority is None or settings.enclave_password_file is None:
        raise RunFailed(
            "this node launches no enclaves",
            reason=Reason.INTERNAL,
            remedy="set enclave_authority and enclave_password_file, or let another party be the host",
        )
    given = await asyncio.to_thread(_given, settings.enclave_authority, settings.enclave_password_file, settings.home / PLATFORM)
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


def _given(authority: Path, password_file: Path, secret: Path) -> bytes:
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(32))
    return authority_frame(authority.read_bytes(), password_file.read_bytes().strip(), secret.read_bytes())
