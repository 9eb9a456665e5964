"""An intersection in parts: equal to one in a piece, also when parties are killed on the way, and who goes on with whom."""

import hashlib
import queue
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.psi import handshake, oprf, parts, rr22, two_party
from tallystick_node.engines.psi.handshake import bind
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.journal import Journal, Run
from tallystick_node.engines.psi.labelled import intersect_labelled, predict_labelled
from tallystick_node.engines.psi.labels import Labels
from tallystick_node.engines.psi.oprf import MALICIOUS, SEMI_HONEST
from tallystick_node.engines.psi.parts import Cut
from unit.engines.conftest import CorruptingChannel, run_parties

SETS = ([f"id-{i}".encode() for i in range(70)], [f"id-{i}".encode() for i in range(40, 90)])
PART = 24  # three parts
EXPECTED = (list(range(40, 70)), list(range(30)))


class Killed(BaseException):
    """The end of a process, as far as a thread can have one."""


class Links:
    """Both ends of one link, cut for both when a party dies at its ``number``-th message."""

    def __init__(self, dies=None, number=0):
        self.sessions, self.cut = list(local_sessions(2, 240.0)), threading.Event()
        if dies is not None:
            self.sessions = [
                replace(each, channels={1 - each.index: Mortal(each, self.cut, number if each.index == dies else None)})
                for each in self.sessions
            ]


class Mortal:
    """Passes messages on until its party dies; then the other's ends, too, as a socket does."""

    def __init__(self, session, cut, number):
        self.peer, self.inner, self.cut, self.left = 1 - session.index, session.channels[1 - session.index], cut, number

    def _step(self):
        if self.cut.is_set():
            raise ChannelError(self.peer, "closed the link")
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.cut.set()
                raise Killed

    def send(self, message):
        self._step()
        self.inner.send(message)

    def receive(self):
        self._step()
        while True:
            try:
                message = self.inner._into.get(timeout=0.02)
            except queue.Empty:
                if not self.cut.is_set():
                    continue
                message = None
            if message is None:
                raise ChannelError(self.peer, "closed the link")
            return message

    def receive_into(self, view):
        message = self.receive()
        view[:] = message
        return len(message)

    def mark(self, phase):
        self.inner.mark(phase)


def engine(folder, receivers=(0, 1), variant=SEMI_HONEST, sets=SETS, part=PART):
    """One party's side."""

    def run(session):
        items = Items.of(sets[session.index])
        try:
            bound = bind(session, 1 - session.index, items, b"c" * 32)
            return parts.exchange(bound, receivers, variant, folder / str(session.index) if folder else None, part)
        except Killed:
            return None

    return run


ROWS = np.random.default_rng(3).integers(0, 256, (70, 37), np.uint8)  # the first party's labels


def labelled(folder, rows=ROWS, variant=SEMI_HONEST):
    """One party's side of a run in which the second receives labels of the first."""

    def run(session):
        items = Items.of(SETS[session.index])
        own = Labels(rows.shape[1], None if session.index else rows)
        try:
            bound = bind(session, 1 - session.index, items, b"c" * 32)
            return parts.exchange(bound, [1], variant, folder / str(session.index) if folder else None, PART, own)
        except Killed:
            return None

    return run


def gets(found, rows=ROWS):
    return found.positions.tolist() == EXPECTED[1] and (found.labels == rows[EXPECTED[0]]).all()


@pytest.mark.parametrize("variant", [SEMI_HONEST, MALICIOUS])
def test_labels_come_with_the_parts_of_their_items(parties, variant):
    sender, receiver = parties(2, labelled(None, variant=variant))
    assert gets(receiver)
    assert (sender.positions, sender.labels, sender.peer_items) == (None, None, 50)


@pytest.mark.parametrize("party", [0, 1])
def test_labels_of_parts_that_are_done_are_kept(tmp_path, monkeypatch, begun, party):
    with monkeypatch.context() as patched:
        run_parties(dying_after(patched, party, 1).sessions, labelled(tmp_path))
    begun.clear()
    _, receiver = run_parties(Links().sessions, labelled(tmp_path))
    assert gets(receiver)
    assert 0 not in begun
    assert (tmp_path / "1" / "labels-0").stat().st_mode & 0o077 == 0
    assert gets(run_parties(Links().sessions, labelled(tmp_path))[1])  # all is done


def dying_after(monkeypatch, party, number):
    """Links of parties of which one dies once it has kept a part."""
    original, cut = Journal.keep, Links(party, 10**9)

    def keep(journal, which, found):
        original(journal, which, found)
        if which == number and journal._folder.name == str(party):
            cut.cut.set()
            raise Killed

    monkeypatch.setattr(Journal, "keep", keep)
    return cut


def test_a_sender_whose_labels_changed_begins_anew(tmp_path, begun):
    run_parties(Links(0, 50).sessions, labelled(tmp_path))
    begun.clear()
    changed = ROWS ^ 1
    _, receiver = run_parties(Links().sessions, labelled(tmp_path, changed))
    assert gets(receiver, changed)
    assert sorted(begun) == [0, 0, 1, 1, 2, 2]


def positions(outcomes):
    return [None if each.positions is None else each.positions.tolist() for each in outcomes]


@pytest.mark.parametrize(("receivers", "variant"), [((0,), SEMI_HONEST), ((0, 1), SEMI_HONEST), ((1,), MALICIOUS)])
def test_parts_find_what_sets_do(parties, receivers, variant):
    outcomes = parties(2, engine(None, receivers, variant))
    assert positions(outcomes) == [EXPECTED[party] if party in receivers else None for party in range(2)]
    assert [each.peer_items for each in outcomes] == [50, 70]


@settings(max_examples=6, deadline=None)
@given(st.sets(st.binary(max_size=2), min_size=1, max_size=40), st.sets(st.binary(max_size=2), min_size=1, max_size=40))
def test_parts_find_what_sets_do_whatever_they_are(left, right):
    sets = (sorted(left), sorted(right))
    outcomes = run_parties(local_sessions(2, 240.0), engine(None, sets=sets, part=9))
    for own, outcome in zip(sets, outcomes, strict=True):
        assert {own[i] for i in outcome.positions} == left & right


@pytest.fixture
def begun(monkeypatch):
    """The parts that began, in their order, one entry for each party."""
    seen, original = [], parts._part

    def watched(run, cut, number, *rest):
        seen.append(number)
        return original(run, cut, number, *rest)

    monkeypatch.setattr(parts, "_part", watched)
    return seen


def messages(tmp_path, party):
    """How many steps a whole run takes at a party."""
    links = Links(party, 10**9)
    run_parties(links.sessions, engine(tmp_path / "whole"))
    return 10**9 - links.sessions[party].channels[1 - party].left


def test_a_run_killed_anywhere_goes_on_to_the_same_end(tmp_path):
    """At either party, at messages all over the run, and once more in the run that goes on."""
    for party in (0, 1):
        steps = messages(tmp_path, party)
        for number in range(3 + 5 * party, steps, steps // 4):
            folder = tmp_path / f"{party}-{number}"
            run_parties(Links(party, number).sessions, engine(folder))
            run_parties(Links(1 - party, number // 2).sessions, engine(folder))
            assert positions(run_parties(Links().sessions, engine(folder))) == list(EXPECTED)


@pytest.mark.parametrize("party", [0, 1])
@pytest.mark.parametrize("number", range(3))
def test_a_run_killed_between_two_parts_does_not_do_them_again(tmp_path, monkeypatch, begun, party, number):
    with monkeypatch.context() as patched:
        run_parties(dying_after(patched, party, number).sessions, engine(tmp_path))
    begun.clear()
    assert positions(run_parties(Links().sessions, engine(tmp_path))) == list(EXPECTED)
    first = min(begun, default=3)
    assert first in (number, number + 1)  # the other may not have kept it yet
    assert sorted(begun) == sorted([*range(first, 3)] * 2)


def test_parts_that_are_done_again_send_nothing_alike(tmp_path, monkeypatch):
    stores, original = [], oprf.send_array

    def send(session, peer, array):
        stores.append(np.array(array).reshape(-1))
        original(session, peer, array)

    monkeypatch.setattr(oprf, "send_array", send)
    for _ in range(2):
        run_parties(Links(1, 34).sessions, engine(tmp_path, (0,)))  # it ends with the store of a part
    assert len(stores) == 4  # of the first part, twice of the second, of the third
    assert len({len(each) for each in stores}) == 1
    for index, one in enumerate(stores):
        for other in stores[:index]:
            assert not np.isin(one, other).any()


def test_all_parts_have_one_size_whatever_is_in_them(parties, monkeypatch):
    sizes, original = [], parts.bind

    def watched(session, peer, items, context):
        sizes.append((session.index, len(items)))
        return original(session, peer, items, context)

    monkeypatch.setattr(parts, "bind", watched)
    parties(2, engine(None))
    cut = Cut.of(70, 50, PART)
    assert sorted(sizes) == [(0, cut.own)] * 3 + [(1, cut.theirs)] * 3


def kill_in(folder):
    """In the second of three parts."""
    run_parties(Links(1, 30).sessions, engine(folder))
    assert {Journal(folder / str(party)).done() for party in (0, 1)} == {1}


def test_changed_items_begin_anew(tmp_path, begun):
    kill_in(tmp_path)
    begun.clear()
    changed = (SETS[0], [*SETS[1][:-1], b"id-0"])
    assert positions(run_parties(Links().sessions, engine(tmp_path, sets=changed))) == [[0, *range(40, 70)], [*range(30), 49]]
    assert sorted(begun) == sorted([*range(3)] * 2)


def test_a_lost_folder_begins_anew(tmp_path, begun):
    kill_in(tmp_path)
    (tmp_path / "1").rename(tmp_path / "lost")
    begun.clear()
    assert positions(run_parties(Links().sessions, engine(tmp_path))) == list(EXPECTED)
    assert sorted(begun) == sorted([*range(3)] * 2)


def changed_hello(place, change):
    def apply(message):
        assert len(message) == parts.HELLO_BYTES
        return message[:place] + change + message[place + len(change) :]

    return apply


@pytest.mark.parametrize(
    ("place", "change", "rule"),
    [
        (36, b"x" * 32, "another seal"),
        (32, (0).to_bytes(4, "big"), "0 parts are done"),
        (32, (4).to_bytes(4, "big"), "4 parts are done"),
    ],
)
def test_a_peer_that_goes_on_as_another_is_named(tmp_path, place, change, rule):
    run_parties(Links().sessions, engine(tmp_path))
    for party in (0, 1):
        Journal(tmp_path / str(party)).forget_from(2)
    sessions = local_sessions(2, 240.0)
    channels = sessions[1].channels
    channels[0] = CorruptingChannel(channels[0], 2, changed_hello(place, change))  # after bind and salt

    def run(session):
        try:
            return engine(tmp_path)(session)
        except ChannelError as error:
            return error
        finally:
            session.channels[1 - session.index].send(b"")  # so that nobody waits for who gave up

    error = run_parties(sessions, run)[0]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (1, "parts")
    assert rule in str(error)


def test_a_peer_with_another_number_of_items_in_a_part_is_named(parties, monkeypatch):
    original = Cut.of
    monkeypatch.setattr(
        Cut,
        "of",
        lambda own, theirs, part: replace(original(own, theirs, part), theirs=original(own, theirs, part).theirs + (own == 70)),
    )
    error, _ = parties(2, engine(None), corrupt=(0, 1, 10**6, bytes))
    assert isinstance(error, ProtocolViolation)
    assert "items in a part where" in str(error)


@pytest.mark.parametrize("items", [1, 5, 70, 10_000, 10**7, 1 << 24])
@pytest.mark.parametrize("number", [2, 5, 16])
def test_a_part_takes_its_items_but_once_in_2_to_the_40(items, number):
    """Against the exact tail of the binomial distribution."""
    from scipy.stats import binom

    capacity = parts._capacity(items, number)
    assert capacity == items or number * binom.sf(capacity, items, 1 / number) <= 2**-41
    assert capacity <= items / number * 1.02 + 200 or items < 10**6


@pytest.mark.parametrize("larger", [(1 << 21) + 1, 10**7, 1 << 24])
def test_tags_are_cut_for_all_parts_together(larger):
    """Any two of a part may match by accident, what fills it up among them: in all parts once in 2^40 runs."""
    for bits in range(4, 25):
        cut = Cut.of(larger, min(larger, 1 << bits))
        width = handshake.tag_bytes(cut.own, cut.theirs, cut.parts)
        assert cut.parts * cut.own * cut.theirs <= 2 ** (8 * width - 40)


def test_the_tags_of_a_part_are_of_that_width(parties, monkeypatch):
    asked, original = set(), rr22.tag_bytes

    def watched(own, theirs, runs):
        asked.add((frozenset([own, theirs]), runs))
        return original(own, theirs, runs)

    monkeypatch.setattr(rr22, "tag_bytes", watched)
    cut = Cut.of(70, 50, PART)
    assert positions(parties(2, engine(None))) == list(EXPECTED)
    assert asked == {(frozenset([cut.own, cut.theirs]), 3)}


@pytest.mark.parametrize(("items", "room"), [(10**6, 1.032), (10**4, 1.335), (10, 16)])
def test_the_room_of_a_party_that_deviates_is_what_is_said(items, room):
    cut = Cut.of(1 << 24, items)
    assert 0.97 * room <= cut.parts * cut.theirs / items <= room


def test_overflowing_parts_end_the_run(parties, monkeypatch):
    monkeypatch.setattr(parts, "_placed", lambda items, cut, number: np.zeros(len(items), np.uint8))
    outcomes = parties(2, engine(None, part=4), corrupt=(0, 1, 10**6, bytes))
    assert any(isinstance(each, ValueError) and "more items than it takes" in str(each) for each in outcomes)


def test_a_journal_says_what_it_was_told(tmp_path):
    run = Run(b"t" * 32, b"c" * 32, b"n" * 32, (b"a" * 32, b"b" * 32))
    assert Journal(tmp_path / "j").run() is None
    for journal in (Journal(tmp_path / "j"), Journal(None)):
        journal.begin(run)
        for number in range(3):
            journal.keep(number, np.arange(number, 2 * number))
        journal.forget_from(2)
        assert journal.done() == 2
        assert journal.found(1).tolist() == [1]
    again = Journal(tmp_path / "j")
    assert (again.run(), again.done()) == (run, 2)
    again.begin(replace(run, cut=b"d" * 32))
    assert again.done() == 0
    (tmp_path / "j" / "run").write_bytes(b"short")
    assert again.run() is None


def test_two_parties_take_parts_from_a_size_on(parties, monkeypatch, tmp_path):
    monkeypatch.setattr(parts, "UNCUT", 60)
    monkeypatch.setattr(parts, "PART", 16)
    used = []
    monkeypatch.setattr(parts, "exchange", lambda run, receivers, variant, folder: used.append(folder))

    def run(session):
        terms = {"mode": "ids", "protocol": "rr22", "context": b"t", "folder": tmp_path}
        return two_party.intersect(session, Items.of(SETS[session.index]), peer=1 - session.index, receivers=(0,), **terms)

    parties(2, run)
    assert used == [tmp_path] * 2


@pytest.mark.parametrize("protocol", ["rr22", "rr22-malicious"])
def test_a_prediction_holds_for_parts(parties, monkeypatch, protocol):
    monkeypatch.setattr(parts, "UNCUT", 60)
    sizes = (9000, 7000)
    sets = [[f"{i}".encode() for i in range(size)] for size in sizes]
    original, cut = parts.exchange, Cut.of
    monkeypatch.setattr(parts, "exchange", lambda *arguments: original(*arguments, part=4000))
    monkeypatch.setattr(parts.Cut, "of", lambda own, theirs, part=4000: cut(own, theirs, part))
    sent = {}

    def run(session):
        terms = {"mode": "ids", "protocol": protocol, "context": b"t"}
        two_party.intersect(session, Items.of(sets[session.index]), peer=1 - session.index, receivers=(0,), **terms)
        sent[session.index] = sum(step.bytes for step in session.meter.steps.values())

    parties(2, run)
    predicted = two_party.predict(protocol, "ids", sizes, (0,)).bytes_sent
    for party in (0, 1):
        assert abs(sent[party] - predicted[party]) < 0.02 * predicted[party] + 3 * 100_000


def test_what_is_filled_up_has_strings_of_its_own():
    items = Items.of([b"a", b"bc"])[1:]
    filled = items.filled(3)
    assert filled[0] == b"bc"
    assert len({*filled}) == 3
    assert len(filled[1]) == len(filled[2]) == 32
    assert handshake.SALT == 32  # the length of a filler is no sign: keys may have it


def test_labelled_sets_above_the_bound_run_in_parts(monkeypatch, begun):
    monkeypatch.setattr(parts, "UNCUT", 60)
    terms = {"receiver": 1, "protocol": "rr22", "context": b"t"}

    def run(session):
        own = Labels(37, None if session.index else ROWS)
        return intersect_labelled(session, Items.of(SETS[session.index]), own, peer=1 - session.index, **terms)

    _, receiver = run_parties(local_sessions(2, 240.0), run)
    assert gets(receiver)
    assert begun == [0, 0]  # of one part: 70 items are fewer than a part takes
    small, large = predict_labelled("rr22", (60, 50), 1, 37), predict_labelled("rr22", (70, 50), 1, 37)
    assert large.bytes_sent[0] > small.bytes_sent[0]


def test_rows_of_many_keys_are_not_opened(monkeypatch):
    monkeypatch.setattr(parts, "UNCUT", 60)
    sessions, never = local_sessions(2), lambda *_: pytest.fail("no row is shown")
    terms = {"receiver": 1, "protocol": "rr22", "context": b"t"}
    with pytest.raises(ValueError, match="at most 60"):
        intersect_labelled(sessions[0], Items.of(SETS[0]), Labels(37, ROWS), peer=1, checks=never, **terms)

    def run(session):
        if session.index:
            return intersect_labelled(session, Items.of(SETS[1]), Labels(37), peer=0, shows=never, **terms)
        return bind(session, 1, Items.of(SETS[0]), hashlib.sha256(labelled_domain() + b"t").digest())

    with pytest.raises(ProtocolViolation, match="more than 60 items in a task with openings"):
        raise next(each for each in run_parties(sessions, run) if isinstance(each, Exception))


def labelled_domain():
    """What the handshake of a labelled run is bound to, but for the context."""
    return b"tallystick/v1/psi/labelled\0" + (37).to_bytes(4, "big")
