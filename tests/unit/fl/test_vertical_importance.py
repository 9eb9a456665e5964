"""Shares of the gain: those of the pooled training, each at the owner of the column, and messages that are wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tallystick_node.engines.channel import ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.fl.vertical.binning import Binned
from tallystick_node.engines.fl.vertical.boosting import Local, grow
from tallystick_node.engines.fl.vertical.importance import STEP, ask, share
from tallystick_node.engines.fl.vertical.parts import Part, Split
from tallystick_node.engines.fl.vertical.secureboost import assist, lead
from unit.engines.conftest import leave
from unit.fl.vertical_world import BITS, SETTINGS, key, names, people


def together(count, work):
    def one(session):
        try:
            return work(session)
        except Exception as error:
            return error
        finally:
            leave(session)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, local_sessions(count)))


def pooled(columns, labels):
    local, gains = Local(Binned(columns, SETTINGS.bins), SETTINGS.child_rows), {}
    grow(SETTINGS, [local], labels, chosen=lambda _owner, name, worth: gains.__setitem__(name, worth))
    found = np.zeros(columns.shape[1])
    for name, worth in gains.items():
        assert worth > 0
        found[local.splits[name].feature] += worth
    return found / found.sum()


@pytest.mark.parametrize("cuts", [[2, 4], [0]])
def test_shares_are_those_of_the_pooled_columns(cuts) -> None:
    columns, labels = people()
    shares = np.split(columns, cuts, axis=1)

    def work(session):
        own, gains = shares[session.index], {}
        names_ = names(own.shape[1], 10 * session.index)
        owners = range(len(shares))
        if session.index:
            return ask(session, owners, assist(session, owners, own, names_, SETTINGS, BITS))

        def chosen(owner, name, worth):
            gains[owner, name] = worth

        part = lead(session, owners, own, names_, labels, SETTINGS, key(), chosen=chosen)
        return share(session, owners, part, gains, [each.shape[1] for each in shares])

    found = together(len(shares), work)
    assert not any(isinstance(each, Exception) for each in found), found
    np.testing.assert_allclose(np.concatenate(found), pooled(columns, labels), atol=1e-12)
    assert sum(each.sum() for each in found) == pytest.approx(1) and max(each.max(initial=0) for each in found) > 0.2


GAINS = {(0, "a" * 16): 1.0, (1, "b" * 16): 3.0}


def told(*messages):
    """What the owner of the label makes of an owner that sends these."""

    def work(session):
        if session.index == 0:
            return share(session, [0, 1], Part(0, ("x",), {"a" * 16: Split(0, 0.5)}, None), GAINS, [1, 2])
        session.channels[0].mark(STEP)
        for each in messages:
            send_array(session, 0, each)
        return None

    return together(2, work)[0]


def test_what_an_owner_may_not_say() -> None:
    for messages, words in (
        ((np.array([2], np.uint32),), "beyond its last"),
        ((np.array([0, 1], np.uint32),), "bytes"),
    ):
        found = told(*messages)
        assert isinstance(found, ProtocolViolation) and found.peer == 1 and words in str(found)
    assert told(np.array([1], np.uint32)).tolist() == [0.25]
    with pytest.raises(ValueError, match="at most"):
        share(local_sessions(2)[0], [0, 1], Part(0, (), {}, None), GAINS, [0, 1 << 20])


@pytest.mark.parametrize("answer", [[np.nan], [-0.5], [1.5]])
def test_what_the_owner_of_the_label_may_not_say(answer) -> None:
    def work(session):
        if session.index == 1:
            return ask(session, [0, 1], Part(1, ("x",), {"b" * 16: Split(0, 0.5)}, None))
        session.channels[1].mark(STEP)
        return send_array(session, 1, np.array(answer))

    found = together(2, work)[1]
    assert isinstance(found, ProtocolViolation) and "no share" in str(found)
