"""A federation on the digits, found by name in the processes that train it."""

from __future__ import annotations

from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.aggregation.secure import SecureSum
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.federation import Federation, Outcome
from tallystick_node.engines.fl.learner import Instructions
from tallystick_node.engines.fl.learners.perceptron import Perceptron
from tallystick_node.engines.fl.network import Network
from tallystick_node.engines.fl.partition import dirichlet
from tallystick_node.engines.fl.schedule import Schedule
from tallystick_node.engines.fl.strategies import Scaffold
from unit.fl.fl_world import clients, digits

FEDERATION = Federation(
    Perceptron(64, 10, (16,)), Scaffold(), Schedule(5, 2048, Instructions(epochs=1, batch=32, rate=0.1), seed=4)
)


def people() -> list[Client]:
    """Three clients with unlike rows."""
    return clients(digits(), dirichlet(digits().targets, 3, 0.5, 2, 50))


def prepare(session: Session) -> None:
    """Nothing lasts from one training to the next."""


def train(session: Session, state: None) -> Outcome:
    """This party's part."""
    return FEDERATION.run(Network(session, range(3), people()[session.index], SecureSum(dropped=0)))


def compare(digest: str, session: Session, state: None, outcome: Outcome) -> None:
    """Raise unless this party holds the model of the simulation and every other confirmed it."""
    if outcome.digest != digest or outcome.silent:
        raise RuntimeError(f"{outcome.digest} and silent {outcome.silent}, where {digest} was due")
