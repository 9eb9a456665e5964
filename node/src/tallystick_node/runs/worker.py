"""The worker process of one run: ``python -m tallystick_node.runs.worker FD [ASSISTANT PLACE]``.

It takes its job, as JSON, from its node over the socket ``FD``, and with it the connections to its peers. Until the job comes it
imports what workloads need and loads the machine code of their kernels, and then sleeps: so that one that was started ahead of
its run (:mod:`workers`) need not when there is one. It is confined from its first moment, before it knows whose run it serves.

It holds the party's rows, the connected sockets to its peers' workers, and the keys that exist for these links alone: not the
institution's key, no way to another network address (:mod:`confinement`), an empty environment. Its peers have proved themselves
before it opens a row. It tells its node how it goes over ``FD`` and ends with one OUTCOME or ERROR frame. It dies with its node.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tallystick.attestation.standing import Standing
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import Configuration, InvalidData, OutputRefused, TallystickError
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec

from tallystick_node.data.commit import row_hashes
from tallystick_node.data.connect import open_table
from tallystick_node.engines.answers import Answers
from tallystick_node.engines.channel import ChannelError, Meter, ProtocolViolation, Registered, Session
from tallystick_node.engines.local_work import HERE, Executor, LocalWorkFailed
from tallystick_node.engines.mpc.ring import OutOfRange
from tallystick_node.engines.store import Store, StoreFull
from tallystick_node.runs.assistant import Assistant
from tallystick_node.runs.confinement import confine
from tallystick_node.runs.frames import HEADER, Kind, pack
from tallystick_node.runs.place import Place
from tallystick_node.runs.session_key import identity
from tallystick_node.runs.sockets import SocketChannel, Sockets, Terms, shake_hands
from tallystick_node.workloads.registry import OURS, workload_named

MAX_LINKS = 64  # more than a task may have parties


class Pipe:
    """The socket to the node."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def send(self, kind: Kind, body: Any) -> None:
        """Write one frame."""
        self._socket.sendall(pack(kind, json.dumps(body).encode()))

    def is_waited_for(self) -> bool:
        """Whether the job is there, or the node gone."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def job(self) -> dict[str, Any]:
        """Wait for the job; each of its links holds its ``descriptor``. Ends the process when the node is gone."""
        head, descriptors, flags, _ = socket.recv_fds(self._socket, HEADER.size, MAX_LINKS)
        if len(head) < HEADER.size:
            os._exit(0)
        kind, size = HEADER.unpack(head)
        content = bytearray()
        while part := self._socket.recv(min(size - len(content), 1 << 20)):
            content += part
        if len(content) < size:
            os._exit(0)
        if kind != Kind.JOB or flags & socket.MSG_CTRUNC:
            raise ValueError("no job with all its descriptors")
        job: dict[str, Any] = json.loads(content)
        job["launcher"] = descriptors.pop() if job.get("launches") else None
        for link, descriptor in zip(job["links"], descriptors, strict=True):
            link["descriptor"] = descriptor
        return job


def prepare(pipe: Pipe) -> None:
    """Import every workload and load the machine code of its kernels, as far as the job leaves time."""
    for name in OURS:
        if pipe.is_waited_for():
            return
        workload_named(name)
    from tallystick_node.engines import compiled  # here: not every workload needs a compiler

    for _ in compiled.load():
        if pipe.is_waited_for():
            return


def connect(job: dict[str, Any], meter: Meter) -> dict[int, SocketChannel]:
    """The channels to all peers, each of which has shown the certificate that its node announced. Raises ChannelError."""
    sockets = Sockets(job["seconds"])
    channels = {}
    for link in job["links"]:
        certificate, announced = (base64.b64decode(link[name]) for name in ("certificate", "peer_certificate"))
        terms = Terms(link["listens"], link["key"].encode(), certificate, announced)
        connection = socket.socket(fileno=link["descriptor"])
        channels[link["peer"]] = SocketChannel(link["peer"], sockets, connection, terms, meter)
    shake_hands(channels.values())
    return channels


def run(job: dict[str, Any], pipe: Pipe, executor: Executor) -> dict[str, Any]:
    """Run the party's side; the outcome as JSON. ``executor`` does its local work."""
    spec = TaskSpec.parse(base64.b64decode(job["spec"]))
    party, index = job["party"], spec.parties.index(job["party"])
    # What takes seconds to import is imported before the handshake, on purpose: a peer gives a process that starts thirty seconds,
    # and less to one that has shown its certificate.
    workload = workload_named(spec.workload)
    meter = Meter()
    channels = connect(job, meter)
    table, answers = None, None
    versions = {spec.parties.index(name): bytes.fromhex(version) for name, version in job["versions"].items()}
    if spec.input_of(party) is not None:
        columns = [Column.from_json(column) for column in job["columns"]]
        whole = open_table(Path(job["path"]), columns, Path(job["scratch"]))
        table = whole.select(list(workload.columns(spec, party)))
        folder, most = job["answers"]
        answers = Answers(Path(folder), versions[index], partial(row_hashes, whole, columns), most)
    key, voucher = job["session_key"]
    session = Session(
        index,
        {**channels},
        lambda *step: pipe.send(Kind.PROGRESS, step),
        bytes.fromhex(job["context"]),
        meter,
        lambda peer: channels[peer].wait(),
        Store(Path(job["scratch"])),
        beacon=bytes.fromhex(job["beacon"]),
        identity=identity(bytes.fromhex(key), bytes.fromhex(voucher), bytes.fromhex(job["context"]), job["signers"]),
        versions=versions,
        kept=Path(job["kept"]),
        launcher=None if job["launcher"] is None else socket.socket(fileno=job["launcher"]),
        standing=None if job["standing"] is None else Standing.from_json(job["standing"]),
        executor=executor,
        registered=Registered(*map(bytes.fromhex, job["registered"])) if "registered" in job else None,
        answers=answers,
    )
    outcome = workload.run(spec, party, table, session, Path(job["scratch"]))
    return {
        "commitment": outcome.commitment,
        "commitments": list(outcome.all_commitments),
        "values": outcome.result,
        "contribution": outcome.contribution,
        "contributions": list(outcome.all_contributions),
        "absent": list(outcome.absent),
        "to_vouch": outcome.to_vouch and {name: value.hex() for name, value in vars(outcome.to_vouch).items()},
        "opening": outcome.opening,
        "files": {name: str(path) for name, path in outcome.files.items()},
        "sent": {str(peer): channel.sent.summary() for peer, channel in channels.items()},
        "received": {str(peer): channel.received.summary() for peer, channel in channels.items()},
        "steps": {name: [step.messages, step.bytes, step.rounds] for name, step in meter.steps.items() if step.messages},
    }


def problem_of(error: BaseException) -> dict[str, Any]:
    """What the node gets to know of an error: a reason code, whom it accuses, and words without data."""
    if isinstance(error, ProtocolViolation):
        return {"reason": Reason.PEER_VIOLATION, "peer": error.peer, "message": error.rule}
    if isinstance(error, ChannelError):
        return {"reason": Reason.PEER_SILENT, "peer": error.peer, "message": error.rule}
    if isinstance(error, OutOfRange):
        return {"reason": Reason.DATA, "message": str(error), "remedy": "scale the columns, or declare more bits"}
    if isinstance(error, OutputRefused):
        return {"reason": Reason.OUTPUT_POLICY, "rule": error.rule, "message": error.message, "remedy": error.remedy}
    if isinstance(error, InvalidData):
        return {"reason": Reason.DATA, "message": error.message, "remedy": error.remedy}
    if isinstance(error, StoreFull):
        return {"reason": Reason.WORKER, "message": str(error), "remedy": "make room on the disk of the node's run folders"}
    if isinstance(error, LocalWorkFailed):
        return {"reason": Reason.WORKER, "message": str(error), "remedy": "look at the setting local_work, and at what it names"}
    if isinstance(error, TallystickError):
        return {"reason": Reason.INTERNAL, "message": error.message, "remedy": error.remedy}
    return {"reason": Reason.WORKER, "message": f"the worker failed with {type(error).__name__}"}


def main() -> None:
    """Entry point."""
    pipe = Pipe(int(sys.argv[1]))
    executor: Executor = HERE
    if len(sys.argv) > 2:
        executor = Assistant(socket.socket(fileno=int(sys.argv[2])), Place.parse(sys.argv[3]).ahead)
    unconfined: Configuration | None = None
    try:
        confine()
        with contextlib.suppress(Exception):  # a run that needs what fails here will say so
            prepare(pipe)
    except Configuration as error:
        unconfined = error
    job = pipe.job()
    try:
        if unconfined is not None:
            raise unconfined
        pipe.send(Kind.OUTCOME, run(job, pipe, executor))
    except BaseException as error:  # noqa: BLE001 - whatever ended it, the node is told
        pipe.send(Kind.ERROR, problem_of(error))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
