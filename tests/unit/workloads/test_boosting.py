"""`boosting` and `shared-boosting` on the German credit data: the bank knows account and outcome, another party the person."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.engines.fl.vertical.boosting import Settings, fit, quality
from tallystick_node.engines.fl.vertical.parts import Branch, Part
from tallystick_node.engines.fl.vertical.prediction import score
from tallystick_node.workloads.keys import KeyRules, distinct
from tallystick_node.workloads.vertical.boosting import Boosting
from tallystick_node.workloads.vertical.model_kinds import TREES
from tallystick_node.workloads.vertical.shared_boosting import SharedBoosting
from unit.workloads.conftest import ACCOUNTS, frame_table, join_of, make_spec

BANK = ["status_of_existing_checking_account", "duration_in_month", "credit_amount", "credit_history"]
PERSON = ["age_in_years", "housing", "personal_status_and_sex", "number_of_existing_credits_at_this_bank"]
COLUMNS = {0: BANK, 1: PERSON}


@pytest.fixture(scope="module")
def people(credit):
    return credit.assign(outcome=np.where(credit["bad"] == 1, "bad", "good"))


def feature(party, name, frame):
    named = {"party": party, "column": name}
    return named if frame[name].dtype.kind in "iu" else {**named, "values": sorted(frame[name].unique())}


def asked(frame, **changes):
    features = [feature(ACCOUNTS[number], name, frame) for number, names in COLUMNS.items() for name in names]
    return {
        "split": join_of((0, 1)), "features": features,
        "target": {"party": ACCOUNTS[0], "column": "outcome", "values": ["good", "bad"]},
        "trees": 6, "depth": 3, "bins": 16, "rate": "0.3", "penalty": "1", "child_weight": "0", "held_out": 20, "seed": 7,
        "key_bits": 2048, "minimum_group": 10, **changes,
    }  # fmt: skip


def spec_of(parameters, receivers=(0, 1), **columns):
    return make_spec("boosting", parameters, {0: ["id", *BANK, "outcome"], 1: ["id", *PERSON], **columns}, list(receivers))


def tables(frame):
    """The bank knows 950 people, the other party 900 of them and 50 more, in another order."""
    return {
        0: frame_table(frame.iloc[:950], ["id", *BANK, "outcome"]),
        1: frame_table(frame.iloc[50:].sample(frac=1, random_state=1), ["id", *PERSON]),
    }


def test_the_model_is_that_of_the_pooled_rows(run_workload, people) -> None:
    """Joined by intersection; what the parts say together are the splits of one owner of all, and it scores as well."""
    spec = spec_of(asked(people))
    ran = run_workload(Boosting(), spec, tables(people))
    bank, person = ran.outcomes[0], ran.outcomes[1]
    assert not isinstance(bank, Exception), (bank, person)
    parts = [Part.from_json(each.files[TREES.file].read_bytes()) for each in (bank, person)]
    assert [part.features for part in parts] == [tuple(BANK), tuple(PERSON)]
    assert bank.result["rows"] == person.result["rows"] == 720 and bank.result["held_out"] == 180
    assert "history" not in person.result and "validation" not in person.result
    assert person.result["splits"] == bank.result["nodes"][1]["nodes"] > 0
    gains = {each["column"]: float(each["gain"]) for result in (bank.result, person.result) for each in result["columns"]}
    assert list(gains) == [*BANK, *PERSON] and sum(gains.values()) == pytest.approx(1) and max(gains, key=gains.get) == BANK[0]
    assert bank.commitment.startswith("sha256:") and bank.commitment != person.commitment

    assert float(bank.result["history"][-1]["auc"]) > 0.8
    one, auc = pooled_model(people, Settings(6, 3, 16, 0.3, 1.0, 0.0, 10))
    assert named(parts) == named([one])
    assert float(bank.result["validation"]["auc"]) == pytest.approx(auc, abs=1e-9) and auc > 0.6

    predicted = Boosting().cost(spec, {ACCOUNTS[0]: 900, ACCOUNTS[1]: 900})
    assert 0.8 * ran.most_sent() <= predicted.bytes_sent <= 1.3 * ran.most_sent()


def pooled_model(people, wanted):
    """What one owner of all joint columns trains, and its area under the ROC curve on the rows held out."""
    joint, labels = pooled(people.iloc[50:950])
    order = np.random.default_rng(7).permutation(900)
    train, test = np.sort(order[180:]), np.sort(order[:180])
    one = fit(joint[train], labels[train], wanted, [*BANK, *PERSON])
    return one, quality(score(one, joint[test]), labels[test])["auc"]


def pooled(frame):
    """All columns as the trees see them, and the label, in the order that the join gives the rows."""
    items, rows = distinct(KeyRules(("int64",), False, "reject"), frame_table(frame, ["id"]))
    places = rows[sorted(range(len(items)), key=lambda item: hashlib.sha256(items[item]).digest())]
    frame = frame.iloc[places]
    columns = [
        frame[name] if frame[name].dtype.kind in "iu" else frame[name].map(sorted(frame[name].unique()).index)
        for name in (*BANK, *PERSON)
    ]
    return np.column_stack(columns).astype(float), (frame["outcome"] == "bad").to_numpy()


def named(parts):
    """Columns and thresholds of all nodes, in place of random names."""
    found = []
    for tree in parts[0].ensemble.trees:
        for node in tree:
            if isinstance(node, Branch):
                split = parts[node.owner].splits[node.split]
                found.append((parts[node.owner].features[split.feature], split.threshold, node.left, node.right))
            else:
                found.append(node)
    return found


def test_the_model_on_shares_is_as_good_as_that_of_the_pooled_rows(run_workload, people) -> None:
    """Account 2 computes and gets nothing; owners get their parts, the bank how good the model is."""
    spec = shared_spec(people, trees=4)
    ran = run_workload(SharedBoosting(), spec, tables(people))
    bank, person = ran.outcomes[0], ran.outcomes[1]
    assert not isinstance(bank, Exception), ran.outcomes
    parts = [Part.from_json(each.files[TREES.file].read_bytes()) for each in (bank, person)]
    assert [part.features for part in parts] == [tuple(BANK), tuple(PERSON)] and parts[1].ensemble is None
    assert bank.result["rows"] == person.result["rows"] == 720 and bank.result["held_out"] == 180
    assert "validation" not in person.result
    assert len(parts[1].splits) == bank.result["nodes"][1]["nodes"]
    one, auc = pooled_model(people, Settings(4, 3, 8, 0.3, 1.0, 0.0, 10))
    assert float(bank.result["validation"]["auc"]) >= auc - 0.005
    same = np.mean([left[:2] == right[:2] for left, right in zip(branches(parts), branches([one]), strict=False)])
    assert same > 0.8
    assert ran.outcomes[2].result is None
    predicted = SharedBoosting().cost(spec, {ACCOUNTS[0]: 900, ACCOUNTS[1]: 900})
    assert 0.8 * ran.most_sent() <= predicted.bytes_sent <= 1.2 * ran.most_sent()


def shared_spec(people, **changes):
    parameters = asked(people, bins=8, protocol="replicated", fraction=20)
    del parameters["key_bits"]
    columns = {0: ["id", *BANK, "outcome"], 1: ["id", *PERSON]}
    return make_spec("shared-boosting", parameters | changes, columns, [0, 1], (0, 1, 2))


def branches(parts):
    return [node for node in named(parts) if isinstance(node, tuple)]


def test_what_a_task_on_shares_may_not_say(people) -> None:
    for changes, rule in (
        ({"penalty": "0"}, "penalty"),
        ({"fraction": 30}, "fraction"),
        ({"protocol": "two-party"}, "computing parties"),
    ):
        with pytest.raises(InvalidTask, match=rule):
            SharedBoosting().check(shared_spec(people, **changes))
    promised = SharedBoosting().security(shared_spec(people))
    assert "scores" in promised.learns["receiver"] and "rows" in promised.learns["owner"]


def test_rows_that_a_task_on_shares_does_not_allow_end_it(run_workload, people) -> None:
    few = run_workload(SharedBoosting(), shared_spec(people, minimum_group=400), tables(people))
    assert all(isinstance(each, OutputRefused) for each in few.outcomes.values())
    same = run_workload(SharedBoosting(), shared_spec(people), tables(people.assign(outcome="good")))
    assert isinstance(same.outcomes[0], InvalidData) and "both classes" in str(same.outcomes[0])


def test_three_owners_in_one_order_without_rows_held_out(run_workload, people) -> None:
    """The owner of the label brings no features."""
    parameters = asked(people, held_out=0, trees=2, split=join_of((0, 1, 2), "order"))
    for each in parameters["features"]:
        if each["party"] == ACCOUNTS[0]:
            each["party"] = ACCOUNTS[2]
    columns = {0: ["id", "outcome"], 1: ["id", *PERSON], 2: ["id", *BANK]}
    spec = make_spec("boosting", parameters, columns, [0, 1, 2])
    some = people.iloc[:300]
    ran = run_workload(Boosting(), spec, {number: frame_table(some, names) for number, names in columns.items()})
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    result = ran.outcomes[0].result
    assert result["validation"] == {} and result["splits"] == 0 and len(result["history"]) == 2
    assert sum(each["nodes"] for each in result["nodes"]) > 2


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"split": {"by": "rows", "join": None}}, "must be columns"),
        ({"trees": 0}, "trees"),
        ({"depth": 13}, "depth"),
        ({"bins": 33}, "bins"),
        ({"rate": "0"}, "rate above 0"),
        ({"penalty": "-1"}, "penalty"),
        ({"child_weight": "x"}, "child_weight"),
        ({"held_out": 51}, "held_out"),
        ({"key_bits": 2049}, "2048 or 3072"),
        ({"minimum_group": 1}, "minimum_group"),
        ({"target": {"party": None, "column": "outcome", "values": ["good", "bad"]}}, "has a party"),
        ({"target": {"party": ACCOUNTS[0], "column": "outcome", "values": ["good", "bad", "?"]}}, "two values"),
        ({"target": {"party": ACCOUNTS[0], "column": "credit_amount", "values": ["1", "2"]}}, "twice, or the target"),
        ({"features": [{"party": None, "column": "housing", "values": ["own", "rent"]}]}, "party"),
        ({"features": [{"party": ACCOUNTS[0], "column": "duration_in_month"}]}, "owners"),
    ],
)
def test_what_a_task_may_not_say(people, changes, rule) -> None:
    with pytest.raises(InvalidTask, match=rule):
        Boosting().check(spec_of(asked(people, **changes)))


def test_only_owners_receive_and_compute(people) -> None:
    for receivers in ((0,), (0, 1, 2)):
        with pytest.raises(InvalidTask, match="part of the model"):
            Boosting().check(spec_of(asked(people), receivers))
    with pytest.raises(InvalidTask, match="compute"):
        Boosting().check(replace(spec_of(asked(people)), compute=(ACCOUNTS[2],)))


def test_rows_that_a_task_does_not_allow_end_it(run_workload, people) -> None:
    few = run_workload(Boosting(), spec_of(asked(people, minimum_group=400)), tables(people))
    assert all(isinstance(each, OutputRefused) for each in few.outcomes.values())
    good = people.assign(outcome="good")
    same = run_workload(Boosting(), spec_of(asked(people)), tables(good))
    assert isinstance(same.outcomes[0], InvalidData) and "both classes" in str(same.outcomes[0])


def test_the_statement_names_what_each_owner_learns(people) -> None:
    promised = Boosting().security(spec_of(asked(people)))
    assert promised.adversary == "semi-honest" and promised.parties == 2
    assert "held out" in promised.learns["other owner"] and "rows" in promised.learns["owner"]
