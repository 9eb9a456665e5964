"""The local chain of this checkout: ``chain.py start|stop|status|reset``. It runs in the background and keeps its state.

A keeper process owns the chain process, makes its state durable after every new block, and ends it on SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tallystick.chain.deployment import ensure
from tallystick.protocol.errors import ChainUnreachable, TallystickError
from tallystick.signing import signer_from_uri
from tallystick.testing.local_chain import CHAIN_IDS, LocalChain, rpc
from web3 import HTTPProvider, Web3

HERE = Path(__file__).resolve().parent
STATE = HERE / "state"
DEPLOYMENTS = HERE.parent / "contracts" / "deployments"
PORT = 8545
START_SECONDS = 40.0


def keeper_of(kind: str) -> int | None:
    """The process id of the running keeper, or None."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((STATE / kind / "keeper.pid").read_text())
        if b"chain.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None


def keep(kind: str, port: int) -> None:
    """Own the chain process until SIGTERM; save its state after every new block."""
    with LocalChain(STATE / kind, kind=kind, port=port) as chain:
        ended: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
        saved = ""
        while not ended and chain.process is not None and chain.process.poll() is None:
            with contextlib.suppress(ChainUnreachable):
                head = chain.rpc("eth_blockNumber")
                if head != saved:
                    chain.save()
                    saved = head
            time.sleep(0.5)


def start(kind: str, port: int) -> None:
    """Start the keeper, wait until the chain answers, deploy what is not there."""
    url = f"http://127.0.0.1:{port}"
    if keeper_of(kind) is None:
        folder = STATE / kind
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "keeper.log").open("wb") as log:
            keeper = subprocess.Popen(
                [sys.executable, str(HERE / "chain.py"), "keep", "--chain", kind, "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (folder / "keeper.pid").write_text(str(keeper.pid))
        give_up = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(ChainUnreachable):
                rpc(url, "eth_chainId", seconds=2)
                break
            if keeper.poll() is not None or time.monotonic() > give_up:
                sys.exit((folder / "keeper.log").read_text()[-1500:] or "the chain did not start")
            time.sleep(0.1)
    path = DEPLOYMENTS / f"{CHAIN_IDS[kind]}.json"
    deployment = ensure(Web3(HTTPProvider(url)), signer_from_uri("mnemonic:0"), path)
    print(f"{kind} runs at {url}, chain id {deployment.chain_id}; contracts: {path.relative_to(HERE.parent)}")


def stop(kind: str) -> None:
    """End the keeper, which saves the state and ends the chain."""
    pid = keeper_of(kind)
    if pid is None:
        print(f"{kind} does not run")
        return
    os.kill(pid, signal.SIGTERM)
    give_up = time.monotonic() + 15
    while keeper_of(kind) is not None and time.monotonic() < give_up:
        time.sleep(0.1)
    print(f"{kind} stopped; its state is kept (`make chain-reset` forgets it)")


def status(kind: str, port: int) -> None:
    """Say whether the chain runs and at which block."""
    try:
        head = int(rpc(f"http://127.0.0.1:{port}", "eth_blockNumber", seconds=2), 16)
        print(f"{kind} runs at http://127.0.0.1:{port}, block {head}")
    except ChainUnreachable:
        sys.exit(f"{kind} does not run: start it with `make chain`")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "status", "reset", "keep"])
    parser.add_argument("--chain", choices=sorted(CHAIN_IDS), default="anvil")
    parser.add_argument("--port", type=int, default=PORT)
    arguments = parser.parse_args()
    try:
        if arguments.action == "start":
            start(arguments.chain, arguments.port)
        elif arguments.action == "keep":
            keep(arguments.chain, arguments.port)
        elif arguments.action == "status":
            status(arguments.chain, arguments.port)
        else:
            stop(arguments.chain)
            if arguments.action == "reset":
                shutil.rmtree(STATE / arguments.chain, ignore_errors=True)
                (DEPLOYMENTS / f"{CHAIN_IDS[arguments.chain]}.json").unlink(missing_ok=True)
    except TallystickError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
