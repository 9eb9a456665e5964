"""`joint-prediction`: models that earlier tasks left in parts score new rows as all parts in one place would."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.engines.fl.explanation import networks
from tallystick_node.engines.fl.explanation.trees import Column, explain
from tallystick_node.engines.fl.vertical.coefficients import Coefficients
from tallystick_node.engines.fl.vertical.parts import Branch
from tallystick_node.workloads.base import EARLIER, SPEC
from tallystick_node.workloads.keys import KeyRules, distinct
from tallystick_node.workloads.vertical import split_training
from tallystick_node.workloads.vertical.boosting import Boosting
from tallystick_node.workloads.vertical.joint_prediction import JointPrediction
from tallystick_node.workloads.vertical.model_kinds import KINDS, LINEAR
from tallystick_node.workloads.vertical.regression import VerticalRegression
from tallystick_node.workloads.vertical.split_training import SplitTraining
from unit.workloads.conftest import ACCOUNTS, frame_table, join_of, make_spec
from unit.workloads.test_vertical_models import BANK, OUTCOME, OWN, PERSON, common, encoded, feature, network, regression

TASK = "0x" + "22" * 32
TREES = {"trees": 3, "depth": 3, "bins": 8, "rate": "0.3", "penalty": "1", "child_weight": "0", "key_bits": 2048}


@pytest.fixture(scope="module")
def people(credit):
    return credit.assign(outcome=np.where(credit["bad"] == 1, "bad", "good"))


def boosting(frame):
    said = common(frame)
    features = [
        {name: each[name] for name in ("party", "column", "values") if name in each} for each in said["features"]
    ]  # numbers as they stand
    return {**said, "features": features, "held_out": 0, **TREES}


TRAINED = {
    "boosting": (Boosting(), boosting),
    "vertical-regression": (VerticalRegression(), regression),
    "split-training": (SplitTraining(), lambda frame: network(frame, epochs=60, rate="0.1")),  # so that it tells classes apart
}


def columns_of(label=True):
    return {number: ["id", *names, *(["outcome"] if label and number == 0 else [])] for number, names in OWN.items()}


@pytest.fixture
def model(run_workload, tmp_path, people, monkeypatch):
    """``model(workload)``: its parameters and each owner's part, trained on the first 300 people and laid out for the next task.

    The noise of a network is always the same: with fresh noise it may come to put everybody into one class.
    """
    monkeypatch.setattr(split_training, "secrets", SimpleNamespace(token_bytes=lambda size: b"\1" * size))

    def train(workload):
        trainer, parameters = TRAINED[workload][0], TRAINED[workload][1](people)
        spec = make_spec(workload, parameters, columns_of(), [0, 1])
        tables = {number: frame_table(people.iloc[:200], names) for number, names in columns_of().items()}
        ran = run_workload(trainer, spec, tables)
        assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
        kind, parts = KINDS[workload], []
        for number, outcome in ran.outcomes.items():
            folder = tmp_path / str(number) / EARLIER / TASK
            folder.mkdir(parents=True)
            content = outcome.files[kind.file].read_bytes()
            (folder / kind.file).write_bytes(content)
            (folder / SPEC).write_bytes(spec.to_bytes())
            parts.append(kind.read(content))
        return parameters, parts

    return train


def asked(workload, parameters, **changes):
    model = {"task": TASK, "workload": workload, "features": parameters["features"], "target": parameters["target"]}
    said = {
        "model": model,
        "split": join_of((0, 1)),
        "output": "score",
        "told": [ACCOUNTS[0]],
        "explain": False,
        "minimum_group": 10,
    }
    return {**said, **changes}


def spec_of(parameters, receivers=(0,), columns=None):
    return make_spec("joint-prediction", parameters, columns or columns_of(label=False), list(receivers))


def new(people):
    """Both know some of the last 700 people, in another order each; and the joint ones in the order that the join gives them."""
    bank, person = people.iloc[300:900], people.iloc[400:].sample(frac=1, random_state=1)
    joint = people.iloc[400:900]
    items, rows = distinct(KeyRules(("int64",), False, "reject"), frame_table(joint, ["id"]))
    keys = items.tolist() if hasattr(items, "tolist") else list(items)
    places = rows[sorted(range(len(keys)), key=lambda item: hashlib.sha256(bytes(keys[item])).digest())]
    tables = {0: frame_table(bank, ["id", *BANK]), 1: frame_table(person, ["id", *PERSON])}
    return tables, joint.iloc[places], bank, person


def ordinals(everyone, frame, names):
    """What trees see of some of the people."""
    places = {name: sorted(everyone[name].unique()).index for name in names}
    return np.column_stack(
        [frame[name] if frame[name].dtype.kind in "iu" else frame[name].map(places[name]) for name in names]
    ).astype(float)


def test_trees_score_and_explain_as_in_one_place(run_workload, model, people) -> None:
    """The bank and a stranger are told; the other owner receives the values of its own columns alone."""
    parameters, parts = model("boosting")
    tables, joint, bank, person = new(people)
    spec = spec_of(asked("boosting", parameters, told=[ACCOUNTS[0], ACCOUNTS[2]], explain=True), (0, 1, 2))
    ran = run_workload(JointPrediction(), spec, tables)
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    shares = [ordinals(people, joint, names) for names in (BANK, PERSON)]
    asked_of = {
        (part.owner, name): (Column(part.owner, split.feature), shares[part.owner][:, split.feature] <= split.threshold)
        for part in parts
        for name, split in part.splits.items()
    }
    due, scores = explain(parts[0].ensemble, asked_of, [3, 3], len(joint)), walked(parts, asked_of, len(joint))
    first, other, stranger = (ran.outcomes[number].result for number in range(3))
    for told in (first, stranger):
        np.testing.assert_allclose(np.array(told["predictions"], float), scores, atol=1e-12)
        values = np.array([each["values"] for each in told["explanation"]["owners"]], float).T
        np.testing.assert_allclose(values, due.owners, atol=1e-12)
        np.testing.assert_allclose(values.sum(axis=1) + float(told["explanation"]["base"]), scores, atol=1e-9)
    assert stranger["columns"] is None and stranger["own_rows"] is None and stranger["rows"] == len(joint)
    assert other["predictions"] is None and other["explanation"] is None
    for result, names, values in zip((first, other), (BANK, PERSON), due.columns, strict=True):
        assert [each["column"] for each in result["columns"]] == names
        np.testing.assert_allclose(np.array([each["values"] for each in result["columns"]], float).T, values, atol=1e-12)
        assert float(result["columns"][0]["importance"]) == pytest.approx(np.abs(values[:, 0]).mean())
    assert bank["id"].iloc[np.array(first["own_rows"]) - 1].tolist() == joint["id"].tolist()
    assert person["id"].iloc[np.array(other["own_rows"]) - 1].tolist() == joint["id"].tolist()
    assert ran.outcomes[0].commitment.startswith("sha256:") and ran.outcomes[2].commitment == ""
    predicted = JointPrediction().cost(spec, {ACCOUNTS[0]: 500, ACCOUNTS[1]: 500})
    assert 0.5 * ran.most_sent() <= predicted.bytes_sent <= 3 * ran.most_sent()


def walked(parts, asked_of, rows):
    scores = np.full(rows, parts[0].ensemble.base)
    for tree in parts[0].ensemble.trees:
        waiting = [(0, np.arange(rows))]
        for place, here in waiting:
            node = tree[place]
            if isinstance(node, Branch):
                left = asked_of[node.owner, node.split][1][here]
                waiting += [(node.left, here[left]), (node.right, here[~left])]
            else:
                scores[here] += node.value
    return scores


def test_a_regression_gives_probabilities(run_workload, model, people) -> None:
    """Nobody but an owner without the label is told."""
    parameters, parts = model("vertical-regression")
    tables, joint, _, _ = new(people)
    spec = spec_of(asked("vertical-regression", parameters, told=[ACCOUNTS[1]], output="probability", explain=True), (1,))
    ran = run_workload(JointPrediction(), spec, tables)
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    shares = [encoded_as(people, joint, names) for names in (BANK, PERSON)]
    scores = parts[0].intercept + shares[0] @ np.array(parts[0].weights) + shares[1] @ np.array(parts[1].weights)
    result = ran.outcomes[1].result
    np.testing.assert_allclose(np.array(result["predictions"], float), 1 / (1 + np.exp(-scores)), atol=2e-3)
    assert ran.outcomes[0].result is None
    own = np.array([each["values"] for each in result["columns"]], float).T
    np.testing.assert_allclose(own, (shares[1] - shares[1].mean(axis=0)) * np.array(parts[1].weights), atol=1e-9)


def encoded_as(everyone, frame, names):
    """The model's columns of some of the people, by the values of all."""
    whole = everyone.copy()
    table = encoded(whole, names)
    places = whole.index.get_indexer(frame.index)
    return table[places]


def test_three_owners_of_whom_one_has_the_label_alone(run_workload, tmp_path, people) -> None:
    """In one order; the parts are written by hand. Owner 0 has the label and no columns, and is told nothing."""
    own, target = {1: ["age_in_years"], 2: ["duration_in_month", "credit_amount"]}, {**OUTCOME, "party": ACCOUNTS[0]}
    features = [feature(ACCOUNTS[number], name, people) for number, names in own.items() for name in names]
    trained = {**regression(people), "features": features, "target": target, "split": join_of((0, 1, 2), "order")}
    columns = {0: ["id"], **{number: ["id", *names] for number, names in own.items()}}
    earlier = make_spec("vertical-regression", trained, {**columns, 0: ["id", "outcome"]}, [0, 1, 2])
    weights = {0: (), 1: (-0.5,), 2: (0.75, 0.25)}
    for number, values in weights.items():
        folder = tmp_path / str(number) / EARLIER / TASK
        folder.mkdir(parents=True)
        part = Coefficients("logistic", 3, number, tuple(own.get(number, ())), values, 0.125 if number == 0 else None)
        (folder / LINEAR.file).write_bytes(part.to_json())
        (folder / SPEC).write_bytes(earlier.to_bytes())
    said = asked("vertical-regression", trained, split=join_of((0, 1, 2), "order"), told=[ACCOUNTS[3]], explain=True)
    spec, some = spec_of(said, (1, 3), columns), people.iloc[:60]
    ran = run_workload(JointPrediction(), spec, {number: frame_table(some, names) for number, names in columns.items()})
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    shares = {number: encoded(some, names) @ np.array(weights[number]) for number, names in own.items()}
    scores = 0.125 + shares[1] + shares[2]
    told, helper = ran.outcomes[3].result, ran.outcomes[1].result
    np.testing.assert_allclose(np.array(told["predictions"], float), scores, atol=5e-3)  # columns are rounded to 2^-11
    values = [np.array(each["values"], float) for each in told["explanation"]["owners"]]
    assert not values[0].any()
    np.testing.assert_allclose(values[2], shares[2] - shares[2].mean(), atol=1e-9)
    np.testing.assert_allclose(np.array(helper["columns"][0]["values"], float), values[1], atol=1e-9)
    assert helper["predictions"] is None and ran.outcomes[0].result is None and ran.outcomes[2].result is None


def test_a_network_gives_classes(run_workload, model, people) -> None:
    parameters, parts = model("split-training")
    tables, joint, _, _ = new(people)
    ran = run_workload(JointPrediction(), spec_of(asked("split-training", parameters, output="class")), tables)
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    given = [part.bottom.run(encoded_as(people, joint, names)) for part, names in zip(parts, (BANK, PERSON), strict=True)]
    due = np.where(parts[0].top.run(np.concatenate(given, axis=1))[:, 0] > 0, "bad", "good")
    assert ran.outcomes[0].result["predictions"] == due.tolist() and len(set(due)) == 2
    assert ran.outcomes[1].result is None


def test_a_networks_scores_are_explained_to_each_owner(run_workload, model, people) -> None:
    """Shares add up to the scores, an owner's columns to its share, and nobody else gets these."""
    parameters, parts = model("split-training")
    tables, joint, _, _ = new(people.iloc[:460])
    spec = spec_of(asked("split-training", parameters, explain=True), (0, 1))
    ran = run_workload(JointPrediction(), spec, tables)
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    first, other = (ran.outcomes[number].result for number in range(2))
    given = [part.bottom.run(encoded_as(people, joint, names)) for part, names in zip(parts, (BANK, PERSON), strict=True)]
    shares = np.array([each["values"] for each in first["explanation"]["owners"]], float)
    background = np.linspace(0, len(joint) - 1, networks.BACKGROUND).astype(int)
    known, unknown = np.meshgrid(np.arange(len(joint)), background, indexing="ij")  # of shape (rows, background)

    def mean_score(own, others):
        """The mean score where one has ``own`` and the other ``others``."""
        mixed = np.concatenate([given[0][own.ravel()], given[1][others.ravel()]], axis=1)
        return parts[0].top.run(mixed)[:, 0].reshape(own.shape).mean(axis=1)

    scores, base, alone, without = (
        mean_score(*each) for each in ((known, known), (unknown, unknown), (known, unknown), (unknown, known))
    )
    np.testing.assert_allclose(np.array(first["predictions"], float), scores, atol=1e-9)
    np.testing.assert_allclose(float(first["explanation"]["base"]), base, atol=1e-9)
    np.testing.assert_allclose(shares[0], (scores - without + alone - base) / 2, atol=1e-9)
    np.testing.assert_allclose(shares[1], (scores - alone + without - base) / 2, atol=1e-9)
    for result, share in zip((first, other), shares, strict=True):
        columns = np.array([each["values"] for each in result["columns"]], float)
        np.testing.assert_allclose(columns.sum(axis=0), share, atol=1e-9)
    assert other["predictions"] is None and other["explanation"] is None
    told = JointPrediction().security(spec).learns
    assert "hybrids of every row" in told["owner of the label"] and "hybrids" not in told["other owner"]
    predicted = JointPrediction().cost(spec, {account: len(joint) for account in spec.parties})
    assert 0.3 * ran.most_sent() <= predicted.bytes_sent <= 3 * ran.most_sent()


def test_rows_and_models_that_do_not_fit_end_it(run_workload, model, people) -> None:
    parameters, _ = model("split-training")
    tables, *_ = new(people)
    few = run_workload(JointPrediction(), spec_of(asked("split-training", parameters, minimum_group=501)), tables)
    assert all(isinstance(each, OutputRefused) for each in few.outcomes.values())
    others = [{**each, "scale": "2"} if each["column"] == "credit_amount" else each for each in parameters["features"]]
    changed = run_workload(JointPrediction(), spec_of(asked("split-training", {**parameters, "features": others})), tables)
    assert all(isinstance(each, InvalidData) and "other features" in str(each) for each in changed.outcomes.values())
    wrong = spec_of(asked("vertical-regression", parameters))
    assert all(isinstance(each, InvalidData) for each in run_workload(JointPrediction(), wrong, tables).outcomes.values())


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"split": {"by": "rows", "join": None}}, "must be columns"),
        ({"output": "text"}, "output"),
        ({"told": []}, "told"),
        ({"told": [ACCOUNTS[3]]}, "no receiver"),
        ({"told": [ACCOUNTS[1], ACCOUNTS[0]]}, "ascending"),
        ({"explain": 1}, "explain"),
        ({"minimum_group": 1}, "minimum_group"),
        ({"more": 1}, "may not have"),
    ],
)
def test_what_a_task_may_not_say(people, changes, rule) -> None:
    with pytest.raises(InvalidTask, match=rule):
        JointPrediction().check(spec_of(asked("boosting", boosting(people), **changes)))


def test_what_a_model_may_not_be(people) -> None:
    said = boosting(people)
    for model, rule in (
        ({"workload": "training"}, "workload"),
        ({"task": "0x22"}, "task"),
        ({"target": {**OUTCOME, "party": None}}, "party"),
        ({"features": said["features"][:3]}, "owners"),
        ({"features": []}, "features"),
    ):
        parameters = asked("boosting", said)
        with pytest.raises(InvalidTask, match=rule):
            JointPrediction().check(spec_of({**parameters, "model": {**parameters["model"], **model}}))
    wide = network(people)
    names = [f"c{number}" for number in range(65)]
    features = [{"party": ACCOUNTS[1], "column": name, "center": "0", "scale": "1"} for name in names]
    spec = spec_of(
        asked("split-training", {**wide, "features": [*wide["features"][:3], *features]}, explain=True),
        columns={**columns_of(label=False), 1: ["id", *names]},
    )
    with pytest.raises(InvalidTask, match="at most 64 columns each"):
        JointPrediction().check(spec)
    number = {**regression(people), "target": {"party": ACCOUNTS[0], "column": "cost", "center": "0", "scale": "1"}}
    with pytest.raises(InvalidTask, match="must be score"):
        JointPrediction().check(spec_of(asked("vertical-regression", number, output="class")))


def test_who_receives_what(people) -> None:
    with pytest.raises(InvalidTask, match="gets nothing"):
        JointPrediction().check(spec_of(asked("boosting", boosting(people)), (0, 1)))
    with pytest.raises(InvalidTask, match="gets nothing"):
        JointPrediction().check(spec_of(asked("boosting", boosting(people), explain=True), (0, 2)))
    with pytest.raises(InvalidTask, match="columns are not those"):
        JointPrediction().check(spec_of(asked("boosting", boosting(people)), columns=columns_of()))
    with pytest.raises(InvalidTask, match="compute"):
        JointPrediction().check(replace(spec_of(asked("boosting", boosting(people))), compute=(ACCOUNTS[2],)))


def test_the_statement_says_what_scoring_tells(people) -> None:
    plain, explained = (
        JointPrediction().security(spec_of(asked("boosting", boosting(people), explain=each))) for each in (False, True)
    )
    assert "way through each tree" in plain.learns["owner of the label"] and "nameless" not in plain.learns["owner of the label"]
    assert "nameless" in explained.learns["owner of the label"] and "other owners have too" in plain.learns["owner"]
    assert JointPrediction().earlier(spec_of(asked("boosting", boosting(people)))) == (TASK,)
    assert Boosting().earlier(spec_of(asked("boosting", boosting(people)))) == ()
