"""Tests between secret groups and of independence, over the whole range of sizes, in the clear against SciPy; and suppression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.models import contingency, group_tests
from tallystick_node.engines.mpc.models.suppression import shown_cells

PARTY = "alder"


def revealed(function, *arrays, fraction=20, **attributes):
    """What a function of secrets gives, computed in the clear by one party: no secrecy, the same arithmetic."""
    with sa.simulate([PARTY], "clear", fraction=fraction):
        found = function(*(sa.secret(each, owner=PARTY) for each in arrays), **attributes)
        return [sa.reveal(each) for each in found] if isinstance(found, tuple) else sa.reveal(found)


@pytest.mark.parametrize("rows", [24, 5000, 32_767, 300_000, group_tests.MAX_ROWS])
@pytest.mark.parametrize("fraction", [16, 20, 24])
@pytest.mark.parametrize("pooled", [False, True])
def test_t_of_balanced_and_of_rare_groups(rows, fraction, pooled) -> None:
    draw = np.random.default_rng(rows)
    groups = np.column_stack([draw.random(rows) < 0.3, np.arange(rows) < 12]).astype(np.int64)
    column = draw.normal(0.7, 1.0, rows) + 0.05 * groups[:, 0]
    tests = [(0, 0), (0, 1)]
    found = revealed(lambda *a: group_tests.t_tests(*a, tests, pooled=pooled), column.reshape(-1, 1), groups, fraction=fraction)
    for t, freedom, exists, chosen in zip(*found, groups.T == 1, strict=True):
        expected = stats.ttest_ind(column[chosen], column[~chosen], equal_var=pooled)
        assert exists == 1
        assert t == pytest.approx(expected.statistic, rel=2e-4, abs=4 * np.sqrt(rows) * 2.0 ** -min(fraction, 20))
        assert freedom == pytest.approx(expected.df, rel=3e-3 if fraction == 16 else 2e-4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=4, max_size=40), st.booleans())
def test_order_with_many_ties(pairs, by_sorting) -> None:
    keys, labels = np.array([key for key, _ in pairs]), np.array([int(label) for _, label in pairs])
    ones, zeros = keys[labels == 1], keys[labels == 0]
    wins = (ones[:, None] > zeros).sum() * 2 + (ones[:, None] == zeros).sum()
    groups, tests = labels.reshape(-1, 1), [(0, 0)]
    if by_sorting:
        found = revealed(lambda *a: group_tests.wins_by_sorting(*a, tests, 44), keys.reshape(-1, 1), groups)
    else:
        ranks = np.rint(2 * stats.rankdata(keys)).astype(np.int64)
        found = revealed(lambda *a: group_tests.wins_by_rank(*a, tests), ranks.reshape(-1, 1), groups)
    assert found[0] == wins
    gap = max(abs(len(zeros) * (ones <= at).sum() - len(ones) * (zeros <= at).sum()) for at in range(7))
    assert revealed(lambda *a: group_tests.gaps(*a, tests, 44), keys.reshape(-1, 1), groups)[0] == gap


@pytest.mark.parametrize("fraction", [12, 24])  # of the computation around it, which does not matter
@pytest.mark.parametrize("rows", [60, 5000, 32_767, 300_000, 1_048_575, contingency.MAX_ROWS])
def test_chi_square_of_any_number_of_rows(rows, fraction) -> None:
    draw = np.random.default_rng(rows)
    for table in (
        draw.multinomial(rows, np.outer([0.5, 0.3, 0.2], [0.1, 0.2, 0.3, 0.4]).ravel()).reshape(3, 4),
        np.array([[rows - 12, 5], [4, 3]]),
        np.array([[rows // 2, 0, 0], [0, 0, 0], [0, 0, rows - rows // 2]]),
    ):
        kept = table[table.any(axis=1)][:, table.any(axis=0)]
        expected = stats.chi2_contingency(kept, correction=False)
        statistic, freedom = revealed(contingency.chi_square, table, fraction=fraction, rows=rows, minimum=2)
        assert statistic == pytest.approx(expected.statistic, rel=2e-4, abs=1e-3)
        assert freedom == expected.dof


def test_a_small_margin_hides_the_statistic() -> None:
    for table, shown in (([[30, 20], [7, 3]], True), ([[30, 20], [6, 3]], False), ([[30, 0], [40, 9]], False)):
        found = revealed(contingency.chi_square, np.array(table), rows=int(np.sum(table)), minimum=10)
        assert (found[1] == 1 and found[0] > 0) if shown else found == [0, 0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=1, max_size=4), st.integers(1, 20))
def test_hidden_cells_of_a_line_are_many_rows_or_none(cells, minimum) -> None:
    counts = np.array(cells)
    shown = revealed(shown_cells, counts, minimum=minimum).astype(bool)
    assert not shown[counts < minimum].any()
    for axis in (0, 1):
        hidden = np.where(shown, 0, counts).sum(axis)
        assert ((hidden == 0) | (hidden >= minimum) | ~shown.any(axis)).all()
    if (counts >= minimum).all():
        assert shown.all()


def test_rows_outside_the_cells_count_as_hidden() -> None:
    for total, shown in ((60, [True, True, False]), (63, [True, False, False]), (70, [True, True, False])):
        assert revealed(shown_cells, np.array([40, 20, 0]), minimum=10, total=total).astype(bool).tolist() == shown
