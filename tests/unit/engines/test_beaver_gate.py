"""Two parties: secrets kept or cleared by secret bits, and long inner products, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.mpc.beaver import equality
from tallystick_node.engines.mpc.beaver.lattice import blocks, products
from tallystick_node.engines.mpc.beaver.lattice.transform import N
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.protocol import Binary, Shares
from unit.engines.conftest import run_parties

DRAW = np.random.default_rng(11)


def between(step, sessions=None):
    return run_parties(sessions or local_sessions(2), lambda session: step(ObliviousAdditive(session)))


def parts_of(secret, draw=DRAW):
    part = draw.integers(0, 2**64, secret.shape, np.uint64)
    return part, secret - part


def words(*shape):
    return DRAW.integers(0, 2**64, shape, np.uint64)


@pytest.mark.parametrize("chunk", [64, 1 << 18])
@pytest.mark.parametrize("owner", [None, 0, 1])
def test_gate_keeps_where_the_bit_is_one(monkeypatch, owner, chunk):
    monkeypatch.setattr("tallystick_node.engines.mpc.beaver.oblivious.CHUNK", chunk)
    secret, bits, mask = words(25, 8), DRAW.integers(0, 2, (25, 8), np.uint8), DRAW.integers(0, 2, (25, 8), np.uint8)
    values = parts_of(secret) if owner is None else (secret, np.zeros_like(secret))[:: 1 if owner == 0 else -1]

    def step(p):
        return p.gate(Binary(((mask, mask ^ bits)[p.index],)), Shares((values[p.index],)), owner).parts[0]

    first, second = between(step)
    assert np.array_equal(first + second, secret * bits)
    assert not np.array_equal(first, secret * bits)


@pytest.mark.parametrize(("rows", "length", "columns"), [(1, 1, 1), (3, 200, 5), (2, N + 77, 3)])
def test_inner_products(rows, length, columns):
    left, right = words(rows, length), words(length, columns)
    a, b = parts_of(left), parts_of(right)

    def step(p):
        return p.inner(Shares((a[p.index],)), Shares((b[p.index],))).parts[0]

    first, second = between(step)
    assert np.array_equal(first + second, left @ right)


def test_inner_products_in_pieces(monkeypatch):
    monkeypatch.setattr(products, "_POLYNOMIALS", 1)
    left, right = words(1, 2 * N + 5), words(2 * N + 5, 2)
    a, b = parts_of(left), parts_of(right)
    first, second = between(lambda p: p.inner(Shares((a[p.index],)), Shares((b[p.index],))).parts[0])
    assert np.array_equal(first + second, left @ right)


def test_no_more_blocks_are_added_up_than_the_noise_hides():
    for shape in ((1, 32 * N, 1), (7, 9 * N, 5), (64, 8192, 64), (256, 256, 256)):
        assert blocks.Blocks.of(*shape).counts[1] <= blocks.DEEPEST


@given(st.integers(1, 16), st.integers(1, 200), st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_numbers_that_agree(digits, count, seed):
    draw = np.random.default_rng(seed)
    first = draw.integers(0, 2**64, count, np.uint64)
    second = first ^ (draw.integers(0, 3, count, np.uint64) << draw.integers(0, 63, count, np.uint64))  # two bits, one, or none
    one, other = between(lambda p: p.agree((first, second)[p.index], 4 * digits).parts[0])
    low = np.uint64((1 << 4 * digits) - 1)
    assert np.array_equal(one ^ other, (first & low) == (second & low))


def test_numbers_that_agree_in_chunks_and_groups(monkeypatch):
    monkeypatch.setattr("tallystick_node.engines.mpc.beaver.oblivious.CHUNK", 192)
    monkeypatch.setattr(equality, "_TOGETHER", 400)
    first, second = words(500), words(500)
    second[::2] = first[::2]
    one, other = between(lambda p: p.agree((first, second)[p.index], 64).parts[0])
    assert np.array_equal(one ^ other, [1, 0] * 250)
    assert 150 < one.sum() < 350  # nearly 9 standard deviations


def test_misuse_and_messages_of_another_length():
    def gate(p):
        return p.gate(Binary((np.zeros(3, np.uint8),)), Shares((np.zeros(4, np.uint64),)))

    def inner(p):
        return p.inner(Shares((np.zeros((2, 3), np.uint64),)), Shares((np.zeros((2, 3), np.uint64),)))

    def agree(p):
        return p.agree(np.zeros(3, np.uint64), 6)

    assert all(isinstance(each, ValueError) for step in (gate, inner, agree) for each in between(step))

    def uneven(p):
        size = 4 + p.index
        return p.gate(Binary((np.zeros(size, np.uint8),)), Shares((np.zeros(size, np.uint64),)))

    def uneven_digits(p):
        return p.agree(np.zeros(64 + 64 * p.index, np.uint64), 8)

    for step in (uneven, uneven_digits):
        errors = [each for each in between(step, local_sessions(2)) if isinstance(each, ProtocolViolation)]
        assert errors
        assert all(error.peer in (0, 1) for error in errors)
