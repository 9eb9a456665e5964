"""Faults injected into a network of real processes: each ends on record or goes on, and the next task runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from integration.processes import number, stopped, until, workers
from integration.story.conftest import PURPOSE, Story, data
from integration.story.test_training import COLUMNS, parameters
from tallystick.chain import operators
from tallystick.chain.contract import Event
from tallystick.client import GrantFile
from tallystick.protocol import canonical
from tallystick.protocol.operators import Scope
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import PROJECTION_VERIFIED, proposal_of
from tallystick.testing.network import Institution, Network
from tallystick.wire import node_pb2
from tallystick_node.data.connect import open_table
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.runs.promises import NOBODY
from tallystick_node.workloads.training.parameters import Parameters
from tallystick_node.workloads.training.workload import client_of

RUNNING, FAILED = 2, 4
PATIENCE = 40  # seconds, of every node with a silent one: some tests wait for their end


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Network(tmp_path_factory.mktemp("faults"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Story(network, link_seconds=PATIENCE)


def state(story: Story, task: str) -> int:
    return int(story.alder.chain.tasks.task_at(canonical.unhex32(task))["state"])


@contextmanager
def running(story: Story, **changes: Any) -> Iterator[tuple[str, dict[str, GrantFile], int]]:
    """A task that runs and cannot end before the block does: Birch's worker stands still from its first moments on."""
    grants = story.grants()
    task = story.alder.submit(story.spec(grants, run_seconds=180, **changes), grants.values())
    (worker,) = until(lambda: workers(story.hospitals[1]))
    with stopped(worker):
        until(lambda: all(workers(who) for who in story.hospitals))
        assert state(story, task) == RUNNING
        yield task, grants, worker


def events(story: Story) -> list[Event]:
    chain = story.network.governor.chain
    return list(chain.events(0, chain.head()))


def failures(story: Story, task: str) -> list[Event]:
    return [e for e in events(story) if e.name == "Failed" and e["task"] == canonical.unhex32(task)]


def failed(story: Story, task: str) -> Event:
    """Why the only attempt of a task failed."""
    until(lambda: state(story, task) == FAILED)
    (found,) = failures(story, task)
    return found


def next_task_runs(story: Story) -> None:
    grants = story.grants()
    assert story.run(story.spec(grants), grants)[1] == "Proved"


def settled(story: Story, task: str, seconds: float = 90) -> str:
    """The state in which a task stays: `Failed` may be followed by another attempt."""
    give_up = time.monotonic() + seconds
    while True:
        found = story.alder.wait(task, 300)
        if found != "Failed" or time.monotonic() > give_up:
            return found
        time.sleep(0.5)


def test_a_killed_worker_fails_the_attempt_and_the_next_one_succeeds(story: Story) -> None:
    with running(story, attempts=3) as (task, _, worker):
        os.kill(worker, signal.SIGKILL)
    assert settled(story, task) == "Proved"
    first = failures(story, task)[0]
    assert (first["reason"], first["reporter"]) in {
        (Reason.WORKER, story.birch.account),
        (Reason.PEER_SILENT, story.alder.account),
        (Reason.PEER_SILENT, story.cedar.account),
        (Reason.PEER_ABORTED, story.alder.account),  # they give Birch's own report two seconds
        (Reason.PEER_ABORTED, story.cedar.account),
    }


@pytest.mark.slow
def test_a_hanging_node_is_accused_of_silence(story: Story) -> None:
    with running(story, attempts=1) as (task, _, worker), stopped(number(story.hospitals[2])):
        os.kill(worker, signal.SIGCONT)
        found = failed(story, task)
    assert (found["reason"], found["accused"]) == (Reason.PEER_SILENT, story.cedar.account)
    next_task_runs(story)


def test_a_killed_node_fails_the_run_and_takes_part_again(story: Story) -> None:
    cedar = story.hospitals[2]
    with running(story, attempts=1) as (task, _, worker):
        story.network.halt(cedar, by=signal.SIGKILL)
        with suppress(ProcessLookupError):  # Birch's node ends it as soon as the stream is down
            os.kill(worker, signal.SIGCONT)
        try:
            failed(story, task)
        finally:
            story.network.launch(cedar, link_seconds=PATIENCE)
    assert failed(story, task)["accused"] == story.cedar.account
    next_task_runs(story)


@pytest.mark.parametrize("function", ["suspend", "revoke grant"])
def test_authorisation_that_ends_in_a_run_ends_the_run(story: Story, function: str) -> None:
    governor = story.network.governor.chain
    with running(story, attempts=2) as (task, grants, worker):
        try:
            if function == "suspend":
                governor.send("ParticipantRegistry", "suspend", story.cedar.account, bytes(32))
            else:
                story.cedar.revoke_grant(grants[story.cedar.account].grant)
            assert failed(story, task)["reason"] == Reason.AUTHORISATION_ENDED
            until(lambda: worker not in workers(story.hospitals[1]))
        finally:
            if function == "suspend":
                governor.send("ParticipantRegistry", "reinstate", story.cedar.account)
    time.sleep(1)
    assert len(failures(story, task)) == 1  # and no second attempt
    next_task_runs(story)


@contextmanager
def about_to_start(story: Story) -> Iterator[tuple[str, dict[str, GrantFile], Callable[[], None]]]:
    """A task that all but the first hospital accepted, whose node is stopped; its grants, and what accepts it in its place."""
    grants = story.grants()
    spec = story.spec(grants, run_seconds=120, attempts=1)
    chain, proposal = story.cedar.chain, proposal_of(spec)
    task = canonical.hex32(proposal.id())
    request = node_pb2.SubmitTaskRequest(spec=spec.to_bytes(), grants=[each.to_bytes() for each in grants.values()])
    for account in spec.parties:
        story.alder.nodes.call(account, "SubmitTask", request, 60)
    with stopped(number(story.hospitals[0])):
        story.alder.chain.tasks.propose(proposal)
        own = spec.parties.index(story.alder.account)
        until(lambda: chain.tasks.task_at(proposal.id())["accepted"] == 0b111 & ~(1 << own))

        def start() -> None:
            signature = story.alder.signer.sign_digest(chain.tasks.acceptance_digest(proposal.id(), proposal.spec, 1))
            terms = [grants[account].terms.root() for account in spec.parties]
            chain.tasks.accept(proposal, 1, [own], [signature], terms)

        yield task, grants, start


@pytest.mark.slow
def test_authorisation_that_ended_before_the_node_read_of_the_start_ends_the_run(story: Story) -> None:
    """The start of a run and the end of its authorisation come to the node in one breath."""
    _, birch, cedar = map(number, story.hospitals)
    with about_to_start(story) as (task, grants, start), stopped(birch):
        with stopped(cedar):
            start()
            story.cedar.revoke_grant(grants[story.cedar.account].grant)
        found = failed(story, task)
    assert (found["reason"], found["reporter"]) == (Reason.AUTHORISATION_ENDED, story.cedar.account)
    next_task_runs(story)


@pytest.mark.slow
def test_operators_that_change_as_a_run_starts_end_it_and_nobody_is_accused(story: Story) -> None:
    """Some nodes might have read the one state of the chain and some the other."""
    with ExitStack() as halt:
        with about_to_start(story) as (task, _, _):
            halt.enter_context(stopped(number(story.hospitals[2])))
        until(lambda: state(story, task) == RUNNING)
        chain = story.cedar.chain
        operators.authorise(chain, story.network.governor.account, Scope.SIGN, chain.now() + 10_000)
    found = failed(story, task)
    assert (found["reason"], found["accused"]) == (Reason.CHANGED_AT_START, NOBODY)
    next_task_runs(story)


@pytest.mark.slow
def test_the_chain_killed_in_a_run_comes_back_and_the_task_ends(story: Story) -> None:
    local = story.network.local
    with running(story, attempts=1) as (task, _, _):
        local.save()
        local.kill()
    until(lambda: not any(workers(who) for who in story.hospitals))  # they have computed, and their proof must wait
    local.start()
    assert settled(story, task) == "Proved"
    next_task_runs(story)


@pytest.mark.slow
def test_every_node_killed_in_a_run_fails_it_and_all_come_back(story: Story) -> None:
    with running(story, attempts=1) as (task, _, worker):
        with stopped(*(number(who) for who in story.hospitals)):  # so that none sees another one go
            for who in story.hospitals:
                story.network.halt(who, by=signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)  # stopped so early that it may not yet have asked to end with its node
    story.network.launch(*story.hospitals, link_seconds=PATIENCE)
    assert failed(story, task)["reason"] == Reason.RESTARTED
    next_task_runs(story)


# -- a node that cannot start says why and ends


def attempt_to_start(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tallystick_node.app", "run", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


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
    assert f"the certificate is of {story.hospitals[2].account}, for which the signer" in ended.stderr
    assert "`tally operator authorise`" in ended.stderr


def test_check_describes_a_node_that_could_run(story: Story, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tallystick_node.app", "check", "--config", str(broken(story, tmp_path))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0
    assert story.birch.account in ended.stdout


# -- a training goes on


def kept(who: Institution, attempt: int) -> list[int]:
    """The rounds whose checkpoints an institution keeps of an attempt."""
    return [int(path.name.split("-")[0]) for path in who.folder.glob(f"**/runs/*-{attempt}/checkpoints/*-*")]


@pytest.mark.slow
def test_a_killed_owner_comes_back_and_the_training_ends_as_if_nothing_had_happened(story: Story, tmp_path: Path) -> None:
    """Birch dies by SIGKILL, whether it coordinates that round or another. The next attempt has other coordinators and goes on from
    the rounds that all parties kept; the model is, to the bit, that of a simulation in one process that nothing disturbed."""
    grants = story.grants(algorithms=["training"], columns=COLUMNS)
    asked = parameters()
    asked["schedule"] |= {"rounds": 40, "rate": "0.05"}
    columns = dict.fromkeys(grants, COLUMNS)
    spec = story.alder.draft(
        "training", asked, grants, columns, proof=PROJECTION_VERIFIED, receivers=[story.alder.account], purpose=PURPOSE,
        corruptions=2, attempts=3, run_seconds=120,
    )  # fmt: skip
    task = story.alder.submit(spec, grants.values())
    birch = story.hospitals[1]
    until(lambda: max(kept(birch, 1), default=0) >= 3)
    story.network.halt(birch, by=signal.SIGKILL)
    before = kept(birch, 1)
    assert max(before) < 40
    story.network.launch(birch, link_seconds=PATIENCE)
    assert number(birch)
    assert settled(story, task, 180) == "Proved"
    assert failures(story, task)
    assert not kept(birch, 1)  # moved on with the attempt
    paths = story.patiently(lambda: story.alder.result(task, tmp_path / "result"))
    card = json.loads(next(path for path in paths if path.name == "result.json").read_bytes())["values"]
    assert [each["round"] for each in card["history"]] == list(range(40))

    starts = [e for e in events(story) if e.name == "Started" and e["task"] == canonical.unhex32(task)]
    assert card["coordinators"]["block"] == starts[-1].block_hash != starts[0].block_hash
    assert sorted(card["coordinators"]["order"]) == sorted(spec.parties)
    owners = {who.account: client for who, client in zip(story.clients, story.hospitals, strict=True)}
    said = Parameters.parse(spec.parameters)
    tables = [open_table(owners[party].data / "clinical.csv", data.CLINICAL, tmp_path) for party in spec.parties]
    people = [client_of(said, table.select(said.columns), place) for place, table in enumerate(tables)]
    assert card["model"]["digest"] == said.federation.run(Simulation(people)).digest
    log = "".join(path.read_text(errors="replace") for path in birch.folder.rglob("*.log"))
    assert "Traceback" not in log
