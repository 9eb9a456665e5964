"""Replicated sharing against NumPy: comparison, Boolean words and the ways between them and ring elements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.mpc.protocol import Binary, word_type
from tallystick_node.engines.mpc.replicated import Replicated
from unit.engines.three_parties import answers, revealed, ring

TOP = 1 << 63
EDGES = np.array(
    [0, 1, 2, 3, TOP - 1, TOP, TOP + 1, 2**64 - 1, 2**62, 2**62 - 1, 2**32, 2**32 - 1, 0x5555 << 48, 0xAAAA << 48], np.uint64
)
WIDTHS = [1, 2, 7, 8, 9, 16, 31, 32, 33, 63, 64]
elements = st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([int(each) for each in EDGES]), min_size=1, max_size=40)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 16385])
def test_signs(size) -> None:
    values = np.resize(np.concatenate([EDGES, ring(size, size)]), size)
    assert (revealed(lambda protocol, x: protocol.negative(x), values) == values >> np.uint64(63)).all()


@given(elements)
@settings(max_examples=25)
def test_signs_of_anything(values) -> None:
    given = np.array(values, np.uint64)
    assert (revealed(lambda protocol, x: protocol.negative(x), given) == given >> np.uint64(63)).all()


def test_every_digit_carries() -> None:
    """a + b where each carry chain of the addition ends at each place: parts are chosen, not random."""
    starts, ends = np.meshgrid(np.arange(64), np.arange(64))
    a = (np.uint64(1) << starts.astype(np.uint64)).reshape(-1)
    b = (np.uint64(2**64 - 1) << starts.astype(np.uint64)).reshape(-1) & ~(np.uint64(1) << ends.astype(np.uint64)).reshape(-1)

    def engine(protocol: Replicated):
        parts = [a, np.zeros_like(a), b]
        secret = protocol.accept((parts[protocol.index], parts[(protocol.index + 1) % 3]))
        return protocol.reveal_binary(protocol.negative(secret)), protocol.reveal_binary(protocol.decompose(secret))

    for signs, words in answers(engine):
        assert (signs == (a + b) >> np.uint64(63)).all()
        assert (words == a + b).all()


@given(elements)
@settings(max_examples=25)
def test_bits_of_anything(values) -> None:
    given = np.array(values, np.uint64)
    assert (revealed(lambda protocol, x: protocol.decompose(x), given) == given).all()


@pytest.mark.parametrize("size", [1, 5, 16385])
def test_to_bits_and_back(size) -> None:
    values = np.resize(np.concatenate([EDGES, ring(size, size)]), size)
    assert (revealed(lambda protocol, x: protocol.decompose(x), values) == values).all()
    assert (revealed(lambda protocol, x: protocol.compose(protocol.decompose(x)), values) == values).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_words_of_every_width(width) -> None:
    low = np.uint64((1 << width) - 1)
    x, y = ring(width, 2, 3, 7) & low

    def words(protocol: Replicated, secret) -> Binary:
        bits = protocol.decompose(secret)
        return bits.map(lambda part: (part & low).astype(word_type(width)), width)

    def both(protocol: Replicated, a, b) -> Binary:
        return protocol.and_(words(protocol, a), words(protocol, b))

    assert (revealed(both, x, y) == x & y).all()
    assert (revealed(lambda protocol, a, b: protocol.compose(both(protocol, a, b)), x, y) == x & y).all()
    assert (revealed(lambda protocol, a, b: words(protocol, a) ^ protocol.not_(words(protocol, b)), x, y) == x ^ y ^ low).all()


def test_bits_become_zero_and_one() -> None:
    values = np.concatenate([EDGES, ring(3, 1000)])
    found = revealed(lambda protocol, x: protocol.to_arithmetic(protocol.negative(x)), values)
    assert (found == values >> np.uint64(63)).all()


def test_only_the_named_parties_learn_words() -> None:
    words = np.array([1, 2, 3], np.uint8)
    found = answers(lambda protocol: protocol.reveal_binary(protocol.public_binary(words, 2), to=[2]))
    assert found[0] is None and found[1] is None
    assert (found[2] == words).all()


def test_empty_arrays() -> None:
    nothing = np.zeros((0, 3), np.uint64)
    for step in ("negative", "decompose"):
        assert revealed(lambda protocol, x, step=step: getattr(protocol, step)(x), nothing).shape == (0, 3)
    assert revealed(lambda protocol, x: protocol.compose(protocol.decompose(x)), nothing).shape == (0, 3)
    assert revealed(lambda protocol, x: protocol.shuffle([x])[0], nothing).shape == (0, 3)
    assert revealed(lambda protocol, x: protocol.multiply_fixed(x, x, 4), nothing).shape == (0, 3)
    assert revealed(lambda protocol, x: protocol.sigmoid_fixed(x, 4), nothing).shape == (0, 3)
