"""Circuit PSI: the shared join against plain sets, what travels, and who is blamed."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.psi import circuit
from tallystick_node.engines.psi.circuit import bytes_sent, join, placer, tag_bits
from tallystick_node.engines.psi.circuit_bins import MAX_ITEMS, NoPlacement, bins_of, number_of_bins, placed
from tallystick_node.engines.psi.items import Items
from unit.engines.conftest import CorruptingChannel, run_parties

DRAW = np.random.default_rng(3)


def words(*shape):
    return DRAW.integers(0, 2**64, shape, np.uint64)


def keys(numbers):
    return Items.of(b"key %d" % number for number in numbers)


def linked(sets, tables, sessions=None):
    """Both parties' sides of a join, and the bytes that each sent in it."""
    widths = tuple(table.shape[1] for table in tables)
    sessions = sessions or local_sessions(2)

    def run(session):
        protocol = ObliviousAdditive(session)
        before = sum(step.bytes for step in session.meter.steps.values())
        found = join(protocol, keys(sets[session.index]), tables[session.index], widths=widths, context=b"t")
        return found, sum(step.bytes for step in session.meter.steps.values()) - before

    return run_parties(sessions, run)


def opened(outcomes):
    """The bins that match, as rows of both parties' columns, and how many bins there are."""
    (first, _), (second, _) = outcomes
    matched = first.matched.parts[0] + second.matched.parts[0]
    rows = np.concatenate([a.parts[0] + b.parts[0] for a, b in zip(first.rows, second.rows, strict=True)], axis=1)
    assert set(np.unique(matched)) <= {0, 1}
    assert not rows[matched == 0].any()
    return sorted(map(tuple, rows[matched == 1].tolist())), len(matched)


def expected(sets, tables):
    at = [
        {number: tuple(row) for number, row in zip(*each, strict=True)}
        for each in zip(sets, (t.tolist() for t in tables), strict=True)
    ]
    return sorted(at[0][number] + at[1][number] for number in set(sets[0]) & set(sets[1]))


@pytest.mark.parametrize(
    ("sizes", "common", "widths"),
    [((1, 1), 1, (1, 0)), ((25, 40), 25, (0, 3)), ((40, 25), 13, (2, 3)), ((300, 300), 0, (1, 1))],
)
def test_the_join_is_that_of_the_sets(sizes, common, widths):
    sets = [*range(sizes[0])], [*range(sizes[0] - common, sizes[0] - common + sizes[1])]
    tables = [words(size, width) for size, width in zip(sizes, widths, strict=True)]
    found, bins = opened(linked(sets, tables))
    assert found == expected(sets, tables)
    assert len(found) == common
    assert bins == number_of_bins(min(sizes))


@given(st.sets(st.integers(0, 40), min_size=1), st.sets(st.integers(0, 40), min_size=1))
@settings(max_examples=4, deadline=None)
def test_any_two_sets(left, right):
    sets, tables = (sorted(left), sorted(right)), (words(len(left), 1), words(len(right), 1))
    assert opened(linked(sets, tables))[0] == expected(sets, tables)


def test_shares_tell_nothing_and_lengths_do_not_depend_on_the_overlap():
    sent = []
    for start in (0, 200):
        sets, tables = ([*range(200)], [*range(start, start + 260)]), (words(200, 2), words(260, 1))
        sessions = local_sessions(2)
        outcomes = linked(sets, tables, sessions)
        (first, _), (second, _) = outcomes
        for part in (*first.rows, *second.rows, first.matched, second.matched):
            assert len(np.unique(part.parts[0])) > part.size * 0.99  # no zeros stand out
        sent.append([(name, step.messages, step.bytes) for each in sessions for name, step in each.meter.steps.items()])
    assert sent[0] == sent[1]


@pytest.mark.parametrize(("sizes", "widths"), [((3000, 9000), (2, 3)), ((9000, 3000), (0, 1))])
def test_a_large_join_sends_what_is_foretold(sizes, widths):
    sets, tables = (range(sizes[0]), range(1000, 1000 + sizes[1])), [words(*each) for each in zip(sizes, widths, strict=True)]
    outcomes = linked(sets, tables)
    assert opened(outcomes)[0] == expected(sets, tables)
    for (_, sent), foretold in zip(outcomes, bytes_sent(sizes, widths), strict=True):
        assert abs(sent - foretold) < foretold / 20 + 200_000


# -- bins


def log2_failure(items: int, bins: int) -> float:
    """The bound of :mod:`circuit_bins`, at the z where the coefficient's bound is least."""
    k = np.arange(3, items, dtype=float)
    chosen = lambda n, r: gammaln(n + 1) - gammaln(r + 1) - gammaln(n - r + 1)  # noqa: E731
    any_hits = (k + 1) * (chosen(k, 3) - chosen(bins, 3))
    total, low, high = 3 * (k + 1), np.full_like(k, 1e-6), np.full_like(k, 60.0)
    for _ in range(60):
        z = (low + high) / 2
        less = k * z * np.expm1(z) / (np.expm1(z) - z) < total
        low, high = np.where(less, z, low), np.where(less, high, z)
    hit_twice = gammaln(total + 1) + k * np.log(np.expm1(z) - z) - total * np.log(z)
    hit_twice -= (k + 1) * math.log(bins * (bins - 1) * (bins - 2))
    return np.logaddexp.reduce(chosen(items, k + 1) + chosen(bins, k) + np.minimum(any_hits, hit_twice)) / math.log(2)


def test_placing_fails_with_less_than_2_to_the_minus_40():
    for items in (*range(4, 60, 3), *range(60, 90), *range(90, 2000, 111), 1 << 14):
        assert log2_failure(items, number_of_bins(items)) < -40
    assert log2_failure(1000, 1270) > -40  # that 1.27 n suffices rests on experiments


def test_the_bound_is_one():
    """Where sets fail often enough to count them."""
    trials, items, bins = 4000, 6, 7
    failed = 0
    for _ in range(trials):
        try:
            placed(bins_of(words(items, 4), bins), bins)
        except NoPlacement:
            failed += 1
    assert failed / trials < 2 ** log2_failure(items, bins)
    assert failed


@given(st.integers(3, 12), st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 4), min_size=1, max_size=14))
@settings(max_examples=80, deadline=None)
def test_placement_is_found_exactly_where_there_is_one(bins, hashes):
    chosen = bins_of(np.array(hashes, np.uint64), bins)
    assert chosen.min() >= 0 and chosen.max() < bins
    assert all(len(set(row)) == 3 for row in chosen.tolist())
    try:
        where, which = placed(chosen, bins)
    except NoPlacement:
        reach = {0}  # sets of bins that some prefix of the items can fill
        for row in chosen.tolist():
            reach = {taken | 1 << place for taken in reach for place in row if not taken >> place & 1}
        assert not reach
    else:
        assert len(set(where.tolist())) == len(where)
        assert np.array_equal(chosen[np.arange(len(where)), which], where)


def test_bins_are_chosen_evenly():
    chosen = bins_of(words(60_000, 4), 5)
    counts = np.unique(chosen, axis=0, return_counts=True)[1]
    assert len(counts) == 60
    assert abs(counts - 1000).max() < 170  # deviation 32
    assert np.array_equal(
        bins_of(np.full((1, 4), 2**64 - 1, np.uint64), MAX_ITEMS), [[MAX_ITEMS - 1, MAX_ITEMS - 2, MAX_ITEMS - 3]]
    )


def test_another_seed_is_drawn_where_items_do_not_fit(monkeypatch):
    tried = []

    def stubborn(chosen, bins):
        tried.append(chosen.tolist())
        if len(tried) < circuit.TRIES:
            raise NoPlacement("no")
        return placed(chosen, bins)

    monkeypatch.setattr(circuit, "placed", stubborn)
    _, where, which = circuit._placement(keys(range(9)), 100)  # which fails once in 10^13
    assert len(tried) == circuit.TRIES
    assert tried[-1] not in tried[:-1]
    assert [row[number] for row, number in zip(tried[-1], which, strict=True)] == where.tolist()
    monkeypatch.setattr(circuit, "TRIES", 1)
    tried.clear()
    monkeypatch.setattr(circuit, "placed", lambda chosen, bins: placed(np.zeros_like(chosen), bins))
    with pytest.raises(NoPlacement, match="1 seeds"):
        circuit._placement(keys(range(2)), 20)


# -- parameters, misuse and deviation


def test_the_smaller_set_is_placed_and_tags_are_long_enough():
    assert [placer(sizes) for sizes in ((3, 3), (2, 3), (3, 2))] == [0, 0, 1]
    assert [tag_bits(bins) for bins in (256, 257, 1 << 20)] == [48, 52, 60]
    assert tag_bits(number_of_bins(MAX_ITEMS)) <= 64


@pytest.mark.parametrize(
    "change",
    [{"rows": words(3, 2)}, {"rows": words(2, 1)}, {"rows": np.zeros((3, 1))}, {"widths": (1, 129)}, {"items": keys([1, 2, 1])}],
)
def test_local_misuse_is_refused(change):
    def run(session):
        given = {"items": keys(range(3)), "rows": words(3, 1), "widths": (1, 1), "context": b""} | change
        return join(ObliviousAdditive(session), given.pop("items"), given.pop("rows"), **given)

    assert all(isinstance(each, ValueError) for each in run_parties(local_sessions(2), run))


class FromNowOn:
    """A link that spoils one message of the join: its set-up passes."""

    def __init__(self, session, peer, number, change):
        self.session, self.peer, self.number, self.change = session, peer, number, change

    def start(self):
        self.session.channels[self.peer] = CorruptingChannel(self.session.channels[self.peer], self.number, self.change)


def cut(message):
    return message[:-1]


@pytest.mark.parametrize(
    ("sender", "number", "change", "step"),
    [
        (0, 0, lambda message: (MAX_ITEMS + 1).to_bytes(8, "big") + message[8:], "bind"),
        (1, 0, lambda message: bytes(8) + message[8:], "bind"),
        (1, 1, lambda message: bytes([message[0] ^ 1]) + message[1:], "salt"),
        (0, 2, cut, "bins"),
    ],
)
def test_a_message_that_is_wrong_names_its_sender_and_step(sender, number, change, step):
    def run(session):
        protocol = ObliviousAdditive(session)
        if session.index == sender:
            FromNowOn(session, 1 - sender, number, change).start()
        return join(protocol, keys(range(20)), words(20, 1), widths=(1, 1), context=b"t")

    error = run_parties(local_sessions(2), run)[1 - sender]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, step)


def test_more_words_than_memory_takes_are_refused_from_either(monkeypatch):
    monkeypatch.setattr(circuit, "MAX_WORDS", 40)
    sets, tables = ([*range(13)], [*range(14)]), (words(13, 2), words(14, 2))
    _, greedy = linked(sets, tables, local_sessions(2))
    assert isinstance(greedy, ValueError)
    real = circuit.fits
    monkeypatch.setattr(circuit, "fits", lambda *given: real(*given) or threading.current_thread().name == "greedy")

    def run(session):
        if session.index == 1:
            threading.current_thread().name = "greedy"
        return join(ObliviousAdditive(session), keys(sets[session.index]), tables[session.index], widths=(2, 2), context=b"t")

    honest, _ = run_parties(local_sessions(2), run)
    assert isinstance(honest, ProtocolViolation)
    assert (honest.peer, honest.step) == (1, "bind")


def test_a_hint_of_another_length_names_its_sender(monkeypatch):
    real = circuit.send_array
    monkeypatch.setattr(circuit, "send_array", lambda session, peer, array: real(session, peer, array[1:]))
    error = linked(([1, 2], [2, 3, 4]), (words(2, 1), words(3, 1)), local_sessions(2))[0]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (1, "hint")
