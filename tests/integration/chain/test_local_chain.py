"""The local chain as people use it: real commands, real processes, kill -9 among them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tallystick.chain import artifacts, transport
from tallystick.chain.connection import Chain
from tallystick.chain.deployment import Deployment, deploy, ensure
from tallystick.chain.profile import PROFILES
from tallystick.protocol import typed
from tallystick.protocol.errors import ChainUnreachable, Configuration, NotFound
from tallystick.signing import signer_from_uri
from tallystick.testing.local_chain import CHAIN_IDS, LocalChain, free_port, rpc
from web3 import HTTPProvider, Web3

SCRIPT = Path(__file__).parents[3] / "ganache-setup" / "chain.py"
KINDS = ["anvil", pytest.param("ganache", marks=pytest.mark.slow)]
CONFIGURATION, UNREACHABLE = 80, 40  # exit statuses, by the table of errors


@dataclass
class Commands:
    """chain.py with folders of its own."""

    kind: str
    folder: Path
    port: int

    @property
    def record(self) -> dict[str, int]:
        return json.loads((self.folder / "state" / self.kind / "keeper.lock").read_text())

    @property
    def deployment_file(self) -> Path:
        return self.folder / "deployments" / f"{CHAIN_IDS[self.kind]}.json"

    def run(self, action: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        places = ["--state", str(self.folder / "state"), "--deployments", str(self.folder / "deployments")]
        return subprocess.run(
            [sys.executable, str(SCRIPT), action, "--chain", self.kind, *places, *more],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **environment},
        )

    def start(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self.run("start", "--port", str(self.port), *more)

    def chain(self) -> Chain:
        profile = PROFILES["development" if self.kind == "anvil" else "ganache"]
        deployment = Deployment.load(self.deployment_file)
        return Chain(f"http://127.0.0.1:{self.port}", deployment, signer=signer_from_uri("mnemonic:0"), profile=profile)

    def until_saved(self, block: int) -> None:
        """Wait for the keeper, which looks for a new block twice a second. Ganache saves each block by itself."""
        saved = self.folder / "state" / "anvil" / "anvil.json"
        give_up = time.monotonic() + 120
        while self.kind == "anvil" and not (saved.exists() and json.loads(saved.read_bytes())["best_block_number"] >= block):
            assert time.monotonic() < give_up
            time.sleep(0.1)


def fine(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def refused(ran: subprocess.CompletedProcess[str], status: int, said: str) -> None:
    assert (ran.returncode, said in ran.stderr) == (status, True), (ran.returncode, ran.stdout, ran.stderr)
    assert "Traceback" not in ran.stderr
    assert "Remedy: " in ran.stderr


@pytest.fixture(params=KINDS)
def commands(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Commands]:
    made = Commands(request.param, tmp_path, free_port())
    yield made
    with contextlib.suppress(OSError, ValueError, KeyError):
        made.run("reset")


def add_authority(chain: Chain) -> int:
    """One record on the chain: its number."""
    x = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
    y = bytes.fromhex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
    validity = secrets.randbelow(1000), chain.now() + 10**6
    return int(chain.send("ParticipantRegistry", "addAuthority", x, y, *validity).event("AuthorityAdded")["authority"])


def gone(pid: int) -> None:
    give_up = time.monotonic() + 180
    while time.monotonic() < give_up:
        with contextlib.suppress(FileNotFoundError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
            time.sleep(0.05)
            continue
        return
    raise AssertionError(f"process {pid} is still there")


@pytest.mark.slow
def test_start_status_stop_and_reset(commands: Commands) -> None:
    refused(commands.run("status"), UNREACHABLE, "does not run")
    assert "does not run" in fine(commands.run("stop"))
    assert str(commands.port) in fine(commands.start())
    first = Deployment.load(commands.deployment_file)
    number = add_authority(commands.chain())
    head = commands.chain().head()
    assert f"block {head}" in fine(commands.run("status"))

    # a second start is the same chain, with or without its port; another port is refused
    pids = commands.record
    fine(commands.start())
    fine(commands.run("start"))
    assert (commands.record, commands.chain().head()) == (pids, head)
    refused(commands.run("start", "--port", str(free_port())), CONFIGURATION, "runs already")

    assert "stopped" in fine(commands.run("stop"))
    gone(pids["chain"])
    refused(commands.run("status"), UNREACHABLE, "does not run")

    # what was on the chain is there again, and nothing is deployed anew
    fine(commands.start())
    assert Deployment.load(commands.deployment_file) == first
    assert commands.chain().head() == head
    names = [event.name for event in commands.chain().events(0, head)]
    assert names.count("AuthorityAdded") == number + 1

    fine(commands.run("reset"))
    assert not commands.deployment_file.exists()
    fine(commands.start())
    assert add_authority(commands.chain()) == 0


def test_the_state_survives_the_death_of_the_chain(commands: Commands) -> None:
    fine(commands.start())
    number = add_authority(commands.chain())
    head = commands.chain().head()
    commands.until_saved(head)
    pids = commands.record
    os.kill(pids["chain"], signal.SIGKILL)
    gone(pids["pid"])  # a keeper without its chain has nothing to keep
    refused(commands.run("status"), UNREACHABLE, "does not run")
    fine(commands.start())
    assert commands.chain().head() == head
    assert add_authority(commands.chain()) == number + 1


def test_a_chain_without_its_keeper_is_found(commands: Commands) -> None:
    fine(commands.start())
    number = add_authority(commands.chain())
    pids = commands.record
    os.kill(pids["pid"], signal.SIGKILL)
    gone(pids["pid"])
    fine(commands.start())
    gone(pids["chain"])
    assert add_authority(commands.chain()) == number + 1
    os.kill(commands.record["pid"], signal.SIGKILL)
    assert "lost its keeper" in fine(commands.run("stop"))


def test_a_port_in_use_is_named(commands: Commands) -> None:
    with socket.create_server(("127.0.0.1", commands.port)):
        refused(commands.start(), CONFIGURATION, f"port {commands.port} is in use")
    fine(commands.start())


def test_a_missing_node_is_named(commands: Commands) -> None:
    ran = commands.run("start", "--port", str(commands.port), PATH="")
    if commands.kind == "ganache":
        refused(ran, CONFIGURATION, "Node.js is missing")
    else:
        fine(ran)  # Anvil is a program of its own


def test_a_damaged_state_is_named_and_kept(commands: Commands) -> None:
    folder = commands.folder / "state" / commands.kind
    damaged = folder / ("anvil.json" if commands.kind == "anvil" else "ganache/CURRENT")
    damaged.parent.mkdir(parents=True)
    damaged.write_text('{"block": {"number')
    refused(commands.start(), CONFIGURATION, f"{commands.kind} ended with status")
    assert damaged.read_text() == '{"block": {"number'
    refused(commands.run("status"), UNREACHABLE, "does not run")
    fine(commands.run("reset"))
    fine(commands.start())


def test_a_damaged_deployment_file_is_named(commands: Commands) -> None:
    commands.deployment_file.parent.mkdir(parents=True)
    commands.deployment_file.write_text("{")
    refused(commands.start(), CONFIGURATION, "deployment file is damaged")
    assert commands.deployment_file.read_text() == "{"


def test_two_starts_at_once_are_one_chain(tmp_path: Path) -> None:
    commands = Commands("anvil", tmp_path, free_port())
    command = [sys.executable, str(SCRIPT), "start", "--port", str(commands.port)]
    command += ["--state", str(tmp_path / "state"), "--deployments", str(tmp_path / "deployments")]
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    try:
        for process in pair:
            assert "runs at" in process.communicate(timeout=300)[0]
        fine(commands.run("status"))
    finally:
        commands.run("reset")


# -- the class behind the commands


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_chain_survives_kill_9(tmp_path: Path, kind: str) -> None:
    profile = PROFILES["development" if kind == "anvil" else "ganache"]
    signer = signer_from_uri("mnemonic:0")
    with LocalChain(tmp_path, kind=kind) as local:
        deployment = deploy(Web3(HTTPProvider(local.url)), signer)
        add_authority(Chain(local.url, deployment, signer=signer, profile=profile))
        local.save()
        head = Chain(local.url, deployment).head()
        local.kill()
        with pytest.raises(ChainUnreachable):
            local.rpc("eth_blockNumber")
    with LocalChain(tmp_path, kind=kind) as local:
        chain = Chain(local.url, deployment, signer=signer, profile=profile)
        assert chain.head() == head
        assert [event.name for event in chain.events(0, head)].count("AuthorityAdded") == 1
        assert add_authority(chain) == 1


def test_a_kill_during_the_save_leaves_the_last_whole_state(tmp_path: Path) -> None:
    with LocalChain(tmp_path) as local:
        local.rpc("anvil_mine", "0x5")
    local.state_file.with_suffix(".partial").write_bytes(b'{"half')
    with LocalChain(tmp_path) as local:
        assert rpc(local.url, "eth_blockNumber") == "0x5"


def test_a_state_of_any_length_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It outgrows what other answers may have: a task takes some ten thousand bytes of it."""
    monkeypatch.setattr(transport, "ANSWER_LIMIT", 1000)
    with LocalChain(tmp_path) as local:
        local.rpc("anvil_mine", "0x5")
    with LocalChain(tmp_path) as local:
        assert rpc(local.url, "eth_blockNumber") == "0x5"


def test_a_save_that_fails_leaves_no_process_behind(tmp_path: Path) -> None:
    local = LocalChain(tmp_path / "chain").start()
    shutil.rmtree(tmp_path / "chain")
    assert local.process is not None
    with pytest.raises(OSError):
        local.stop()
    assert local.process.poll() is not None


def test_what_anvil_lays_beside_its_state_stays_in_the_folder_and_goes(tmp_path: Path) -> None:
    chain = LocalChain(tmp_path / "state").start()
    chain.rpc("anvil_mine", hex(700))  # more blocks than it keeps states of in memory
    assert any(chain.history.rglob("*"))
    chain.kill()
    with LocalChain(tmp_path / "state") as again:
        assert not any(again.history.rglob("*"))
        again.rpc("anvil_mine", hex(700))
    assert not again.history.exists()


def test_deploying_twice_is_deploying_once(tmp_path: Path) -> None:
    path = tmp_path / "deployments" / "31337.json"
    signer = signer_from_uri("mnemonic:0")
    with LocalChain(tmp_path / "chain") as local:
        web3 = Web3(HTTPProvider(local.url))
        first = ensure(web3, signer, path)
        head, content = local.rpc("eth_blockNumber"), path.read_text()
        assert ensure(web3, signer, path) == first
        assert (local.rpc("eth_blockNumber"), path.read_text()) == (head, content)
        path.unlink()
        assert ensure(web3, signer, path).contracts != first.contracts
    shutil.rmtree(tmp_path / "chain")
    with LocalChain(tmp_path / "chain") as local:  # a chain that was reset is deployed to anew
        again = ensure(Web3(HTTPProvider(local.url)), signer, path)
        assert again.contracts == first.contracts
        Chain(local.url, again)


def test_the_governor_adds_what_an_older_deployment_lacks(tmp_path: Path) -> None:
    path = tmp_path / "31337.json"
    governor, other = signer_from_uri("mnemonic:0"), signer_from_uri("mnemonic:1")
    with LocalChain(tmp_path / "chain") as local:
        web3 = Web3(HTTPProvider(local.url))
        older = artifacts.VERIFIERS[:2]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(artifacts, "VERIFIERS", older)
            patch.setattr(artifacts, "REVIEWS", ())
            first = ensure(web3, governor, path)
        kind = typed.proof_kind("projection-verified")
        assert set(first.contracts) == {*artifacts.LEDGERS, *artifacts.ENFORCEMENT, *older}
        assert ensure(web3, other, path) == Deployment.load(path) == first
        assert Chain(local.url, first).call("ProofRegistry", "verifierOf", kind) == "0x" + 40 * "0"
        with pytest.raises(NotFound, match="has no AlgorithmRegistry"):
            Chain(local.url, first).algorithms.algorithm_at(bytes(32))
        whole = ensure(web3, governor, path)
        assert ensure(web3, governor, path) == Deployment.load(path) == whole
        assert (whole.block, whole.contracts | first.contracts) == (first.block, whole.contracts)
        added = Chain(local.url, whole).call("ProofRegistry", "verifierOf", kind)
        assert added.lower() == whole.contracts["ProjectionVerifier"].lower()
        assert Chain(local.url, whole).algorithms.participants() == whole.contracts["ParticipantRegistry"]


def test_a_chain_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Configuration, match="unknown chain"):
        LocalChain(tmp_path, kind="hardhat")
