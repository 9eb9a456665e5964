"""Contributions between institutions: each party computes its own from what all know, and the claims must add up.

Value. In a round the public model moves from M to M + sum of x_i, where x_i is what client i's update does to it. The loss L on the
public rows then falls by exactly the sum over i of <x_i, g>, where g is the mean of -grad L along the segment between the two
models. So <x_i, g>, added up over rounds, is client i's contribution, and all contributions add up to the loss at the start
less that at the end. This is the Aumann-Shapley value ("Values of Non-Atomic Games", 1974) of the game in which every client may
take part by any fraction; for clients that matter little each, it is near the Shapley value of the round. The same product
with the gradient at M alone is the first-order value of Wang, Mittal, Song and Jia, "Data Shapley in One Training Run" (2024).
The segment's mean is taken at ``NODES`` Gauss-Legendre points, which is near exact for smooth losses.

Why no coalition is formed. Everybody knows the models, and so g; only client i knows x_i. It says one number at the end of the
whole training. Coalition models instead would tell updates: see :mod:`.simulated`.

What it reveals: of each client, that one number, a linear function of its updates, in units of 2^-32; nothing else besides what
training tells.

What it catches. The claims must add up to what the sums of the rounds give, which every party computes itself. So no set of
parties that lie together can raise the sum of its claims by more than ``slack``, which covers quantisation, if the others tell the
truth: it is what is left of a known total. They can only move value among themselves. As nobody is paid less than nothing
(:func:`.games.shares`), two could let one claim far below 0 and the other as far above; so a claim may be at most ``floor``
below 0, and k who collude are paid for at most (k - 1) ``floor`` more than they are due. Who claims less is named: it does harm or
it lies, and the others train again without it. A sum of claims that does not fit leaves the training unsettled, and no liar is
named: a party can veto payment so, but not gain by it. A member that writes into another's place in the sum is noticed by the
other, which tells all in a second sum, so that either all parties settle or none does. Nobody can take its word back there: the
number by which it objects is drawn at random, and what is not 0 counts.

All this takes a sum to which every member is bound before it hears of the others' parts, such as a verified
:class:`..aggregation.secure.SecureSum`, whose members commit first. By a ring or plain sum whoever speaks last can move value from
another to itself, and take the other's objection back: those are for honest parties, and for simulations.

What it does not catch, as these are updates, not claims: a client that trains on the public rows, which are the measure: keep
them for this and change them from task to task; one that states more rows than it has (weight clients uniformly); one that repeats
another's data, for which both are paid. A client whose update leads uphill gets a negative value. A free rider that sends nothing
gets 0, one that sends noise about 0 or less.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tallystick_node.engines.fl.aggregation import quantisation
from tallystick_node.engines.fl.carrier import Carrier
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.contribution.games import Values
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Rows
from tallystick_node.engines.fl.learners.gradient import GradientLearner
from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.strategies.averaging import FedAvg

NODES = 5
UNIT = 2.0**-32
_BYTES = 6  # of a claim: one entry of a sum each, so that a quantised sum of 2^10 members still tells them exactly
_OFFSET = 1 << (8 * _BYTES - 1)
_LEAST, _MOST = -_OFFSET, _OFFSET - 1  # of claims
_OBJECTION = 0.5  # what a client says at least that objects
_FLOATING = 2.0**-40  # what the parties' processors may round differently


class Unsettled(ValueError):  # noqa: N818 - a verdict
    """The claims are no contributions to be paid by: somebody lies, does harm, or was not heard in a sum that it took part in."""


class Attribution(Carrier):
    """Follows a training: run the federation on it instead of on ``carrier``, then :meth:`settle`.

    Raises ValueError unless the federation has public rows, a learner that gives gradients, and a strategy that moves the model
    by a mean of updates (:class:`.FedAvg` and its kin); for private training, whose promise a claim would break; and with a rule to
    stop early, after which not every round counts.
    """

    def __init__(self, federation: Federation, carrier: Carrier) -> None:
        learner, strategy, public = federation.learner, federation.strategy, federation.public
        if public is None or not len(public):
            raise ValueError("contributions are measured on public rows: give the federation some")
        if not isinstance(learner, GradientLearner) or not isinstance(strategy, FedAvg):
            raise ValueError("contributions need a learner that gives gradients and a strategy of federated averaging")
        if federation.privacy is not None or federation.schedule.stopping is not None:
            raise ValueError("contributions are for training without differential privacy and without a rule to stop early")
        if carrier.clients > 1 << 10:
            raise ValueError("contributions are told by at most 1024 clients")
        self._carrier, self._federation = carrier, federation
        self._learner, self._strategy, self._public = learner, strategy, public
        first = learner.initial(federation.schedule.seed) if federation.first is None else federation.first
        self._state = strategy.start(learner.layout.flatten(first))
        self._own = {client.number: 0.0 for client in carrier.local}
        self._due = 0.0
        self.slack = carrier.clients * UNIT  # by how much the claims may miss what is due

    @property
    def clients(self) -> int:
        """See :class:`Carrier`."""
        return self._carrier.clients

    @property
    def local(self) -> Sequence[Client]:
        """See :class:`Carrier`."""
        return self._carrier.local

    def agree(self, digest: bytes, step: str) -> tuple[int, ...]:
        """See :meth:`Carrier.agree`."""
        return self._carrier.agree(digest, step)

    def total(self, say: Callable[[Client], Vector], length: int, members: Sequence[int], round: int) -> Vector:  # noqa: A002
        """See :meth:`Carrier.total`. Raises ValueError when training does not begin with its first round."""
        training = round < self._federation.schedule.rounds
        if training and round != self._state.round:
            raise ValueError("contributions follow a training from its first round: one that goes on from a checkpoint has none")
        said: dict[int, Vector] = {}

        def heard(client: Client) -> Vector:
            said[client.number] = say(client)
            return said[client.number]

        added = self._carrier.total(heard, length, members, round)
        if training:
            self._follow(said, added, len(members))
        return added

    def _follow(self, said: Mapping[int, Vector], added: Vector, members: int) -> None:
        packing, before = self._federation.packing, self._state
        total = packing.unpack(added, members)
        self._state = self._strategy.step(before, total, self.clients)
        if total.weight <= 0:
            return
        downhill = -mean_gradient(self._learner, self._public, before.model, self._state.model)
        each = self._strategy.rate / total.weight * packing.scale[: packing.size] * downhill
        for number, vector in said.items():
            self._own[number] += float(vector[: packing.size] @ each)
        self._due += float(added[: packing.size] @ each)
        self.slack += (quantisation.error(members) + members * _FLOATING) * float(np.abs(each).sum())

    def settle(self, floor: float) -> Values:
        """Every client's contribution, by number, in units of the loss on the public rows, the same at all parties. Costs two sums.

        ``floor``, agreed on before: how far below 0 a claim may be; infinity where nobody is paid by the values. Raises Unsettled,
        at all parties alike, when claims do not add up, one is lower or beyond what can be told, or a client objects that its own
        was changed, and ValueError before the last round.
        """
        if not floor >= 0:
            raise ValueError("how far below 0 a claim may be is a number that is not negative")
        rounds, everyone = self._federation.schedule.rounds, range(self.clients)
        if self._state.round != rounds:
            raise ValueError("contributions are settled after the last round")
        own = {number: _whole(value) for number, value in self._own.items()}
        added = self._carrier.total(
            lambda client: _placed(own[client.number], client.number, self.clients),
            _BYTES * self.clients,
            everyone,
            rounds + 2,  # after the evaluations
        )
        claims = _read(added)
        self._hear_objections({number for number, claim in own.items() if claims[number] != claim})
        for number, claim in enumerate(claims):
            if claim in (_LEAST, _MOST):
                raise Unsettled(f"the contribution of client {number} is beyond what can be told, {_MOST * UNIT:g} either way")
        off = sum(claims) * UNIT - self._due
        if not abs(off) <= self.slack < math.inf:  # nor is a NaN
            raise Unsettled(
                f"the claims miss what the rounds' sums give by {off:.3g} where {self.slack:.1g} is allowed: a party claims what "
                "it did not contribute, or dropped out of a sum"
            )
        for number, claim in enumerate(claims):
            if claim * UNIT < -floor:
                raise Unsettled(f"client {number} claims {claim * UNIT:.3g}, more than {floor:g} below 0: train again without it")
        return {number: claims[number] * UNIT for number in everyone}

    def _hear_objections(self, changed: set[int]) -> None:
        """Raise Unsettled at all parties where a client of one of them finds its claim changed."""

        def said(client: Client) -> Vector:
            out = np.zeros(self.clients)
            if client.number in changed:
                out[client.number] = _OBJECTION * (1 + secrets.randbits(48) / 2.0**48)
            return out

        everyone = range(self.clients)
        heard = self._carrier.total(said, self.clients, everyone, self._federation.schedule.rounds + 3)
        objecting = np.flatnonzero(np.abs(heard) > 2 * quantisation.error(self.clients)).tolist()
        if objecting or changed:  # who objects does, whatever it hears
            number = min(objecting, default=min(changed, default=0))
            raise Unsettled(f"client {number} objects: its claim was changed in the sum, since another party wrote into its place")


def mean_gradient(learner: GradientLearner, rows: Rows, start: Vector, end: Vector) -> Vector:
    """The mean, along the segment between two models, of the gradient of the mean loss over the rows, penalties apart."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    out, gradient = np.zeros_like(start), np.zeros_like(start)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = start + node * (end - start)
        learner.gradient(learner.layout.views(point), learner.layout.views(gradient), rows.features, rows.targets)
        out += weight * (gradient - learner.penalty_gradient(point))
    return out


def _whole(value: float) -> int:
    """In units; the least or the most for what is beyond, by which all parties know it."""
    return _LEAST if math.isnan(value) else round(min(max(value / UNIT, _LEAST), _MOST))


def _placed(claim: int, number: int, clients: int) -> Vector:
    out = np.zeros((clients, _BYTES))
    out[number] = np.frombuffer((claim + _OFFSET).to_bytes(_BYTES, "big"), np.uint8) / 256
    return out.reshape(-1)


def _read(added: Vector) -> list[int]:
    entries = np.rint(added * 256)
    if not ((np.abs(added * 256 - entries) <= 0.25) & (entries >= 0) & (entries <= 255)).all():
        raise Unsettled("the sum of the claims holds what is no claim: a party wrote into another's place")
    rows = entries.astype(np.uint8).reshape(-1, _BYTES)
    return [int.from_bytes(row.tobytes(), "big") - _OFFSET for row in rows]
