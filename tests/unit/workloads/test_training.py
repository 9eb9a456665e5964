"""`training`: a federated model over real rows, with a proof that every sum used is that of what the owners committed to."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from tallystick.commitments.projection import challenge, points, project_content
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick.protocol.proof.projection_verified import Contribution, Projections
from tallystick.protocol.task import PROJECTION_VERIFIED, Security, proposal_of
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.fl.aggregation.base import coordinators
from tallystick_node.engines.fl.parameters import Parameters as Model
from tallystick_node.engines.fl.parameters import load_header
from tallystick_node.workloads import model_card
from tallystick_node.workloads.model_card import CARD
from tallystick_node.workloads.training.checkpoints import Checkpoints, Mark
from tallystick_node.workloads.training.parameters import Parameters
from tallystick_node.workloads.training.workload import AGGREGATE, MODEL, Training
from unit.workloads.conftest import ACCOUNTS, make_spec

DATA = load_breast_cancer()
NAMES = [name.replace(" ", "_") for name in DATA.feature_names]
CENTERS, SCALES = DATA.data.mean(axis=0).round(6), DATA.data.std(axis=0).round(6)


def table(rows: slice) -> pa.Table:
    columns = {name: pa.array(np.rint(DATA.data[rows, i] * 10**6).astype(np.int64)) for i, name in enumerate(NAMES)}
    fields = [pa.field(name, pa.int64(), metadata={b"scale": b"6"}) for name in NAMES] + [pa.field("benign", pa.int64())]
    return pa.Table.from_arrays([*columns.values(), pa.array(DATA.target[rows].astype(np.int64))], schema=pa.schema(fields))


TABLES = {number: table(slice(number, None, 3)) for number in range(3)}


def text(number: float) -> str:
    return f"{number:.6f}"


def asked(**changes):
    parameters = {
        "features": [
            {"column": name, "center": text(center), "scale": text(scale)}
            for name, center, scale in zip(NAMES, CENTERS, SCALES, strict=True)
        ],
        "target": {"column": "benign", "values": ["0", "1"]},
        "model": {"name": "logistic", "penalty": "0.001"},
        "strategy": {"name": "fedavg", "weighting": "examples", "rate": "1"},
        "schedule": {
            "rounds": 8, "rows": 200, "epochs": 2, "batch": 16, "rate": "0.2", "momentum": "0", "seed": 7, "stop": None,
            "norm": "64", "entry": 3,
        },
        "aggregation": {"method": "secure"},
        "privacy": None,
        "held_out": 20,
        "minimum_group": 20,
        "contribution": None,
    }  # fmt: skip
    for path, value in changes.items():
        at, keys = parameters, path.split("__")
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = value
    return parameters


def spec_of(parameters, receivers=(0,), owners=(0, 1, 2)):
    columns = {number: [*NAMES, "benign"] for number in owners}
    spec = make_spec("training", parameters, columns, list(receivers))
    return replace(spec, proof=PROJECTION_VERIFIED, security=Security("semi-honest", 1))


def test_three_owners_train_one_model_and_prove_its_sums(run_workload) -> None:
    """Account 3 only receives. The model is as good as one of scikit-learn on all rows, and the contributions make a proof."""
    spec = spec_of(asked(), receivers=(0, 3))
    ran = run_workload(Training(), spec, TABLES)
    outcomes = [ran.outcomes[number] for number in range(4)]
    assert not any(isinstance(each, Exception) for each in outcomes), outcomes
    assert [bool(each.files) for each in outcomes] == [True, False, False, True]
    assert outcomes[3].commitment == "" and len({tuple(each.all_commitments) for each in outcomes}) == 1

    said = [Contribution.parse(each.contribution) for each in outcomes]
    roots = [canonical.untext(text) if text else bytes(32) for text in outcomes[0].all_commitments]
    Projections(tuple(roots), said[0].aggregate_root, tuple(each.own for each in said), said[0].aggregate).require_sum()
    at = points(challenge(b"", roots, said[0].aggregate_root))
    for receiver in (0, 3):
        content = outcomes[receiver].files[AGGREGATE].read_bytes()
        assert project_content([content], at) == (said[0].aggregate_root, said[0].aggregate)

    card = outcomes[3].result
    assert load_header(outcomes[3].files[MODEL].read_bytes()) == {
        "task": canonical.hex32(proposal_of(spec).id()),
        "digest": card["model"]["digest"],
        "layout": card["model"]["layout"],
    }
    assert card["rows"] == sum(len(rows) - len(rows) // 5 for rows in TABLES.values())
    assert [outcomes[number].files[CARD].read_text() for number in (0, 3)] == [model_card.card(spec, card)] * 2
    layout = Parameters.parse(spec.parameters).federation.learner.layout
    model = Model.load(outcomes[3].files[MODEL].read_bytes(), layout)
    assert card == outcomes[0].result and model.digest() == card["model"]["digest"]
    assert len(card["history"]) == card["rounds"] == 8
    features = (DATA.data - CENTERS) / SCALES
    found = (features @ model["weight"] + model["bias"]).argmax(axis=1)
    pooled = LogisticRegression(C=1 / (0.001 * len(features)), max_iter=1000).fit(features, DATA.target)
    assert (found == DATA.target).mean() >= pooled.score(features, DATA.target) - 0.005
    assert float(card["validation"]["auc"]) > 0.97


@pytest.mark.parametrize(
    ("strategy", "model"),
    [
        (
            {"name": "fedprox", "weighting": "uniform", "rate": "1", "proximal": "0.01"},
            {"name": "perceptron", "hidden": [8], "penalty": "0"},
        ),
        ({"name": "scaffold", "weighting": "uniform", "rate": "1"}, {"name": "logistic", "penalty": "0"}),
        ({"name": "fedyogi", "weighting": "examples", "rate": "0.1"}, {"name": "logistic", "penalty": "0"}),
    ],
)
def test_other_strategies_and_models(run_workload, strategy, model) -> None:
    spec = spec_of(
        asked(
            strategy=strategy, model=model, schedule__rounds=3, schedule__stop={"metric": "auc", "patience": 2, "improvement": "0"}
        )
    )
    outcome = run_workload(Training(), spec, TABLES).outcomes[0]
    assert float(outcome.result["validation"]["auc"]) > 0.9, outcome


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"model": {"name": "linear", "bound": 3, "penalty": "0"}}, "the target has classes"),
        ({"target": {"column": "benign", "center": "0", "scale": "1"}}, "takes a linear model"),
        ({"strategy": {"name": "fedavg", "weighting": "both", "rate": "1"}}, "weighting"),
        ({"strategy": {"name": "fedsgd", "weighting": "uniform", "rate": "1"}}, "must be one of fedavg"),
        ({"strategy": {"name": "scaffold", "weighting": "uniform", "rate": "1"}, "schedule__momentum": "0.9"}, "momentum"),
        ({"schedule__rate": "0"}, "above 0"),
        ({"schedule__momentum": "1"}, "below 1"),
        ({"schedule__rounds": 100_000}, "rounds"),
        ({"schedule__stop": {"metric": "auc", "patience": 2, "improvement": "0"}, "held_out": 0}, "hold some out"),
        ({"model": {"name": "perceptron", "hidden": [4096, 4096, 4096], "penalty": "0"}}, "more than"),
        ({"features": [{"column": "benign", "center": "0", "scale": "1"}]}, "twice, or the target"),
    ],
)
def test_what_a_task_may_not_say(changes, rule) -> None:
    with pytest.raises(InvalidTask, match=rule):
        Training().check(spec_of(asked(**changes)))


def test_a_task_says_also_what_it_does_not_measure() -> None:
    said = asked()
    del said["contribution"]
    with pytest.raises(InvalidTask, match="contribution"):
        Training().check(spec_of(said))


def test_the_how_to_says_parameters_of_a_task() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/train-a-model.md").read_text()
    (said,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert Parameters.parse(json.loads(said)).columns == ["mean radius", "mean texture", "diagnosis"]


def test_two_owners_and_strange_columns_are_refused() -> None:
    with pytest.raises(InvalidTask, match="3 or more owners"):
        Training().check(spec_of(asked(), owners=(0, 1)))
    spec = spec_of(asked())
    with pytest.raises(InvalidTask, match="columns are not those"):
        Training().check(replace(spec, inputs=(replace(spec.inputs[0], columns=("benign",)), *spec.inputs[1:])))
    with pytest.raises(InvalidTask, match="compute"):
        Training().check(replace(spec, compute=(ACCOUNTS[3],)))


def test_rows_that_a_task_does_not_allow_end_it(run_workload) -> None:
    few = run_workload(Training(), spec_of(asked(minimum_group=180)), TABLES)
    assert isinstance(few.outcomes[0], OutputRefused)
    many = run_workload(Training(), spec_of(asked(schedule__rows=100)), TABLES)
    assert isinstance(many.outcomes[0], InvalidData) and "at most 100" in str(many.outcomes[0])


def test_the_predicted_bytes_are_those_of_the_run(run_workload) -> None:
    spec = spec_of(asked(model={"name": "perceptron", "hidden": [64], "penalty": "0"}, schedule__rounds=5))
    ran = run_workload(Training(), spec, TABLES)
    predicted = Training().cost(spec, {ACCOUNTS[number]: TABLES[number].num_rows for number in TABLES})
    assert 0.8 * ran.most_sent() <= predicted.bytes_sent <= 1.3 * ran.most_sent()


def test_a_second_attempt_goes_on_from_the_last_round_that_all_kept(run_workload, tmp_path) -> None:
    """Account 1 is lost after four rounds. What its peers kept stays; the second attempt ends with the model of an unbroken run."""
    spec = spec_of(asked())
    whole = run_workload(Training(), spec, TABLES).outcomes[0]
    for folder in ("0", "1", "2"):
        shutil.rmtree(tmp_path / folder)

    class Lost(Training):
        def run(self, spec, party, table, session, scratch):
            def stop(phase, fraction):
                if party == ACCOUNTS[1] and phase.startswith("round 4"):
                    raise RuntimeError("killed")

            return super().run(spec, party, table, replace(session, progress=stop), scratch)

    ends = run_workload(Lost(), spec, TABLES).outcomes
    assert isinstance(ends[1], RuntimeError) and all(isinstance(ends[number], ChannelError) for number in (0, 2))
    steps: list[str] = []

    class Watched(Training):
        def run(self, spec, party, table, session, scratch):
            return super().run(spec, party, table, replace(session, progress=lambda phase, _: steps.append(phase)), scratch)

    again = run_workload(Watched(), spec, TABLES).outcomes[0]
    assert again.result == whole.result
    assert sum(bool(re.fullmatch(r"round 5 of 8: loss 0\.\d+, accuracy 0\.\d+, auc 0\.\d+", step)) for step in steps) == 3
    assert steps.count("going on after round 4 of 8") == 3 and not any(step.startswith("round 4 of 8") for step in steps)


def test_only_points_that_all_keep_are_gone_on_from(tmp_path) -> None:
    kept = [Checkpoints(tmp_path / str(party)) for party in range(3)]
    for party, marks in enumerate(([(1, 5), (2, 10), (3, 15)], [(1, 5), (2, 10)], [(2, 10), (2, 15)])):
        for mark in marks:
            kept[party].keep(Mark(*mark), bytes(mark))
    assert kept[0].marks == [Mark(2, 10), Mark(3, 15)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda pair: pair[0].agree(pair[1]), zip(kept, local_sessions(3), strict=True))) == [Mark(2, 10)] * 3
    assert kept[1].read(Mark(2, 10)) == bytes((2, 10))
    one, other = local_sessions(2)
    other.channels[0].send(b"x" * 11)
    with pytest.raises(ProtocolViolation, match="points of a training"):
        kept[0].agree(one)


def test_points_that_the_journal_no_longer_has_are_forgotten(tmp_path) -> None:
    """Else a later attempt goes on from a round whose sums were thrown away: what stands for them in the proof would be zeros."""
    kept = Checkpoints(tmp_path)
    for mark in ((7, 70), (8, 80)):
        kept.keep(Mark(*mark), b"")
    kept.rewind(70)
    assert kept.marks == [Mark(7, 70)]
    kept.rewind(0)
    kept.keep(Mark(1, 10), b"anew")  # no point of the attempt before outlives it, or pushes this one out
    assert kept.marks == [Mark(1, 10)]


def test_a_peer_that_denies_its_checkpoints_cannot_have_earlier_sums_left_out_of_the_proof(run_workload, tmp_path) -> None:
    """Account 1 stops after round 4, claims in the second attempt to keep nothing and stops in round 2, and remembers in the
    third."""
    spec = spec_of(asked())

    class Ends(Training):
        def __init__(self, after: int) -> None:
            self.after = f"round {after} "

        def run(self, spec, party, table, session, scratch):
            def stop(phase, fraction):
                if party == ACCOUNTS[1] and phase.startswith(self.after):
                    raise RuntimeError("killed")

            return super().run(spec, party, table, replace(session, progress=stop), scratch)

    run_workload(Ends(4), spec, TABLES)
    hidden, shown = tmp_path / "hidden", tmp_path / "1" / "checkpoints"
    shutil.copytree(shown, hidden)
    shutil.rmtree(shown)
    run_workload(Ends(2), spec, TABLES)
    for path in hidden.iterdir():
        shutil.copy(path, shown)
    outcome = run_workload(Training(), spec, TABLES).outcomes[0]
    sums = np.fromfile(outcome.files[AGGREGATE], np.uint64).reshape(-1)
    length = Parameters.parse(spec.parameters).federation.packing.length
    assert all(round_.any() for round_ in np.split(sums[: 8 * length], 8))


def test_an_attempt_after_one_that_gave_its_sums_away_trains_nothing_anew(run_workload, tmp_path) -> None:
    """The parties computed, but did not agree on a statement: the receiver has its files, and all journals are whole."""
    spec = spec_of(asked())
    first = run_workload(Training(), spec, TABLES).outcomes[0]
    steps: list[str] = []

    class Watched(Training):
        def run(self, spec, party, table, session, scratch):
            return super().run(spec, party, table, replace(session, progress=lambda phase, _: steps.append(phase)), scratch)

    (tmp_path / "kept").mkdir()
    first.files[AGGREGATE].replace(tmp_path / "kept" / AGGREGATE)  # as a node does with results
    again = run_workload(Watched(), spec, TABLES).outcomes
    assert not any(isinstance(each, Exception) for each in again.values()), again
    assert again[0].result == first.result
    assert steps.count("going on after round 8 of 8") == 3 and not any(step.startswith("round ") for step in steps)
    assert np.fromfile(again[0].files[AGGREGATE], np.uint64).all()


def test_the_result_says_who_coordinated_in_an_order_that_the_block_of_the_start_gives(run_workload) -> None:
    class Started(Training):
        def run(self, spec, party, table, session, scratch):
            return super().run(spec, party, table, replace(session, beacon=b"\7" * 32, context=bytes(32)), scratch)

    spec = spec_of(asked(schedule__rounds=3))
    outcomes = run_workload(Started(), spec, TABLES).outcomes
    said = outcomes[0].result["coordinators"]
    due = coordinators(replace(local_sessions(3)[0], beacon=b"\7" * 32, context=bytes(32)), [0, 1, 2], 0)
    assert said == {"block": "0x" + "07" * 32, "order": [spec.parties[each] for each in due]} and due != [0, 1, 2]
    assert f"drawn by block 0x{'07' * 32}: {', '.join(said['order'])}" in outcomes[0].files[CARD].read_text()


def test_a_few_held_out_rows_are_not_measured(run_workload) -> None:
    """Measures of one row would show its class and its score."""
    few = run_workload(Training(), spec_of(asked(held_out=1)), TABLES)
    assert isinstance(few.outcomes[0], OutputRefused) and "hold" in str(few.outcomes[0])
