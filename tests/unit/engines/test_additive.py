"""The secure sum: totals, who learns them, and who is blamed."""

import hashlib
import secrets
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tallystick.commitments import bn254, pedersen
from tallystick_node.engines.channel import VOUCHER, ChannelError, Identity, ProtocolViolation, local_sessions
from tallystick_node.engines.credentials import KEY, Credential
from tallystick_node.engines.echo import Echo
from tallystick_node.engines.mpc.additive import ORDER, secure_sum
from unit.engines.conftest import run_parties

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


def flip(message, place=-1):
    changed = bytearray(message)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(("number", "step"), [(0, "open"), (1, "open"), (3, "share"), (4, "partial")])
@pytest.mark.parametrize("change", [flip, lambda message: message[:-1]])
def test_each_corrupted_message_names_its_sender_and_step(parties, number, step, change):
    outcomes = parties(3, engine(), corrupt=(1, 0, number, change))
    error = outcomes[0]
    assert isinstance(error, ProtocolViolation)
    assert error.peer == 1
    assert error.step == ("commit" if number == 0 and change is not flip else step)


class Equivocating:
    """A link of party 1's that carries another broadcast than its other links do."""

    def __init__(self, inner, donor):
        self.inner, self.peer, self.donor, self.sent = inner, inner.peer, donor, 0

    def send(self, message):
        self.inner.send(self.donor[self.sent] if self.sent < 2 else message)
        self.sent += 1

    def receive(self):
        return self.inner.receive()

    def mark(self, phase):
        pass


def other_broadcast(session, signer):
    """What party 1 may say as well: the hash of other commitments, and these, with a signature of ``signer``'s."""
    body = secrets.token_bytes(32) + b"".join(bn254.encode(pedersen.commit([k], 1)) for k in range(3))
    context = hashlib.sha256(b"tallystick/v1/sum\0" + b"t").digest()
    echo = Echo(session, (0, 1, 2), "open", context)
    echo._credential = signer
    said = echo._sign(body)
    seal = hashlib.sha256(context + b"commit" + (1).to_bytes(4, "big") + body).digest()
    return [seal, said[: KEY + VOUCHER] + said[-64:] + body]


def vouched_sessions(number):
    """Sessions whose institutions vouch for every key: party 3 receives and owns nothing."""
    keys = [Ed25519PrivateKey.generate().private_bytes_raw() for _ in range(number)]
    sessions = local_sessions(number, seconds=60.0)
    identities = [Identity(key, bytes(VOUCHER), lambda peer, public, voucher: True) for key in keys]
    return [replace(each, identity=own) for each, own in zip(sessions, identities, strict=True)]


@pytest.mark.parametrize("keys", [1, 2])
def test_an_owner_that_tells_two_parties_two_things_is_named_by_all_before_shares_are_sent(keys):
    """Signed with one key, or with two for which its institution vouched."""

    def run(session):
        if session.index == 1:
            signer = Credential.of(session) if keys == 1 else Credential(Ed25519PrivateKey.generate())
            session.channels[0] = Equivocating(session.channels[0], other_broadcast(session, signer))
        return engine(receivers=(0, 3))(session)

    outcomes = run_parties(vouched_sessions(4), run)
    honest = [outcomes[party] for party in (0, 2, 3)]
    assert all(isinstance(each, ProtocolViolation) for each in honest), outcomes
    assert [each.peer for each in honest] == [1, 1, 1]
    assert all("both" in each.rule for each in honest)


def test_a_report_that_is_too_short_names_its_sender(parties):
    error = parties(3, engine(), corrupt=(1, 0, 2, lambda message: message[:-1]))[0]
    assert isinstance(error, ProtocolViolation) and (error.peer, error.step) == (1, "open")


def test_a_report_of_what_an_owner_never_signed_names_who_reports_it(parties):
    """Of the report about each owner, its key and voucher come first, then the digest, then the signature."""
    for place in (KEY + VOUCHER, 2 * (KEY + VOUCHER) + 96):  # about the owner that is told, and about the reporter itself
        error = parties(3, engine(), corrupt=(1, 0, 2, lambda message, place=place: flip(message, place)))[0]
        assert isinstance(error, ProtocolViolation) and (error.peer, error.step) == (1, "open")
        assert "never signed" in error.rule


def test_commitments_that_their_owner_did_not_sign_name_it():
    sessions = vouched_sessions(3)
    forged = other_broadcast(sessions[1], Credential(Ed25519PrivateKey.generate()))
    forged[1] = Credential.of(sessions[1]).announced + forged[1][KEY + VOUCHER :]
    sessions[1].channels[0] = Equivocating(sessions[1].channels[0], forged)
    outcomes = run_parties(sessions, engine())
    assert (outcomes[0].peer, outcomes[0].step) == (1, "open") and "did not sign" in outcomes[0].rule
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
