"""The quoting process answers who asked, and is gone when its launcher fails or lets go."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.attestation.quote import read_quote
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import EnclaveIdentity
from tallystick_node.engines.tee import frames, quoting
from tallystick_node.engines.tee.frames import Stream, StreamBroken
from tallystick_node.engines.tee.quoting import QuotingProcess

ENCLAVE = EnclaveIdentity(b"\x01" * 32, b"\x02" * 32)


@pytest.fixture(scope="module")
def authority() -> ProvisioningAuthority:
    return ProvisioningAuthority((0, 2_000_000_000))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Every process that is started."""
    processes: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def remembered(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        processes.append(start(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(quoting.subprocess, "Popen", remembered)
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def test_each_thread_gets_the_quote_that_it_asked_for(authority: ProvisioningAuthority) -> None:
    asked = [os.urandom(64) for _ in range(64)]
    with QuotingProcess(authority) as process, ThreadPoolExecutor(8) as threads:
        quotes = list(threads.map(lambda data: process.quote(ENCLAVE, data), asked))
    assert [read_quote(quote).body.report_data for quote in quotes] == asked


def test_the_process_ends_with_its_context_and_with_a_failed_start(
    authority: ProvisioningAuthority, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with QuotingProcess(authority):
        assert started[0].poll() is None
    assert started[0].poll() is not None

    def refuse(*_: object) -> None:
        raise RuntimeError("the authority refuses")

    monkeypatch.setattr(authority, "certify", refuse)
    with pytest.raises(RuntimeError, match="refuses"):
        QuotingProcess(authority)
    assert started[1].poll() is not None


def test_a_machine_that_stands_still_for_two_minutes_has_its_platform_all_the_same(
    authority: ProvisioningAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it starts, and as it is asked: each time it stands still when the wait has just begun."""
    stood = chain([0], repeat(120))
    monkeypatch.setattr(frames, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + next(stood)))
    with QuotingProcess(authority) as process:
        stood = chain([120], repeat(240))
        assert process.quote(ENCLAVE, bytes(64))


def test_a_process_that_is_gone_gives_no_quote(authority: ProvisioningAuthority, started: list[subprocess.Popen[bytes]]) -> None:
    with QuotingProcess(authority) as process:
        started[0].kill()
        for _ in range(2):
            with pytest.raises(StreamBroken, match="Ended"):
                process.quote(ENCLAVE, bytes(64))


def test_a_platform_is_known_by_a_key_that_follows_from_its_secret(authority: ProvisioningAuthority) -> None:
    keys = []
    for secret in (b"\1" * 32, b"\1" * 32, b"\2" * 32):
        with QuotingProcess(authority, secret) as process:
            keys.append(process.pck.public_key().public_numbers())
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_secret_of_another_size_is_refused(authority: ProvisioningAuthority, size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        QuotingProcess(authority, bytes(size))


def test_an_answer_after_the_deadline_is_not_taken_for_the_next_one() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(ours, 0.01)
        with pytest.raises(StreamBroken, match="Deadline"):
            stream.receive(10)
        theirs.setblocking(False)
        stream.extend(60)
        with pytest.raises(OSError):
            theirs.sendall(b"A\0\0\0\4late")
        with pytest.raises(StreamBroken, match="Ended"):
            stream.receive(10)


def test_a_frame_larger_than_its_limit_breaks_the_stream() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(ours, 60)
        theirs.sendall(b"A\0\0\0\x0b" + bytes(11))
        with pytest.raises(StreamBroken, match="FrameTooLarge"):
            stream.receive(10)
        with pytest.raises(StreamBroken, match="Ended"):
            stream.receive(10)
