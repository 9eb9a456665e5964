"""Shuffles: rows stay together, nothing is lost, and every permutation is as likely as any other."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from tallystick_node.engines.mpc.permutation import permutation
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.mpc.replicated import Replicated
from unit.engines.three_parties import answers, ring, together


@pytest.mark.parametrize("length", [1, 2, 1000, 16385])
def test_rows_move_together(length) -> None:
    keys, records = ring(1, length), ring(2, length, 3)

    def step(protocol: Replicated, x, y):
        first, second = protocol.shuffle([x, y])
        return protocol.reveal(first), protocol.reveal(second)

    for found, rows in together(step, keys, records):
        order = np.argsort(keys)[np.argsort(np.argsort(found))]
        assert (found == keys[order]).all()
        assert (rows == records[order]).all()
        assert length < 1000 or (found == keys).mean() < 0.02  # one row stays on average, and 20 never


def test_each_shuffle_has_its_own_order() -> None:
    def step(protocol: Replicated, x):
        return [protocol.reveal(protocol.shuffle([x])[0]) for _ in range(2)]

    first, second = together(step, ring(1, 1000))[0]
    assert (first != second).any()


def test_all_orders_are_equally_likely() -> None:
    """24 orders of four, 4800 shuffles: chi-square with 23 degrees of freedom; a fair shuffle fails once in 10^9."""

    def engine(protocol: Replicated):
        four = protocol.public(np.arange(4, dtype=np.uint64))
        rounds = [protocol.shuffle([four])[0] for _ in range(1600)]
        return protocol.reveal(type(four)(tuple(np.stack([each.parts[k] for each in rounds]) for k in range(2))))

    orders = Counter(tuple(int(each) for each in row) for row in answers(engine)[0])
    drawn = Stream(bytes(range(16)))
    orders += Counter(tuple(int(each) for each in permutation(drawn, 4)) for _ in range(3200))
    expected = 4800 / 24
    assert set(orders) == set(permutations(range(4)))
    assert sum((count - expected) ** 2 / expected for count in orders.values()) < 90


def test_an_order_is_drawn_without_bias_from_words_that_would_make_one() -> None:
    """Of 32-bit words, 2^32 mod k are rejected for an index below k: such a word is passed over."""

    class Words:
        def __init__(self, *words: int) -> None:
            self.words = list(words)

        def passing(self, count: int, kind) -> np.ndarray:
            taken, self.words = self.words[:count], self.words[count:]
            return np.array(taken, kind)

    # For three places, the first index is 3 w / 2^32; w = 0 has the fraction 0 < 2^32 mod 3 = 1, and is rejected.
    assert permutation(Words(0, 2**31, 0), 3).tolist() == permutation(Words(2**31, 0), 3).tolist() == [2, 0, 1]


@pytest.mark.parametrize("length", [0, 1, 2, 17, 40_000])
def test_both_holders_of_a_seed_draw_one_permutation(length) -> None:
    first, second = (permutation(Stream(b"sixteen bytes ok"), length) for _ in range(2))
    assert (first == second).all()
    assert (np.sort(first) == np.arange(length)).all()
