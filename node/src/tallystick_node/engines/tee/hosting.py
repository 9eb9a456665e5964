"""The process in which the host of a task launches its enclave, and the worker's end of the way to it.

The worker of a run can start no process. So its node starts this one beside it, ``python -m`` with this name and the number of a
socket, and gives the worker the other end. It takes one enclave's manifest, attests its key as often as it is asked to, runs it
once, and ends with the socket. It holds the simulated authority, or asks the environment that it is in; an input reaches it sealed.
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from subprocess import CalledProcessError, TimeoutExpired
from types import MappingProxyType
from typing import Any

from tallystick.attestation.simulation.authority import ProvisioningAuthority

from tallystick_node.engines.tee.enclave import Enclave, EnclaveFailed, EnclaveRefused, TaskRun
from tallystick_node.engines.tee.frames import Stream, StreamBroken
from tallystick_node.engines.tee.manifest import EnclaveManifest, Limits
from tallystick_node.engines.tee.platforms import DAY, DEVICES, Devices, Platform, hardware, simulated

AUTHORITY, LAUNCH, CODE, READY, ATTEST, EVIDENCE = b"A", b"L", b"C", b"R", b"N", b"E"
RECEIVER, INPUT, RELEASED, COMPUTE, OUTPUT, DONE, REFUSED, FAILED = b"V", b"I", b"K", b"W", b"O", b"D", b"X", b"F"
START, FOREVER = 600.0, 365 * 86_400.0  # seconds: platform, listing of what an enclave loads and enclave have 180 each
_HEAD = 1 << 20
_FRAME = 64 << 20


class HostedEnclave:
    """The worker's end: an enclave of ``manifest``, launched by the process at the other end of ``connection``.

    ``public_key`` is that of the enclave. Raises EnclaveRefused where it does not start.
    """

    def __init__(self, connection: socket.socket, manifest: EnclaveManifest) -> None:
        self._stream, self._frame = Stream(connection, START), manifest.limits.frame
        head = {"kind": manifest.kind, "publisher": manifest.publisher.hex(), "limits": asdict(manifest.limits)}
        try:
            self._stream.send(LAUNCH, json.dumps(head).encode())
            self._stream.send(CODE, manifest.algorithm)
            self.public_key = self._expect(READY)
        except StreamBroken as broken:
            raise EnclaveRefused(f"the process that launches enclaves is gone: {broken.reason}") from None

    def attest(self, nonce: bytes) -> bytes:
        """Evidence, as a document, over the enclave's key and 32 bytes of whoever is to seal an input."""
        self._stream.extend(START)
        try:
            self._stream.send(ATTEST, nonce)
            return self._expect(EVIDENCE)
        except StreamBroken as broken:
            raise EnclaveFailed(broken.reason) from None

    def compute(
        self,
        inputs: Sequence[bytes],
        receivers: Sequence[bytes],
        context: bytes,
        seconds: float,
        released: Mapping[int, tuple[str, bytes]] = MappingProxyType({}),
    ) -> tuple[TaskRun, bytes]:
        """Run once, as :meth:`~tallystick_node.engines.tee.enclave.Enclave.compute`; and the evidence of the run, as a document."""
        self._stream.extend(seconds + START)
        try:
            for kind, items in ((RECEIVER, receivers), (INPUT, inputs)):
                for item in items:
                    self._stream.send(kind, item)
            for place, (name, sealed) in released.items():
                self._stream.send(RELEASED, json.dumps([place, name, sealed.hex()]).encode())
            self._stream.send(COMPUTE, json.dumps({"context": context.hex(), "seconds": seconds}).encode())
            output, document = self._expect(DONE), self._expect(EVIDENCE)
            outputs = tuple(self._expect(OUTPUT) for _ in receivers)
        except StreamBroken as broken:
            raise EnclaveFailed(broken.reason) from None
        return TaskRun(outputs, output[:32], output[32:]), document

    def _expect(self, expected: bytes) -> bytes:
        kind, payload = self._stream.receive(max(self._frame, _HEAD))
        if kind == REFUSED:
            raise EnclaveRefused(payload.decode())
        if kind == FAILED:
            raise EnclaveFailed(payload.decode())
        if kind != expected:
            raise EnclaveFailed("UnexpectedFrame")
        return payload


def authority_frame(exported: bytes, password: bytes, secret: bytes) -> bytes:
    """What the node tells the process first: the authority as it was exported, its password, the platform's secret of 32 bytes."""
    return json.dumps({"exported": exported.decode(), "password": password.decode(), "secret": secret.hex()}).encode()


def device_frame(asked: str, endorsements: bytes | None) -> bytes:
    """The same where the environment of this machine is to vouch: see :func:`~tallystick_node.engines.tee.platforms.hardware`."""
    return json.dumps({"device": asked, "endorsements": None if endorsements is None else endorsements.decode()}).encode()


def _platform(value: dict[str, Any], devices: Devices) -> AbstractContextManager[Platform]:
    if "device" in value:
        endorsements = value["endorsements"]
        return hardware(value["device"], None if endorsements is None else endorsements.encode(), devices)
    return simulated(value["exported"].encode(), value["password"].encode(), bytes.fromhex(value["secret"]))


def main(channel: socket.socket, given: bytes, devices: Devices = DEVICES) -> None:
    """The process itself: one enclave, until the worker is gone."""
    value, stream = json.loads(given), Stream(channel, FOREVER)
    head, algorithm = json.loads(_frame(stream, LAUNCH)), _frame(stream, CODE)
    manifest = EnclaveManifest(algorithm, bytes.fromhex(head["publisher"]), head["kind"], limits=Limits(**head["limits"]))
    try:
        with _platform(value, devices) as platform, Enclave(manifest, platform.quoting) as enclave:
            stream.send(READY, enclave.public_key)
            _serve(stream, enclave, platform)
    except EnclaveRefused as refused:
        stream.send(REFUSED, str(refused).encode())
    except CalledProcessError:  # of the interpreter that lists what an enclave loads
        stream.send(REFUSED, f"the host misses a library that runs {manifest.kind}: install tallystick-node[enclave]".encode())
    except TimeoutExpired as expired:  # of the same
        stream.send(REFUSED, f"the host did not list what runs {manifest.kind} within {expired.timeout:.0f} seconds".encode())
    except EnclaveFailed as failed:
        stream.send(FAILED, failed.reason.encode())


def _frame(stream: Stream, expected: bytes) -> bytes:
    kind, payload = stream.receive(_FRAME)
    if kind != expected:
        raise ValueError("another frame is expected")
    return payload


def _serve(stream: Stream, enclave: Enclave, platform: Platform) -> None:
    given: dict[bytes, list[bytes]] = {RECEIVER: [], INPUT: []}
    released: dict[int, tuple[str, bytes]] = {}
    while True:
        kind, payload = stream.receive(_FRAME)
        if kind == ATTEST:
            stream.send(EVIDENCE, platform.endorsed(enclave.attest(payload)))
        elif kind == COMPUTE:
            asked = json.loads(payload)
            context = bytes.fromhex(asked["context"])
            run = enclave.compute(given[INPUT], given[RECEIVER], context, asked["seconds"], released)
            stream.send(DONE, run.output + run.quote)
            stream.send(EVIDENCE, platform.endorsed(run.quote))
            for sealed in run.outputs:
                stream.send(OUTPUT, sealed)
            return
        elif kind == RELEASED:
            place, name, sealed = json.loads(payload)
            released[place] = name, bytes.fromhex(sealed)
        else:
            given[kind].append(payload)


def throw_away() -> tuple[bytes, bytes]:
    """An authority for a trial, as exported, and its password."""
    now, password = int(time.time()), secrets.token_hex(16).encode()
    return ProvisioningAuthority((now - DAY, now + DAY)).export(password), password


if __name__ == "__main__":
    import contextlib

    with contextlib.suppress(StreamBroken):  # the worker has ended
        main(socket.socket(fileno=int(sys.argv[1])), sys.stdin.buffer.read())
