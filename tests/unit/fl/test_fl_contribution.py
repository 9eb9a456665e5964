"""Contributions: the axioms of the Shapley value, shares to pay by, and who gets least among real clients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick_node.engines.channel import local_sessions, send_array
from tallystick_node.engines.fl.aggregation import quantisation, ring
from tallystick_node.engines.fl.aggregation.plain import PlainSum
from tallystick_node.engines.fl.aggregation.ring import RingSum
from tallystick_node.engines.fl.aggregation.secure import SecureSum
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.contribution import attribution
from tallystick_node.engines.fl.contribution.attribution import Attribution, Unsettled, mean_gradient
from tallystick_node.engines.fl.contribution.games import WHOLE, leave_one_out, sampled_shapley, shapley, shares
from tallystick_node.engines.fl.contribution.simulated import accuracy, less_loss, reconstructed, retrained
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Instructions, Rows
from tallystick_node.engines.fl.learners.linear import LogisticRegression
from tallystick_node.engines.fl.learners.perceptron import Perceptron
from tallystick_node.engines.fl.network import Network
from tallystick_node.engines.fl.partition import iid
from tallystick_node.engines.fl.schedule import Schedule, Stopping
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.engines.fl.strategies import FedAdam, FedAvg, FedProx, Scaffold
from unit.fl.fl_world import breast_cancer, digits, small

# -- games


@st.composite
def games(draw, most=5):
    """Players, and the worth of each coalition of them, the empty one among them."""
    players = draw(st.lists(st.integers(0, 99), min_size=1, max_size=most, unique=True))
    worths = draw(st.lists(st.integers(-1000, 1000), min_size=1 << len(players), max_size=1 << len(players)))
    return players, lambda coalition: worths[sum(1 << players.index(player) for player in coalition)] / 8


def close(one, two) -> bool:
    return one.keys() == two.keys() and all(abs(one[player] - two[player]) < 1e-9 for player in one)


@given(games())
def test_the_shapley_value_is_the_mean_gain_over_all_orders(game) -> None:
    players, worth = game
    gains = {player: [] for player in players}
    for order in permutations(players):
        for place, player in enumerate(order):
            gains[player].append(worth(frozenset(order[: place + 1])) - worth(frozenset(order[:place])))
    assert close(shapley(players, worth), {player: float(np.mean(each)) for player, each in gains.items()})


@given(games())
def test_efficiency(game) -> None:
    players, worth = game
    assert abs(sum(shapley(players, worth).values()) - (worth(frozenset(players)) - worth(frozenset()))) < 1e-9
    estimated = sampled_shapley(players, worth, 3, 0)
    assert abs(sum(estimated.values.values()) - (worth(frozenset(players)) - worth(frozenset()))) < 1e-9


@given(games(), games(), st.integers(-5, 5))
def test_additivity(one, two, factor) -> None:
    (players, first), (others, second) = one, two
    count = min(len(players), len(others))
    players, renamed = players[:count], dict(zip(players[:count], others[:count], strict=True))

    def both(coalition):
        return first(coalition) + factor * second(frozenset(renamed[player] for player in coalition))

    separate, scaled = shapley(players, first), shapley(others[:count], second)
    assert close(shapley(players, both), {player: separate[player] + factor * scaled[renamed[player]] for player in players})


@given(games(4))
def test_symmetry_and_dummy(game) -> None:
    """One more player, either the equal of the first one (of both together no more than of one), or one that adds nothing."""
    players, worth = game
    more, first = 100, players[0]
    twin = shapley([*players, more], lambda each: worth(frozenset(first if player == more else player for player in each)))
    assert abs(twin[first] - twin[more]) < 1e-9
    idle = shapley([*players, more], lambda each: worth(each - {more}))
    assert idle[more] == 0
    assert close({player: idle[player] for player in players}, shapley(players, worth))


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=6))
def test_every_value_of_an_additive_game_is_what_the_player_adds(gains) -> None:
    players = range(len(gains))

    def worth(coalition) -> float:
        return 3 + sum(gains[player] for player in coalition)

    due = dict(enumerate(gains))
    assert close(shapley(players, worth), due)
    assert close(leave_one_out(players, worth), due)
    assert close(sampled_shapley(players, worth, 2, 1).values, due)


def test_sampled_orders_come_near_and_say_how_near() -> None:
    worths = np.random.default_rng(4).normal(size=256)

    def worth(coalition) -> float:
        return float(worths[sum(1 << player for player in coalition)])

    exact, found = shapley(range(8), worth), sampled_shapley(range(8), worth, 2000, 0)
    assert all(abs(found.values[player] - exact[player]) < 5 * found.errors[player] < 0.3 for player in range(8))
    assert found.evaluated <= 256


def test_truncation_saves_coalitions_at_a_bounded_bias() -> None:
    def worth(coalition) -> float:
        return 1 - 0.1 ** len(coalition)

    full, cut = sampled_shapley(range(10), worth, 10, 0), sampled_shapley(range(10), worth, 10, 0, 0.005)
    assert cut.evaluated < full.evaluated / 2
    assert all(abs(cut.values[player] - full.values[player]) <= 0.01 for player in range(10))


def test_games_that_cannot_be_valued() -> None:
    for players in ([], [1, 1]):
        with pytest.raises(ValueError, match="each once"):
            shapley(players, len)
    with pytest.raises(ValueError, match="17 players have too many coalitions"):
        shapley(range(17), len)
    for orders, tolerance in ((1, 0.0), (2, -1.0)):
        with pytest.raises(ValueError, match="two or more orders"):
            sampled_shapley([1], len, orders, 0, tolerance)


# -- shares


@given(st.dictionaries(st.integers(0, 50), st.floats(-1e6, 1e6), min_size=1, max_size=12))
def test_shares_are_whole_add_up_and_follow_the_values(values) -> None:
    if max(values.values()) <= 0:
        with pytest.raises(ValueError, match="nothing to pay by"):
            shares(values, 51)
        return
    found = shares(values, 51)
    whole = sum(max(value, 0) for value in values.values())
    assert len(found) == 51 and sum(found) == WHOLE == 10_000
    for party, share in enumerate(found):
        assert abs(share - max(values.get(party, 0), 0) / whole * WHOLE) < 1 + 1e-6
        assert type(share) is int
        assert share >= 0
        assert values.get(party, 0) > 0 or share == 0


def test_what_is_left_goes_to_the_largest_remainders() -> None:
    assert shares({0: 1, 1: 1, 2: 1}, 3) == [3334, 3333, 3333]
    assert shares({4: 2, 1: 1, 2: -4}, 6) == [0, 3333, 0, 0, 6667, 0]
    for bad in ({0: float("nan"), 1: 1.0}, {0: float("inf"), 1: 1.0}, {2: 1.0}):
        with pytest.raises(ValueError, match="not finite, or of none"):
            shares(bad, 2)


# -- clients

ANY = float("inf")  # the floor of claims that nobody is paid by
FREE, FLIPPED = 3, 4  # who sends nothing, and who has wrong labels


def nothing(packed, packing, round_) -> np.ndarray:
    """What a free rider sends: no change, but the counts of one that trained."""
    return np.concatenate([np.zeros(packing.size), packed[packing.size :]])


def five(rows: Rows, classes: int) -> list[Client]:
    """Three honest clients, a free rider and one whose labels are shifted by one class."""
    found = [Client(number, rows.pick(part)) for number, part in enumerate(iid(len(rows), 5, 1))]
    found[FREE].protect = nothing
    wrong = found[FLIPPED].training
    found[FLIPPED].training = Rows(wrong.features, (wrong.targets + 1) % classes)
    return found


def federation(source=breast_cancer, rounds=6, strategy=None, **schedule) -> tuple[Federation, list[Client]]:
    rows = source()
    classes = int(rows.targets.max()) + 1
    learner = LogisticRegression(rows.features.shape[1], classes, 1e-3)
    apart, public = rows.pick(np.arange(0, 500)), rows.pick(np.arange(500, min(len(rows), 700)))
    plan = Schedule(rounds, 128, Instructions(epochs=2, batch=16, rate=0.05), **schedule)
    return Federation(learner, strategy or FedAvg(), plan, public=public), five(apart, classes)


def attributed(training, people, carrier=None):
    follower = Attribution(training, carrier or Simulation(people))
    return follower, training.run(follower)


def values_of(method, training, people) -> dict:
    players = range(len(people))
    if method == "attribution":
        return dict(attributed(training, people)[0].settle(ANY))
    if method == "reconstructed":
        return dict(shapley(players, reconstructed(training, people)))
    if method == "reconstructed, sampled":
        return dict(sampled_shapley(players, reconstructed(training, people, tolerance=1e-3), 300, 0, 1e-4).values)
    if method == "one left out":
        return dict(leave_one_out(players, retrained(training, people)))
    return dict(shapley(players, retrained(training, people)))


@pytest.mark.parametrize("source", [breast_cancer, digits])
@pytest.mark.parametrize("method", ["attribution", "reconstructed", "reconstructed, sampled", "one left out", "retrained"])
def test_free_riders_and_wrong_labels_get_least(method, source) -> None:
    training, people = federation(source, 3 if method in ("one left out", "retrained") else 6)
    values = values_of(method, training, people)
    honest = min(values[number] for number in (0, 1, 2))
    assert max(values[FREE], values[FLIPPED]) < honest
    paid = shares(values, len(values))
    assert min(paid[number] for number in (0, 1, 2)) > max(paid[FREE], paid[FLIPPED])
    if method == "attribution":
        assert values[FREE] == 0
        assert values[FLIPPED] < 0


def test_the_games_of_a_simulation_are_worth_what_they_say() -> None:
    training, people = federation()
    everyone = frozenset(range(5))
    first = training.learner.summary(training.learner.evaluate(training.learner.initial(0), training.public))
    whole = training.run(Simulation(five(breast_cancer().pick(np.arange(500)), 2)))
    anew = retrained(training, people)
    assert anew(frozenset()) == -first["loss"]
    assert anew(everyone) == -whole.public["loss"]
    assert retrained(training, people, accuracy)(everyone) == whole.public["accuracy"]
    assert people[0].own == []  # the clients of a study stay as they were
    rebuilt = reconstructed(training, people)
    assert abs(rebuilt(everyone) - (first["loss"] - whole.public["loss"])) < 1e-6
    assert rebuilt(frozenset()) == 0
    assert reconstructed(training, people, tolerance=1e9)(everyone) == 0


def test_with_few_members_a_round_a_client_gets_nothing_for_rounds_without_it() -> None:
    training, people = federation(rounds=1, cohort=2)
    members = training.schedule.members(0, 5)
    worth = reconstructed(training, people)
    follower, _ = attributed(training, people)
    values = follower.settle(ANY)
    for number in set(range(5)) - set(members):
        assert worth(frozenset({number})) == 0 == values[number]


@pytest.mark.parametrize(
    "strategy", [FedAvg(rate=0.7), FedProx(), Scaffold(), FedAvg("uniform")], ids=lambda each: type(each).__name__
)
def test_attributed_contributions_add_up_to_what_the_loss_fell_by(strategy) -> None:
    training, people = federation(strategy=strategy)
    follower, outcome = attributed(training, people)
    start = training.learner.summary(training.learner.evaluate(training.learner.initial(0), training.public))["loss"]
    assert abs(sum(follower.settle(ANY).values()) - (start - outcome.public["loss"])) < 1e-6


def test_attribution_is_near_the_shapley_value_of_small_rounds() -> None:
    """One round of small steps of equal clients, whose coalition models average over all clients: the two values meet."""
    training, people = federation(rounds=1)
    training = replace(training, schedule=replace(training.schedule, instructions=Instructions(batch=None, rate=1e-3)))
    follower, _ = attributed(training, people)
    values, learner = follower.settle(ANY), training.learner
    start = learner.layout.flatten(learner.initial(0))
    packing, state = training.packing, training.strategy.start(start)
    said = [each.train(learner, training.strategy, training.schedule.instructions, packing, state, 0) for each in people]

    def worth(coalition) -> float:
        moved = start + sum(packing.unpack(said[number], 5).change for number in coalition) / 500
        return -learner.summary(learner.evaluate(learner.layout.unflatten(moved), training.public))["loss"]

    exact = shapley(range(5), worth)
    scale = max(exact.values())
    assert all(abs(values[number] - exact[number]) < 1e-3 * scale for number in range(5))


@pytest.mark.parametrize("learner", [LogisticRegression(4, 3, 0.1), Perceptron(4, 3, (5,), 0.1)])
def test_the_mean_gradient_is_that_of_the_loss_along_the_segment(learner) -> None:
    rows, generator = small(), np.random.default_rng(2)
    one, two = (0.3 * generator.normal(size=learner.layout.size) for _ in range(2))
    losses = [learner.summary(learner.evaluate(learner.layout.unflatten(point), rows))["loss"] for point in (one, two)]
    found = mean_gradient(learner, rows, one, two) @ (two - one)
    assert abs(found - (losses[1] - losses[0])) < (1e-6 if isinstance(learner, LogisticRegression) else 1e-2)


# -- across a network


def settle_across(training, people, aggregation, tamper=None) -> list:
    """What each party settles on, the last one without rows; an error is returned in its place. ``tamper(follower)`` makes party 0
    lie before it settles."""
    sessions = local_sessions(len(people) + 1)

    def party(session):
        mine = people[session.index] if session.index < len(people) else None
        follower = Attribution(training, Network(session, range(len(people)), mine, aggregation()))
        training.run(follower)
        try:
            if tamper and session.index == 0:
                tamper(follower)
            return follower.settle(ANY)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(len(sessions)) as pool:
        return list(pool.map(party, sessions))


@pytest.mark.parametrize("aggregation", [PlainSum, RingSum, lambda: SecureSum(dropped=0)], ids=["plain", "ring", "secure"])
def test_parties_settle_on_the_same_values_as_a_simulation(aggregation) -> None:
    training, people = federation(rounds=2)
    alone = attributed(training, five(breast_cancer().pick(np.arange(500)), 2))[0].settle(ANY)
    found = settle_across(training, people, aggregation)
    assert all(each == found[0] for each in found)
    assert all(abs(found[0][number] - alone[number]) < 1e-6 for number in alone)
    assert shares(found[0], 6) == shares(found[5], 6)


def lie(follower) -> None:
    follower._own[0] += 0.01


def test_a_false_claim_settles_nothing_at_any_party() -> None:
    training, people = federation(rounds=2)
    found = settle_across(training, people, RingSum, lie)
    assert all(isinstance(each, Unsettled) and "miss what the rounds' sums give by 0.01" in str(each) for each in found)


def test_liars_together_only_move_shares_among_themselves() -> None:
    training, people = federation(rounds=2)
    follower, _ = attributed(training, people)
    honest = attributed(training, five(breast_cancer().pick(np.arange(500)), 2))[0].settle(ANY)
    follower._own[0] += 0.01
    follower._own[1] -= 0.01
    moved = follower.settle(ANY)
    assert abs(moved[0] + moved[1] - honest[0] - honest[1]) < 1e-6
    assert all(moved[number] == honest[number] for number in (2, 3, 4))


def test_a_claim_below_the_floor_names_its_party() -> None:
    """As low as the floor, it counts; a pair that sinks one claim to raise the other is found out."""
    training, people = federation(rounds=2)
    follower, _ = attributed(training, people)
    low = follower._own[FLIPPED]
    assert follower.settle(1e-9 - low)[FLIPPED] < 0
    follower._own[0] += 5
    follower._own[1] -= 5
    with pytest.raises(Unsettled, match=r"client 1 claims -4\.\d+, more than .* below 0: train again without it"):
        follower.settle(1e-9 - low)
    for floor in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="not negative"):
            follower.settle(floor)


@pytest.mark.parametrize(("entry", "rule"), [(attribution._BYTES, "client 1 objects: its claim was changed"), (0, "no claim")])
def test_who_writes_into_anothers_place_is_noticed(entry, rule, monkeypatch) -> None:
    training, people = federation(rounds=1)
    place = attribution._placed

    def placed(claim, number, clients) -> np.ndarray:
        out = place(claim, number, clients)
        if number == 0:
            out[entry + attribution._BYTES - 1] += 1 / 256 if entry else 0.5 / 256
        return out

    monkeypatch.setattr(attribution, "_placed", placed)
    follower, _ = attributed(training, people)
    with pytest.raises(Unsettled, match=rule):
        follower.settle(ANY)


@pytest.mark.parametrize("denied", [False, True])
def test_all_parties_hear_who_objects_also_against_one_that_denies_it(denied, monkeypatch) -> None:
    """Client 0 writes into the place of client 1, and tries to take its objection back."""
    training, people = federation(rounds=1)
    total = Network.total

    def tampered(self, say, length, members, round_):
        def more(client):
            out = say(client)
            if client.number == 0 and round_ == 3:
                out[2 * attribution._BYTES - 1] += 1 / 256
            if client.number == 0 and round_ == 4 and denied:
                out[1] -= 0.75
            return out

        return total(self, more, length, members, round_)

    monkeypatch.setattr(Network, "total", tampered)
    found = settle_across(training, people, lambda: SecureSum(dropped=0), lambda follower: None)
    assert {str(each) for each in found} == {
        "client 1 objects: its claim was changed in the sum, since another party wrote into its place"
    }
    assert all(isinstance(each, Unsettled) for each in found)


def test_where_a_party_may_say_its_part_last_it_moves_value_to_itself_and_takes_the_objection_back(monkeypatch) -> None:
    """Client 0 hears the words of the others before it sends its own, which the ring allows. So tasks do not settle by it."""
    training, people = federation(rounds=1)
    exchange, sums = ring._exchange, []

    def last(session, words, members):
        if session.index != 0:
            return exchange(session, words, members)
        whole = words + sum(ring._receive(session, member, len(words)) for member in members[1:])
        sums.append(quantisation.decode(whole[:-1], len(members), len(members)))
        if len(sums) == 3:  # after the round and the evaluation: the claims
            claims = attribution._read(sums[-1])
            claims[0], claims[1] = claims[0] + (1 << 26), claims[1] - (1 << 26)
            wanted = sum(attribution._placed(claim, number, len(claims)) for number, claim in enumerate(claims))
        elif len(sums) == 4:  # the objections
            wanted = np.zeros(len(members))
        else:
            wanted = sums[-1]
        due = np.rint(wanted * quantisation.levels(len(members))).astype(np.int64).astype(np.uint32)
        words[:-1] += due - whole[:-1]
        for peer in sorted(session.channels):
            send_array(session, peer, words)
        words[:] = whole
        words[:-1] = due
        return None

    honest = settle_across(training, people, RingSum)[2]
    training, people = federation(rounds=1)
    monkeypatch.setattr(ring, "_exchange", last)
    found = settle_across(training, people, RingSum)
    assert isinstance(found[1], Unsettled) and "client 1 objects" in str(found[1])
    for other in (found[2], found[3], found[5]):
        assert other[0] - honest[0] > 0.015 and honest[1] - other[1] > 0.015 and abs(other[2] - honest[2]) < 1e-6


@given(st.lists(st.integers(-(1 << 47), (1 << 47) - 1), min_size=1, max_size=5))
def test_claims_come_back_as_they_were_placed(claims) -> None:
    added = sum(attribution._placed(claim, number, len(claims)) for number, claim in enumerate(claims))
    assert attribution._read(added) == claims


@pytest.mark.parametrize("value", [2.0**15, -(2.0**15), float("nan"), float("inf")])
def test_a_contribution_beyond_what_can_be_told_settles_nothing_and_keeps_nobody_waiting(value) -> None:
    training, people = federation(rounds=1)

    def far(follower) -> None:
        follower._own[0] = value

    found = settle_across(training, people, PlainSum, far)
    assert all(isinstance(each, Unsettled) and "client 0 is beyond what can be told" in str(each) for each in found)


@pytest.mark.parametrize("change", [{"_due": float("nan")}, {"slack": float("nan")}, {"_due": float("inf"), "slack": float("inf")}])
def test_nothing_settles_where_what_is_due_is_no_number(change) -> None:
    training, people = federation(rounds=1)
    follower, _ = attributed(training, people)
    for name, value in change.items():
        setattr(follower, name, value)
    with pytest.raises(Unsettled, match="claims miss"):
        follower.settle(ANY)


def test_trainings_whose_contributions_cannot_be_followed() -> None:
    training, people = federation(rounds=2)
    carrier = Simulation(people)
    for changed, rule in (
        (replace(training, public=None), "on public rows"),
        (replace(training, strategy=FedAdam()), "federated averaging"),
        (replace(training, schedule=replace(training.schedule, stopping=Stopping())), "rule to stop"),
    ):
        with pytest.raises(ValueError, match=rule):
            Attribution(changed, carrier)
    for game in (retrained, reconstructed):
        with pytest.raises(ValueError, match="public rows"):
            game(replace(training, public=None), people, less_loss)
    with pytest.raises(ValueError, match="cannot be replayed"):
        reconstructed(replace(training, schedule=replace(training.schedule, stopping=Stopping())), people)
    with pytest.raises(ValueError, match="after the last round"):
        Attribution(training, carrier).settle(ANY)
    kept = {}
    training.run(carrier, keep=kept.__setitem__)
    with pytest.raises(ValueError, match="from its first round"):
        training.run(Attribution(training, carrier), resume=kept[1])
