"""The card of a trained model: what it states, and that nothing in a spec can be markup in it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tallystick.protocol import canonical
from tallystick.protocol.task import TaskSpec, proposal_of
from tallystick_node.workloads.model_card import card
from unit.workloads.conftest import make_spec

PARAMETERS = {
    "features": [{"column": "age", "center": "40", "scale": "12.5"}, {"column": "mean_radius", "center": "-3", "scale": "1"}],
    "target": {"column": "ill", "values": ["no", "yes"]},
    "model": {"name": "perceptron", "hidden": [8, 4], "penalty": "0.001"},
    "strategy": {"name": "fedavg", "weighting": "examples", "rate": "1"},
    "schedule": {"rounds": 10, "seed": 7, "stop": {"metric": "auc", "patience": 2, "improvement": "0"}},
    "aggregation": {"method": "secure"},
    "held_out": 20,
    "minimum_group": 20,
}
SPEC = make_spec("training", PARAMETERS, {number: ["age", "mean_radius", "ill"] for number in range(3)}, [0, 3])
VALUES = {
    "model": {
        "digest": "sha256:" + "ab" * 32,
        "layout": [["weight0", "float64", [2, 8]], ["bias0", "float64", [8]]],
        "kind": PARAMETERS["model"],
        "features": PARAMETERS["features"],
        "target": PARAMETERS["target"],
    },
    "rows": 456,
    "rounds": 9,
    "validation": {"loss": "0.1665921508385989", "accuracy": "0.9469026548112416"},
    "history": [],
    "coordinators": {"block": "0x" + "cd" * 32, "order": list(SPEC.parties[:3])},
}
HEADINGS = [
    "Model details", "Intended use", "Training and evaluation data", "Training procedure", "Metrics", "Privacy",
    "Caveats and recommendations", "Provenance",
]  # fmt: skip


def test_the_card_states_all_that_a_reader_asks() -> None:
    text = card(SPEC, VALUES)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    task = canonical.hex32(proposal_of(SPEC).id())
    for stated in (
        "24 numbers", "hidden layers of 8, 4 units", "one of no, yes", "| age | 40 | 12.5 |", "purpose: test.", "456 rows",
        "20 percent", "9 of at most 10 rounds", "accuracy: 0.947", "loss: 0.167", "not differentially private", task,
        SPEC.task_ledger, VALUES["model"]["digest"], VALUES["coordinators"]["block"],
        "(improvement 0, metric auc, patience 2)", *SPEC.parties,
        *(each.dataset for each in SPEC.inputs), *(each.grant for each in SPEC.inputs),
    ):  # fmt: skip
        assert stated in text
    assert not re.search(r"\d\.\d{5}", text)


def test_a_number_without_held_out_rows_or_known_counts() -> None:
    target = {"column": "cost", "center": "2", "scale": "10"}
    parameters = {
        **PARAMETERS,
        "target": target,
        "model": {"name": "linear", "bound": 2, "penalty": "0"},
        "privacy": {"epsilon": "1"},
    }
    values = {**VALUES, "model": {**VALUES["model"], "kind": parameters["model"], "target": target}, "rows": None, "validation": {}}
    text = card(replace(SPEC, parameters=parameters), values)
    assert "linear regression" in text and "(x - 2) / 10" in text
    assert "None: no rows were held out." in text and "Rows of all owners trained it." in text
    assert "was differentially private: epsilon 1." in text and "not differentially" not in text


@pytest.mark.parametrize("hostile", ["a|b", "x\n## Privacy", "<script>", "[a](http://b)", "`code`", "**bold**", "\u202eabc"])
def test_names_of_a_spec_are_no_markup(hostile: str) -> None:
    features = [{"column": hostile, "center": "0", "scale": "1"}]
    target = {"column": hostile, "values": [hostile, "b"]}
    spec: TaskSpec = replace(SPEC, purpose=hostile)
    text = card(spec, {**VALUES, "model": {**VALUES["model"], "features": features, "target": target}})
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert hostile not in text
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in text.splitlines() if line.startswith("|"))
