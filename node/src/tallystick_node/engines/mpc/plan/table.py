"""The table of all operations, complete."""

from __future__ import annotations

from tallystick_node.engines.mpc.plan import arithmetic, elementwise, grouping, nonlinear, ordering, reductions, shaping
from tallystick_node.engines.mpc.plan.operation import OPERATIONS

__all__ = ["OPERATIONS", "arithmetic", "elementwise", "grouping", "nonlinear", "ordering", "reductions", "shaping"]
