"""Byte strings in one piece of memory, against lists of them."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick_node.engines.psi import blake2s, items
from tallystick_node.engines.psi.items import Items

LISTS = st.lists(st.binary(max_size=200), max_size=20)


@given(LISTS, st.binary(min_size=32, max_size=32))
def test_hashes_are_those_of_hashlib(listed, key):
    first, second = Items.of(listed).hashes(key)
    for index, item in enumerate(listed):
        assert first[index].tobytes() + second[index].tobytes() == hashlib.blake2s(item, key=key).digest()


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 127, 128, 129, 1000])
def test_hashes_at_the_ends_of_blocks(length):
    item, key = bytes(range(256)) * 4, b"k" * 32
    first, second = Items.of([b"x", item[:length], b"y"]).hashes(key)
    assert first[1].tobytes() + second[1].tobytes() == hashlib.blake2s(item[:length], key=key).digest()


def test_a_key_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        blake2s.keyed(b"short", np.zeros(1, np.int64), np.zeros(0, np.uint8))


@given(LISTS)
def test_they_are_a_sequence(listed):
    given_ = Items.of(listed)
    assert list(given_) == listed
    assert [given_[i] for i in range(-len(listed), len(listed))] == listed + listed
    assert list(given_[1:5]) == listed[1:5]
    for beyond in (len(listed), -len(listed) - 1):
        with pytest.raises(IndexError):
            given_[beyond]


@given(st.lists(st.sampled_from([b"", b"a", b"b", b"ab", b"ba", b"\0", b"\0\0"]), max_size=30), st.data())
def test_the_first_of_each(listed, data):
    which = np.array(data.draw(st.lists(st.booleans(), min_size=len(listed), max_size=len(listed))), np.bool_)
    expected = []
    for index, item in enumerate(listed):
        if which[index] and item not in [listed[i] for i in expected]:
            expected.append(index)
    assert Items.of(listed).distinct(which).tolist() == expected
    assert len(Items.of(listed).distinct()) == len(set(listed))


@given(LISTS, st.data())
def test_taking_some(listed, data):
    places = data.draw(st.lists(st.integers(0, len(listed) - 1), max_size=10)) if listed else []
    taken = Items.of(listed).take(np.array(places, np.int64))
    assert list(taken) == [listed[place] for place in places]
    assert taken.commitment(b"p") == Items.of(list(taken)).commitment(b"p")


def test_a_commitment_tells_where_items_end():
    assert Items.of([b"ab", b"c"]).commitment(b"") != Items.of([b"a", b"bc"]).commitment(b"")
    assert Items.of([b"a"]).commitment(b"p") != Items.of([b"a"]).commitment(b"q")
    assert Items.of([]).commitment(b"") != Items.of([b""]).commitment(b"")
    inner = Items.of([b"x", b"ab", b"c"])[1:]
    assert inner.commitment(b"") == Items.of([b"ab", b"c"]).commitment(b"")
    state = hashlib.sha256(b"p" + (2).to_bytes(8, "little") + (2).to_bytes(8, "little") + (3).to_bytes(8, "little") + b"abc")
    assert inner.commitment(b"p") == state.digest()


def test_their_number_is_bounded(monkeypatch):
    monkeypatch.setattr(items, "MAX_ITEMS", 2)
    with pytest.raises(ValueError, match="at most 2 items"):
        Items.of([b"a", b"b", b"c"])
