"""Replicas of a key service as processes of their own: they share the load, and when one is killed the others go on."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from contracts.conftest import DAY, KIND
from contracts.test_key_permits import DATA_KEY, ENCLAVE, PUBLIC, Institution, institution  # noqa: F401 - a fixture
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.identity import issue_authority, issue_certificate
from tallystick.protocol.operators import Scope
from tallystick.signing import signer_from_uri
from tallystick_node.engines.tee.frames import Messages, StreamBroken
from tallystick_node.engines.tee.keys import ask
from tallystick_node.engines.tee.locked import opened
from tallystick_node.keys.server import tls

pytestmark = pytest.mark.slow
OPERATOR = 19  # of the mnemonic's accounts, none of the world's


class Replica:
    """``tallystick-node keys`` in a process."""

    def __init__(self, folder: Path, keys: Path, number: int) -> None:
        self.log = folder / f"log-{number}"
        command = ["-m", "tallystick_node.app", "keys", "--config", str(folder / "node.toml"), "--keys", str(keys)]
        self.process = subprocess.Popen(
            [sys.executable, *command, "--listen", "127.0.0.1:0", "--log", str(self.log)], stderr=subprocess.PIPE
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if b"key service serves" in line:
                self.port = int(json.loads(line)["port"])
                return
        raise AssertionError(f"the replica ended with {self.process.wait(30)}")

    @property
    def records(self) -> list[AuditRecord]:
        return [AuditRecord.parse(line) for line in self.log.read_bytes().splitlines()]


@pytest.fixture
def folder(institution: Institution, tmp_path: Path) -> Path:  # noqa: F811
    """Settings and certificates; the newcomer is enrolled with the one that it connects with. An operator signs the log."""
    world, ca = institution.world, ec.generate_private_key(ec.SECP256R1())
    window = (world.now - DAY, world.now + DAY)
    authority = issue_authority("consortium", ca, window)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    for name, actor in (("server", world.parties[0]), ("newcomer", world.newcomer)):
        key = ec.generate_private_key(ec.SECP256R1())
        made = issue_certificate(authority, ca, key.public_key(), actor.address, name, ["localhost"], ["requester"], window)
        (tmp_path / f"{name}.pem").write_bytes(made.pem)
        (tmp_path / f"{name}.key").touch(0o600)
        (tmp_path / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        if actor is world.newcomer:
            actor.key, actor.fingerprint = key, made.fingerprint
            world.enrol(actor)
    operator = signer_from_uri(f"mnemonic:{OPERATOR}").address
    world.parties[0].send("ParticipantRegistry", "authorise", operator, int(Scope.SIGN), world.chain.now() + DAY)
    world.deployment.save(tmp_path / "deployment.json")
    settings = {
        "signer": f"mnemonic:{OPERATOR}",
        "certificate": "server.pem",
        "key": "server.key",
        "authority": "ca.pem",
        "rpc_url": world.url,
        "chain_profile": "development" if KIND == "anvil" else "ganache",
        "deployment": "deployment.json",
    }
    (tmp_path / "node.toml").write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    return tmp_path


@contextlib.contextmanager
def replicas(folder: Path, keys: Path, count: int) -> Iterator[list[Replica]]:
    running: list[Replica] = []
    try:
        running += [Replica(folder, keys, number) for number in range(count)]
        yield running
    finally:
        for each in running:
            each.process.kill()
            each.process.wait()


def test_replicas_share_the_load_and_one_that_is_killed_is_not_missed(
    institution: Institution,  # noqa: F811
    folder: Path,
) -> None:
    institution.case.start()
    context = tls(folder / "newcomer.key", folder / "newcomer.pem", folder / "ca.pem", listening=False)

    def asked(ports: list[int]) -> bytes:
        """The key, from the first of the replicas that answers to the end."""
        for port in ports:
            with contextlib.suppress(OSError, StreamBroken):
                plain = socket.create_connection(("127.0.0.1", port), timeout=60)
                with plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
                    released = ask(Messages(secure, 60, 1 << 20), institution.use, PUBLIC, institution.attest)
                return opened(ENCLAVE, released, institution.use.sealing())[0]
        raise AssertionError("no replica answers")

    with replicas(folder, institution.keys, 2) as running, ThreadPoolExecutor(4) as pool:
        ports = [each.port for each in running]
        turns: list[Any] = [pool.submit(asked, ports if number % 2 else ports[::-1]) for number in range(8)]
        assert {turn.result(120).hex() for turn in turns} == {DATA_KEY}
        assert all(each.records for each in running)  # both have served
        logged = {record.account for each in running for record in each.records}
        assert logged == {institution.world.parties[0].address}  # the institution, whose operator signed
        turns = [pool.submit(asked, ports) for _ in range(8)]  # all of them at the first
        running[0].process.send_signal(signal.SIGKILL)
        assert {turn.result(120).hex() for turn in turns} == {DATA_KEY}
        assert running[0].process.wait(60) == -signal.SIGKILL
        assert asked(ports).hex() == DATA_KEY
        answered = sum(not record.rule for each in running for record in each.records)
        assert answered >= 8 + 8 + 1  # a request that was cut off after its record was made anew
        genuine = institution.attest

        def late(nonce: bytes) -> bytes:
            running[1].process.terminate()
            return genuine(nonce)

        institution.attest = late  # type: ignore[method-assign]
        assert asked(ports).hex() == DATA_KEY  # what was begun is answered
        assert running[1].process.wait(60) == 0
