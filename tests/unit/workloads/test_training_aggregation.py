"""The ways in which a training adds up: each trains a model, says what it shows, costs what it foretold, and proves what it can."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from tallystick.protocol.errors import InvalidTask
from tallystick.protocol.task import PROJECTION_VERIFIED, SIGNED_BY_ALL
from tallystick_node.engines.channel import ChannelError
from tallystick_node.engines.fl.network import Network
from tallystick_node.engines.fl.parameters import Parameters as Model
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.workloads.model_card import CARD, SUMS
from tallystick_node.workloads.training.aggregation import METHODS
from tallystick_node.workloads.training.parameters import Parameters
from tallystick_node.workloads.training.workload import AGGREGATE, MODEL, Training, client_of
from unit.workloads.conftest import ACCOUNTS
from unit.workloads.test_training import CENTERS, DATA, NAMES, SCALES, asked, spec_of, table

OWNERS, FEW = (0, 1, 2, 3, 4), 6  # account 5 only receives
TABLES = {number: table(slice(number, None, 5)) for number in OWNERS}
UNIFORM = {"name": "fedavg", "weighting": "uniform", "rate": "1"}
CHOICES = {
    "secure": {"method": "secure"},
    "ring": {"method": "ring"},
    "gossip": {"method": "gossip", "error": "0.000001"},
    "median": {"method": "median"},
    "trimmed-mean": {"method": "trimmed-mean", "arbitrary": 1},
    "krum": {"method": "krum", "arbitrary": 1},
    "multi-krum": {"method": "multi-krum", "arbitrary": 1},
    "paillier": {"method": "paillier", "holder": ACCOUNTS[5], "adder": ACCOUNTS[1], "key_bits": 2048},
    "ckks": {"method": "ckks", "holder": ACCOUNTS[0], "adder": ACCOUNTS[1]},
}
ROBUST = ("median", "trimmed-mean", "krum", "multi-krum")


def parameters(method, **changes):
    said = asked(
        **{
            "aggregation": CHOICES[method],
            "schedule__rounds": 3,
            "minimum_group": 5,
            "strategy": UNIFORM,
            "schedule__entry": 0,
            **changes,
        }
    )
    return {**said, "features": said["features"][:FEW]}


def task(method, owners=OWNERS, receivers=(0, 5), **changes):
    spec = spec_of(parameters(method, **changes), receivers, owners)
    inputs = tuple(replace(each, columns=(*NAMES[:FEW], "benign")) for each in spec.inputs)
    return replace(spec, inputs=inputs, proof=METHODS[method].proofs[0])


def accuracy(outcome, spec):
    model = Model.load(outcome.files[MODEL].read_bytes(), Parameters.parse(spec.parameters).federation.learner.layout)
    features = ((DATA.data - CENTERS) / SCALES)[:, :FEW]
    return ((features @ model["weight"] + model["bias"]).argmax(axis=1) == DATA.target).mean()


def forget(folder):
    """What the parties keep of a run: another goes on from it."""
    for number in range(6):
        shutil.rmtree(folder / str(number))


def simulated(spec):
    said = Parameters.parse(spec.parameters)
    people = [client_of(said, TABLES[number], number) for number in OWNERS]
    return said.federation.run(Simulation(people))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_a_model_and_says_how(run_workload, method) -> None:
    spec = task(method)
    ran = run_workload(Training(), spec, TABLES)
    outcomes = [ran.outcomes[number] for number in range(6)]
    assert not any(isinstance(each, Exception) for each in outcomes), outcomes
    first, last = outcomes[0], outcomes[5]
    assert first.result == last.result and first.result["aggregation"] == CHOICES[method]
    assert accuracy(first, spec) > 0.88 and float(first.result["validation"]["auc"]) > 0.9
    proved = method == "secure"
    assert (AGGREGATE in first.files) == proved == bool(first.contribution) == ("coordinators" in first.result)
    assert len({each.commitment for each in outcomes[:5]}) == 5 and last.commitment == ""
    for card in (first.files[CARD].read_text(), last.files[CARD].read_text()):
        assert card.count(f"- Aggregation: {method}") == 2 and SUMS[method][0] in card and SUMS[method][1] in card
    due = simulated(spec)
    if method in ("secure", "ring"):
        assert first.result["model"]["digest"] == due.digest
    elif method in ("gossip", "paillier", "ckks"):
        layout = Parameters.parse(spec.parameters).federation.learner.layout
        model = Model.load(first.files[MODEL].read_bytes(), layout)
        assert np.abs(layout.flatten(model) - layout.flatten(due.parameters)).max() < (0.01 if method == "ckks" else 1e-4)
    rows = {ACCOUNTS[number]: TABLES[number].num_rows for number in OWNERS}
    predicted = Training().cost(spec, rows)
    assert 0.8 * ran.most_sent() <= predicted.bytes_sent <= 1.3 * ran.most_sent()


def test_cards_and_methods_are_about_the_same() -> None:
    assert SUMS.keys() == METHODS.keys() == CHOICES.keys()


@pytest.mark.parametrize("method", ROBUST)
def test_one_owner_of_lies_cannot_spoil_a_robust_mean(run_workload, tmp_path, method) -> None:
    """Account 1's labels are turned round and its columns are ten times as large. By the ring it spoils the model."""
    liar = TABLES[1].set_column(len(NAMES), "benign", pa.array(1 - TABLES[1]["benign"].to_numpy()))
    for place in range(FEW):
        liar = liar.set_column(place, liar.schema.field(place), pa.array(liar.column(place).to_numpy() * 10))
    changes = {"schedule__rounds": 2, "held_out": 0, "schedule__norm": "1000", "schedule__entry": 8}
    found = {}
    for each in (method, "ring"):
        ran = run_workload(Training(), task(each, **changes), {**TABLES, 1: liar})
        found[each] = accuracy(ran.outcomes[0], task(each))
        forget(tmp_path)
    assert found[method] > 0.88 > found["ring"] + 0.1, found


@pytest.mark.parametrize("method", ["median", "trimmed-mean"])
def test_owners_cannot_scale_a_robust_mean_by_their_weights(run_workload, tmp_path, monkeypatch, method) -> None:
    """As many as the rule stands say that they weigh less than nothing: of five owners two would have the model go five times as
    far."""
    spec, total = task(method, schedule__rounds=2, held_out=0), Network.total
    honest = run_workload(Training(), spec, TABLES).outcomes[0].result["model"]["digest"]
    forget(tmp_path)
    stands = 2 if method == "median" else 1

    def lying(self, say, length, members, round_):
        def said(client):
            vector = say(client)
            vector[-1] *= -1 if client.number < stands else 1
            return vector

        return total(self, said, length, members, round_)

    monkeypatch.setattr(Network, "total", lying)
    assert run_workload(Training(), spec, TABLES).outcomes[0].result["model"]["digest"] == honest


def test_a_proof_kind_that_does_not_fit_is_refused() -> None:
    for method in METHODS:
        spec = task(method)
        Training().check(spec)
        other = SIGNED_BY_ALL if method == "secure" else PROJECTION_VERIFIED
        with pytest.raises(InvalidTask, match=f"the aggregation {method} gives evidence of the kind {spec.proof}, not {other}"):
            Training().check(replace(spec, proof=other))


@pytest.mark.parametrize(
    ("said", "changes", "rule"),
    [
        ("ring", {}, "aggregation.method: must be one of secure, ring"),
        ({"method": "plain"}, {}, "aggregation.method: must be one of"),
        ({"method": ["ring"]}, {}, "aggregation.method: must be one of"),
        ({"method": "ring", "error": "1"}, {}, "may not have"),
        ({"method": "gossip"}, {}, "misses 'error'"),
        ({"method": "gossip", "error": "0.1"}, {}, "error: must be from"),
        ({"method": "gossip", "error": 1}, {}, "error"),
        ({"method": "krum", "arbitrary": 0}, {}, "arbitrary: must be a number of owners"),
        ({"method": "krum", "arbitrary": True}, {}, "arbitrary: must be a number of owners"),
        ({"method": "krum", "arbitrary": 2}, {}, "needs 7 owners, not 5"),
        ({"method": "trimmed-mean", "arbitrary": 3}, {}, "needs 7 owners, not 5"),
        ({**CHOICES["ckks"], "adder": ACCOUNTS[0]}, {}, "two parties"),
        ({**CHOICES["ckks"], "adder": "Alder"}, {}, "EIP-55"),
        ({**CHOICES["ckks"], "adder": ACCOUNTS[6]}, {}, "aggregation.adder is no party"),
        ({**CHOICES["paillier"], "key_bits": 1024}, {}, "key_bits: must be one of 2048, 3072"),
        (CHOICES["ckks"], {"held_out": 0}, "hold some rows out"),
        (CHOICES["median"], {"strategy": {**UNIFORM, "weighting": "examples"}}, "take weighting uniform"),
        (CHOICES["median"], {"strategy": {**UNIFORM, "name": "scaffold"}}, "but scaffold"),
        (CHOICES["median"], {"schedule__stop": {"metric": "auc", "patience": 2, "improvement": "0"}}, "set stop to null"),
        *(
            (CHOICES[each], {"contribution": {"floor": "1", "rows": [["1"] * FEW + ["1"]] * 10}}, "before it hears of the others'")
            for each in ("gossip", "ring")
        ),
        (
            CHOICES["ring"],
            {"privacy": {"epsilon": "3", "delta": "0.00001", "norm": "1"}, "held_out": 0, "schedule__epochs": 1,
             "strategy": {**UNIFORM, "weighting": "examples"}},
            "private training takes the aggregation secure",
        ),
    ],
)  # fmt: skip
def test_what_an_aggregation_may_not_say(said, changes, rule) -> None:
    good = task("ring")
    parameters_ = parameters("ring", **changes)
    with pytest.raises(InvalidTask, match=rule):
        Training().check(replace(good, parameters={**parameters_, "aggregation": said}))


def test_a_statement_says_who_sees_what_and_who_is_believed() -> None:
    found = {method: Training().security(task(method)) for method in METHODS}
    assert {method: (each.adversary, each.corruptions) for method, each in found.items()} == {
        "secure": ("malicious-with-abort", 4),
        "ring": ("semi-honest", 4),
        "gossip": ("semi-honest", 0),
        **dict.fromkeys(ROBUST, ("malicious-with-abort", 0)),
        "paillier": ("semi-honest", 1),
        "ckks": ("semi-honest", 1),
    }
    for method, statement in found.items():
        words, shown = " ".join([*statement.learns, *statement.learns.values()]), not METHODS[method].hides
        assert ("never one of them" in words) != shown == ("can be guessed" in words), method
        assert ("projections" in words) == (method == "secure")
        assert ("trusted for the model" in words) == (method in ("ring", "gossip", "paillier", "ckks"))
    assert "the two must not collude" in " ".join(found["ckks"].learns.values())
    assert any(ACCOUNTS[0] in role and ACCOUNTS[1] in role for role in found["ckks"].learns)
    assert "the rule stands 2 of them" in found["median"].learns["owner that deviates"]
    assert "the rule stands 1 of them" in found["krum"].learns["owner that deviates"]


def test_who_adds_ciphertexts_is_trusted_and_what_ckks_promises_falls_with_the_numbers_it_tells() -> None:
    """The bits are what t numbers, each apart by 2^-(2 x 22 + 1) at most, leave: sqrt(t) 2^-23."""
    for method in ("paillier", "ckks"):
        said = Training().security(task(method)).learns["holder or adder that deviates"]
        assert "all parties learn it" in said and "the adder for the changes" in said
    bits = {}
    for rounds in (3, 300):
        spec = task("ckks", schedule__rounds=rounds)
        bits[rounds] = Training().security(spec).statistical_bits
        told = Parameters.parse(spec.parameters).federation.packing.length * (rounds + 2)
        assert math.sqrt(told) * 2.0**-23 <= 2.0 ** -bits[rounds]
        assert math.sqrt(told) * 2.0**-23 > 2.0 ** -(bits[rounds] + 2)
    assert bits[300] <= bits[3] - 2


def test_a_grant_for_trainings_allows_the_secure_sum_alone() -> None:
    assert {method: task(method).algorithms for method in ("secure", "median")} == {
        "secure": ("training",),
        "median": ("training:median",),
    }


class Ends(Training):
    """Account 1 dies when it has done so many rounds."""

    def __init__(self, after: int) -> None:
        self.after = f"round {after} "

    def run(self, spec, party, table, session, scratch):
        def stop(phase, fraction):
            if party == ACCOUNTS[1] and phase.startswith(self.after):
                raise RuntimeError("killed")

        return super().run(spec, party, table, replace(session, progress=stop), scratch)


class Watched(Training):
    """Keeps what the parties say of their progress."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def run(self, spec, party, table, session, scratch):
        return super().run(spec, party, table, replace(session, progress=lambda phase, _: self.steps.append(phase)), scratch)


def test_a_second_attempt_goes_on_from_the_last_round_that_all_kept(run_workload, tmp_path) -> None:
    """Also where no journal counts the rounds, and where one party lost its checkpoints and all begin anew: the model is that of an
    unbroken run, to the bit."""
    spec = task("ring", schedule__rounds=5)
    whole = run_workload(Training(), spec, TABLES).outcomes[0]
    forget(tmp_path)
    ends = run_workload(Ends(4), spec, TABLES).outcomes
    assert isinstance(ends[1], RuntimeError) and all(isinstance(ends[number], ChannelError) for number in (0, 2, 3, 4, 5))
    shutil.rmtree(tmp_path / "1" / "checkpoints")
    run_workload(Ends(2), spec, TABLES)
    watched = Watched()
    again = run_workload(watched, spec, TABLES).outcomes[0]
    assert watched.steps.count("going on after round 2 of 5") == 6
    assert not any(step.startswith("round 2") for step in watched.steps) and again.result == whole.result
