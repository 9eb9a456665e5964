"""PSI from a key-value store and silent VOLE: what each side learns, what is sent, and who is blamed."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.okvs import shape as shapes
from tallystick_node.engines.okvs.shape import Shape
from tallystick_node.engines.psi import handshake, oprf, rr22, tags
from tallystick_node.engines.psi.handshake import tag_bytes
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.two_party import intersect

LEFT = [f"id-{i}".encode() for i in range(30)]
TERMS = {"mode": "ids", "protocol": "rr22", "context": b"t"}
RIGHT = [f"id-{i}".encode() for i in range(20, 70)] + [b""]


def engine(receivers, sets=(LEFT, RIGHT), **terms):
    def run(session):
        return intersect(session, Items.of(sets[session.index]), peer=1 - session.index, receivers=receivers, **TERMS | terms)

    return run


@pytest.mark.parametrize("receivers", [(0,), (1,), (0, 1)])
def test_each_side_learns_what_it_should(parties, receivers):
    outcomes = parties(2, engine(receivers))
    assert [each.peer_items for each in outcomes] == [51, 30]
    for party, (outcome, matched) in enumerate(zip(outcomes, (range(20, 30), range(10)), strict=True)):
        if party in receivers:
            assert (outcome.cardinality, outcome.positions.tolist()) == (10, list(matched))
        else:
            assert (outcome.cardinality, outcome.positions) == (None, None)


@settings(max_examples=5, deadline=None)
@given(st.sets(st.binary(max_size=3), max_size=12), st.sets(st.binary(max_size=3), max_size=12))
def test_intersections_are_those_of_sets(left, right):
    sets = (sorted(left), sorted(right, reverse=True))
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(engine((0, 1), sets), local_sessions(2)))
    for own, outcome in zip(sets, outcomes, strict=True):
        assert {own[i] for i in outcome.positions} == left & right


@pytest.mark.parametrize("sizes", [(3000, 40), (40, 3000), (2500, 2500)])
def test_unequal_sizes_and_buckets(parties, monkeypatch, sizes):
    monkeypatch.setattr(shapes, "UNCUT", 1000)
    monkeypatch.setattr(shapes, "BUCKET", 500)
    sets = [[f"{i}".encode() for i in range(sizes[0])], [f"{i}".encode() for i in range(sizes[1])]]
    for outcome in parties(2, engine((0, 1), sets)):
        assert outcome.positions.tolist() == list(range(min(sizes)))


def test_of_two_receivers_the_one_with_fewer_items_encodes():
    assert rr22.encoder((0, 1), {0: 5, 1: 4}) == 1
    assert rr22.encoder((0, 1), {0: 4, 1: 4}) == 0
    assert rr22.encoder((1,), {0: 4, 1: 5}) == 1


def watched(monkeypatch):
    """What is sent as arrays, by sender and shape, in runs that follow."""
    sent = []

    def send(session, peer, array):
        sent.append((session.index, np.array(array)))
        original(session, peer, array)

    original = oprf.send_array
    monkeypatch.setattr(oprf, "send_array", send)
    monkeypatch.setattr(rr22.tags, "send_array", send)
    return sent


def test_tags_come_in_an_order_of_their_own(parties, monkeypatch):
    sent = watched(monkeypatch)
    parties(2, engine((0,)))
    (store, first, _) = sent
    assert store[0] == 0
    assert store[1].shape == (Shape.of(30).total, 1)
    assert first[0] == 1
    assert (np.diff(first[1].astype(object)) > 0).all()


def test_two_runs_send_nothing_alike(parties, monkeypatch):
    sent = watched(monkeypatch)
    parties(2, engine((0,)))
    parties(2, engine((0,)))
    stores = [array.reshape(-1) for _, array in sent if len(array) == Shape.of(30).total]
    tags = [array.reshape(-1) for _, array in sent if len(array) == 51 and array.dtype == np.uint64]
    assert not np.isin(stores[0], stores[1]).any()
    assert not np.isin(tags[0], tags[1]).any()


def test_what_the_encoder_sends_has_fair_bits(parties, monkeypatch):
    sent = watched(monkeypatch)
    for _ in range(8):
        parties(2, engine((0,)))
    stores = np.stack([array.reshape(-1) for _, array in sent if len(array) == Shape.of(30).total])
    means = np.unpackbits(stores.view(np.uint8), axis=1).reshape(8, -1, 64).mean(axis=(0, 2))
    assert abs(means - 0.5).max() < 8 * 0.5 / (8 * 64) ** 0.5


def flip(message):
    return bytes([message[0] ^ 1]) + message[1:]


def short(message):
    return message[:-1]


@cache
def messages_of(receivers, sender, protocol="rr22"):
    """The sizes of the messages that ``sender`` sends in a run."""
    sessions = local_sessions(2)
    sizes = []
    inner = sessions[sender].channels[1 - sender]

    class Counting:
        peer = inner.peer
        receive, receive_into, mark = inner.receive, inner.receive_into, inner.mark

        def send(self, message):
            sizes.append(len(message))
            inner.send(message)

    sessions[sender].channels[1 - sender] = Counting()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(engine(receivers, protocol=protocol), sessions))
    return sizes


STORE = 8 * Shape.of(30).total


@pytest.mark.parametrize(
    ("sender", "which", "change", "step"),
    [
        (1, 0, short, "bind"),
        (1, 0, lambda message: b"\xff" * 8 + message[8:], "bind"),
        (1, 0, lambda message: (1 << 25).to_bytes(8, "big") + message[8:], "bind"),
        (1, 1, flip, "salt"),
        (1, 1, short, "salt"),
        (0, "store", short, "store"),
        (1, "tags", short, "tags"),
        (1, "tags", lambda message: message[:8] * 51, "tags"),
        (1, "tags", lambda message: message[8:16] + message[:8] + message[16:], "tags"),
        (0, "matches", short, "matches"),
        (0, "matches", flip, "matches"),
        (0, "matches", lambda message: message[:6] + bytes([message[6] | 1]) + message[7:], "matches"),
        (0, "matches", lambda message: message[:-1] + bytes([message[-1] ^ 1]), "matches"),
    ],
)
def test_each_corrupted_message_names_its_sender_and_step(parties, sender, which, change, step):
    sizes = messages_of((0, 1), sender)
    size = {"store": STORE, "tags": 8 * 51, "matches": 7 + 32}.get(which)
    number = which if size is None else len(sizes) - 1 - sizes[::-1].index(size)
    error = parties(2, engine((0, 1)), corrupt=(sender, 1 - sender, number, change))[1 - sender]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, step)


MALICIOUS = {"protocol": "rr22-malicious"}


@pytest.mark.parametrize("receiver", [0, 1])
def test_the_malicious_variant_finds_the_same(parties, receiver):
    outcomes = parties(2, engine((receiver,), **MALICIOUS))
    assert outcomes[receiver].positions.tolist() == (list(range(20, 30)), list(range(10)))[receiver]
    assert outcomes[1 - receiver].positions is None


def test_the_malicious_variant_has_one_receiver(parties):
    assert all(isinstance(each, ValueError) for each in parties(2, engine((0, 1), **MALICIOUS)))


@pytest.mark.parametrize(
    ("sender", "which", "change", "step"),
    [
        (0, "store", lambda message: message[:-8], "store"),
        (1, "tags", lambda message: message[:-1], "tags"),
        (1, "pad", lambda message: secrets.token_bytes(32), "pad"),
    ],
)
def test_each_corrupted_message_of_the_malicious_variant(parties, sender, which, change, step):
    sizes = messages_of((0,), sender, "rr22-malicious")
    size = {"store": 2 * STORE, "tags": 8 * 51, "pad": 32}[which]
    number = len(sizes) - 1 - sizes[::-1].index(size)
    error = parties(2, engine((0,), **MALICIOUS), corrupt=(sender, 1 - sender, number, change))[1 - sender]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, step)


def test_an_evaluation_that_is_tampered_with_ends_the_malicious_variant(parties):
    """One bit of the trees' sums: whoever receives or answers it notices, and nothing is matched."""
    sizes = messages_of((0,), 1, "rr22-malicious")
    largest = max(range(3, len(sizes) - 3), key=lambda number: sizes[number])
    found = parties(2, engine((0,), **MALICIOUS), corrupt=(1, 0, largest, flip))
    assert any(isinstance(each, ProtocolViolation) for each in found)


def test_a_tampered_store_matches_nothing(parties):
    sizes = messages_of((0,), 0)
    number = len(sizes) - 1 - sizes[::-1].index(STORE)
    spoilt = parties(2, engine((0,)), corrupt=(0, 1, number, lambda message: secrets.token_bytes(len(message))))[0]
    assert spoilt.cardinality == 0


def test_a_replayed_half_of_a_salt_is_noticed(parties, monkeypatch):
    """The half that an earlier run opened, sent again: the peer is bound to another."""
    kept = []

    def replay(message):
        kept.append(message)
        return kept[0]

    assert parties(2, engine((0,)), corrupt=(1, 0, 1, replay))[0].cardinality == 10
    error = parties(2, engine((0,)), corrupt=(1, 0, 1, replay))[0]
    assert isinstance(error, ProtocolViolation)
    assert error.step == "salt"


def test_halves_are_sealed_to_their_party():
    """Or a peer could send the other's own binding and half back, and know the salt beforehand."""
    assert handshake._seal(b"c", 0, bytes(32)) != handshake._seal(b"c", 1, bytes(32))


def test_a_peer_with_another_context_is_noticed(parties):
    def run(session):
        context = b"t" if session.index else b"other"
        return intersect(session, Items.of(LEFT), peer=1 - session.index, receivers=(0,), **TERMS | {"context": context})

    assert all(isinstance(each, ChannelError) for each in parties(2, run))


@pytest.mark.parametrize("arguments", [{"receivers": ()}, {"receivers": (2,)}, {"peer": 5}, {"mode": "cardinality"}])
def test_local_misuse_is_refused(parties, arguments):
    def run(session):
        given_ = {"peer": 1 - session.index, "receivers": (0,)} | TERMS | arguments
        return intersect(session, Items.of([b"a"]), **given_)

    assert isinstance(parties(2, run)[0], ValueError)


def test_too_many_items_are_refused(parties, monkeypatch):
    monkeypatch.setattr(rr22, "MAX_ITEMS", 10)
    assert isinstance(parties(2, engine((0,)))[0], ValueError)


@pytest.mark.parametrize("who", [0, 1])
def test_duplicates_are_refused(parties, who):
    sets = [[b"a", b"b"], [b"a", b"b"]]
    sets[who] = [b"a", b"a"]
    assert isinstance(parties(2, engine((0,), sets))[who], ValueError)


def test_tags_leave_40_bits_against_false_matches():
    assert tag_bytes(1 << 20, 1 << 20) == 10
    assert tag_bytes((1 << 20) + 1, 1 << 20) == 11
    assert tag_bytes(0, 0) == tag_bytes(1, 1) == 5


def test_tags_are_in_the_order_of_both_words(parties):
    given = np.array([[5, 9], [5, 1], [2, 7], [5, 4]], np.uint64)

    def run(session):
        if session.index == 0:
            return tags.send_sorted(session, 1, given, 9).tolist()
        return [words.tolist() for words in tags.receive(session, 0, 4, 9, "tags")]

    assert parties(2, run) == [[2, 1, 3, 0], [[2, 5, 5, 5], [7, 1, 4, 9]]]


def test_a_tag_that_comes_twice_is_refused_wherever_it_stands(parties):
    """Else one item would be counted twice."""
    twice = np.array([[5, 9], [5, 1], [5, 9]], np.uint64)

    def run(session):
        if session.index == 1:
            return tags.receive(session, 0, 3, 9, "tags")
        send_array(session, 1, twice[:, 0])
        send_array(session, 1, twice[:, 1:].view(np.uint8)[:, :1])
        return tags.send_sorted(session, 1, twice, 9)

    local, outcome = parties(2, run)
    assert isinstance(local, ValueError)
    assert isinstance(outcome, ProtocolViolation)
    assert (outcome.peer, outcome.step) == (0, "tags")


@pytest.mark.parametrize(("announced", "slots"), [(10, 98), (1000, 1541), (10**6, 1_232_753)])
def test_an_encoder_can_put_in_as_many_items_as_is_said(announced, slots):
    assert Shape.of(announced).total == slots
