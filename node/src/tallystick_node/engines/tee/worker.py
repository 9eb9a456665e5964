"""What runs inside of the software enclave: confine itself, make a key, take sealed inputs, run the code once, seal the output.

The file is sent to a fresh interpreter together with :mod:`confinement` and is part of the measurement, as is everything that it
imports. What it keeps from outside is one socket to its launcher, for frames of a kind (one byte), a length (four, big-endian) and
that many bytes. When a run fails, one name of :data:`REASONS` goes out.

An algorithm of kind ``python`` is a source with a function ``run(inputs: list[bytes]) -> bytes``. If it keeps a state, it is
``run(inputs, state: bytes) -> tuple[bytes, bytes]``: the output, and the state for the next run, empty before the first. It can
import what was preloaded, and nothing else: there is no file to import from. It runs in this process, so it is trusted as this file
is, with the inputs and with what goes over the socket; both are measured and reviewed. Of the other kinds, the modules of
:data:`KINDS` say what an algorithm is; they keep it from everything but its inputs.

The evidence of a run is about what was sealed and a nonce, or, for a *task*, about the task's attempt, commitments of the inputs
that are computed here, and the digest of the output (docs/spec/attested-task.md); attempt, code and key of a task are for the
launcher to say, as an algorithm shares this process. For a task each input begins with 32 bytes of salt, and so does the output; an
input goes on with the 32 bytes that name all inputs that it may be used with. An input of a task can be *locked* instead
(:mod:`locked`): then its key comes with it, sealed to this enclave by whoever keeps it.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import json
import os
import sys
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tallystick.attestation.runs import (
    OVERHEAD,
    commitment,
    input_context,
    inputs_digest,
    key_context,
    output_context,
    run_digest,
    seal,
    seal_state,
    unseal,
    unseal_state,
)

from tallystick_node.engines.tee import locked
from tallystick_node.engines.tee.reasons import NAMES
from tallystick_node.engines.tee.tables import decode

READY, ALGORITHM, KEY, STATE, RECEIVER, INPUT, RELEASED, START, TASK = b"R", b"A", b"K", b"T", b"V", b"I", b"L", b"S", b"W"
EVIDENCE, OUTPUT, FAILED = b"Q", b"O", b"X"
SALT = 32
HEAD = SALT + 32  # of an input

_BUILT_IN = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)}
REASONS = frozenset(_BUILT_IN | {"InvalidTag", *NAMES})
KINDS = {
    "python": "",
    "sql": "tallystick_node.engines.tee.sql",
    "wasm": "tallystick_node.engines.tee.wasm",
    "learn": "tallystick_node.engines.tee.learning",
}
"""The kinds of algorithms, and the module that runs each but Python."""


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
        serve(channel, key, settings)
    except EOFError:
        pass
    except BaseException as failure:  # noqa: BLE001 - whatever it was, only its name may leave: a message could hold inputs
        send(channel, FAILED, reason(failure).encode())
    os._exit(0)


def reason(failure: BaseException) -> str:
    """The nearest name of :data:`REASONS`: an algorithm can name a class of its own after an input."""
    return next(kind.__name__ for kind in type(failure).__mro__ if kind.__name__ in REASONS)


def serve(channel: int, key: X25519PrivateKey, settings: dict[str, Any]) -> None:
    """Take an algorithm, receivers, sealed inputs and a nonce, or a task's context; run; give evidence to be signed, and the sealed
    outputs."""
    frame = settings["frame"]
    kind, algorithm = receive(channel, frame)
    if kind != ALGORITHM:
        raise ValueError("an algorithm is expected")
    given: dict[bytes, list[bytes]] = {KEY: [], STATE: [], RECEIVER: [], INPUT: [], RELEASED: []}
    while True:
        kind, payload = receive(channel, frame)
        if kind in (START, TASK):
            break
        given[kind].append(payload)
    if kind == TASK:
        evidence, outputs, states = task(key, algorithm, given, payload, settings)
    else:
        evidence, outputs, states = run(key, algorithm, given, payload, settings)
    send(channel, EVIDENCE, evidence)
    for sealed in outputs:
        send(channel, OUTPUT, sealed)
    if states:
        send(channel, STATE, states[1])


def run(
    key: X25519PrivateKey, algorithm: bytes, given: dict[bytes, list[bytes]], nonce: bytes, settings: dict[str, Any]
) -> tuple[bytes, list[bytes], list[bytes]]:
    """Evidence about everything sealed; the sealed outputs; the sealed states before and after, if the algorithm keeps one."""
    receivers, inputs, states = given[RECEIVER], given[INPUT], given[STATE]
    opened = [unseal(key, item, input_context(algorithm, receivers, place)) for place, item in enumerate(inputs)]
    if states:
        public_key = key.public_key().public_bytes_raw()
        sealing = unseal(key, given[KEY][0], key_context(public_key))
        before = unseal_state(sealing, states[0], algorithm) if states[0] else b""
        output, after = python(algorithm)(opened, before)
        states = [states[0], seal_state(sealing, checked(after, settings), algorithm)]
    else:
        output = computed(algorithm, opened, settings)
    checked(output, settings)
    context = output_context(algorithm, receivers, inputs)
    outputs = [seal(receiver, output, context) for receiver in receivers]
    return run_digest(algorithm, receivers, inputs, outputs, states) + nonce, outputs, states


def task(
    key: X25519PrivateKey, algorithm: bytes, given: dict[bytes, list[bytes]], context: bytes, settings: dict[str, Any]
) -> tuple[bytes, list[bytes], list[bytes]]:
    """The digest of the output and the inputs' commitments, for the launcher to have evidence about; the sealed outputs."""
    digest = hashlib.sha256(algorithm).digest()
    code, receivers, inputs = context + digest, given[RECEIVER], given[INPUT]
    keys = {int.from_bytes(item[:4], "big"): item[4:] for item in given[RELEASED]}
    opened = [
        unlocked(key, keys[place], item, code, receivers, place)
        if place in keys
        else unseal(key, item, input_context(code, receivers, place))
        for place, item in enumerate(inputs)
    ]
    if any(len(item) < HEAD for item in opened):
        raise ValueError("an input has no salt")
    commitments = [commitment(item[:SALT], item[HEAD:]) for item in opened]
    if any(item[SALT:HEAD] != inputs_digest(commitments) for item in opened):
        raise NAMES["OtherInputs"]
    output = os.urandom(SALT) + checked(computed(algorithm, [item[HEAD:] for item in opened], settings), settings)
    sealing = output_context(code, receivers, commitments)
    outputs = [seal(receiver, output, sealing) for receiver in receivers]
    return hashlib.sha256(output).digest() + b"".join(commitments), outputs, []


def unlocked(key: X25519PrivateKey, released: bytes, item: bytes, code: bytes, receivers: list[bytes], place: int) -> bytes:
    """A locked input as it would have been sealed: salt, the inputs that it is for, data. ``released``: how long the name of its
    key is (one byte), the name, and the sealed key."""
    name, sealed = released[1 : 1 + released[0]].decode(), released[1 + released[0] :]
    data_key, promised = locked.opened(key, sealed, locked.released_for(name, code, receivers, place))
    content = locked.unlock(data_key, name, item)
    return content[:SALT] + promised + content[SALT:]


def computed(algorithm: bytes, opened: list[bytes], settings: dict[str, Any]) -> object:
    """What the algorithm gives for the opened inputs."""
    kind = settings["kind"]
    if kind == "python":
        if settings["minimum_group"] and any(decode(item).rows < settings["minimum_group"] for item in opened):
            raise NAMES["TooFewRows"]
        return python(algorithm)(opened)
    return sys.modules[KINDS[kind]].run(algorithm, opened, settings)


def python(algorithm: bytes) -> Any:
    """The function ``run`` of a Python source."""
    module: dict[str, Any] = {"__name__": "algorithm"}
    exec(compile(algorithm.decode(), "algorithm", "exec", dont_inherit=True), module)  # noqa: S102 - its digest is measured
    return module["run"]


def checked(value: object, settings: dict[str, Any]) -> bytes:
    """``value`` if it is bytes as long as allowed, which fit into a frame when sealed."""
    if not isinstance(value, bytes) or len(value) > settings["output"] or SALT + len(value) + OVERHEAD > settings["frame"]:
        raise TypeError("an algorithm gives bytes, within the limit and the frame")
    return value


if __name__ == "enclave":
    main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), globals()["confine"])
