"""PSI of three parties and more: what receivers learn, that shares add up to nothing else, and who is blamed."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.psi import multi_party
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.multi_party import intersect_all, leads, predict
from unit.engines.conftest import run_parties

SETS = [
    [f"id-{i}".encode() for i in range(40)],
    [f"id-{i}".encode() for i in range(60, 20, -1)],
    [f"id-{i}".encode() for i in range(30, 90)] + [b""],
    [f"id-{i}".encode() for i in range(0, 90, 3)],
]
BOTH = {f"id-{i}".encode() for i in range(30, 40)}


def engine(receivers, sets, parties=None):
    def run(session):
        given_ = {"parties": parties or range(len(sets)), "receivers": receivers, "context": b"t"}
        return intersect_all(session, Items.of(sets[session.index]), **given_)

    return run


@pytest.mark.parametrize("number", [3, 4])
@pytest.mark.parametrize("receivers", [(0,), (2,), (0, 1, 2)])
def test_receivers_learn_what_all_have(parties, number, receivers):
    expected = BOTH & set(SETS[3]) if number == 4 else BOTH
    outcomes = parties(number, engine(receivers, SETS[:number]))
    for party, outcome in enumerate(outcomes):
        if party not in receivers:
            assert (outcome.positions, outcome.cardinality) == (None, None)
            continue
        assert {SETS[party][i] for i in outcome.positions} == expected
        assert outcome.cardinality == len(expected)
        assert (np.diff(outcome.positions) > 0).all()


@settings(max_examples=4, deadline=None)
@given(st.lists(st.sets(st.binary(max_size=1), max_size=150), min_size=3, max_size=3))
def test_intersections_are_those_of_sets(sets):
    listed = [sorted(each) for each in sets]
    for own, outcome in zip(listed, run_parties(local_sessions(3), engine((0, 1, 2), listed)), strict=True):
        assert {own[i] for i in outcome.positions} == set.intersection(*sets)


def test_whoever_waits_is_told_when_it_is_its_turn():
    """Patience is for those who wait for others: were both to wait, nobody would begin."""

    def patient(session):
        def wait(peer):
            give_up = time.monotonic() + 240
            while session.channels[peer]._into.empty():
                if time.monotonic() > give_up:
                    raise ChannelError(peer, "nothing came")
                time.sleep(0.01)

        return replace(session, patience=wait)

    outcomes = run_parties([patient(each) for each in local_sessions(4)], engine((0, 1), SETS))
    assert [each.cardinality for each in outcomes] == [4, 4, None, None]


def test_eight_parties(parties):
    sets = [[b"all", *(f"{party}-{i}".encode() for i in range(5))] for party in range(8)]
    assert parties(8, engine((5,), sets))[5].positions.tolist() == [0]


def test_a_part_of_the_parties_of_a_session(parties):
    def run(session):
        if session.index == 1:
            return None
        own = SETS[session.index]
        return intersect_all(session, Items.of(own), parties=(0, 2, 3), receivers=(2,), context=b"t")

    expected = {f"id-{i}".encode() for i in range(30, 40, 3)}
    assert {SETS[2][i] for i in parties(4, run)[2].positions} == expected


def test_the_receiver_with_fewest_items_leads():
    assert leads((0, 1), {0: 5, 1: 4, 2: 1}) == 1
    assert leads((0, 1), {0: 4, 1: 4, 2: 1}) == 0


def test_shares_of_items_that_some_lack_are_random(parties, monkeypatch):
    """What a leader adds up is zero for the common items, and has fair bits for the others; so has each store that it gets."""
    totals, stores = [], []
    original = multi_party.receive_array

    def receive(*arguments):
        stores.append(original(*arguments))
        return stores[-1]

    class Seen(multi_party._Run):
        def _shares(self, hashed):
            total = super()._shares(hashed)
            if self._session.index == 0:
                totals.append(total)
            return total

    monkeypatch.setattr(multi_party, "_Run", Seen)
    monkeypatch.setattr(multi_party, "receive_array", receive)
    for _ in range(6):
        parties(3, engine((0,), SETS[:3]))
    found = np.stack([total[:, 0] for total in totals])
    assert (found == 0).sum() == 6 * len(BOTH)
    rest = np.unpackbits(found[found != 0].view(np.uint8)).mean()
    assert abs(rest - 0.5) < 8 * 0.5 / (64 * 6 * 30) ** 0.5
    bits = np.unpackbits(np.concatenate([store.reshape(-1) for store in stores]).view(np.uint8))
    assert abs(bits.mean() - 0.5) < 8 * 0.5 / len(bits) ** 0.5


@pytest.mark.parametrize(
    ("sender", "to", "find", "change", "step"),
    [
        (1, 0, 0, lambda message: (1 << 25).to_bytes(8, "big") + message[8:], "bind"),
        (1, 2, 1, lambda message: bytes([message[0] ^ 1]) + message[1:], "salt"),
        (1, 2, 2, lambda message: message[:-1], "keys"),
        (1, 0, -1, lambda message: message[:-8], "shares"),
        (0, 1, -3, lambda message: (41).to_bytes(8, "big"), "matches"),
        (0, 1, -2, lambda message: message[:-1], "matches"),
        (0, 1, -2, lambda message: bytes(8) + message[8:], "matches"),
    ],
)
def test_each_corrupted_message_names_its_sender_and_step(parties, sender, to, find, change, step):
    sessions = local_sessions(3)
    counts = []
    inner = sessions[sender].channels[to]

    class Counting:
        peer, receive, receive_into, mark = inner.peer, inner.receive, inner.receive_into, inner.mark

        def send(self, message):
            counts.append(len(message))
            inner.send(message)

    sessions[sender].channels[to] = Counting()
    run_parties(sessions, engine((0, 1), SETS[:3]))
    number = find if find >= 0 else len(counts) + find
    error = parties(3, engine((0, 1), SETS[:3]), corrupt=(sender, to, number, change))[to]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, step)


@pytest.mark.parametrize(
    ("receivers", "some"), [((), range(4)), ((5,), range(4)), ((0,), (0, 1)), ((0,), range(9)), ((1,), (1, 2, 3))]
)
def test_local_misuse_is_refused(parties, receivers, some):
    assert isinstance(parties(4, engine(receivers, SETS, some), corrupt=(0, 1, 99, bytes))[0], ValueError)


def test_duplicates_are_refused(parties):
    outcomes = parties(3, engine((0,), [[b"a", b"a"], [b"a"], [b"a"]]), corrupt=(0, 1, 99, bytes))
    assert isinstance(outcomes[0], ValueError)


@pytest.mark.parametrize("receivers", [(0,), (0, 1)])
def test_bytes_are_foretold(receivers):
    sessions = local_sessions(3)
    sets = [[b"%d" % i for i in range(size)] for size in (2000, 3000, 4000)]
    run_parties(sessions, engine(receivers, sets))
    predicted = predict({0: 2000, 1: 3000, 2: 4000}, receivers)
    for party, session in enumerate(sessions):
        sent = sum(step.bytes for step in session.meter.steps.values())
        assert abs(predicted.bytes_sent[party] - sent) < 200_000 + sent / 100
    rounds = max(sum(step.rounds for step in session.meter.steps.values()) for session in sessions)
    assert abs(predicted.rounds - rounds) <= 2
