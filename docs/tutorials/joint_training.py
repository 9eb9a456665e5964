"""Three hospitals train one model on data that none of them shows: in one process, or as a task between their nodes.

Alder has measured the patients, Birch has measured them otherwise and knows the diagnoses, Cedar wants the model.

    python joint_training.py rehearse                       all three in this process, on the real data
    python joint_training.py plan ALDER BIRCH CEDAR         the parameters of the task, for accounts 0x…; write them to a file
"""

from __future__ import annotations

import json
import sys

import numpy as np
from sklearn.datasets import load_breast_cancer
from tallystick_node.engines.mpc import array as sa

ALDER = ["mean radius", "mean texture"]
BIRCH = ["mean smoothness", "mean symmetry", "malignant"]
STEPS = 20
RATE = 4.0


def train(alder: sa.SecretArray, birch: sa.SecretArray, receiver: str) -> tuple[object, object]:
    """Logistic regression by gradient descent, on columns of both hospitals; the rows are the same patients in the same order."""
    # Birch's features are around 0.1. In hundredths their squares keep their digits in fixed point, which has five after the point.
    features = sa.column_stack([alder, birch[:, :-1] * 100])
    malignant = birch[:, -1]
    features = (features - features.mean(0)) * sa.rsqrt(features.var(0))
    weights, intercept = np.zeros(features.shape[1]), 0.0
    for _ in range(STEPS):
        error = sa.sigmoid(features @ weights + intercept) - malignant
        weights = weights - (features.T @ error) * (RATE / len(error))
        intercept = intercept - error.mean() * RATE
    return (
        sa.reveal(weights, to=[receiver], name="weights"),
        sa.reveal(intercept, to=[receiver], name="intercept"),
    )


def tables() -> tuple[np.ndarray, np.ndarray]:
    """What Alder and Birch hold."""
    loaded = load_breast_cancer()
    column = {name: loaded.data[:, number] for number, name in enumerate(loaded.feature_names)}
    column["malignant"] = 1 - loaded.target
    return np.column_stack([column[name] for name in ALDER]), np.column_stack([column[name] for name in BIRCH])


def rehearse() -> tuple[np.ndarray, np.ndarray]:
    """The whole computation with its three parties in this process."""
    alder, birch = tables()
    with sa.simulate(["alder", "birch", "cedar"]):
        return train(sa.secret(alder, owner="alder"), sa.secret(birch, owner="birch"), "cedar")


def plan(alder: str, birch: str, cedar: str, rows: int) -> sa.Plan:
    """The same computation as a plan, for these accounts."""
    inputs = {"alder": sa.declare(alder, rows, ALDER), "birch": sa.declare(birch, rows, BIRCH)}
    return sa.plan_of(lambda **arrays: train(**arrays, receiver=cedar), inputs, [cedar])


def parameters(alder: str, birch: str, cedar: str, rows: int) -> dict[str, object]:
    """The parameters of the task."""
    return {"plan": plan(alder, birch, cedar, rows).to_json(), "protocol": "replicated", "minimum_group": 10}


if __name__ == "__main__":
    if sys.argv[1:2] == ["plan"] and len(sys.argv) == 5:
        print(json.dumps(parameters(*sys.argv[2:], rows=len(tables()[0]))))
    else:
        found, intercept = rehearse()
        for name, weight in zip([*ALDER, *BIRCH[:-1]], found, strict=True):
            print(f"{name:16} {weight:+.3f}")
        print(f"{'intercept':16} {intercept:+.3f}")
