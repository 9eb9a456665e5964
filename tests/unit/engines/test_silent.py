"""Silent correlations: the relation between both sides, their distribution, the code, and every message of a cheater."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.ot.rows import RowReceiver, RowSender
from tallystick_node.engines.ot.silent import code, forest
from tallystick_node.engines.ot.silent.code import Code
from tallystick_node.engines.ot.silent.field import BITS, NIBBLES, WIDE, add_product, multiples, packed, times_x
from tallystick_node.engines.ot.silent.forest import Forests, sides
from tallystick_node.engines.ot.silent.shape import LEAST_DEPTH, MOST, TREES, Shape, shape
from tallystick_node.engines.ot.silent.vole import vole_receive, vole_send
from unit.engines.conftest import run_parties

ORDER = np.random.default_rng(12)


def between(sender, receiver):
    answers = run_parties(local_sessions(2), lambda session: (sender, receiver)[session.index](session))
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def some_words(*size: int) -> np.ndarray:
    return ORDER.integers(0, 2**64, size, np.uint64)


def product(left: int, right: int, bits: int, poly: int) -> int:
    """In GF(2^bits), as it is written."""
    out = 0
    for place in range(bits):
        if right >> place & 1:
            out ^= left << place
    for place in range(2 * bits - 2, bits - 1, -1):
        if out >> place & 1:
            out ^= (1 << place | poly) << (place - bits)
            out &= (1 << place) - 1 if bits == 64 else ~0
    return out & ((1 << bits) - 1)


# -- sizes


@given(count=st.integers(1, MOST))
def test_shapes_hold_twice_as_many_places_and_trees_enough(count) -> None:
    form = shape(count)
    assert form.size >= 2 * count
    assert TREES <= form.trees <= 2 * TREES
    assert form.depth >= LEAST_DEPTH
    assert form.size <= max(TREES << LEAST_DEPTH, 2 * count + (1 << form.depth))


@pytest.mark.parametrize("count", [0, -1, MOST + 1])
def test_counts_out_of_range_are_refused(count) -> None:
    with pytest.raises(ValueError, match="are made at a time"):
        shape(count)


# -- fields


@pytest.mark.parametrize(("field", "poly"), [(WIDE, 0x1B), (NIBBLES, 3), (BITS, 1)])
def test_times_x(field, poly) -> None:
    words = some_words(20)
    found = times_x(field, words)
    for word, out in zip(words.tolist(), found.tolist(), strict=True):
        for lane in range(0, 64, field.bits):
            element = word >> lane & ((1 << field.bits) - 1)
            doubled = element << 1 if field.bits > 1 else element
            if doubled >> field.bits:
                doubled ^= 1 << field.bits | poly
            assert out >> lane & ((1 << field.bits) - 1) == doubled


def test_products_with_delta() -> None:
    delta, factors = some_words(2), some_words(50)
    out = some_words(50, 2)
    expected = out.copy()
    for i, lane in itertools.product(range(50), range(2)):
        expected[i, lane] ^= np.uint64(product(int(delta[lane]), int(factors[i]), 64, 0x1B))
    add_product(out, factors, multiples(delta))
    assert (out == expected).all()


@given(count=st.integers(0, 3))
def test_packing_is_a_polynomial_in_x(count) -> None:
    delta, elements = some_words(2), some_words(count)
    bits = np.unpackbits(elements.view(np.uint8), bitorder="little").reshape(count, 64).astype(np.uint64)
    expected = np.zeros((count, 2), np.uint64)
    add_product(expected, elements, multiples(delta))
    assert (packed(WIDE, bits[:, :, None] * delta) == expected).all()


# -- trees


@given(depth=st.integers(2, 6), trees=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_punctured_trees_lack_one_leaf_each(depth, trees) -> None:
    """From rows made by hand: what the two parties compute, without the transfers."""
    form = Shape(trees, depth)
    delta, rows = some_words(2), some_words(trees, depth, 2)
    holes = ORDER.integers(0, 1 << depth, trees)
    choices = (1 - sides(holes, depth)).astype(np.uint64)
    grown, known = between(
        lambda s: Forests(s, 1, 0).grow(form, rows, delta),
        lambda s: Forests(s, 0, 0).puncture(form, rows ^ choices[:, :, None] * delta, holes),
    )
    hole = np.arange(trees) * (1 << depth) + holes
    assert not known[hole].any()
    known[hole] = grown[hole]
    assert (known == grown).all()
    assert len(np.unique(grown)) == grown.size


# -- the code


def plain(field, vector: np.ndarray, count: int, context: bytes) -> list[int]:
    """The code as its module describes it, place by place, over words."""
    kept = -(-count // 4) * 4
    stream = code.Stream(Code(context)._seed)

    def draw(size: int) -> list[int]:
        pieces = [stream.elements((min(1 << 14, size - start),), np.uint32) for start in range(0, size, 1 << 14)]
        return np.concatenate(pieces).tolist()

    rest = [int(x) for x in vector[kept:]]
    state: list[int] = []
    for _ in range(code.ROUNDS):
        for i, tap in enumerate(draw(len(rest))):
            before = lambda back: state[-back] if back <= len(state) else 0  # noqa: E731
            value = int(times_x(field, np.array([rest[i] ^ before(28)], np.uint64))[0])
            k = i % 4
            for block in range(1, 7):
                for place in range(4):
                    if tap >> (4 * block + place) & 1:
                        value ^= before(k + 4 * block - place)
            for place in range(k):
                if tap >> place & 1:
                    value ^= before(k - place)
            state.append(value)
            rest[i] = value
    out = [int(x) for x in vector[:kept]]
    for segment in range(code.WEIGHT):
        low, high = len(rest) * segment // code.WEIGHT, len(rest) * (segment + 1) // code.WEIGHT
        for i, word in enumerate(draw(kept)):
            out[i] ^= rest[low + (word * (high - low) >> 32)]
    return out[:count]


@pytest.mark.parametrize("field", [WIDE, NIBBLES, BITS])
def test_the_code_is_as_it_is_described(field) -> None:
    vector = some_words(960)
    expected = plain(field, vector, 470, b"c")
    blocks = np.stack([vector, vector[::-1]], axis=1)
    reversed_too = plain(field, vector[::-1].copy(), 470, b"c")
    assert Code(b"c").compress(field, vector, 470).tolist() == expected
    found = Code(b"c").compress(field, blocks, 470)
    assert found[:, 0].tolist() == expected
    assert found[:, 1].tolist() == reversed_too


def test_codes_of_different_sessions_differ() -> None:
    vector = some_words(960)
    assert (Code(b"a").compress(WIDE, vector.copy(), 470) != Code(b"b").compress(WIDE, vector.copy(), 470)).any()


# -- evaluations


@given(count=st.sampled_from([1, 2, 3, 4, 5, 63, 4799, 4800, 4801, 20011]))
@settings(max_examples=6, deadline=None)
def test_the_receiver_holds_b_plus_delta_a(count) -> None:
    (delta, b), (a, c) = between(lambda s: vole_send(s, 1, count), lambda s: vole_receive(s, 0, count))
    assert delta.shape == (2,)
    assert a.shape == (count,)
    assert b.shape == c.shape == (count, 2)
    assert len(np.unique(a)) == count
    assert not (b == c).any()
    add_product(b, a, multiples(delta))
    assert (b == c).all()


def test_evaluations_are_uniform_and_fresh() -> None:
    """A distribution test: bits are balanced, neighbours independent, and another run has nothing in common."""
    runs = [between(lambda s: vole_send(s, 1, 50_000), lambda s: vole_receive(s, 0, 50_000)) for _ in range(2)]
    (first, second) = (np.concatenate([a[:, None], b, c], axis=1) for (_, b), (a, c) in runs)
    for words in (first, first[1:] ^ first[:-1], first ^ second, first[:, 1:2] ^ first[:, 0:1]):
        columns = np.unpackbits(np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1), axis=1)
        assert abs(columns.mean(axis=0) - 0.5).max() < 0.0125  # 5.6 standard deviations of a column
        assert len(np.unique(words)) == words.size
    assert (runs[0][0][0] != runs[1][0][0]).all()


def test_another_length_names_peer_and_step() -> None:
    def sender(session):
        extension = RowSender(session, 1, b"silent vole")
        extension.rows(TREES * (LEAST_DEPTH + 64))
        send_array(session, 1, np.zeros(5, np.uint64))

    def receiver(session):
        with pytest.raises(ProtocolViolation) as caught:
            vole_receive(session, 0, 100)
        assert caught.value.peer == 0
        assert caught.value.step == forest.STEP

    between(sender, receiver)


def test_choices_of_another_number_are_refused() -> None:
    def receiver(session):
        RowReceiver(session, 0, b"silent vole").rows(np.zeros(100, np.uint8))

    def sender(session):
        with pytest.raises(ProtocolViolation) as caught:
            vole_send(session, 1, 100)
        assert (caught.value.peer, caught.value.step) == (1, "ot extension")
        send_array(session, 1, np.zeros(2, np.uint64))  # whatever: the peer waits for a key

    between(sender, receiver)
