"""The workload `statistics` among three nodes, beside pandas on the pooled data."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tallystick.protocol.dataset import Column
from tallystick.testing.network import Network

from benchmarks.psi_nodes import statement_of

ROWS = 1_000_000
COLUMNS = [f"c{i:02}" for i in range(30)]
SCALE = 3
REPEATS = 3
PARAMETERS: dict[str, Any] = {
    "columns": [{"name": name, "scale": SCALE} for name in COLUMNS],
    "compute": ["count", "sum", "mean", "variance", "std", "covariance", "correlation"],
    "regression": None,
    "histograms": [],
    "where": [],
    "group_by": None,
    "minimum_group": 10,
    "ddof": 1,
}


def run() -> dict[str, Any]:
    """Mean, variance, covariance and correlation of 30 columns over 10^6 rows at three nodes, beside pandas on the pooled rows.

    Ours: the time that the nodes' own statement gives, from the start of the worker processes to their end: reading the CSV
    files, the size test, the verifiable sum. pandas: reading the same three files into one frame, and the same statistics.
    """
    ours: list[float] = []
    peer: list[float] = []
    with tempfile.TemporaryDirectory() as name, Network(Path(name) / "network") as network:
        folder = Path(name)
        owners = [network.join(each) for each in ("First", "Second", "Third")]
        files = [owner.data / "table.csv" for owner in owners]
        _write(files)
        network.launch(*owners, link_seconds=120)
        clients = [network.client(owner) for owner in owners]
        receiver = clients[0]
        declared = [Column(name, "decimal", SCALE) for name in COLUMNS]
        began = time.perf_counter()
        published = {c.account: c.publish("table", "table.csv", declared)[0] for c in clients}
        publishing = (time.perf_counter() - began) / len(clients)
        terms = {"purpose": "benchmark", "algorithms": ["statistics"], "columns": COLUMNS, "receivers": [receiver.account]}
        grants = {c.account: c.grant(published[c.account], receiver.account, uses=REPEATS, **terms) for c in clients}
        for number in range(REPEATS):
            spec = receiver.draft(
                "statistics",
                PARAMETERS,
                grants,
                dict.fromkeys(published, COLUMNS),
                receivers=[receiver.account],
                purpose="benchmark",
                proof="sum-verified",
                corruptions=2,
            )
            task = receiver.submit(spec, grants.values())
            state = receiver.wait(task, 600)
            if state != "Proved":
                sys.exit(f"the task ended {state}")
            statement = statement_of(receiver, task, folder / f"bundle{number}")
            ours.append(statement.cost.seconds_ms / 1000)
            seconds, expected = _pandas(files)
            peer.append(seconds)
            sys.stderr.write(f"ours {ours[-1]:.2f} s, pandas {seconds:.2f} s\n")
            _compare(receiver.result(task, folder / f"result{number}"), expected)
    middle, other = statistics.median(ours), statistics.median(peer)
    return {
        "ours": middle,
        "unit": "s",
        "peer": f"pandas {pd.__version__} on the pooled rows",
        "peer_value": other,
        "ratio": middle / other,
        "rows_in_all": ROWS,
        "columns": len(COLUMNS),
        "bytes": statement.cost.bytes,
        "publish_seconds_each": publishing,
        "runs": [{"ours": a, "peer_value": b, "ratio": a / b} for a, b in zip(ours, peer, strict=True)],
    }


def _write(files: list[Path]) -> None:
    """Numbers with three digits after the point, about normal, some columns correlated: a benchmark's load, not data."""
    order = np.random.default_rng(30)
    for file, size in zip(files, (ROWS // 2, ROWS // 3, ROWS - ROWS // 2 - ROWS // 3), strict=True):
        shared = order.normal(size=(size, 1))
        table = order.normal(50, 20, size=(size, len(COLUMNS))) + 10 * shared * (np.arange(len(COLUMNS)) % 3)
        pd.DataFrame(table.round(SCALE), columns=COLUMNS).to_csv(file, index=False, float_format=f"%.{SCALE}f")


def _pandas(files: list[Path]) -> tuple[float, dict[str, Any]]:
    began = time.perf_counter()
    pooled = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    found = {"count": len(pooled), "sum": pooled.sum(), "mean": pooled.mean(), "variance": pooled.var(), "std": pooled.std()}
    found |= {"covariance": pooled.cov().to_numpy(), "correlation": pooled.corr().to_numpy()}
    return time.perf_counter() - began, found


def _compare(paths: list[Path], expected: dict[str, Any]) -> None:
    """A fast wrong answer is no answer."""
    result = next(path for path in paths if path.name == "result.json")
    values = json.loads(result.read_bytes())["values"]["groups"][0]
    if values["count"] != expected["count"]:
        sys.exit("another count than pandas")
    for name in ("sum", "mean", "variance", "std"):
        np.testing.assert_allclose([float(values[name][column]) for column in COLUMNS], expected[name], rtol=1e-9)
    for name in ("covariance", "correlation"):
        np.testing.assert_allclose(np.array(values[name], float), expected[name], rtol=1e-6, atol=1e-9)
