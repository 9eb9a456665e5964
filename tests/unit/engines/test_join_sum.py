"""Private join and compute: counts and sums against Python's, what each learns, and who is blamed."""

import numpy as np
import pytest
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.he.paillier import keys
from tallystick_node.engines.psi import join_sum
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.join_sum import JoinSum, TooFewMatches, bytes_sent, join_and_sum, number_bound
from unit.engines.conftest import run_parties

JOINER = [f"id-{i}".encode() for i in range(30)]
HOLDER = [f"id-{i}".encode() for i in range(20, 60)]
NUMBERS = np.stack([np.arange(40) * 7 - 100, (np.arange(40) - 20) * 10**11], axis=1)
SUMS = tuple(NUMBERS[:10].sum(axis=0).tolist())
KEY = keys.generate(join_sum.KEY_BITS)
ENCRYPTOR = join_sum.Encryptor(KEY.public)


@pytest.fixture(autouse=True)
def one_key(monkeypatch):
    """A key and its tables take a second to make."""
    monkeypatch.setattr(join_sum, "generate", lambda bits: KEY)
    monkeypatch.setattr(join_sum, "Encryptor", lambda key: ENCRYPTOR)


def engine(receivers, minimum=5, numbers=NUMBERS, holder=0, **change):
    def run(session):
        holds = session.index == holder
        given = {"columns": 2, "receivers": receivers, "minimum": minimum, "context": b"t"} | change
        items = Items.of(HOLDER if holds else JOINER)
        return join_and_sum(session, items, numbers if holds else None, peer=1 - session.index, **given)

    return run


@pytest.mark.parametrize("holder", [0, 1])
@pytest.mark.parametrize("receivers", [(0,), (1,), (0, 1)])
def test_receivers_learn_the_count_and_the_sums(parties, monkeypatch, holder, receivers):
    monkeypatch.setattr(join_sum, "BATCH", 7)
    outcomes = parties(2, engine(receivers, holder=holder))
    for party, outcome in enumerate(outcomes):
        size = 30 if party == holder else 40
        assert outcome == (JoinSum(size, 10, SUMS) if party in receivers else JoinSum(size, None, None))


@pytest.mark.parametrize("receivers", [(0,), (1,), (0, 1)])
def test_fewer_matches_than_the_minimum_end_it_for_both(parties, receivers):
    assert all(isinstance(each, TooFewMatches) for each in parties(2, engine(receivers, minimum=11)))
    assert not any(isinstance(each, Exception) for each in parties(2, engine(receivers, minimum=10)))


def test_largest_numbers(parties):
    bound = number_bound(40)
    numbers = np.tile(np.array([-bound, bound - 1]), (40, 1))
    assert parties(2, engine((0, 1), numbers=numbers))[1].sums == (-10 * bound, 10 * (bound - 1))
    beyond = parties(2, engine((0, 1), numbers=numbers - 1), corrupt=(0, 1, 99, bytes))
    assert "a number is not from" in str(beyond[0])


def test_what_a_holder_decrypts_for_a_joiner_alone_is_masked(parties, monkeypatch):
    seen = []
    original = join_sum.decrypt
    monkeypatch.setattr(join_sum, "decrypt", lambda key, row: seen.extend(original(key, row)) or seen[-1:])
    for _ in range(2):
        assert parties(2, engine((1,)))[1].sums == SUMS
    assert seen[0] != seen[1]
    assert min(seen).bit_length() > join_sum.SLOT_BITS * 2 + 2000


def flip(message):
    return bytes([message[0] ^ 1]) + message[1:]


@pytest.mark.parametrize(
    ("sender", "number", "change", "step"),
    [
        (1, 0, lambda message: (1 << 23).to_bytes(8, "big") + message[8:], "bind"),
        (1, 1, flip, "salt"),
        (1, 2, lambda message: bytes(32) + message[32:], "items"),
        (1, 2, lambda message: message[:-1], "items"),
        (0, 2, lambda message: message[:-1], "tags"),
        (0, 3, lambda message: bytes(len(message)), "key"),
        (0, 4, lambda message: message[:-1], "numbers"),
        (0, 4, lambda message: message[: -join_sum.CIPHERTEXT] + bytes(join_sum.CIPHERTEXT), "numbers"),
        (0, 4, lambda message: bytes(32) + message[32:], "items"),
        (1, 3, lambda message: message[:-1], "sums"),
        (1, 3, lambda message: message[:8] + bytes(join_sum.CIPHERTEXT), "sums"),
        (1, 3, lambda message: message[:8] + (12345).to_bytes(join_sum.CIPHERTEXT, "big"), "sums"),
        (0, 5, lambda message: b"\xff" * len(message), "sums"),
    ],
)
def test_each_corrupted_message_names_its_sender_and_step(parties, sender, number, change, step):
    error = parties(2, engine((0, 1)), corrupt=(sender, 1 - sender, number, change))[1 - sender]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, step)


@pytest.mark.parametrize(
    "change",
    [
        {"receivers": ()},
        {"receivers": (2,)},
        {"columns": 0},
        {"columns": 48},
        {"columns": 1},
        {"minimum": 0},
        {"numbers": NUMBERS[:3]},
        {"numbers": NUMBERS.astype(np.float64)},
    ],
)
def test_local_misuse_is_refused(parties, change):
    receivers = change.pop("receivers", (0,))
    assert isinstance(parties(2, engine(receivers, **change), corrupt=(0, 1, 99, bytes))[0], ValueError)


def test_bytes_are_foretold():
    sessions = local_sessions(2)
    run_parties(sessions, engine((0, 1)))
    for party, sizes in enumerate([(40, 30), (30, 40)]):
        sent = sum(step.bytes for step in sessions[party].meter.steps.values())
        assert sent == bytes_sent(*sizes, holds=party == 0)


@pytest.mark.parametrize("matches", [4, 31])
def test_a_holder_takes_no_sum_of_fewer_or_more_matches_than_can_be(parties, matches):
    def change(message):
        sums = join_sum.Packing(join_sum.KEY_BITS, join_sum.SLOT_BITS, 40)
        plain = sums.pack(np.zeros(2, np.int64))[0] * matches
        return matches.to_bytes(8, "big") + ENCRYPTOR.encrypt([plain]).to_bytes()

    error = parties(2, engine((0, 1)), corrupt=(1, 0, 3, change))[0]
    assert isinstance(error, ProtocolViolation)
    assert "items match" in error.rule
