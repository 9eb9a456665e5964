"""Tail probabilities against SciPy's."""

from __future__ import annotations

import pytest
from scipy import stats
from tallystick_node.workloads.plans.tails import chi_square, t_two_sided

FREEDOM = [0.5, 1, 2, 3.7, 10, 99.5, 1e3, 1e5, 1e7]


@pytest.mark.parametrize("freedom", FREEDOM)
def test_students_t(freedom) -> None:
    for t in (0.0, 1e-9, 1e-3, 0.5, 1.0, 1.96, 3.0, 8.0, 30.0):
        assert t_two_sided(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-8, abs=1e-280)
        assert t_two_sided(-t, freedom) == t_two_sided(t, freedom)


@pytest.mark.parametrize("freedom", FREEDOM)
def test_chi_square(freedom) -> None:
    for share in (0.0, 1e-6, 0.3, 0.9, 0.999, 1.0, 1.001, 1.1, 3.0, 20.0):
        statistic = share * freedom
        assert chi_square(statistic, freedom) == pytest.approx(stats.chi2.sf(statistic, freedom), rel=2e-7, abs=1e-280)


def test_no_degrees_of_freedom() -> None:
    for tail in (t_two_sided, chi_square):
        for number, freedom in ((1.0, 0), (1.0, -2), (float("nan"), 3)):
            with pytest.raises(ValueError, match="degrees of freedom"):
                tail(number, freedom)
