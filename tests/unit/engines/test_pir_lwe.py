"""Reading a column of a byte matrix without showing which."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.pir import lwe

SEED = bytes(range(16))


def matrix_of(rows, columns, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, (rows, columns), np.int8)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 13),
    st.integers(1, 300),
    st.sampled_from(["random", "smallest", "largest"]),
    st.integers(0, 2**32),
    st.data(),
)
def test_every_column_is_read_exactly(rows, columns, kind, seed, data):
    matrix = matrix_of(rows, columns, seed)
    if kind != "random":
        matrix[:] = -128 if kind == "smallest" else 127
    choices = data.draw(st.lists(st.integers(0, columns - 1), min_size=1, max_size=5))
    hidden, queries = lwe.encrypt(SEED, columns, choices)
    read = lwe.decrypt(lwe.hint(matrix, SEED), hidden, lwe.answer(matrix, queries))
    assert (read.view(np.int8) == matrix[:, choices].T).all()


def test_the_widest_matrix_with_the_worst_bytes_is_read_exactly():
    matrix = np.full((8, lwe.MAX_COLUMNS), -128, np.int8)
    hidden, queries = lwe.encrypt(SEED, lwe.MAX_COLUMNS, [0, lwe.MAX_COLUMNS - 1])
    assert (lwe.decrypt(lwe.hint(matrix, SEED), hidden, lwe.answer(matrix, queries)) == 128).all()


def test_the_hint_is_the_product_with_the_public_matrix():
    matrix = matrix_of(5, 2100)  # more than one step
    public = lwe.public_rows(SEED, 0, 2100)
    expected = (matrix.astype(np.int64) @ public.astype(np.int64)).astype(np.uint32)
    assert (lwe.hint(matrix, SEED) == expected).all()
    assert (lwe.public_rows(SEED, 2047, 3) == public[2047:2050]).all()
    assert (lwe.public_rows(bytes(16), 0, 3) != public[:3]).any()


def test_errors_have_the_stated_spread_and_secrets_are_fresh():
    hidden, queries = lwe.encrypt(SEED, 20_000, [7, 7])
    public = lwe.public_rows(SEED, 0, 20_000)
    noise = queries - (public.astype(np.uint64) @ hidden.astype(np.uint64).T).T.astype(np.uint32)
    assert (noise[:, 7].view(np.int32) > 1 << 23).all()
    noise[:, 7] = 0
    errors = noise.view(np.int32)
    assert errors.std() == pytest.approx(lwe.SIGMA, rel=0.05)
    assert abs(errors.mean()) < 1.5
    assert abs(errors).max() < 8 * lwe.SIGMA
    assert (hidden[0] != hidden[1]).any()
    assert (errors[0] != errors[1]).any()


def test_the_bound_on_failures():
    assert lwe.failure_bits(lwe.MAX_COLUMNS, 6000) > 120
    assert lwe.failure_bits(lwe.MAX_COLUMNS, 1, 2**14) > 44
    assert lwe.failure_bits(1 << 10, 6000) > lwe.failure_bits(1 << 11, 6000)
    # the noise of a real answer is as large as the bound takes it to be
    matrix = matrix_of(64, 1 << 12)
    hidden, queries = lwe.encrypt(SEED, 1 << 12, [0] * 4)
    exact = (queries.astype(np.int64) @ matrix.astype(np.int64).T).astype(np.uint32)
    left = exact - (hidden.astype(np.uint64) @ lwe.hint(matrix, SEED).astype(np.uint64).T).astype(np.uint32)
    left -= (matrix[:, 0].astype(np.int64) << 24).astype(np.uint32)
    assert left.view(np.int32).std() == pytest.approx(lwe.SIGMA * 64 * 73.9, rel=0.4)  # 8 standard deviations
