"""Long arrays are worked on in pieces: the numbers do not show it, the plan foretells it, and memory stays as declared."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.functions import moments
from tallystick_node.engines.mpc.plan import pieces
from tallystick_node.engines.mpc.plan.explain import explain, memory
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.plan.roles import Cast
from tallystick_node.engines.mpc.plan.table import OPERATIONS
from unit.engines.test_plan_explain import measured

ORDER = np.random.default_rng(5)
PARTIES = ("A", "B", "C")


def test_what_is_cut_is_known() -> None:
    assert set(OPERATIONS) >= pieces.BY_ELEMENT
    assert not pieces.BY_ELEMENT & {"sum", "sort", "matmul", "softmax", "reshape"}


def program(x, y):
    chosen = sa.where(x < y * 2, sa.sigmoid(x), x / (y * y + 1))
    sa.reveal((chosen + sa.maximum(x, 0.5)).reshape(5, 31), to=["A"], name="found")


def plan_for(rows: int):
    return sa.plan_of(program, {"x": sa.declare("A", rows, "x"), "y": sa.declare("B", rows, "y")})


@pytest.mark.parametrize("piece", [1, 7, 154, 155, 1000])
@pytest.mark.parametrize("protocol", ["clear", "replicated"])
def test_pieces_do_not_show(monkeypatch, piece, protocol) -> None:
    monkeypatch.setattr(pieces, "PIECE", piece)
    x, y = ORDER.uniform(-3, 3, (2, 155))
    computing = ["A"] if protocol == "clear" else list(PARTIES)
    found = sa.run_locally(plan_for(155), {"x": x, "y": y}, computing, protocol)["A"]["found"].ravel()
    expected = np.where(x < 2 * y, 1 / (1 + np.exp(-x)), x / (y * y + 1)) + np.maximum(x, 0.5)
    assert np.abs(found - expected).max() < 2e-3


def test_matrices_with_rows_and_columns(monkeypatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 10)
    x, y = ORDER.uniform(-3, 3, (6, 4)), ORDER.uniform(-3, 3, 4)
    with sa.simulate(PARTIES):
        product = sa.secret(x, "A") * sa.secret(y, "B")
        assert np.abs(sa.reveal(product) - x * y).max() < 1e-4
        assert (sa.reveal(sa.secret(x, "A") > 0.25) == (np.rint(x * 2**18) / 2**18 > 0.25)).all()


@pytest.mark.parametrize("protocol", ["clear", "replicated", "replicated-malicious", "two-party"])
def test_products_of_long_matrices(monkeypatch, protocol) -> None:
    """Cut along rows, inner length and columns; with secret and with public factors; truncated once."""
    monkeypatch.setattr(pieces, "PIECE", 60)
    monkeypatch.setattr(pieces, "LONG", 20)
    x, y, w = ORDER.uniform(-3, 3, (43, 4)), ORDER.uniform(-3, 3, (43, 3)), ORDER.uniform(-3, 3, (4, 2))
    parties = {"clear": ("A",), "two-party": ("A", "B")}.get(protocol, PARTIES)
    with sa.simulate(parties, protocol):
        matrix, other, weights = sa.secret(x, "A"), sa.secret(y, "A"), sa.secret(w, "A")
        for found, expected in (
            (matrix @ weights, x @ w),
            (weights.T @ matrix.T, w.T @ x.T),
            (matrix.T @ other, x.T @ y),
            (matrix @ w, x @ w),
            (w.T @ matrix.T, w.T @ x.T),
            (matrix.T @ y, x.T @ y),
        ):
            assert np.abs(sa.reveal(found) - expected).max() < 1e-3


def test_categories_of_many_rows(monkeypatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 30)
    keys, values = ORDER.integers(0, 5, 99), ORDER.uniform(-3, 3, 99)
    with sa.simulate(PARTIES):
        counts, sums = sa.group_public(sa.secret(keys, "A"), sa.secret(values, "B"), size=5)
        assert (sa.reveal(counts) == np.bincount(keys, minlength=5)).all()
        assert np.abs(sa.reveal(sums) - np.bincount(keys, values, 5)).max() < 1e-3


@pytest.mark.parametrize("block", [1, 30, 1 << 20])
def test_moments_of_many_numbers(monkeypatch, block) -> None:
    monkeypatch.setattr(moments, "BLOCK", block)
    monkeypatch.setattr(moments, "ROWS", min(block, 1024))
    x = ORDER.uniform(-3, 3, (17, 6))
    with sa.simulate(PARTIES):
        secret = sa.secret(x, "A")
        for axis in (None, 0, 1):
            assert np.abs(sa.reveal(secret.var(axis)) - x.var(axis)).max() < 1e-3
        cube = sa.secret(x.reshape(17, 2, 3), "A").var(1)
        assert np.abs(sa.reveal(cube) - x.reshape(17, 2, 3).var(1)).max() < 1e-3
        assert np.abs(sa.reveal(sa.cov(secret)) - np.cov(x, rowvar=False)).max() < 1e-3


def test_moments_of_a_long_table_need_little_memory() -> None:
    def program(x):
        sa.reveal(x.var(0), to=["A"], name="variances")
        sa.reveal(sa.corrcoef(x), to=["A"], name="correlations")

    plan = sa.plan_of(program, {"x": sa.declare("A", 10_000_000, list("abcdefgh"))})
    needed = memory(plan)
    assert needed.kept > 640_000_000 and needed.at_once < 64_000_000


@pytest.mark.parametrize("computing", [PARTIES, ("P", "Q", "A")])
def test_rounds_and_bytes_are_foretold(monkeypatch, computing) -> None:
    monkeypatch.setattr(pieces, "PIECE", 50)
    monkeypatch.setattr(pieces, "LONG", 20)

    def program(x, k):
        sa.reveal(x * x - x, to=["A", "B"], name="squares")
        sa.reveal(x.reshape(1, 155) @ x.reshape(155, 1), to=["A"], name="length")
        sa.reveal(sa.group_public(k, x, size=3)[1], to=["B"], name="sums")
        sa.reveal(k == 1, to=["A"], name="which")

    inputs = {"x": sa.declare("A", 155, "x"), "k": sa.declare("B", 155, "k", "integer")}
    plan = sa.plan_of(program, inputs, ["B"])
    cast = Cast(tuple(dict.fromkeys((*plan.parties, *computing))), computing)
    data = {"x": ORDER.uniform(-3, 3, 155), "k": ORDER.integers(0, 3, 155)}
    foretold = explain(plan, OFFERS["replicated"], cast)
    sent, rounds = measured(plan, data, cast)
    assert (foretold.bytes_all, foretold.bytes_most, foretold.rounds) == (sum(sent), max(sent), rounds)


MEASURE = """
import re, sys
from pathlib import Path
import numpy as np
from tallystick_node.engines.mpc import array as sa
rows = int(sys.argv[1])
def program(x):
    sa.reveal(sa.sigmoid(x * x).sum(), to=["A"])
plan = sa.plan_of(program, {"x": sa.declare("A", rows, "x")})
sa.run_locally(plan, {"x": np.zeros(rows)}, ["A", "B", "C"])
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)  # rusage keeps the parent's peak
"""


def test_memory_stays_within_what_is_declared(monkeypatch) -> None:
    """Three parties in one process together need less than three times what each of them declares."""
    rows = 1 << 22
    plan = sa.plan_of(lambda x: sa.reveal(sa.sigmoid(x * x).sum(), to=["A"]), {"x": sa.declare("A", rows, "x")})
    declared = explain(plan, OFFERS["replicated"], Cast(PARTIES, PARTIES)).memory_bytes
    used = int(subprocess.run([sys.executable, "-c", MEASURE, str(rows)], capture_output=True, text=True, check=True).stdout)
    assert used < 3 * declared
    cut = memory(plan).together
    monkeypatch.setattr(pieces, "PIECE", 1 << 40)
    assert cut < 0.7 * memory(plan).together
