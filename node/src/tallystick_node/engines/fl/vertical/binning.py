"""One owner's columns in quantile bins, and the cuts between bins that a node may be split at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_BINS = 32
MAX_FEATURES = 1024  # of one owner
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def edges_of(column: Floats, bins: int) -> Floats:
    """Increasing thresholds that cut a column into at most ``bins`` bins, (-inf, e0], (e0, e1], .., (ek, inf).

    Between all distinct values where there are few enough, else at quantiles. Every threshold is a value of the column. Raises
    ValueError for a number that is not finite.
    """
    if not np.isfinite(column).all():
        raise ValueError("a column has a number that is not finite")
    distinct = np.unique(column)
    if len(distinct) > bins:
        ordered = np.sort(column)
        distinct = np.unique(np.append(ordered[len(ordered) * np.arange(1, bins) // bins - 1], ordered[-1]))
    return distinct[:-1]


class Binned:
    """Columns of shape (rows, features) in bins. A cell is a bin of a feature; cells of all features are numbered through."""

    def __init__(self, columns: Floats, bins: int) -> None:
        if columns.ndim != 2 or columns.shape[1] > MAX_FEATURES or not 2 <= bins <= MAX_BINS:
            raise ValueError(f"needs rows of at most {MAX_FEATURES} features, and 2 to {MAX_BINS} bins")
        self.edges = [edges_of(column, bins) for column in columns.T]
        self.widths = np.array([len(each) + 1 for each in self.edges], np.int64)  # bins of each feature
        self.starts = np.cumsum(self.widths) - self.widths
        self.bins = np.empty(columns.shape[::-1], np.uint8)  # by feature, then by row
        for number, edges in enumerate(self.edges):
            self.bins[number] = np.searchsorted(edges, columns[:, number], side="left")
        self.rows = len(columns)
        self.total = int(self.widths.sum())
        self._feature = np.repeat(np.arange(len(self.edges)), self.widths)

    def counts(self, rows: Integers) -> Integers:
        """How many of ``rows`` are in each cell."""
        found = [np.bincount(bins[rows], minlength=width) for bins, width in zip(self.bins, self.widths.tolist(), strict=True)]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def sums(self, rows: Integers, numbers: Integers) -> Integers:
        """The sum in each cell of a number of each of ``rows``: exact, for sums below 2^53."""
        weights = numbers[rows].astype(np.float64)
        found = [np.bincount(bins[rows], weights, width) for bins, width in zip(self.bins, self.widths.tolist(), strict=True)]
        return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)

    def to_left(self, of_cells: Integers) -> Integers:
        """For each cell the sum over it and the cells of its feature before it."""
        running = np.cumsum(of_cells)
        before = np.append(0, running)[self.starts]
        found: Integers = running - before[self._feature]
        return found

    def cuts(self, rows: Integers, least: int) -> Integers:
        """The cells after which a cut leaves ``least`` or more of ``rows`` on each side, in the order of features and thresholds.

        None is after an empty cell: such a cut makes no other partition than the one before it.
        """
        counts = self.counts(rows)
        left = self.to_left(counts)
        return np.flatnonzero((counts > 0) & (left >= least) & (len(rows) - left >= least))

    def cut(self, cell: int) -> tuple[int, float]:
        """The feature and the threshold of a cut: rows go left where the feature is at most the threshold."""
        feature = int(self._feature[cell])
        return feature, float(self.edges[feature][cell - int(self.starts[feature])])

    def left(self, cell: int, rows: Integers) -> NDArray[np.bool_]:
        """Which of ``rows`` the cut sends left."""
        feature = int(self._feature[cell])
        found: NDArray[np.bool_] = self.bins[feature][rows] <= cell - int(self.starts[feature])
        return found
