"""`training` without an owner that drops out: the others finish, and prove what it gave while it was there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidTask, MalformedDocument, OutputRefused
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.projection_verified import Contribution
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.statement import StatementInput
from tallystick.protocol.task import PROJECTION_ABSENT, PROJECTION_VERIFIED, TaskSpec
from tallystick_node.engines.channel import ChannelError, Session, local_sessions
from tallystick_node.engines.fl.aggregation.base import coordinators
from tallystick_node.workloads.base import Outcome
from tallystick_node.workloads.training.workload import AGGREGATE, Training
from unit.workloads.conftest import ACCOUNTS, make_spec

GONE = b"\xffthe link is closed"
NAMES = ["one", "two"]
ROUNDS = 5
(ONE, TWO, _) = PROJECTION_ABSENT


class Closing:
    """A link that ends when its peer does, as a socket does."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.peer, self.closed = inner, inner.peer, False

    def send(self, message: Any) -> None:
        self.inner.send(message)

    def receive(self) -> bytes:
        message = b"" if self.closed else self.inner.receive()
        if self.closed or message == GONE:
            self.closed = True
            raise ChannelError(self.peer, "closed the link")
        return bytes(message)

    def receive_into(self, view: memoryview) -> int:
        message = self.receive()
        if len(message) == len(view):
            view[:] = message
        return len(message)

    def mark(self, phase: str) -> None:
        self.inner.mark(phase)


class Died(Exception):
    """A party ends here."""


def table(seed: int) -> pa.Table:
    generator = np.random.default_rng(seed)
    cells = generator.integers(-(10**6), 10**6, (2, 120))
    fields = [pa.field(name, pa.int64(), metadata={b"scale": b"6"}) for name in NAMES] + [pa.field("ill", pa.int64())]
    ill = (cells[0] + cells[1] > 0).astype(np.int64)
    return pa.Table.from_arrays([pa.array(cells[0]), pa.array(cells[1]), pa.array(ill)], schema=pa.schema(fields))


def asked(**changes: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "features": [{"column": name, "center": "0", "scale": "1"} for name in NAMES],
        "target": {"column": "ill", "values": ["0", "1"]},
        "model": {"name": "logistic", "penalty": "0.001"},
        "strategy": {"name": "fedavg", "weighting": "examples", "rate": "1"},
        "schedule": {
            "rounds": ROUNDS, "rows": 200, "epochs": 2, "batch": 16, "rate": "0.2", "momentum": "0", "seed": 7, "stop": None,
            "norm": "64", "entry": 3,
        },
        "privacy": None,
        "held_out": 20,
        "minimum_group": 20,
        "contribution": None,
        "aggregation": {"method": "secure"},
    }  # fmt: skip
    return parameters | changes


def spec_of(
    receivers: tuple[int, ...] = (0,), owners: tuple[int, ...] = (0, 1, 2, 3), proof: str = ONE, **changes: Any
) -> TaskSpec:
    spec = make_spec("training", asked(**changes), {number: [*NAMES, "ill"] for number in owners}, list(receivers))
    return replace(spec, proof=proof)


def train(spec: TaskSpec, tmp_path: Path, dying: dict[int, str]) -> list[Outcome | Exception]:
    """``dying``: at which word of its progress a party ends."""
    workload = Training()
    workload.check(spec)

    def one(inner: Session) -> Outcome | Exception:
        index = inner.index

        def progress(phase: str, _: float) -> None:
            if phase.startswith(dying.get(index, "never")):
                raise Died

        channels: dict[int, Any] = {peer: Closing(channel) for peer, channel in inner.channels.items()}
        session = Session(index, channels, progress, context=b"task", beacon=b"b" * 32)
        scratch = tmp_path / str(index)
        scratch.mkdir(exist_ok=True)
        try:
            return workload.run(spec, spec.parties[index], table(index), session, scratch)
        except Exception as error:
            return error
        finally:
            for channel in inner.channels.values():
                channel.send(GONE)

    sessions = local_sessions(len(spec.parties))
    with ThreadPoolExecutor(len(sessions)) as pool:
        return list(pool.map(one, sessions))


def coordinating(number: int) -> int:
    """Who coordinates a round that all take part in."""
    (session, *_) = local_sessions(4)
    return coordinators(replace(session, context=b"task", beacon=b"b" * 32), range(4), number)[0]


def subject(spec: TaskSpec, outcome: Outcome, absent: tuple[str, ...]) -> Subject:
    blank = canonical.hex32(bytes(32))
    inputs = tuple(
        StatementInput(party, blank, canonical.text(bytes(32)), blank, text)
        for party, text in zip(spec.parties, outcome.all_commitments, strict=True)
    )
    return Subject(b"task", spec.parties, inputs, (), absent)


@pytest.mark.parametrize("turn", [True, False], ids=["the next coordinator", "another owner"])
def test_an_owner_that_drops_out_is_absent_and_the_others_prove_the_training(tmp_path: Path, turn: bool) -> None:
    victim = coordinating(2) if turn else coordinating(3)
    receiver = next(each for each in range(4) if each != victim)
    spec = spec_of(receivers=(receiver,))
    spec = replace(spec, requester=spec.parties[receiver])
    outcomes = train(spec, tmp_path, {victim: "round 2 of"})
    assert isinstance(outcomes[victim], Died)
    present = [each for each in outcomes if isinstance(each, Outcome)]
    assert len(present) == 3 and all(each.absent == [victim] for each in present), outcomes
    assert len({tuple(each.all_commitments) for each in present}) == len({tuple(each.all_contributions) for each in present}) == 1

    first, absent = outcomes[receiver], (spec.parties[victim],)
    assert isinstance(first, Outcome) and first.result is not None
    assert first.result["rounds"] == ROUNDS and first.result["rows"] == 4 * 96
    assert first.contribution == first.all_contributions[receiver]
    kind, about = KINDS[ONE], subject(spec, first, absent)
    proof = kind.assemble(about, dict(zip(spec.parties, first.all_contributions, strict=True)))
    assert "4 projections" in kind.check(about, proof)
    assert kind.open(about, proof, None, [first.files[AGGREGATE].read_bytes()])  # type: ignore[arg-type] - nothing of it is read

    with pytest.raises(MalformedDocument, match="other absent"):
        kind.check(replace(about, absent=()), proof)
    with pytest.raises(MalformedDocument, match="other absent"):
        kind.check(replace(about, absent=(spec.parties[receiver],)), proof)
    forged = list(first.all_contributions)
    said = Contribution.parse(forged[victim])
    forged[victim] = replace(said, own=(said.own[0] ^ 1, *said.own[1:])).to_text()
    with pytest.raises(MalformedDocument, match="do not add up"):
        kind.assemble(about, dict(zip(spec.parties, forged, strict=True)))


def test_what_an_absent_owner_gave_ends_where_it_left(tmp_path: Path) -> None:
    """Its part is that of a shorter training; that of the others goes on."""
    victim = coordinating(4)
    receiver = next(each for each in range(4) if each != victim)
    spec = replace(spec_of(receivers=(receiver,)), requester=ACCOUNTS[receiver])
    train(spec, tmp_path, {victim: "round 2 of"})
    said = (tmp_path / str(receiver) / "rounds" / "said").read_bytes()
    vector, rounds = 96, len(said) // (96 * 5)
    parts = [said[at * 5 * vector + victim * vector :][:vector] for at in range(rounds)]
    assert rounds == ROUNDS + 1 and all(any(part) for part in parts[:2]) and not any(any(part) for part in parts[2:])


def test_a_later_attempt_does_not_sum_a_round_with_one_more_owner(tmp_path: Path) -> None:
    """The sums of one round over the same model, with and without an owner, would differ by its change."""
    victim = coordinating(4)
    receiver = next(each for each in range(4) if each != victim)
    spec = replace(spec_of(receivers=(receiver,)), requester=ACCOUNTS[receiver])
    failed = train(spec, tmp_path, {victim: "round 2 of", receiver: "round 3 of"})
    assert not any(isinstance(each, Outcome) for each in failed)
    entries = [(tmp_path / str(each) / "rounds" / "said").stat().st_size // (96 * 5) for each in range(4)]
    assert entries[victim] == 2 and min(entries[each] for each in range(4) if each != victim) >= 3
    again = train(spec, tmp_path, {})  # all are back: the third round would be repeated with all
    assert isinstance(again[receiver], OutputRefused) and "other survivors" in str(again[receiver])
    assert not any(isinstance(each, Outcome) for each in again)


def test_a_receiver_that_drops_out_ends_the_training(tmp_path: Path) -> None:
    outcomes = train(spec_of(receivers=(0,)), tmp_path, {0: "round 3 of"})
    assert all(isinstance(each, ChannelError) for each in outcomes[1:])


def test_more_than_are_tolerated_end_the_training(tmp_path: Path) -> None:
    outcomes = train(spec_of(receivers=(0,)), tmp_path, {1: "round 2 of", 3: "round 3 of"})
    assert all(isinstance(outcomes[each], ChannelError) for each in (0, 2))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"aggregation": {"method": "ring"}}, "gives evidence of the kind signed-by-all"),
        ({"owners": (0, 1, 2)}, "of 3 owners 1 may not be absent"),
        ({"proof": TWO}, "of 4 owners 2 may not be absent"),
        ({"receivers": (0, 1, 2, 3)}, "only 0 parties neither ask"),
        ({"proof": TWO, "receivers": (0, 2, 3)}, "only 1 parties neither ask"),
        (
            {
                "privacy": {"epsilon": "50", "delta": "0.00001", "norm": "1"},
                "held_out": 0,
                "schedule": asked()["schedule"] | {"epochs": 1},
            },
            "need every owner",
        ),
    ],
)
def test_a_training_that_cannot_do_without_so_many_is_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidTask, match=rule):
        Training().check(spec_of(**changes))


def test_who_may_be_absent_is_neither_requester_nor_receiver() -> None:
    spec = spec_of(receivers=(2,))
    assert spec.requester == ACCOUNTS[0] and spec.may_be_absent == (ACCOUNTS[1], ACCOUNTS[3])
    assert replace(spec, proof=PROJECTION_VERIFIED).may_be_absent == ()


def test_fewer_may_collude_where_more_may_be_absent() -> None:
    corruptions = [Training().security(spec_of(proof=proof)).corruptions for proof in (PROJECTION_VERIFIED, ONE)]
    assert corruptions == [3, 1]


def test_the_promise_says_what_two_sums_tell_of_who_drops_out() -> None:
    said = [
        any("drops out" in who for who in Training().security(spec_of(proof=proof)).learns) for proof in (PROJECTION_VERIFIED, ONE)
    ]
    assert said == [False, True]
