"""Starting, beside a worker, the process that launches the enclave of its run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tallystick.protocol.errors import RunFailed
from tallystick.protocol.reasons import Reason

from tallystick_node.engines.folders import keep_names
from tallystick_node.engines.tee.hosting import authority_frame, device_frame
from tallystick_node.runs.workers import python
from tallystick_node.settings import Settings

PLATFORM = "platform.secret"
"""The file in a node's folder with the secret of its simulated platform: 32 bytes, made when it is first needed."""


@asynccontextmanager
async def launcher(settings: Settings) -> AsyncIterator[socket.socket]:
    """A worker's end of the way to a process that launches one enclave, on this node's simulated platform or in the environment
    that the settings name; the process ends with the context. Raises RunFailed where the settings name neither."""
    given = await asyncio.to_thread(_given, settings)
    ours, theirs = socket.socketpair()
    with ours:
        try:
            process = await python("tallystick_node.engines.tee.hosting", [theirs], stdin=PIPE)
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


def _given(settings: Settings) -> bytes:
    """What the process is told first: where evidence comes from. Never both, and neither for the other."""
    if settings.enclave_device != "simulation":
        endorsements = settings.enclave_endorsements
        return device_frame(settings.enclave_device, None if endorsements is None else endorsements.read_bytes())
    authority, password_file, secret = settings.enclave_authority, settings.enclave_password_file, settings.home / PLATFORM
    if authority is None or password_file is None:
        raise RunFailed(
            "this node launches no enclaves",
            reason=Reason.INTERNAL,
            remedy="set enclave_authority and enclave_password_file, or enclave_device, or let another party be the host",
        )
    return authority_frame(authority.read_bytes(), password_file.read_bytes().strip(), _kept(secret))


def _kept(secret: Path) -> bytes:
    """The platform's secret. Its name stands for all of it from the start: of two runs that begin at once one may make it while
    the other reads it, and a node that is ended as it makes it would have an empty one for good."""
    if not secret.exists():
        with tempfile.NamedTemporaryFile(dir=secret.parent) as draft:  # of this user's alone
            draft.write(os.urandom(32))
            draft.flush()
            os.fsync(draft.fileno())
            with contextlib.suppress(FileExistsError):
                secret.hardlink_to(draft.name)
        keep_names(secret.parent)
    return secret.read_bytes()
