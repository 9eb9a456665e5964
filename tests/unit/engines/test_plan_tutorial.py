"""The tutorial's code runs as it stands there and prints what it says; its training gives the model that plaintext gives."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

TUTORIALS = Path(__file__).parents[3] / "docs" / "tutorials"
sys.path.insert(0, str(TUTORIALS))
import joint_training


def test_every_block_prints_what_the_page_says() -> None:
    page = (TUTORIALS / "joint-computation.md").read_text()
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```|```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    for code, expected, alone in blocks:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(code or alone, names)
        pattern = re.escape(expected.strip()).replace(r"\.\.\.", ".*")
        assert re.match(pattern, shown.getvalue().strip(), re.DOTALL), shown.getvalue()


def plaintext(alder: np.ndarray, birch: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The same training without secrets."""
    features = np.column_stack([alder, birch[:, :-1] * 100])
    features = (features - features.mean(0)) / features.std(0)
    weights, intercept = np.zeros(features.shape[1]), 0.0
    for _ in range(joint_training.STEPS):
        error = 1 / (1 + np.exp(-(features @ weights + intercept))) - birch[:, -1]
        weights = weights - features.T @ error * joint_training.RATE / len(error)
        intercept -= joint_training.RATE * error.mean()
    return weights, intercept, features


def test_the_model_is_that_of_pooled_plaintext() -> None:
    alder, birch = joint_training.tables()
    weights, intercept, features = plaintext(alder, birch)
    found, found_intercept = joint_training.rehearse()
    assert np.abs(np.append(found, found_intercept) - np.append(weights, intercept)).max() < 0.02
    pooled = roc_auc_score(birch[:, -1], features @ weights + intercept)
    joint = roc_auc_score(birch[:, -1], features @ found + float(found_intercept))
    assert pooled > 0.97 and abs(pooled - joint) < 0.001


def test_the_plan_is_for_the_named_accounts() -> None:
    plan = joint_training.plan("0xA", "0xB", "0xC", 569)
    assert plan.owners == ("0xA", "0xB") and plan.receivers == ("0xC",)
    assert [each.columns for each in plan.inputs] == [tuple(joint_training.ALDER), tuple(joint_training.BIRCH)]
    assert plan.digest() != joint_training.plan("0xA", "0xB", "0xD", 569).digest()
