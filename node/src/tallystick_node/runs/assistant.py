"""Local work beside a worker: a process that has it done by further processes, or by the institution's own Dask cluster.

``python -m tallystick_node.runs.assistant FD PLACE``. A worker is confined and reaches no network, so its node starts this process
beside it, joined to it by a socket, and ends it with the worker. What comes over the socket is arrays and the name of a work
(:mod:`tallystick_node.engines.local_work`), never code. With ``processes:N`` every process that does a piece is confined like a
worker. With ``dask:tls://HOST:PORT`` pieces go to that scheduler, whose workers have this distribution installed, and which TLS
with Dask's own configuration protects; without TLS only a scheduler on this machine is taken. Dask reads what the cluster answers
by pickle, so that the cluster can run code in this process, which is not confined then: it is trusted as the node's machine is.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import queue
import socket
import struct
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tallystick.protocol.errors import Configuration

from tallystick_node.engines.local_work import Arrays, LocalWorkFailed, perform
from tallystick_node.runs.confinement import confine
from tallystick_node.runs.place import Place

LARGEST = 64 << 20  # bytes of a piece or an answer

_HEAD = struct.Struct("<IQ")  # bytes of the description, and of the arrays
_KINDS = ("|u1", "<u8", "<i8")
_DESCRIPTION = 4096
_FAILED = "failed"


class Assistant:
    """The worker's end: an Executor."""

    def __init__(self, connection: socket.socket, ahead: int) -> None:
        self._connection, self._ahead = connection, ahead

    def map(self, work: str, pieces: Iterable[Arrays]) -> Iterator[NDArray[Any]]:
        """See :class:`tallystick_node.engines.local_work.Executor`. Raises LocalWorkFailed."""
        under_way = 0
        for piece in pieces:
            if under_way == self._ahead:
                yield self._answer()
                under_way -= 1
            try:
                _send(self._connection, work, piece)
            except OSError:  # it said why before it went, unless it died
                while True:
                    self._answer()
            under_way += 1
        for _ in range(under_way):
            yield self._answer()

    def _answer(self) -> NDArray[Any]:
        try:
            said, arrays = _receive(self._connection)
        except (OSError, EOFError, ValueError):
            raise LocalWorkFailed("the process that has local work done died") from None
        if len(arrays) != 1:
            raise LocalWorkFailed(f"local work failed: {said}")
        return arrays[0]


class Pool(Protocol):
    """What does pieces: a pool of processes, or a client of Dask."""

    def submit(self, function: Any, /, *arguments: Any) -> Any:
        """A future of the answer."""


def serve(connection: socket.socket, pool: Pool) -> None:
    """Have done what comes over the connection, and answer in its order, until the other end is gone."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    answering = threading.Thread(target=_answer_all, args=(connection, waiting), daemon=True)
    answering.start()
    try:
        while True:
            work, piece = _receive(connection)
            waiting.put(pool.submit(perform, work, piece))
    except (EOFError, OSError, ValueError):
        waiting.put(None)
    answering.join()


def _answer_all(connection: socket.socket, waiting: queue.SimpleQueue[Any]) -> None:
    while (future := waiting.get()) is not None:
        try:
            answer = future.result()
        except Exception as error:  # noqa: BLE001 - whatever it was, the worker is told its kind and none of its words
            _send(connection, f"{_FAILED} with {type(error).__name__}", ())
            connection.shutdown(socket.SHUT_RDWR)
            return
        _send(connection, "", (answer,))


def pool_of(place: Place) -> Pool:
    """What does the pieces of a place. Raises Configuration when Dask is not installed or its scheduler does not answer."""
    if place.kind == "processes":
        return ProcessPoolExecutor(place.processes, multiprocessing.get_context("spawn"), initializer=confine)
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise Configuration(
            "local_work: Dask is not installed", remedy="install the package distributed in the node's environment"
        ) from None
    return _Dask(distributed.Client(place.scheduler, set_as_default=False))


class _Dask:
    def __init__(self, client: Any) -> None:
        self._client = client

    def submit(self, function: Any, /, *arguments: Any) -> Future[Any]:
        future: Future[Any] = self._client.submit(function, *arguments, pure=False)
        return future


def _send(connection: socket.socket, words: str, arrays: Arrays) -> None:
    contiguous = [np.ascontiguousarray(each) for each in arrays]
    description = json.dumps([words, [[each.dtype.str, list(each.shape)] for each in contiguous]]).encode()
    size = sum(each.nbytes for each in contiguous)
    connection.sendall(_HEAD.pack(len(description), size) + description)
    for each in contiguous:
        connection.sendall(each.reshape(-1).view(np.uint8).data)


def _receive(connection: socket.socket) -> tuple[str, Arrays]:
    """Words and arrays that :func:`_send` sent. Raises EOFError at the end, ValueError for anything else."""
    length, size = _HEAD.unpack(_exactly(connection, _HEAD.size))
    if length > _DESCRIPTION or size > LARGEST:
        raise ValueError("a piece is too large")
    match json.loads(_exactly(connection, length)):
        case [str(words), [*described]] if all(isinstance(each, list) and len(each) == 2 for each in described):
            pass
        case _:
            raise ValueError("no description of a piece")
    content, start, arrays = _exactly(connection, size), 0, []
    for kind, shape in described:
        if (
            kind not in _KINDS
            or not isinstance(shape, list)
            or len(shape) > 2
            or not all(isinstance(each, int) and 0 <= each <= LARGEST for each in shape)
        ):
            raise ValueError("no array of such a kind")
        count = int(np.prod(shape, dtype=np.int64))
        arrays.append(np.frombuffer(content, kind, count, start).reshape(shape))
        start += arrays[-1].nbytes
    if start != size:
        raise ValueError("a piece of another length than its arrays have")
    return words, tuple(arrays)


def _exactly(connection: socket.socket, size: int) -> bytearray:
    content = bytearray(size)
    view = memoryview(content)
    while view:
        got = connection.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
    return content


def main() -> None:
    """Entry point."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    try:
        pool = pool_of(Place.parse(sys.argv[2]))
    except Exception as error:  # noqa: BLE001 - a scheduler may fail in any way
        words = error.message if isinstance(error, Configuration) else f"the scheduler is not reached: {type(error).__name__}"
        _send(connection, words, ())
        os._exit(1)
    serve(connection, pool)
    os._exit(0)


if __name__ == "__main__":
    main()
