"""Parties as processes of their own, joined by the channels of a real run: mutual TLS 1.3 over loopback, transcripts on.

What :func:`measure` is given runs in fresh interpreters, so it is found by its module and name; further arguments go in by
``functools.partial``. Libraries get one thread each: all parties share this machine.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import socket
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from tallystick_node.engines.channel import Meter, Session
from tallystick_node.peers.direct import Credential, tune
from tallystick_node.runs.sockets import SocketChannel, Sockets, Terms, shake_hands

ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
SECONDS = 600.0  # that a party may be silent, or late at the barrier

Setup = Callable[[Session], Any]
Work = Callable[[Session, Any], Any]
Check = Callable[[Session, Any, Any], None]


@dataclass(frozen=True)
class Measured:
    """Repetitions of one work; the first, which compiles and warms up, is left out."""

    seconds: tuple[float, ...]  # from the barrier to the end of the last party
    cpu: tuple[float, ...]  # user and system seconds of all parties together
    bytes: int  # sent by all parties together, in one repetition
    messages: int  # sent by the party that sends most
    rounds: int  # of the party with most
    memory: int  # bytes: the largest resident set of a party, interpreter and libraries included

    @property
    def best(self) -> float:
        """The fastest repetition."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The repetition in the middle."""
        return statistics.median(self.seconds)

    def row(self) -> dict[str, Any]:
        """For a benchmark's JSON."""
        return {
            "seconds": round(self.median, 5),
            "best": round(self.best, 5),
            "cpu": round(statistics.median(self.cpu), 5),
            "bytes": self.bytes,
            "messages": self.messages,
            "rounds": self.rounds,
            "memory_mb": self.memory >> 20,
        }


def measure(parties: int, setup: Setup, work: Work, repeats: int, check: Check | None = None) -> Measured:
    """Run ``setup`` once at each party, then ``work`` on what it returned, ``repeats + 1`` times, all parties at once; then
    ``check`` on the last result. Raises RuntimeError with the tracebacks of all parties that fail."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(parties)
    answers, processes = [], []
    with _one_thread():
        for index, ends in enumerate(_links(parties)):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (index, ends, setup, work, check, repeats, barrier, theirs)
            process = context.Process(target=_party, args=arguments, daemon=True)
            process.start()
            theirs.close()
            for connection, _ in ends.values():
                connection.close()
            answers.append(ours)
            processes.append(process)
    try:
        found = _answers(answers, barrier)
    finally:
        for process in processes:
            process.kill()
            process.join()
    failures = [each["failure"] for each in found if "failure" in each]
    if failures:  # the others' too: they say only that a link was closed, and may come first
        raise RuntimeError("\n".join(failures))
    return _together(found)


def _answers(pipes: list[Any], barrier: Any) -> list[dict[str, Any]]:
    """What every party says last. One that dies cannot tell those who wait for it at the barrier."""
    found: dict[int, dict[str, Any]] = {}
    while len(found) < len(pipes):
        for pipe in wait([each for index, each in enumerate(pipes) if index not in found]):
            index = pipes.index(pipe)
            found[index] = _answer(index, pipe)
            if "failure" in found[index]:
                barrier.abort()
    return [found[index] for index in range(len(pipes))]


def _answer(index: int, pipe: Any) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = pipe.recv()
    except EOFError:
        return {"failure": f"party {index} died"}
    return answer


def _together(found: list[dict[str, Any]]) -> Measured:
    runs = list(zip(*(each["runs"] for each in found), strict=True))[1:]
    last = runs[-1]
    return Measured(
        seconds=tuple(max(one["end"] for one in run) - min(one["begin"] for one in run) for run in runs),
        cpu=tuple(sum(one["cpu"] for one in run) for run in runs),
        bytes=sum(one["bytes"] for one in last),
        messages=max(one["messages"] for one in last),
        rounds=max(one["rounds"] for one in last),
        memory=max(each["memory"] for each in found),
    )


def _party(
    index: int, ends: dict[int, Any], setup: Setup, work: Work, check: Check | None, repeats: int, barrier: Any, pipe: Any
) -> None:
    try:
        meter, sockets = Meter(), Sockets(SECONDS)
        channels = {peer: SocketChannel(peer, sockets, *end, meter) for peer, end in ends.items()}
        shake_hands(channels.values())
        session = Session(index, {**channels}, meter=meter)
        state, result, runs = setup(session), None, []
        for _ in range(repeats + 1):
            before = _counts(meter)
            barrier.wait(SECONDS)
            begin, cpu = time.perf_counter(), time.process_time()
            result = work(session, state)
            end, cpu = time.perf_counter(), time.process_time() - cpu
            counts = {name: count - before[name] for name, count in _counts(meter).items()}
            runs.append({"begin": begin, "end": end, "cpu": cpu, **counts})
        if check is not None:
            check(session, state, result)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        pipe.send({"runs": runs, "memory": memory})
    except BaseException:
        barrier.abort()
        pipe.send({"failure": f"party {index}: {traceback.format_exc()}"})


def _counts(meter: Meter) -> dict[str, int]:
    steps = meter.steps.values()
    return {name: sum(getattr(step, name) for step in steps) for name in ("bytes", "messages", "rounds")}


def _links(parties: int) -> Iterator[dict[int, tuple[socket.socket, Terms]]]:
    """Each party's ends, as the nodes of a run make them. Every end lives until its party has started."""
    every: list[dict[int, tuple[socket.socket, Terms]]] = [{} for _ in range(parties)]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for low in range(parties):
            for high in range(low + 1, parties):
                near = socket.create_connection(listening.getsockname())
                far, _ = listening.accept()
                one, two = Credential.make(), Credential.make()
                every[low][high] = (near, Terms(False, one.key, one.certificate, two.certificate))
                every[high][low] = (far, Terms(True, two.key, two.certificate, one.certificate))
                tune(near)
                tune(far)
    yield from every


@contextmanager
def _one_thread() -> Iterator[None]:
    kept = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
