"""An intersection in parts between two nodes, of which each has its worker killed on the way."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tallystick.protocol.dataset import Column
from tallystick.testing.network import Institution, Network

from benchmarks.psi_nodes import statement_of

ITEMS = 10**7
BOUND = 4 << 30  # bytes of memory that a party may take
SECONDS = 3000
KILLS = ((0, 2), (1, 5))  # whose worker, and when it has kept how many parts

_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)


def run() -> dict[str, Any]:
    """RR22-PSI of 10^7 ids a side, half of them common, in parts: two nodes, either's worker killed once, memory below 4 GiB."""
    return intersect(ITEMS, KILLS)


def intersect(items: int, kills: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    """The time is from the submission to the proof, with the attempts that were killed. ``memory_mb`` is the largest resident set
    of any worker of a party, what it has mapped of files and of libraries included, read five times a second from /proc (VmHWM);
    ``node_memory_mb`` that of the node's own process, which has committed to the rows before. ``kept``: how many parts each
    attempt found done."""
    with tempfile.TemporaryDirectory() as name, Network(Path(name) / "network") as network:
        owners = [network.join(each) for each in ("Left", "Right")]
        for rank, owner in enumerate(owners):
            _write(owner.data / "ids.csv", rank * (items // 2), items)
        network.launch(*owners, link_seconds=300)
        clients = [network.client(owner) for owner in owners]
        receiver = clients[0]
        began = time.monotonic()
        published = {c.account: c.publish("ids", "ids.csv", [Column("id", "string", nullable=False)])[0] for c in clients}
        sys.stderr.write(f"published in {time.monotonic() - began:.0f} s\n")
        terms = {"purpose": "benchmark", "algorithms": ["intersection"], "columns": ["id"], "receivers": [receiver.account]}
        grants = {c.account: c.grant(published[c.account], receiver.account, uses=len(kills) + 1, **terms) for c in clients}
        parameters = {
            "keys": [{"party": account, "columns": ["id"]} for account in published],
            "types": ["string"],
            "fold": False,
            "duplicates": "reject",
            "mode": "ids",
            "protocol": "rr22",
            "minimum_group": 10,
        }
        asked: dict[str, Any] = {"receivers": [receiver.account], "purpose": "benchmark", "proof": "signed-by-all"}
        asked |= {"accept_seconds": SECONDS, "run_seconds": SECONDS, "attempts": len(kills) + 1}
        spec = receiver.draft("intersection", parameters, grants, {account: ["id"] for account in published}, **asked)
        with _Watch(owners, kills) as watch:
            began = time.monotonic()
            task = receiver.submit(spec, grants.values())
            while (state := receiver.wait(task, SECONDS)) == "Failed" and time.monotonic() < began + SECONDS:
                time.sleep(0.2)  # the next attempt is on its way
            elapsed = time.monotonic() - began
        if state != "Proved":
            sys.exit(f"the task ended {state}")
        (matches,) = (path for path in receiver.result(task, Path(name) / "result") if path.name == "matches.csv")
        with matches.open("rb") as file:
            rows = sum(1 for _ in file) - 1
        if rows != items - items // 2:
            sys.exit(f"{rows} rows match")
        statement = statement_of(receiver, task, Path(name) / "bundle")
        return {
            "ours": round(elapsed, 2),
            "unit": "s",
            "items": items,
            "last_attempt_seconds": statement.cost.seconds_ms / 1000,
            "bytes": statement.cost.bytes,
            "memory_mb": max(watch.workers) >> 20,
            "memory_mb_by_party": [each >> 20 for each in watch.workers],
            "node_memory_mb": max(watch.nodes) >> 20,
            "within_bound": max(watch.workers) < BOUND,
            "kills": len(kills) - len(watch.left),
            "kept": watch.kept,
        }


class _Watch:
    """Looks at both parties' processes and journals, and kills by ``kills``."""

    def __init__(self, owners: list[Institution], kills: tuple[tuple[int, int], ...]) -> None:
        self._owners, self.left = owners, list(kills)
        self.workers, self.nodes = [0, 0], [0, 0]
        self.kept: list[int] = []
        self._killed: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.2):
            for rank, owner in enumerate(self._owners):
                assert owner.process is not None
                self.nodes[rank] = max(self.nodes[rank], peak(owner.process.pid))
                for worker in _workers(owner.process.pid):
                    self.workers[rank] = max(self.workers[rank], peak(worker))
                    if self.left and self.left[0][0] == rank and worker not in self._killed:
                        self._kill(rank, worker)

    def _kill(self, rank: int, worker: int) -> None:
        done = self._done(rank)
        if done < self.left[0][1]:
            return
        os.kill(worker, signal.SIGKILL)
        self._killed.add(worker)
        self.kept.append(min(self._done(0), self._done(1)))
        sys.stderr.write(f"killed a worker of party {rank} with {self.kept[-1]} parts kept at both\n")
        del self.left[0]

    def _done(self, rank: int) -> int:
        return len(list(self._owners[rank].folder.rglob("parts/part-*")))


def _workers(node: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == node and b"runs.worker" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def peak(process: int) -> int:
    """The largest resident set that a process had, bytes; 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def hexadecimal(numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Each number as 16 hex digits, times an odd constant, so that their order is not the numbers'; of shape (n, 16)."""
    mixed = (numbers * np.uint64(0x9E3779B97F4A7C15)).astype(">u8").view(np.uint8)
    return _HEX[mixed].reshape(len(numbers), 16)


def _write(path: Path, first: int, count: int) -> None:
    """``count`` ids of 16 hex digits from the ``first`` on, in random order."""
    order = np.random.default_rng(first).permutation(np.arange(first + 1, first + count + 1, dtype=np.uint64))
    lines = np.full((count, 17), ord("\n"), np.uint8)
    lines[:, :16] = hexadecimal(order)
    path.write_bytes(b"id\n" + lines.tobytes())
