"""A task that is asked for again and again, each time on the newest version of its datasets.

Each occurrence is an ordinary task: the same spec with a fresh salt and deadline, proposed, accepted, debited from the grants and
proved by itself. What was begun stands in a folder, whether it is done on the chain: so the requester may stop at any time and go
on later, and no occurrence is asked for twice.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from tallystick.chain.aio import pause
from tallystick.client import follow
from tallystick.client.client import Client
from tallystick.client.grant_file import GrantFile
from tallystick.protocol import canonical
from tallystick.protocol.errors import ChainUnreachable, Configuration, NotFound
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import LIMIT, TaskSpec, proposal_of

TYPE = "tallystick.recurrence/1"
SCHEDULE = "schedule.json"
MAX_TIMES, MAX_EVERY, LEAST_ACCEPT = 10_000, 10 * 366 * 86400, 10
MARGIN = 120  # seconds that an attempt may be late by the chain's clock
PATIENCE, LONGEST_PAUSE = 6 * 3600.0, 60.0  # seconds: that the chain may not answer, and between two tries

T = TypeVar("T")
Told = Callable[[int, str, str], None]  # an occurrence's number, its task and its state


@dataclass(frozen=True)
class Recurrence:
    """``times`` occurrences of ``template``, each due ``every`` seconds after the one before it, whose parties have
    ``accept_seconds`` to accept. The template's own salt and deadline count for nothing. Raises Configuration for what is out of
    range."""

    template: TaskSpec
    every: int
    times: int
    accept_seconds: int

    def __post_init__(self) -> None:
        if not (1 <= self.every <= MAX_EVERY and 1 <= self.times <= MAX_TIMES and self.accept_seconds >= LEAST_ACCEPT):
            raise Configuration(
                f"a task is repeated 1 to {MAX_TIMES} times, every second or more rarely, with {LEAST_ACCEPT} s or more to accept"
            )

    def occurrence(self, now: int) -> TaskSpec:
        """A fresh spec at the time ``now``."""
        return replace(self.template, salt=canonical.hex32(secrets.token_bytes(32)), accept_by=now + self.accept_seconds)

    def require(self, spec: TaskSpec, path: Path) -> None:
        """Raise Configuration unless a spec that was kept is an occurrence of this recurrence."""
        if replace(spec, salt=self.template.salt, accept_by=self.template.accept_by).to_bytes() != self.template.to_bytes():
            raise Configuration("the folder holds an occurrence of another task", party=str(path), remedy="name another folder")


def repeat(client: Client, recurrence: Recurrence, grants: Iterable[GrantFile], folder: Path, told: Told) -> None:
    """Ask for every occurrence that is not done yet, when it is due and the one before it is proved; ``told`` hears of each state.

    Stops at the first that is refused, fails or expires, and raises what it met: mend that, and repeat the rest into a new folder.
    A chain that does not answer is asked again for six hours. Raises Configuration where the folder is of another recurrence.
    """
    documents = list(grants)
    start = _outlast(lambda: _started(recurrence, folder, follow.present(client.chain)))
    for number in range(1, recurrence.times + 1):
        path = folder / f"{number:05d}.json"
        due = start + (number - 1) * recurrence.every
        _outlast(partial(_occur, client, recurrence, documents, path, due, _news(number, told)))


def _occur(
    client: Client, recurrence: Recurrence, documents: list[GrantFile], path: Path, due: int, told: Callable[[str, str], None]
) -> None:
    """One occurrence, from whatever stands of it in the folder and on the chain."""
    chain = client.chain
    while not path.exists() and follow.present(chain) < due:
        pause(max(0.1, chain.profile.poll_seconds))
    spec = _kept(recurrence, path, follow.present(chain))
    if _state(client, spec) == "None" and follow.present(chain) >= spec.accept_by:  # it was never proposed, and cannot be any more
        path.unlink()
        spec = _kept(recurrence, path, follow.present(chain))
    task = canonical.hex32(proposal_of(spec).id())
    state = _state(client, spec)
    told(task, state)
    if state in ("None", "Proposed"):
        client.submit(spec, documents)
    seconds = max(0, spec.accept_by - follow.present(chain)) + spec.attempts * (spec.run_seconds + MARGIN)
    found = follow.wait(chain, task, seconds)
    told(task, found.state)
    if found.state != "Proved":
        problem = follow.history_of(chain, task).problem(found)
        assert problem is not None  # it is final and not proved
        raise problem


def _news(number: int, told: Told) -> Callable[[str, str], None]:
    """Tells each state once."""
    last = ("", "")

    def tell(task: str, state: str) -> None:
        nonlocal last
        if (task, state) != last:
            last = (task, state)
            told(number, task, state)

    return tell


def _outlast(step: Callable[[], T]) -> T:
    """Do a step that may be done again, however often the chain does not answer meanwhile. Raises ChainUnreachable in the end."""
    give_up, wait = time.monotonic() + PATIENCE, 1.0
    while True:
        began = time.monotonic()
        try:
            return step()
        except ChainUnreachable:
            if time.monotonic() > give_up:
                raise
        if time.monotonic() - began > LONGEST_PAUSE:  # it answered for a while: another outage
            give_up, wait = time.monotonic() + PATIENCE, 1.0
        pause(wait)
        wait = min(2 * wait, LONGEST_PAUSE)


def _started(recurrence: Recurrence, folder: Path, now: int) -> int:
    """When the first occurrence was due: now, unless the folder says when."""
    path, digest = folder / SCHEDULE, canonical.text(recurrence.template.digest())
    said = {"type": TYPE, "template": digest, "every": recurrence.every, "accept_seconds": recurrence.accept_seconds}
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _keep(path, canonical.encode({**said, "start": now}))
    value = canonical.decode(path.read_bytes(), LIMIT)
    fields = Fields(value, (*said, "start"), "schedule")
    if any(value[name] != each for name, each in said.items()):
        raise Configuration("the folder has another schedule or template", party=str(path), remedy="name another folder")
    return fields.seconds("start")


def _kept(recurrence: Recurrence, path: Path, now: int) -> TaskSpec:
    """An occurrence's spec: written before it is proposed, so that it is never asked for twice."""
    if not path.exists():
        _keep(path, recurrence.occurrence(now).to_bytes())
    spec = TaskSpec.parse(path.read_bytes())
    recurrence.require(spec, path)
    return spec


def _keep(path: Path, content: bytes) -> None:
    """Write a file whole, or not at all; whoever comes second keeps what the first wrote."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with beside.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(beside, path)
    except FileExistsError:
        pass
    finally:
        beside.unlink()


def _state(client: Client, spec: TaskSpec) -> str:
    try:
        return follow.state_of(client.chain, canonical.hex32(proposal_of(spec).id())).state
    except NotFound:
        return "None"
