"""The definition of projections: linear, a hash of every entry, and the points that follow from the roots."""

from __future__ import annotations

import hashlib
import struct

import pytest
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st
from tallystick.commitments import projection
from tallystick.commitments.projection import MODULUS

ENTRIES = st.integers(0, MODULUS - 1)
POINTS = st.tuples(*[ENTRIES] * 4)
ROOTS = st.lists(st.binary(min_size=32, max_size=32), max_size=4)


def test_a_projection_is_a_polynomial_without_its_constant_term() -> None:
    assert projection.project([5, 7, 11], (10, 1, 0, 2)) == (50 + 700 + 11_000, 23, 0, 10 + 28 + 88)
    assert projection.project([], (1, 2, 3, 4)) == projection.ZERO


def test_blocks_of_entries_are_one_vector() -> None:
    points = projection.points(hashlib.sha256(b"points").digest())
    for length in (projection.BLOCK - 1, projection.BLOCK, 2 * projection.BLOCK + 3):
        vector = [int.from_bytes(hashlib.sha256(b"%d" % k).digest()[:7], "big") for k in range(length)]
        term_by_term = tuple(sum(v * pow(c, k + 1, MODULUS) for k, v in enumerate(vector)) % MODULUS for c in points)
        assert projection.project(vector, points) == term_by_term


@given(st.lists(st.lists(st.integers(0, 2**56), min_size=3, max_size=3), min_size=1, max_size=5), POINTS)
def test_projections_add_up(vectors: list[list[int]], points: projection.Projection) -> None:
    total = [sum(column) for column in zip(*vectors, strict=True)]
    assert projection.add(projection.project(each, points) for each in vectors) == projection.project(total, points)


@given(st.lists(ENTRIES, min_size=1, max_size=6), st.data())
def test_another_entry_is_another_projection(vector: list[int], data: st.DataObject) -> None:
    points = projection.points(hashlib.sha256(repr(vector).encode()).digest())
    at = data.draw(st.integers(0, len(vector) - 1))
    other = data.draw(ENTRIES.filter(lambda entry: entry != vector[at]))
    changed = [*vector[:at], other, *vector[at + 1 :]]
    assert projection.project(changed, points) != projection.project(vector, points)


@given(st.binary(min_size=32, max_size=32))
def test_points_are_the_words_of_the_hash(content: bytes) -> None:
    number = int.from_bytes(content, "big")
    words = [(number >> shift) & (2**64 - 1) for shift in (192, 128, 64, 0)]
    assert projection.points(content) == tuple(word % MODULUS for word in words)


@given(st.binary(min_size=32, max_size=32), ROOTS, st.binary(min_size=32, max_size=32))
def test_the_challenge_is_over_context_roots_and_aggregate(context: bytes, roots: list[bytes], aggregate: bytes) -> None:
    tag = keccak(text="tallystick/projection/v1")
    expected = keccak(abi_encode(["bytes32", "bytes32", "bytes32[]", "bytes32"], [tag, context, roots, aggregate]))
    assert projection.challenge(context, roots, aggregate) == expected


@given(st.lists(ENTRIES, max_size=20), POINTS, st.integers(1, 50))
def test_content_in_any_pieces_is_the_vector(vector: list[int], points: projection.Projection, size: int) -> None:
    content = projection.encode(vector)
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    assert content == struct.pack(f"<{len(vector)}Q", *vector)
    expected = hashlib.sha256(b"tallystick/v1/projection\0" + content).digest()
    assert projection.project_content(pieces, points) == (expected, projection.project(vector, points))
    assert projection.root(pieces) == expected


def test_what_is_no_vector_is_refused() -> None:
    for entry in (-1, MODULUS):
        with pytest.raises(ValueError, match="entry"):
            projection.project([entry], (1, 2, 3, 4))
    with pytest.raises(ValueError, match="multiple of eight"):
        projection.project_content([b"\0" * 8, b"\0"], (1, 2, 3, 4))
    with pytest.raises(ValueError, match="entry"):
        projection.project_content([b"\xff" * 8], (1, 2, 3, 4))
