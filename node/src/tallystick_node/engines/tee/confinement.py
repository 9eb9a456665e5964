"""Confinement of the process that runs this: namespaces, an empty root, limits, Landlock, seccomp. Linux only.

The file is sent to a fresh interpreter as it stands and is part of the enclave's measurement, so it needs the standard library
only and imports nothing of ours. Each step reports whether it took effect; nothing is assumed. What is not in force is not claimed,
and it is for the launcher to refuse.

Sources: seccomp(2), landlock(7), unshare(2), pivot_root(2), prctl(2) of the Linux manual pages.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import struct
import sys
from collections.abc import Callable

NAMESPACES, EMPTY_ROOT, UNPRIVILEGED = "namespaces", "empty-root", "unprivileged"
LIMITS, NO_NEW_PRIVILEGES, NON_DUMPABLE = "limits", "no-new-privileges", "non-dumpable"
LANDLOCK, SECCOMP = "landlock", "seccomp"
FEATURES = (NAMESPACES, EMPTY_ROOT, UNPRIVILEGED, NO_NEW_PRIVILEGES, NON_DUMPABLE, LANDLOCK, LIMITS, SECCOMP)

NOBODY = 65534

_CLONE = 0x00020000 | 0x08000000 | 0x04000000 | 0x20000000 | 0x40000000 | 0x02000000  # mount, ipc, uts, pid, net, cgroup
_CLONE_USER = 0x10000000
_MS_REC_PRIVATE = 0x4000 | 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38

# Numbers of system calls by architecture: audit constant, pivot_root, and those that a computation needs.
_ALLOWED = {
    "x86_64": {
        "read": 0, "write": 1, "close": 3, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13,
        "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28, "exit": 60, "gettimeofday": 96,
        "sigaltstack": 131, "time": 201, "futex": 202, "restart_syscall": 219, "clock_gettime": 228, "clock_nanosleep": 230,
        "exit_group": 231, "getrandom": 318,
    },
    "aarch64": {
        "close": 57, "lseek": 62, "read": 63, "write": 64, "exit": 93, "exit_group": 94, "futex": 98, "clock_gettime": 113,
        "clock_nanosleep": 115, "sched_yield": 124, "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134,
        "rt_sigprocmask": 135, "rt_sigreturn": 139, "gettimeofday": 169, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222,
        "mprotect": 226, "madvise": 233, "getrandom": 278,
    },
}  # fmt: skip
_KILLED = {
    "x86_64": {
        "socket": 41, "connect": 42, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "ptrace": 101, "setuid": 105,
        "pivot_root": 155, "mount": 165, "init_module": 175, "tkill": 200, "unshare": 272, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "finit_module": 313, "bpf": 321, "execveat": 322, "userfaultfd": 323, "io_uring_setup": 425,
        "pidfd_open": 434, "clone3": 435, "pidfd_getfd": 438,
    },
    "aarch64": {
        "mount": 40, "pivot_root": 41, "unshare": 97, "init_module": 105, "ptrace": 117, "kill": 129, "tkill": 130, "setuid": 146,
        "socket": 198, "connect": 203, "clone": 220, "execve": 221, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
        "finit_module": 273, "bpf": 280, "execveat": 281, "userfaultfd": 282, "io_uring_setup": 425, "pidfd_open": 434,
        "clone3": 435, "pidfd_getfd": 438,
    },
}  # fmt: skip
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, ctypes.c_ulong(value), 0, 0, 0)


def isolate_namespaces() -> None:
    """Leave the host's namespaces; the next child is the first process of new ones. Who is not root gets a user namespace too."""
    if os.geteuid() == 0:
        _call("unshare", _CLONE)
        return
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE | _CLONE_USER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - the standard library's least
            file.write(text)


def enter_empty_root(directory: str) -> None:
    """Make an empty, read-only file system the root, and let go of the old one. Needs the namespaces."""
    _call("mount", b"none", b"/", None, _MS_REC_PRIVATE, None)
    _call("mount", b"none", directory.encode(), b"tmpfs", 1 | 2 | 4 | 8, b"size=4k,mode=555")  # read-only, no suid, dev, exec
    os.chdir(directory)
    if _libc.syscall(_pivot_root(), b".", b".") != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "pivot_root")
    _call("umount2", b".", _MNT_DETACH)
    os.chdir("/")


def _pivot_root() -> int:
    return _KILLED[os.uname().machine]["pivot_root"]


def drop_privileges() -> None:
    """Become nobody, with no groups and no capabilities (in a user namespace, nobody is who one is already)."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _call("capset", struct.pack("=Ii", 0x20080522, 0), bytes(24))
    if os.geteuid() == 0:
        raise PermissionError("still root")


def limit_resources(memory: int, seconds: int) -> None:
    """Bound address space and processor time; no files, no further processes, no core."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for what in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
        resource.setrlimit(what, (0, 0))


def restrict_by_landlock() -> None:
    """Give up all access to files, to TCP, and to what is outside of the sandbox, as far as the kernel's Landlock knows it."""
    version = _libc.syscall(444, None, ctypes.c_size_t(0), 1)
    if version < 1:
        raise OSError("no Landlock")
    files = (1 << (13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16)) - 1
    attributes = struct.pack("=QQQ", files, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _libc.syscall(444, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    try:
        if _libc.syscall(446, ruleset, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def _statement(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def filter_program(machine: str) -> bytes:
    """The seccomp program: allow what a computation needs, kill for what only an escape needs, and refuse (EPERM) all else.

    Memory can be neither mapped nor made executable.
    """
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000
    program = [_statement(load, 4), _statement(equal, _AUDIT[machine], 1, 0), _statement(give, kill), _statement(load, 0)]
    program += [_statement(at_least, 0x40000000, 0, 1), _statement(give, kill)]  # the x32 numbers of x86_64
    for number in sorted(_KILLED[machine].values()):
        program += [_statement(equal, number, 0, 1), _statement(give, kill)]
    for name, number in sorted(_ALLOWED[machine].items()):
        if name in ("mmap", "mprotect"):
            program += [_statement(equal, number, 0, 4), _statement(load, 32), _statement(any_bit, 4, 0, 1)]
            program += [_statement(give, refuse), _statement(give, allow)]
        else:
            program += [_statement(equal, number, 0, 1), _statement(give, allow)]
    return b"".join([*program, _statement(give, refuse)])


def filter_calls() -> None:
    """Put the seccomp program in force, for good. Needs no-new-privileges."""
    program = filter_program(os.uname().machine)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    _call("prctl", _PR_SET_SECCOMP, ctypes.c_ulong(2), header, 0, 0)


def _ended(child: int, channel: int) -> int:
    """Wait for the child, kill it when the launcher's end of the channel is closed, and give its exit code."""
    watched = select.poll()
    watched.register(channel, 0)  # a closed end is always told
    watched.register(os.pidfd_open(child), select.POLLIN)
    if any(descriptor == channel for descriptor, _ in watched.poll()):
        os.kill(child, 9)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def confine(wanted: list[str], root: str, memory: int, seconds: int) -> list[str]:
    """Apply every wanted feature that takes effect, and name them in the order of :data:`FEATURES`. Forks for the namespaces.

    The caller returns in the confined process; a parent stays outside to pass its end on, and the launcher's end to it.
    """
    in_force: list[str] = []

    def attempt(name: str, step: Callable[[], object]) -> None:
        if name in wanted:
            with contextlib.suppress(OSError, KeyError, ValueError, AttributeError):
                step()
                in_force.append(name)

    attempt(NAMESPACES, isolate_namespaces)
    if in_force:
        child = os.fork()
        if child:
            code = _ended(child, int(sys.argv[1]))
            os._exit(code if code >= 0 else 128 - code)
        attempt(EMPTY_ROOT, lambda: enter_empty_root(root))
    attempt(UNPRIVILEGED, drop_privileges)
    _prctl(_PR_SET_PDEATHSIG, 9)
    attempt(NO_NEW_PRIVILEGES, lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1))
    attempt(NON_DUMPABLE, lambda: _prctl(_PR_SET_DUMPABLE, 0))
    attempt(LANDLOCK, restrict_by_landlock)  # while a file descriptor can still be made
    attempt(LIMITS, lambda: limit_resources(memory, seconds))
    attempt(SECCOMP, filter_calls)
    return in_force
