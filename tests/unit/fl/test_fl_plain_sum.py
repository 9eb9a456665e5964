"""The plain sum: the same bits at every party, in the order of the members, and nothing out of range passes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tallystick_node.engines.channel import ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.fl.aggregation.plain import PlainSum


@pytest.mark.parametrize(("members", "round_"), [([0, 1, 2, 3], 0), ([0, 1, 2, 3], 6), ([1, 3], 0), ([1, 3], 1), ([2], 5)])
def test_every_party_gets_the_same_sum_in_member_order(members, round_) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.uniform(-1, 1, (4, 50))
    expected = np.zeros(50)
    for member in members:
        expected += vectors[member]
    sessions = local_sessions(4)
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda s: PlainSum().total(s, vectors[s.index], members, round_), sessions))
    assert all((total == expected).all() for total in sums)


def test_a_plain_sum_of_one_party_needs_no_channel() -> None:
    assert PlainSum().total(local_sessions(1)[0], np.array([0.5]), [0], 3) == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.5])
def test_a_member_out_of_range_is_named(bad) -> None:
    one, two = local_sessions(2)
    send_array(two, 0, np.array([0.0, bad]))
    with pytest.raises(ProtocolViolation, match=r"party 1: plain sum: sent a number that is not finite or not within \[-1, 1\]"):
        PlainSum().total(one, np.zeros(2), [0, 1], 0)
    with pytest.raises(ValueError, match="a summand is a flat vector"):
        PlainSum().total(one, np.array([0.0, bad]), [0, 1], 0)


def test_a_coordinator_out_of_range_or_of_another_length_is_named() -> None:
    one, two = local_sessions(2)
    send_array(two, 0, np.array([0.0, 2.5]))
    with pytest.raises(ProtocolViolation, match=r"party 1: plain sum: .* within \[-2, 2\]"):
        PlainSum().total(one, np.zeros(2), [0, 1], 1)
    send_array(two, 0, np.zeros(3))
    with pytest.raises(ProtocolViolation, match="party 1: plain sum: sent 24 bytes where 16 were due"):
        PlainSum().total(one, np.zeros(2), [0, 1], 1)
