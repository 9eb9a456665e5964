"""The launcher of software enclaves: it starts a confined process, checks it from outside, feeds it, and has its result attested.

Security: SIMULATION ONLY. The launcher and the host's kernel are trusted for everything; what the enclave's confinement gives is
that the *algorithm* can neither keep, send nor read anything but its inputs and its output. Evidence binds the run (code, inputs,
output, nonce), the measurement and the confinement in force.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tallystick.attestation.simulation.platform import EnclaveIdentity

from tallystick_node.engines.tee import confinement, worker
from tallystick_node.engines.tee.frames import Stream, StreamBroken
from tallystick_node.engines.tee.manifest import LOADER, EnclaveManifest, sources
from tallystick_node.engines.tee.quoting import QuotingProcess

_SGX_ATTRIBUTES = bytes([0x85]) + bytes(7) + bytes([0x03]) + bytes(7)  # INIT, MODE64BIT, KSS (a configuration is given)
_START_UP = 20.0  # seconds


class EnclaveRefused(Exception):  # noqa: N818 - a verdict
    """The enclave did not start: a required confinement is not in force, or what it says is not what the kernel says."""


class EnclaveFailed(Exception):  # noqa: N818 - a verdict
    """The enclave ended without a result; ``reason`` names an exception or a signal, never what the algorithm says."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the enclave ended without a result: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class EnclaveRun:
    """``output`` with a ``quote`` whose report data are :func:`~tallystick_node.engines.tee.worker.run_digest` and the nonce."""

    output: bytes
    quote: bytes
    identity: EnclaveIdentity
    in_force: tuple[str, ...]


def run_enclave(
    manifest: EnclaveManifest, inputs: Sequence[bytes], nonce: bytes, quoting: QuotingProcess, seconds: float = 60.0
) -> EnclaveRun:
    """Start an enclave for one run of ``manifest``'s algorithm over ``inputs``; ``nonce`` is 32 bytes of the verifier's.

    Waits at most ``seconds``. Raises :class:`EnclaveRefused` before any input is sent, :class:`EnclaveFailed` afterwards.
    """
    if len(nonce) != 32:
        raise ValueError("a nonce takes 32 bytes")
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryDirectory(prefix="enclave-") as root:
        Path(root).chmod(0o755)
        with theirs:
            process = _start(manifest, theirs.fileno(), root)
        stream = Stream(ours, min(seconds, _START_UP))
        try:
            for source in sources():
                stream.write(len(source).to_bytes(4, "big") + source)
            in_force = _ready(stream, manifest, process.pid)
            stream.extend(seconds)
            return _serve(stream, manifest, inputs, nonce, quoting, in_force)
        except StreamBroken as broken:
            raise EnclaveFailed(_reason(process, broken.reason)) from None
        finally:
            _end(process)


def _start(manifest: EnclaveManifest, channel: int, root: str) -> subprocess.Popen[bytes]:
    settings = json.dumps({"features": manifest.features, "modules": manifest.modules, **vars(manifest.limits)})
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", LOADER, str(channel), root, settings],
        pass_fds=[channel],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        start_new_session=True,
    )


def _ready(stream: Stream, manifest: EnclaveManifest, pid: int) -> tuple[str, ...]:
    """What the enclave says is in force, checked against what the kernel says of its process."""
    kind, payload = stream.receive(4096)
    claimed = json.loads(payload) if kind == worker.READY else None
    if not isinstance(claimed, list) or not all(name in manifest.features for name in claimed):
        raise EnclaveRefused("the enclave did not say what is in force")
    missing = sorted(manifest.required - set(claimed))
    if missing:
        raise EnclaveRefused(f"required confinement is not in force on this host: {', '.join(missing)}")
    try:
        inner = _inner(pid) if confinement.NAMESPACES in claimed else pid
        untrue = sorted(set(claimed) - _observed(inner, set(claimed)))
    except OSError as cause:
        raise EnclaveRefused("the kernel does not show the enclave's process") from cause
    if untrue:
        raise EnclaveRefused(f"the kernel does not confirm: {', '.join(untrue)}")
    return tuple(claimed)


def _inner(pid: int) -> int:
    """The process behind the one that was started: its only child, the first of its namespaces."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if len(children) != 1:
        raise EnclaveRefused("the enclave's process is not there")
    return int(children[0])


def _observed(pid: int, claimed: set[str]) -> set[str]:
    """Which of the claimed features the kernel confirms. What it does not show (Landlock, limits, the root) is taken as claimed."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    status = {name: value.split() for name, value in lines.items()}
    confirmed = claimed & {confinement.LANDLOCK, confinement.NON_DUMPABLE, confinement.LIMITS, confinement.EMPTY_ROOT}
    if status.get("Seccomp") == ["2"]:
        confirmed.add(confinement.SECCOMP)
    if status.get("NoNewPrivs") == ["1"]:
        confirmed.add(confinement.NO_NEW_PRIVILEGES)
    if "0" not in status.get("Uid", ["0"]) and not any(int(mask, 16) for mask in status.get("CapEff", ["1"])):
        confirmed.add(confinement.UNPRIVILEGED)
    if len(status.get("NSpid", [])) > 1:
        confirmed.add(confinement.NAMESPACES)
    return confirmed


def _serve(
    stream: Stream,
    manifest: EnclaveManifest,
    inputs: Sequence[bytes],
    nonce: bytes,
    quoting: QuotingProcess,
    in_force: tuple[str, ...],
) -> EnclaveRun:
    identity = EnclaveIdentity(
        mrenclave=manifest.measurement,
        mrsigner=manifest.publisher,
        isv_prod_id=manifest.product,
        isv_svn=manifest.version,
        attributes=_SGX_ATTRIBUTES,
        config_id=manifest.configuration(in_force),
    )
    stream.send(worker.ALGORITHM, manifest.algorithm)
    for item in inputs:
        stream.send(worker.INPUT, item)
    stream.send(worker.START, nonce)
    report_data = _expect(stream, worker.EVIDENCE, 64)
    output = _expect(stream, worker.OUTPUT, manifest.limits.frame)
    expected = worker.run_digest(manifest.algorithm, list(inputs), output) + nonce
    if report_data != expected:
        raise EnclaveFailed("ReportData")
    return EnclaveRun(output, quoting.quote(identity, report_data), identity, in_force)


def _expect(stream: Stream, expected: bytes, limit: int) -> bytes:
    kind, payload = stream.receive(max(limit, 64))
    if kind == worker.FAILED:
        name = payload.decode("ascii", "replace")
        raise EnclaveFailed(name if name.isidentifier() else "Unknown")
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
