"""Oblivious transfer: who gets what, published vectors, and every message kind of a cheater."""

from __future__ import annotations

import numpy as np
import pytest
from coincurve import PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.mpc import secp256k1
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.ot import base, bits, rows, trees
from tallystick_node.engines.ot.correlated import GlobalReceiver, GlobalSender
from tallystick_node.engines.ot.extension import OtReceiver, OtSender, security
from tallystick_node.engines.ot.hashing import Hash
from unit.engines.conftest import run_parties

COUNTS = [0, 1, 63, 64, 65, 127, 128, 129, 1000]
ORDER = np.random.default_rng(11)


def between(sender, receiver, run=run_parties, number=2):
    answers = run(local_sessions(number), lambda session: (sender, receiver)[session.index](session))
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def some_bits(count: int) -> np.ndarray:
    return ORDER.integers(0, 2, count).astype(np.uint8)


def some_words(*shape: int) -> np.ndarray:
    return ORDER.integers(0, 2**64, shape, np.uint64)


# -- published vectors


def test_the_expansion_is_aes_counter_mode() -> None:
    """NIST SP 800-38A, F.5.1's key, with a counter from zero: FIPS-197 AES on each counter."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    block = Cipher(algorithms.AES128(key), modes.ECB()).encryptor().update(bytes(16) + bytes(15) + b"\1")
    assert Stream(key).elements((4,)).tobytes() == block
    plain, cipher = "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"  # FIPS-197, appendix C.1
    encryptor = Cipher(algorithms.AES128(bytes(range(16))), modes.ECB()).encryptor()
    assert encryptor.update(bytes.fromhex(plain)).hex() == cipher


def test_the_hash_is_two_permutations() -> None:
    """TMMO as it is written, one row after another, in Python."""
    hashed = Hash(b"context", b"label")
    values, delta = some_words(5000, 2), some_words(2)
    found = hashed(values, 7, delta, 3)
    permute = lambda block: np.frombuffer(hashed._cipher.update(block.tobytes()), np.uint64)  # noqa: E731
    for row in (0, 1, 4095, 4096, 4999):
        once = permute(values[row] ^ delta)
        assert (found[row] == (permute(once ^ np.array([7 + row, 3], np.uint64)) ^ once)).all()


def test_points_of_the_curve() -> None:
    """SEC 2's generator, and twice it; hashing gives points of the curve, another for each number and input."""
    assert secp256k1.encode(secp256k1.base(1)).hex() == "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    assert secp256k1.encode(secp256k1.base(2)).hex() == "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"
    points = [base.hash_to_group(b"d", number, code) for number in range(20) for code in (b"a", b"b")]
    codes = {secp256k1.encode(point) for point in points}
    assert len(codes) == 40
    assert {code[0] for code in codes} == {2, 3}
    for code in codes:
        x, y = PublicKey(code).point()
        assert (y * y - x**3 - 7) % (2**256 - 2**32 - 977) == 0


# -- who gets what


def test_base_transfers() -> None:
    choices = some_bits(20)
    keys, chosen = between(lambda s: base.send(s, 1, 20, b"x"), lambda s: base.receive(s, 0, choices, b"x"))
    assert [pair[choice] for pair, choice in zip(keys, choices, strict=True)] == chosen
    assert len({key for pair in keys for key in pair}) == 40


def test_keys_are_bound_to_the_label() -> None:
    choices = some_bits(5)
    keys, chosen = between(lambda s: base.send(s, 1, 5, b"x"), lambda s: base.receive(s, 0, choices, b"y"))
    assert not set(chosen) & {key for pair in keys for key in pair}


def test_a_punctured_tree_lacks_one_leaf() -> None:
    missing = np.array([0, 5, 15], np.uint8)
    grown, known = between(lambda s: trees.grow(s, 1, 3, 4, b""), lambda s: trees.puncture(s, 0, missing, 4, b""))
    for leaves, some, hole in zip(grown, known, missing, strict=True):
        assert len(set(leaves)) == 16
        assert some[hole] == b""
        assert [leaf for i, leaf in enumerate(some) if i != hole] == [leaf for i, leaf in enumerate(leaves) if i != hole]


@given(words=st.integers(1, 140).map(lambda half: half))
@settings(max_examples=20)
def test_transposition(words) -> None:
    columns = some_words(128, words + 2)
    out = np.empty((64 * words, 2), np.uint64)
    bits.transpose(columns, words, out)
    for transfer in {0, 1, words, 64 * words - 1, int(ORDER.integers(64 * words))}:
        place, word = divmod(transfer, words)
        expected = (columns[:, word] >> np.uint64(place)) & np.uint64(1)
        assert (np.unpackbits(out[transfer].view(np.uint8), bitorder="little") == expected).all()
    packed, unpacked, given_bits = np.empty(words, np.uint64), np.empty(64 * words, np.uint8), some_bits(64 * words)
    bits.pack(given_bits, packed)
    bits.unpack(packed, unpacked)
    assert (unpacked == given_bits).all()


@pytest.fixture(scope="module")
def transfers():
    """Everything that one pair of parties transfers, for each of COUNTS."""
    inputs = [(some_bits(n), some_words(n, 3), some_words(n, 3), some_bits(n), some_bits(n), some_words(n)) for n in COUNTS]

    def sender(session):
        ot, shared = OtSender(session, 1), GlobalSender(session, 1)
        return shared.delta, [
            (ot.random(len(c)), ot.send(a, b), ot.send_bits(x, y), ot.correlated(d), shared.strings(len(c)))
            for c, a, b, x, y, d in inputs
        ]

    def receiver(session):
        ot, shared = OtReceiver(session, 0), GlobalReceiver(session, 0)
        return [(ot.random(c), ot.receive(c, 3), ot.receive_bits(c), ot.correlated(c), shared.strings(c)) for c, *_ in inputs]

    (delta, sent), received = between(sender, receiver)
    return inputs, delta, sent, received


@pytest.mark.parametrize("number", range(len(COUNTS)))
def test_the_receiver_gets_what_it_chose(transfers, number) -> None:
    inputs, delta, sent, received = transfers
    (c, a, b, x, y, d), given_out, got = inputs[number], sent[number], received[number]
    zeros, ones = given_out[0]
    assert (got[0] == np.where(c[:, None], ones, zeros)).all()
    assert not (zeros == ones).any()
    assert (got[1] == np.where(c[:, None], b, a)).all()
    assert (got[2] == np.where(c, y, x)).all()
    assert (got[3] == given_out[3] + c * d).all()
    assert (got[4] == given_out[4] ^ (c[:, None] * delta)).all()
    assert delta[0] & np.uint64(1)


def test_what_is_transferred_is_uniform_and_fresh(transfers) -> None:
    """A distribution test: neither side's view of random transfers depends on the choices."""
    _, _, sent, received = transfers
    zeros, ones = sent[-1][0]
    for strings in (zeros, ones, zeros ^ ones, received[-1][0], sent[-1][4], received[-1][4]):
        assert abs(np.unpackbits(np.ascontiguousarray(strings).view(np.uint8)).mean() - 0.5) < 0.01
        assert len(np.unique(strings)) == strings.size


def test_many_batches(monkeypatch) -> None:
    monkeypatch.setattr(rows, "BATCH", 256)
    c, d = some_bits(1000), some_words(1000)
    x, y = between(lambda s: OtSender(s, 1).correlated(d), lambda s: OtReceiver(s, 0).correlated(c))
    assert (y == x + c * d).all()


def test_third_parties_see_nothing_of_it() -> None:
    c = some_bits(10)

    def engine(session):
        if session.index == 0:
            return OtSender(session, 2).random(10)
        return OtReceiver(session, 0).random(c) if session.index == 2 else session.meter.steps

    (zeros, ones), steps, got = run_parties(local_sessions(3), engine)
    assert (got == np.where(c[:, None], ones, zeros)).all()
    assert all(step.messages == 0 for step in steps.values())


def test_what_a_transfer_costs() -> None:
    """4 bytes for each transfer and 128 sacrificed ones, as rows.py says."""
    c = some_bits(1280)

    def receiver(session):
        OtReceiver(session, 0).random(c)
        return session.meter.steps[rows.STEP]

    _, step = between(lambda s: OtSender(s, 1).random(1280), receiver)
    assert step.bytes == 4 * (1280 + 128) + 48


def test_unequal_messages_are_refused() -> None:
    def sender(session):
        with pytest.raises(ValueError):
            OtSender(session, 1).send(some_words(4, 2), some_words(4, 3))

    between(sender, lambda s: OtReceiver(s, 0) and None)
    assert security().adversary == "malicious-with-abort"


# -- cheaters


def flipped(message: bytes) -> bytes:
    return bytes(byte ^ 1 for byte in message)


def shifted(message: bytes) -> bytes:
    """Corrections for choices that differ between the columns of every tree."""
    words = np.frombuffer(message, np.uint64).reshape(rows.TREES, -1).copy()
    words[np.arange(rows.TREES), np.arange(rows.TREES) % words.shape[1]] ^= np.uint64(1) << np.arange(rows.TREES, dtype=np.uint64)
    return words.tobytes()


def one_tree(message: bytes) -> bytes:
    """A tag of zeros' columns in which one bit is wrong."""
    return bytes([message[0] ^ 1]) + message[1:]


def negated(message: bytes) -> bytes:
    """The inverse of each point: points as well, but of other keys."""
    return b"".join(bytes([message[i] ^ 1]) + message[i + 1 : i + 33] for i in range(0, len(message), 33))


def infinite(message: bytes) -> bytes:
    return bytes(len(message))


def doubled(message: bytes) -> bytes:
    """The second point of each pair is the inverse of the mask that the first gives: they add up to infinity."""
    domain = base._domain(b"", 1, 0, b"transfers")
    out = b""
    for number, i in enumerate(range(0, len(message), 66)):
        first = message[i : i + 33]
        out += first + secp256k1.encode(secp256k1.neg(base.hash_to_group(domain, number, first)))
    return out


def cheat(parties, sender, message, change):
    """What each of two parties ends with when ``sender``'s message is changed; one that fails lets the other fail at once."""

    def transfer(session):
        if session.index == 0:
            OtSender(session, 1).send(some_words(200, 2), some_words(200, 2))
        else:
            OtReceiver(session, 0).receive(some_bits(200), 2)

    def engine(session):
        try:
            transfer(session)
        except ProtocolViolation:
            for _ in range(4):
                session.channels[1 - session.index].send(b"")
            raise

    return parties(2, engine, corrupt=(sender, 1 - sender, message, change))


@pytest.mark.parametrize(
    ("sender", "message", "change", "step"),
    [
        (1, 0, infinite, base.STEP),
        (1, 0, lambda m: b"\2" + b"\xff" * 32, base.STEP),  # no field element
        (1, 0, lambda m: b"\4" + m[1:], base.STEP),
        (1, 0, negated, trees.STEP),
        (1, 1, flipped, trees.STEP),
        (1, 2, flipped, trees.STEP),
        (1, 2, one_tree, trees.STEP),
        (1, 3, flipped, rows.CHECK),
        (1, 3, shifted, rows.CHECK),
        (1, 4, one_tree, rows.CHECK),
        (1, 4, flipped, rows.CHECK),
        (0, 0, infinite, base.STEP),
        (0, 0, doubled, base.STEP),
        (0, 0, flipped, base.STEP),
    ],
)
def test_a_cheater_is_caught(parties, sender, message, change, step) -> None:
    error = cheat(parties, sender, message, change)[1 - sender]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, step)


def test_another_challenge_than_was_sent_fails_the_check(parties) -> None:
    error = cheat(parties, 0, 1, flipped)[0]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (1, rows.CHECK)


@pytest.mark.parametrize(
    ("sender", "message", "step"),
    [
        (1, 0, base.STEP),
        (1, 1, trees.STEP),
        (1, 2, trees.STEP),
        (1, 3, rows.STEP),
        (1, 4, rows.CHECK),
        (0, 0, base.STEP),
        (0, 1, rows.CHECK),
        (0, 2, "ot messages"),
        (0, 3, "ot messages"),
    ],
)
@pytest.mark.parametrize("change", [lambda m: m[:-1], lambda m: m + b"\0"])
def test_wrong_lengths(parties, sender, message, step, change) -> None:
    error = cheat(parties, sender, message, change)[1 - sender]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, step)
