"""That a `statistics` task does not tell, together with an earlier one, of few rows of an owner (:mod:`engines.answers`)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol import canonical
from tallystick.protocol.errors import OutputRefused
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines import moments
from tallystick_node.engines.alive import GoingOn
from tallystick_node.engines.answers import Answers, AnswersFull, AnswersLost, Asking, Partition, TooClose
from tallystick_node.workloads.statistics.parameters import Histogram, Parameters
from tallystick_node.workloads.statistics.rows import group_index, numbers, passing, selected

RULE = "differencing"


class Answering:
    """What a task is about to tell of one owner's rows."""

    def __init__(self, answers: Answers, spec: TaskSpec, parameters: Parameters, table: pa.Table) -> None:
        self._answers, self._parameters, self._table = answers, parameters, table
        self._minimum = parameters.minimum_group
        named = sorted((part.party, part.dataset) for part in spec.inputs)
        self._inputs = hashlib.sha256(canonical.encode([list(each) for each in named])).digest()
        self._asking: Asking | None = None

    def require(self, going_on: GoingOn) -> None:
        """Raise OutputRefused if it would tell of few rows by difference. Many rows, bins and answers take their time: ``going_on``
        is called now and then."""
        with self._refusing():
            asked = partitions(self._parameters, self._table, going_on)
            self._asking = self._answers.require(asked, self._inputs, self._minimum, going_on)

    def remember(self, going_on: GoingOn) -> None:
        """Keep, after :meth:`require`, that it is answered: what follows may tell it, however the run ends. ``going_on`` is called
        now and then. Raises OutputRefused where a task that came first forbids it."""
        assert self._asking is not None
        with self._refusing():
            self._asking.remember(going_on)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except TooClose:
            raise OutputRefused(
                f"a group or bin of this task has rows of this party that differ in fewer than {self._minimum} from those of an "
                "earlier answer: the two together would tell of these rows",
                rule=RULE,
                remedy="ask for the earlier rows again, or for such as differ in more; or with differential privacy",
            ) from None
        except AnswersFull:
            raise OutputRefused(
                "this party's node keeps as many answers of this dataset as it may, and answers only what was answered before",
                rule=RULE,
                remedy="ask its operator to raise the setting policy.answers_kept",
            ) from None
        except AnswersLost as error:
            raise OutputRefused(
                f"{error}, so that nothing can be compared with it",
                rule=RULE,
                remedy="have the operator bring back the dataset's folder in `answers` from a backup",
            ) from None


def partitions(parameters: Parameters, table: pa.Table, going_on: GoingOn) -> list[Partition]:
    """What the task tells of which rows: the groups, and of each group the bins of each histogram, of which it tells the counts.
    ``going_on`` is called now and then."""
    mask = passing(parameters, table)
    chosen = selected(table, mask)
    groups = group_index(parameters, chosen)
    bins = (_bins(parameters, each, groups, numbers(parameters, chosen, each.column)) for each in parameters.histograms)
    found = []
    for place, labels in enumerate(itertools.chain([groups], bins)):
        whole = np.full(table.num_rows, -1, np.int32)
        whole[mask] = labels
        found.append(Partition(whole, counts=place > 0))
        going_on()
    return found


def _bins(parameters: Parameters, histogram: Histogram, groups: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    edges = parameters.edges(histogram)
    bins = moments.bin_index(values, edges)
    return np.where((groups >= 0) & (bins >= 0), groups * (len(edges) - 1) + bins, -1)
