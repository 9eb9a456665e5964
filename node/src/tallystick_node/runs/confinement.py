"""What a worker process takes from itself before it opens a party's rows: the network, other programs, other processes.

A seccomp filter (Linux, ``seccomp(2)``) over all threads answers EPERM to every system call that makes or binds a socket, runs a
program, looks into or signals into another process, or changes namespaces. What the process holds already, its socket to the
node, goes on working. Files are not confined: the worker runs as its node's user. Software confinement protects the network
from a faulty or subverted engine; it does not protect the worker from its own machine's administrator.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct

from tallystick.protocol.errors import Configuration

MEMORY_BYTES = 16 << 30  # that is the process's own: files mapped into memory do not count
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
SET_MODE_FILTER, FLAG_TSYNC = 1, 1
RET_ALLOW, RET_KILL, RET_EPERM = 0x7FFF0000, 0x80000000, 0x00050001
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF: ld [k]; jeq; jge; ret
X32 = 0x40000000  # system calls of x86-64's second interface begin here

#: Denied system calls: name, number on x86-64, number on AArch64.
DENIED = (
    ("socket", 41, 198),
    ("connect", 42, 203),
    ("accept", 43, 202),
    ("bind", 49, 200),
    ("listen", 50, 201),
    ("accept4", 288, 242),
    ("execve", 59, 221),
    ("execveat", 322, 281),
    ("ptrace", 101, 117),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("pidfd_open", 434, 434),
    ("pidfd_getfd", 438, 438),
    ("io_uring_setup", 425, 425),
    ("bpf", 321, 280),
    ("perf_event_open", 298, 241),
    ("userfaultfd", 323, 282),
    ("keyctl", 250, 219),
    ("open_by_handle_at", 304, 265),
    ("mount", 165, 40),
    ("unshare", 272, 97),
    ("setns", 308, 268),
    ("kill", 62, 129),
    ("tkill", 200, 130),
    ("rt_sigqueueinfo", 129, 138),
    ("rt_tgsigqueueinfo", 297, 240),
    ("pidfd_send_signal", 424, 424),
)
#: tgkill(2), by which a process signals itself when it aborts: allowed to a thread of its own.
TGKILL = ("tgkill", 234, 131)
#: AUDIT_ARCH, the number of seccomp(2), and the column of DENIED.
MACHINES = {"x86_64": (0xC000003E, 317, 1), "aarch64": (0xC00000B7, 277, 2)}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def confine() -> None:
    """Die with the node, dump no core, hold no more memory than allowed, and pass the filter.

    Raises Configuration when the machine has no seccomp, or is none of :data:`MACHINES`: then no run starts.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None or not hasattr(os, "sched_getaffinity"):
        raise Configuration(
            "worker processes cannot be confined on this machine", remedy="run the node on Linux, x86-64 or AArch64"
        )
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    architecture, number, column = machine
    code = _filter(architecture, [int(row[column]) for row in DENIED], int(TGKILL[column]), os.getpid())
    program = _Program(len(code) // 8, code)
    if libc.syscall(number, SET_MODE_FILTER, FLAG_TSYNC, ctypes.byref(program)) != 0:
        raise Configuration(
            f"the kernel refuses seccomp ({os.strerror(ctypes.get_errno())})", remedy="allow seccomp(2) to the node's container"
        )


def _filter(architecture: int, numbers: list[int], signal_to: int, own: int) -> bytes:
    """Kill for another architecture; EPERM for what is denied, for signals to other processes and for x32; allow the rest.

    Offsets are those of ``struct seccomp_data``: 0 the number, 4 the architecture, 16 the low half of the first argument.
    """
    rest = len(numbers)
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, RET_KILL), (LOAD, 0, 0, 0), (AT_LEAST, rest + 4, 0, X32)]
    steps += [(EQUAL, rest + 3 - index, 0, number) for index, number in enumerate(numbers)]
    steps += [(EQUAL, 0, 2, signal_to), (LOAD, 0, 0, 16), (EQUAL, 0, 1, own)]
    steps += [(RETURN, 0, 0, RET_ALLOW), (RETURN, 0, 0, RET_EPERM)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
