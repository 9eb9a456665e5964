"""Scorecards: weights of evidence of binned features, their information value, and a logistic regression on them.

Weight of evidence of a bin is ln((bad in the bin / all bad) / (good in the bin / all good)), with half a case added to each count
so that it exists for pure bins; the information value of a feature sums (share of bad - share of good) x weight over its bins
(Siddiqi, *Credit Risk Scorecards*, chapter 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tallystick_node.engines.mpc.array import broadcast_to, column_stack, concatenate, log
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.array.value import real
from tallystick_node.engines.mpc.models.glm import Newton, fit

SMOOTHING = 0.5


@dataclass(frozen=True)
class Evidence:
    """``weights``: of each feature the weight of each of its bins; ``values``: the features' information values."""

    weights: tuple[SecretArray, ...]
    values: SecretArray


def evidence(bins: Sequence[SecretArray], bad: SecretArray, fraction: int = 20) -> Evidence:
    """Weights of evidence of features that are given as indicators.

    ``bins``: for each feature integers 0 and 1 of shape (rows, its bins), one 1 in each row. ``bad``: integers 0 and 1 of shape
    (rows,). Errors of at most 2^-15 in a weight at 20 fraction bits, for up to 2^20 rows. All features share the rounds.
    """
    rows = bad.shape[0]
    widths = [each.shape[1] for each in bins]
    size = sum(widths)
    joint = column_stack(list(bins))
    bad_counts = (joint.T @ bad.reshape(rows, 1)).reshape(size)
    good_counts = joint.sum(axis=0) - bad_counts
    all_bad = bad.sum().reshape(1)
    totals = real(concatenate([all_bad, rows - all_bad]), fraction)
    counts = real(concatenate([bad_counts, good_counts]), fraction)
    logs = log(concatenate([counts, totals]) + SMOOTHING)
    weights = (logs[:size] - logs[2 * size]) - (logs[size : 2 * size] - logs[2 * size + 1])
    shares = counts / concatenate([broadcast_to(totals[:1], (size,)), broadcast_to(totals[1:], (size,))])
    contributions = (shares[:size] - shares[size:]) * weights
    places = [(sum(widths[:number]), sum(widths[: number + 1])) for number in range(len(widths))]
    values = concatenate([contributions[first:last].sum().reshape(1) for first, last in places])
    return Evidence(tuple(weights[first:last] for first, last in places), values)


def encoded(bins: Sequence[SecretArray], weights: Sequence[SecretArray]) -> SecretArray:
    """Every row's weight of evidence in every feature: shape (rows, features). Exact."""
    return column_stack([each @ weight.reshape(weight.shape[0], 1) for each, weight in zip(bins, weights, strict=True)])


def fit_scorecard(
    bins: Sequence[SecretArray], bad: SecretArray, method: Newton, ridge: float, fraction: int = 20
) -> tuple[Evidence, SecretArray, SecretArray]:
    """The evidence, the coefficients of a logistic regression of ``bad`` on it (intercept first), and the encoded rows."""
    found = evidence(bins, bad, fraction)
    rows = encoded(bins, found.weights)
    return found, fit(rows, real(bad, fraction), "logistic", method, ridge), rows
