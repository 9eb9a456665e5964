"""A local EVM chain as a child process: Anvil by default, Ganache as the alternative. For development and tests only.

The keys of its accounts are public (the mnemonic below), so it binds to loopback and nothing else.

Anvil writes its own state file in place, and a kill during the write leaves a file that it refuses to read. So the state is
fetched over JSON-RPC, written to a temporary file, synced and renamed: whatever is killed, the last whole state stays.
Ganache keeps a LevelDB, which survives a kill by itself.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tallystick.chain.transport import Transport
from tallystick.protocol.errors import ChainUnreachable, Configuration, Deadline

MNEMONIC = "test test test test test test test test test test test junk"
CHAIN_IDS = {"anvil": 31337, "ganache": 1337}
START_SECONDS = 120.0
PORTS = range(20_000, 32_000)
STATE_LIMIT = 1 << 33  # bytes in which the chain tells its state: a few thousand tasks pass what an endpoint may answer
STATE_SECONDS = 40.0  # until it begins to: who stops a chain that hangs waits no longer

_keepers: list[socket.socket] = []


def rpc(url: str, method: str, *params: Any, seconds: float = 30.0, limit: int | None = None) -> Any:
    """One JSON-RPC call. Raises ChainUnreachable."""
    return Transport(url, seconds, limit).request(method, *params)


def free_port() -> int:
    """A port of loopback that is free, and that no process which asks here gets again while this one lives.

    Who starts a server on it does so later, so the number is kept by a datagram socket, which a server is not in the way of. It is
    below those that systems give to connections that go out. Raises Configuration when none is found.
    """
    for _ in range(1000):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            keeper.bind(("127.0.0.1", port))
            with contextlib.closing(socket.socket()) as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            keeper.close()
            continue
        _keepers.append(keeper)
        return port
    raise Configuration(
        f"no port from {PORTS.start} to {PORTS.stop - 1} of 127.0.0.1 is free",
        party="this machine",
        remedy="end what listens there",
    )


def modules() -> Path:
    """Where npm installed the chain: ``ganache-setup/node_modules`` of the checkout that holds this file or the current folder."""
    for start in (Path(__file__).resolve(), Path.cwd() / "x"):
        for folder in start.parents:
            found = folder / "ganache-setup" / "node_modules"
            if found.exists():
                return found
    raise Configuration("the local chain is not installed", remedy="run `make setup` in the checkout")


class LocalChain:
    """One chain process and the folder that keeps its state.

    ``kind`` is ``anvil`` or ``ganache``; ``block_time`` in seconds, or None to mine each transaction at once. Use it as a
    context manager, or call :meth:`start` and :meth:`stop`. :meth:`save` makes the present state durable.
    """

    def __init__(self, state_dir: Path, *, kind: str = "anvil", port: int | None = None, block_time: int | None = None) -> None:
        if kind not in CHAIN_IDS:
            raise Configuration(f"unknown chain {kind!r}", remedy="use anvil or ganache")
        self.kind = kind
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.chain_id = CHAIN_IDS[kind]
        self.state_dir = state_dir
        self.block_time = block_time
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def state_file(self) -> Path:
        """Anvil's last whole state."""
        return self.state_dir / "anvil.json"

    @property
    def history(self) -> Path:
        """Where Anvil lays states of earlier blocks that it has no room for in memory: gigabytes, of no use to another process."""
        return self.state_dir / "history"

    @property
    def log_file(self) -> Path:
        """What the chain process printed."""
        return self.state_dir / f"{self.kind}.log"

    def check(self) -> None:
        """Raise Configuration when the chain cannot start here: its port is in use, or something is not installed."""
        self._command()
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                raise Configuration(f"port {self.port} is in use", remedy="stop what uses it, or choose another port") from None

    def start(self) -> LocalChain:
        """Start the process and wait until it answers.

        Raises Configuration (port in use, not installed, a state that the chain cannot read) or Deadline.
        """
        self.check()
        self.state_dir.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.history, ignore_errors=True)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        give_up = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(ChainUnreachable):
                rpc(self.url, "eth_chainId", seconds=2)
                return self
            if self.process.poll() is not None:
                raise Configuration(
                    f"{self.kind} ended with status {self.process.returncode}: {self._complaint()}",
                    party=str(self.log_file),
                    remedy="read its log; `make chain-reset` forgets a damaged state",
                )
            if time.monotonic() > give_up:
                self.kill()
                raise Deadline(f"{self.kind} did not answer within {START_SECONDS:g} s", party=str(self.log_file))
            time.sleep(0.02)

    def save(self) -> None:
        """Make the present state durable. Does nothing for Ganache, which is durable by itself."""
        if self.kind != "anvil":
            return
        told = rpc(self.url, "anvil_dumpState", seconds=STATE_SECONDS, limit=STATE_LIMIT)
        state = gzip.decompress(bytes.fromhex(told[2:]))
        partial = self.state_file.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.state_file)

    def stop(self) -> None:
        """Save and end the process, by force when it does not end within ten seconds."""
        if self.process is None or self.process.poll() is not None:
            return
        try:
            with contextlib.suppress(ChainUnreachable):
                self.save()
        finally:  # a full disk fails the save, and must not leave the process behind
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            shutil.rmtree(self.history, ignore_errors=True)

    def kill(self) -> None:
        """End the process as a power cut would (SIGKILL)."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def rpc(self, method: str, *params: Any) -> Any:
        """One JSON-RPC call to this chain."""
        return rpc(self.url, method, *params)

    def __enter__(self) -> LocalChain:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _complaint(self) -> str:
        """The first line of the log's end that speaks of an error, else its last line."""
        lines = [line.strip() for line in self.log_file.read_text(errors="replace")[-4000:].splitlines() if line.strip()]
        return next((line for line in lines[-12:] if "error" in line.lower()), lines[-1] if lines else "it said nothing")[:300]

    def _command(self) -> list[str]:
        if self.kind == "ganache":
            node = shutil.which("node")
            if node is None:
                raise Configuration("Node.js is missing", remedy="install Node.js 20 or newer")
            command = [node, str(modules() / "ganache/dist/node/cli.js"), "--server.host", "127.0.0.1"]
            command += ["--server.port", str(self.port), "--chain.chainId", str(self.chain_id), "--logging.quiet"]
            command += ["--chain.hardfork", "shanghai", "--wallet.mnemonic", MNEMONIC]
            command += ["--database.dbPath", str(self.state_dir / "ganache")]
            return command + (["--miner.blockTime", str(self.block_time)] if self.block_time else [])
        found = sorted(modules().glob("@foundry-rs/anvil-*/bin/anvil"))
        if not found:
            raise Configuration("Anvil is not installed for this platform", remedy="run `make setup`, or CHAIN=ganache")
        command = [str(found[0]), "--host", "127.0.0.1", "--port", str(self.port), "--silent", "--accounts", "20"]
        command += ["--chain-id", str(self.chain_id), "--mnemonic", MNEMONIC, "--hardfork", "osaka"]
        command += ["--cache-path", str(self.history)]
        if self.state_file.exists():
            command += ["--load-state", str(self.state_file)]
        return command + (["--block-time", str(self.block_time)] if self.block_time else [])
