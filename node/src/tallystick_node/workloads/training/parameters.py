"""What a task of the workload `training` says, read strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Instructions, Learner
from tallystick_node.engines.fl.learners.linear import LinearRegression, LogisticRegression
from tallystick_node.engines.fl.learners.perceptron import Perceptron
from tallystick_node.engines.fl.privacy import Privacy
from tallystick_node.engines.fl.schedule import Schedule, Stopping
from tallystick_node.engines.fl.strategies import FedAdam, FedAvg, FedProx, FedYogi, Scaffold
from tallystick_node.engines.fl.strategies.base import Strategy
from tallystick_node.engines.fl.update import Clip
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.features import Feature, decimal
from tallystick_node.workloads.training.aggregation import read_choice
from tallystick_node.workloads.training.choice import Choice
from tallystick_node.workloads.training.contribution import Measure

MAX_FEATURES = 1024
MAX_ROUNDS = 1000
MAX_PARAMETERS = 1 << 24  # numbers of a model
SCORE_BINS = 64  # in which scores are counted for the area under the ROC curve

Read = Callable[[Any, str], Any]


@dataclass(frozen=True)
class Parameters:
    """``held_out``: the share of each owner's rows, in percent, that is evaluated on and not trained on. The federation's privacy
    protects from one owner; :meth:`towards` says from how many that collude."""

    features: tuple[Feature, ...]
    target: Feature | Category
    federation: Federation
    aggregation: Choice
    held_out: int
    minimum_group: int
    measure: Measure | None

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Parameters:
        """Check and read. Raises InvalidTask."""
        try:
            return _read(canonical.encode(value))
        except MalformedDocument as error:
            raise InvalidTask(error.message, remedy=error.remedy or "see docs/reference/workloads.md") from None

    def towards(self, colluding: int) -> Federation:
        """The federation, private towards so many colluding owners where it is private."""
        privacy = self.federation.privacy
        if privacy is None:
            return self.federation
        return replace(self.federation, privacy=replace(privacy, colluding=max(1, colluding)))

    @property
    def columns(self) -> list[str]:
        """The columns that every owner reads."""
        return [*(each.column for each in self.features), self.target.column]


@lru_cache(maxsize=8)
def _read(document: bytes) -> Parameters:
    value = canonical.decode(document, len(document))
    keys = (
        "features", "target", "model", "strategy", "schedule", "aggregation", "privacy", "held_out", "minimum_group",
        "contribution",
    )  # fmt: skip
    fields = Fields(value, keys, "parameters")
    features, target, learner = read_model(value["model"], value["features"], value["target"], "parameters")
    held_out = fields.integer("held_out", 0, 50)
    schedule = _schedule(value["schedule"], "parameters.schedule")
    if schedule.stopping is not None and not held_out:
        raise MalformedDocument("parameters.schedule.stop: needs rows to judge by: hold some out")
    strategy = _strategy(value["strategy"], "parameters.strategy")
    aggregation = read_choice(value["aggregation"], "parameters.aggregation")
    if value["privacy"] is not None and held_out:
        raise MalformedDocument("parameters.held_out: must be 0 in private training: measures of these rows would tell of them")
    try:
        privacy = None if value["privacy"] is None else _privacy(value["privacy"], "parameters.privacy")
        federation = Federation(learner, strategy, schedule, privacy=privacy)
        aggregation.require(federation, held_out)
        measure = _measure(value["contribution"], features, target, federation)
        if measure is not None and not aggregation.proves:
            raise ValueError(
                "contributions are settled on sums to which every owner gives its part before it hears of the others':"
                " take the aggregation secure"
            )
    except ValueError as error:
        raise MalformedDocument(f"parameters: {error}") from None
    least = fields.integer("minimum_group", 2, 1_000_000)
    return Parameters(features, target, federation, aggregation, held_out, least, measure)


def _measure(value: Any, features: tuple[Feature, ...], target: Feature | Category, federation: Federation) -> Measure | None:
    """By what contributions are measured, where the parameters say it. Raises MalformedDocument, or ValueError."""
    if value is None:
        return None
    measure = Measure.read(value, "parameters.contribution", features, target)
    measure.require(federation)
    return measure


def read_model(model: Any, columns: Any, answers: Any, where: str) -> tuple[tuple[Feature, ...], Feature | Category, Learner]:
    """What goes into a model, what comes out of it, and what learns it, as a task says it. Raises MalformedDocument."""
    features = Fields({"features": columns}, ("features",), where).items("features", 1, MAX_FEATURES, _feature)
    target = _target(answers, f"{where}.target")
    named = [each.column for each in (*features, target)]
    if len(set(named)) != len(named):
        raise MalformedDocument(f"{where}.features: name a column twice, or the target among them")
    learner = _learner(model, f"{where}.model", len(features), target)
    if learner.layout.size > MAX_PARAMETERS:
        raise MalformedDocument(f"{where}.model: has {learner.layout.size} numbers, more than {MAX_PARAMETERS}")
    return features, target, learner


def _feature(value: Any, where: str) -> Feature:
    """From ``{column, center, scale}``: every owner has it."""
    Fields(value, ("column", "center", "scale"), where)
    return Feature.read({"party": None, **value}, where)


def _target(value: Any, where: str) -> Feature | Category:
    """From ``{column, values}``, classes, or ``{column, center, scale}``, a number."""
    if isinstance(value, dict) and "values" in value:
        Fields(value, ("column", "values"), where)
        return Category.read({"party": None, **value}, where)
    return _feature(value, where)


def _learner(value: Any, where: str, features: int, target: Feature | Category) -> Learner:
    name = value.get("name") if isinstance(value, dict) else None
    if name == "linear":
        fields = Fields(value, ("name", "bound", "penalty"), where)
        if isinstance(target, Category):
            raise MalformedDocument(f"{where}.name: a linear model predicts a number, and the target has classes")
        return LinearRegression(
            features, float(1 << fields.integer("bound", 0, 20)), _positive(value, "penalty", where, 1e3, zero=True)
        )
    if not isinstance(target, Category):
        raise MalformedDocument(f"{where}.name: a target that is a number takes a linear model")
    classes = len(target.values)
    if name == "logistic":
        Fields(value, ("name", "penalty"), where)
        return LogisticRegression(features, classes, _positive(value, "penalty", where, 1e3, zero=True), SCORE_BINS)
    if name == "perceptron":
        fields = Fields(value, ("name", "hidden", "penalty"), where)
        hidden = fields.items("hidden", 1, 8, _units)
        return Perceptron(features, classes, hidden, _positive(value, "penalty", where, 1e3, zero=True), SCORE_BINS)
    raise MalformedDocument(f"{where}.name: must be linear, logistic or perceptron")


def _units(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 4096:
        raise MalformedDocument(f"{where}: must be a number of units from 1 to 4096")
    return value


def _strategy(value: Any, where: str) -> Strategy:
    """From ``{name, weighting, ...}``."""
    name = value.get("name") if isinstance(value, dict) else None
    kinds: Mapping[str, tuple[Callable[..., Strategy], tuple[str, ...]]] = {
        "fedavg": (FedAvg, ("rate",)),
        "fedprox": (FedProx, ("rate", "proximal")),
        "fedadam": (FedAdam, ("rate",)),
        "fedyogi": (FedYogi, ("rate",)),
        "scaffold": (Scaffold, ("rate",)),
    }
    if name not in kinds:
        raise MalformedDocument(f"{where}.name: must be one of {', '.join(kinds)}")
    make, numbers = kinds[str(name)]
    weighting = Fields(value, ("name", "weighting", *numbers), where).choice("weighting", ("examples", "uniform"))
    return make(weighting=weighting, **{number: _positive(value, number, where, 1e3) for number in numbers})


def _schedule(value: Any, where: str) -> Schedule:
    keys = ("rounds", "rows", "epochs", "batch", "rate", "momentum", "seed", "stop", "norm", "entry")
    fields = Fields(value, keys, where)
    rows = fields.integer("rows", 1, 10_000_000)
    momentum = _positive(value, "momentum", where, 1, zero=True)
    if momentum >= 1:
        raise MalformedDocument(f"{where}.momentum: must be below 1")
    return Schedule(
        rounds=fields.integer("rounds", 1, MAX_ROUNDS),
        rows=rows,
        instructions=Instructions(
            fields.integer("epochs", 1, 1000), fields.integer("batch", 1, rows), _positive(value, "rate", where, 1e3), momentum
        ),
        seed=fields.integer("seed", 0, 2**53 - 1),
        stopping=None if value["stop"] is None else _stopping(value["stop"], f"{where}.stop"),
        clip=Clip(_positive(value, "norm", where, 1e6), float(2.0 ** fields.integer("entry", -20, 20))),
    )


def _stopping(value: Any, where: str) -> Stopping:
    fields = Fields(value, ("metric", "patience", "improvement"), where)
    metric = fields.choice("metric", ("loss", "accuracy", "auc", "r2", "mse"))
    return Stopping(metric, fields.integer("patience", 1, MAX_ROUNDS), _positive(value, "improvement", where, 1e6, zero=True))


def _privacy(value: Any, where: str) -> Privacy:
    Fields(value, ("epsilon", "delta", "norm"), where)
    epsilon, delta, norm = (decimal(value[name], f"{where}.{name}") for name in ("epsilon", "delta", "norm"))
    return Privacy(epsilon, delta, norm)


def _positive(value: Mapping[str, Any], key: str, where: str, most: float, *, zero: bool = False) -> float:
    number = decimal(value[key], f"{where}.{key}")
    if not (0 <= number <= most and (zero or number)):
        raise MalformedDocument(
            f"{where}.{key}: must be {'from' if zero else 'above'} 0 {'to' if zero else 'and at most'} {most:g}"
        )
    return number
