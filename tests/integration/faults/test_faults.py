"""Faults injected into a network of real processes: each ends on record or goes on, and the next task runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.story.conftest import Story
from tallystick.chain.contract import Event
from tallystick.client import GrantFile
from tallystick.protocol import canonical
from tallystick.protocol.reasons import Reason
from tallystick.testing.network import Institution, Network

pytestmark = pytest.mark.xdist_group("faults")

RUNNING = 2
SLOW = {"minimum_group": 150}  # the size test's work grows with the minimum: time enough to strike


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Network(tmp_path_factory.mktemp("faults"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Story(network)


def started(story: Story, **changes: Any) -> tuple[str, dict[str, GrantFile]]:
    """A slow task that runs."""
    grants = story.grants()
    task = story.alder.submit(story.spec(grants, parameters=SLOW, run_seconds=60, **changes), grants.values())
    give_up = time.monotonic() + 30
    while story.alder.chain.call("TaskLedger", "taskAt", canonical.unhex32(task))["state"] < RUNNING:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return task, grants


def failures(story: Story, task: str) -> list[Event]:
    chain = story.network.governor.chain
    return [e for e in chain.events(0, chain.head()) if e.name == "Failed" and e["task"] == canonical.unhex32(task)]


def next_task_runs(story: Story) -> None:
    grants = story.grants()
    assert story.run(story.spec(grants), grants)[1] == "Proved"


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


def test_a_killed_worker_fails_the_attempt_and_the_next_one_succeeds(story: Story) -> None:
    task, _ = started(story, attempts=3)
    give_up = time.monotonic() + 10
    while not (found := workers(story.hospitals[1])):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    os.kill(found[0], signal.SIGKILL)
    assert _settled(story, task) == "Proved"
    first = failures(story, task)[0]
    assert (first["reason"], first["reporter"]) in {
        (Reason.WORKER, story.birch.account),
        (Reason.PEER_SILENT, story.alder.account),
        (Reason.PEER_SILENT, story.cedar.account),
    }


def _settled(story: Story, task: str, seconds: float = 90) -> str:
    """The state in which a task stays: `Failed` may be followed by another attempt."""
    give_up = time.monotonic() + seconds
    while True:
        state = story.alder.wait(task, 90)
        if state != "Failed":
            return state
        time.sleep(0.5)
        if time.monotonic() > give_up:
            return state


def test_a_hanging_node_is_accused_of_silence(story: Story) -> None:
    task, _ = started(story, attempts=1)
    cedar = story.hospitals[2].process
    assert cedar is not None
    cedar.send_signal(signal.SIGSTOP)
    try:
        assert story.alder.wait(task, 60) == "Failed"
    finally:
        cedar.send_signal(signal.SIGCONT)
    (failed,) = failures(story, task)
    assert (failed["reason"], failed["accused"]) == (Reason.PEER_SILENT, story.cedar.account)
    next_task_runs(story)


@pytest.mark.parametrize("function", ["suspend", "revoke grant"])
def test_authorisation_that_ends_in_a_run_ends_the_run(story: Story, function: str) -> None:
    task, grants = started(story, attempts=2)
    cedar, governor = story.hospitals[2].process, story.network.governor.chain
    assert cedar is not None
    cedar.send_signal(signal.SIGSTOP)  # so that the run cannot end first
    try:
        if function == "suspend":
            governor.send("ParticipantRegistry", "suspend", story.cedar.account, bytes(32))
        else:
            story.cedar.revoke_grant(grants[story.cedar.account].grant)
        assert story.alder.wait(task, 60) == "Failed"
        assert failures(story, task)[0]["reason"] == Reason.AUTHORISATION_ENDED
    finally:
        if function == "suspend":
            governor.send("ParticipantRegistry", "reinstate", story.cedar.account)
        cedar.send_signal(signal.SIGCONT)
    time.sleep(1)
    assert len(failures(story, task)) == 1  # and no second attempt
    next_task_runs(story)


def test_the_chain_killed_in_a_run_comes_back_and_the_task_ends(story: Story) -> None:
    task, _ = started(story, attempts=2)
    local = story.network.local
    local.save()
    local.kill()
    time.sleep(5)  # longer than the run takes: its proof must wait
    local.start()
    assert _settled(story, task) == "Proved"
    next_task_runs(story)


def test_every_node_killed_in_a_run_fails_it_and_all_come_back(story: Story) -> None:
    task, _ = started(story, attempts=1)
    for who in story.hospitals:
        story.network.halt(who, by=signal.SIGKILL)
    story.network.launch(*story.hospitals, link_seconds=10)
    assert story.alder.wait(task, 60) == "Failed"
    assert {each["reason"] for each in failures(story, task)} == {Reason.RESTARTED}
    next_task_runs(story)


# -- a node that cannot start says why and ends


def attempt_to_start(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tallystick_node.app", "run", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def broken(story: Story, tmp_path: Path, **changes: object) -> Path:
    """Birch's settings with changes, in a file of their own."""
    who = story.hospitals[1]
    path = who.folder / "node.toml"
    kept = path.read_bytes()
    try:
        changed = story.network.write_settings(who, store=f"sqlite:///{tmp_path / 'other.db'}", **changes).read_bytes()
    finally:
        path.write_bytes(kept)
    other = who.folder / f"{tmp_path.name}.toml"
    other.write_bytes(changed)
    return other


def test_a_port_in_use(story: Story, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = attempt_to_start(broken(story, tmp_path, listen=f"127.0.0.1:{taken.getsockname()[1]}"))
    assert ended.returncode == 80
    assert "cannot be listened on" in ended.stderr and "remedy" in ended.stderr


def test_a_locked_keystore(story: Story, tmp_path: Path) -> None:
    wrong = story.hospitals[1].folder / "wrong-password"
    wrong.write_text("not the password")
    wrong.chmod(0o600)
    ended = attempt_to_start(broken(story, tmp_path, password_file="wrong-password"))
    assert ended.returncode == 50
    assert "keystore does not open" in ended.stderr
    assert "not the password" not in ended.stderr


def test_a_chain_that_does_not_answer(story: Story, tmp_path: Path) -> None:
    ended = attempt_to_start(broken(story, tmp_path, rpc_url="http://user:hunter22@127.0.0.1:9"))
    assert ended.returncode == 40
    assert "hunter22" not in ended.stderr


def test_another_accounts_certificate(story: Story, tmp_path: Path) -> None:
    other = story.hospitals[2].folder
    ended = attempt_to_start(broken(story, tmp_path, certificate=other / "tls.pem", key=other / "tls.key"))
    assert ended.returncode == 80
    assert "another account" in ended.stderr


def test_check_describes_a_node_that_could_run(story: Story, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tallystick_node.app", "check", "--config", str(broken(story, tmp_path))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert story.birch.account in ended.stdout
