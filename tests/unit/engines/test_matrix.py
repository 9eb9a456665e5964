"""Matrix products in the ring are NumPy's, whatever the shape, the layout and how loops are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.registry import cpu_target
from tallystick_node.engines.mpc.matrix import Right, add_product
from tallystick_node.engines.mpc.protocol import Shares
from unit.engines.three_parties import ring, together

sizes = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 9, 17, 97, 99])


@given(sizes, sizes, st.sampled_from([1, 2, 8, 9, 10, 513]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_product_is_added(rows, inner, columns, turned) -> None:
    out, left, right = ring(1, rows, columns), ring(2, rows, inner), ring(3, inner, columns)
    if turned:
        left = np.ascontiguousarray(left.T).T
    expected = out + left @ right
    add_product(out, left, right)
    assert (out == expected).all()


@pytest.mark.parametrize("columns", [1, 8, 9, 600])
@pytest.mark.parametrize("cuts", [(256, 257), (3, 20, 21), (8, 9, 17, 18)])
def test_a_right_factor_stays_what_it_is_for_few_rows_after_many(columns, cuts) -> None:
    left, factor = ring(4, cuts[-1], 97), ring(5, 97, columns)
    right, out = Right(factor), np.zeros((cuts[-1], columns), np.uint64)
    for start, stop in zip((0, *cuts), cuts, strict=False):
        right.add(out[start:stop], left[start:stop])
    assert (out == left @ factor).all()


def test_the_last_rows_of_a_long_matrix_may_be_few() -> None:
    left, right = ring(6, 257, 3), ring(7, 3, 600)

    def engine(protocol, x, y):
        return protocol.reveal(protocol.matmul(Shares(protocol.disclose(x)), Shares(protocol.disclose(y))))

    for found in together(engine, left, right):
        assert (found == left @ right).all()


@pytest.mark.parametrize("empty", [(), (0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_parts_that_are_zero_are_left_out_alone(empty) -> None:
    """Parts of the left matrix that are zero, as of a public or a fresh one; the right matrix has no such part."""

    parts = [ring(10 + part, 5, 6) * np.uint64(part not in empty) for part in range(3)]

    def engine(protocol, right):
        x = Shares((parts[protocol.index], parts[(protocol.index + 1) % 3]))
        return protocol.reveal(protocol.matmul(x, Shares(protocol.disclose(right))))

    right = ring(20, 6, 7)
    for found in together(engine, right):
        assert (found == sum(parts) @ right).all()


def test_loops_are_compiled_to_whole_vectors() -> None:
    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    assert ("-prefer-256-bit" in features) == ("+avx512f" in features)
