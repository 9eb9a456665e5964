"""The software enclave: what it computes is attested as a simulation, and its algorithm can do nothing but compute."""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tallystick.attestation import runs
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX
from tallystick.attestation.references import ReferenceValues, SgxEnclave
from tallystick.attestation.result import AttestationResult, Tier
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.verifier import Evidence, appraise
from tallystick_node.engines.tee import confinement, enclave, manifest
from tallystick_node.engines.tee.enclave import Enclave, EnclaveFailed, EnclaveRefused, EnclaveRun
from tallystick_node.engines.tee.manifest import EnclaveManifest, Limits
from tallystick_node.engines.tee.quoting import QuotingProcess

NOW = int(time.time())
WINDOW = (NOW - 1_000, NOW + 100_000)
PUBLISHER = hashlib.sha256(b"publisher").digest()
NONCE = b"\x05" * 32
SUM = b"def run(inputs):\n    return str(sum(int(item) for item in inputs)).encode()\n"


@pytest.fixture(scope="module")
def authority() -> ProvisioningAuthority:
    return ProvisioningAuthority(WINDOW)


@pytest.fixture(scope="module")
def quoting(authority: ProvisioningAuthority) -> Iterator[QuotingProcess]:
    with QuotingProcess(authority) as process:
        try:
            Enclave(EnclaveManifest(SUM, PUBLISHER), process).__exit__(None, None, None)
        except EnclaveRefused as refused:
            if "not in force on this host" not in str(refused):
                raise
            pytest.skip(f"this host cannot confine an enclave: {refused}")
        yield process


@pytest.fixture(scope="module")
def in_force(quoting: QuotingProcess) -> tuple[str, ...]:
    with Enclave(of(SUM), quoting) as started:
        return started.in_force


def of(algorithm: bytes, **changes: Any) -> EnclaveManifest:
    return EnclaveManifest(algorithm, PUBLISHER, **changes)


def test_a_launcher_that_is_killed_leaves_no_directory_behind(
    quoting: QuotingProcess, in_force: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Enclave(of(SUM), quoting) as started:
        assert started.in_force == in_force
        assert not list(tmp_path.iterdir())


class Receiver:
    """A party that gets the output."""

    def __init__(self) -> None:
        self.key = X25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes_raw()

    def open(self, sealed: bytes, manifest: EnclaveManifest, receivers: list[bytes], inputs: list[bytes]) -> bytes:
        return runs.unseal(self.key, sealed, runs.output_context(manifest.algorithm, receivers, inputs))


def sealed_to(started: Enclave, asked: EnclaveManifest, receivers: list[bytes], *data: bytes) -> list[bytes]:
    contexts = (runs.input_context(asked.algorithm, receivers, place) for place in range(len(data)))
    return [runs.seal(started.public_key, item, context) for item, context in zip(data, contexts, strict=True)]


def attempt(asked: EnclaveManifest, quoting: QuotingProcess, *data: bytes, seconds: float = 120) -> EnclaveRun:
    """A run for what goes wrong."""
    receivers = [Receiver().public]
    with Enclave(asked, quoting) as started:
        return started.run(sealed_to(started, asked, receivers, *data), receivers, NONCE, seconds)


def checked(
    quote: bytes, authority: ProvisioningAuthority, expected: EnclaveManifest, report_data: bytes, in_force: tuple[str, ...]
) -> AttestationResult:
    """The appraisal of a relying party that knows the manifest and which confinement it asks for."""
    policy = AppraisalPolicy("simulated", simulations=frozenset({authority.fingerprint}))
    reference = SgxEnclave(expected.measurement, expected.version, expected.configuration(in_force))
    evidence = Evidence(quote, authority.collateral(SGX, WINDOW))
    return appraise(evidence, ReferenceValues((reference,)), policy, report_data, NOW)


def test_owners_appraise_seal_and_only_receivers_open(authority: ProvisioningAuthority, quoting: QuotingProcess) -> None:
    asked = of(SUM, product=3, version=4)
    analyst, auditor, stranger = Receiver(), Receiver(), Receiver()
    receivers = [analyst.public, auditor.public]
    with Enclave(asked, quoting) as started:
        for nonce in (b"\x01" * 32, b"\x02" * 32):  # each owner's own
            key = runs.key_digest(started.public_key) + manifest.fresh(asked.conditions, nonce)
            assert checked(started.attest(nonce), authority, asked, key, started.in_force).strength == "attested, simulated"
        inputs = sealed_to(started, asked, receivers, b"40", b"2")
        run = started.run(inputs, receivers, NONCE)
    for party, sealed in zip((analyst, auditor), run.outputs, strict=True):
        assert party.open(sealed, asked, receivers, inputs) == b"42"
        with pytest.raises(InvalidTag):
            stranger.open(sealed, asked, receivers, inputs)
        with pytest.raises(InvalidTag):
            party.open(sealed, asked, receivers, inputs[::-1])
    bound = runs.run_digest(SUM, receivers, inputs, run.outputs) + NONCE
    found = checked(run.quote, authority, asked, bound, started.in_force)
    assert (found.status, found.measurement) == (Tier.CONTRAINDICATED, asked.measurement)
    for other in (
        runs.run_digest(SUM + b"#", receivers, inputs, run.outputs),
        runs.run_digest(SUM, receivers[::-1], inputs, run.outputs),
        runs.run_digest(SUM, receivers, inputs[::-1], run.outputs),
        runs.run_digest(SUM, receivers, inputs, run.outputs[::-1]),
        runs.key_digest(started.public_key),
    ):
        with pytest.raises(EvidenceRefused) as refused:
            checked(run.quote, authority, asked, other + NONCE, started.in_force)
        assert refused.value.rule is Rule.REPORT_DATA


@pytest.mark.slow
@pytest.mark.parametrize("change", ["place", "receiver", "code", "key"])
def test_a_launcher_cannot_use_an_input_for_anything_else(quoting: QuotingProcess, change: str) -> None:
    asked, receiver, launcher = of(SUM), Receiver(), Receiver()
    meant = of(SUM + b"\n") if change == "code" else asked
    with Enclave(asked, quoting) as started, Enclave(asked, quoting) as other:
        inputs = sealed_to(other if change == "key" else started, meant, [receiver.public], b"40", b"2")
        given = inputs[::-1] if change == "place" else inputs
        with pytest.raises(EnclaveFailed) as failed:
            started.run(given, [receiver.public, launcher.public] if change == "receiver" else [receiver.public], NONCE)
    assert failed.value.reason == "InvalidTag"


def test_another_byte_of_the_algorithm_or_less_confinement_is_another_enclave(
    authority: ProvisioningAuthority, quoting: QuotingProcess
) -> None:
    with Enclave(of(SUM), quoting) as started:
        quote = started.attest(NONCE)
        key = runs.key_digest(started.public_key) + manifest.fresh(of(SUM).conditions, NONCE)
    assert checked(quote, authority, of(SUM), key, started.in_force).simulated
    for other in (
        of(SUM.replace(b"sum", b"max")),
        of(SUM, limits=Limits(seconds=61)),
        of(SUM, modules=("math",)),
        of(SUM, version=1),
    ):
        with pytest.raises(EvidenceRefused) as refused:
            checked(quote, authority, other, key, started.in_force)
        assert refused.value.rule is Rule.MEASUREMENT
    with pytest.raises(EvidenceRefused) as refused:
        checked(quote, authority, of(SUM), key, started.in_force[:-1])
    assert refused.value.rule is Rule.MEASUREMENT


def test_an_enclave_runs_the_sources_that_are_measured_and_no_compiled_copy(
    quoting: QuotingProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "named.py").write_text("NAME = 'Source'\n")
    cached = Path(cache_from_source(str(tmp_path / "named.py")))
    cached.parent.mkdir()
    code = compile("NAME = 'Cached'", "named.py", "exec")
    cached.write_bytes(MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code))  # PEP 552, unchecked
    for module in (enclave, manifest):
        monkeypatch.setattr(module, "PATHS", [*manifest.PATHS, str(tmp_path)])
    asked, receiver = of(b"import named\ndef run(inputs):\n    return named.NAME.encode()\n", modules=("named",)), Receiver()
    with Enclave(asked, quoting) as started:
        run = started.run([], [receiver.public], NONCE)
    assert receiver.open(run.outputs[0], asked, [receiver.public], []) == b"Source"


def test_an_enclave_serves_one_run(quoting: QuotingProcess) -> None:
    with Enclave(of(SUM), quoting) as started:
        started.run(sealed_to(started, of(SUM), [], b"1"), [], NONCE)
        with pytest.raises(EnclaveFailed):
            started.run(sealed_to(started, of(SUM), [], b"1"), [], NONCE)


COUNT = b"""
def run(inputs, state):
    total = str(int(state or b"0") + int(inputs[0])).encode()
    return total, total
"""


@pytest.mark.slow
def test_a_state_is_sealed_to_platform_and_enclave_and_named_in_the_evidence(authority: ProvisioningAuthority) -> None:
    secret, receiver, asked = b"\x09" * 32, Receiver(), of(COUNT)
    receivers = [receiver.public]

    def count(amount: bytes, state: bytes, manifest: EnclaveManifest = asked, secret: bytes = secret) -> tuple[bytes, bytes]:
        with QuotingProcess(authority, secret) as platform, Enclave(manifest, platform) as started:
            inputs = sealed_to(started, manifest, receivers, amount)
            run = started.run(inputs, receivers, NONCE, state=state)
        assert run.state is not None
        bound = runs.run_digest(manifest.algorithm, receivers, inputs, run.outputs, [state, run.state]) + NONCE
        checked(run.quote, authority, manifest, bound, started.in_force)
        other = runs.run_digest(manifest.algorithm, receivers, inputs, run.outputs, [b"other", run.state]) + NONCE
        with pytest.raises(EvidenceRefused):
            checked(run.quote, authority, manifest, other, started.in_force)
        return receiver.open(run.outputs[0], manifest, receivers, inputs), run.state

    total, first = count(b"40", b"")
    assert (total, b"40" in first) == (b"40", False)
    assert count(b"2", first)[0] == b"42"
    for changes in ({"secret": b"\x08" * 32}, {"manifest": of(COUNT + b"#")}, {"manifest": of(COUNT, version=1)}):
        with pytest.raises(EnclaveFailed) as failed:
            count(b"2", first, **changes)  # type: ignore[arg-type]
        assert failed.value.reason == "InvalidTag"


JOIN = b"""
import csv, io, json

def run(inputs):
    tables = [dict(csv.reader(io.StringIO(item.decode()))) for item in inputs]
    common = set.intersection(*map(set, tables))
    return json.dumps({"customers": len(common), "owed": sum(int(table[key]) for table in tables for key in common)}).encode()
"""


@pytest.mark.slow
def test_four_banks_join_and_sum_and_only_two_of_them_read(authority: ProvisioningAuthority, quoting: QuotingProcess) -> None:
    asked, banks = of(JOIN), [Receiver() for _ in range(4)]
    readers = [banks[0].public, banks[3].public]
    tables = [f"a,{n}\nb,{10 * n}\n{'c,5' if n < 4 else 'd,7'}\n".encode() for n in range(1, 5)]
    with Enclave(asked, quoting) as started:
        inputs = []
        for place, table in enumerate(tables):
            nonce = bytes([place]) * 32
            key = runs.key_digest(started.public_key) + manifest.fresh(asked.conditions, nonce)
            assert checked(started.attest(nonce), authority, asked, key, started.in_force).simulated
            inputs.append(runs.seal(started.public_key, table, runs.input_context(JOIN, readers, place)))
        run = started.run(inputs, readers, NONCE)
    checked(run.quote, authority, asked, runs.run_digest(JOIN, readers, inputs, run.outputs) + NONCE, started.in_force)
    for bank, sealed in zip((banks[0], banks[3]), run.outputs, strict=True):
        assert bank.open(sealed, asked, readers, inputs) == b'{"customers": 2, "owed": 110}'
    for bank in banks[1:3]:
        for sealed in run.outputs:
            with pytest.raises(InvalidTag):
                bank.open(sealed, asked, readers, inputs)


ESCAPES = {
    "a file to read": ("open('/etc/hostname')", {"PermissionError"}),
    "a file to write": ("open('/tmp/escaped', 'w')", {"PermissionError"}),
    "a directory": ("__import__('os').listdir('/')", {"PermissionError"}),
    "a module from a file": ("__import__('socket')", {"ModuleNotFoundError"}),
    "a socket": ("__import__('ctypes').CDLL(None).socket(2, 1, 0)", {"SIGSYS"}),
    "a fork": ("__import__('os').fork()", {"SIGSYS"}),
    "another program": ("__import__('os').execv('/bin/true', ['true'])", {"SIGSYS"}),
    "a signal to another": ("__import__('os').kill(1, 9)", {"SIGSYS"}),
    "ptrace": ("__import__('ctypes').CDLL(None).ptrace(16, 1, 0, 0)", {"SIGSYS"}),
    "another's memory": ("__import__('ctypes').CDLL(None).process_vm_readv(1, 0, 0, 0, 0, 0)", {"SIGSYS"}),
    "another namespace": ("__import__('ctypes').CDLL(None).unshare(0x10000000)", {"SIGSYS"}),
    "64 GiB": ("bytearray(64 << 30)", {"MemoryError"}),
    "executable memory": ("mapped()", {"PermissionError"}),
    "a result of another type": ("'text'", {"TypeError"}),
}
QUICK = ("a file to read", "a socket", "executable memory")
MAPPED = """
def mapped():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(None, ctypes.c_size_t(4096), 7, 0x22, -1, 0)
    if address == ctypes.c_void_p(-1).value:
        raise PermissionError
    return b"escaped"
"""


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in ESCAPES if name not in QUICK)])
def test_an_algorithm_cannot_escape_and_its_attempt_is_reported(quoting: QuotingProcess, name: str) -> None:
    expression, reasons = ESCAPES[name]
    with pytest.raises(EnclaveFailed) as failed:
        attempt(of(f"{MAPPED}\ndef run(inputs):\n    return {expression}\n".encode()), quoting)
    assert failed.value.reason in reasons


@pytest.mark.slow
def test_an_algorithm_that_does_not_end_is_ended(quoting: QuotingProcess) -> None:
    endless = b"def run(inputs):\n    while True:\n        pass\n"
    with pytest.raises(EnclaveFailed) as failed:
        attempt(of(endless, limits=Limits(seconds=1)), quoting)
    assert failed.value.reason in {"SIGKILL", "SIGXCPU"}
    with pytest.raises(EnclaveFailed) as failed:
        attempt(of(endless), quoting, seconds=1)
    assert failed.value.reason == "Deadline"


ORPHAN = """
import os, threading, time
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick_node.engines.tee.enclave import Enclave
from tallystick_node.engines.tee.manifest import EnclaveManifest
from tallystick_node.engines.tee.quoting import QuotingProcess

asleep = b"import time\\ndef run(inputs):\\n    time.sleep(600)\\n"
now = int(time.time())
with QuotingProcess(ProvisioningAuthority((now, now + 100))) as quoting:
    enclave = Enclave(EnclaveManifest(asleep, bytes(32), modules=("time",)), quoting)
    threading.Thread(target=enclave.run, args=([], [], bytes(32)), daemon=True).start()
    time.sleep(0.2)
    print(os.getpgid(enclave._process.pid), flush=True)
    os.kill(os.getpid(), 9)
"""


def running_groups() -> set[int]:
    groups = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            groups |= {int(group)} if state != "Z" else set()
    return groups


@pytest.mark.slow
def test_an_enclave_ends_with_its_launcher_even_if_it_sleeps_and_the_launcher_is_killed(quoting: QuotingProcess) -> None:
    launcher = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, timeout=240)
    group = int(launcher.stdout)
    try:
        for _ in range(6000):
            if group not in running_groups():
                return
            time.sleep(0.01)
        pytest.fail("the enclave runs on")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


LEAKS = {
    "a message": ("raise ValueError(inputs[0])", "ValueError"),
    "a name": ("raise type(inputs[0].decode(), (LookupError,), {})", "LookupError"),
    "a frame": ("os.write(int(sys.argv[1]), b'X' + (6).to_bytes(4, 'big') + inputs[0])", "Unknown"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAKS)
def test_what_an_algorithm_says_in_an_error_stays_inside(quoting: QuotingProcess, name: str) -> None:
    statement, reason = LEAKS[name]
    with pytest.raises(EnclaveFailed) as failed:
        attempt(of(f"import os, sys\ndef run(inputs):\n    {statement}\n".encode()), quoting, b"secret")
    assert str(failed.value) == f"the enclave ended without a result: {reason}"


def test_an_output_larger_than_the_frame_is_refused(quoting: QuotingProcess) -> None:
    with pytest.raises(EnclaveFailed) as failed:
        attempt(of(b"def run(inputs):\n    return bytes(2000)\n", limits=Limits(frame=1_000)), quoting)
    assert failed.value.reason == "TypeError"


def changed(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    first, second = manifest.sources()
    assert old.encode() in first
    monkeypatch.setattr(enclave, "sources", lambda: (first.replace(old.encode(), new.encode()), second))


def test_an_enclave_does_not_start_without_required_confinement(quoting: QuotingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, "    program = filter_program(", "    raise OSError\n    program = filter_program(")
    with pytest.raises(EnclaveRefused, match="seccomp"):
        Enclave(of(SUM), quoting)


@pytest.mark.parametrize(
    ("old", "new", "feature"),
    [
        ("def filter_calls() -> None:", "{}\n    return\n", confinement.SECCOMP),
        ("def drop_privileges() -> None:", "{}\n    return\n", confinement.UNPRIVILEGED),
        ("def limit_resources(memory: int, seconds: int) -> None:", "{}\n    return\n", confinement.LIMITS),
        ("(resource.RLIMIT_CPU, (seconds, seconds))", "(resource.RLIMIT_CPU, (seconds, 9999))", confinement.LIMITS),
        ("(resource.RLIMIT_AS, (memory, memory))", "(resource.RLIMIT_AS, (2 * memory, 2 * memory))", confinement.LIMITS),
        ("resource.RLIMIT_NPROC, ", "", confinement.LIMITS),
        ("def enter_empty_root(directory: str) -> None:", "{}\n    return\n", confinement.EMPTY_ROOT),
        ('b"tmpfs", 1 | 2', 'b"tmpfs", 2', confinement.EMPTY_ROOT),
        ("_prctl(_PR_SET_DUMPABLE, 0)", "_prctl(_PR_SET_DUMPABLE, 1)", confinement.NON_DUMPABLE),
    ],
)
def test_an_enclave_that_claims_what_the_kernel_does_not_confirm_is_refused(
    quoting: QuotingProcess, in_force: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, old: str, new: str, feature: str
) -> None:
    if feature not in in_force:
        pytest.skip(f"this host has no {feature}")
    changed(monkeypatch, old, new.format(old))
    with pytest.raises(EnclaveRefused, match=f"the kernel does not confirm: .*{feature}"):
        Enclave(of(SUM), quoting)


def test_less_than_all_of_confinement_shows_in_the_evidence(authority: ProvisioningAuthority, quoting: QuotingProcess) -> None:
    features = tuple(name for name in confinement.FEATURES if name not in (confinement.NAMESPACES, confinement.EMPTY_ROOT))
    asked = of(SUM, features=features)
    with Enclave(asked, quoting) as started:
        quote = started.attest(NONCE)
        key = runs.key_digest(started.public_key) + manifest.fresh(asked.conditions, NONCE)
    assert confinement.NAMESPACES not in started.in_force
    assert asked.configuration(started.in_force) != asked.configuration(confinement.FEATURES)
    assert checked(quote, authority, asked, key, started.in_force).simulated


def test_manifests_are_checked() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        replace(of(SUM), publisher=b"")
    with pytest.raises(ValueError, match="features"):
        of(SUM, features=("seccomp",))
    with pytest.raises(ValueError, match="features"):
        of(SUM, features=(*confinement.FEATURES, "magic"))


def test_the_filter_allows_kills_and_refuses_by_number() -> None:
    program = confinement.filter_program("x86_64")
    verdicts = {"read": "allow", "futex": "allow", "ptrace": "kill", "execve": "kill", "openat": "refuse", "getpid": "refuse"}
    numbers = {**confinement._ALLOWED["x86_64"], **confinement._KILLED["x86_64"], "openat": 257, "getpid": 39}
    for name, verdict in verdicts.items():
        assert simulate(program, numbers[name]) == verdict, name
    assert simulate(program, 9, protection=3) == "allow"
    assert simulate(program, 9, protection=7) == "refuse"
    assert simulate(program, 10, protection=4) == "refuse"
    assert simulate(program, 0x40000000) == "kill"
    assert simulate(program, 0, architecture=0x40000003) == "kill"
    for machine in ("x86_64", "aarch64"):
        assert not set(confinement._ALLOWED[machine].values()) & set(confinement._KILLED[machine].values())


def simulate(program: bytes, number: int, protection: int = 0, architecture: int = 0xC000003E) -> str:
    """Run a classic BPF program on one system call."""
    import struct

    data = {0: number, 4: architecture, 32: protection}
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        if code == 0x20:
            accumulator = data[value]
        elif code == 0x06:
            return {0x7FFF0000: "allow", 0x00050001: "refuse", 0x80000000: "kill"}[value]
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += if_true if holds else if_false
