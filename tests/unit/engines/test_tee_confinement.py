"""Each feature of confinement alone: what it takes away is there without it and gone with it.

In an enclave all are in force and seccomp refuses first, so nothing else there shows that the others work.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tallystick_node.engines.tee import confinement
from tallystick_node.engines.tee.confinement import (
    EMPTY_ROOT,
    LANDLOCK,
    LIMITS,
    NAMESPACES,
    NO_NEW_PRIVILEGES,
    NON_DUMPABLE,
    SECCOMP,
    UNPRIVILEGED,
)

SOURCE = Path(confinement.__file__).read_text()
PROBE = """
import json, signal, socket
wanted, expression, root = json.loads(sys.argv[2])
in_force = confine(wanted, root, 1 << 30, 10)
try:
    found = eval(expression)
except Exception as failure:
    found = type(failure).__name__, getattr(failure, "errno", None)
print(json.dumps([in_force, found]), flush=True)
"""
FILE, WRITTEN = "open('/etc/passwd').read(1) != ''", "open('/written', 'w')"
TCP = "socket.create_connection(('127.0.0.1', 9), 1)"
CASES = {
    "files": ([LANDLOCK], FILE, True, ["PermissionError", 13]),
    "another file": ([LIMITS], FILE, True, ["OSError", 24]),
    "a process": ([UNPRIVILEGED, LIMITS], "'forked' if os.fork() else os._exit(0)", "forked", ["BlockingIOError", 11]),
    "memory": ([LIMITS], "len(bytes(2 << 30))", 2 << 30, ["MemoryError", None]),
    "time": ([LIMITS], "resource.getrlimit(resource.RLIMIT_CPU)[1] == 10", False, True),
    "the host's processes": ([NAMESPACES], "os.getpid() == 1", False, True),
    "the host's network": ([NAMESPACES], TCP, ["ConnectionRefusedError", 111], ["OSError", 101]),
    "the host's files": ([NAMESPACES, EMPTY_ROOT], "len(os.listdir('/')) > 0", True, False),
    "a file of its own": ([NAMESPACES, EMPTY_ROOT], WRITTEN, None, ["OSError", 30]),
    "capabilities": ([UNPRIVILEGED], "set(open('/proc/self/status').read().split('CapEff:')[1].split()[0]) == {'0'}", None, True),
    "the way back": ([UNPRIVILEGED], "os.setuid(0)", None, ["PermissionError", 1]),
    "new privileges": ([NO_NEW_PRIVILEGES], "_libc.prctl(39, 0, 0, 0, 0)", 0, 1),
    "its memory to others": ([NON_DUMPABLE], "_libc.prctl(3, 0, 0, 0, 0)", 1, 0),
    "system calls": ([NO_NEW_PRIVILEGES, SECCOMP], FILE, True, ["PermissionError", 1]),
}


def probe(features: list[str], expression: str, root: Path) -> tuple[list[str], object]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            SOURCE + PROBE,
            str(theirs.fileno()),
            json.dumps([features, expression, str(root)]),
        ]
        ended = subprocess.run(command, pass_fds=[theirs.fileno()], capture_output=True, timeout=120)
    assert ended.stdout, ended.stderr
    in_force, found = json.loads(ended.stdout.splitlines()[0])
    return in_force, found


@pytest.mark.parametrize("name", CASES)
def test_each_feature_takes_away_what_it_says(name: str, tmp_path: Path) -> None:
    features, expression, without, confined = CASES[name]
    in_force, found = probe(features, expression, tmp_path)
    if in_force != features:
        pytest.skip(f"this host gives {in_force} of {features}")
    assert found == confined
    if without is not None:  # else it would change the host, or depends on who runs the test
        assert probe([], expression, tmp_path) == ([], without)
