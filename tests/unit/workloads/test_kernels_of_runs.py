"""What a workload says that it needs compiled is all that its runs compile: kernels, and the types of their arguments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick_node.runs.warm_up import needed

ROOT = Path(__file__).parents[3]
RUNS = """
import sys
import pytest
from tallystick_node.engines import compiled
from tallystick_node.runs.warm_up import ENGINES

def known():
    return {f"{kernel.__module__}.{kernel.__name__} {types}" for kernel in compiled._KERNELS for types in kernel.signatures}

engines, tests = sys.argv[1].split(","), sys.argv[2:]
for engine in engines:
    ENGINES[engine]()
warm = known()
status = pytest.main(["-q", "-p", "no:cacheprovider", *tests])
for each in sorted(known() - warm):
    print("COLD", each)
sys.exit(status)
"""
CASES = {
    "statistics": ({}, "test_statistics_answers.py"),
    "training": (
        {},
        "test_training_aggregation.py::test_every_method_trains_a_model_and_says_how[median]",
        "test_private_training.py",
    ),
    "lookup": ({}, "test_lookup.py"),
    "intersection": ({}, "test_intersection_labels.py::test_the_receiver_gets_the_columns_of_its_matches"),
    "linked-statistics": ({}, "test_linked_statistics.py::test_counts_alone_and_of_groups_of_either_owner"),
    "aggregation": ({"protocol": "replicated-malicious"}, "test_aggregation.py::test_every_protocol[replicated-malicious]"),
    "scorecard": (
        {"protocol": "replicated-malicious"},
        "test_scorecard.py::test_the_card_is_that_of_the_joint_rows[replicated-malicious]",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("workload", CASES)
def test_runs_compile_nothing_that_was_not_warmed(workload: str) -> None:
    parameters, *tests = CASES[workload]
    spec: Any = SimpleNamespace(workload=workload, parameters=parameters)
    engines = ",".join(sorted(needed(spec)))
    names = [str(Path(__file__).with_name(test)) for test in tests]
    done = subprocess.run(
        [sys.executable, "-c", RUNS, engines, *names], cwd=ROOT, capture_output=True, text=True, timeout=380, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("COLD")] == []
