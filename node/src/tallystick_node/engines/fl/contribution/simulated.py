"""What coalitions of clients are worth, in a simulation: in one process that sees every client's updates, for studies.

Not for a network. A coalition's model says something of its members, and coalitions that differ by one client say something of that
client:

- the sums of a round over a coalition and over the same without one client differ by exactly that client's update, whoever adds
  them. So nobody may learn both under a secure sum, and sums over two or more members are no safer: they, too, can be subtracted;
- models *trained* anew without a client differ from those with it, at convergence, by what that client's rows pull at the optimum:
  its mean gradient times a known matrix (influence functions; Koh and Liang, ICML 2017). Other seeds and orders of rows
  blur that, without a bound. With the same seed and whole batches the first round's difference *is* the client's update.

Only differential privacy bounds what such models tell, and every coalition spends anew. Between institutions take
:mod:`.attribution`, which builds no coalition's model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.contribution.games import Worth
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.engines.fl.strategies.base import State

Quality = Callable[[Mapping[str, float]], float]


def less_loss(measures: Mapping[str, float]) -> float:
    """Minus the loss."""
    return -measures["loss"]


def accuracy(measures: Mapping[str, float]) -> float:
    """The accuracy."""
    return measures["accuracy"]


def retrained(federation: Federation, clients: Sequence[Client], quality: Quality = less_loss) -> Worth:
    """A coalition is worth the quality, on the federation's public rows, of the model that it trains alone; the empty one that of
    the first model (Ghorbani and Zou, "Data Shapley", ICML 2019, with clients in the place of rows). One training a coalition:
    n + 1 to leave one out, 2^n for the Shapley value. Players are the clients' numbers. Raises ValueError without public rows."""
    _check(federation)

    def worth(coalition: frozenset[int]) -> float:
        if not coalition:
            return _quality(federation, _start(federation), quality)
        members = [replace(clients[number], number=place, control=None, own=[]) for place, number in enumerate(sorted(coalition))]
        return quality(federation.run(Simulation(members)).public)

    return worth


def reconstructed(federation: Federation, clients: Sequence[Client], quality: Quality = less_loss, tolerance: float = 0.0) -> Worth:
    """Train once, and let a coalition be worth what it would have added to the quality on the public rows, round by round: the
    model of a round is stepped on by the sum of that coalition's updates alone, and what that gains is added up over rounds.

    Song, Tong and Wei, "Profit Allocation for Federated Learning" (IEEE Big Data 2019), rebuild coalition models from updates so;
    the Shapley value of this game is the federated Shapley value of Wang, Rausch, Zhang, Jia and Song, "A Principled Approach to
    Data Valuation for Federated Learning" (2020), by additivity. Rounds in which all together gain no more than ``tolerance``
    either way are left out (between-round truncation: Liu, Chen, Yu, Liu and Cui, "GTG-Shapley", ACM TIST 2022). One step and one
    evaluation a coalition and round. Keeps every update: rounds times clients times the model's size. A client that sends nothing
    dilutes what the rest of a coalition sends, and gains where that does harm. Raises ValueError without public rows, or where
    private training or a rule to stop makes rounds that cannot be replayed.
    """
    _check(federation)
    if federation.privacy is not None or federation.schedule.stopping is not None:
        raise ValueError("rounds of private training, or with a rule to stop, cannot be replayed: retrain instead")
    carrier = _Recording(clients)
    federation.run(carrier)
    rounds, state = list[tuple[State, dict[int, Vector], float]](), _start(federation)
    for number in range(federation.schedule.rounds):
        said = carrier.said[number]
        following = _step(federation, state, said, frozenset(said), len(clients))
        before = _quality(federation, state, quality)
        if not tolerance or abs(_quality(federation, following, quality) - before) > tolerance:
            rounds.append((state, said, before))
        state = following

    def worth(coalition: frozenset[int]) -> float:
        gained = 0.0
        for state, said, before in rounds:
            if members := coalition & said.keys():
                gained += _quality(federation, _step(federation, state, said, members, len(clients)), quality) - before
        return gained

    return worth


class _Recording(Simulation):
    """A simulation that keeps what every client says in every round."""

    def __init__(self, clients: Sequence[Client]) -> None:
        super().__init__(clients)
        self.said: dict[int, dict[int, Vector]] = {}

    def total(self, say: Callable[[Client], Vector], length: int, members: Sequence[int], round: int) -> Vector:  # noqa: A002
        kept = self.said.setdefault(round, {})

        def heard(client: Client) -> Vector:
            kept[client.number] = say(client)
            return kept[client.number]

        return super().total(heard, length, members, round)


def _start(federation: Federation) -> State:
    first = federation.learner.initial(federation.schedule.seed) if federation.first is None else federation.first
    return federation.strategy.start(federation.learner.layout.flatten(first))


def _step(federation: Federation, state: State, said: Mapping[int, Vector], members: frozenset[int], clients: int) -> State:
    added = np.sum([said[member] for member in sorted(members)], axis=0)
    return federation.strategy.step(state, federation.packing.unpack(added, len(members)), clients)


def _quality(federation: Federation, state: State, quality: Quality) -> float:
    assert federation.public is not None
    learner = federation.learner
    return quality(learner.summary(learner.evaluate(learner.layout.unflatten(state.model), federation.public)))


def _check(federation: Federation) -> None:
    if federation.public is None or not len(federation.public):
        raise ValueError("coalitions are compared on public rows: give the federation some")
