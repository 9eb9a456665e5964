"""The workloads that this node offers, by name. Others register under the entry point group ``tallystick.workloads``."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from tallystick.protocol.errors import InvalidTask

from tallystick_node.workloads.base import Workload

GROUP = "tallystick.workloads"


@cache
def workloads() -> dict[str, Workload]:
    """Every workload by its name: ours, then those that installed packages register."""
    from tallystick_node.workloads.aggregation import Aggregation
    from tallystick_node.workloads.boosting import Boosting
    from tallystick_node.workloads.column_statistics import ColumnStatistics
    from tallystick_node.workloads.computation import Computation
    from tallystick_node.workloads.intersection import Intersection
    from tallystick_node.workloads.prediction import Prediction
    from tallystick_node.workloads.ranking import Ranking
    from tallystick_node.workloads.regression import Regression
    from tallystick_node.workloads.scorecard import Scorecard
    from tallystick_node.workloads.shared_boosting import SharedBoosting
    from tallystick_node.workloads.split_training import SplitTraining
    from tallystick_node.workloads.statistics import Statistics
    from tallystick_node.workloads.training import Training
    from tallystick_node.workloads.vertical_regression import VerticalRegression

    joint: tuple[Workload, ...] = (Regression(), Scorecard(), ColumnStatistics(), Aggregation(), Ranking(), Prediction())
    vertical: tuple[Workload, ...] = (Boosting(), SharedBoosting(), VerticalRegression(), SplitTraining())
    ours: tuple[Workload, ...] = (Statistics(), Intersection(), Computation(), *joint, Training(), *vertical)
    found = {each.name: each for each in ours}
    for point in entry_points(group=GROUP):
        workload = point.load()()
        found.setdefault(workload.name, workload)
    return found


def workload_named(name: str) -> Workload:
    """A workload by its name. Raises InvalidTask."""
    if name not in workloads():
        raise InvalidTask(f"there is no workload {name!r}", remedy=f"use one of {', '.join(sorted(workloads()))}")
    return workloads()[name]
