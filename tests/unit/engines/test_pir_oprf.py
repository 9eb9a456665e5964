"""An oblivious pseudorandom function: equal outputs on both sides, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.pir import oprf
from tallystick_node.engines.psi.field25519 import P

KEY = oprf.random_key()
KEYS = (KEY, oprf.random_key(), oprf.random_key())


@settings(max_examples=10, deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=40, unique=True))
def test_both_ways_give_the_same(items):
    blinding = oprf.Blinding(items)
    assert len(blinding.points) == len(items) + 1
    found = blinding.finish(oprf.evaluate_blinded(KEYS, blinding.points), 3, oprf.check_of(KEYS))
    assert found.shape == (3, len(items), oprf.OUTPUT)
    for outputs, key in zip(found, KEYS, strict=True):
        assert (outputs == oprf.evaluate(key, items)).all()


def test_batches_are_put_together_in_order(monkeypatch):
    items = [bytes([number]) for number in range(50)]
    whole = oprf.evaluate(KEY, items)
    monkeypatch.setattr(oprf, "_BATCH", 7)
    assert (oprf.evaluate(KEY, items) == whole).all()
    assert oprf.evaluate(KEY, []).shape == (0, oprf.OUTPUT)


def test_outputs_differ_by_item_and_key():
    outputs = oprf.evaluate(KEY, [b"a", b"b", b""])
    assert len({each.tobytes() for each in outputs}) == 3
    assert (oprf.evaluate(oprf.random_key(), [b"a"])[0] != outputs[0]).any()


def test_blinded_points_tell_two_batches_of_the_same_items_apart():
    first, second = oprf.Blinding([b"a", b"b"]).points, oprf.Blinding([b"a", b"b"]).points
    assert not {each.tobytes() for each in first} & {each.tobytes() for each in second}


def test_the_known_item_stands_at_any_place():
    assert len({oprf.Blinding([b"a", b"b"])._known for _ in range(60)}) == 3


@pytest.mark.parametrize("used", [(oprf.random_key(), *KEYS[1:]), (*KEYS[:2], oprf.random_key()), KEYS[::-1]])
def test_other_keys_are_noticed(used):
    blinding = oprf.Blinding([b"a"])
    with pytest.raises(ValueError, match="other keys"):
        blinding.finish(oprf.evaluate_blinded(used, blinding.points), 3, oprf.check_of(KEYS))


def point(u):
    return np.frombuffer(u.to_bytes(32, "little"), np.uint8)


@pytest.mark.parametrize("u", [0, 1, P - 1, P, P + 1, 2])  # of low order, in both forms, and on the twist
def test_points_off_the_subgroup_are_refused(u):
    points = oprf.Blinding([b"a", b"b"]).points.copy()
    points[1] = point(u)
    with pytest.raises(ValueError, match="not on the curve"):
        oprf.evaluate_blinded([KEY], points)
    blinding = oprf.Blinding([b"a"])
    answer = oprf.evaluate_blinded([KEY], blinding.points).copy()
    answer[0] = point(u)
    with pytest.raises(ValueError, match="not on the curve"):
        blinding.finish(answer, 1, oprf.check_of([KEY]))
