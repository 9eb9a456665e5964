"""A node whose kernel offers the device of a realm (Arm CCA), as the kernel documents it; all else of it is the node's own.

As a node: ``python realm.py run --config FILE``, with the platform's keys in the file that ``REALM_KEYS`` names. As the process in
which it launches enclaves: ``python realm.py KEYS FD``, whose device signs tokens by these keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from tallystick_node import app
from tallystick_node.engines.tee import hosting
from tallystick_node.engines.tee.devices import TsmAttester
from tallystick_node.engines.tee.frames import StreamBroken
from tallystick_node.runs import enclaves
from tallystick_node.runs.workers import environment
from unit.attestation.test_cca import Platform
from unit.engines.test_tee_devices import FakeTsm

MAKER = b"\x11" * 32  # the implementation id, which is no simulation's
_END = b"-----END PRIVATE KEY-----\n"


def saved(platform: Platform) -> bytes:
    """The keys of a platform."""
    return b"".join(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in (platform.key, platform.realm_key)
    )


def restored(content: bytes) -> Platform:
    """The platform of these keys."""
    platform, made = Platform(), [load_pem_private_key(each + _END, None) for each in content.split(_END)[:2]]
    keys: Any = made
    platform.key, platform.realm_key = keys
    return platform


def token(platform: Platform, report_data: bytes) -> bytes:
    """Evidence of the realm over 64 bytes."""
    return platform.token(realm={"CHALLENGE": report_data}, platform={"IMPLEMENTATION": MAKER})


def _launch(keys: Path, descriptor: int) -> None:
    kernel = FakeTsm("arm_cca_guest")
    platform = restored(keys.read_bytes())
    kernel.answer = lambda data: token(platform, data)
    with contextlib.suppress(StreamBroken):  # the worker has ended
        hosting.main(socket.socket(fileno=descriptor), sys.stdin.buffer.read(), {"tsm": lambda: TsmAttester(files=kernel)})


async def _python(_: str, sockets: Sequence[socket.socket], *, stdin: int) -> asyncio.subprocess.Process:
    """As :func:`tallystick_node.runs.workers.python`, but that what is started has the device."""
    numbers = [each.fileno() for each in sockets]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        os.environ["REALM_KEYS"],
        *map(str, numbers),
        stdin=stdin,
        pass_fds=numbers,
        env=environment(),
        start_new_session=True,
    )


if __name__ == "__main__":
    if sys.argv[1] == "run":
        enclaves.python = _python  # type: ignore[assignment]
        app.main()
    else:
        _launch(Path(sys.argv[1]), int(sys.argv[2]))
