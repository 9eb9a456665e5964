"""The local chain of this checkout: ``chain.py start|stop|status|reset``. It runs in the background and keeps its state.

A keeper process owns the chain process, makes its state durable after every new block, and ends it on SIGTERM. It holds a lock
on ``keeper.lock`` as long as it lives, so that nobody mistakes another process for it, and writes there who runs where. What
goes wrong is said in one line, and the exit status is the error's own.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tallystick.protocol.errors import ChainUnreachable, Configuration, Deadline, TallystickError, exit_code
from tallystick.testing.local_chain import CHAIN_IDS, LocalChain, rpc

HERE = Path(__file__).resolve().parent
STATE = HERE / "state"
DEPLOYMENTS = HERE.parent / "contracts" / "deployments"
PORT = 8545
START_SECONDS = 150.0
STOP_SECONDS = 60.0
LOCK_SECONDS = 10.0


class Keeping:
    """One chain's folder, and what its keeper wrote there."""

    def __init__(self, kind: str, state: Path) -> None:
        self.kind = kind
        self.folder = state / kind
        self.lock_file = self.folder / "keeper.lock"
        self.log_file = self.folder / "keeper.log"

    def record(self) -> dict[str, int]:
        """``pid``, ``port`` and ``chain`` (the chain's process) as last written; empty when there is nothing readable."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self.lock_file.read_text())
            return {name: int(found[name]) for name in ("pid", "port", "chain") if name in found}
        return {}

    def running(self) -> dict[str, int] | None:
        """The record of the keeper that lives now, or None."""
        with contextlib.suppress(FileNotFoundError), self.lock_file.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return self.record()
        return None

    @contextlib.contextmanager
    def held(self) -> Iterator[Any]:
        """Hold the lock; yields the file to write the record to. Raises Configuration when another keeper holds it."""
        with self.lock_file.open("a+") as file:
            give_up = time.monotonic() + LOCK_SECONDS  # somebody who only looks holds it for a moment
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > give_up:
                        raise Configuration(f"{self.kind} has a keeper already", remedy="`make chain-status`") from None
                time.sleep(0.02)
            yield file

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One start or stop at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "start.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def end_orphan(self) -> bool:
        """End a chain whose keeper was killed, after its state is saved. Its command line must be that of our chain."""
        found = self.record()
        pid, port = found.get("chain"), found.get("port")
        if pid is None or port is None or not self._is_chain(pid, port):
            return False
        with contextlib.suppress(ChainUnreachable):
            LocalChain(self.folder, kind=self.kind, port=port).save()
        for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            give_up = time.monotonic() + seconds
            while time.monotonic() < give_up:
                # A process that ends loses its command line a moment before its port.
                if not self._is_chain(pid, port) and not _listening(port):
                    return True
                time.sleep(0.05)
        return True

    def _is_chain(self, pid: int, port: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return str(port).encode() in words and any(self.kind.encode() in word for word in words[:2])


def _listening(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def keep(keeping: Keeping, port: int) -> None:
    """Own the chain process until SIGTERM; save its state after every new block."""
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    with keeping.held() as file, LocalChain(keeping.folder, kind=keeping.kind, port=port) as chain:
        assert chain.process is not None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "port": port, "chain": chain.process.pid}))
        file.flush()
        saved = ""
        while not ended:
            if chain.process.poll() is not None:
                raise ChainUnreachable(f"{keeping.kind} ended with status {chain.process.returncode}", party=str(chain.log_file))
            try:
                head = chain.rpc("eth_blockNumber")
                if head != saved:
                    chain.save()
                    saved = head
            except ChainUnreachable:
                pass
            except OSError as error:  # the last whole state stays; perhaps the disk is empty again next time
                print(f"the state was not saved: {error}", flush=True)
            time.sleep(0.5)


def start(keeping: Keeping, port: int | None, deployments: Path) -> None:
    """Start the keeper, wait until the chain answers, deploy what is not there."""
    # Slow to import, and no other command needs them.
    from tallystick.chain.deployment import ensure
    from tallystick.signing import signer_from_uri
    from web3 import HTTPProvider, Web3

    kind = keeping.kind
    with keeping.alone():
        found = keeping.running()
        if found and port and found.get("port") != port:
            raise Configuration(f"{kind} runs already, at port {found.get('port')}", remedy="stop it first (`make chain-stop`)")
        if not found:
            keeping.end_orphan()
            found = _spawn(keeping, port or PORT)
        url = f"http://127.0.0.1:{found['port']}"
        path = deployments / f"{CHAIN_IDS[kind]}.json"
        deployment = ensure(Web3(HTTPProvider(url)), signer_from_uri("mnemonic:0"), path)
    shown = path.relative_to(HERE.parent) if path.is_relative_to(HERE.parent) else path
    print(f"{kind} runs at {url}, chain id {deployment.chain_id}; contracts: {shown}")


def _spawn(keeping: Keeping, port: int) -> dict[str, int]:
    LocalChain(keeping.folder, kind=keeping.kind, port=port).check()
    options = ["--chain", keeping.kind, "--port", str(port), "--state", str(keeping.folder.parent)]
    with keeping.log_file.open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, str(HERE / "chain.py"), "keep", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    give_up = time.monotonic() + START_SECONDS
    while True:
        found = keeping.running()
        if found and found.get("pid") == keeper.pid:
            return found
        if keeper.poll() is not None:
            print(keeping.log_file.read_text(errors="replace")[-1500:].strip() or "the chain did not start", file=sys.stderr)
            sys.exit(keeper.returncode or 1)
        if time.monotonic() > give_up:
            keeper.terminate()
            raise Deadline(f"{keeping.kind} did not start within {START_SECONDS:g} s", party=str(keeping.log_file))
        time.sleep(0.05)


def stop(keeping: Keeping) -> None:
    """End the keeper, which saves the state and ends the chain."""
    with keeping.alone():
        found = keeping.running()
        if found is None:
            print(f"{keeping.kind} {'lost its keeper, and is stopped now' if keeping.end_orphan() else 'does not run'}")
            return
        if "pid" in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(found["pid"], signal.SIGTERM)
        give_up = time.monotonic() + STOP_SECONDS
        while keeping.running() is not None:
            if time.monotonic() > give_up:
                raise Deadline(f"{keeping.kind} did not stop within {STOP_SECONDS:g} s", party=str(keeping.log_file))
            time.sleep(0.05)
    print(f"{keeping.kind} stopped; its state is kept (`make chain-reset` forgets it)")


def status(keeping: Keeping) -> None:
    """Say whether the chain runs and at which block. Raises ChainUnreachable when it does not."""
    found = keeping.running()
    if not found or "port" not in found:
        raise ChainUnreachable(f"{keeping.kind} does not run", remedy="start it with `make chain`")
    url = f"http://127.0.0.1:{found['port']}"
    print(f"{keeping.kind} runs at {url}, block {int(rpc(url, 'eth_blockNumber', seconds=5), 16)}")


def reset(keeping: Keeping, deployments: Path) -> None:
    """Stop, and forget the state and where the contracts were."""
    stop(keeping)
    shutil.rmtree(keeping.folder)
    (deployments / f"{CHAIN_IDS[keeping.kind]}.json").unlink(missing_ok=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "status", "reset", "keep"])
    parser.add_argument("--chain", choices=sorted(CHAIN_IDS), default="anvil")
    parser.add_argument("--port", type=int, help=f"where to start it; {PORT} when not given")
    parser.add_argument("--state", type=Path, default=STATE, help="the folder of the chains' states")
    parser.add_argument("--deployments", type=Path, default=DEPLOYMENTS, help="the folder of the deployment files")
    arguments = parser.parse_args()
    keeping = Keeping(arguments.chain, arguments.state.resolve())
    deployments = arguments.deployments.resolve()
    try:
        if arguments.action == "start":
            start(keeping, arguments.port, deployments)
        elif arguments.action == "keep":
            keep(keeping, arguments.port or PORT)
        elif arguments.action == "status":
            status(keeping)
        elif arguments.action == "stop":
            stop(keeping)
        else:
            reset(keeping, deployments)
    except TallystickError as error:
        print(error, file=sys.stderr)
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
