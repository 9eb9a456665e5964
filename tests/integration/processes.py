"""Processes of a network under test: which workers a node has, how processes hang, and waiting for what happens."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tallystick.protocol import canonical
from tallystick.protocol.errors import NotFound
from tallystick.testing.network import Institution, Network


def until(happened: Callable[[], Any], seconds: float = 240) -> Any:
    """Ask until there is an answer."""
    give_up = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return found


def patiently(ask: Callable[[], Any], seconds: float = 180) -> Any:
    """Ask until the node has indexed what the chain says already."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except NotFound:
            if time.monotonic() > give_up:
                raise
        time.sleep(0.2)


def anchor(network: Network, task: str) -> bytes:
    """The hash of the block in which a task's result was proved."""
    chain = network.governor.chain
    events = chain.events(0, chain.head())
    event = next(each for each in events if each.name == "ResultProved" and each["task"] == canonical.unhex32(task))
    return bytes.fromhex(event.block_hash[2:])


@contextmanager
def stopped(*processes: int) -> Iterator[None]:
    """Processes that hang, and go on afterwards unless somebody killed them."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def workers(who: Institution) -> list[int]:
    """The worker processes of a node, by its process id."""
    assert who.process is not None
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes()
            except (OSError, ValueError):
                continue
            if parent == who.process.pid and b"runs.worker" in command:
                found.append(int(entry.name))
    return found


def number(who: Institution) -> int:
    """A node's process id."""
    assert who.process is not None
    return who.process.pid
