"""The benchmarks: without a name, their list; with one, a run whose last line is one line of JSON."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tallystick.chain.connection import Chain
from tallystick.commitments import pedersen
from tallystick.testing.network import Network


def chain() -> dict[str, Any]:
    """Audit heads anchored per second by one account that waits for each receipt, and the gas of each."""
    records = 200
    with tempfile.TemporaryDirectory() as folder, Network(Path(folder)) as network:
        who = network.join("Bench")
        writer: Chain = network.connect(who.signer)
        began = time.perf_counter()
        gas = [writer.send("AuditLog", "anchor", secrets.token_bytes(32), size + 1).gas_used for size in range(records)]
        seconds = time.perf_counter() - began
    return {"name": "chain", "ours": records / seconds, "unit": "records/s", "records": records, "gas_last": gas[-1]}


def commitments() -> dict[str, Any]:
    """Seconds to commit to a vector of 500 totals of 64 bits."""
    values = [secrets.randbits(64) for _ in range(500)]
    pedersen.generators(len(values))
    began = time.perf_counter()
    pedersen.commit(values, secrets.randbits(253))
    return {"name": "commitments", "ours": time.perf_counter() - began, "unit": "s", "values": len(values)}


BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {"chain": chain, "commitments": commitments}


def main() -> None:
    """Command line."""
    if len(sys.argv) < 2:
        for name, run in BENCHMARKS.items():
            sys.stdout.write(f"{name:12} {run.__doc__}\n")
    elif sys.argv[1] not in BENCHMARKS:
        sys.exit(f"there is no benchmark {sys.argv[1]!r}: {', '.join(BENCHMARKS)}")
    else:
        sys.stdout.write(json.dumps(BENCHMARKS[sys.argv[1]]()) + "\n")


if __name__ == "__main__":
    main()
