"""Contributions to a training of a task: public rows of the parameters, claims that settle, shares in basis points."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.fl.aggregation.secure import SecureSum
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.learner import Rows
from tallystick_node.engines.fl.network import Network
from tallystick_node.engines.fl.privacy import Privacy
from tallystick_node.engines.fl.schedule import Stopping
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.workloads.training.contribution import Measure
from tallystick_node.workloads.training.parameters import Parameters
from tallystick_node.workloads.training.workload import Training
from unit.workloads.test_training import CENTERS, DATA, NAMES, SCALES, TABLES, asked, spec_of

FEW = NAMES[:8]
OWNERS, PARTIES = (0, 1, 3), 4  # party 2 only receives
HELD = slice(480, None)  # public rows


def parameters():
    said = asked(schedule__rounds=2)
    return Parameters.parse({**said, "features": said["features"][:8]})


def public(**changes):
    rows = [[f"{cell:.6f}" for cell in DATA.data[row, :8]] + [str(DATA.target[row])] for row in range(len(DATA.data))[HELD]]
    return {"floor": "0.5", "rows": rows, **changes}


def read(value):
    said = parameters()
    return Measure.read(value, "parameters.contribution", said.features, said.target)


def people():
    """The second owner's labels are wrong in half of its rows."""
    features = (DATA.data[:480, :8] - CENTERS[:8]) / SCALES[:8]
    targets = DATA.target[:480].astype(float)
    found = [Rows(features[part::3], targets[part::3]) for part in range(3)]
    wrong = found[1].targets.copy()
    wrong[::2] = 1 - wrong[::2]
    found[1] = Rows(found[1].features, wrong)
    return [Client(number, rows) for number, rows in enumerate(found)]


def test_shares_are_the_same_at_all_parties_and_least_for_wrong_labels() -> None:
    said, clients = parameters(), people()
    measure = read(public())
    measure.require(said.federation)

    def party(session):
        client = clients[OWNERS.index(session.index)] if session.index in OWNERS else None
        federation, followed = measure.follow(said.federation, Network(session, OWNERS, client, SecureSum(dropped=0)))
        trained = federation.run(followed)
        return trained.digest, measure.words(followed, OWNERS, PARTIES)

    with ThreadPoolExecutor(PARTIES) as pool:
        found = list(pool.map(party, local_sessions(PARTIES)))
    assert all(each == found[0] for each in found)
    said_of = found[0][1]
    assert sum(said_of["shares"]) == 10_000 and said_of["shares"][2] == 0 and said_of["unsettled"] == ""
    assert said_of["shares"][1] == min(said_of["shares"][owner] for owner in OWNERS) < 3000
    assert float(said_of["values"][0]) > float(said_of["values"][1])


def test_claims_that_do_not_settle_leave_no_shares() -> None:
    said = parameters()
    measure = read(public())
    federation, followed = measure.follow(said.federation, Simulation(people()))
    federation.run(followed)
    followed._own[1] -= 0.25  # a claim that is too little
    words = measure.words(followed, OWNERS, PARTIES)
    assert words["shares"] is None and words["values"] is None and "the claims miss" in words["unsettled"]
    with pytest.raises(ValueError, match="stop early"):
        measure.require(replace(said.federation, schedule=replace(said.federation.schedule, stopping=Stopping(rows="clients"))))
    once = replace(said.federation.schedule, instructions=replace(said.federation.schedule.instructions, epochs=1))
    private = replace(said.federation, schedule=once, privacy=Privacy(2.0, 1e-5, 1.0))
    with pytest.raises(ValueError, match="differential privacy"):
        measure.require(private)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"floor": "-1"}, "floor"),
        ({"floor": 1}, "floor"),
        ({"rows": public()["rows"][:9]}, "rows"),
        ({"rows": [["1"] * 8] * 10}, "and the target"),
        ({"rows": [["1"] * 8 + ["2"]] * 10}, "none of the task's values"),
        ({"rows": [["x"] * 8 + ["1"]] * 10}, "decimal text"),
        ({"more": 1}, "may not have"),
    ],
)
def test_what_a_measure_may_not_say(changes, rule) -> None:
    with pytest.raises(MalformedDocument, match=rule):
        read(public(**changes))


def test_rows_are_read_as_the_data_are() -> None:
    columns, targets = load_breast_cancer(return_X_y=True)
    measure = read(public())
    np.testing.assert_allclose(measure.rows.features, (columns[HELD, :8] - CENTERS[:8]) / SCALES[:8], atol=1e-5)
    assert (measure.rows.targets == targets[HELD]).all() and measure.floor == 0.5


def test_a_training_records_contributions_with_its_result(run_workload) -> None:
    """All receivers hold the same shares; account 3 has no rows and gets none of them."""
    rows = [[f"{cell:.6f}" for cell in DATA.data[row]] + [str(DATA.target[row])] for row in range(480, 569)]
    spec = spec_of({**asked(schedule__rounds=2), "contribution": {"floor": "1", "rows": rows}}, receivers=(0, 3))
    ran = run_workload(Training(), spec, TABLES)
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    said = [ran.outcomes[number].result["contribution"] for number in (0, 3)]
    assert said[0] == said[1] and sum(said[0]["shares"]) == 10_000 and said[0]["shares"][3] == 0
    assert min(said[0]["shares"][:3]) > 2000 and said[0]["unsettled"] == ""
    predicted, without = (Training().cost(each, {}) for each in (spec, spec_of(asked(schedule__rounds=2), receivers=(0, 3))))
    assert predicted.rounds > without.rounds and predicted.seconds > without.seconds
    predicted = Training().cost(spec, {each.party: 190 for each in spec.inputs})
    assert 0.8 * ran.most_sent() <= predicted.bytes_sent <= 1.3 * ran.most_sent()
    assert "contributed, one number" in Training().security(spec).learns["owner"]
    with pytest.raises(InvalidTask, match="stop early"):
        stop = {"metric": "loss", "patience": 1, "improvement": "0"}
        Training().check(spec_of({**asked(schedule__stop=stop), "contribution": {"floor": "1", "rows": rows}}))
