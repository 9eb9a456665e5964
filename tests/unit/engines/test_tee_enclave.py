"""The software enclave: what it computes is attested as a simulation, and its algorithm can do nothing but compute."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX
from tallystick.attestation.references import ReferenceValues, SgxEnclave
from tallystick.attestation.result import AttestationResult, Tier
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.verifier import Evidence, appraise
from tallystick_node.engines.tee import confinement, enclave, manifest
from tallystick_node.engines.tee.enclave import EnclaveFailed, EnclaveRefused, EnclaveRun, run_enclave
from tallystick_node.engines.tee.manifest import EnclaveManifest, Limits
from tallystick_node.engines.tee.quoting import QuotingProcess
from tallystick_node.engines.tee.worker import run_digest

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
            run_enclave(EnclaveManifest(SUM, PUBLISHER), [], NONCE, process)
        except EnclaveRefused as refused:
            pytest.skip(f"this host cannot confine an enclave: {refused}")
        yield process


def of(algorithm: bytes, **changes: Any) -> EnclaveManifest:
    return EnclaveManifest(algorithm, PUBLISHER, **changes)


def checked(
    run: EnclaveRun, authority: ProvisioningAuthority, expected: EnclaveManifest, report_data: bytes, in_force: tuple[str, ...]
) -> AttestationResult:
    """The appraisal of a relying party that knows the manifest and which confinement it asks for."""
    policy = AppraisalPolicy("simulated", simulations=frozenset({authority.fingerprint}))
    reference = SgxEnclave(expected.measurement, expected.version, expected.configuration(in_force))
    evidence = Evidence(run.quote, authority.collateral(SGX, WINDOW))
    return appraise(evidence, ReferenceValues((reference,)), policy, report_data, NOW)


def test_a_run_is_attested_as_a_simulation_and_binds_code_inputs_output_and_nonce(
    authority: ProvisioningAuthority, quoting: QuotingProcess
) -> None:
    asked = of(SUM, product=3, version=4)
    run = run_enclave(asked, [b"40", b"2"], NONCE, quoting)
    assert run.output == b"42"
    expected = run_digest(SUM, [b"40", b"2"], b"42") + NONCE
    found = checked(run, authority, asked, expected, run.in_force)
    assert (found.strength, found.status, found.measurement) == ("attested, simulated", Tier.CONTRAINDICATED, asked.measurement)
    for other in (
        run_digest(SUM, [b"2", b"40"], b"42"),
        run_digest(SUM, [b"40", b"2"], b"43"),
        run_digest(SUM + b"#", [b"40", b"2"], b"42"),
    ):
        with pytest.raises(EvidenceRefused) as refused:
            checked(run, authority, asked, other + NONCE, run.in_force)
        assert refused.value.rule is Rule.REPORT_DATA


def test_another_byte_of_the_algorithm_or_less_confinement_is_another_enclave(
    authority: ProvisioningAuthority, quoting: QuotingProcess
) -> None:
    run = run_enclave(of(SUM), [b"1"], NONCE, quoting)
    expected = run_digest(SUM, [b"1"], b"1") + NONCE
    for other in (
        of(SUM.replace(b"sum", b"max")),
        of(SUM, limits=Limits(seconds=61)),
        of(SUM, modules=("math",)),
        of(SUM, version=1),
    ):
        with pytest.raises(EvidenceRefused) as refused:
            checked(run, authority, other, expected, run.in_force)
        assert refused.value.rule is Rule.MEASUREMENT
    with pytest.raises(EvidenceRefused) as refused:
        checked(run, authority, of(SUM), expected, run.in_force[:-1])
    assert refused.value.rule is Rule.MEASUREMENT


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


@pytest.mark.parametrize("name", ESCAPES)
def test_an_algorithm_cannot_escape_and_its_attempt_is_reported(quoting: QuotingProcess, name: str) -> None:
    attempt, reasons = ESCAPES[name]
    with pytest.raises(EnclaveFailed) as failed:
        run_enclave(of(f"{MAPPED}\ndef run(inputs):\n    return {attempt}\n".encode()), [], NONCE, quoting)
    assert failed.value.reason in reasons


def test_an_algorithm_that_does_not_end_is_ended(quoting: QuotingProcess) -> None:
    endless = b"def run(inputs):\n    while True:\n        pass\n"
    with pytest.raises(EnclaveFailed) as failed:
        run_enclave(of(endless, limits=Limits(seconds=1)), [], NONCE, quoting, seconds=20)
    assert failed.value.reason in {"SIGKILL", "SIGXCPU"}
    with pytest.raises(EnclaveFailed) as failed:
        run_enclave(of(endless), [], NONCE, quoting, seconds=1)
    assert failed.value.reason == "Deadline"


def test_what_an_algorithm_says_in_an_error_stays_inside(quoting: QuotingProcess) -> None:
    leak = b"def run(inputs):\n    class SecretIs42(Exception): pass\n    raise ValueError(inputs[0])\n"
    with pytest.raises(EnclaveFailed) as failed:
        run_enclave(of(leak), [b"secret"], NONCE, quoting)
    assert str(failed.value) == "the enclave ended without a result: ValueError"


def test_an_output_larger_than_the_frame_is_refused(quoting: QuotingProcess) -> None:
    with pytest.raises(EnclaveFailed) as failed:
        run_enclave(of(b"def run(inputs):\n    return bytes(2000)\n", limits=Limits(frame=1_000)), [], NONCE, quoting)
    assert failed.value.reason == "TypeError"


def changed(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    first, second = manifest.sources()
    assert old.encode() in first
    monkeypatch.setattr(enclave, "sources", lambda: (first.replace(old.encode(), new.encode()), second))


def test_an_enclave_does_not_start_without_required_confinement(quoting: QuotingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, "    program = filter_program(", "    raise OSError\n    program = filter_program(")
    with pytest.raises(EnclaveRefused, match="seccomp"):
        run_enclave(of(SUM), [b"1"], NONCE, quoting)


@pytest.mark.parametrize(
    ("step", "feature"),
    [
        ("def filter_calls() -> None:", confinement.SECCOMP),
        ("def drop_privileges() -> None:", confinement.UNPRIVILEGED),
    ],
)
def test_an_enclave_that_claims_what_the_kernel_does_not_confirm_is_refused(
    quoting: QuotingProcess, monkeypatch: pytest.MonkeyPatch, step: str, feature: str
) -> None:
    changed(monkeypatch, step, f"{step}\n    return\n")
    with pytest.raises(EnclaveRefused, match=f"the kernel does not confirm: .*{feature}"):
        run_enclave(of(SUM), [b"1"], NONCE, quoting)


def test_less_than_all_of_confinement_shows_in_the_evidence(authority: ProvisioningAuthority, quoting: QuotingProcess) -> None:
    features = tuple(name for name in confinement.FEATURES if name not in (confinement.NAMESPACES, confinement.EMPTY_ROOT))
    asked = of(SUM, features=features)
    run = run_enclave(asked, [b"7"], NONCE, quoting)
    assert confinement.NAMESPACES not in run.in_force
    assert asked.configuration(run.in_force) != asked.configuration(confinement.FEATURES)
    assert checked(run, authority, asked, run_digest(SUM, [b"7"], b"7") + NONCE, run.in_force).simulated


def test_manifests_are_checked() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        replace(of(SUM), publisher=b"")
    with pytest.raises(ValueError, match="features"):
        of(SUM, features=("seccomp",))
    with pytest.raises(ValueError, match="features"):
        of(SUM, features=(*confinement.FEATURES, "magic"))
    with pytest.raises(ValueError, match="nonce"):
        run_enclave(of(SUM), [], b"", None)  # type: ignore[arg-type]


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
