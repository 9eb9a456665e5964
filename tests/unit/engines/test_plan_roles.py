"""Roles: owners outside the computation, parties that only compute, receivers who alone see; and who is named when one deviates."""

from __future__ import annotations

import numpy as np
import pytest
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.plan.kinds import encode
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.plan.roles import Cast, Part, named, subset
from unit.engines.conftest import CorruptingChannel, run_parties

OFFER = OFFERS["replicated"]


def millionaires(alder, birch) -> None:
    sa.reveal(alder > birch, to=["alder"], name="alder is richer")


PLAN = sa.plan_of(millionaires, {"alder": sa.declare("alder", 1, kind="integer"), "birch": sa.declare("birch", 1, kind="integer")})


@pytest.mark.parametrize("computing", [("p", "q", "r"), ("alder", "birch", "p"), ("birch", "p", "alder")])
@pytest.mark.parametrize("wealth", [(3, 5), (5, 3), (4, 4)])
def test_of_two_millionaires_only_one_learns_who_is_richer(computing, wealth) -> None:
    found = sa.run_locally(PLAN, {"alder": [wealth[0]], "birch": [wealth[1]]}, computing)
    assert found["alder"] == {"alder is richer": [wealth[0] > wealth[1]]}
    assert all(not results for party, results in found.items() if party != "alder")


def run(plan, data, cast, corrupt=None, silent=None):
    sessions = local_sessions(len(cast.parties))
    if silent:
        for session in sessions:
            for peer, channel in session.channels.items():
                if cast.parties[peer] == silent:
                    channel._seconds = 0.5  # nobody else is given up, however slow
    if corrupt:
        sender, receiver, number, change = corrupt
        channels = sessions[cast.parties.index(sender)].channels
        peer = cast.parties.index(receiver)
        channels[peer] = CorruptingChannel(channels[peer], number, change)

    def engine(session):
        name = cast.parties[session.index]
        if name == silent:
            return {}
        own = {each.name: encode(data[each.name], each.kind) for each in plan.inputs if each.owner == name}
        return Part(plan, OFFER, cast, session).run(own)

    return dict(zip(cast.parties, run_parties(sessions, engine), strict=True))


CAST = Cast(("alder", "birch", "p", "q", "r"), ("r", "p", "q"))
WEALTH = {"alder": [7], "birch": [5]}


def test_an_owner_is_done_once_it_has_shared() -> None:
    """It sends its shares and hears nothing: a session on which nothing can be received is enough for it."""
    sessions = local_sessions(5)
    for channel in sessions[1].channels.values():
        channel.receive_into = channel.receive = lambda *_: pytest.fail("an owner waits")

    def engine(session):
        name = CAST.parties[session.index]
        own = {name: encode(WEALTH[name], PLAN.inputs[0].kind)} if name in WEALTH else {}
        return Part(PLAN, OFFER, CAST, session).run(own)

    found = run_parties(sessions, engine)
    assert found[1] == {} and found[0]["alder is richer"] == [1]


def test_computing_parties_get_shares_that_do_not_depend_on_the_value() -> None:
    """Each part that a party gets of one value is uniform: over many runs its top bits are all about equally often set."""
    counts = np.zeros((3, 2))
    for _ in range(200):
        for seat, parts in enumerate(OFFER.kind.split(np.array([5], np.uint64), 3)):
            counts[seat] += [int(part[0]) >> 63 for part in parts]
    assert ((counts > 44) & (counts < 156)).all()  # 8 standard deviations


@pytest.mark.parametrize("number", [0, 1])
def test_an_input_of_the_wrong_length_names_its_owner(number) -> None:
    found = run(PLAN, WEALTH, CAST, ("birch", "q", number, lambda message: message + b"!"))
    error = found["q"]
    assert isinstance(error, ProtocolViolation) and CAST.parties[error.peer] == "birch" and error.step == "input"


def test_an_owner_whose_shares_do_not_fit_together_stops_the_run() -> None:
    found = run(PLAN, WEALTH, CAST, ("birch", "q", 0, lambda message: bytes([message[0] ^ 1]) + message[1:]))
    errors = [error for error in found.values() if isinstance(error, ProtocolViolation)]
    assert errors and "alder is richer" not in (found["alder"] if isinstance(found["alder"], dict) else {})


def test_a_result_of_the_wrong_length_or_content_names_the_party_that_sent_it() -> None:
    for change, step in (
        (lambda message: message[:-1], "output"),
        (lambda message: bytes([message[0] ^ 1]) + message[1:], "combine"),
    ):
        found = run(PLAN, WEALTH, CAST, ("p", "alder", 0, change))
        error = found["alder"]
        assert isinstance(error, ProtocolViolation) and error.step == step
        assert CAST.parties[error.peer] in (("p",) if step == "output" else ("p", "q", "r"))


def test_a_computing_party_that_deviates_is_named_by_its_place_in_the_whole_session() -> None:
    found = run(PLAN, WEALTH, CAST, ("q", "p", 1, lambda message: message + b"!"))
    error = found["p"]
    assert isinstance(error, ProtocolViolation) and CAST.parties[error.peer] == "q"
    assert error.rule.count(error.step) == 1


def test_a_silent_party_is_named_by_its_place_in_the_whole_session() -> None:
    for silent in ("birch", "q"):
        found = run(PLAN, WEALTH, CAST, silent=silent)
        blamed = {CAST.parties[error.peer] for error in found.values() if isinstance(error, ChannelError)}
        assert silent in blamed


@pytest.mark.parametrize(
    ("inputs", "words"),
    [({}, "names and shapes"), ({"alder": [1, 2]}, "names and shapes"), ({"birch": [1]}, "names and shapes")],
)
def test_inputs_that_are_not_the_plans_are_refused(inputs, words) -> None:
    session = local_sessions(5)[0]
    with pytest.raises(ValueError, match=words):
        Part(PLAN, OFFER, CAST, session).run({name: np.array(values, np.uint64) for name, values in inputs.items()})


@pytest.mark.parametrize(
    ("parties", "computing"),
    [(("alder", "birch", "p"), ("p", "q", "r")), (("alder", "birch", "p"), ("p", "p", "alder")),
     (("alder", "birch"), ("alder", "birch")),
     (("alder", "p", "q"), ("alder", "p", "q"))],
)  # fmt: skip
def test_a_cast_that_does_not_fit_is_refused(parties, computing) -> None:
    with pytest.raises(ValueError):
        Part(PLAN, OFFER, Cast(parties, computing), local_sessions(len(parties))[0])


def test_a_part_of_a_session_is_a_session_of_its_own() -> None:
    sessions = local_sessions(4)
    members = [3, 1]
    mine, theirs = subset(sessions[3], members), subset(sessions[1], members)
    assert (mine.index, theirs.index, mine.parties) == (0, 1, 2)
    mine.channels[1].send(b"hello")
    assert theirs.channels[0].receive() == b"hello"
    assert sessions[3].meter.steps[""].bytes == 5
    assert subset(sessions[0], [0, 1, 2, 3]) is sessions[0]
    with pytest.raises(ProtocolViolation) as caught, named(members):
        raise ProtocolViolation(0, "step", "rule")
    assert (caught.value.peer, caught.value.step, str(caught.value)) == (3, "step", "party 3: step: rule")
    with pytest.raises(ChannelError) as lost, named(members):
        raise ChannelError(1, "rule")
    assert lost.value.peer == 1
