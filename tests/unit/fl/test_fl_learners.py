"""Learners: gradients against differences, training that repeats, what adapters follow and what they refuse."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neural_network import MLPClassifier
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Instructions, Rows
from tallystick_node.engines.fl.learners.linear import LinearRegression, LogisticRegression
from tallystick_node.engines.fl.learners.perceptron import Perceptron
from tallystick_node.engines.fl.learners.scikit import ScikitLinearClassifier, ScikitLinearRegressor, ScikitPerceptron
from tallystick_node.engines.fl.metrics import LOSS_CAP, Classification, Regression
from tallystick_node.engines.fl.parameters import Parameters
from tallystick_node.engines.fl.partition import iid
from tallystick_node.engines.fl.schedule import Schedule
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.engines.fl.strategies import FedAvg, FedProx, Scaffold
from unit.fl.fl_world import across, clients, digits, small


def regression(rows=80) -> Rows:
    x = np.random.default_rng(0).normal(size=(rows, 4))
    return Rows(x, x @ [0.5, -1.0, 0.25, 0.0] + 0.75)


LEARNERS = [
    (LinearRegression(4, 16.0, 0.1), regression()),
    (LogisticRegression(4, 3, 0.1, bins=16), small()),
    (Perceptron(4, 3, (6, 5), 0.1, bins=16), small()),
    (ScikitLinearClassifier(SGDClassifier(loss="log_loss"), 4, 3, bins=16), small()),
    (ScikitLinearClassifier(SGDClassifier(loss="log_loss"), 4, 2), Rows(small().features, small().targets % 2)),
    (ScikitLinearRegressor(SGDRegressor(), 4, 16.0), regression()),
    (ScikitPerceptron(MLPClassifier((6,)), 4, 3), small()),
    (ScikitPerceptron(MLPClassifier((6,), solver="sgd"), 4, 2), Rows(small().features, small().targets % 2)),
]
NATIVE = [pair for pair in LEARNERS if not type(pair[0]).__name__.startswith("Scikit")]
ids = [type(learner).__name__ for learner, _ in LEARNERS]


def told(learner, **settings) -> Instructions:
    return Instructions(batch=1 if "ScikitLinear" in type(learner).__name__ else 16, rate=0.05, **settings)


@pytest.mark.parametrize(("learner", "rows"), NATIVE, ids=ids[: len(NATIVE)])
def test_gradients_are_those_of_the_loss(learner, rows) -> None:
    layout = learner.layout
    point = np.random.default_rng(1).normal(size=layout.size)
    gradient = np.zeros(layout.size)
    learner.gradient(layout.views(point), layout.views(gradient), rows.features, rows.targets)

    def loss(at):
        weights = layout.views(at)
        penalties = sum((array**2).sum() for name, array in weights.items() if name.startswith("weight"))
        return learner.gradient(weights, layout.views(np.zeros(layout.size)), rows.features, rows.targets) + 0.05 * penalties

    for place in range(layout.size):
        step = np.zeros(layout.size)
        step[place] = 1e-6
        assert (loss(point + step) - loss(point - step)) / 2e-6 == pytest.approx(gradient[place], abs=1e-6)


@pytest.mark.parametrize(("learner", "rows"), LEARNERS, ids=ids)
def test_training_repeats_improves_and_changes_nothing_it_was_given(learner, rows) -> None:
    learner.check(rows)
    first = learner.initial(3)
    assert first.layout == learner.layout and first.digest() == learner.initial(3).digest()
    digest = first.digest()
    instructions = told(learner, epochs=10)
    learner.accept(instructions)
    one, again, other = (learner.train(first, rows, instructions, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.parameters.digest() == again.parameters.digest() != other.parameters.digest()
    assert first.digest() == digest and one.steps == again.steps == 10 * -(-len(rows) // instructions.batch)
    start, end = (learner.evaluate(parameters, rows) for parameters in (first, one.parameters))
    assert learner.summary(end)["loss"] < 0.8 * learner.summary(start)["loss"]
    assert 0 < one.loss < learner.summary(start)["loss"]
    assert len(end) == sum(measure.width for measure in learner.measures)


@pytest.mark.parametrize(("learner", "rows"), LEARNERS, ids=ids)
def test_sums_of_parts_are_the_sums_of_the_whole(learner, rows) -> None:
    parameters = learner.initial(1)
    parts = [learner.evaluate(parameters, rows.pick(part)) for part in iid(len(rows), 3, 0)]
    np.testing.assert_allclose(np.sum(parts, axis=0), learner.evaluate(parameters, rows), rtol=1e-9)


@pytest.mark.parametrize(("learner", "rows"), LEARNERS, ids=ids)
def test_every_learner_trains_the_same_in_a_simulation_and_over_a_network(learner, rows) -> None:
    parts = iid(len(rows), 3, 1)
    federation = Federation(learner, FedAvg(), Schedule(3, 128, told(learner)))
    simulated = federation.run(Simulation(clients(rows, parts)))
    assert [end.digest for end in across(federation, clients(rows, parts))] == [simulated.digest] * 3
    assert simulated.history[-1].loss < simulated.history[0].loss


@pytest.mark.parametrize(("learner", "rows"), NATIVE, ids=ids[: len(NATIVE)])
def test_corrections_and_proximal_terms_enter_every_step(learner, rows) -> None:
    first, generator = learner.initial(0), np.random.default_rng(0)
    flat = learner.layout.flatten
    correction = generator.normal(size=learner.layout.size)
    step = {"batch": None, "rate": 0.1}
    plain = flat(learner.train(first, rows, Instructions(**step), generator).parameters)
    corrected = flat(learner.train(first, rows, Instructions(**step, correction=correction), generator).parameters)
    np.testing.assert_allclose(plain - corrected, 0.1 * correction, atol=1e-12)
    # one proximal step is a plain one; a second from w1 goes mu (w1 - w0) further back
    two = flat(learner.train(first, rows, Instructions(epochs=2, **step), generator).parameters)
    near = flat(learner.train(first, rows, Instructions(epochs=2, proximal=0.5, **step), generator).parameters)
    np.testing.assert_allclose(two - near, 0.1 * 0.5 * (plain - flat(first)), atol=1e-12)
    heavy = flat(learner.train(first, rows, Instructions(epochs=2, momentum=0.5, **step), generator).parameters)
    np.testing.assert_allclose(heavy - two, 0.5 * (plain - flat(first)), atol=1e-12)


@pytest.mark.parametrize("strategy", [FedProx(), Scaffold()])
@pytest.mark.parametrize(("learner", "rows"), LEARNERS[len(NATIVE) :], ids=ids[len(NATIVE) :])
def test_estimators_refuse_what_they_cannot_follow(learner, rows, strategy) -> None:
    with pytest.raises(ValueError, match="takes no proximal term and no correction"):
        Federation(learner, strategy, Schedule(1, 100, told(learner)))


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: LEARNERS[3][0].accept(Instructions(batch=8)), "one row a step"),
        (lambda: LEARNERS[3][0].accept(Instructions(batch=1, momentum=0.5)), "one row a step"),
        (lambda: LEARNERS[6][0].accept(Instructions(momentum=0.5)), "momentum is for"),
        (lambda: ScikitLinearClassifier(SGDClassifier(loss="hinge"), 4, 3), "no probabilities"),
        (lambda: ScikitLinearClassifier(SGDClassifier(loss="log_loss", average=True), 4, 3), "averaged"),
        (lambda: ScikitPerceptron(MLPClassifier(solver="lbfgs"), 4, 3), "learn in steps"),
        (lambda: LogisticRegression(4, 1).measures, "2 to"),
        (lambda: LinearRegression(4, 3.0).measures, "power of two"),
        (lambda: LinearRegression(4, 1.0).check(regression()), "is not within"),
        (lambda: LogisticRegression(4, 2).check(small()), "not one of the classes 0 to 1"),
        (lambda: LogisticRegression(4, 3).check(Rows(np.zeros((1, 4)), np.array([0.5]))), "not one of the classes"),
        (lambda: Rows(np.zeros((2, 2)), np.zeros(3)), "are no examples"),
        (lambda: Rows(np.zeros(2), np.zeros(2)), "are no examples"),
        (lambda: Rows(np.array([[np.nan]]), np.zeros(1)), "not finite"),
    ],
)
def test_what_makes_no_sense_is_refused(make, rule) -> None:
    with pytest.raises(ValueError, match=rule):
        make()


BOLD = [pair for pair in LEARNERS if pair[0] is not LEARNERS[6][0]]  # the steps of Adam are of one size


@pytest.mark.parametrize(("learner", "rows"), BOLD)
def test_divergence_is_an_error(learner, rows) -> None:
    wild = Rows(rows.features * 1e200, rows.targets)
    with pytest.raises(ValueError, match="diverged|not finite"), np.errstate(all="ignore"):
        learner.train(learner.initial(0), wild, told(learner, epochs=3), np.random.default_rng(0))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 3]), st.integers(2, 300))
def test_area_under_the_curve_comes_close_to_the_exact_one(seed, classes, rows) -> None:
    generator = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(classes), generator.integers(0, classes, rows)])
    scores = np.log(generator.dirichlet(np.ones(classes), len(targets)) + np.eye(classes)[targets] * 0.3)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    quality = Classification(classes, 4096)
    summary = quality.summary(
        quality.sums(scores[:5], targets[:5].astype(float)) + quality.sums(scores[5:], targets[5:].astype(float))
    )
    exact = roc_auc_score(targets, np.exp(scores[:, 1]) if classes == 2 else np.exp(scores), multi_class="ovr")
    assert summary["auc"] == pytest.approx(exact, abs=5e-3)
    assert summary["loss"] == pytest.approx(log_loss(targets, np.exp(scores)))
    assert summary["accuracy"] == np.mean(scores.argmax(axis=1) == targets)


def test_scores_in_one_bin_count_as_tied() -> None:
    quality = Classification(2, 4)
    scores = np.log([[0.6, 0.4], [0.55, 0.45], [0.1, 0.9], [0.9, 0.1]])
    assert quality.summary(quality.sums(scores[:2], np.array([0.0, 1.0])))["auc"] == 0.5
    assert quality.summary(quality.sums(scores, np.array([0.0, 1.0, 1.0, 0.0])))["auc"] == 3.5 / 4


MEASURED = """
import numpy as np
from tallystick_node.engines.fl.metrics import Classification
draw = np.random.default_rng(0)
print([Classification(2, 64).summary(np.concatenate([[9.0, 1.0, 5.0], draw.random(128)])) for _ in range(50)])
"""


def test_a_sum_has_the_same_quality_on_every_processor() -> None:
    """Parties compare it to the bit as they go on after a failed attempt; the linear algebra chooses its code by the processor."""
    kinds: list[dict[str, str]] = [{}] if platform.machine() != "x86_64" else [{}, {"OPENBLAS_CORETYPE": "Prescott"}]
    found = {
        subprocess.run([sys.executable, "-c", MEASURED], env=os.environ | kind, check=True, capture_output=True, timeout=120).stdout
        for kind in kinds
    }
    assert len(found) == 1


def test_measures_keep_their_bounds_on_the_worst_predictions() -> None:
    quality = Classification(2, 8)
    sums = quality.sums(np.array([[-1e9, 0.0], [-np.inf, 0.0]]), np.zeros(2))
    assert sums[:3].tolist() == [2, 2 * LOSS_CAP, 0] and quality.summary(sums)["loss"] == LOSS_CAP
    assert "auc" not in quality.summary(sums)  # no example of class 1
    sums = Regression(2.0).sums(np.array([1e9, -1e9]), np.array([-2.0, 2.0]))
    assert sums.tolist() == [2, 16, 0, 8] and Regression(2.0).summary(sums) == {"loss": 8.0, "mse": 16.0, "r2": -3.0}
    assert Regression(2.0).summary(np.zeros(4)) == {} == quality.summary(np.zeros(19))


def test_a_regression_explains_what_it_should() -> None:
    rows = regression()
    learner = LinearRegression(4, 16.0)
    end = Federation(learner, FedAvg(), Schedule(60, 128, Instructions(batch=None, rate=0.5))).run(
        Simulation(clients(rows, iid(80, 4, 0)))
    )
    assert end.validation["r2"] > 0.9999
    np.testing.assert_allclose(end.parameters["weight"], [0.5, -1.0, 0.25, 0.0], atol=1e-3)


def test_an_estimator_trained_by_one_client_is_the_estimator() -> None:
    """One client, one round, one epoch: what ``partial_fit`` gives from zeros, with the same seed."""
    rows = small()
    learner = ScikitLinearClassifier(SGDClassifier(loss="log_loss", alpha=0.01), 4, 3)
    trained = learner.train(learner.initial(0), rows, Instructions(batch=1, rate=0.1), np.random.default_rng(5))
    seed = int(np.random.default_rng(5).integers(1 << 31))
    alone = SGDClassifier(loss="log_loss", alpha=0.01, learning_rate="constant", eta0=0.1, random_state=seed)
    alone.partial_fit(rows.features, rows.targets.astype(int), classes=[0, 1, 2])
    np.testing.assert_allclose(trained.parameters["coef"], alone.coef_, atol=1e-12)


def test_the_solver_of_an_estimator_starts_anew_in_a_round() -> None:
    rows = Rows(small().features, small().targets % 2)
    learner = ScikitPerceptron(MLPClassifier((6,), solver="sgd", nesterovs_momentum=False), 4, 2)
    ends = [
        learner.train(learner.initial(0), rows, Instructions(batch=None, rate=0.1, momentum=momentum), np.random.default_rng(0))
        for momentum in (0.0, 0.9)
    ]
    assert ends[0].parameters.digest() == ends[1].parameters.digest()  # one step, and no velocity before it


def torch_learner(kind="float32", drop=0.0, **options):
    torch = pytest.importorskip("torch")
    from tallystick_node.engines.fl.learners.torch import TorchClassifier

    def make():
        return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Dropout(drop), torch.nn.Linear(6, 3)).to(
            getattr(torch, kind)
        )

    return TorchClassifier(make, (4,), 3, "small", **options)


def test_a_module_of_pytorch_trains_in_all_modes() -> None:
    learner, rows = torch_learner(drop=0.1), small()
    assert [entry.kind for entry in learner.layout.entries] == ["float32"] * 4
    for strategy in (FedAvg(), FedProx(), Scaffold()):
        federation = Federation(learner, strategy, Schedule(4, 64, Instructions(epochs=2, batch=8, rate=0.1)))
        parts = iid(len(rows), 3, 1)
        simulated = federation.run(Simulation(clients(rows, parts)))
        assert [end.digest for end in across(federation, clients(rows, parts))] == [simulated.digest] * 3
        assert simulated.history[-1].loss < 0.9 * simulated.history[0].loss


def test_a_module_of_pytorch_takes_the_steps_of_the_same_model_in_numpy() -> None:
    learner, rows = torch_learner("float64"), small()
    numpy = Perceptron(4, 3, (6,))
    first = numpy.initial(0)
    held = {"0.weight": first["weight0"].T, "0.bias": first["bias0"], "3.weight": first["weight1"].T, "3.bias": first["bias1"]}
    instructions = Instructions(epochs=3, batch=None, rate=0.2, momentum=0.5, proximal=0.1)
    ours = numpy.train(first, rows, instructions, np.random.default_rng(0))
    theirs = learner.train(Parameters(held), rows, instructions, np.random.default_rng(0))
    np.testing.assert_allclose(theirs.parameters["3.weight"].T, ours.parameters["weight1"], atol=1e-12)
    assert theirs.loss == pytest.approx(ours.loss) and theirs.steps == ours.steps
    np.testing.assert_allclose(learner.evaluate(theirs.parameters, rows), numpy.evaluate(ours.parameters, rows), rtol=1e-9)


def test_a_module_with_buffers_is_refused() -> None:
    torch = pytest.importorskip("torch")
    from tallystick_node.engines.fl.learners.torch import TorchClassifier

    with pytest.raises(ValueError, match="has the buffer 1.running_mean"):
        TorchClassifier(lambda: torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)), (4,), 3, "normalised")


def test_pytorch_is_imported_by_whoever_uses_it() -> None:
    import subprocess
    import sys

    script = (
        "import sys\n"
        "import tallystick_node.engines.fl.federation, tallystick_node.engines.fl.network, tallystick_node.engines.fl.simulation\n"
        "import tallystick_node.engines.fl.learners.torch, tallystick_node.engines.fl.learners.perceptron\n"
        "assert not {'torch', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def test_digits_are_learnt_by_estimators_as_by_ours() -> None:
    rows = digits()
    learner = ScikitPerceptron(MLPClassifier((32,), solver="sgd", alpha=0.0), 64, 10)
    schedule = Schedule(5, 1024, Instructions(epochs=2, batch=32, rate=0.1, momentum=0.9))
    end = Federation(learner, FedAvg(), schedule).run(Simulation(clients(rows, iid(len(rows), 4, 0))))
    assert end.validation["accuracy"] > 0.94
