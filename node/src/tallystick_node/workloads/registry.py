"""The workloads that this node offers, by name. Others register under the entry point group ``tallystick.workloads``.

A workload is imported when it is asked for: a worker runs one, and needs the libraries of no other.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from tallystick.protocol.errors import InvalidTask

from tallystick_node.workloads.base import Workload

GROUP = "tallystick.workloads"

#: Where ours are: module of this package and class.
OURS = {
    "statistics": ("statistics.workload", "Statistics"),
    "intersection": ("intersection.workload", "Intersection"),
    "intersection-sum": ("intersection.sum", "IntersectionSum"),
    "linked-statistics": ("linked.workload", "LinkedStatistics"),
    "lookup": ("lookup.workload", "Lookup"),
    "computation": ("plans.computation", "Computation"),
    "regression": ("plans.regression", "Regression"),
    "scorecard": ("plans.scorecard", "Scorecard"),
    "column-statistics": ("plans.column_statistics", "ColumnStatistics"),
    "aggregation": ("plans.aggregation", "Aggregation"),
    "ranking": ("plans.ranking", "Ranking"),
    "prediction": ("plans.prediction", "Prediction"),
    "training": ("training.workload", "Training"),
    "boosting": ("vertical.boosting", "Boosting"),
    "shared-boosting": ("vertical.shared_boosting", "SharedBoosting"),
    "vertical-regression": ("vertical.regression", "VerticalRegression"),
    "split-training": ("vertical.split_training", "SplitTraining"),
    "joint-prediction": ("vertical.joint_prediction", "JointPrediction"),
    "transfer": ("vertical.transfer", "Transfer"),
    "enclave": ("enclave.workload", "EnclaveTask"),
}


@cache
def workloads() -> dict[str, Workload]:
    """Every workload by its name: ours, then those that installed packages register."""
    found = {name: _ours(name) for name in OURS}
    for point in entry_points(group=GROUP):
        workload = point.load()()
        found.setdefault(workload.name, workload)
    return found


def workload_named(name: str) -> Workload:
    """A workload by its name. Raises InvalidTask."""
    if name in OURS:
        return _ours(name)
    if name not in workloads():
        raise InvalidTask(f"there is no workload {name!r}", remedy=f"use one of {', '.join(sorted(workloads()))}")
    return workloads()[name]


@cache
def _ours(name: str) -> Workload:
    module, kind = OURS[name]
    workload: Workload = getattr(import_module(f"tallystick_node.workloads.{module}"), kind)()
    return workload
