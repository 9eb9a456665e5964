"""Plans on additive shares with a dealer: it sees and gets nothing but requests, and what it sends is foretold."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tallystick_node.engines.channel import ChannelError, Session, local_sessions
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.array.simulate import DEALER
from tallystick_node.engines.mpc.plan.explain import explain
from tallystick_node.engines.mpc.plan.kinds import encode
from tallystick_node.engines.mpc.plan.leakage import leakage
from tallystick_node.engines.mpc.plan.offers import OFFERS, SECURE
from tallystick_node.engines.mpc.plan.roles import Cast, Part
from unit.engines.conftest import run_parties
from unit.engines.test_plan_explain import EXACT, setting

OFFER = OFFERS["additive-dealer"]
X, Y = np.random.default_rng(4).uniform(-3, 3, (2, 70))


def program(x, y):
    both = sa.column_stack([x, y])
    sa.reveal(sa.where(x < y, x * y, sa.sigmoid(x)), to=["R"], name="chosen")
    sa.reveal(both.T @ both, to=["A", "R"], name="products")
    sa.reveal(sa.sort(x)[:5], to=["A"], name="least")


PLAN = sa.plan_of(program, {"x": sa.declare("A", 70, "x"), "y": sa.declare("B", 70, "y")}, ["R"])


@pytest.mark.parametrize("computing", [("A", "B"), ("A", "P"), ("B", "R", "A"), tuple("PQSTUVWA")], ids=len)
def test_numbers_are_those_of_numpy(computing) -> None:
    found = sa.run_locally(PLAN, {"x": X, "y": Y}, computing, "additive-dealer")
    assert np.abs(found["R"]["chosen"] - np.where(X < Y, X * Y, 1 / (1 + np.exp(-X)))).max() < 2e-3
    assert np.abs(found["A"]["products"] - np.stack([X, Y]) @ np.stack([X, Y]).T).max() < 1e-2
    assert np.abs(found["A"]["least"] - np.sort(X)[:5]).max() < 1e-5
    assert found[DEALER] == {} and found["B"] == {}


def measured(plan, data, cast):
    """Bytes that each party sends, the most rounds of one that computes, and what the dealer got."""
    sessions = local_sessions(len(cast.parties))
    got = []

    def engine(session: Session):
        name = cast.parties[session.index]
        own = {each.name: encode(data[each.name], each.kind) for each in plan.inputs if each.owner == name}
        if name == cast.dealer:
            for channel in session.channels.values():
                inner = channel.receive_into
                channel.receive_into = lambda view, inner=inner: (got.append(inner(view)), got[-1])[1]
        return Part(plan, OFFER, cast, session).run(own)

    for found in run_parties(sessions, engine):
        assert not isinstance(found, Exception), found
    steps = [session.meter.steps.values() for session in sessions]
    rounds = max(sum(each.rounds for each in steps[seat]) for seat in cast.seats)
    return [sum(each.bytes for each in party) for party in steps], rounds, got


@pytest.mark.parametrize("where", ["inside", "outside", "mixed"])
@pytest.mark.parametrize(
    "name", ["product", "products of integers and with bits", "matrix product", "integer matrix product", "comparison", "choice",
             "moments", "correlation", "sigmoid", "quotient", "groups of a public domain"]
)  # fmt: skip
def test_bytes_and_rounds_are_foretold_the_dealers_too(name, where) -> None:
    plan, data, cast = setting(EXACT[name], 123, where)
    cast = Cast((*cast.parties, DEALER), cast.computing, DEALER)
    foretold = explain(plan, OFFER, cast)
    sent, rounds, got = measured(plan, data, cast)
    exact = 0 if name != "correlation" else 0.01  # bits of few numbers, which share words
    assert foretold.bytes_all == pytest.approx(sum(sent), rel=exact)
    assert foretold.bytes_most == pytest.approx(max(sent), rel=exact)
    assert foretold.rounds == rounds
    assert sent[-1] > 0 and set(got) == {32}  # requests of four words are all that the dealer gets


def test_who_deals_is_none_of_the_others() -> None:
    session = local_sessions(4)[0]
    for cast, rule in (
        (Cast(("A", "B", "R", "D"), ("A", "B")), "has a dealer"),
        (Cast(("A", "B", "R", "D"), ("A", "D"), "B"), "neither brings nor receives"),
        (Cast(("A", "B", "R", "D"), ("A", "B"), "R"), "neither brings nor receives"),
        (Cast(("A", "B", "R", "D"), ("A",), "D"), "2 to 8"),
    ):
        with pytest.raises(ValueError, match=rule):
            Part(PLAN, OFFER, cast, session)
    with pytest.raises(ValueError, match="has no dealer"):
        Part(PLAN, OFFERS["two-party"], Cast(("A", "B", "R", "D"), ("A", "B"), "D"), session)
    for dealer in ("A", "Z"):
        with pytest.raises(ValueError, match="the dealer is a party of the session that does not compute"):
            Cast(("A", "B", "R", "D"), ("A", "B"), dealer)
    assert "additive-dealer" not in SECURE  # it is not asked for by its name alone
    with pytest.raises(ValueError, match="run_locally"), sa.simulate("AB", "additive-dealer"):
        pass


def test_a_dealer_that_leaves_is_named_by_its_number_in_the_session() -> None:
    cast = Cast((DEALER, "A", "B", "R"), ("A", "B"), DEALER)  # the first of the session

    def engine(session: Session):
        name = cast.parties[session.index]
        if name == DEALER:
            for peer in (1, 2):
                session.channels[peer].send(b"short")
            return None
        own = {"A": {"x": encode(X, PLAN.inputs[0].kind)}, "B": {"y": encode(Y, PLAN.inputs[0].kind)}}.get(name, {})
        return Part(PLAN, OFFER, cast, session).run(own)

    found = run_parties(local_sessions(4), engine)
    assert isinstance(found[1], ChannelError) and isinstance(found[2], ChannelError)
    assert found[1].peer == found[2].peer == 0


def test_the_dealer_waits_as_long_as_the_others_compute() -> None:
    """It does not give them up after the time in which those who take turns must answer."""
    waited = []

    def engine(session: Session):
        if session.index < 2:
            protocol = OFFER.open(session)
            if session.index == 1:
                threading.Event().wait(0.05)
            protocol.close()
            return None
        object.__setattr__(session, "patience", waited.append)
        return OFFER.deal(session)

    assert run_parties(local_sessions(3), engine) == [None] * 3
    assert waited == [1]


def test_the_dealer_is_said_to_be_trusted() -> None:
    said = leakage(PLAN, OFFER.kind.security(2))
    assert "All trust the dealer to deal well, and to work together with none of them." in said
    assert any("every secret, if it colludes with a computing party" in each for each in said)
    assert not any("trust" in each for each in leakage(PLAN, OFFERS["replicated"].kind.security(3)))
