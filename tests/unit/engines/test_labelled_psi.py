"""Labelled PSI: who learns which labels, what the wire shows, and who is blamed."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.okvs.shape import Shape
from tallystick_node.engines.psi import labels as module
from tallystick_node.engines.psi import rr22, unbalanced
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.labelled import intersect_labelled, predict_labelled
from tallystick_node.engines.psi.labels import MAX_WIDTH, Labels
from tallystick_node.engines.psi.unbalanced import ask, kept, prepare, serve
from unit.engines.conftest import CorruptingChannel, run_parties

OWN = [f"id-{i}".encode() for i in range(30)]
THEIRS = [f"id-{i}".encode() for i in range(20, 70)] + [b""]
WIDTH = 37  # bytes: more than one hash of either variant, and no multiple
ROWS = np.random.default_rng(1).integers(0, 256, (len(THEIRS), WIDTH), np.uint8)
VERSION = b"v" * 32


def engine(protocol, receiver=0, sets=(OWN, THEIRS), rows=ROWS, width=WIDTH):
    def run(session):
        given = Labels(width) if session.index == receiver else Labels(width, rows)
        own = Items.of(sets[session.index != receiver])
        terms = {"peer": 1 - session.index, "receiver": receiver, "protocol": protocol, "context": b"t"}
        return intersect_labelled(session, own, given, **terms)

    return run


def opened(found, own=OWN):
    return {own[place]: row.tobytes() for place, row in zip(found.positions, found.labels, strict=True)}


def expected(own=OWN, theirs=THEIRS, rows=ROWS):
    return {item: rows[theirs.index(item)].tobytes() for item in own if item in theirs}


@pytest.mark.parametrize("receiver", [0, 1])
@pytest.mark.parametrize("protocol", ["rr22", "rr22-malicious"])
def test_the_receiver_gets_the_labels_of_its_matches_and_the_sender_nothing(parties, protocol, receiver):
    outcomes = parties(2, engine(protocol, receiver))
    assert opened(outcomes[receiver]) == expected()
    assert len(expected()) == 10
    sender = outcomes[1 - receiver]
    assert (sender.positions, sender.cardinality, sender.labels, sender.peer_items) == (None, None, None, 30)


@settings(max_examples=6, deadline=None)
@given(
    st.lists(st.binary(max_size=2), max_size=9, unique=True),
    st.dictionaries(st.binary(max_size=2), st.binary(min_size=3, max_size=3), max_size=9),
    st.sampled_from(["rr22", "rr22-malicious"]),
)
def test_labels_are_those_of_a_dictionary(own, theirs, protocol):
    rows = np.frombuffer(b"".join(theirs.values()), np.uint8).reshape(-1, 3)
    with ThreadPoolExecutor(2) as pool:
        found, _ = pool.map(engine(protocol, sets=(own, list(theirs)), rows=rows, width=3), local_sessions(2))
    assert opened(found, own) == {item: theirs[item] for item in own if item in theirs}


def test_messages_of_labels_do_not_show(parties, monkeypatch):
    monkeypatch.setattr(module, "_SENT", 3 * WIDTH)
    assert opened(parties(2, engine("rr22"))[0]) == expected()


@cache
def watched(protocol):
    """What the sender sends last: the masked labels of a run."""
    sessions, sent = local_sessions(2), []
    inner = sessions[1].channels[0]

    class Watching:
        peer, receive, receive_into, mark = 0, inner.receive, inner.receive_into, inner.mark

        def send(self, message):
            sent.append(bytes(message))
            inner.send(message)

    sessions[1].channels[0] = Watching()
    same = np.zeros((len(THEIRS), WIDTH), np.uint8)
    run_parties(sessions, engine(protocol, rows=same))
    return len(sent), np.frombuffer(sent[-1], np.uint8).reshape(-1, WIDTH)


@pytest.mark.parametrize("protocol", ["rr22", "rr22-malicious"])
def test_equal_labels_look_different_and_no_pad_has_a_part_twice(protocol):
    _, sealed = watched(protocol)
    assert sealed.shape == (len(THEIRS), WIDTH)
    parts = [row[start : start + 8].tobytes() for row in sealed for start in range(0, 32, 8)]
    assert len(set(parts)) == len(parts)


def test_pads_are_no_parts_of_tags(monkeypatch, parties):
    """A tag is public: nothing of it may mask a label."""
    seen = {}

    def tags_of(*arguments):
        found = original_tags(*arguments)
        seen.setdefault("tags", found.copy())
        return found

    def pads_of(*arguments):
        found = original_pads(*arguments)
        seen.setdefault("pads", found.copy())
        return found

    original_tags, original_pads = rr22._tags, rr22._pads
    monkeypatch.setattr(rr22, "_tags", tags_of)
    monkeypatch.setattr(rr22, "_pads", pads_of)
    for protocol in ("rr22", "rr22-malicious"):
        seen.clear()
        parties(2, engine(protocol))
        pads = np.ascontiguousarray(seen["pads"][:, :32]).view(np.uint64)
        assert not np.isin(pads, seen["tags"]).any()


@pytest.mark.parametrize("change", [lambda message: message[:-1], lambda message: message + b"0"])
def test_labels_of_another_length_name_their_sender(parties, change):
    number, _ = watched("rr22")
    error = parties(2, engine("rr22"), corrupt=(1, 0, number - 1, change))[0]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (1, "labels")


@pytest.mark.parametrize("protocol", ["rr22", "rr22-malicious"])
def test_a_changed_label_ends_nothing_so_that_the_sender_learns_nothing(parties, protocol):
    """It is the sender's own input: an error would tell it that the item matched."""
    number, _ = watched(protocol)
    flipped = [parties(2, engine(protocol), corrupt=(1, 0, number - 1, lambda message: bytes([255 ^ b for b in message])))[0]]
    assert opened(flipped[0]) == {item: bytes(255 ^ b for b in row) for item, row in expected().items()}


def test_a_store_of_other_items_opens_no_label(parties):
    """What the encoder sends decides what it can open: noise in its place opens nothing."""
    noise = np.random.default_rng(2).integers(0, 256, 8 * Shape.of(len(OWN)).total, np.uint8).tobytes()
    sessions = local_sessions(2)
    channel = sessions[0].channels[1]
    sent = []

    class Counting(CorruptingChannel):
        def send(self, message):
            sent.append(len(message))
            super().send(message)

    sessions[0].channels[1] = Counting(channel, -1, bytes)
    run_parties(sessions, engine("rr22"))
    number = len(sent) - 1 - sent[::-1].index(len(noise))
    found = parties(2, engine("rr22"), corrupt=(0, 1, number, lambda _: noise))[0]
    assert (found.cardinality, found.labels.shape) == (0, (0, WIDTH))


def test_parties_that_expect_other_widths_end(parties):
    def run(session):
        width = WIDTH + session.index
        rows = None if session.index == 0 else np.zeros((len(THEIRS), width), np.uint8)
        own = Items.of((OWN, THEIRS)[session.index])
        terms = {"peer": 1 - session.index, "receiver": 0, "protocol": "rr22", "context": b"t"}
        return intersect_labelled(session, own, Labels(width, rows), **terms)

    error = parties(2, run, corrupt=(0, 1, 99, bytes))[0]
    assert isinstance(error, ProtocolViolation)
    assert error.step == "salt"


@pytest.mark.parametrize(
    "rows", [None, ROWS[:-1], ROWS[:, :-1], ROWS.astype(np.uint16)], ids=["none", "fewer", "narrower", "another type"]
)
def test_local_misuse_is_refused_before_anything_is_sent(rows):
    session = local_sessions(2)[1]
    with pytest.raises(ValueError, match="one label"):
        engine("rr22", rows=rows)(session)
    assert not sum(step.bytes for step in session.meter.steps.values())
    for width in (0, MAX_WIDTH + 1):
        with pytest.raises(ValueError, match="has 1 to"):
            Labels(width)
    for change in ({"protocol": "ecdh"}, {"receiver": 2}, {"peer": 5}):
        terms = {"peer": 0, "receiver": 0, "protocol": "rr22", "context": b"t"} | change
        with pytest.raises(ValueError, match="two parties"):
            intersect_labelled(session, Items.of(THEIRS), Labels(WIDTH, ROWS), **terms)


def test_too_many_items_are_refused_on_either_side(parties, monkeypatch):
    monkeypatch.setattr(rr22, "MAX_ITEMS", 40)
    receiver, sender = parties(2, engine("rr22"), corrupt=(0, 1, 99, bytes))
    assert isinstance(sender, ValueError)
    assert isinstance(receiver, ChannelError)


@pytest.mark.parametrize("protocol", ["rr22", "rr22-malicious"])
def test_bytes_are_foretold(protocol):
    sessions = local_sessions(2)
    run_parties(sessions, engine(protocol))
    for session, told in zip(sessions, predict_labelled(protocol, (30, 51), 0, WIDTH).bytes_sent, strict=True):
        assert abs(sum(step.bytes for step in session.meter.steps.values()) - told) < 100_000
    sent = sessions[1].meter.steps["psi/labels"]
    assert sent.bytes == 51 * WIDTH


# -- of a prepared set


def questions(folder, prepared, asked=OWN, version=VERSION, width=WIDTH):
    def run(session):
        if session.index == 0:
            return serve(session, 1, prepared)
        return ask(session, 0, Items.of(asked), version, folder, width)

    return run


def test_a_prepared_set_with_labels(tmp_path, parties):
    prepared = prepare(Items.of(THEIRS), VERSION, labelled=Labels(WIDTH, ROWS))
    assert not (prepared.table.sealed == ROWS).all(axis=1).any()
    for _ in range(2):  # the second time from what is kept
        sessions = local_sessions(2)
        asked, found = run_parties(sessions, questions(tmp_path, prepared))
        assert (asked, found.number) == (30, 51)
        assert {OWN[place]: row.tobytes() for place, row in zip(found.places, found.labels, strict=True)} == expected()
    assert sum(step.bytes for step in sessions[0].meter.steps.values()) == 40 + 30 * 32
    told = unbalanced.predict((51, 30), 1, WIDTH).bytes_sent
    assert told == (40 + 30 * 32 + 51 * (11 + WIDTH), 40 + 30 * 32)


def test_what_a_holder_keeps_is_of_a_width_and_pads_are_of_a_version(tmp_path):
    def made(folder, version, width=WIDTH):
        return kept(tmp_path / folder, version, lambda: Items.of(THEIRS), width=width, rows=lambda: ROWS[:, :width])

    first, again = made("a", VERSION), made("a", VERSION)
    assert (again.scalar, again.digest) == (first.scalar, first.digest)
    for other in (made("a", VERSION, WIDTH - 16), made("b", b"w" * 32)):
        assert other.scalar != first.scalar
        assert not np.isin(other.table.sealed[:, :8].copy().view(np.uint64), first.table.sealed[:, :8].copy().view(np.uint64)).any()


@pytest.mark.parametrize(
    ("number", "change", "step"),
    [(3, lambda message: message[:-1], "labels"), (3, lambda message: bytes(len(message)), "tags")],
)
def test_masked_labels_that_are_not_the_announced_ones_name_the_holder(tmp_path, parties, number, change, step):
    prepared = prepare(Items.of(THEIRS), VERSION, labelled=Labels(WIDTH, ROWS))
    error = parties(2, questions(tmp_path, prepared), corrupt=(0, 1, number, change))[1]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (0, step)
    assert not (tmp_path / "current").exists()
