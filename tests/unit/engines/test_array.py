"""The array API against NumPy, on the ideal functionality; and the same program on the real protocol."""

from __future__ import annotations

import contextvars

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.plan.kinds import BIT, INTEGER, fixed
from tallystick_node.engines.mpc.plan.operation import KindMismatch, ShapeMismatch
from tallystick_node.engines.mpc.replicated import Replicated
from tallystick_node.engines.mpc.ring import OutOfRange
from unit.engines.conftest import run_parties

ULP = 2.0**-18
DRAW = np.random.default_rng(20)
X = np.round(DRAW.uniform(-20, 20, (4, 3)), 2)
Y = np.round(DRAW.uniform(-20, 20, (4, 3)), 2)
K = DRAW.integers(-9, 10, (4, 3))
V = np.round(DRAW.uniform(-20, 20, 9), 2)
W = DRAW.integers(0, 4, 9)
B = DRAW.integers(0, 2, (4, 3)).astype(bool)

# Each is evaluated twice: with secret arrays and `np` for our functions, and with NumPy's own.
EXPRESSIONS = [
    "x + y", "x - y", "x + 1", "1 - x", "k + 2", "2.5 - k", "x + k", "b + b", "-x", "-k", "abs(x)", "+x",
    "x * y", "x * k", "k * k", "x * b", "2 * x", "k * 3", "x * 0.37", "k * 0.5", "x / 3", "k / 7", "x / 0.001", "x * 100000.25",
    "x * np_.array([0.1, 0.02, 0.003])", "np_.array([1, 2, 3]) * x", "x / np_.array([1.0, 2.0, 4.0])", "x + np_.arange(3)",
    "x @ y.T", "x @ k.T", "k @ k.T", "v @ v", "x.T @ x", "x @ np_.array([1.0, 0.5, -2.0])", "np_.array([[1, 2, 3, 4]]) @ x",
    "v @ w",
    "x < y", "x <= y", "x > y", "x >= 2.5", "k == 3", "k != k.T.reshape(4, 3)", "x < k", "1 < x", "b == b.T.reshape(4, 3)",
    "b != True",
    "b & (x > 0)", "b | (x > 0)", "b ^ True", "~b", "np.where(b, x, y)", "np.where(x > y, k, 0)", "np.where(b, 1.5, -2)",
    "np.where(b, x > 0, False)", "np.maximum(x, y)", "np.minimum(x, 0)", "np.sign(x)", "np.clip(x, -1, 2.5)", "k.clip(None, 4)",
    "x.sum()", "x.sum(0)", "x.sum(axis=-1)", "b.sum()", "k.sum(0)", "x.mean()", "x.mean(axis=0)", "k.mean()", "b.mean()",
    "x.var()", "x.var(axis=0, ddof=1)", "x.std(1)", "x.min()", "x.max(axis=1)", "k.max()", "x.argmax()", "x.argmin(axis=0)",
    "np.cumsum(v)", "np.concatenate([x, k])", "np.concatenate([b, ~b], axis=1)", "np.stack([v, v * 2])", "np.stack([v, v], axis=1)",
    "np.column_stack([v, w])", "np.reshape(x, (3, 4))", "x.reshape(-1)", "x.reshape(2, -1)", "np.transpose(x)", "x.T.T",
    "x.ravel()",
    "np.broadcast_to(v, (2, 9))", "x[0]", "x[-1, 2]", "x[:, 1]", "x[::-1]", "x[1:3, ::2]", "x[..., 0]", "x[:, None, 0]",
    "v[[0, 5, -1]]",
    "x[:, [2, 0]]", "v[np_.arange(9) % 2 == 0]", "v[3:3]", "k[1][2]", "v[8:2:-3]", "x[None] * y[:, None]", "[*x][1]",
    "np.sort(v)", "np.argsort(v)", "np.argsort(w, kind='stable')", "np.median(v)", "np.quantile(v, 0.3)",
    "np.quantile(x, [0.1, 0.9], axis=0)",
    "k ** 3", "x ** 2", "np.square(x)", "np.isin(k, [1, 3, -2])", "np.logical_and(b, x > 0)", "np.logical_not(b)", "np.dot(x, y.T)",
]  # fmt: skip
CLOSE = {  # expression -> (NumPy's, tolerance)
    "np.exp(x / 4)": ("np.exp(x / 4)", 3e-4),
    "np.log(abs(x) + 1)": ("np.log(abs(x) + 1)", 1e-4),
    "np.log1p(abs(x))": ("np.log1p(abs(x))", 1e-4),
    "np.sqrt(abs(x))": ("np.sqrt(abs(x))", 1e-3),
    "np.rsqrt(abs(x) + 1)": ("1 / np.sqrt(abs(x) + 1)", 1e-3),
    "np.sigmoid(x)": ("1 / (1 + np.exp(-x))", 2e-3),
    "np.tanh(x)": ("np.tanh(x)", 4e-3),
    "np.softmax(x)": ("np.exp(x) / np.exp(x).sum(-1, keepdims=True)", 1e-3),
    "np.relu(x)": ("np.maximum(x, 0)", ULP),
    "x / y": ("x / y", 3e-3),
    "1 / y": ("1 / y", 1e-3),
    "k / 2 / y": ("k / 2 / y", 2e-3),
    "np.power(abs(x) + 1, 0.5)": ("(abs(x) + 1) ** 0.5", 1e-3),
    "np.polynomial(x / 10, [1, 0.5, 0.25])": ("1 + 0.5 * (x / 10) + 0.25 * (x / 10) ** 2", 1e-4),
    "np.cov(x)": ("np.cov(x.T)", 1e-3),
    "np.corrcoef(x)": ("np.corrcoef(x.T)", 1e-3),
    "np.one_hot(w, 4)": ("np.eye(4)[w]", 0),
    "np.rank(v)": ("np.argsort(np.argsort(v))", 0),
    "np.top_k(v, w, k=3)[1]": ("w[np.argsort(-v)[:3]]", 0),
    "np.sort_by(w, v)[1]": ("v[np.argsort(w, kind='stable')]", ULP),
    "np.group_public(w, v, size=4)[1]": ("np.bincount(w, v, 4)", 9 * ULP),
    "np.unique(w)[0]": ("len(np.unique(w))", 0),
    "np.group_by(w, v)[2][:2]": ("np.unique(w, return_counts=True)[1][:2]", 0),
}


class _Ours:
    """Our functions under NumPy's call conventions, where an expression uses one that ours has no use for."""

    def __getattr__(self, name: str):
        return getattr(sa, name)

    @staticmethod
    def argsort(x, kind="stable"):
        return sa.argsort(x)

    @staticmethod
    def quantile(x, q, axis=0):
        return sa.quantile(x, q)


def evaluate(expression: str, names: dict, np_like) -> object:
    return eval(expression, {"np": np_like, "np_": np}, names)


@pytest.fixture(scope="module")
def clear():
    with sa.simulate(["one"], "clear"):
        plain = {"x": X, "y": Y, "k": K, "v": V, "w": W, "b": B}
        yield {name: sa.secret(values, owner="one") for name, values in plain.items()}, plain


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_gives_what_numpy_gives(clear, expression) -> None:
    ours, plain = clear
    expected = np.asarray(evaluate(expression, plain, np))
    if expression in ("b + b", "b.mean()"):
        expected = np.asarray(evaluate(expression, {**plain, "b": B.astype(int)}, np))
    found = evaluate(expression, ours, _Ours())
    shown = sa.reveal(found)
    assert shown.shape == found.shape == expected.shape
    assert shown.dtype.kind == {"i": "i", "f": "f", "b": "b"}[expected.dtype.kind]
    if shown.dtype.kind == "f":
        # an input is off by half a unit, an operation by two more, scaled by what a product multiplies with
        assert np.abs(shown - expected).max(initial=0) <= 150 * ULP * max(1.0, np.abs(expected).max(initial=0) / 100)
    else:
        assert (shown == expected).all()


@pytest.mark.parametrize("expression", CLOSE)
def test_a_function_is_as_close_as_it_says(clear, expression) -> None:
    ours, plain = clear
    theirs, tolerance = CLOSE[expression]
    expected = np.asarray(evaluate(theirs, plain, np))
    shown = sa.reveal(evaluate(expression, ours, sa))
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


@given(st.data())
@settings(max_examples=25)
def test_any_index_takes_what_numpy_takes(clear, data) -> None:
    ours, plain = clear
    lengths = plain["x"].shape
    index = tuple(
        data.draw(
            st.one_of(
                st.integers(-length, length - 1),
                st.slices(length),
                st.just(None),
            )
        )
        for length in lengths
    )
    while sum(each is not None for each in index) > len(lengths):
        index = index[1:]
    assert np.abs(sa.reveal(ours["x"][index]) - plain["x"][index]).max(initial=0) <= ULP


def test_kinds_follow_numpys_dtypes(clear) -> None:
    ours, _ = clear
    kinds = {"x": fixed(18), "k": INTEGER, "b": BIT, "k + x": fixed(18), "k * k": INTEGER, "k / 2": fixed(18), "b + 1": INTEGER,
             "x > 0": BIT, "b * x": fixed(18), "k * 2": INTEGER, "k * 2.0": fixed(18), "b.sum()": INTEGER, "k.mean()": fixed(18),
             "x.astype(bool)": BIT, "b.astype(int)": INTEGER, "k.astype(float)": fixed(18)}  # fmt: skip
    for expression, kind in kinds.items():
        assert evaluate(expression, ours, sa).kind == kind, expression


def test_different_fraction_bits_meet_at_the_greater(clear) -> None:
    fine = sa.secret(X, owner="one", kind=fixed(22))
    for found in (clear[0]["x"] * fine, clear[0]["x"] + fine, fine - clear[0]["x"]):
        assert found.kind == fixed(22)
    assert np.abs(sa.reveal(clear[0]["x"] * fine) - X * X).max() < 50 * ULP


@pytest.mark.parametrize(
    ("expression", "error", "words"),
    [
        ("x + v", ShapeMismatch, r"\(4, 3\) \(9,\)"),
        ("x @ y", ShapeMismatch, r"\(4, 3\) and \(4, 3\)"),
        ("x @ 2", ShapeMismatch, "use \\*"),
        ("x.reshape(5, 2)", ShapeMismatch, r"\(4, 3\) into shape \(5, 2\)"),
        ("x.reshape(-1, 5)", ShapeMismatch, "cannot reshape"),
        ("x[7]", ShapeMismatch, "out of bounds"),
        ("x[0, 0, 0]", ShapeMismatch, "3 indices"),
        ("v[[9]]", ShapeMismatch, "out of bounds"),
        ("x[[0], [1]]", TypeError, "at most one array"),
        ("x[k]", TypeError, "secret is no index"),
        ("x['a']", TypeError, "an index is"),
        ("x.sum(axis=2)", ShapeMismatch, "axis 2 is out of bounds"),
        ("v[0:0].max()", ShapeMismatch, "empty"),
        ("v[0:0].mean()", ShapeMismatch, "empty"),
        ("v[0:1].var(ddof=1)", ShapeMismatch, "does not exist"),
        ("np.concatenate([x, v])", ShapeMismatch, r"\(4, 3\), \(9,\)"),
        ("np.sort(x)", ShapeMismatch, "one axis"),
        ("bool(x)", TypeError, "where"),
        ("1 if v[0] > 0 else 2", TypeError, "branch"),
        ("float(v[0])", TypeError, "reveal"),
        ("int(k[0, 0])", TypeError, "reveal"),
        ("[1, 2][k[0, 0]]", TypeError, "no index"),
        ("np_.exp(x)", TypeError, "ufunc"),
        ("np_.asarray(x)", TypeError, "functions of this package"),
        ("len(v[0])", TypeError, "without axes"),
        ("x & y", KindMismatch, "bits"),
        ("x & True", KindMismatch, "bits"),
        ("b & 1", TypeError, "truth values"),
        ("~x", KindMismatch, "bits"),
        ("np.where(x, 1, 2)", TypeError, "compare first"),
        ("x ** v", TypeError, "public"),
        ("x / 0", ZeroDivisionError, "public 0"),
        ("x + 'a'", TypeError, "numbers and truth values"),
        ("x * float('nan')", ValueError, "finite"),
        ("x + 1e30", OutOfRange, "do not fit"),
        ("x.astype(int)", TypeError, "whole part"),
        ("np.quantile(v, 1.5)", ValueError, "between 0 and 1"),
        ("np.top_k(v, k=10)", ShapeMismatch, "9 numbers"),
        ("np.reveal(x, to='one')", TypeError, "list"),
        ("np.reveal(x, to=['two'])", ValueError, "two"),
        ("x.__setitem__(0, 1)", TypeError, "in place"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_before_anything_is_computed(clear, expression, error, words) -> None:
    with pytest.raises(error, match=words):
        evaluate(expression, clear[0], sa)
    assert sa.reveal(clear[0]["v"]).shape == (9,)  # the computation goes on


def test_secrets_need_a_computation_and_range() -> None:
    with pytest.raises(RuntimeError, match="simulate"):
        contextvars.Context().run(sa.secret, [1.0], "one")
    with pytest.raises(ValueError, match="3 to 3"), sa.simulate(["a", "b"]):
        pass
    with sa.simulate(["one"], "clear"):
        with pytest.raises(OutOfRange):
            sa.secret([1e30], owner="one")
        with pytest.raises(ValueError, match="no party"):
            sa.secret([1.0], owner="two")
        with pytest.raises(TypeError):
            sa.secret(["a"], owner="one")
        kept = sa.secret([1.0], owner="one")
    with sa.simulate(["one"], "clear"), pytest.raises(ValueError, match="different computations"):
        kept + sa.secret([1.0], owner="one")


def test_the_real_protocol_computes_the_same_and_shows_only_its_receivers() -> None:
    with sa.simulate(["alder", "birch", "cedar"]):
        x, y, b = sa.secret(X, owner="alder"), sa.secret(Y, owner="birch"), sa.secret(B, owner="cedar")
        mixed = sa.where(b & (x > y), x * y, y.mean(0)) - 0.5
        expected = np.where(B & (X > Y), X * Y, Y.mean(0)) - 0.5
        assert np.abs(sa.reveal(mixed, to=["cedar"]) - expected).max() < 50 * ULP
        assert (sa.reveal(b, to=["alder"]) == B).all()
        assert (sa.reveal(sa.argsort(y[:, 0])) == np.argsort(Y[:, 0])).all()


def test_every_party_runs_the_same_program_by_itself() -> None:
    names = ("alder", "birch", "cedar")

    def engine(session):
        engine = sa.Immediate(Replicated(session), names)
        with sa.using(engine):
            x = sa.secret(X if session.index == 0 else np.zeros_like(X), owner="alder")
            return sa.reveal((x * x).sum(), to=["birch"])

    shown = run_parties(local_sessions(3), engine)
    assert shown[0] is None and shown[2] is None
    assert abs(float(shown[1]) - (X * X).sum()) < 1e-3


def test_a_party_that_fails_is_what_the_user_sees(monkeypatch) -> None:
    with sa.simulate(["alder", "birch", "cedar"]) as laboratory:
        x = sa.secret(X, owner="alder")
        laboratory._everywhere(1, lambda engine, held: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            sa.reveal(x)


def test_values_that_nobody_names_are_freed() -> None:
    with sa.simulate(["one"], "clear") as laboratory:
        kept = sa.secret(V, owner="one")
        for _ in range(50):
            kept = kept + 1
        counted = laboratory._benches[0].ask(lambda _, held: len(held)).result()
        assert counted <= 3
        assert np.abs(sa.reveal(kept) - V - 50).max() < ULP


def test_the_end_of_a_simulation_ends_its_threads() -> None:
    with sa.simulate(["alder", "birch", "cedar"]) as laboratory:
        sa.reveal(sa.secret(V, owner="alder"))
        threads = [bench._thread for bench in laboratory._benches]
        assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
