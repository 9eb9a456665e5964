"""What one owner does with its own rows in a `statistics` task, which may take long: it says meanwhile that it works."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from tallystick.protocol.errors import InvalidData
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines import moments as engine
from tallystick_node.engines.alive import GoingOn
from tallystick_node.engines.channel import Session
from tallystick_node.engines.moments import Moments
from tallystick_node.workloads.statistics.answers import Answering
from tallystick_node.workloads.statistics.parameters import Parameters
from tallystick_node.workloads.statistics.rows import group_index, numbers, passing, selected


class OwnPart:
    """One owner's part. ``vector``, to be shared, is there after :meth:`count`."""

    def __init__(self, spec: TaskSpec, party: str, parameters: Parameters, table: pa.Table, session: Session) -> None:
        self.vector: list[int] = []
        self._parameters, self._table, self._session = parameters, table, session
        self._answering: Answering | None = None
        if session.answers is not None and set(spec.receivers) != {party}:  # one's own rows need no hiding from oneself
            self._answering = Answering(session.answers, spec, parameters, table)

    def count(self, going_on: GoingOn) -> list[int]:
        """The sizes to test: each group's rows, then each group's bins. Raises InvalidData for rows that the task does not admit,
        OutputRefused when the answer would tell of few rows together with an earlier one."""
        self._session.progress("computing the local moments", 0.1)
        self.vector, sizes = own_part(self._parameters, self._table, going_on)
        _require_within(self._parameters, self.vector)
        if self._answering is not None:
            self._answering.require(going_on)
        self._session.progress("testing the group sizes", 0.3)
        return sizes

    def remember(self, going_on: GoingOn) -> None:
        """Keep that it is answered. Raises OutputRefused where a task that came first forbids it."""
        if self._answering is not None:
            self._answering.remember(going_on)


def own_part(parameters: Parameters, table: pa.Table, going_on: GoingOn = lambda: None) -> tuple[list[int], list[int]]:
    """The vector of one owner's rows to share, and the sizes to test: each group's rows, then each group's bins."""
    table = selected(table, passing(parameters, table))
    going_on()
    groups = group_index(parameters, table)
    columns = []
    for name in parameters.names:
        going_on()
        columns.append(numbers(parameters, table, name))
    going_on()
    number = len(parameters.groups)
    if columns:
        found = engine.group_moments(columns, groups, number)
    else:
        sizes = np.bincount(groups[groups >= 0], minlength=number)
        found = [Moments(int(size), (), ()) for size in sizes]
    bins = []
    for each in parameters.histograms:
        going_on()
        column = columns[parameters.names.index(each.column)]
        bins.append(engine.group_histogram(column, parameters.edges(each), groups, number))
    going_on()
    vector: list[int] = []
    sizes_to_test = [each.count for each in found]
    for group in range(number):
        whole = found[group].vector()
        vector += [whole[position] for position in parameters.needed]
        for histogram in bins:
            vector += histogram[group]
            sizes_to_test += histogram[group]
    return vector, sizes_to_test


def _require_within(parameters: Parameters, vector: Sequence[int]) -> None:
    """Refuse rows that the task does not admit, before anybody hears of them."""
    if parameters.ranges is None:
        return
    for form in parameters.ranges.inputs:
        if not 0 <= form.of(vector) < 4**form.digits:
            raise InvalidData(
                "rows of this owner lie outside the bounds of the task, or a group has too many of them",
                remedy="filter such rows with parameters.where, or ask for wider bounds",
            )
