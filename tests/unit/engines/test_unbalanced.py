"""PSI of a small set with a prepared one: what is found, what is kept, and who is blamed."""

import fcntl
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.psi import curve25519, unbalanced
from tallystick_node.engines.psi.handshake import tag_bytes
from tallystick_node.engines.psi.items import MAX_ITEMS, Items
from tallystick_node.engines.psi.unbalanced import ask, kept, predict, prepare, serve
from unit.engines.conftest import run_parties

VERSION = b"v" * 32
HELD = [f"id-{i}".encode() for i in range(100)]
ASKED = [f"id-{i}".encode() for i in range(90, 110)] + [b""]
PREPARED = prepare(Items.of(HELD), VERSION)


def engine(folder, prepared=PREPARED, asked=ASKED, version=VERSION):
    def run(session):
        if session.index == 0:
            return serve(session, 1, prepared)
        return ask(session, 0, Items.of(asked), version, folder)

    return run


def sent_by(session):
    return sum(step.bytes for step in session.meter.steps.values())


def test_a_second_question_needs_no_tags(tmp_path):
    totals, predicted = [], predict((100, 21), 1).bytes_sent
    for _ in range(2):
        sessions = local_sessions(2)
        asked, found = run_parties(sessions, engine(tmp_path))
        assert (asked, found.places.tolist(), found.number) == (21, list(range(10)), 100)
        totals.append(sent_by(sessions[0]))
        assert sent_by(sessions[1]) == predicted[1]
    assert totals == [predicted[0], predicted[0] - 1100]


@settings(max_examples=10, deadline=None)
@given(st.sets(st.binary(max_size=2), max_size=20), st.sets(st.binary(max_size=2), max_size=20))
def test_intersections_are_those_of_sets(tmp_path_factory, held, asked):
    prepared, listed = prepare(Items.of(held), VERSION), sorted(asked)
    _, found = run_parties(local_sessions(2), engine(tmp_path_factory.mktemp("kept"), prepared, listed))
    assert {listed[place] for place in found.places} == held & asked
    assert found.number == len(held)


def test_batches_do_not_show(parties, monkeypatch, tmp_path):
    monkeypatch.setattr(unbalanced, "BATCH", 7)
    found = parties(2, engine(tmp_path, prepare(Items.of(HELD), VERSION)))[1]
    assert found.places.tolist() == list(range(10))


def test_a_new_version_has_new_tags(parties, tmp_path):
    """Kept for a version, made anew for the next one under another scalar, and sent again."""

    def items():
        made.append(1)
        return Items.of(HELD)

    made = []
    first, again = (kept(tmp_path / "holder", VERSION, items) for _ in range(2))
    assert len(made) == 1
    assert (first.scalar, first.digest) == (again.scalar, again.digest)
    second = kept(tmp_path / "holder", b"w" * 32, items)
    assert len(made) == 2
    assert second.scalar != first.scalar
    assert not np.isin(second.table.tags[:, 0], first.table.tags[:, 0]).any()
    for prepared in (first, second):
        version = prepared.version
        assert parties(2, engine(tmp_path / "asker", prepared, version=version))[1].places.tolist() == list(range(10))
    assert (tmp_path / "holder" / "current").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damaged", [lambda _: b"short", lambda content: content[:-1]])
def test_what_cannot_be_read_is_made_again(parties, tmp_path, damaged):
    prepared = kept(tmp_path / "holder", VERSION, lambda: Items.of(HELD))
    assert parties(2, engine(tmp_path / "asker"))[1].number == 100
    for path in (tmp_path / "holder" / "current" / "tags", tmp_path / "asker" / "current" / "tags"):
        path.write_bytes(damaged(path.read_bytes()))
    assert kept(tmp_path / "holder", VERSION, lambda: Items.of(HELD)).scalar != prepared.scalar
    assert parties(2, engine(tmp_path / "asker"))[1].places.tolist() == list(range(10))


def test_tags_of_another_length_are_made_anew(monkeypatch, tmp_path):
    """What an earlier release kept would match nothing."""
    before = kept(tmp_path, VERSION, lambda: Items.of(HELD))
    monkeypatch.setattr(unbalanced, "TAG", unbalanced.TAG + 1)
    assert kept(tmp_path, VERSION, lambda: Items.of(HELD)).scalar != before.scalar


def test_nothing_is_left_of_a_run_that_was_killed(tmp_path):
    (tmp_path / "fresh-abc").mkdir()
    (tmp_path / "fresh-abc" / "tags").write_bytes(b"a secret")
    kept(tmp_path, VERSION, lambda: Items.of(HELD))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "lock"]


def test_an_asker_that_waits_for_its_holder_keeps_no_other_run_waiting(tmp_path):
    waited = []

    def patience(peer):
        with (tmp_path / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        waited.append(peer)

    run_parties(local_sessions(2), lambda session: engine(tmp_path)(replace(session, patience=patience)))
    assert waited == [0]


def test_a_holder_that_says_another_number_than_its_tags_is_named(parties, tmp_path):
    parties(2, engine(tmp_path))
    error = parties(2, engine(tmp_path), corrupt=(0, 1, 0, lambda message: bytes(8) + message[8:]))[1]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (0, "hello")


def test_masks_are_taken_off():
    points = curve25519.hash_to_curve([b"a", b"b"], b"salt")
    eight = curve25519.multiply(points, curve25519.random_scalar())
    for _ in range(5):
        mask, unmask = curve25519.invertible_scalar()
        assert (curve25519.multiply(curve25519.multiply(eight, mask), unmask) == eight).all()


def test_questions_are_masked_anew(parties, tmp_path, monkeypatch):
    seen = []
    original = unbalanced.send_block
    monkeypatch.setattr(unbalanced, "send_block", lambda channel, block: (seen.append(bytes(block)), original(channel, block)))
    for _ in range(2):
        parties(2, engine(tmp_path, asked=ASKED[:1]))
    assert len(set(seen)) == 4


@pytest.mark.parametrize(
    ("sender", "number", "change", "step"),
    [
        (1, 0, lambda message: (1 << 21).to_bytes(8, "big") + message[8:], "hello"),
        (1, 0, lambda message: message[:-1], "hello"),
        (1, 1, lambda message: bytes(32) + message[32:], "items"),
        (1, 1, lambda message: message[:-1], "items"),
        (0, 0, lambda message: (1 << 27).to_bytes(8, "big") + message[8:], "hello"),
        (0, 0, lambda message: message[:-1] + bytes([message[-1] ^ 1]), "tags"),
        (0, 1, lambda message: message[8:16] + message[:8] + message[16:], "tags"),
        (0, 1, lambda message: message[:-8], "tags"),
        (0, 3, lambda message: bytes(32) + message[32:], "items"),
        (0, 3, lambda message: message[:32] + message[:32] + message[64:], "items"),
    ],
)
def test_each_corrupted_message_names_its_sender_and_step(parties, tmp_path, sender, number, change, step):
    error = parties(2, engine(tmp_path), corrupt=(sender, 1 - sender, number, change))[1 - sender]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, step)
    assert not (tmp_path / "current").exists() or step == "items"


def test_too_many_questions_are_refused(parties, monkeypatch, tmp_path):
    monkeypatch.setattr(unbalanced, "MAX_ASKED", 5)
    assert isinstance(parties(2, engine(tmp_path), corrupt=(0, 1, 99, bytes))[1], ValueError)


def test_tags_leave_40_bits_against_false_matches():
    assert tag_bytes(unbalanced.MAX_ASKED, MAX_ITEMS) <= unbalanced.TAG
