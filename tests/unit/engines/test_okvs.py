"""Oblivious key-value stores: every key gives its value, cores are solved, and a store looks the same whatever is in it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.okvs import shape as shapes
from tallystick_node.engines.okvs import store as stores
from tallystick_node.engines.okvs.shape import DENSE, LAMBDA, MAX_KEYS, Shape
from tallystick_node.engines.okvs.store import StoreOverflow, decode, encode, random_words


def keys_of(number):
    words = random_words(number, 3)
    return np.ascontiguousarray(words[:, :2]), np.ascontiguousarray(words[:, 2])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.sampled_from([1, 2, 3]))
def test_every_key_gives_its_value_and_others_do_not(number, words):
    shape, (digests, buckets), values = Shape.of(number), keys_of(number), random_words(number, words)
    store = encode(shape, digests, buckets, values)
    assert store.shape == (shape.total, words)
    assert (decode(shape, digests, buckets, store) == values).all()
    others, theirs = keys_of(100)
    assert len(np.unique(decode(shape, others, theirs, store)[:, 0])) == 100


def test_fewer_keys_than_the_shape_is_for():
    shape, (digests, buckets), values = Shape.of(1000), keys_of(10), random_words(10, 1)
    assert (decode(shape, digests, buckets, encode(shape, digests, buckets, values)) == values).all()
    assert (encode(shape, *keys_of(0), random_words(0, 1)) != 0).mean() > 0.99


def test_buckets(monkeypatch):
    monkeypatch.setattr(shapes, "UNCUT", 1000)
    monkeypatch.setattr(shapes, "BUCKET", 500)
    shape, (digests, buckets), values = Shape.of(4000), keys_of(4000), random_words(4000, 2)
    assert shape.buckets == 8
    store = encode(shape, digests, buckets, values)
    assert (decode(shape, digests, buckets, store) == values).all()
    order = np.random.default_rng(1).permutation(4000)[:77]
    assert (decode(shape, digests[order], buckets[order], store) == values[order]).all()
    with pytest.raises(StoreOverflow, match="bucket"):
        encode(shape, digests, np.zeros(4000, np.uint64), values)


@pytest.mark.parametrize("expansion", [1.17, 1.1, 1.0])
def test_cores_that_peeling_leaves_are_solved(expansion):
    """Shorter segments than a shape has: peeling gets stuck, and elimination does the rest."""
    solved, draw = 0, np.random.default_rng(8)  # the shortest fail once in 10^6
    for _ in range(12):
        segment = math.ceil(expansion * 300 / 3)
        shape = Shape(300, 1, 300, segment)
        digests, buckets, values = draw.integers(0, 2**64, (300, 2), np.uint64), np.zeros(300, np.uint64), random_words(300, 2)
        peeled = stores._peel(digests, np.uint64(segment), np.empty(300, np.uint32), np.empty(300, np.uint32))
        if peeled < 300:
            solved += 1
            assert (decode(shape, digests, buckets, encode(shape, digests, buckets, values)) == values).all()
    assert solved


def test_two_keys_with_the_same_three_slots():
    """The smallest core: they differ in their dense slots alone."""
    shape, (digests, buckets), values = Shape.of(500), keys_of(500), random_words(500, 1)
    digests[1] = digests[0]
    digests[1, 1] ^= np.uint64(1 << 40)
    assert (decode(shape, digests, buckets, encode(shape, digests, buckets, values)) == values).all()


def test_equal_digests_overflow():
    shape, (digests, buckets), values = Shape.of(50), keys_of(50), random_words(50, 1)
    digests[7] = digests[3]
    with pytest.raises(StoreOverflow):
        encode(shape, digests, buckets, values)


def test_a_core_beyond_all_bounds_overflows(monkeypatch):
    monkeypatch.setattr(stores, "MAX_CORE", 10)
    with pytest.raises(StoreOverflow, match="peeling"):
        encode(Shape(300, 1, 300, 70), *keys_of(300), random_words(300, 1))


@pytest.mark.parametrize("number", [5, 200])
def test_a_store_is_uniform_whatever_its_keys(number):
    """Over many stores of the same keys with random values: every slot's bits are fair and no two slots agree."""
    (digests, buckets), shape = keys_of(number), Shape.of(number)
    if number > 5:
        digests[1] = digests[0]
        digests[1, 1] ^= np.uint64(1 << 50)
    runs = 400
    found = np.stack([encode(shape, digests, buckets, random_words(number, 1))[:, 0] for _ in range(runs)])
    bits = np.unpackbits(found.view(np.uint8), axis=1).reshape(runs, -1).mean(axis=0)
    assert abs(bits - 0.5).max() < 8 * 0.5 / math.sqrt(runs)  # of some 25,000 bits
    distances = [np.unpackbits((found[:, 0] ^ found[:, slot]).view(np.uint8)).mean() for slot in range(1, shape.total)]
    assert abs(np.array(distances) - 0.5).max() < 8 * 0.5 / math.sqrt(64 * runs)


def test_random_words_are_fresh():
    assert (random_words(1000, 2) != random_words(1000, 2)).mean() > 0.99
    assert random_words(0, 1).shape == (0, 1)


@given(st.integers(0, MAX_KEYS))
def test_shapes_keep_their_bounds(keys):
    shape = Shape.of(keys)
    assert shape.buckets * shape.capacity >= keys
    assert shape.segment < 1 << 21
    expansion = 3 * shape.segment / shape.capacity
    lamb = LAMBDA + math.log2(shape.buckets)
    assert expansion >= 1.223 + (lamb + 9.2) / (4.144 * shape.capacity**0.55)
    assert expansion < 1.3 or keys < 20000
    if keys > 1:
        core = min(keys, math.floor(LAMBDA / math.log2(expansion * shape.capacity)))
        assert core + LAMBDA <= DENSE
    if shape.buckets > 1:
        mean = keys / shape.buckets
        assert -((shape.capacity - mean) ** 2) / (3 * mean) * math.log2(math.e) <= -LAMBDA - math.log2(shape.buckets)
        assert shape.total < 1.26 * keys


def test_sizes_are_bounded():
    for keys in (-1, MAX_KEYS + 1):
        with pytest.raises(ValueError, match="at most"):
            Shape.of(keys)
    shape = Shape.of(10)
    with pytest.raises(ValueError, match="value"):
        encode(shape, *keys_of(11), random_words(11, 1))
    with pytest.raises(ValueError, match="value"):
        encode(shape, *keys_of(10), random_words(9, 1))
    with pytest.raises(ValueError, match="shape"):
        decode(shape, *keys_of(10), random_words(shape.total - 1, 1))
