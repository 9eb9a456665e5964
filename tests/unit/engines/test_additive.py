"""The secure sum: totals, who learns them, and who is blamed."""

import pytest
from tallystick.commitments import pedersen
from tallystick_node.engines.channel import ChannelError, ProtocolViolation
from tallystick_node.engines.mpc.additive import ORDER, secure_sum

VALUES = [[1, -5, 3], [2, -(2**100), 7], [4, 0, -20]]


def engine(inputs=(0, 1, 2), receivers=(0,), values=VALUES):
    def run(session):
        own = values[session.index] if session.index in inputs else None
        return secure_sum(session, own, length=3, inputs=inputs, receivers=receivers, context=b"t")

    return run


@pytest.mark.parametrize(("number", "inputs", "receivers"), [(2, (0, 1), (0, 1)), (3, (0, 2), (1,)), (4, (0, 1, 2), (2, 3))])
def test_receivers_get_the_totals_and_an_opening(parties, number, inputs, receivers):
    outcomes = parties(number, engine(inputs, receivers))
    expected = tuple(map(sum, zip(*(VALUES[i] for i in inputs), strict=True)))
    for party, outcome in enumerate(outcomes):
        assert outcome.commitments == outcomes[0].commitments
        assert [each is None for each in outcome.commitments] == [i not in inputs for i in range(number)]
        if party in receivers:
            assert outcome.totals == expected
            pedersen.verify_opening(outcome.sum_commitment, outcome.totals, outcome.blinding)
        else:
            assert outcome.totals is None
            assert outcome.blinding is None


def flip(message):
    return message[:-1] + bytes([message[-1] ^ 1])


@pytest.mark.parametrize(("number", "step"), [(0, "open"), (1, "open"), (2, "echo"), (3, "share"), (4, "partial")])
@pytest.mark.parametrize("change", [flip, lambda message: message[:-1]])
def test_each_corrupted_message_names_its_sender_and_step(parties, number, step, change):
    outcomes = parties(3, engine(), corrupt=(1, 0, number, change))
    error = outcomes[0]
    assert isinstance(error, ProtocolViolation)
    assert error.peer == 1
    assert error.step == ("commit" if number == 0 and change is not flip else step)


def test_an_equivocating_party_ends_the_run_before_shares_are_sent(parties):
    class Equivocating:
        def __init__(self, inner, donor):
            self.inner, self.peer, self.donor, self.sent = inner, inner.peer, donor, 0

        def send(self, message):
            self.inner.send(self.donor[self.sent] if self.sent < 2 else message)
            self.sent += 1

        def receive(self):
            return self.inner.receive()

        def mark(self, phase):
            pass

    import hashlib
    import secrets

    from tallystick.commitments import bn254

    body = secrets.token_bytes(32) + b"".join(bn254.encode(pedersen.commit([k], 1)) for k in range(3))
    context = hashlib.sha256(b"tallystick/v1/sum\0" + b"t").digest()
    seal = hashlib.sha256(context + b"commit" + (1).to_bytes(4, "big") + body).digest()

    def run(session):
        if session.index == 1:
            session.channels[0] = Equivocating(session.channels[0], [seal, body])
        return engine()(session)

    outcomes = parties(3, run)
    assert isinstance(outcomes[0], ProtocolViolation)
    assert outcomes[0].step == "echo"
    assert isinstance(outcomes[2], ChannelError)


def test_a_scalar_that_is_not_reduced_is_refused(parties):
    def grow(message):
        return (int.from_bytes(message[:32], "big") + ORDER).to_bytes(32, "big") + message[32:]

    error = parties(3, engine(), corrupt=(2, 0, 3, grow))[0]
    assert (error.peer, error.step) == (2, "share")
    assert "reduced" in error.rule


@pytest.mark.parametrize(
    "arguments",
    [
        {"inputs": [0], "receivers": [0]},
        {"inputs": [0, 1], "receivers": []},
        {"inputs": [0, 5], "receivers": [0]},
        {"inputs": [0, 1], "receivers": [0], "length": 0},
        {"inputs": [0, 1], "receivers": [0], "values": None},
        {"inputs": [0, 1], "receivers": [0], "values": [1, 2]},
        {"inputs": [0, 1], "receivers": [0], "values": [1, 2, 1 << 240]},
    ],
)
def test_local_misuse_is_refused_before_anything_is_sent(parties, arguments):
    def run(session):
        arguments_ = {"values": [1, 2, 3], "length": 3, "context": b"t", **arguments}
        return secure_sum(session, arguments_.pop("values"), **arguments_)

    assert isinstance(parties(2, run)[0], ValueError)
