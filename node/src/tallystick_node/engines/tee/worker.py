"""What runs inside of the software enclave: confine itself, make a key, take sealed inputs, run the code once, seal the output.

The file is sent to a fresh interpreter together with :mod:`confinement` and is part of the measurement, as is everything that it
imports. What it keeps from outside is one socket to its launcher, for frames of a kind (one byte), a length (four, big-endian) and
that many bytes. When a run fails, one name of :data:`REASONS` goes out.

An algorithm is a Python source with a function ``run(inputs: list[bytes]) -> bytes``. If it keeps a state, it is
``run(inputs, state: bytes) -> tuple[bytes, bytes]``: the output, and the state for the next run, empty before the first. It can
import what was preloaded, and nothing else: there is no file to import from. It runs in this process, so it is trusted as this file
is, with the inputs and with what goes over the socket; both are measured and reviewed.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import sys
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tallystick.attestation.runs import (
    OVERHEAD,
    input_context,
    key_context,
    output_context,
    run_digest,
    seal,
    seal_state,
    unseal,
    unseal_state,
)

READY, ALGORITHM, KEY, STATE, RECEIVER, INPUT, START = b"R", b"A", b"K", b"T", b"V", b"I", b"S"
EVIDENCE, OUTPUT, FAILED = b"Q", b"O", b"X"

_BUILT_IN = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)}
REASONS = frozenset(_BUILT_IN | {"InvalidTag"})


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


def main(channel: int, root: str, settings: dict[str, Any], confine: Any) -> None:
    """Preload, confine, report what is in force and the key, serve one run, end."""
    for name in settings["modules"]:
        importlib.import_module(name)
    sys.path.clear()
    in_force = confine(settings["features"], root, settings["memory"], settings["seconds"])
    key = X25519PrivateKey.generate()
    ready = {"in_force": in_force, "public_key": key.public_key().public_bytes_raw().hex()}
    send(channel, READY, json.dumps(ready).encode())
    try:
        serve(channel, key, settings["frame"])
    except EOFError:
        pass
    except BaseException as failure:  # noqa: BLE001 - whatever it was, only its name may leave: a message could hold inputs
        send(channel, FAILED, reason(failure).encode())
    os._exit(0)


def reason(failure: BaseException) -> str:
    """The nearest name of :data:`REASONS`: an algorithm can name a class of its own after an input."""
    return next(kind.__name__ for kind in type(failure).__mro__ if kind.__name__ in REASONS)


def serve(channel: int, key: X25519PrivateKey, frame: int) -> None:
    """Take an algorithm, receivers, sealed inputs and a nonce; run; give evidence to be signed, and the sealed outputs."""
    kind, algorithm = receive(channel, frame)
    if kind != ALGORITHM:
        raise ValueError("an algorithm is expected")
    given: dict[bytes, list[bytes]] = {KEY: [], STATE: [], RECEIVER: [], INPUT: []}
    while True:
        kind, payload = receive(channel, frame)
        if kind == START:
            break
        given[kind].append(payload)
    receivers, inputs, states = given[RECEIVER], given[INPUT], given[STATE]
    opened = [unseal(key, item, input_context(algorithm, receivers, place)) for place, item in enumerate(inputs)]
    module: dict[str, Any] = {"__name__": "algorithm"}
    exec(compile(algorithm.decode(), "algorithm", "exec", dont_inherit=True), module)  # noqa: S102 - its digest is measured
    if states:
        public_key = key.public_key().public_bytes_raw()
        sealing = unseal(key, given[KEY][0], key_context(public_key))
        before = unseal_state(sealing, states[0], algorithm) if states[0] else b""
        output, after = module["run"](opened, before)
        states = [states[0], seal_state(sealing, checked(after, frame), algorithm)]
    else:
        output = module["run"](opened)
    checked(output, frame)
    context = output_context(algorithm, receivers, inputs)
    outputs = [seal(receiver, output, context) for receiver in receivers]
    send(channel, EVIDENCE, run_digest(algorithm, receivers, inputs, outputs, states) + payload)
    for sealed in outputs:
        send(channel, OUTPUT, sealed)
    if states:
        send(channel, STATE, states[1])


def checked(value: object, frame: int) -> bytes:
    """``value`` if it is bytes that fit into a frame when sealed."""
    if not isinstance(value, bytes) or len(value) + OVERHEAD > frame:
        raise TypeError("an algorithm gives bytes, within the frame")
    return value


if __name__ == "enclave":
    main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), globals()["confine"])
