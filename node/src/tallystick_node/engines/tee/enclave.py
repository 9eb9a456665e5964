"""The launcher of software enclaves: it starts a confined process, checks it from outside, feeds it, and has its result attested.

Security: SIMULATION ONLY. The launcher and the host's kernel are trusted for everything. What the enclave's confinement gives is
that the *algorithm* reads nothing but its inputs and state, and reaches nobody but its launcher. It shares the process of the code
that seals, so what it tells the launcher is for those to judge who seal inputs for exactly this code. Evidence binds the run
(code, inputs, output, nonce), the measurement and the confinement in force.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from tallystick.attestation import runs
from tallystick.attestation.simulation.platform import EnclaveIdentity

from tallystick_node.engines.tee import confinement, worker
from tallystick_node.engines.tee.frames import Stream, StreamBroken
from tallystick_node.engines.tee.manifest import ENVIRONMENT, INTERPRETER, LOADER, PATHS, EnclaveManifest, Limits, fresh, sources
from tallystick_node.engines.tee.quoting import Quoting

_SGX_ATTRIBUTES = bytes([0x85]) + bytes(7) + bytes([0x03]) + bytes(7)  # INIT, MODE64BIT, KSS (a configuration is given)
_START_UP = 180.0  # seconds: of one with a database half a second alone, of one that trains five; many times that beside other work


class EnclaveRefused(Exception):  # noqa: N818 - a verdict
    """The enclave did not start: a required confinement is not in force, or what it says is not what the kernel says."""


class EnclaveFailed(Exception):  # noqa: N818 - a verdict
    """The enclave ended without a result; ``reason`` is one of a fixed set of names: a built-in exception, ``InvalidTag``,
    a signal, or what broke the stream. An algorithm can choose among them and say nothing else."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the enclave ended without a result: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class EnclaveRun:
    """``outputs``, one sealed to each receiver, the sealed ``state`` if the code keeps one, and a ``quote`` over
    :func:`~tallystick.attestation.runs.run_digest` and the nonce."""

    outputs: tuple[bytes, ...]
    quote: bytes
    state: bytes | None = None


@dataclass(frozen=True)
class TaskRun:
    """``outputs``, one sealed to each receiver; ``output``, the 32 bytes that stand for them in the evidence; and a ``quote`` over
    :func:`~tallystick.attestation.runs.task_digest` and the SHA-256 of the enclave's key."""

    outputs: tuple[bytes, ...]
    output: bytes
    quote: bytes


class Enclave:
    """One enclave for one run of ``manifest``'s algorithm. Use as a context manager: the process ends with it.

    ``public_key`` (X25519, 32 bytes) is what inputs are sealed to, once :meth:`attest` has been appraised. ``in_force`` is the
    confinement that the kernel confirms. Raises :class:`EnclaveRefused` if that is less than the manifest requires.
    """

    def __init__(self, manifest: EnclaveManifest, quoting: Quoting) -> None:
        self._manifest = manifest
        self._quoting = quoting
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.enter_context(ours)
            # Where its root is mounted, which only its own namespace sees: a directory made for it would outlive a killed launcher.
            self._process = _start(manifest, theirs.fileno(), tempfile.gettempdir())
            undo.callback(_end, self._process)
            theirs.close()
            self._stream = Stream(ours, _START_UP)
            try:
                for source in sources():
                    self._stream.write(len(source).to_bytes(4, "big") + source)
                measurement = manifest.measurement  # the process loads what it needs meanwhile
                self.in_force, self.public_key = _ready(self._stream, manifest, self._process.pid)
                self._stream.send(worker.ALGORITHM, manifest.algorithm)
            except StreamBroken as broken:
                raise EnclaveRefused(f"the enclave did not start: {_reason(self._process, broken.reason)}") from None
            self.identity = EnclaveIdentity(
                mrenclave=measurement,
                mrsigner=manifest.publisher,
                isv_prod_id=manifest.product,
                isv_svn=manifest.version,
                attributes=_SGX_ATTRIBUTES,
                config_id=manifest.configuration(self.in_force),
            )
            self._resources = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._resources.close()

    def attest(self, nonce: bytes) -> bytes:
        """A quote over :func:`runs.key_digest` of the public key and, with the conditions of the manifest
        (:func:`~tallystick_node.engines.tee.manifest.fresh`), 32 bytes of whoever is to seal an input."""
        bound = fresh(self._manifest.conditions, _nonce(nonce))
        return self._quoting.quote(self.identity, runs.key_digest(self.public_key) + bound)

    def run(
        self,
        inputs: Sequence[bytes],
        receivers: Sequence[bytes],
        nonce: bytes,
        seconds: float = 60.0,
        state: bytes | None = None,
    ) -> EnclaveRun:
        """Run once over sealed ``inputs``, output to the raw X25519 keys ``receivers``, within ``seconds``.

        ``state`` is for code that keeps one: what the last run gave, or empty bytes before the first.
        Raises :class:`EnclaveFailed` where there is no result; then, as after a result, the enclave is used up.
        """
        _nonce(nonce)
        self._stream.extend(seconds)
        try:
            return self._run(inputs, receivers, nonce, state)
        except StreamBroken as broken:
            raise EnclaveFailed(_reason(self._process, broken.reason)) from None

    def compute(
        self,
        inputs: Sequence[bytes],
        receivers: Sequence[bytes],
        context: bytes,
        seconds: float = 60.0,
        released: Mapping[int, tuple[str, bytes]] = MappingProxyType({}),
    ) -> TaskRun:
        """Run once for the attempt of a task that ``context`` (32 bytes) names; else like :meth:`run`. The code that inputs and
        outputs are sealed for is named by ``context`` and the SHA-256 of the algorithm; outputs are of the inputs' commitments.

        ``released``: by place, of inputs that are locked and not sealed, the name of the key and what its service released."""
        _nonce(context)
        self._stream.extend(seconds)
        try:
            self._give(receivers, inputs)
            for place, (name, sealed) in released.items():
                named = name.encode()
                self._stream.send(worker.RELEASED, place.to_bytes(4, "big") + bytes([len(named)]) + named + sealed)
            self._stream.send(worker.TASK, context)
            said = _expect(self._stream, worker.EVIDENCE, 32 * (1 + len(inputs)))
            outputs = tuple(_expect(self._stream, worker.OUTPUT, self._manifest.limits.frame) for _ in receivers)
        except StreamBroken as broken:
            raise EnclaveFailed(_reason(self._process, broken.reason)) from None
        if len(said) != 32 * (1 + len(inputs)):
            raise EnclaveFailed("ReportData")
        output, *commitments = (said[at : at + 32] for at in range(0, len(said), 32))
        # What the launcher knows is put in here: evidence may measure no algorithm, and an algorithm could speak for another.
        digest = runs.task_digest(context, hashlib.sha256(self._manifest.algorithm).digest(), commitments, output)
        report_data = digest + hashlib.sha256(self.public_key).digest()
        return TaskRun(outputs, output, self._quoting.quote(self.identity, report_data))

    def _give(self, receivers: Sequence[bytes], inputs: Sequence[bytes]) -> None:
        for kind, items in ((worker.RECEIVER, receivers), (worker.INPUT, inputs)):
            for item in items:
                self._stream.send(kind, item)

    def _run(self, inputs: Sequence[bytes], receivers: Sequence[bytes], nonce: bytes, state: bytes | None) -> EnclaveRun:
        algorithm, limit = self._manifest.algorithm, self._manifest.limits.frame
        if state is not None:
            self._stream.send(worker.KEY, self._quoting.sealing_key(self.identity, self.public_key))
            self._stream.send(worker.STATE, state)
        self._give(receivers, inputs)
        self._stream.send(worker.START, nonce)
        report_data = _expect(self._stream, worker.EVIDENCE, 64)
        outputs = tuple(_expect(self._stream, worker.OUTPUT, limit) for _ in receivers)
        after = None if state is None else _expect(self._stream, worker.STATE, limit)
        states = () if state is None or after is None else (state, after)
        if report_data != runs.run_digest(algorithm, receivers, inputs, outputs, states) + nonce:
            raise EnclaveFailed("ReportData")
        return EnclaveRun(outputs, self._quoting.quote(self.identity, report_data), after)


def _nonce(nonce: bytes) -> bytes:
    if len(nonce) != 32:
        raise ValueError("a nonce takes 32 bytes")
    return nonce


def _start(manifest: EnclaveManifest, channel: int, root: str) -> subprocess.Popen[bytes]:
    limits = vars(manifest.limits)
    stated = {"kind": manifest.kind, "features": manifest.features, "modules": manifest.loaded, "paths": PATHS}
    settings = json.dumps({**stated, **limits})
    return subprocess.Popen(
        [*INTERPRETER, "-c", LOADER, str(channel), root, settings],
        pass_fds=[channel],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        start_new_session=True,
    )


def _ready(stream: Stream, manifest: EnclaveManifest, pid: int) -> tuple[tuple[str, ...], bytes]:
    """What the enclave says is in force, checked against what the kernel says of its process; and its public key."""
    kind, payload = stream.receive(4096)
    said = json.loads(payload) if kind == worker.READY else {}
    claimed, public_key = said.get("in_force"), bytes.fromhex(said.get("public_key", ""))
    if not isinstance(claimed, list) or not all(name in manifest.features for name in claimed) or len(public_key) != 32:
        raise EnclaveRefused("the enclave did not say what is in force, or gave no key")
    missing = sorted(manifest.required - set(claimed))
    if missing:
        raise EnclaveRefused(f"required confinement is not in force on this host: {', '.join(missing)}")
    try:
        inner = _inner(pid) if confinement.NAMESPACES in claimed else pid
        untrue = sorted(set(claimed) - _observed(inner, manifest.limits) - {confinement.LANDLOCK})
    except OSError as cause:
        raise EnclaveRefused("the kernel does not show the enclave's process") from cause
    if untrue:
        raise EnclaveRefused(f"the kernel does not confirm: {', '.join(untrue)}")
    return tuple(claimed), public_key


def _inner(pid: int) -> int:
    """The process behind the one that was started: its only child, the first of its namespaces."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if len(children) != 1:
        raise EnclaveRefused("the enclave's process is not there")
    return int(children[0])


def _observed(pid: int, limits: Limits) -> set[str]:
    """Which features the kernel confirms of a process. Landlock it shows to nobody."""
    process = Path(f"/proc/{pid}")
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    status = {name: value.split() for name, value in lines.items()}
    confirmed = set()
    if status.get("Seccomp") == ["2"]:
        confirmed.add(confinement.SECCOMP)
    if status.get("NoNewPrivs") == ["1"]:
        confirmed.add(confinement.NO_NEW_PRIVILEGES)
    if "0" not in status.get("Uid", ["0"]) and not any(int(mask, 16) for mask in status.get("CapEff", ["1"])):
        confirmed.add(confinement.UNPRIVILEGED)
    if len(status.get("NSpid", [])) > 1:
        confirmed.add(confinement.NAMESPACES)
    if str((process / "status").stat().st_uid) not in status.get("Uid", []):  # proc(5): root's, as it cannot be dumped
        confirmed.add(confinement.NON_DUMPABLE)
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    if len(mounts) == 1 and mounts[0][4] == "/" and "ro" in mounts[0][5].split(",") and "tmpfs" in mounts[0]:
        confirmed.add(confinement.EMPTY_ROOT)
    if _limited((process / "limits").read_text(), limits):
        confirmed.add(confinement.LIMITS)
    return confirmed


def _limited(text: str, limits: Limits) -> bool:
    """Whether ``/proc/<pid>/limits`` has ``limits``, and no files, processes or core beside."""
    expected = {"Max cpu time": limits.seconds, "Max address space": limits.memory}
    expected |= dict.fromkeys(("Max file size", "Max core file size", "Max processes", "Max open files"), 0)
    found = {line[:26].strip(): line[26:].split()[:2] for line in text.splitlines()}
    return all(found.get(name) == [str(value)] * 2 for name, value in expected.items())


def _expect(stream: Stream, expected: bytes, limit: int) -> bytes:
    kind, payload = stream.receive(max(limit, 64))
    if kind == worker.FAILED:
        name = payload.decode("ascii", "replace")
        raise EnclaveFailed(name if name in worker.REASONS else "Unknown")
    if kind != expected:
        raise EnclaveFailed("UnexpectedFrame")
    return payload


def _reason(process: subprocess.Popen[bytes], reason: str) -> str:
    """The name of the signal that ended the process, if that was how it ended."""
    if reason != "Ended":
        return reason
    try:
        code = process.wait(5)
    except subprocess.TimeoutExpired:
        return reason
    number = -code if code < 0 else code - 128
    return signal.Signals(number).name if number in set(signal.Signals) else reason


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
