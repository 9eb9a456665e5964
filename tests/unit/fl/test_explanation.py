"""Owen values of trees against the definition over all coalitions, their laws, and what owners tell one another for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.fl.explanation import joint_trees, linear
from tallystick_node.engines.fl.explanation.trees import MAX_PATH, Column, explain
from tallystick_node.engines.fl.vertical.boosting import Settings, fit
from tallystick_node.engines.fl.vertical.coefficients import Coefficients
from tallystick_node.engines.fl.vertical.parts import Branch, Ensemble, Leaf, Part
from tallystick_node.engines.fl.vertical.prediction import score
from unit.engines.conftest import leave
from unit.fl.vertical_world import SETTINGS, across, names, people

OWNERS = [[0, 1], [2], [3, 4]]  # columns of each


def split_asked(part, columns, owners):
    """The splits of a pooled model as if several owners had the columns, and the model with them."""
    owner_of = {column: (number, place) for number, own in enumerate(owners) for place, column in enumerate(own)}
    asked = {}

    def moved(node):
        if isinstance(node, Leaf):
            return node
        split = part.splits[node.split]
        owner, place = owner_of[split.feature]
        asked[owner, node.split] = (Column(owner, place), columns[:, split.feature] <= split.threshold)
        return Branch(owner, node.split, node.left, node.right)

    trees = tuple(tuple(moved(node) for node in tree) for tree in part.ensemble.trees)
    return Ensemble(len(owners), part.ensemble.base, trees), asked


def by_definition(part, columns, owners):
    """Owen values as the mean of what a column adds, over all orders in which the columns of each owner stand together."""
    count = columns.shape[1]
    found = np.zeros_like(columns)

    def worth(known):
        mixed = np.repeat(columns[:, None], len(columns), axis=1)
        mixed[:, :, [c for c in range(count) if c not in known]] = columns[None][:, :, [c for c in range(count) if c not in known]]
        return score(part, mixed.reshape(-1, count)).reshape(len(columns), -1).mean(axis=1)

    known = {}

    def once(coalition):
        if coalition not in known:
            known[coalition] = worth(coalition)
        return known[coalition]

    def orders(left):
        if not left:
            yield []
            return
        for place, own in enumerate(left):
            for inner in permutations(own):
                for rest in orders(left[:place] + left[place + 1 :]):
                    yield [*inner, *rest]

    everyone = list(orders(owners))
    for order in everyone:
        before = frozenset()
        for column in order:
            found[:, column] += once(before | {column}) - once(before)
            before |= {column}
    return found / len(everyone)


@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_the_definition(seed) -> None:
    columns, labels = people(rows=25, features=5, seed=seed)
    part = fit(columns, labels, Settings(4, 3, 8, 0.5, 1.0, 0.0, 2), names(5))
    ensemble, asked = split_asked(part, columns, OWNERS)
    explained = explain(ensemble, asked, [len(own) for own in OWNERS], len(columns))
    due = by_definition(part, columns, OWNERS)
    for own, found in zip(OWNERS, explained.columns, strict=True):
        np.testing.assert_allclose(found, due[:, own], atol=1e-12)
    assert np.abs(due).max() > 0.05


@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([OWNERS, [[0, 1, 2, 3, 4]], [[4], [3], [2], [1], [0]]]))
@settings(max_examples=15, deadline=None)
def test_values_add_up(seed, depth, owners) -> None:
    columns, labels = people(rows=60, features=5, seed=seed)
    part = fit(columns, labels, Settings(3, depth, 8, 0.5, 1.0, 0.0, 2), names(5))
    ensemble, asked = split_asked(part, columns, owners)
    explained = explain(ensemble, asked, [len(own) for own in owners], len(columns))
    scores = score(part, columns)
    assert explained.base == pytest.approx(scores.mean(), abs=1e-9)
    np.testing.assert_allclose(explained.owners.sum(axis=1) + explained.base, scores, atol=1e-9)
    np.testing.assert_allclose(explained.owners.sum(axis=0), 0, atol=1e-8)  # every row is background to the others
    for number, found in enumerate(explained.columns):
        np.testing.assert_allclose(found.sum(axis=1), explained.owners[:, number], atol=1e-9)


def test_trees_without_splits_and_too_many_columns() -> None:
    nothing = explain(Ensemble(2, 0.5, ((Leaf(0.25),),)), {}, [1, 2], 3)
    assert (nothing.base, nothing.owners.shape) == (0.75, (3, 2))
    chain, asked = [], {}
    for place in range(MAX_PATH + 1):
        chain += [Branch(0, f"{place:016x}", 2 * place + 1, 2 * place + 2), Leaf(1.0)]
        asked[0, f"{place:016x}"] = (Column(0, place), np.array([True, False]))
    pairs = zip(chain[1::2], [*chain[2::2], Leaf(0.0)], strict=True)
    tree = (chain[0], *(each for pair in pairs for each in pair))
    with pytest.raises(ValueError, match="not explained"):
        explain(Ensemble(1, 0.0, (tree,)), asked, [MAX_PATH + 1], 2)


# -- between owners


def together(count, work):
    def one(session):
        try:
            return work(session)
        except Exception as error:
            return error
        finally:
            leave(session)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, local_sessions(count)))


def test_owners_together_find_the_values_of_the_pooled_model() -> None:
    columns, labels = people()
    shares = np.split(columns, [2, 5], axis=1)
    parts = across(columns, labels, [2, 5])
    assert not any(isinstance(each, Exception) for each in parts), parts
    found = together(
        3, lambda session: joint_trees.explain(session, range(3), parts[session.index], shares[session.index], [2, 3, 1])
    )
    owners = [[0, 1], [2, 3, 4], [5]]
    ensemble, asked = split_asked(fit(columns, labels, SETTINGS, names(6)), columns, owners)
    due = explain(ensemble, asked, [2, 3, 1], len(columns))
    np.testing.assert_allclose(found[0].owners, due.owners, atol=1e-12)
    assert found[0].base == pytest.approx(due.base) and found[1].base is None and found[1].owners is None
    for each, own in zip(found, due.columns, strict=True):
        np.testing.assert_allclose(each.columns, own, atol=1e-12)


def test_what_an_owner_may_not_say_of_its_splits() -> None:
    columns, labels = people()
    shares = np.split(columns, [3], axis=1)
    parts = across(columns, labels, [3])
    own = sorted(parts[1].splits)

    def owner(names_=None, places=None, bits=None, known=None):
        def work(session):
            if session.index == 0:
                return joint_trees.explain(session, range(2), parts[0], shares[0], [3, 3])
            session.channels[0].mark(joint_trees.STEP)
            send_array(session, 0, np.array([120, known or len(own)], np.uint64))
            send_array(session, 0, np.array([int(name, 16) for name in names_ or own], np.uint64))
            send_array(session, 0, np.array(places or [0] * len(own), np.uint32))
            return send_array(session, 0, bits if bits is not None else np.zeros(-(-120 * len(own) // 8), np.uint8))

        return together(2, work)[0]

    for wrong, words in (
        ({"names_": [*own[:-1], "0" * 16]}, "splits"),
        ({"places": [3] * len(own)}, "column"),
        ({"known": 1 << 20}, "number of splits"),
        ({"bits": np.zeros(3, np.uint8)}, "bytes"),
    ):
        found = owner(**wrong)
        assert isinstance(found, ProtocolViolation) and found.peer == 1 and words in str(found), found

    def another_count(session):
        own = shares[session.index][: 120 - session.index]
        return joint_trees.explain(session, range(2), parts[session.index], own, [3, 3])

    short = together(2, another_count)
    assert isinstance(short[0], ProtocolViolation) and "rows" in str(short[0])
    with pytest.raises(ValueError, match="another owner's"):
        joint_trees.explain(local_sessions(2)[0], [0, 1], parts[1], shares[1], [3, 3])
    with pytest.raises(ValueError, match="at most"):
        joint_trees.explain(local_sessions(2)[0], [0, 1], parts[0], shares[0], [3, 1 << 20])


def test_a_split_that_no_node_has_tells_the_owner_of_the_label_nothing_more() -> None:
    """Owner 1 is not asked which rows come to its splits: it answers for all of them."""
    lone = Part(1, ("a",), {}, None)
    parts = [Part(0, ("b",), {}, Ensemble(2, 0.0, ((Leaf(1.0),),))), lone]
    found = together(2, lambda session: joint_trees.explain(session, range(2), parts[session.index], np.zeros((4, 1)), [1, 1]))
    assert found[0].base == 1.0 and not found[0].owners.any() and found[0].owners.shape == (4, 2)
    assert found[1].columns.shape == (4, 1) and not found[1].columns.any()


def test_linear_predictors_are_divided_by_columns() -> None:
    rng = np.random.default_rng(1)
    shares = [rng.normal(size=(9, 2)), rng.normal(size=(9, 1)), rng.normal(size=(9, 2))]
    weights = [(0.5, -1.0), (2.0,), (0.25, 0.0)]
    parts = [
        Coefficients("linear", 3, number, tuple(names(len(own))), own, 0.125 if number == 0 else None)
        for number, own in enumerate(weights)
    ]
    found = together(3, lambda session: linear.explain(session, range(3), parts[session.index], shares[session.index], [2, 1, 2]))
    scores = 0.125 + sum(own @ np.array(w) for own, w in zip(shares, weights, strict=True))
    np.testing.assert_allclose(found[0].owners.sum(axis=1), scores - scores.mean(), atol=1e-12)
    for each, own, w in zip(found, shares, weights, strict=True):
        np.testing.assert_allclose(each.columns, (own - own.mean(axis=0)) * np.array(w), atol=1e-12)
    assert found[1].owners is None

    def liar(session):
        if session.index == 0:
            return linear.explain(session, range(2), Coefficients("linear", 2, 0, ("a",), (1.0,), 0.0), np.zeros((3, 1)), [1, 1])
        session.channels[0].mark(linear.STEP)
        return send_array(session, 0, np.array([np.nan, 0, 0]))

    assert isinstance(together(2, liar)[0], ProtocolViolation)
