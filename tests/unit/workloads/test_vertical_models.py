"""`vertical-regression` and `split-training` on the German credit data: a bank knows account and outcome, another the person."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.fl.split import training
from tallystick_node.engines.fl.split.network import fit
from tallystick_node.engines.fl.vertical.scoring import mean
from tallystick_node.workloads.model_card import CARD
from tallystick_node.workloads.plans.regression import Regression
from tallystick_node.workloads.registry import workloads
from tallystick_node.workloads.vertical import split_training
from tallystick_node.workloads.vertical.model_kinds import KINDS, LINEAR, NETWORK
from tallystick_node.workloads.vertical.regression import VerticalRegression
from tallystick_node.workloads.vertical.split_training import SplitTraining
from tallystick_node.workloads.vertical.training import VerticalTraining
from unit.workloads.conftest import ACCOUNTS, frame_table, join_of, make_spec

BANK = ["status_of_existing_checking_account", "duration_in_month", "credit_amount"]
PERSON = ["age_in_years", "housing", "credit_history"]
OWN = {0: BANK, 1: PERSON}
OUTCOME = {"party": ACCOUNTS[0], "column": "outcome", "values": ["good", "bad"]}
AMOUNT = {"party": ACCOUNTS[0], "column": "credit_amount", "center": "3000", "scale": "3000"}
SCALES = {"duration_in_month": ("20", "12"), "credit_amount": ("3000", "3000"), "age_in_years": ("35", "11")}


@pytest.fixture(scope="module")
def people(credit):
    return credit.assign(outcome=np.where(credit["bad"] == 1, "bad", "good"))


def feature(party, name, frame):
    named = {"party": party, "column": name}
    if name in SCALES:
        center, scale = SCALES[name]
        return {**named, "center": center, "scale": scale}
    return {**named, "values": sorted(frame[name].unique())}


def common(frame, own=OWN):
    features = [feature(ACCOUNTS[number], name, frame) for number, names in own.items() for name in names]
    split = join_of(tuple(own), "order")
    return {"split": split, "features": features, "target": OUTCOME, "held_out": 20, "seed": 7, "minimum_group": 10}


def regression(frame, **changes):
    settings = {"epochs": 1, "batch": 100, "rate": "1", "ridge": "0.01", "key_bits": 2048}
    return {**common(frame), **settings, **changes}


def network(frame, **changes):
    settings = {
        "bottom": [8],
        "cut": 4,
        "top": [8],
        "epochs": 12,
        "batch": 25,
        "rate": "0.05",
        "momentum": "0.5",
        "penalty": "0.001",
    }
    return {**common(frame), **settings, "divergence": "0.25", **changes}


def columns_of(own, label=0, target="outcome"):
    return {number: ["id", *names, *([target] if number == label else [])] for number, names in own.items()}


def spec_of(workload, parameters, own=OWN, receivers=(0, 1), target="outcome"):
    return make_spec(workload, parameters, columns_of(own, target=target), list(receivers))


def tables(frame, own=OWN, target="outcome"):
    return {number: frame_table(frame, names) for number, names in columns_of(own, target=target).items()}


def encoded(frame, names):
    """What the model takes of the columns, by hand."""
    found = []
    for name in names:
        if name in SCALES:
            center, scale = map(float, SCALES[name])
            found.append(((frame[name] - center) / scale).to_numpy()[:, None])
        else:
            found += [(frame[name] == value).to_numpy(float)[:, None] for value in sorted(frame[name].unique())[1:]]
    return np.column_stack(found)


def drawn(count=1000, seed=7):
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[count // 5 :]), np.sort(order[: count // 5])


def descent(columns, targets, settings, family, seed=7):
    """The same steps on the pooled columns."""
    order = np.random.default_rng(seed).permutation(len(columns))
    table, targets = np.column_stack([np.ones(len(columns)), columns])[order], targets[order]
    weights = np.zeros(table.shape[1])
    for _ in range(settings["epochs"]):
        for first in range(0, len(table), settings["batch"]):
            rows = slice(first, first + settings["batch"])
            expected = mean(family, table[rows] @ weights)
            step = table[rows].T @ (expected - targets[rows]) / len(expected)
            step = step + float(settings["ridge"]) * np.r_[0, weights[1:]]
            weights = weights - float(settings["rate"]) * step
    return weights


def test_regression_is_as_good_as_on_pooled_columns(run_workload, people) -> None:
    """Accuracy and area under the ROC curve are within 0.005 of the pooled training's, the weights the same but for rounding."""
    parameters = regression(people)
    spec = spec_of("vertical-regression", parameters)
    ran = run_workload(VerticalRegression(), spec, tables(people))
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    bank, person = ran.outcomes[0], ran.outcomes[1]
    parts = [LINEAR.read(each.files[LINEAR.file].read_bytes()) for each in (bank, person)]
    train, test = drawn()
    labels, columns = (people["outcome"] == "bad").to_numpy(), encoded(people, [*BANK, *PERSON])
    weights = descent(columns[train], labels[train].astype(float), parameters, "logistic")
    assert np.abs(np.array([parts[0].intercept, *parts[0].weights, *parts[1].weights]) - weights).max() < 5e-3
    scores = weights[0] + columns[test] @ weights[1:]
    measured = {name: float(value) for name, value in bank.result["validation"].items()}
    assert abs(measured["auc"] - roc_auc_score(labels[test], scores)) < 0.005 and measured["auc"] > 0.7
    assert abs(measured["accuracy"] - np.mean((scores > 0) == labels[test])) < 0.0075  # one of 200 rows is near the threshold
    assert bank.result["rows"] == 800 and "validation" not in person.result
    assert parts[0].features[0] == "status_of_existing_checking_account=" + sorted(people[BANK[0]].unique())[1]
    assert "linear or logistic" in bank.files[CARD].read_text() and ACCOUNTS[1] in person.files[CARD].read_text()
    predicted = VerticalRegression().cost(spec, {ACCOUNTS[0]: 1000, ACCOUNTS[1]: 1000})
    assert 0.8 * ran.most_sent() <= predicted.bytes_sent <= 1.3 * ran.most_sent()


def test_a_number_of_three_owners(run_workload, people) -> None:
    """The owner of the label brings no columns."""
    people = people.iloc[:250]
    own = {0: [], 1: PERSON[:1], 2: ["duration_in_month"]}
    parameters = regression(people, **{**common(people, own), "target": AMOUNT, "rate": "0.25", "batch": 50})
    spec = spec_of("vertical-regression", parameters, own, (0, 1, 2), "credit_amount")
    ran = run_workload(VerticalRegression(), spec, tables(people, own, "credit_amount"))
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    train, test = drawn(250)
    columns = encoded(people, ["age_in_years", "duration_in_month"])
    amount = (people["credit_amount"].to_numpy() - 3000) / 3000
    weights = descent(columns[train], amount[train], parameters, "linear")
    measured = ran.outcomes[0].result["validation"]
    errors = amount[test] - weights[0] - columns[test] @ weights[1:]
    assert float(measured["mse"]) == pytest.approx(np.mean(errors**2) * 3000**2, rel=0.01)
    assert (
        float(measured["r2"]) == pytest.approx(1 - np.mean(errors**2) / np.var(amount[test]), abs=0.005)
        and float(measured["r2"]) > 0.2
    )


def between_owners(shares, labels, settings, keys):
    """A network that the engine trains between two owners."""
    names = [[f"c{number}" for number in range(each.shape[1])] for each in shares]

    def one(session):
        if session.index == 0:
            return training.lead(session, [0, 1], shares[0], names[0], labels, settings, keys[0])
        return training.assist(session, [0, 1], shares[1], names[1], settings, keys[1])

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, local_sessions(2)))


def test_a_network_with_protected_labels(run_workload, people, monkeypatch) -> None:
    """With exact gradients it is the pooled network; noised as the task asks it is the engine's for the same keys, and has learned.

    The keys are fixed: fresh noise moves the area under the curve by 0.02 (standard deviation) from run to run.
    """
    keys = [b"\1" * 32] * 2
    monkeypatch.setattr(split_training, "secrets", SimpleNamespace(token_bytes=lambda size: b"\1" * size))
    parameters = network(people)
    spec = spec_of("split-training", parameters)
    ran = run_workload(SplitTraining(), spec, tables(people))
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    bank, person = ran.outcomes[0], ran.outcomes[1]
    parts = [NETWORK.read(each.files[NETWORK.file].read_bytes()) for each in (bank, person)]
    assert parts[0].top is not None and parts[1].top is None
    train, test = drawn()
    labels = (people["outcome"] == "bad").to_numpy()
    shares = [encoded(people, names) for names in (BANK, PERSON)]
    settings = SplitTraining().parameters(spec).settings
    assert settings.divergence == 0.25
    expected = between_owners([each[train] for each in shares], labels[train], settings, keys)
    for part, due in zip(parts, expected, strict=True):
        np.testing.assert_allclose(part.bottom.run(shares[part.owner]), due.bottom.run(shares[part.owner]), atol=1e-6)
    exact = replace(settings, divergence=float("inf"))
    keys = [bytes(32), b"\1" * 32]
    pooled = fit([each[train] for each in shares], labels[train], exact, keys)([each[test] for each in shares])
    one, other = between_owners([each[train] for each in shares], labels[train], exact, keys)
    given = np.concatenate([one.bottom.run(shares[0][test]), other.bottom.run(shares[1][test])], axis=1)
    np.testing.assert_allclose(one.top.run(given)[:, 0], pooled, rtol=1e-9, atol=1e-9)
    auc = roc_auc_score(labels[test], pooled)
    assert float(bank.result["validation"]["auc"]) > 0.66 and auc > 0.7
    assert [each["epoch"] for each in bank.result["history"]] == list(range(1, 13)) and "history" not in person.result
    promised = SplitTraining().security(spec)
    assert "area" in promised.learns["other owner"] and "bottom gives" in promised.learns["owner of the label"]
    predicted = SplitTraining().cost(spec, {ACCOUNTS[0]: 1000, ACCOUNTS[1]: 1000})
    assert 0.8 * ran.most_sent() <= predicted.bytes_sent <= 1.3 * ran.most_sent()


def test_regression_on_shares_is_as_good_as_on_pooled_columns(run_workload, people) -> None:
    """`regression`, which shows the whole model, on columns of two owners: within 0.005 in accuracy and area."""
    own = {0: ["duration_in_month", "credit_amount"], 1: ["age_in_years", "number_of_existing_credits_at_this_bank"]}
    features = [
        {
            "party": ACCOUNTS[number],
            "column": name,
            "center": SCALES.get(name, ("1", "1"))[0],
            "scale": SCALES.get(name, ("1", "1"))[1],
        }
        for number, names in own.items()
        for name in names
    ]
    parameters = {
        "family": "logistic", "split": join_of((0, 1), "order"), "features": features,
        "target": {"party": ACCOUNTS[0], "column": "bad", "center": "0", "scale": "1"},
        "method": {"name": "newton", "iterations": 6}, "ridge": "0.001", "evaluate": False, "protocol": "replicated",
        "fraction": 20, "minimum_group": 10,
    }  # fmt: skip
    train, test = drawn()
    trained = people.iloc[train]
    spec = make_spec("regression", parameters, columns_of(own, target="bad"), [2], (0, 1, 2))
    ran = run_workload(Regression(), spec, tables(trained, own, "bad"))
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    values, names = ran.outcomes[2].result, [name for each in own.values() for name in each]
    slopes = {each["column"]: float(each["value"]) for each in values["coefficients"]}
    scores = float(values["intercept"]) + people.iloc[test][names].to_numpy() @ np.array([slopes[name] for name in names])
    centers, scales = (np.array([float(each[which]) for each in features]) for which in ("center", "scale"))
    plain = LogisticRegression(C=1 / (800 * 0.001), max_iter=1000)
    pooled = plain.fit((trained[names] - centers) / scales, trained["bad"]).decision_function(
        (people.iloc[test][names] - centers) / scales
    )
    truth = people.iloc[test]["bad"].to_numpy() > 0
    assert abs(np.mean((scores > 0) == truth) - np.mean((pooled > 0) == truth)) < 0.0075
    assert abs(roc_auc_score(truth, scores) - roc_auc_score(truth, pooled)) < 0.005 and roc_auc_score(truth, scores) > 0.55


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"split": {"by": "rows", "join": None}}, "must be columns"),
        ({"epochs": 0}, "epochs"),
        ({"batch": 1}, "batch"),
        ({"rate": "0"}, "rate"),
        ({"ridge": "5"}, "ridge"),
        ({"key_bits": 2049}, "2048 or 3072"),
        ({"target": {**OUTCOME, "party": None}}, "has a party"),
        ({"target": {**OUTCOME, "values": ["good", "bad", "?"]}}, "two values"),
        ({"target": {**AMOUNT, "scale": "0"}}, "scale"),
        ({"features": [{"party": None, "column": "housing", "values": ["own", "rent"]}]}, "address"),
        ({"features": [{"party": ACCOUNTS[0], "column": "housing"}]}, "misses"),
        ({"features": [{"party": ACCOUNTS[1], "column": "a", "values": ["x", "b=c"]},
                       {"party": ACCOUNTS[1], "column": "a=b", "values": ["x", "c"]}]}, "another's name"),
        ({"more": 1}, "may not have"),
    ],
)  # fmt: skip
def test_what_a_regression_may_not_say(people, changes, rule) -> None:
    with pytest.raises(InvalidTask, match=rule):
        VerticalRegression().check(spec_of("vertical-regression", regression(people, **changes)))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"divergence": "0"}, "divergence"),
        ({"divergence": "inf"}, "divergence"),
        ({"divergence": "10000000000"}, "divergence"),
        ({"bottom": [0]}, r"bottom\[0\]"),
        ({"top": [1] * 9}, "top"),
        ({"cut": 0}, "cut"),
        ({"momentum": "1"}, "momentum"),
        ({"target": AMOUNT}, "misses 'values'"),
    ],
)
def test_what_a_network_may_not_say(people, changes, rule) -> None:
    with pytest.raises(InvalidTask, match=rule):
        SplitTraining().check(spec_of("split-training", network(people, **changes)))


def test_rows_that_a_task_does_not_allow_end_it(run_workload, people) -> None:
    few = run_workload(VerticalRegression(), spec_of("vertical-regression", regression(people)), tables(people.iloc[:60]))
    assert all(isinstance(each, OutputRefused) for each in few.outcomes.values())
    same = run_workload(SplitTraining(), spec_of("split-training", network(people)), tables(people.assign(outcome="good")))
    assert isinstance(same.outcomes[0], InvalidData) and "both classes" in str(same.outcomes[0])
    wide = regression(people)
    wide["features"] = [{**each, "scale": "1"} if each["column"] == "credit_amount" else each for each in wide["features"]]
    far = run_workload(VerticalRegression(), spec_of("vertical-regression", wide), tables(people))
    assert isinstance(far.outcomes[0], InvalidData) and "'credit_amount'" in str(far.outcomes[0])


def test_the_statement_names_what_each_owner_learns(people) -> None:
    promised = VerticalRegression().security(spec_of("vertical-regression", regression(people)))
    assert promised.adversary == "semi-honest" and "held out" in promised.learns["owner of the label"]
    assert "rows" not in promised.learns["other owner"].replace("of the rows held out", "")


def test_every_workload_that_leaves_parts_is_of_a_kind_with_its_words() -> None:
    """The card takes them from the kind, so none can be forgotten there."""
    trainings = {name: workload.kind for name, workload in workloads().items() if isinstance(workload, VerticalTraining)}
    assert trainings and all(KINDS[name] is kind for name, kind in trainings.items())
    assert KINDS.keys() - trainings.keys() == {"shared-boosting"}
    assert {name: kind.words for name, kind in KINDS.items()} == {
        "boosting": "gradient-boosted trees",
        "shared-boosting": "gradient-boosted trees",
        "vertical-regression": "linear or logistic regression",
        "split-training": "a split neural network",
    }
