"""What runs inside of the software enclave: it confines itself, takes code and inputs, runs the code once, asks for evidence.

The file is sent to a fresh interpreter together with :mod:`confinement` and is part of the measurement, so it needs the standard
library only. The only thing it keeps from outside is one socket to its launcher, for frames of a kind (one byte), a length (four,
big-endian) and that many bytes.

An algorithm is a Python source with a function ``run(inputs: list[bytes]) -> bytes``. It can import what was preloaded, and nothing
else: there is no file to import from. It runs in this process, so it is trusted as this file is; both are measured and reviewed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from typing import Any

READY, ALGORITHM, INPUT, START, EVIDENCE, OUTPUT, FAILED = b"R", b"A", b"I", b"S", b"Q", b"O", b"X"
DOMAIN = b"tallystick/tee/run/v1"


def send(channel: int, kind: bytes, payload: bytes) -> None:
    """Write one frame."""
    data = memoryview(kind + len(payload).to_bytes(4, "big") + payload)
    while data:
        data = data[os.write(channel, data) :]


def receive(channel: int, limit: int) -> tuple[bytes, bytes]:
    """Read one frame of at most ``limit`` bytes; ``EOFError`` if the other end is gone."""
    head = _exactly(channel, 5)
    size = int.from_bytes(head[1:], "big")
    if size > limit:
        raise ValueError("a frame is too large")
    return head[:1], _exactly(channel, size)


def _exactly(channel: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(channel, min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def run_digest(algorithm: bytes, inputs: list[bytes], output: bytes) -> bytes:
    """What evidence binds about a run: 32 bytes over the digests of code, inputs in their order, and output."""
    digest = hashlib.sha256(DOMAIN + hashlib.sha256(algorithm).digest() + len(inputs).to_bytes(4, "big"))
    for item in (*inputs, output):
        digest.update(hashlib.sha256(item).digest())
    return digest.digest()


def main(channel: int, root: str, settings: dict[str, Any], confine: Any) -> None:
    """Preload, confine, report what is in force, serve one run, end."""
    for name in settings["modules"]:
        importlib.import_module(name)
    in_force = confine(settings["features"], root, settings["memory"], settings["seconds"])
    send(channel, READY, json.dumps(in_force).encode())
    try:
        serve(channel, settings["frame"])
    except BaseException as failure:  # noqa: BLE001 - whatever it was, only its name may leave: a message could hold inputs
        send(channel, FAILED, type(failure).__name__.encode()[:64])
    os._exit(0)


def serve(channel: int, frame: int) -> None:
    """Take an algorithm, inputs and a nonce; run; give output and evidence."""
    kind, algorithm = receive(channel, frame)
    if kind != ALGORITHM:
        raise ValueError("an algorithm is expected")
    inputs: list[bytes] = []
    while True:
        kind, payload = receive(channel, frame)
        if kind == START:
            break
        if kind != INPUT:
            raise ValueError("an input is expected")
        inputs.append(payload)
    module: dict[str, Any] = {"__name__": "algorithm"}
    exec(compile(algorithm.decode(), "algorithm", "exec", dont_inherit=True), module)  # noqa: S102 - its digest is measured
    output = module["run"](list(inputs))
    if not isinstance(output, bytes) or len(output) > frame:
        raise TypeError("an algorithm gives bytes, within the frame")
    send(channel, EVIDENCE, run_digest(algorithm, inputs, output) + payload)
    send(channel, OUTPUT, output)


if __name__ == "enclave":
    main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), globals()["confine"])
