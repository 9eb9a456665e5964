"""The plain sum: the same bits at every party, whatever adds them, and nothing out of range passes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tallystick_node.engines.channel import ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.fl.aggregation import quantisation
from tallystick_node.engines.fl.aggregation.plain import PlainSum
from tallystick_node.engines.fl.aggregation.ring import RingSum
from tallystick_node.engines.fl.aggregation.secure import SecureSum


def sums(make, members, round_) -> tuple[np.ndarray, list[np.ndarray]]:
    """What four parties' vectors add up to, and what each party gets."""
    vectors = np.random.default_rng(1).uniform(-1, 1, (4, 50))
    with ThreadPoolExecutor(4) as pool:
        return vectors[members].sum(axis=0), list(
            pool.map(lambda session: make().total(session, vectors[session.index], members, round_), local_sessions(4))
        )


@pytest.mark.parametrize(("members", "round_"), [([0, 1, 2, 3], 0), ([0, 1, 2, 3], 6), ([1, 3], 0), ([1, 3], 1), ([2], 5)])
def test_every_party_gets_the_same_sum_within_the_stated_error(members, round_) -> None:
    due, found = sums(PlainSum, members, round_)
    assert all((total == found[0]).all() for total in found)
    assert np.abs(found[0] - due).max() <= quantisation.error(len(members))


def test_a_plain_a_masked_and_a_verified_sum_are_the_same_to_the_bit() -> None:
    plain, ring, secure = (sums(make, [0, 1, 2, 3], 1)[1][0] for make in (PlainSum, RingSum, SecureSum))
    assert (plain == ring).all() and (plain == secure).all()


def test_a_plain_sum_of_one_party_needs_no_channel() -> None:
    assert PlainSum().total(local_sessions(1)[0], np.array([0.5]), [0], 3) == pytest.approx(0.5, abs=quantisation.error(1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.5])
def test_a_party_s_own_vector_out_of_range_goes_nowhere(bad) -> None:
    one, two = local_sessions(2)
    for session in (one, two):
        with pytest.raises(ValueError, match="a summand is a flat vector"):
            PlainSum().total(session, np.array([0.0, bad]), [0, 1], 0)


@pytest.mark.parametrize("steps", [quantisation.levels(2) + 1, -quantisation.levels(2) - 1, -(2**31)])
def test_a_member_out_of_range_is_named(steps) -> None:
    one, two = local_sessions(2)
    send_array(two, 0, np.array([0, steps], np.int64).astype(np.uint32))
    with pytest.raises(ProtocolViolation, match=r"party 1: plain sum: sent what is no summand: .* within \[-1, 1\]"):
        PlainSum().total(one, np.zeros(2), [0, 1], 0)


def test_the_greatest_summands_pass() -> None:
    one, two = local_sessions(2)
    send_array(two, 0, quantisation.encode(np.array([1.0, -1.0]), 2))
    assert PlainSum().total(one, np.array([1.0, -1.0]), [0, 1], 0) == pytest.approx([2.0, -2.0])


def test_a_coordinator_out_of_range_or_of_another_length_is_named() -> None:
    one, two = local_sessions(2)
    send_array(two, 0, np.array([0, 1 << 31], np.uint32))
    with pytest.raises(ProtocolViolation, match="party 1: plain sum: .* more than 2 vectors"):
        PlainSum().total(one, np.zeros(2), [0, 1], 1)
    send_array(two, 0, np.zeros(3, np.uint32))
    with pytest.raises(ProtocolViolation, match="party 1: plain sum: sent 12 bytes where 8 were due"):
        PlainSum().total(one, np.zeros(2), [0, 1], 1)
