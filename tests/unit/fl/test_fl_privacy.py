"""Private training: what a row can move is bounded, what hides it has the stated size, and nothing else leaves an owner."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier
from tallystick_node.engines.dp.accountant import epsilon
from tallystick_node.engines.fl.aggregation.quantisation import decode, encode, levels
from tallystick_node.engines.fl.aggregation.secure import SecureSum
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Instructions, Rows
from tallystick_node.engines.fl.learners import clipped
from tallystick_node.engines.fl.learners.linear import LinearRegression, LogisticRegression
from tallystick_node.engines.fl.learners.perceptron import Perceptron
from tallystick_node.engines.fl.learners.scikit import ScikitLinearClassifier
from tallystick_node.engines.fl.privacy import Privacy
from tallystick_node.engines.fl.schedule import Schedule, Stopping
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.engines.fl.strategies import FedAdam, FedAvg, FedProx, Scaffold
from tallystick_node.engines.fl.update import Clip
from unit.fl.fl_world import across, breast_cancer, small

LEARNERS = {
    "linear": LinearRegression(4, 8.0, 0.01),
    "logistic": LogisticRegression(4, 3, 0.01),
    "perceptron": Perceptron(4, 3, (6, 5), 0.01),
}


def federation(learner, *, budget=3.0, delta=1e-5, norm=1.0, colluding=1, rounds=10, rows=60, batch=None, rate=0.5, clip=None):
    schedule = Schedule(rounds, rows, Instructions(1, batch or rows, rate), clip=clip or Clip())
    return Federation(learner, FedAvg(), schedule, privacy=Privacy(budget, delta, norm, colluding))


def rows_for(name, count=40, seed=0):
    rows = small(count, seed=seed)
    return Rows(rows.features, rows.targets - 1.0) if name == "linear" else rows


def point_of(learner, seed=0):
    return np.random.default_rng(seed).normal(size=learner.layout.size)


@pytest.mark.parametrize("name", LEARNERS)
def test_the_sum_is_that_of_every_rows_cut_gradient(name) -> None:
    learner, rows, norm = LEARNERS[name], rows_for(name), 0.7
    point = point_of(learner)
    due, cut = np.zeros_like(point), 0
    for i in range(len(rows)):
        one = np.zeros_like(point)
        learner.gradient(learner.layout.views(point), learner.layout.views(one), rows.features[i : i + 1], rows.targets[i : i + 1])
        one -= learner.penalty_gradient(point)
        length = np.linalg.norm(one)
        cut += length > norm
        due += one * min(1.0, norm / length)
    assert 0 < cut < len(rows) or name == "linear"
    assert np.allclose(learner.clipped_gradient(point, rows, norm), due, atol=1e-12)


@pytest.mark.parametrize("name", LEARNERS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_row_moves_what_leaves_an_owner_by_no_more_than_stated(name, data) -> None:
    """Rows of any size, either bound of the clip active or not, coarse and fine grids."""
    learner, rows = LEARNERS[name], rows_for(name, 20, data.draw(st.integers(0, 99)))
    clip = Clip(data.draw(st.sampled_from([0.01, 1.0, 64.0])), data.draw(st.sampled_from([0.25, 8.0, 2.0**11])))
    private = federation(
        learner,
        norm=data.draw(st.sampled_from([0.01, 1.0])),
        rate=0.2,
        budget=50.0,
        clip=clip,
        rows=21,
    ).private_rounds(3)
    point = point_of(learner) * data.draw(st.sampled_from([0.0, 1.0, 50.0]))
    features = data.draw(st.lists(st.floats(-1e9, 1e9), min_size=4, max_size=4))
    place, target = data.draw(st.integers(0, len(rows))), data.draw(st.integers(0, 2)) - (name == "linear")
    more = Rows(np.insert(rows.features, place, features, axis=0), np.insert(rows.targets, place, target))
    moved = private.steps(point, more) - private.steps(point, rows)
    assert sum(int(each) ** 2 for each in moved) <= private.sensitivity**2


def test_the_bound_is_nearly_reached() -> None:
    learner = LEARNERS["linear"]
    private, point = federation(learner, rows=1, clip=Clip(entry=256.0)).private_rounds(3), np.zeros(5)
    one = Rows(np.array([[3.0, 0.0, 0.0, 0.0]]), np.array([8.0]))
    moved = private.steps(point, one) - private.steps(point, one.pick(np.array([], np.int64)))
    assert 0.999 <= np.linalg.norm(moved) / private.sensitivity <= 1


def test_what_a_row_adds_does_not_depend_on_its_neighbours() -> None:
    """To the last bit, for blocks of any shape: else the rounding of all rows together would tell of one."""
    rows, learner = breast_cancer(), Perceptron(30, 2, (33,))
    (weight, bias), _ = learner.layers(learner.layout.views(point_of(learner)))
    whole = np.empty((len(rows), 33))
    clipped._forward(whole, rows.features, weight, bias)
    back = np.empty_like(rows.features)
    clipped._backward(back, whole, weight, rows.features)
    for count in (1, 2, 7, 100):
        some, some_back = np.empty((count, 33)), np.empty((count, 30))
        clipped._forward(some, rows.features[:count], weight, bias)
        clipped._backward(some_back, some, weight, rows.features[:count])
        assert (some == whole[:count]).all() and (some_back == back[:count]).all()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_row_whose_gradient_overflows_adds_nothing_and_tells_nothing(name) -> None:
    learner, rows = LEARNERS[name], rows_for(name, 10)
    point = point_of(learner)
    more = Rows(np.vstack([rows.features, np.full((1, 4), 1e300)]), np.append(rows.targets, 0.0))
    found = learner.clipped_gradient(point * 1e200, more, 1.0)
    assert np.isfinite(found).all()
    assert np.allclose(found, learner.clipped_gradient(point * 1e200, rows, 1.0))


@pytest.mark.parametrize(("clients", "colluding"), [(3, 1), (3, 2), (5, 2)])
def test_the_noise_of_the_honest_owners_alone_suffices(clients, colluding) -> None:
    learner = LogisticRegression(2000, 3)
    private = federation(learner, colluding=colluding).private_rounds(clients)
    rows = Rows(np.random.default_rng(0).normal(size=(5, 2000)), np.zeros(5))
    point, grid = np.zeros(learner.layout.size), levels(clients)
    steps = private.steps(point, rows)
    noise = sum(np.rint(private.contribution(point, rows) * grid) - steps for _ in range(clients - colluding))
    multiplier = private.mechanism.multiplier
    assert noise.std() == pytest.approx(multiplier * private.sensitivity, rel=0.07)
    assert abs(noise.mean()) < 7 * noise.std() / len(noise) ** 0.5


def test_the_secure_sum_adds_the_noisy_steps_exactly() -> None:
    private = federation(LEARNERS["perceptron"]).private_rounds(3)
    said = [private.contribution(point_of(private.learner), rows_for("perceptron", 20, seed)) for seed in range(3)]
    words = sum((encode(each, 3) for each in said), np.zeros(private.length, np.uint32))
    whole = sum(np.rint(each * levels(3)).astype(np.int64) for each in said)
    assert (np.rint(decode(words, 3, 3) * levels(3)) == whole).all()
    assert np.abs(np.concatenate(said) * levels(3) - np.rint(np.concatenate(said) * levels(3))).max() < 1e-6


@pytest.mark.parametrize(("budget", "delta", "rounds", "batch"), [(0.5, 1e-6, 40, 60), (3.0, 1e-5, 5, 60), (2.0, 1e-5, 20, 6)])
def test_the_rounds_together_spend_no_more_than_was_asked(budget, delta, rounds, batch) -> None:
    private = federation(
        LEARNERS["logistic"], budget=budget, delta=delta, rounds=rounds, batch=batch, clip=Clip(entry=256.0)
    ).private_rounds(3)
    assert 0.99 * budget <= epsilon([(private.event, rounds)], delta) <= budget
    assert private.event.sampling == pytest.approx(batch / 60) and private.event.multiplier == private.mechanism.multiplier


def test_a_batch_is_drawn_anew_and_in_secret() -> None:
    learner = LinearRegression(1, 8.0)
    private = federation(learner, rows=4000, batch=400, norm=10.0, rate=1.0).private_rounds(3)
    rows = Rows(np.zeros((4000, 1)), np.full(4000, -1.0))
    sizes = [len(private._drawn(rows)) for _ in range(20)]
    assert len(set(sizes)) > 1 and np.mean(sizes) == pytest.approx(400, rel=0.1)
    few = rows.pick(np.arange(1000))
    assert np.mean([len(private._drawn(few)) for _ in range(20)]) == pytest.approx(100, rel=0.2)


@pytest.mark.parametrize("learner", [LogisticRegression(30, 2, 0.001), Perceptron(30, 2, (16,))])
def test_real_rows_are_learnt_at_a_small_epsilon(learner) -> None:
    rows = breast_cancer()
    people = [Client(number, rows.pick(part)) for number, part in enumerate(np.array_split(np.arange(len(rows)), 3))]
    trained = federation(learner, rounds=20, rows=190, rate=2.0).run(Simulation(people))
    assert learner.summary(learner.evaluate(trained.parameters, rows))["accuracy"] > 0.9


def test_over_a_network_all_hold_one_model_and_nothing_else_is_said() -> None:
    learner = LEARNERS["logistic"]
    made = Federation(
        learner, FedAdam(), Schedule(4, 40, Instructions(1, 20, 0.5)), privacy=Privacy(3.0, 1e-5, 1.0, 2)
    )  # fmt: skip
    ends = across(made, [Client(number, small(40, seed=number)) for number in range(3)], lambda: SecureSum(dropped=0.0))
    assert {each.digest for each in ends} == {ends[0].digest}
    assert made.private_rounds(3).length == learner.layout.size
    assert ends[0].validation == {}
    for record in ends[0].history:
        assert (record.loss, record.validation, record.cut, record.weight) == (None, {}, 0, 3)


def test_parties_with_other_budgets_do_not_train_together() -> None:
    assert federation(LEARNERS["linear"], budget=3.0).digest != federation(LEARNERS["linear"], budget=3.1).digest


def test_what_does_not_go_with_privacy_is_refused() -> None:
    learner, privacy, told = LEARNERS["logistic"], Privacy(3.0, 1e-5, 1.0), Instructions(1, 40, 0.5)
    for strategy, schedule, rule in (
        (FedProx(), Schedule(2, 40, told), "no proximal terms"),
        (Scaffold(), Schedule(2, 40, told), "control variates"),
        (FedAvg("uniform"), Schedule(2, 40, told), "equal weight"),
        (FedAvg(), Schedule(2, 40, Instructions(2, 40, 0.5)), "epochs to 1"),
        (FedAvg(), Schedule(2, 40, Instructions(1, 40, 0.5, 0.9)), "momentum to 0"),
        (FedAvg(), Schedule(2, 40, told, cohort=2), "all owners"),
        (FedAvg(), Schedule(2, 40, told, stopping=Stopping()), "no rule to stop"),
    ):
        with pytest.raises(ValueError, match=rule):
            Federation(learner, strategy, schedule, privacy=privacy)
    scikit = ScikitLinearClassifier(SGDClassifier(loss="log_loss"), 4, 3)
    with pytest.raises(ValueError, match="does not give"):
        Federation(scikit, FedAvg(), Schedule(2, 40, Instructions(1, 1, 0.5)), privacy=privacy)
    made = Federation(learner, FedAvg(), Schedule(2, 40, told), privacy=privacy)
    rows = small(40)
    with pytest.raises(ValueError, match="holds rows out"):
        made.run(Simulation([Client(0, rows, rows), Client(1, rows)]))
    with pytest.raises(ValueError, match="may collude"):
        made.private_rounds(1)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"budget": 0.0}, "epsilon is above 0"),
        ({"budget": 65.0}, "at most 64"),
        ({"delta": 1e-13}, "delta from"),
        ({"delta": 0.01}, "delta from"),
        ({"norm": 0.0}, "norm of a row"),
        ({"colluding": 0}, "one owner or more"),
        ({"clip": Clip(entry=2.0**-20)}, "too large for the numbers"),
        ({"rate": 1e6}, "too large for the numbers"),
        ({"rate": 1e-9, "budget": 60.0, "clip": Clip(entry=2.0**20)}, "too small for the numbers"),
    ],
)
def test_budgets_and_grids_that_cannot_be_kept_are_refused(changes, rule) -> None:
    with pytest.raises(ValueError, match=rule):
        federation(LEARNERS["logistic"], **changes).private_rounds(3)
