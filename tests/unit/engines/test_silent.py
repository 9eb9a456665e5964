"""Silent correlations: the relation between both sides, their distribution, the code, and every message of a cheater."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from tallystick_node.engines.channel import ProtocolViolation, local_sessions, receive_array, send_array
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.ot.extension import OtReceiver, OtSender
from tallystick_node.engines.ot.rows import RowReceiver, RowSender
from tallystick_node.engines.ot.silent import checked, code, forest
from tallystick_node.engines.ot.silent.checked import CHECK, checked_vole_receive, checked_vole_send
from tallystick_node.engines.ot.silent.code import Code
from tallystick_node.engines.ot.silent.field import (
    BITS,
    BLOCKS,
    NIBBLES,
    WORDS,
    add_block_product,
    add_product,
    multiples,
    packed,
    polynomial,
)
from tallystick_node.engines.ot.silent.forest import Forests, Room, sides
from tallystick_node.engines.ot.silent.pads import Pads, lowest_bits
from tallystick_node.engines.ot.silent.shape import LEAST_DEPTH, MOST, TREES, Shape, shape
from tallystick_node.engines.ot.silent.sparse import SparseSender
from tallystick_node.engines.ot.silent.supply import CHOICES, SilentRowReceiver, SilentRowSender, SupplyReceiver, SupplySender
from tallystick_node.engines.ot.silent.vole import vole_receive, vole_send
from unit.engines.conftest import run_parties

ORDER = np.random.default_rng(12)


def between(sender, receiver):
    answers = run_parties(local_sessions(2), lambda session: (sender, receiver)[session.index](session))
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def some_words(*size: int) -> np.ndarray:
    return ORDER.integers(0, 2**64, size, np.uint64)


def product(left: int, right: int, bits: int, poly: int) -> int:
    """In GF(2^bits), as it is written."""
    out = 0
    for place in reversed(range(bits)):
        out <<= 1
        out ^= (out >> bits) * (1 << bits | poly)
        out ^= left * (right >> place & 1)
    return out


def numbers(blocks: np.ndarray) -> list[int]:
    """Blocks as integers."""
    return [int(low) | int(high) << 64 for low, high in blocks]


# -- sizes


@given(count=st.integers(1, MOST))
def test_shapes_hold_twice_as_many_places_and_trees_enough(count) -> None:
    form = shape(count)
    assert form.size >= 2 * count
    assert TREES <= form.trees <= 2 * TREES
    assert form.depth >= LEAST_DEPTH
    assert form.size <= max(TREES << LEAST_DEPTH, 2 * count + (1 << form.depth))


@pytest.mark.parametrize("count", [0, -1, MOST + 1])
def test_counts_out_of_range_are_refused(count) -> None:
    with pytest.raises(ValueError, match="are made at a time"):
        shape(count)


# -- fields


LANES = [(BLOCKS, 0x87), (WORDS, 0x1B), (NIBBLES, 3), (BITS, 1)]


def times_x(field, block: int) -> int:
    """Lane by lane, as it is written; X is 1 in GF(2)."""
    out, poly = 0, dict(LANES)[field]
    for lane in range(0, 128, field.bits):
        element = block >> lane & ((1 << field.bits) - 1)
        out |= (product(2, element, field.bits, poly) if field.bits > 1 else element) << lane
    return out


@pytest.mark.parametrize("field", [BLOCKS, WORDS, NIBBLES, BITS])
def test_packing_is_a_polynomial_in_x(field) -> None:
    rows = some_words(5, field.bits, 2)
    expected = []
    for element in rows:
        value = 0
        for coefficient in reversed(numbers(element)):
            value = times_x(field, value) ^ coefficient
        expected.append(value)
    assert numbers(packed(field, rows)) == expected


def test_products_with_delta() -> None:
    delta, factors = some_words(2), some_words(50)
    out = some_words(50, 2)
    expected = out.copy()
    for i, lane in itertools.product(range(50), range(2)):
        expected[i, lane] ^= np.uint64(product(int(delta[lane]), int(factors[i]), 64, 0x1B))
    add_product(out, factors, multiples(delta))
    assert (out == expected).all()


def test_products_and_polynomials_over_blocks() -> None:
    delta, factors, out = some_words(2), some_words(50, 2), some_words(50, 2)
    (point,) = numbers(delta[None])
    expected = [old ^ product(point, factor, 128, 0x87) for old, factor in zip(numbers(out), numbers(factors), strict=True)]
    table = multiples(delta, BLOCKS)
    add_block_product(out, factors, table)
    assert numbers(out) == expected
    value = 0
    for factor in numbers(factors):
        value = product(value, point, 128, 0x87) ^ factor
    assert numbers(polynomial(factors, table)[None]) == [value]


# -- trees


@given(depth=st.integers(2, 6), trees=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_punctured_trees_lack_one_leaf_each(depth, trees) -> None:
    """From rows made by hand: what the two parties compute, without the transfers."""
    form = Shape(trees, depth)
    delta, rows = some_words(2), some_words(trees, depth, 2)
    holes = ORDER.integers(0, 1 << depth, trees)
    choices = (1 - sides(holes, depth)).astype(np.uint64)
    grown, known = between(
        lambda s: Forests(s, 1, b"", 0, Room()).grow(form, rows, delta),
        lambda s: Forests(s, 0, b"", 0, Room()).puncture(form, rows ^ choices[:, :, None] * delta, holes),
    )
    hole = np.arange(trees) * (1 << depth) + holes
    assert not known[hole].any()
    known[hole] = grown[hole]
    assert (known == grown).all()
    assert len(np.unique(grown)) == grown.size


# -- the code


def plain(field, vector: list[int], count: int, context: bytes) -> list[int]:
    """The code as its module describes it, place by place."""
    kept = -(-count // 4) * 4
    stream = Stream(Code(context)._seed)
    rest = vector[kept:]
    state = [0] * 28
    for tap in stream.elements((2 * len(rest),), np.uint32).tolist():
        i = len(state) - 28
        value = times_x(field, rest[i % len(rest)] ^ state[i])
        k = i % 4
        for block, place in itertools.product(range(1, 7), range(4)):
            value ^= state[i + 28 - 4 * block - k + place] * (tap >> (4 * block + place) & 1)
        for place in range(k):
            value ^= state[i + 28 - k + place] * (tap >> place & 1)
        state.append(value)
        rest[i % len(rest)] = value
    out = vector[:kept]
    for segment in range(code.WEIGHT):
        low, high = len(rest) * segment // code.WEIGHT, len(rest) * (segment + 1) // code.WEIGHT
        for i, word in enumerate(stream.elements((kept,), np.uint32).tolist()):
            out[i] ^= rest[low + (word * (high - low) >> 32)]
    return out[:count]


@pytest.mark.parametrize("field", [BLOCKS, WORDS, NIBBLES, BITS])
def test_the_code_is_as_it_is_described(field) -> None:
    vector = some_words(960, 2)
    expected = plain(field, numbers(vector), 470, b"c")
    (found,) = Code(b"c").compress(field, 470, vector.copy())
    assert numbers(found) == expected
    if field is WORDS:
        words, blocks = Code(b"c").compress(field, 470, vector[:, 0].copy(), vector.copy())
        assert words.tolist() == [value % 2**64 for value in expected]
        assert numbers(blocks) == expected


def test_no_few_outputs_add_up_to_little_of_the_noise() -> None:
    """A smoke test for low weight, of the matrix itself for a short vector: no row, no sum of two rows and none of a sample of
    three has anything near the 0.07 N places of :mod:`shape`, nor does elimination find such a sum."""
    size, count = 960, 480
    columns = np.zeros((size, 2), np.uint64)
    matrix = np.zeros((count, size), np.uint8)
    for start in range(0, size, 64):
        columns[:] = 0
        columns[np.arange(start, start + 64), 0] = np.uint64(1) << np.arange(64, dtype=np.uint64)
        found = Code(b"").compress(BITS, count, columns.copy())[0][:, 0]
        matrix[:, start : start + 64] = np.unpackbits(np.ascontiguousarray(found).view(np.uint8), bitorder="little").reshape(
            count, 64
        )
    least = 0.07 * size
    assert matrix.sum(axis=1).min() > 2 * least
    signs = 1.0 - 2.0 * matrix.astype(np.float32)
    agreeing = signs @ signs.T  # size less twice the weight of the sum
    np.fill_diagonal(agreeing, 0)
    assert (size - agreeing.max()) / 2 > 2 * least
    for _ in range(20):
        some = matrix[ORDER.permutation(count)[:300]]
        triples = some[:100, None] ^ some[None, 100:200] ^ some[200:300][ORDER.integers(0, 100)]
        assert triples.sum(axis=2).min() > least
    for _ in range(3):  # information-set decoding of weight one: systematic in random places, every row a codeword
        assert reduced(matrix[:, ORDER.permutation(size)]).sum(axis=1).min() > least


def reduced(matrix: np.ndarray) -> np.ndarray:
    """Rows of the reduced echelon form over GF(2)."""
    matrix, row = matrix.copy(), 0
    for column in range(matrix.shape[1]):
        pivots = np.flatnonzero(matrix[row:, column])
        if not len(pivots):
            continue
        matrix[[row, row + pivots[0]]] = matrix[[row + pivots[0], row]]
        others = np.flatnonzero(matrix[:, column])
        others = others[others != row]
        matrix[others] ^= matrix[row]
        row += 1
        if row == len(matrix):
            break
    return matrix[:row]


def test_codes_of_different_sessions_differ() -> None:
    vector = some_words(960)
    first, second = (Code(each).compress(WORDS, 470, vector.copy())[0] for each in (b"a", b"b"))
    assert (first != second).any()


# -- evaluations


@given(count=st.sampled_from([1, 2, 3, 4, 5, 63, 4799, 4800, 4801, 20011]))
@settings(max_examples=6, deadline=None)
def test_the_receiver_holds_b_plus_delta_a(count) -> None:
    (delta, b), (a, c) = between(lambda s: vole_send(s, 1, count), lambda s: vole_receive(s, 0, count))
    assert delta.shape == (2,)
    assert a.shape == (count,)
    assert b.shape == c.shape == (count, 2)
    assert len(np.unique(a)) == count
    assert not (b == c).any()
    add_product(b, a, multiples(delta))
    assert (b == c).all()


@pytest.mark.parametrize("count", [1, 5000])
def test_the_receiver_of_checked_evaluations_holds_b_plus_delta_a(count) -> None:
    (delta, b), (a, c) = between(lambda s: checked_vole_send(s, 1, count), lambda s: checked_vole_receive(s, 0, count))
    assert a.shape == b.shape == c.shape == (count, 2)
    assert len(np.unique(a)) == a.size
    add_block_product(b, a, multiples(delta, BLOCKS))
    assert (b == c).all()


def test_evaluations_are_uniform_and_fresh() -> None:
    """A distribution test: bits are balanced, neighbours independent, and another run has nothing in common."""
    runs = [between(lambda s: vole_send(s, 1, 50_000), lambda s: vole_receive(s, 0, 50_000)) for _ in range(2)]
    (first, second) = (np.concatenate([a[:, None], b, c], axis=1) for (_, b), (a, c) in runs)
    for words in (first, first[1:] ^ first[:-1], first ^ second, first[:, 1:2] ^ first[:, 0:1]):
        columns = np.unpackbits(np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1), axis=1)
        assert abs(columns.mean(axis=0) - 0.5).max() < 0.018  # 8 standard deviations of a column
        assert len(np.unique(words)) >= words.size - 1  # of a quarter of a million, two are equal once in 10^9
    assert (runs[0][0][0] != runs[1][0][0]).all()


# -- supplies over small fields


def supplies(field, counts):
    """The multiples of delta, and both sides' blocks for each count."""

    def sender(session):
        supply = SupplySender(session, 1, RowSender(session, 1, b"", one=NIBBLES.bits), field, Room())
        return supply.multiples, [supply.take(count).copy() for count in counts]

    def receiver(session):
        supply = SupplyReceiver(session, 0, RowReceiver(session, 0, b""), field, Room())
        return [supply.take(count).copy() for count in counts]

    (times, given), got = between(sender, receiver)
    return times, given, got


@pytest.mark.parametrize("field", [NIBBLES, BITS])
@given(counts=st.lists(st.sampled_from([0, 1, 2, 63, 64, 65, 4799, 4800, 4801, 10_000]), min_size=1, max_size=4))
@settings(max_examples=3, deadline=None)
def test_supplies_differ_by_a_multiple_of_delta(field, counts) -> None:
    times, given, got = supplies(field, counts)
    assert len(times) == 1 << field.bits
    assert times[1, 0] & np.uint64(15) == 1
    for q, blocks, count in zip(given, got, counts, strict=True):
        u = (blocks[:, 0] & np.uint64((1 << field.bits) - 1)).astype(int)
        assert q.shape == (count, 2)
        assert (blocks == q ^ times[u]).all()
    together = np.concatenate(given)
    assert len(np.unique(together, axis=0)) == len(together)


@pytest.mark.parametrize("field", [NIBBLES, BITS])
def test_what_a_supply_chooses_is_uniform(field) -> None:
    """All elements as often, alone and in pairs of neighbours; the other bits of blocks balanced on both sides."""
    _, (given,), (got,) = supplies(field, [60_000])
    size = 1 << field.bits
    u = (got[:, 0] & np.uint64(size - 1)).astype(int)
    for seen in (np.bincount(u, minlength=size), np.bincount(size * u[:-1] + u[1:], minlength=size * size)):
        expected = seen.sum() / len(seen)
        assert chi2.sf(((seen - expected) ** 2 / expected).sum(), len(seen) - 1) > 1e-12
    for blocks in (given, got, given[1:] ^ given[:-1]):
        columns = np.unpackbits(np.ascontiguousarray(blocks).view(np.uint8), axis=1, bitorder="little")[:, field.bits :]
        assert abs(columns.mean(axis=0) - 0.5).max() < 0.0165  # 8 standard deviations of a column


def test_what_a_supply_costs() -> None:
    """Batches grow with what was made before, and are paid as sparse.py says."""

    def sender(session):
        supply = SupplySender(session, 1, RowSender(session, 1, b"", one=NIBBLES.bits), NIBBLES, Room())
        sizes = []
        for count in (1, 4799, 1, 9599, 20_000):
            before = session.meter.steps.get(forest.STEP)
            before = before.bytes if before else 0
            supply.take(count)
            sizes.append(session.meter.steps[forest.STEP].bytes - before)
        return sizes

    def receiver(session):
        supply = SupplyReceiver(session, 0, RowReceiver(session, 0, b""), NIBBLES, Room())
        for count in (1, 4799, 1, 9599, 20_000):
            supply.take(count)

    sizes, _ = between(sender, receiver)
    assert sizes == [16 * TREES * (depth + 2) if depth else 0 for depth in (4, 0, 4, 5, 6)]


def transfers(session):
    """A sender at party 0 or a receiver at party 1, over silent rows."""
    if session.index == 0:
        rows = RowSender(session, 1, b"", one=NIBBLES.bits)
        return OtSender(session, 1, SilentRowSender(session, 1, SupplySender(session, 1, rows, BITS, Room())))
    return OtReceiver(
        session, 0, SilentRowReceiver(session, 0, SupplyReceiver(session, 0, RowReceiver(session, 0, b""), BITS, Room()))
    )


@given(count=st.sampled_from([0, 1, 7, 8, 9, 64, 4801]))
@settings(max_examples=4, deadline=None)
def test_transfers_of_silent_rows(count) -> None:
    choices, deltas = ORDER.integers(0, 2, count).astype(np.uint8), some_words(count)

    def engine(session):
        ot = transfers(session)
        if session.index == 0:
            return ot.random(count), ot.correlated(deltas)
        return ot.random(choices), ot.correlated(choices), session.meter.steps[CHOICES].bytes

    ((zeros, ones), x), (chosen, y, told) = run_parties(local_sessions(2), engine)
    assert (chosen == np.where(choices[:, None], ones, zeros)).all()
    assert not (zeros == ones).any()
    assert (y == x + choices * deltas).all()
    assert told == 2 * -(-count // 8)


def test_another_number_of_choices_is_refused() -> None:
    sessions = local_sessions(2)
    sessions[1].channels[0] = Meddling(sessions[1].channels[0], CHOICES, shorter)

    def engine(session):
        ot = transfers(session)
        return ot.random(9) if session.index == 0 else ot.random(np.zeros(9, np.uint8))

    error = run_parties(sessions, engine)[0]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (1, CHOICES)


def test_pads_are_low_bits_of_a_permutation() -> None:
    blocks, shifts = some_words(64 * 67, 2), some_words(3, 2)
    pads = Pads(b"c", 1)
    found = pads(blocks, shifts)
    for i, shift in itertools.product((0, 1, 63, 64, 64 * 65 + 3), range(3)):
        block = blocks[i] ^ shifts[shift]
        hashed = int(np.frombuffer(pads._cipher.update(block.tobytes()), np.uint64)[0] ^ block[0])
        for plane in range(2):
            assert int(found[shift, plane, i // 64]) >> i % 64 & 1 == hashed >> plane & 1
            assert int(lowest_bits(blocks, 2)[plane, i // 64]) >> i % 64 & 1 == int(blocks[i, 0]) >> plane & 1
    assert (pads(blocks) == pads(blocks, np.zeros((1, 2), np.uint64))).all()
    assert (Pads(b"c", 0)(blocks) != pads(blocks)).any()
    assert abs(np.unpackbits(found.view(np.uint8)).mean() - 0.5) < 0.02


# -- cheaters


class Meddling:
    """A channel that changes the first message of a step, and marks whatever the engine marks."""

    def __init__(self, inner, step, change, number=0) -> None:
        self.inner, self.peer, self.step, self.change, self.left, self.phase = inner, inner.peer, step, change, number, ""

    def mark(self, phase):
        self.phase = phase
        self.inner.mark(phase)

    def send(self, message):
        message = bytes(message)
        if self.phase == self.step:
            if self.left == 0:
                message = self.change(bytearray(message))
            self.left -= 1
        self.inner.send(bytes(message))

    def receive(self):
        return self.inner.receive()

    def receive_into(self, view):
        return self.inner.receive_into(view)


HONEST = checked_vole_send, checked_vole_receive


def outcome(cheater, step, change, number=0, steps=HONEST):
    """What the party that is cheated ends with."""
    sessions = local_sessions(2)
    sessions[cheater].channels[1 - cheater] = Meddling(sessions[cheater].channels[1 - cheater], step, change, number)
    return run_parties(sessions, lambda session: steps[session.index](session, 1 - session.index, 100))[1 - cheater]


def brazen(session, peer, count):
    """A sender that opens whatever it hears, and does not look for what the receiver does."""
    rows = RowSender(session, peer, checked._LABEL)
    leaves = SparseSender(session, peer, checked._LABEL, rows, Room()).vector(BLOCKS, shape(count))
    mask = packed(BLOCKS, rows.rows(128)[None])
    session.channels[peer].mark(CHECK)
    point, told = receive_array(session, peer, (2, 2), CHECK)
    value = mask ^ polynomial(leaves, multiples(point, BLOCKS))
    add_block_product(value, told[None], multiples(rows.delta, BLOCKS))
    send_array(session, peer, np.frombuffer(checked._commitment(session, bytes(32), value), np.uint8))
    receive_array(session, peer, (1, 2), CHECK)
    send_array(session, peer, np.zeros(32, np.uint8))


def shorter(message):
    return message[:-1]


def flipped(place):
    def change(message):
        message[place] ^= 1
        return message

    return change


def every_sum(message):
    """Wrong whatever half the noise is in."""
    return bytes(each ^ 1 for each in message)


@pytest.mark.parametrize(
    ("cheater", "step", "change", "number"),
    [
        (0, forest.STEP, every_sum, 0),  # the sums of the trees
        (0, forest.STEP, flipped(-1), 1),  # what the missing leaf lacks
        (0, CHECK, flipped(0), 0),  # a commitment to something else
        (0, CHECK, flipped(0), 1),  # another opening
        (1, CHECK, flipped(16), 0),  # a lie about the vector
        (1, CHECK, flipped(0), 1),  # another value of it
        *((0, forest.STEP, shorter, number) for number in (0, 1)),
        *((who, CHECK, shorter, number) for who in (0, 1) for number in (0, 1)),
    ],
)
def test_a_cheater_is_named_with_its_step(cheater, step, change, number) -> None:
    error = outcome(cheater, step, change, number, (brazen, checked_vole_receive) if cheater == 0 else HONEST)
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (cheater, step if change is shorter else CHECK)


@pytest.mark.parametrize("number", [0, 1])
def test_without_the_check_lengths_are_checked(number) -> None:
    error = outcome(0, forest.STEP, shorter, number, (vole_send, vole_receive))
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (0, forest.STEP)


def test_a_guess_at_the_noise_fails_half_the_time() -> None:
    """A sum of one tree's last level, changed: noticed exactly when the receiver uses it."""

    def change(message):
        message[16 * (LEAST_DEPTH - 1)] ^= 1
        return message

    seen = set()
    for _ in range(50):  # fewer than three on average, and all with probability 2^-49
        seen.add(type(outcome(0, forest.STEP, change, steps=(brazen, checked_vole_receive))))
        if len(seen) == 2:
            break
    assert seen == {ProtocolViolation, tuple}


def test_choices_of_another_number_are_refused() -> None:
    error = outcome(1, "ot extension", shorter, 0, (vole_send, vole_receive))
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (1, "ot extension")
