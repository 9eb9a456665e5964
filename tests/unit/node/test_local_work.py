"""Local work beside a worker: the same answers wherever it is done, and what becomes of pieces that are none."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tallystick.protocol.errors import Configuration
from tallystick_node.engines import local_work
from tallystick_node.engines.local_work import HERE, LocalWorkFailed, perform
from tallystick_node.engines.psi import points, unbalanced
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.labels import Labels
from tallystick_node.runs import assistant as module
from tallystick_node.runs.assistant import Assistant, serve
from tallystick_node.runs.place import Place
from tallystick_node.runs.workers import Worker

ITEMS = Items.of(f"id-{number}".encode() for number in range(70))
SCALAR = unbalanced.curve25519.random_scalar()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "BATCH", 16)


def pieces() -> Iterator[local_work.Arrays]:
    return points.pieces(ITEMS, b"s" * 32, SCALAR)


@pytest.fixture
def expected() -> bytes:
    return b"".join(each.tobytes() for each in HERE.map(points.WORK, pieces()))


@contextmanager
def served(ahead: int = 2) -> Iterator[Assistant]:
    """An assistant of threads of this process, which are told of its end."""
    near, far = socket.socketpair()
    with near, far, ThreadPoolExecutor(2) as pool:
        serving = threading.Thread(target=serve, args=(far, pool))
        serving.start()
        yield Assistant(near, ahead)
        near.close()
        serving.join()


@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_answers_come_in_the_order_of_the_pieces(expected: bytes, ahead: int) -> None:
    with served(ahead) as assistant:
        for _ in range(2):
            assert b"".join(each.tobytes() for each in assistant.map(points.WORK, pieces())) == expected


def test_pieces_are_taken_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def watched() -> Iterator[local_work.Arrays]:
        for number, piece in enumerate(pieces()):
            taken.append(number)
            yield piece

    with served(2) as assistant:
        answers = assistant.map(points.WORK, watched())
        next(answers)
        assert taken == [0, 1, 2]
        assert len(list(answers)) == 4


def test_a_prepared_set_is_the_same_wherever_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unbalanced.curve25519, "random_scalar", lambda: SCALAR)
    with served() as assistant:
        there = unbalanced.prepare(ITEMS, bytes(32), executor=assistant)
    here = unbalanced.prepare(ITEMS, bytes(32))
    assert here.digest == there.digest


class Erring:
    """Does the work, and changes the answers, all 16 rows of a piece alike: whichever is looked at is wrong."""

    def __init__(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self.change = change

    def map(self, work: str, given: Iterator[local_work.Arrays]) -> Iterator[np.ndarray]:
        return (changed for each in HERE.map(work, given) if len(changed := self.change(each)))


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made[:-1],
        lambda made: made[:0],
        lambda made: made[:1],
        lambda made: made[:, :31],
        lambda made: made.view(np.uint64),
        np.zeros_like,
        lambda made: np.roll(made, 1, axis=0),
        lambda made: made ^ np.uint8(1),
    ],
)
def test_labels_do_not_leave_where_points_are_missing_or_wrong(change: Callable[[np.ndarray], np.ndarray]) -> None:
    """What is not masked, or masked by what an asker can guess, would reach it."""
    labels = Labels(4, np.zeros((len(ITEMS), 4), np.uint8))
    with pytest.raises(LocalWorkFailed, match="local work answered with other"):
        unbalanced.prepare(ITEMS, bytes(32), labelled=labels, executor=Erring(change))


@pytest.mark.parametrize("work", ["os.system", "psi/../points", ""])
def test_only_works_that_are_listed_are_done(work: str) -> None:
    with pytest.raises(ValueError, match="no such work"):
        perform(work, (np.zeros(1, np.uint8),))
    with served() as assistant, pytest.raises(LocalWorkFailed, match="failed with ValueError"):
        list(assistant.map(work, [(np.zeros(1, np.uint8),)]))


def frame(description: bytes, content: bytes) -> bytes:
    return struct.pack("<IQ", len(description), len(content)) + description + content


@pytest.mark.parametrize(
    "message",
    [
        frame(b'["psi/points", [["|O", [1]]]]', bytes(8)),
        frame(b'["psi/points", [["|u1", [-1]]]]', b"x"),
        frame(b'["psi/points", [["|u1", [2]]]]', b"x"),
        frame(b'["psi/points", [["|u1", [1]]]]', b"xy"),
        frame(b'["psi/points", [["|u1", [1, 1, 1]]]]', b"x"),
        frame(b'["psi/points", [["|u1", 1]]]', b"x"),
        frame(b'["psi/points", {"|u1": 1}]', b"x"),
        frame(b"[]", b""),
        frame(b"\xff", b""),
        struct.pack("<IQ", 1 << 20, 0),
        struct.pack("<IQ", 2, 1 << 40),
    ],
)
def test_what_is_no_piece_ends_the_assistant(message: bytes) -> None:
    near, far = socket.socketpair()
    with near, far, ThreadPoolExecutor(1) as pool:
        near.sendall(message)
        near.shutdown(socket.SHUT_WR)
        serve(far, pool)
        far.shutdown(socket.SHUT_RDWR)
        assert near.recv(1) == b""


def test_an_assistant_that_went_is_heard() -> None:
    """Where its scheduler is not reached it has gone before there is a piece for it."""
    near, far = socket.socketpair()
    with near:
        module._send(far, "", (np.zeros(1, np.uint8),))
        module._send(far, "the scheduler is not reached: OSError", ())
        far.close()
        with pytest.raises(LocalWorkFailed, match="scheduler is not reached"):
            list(Assistant(near, 2).map(points.WORK, pieces()))


def test_an_assistant_that_died_is_named() -> None:
    near, far = socket.socketpair()
    with near:
        far.close()
        with pytest.raises(LocalWorkFailed, match="died"):
            list(Assistant(near, 2).map(points.WORK, pieces()))


def children(process: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_processes_do_the_work_and_end_with_the_assistant(expected: bytes) -> None:
    near, far = socket.socketpair()
    with near:
        command = [sys.executable, "-m", "tallystick_node.runs.assistant", str(far.fileno()), "processes:1"]
        process = subprocess.Popen(command, pass_fds=[far.fileno()])
        far.close()
        found = b"".join(each.tobytes() for each in Assistant(near, 4).map(points.WORK, pieces()))
        working = children(process.pid)
    assert found == expected
    assert len(working) >= 1
    assert process.wait(60) == 0  # at the end of the connection
    give_up = time.monotonic() + 60
    while not all(gone(each) for each in working):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_an_assistant_ends_with_its_worker() -> None:
    async def both() -> Worker:
        worker = await Worker.start("processes:1")
        await worker.end()
        return worker

    worker = asyncio.run(both())
    assert worker.assistant is not None
    assert worker.process.returncode == -signal.SIGKILL
    assert worker.assistant.returncode in (0, -signal.SIGKILL)  # it may have seen the worker end


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("worker", Place("worker")),
        ("processes:2", Place("processes", 2)),
        ("dask:tls://scheduler.bank.example:8786", Place("dask", scheduler="tls://scheduler.bank.example:8786")),
        ("dask:tcp://127.0.0.1:8786", Place("dask", scheduler="tcp://127.0.0.1:8786")),
        ("dask:tcp://[::1]:8786", Place("dask", scheduler="tcp://[::1]:8786")),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert Place.parse(text) == place


@pytest.mark.parametrize(
    "text", ["", "processes", "processes:0", "processes:65", "ray:x", "dask:scheduler:8786", "dask:http://a:1"]
)
def test_other_words_are_no_place(text: str) -> None:
    with pytest.raises(Configuration, match="no place for work"):
        Place.parse(text)


@pytest.mark.parametrize("host", ["10.0.0.7", "scheduler.bank.example", "127.0.0.1.example", "[2001:db8::1]"])
def test_keys_do_not_travel_in_the_clear(host: str) -> None:
    with pytest.raises(Configuration, match="in the clear"):
        Place.parse(f"dask:tcp://{host}:8786")


def test_without_dask_the_node_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(Configuration, match="Dask is not installed"):
        module.pool_of(Place.parse("dask:tcp://127.0.0.1:8786"))


def test_a_cluster_of_dask_does_the_work(expected: bytes) -> None:
    distributed = pytest.importorskip(
        "distributed", reason="Dask is an institution's own: install the package distributed to test it"
    )
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        pool = module.pool_of(Place.parse(f"dask:{cluster.scheduler_address}"))
        near, far = socket.socketpair()
        with near, far:
            serving = threading.Thread(target=serve, args=(far, pool))
            serving.start()
            found = b"".join(each.tobytes() for each in Assistant(near, 3).map(points.WORK, pieces()))
            near.close()
            serving.join()
    assert found == expected
