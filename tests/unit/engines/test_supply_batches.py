"""How large the batches of a silent supply are: what is expected decides, else what was taken before."""

from __future__ import annotations

import numpy as np
from tallystick_node.engines.ot.silent import supply
from tallystick_node.engines.ot.silent.supply import _Store


def made(takes, expected=0):
    """The correlations that batches bring, one entry for each."""
    store, batches = _Store(), []
    if expected:
        store.expect(expected)
    for count in takes:
        while (missing := store.missing(count)) > 0:
            form = store.next(missing)
            batches.append(form.size // 2)
            store.put(np.zeros((batches[-1], 2), np.uint64))
        assert len(store.take(count)) == count
    return batches


def test_a_comparison_of_65536_bins_does_not_make_twice_what_it_takes():
    """15 digits of 86,016 bins, of which 12 are transferred together."""
    takes = [12 * 86_016, 3 * 86_016]
    assert sum(made(takes)) == 2 * 1_228_800
    batches = made(takes, sum(takes))
    assert batches == [1_228_800, 76_800]
    assert sum(batches) < 1.02 * sum(takes)


def test_what_is_expected_is_made_in_few_batches():
    assert made([1000] * 30, 30_000) == [38_400]
    assert len(made([1000] * 30)) == 4


def test_what_comes_after_grows_as_before():
    batches = made([1000] * 30, 10_000)
    assert batches[0] == 19_200
    assert batches[1:] == [19_200]


def test_more_than_a_batch_is_expected_in_whole_ones_and_a_rest():
    largest = 300 << supply.LARGEST
    assert made([3 * largest + 5], 3 * largest + 5) == [largest] * 3 + [300 << supply.LEAST_DEPTH]
