"""Renyi divergences of order a > 1 between the outputs on neighbouring inputs: the larger of both directions, or a bound of it.

Functions take one order and return a float in nats. Sums of many terms are kept as logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_ROUNDING = 1e-12  # more than floating point can lose of the logarithm of a moment that is near 0


def gaussian(multiplier: float, order: float) -> float:
    """Gaussian noise of ``multiplier`` x the L2 sensitivity, continuous (Mironov, CSF 2017, proposition 7) or discrete (Canonne,
    Kamath and Steinke, NeurIPS 2020, theorem 4)."""
    return order / (2 * multiplier**2)


def pure(epsilon: float, order: float) -> float:
    """Any epsilon-differentially private mechanism: that of randomised response, which all of them are processed from (Kairouz, Oh
    and Viswanath, ICML 2015)."""
    keep, flip = -math.log1p(math.exp(-epsilon)), -epsilon - math.log1p(math.exp(-epsilon))
    return _log_sum((order * keep + (1 - order) * flip, order * flip + (1 - order) * keep)) / (order - 1)


def discrete_laplace(scale: float, shift: int, order: float) -> float:
    """Discrete Laplace noise of a ``scale`` on one integer that neighbours move by up to ``shift`` >= 1: the sum over the integers,
    in closed form. For many steps to the shift it approaches that of continuous noise (Mironov, CSF 2017, proposition 6)."""
    step = 1 / scale
    outside = -math.log1p(math.exp(-step))
    terms = [outside + (order - 1) * shift * step, outside - order * shift * step]
    if shift > 1:
        rate = (2 * order - 1) * step
        inside = math.log(-math.expm1(-rate * (shift - 1))) - math.log(-math.expm1(-rate)) - rate
        terms.append(math.log(math.tanh(step / 2)) + (order - 1) * shift * step + inside)
    return _log_sum(terms) / (order - 1)


def subsampled_gaussian(sampling: float, multiplier: float, order: float) -> float:
    """Continuous Gaussian noise on a sum to which each summand belongs with probability ``sampling``, independently (Mironov,
    Talwar and Zhang, "Renyi differential privacy of the sampled Gaussian mechanism", 2019, section 3.3)."""
    if order == int(order):
        return _moment(sampling, multiplier, int(order)) / (order - 1)
    return _fractional_moment(sampling, multiplier, order) / (order - 1)


def subsampled_discrete_gaussian(sampling: float, multiplier: float, order: float) -> float:
    """The same for discrete Gaussian noise on integers.

    For integer orders the formula for continuous noise is an upper bound: it needs of the noise only its moments, which theorem
    4 of Canonne, Kamath and Steinke bounds by those of continuous noise, and its symmetry under the reflection that swaps both
    inputs. Between integers the logarithm of the moment, which is convex in the order, is below the chord. And sampling never
    costs more than none does, since the divergence is quasi-convex.
    """
    below = math.floor(order)
    part = order - below
    moment = (1 - part) * _moment(sampling, multiplier, below)
    if part:
        moment += part * _moment(sampling, multiplier, below + 1)
    return min(moment / (order - 1), gaussian(multiplier, order))


def _moment(sampling: float, multiplier: float, order: int) -> float:
    """log E[((1 - q) + q P/Q)^order] under Q."""
    return _ROUNDING + _log_sum(
        math.log(math.comb(order, k))
        + k * math.log(sampling)
        + (order - k) * math.log1p(-sampling)
        + k * (k - 1) / (2 * multiplier**2)
        for k in range(order + 1)
    )


def _fractional_moment(sampling: float, multiplier: float, order: float) -> float:
    """The two series of section 3.3, with the signs of their binomial coefficients.

    Term k is, but for its sign, |C(order, k)| (1 - q)^order E[w^k] for a w that is at most 1 where it is integrated. So beyond
    the order the sizes fall and the signs alternate: what is left out is at most the last term, which is added.
    """
    middle = multiplier**2 * math.log(1 / sampling - 1) + 0.5
    width = math.sqrt(2) * multiplier
    plus: list[float] = []
    minus: list[float] = []
    log_coefficient, positive, k = 0.0, True, 0
    while True:
        other = order - k
        left = k * math.log(sampling) + other * math.log1p(-sampling) + (k * k - k) / (2 * multiplier**2)
        right = other * math.log(sampling) + k * math.log1p(-sampling) + (other * other - other) / (2 * multiplier**2)
        terms = [
            log_coefficient + left + _log_half_erfc((k - middle) / width),
            log_coefficient + right + _log_half_erfc((middle - other) / width),
        ]
        (plus if positive else minus).extend(terms)
        if k > order and max(terms) < max(plus) - 25:
            plus.extend(terms)
            break
        positive = positive == (order > k)
        log_coefficient += math.log(abs(order - k)) - math.log(k + 1)
        k += 1
    whole, taken = _log_sum(plus), _log_sum(minus)
    return whole + math.log1p(-math.exp(taken - whole)) + _ROUNDING


def _log_half_erfc(x: float) -> float:
    """log(erfc(x) / 2); by the asymptotic series where erfc would be too small for a float."""
    if x < 20:
        return math.log(math.erfc(x) / 2)
    term, series = 1.0, 1.0
    for k in range(1, 8):
        term *= -(2 * k - 1) / (2 * x * x)
        series += term
    return -x * x - math.log(2 * x * math.sqrt(math.pi)) + math.log(series)


def _log_sum(terms: Iterable[float]) -> float:
    """log of the sum of exp."""
    kept = list(terms)
    top = max(kept, default=-math.inf)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(term - top) for term in kept))
