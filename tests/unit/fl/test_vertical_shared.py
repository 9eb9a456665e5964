"""Trees on secret shares beside the pooled algorithm."""

from __future__ import annotations

import numpy as np
import pytest
from tallystick_node.engines.fl.vertical.boosting import Settings, fit, quality
from tallystick_node.engines.fl.vertical.parts import Branch, Ensemble, Part
from tallystick_node.engines.fl.vertical.prediction import score
from tallystick_node.engines.fl.vertical.shared import SharedBoosting
from tallystick_node.engines.mpc.array.simulate import run_locally
from unit.fl.fl_world import breast_cancer
from unit.fl.vertical_world import joined, names, people

WANTED = Settings(2, 2, 6, 0.3, 1.0, 0.0, 5)
OWNERS = "abc"


def trained(columns, labels, cuts, protocol, computing, wanted=WANTED):
    """Each owner's part, and what each was shown. The first owner has the label."""
    shares = np.split(columns, cuts, axis=1)
    widths = {owner: each.shape[1] for owner, each in zip(OWNERS, shares, strict=False)}
    boosting = SharedBoosting(widths, len(labels), len(columns) - len(labels), wanted)
    inputs, parts = {}, []
    for owner, own in zip(OWNERS, shares, strict=False):
        inputs |= boosting.prepare(owner, own, labels if owner == "a" else None)
    shown = run_locally(boosting.plan(), inputs, computing, protocol)
    start = 0
    for owner, own in zip(OWNERS, shares, strict=False):
        part = boosting.part(owner, own, names(own.shape[1], start), shown[owner])
        parts.append(Part.from_json(part.to_json()))
        start += own.shape[1]
    return parts, shown


def pooled_in(parts, columns):
    """The scores of one owner who had all parts."""
    trees, splits, first = [], {}, np.cumsum([0, *(len(part.features) for part in parts)]).tolist()
    for part, start in zip(parts, first, strict=False):
        splits |= {name: each.__class__(each.feature + start, each.threshold) for name, each in part.splits.items()}
    for tree in parts[0].ensemble.trees:
        trees.append(tuple(Branch(0, node.split, node.left, node.right) if isinstance(node, Branch) else node for node in tree))
    whole = Part(0, tuple(names(columns.shape[1])), splits, Ensemble(1, parts[0].ensemble.base, tuple(trees)))
    return score(whole, columns)


def rounded(trees):
    return [[node if isinstance(node, tuple) else round(node, 2) for node in tree] for tree in trees]


@pytest.mark.parametrize(
    ("cuts", "protocol", "computing", "wanted"),
    [
        ([2, 4], "clear", ["a"], Settings(3, 3, 6, 0.3, 1.0, 1.5, 5)),
        ([0], "clear", ["a"], Settings(2, 4, 4, 0.3, 1.0, 0.0, 20)),
        ([3], "replicated", ["a", "b", "d"], WANTED),
        ([3], "two-party", ["a", "b"], Settings(1, 2, 4, 0.3, 1.0, 0.0, 5)),
    ],
)
def test_the_trees_are_those_of_the_pooled_columns(cuts, protocol, computing, wanted) -> None:
    """Nodes stand level by level in both. With 20 rows a child many nodes have no cut, and give way to what is below them."""
    columns, labels = people(rows=90)
    parts, shown = trained(columns, labels, cuts, protocol, computing, wanted)
    pooled = fit(columns, labels, wanted, names(6))
    assert rounded(joined(parts)) == rounded(joined([pooled]))
    assert np.allclose(pooled_in(parts, columns), score(pooled, columns), atol=0.01)
    assert set(shown["b"]) == {"cuts chosen of b"} and parts[1].ensemble is None


def test_real_rows_are_told_apart_as_well_as_by_pooled_training() -> None:
    rows = breast_cancer()
    columns, labels = rows.features[:, :12], rows.targets > 0
    wanted = Settings(6, 3, 16, 0.3, 1.0, 0.0, 10)
    train, test = np.arange(380), np.arange(380, len(rows))
    parts, shown = trained(columns, labels[train], [5], "clear", ["a"], wanted)
    pooled = quality(score(fit(columns[train], labels[train], wanted, names(12)), columns[test]), labels[test])["auc"]
    assert quality(shown["a"]["scores"], labels[test])["auc"] >= pooled - 0.005 > 0.95
    assert np.allclose(shown["a"]["scores"], pooled_in(parts, columns[test]), atol=1e-3)


def test_what_cannot_be_trained_on_shares_is_refused() -> None:
    for owners, penalty in (({"a": 2}, 0.0), ({"a": 0, "b": 0}, 1.0)):
        with pytest.raises(ValueError, match="penalty above 0"):
            SharedBoosting(owners, 90, 0, Settings(1, 1, 2, 0.3, penalty, 0.0, 5))
    boosting = SharedBoosting({"a": 6}, 90, 0, WANTED)
    with pytest.raises(ValueError, match="both classes"):
        boosting.prepare("a", people(rows=90)[0], np.ones(90, bool))
