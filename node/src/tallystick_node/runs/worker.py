"""The worker process of one run: ``python -m tallystick_node.runs.worker FD``, with its job as JSON on standard input.

It holds the party's rows and nothing else: no key, no network (:mod:`confinement`), an empty environment. It talks to its node
over the socket ``FD`` and ends with one OUTCOME or ERROR frame. It dies with its node.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import queue
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import InvalidData, OutputRefused, TallystickError
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec

from tallystick_node.data.connect import open_table
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, Session
from tallystick_node.evidence.transcript import Transcript
from tallystick_node.runs.confinement import confine
from tallystick_node.runs.frames import HEADER, MAX_BODY, Kind, pack
from tallystick_node.workloads.registry import workload_named


class Pipe:
    """The socket to the node, shared by all channels."""

    def __init__(self, fd: int, peers: list[int], seconds: float) -> None:
        self._socket = socket.socket(fileno=fd)
        self._lock = threading.Lock()
        self._queues: dict[int, queue.Queue[bytes | str]] = {peer: queue.Queue(64) for peer in peers}
        self._seconds = seconds
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, kind: Kind, peer: int, body: bytes | memoryview = b"") -> None:
        """Write one frame."""
        with self._lock:
            self._socket.sendall(pack(kind, peer, body))

    def receive(self, peer: int) -> bytes:
        """The next message of a peer. Raises ChannelError."""
        try:
            item = self._queues[peer].get(timeout=self._seconds)
        except queue.Empty:
            raise ChannelError(peer, f"sent nothing for {self._seconds:g} s") from None
        if isinstance(item, str):
            self._queues[peer].put(item)
            raise ChannelError(peer, item)
        return item

    def _read(self) -> None:
        while True:
            header = self._exactly(HEADER.size)
            if header is None:
                os._exit(0)  # the node is gone: nothing that this process still does is wanted
            kind, peer, size = HEADER.unpack(header)
            body = self._exactly(size) if size <= MAX_BODY else None
            if body is None or peer not in self._queues:
                os._exit(0)
            self._queues[peer].put(body.decode() if kind == Kind.LOST else body)

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            part = self._socket.recv(min(size - len(parts), 1 << 20))
            if not part:
                return None
            parts += part
        return bytes(parts)


class PipeChannel:
    """One peer, seen through the pipe, with the transcript of each direction.

    The transcript is kept here and not where frames arrive, so that a phase mark falls between the same messages at both ends.
    """

    def __init__(self, peer: int, pipe: Pipe) -> None:
        self.peer = peer
        self._pipe = pipe
        self.sent = Transcript()
        self.received = Transcript()

    def send(self, message: bytes | bytearray | memoryview) -> None:
        """Send one message."""
        self.sent.message(message)
        self._pipe.send(Kind.DATA, self.peer, memoryview(message))

    def receive(self) -> bytes:
        """The next message. Raises ChannelError."""
        message = self._pipe.receive(self.peer)
        self.received.message(message)
        return message

    def receive_into(self, view: memoryview) -> int:
        """The next message, written into ``view`` when it has its length."""
        message = self.receive()
        if len(message) == len(view):
            view[:] = message
        return len(message)

    def mark(self, phase: str) -> None:
        """Mix a phase into the transcripts."""
        self.sent.mark(phase)
        self.received.mark(phase)


def run(job: dict[str, Any], pipe: Pipe) -> dict[str, Any]:
    """Run the party's side; the outcome as JSON."""
    spec = TaskSpec.parse(base64.b64decode(job["spec"]))
    party, index = job["party"], spec.parties.index(job["party"])
    workload = workload_named(spec.workload)
    table = None
    if spec.input_of(party) is not None:
        columns = [Column.from_json(column) for column in job["columns"]]
        wanted = list(workload.columns(spec, party))
        table = open_table(Path(job["path"]), columns).select(wanted)
    channels: dict[int, Any] = {peer: PipeChannel(peer, pipe) for peer in range(len(spec.parties)) if peer != index}

    def progress(phase: str, fraction: float) -> None:
        pipe.send(Kind.PROGRESS, 0, json.dumps([phase, fraction]).encode())

    context = hashlib.sha256(spec.digest() + job["attempt"].to_bytes(4, "big")).digest()
    session = Session(index, dict(channels), progress, context)
    outcome = workload.run(spec, party, table, session, Path(job["scratch"]))
    return {
        "commitment": outcome.commitment,
        "commitments": list(outcome.all_commitments),
        "values": outcome.result,
        "opening": outcome.opening,
        "files": {name: str(path) for name, path in outcome.files.items()},
        "sent": {str(peer): channel.sent.summary() for peer, channel in channels.items()},
        "received": {str(peer): channel.received.summary() for peer, channel in channels.items()},
    }


def problem_of(error: BaseException) -> dict[str, Any]:
    """What the node gets to know of an error: a reason code, whom it accuses, and words without data."""
    if isinstance(error, ProtocolViolation):
        return {"reason": Reason.PEER_VIOLATION, "peer": error.peer, "message": error.rule}
    if isinstance(error, ChannelError):
        return {"reason": Reason.PEER_SILENT, "peer": error.peer, "message": error.rule}
    if isinstance(error, OutputRefused):
        return {"reason": Reason.OUTPUT_POLICY, "message": error.message, "remedy": error.remedy}
    if isinstance(error, InvalidData):
        return {"reason": Reason.DATA, "message": error.message, "remedy": error.remedy}
    if isinstance(error, TallystickError):
        return {"reason": Reason.INTERNAL, "message": error.message, "remedy": error.remedy}
    return {"reason": Reason.WORKER, "message": f"the worker failed with {type(error).__name__}"}


def main() -> None:
    """Entry point."""
    job = json.load(sys.stdin)
    pipe = Pipe(int(sys.argv[1]), [p for p in range(job["parties"]) if p != job["index"]], job["seconds"])
    try:
        confine()
        outcome = run(job, pipe)
        pipe.send(Kind.OUTCOME, 0, json.dumps(outcome).encode())
    except BaseException as error:
        pipe.send(Kind.ERROR, 0, json.dumps(problem_of(error)).encode())
        if os.environ.get("TALLYSTICK_WORKER_TRACE"):
            raise
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
