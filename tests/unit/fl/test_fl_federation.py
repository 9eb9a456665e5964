"""The loop of rounds: the same bits in a simulation and over a network, from a checkpoint or not; early stopping; who is let in."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.fl.aggregation.plain import PlainSum
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Instructions
from tallystick_node.engines.fl.learners.linear import LogisticRegression
from tallystick_node.engines.fl.learners.perceptron import Perceptron
from tallystick_node.engines.fl.network import Network
from tallystick_node.engines.fl.parameters import Parameters, load_arrays, save_arrays
from tallystick_node.engines.fl.partition import dirichlet, iid
from tallystick_node.engines.fl.schedule import Schedule, Stopping
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.engines.fl.strategies import FedAdam, FedAvg, FedProx, FedYogi, Scaffold
from tallystick_node.engines.fl.update import Clip
from unit.engines.conftest import leave
from unit.fl.fl_world import across, clients, digits, small

SCHEDULE = Schedule(4, 64, Instructions(epochs=2, batch=8, rate=0.1, momentum=0.0), seed=7)
LEARNER = LogisticRegression(4, 3)


def people(parties=3, seed=0) -> list[Client]:
    rows = small(60)
    return clients(rows, dirichlet(rows.targets, parties, 1.0, seed, 8))


def test_a_hundred_clients_and_twenty_rounds_repeat_to_the_bit() -> None:
    rows = digits()

    def end(seed):
        schedule = Schedule(20, 64, Instructions(epochs=1, batch=8, rate=0.5), cohort=40, seed=seed)
        held = clients(rows, dirichlet(rows.targets, 100, 1.0, 3), held_out=0.2)
        return Federation(LogisticRegression(64, 10), FedAvg(), schedule).run(Simulation(held))

    one, again, other = end(1), end(1), end(2)
    assert one.digest == again.digest != other.digest
    assert one.history == again.history and len(one.history) == 20
    assert one.validation["accuracy"] > 0.85
    assert all(len(record.members) == 40 for record in one.history)
    assert len({record.members for record in one.history}) == 20


@pytest.mark.parametrize("cohort", [None, 2])
@pytest.mark.parametrize("strategy", [FedAvg(), FedAvg("uniform"), FedProx(), FedAdam(), FedYogi(), Scaffold()])
def test_a_network_gives_the_bits_of_a_simulation(strategy, cohort) -> None:
    schedule = replace(SCHEDULE, cohort=cohort, stopping=Stopping("loss", 3))
    federation = Federation(Perceptron(4, 3, (5,)), strategy, schedule)
    simulated = federation.run(Simulation(people()))
    for outcome in across(federation, people()):
        assert outcome.digest == simulated.digest and outcome.history == simulated.history
        assert outcome.validation == simulated.validation and outcome.silent == ()


@pytest.mark.parametrize("strategy", [FedAdam(), Scaffold()])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(strategy) -> None:
    federation = Federation(LEARNER, strategy, replace(SCHEDULE, rounds=6, cohort=2, stopping=Stopping("accuracy", 6)))
    kept: dict[int, bytes] = {}
    whole = federation.run(Simulation(people()), keep=kept.__setitem__)
    assert sorted(kept) == [1, 2, 3, 4, 5, 6]
    for after in (1, 3, 6):
        went_on = federation.run(Simulation(people()), resume=kept[after])
        assert went_on.digest == whole.digest and went_on.history == whole.history and went_on.validation == whole.validation


def test_a_network_goes_on_from_each_party_s_own_checkpoint() -> None:
    federation = Federation(LEARNER, Scaffold(), SCHEDULE)
    whole = federation.run(Simulation(people()))
    kept: dict[tuple[int, int], bytes] = {}

    def party(session, client, resume=None):
        return federation.run(
            Network(session, range(session.parties), client, PlainSum()),
            resume,
            lambda round_, content: kept.__setitem__((client.number, round_), content),
        )

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(party, local_sessions(3), people()))
        ends = list(pool.map(party, local_sessions(3), people(), [kept[number, 2] for number in range(3)]))
        assert {end.digest for end in ends} == {whole.digest}

        def apart(session, client, after):
            try:
                return party(session, client, kept[client.number, after])
            except ChannelError as error:
                return error

        found = list(pool.map(apart, local_sessions(3), people(), [2, 2, 3]))
    assert all(isinstance(error, ProtocolViolation) and error.step == "settings" for error in found)
    assert found[0].peer == found[1].peer == 2


def test_a_checkpoint_of_something_else_is_refused() -> None:
    federation = Federation(LEARNER, Scaffold(), SCHEDULE)
    kept: dict[int, bytes] = {}
    federation.run(Simulation(people()), keep=kept.__setitem__)
    arrays, header = load_arrays(kept[2])

    def without(name):
        return save_arrays({key: array for key, array in arrays.items() if key != name}, header)

    def headed(**change):
        return save_arrays(arrays, {**header, **change})

    for content, rule in [
        (b"", "no safetensors file"),
        (without("control"), "lacks control"),
        (save_arrays({**arrays, "model": np.full(15, np.nan)}, header), "lacks model"),
        (save_arrays({**arrays, "client 1": np.zeros(3)}, header), "lacks client 1"),
        (headed(binding="00"), "other settings"),
        (headed(round="x"), "invalid literal|lacks"),
        (headed(round=-1), "is not that of its history"),
        (headed(round=3), "is not that of its history"),
        (headed(history=[1]), "lacks what"),
        (headed(best=[1, 2.0]), "lacks best"),
        (save_arrays(arrays, {}), "lacks what"),
        (Parameters({"model": np.zeros(15)}).save(), "lacks what"),
    ]:
        with pytest.raises(ValueError, match=rule):
            federation.run(Simulation(people()), resume=content)
    for other in (replace(SCHEDULE, rounds=5), replace(SCHEDULE, seed=8)):
        with pytest.raises(ValueError, match="other settings"):
            Federation(LEARNER, Scaffold(), other).run(Simulation(people()), resume=kept[2])
    with pytest.raises(ValueError, match="other settings"):
        federation.run(Simulation(people(2)), resume=kept[2])


def test_parties_with_other_settings_are_named_before_anyone_trains() -> None:
    common = Federation(LEARNER, FedAvg(), SCHEDULE)
    for other in (
        Federation(LogisticRegression(4, 3, penalty=0.1), FedAvg(), SCHEDULE),
        Federation(LEARNER, FedAvg("uniform"), SCHEDULE),
        Federation(LEARNER, FedAvg(), replace(SCHEDULE, clip=Clip(1.0, 1.0))),
        Federation(LEARNER, FedAvg(), SCHEDULE, public=small(5)),
        Federation(LEARNER, FedAvg(), SCHEDULE, first=Parameters({"weight": np.ones((4, 3)), "bias": np.zeros(3)})),
    ):
        sessions = local_sessions(2)
        with ThreadPoolExecutor(2) as pool:
            running = [
                pool.submit(mine.run, Network(session, range(session.parties), client, PlainSum()))
                for mine, session, client in zip((common, other), sessions, people(2), strict=True)
            ]
        for number, run in enumerate(running):
            with pytest.raises(ProtocolViolation, match=f"party {1 - number}: settings: does not hold"):
                run.result()


def test_a_party_without_rows_follows_and_gets_the_model() -> None:
    federation = Federation(LEARNER, Scaffold(), replace(SCHEDULE, cohort=1))
    simulated = federation.run(Simulation(people(2)))
    held = [None, *people(2)]
    with ThreadPoolExecutor(3) as pool:
        carriers = [Network(session, (1, 2), client, PlainSum()) for session, client in zip(local_sessions(3), held, strict=True)]
        ends = list(pool.map(federation.run, carriers))
    assert {end.digest for end in ends} == {simulated.digest}
    for owners, client, rule in [
        ((0, 1), None, "party 0 is client 0, not client None"),
        ((1, 2), Client(0, small(5)), "party 0 is client None, not client 0"),
        ((1, 0), Client(1, small(5)), "owners are parties of the session, ascending"),
        ((0, 3), Client(0, small(5)), "owners are parties of the session, ascending"),
    ]:
        with pytest.raises(ValueError, match=rule):
            Network(local_sessions(3)[0], owners, client, PlainSum())


def test_a_coordinator_that_tells_two_models_is_found_out() -> None:
    class Telling(PlainSum):
        """Party 0 tells party 2 another sum in its last round as coordinator."""

        def total(self, session, vector, members, round):  # noqa: A002
            sent = vector.copy()
            if session.index == 0 and round == 3:
                sent = sent.copy()
                channel = session.channels[2]
                original = channel.send
                channel.send = lambda message: original(bytes(8) + bytes(message)[8:])
                try:
                    return super().total(session, sent, members, round)
                finally:
                    channel.send = original
            return super().total(session, sent, members, round)

    found = across(Federation(LEARNER, FedAvg(), SCHEDULE), people(), Telling)
    assert all(isinstance(error, ProtocolViolation) and error.step == "model" for error in found)


def test_a_party_that_vanishes_at_the_end_is_told_of() -> None:
    class Vanishing(Network):
        def agree(self, digest, step):
            return super().agree(digest, step) if step == "settings" or self.local[0].number != 1 else ()

    federation = Federation(LEARNER, FedAvg(), SCHEDULE)

    def party(session, client):
        try:
            return federation.run(Vanishing(session, range(3), client, PlainSum()))
        finally:
            leave(session)

    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(party, local_sessions(3), people()))
    assert [end.silent for end in ends] == [(1,), (), (1,)]
    assert len({end.digest for end in ends}) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, 5.0])
def test_a_hostile_sum_stops_every_party_it_reaches(bad) -> None:
    class Hostile(PlainSum):
        """Stands for an aggregation that lets anything through."""

        def total(self, session, vector, members, round):  # noqa: A002
            out = super().total(session, vector, members, round)
            out[3] = bad
            return out

    for error in across(Federation(LEARNER, FedAvg(), SCHEDULE), people(), Hostile):
        assert isinstance(error, ValueError) and "cannot add up to" in str(error)


def test_training_stops_early_and_keeps_the_best_model() -> None:
    rows = small(40, seed=2)
    held = clients(rows, iid(40, 2, 0), held_out=0.5)
    for where in ("clients", "public"):
        schedule = Schedule(200, 64, Instructions(epochs=5, batch=None, rate=2.0), stopping=Stopping("loss", 4, rows=where))
        federation = Federation(LEARNER, FedAvg(), schedule, public=small(40, seed=2))
        end = federation.run(Simulation(held))
        records = [record.validation if where == "clients" else record.public for record in end.history]
        losses = [record["loss"] for record in records]
        assert len(losses) == end.rounds + 5 < 200  # the best, and four that were not better
        assert losses[end.rounds] == min(losses) and end.history[end.rounds].model == end.digest
        assert (end.validation if where == "clients" else end.public)["loss"] == pytest.approx(losses[end.rounds])


def test_the_last_model_is_kept_when_it_is_the_best_and_no_longer_when_not() -> None:
    schedule = Schedule(6, 64, Instructions(batch=None, rate=0.05), stopping=Stopping("loss", 50))
    end = Federation(LEARNER, FedAvg(), schedule).run(Simulation(people()))
    assert end.rounds == 6 and end.validation["loss"] < end.history[-1].validation["loss"]
    jumping = replace(schedule, instructions=Instructions(batch=None, rate=200.0), clip=Clip(1e6, 2.0**20))
    end = Federation(LEARNER, FedAvg(), jumping).run(Simulation(people()))
    losses = [record.validation["loss"] for record in end.history]
    assert end.rounds == int(np.argmin(losses)) < 6 and end.validation["loss"] == pytest.approx(min(losses))


@pytest.mark.parametrize("cohort", [None, 2])
def test_no_model_is_evaluated_twice_by_all(cohort: int | None) -> None:
    """Who dropped out between the two would be told apart by the difference."""

    class Counting(Simulation):
        def total(self, say, length, members, round):  # noqa: A002
            asked.append(round)
            return super().total(say, length, members, round)

    asked: list[int] = []
    schedule = Schedule(200, 64, Instructions(epochs=5, batch=None, rate=2.0), cohort=cohort, stopping=Stopping("loss", 4))
    end = Federation(LEARNER, FedAvg(), schedule).run(Counting(people()))
    assert end.rounds < len(end.history) - 1 < 199
    assert asked == [*range(len(end.history)), *([] if cohort is None else [201])]
    if cohort is None:
        assert end.validation == end.history[end.rounds].validation


def test_both_sides_evaluate() -> None:
    held = people()
    public = small(30, seed=9)
    federation = Federation(LEARNER, FedAvg(), SCHEDULE, public=public)
    end = federation.run(Simulation(held))
    first = LEARNER.initial(0)
    pooled = np.sum([client.evaluate(LEARNER, first) for client in held], axis=0)
    assert end.history[0].validation == pytest.approx(LEARNER.summary(pooled))
    assert end.history[0].public == LEARNER.summary(LEARNER.evaluate(first, public))
    assert end.public == LEARNER.summary(LEARNER.evaluate(end.parameters, public))
    for client in held:
        assert [own.round for own in client.own] == [0, 1, 2, 3]
        assert client.own[0].before == LEARNER.summary(client.evaluate(LEARNER, first))
        assert client.own[0].after["loss"] != client.own[0].before["loss"]
    json.dumps([asdict(record) for record in end.history], allow_nan=False)


def test_without_held_out_rows_nothing_is_said_of_quality() -> None:
    held = [Client(0, small(20)), Client(1, small(20).pick(np.arange(0)))]
    end = Federation(LEARNER, FedAvg(), replace(SCHEDULE, stopping=Stopping())).run(Simulation(held))
    assert end.validation == {} and end.history[0].validation == {} and end.rounds == 4
    assert end.history[0].loss == pytest.approx(np.log(3), rel=0.2) and end.history[0].contributors == 2


def test_randomness_is_fresh_for_every_client_and_round() -> None:
    drawn = []

    class Watched(LogisticRegression):
        def train(self, parameters, rows, instructions, generator):
            drawn.append(int(generator.integers(1 << 60)))
            return super().train(parameters, rows, instructions, generator)

    for seed in (1, 2, 1):
        Federation(Watched(4, 3), FedAvg(), replace(SCHEDULE, seed=seed)).run(Simulation(people()))
    assert len(set(drawn[:24])) == 24 and drawn[:12] == drawn[24:]


def test_cohorts_are_fair_and_the_same_everywhere() -> None:
    schedule = replace(SCHEDULE, cohort=3)
    drawn = [schedule.members(round_, 10) for round_ in range(2000)]
    assert drawn == [schedule.members(round_, 10) for round_ in range(2000)]
    assert all(list(members) == sorted(set(members)) and len(members) == 3 for members in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=10)
    assert (np.abs(counts - 600) < 5 * 21).all()  # five standard deviations of a binomial
    assert schedule.members(0, 3) == schedule.members(0, 3) == (0, 1, 2)
    assert schedule.members(0, 10) == (DRAWN := schedule.members(0, 10)) and replace(schedule, seed=8).members(0, 10) != DRAWN


def test_protection_applies_to_whatever_leaves_a_client() -> None:
    seen = []

    def silence(packed, packing, round_):
        seen.append((round_, packing.size, len(packed) == packing.length))
        return np.where(np.arange(len(packed)) < packing.size, 7.0, packed)

    held = people()
    for client in held:
        client.protect = silence
    end = Federation(LEARNER, FedAvg(), replace(SCHEDULE, rounds=2, clip=Clip(1.0, 1.0))).run(Simulation(held))
    assert sorted(set(seen)) == [(0, 15, True), (1, 15, True), (3, 0, True)] and len(seen) == 9
    expected = 2 * 3 * 64 / sum(len(client.training) for client in held)  # cut to 1, then by the weight 64 / rows, in two rounds
    np.testing.assert_allclose(end.parameters["weight"], expected)


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (small(10, features=3), r"client 0: the examples have features of shape \(3,\) where \(4,\) is due"),
        (small(10, classes=9), "client 0: a target is not one of the classes 0 to 2"),
        (small(65), "client 0 has 65 rows where the parties agreed on at most 64"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, rule) -> None:
    for client in (Client(0, rows), Client(0, small(5), rows)):
        with pytest.raises(ValueError, match=rule):
            Federation(LEARNER, FedAvg(), SCHEDULE).run(Simulation([client]))


def test_divergence_names_the_client() -> None:
    rows = small(20)
    large = Client(1, type(rows)(rows.features * 1e200, rows.targets))
    with pytest.raises(ValueError, match="client 1: training diverged"):
        Federation(LEARNER, FedAvg(), SCHEDULE).run(Simulation([Client(0, rows), large]))


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: replace(SCHEDULE, rounds=0), "rounds"),
        (lambda: replace(SCHEDULE, cohort=0), "at least one client"),
        (lambda: replace(SCHEDULE, instructions=Instructions(proximal=1.0)), "for the strategy to give"),
        (lambda: Instructions(rate=0.0), "rate"),
        (lambda: Instructions(epochs=0), "epoch"),
        (lambda: Instructions(batch=0), "row a step"),
        (lambda: Stopping(patience=0), "patience"),
        (lambda: Simulation([]), "numbered"),
        (lambda: Simulation([Client(1, small(5))]), "numbered"),
        (lambda: Network(local_sessions(2)[0], range(2), Client(1, small(5)), PlainSum()), "party 0 is client 0, not client 1"),
        (lambda: Federation(LEARNER, FedAvg(), replace(SCHEDULE, stopping=Stopping(rows="public"))), "public rows"),
        (lambda: Federation(LEARNER, FedAvg(), SCHEDULE, first=Parameters({"w": np.zeros(1)})), "layout"),
        (lambda: Federation(LEARNER, FedAvg(), SCHEDULE, public=small(5, features=2)), "features of shape"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, rule) -> None:
    with pytest.raises(ValueError, match=rule):
        make()
