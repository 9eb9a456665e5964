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
    "statistics": ("statistics", "Statistics"),
    "intersection": ("intersection", "Intersection"),
    "intersection-sum": ("intersection_sum", "IntersectionSum"),
    "linked-statistics": ("linked_statistics", "LinkedStatistics"),
    "lookup": ("lookup", "Lookup"),
    "computation": ("computation", "Computation"),
    "regression": ("regression", "Regression"),
    "scorecard": ("scorecard", "Scorecard"),
    "column-statistics": ("column_statistics", "ColumnStatistics"),
    "aggregation": ("aggregation", "Aggregation"),
    "ranking": ("ranking", "Ranking"),
    "prediction": ("prediction", "Prediction"),
    "training": ("training", "Training"),
    "boosting": ("boosting", "Boosting"),
    "shared-boosting": ("shared_boosting", "SharedBoosting"),
    "vertical-regression": ("vertical_regression", "VerticalRegression"),
    "split-training": ("split_training", "SplitTraining"),
    "joint-prediction": ("joint_prediction", "JointPrediction"),
    "transfer": ("transfer", "Transfer"),
    "enclave": ("enclave", "EnclaveTask"),
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
