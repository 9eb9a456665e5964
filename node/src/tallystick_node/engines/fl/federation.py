"""The loop of rounds, written once: the same for a simulation in one process, a local network and a real one.

In a round the members evaluate the global model on their held-out rows, train it on theirs, and say both in one vector; whoever
gets the sum takes the strategy's step. At the end all clients evaluate the model that is kept, if not all did before. In
private training they say one noisy step instead, and nothing is evaluated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tallystick_node.engines.channel import ChannelError
from tallystick_node.engines.fl.carrier import Carrier
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.learner import Learner, Rows
from tallystick_node.engines.fl.learners.gradient import GradientLearner
from tallystick_node.engines.fl.parameters import Parameters, Vector
from tallystick_node.engines.fl.privacy import Privacy, PrivateRounds
from tallystick_node.engines.fl.progress import Best, Progress, Record
from tallystick_node.engines.fl.schedule import Schedule
from tallystick_node.engines.fl.strategies.base import Strategy
from tallystick_node.engines.fl.update import Packing

_DOMAIN = b"tallystick federation v1\0"
Keep = Callable[[int, bytes], None]


@dataclass(frozen=True)
class Outcome:
    """What training gave. ``rounds``: after how many rounds the model stood as it is kept; ``history``: one record for each round
    begun; ``validation``: quality on the held-out rows of all clients; ``public``: on the public rows; ``silent``: parties that did
    not confirm that they hold the same model."""

    parameters: Parameters
    digest: str
    rounds: int
    history: tuple[Record, ...]
    validation: dict[str, float]
    public: dict[str, float]
    silent: tuple[int, ...]


@dataclass(frozen=True)
class Federation:
    """A learner, a strategy and a schedule, the same at all parties. ``first``: where training starts instead of the learner's
    own first model; ``public``: rows that every party has, to evaluate every model on; ``privacy``: what training may tell of a
    row, None without a bound. Raises ValueError when the parts do not fit one another.
    """

    learner: Learner
    strategy: Strategy
    schedule: Schedule
    first: Parameters | None = None
    public: Rows | None = None
    privacy: Privacy | None = None

    def __post_init__(self) -> None:
        state = self.strategy.start(np.zeros(self.learner.layout.size))
        self.strategy.accept(self.schedule.instructions)
        told = self.strategy.instruct(self.schedule.instructions, state, state.model)
        self.learner.accept(told)
        if self.first is not None and self.first.layout != self.learner.layout:
            raise ValueError("the first model is not of the learner's layout")
        if self.public is not None:
            self.learner.check(self.public)
        stopping = self.schedule.stopping
        if stopping is not None and stopping.rows == "public" and not (self.public and len(self.public)):
            raise ValueError("to stop by public rows, give some")
        if self.privacy is not None:
            self.privacy.accept(self.learner, self.strategy, self.schedule, told)

    @cached_property
    def packing(self) -> Packing:
        """How a contribution of a round lies in a vector."""
        schedule = self.schedule
        return Packing(
            self.learner.layout.size,
            self.strategy.controls,
            self.learner.measures,
            schedule.rows,
            self.strategy.weight(schedule.rows),
            schedule.clip,
            schedule.control_clip,
        )

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of everything that the parties must have in common but the clients' number."""
        privacy = None if self.privacy is None else self.privacy.describe()
        document = [self.learner.describe(), self.strategy.describe(), self.schedule.describe(), privacy]
        state = hashlib.sha256(_DOMAIN)
        for part in (
            json.dumps(document, sort_keys=True).encode(),
            self._start().digest().encode(),
            b"" if self.public is None else hashlib.sha256(self.public.features.tobytes() + self.public.targets.tobytes()).digest(),
        ):
            state.update(len(part).to_bytes(8, "little") + part)
        return state.digest()

    def private_rounds(self, clients: int) -> PrivateRounds | None:
        """How so many clients train privately, where they do. Raises ValueError when they cannot."""
        if self.privacy is None:
            return None
        assert isinstance(self.learner, GradientLearner)
        return PrivateRounds(self.privacy, self.schedule, self.learner, clients)

    def run(self, carrier: Carrier, resume: bytes | None = None, keep: Keep | None = None) -> Outcome:
        """Train. After every round ``keep(round, checkpoint)`` gets what ``resume`` takes, in a new session, to go on from there:
        it holds the model and the local clients' control variates, so it stays with this party.

        Raises ValueError for rows, a checkpoint or a sum that cannot be used and when training diverges, ChannelError when a
        party is silent, and ProtocolViolation when one has other settings, is at another round, sends what it may not, or ends
        with another model.
        """
        for client in carrier.local:
            client.check(self.learner, self.schedule.rows)
            if self.privacy is not None and client.held_out is not None and len(client.held_out):
                raise ValueError(f"client {client.number} holds rows out: private training evaluates nothing")
        private = self.private_rounds(carrier.clients)
        binding = hashlib.sha256(self.digest + carrier.clients.to_bytes(8, "little")).digest()
        layout = self.learner.layout
        progress = Progress(self.strategy.start(layout.flatten(self._start())))
        if resume is not None:
            progress = Progress.load(resume, binding, self.strategy.names, layout.size, carrier.local)
        if silent := carrier.agree(progress.digest(binding), "settings"):
            raise ChannelError(silent[0], "said nothing when the parties compared their settings")
        while progress.state.round < self.schedule.rounds and not progress.stopped:
            progress = self._round(carrier, progress, private)
            if keep is not None:
                keep(progress.state.round, progress.save(binding, carrier.local))
        return self._finish(carrier, progress)

    def _start(self) -> Parameters:
        return self.learner.initial(self.schedule.seed) if self.first is None else self.first

    def _round(self, carrier: Carrier, progress: Progress, private: PrivateRounds | None) -> Progress:
        schedule, state = self.schedule, progress.state
        members = schedule.members(state.round, carrier.clients)
        packing = private or self.packing

        def say(client: Client) -> Vector:
            if private is not None:
                return private.contribution(state.model, client.training)
            return client.train(self.learner, self.strategy, schedule.instructions, self.packing, state, schedule.seed)

        total = packing.unpack(carrier.total(say, packing.length, members, state.round), len(members))
        parameters = self.learner.layout.unflatten(state.model)
        record = Record(
            round=state.round,
            members=members,
            model=parameters.digest(),
            contributors=total.contributors,
            cut=total.cut,
            weight=total.weight,
            loss=total.loss / total.rows if total.rows > 0 else None,
            validation=self.learner.summary(total.measures),
            public=self._public(parameters),
        )
        progress = self._judge(replace(progress, history=(*progress.history, record)), state.model, record)
        if progress.stopped:
            return progress
        return replace(progress, state=self.strategy.step(state, total, carrier.clients))

    def _judge(self, progress: Progress, model: Vector, record: Record) -> Progress:
        """Progress after a model was evaluated: whether it is the best, and whether it is time to stop."""
        stopping = self.schedule.stopping
        if stopping is None:
            return progress
        value = (record.validation if stopping.rows == "clients" else record.public).get(stopping.metric)
        if value is None:
            return progress
        if progress.best is None or stopping.better(value, progress.best.value):
            return replace(progress, best=Best(record.round, value, model), stale=0)
        return replace(progress, stale=progress.stale + 1, stopped=progress.stale + 1 >= stopping.patience)

    def _finish(self, carrier: Carrier, progress: Progress) -> Outcome:
        """The model that is kept: the best where there is a rule to stop by, else the last; evaluated by all clients, once. Where
        clients may drop out, the sums of two evaluations would differ by what was measured at those that did in between."""
        layout, best, state = self.learner.layout, progress.best, progress.state
        model, rounds = state.model, state.round
        validation = None
        if best is not None and not progress.stopped:  # the last model was not judged yet
            validation = self._evaluate(carrier, layout.unflatten(model), self.schedule.rounds)
            judged = Record(rounds, (), "", 0, 0, 0, None, validation, self._public(layout.unflatten(model)))
            best = self._judge(progress, model, judged).best
        if best is not None and best.round != rounds:
            model, rounds = best.model, best.round
            begun = progress.history[best.round]
            validation = begun.validation if len(begun.members) == carrier.clients else None
        parameters = layout.unflatten(model)
        if self.privacy is not None:
            validation = {}
        if validation is None:
            validation = self._evaluate(carrier, parameters, self.schedule.rounds + 1)
        digest = parameters.digest()
        silent = carrier.agree(hashlib.sha256(digest.encode()).digest(), "model")
        return Outcome(parameters, digest, rounds, progress.history, validation, self._public(parameters), silent)

    def _evaluate(self, carrier: Carrier, parameters: Parameters, round: int) -> dict[str, float]:  # noqa: A002
        packing = replace(self.packing, size=0, controls=False)
        everyone = tuple(range(carrier.clients))
        added = carrier.total(
            lambda client: client.report(self.learner, parameters, packing, round), packing.length, everyone, round
        )
        return self.learner.summary(packing.unpack(added, carrier.clients).measures)

    def _public(self, parameters: Parameters) -> dict[str, float]:
        return {} if self.public is None else self.learner.summary(self.learner.evaluate(parameters, self.public))
