"""What a confined process can no longer do, and what it still can, tried by one."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap

import pytest
from tallystick_node.runs import confinement

TRY = """
import os, socket, subprocess, sys, threading, ctypes
import numpy  # brings threads of its own
from tallystick_node.runs.confinement import confine
started, go, answers = threading.Event(), threading.Event(), []
def elsewhere():
    started.set(); go.wait()
    attempt()
def attempt():
    try:
        {what}
    except PermissionError:
        answers.append("denied")
    else:
        answers.append("done")
thread = threading.Thread(target=elsewhere); thread.start(); started.wait()
confine()
attempt(); go.set(); thread.join()
print(*answers)
"""


def tried(what: str, **options: object) -> str:
    script = textwrap.dedent(TRY).replace("{what}", what)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False, **options)  # type: ignore[call-overload]
    assert ended.returncode == 0, ended.stderr
    return str(ended.stdout.strip())


@pytest.mark.parametrize(
    "what",
    [
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX)",
        "socket.create_connection(('127.0.0.1', 1))",
        "os.execv('/bin/true', ['true'])",
        "subprocess.run(['/bin/true'])",
        "os.pidfd_open(os.getppid())",
        "os.kill(os.getppid(), 0)",
        "os.kill(1, 0)",
    ],
)
def test_no_network_and_no_programs_in_any_thread(what: str) -> None:
    assert tried(what) == "denied denied"


def test_what_is_open_goes_on_working_and_files_open() -> None:
    ours, theirs = socket.socketpair()
    what = f"s = socket.socket(fileno=os.dup({theirs.fileno()})); s.sendall(b'x'); open(os.devnull).close()"
    assert tried(what, pass_fds=[theirs.fileno()]) == "done done"
    assert ours.recv(2) == b"xx"
    ours.close()
    theirs.close()


def test_another_process_gets_no_signal_and_its_own_thread_does() -> None:
    """By tgkill(2), which libc aborts with; glibc has no name of its own for it in Python."""
    call = (
        "libc = ctypes.CDLL(None, use_errno=True); "
        "failed = libc.syscall(234 if os.uname().machine == 'x86_64' else 131, {who}, {who}, 0); "
        "(_ for _ in ()).throw(PermissionError) if failed and ctypes.get_errno() == 1 else None"
    )
    assert tried(call.replace("{who}", "os.getppid()")) == "denied denied"
    assert tried(call.replace("{who}", "os.getpid()")) == "done done"


def test_numbers_of_both_machines_are_listed_once() -> None:
    for column in (1, 2):
        numbers = [row[column] for row in confinement.DENIED]
        assert len(set(numbers)) == len(numbers)
