"""`training`: a model that owners of the same columns for different people train together, each on its own rows.

In every round each owner trains the common model on its rows, and all add up what they say (:mod:`.aggregation`). By the
secure sum what is added up is masked, so that nobody sees another's change of the model, only the sum; every owner commits to what
it sends, and the task's proof shows on chain that the aggregates used are the sums of what was committed: nobody can drop, change
or invent a contribution. No party serves: owners coordinate in turns, in an order that the chain gives. With a kind of proof that
tolerates it the training ends without owners that drop out (:mod:`.absence`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tallystick.commitments import projection
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick.protocol.proof.projection_verified import Contribution
from tallystick.protocol.task import (
    PROJECTION_ABSENT,
    PROJECTION_VERIFIED,
    SIGNED_BY_ALL,
    VECTOR_SUM_VERIFIED,
    TaskSpec,
    proposal_of,
    tolerated,
)

from tallystick_node.engines.channel import ProtocolViolation, Session
from tallystick_node.engines.echo import Echo
from tallystick_node.engines.fl.aggregation.base import Disagreement, OtherSurvivors, coordinators
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.engines.fl.aggregation.record import Record as Vouched
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.federation import Outcome as Trained
from tallystick_node.engines.fl.learner import Rows
from tallystick_node.engines.fl.network import Network
from tallystick_node.engines.fl.privacy import PrivateRounds
from tallystick_node.engines.fl.progress import Record, last_record
from tallystick_node.engines.fl.schedule import MAX_ROUNDS
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost, Outcome, Workload, require_owners_compute
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.commitment import commit
from tallystick_node.workloads.features import scaled
from tallystick_node.workloads.model_card import CARD, card, rounded
from tallystick_node.workloads.training.absence import absent_of, attested, check_absence
from tallystick_node.workloads.training.checkpoints import Checkpoints, Mark
from tallystick_node.workloads.training.opening import check_opening, opened, opening_seconds
from tallystick_node.workloads.training.parameters import Parameters

MODEL, AGGREGATE = "model.safetensors", "aggregate.bin"
FEWEST_OWNERS = 3  # of two owners each would find the other's change by subtraction
ROOT = 32  # bytes
CLAIM = 6  # numbers of a claim to a contribution
NOISE = 3e-6  # seconds for one number's


class Training(Workload):
    """The workload `training`."""

    name = "training"
    proofs: tuple[str, ...] = (PROJECTION_VERIFIED, *PROJECTION_ABSENT, VECTOR_SUM_VERIFIED, SIGNED_BY_ALL)
    kernels: tuple[str, ...] = ("training",)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a training that can run."""
        parameters = Parameters.parse(spec.parameters)
        require_owners_compute(spec)
        if len(spec.inputs) < FEWEST_OWNERS:
            raise InvalidTask(
                f"training needs {FEWEST_OWNERS} or more owners: of fewer, each would learn another's changes",
                remedy="name more inputs",
            )
        for part in spec.inputs:
            if set(part.columns) != set(parameters.columns):
                raise InvalidTask(
                    "an input's columns are not those that the parameters read",
                    party=part.party,
                    remedy=f"list exactly {', '.join(parameters.columns)}",
                )
        parameters.aggregation.check(spec)
        check_absence(spec)
        try:
            _private(spec)
        except ValueError as error:
            raise InvalidTask(f"parameters.privacy: {error}", remedy="see docs/reference/workloads.md") from None
        check_opening(spec, _lengths(spec, parameters))

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """Every owner reads the same columns."""
        return Parameters.parse(spec.parameters).columns

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """That of the sums, and what the models of the rounds say."""
        parameters, private = Parameters.parse(spec.parameters), _private(spec)
        aggregation = parameters.aggregation
        promised = aggregation.promised(spec, parameters.federation)
        if private is not None:
            return _promise(spec, promised, private)
        proved = aggregation.proves
        return replace(
            promised,
            learns={
                "owner": "the model after every round, and so the sum of the owners' changes of it"
                f"{', never one of them' if aggregation.hides else ''}; the sums of "
                "their losses, how many changes were cut, and what was measured on all held-out rows: of classes how many of each "
                "were scored how" + ("; and what each owner contributed, one number" if parameters.measure is not None else ""),
                **aggregation.learns(spec),
                "receiver": f"the same{', and the masked sums that prove them' if proved else ''}",
                "public": f"the spec, who took part, how many rows each has, and {_published(spec) if proved else 'digests'}",
            },
            references=(*promised.references, "docs/explanation/training.md"),
        )

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of an owner, or where other parties send more, of them: the sums as the aggregation prices them, and training. Where
        contributions are measured, gradients on the public rows besides, and a sum of claims, which is short."""
        parameters, private = Parameters.parse(spec.parameters), _private(spec)
        federation, measure = parameters.federation, parameters.measure
        schedule, lengths = federation.schedule, _lengths(spec, parameters)
        length = lengths[0]
        price = parameters.aggregation.price(spec, lengths)
        most = min(max(rows.values(), default=0), schedule.rows)
        passes = most * schedule.instructions.epochs + (0 if measure is None else measure.passes)
        steps = passes * schedule.rounds * federation.learner.layout.size
        return Cost(
            bytes_sent=price.bytes_sent,
            rounds=price.rounds,
            seconds=2.0
            + price.seconds
            + (schedule.rounds * length * NOISE if private else 0)
            + steps * 1e-9
            + opening_seconds(spec, lengths),
            memory_bytes=200_000_000 + price.memory * length + 16 * most * len(parameters.columns),
        )

    def epsilon_micros(self, spec: TaskSpec) -> int:
        """What the accountant finds, no more than the parameters state."""
        private = _private(spec)
        return 0 if private is None else private.spend.epsilon_micros

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one party's side. Raises OutputRefused where an owner has too few rows."""
        parameters = Parameters.parse(spec.parameters)
        owners = [spec.parties.index(part.party) for part in spec.inputs]
        client = None if table is None else client_of(parameters, table, owners.index(session.index))
        aggregation, checkpoints = parameters.aggregation, Checkpoints(scratch / "checkpoints")
        journal = _journal(spec, session, scratch / "rounds") if aggregation.proves else None
        rounds = parameters.federation.schedule.rounds

        def keep(round_: int, content: bytes) -> None:
            checkpoints.keep(Mark(round_, journal.entries if journal else round_), content)
            session.progress(f"round {round_} of {rounds}{_quality(last_record(content))}", round_ / (rounds + 1))

        measure = parameters.measure
        held = journal.entries if journal else MAX_ROUNDS
        checkpoints.rewind(0 if measure else held)  # contributions follow a training from its first round
        begun = checkpoints.agree(session)
        entries = begun.entries if begun else 0
        checkpoints.rewind(entries)  # before the journal: a point without its part of it must never be kept
        if journal:
            journal.rewind(entries)
        if begun:
            session.progress(f"going on after round {begun.round} of {rounds}", begun.round / (rounds + 1))
        federation, adding = parameters.towards(spec.security.corruptions), aggregation.make(spec, parameters.federation, journal)
        carrier = Network(session, owners, client, adding)
        try:
            if measure is None:
                trained, measured = federation.run(carrier, checkpoints.read(begun) if begun else None, keep), None
            else:
                federation, followed = measure.follow(federation, carrier)
                trained = federation.run(followed, None, keep)
                measured = measure.words(followed, owners, len(spec.parties))
        except Disagreement as error:
            raise InvalidData(str(error), remedy="ask again with the aggregation secure, which names who deviates") from None
        except OtherSurvivors as error:
            raise OutputRefused(
                f"{error}: both would show an owner's change", remedy="ask for a new task, on which owners decide"
            ) from None
        except ValueError as error:
            raise InvalidData(str(error), remedy="lower the rate, scale the columns, or raise the bounds") from None
        absent = absent_of(spec, adding.gone.union(trained.silent))
        values = _words(spec, parameters, trained)
        if journal:
            values["coordinators"] = _order(spec, session, owners)
        if measured is not None:
            values["contribution"] = measured
        receives = party in spec.receivers
        share: Callable[[Path], None] | None = None if journal is None else journal.share_sums
        session.progress("proving the sums" if journal else "committing to the rows", rounds / (rounds + 1))
        if journal is None:
            outcome = _committed(session, client, scratch)
        elif not isinstance(journal, Journal):
            outcome = attested(session, owners, journal, absent)
        elif spec.proof == VECTOR_SUM_VERIFIED:
            outcome, share = opened(session, owners, journal)
        else:
            outcome = _proved(session, owners, journal)
        return replace(
            outcome,
            result=values if receives else None,
            files=_files(spec, trained, values, share, scratch) if receives else {},
        )


def _journal(spec: TaskSpec, session: Session, folder: Path) -> Journal | Vouched:
    """What the proof needs of the rounds: where parties may be absent in the end, what every party knows of all."""
    return Vouched(folder, session.parties) if tolerated(spec.proof) else Journal(folder)


def _private(spec: TaskSpec) -> PrivateRounds | None:
    """How a private training goes; None for one that is not. Raises ValueError when it cannot."""
    return Parameters.parse(spec.parameters).towards(spec.security.corruptions).private_rounds(len(spec.inputs))


def _lengths(spec: TaskSpec, parameters: Parameters) -> list[int]:
    """How many numbers each sum has: of every round, of the last evaluation, and of what measures contributions."""
    federation, private = parameters.federation, _private(spec)
    packing = federation.packing
    lengths = [(private or packing).length] * federation.schedule.rounds
    if private is None:
        lengths.append(packing.length - packing.size * (1 + packing.controls))
    if parameters.measure is not None:
        lengths += [CLAIM * len(spec.inputs), len(spec.inputs)]
    return lengths


def _published(spec: TaskSpec) -> str:
    if spec.proof == VECTOR_SUM_VERIFIED:
        return "commitments that say nothing about the numbers behind them, also to one who could open the masks"
    return "digests and projections of masked numbers"


def _promise(spec: TaskSpec, promised: SecurityStatement, private: PrivateRounds) -> SecurityStatement:
    """What a private training says: the sums are of noisy steps."""
    privacy = private.privacy
    bound = f"differentially private for every row with epsilon {privacy.epsilon:g} and delta {privacy.delta:g} over all rounds"
    return replace(
        promised,
        corruptions=privacy.colluding,
        learns={
            "owner": f"the model after every round: {bound}, towards {privacy.colluding} colluding owners",
            "receiver": "the same, and the masked sums that prove them",
            "public": f"the spec, who took part, how many rows each has, and {_published(spec)}",
        },
        references=(
            *promised.references,
            "Kairouz, Liu and Steinke, The distributed discrete Gaussian mechanism for federated learning, ICML 2021",
            "docs/explanation/training.md",
        ),
    )


def client_of(parameters: Parameters, table: pa.Table, number: int) -> Client:
    """An owner's rows, some of them held out: the last of an order that the seed and the owner's number give. Raises OutputRefused
    where they are too few."""
    features, target = scaled(table, parameters.features), parameters.target
    if isinstance(target, Category):
        answers = target.indicators(table).argmax(axis=1).astype(np.float64)
    else:
        answers = scaled(table, [target])[:, 0]
    rows = Rows(features, answers)
    out = len(rows) * parameters.held_out // 100
    least = parameters.minimum_group
    if len(rows) - out < least or (parameters.held_out and out < least):
        raise OutputRefused(
            f"an owner has fewer than {least} rows to train on, or to hold out and measure on",
            remedy="lower minimum_group, hold out another share, or leave the owner out",
        )
    order = np.random.default_rng([parameters.federation.schedule.seed, number]).permutation(len(rows))
    return Client(number, rows.pick(order[: len(rows) - out]), rows.pick(order[len(rows) - out :]) if out else None)


def _committed(session: Session, client: Client | None, scratch: Path) -> Outcome:
    """An owner's commitment to its rows, which is its own word: the run does not show it to others."""
    unknown = [""] * session.parties
    if client is None:
        return Outcome(commitment="", all_commitments=unknown)
    parts = [each for each in (client.training, client.held_out) if each is not None]
    answers = np.concatenate([each.targets for each in parts])
    commitment, opening = commit(np.concatenate([each.features for each in parts]), answers.astype("<f8").tobytes())
    (scratch / "opening.json").write_text(json.dumps(opening))
    return Outcome(commitment=commitment, all_commitments=unknown)


def _proved(session: Session, owners: Sequence[int], journal: Journal) -> Outcome:
    """All parties' commitments to what they sent, and what this one adds to the proof of the sums."""
    roots, contribution = _prove(session, owners, journal)
    commitments = ["" if root == bytes(ROOT) else canonical.text(root) for root in roots]
    return Outcome(commitment=commitments[session.index], all_commitments=commitments, contribution=contribution.to_text())


def _prove(session: Session, owners: Sequence[int], journal: Journal) -> tuple[list[bytes], Contribution]:
    """All parties' roots, and what this party adds to the proof: projections at points that follow from all roots.

    Raises ProtocolViolation when a peer's aggregate is another than this party's, and naming one that gave two parties different
    roots: they would project at different points, and each find the other's projections wrong.
    """
    session.mark("proof")
    own, sums = journal.roots()
    mine = own if session.index in owners else bytes(ROOT)
    echo = Echo(session, range(session.parties), "proof")
    echo.tell(mine + sums)
    roots = {session.index: mine}
    for peer in sorted(session.channels):
        session.patience(peer)  # it hashes all rounds first
        said = echo.hear(peer, 2 * ROOT)
        if (said[:ROOT] == bytes(ROOT)) == (peer in owners):
            raise ProtocolViolation(peer, "proof", "sent no roots of its updates and of the sums")
        if said[ROOT:] != sums:
            raise ProtocolViolation(peer, "proof", "used another aggregate than this party: one of the two was deceived")
        roots[peer] = said[:ROOT]
    echo.compare()
    ordered = [roots[index] for index in range(session.parties)]
    points = projection.points(projection.challenge(session.context, ordered, sums))
    sent, aggregate = journal.project(points)
    return ordered, Contribution(sent if session.index in owners else projection.ZERO, sums, aggregate)


def _files(
    spec: TaskSpec, trained: Trained, values: Mapping[str, Any], share: Callable[[Path], None] | None, scratch: Path
) -> dict[str, Path]:
    files = {name: scratch / name for name in (MODEL, CARD)}
    files[MODEL].write_bytes(trained.parameters.save({"task": canonical.hex32(proposal_of(spec).id())}))
    files[CARD].write_text(card(spec, values), encoding="utf-8")
    if share is not None:
        files[AGGREGATE] = scratch / AGGREGATE
        share(files[AGGREGATE])
    return files


def _words(spec: TaskSpec, parameters: Parameters, trained: Trained) -> dict[str, Any]:
    """What the model is, how it was trained, and how good it is: with the spec, all that its card says."""
    federation, first = parameters.federation, trained.history[0]
    counted = federation.strategy.weighting == "examples" and first.loss is not None
    return {
        "model": {
            "digest": trained.digest,
            "layout": federation.learner.layout.document,
            "kind": spec.parameters["model"],
            "features": spec.parameters["features"],
            "target": spec.parameters["target"],
        },
        "aggregation": spec.parameters["aggregation"],
        "rows": round(first.weight) if counted else None,
        "rounds": trained.rounds,
        "validation": _numbers(trained.validation),
        "history": [
            {
                "round": each.round,
                "model": each.model,
                "loss": None if each.loss is None else repr(each.loss),
                "validation": _numbers(each.validation),
                "cut": round(each.cut),
            }
            for each in trained.history
        ],
    }


def _order(spec: TaskSpec, session: Session, owners: Sequence[int]) -> dict[str, Any]:
    """Who coordinated: the block that the order was drawn by, and the owners in the order in which they took turns."""
    drawn = coordinators(session, owners, 0)
    return {"block": canonical.hex32(session.beacon) if session.beacon else None, "order": [spec.parties[each] for each in drawn]}


def _quality(record: Record) -> str:
    """What a round showed, in words: the quality of the model that it began with, else the loss of its training."""
    shown = record.validation or ({} if record.loss is None else {"training loss": record.loss})
    return (": " if shown else "") + ", ".join(
        f"{name} {rounded(shown[name])}" for name in sorted(shown, key=lambda name: name != "loss")
    )


def _numbers(found: Mapping[str, float]) -> dict[str, str]:
    return {name: repr(value) for name, value in found.items()}
