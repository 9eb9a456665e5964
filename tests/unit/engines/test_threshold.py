"""The size test: right bits at the edges, named deviations, and the group's infinity."""

import pytest
from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.engines.mpc import secp256k1
from tallystick_node.engines.mpc.threshold import at_least

COUNTS = [[0, 3, 4, 0, 2**40], [0, 3, 4, 10, 0], [0, 3, 2, 0, 1]]


def engine(threshold=10, inputs=(0, 1, 2)):
    def run(session):
        count = (lambda _: COUNTS[session.index]) if session.index in inputs else None
        return at_least(session, count, groups=5, threshold=threshold, inputs=inputs, context=b"t")

    return run


@pytest.mark.parametrize("threshold", [1, 2, 9, 10, 11])
def test_every_party_learns_the_bits(parties, threshold):
    expected = [sum(column) >= threshold for column in zip(*COUNTS, strict=True)]
    assert parties(4, engine(threshold)) == [expected] * 4


def zeros(message):
    return bytes(len(message))


def garbage(message):
    return b"\5" * len(message)


def shorter(message):
    return message[:-1]


STEPS = [(1, 0, 0, "key"), (1, 0, 1, "count"), (0, 1, 1, "mix"), (2, 0, 2, "mix"), (1, 0, 2, "decrypt"), (1, 3, 0, "bits")]
# Zeros are well-formed bits and decryption shares: that deviation is one that the semi-honest statement leaves out.
MALFORMED = [(*step, change) for step in STEPS for change in (zeros, garbage, shorter)]
MALFORMED = [case for case in MALFORMED if not (case[3] in ("decrypt", "bits") and case[4] is zeros)]


@pytest.mark.parametrize(("sender", "receiver", "number", "step", "change"), MALFORMED)
def test_each_malformed_message_names_its_sender_and_step(parties, sender, receiver, number, step, change):
    error = parties(4, engine(), corrupt=(sender, receiver, number, change))[receiver]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, step)


def test_a_key_share_without_its_proof_is_refused(parties):
    def other_share(message):
        return secp256k1.encode(secp256k1.base(5)) + message[33:]

    error = parties(3, engine(), corrupt=(2, 1, 0, other_share))[1]
    assert (error.peer, error.step) == (2, "key")
    assert "possession" in error.rule


def test_input_parties_that_tell_an_observer_different_bits_are_named(parties):
    error = parties(4, engine(), corrupt=(2, 3, 0, lambda bits: bytes(1 - bit for bit in bits)))[3]
    assert isinstance(error, ProtocolViolation)


def test_infinity_obeys_the_group_law():
    point = secp256k1.base(7)
    assert secp256k1.base(0) is None
    assert secp256k1.multiply(None, 3) is None
    assert secp256k1.add(point, secp256k1.neg(point)) is None
    assert secp256k1.add(None, point) == point
    assert secp256k1.add(point, point) == secp256k1.base(14)
    assert secp256k1.decode(secp256k1.encode(None)) is None
    with pytest.raises(ValueError, match="33 bytes"):
        secp256k1.decode(bytes(34))


@pytest.mark.parametrize(
    "arguments",
    [{"threshold": 0}, {"threshold": 1001}, {"groups": 2}, {"inputs": [0]}, {"counts": [-1]}, {"counts": None}],
)
def test_local_misuse_is_refused(parties, arguments):
    def run(session):
        arguments_ = {"counts": [1], "groups": 1, "threshold": 2, "inputs": [0, 1], "context": b"t", **arguments}
        counts = arguments_.pop("counts")
        return at_least(session, counts and (lambda _: counts), **arguments_)

    assert isinstance(parties(2, run)[0], ValueError)
