"""Long arrays are worked on in pieces: the numbers do not show it, the plan foretells it, and memory stays as declared."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.plan import pieces
from tallystick_node.engines.mpc.plan.explain import explain, peak
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.plan.roles import Cast
from tallystick_node.engines.mpc.plan.table import OPERATIONS

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


def test_rounds_and_bytes_are_foretold(monkeypatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 50)
    x = ORDER.uniform(-3, 3, 155)
    with sa.simulate(PARTIES) as laboratory:
        secret = sa.secret(x, "A")
        sa.reveal(secret * secret, to=["A"])
        rounds, sent = laboratory.rounds_and_bytes()
    plan = sa.plan_of(lambda x: sa.reveal(x * x, to=["A"]), {"x": sa.declare("A", 155, "x")}, PARTIES)
    foretold = explain(plan, OFFERS["replicated"], Cast(PARTIES, PARTIES))
    assert (foretold.rounds, foretold.bytes_all) == (rounds, sent)


MEASURE = """
import resource, sys
import numpy as np
from tallystick_node.engines.mpc import array as sa
rows = int(sys.argv[1])
def program(x):
    sa.reveal(sa.sigmoid(x * x).sum(), to=["A"])
plan = sa.plan_of(program, {"x": sa.declare("A", rows, "x")})
sa.run_locally(plan, {"x": np.zeros(rows)}, ["A", "B", "C"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_stays_within_what_is_declared(monkeypatch) -> None:
    """Three parties in one process together need less than three times what each of them declares."""
    rows = 1 << 22
    plan = sa.plan_of(lambda x: sa.reveal(sa.sigmoid(x * x).sum(), to=["A"]), {"x": sa.declare("A", rows, "x")})
    declared = explain(plan, OFFERS["replicated"], Cast(PARTIES, PARTIES)).memory_bytes
    used = int(subprocess.run([sys.executable, "-c", MEASURE, str(rows)], capture_output=True, text=True, check=True).stdout)
    assert used < 3 * declared
    cut = peak(plan)
    monkeypatch.setattr(pieces, "PIECE", 1 << 40)
    assert cut < 0.7 * peak(plan)
