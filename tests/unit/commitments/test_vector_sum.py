"""Words in lanes of elements: they add up without a carry, and a sum's file leads back to them."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.commitments import vector_sum
from tallystick.commitments.kzg import BLINDS, ORDER, SIZE
from tallystick.commitments.vector_sum import (
    CHUNK_WORDS,
    LANE_BITS,
    LANES,
    MAX_CHUNKS,
    MAX_PARTIES,
    MAX_WORDS,
    WORD_BITS,
    chunks_of,
    elements_of,
    read_sum,
    write_sum,
)

WORDS = st.integers(0, 2**WORD_BITS - 1)


def drawn(chunks: int) -> list[tuple[int, ...]]:
    return [tuple(secrets.randbelow(ORDER) for _ in range(BLINDS)) for _ in range(chunks)]


@given(st.integers(1, 20).flatmap(lambda n: st.lists(st.lists(WORDS, min_size=n, max_size=n), min_size=2, max_size=16)))
def test_elements_add_up_as_words_do(vectors: list[list[int]]) -> None:
    blinds = [drawn(1) for _ in vectors]
    parts = [elements_of(each, blind)[0] for each, blind in zip(vectors, blinds, strict=True)]
    total = [sum(column) for column in zip(*vectors, strict=True)]
    hiding = [tuple(sum(pair) % ORDER for pair in zip(*(blind[0] for blind in blinds), strict=True))]
    assert [sum(column) % ORDER for column in zip(*parts, strict=True)] == elements_of(total, hiding)[0]


def test_the_greatest_sum_stays_in_its_lane() -> None:
    assert MAX_PARTIES * (2**WORD_BITS - 1) < 2**LANE_BITS and 2 ** (LANES * LANE_BITS) < ORDER
    (elements,) = elements_of([2**LANE_BITS - 1] * LANES, drawn(1))
    assert elements[0] == 2 ** (LANES * LANE_BITS) - 1
    for wrong in (-1, 2**LANE_BITS):
        with pytest.raises(ValueError, match="a word is not from 0"):
            elements_of([0, wrong], drawn(1))


def test_chunks_are_cut_where_they_are_full() -> None:
    assert [chunks_of(words) for words in (1, CHUNK_WORDS, CHUNK_WORDS + 1, MAX_WORDS)] == [1, 1, 2, MAX_CHUNKS]
    for wrong in (0, MAX_WORDS + 1):
        with pytest.raises(ValueError, match="words"):
            chunks_of(wrong)
    blinds = drawn(2)
    first, second = elements_of([1] * (CHUNK_WORDS + 1), blinds)
    assert (len(first), len(second)) == (SIZE, SIZE)
    assert (first[-BLINDS:], second[-BLINDS:]) == ([*blinds[0]], [*blinds[1]])
    assert second[:2] == [1, 0] and len(set(first[:-BLINDS])) == 1
    for chunks in (0, 1, 3):
        with pytest.raises(ValueError, match="chunks"):
            elements_of([1] * (CHUNK_WORDS + 1), drawn(chunks))
    with pytest.raises(ValueError, match="at most"):
        elements_of((0 for _ in range(MAX_WORDS + 1)), drawn(MAX_CHUNKS))


@given(st.lists(st.integers(0, 2**LANE_BITS - 1), min_size=1, max_size=40), st.integers(1, 9))
def test_a_file_leads_back_to_the_elements(words: list[int], piece: int) -> None:
    blinds = drawn(1)
    data = b"".join(write_sum(words, blinds))
    assert len(data) == 32 * BLINDS + 8 * len(words)
    assert read_sum((data[at : at + piece] for at in range(0, len(data), piece)), 1) == elements_of(words, blinds)


def test_a_file_that_is_none_is_refused() -> None:
    blinds = drawn(1)
    data = b"".join(write_sum([5, 6], blinds))
    wrong = {
        "": b"",
        "no words": data[:64],
        "half a word": data[:-1],
        "too large a word": data[:-1] + b"\xff",
        "an element that is not reduced": b"\xff" * 32 + data[32:],
        "too long": data[:64] + bytes(8 * (MAX_WORDS + 1)),
    }
    for why, content in wrong.items():
        with pytest.raises(ValueError, match=r"."):
            read_sum([content], 1)
            pytest.fail(f"{why} was read")
    with pytest.raises(ValueError, match=r"."):
        read_sum([data], 2)


def test_a_challenge_depends_on_each_of_its_parts() -> None:
    parts = [secrets.token_bytes(32) for _ in range(3)]
    found = {vector_sum.challenge(*parts)}
    for at in range(3):
        changed = [*parts]
        changed[at] = bytes([parts[at][0] ^ 1]) + parts[at][1:]
        found.add(vector_sum.challenge(*changed))
    assert len(found) == 4 and all(0 <= each < ORDER for each in found)
