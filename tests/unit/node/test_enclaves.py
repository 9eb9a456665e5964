"""How a node comes to an enclave, and when it does not: its settings, its platform's secret, and which authorities it accepts."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import threading
from pathlib import Path
from subprocess import TimeoutExpired
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tallystick.attestation import runs
from tallystick.protocol.errors import Refused, RunFailed
from tallystick_node.admission.gate import Gate
from tallystick_node.engines.tee import enclave, hosting, manifest, quoting
from tallystick_node.engines.tee.enclave import EnclaveFailed, EnclaveRefused
from tallystick_node.engines.tee.frames import StreamBroken
from tallystick_node.engines.tee.hosting import HostedEnclave
from tallystick_node.engines.tee.manifest import EnclaveManifest
from tallystick_node.runs import enclaves
from tallystick_node.settings import Policy
from tallystick_node.workloads.enclave.workload import EnclaveTask
from tallystick_node.workloads.statistics.workload import Statistics
from unit.workloads.test_enclave_task import HARD, NORTH, parameters, spec

AUTHORITY = "0x" + "33" * 32  # of the spec


def settings(folder: Path, authority: Path | None) -> Any:
    return SimpleNamespace(
        home=folder,
        enclave_authority=authority,
        enclave_password_file=authority and folder / "word",
        enclave_device="simulation",
        enclave_endorsements=None,
    )


def test_a_node_without_an_authority_launches_nothing_and_says_what_to_set(tmp_path: Path) -> None:
    async def launch() -> None:
        async with enclaves.launcher(settings(tmp_path, None)):
            pytest.fail("nothing is launched")

    with pytest.raises(RunFailed, match="launches no enclaves") as failed:
        asyncio.run(launch())
    assert "enclave_authority" in failed.value.remedy


def test_a_platforms_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "authority").write_bytes(b"{}")
    (tmp_path / "word").write_bytes(b"word\n")
    given = [enclaves._given(settings(tmp_path, tmp_path / "authority")) for _ in range(2)]
    assert given[0] == given[1]
    secret = tmp_path / enclaves.PLATFORM
    assert (len(secret.read_bytes()), secret.stat().st_mode & 0o777) == (32, 0o600)


def test_two_runs_that_begin_at_once_have_one_secret_of_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins while the first makes the secret: it must not read what is not written yet."""
    (tmp_path / "authority").write_bytes(b"{}")
    (tmp_path / "word").write_bytes(b"word\n")
    given: list[bytes] = []
    urandom, begun = os.urandom, iter([True])

    def drawn(size: int) -> bytes:
        if next(begun, False):
            given.append(enclaves._given(settings(tmp_path, tmp_path / "authority")))
        return urandom(size)

    monkeypatch.setattr(os, "urandom", drawn)
    given.append(enclaves._given(settings(tmp_path, tmp_path / "authority")))
    assert given[0] == given[1]
    assert json.loads(given[0])["secret"] == (tmp_path / enclaves.PLATFORM).read_bytes().hex() != ""
    assert {each.name for each in tmp_path.iterdir()} == {"authority", "word", enclaves.PLATFORM}


def test_a_node_that_is_to_use_its_environment_never_simulates_one(tmp_path: Path) -> None:
    """It has an authority, too, and runs in no environment: the launcher, a process as a run has it, says so and starts nothing."""
    (tmp_path / "authority").write_bytes(b"{}")
    (tmp_path / "word").write_bytes(b"word\n")
    wanted = settings(tmp_path, tmp_path / "authority")
    wanted.enclave_device = "auto"
    assert set(json.loads(enclaves._given(wanted))) == {"device", "endorsements"}

    async def launch() -> None:
        async with enclaves.launcher(wanted) as way:
            await asyncio.to_thread(HostedEnclave, way, EnclaveManifest(b"SELECT 1", bytes(32), "sql"))

    with pytest.raises(EnclaveRefused, match="nothing is simulated instead"):
        asyncio.run(launch())
    assert not (tmp_path / enclaves.PLATFORM).exists()


def test_launchers_share_a_node_and_one_that_is_killed_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs at one host, each with a launcher of its own as a node starts them; one is killed before it has computed."""
    exported, password = hosting.throw_away()
    (tmp_path / "authority").write_bytes(exported)
    (tmp_path / "word").write_bytes(password)
    given, started, start = settings(tmp_path, tmp_path / "authority"), [], asyncio.create_subprocess_exec

    async def remembered(*arguments: Any, **options: Any) -> Any:
        started.append(await start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remembered)
    code = b"def run(inputs):\n    return b'%d' % sum(range(2_000_000))\n"
    asked = EnclaveManifest(code, bytes(32))
    receiver = X25519PrivateKey.generate()
    receivers, context = [receiver.public_key().public_bytes_raw()], b"\x07" * 32

    def computed(way: socket.socket, killed: threading.Event | None) -> bytes:
        enclave = HostedEnclave(way, asked)
        if killed is not None:
            killed.wait(60)
        run, _ = enclave.compute([], receivers, context, 60.0)
        sealed_for = runs.output_context(context + hashlib.sha256(code).digest(), receivers, [])
        return runs.unseal(receiver, run.outputs[0], sealed_for)[32:]

    async def both() -> list[Any]:
        async with enclaves.launcher(given) as one, enclaves.launcher(given) as other:
            killed = threading.Event()
            sides = [asyncio.create_task(asyncio.to_thread(computed, way, killed)) for way in (one, other)]
            started[0].kill()
            await started[0].wait()
            killed.set()
            return await asyncio.gather(*sides, return_exceptions=True)

    first, second = asyncio.run(both())
    if isinstance(second, EnclaveRefused) and "not in force on this host" in str(second):
        pytest.skip(str(second))
    assert isinstance(first, EnclaveFailed | EnclaveRefused)
    assert second == b"%d" % sum(range(2_000_000))


def test_an_authority_that_does_not_open_is_told_to_the_worker() -> None:
    exported, _ = hosting.throw_away()
    ours, theirs = socket.socketpair()
    given = hosting.authority_frame(exported, b"another", bytes(32))
    served = threading.Thread(target=hosting.main, args=(theirs, given), daemon=True)
    served.start()
    with ours, pytest.raises(EnclaveRefused, match="authority does not open"):
        HostedEnclave(ours, EnclaveManifest(b"SELECT 1", bytes(32), "sql"))
    served.join(10)


def test_a_host_without_the_libraries_of_enclaves_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_OWN_MODULES", ("no_such_module",))
    manifest.interpreter_digest.cache_clear()
    exported, password = hosting.throw_away()
    ours, theirs = socket.socketpair()
    given = hosting.authority_frame(exported, password, bytes(32))
    served = threading.Thread(target=hosting.main, args=(theirs, given), daemon=True)
    served.start()
    with ours, pytest.raises(EnclaveRefused, match=r"install tallystick-node\[enclave\]"):
        HostedEnclave(ours, EnclaveManifest(b"SELECT 1", bytes(32), "sql"))
    served.join(10)
    manifest.interpreter_digest.cache_clear()


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        (manifest, "LISTING", "did not list what runs sql within"),
        (quoting, "_DEADLINE", "simulated platform did not start: Deadline"),
    ],
)
def test_a_host_too_slow_to_launch_an_enclave_says_what_took_too_long(
    module: ModuleType, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, 0.001)
    manifest.interpreter_digest.cache_clear()
    exported, password = hosting.throw_away()
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, contextlib.suppress(StreamBroken, TimeoutExpired):  # the process ends by either, and its channel with it
            hosting.main(theirs, hosting.authority_frame(exported, password, bytes(32)))

    served = threading.Thread(target=serve, daemon=True)
    served.start()
    with ours, pytest.raises(EnclaveRefused, match=said):
        HostedEnclave(ours, EnclaveManifest(b"SELECT 1", bytes(32), "sql"))
    served.join(10)
    manifest.interpreter_digest.cache_clear()


def test_a_worker_waits_for_all_that_a_launch_may_take() -> None:
    assert hosting.START > quoting._DEADLINE + manifest.LISTING + enclave._START_UP


def test_evidence_of_a_simulated_authority_is_accepted_only_where_the_policy_names_it(tmp_path: Path) -> None:
    def admit(*simulations: str) -> None:
        Gate(NORTH, None, None, Policy(simulations=simulations), tmp_path)._enclave_rule(spec(), EnclaveTask())

    admit("0x" + "44" * 32, AUTHORITY)
    for named in ((), ("0x" + "44" * 32,)):
        with pytest.raises(Refused, match=AUTHORITY) as refused:
            admit(*named)
        assert refused.value.rule == "security"
    Gate(NORTH, None, None, Policy(), tmp_path)._enclave_rule(spec(), Statistics())  # no enclave, no rule


def test_an_environment_of_hardware_is_accepted_where_the_policy_or_the_chain_names_it(tmp_path: Path) -> None:
    """Who asks for a task names the environments, and its own image could give away what it is given."""

    def admit(proof: str, *environments: str) -> None:
        asked = spec(parameters(attestation=HARD), proof=proof)
        Gate(NORTH, None, None, Policy(environments=environments), tmp_path)._enclave_rule(asked, EnclaveTask())

    identity = "sha256:" + "22" * 32  # of the spec
    admit("signed-by-all", "sha256:" + "44" * 32, identity)
    admit("attested-hardware")
    for named in ((), ("sha256:" + "44" * 32,)):
        with pytest.raises(Refused, match=identity) as refused:
            admit("signed-by-all", *named)
        assert refused.value.rule == "security"


def test_a_node_runs_no_enclaves_unless_it_says_so() -> None:
    assert "enclave" not in Policy().workloads
    assert Policy().simulations == ()
