"""The protocol between an owner and an asker: what each gets, what is kept, and who is blamed."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.pir import kept, lookup, lwe, oprf, table
from tallystick_node.engines.pir.kept import held_public, keep_public, offer_of
from tallystick_node.engines.pir.lookup import Offer, ask, serve
from unit.engines.conftest import run_parties

ROW = 20
ROWS = {f"key {number}".encode(): b"row %d" % number for number in range(300)}
VERSION, NEXT = bytes(32), b"\1" * 32
OWNER, ASKER = 0, 1


def built(rows, version=VERSION):
    return Offer(version, table.build(list(rows), list(rows.values()), ROW))


@pytest.fixture(scope="module")
def offer():
    return built(ROWS)


def engine(offer, items, lookups=4, version=VERSION, held=None, kept=None):
    def run(session):
        try:
            if session.index == OWNER:
                return serve(session, ASKER, offer, lookups)
            keep = kept.append if kept is not None else lambda _: None
            return ask(session, OWNER, items, lookups, version, ROW, held, keep)
        except ChannelError:
            session.broadcast(b"")  # the other need not wait for what does not come
            raise

    return run


def found(parties, offer, items, **options):
    owner, asker = parties(2, engine(offer, items, **options))
    assert owner is None
    return asker


def test_rows_are_found_and_others_are_not(parties, offer, monkeypatch):
    monkeypatch.setattr(lookup, "BATCH", 3)
    items = [b"key 7", b"none", b"key 299", b"key 0", b""]
    assert found(parties, offer, items, lookups=7) == [b"row 7", None, b"row 299", b"row 0", None]
    assert found(parties, offer, [], lookups=1) == []


@settings(max_examples=8, deadline=None)
@given(
    st.dictionaries(st.binary(max_size=3), st.binary(max_size=ROW), min_size=1, max_size=30),
    st.sets(st.binary(max_size=3), max_size=6),
    st.randoms(use_true_random=False),
)
def test_lookups_are_those_of_a_dictionary(rows, others, random):
    items = [*random.sample(sorted(rows), min(3, len(rows))), *(others - set(rows))]
    outcomes = run_parties(local_sessions(2), engine(built(rows), items, lookups=10))
    assert outcomes == [None, [rows.get(item) for item in items]]


def test_what_the_owner_receives_depends_on_the_declared_number_alone(offer):
    sent = []
    for items in ([], [b"key 1"], [b"none", b"key 1", b"key 2"]):
        sessions = local_sessions(2)
        run_parties(sessions, engine(offer, items))
        sent.append({name: (step.messages, step.bytes) for name, step in sessions[ASKER].meter.steps.items()})
    assert sent[0] == sent[1] == sent[2]
    assert sent[0]["lookup/queries"] == (1, 4 * offer.table.public.layout.query_bytes)


def test_what_is_held_is_not_sent_again_and_changes_are_small(tmp_path):
    rows = dict(ROWS)

    def run(version, items):
        sessions = local_sessions(2)
        read = []

        def rows_of():
            read.append(version)
            return list(rows), list(rows.values())

        def party(session):
            if session.index == OWNER:
                return serve(session, ASKER, offer_of(tmp_path / "owner", version, ROW, rows_of), 2)
            held, keep = held_public(tmp_path / "asker"), lambda public: keep_public(tmp_path / "asker", public)
            return ask(session, OWNER, items, 2, version, ROW, held, keep)

        owner, asker = run_parties(sessions, party)
        assert owner is None
        return asker, sessions[OWNER].meter.steps["lookup/table"].bytes, bool(read)

    items = [b"key 5", b"added"]
    assert run(VERSION, items)[0::2] == ([b"row 5", None], True)
    answers, first, read = run(VERSION, items)
    assert (answers, read) == ([b"row 5", None], False)
    assert first < 200
    rows |= {b"key 5": b"changed", b"added": b"new"}
    answers, changes, read = run(NEXT, items)
    assert (answers, read) == ([b"changed", b"new"], True)
    assert changes < 1000
    answers, again, read = run(NEXT, items)
    assert (answers, again, read) == ([b"changed", b"new"], first, False)
    for number in range(2, 5):  # an asker that was away for some versions gets all changes since
        rows[b"key 6"] = b"version %d" % number
        offer_of(tmp_path / "owner", bytes([number]) * 32, ROW, lambda: (list(rows), list(rows.values())))
    answers, changes, _ = run(b"\4" * 32, [b"key 6"])
    assert answers == [b"version 4"]
    assert first < changes < 1000
    for path in (tmp_path / "owner", tmp_path / "asker"):  # what is damaged is made again
        (path / "current" / "hint.npy").write_bytes(b"?")
    answers, size, read = run(b"\4" * 32, [b"key 6"])
    assert (answers, read) == ([b"version 4"], True)
    assert size > 100_000


def test_files_of_another_format_are_made_or_asked_for_again(offer, tmp_path):
    rows = (list(ROWS), list(ROWS.values()))
    first = offer_of(tmp_path / "owner", VERSION, ROW, lambda: rows).table.public
    keep_public(tmp_path / "asker", first)
    assert held_public(tmp_path / "asker").digest == first.digest
    for folder in ("owner", "asker"):
        facts = tmp_path / folder / "current" / "facts.json"
        facts.write_text(facts.read_text().replace(kept.FORMAT, "tallystick/v1/pir/kept/2"))
    assert held_public(tmp_path / "asker") is None
    assert offer_of(tmp_path / "owner", VERSION, ROW, lambda: rows).table.public.digest != first.digest


def test_a_long_history_and_a_table_made_anew_are_sent_whole(parties, offer, monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "MAX_PATCHES", 2)
    rows, versions = dict(ROWS), []
    for number in range(4):
        rows[b"key 1"] = b"%d" % number
        current = offer_of(tmp_path, bytes([number]) * 32, ROW, lambda: (list(rows), list(rows.values())))
        versions.append(current.table.public)
    assert len(current.patches) == 2
    for held in (versions[0], versions[1], offer.table.public):
        seen = []
        assert found(parties, current, [b"key 1"], version=b"\3" * 32, held=held, kept=seen) == [b"3"]
        assert seen[0].digest == versions[3].digest


def test_runs_that_begin_together_make_one_table(tmp_path):
    reads = []
    (tmp_path / "fresh-abc").mkdir()  # left by a run that was killed

    def rows():
        reads.append(1)
        return list(ROWS), list(ROWS.values())

    with ThreadPoolExecutor(4) as pool:
        offers = list(pool.map(lambda _: offer_of(tmp_path, VERSION, ROW, rows), range(4)))
    assert len(reads) == 1
    assert len({each.table.public.digest for each in offers}) == 1
    assert (tmp_path / "current").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "lock"]


def violation(outcome, step, rule):
    assert isinstance(outcome, ProtocolViolation), outcome
    assert outcome.step == step
    assert rule in outcome.rule
    return outcome.peer


def swap(place):
    def change(message):
        changed = bytearray(message)
        changed[place] ^= 1
        return bytes(changed)

    return change


@pytest.mark.parametrize(
    ("number", "change", "step", "rule"),
    [
        (0, swap(0), "table", "another version of the data"),  # a swapped database
        (0, lambda m: m[:-1], "table", "bytes where"),
        (0, swap(40), "table", "another digest"),
        (0, swap(64), "table", "out of bounds"),
        (0, swap(72), "table", "rows of"),
        (0, swap(-20), "table", "another digest"),  # the commitment to the key
        (1, lambda m: b"\0\1" + bytes(8), "table", "not held"),
        (1, lambda m: b"", "table", "not held"),
        (2, swap(1000), "table", "another digest"),  # the hint
        (2, lambda m: m[:-4], "table", "bytes where"),
        (5, lambda m: bytes(32) + m[32:], "keys", "low order"),
        (5, lambda m: m[32:] + m[:32], "keys", "other keys"),
        (5, lambda m: m + b"\0", "keys", "bytes where"),
        (6, swap(1), "queries", "not that of the table"),
        (6, swap(-1), "queries", "not that of the table"),
        (6, lambda m: m[:-2], "queries", "bytes where"),
    ],
)
def test_each_wrong_message_of_the_owner_is_named(parties, offer, number, change, step, rule):
    outcome = parties(2, engine(offer, [b"key 3"]), corrupt=(OWNER, ASKER, number, change))[ASKER]
    assert violation(outcome, step, rule) == OWNER


@pytest.mark.parametrize(
    ("number", "change", "step", "rule"),
    [
        (0, lambda m: m[1:], "table", "bytes where"),
        (1, lambda m: m[:-32], "keys", "bytes where"),
        (1, lambda m: (2).to_bytes(32, "little") + m[32:], "keys", "not on the curve"),
        (1, lambda m: bytes(len(m)), "keys", "not on the curve"),
        (2, lambda m: m[:-4], "queries", "bytes where"),
        (2, lambda m: m + bytes(4), "queries", "bytes where"),
    ],
)
def test_each_malformed_message_of_the_asker_is_named(parties, offer, number, change, step, rule):
    outcome = parties(2, engine(offer, [b"key 3"]), corrupt=(ASKER, OWNER, number, change))[OWNER]
    assert violation(outcome, step, rule) == ASKER


def test_an_owner_that_answers_from_another_table_is_named(parties, offer):
    """Whether the key is in it or not."""
    other = dataclasses.replace(offer.table, matrix=built({**ROWS, b"key 3": b"forged"}).table.matrix)
    for item in (b"key 3", b"none"):
        outcome = parties(2, engine(dataclasses.replace(offer, table=other), [item]))[ASKER]
        assert violation(outcome, "queries", "not that of the table") == OWNER


def test_a_stale_hint_and_false_changes_are_noticed(parties, offer):
    key = list(ROWS)[int(np.argmax(offer.table.places >= 0))]
    changed = {**ROWS, key: b"changed"}
    fresh, patch = table.renew(offer.table, list(changed), list(changed.values()), ROW)
    stale = dataclasses.replace(offer.table.public, hint=offer.table.public.hint ^ np.uint32(1 << 31))
    new = Offer(VERSION, fresh, [patch.to_bytes()])
    assert found(parties, new, [key], held=stale) == [b"changed"]  # it is told apart by its digest and replaced
    false = dataclasses.replace(patch, changes=patch.changes + np.int16(1))
    outcome = parties(2, engine(Offer(VERSION, fresh, [false.to_bytes()]), [key], held=offer.table.public))[ASKER]
    assert violation(outcome, "table", "another digest") == OWNER
    broken = Offer(VERSION, fresh, [patch.to_bytes()[:-1]])
    assert violation(parties(2, engine(broken, [], held=offer.table.public))[ASKER], "table", "length") == OWNER


def test_a_malicious_asker_opens_no_more_rows_than_it_has_evaluations(offer):
    """It reads a whole band by its own choice of queries, and the row of the one key that was evaluated is all that opens."""
    public = offer.table.public
    output = oprf.evaluate(offer.table.keys[0], [b"key 5"])[0]
    hidden, queries = lwe.encrypt(public.seed, public.layout.columns, range(public.layout.columns))
    read = lwe.decrypt(public.hint, hidden, lwe.answer(offer.table.matrix, queries))
    slots = [slot for column in read for slot in column.reshape(public.layout.bands, -1)]
    slots += list(public.stash[:, 8:])
    assert [row for slot in slots if (row := table.open_row(output, slot)) is not None] == [b"row 5"]
    joined = b"".join(slot.tobytes() for slot in slots)
    assert not any(row in joined for row in ROWS.values() if len(row) > 6)  # shorter ones may be there by chance


def test_local_misuse_and_silence(parties, offer):
    for items, lookups in (([b"a"] * 2, 4), ([b"a", b"b"], 1), ([], 0), ([], lookup.MAX_LOOKUPS + 1)):
        with pytest.raises(ValueError, match="lookups"):
            ask(local_sessions(2)[ASKER], OWNER, items, lookups, VERSION, ROW)
    outcome = parties(2, engine(offer, [b"key 3"]), corrupt=(OWNER, ASKER, 1, lambda m: b"\xff\xfe"))[ASKER]
    assert isinstance(outcome, ChannelError)
    statement = lookup.security()
    assert (statement.adversary, statement.corruptions, statement.parties) == ("semi-honest", 1, 2)
    assert statement.computational_bits >= 125
