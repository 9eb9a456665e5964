"""The pooled algorithm beside a naive one and scikit-learn, its bins, and the documents of a model's parts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score
from tallystick_node.engines.fl.vertical.binning import Binned, edges_of
from tallystick_node.engines.fl.vertical.boosting import FRACTION, Settings, derivatives, fit, quality
from tallystick_node.engines.fl.vertical.parts import Branch, InvalidPart, Leaf, Part
from tallystick_node.engines.fl.vertical.prediction import score
from unit.fl.fl_world import breast_cancer
from unit.fl.vertical_world import SETTINGS, names, people

COLUMN = st.lists(st.sampled_from([-3.5, -1.0, 0.0, 0.25, 2.0, 7.0, 1e9]) | st.floats(-100, 100), min_size=1, max_size=60)


@given(COLUMN, st.integers(2, 32))
def test_bins_hold_all_rows_and_thresholds_are_values(column, bins) -> None:
    column = np.array(column)
    edges = edges_of(column, bins)
    assert len(edges) <= bins - 1 and (np.diff(edges) > 0).all() and set(edges) <= set(column)
    binned = Binned(column[:, None], bins)
    assert binned.counts(np.arange(len(column))).sum() == len(column)
    if len(np.unique(column)) <= bins:
        assert len(edges) == len(np.unique(column)) - 1
    else:
        assert len(edges) >= 1


@given(st.integers(0, 10_000), st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_cuts_are_all_partitions_that_leave_enough_rows(seed, least) -> None:
    rng = np.random.default_rng(seed)
    columns = np.column_stack([rng.integers(0, 5, 40), rng.normal(size=40)]).astype(float)
    binned = Binned(columns, 8)
    rows = np.flatnonzero(rng.random(40) < 0.5)
    found = set()
    for cell in binned.cuts(rows, least).tolist():
        feature, threshold = binned.cut(cell)
        left = binned.left(cell, rows)
        assert np.array_equal(left, columns[rows, feature] <= threshold) and least <= left.sum() <= len(rows) - least
        assert (feature, left.tobytes()) not in found
        found.add((feature, left.tobytes()))
    every = {
        (feature, (columns[rows, feature] <= edge).tobytes())
        for feature in range(2)
        for edge in binned.edges[feature]
        if least <= (columns[rows, feature] <= edge).sum() <= len(rows) - least
    }
    assert found == every


def naive(columns, labels, wanted):
    """Each tree by trying every threshold at every node, with sums over rows as they come."""
    base = np.log(labels.sum() / (~labels).sum())
    scores = np.full(len(labels), base)
    edges = [edges_of(column, wanted.bins) for column in columns.T]

    def grown(rows, depth, first, second):
        best, found = 0.0, None
        g, h = first[rows].sum(), second[rows].sum()
        for feature in range(columns.shape[1]) if depth < wanted.depth else ():
            for edge in edges[feature]:
                left = columns[rows, feature] <= edge
                if min(left.sum(), (~left).sum()) < wanted.child_rows:
                    continue
                gl, hl = first[rows[left]].sum(), second[rows[left]].sum()
                if min(hl, h - hl) < wanted.child_weight:
                    continue
                worth = gl**2 / (hl + wanted.penalty) + (g - gl) ** 2 / (h - hl + wanted.penalty) - g**2 / (h + wanted.penalty)
                if worth > best + 1e-9:
                    best, found = worth, left
        if found is None:
            scores[rows] += -wanted.rate * g / (h + wanted.penalty)
        else:
            grown(rows[found], depth + 1, first, second)
            grown(rows[~found], depth + 1, first, second)

    for _ in range(wanted.trees):
        chance = 1 / (1 + np.exp(-scores))
        grown(np.arange(len(labels)), 0, chance - labels, chance * (1 - chance))
    return scores


@pytest.mark.parametrize("seed", range(4))
def test_the_scores_are_those_of_a_naive_search(seed) -> None:
    columns, labels = people(rows=80, features=4, seed=seed)
    wanted = Settings(4, 3, 6, 0.3, 1.0, 1.5, 4)
    part = fit(columns, labels, wanted, names(4))
    assert np.allclose(score(part, columns), naive(columns, labels, wanted), atol=1e-4)
    for tree in part.ensemble.trees:
        assert any(isinstance(node, Branch) for node in tree)


def test_real_rows_are_told_apart_as_well_as_by_scikit_learn() -> None:
    rows = breast_cancer()
    train, test = np.arange(len(rows)) % 5 > 0, np.arange(len(rows)) % 5 == 0
    part = fit(rows.features[train], rows.targets[train] > 0, Settings(30, 3, 32, 0.2, 1.0, 0.0, 10), names(30))
    peer = HistGradientBoostingClassifier(
        max_iter=30, max_depth=3, learning_rate=0.2, l2_regularization=1.0, min_samples_leaf=10, max_bins=32, early_stopping=False
    ).fit(rows.features[train], rows.targets[train])
    scores, labels = score(part, rows.features[test]), rows.targets[test] > 0
    found = quality(scores, labels)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert found["loss"] == pytest.approx(log_loss(labels, 1 / (1 + np.exp(-scores))))
    assert found["auc"] >= roc_auc_score(labels, peer.decision_function(rows.features[test])) - 0.005


def test_derivatives_of_extreme_scores_stay_whole_and_positive() -> None:
    first, second = derivatives(np.array([0.0, 800.0, -800.0]), np.array([True, False, True]))
    assert first.tolist() == [-(1 << FRACTION - 1), 1 << FRACTION, -(1 << FRACTION)]
    assert second.tolist() == [1 << FRACTION - 2, 1, 1]
    assert quality(np.array([1.0, 2.0]), np.array([True, True])).keys() == {"loss"}


def test_strange_columns_are_refused() -> None:
    columns, labels = people()
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match="not finite"):
            fit(np.where(columns > 1, wrong, columns), labels, SETTINGS, names(6))
    with pytest.raises(ValueError, match="not of one table"):
        fit(columns, labels, SETTINGS, names(5))
    constant = fit(np.ones((120, 2)), labels, SETTINGS, names(2))
    assert all(tree == (Leaf(pytest.approx(0, abs=1e-4)),) for tree in constant.ensemble.trees)


# -- documents


def document() -> dict:
    columns, labels = people()
    return json.loads(fit(columns, labels, SETTINGS, names(6)).to_json())


def test_a_part_comes_back_from_its_document() -> None:
    columns, labels = people()
    part = fit(columns, labels, SETTINGS, names(6))
    assert Part.from_json(part.to_json()) == part
    other = Part(2, ("é",), {"00ff00ff00ff00ff": part.splits[min(part.splits)].__class__(0, 0.1)}, None)
    assert Part.from_json(other.to_json()) == other


def at(path, value):
    def change(of):
        for key in path[:-1]:
            of = of[key]
        of[path[-1]] = value

    return change


WRONG = {
    "another format": at(["format"], "x"),
    "another owner": at(["owner"], 1),
    "owner as truth": at(["owner"], False),
    "a name twice": at(["features"], ["a"] * 6),
    "no list": at(["splits"], {}),
    "a feature that is not there": at(["splits", 0, "feature"], 6),
    "a number in place of text": at(["splits", 0, "threshold"], 0.5),
    "a long text": at(["splits", 0, "threshold"], "0.50"),
    "not finite": at(["splits", 0, "threshold"], "nan"),
    "a short name": at(["splits", 0, "id"], "ab"),
    "two of one name": lambda of: of["splits"].append(of["splits"][0]),
    "a split of no node": lambda of: of["splits"].append({"id": "0" * 16, "feature": 0, "threshold": "1.0"}),
    "an unknown owner": at(["ensemble", "trees", 0, 0, "owner"], 1),
    "a loop": at(["ensemble", "trees", 0, 0, "left"], 0),
    "one child twice": at(["ensemble", "trees", 0, 0, "left"], 2),
    "a child that is not there": at(["ensemble", "trees", 0, 0, "left"], 99),
    "an orphan": lambda of: of["ensemble"]["trees"][0].append({"value": "1.0"}),
    "no root": at(["ensemble", "trees", 0], []),
    "another member": at(["ensemble", "trees", 0, 0, "value"], "1.0"),
    "no base": lambda of: of["ensemble"].pop("base"),
    "no trees": at(["ensemble"], None),
    "a tree twice": lambda of: of["ensemble"]["trees"].append(of["ensemble"]["trees"][0]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_document_is_refused(wrong) -> None:
    changed = document()
    WRONG[wrong](changed)
    with pytest.raises(InvalidPart):
        Part.from_json(json.dumps(changed).encode())


@given(st.binary(max_size=60) | st.text('[]{}",:0123456789ea-', max_size=60).map(str.encode))
def test_strange_bytes_are_refused(data) -> None:
    with pytest.raises(InvalidPart):
        Part.from_json(data)


def test_a_tree_deeper_than_the_limit_is_refused() -> None:
    nodes = []
    for level in range(14):
        nodes += [{"owner": 0, "split": f"{level:016x}", "left": 2 * level + 1, "right": 2 * level + 2}, {"value": "1.0"}]
    nodes = [
        nodes[0],
        *[each for pair in zip(nodes[2::2], nodes[1::2], strict=False) for each in pair],
        {"value": "1.0"},
        {"value": "1.0"},
    ]
    splits = [{"id": f"{level:016x}", "feature": 0, "threshold": "1.0"} for level in range(14)]
    whole = document() | {"splits": splits, "ensemble": {"owners": 1, "base": "0.0", "trees": [nodes]}}
    with pytest.raises(InvalidPart, match="too deep"):
        Part.from_json(json.dumps(whole).encode())
