"""``make bench`` lists the benchmarks; ``make -s bench B=NAME`` runs one, whose last line is one line of JSON.

Members of that line: ``name``, ``ours`` and ``unit``; where there is a peer ``peer``, ``peer_value`` and ``ratio`` (ours/peer in
time); of several rows the worst, all of them under ``rows``; of several runs of one row the median, all of them under ``runs``.
Progress goes to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import (
    chain_records,
    commitments,
    fl_round,
    fl_trees,
    fl_vlr,
    garbling,
    indexer,
    joint_statistics,
    mpc,
    paillier,
    pir,
    psi_circuit,
    psi_nodes,
    psi_parts,
    psi_sum,
    tee,
    transport,
)

BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {
    "chain": chain_records.run,
    "commitments": commitments.run,
    "fl-round": fl_round.run,
    "fl-trees": fl_trees.run,
    "fl-vlr": fl_vlr.run,
    "indexer": indexer.run,
    "mpc-2pc": mpc.run_two,
    "mpc-garble": garbling.run,
    "mpc-less": mpc.run_less,
    "mpc-lr": mpc.run_lr,
    "mpc-matmul": mpc.run_matmul,
    "mpc-mul": mpc.run_mul,
    "mpc-sigmoid": mpc.run_sigmoid,
    "mpc-sort": mpc.run_sort,
    "paillier": paillier.run,
    "pir-1m": pir.run,
    "psi-10m": psi_parts.run,
    "psi-1m": psi_nodes.run_million,
    "psi-circuit": psi_circuit.run,
    "psi-65k": psi_nodes.run_small,
    "psi-ecdh": psi_nodes.run_ecdh,
    "psi-sum": psi_sum.run_sum,
    "psi-unbalanced": psi_sum.run_prepared,
    "statistics": joint_statistics.run,
    "tee-task": tee.run_task,
    "tee-verify": tee.run_verify,
    "transport": transport.run,
}


def main() -> None:
    """Command line."""
    if len(sys.argv) < 2:
        for name, run in BENCHMARKS.items():
            sys.stdout.write(f"{name:12} {(run.__doc__ or '').splitlines()[0]}\n")
    elif sys.argv[1] not in BENCHMARKS:
        sys.exit(f"there is no benchmark {sys.argv[1]!r}: {', '.join(BENCHMARKS)}")
    else:
        sys.stdout.write(json.dumps({"name": sys.argv[1], **BENCHMARKS[sys.argv[1]]()}) + "\n")


if __name__ == "__main__":
    main()
