"""Encrypted sums: every party gets the same numbers, and each check of what others send names who failed it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.fl.aggregation import paillier as paillier_sum
from tallystick_node.engines.fl.aggregation.base import Disagreement
from tallystick_node.engines.fl.aggregation.ckks import CkksSum
from tallystick_node.engines.fl.aggregation.encrypted import _send
from tallystick_node.engines.fl.aggregation.paillier import PaillierSum
from tallystick_node.engines.he.paillier.keys import generate
from unit.engines.conftest import leave


@pytest.fixture(scope="module", autouse=True)
def one_key():
    """One key for all tests, so that no deadline waits for primes."""
    key = generate(2048)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paillier_sum, "generate", lambda bits: key)
        yield


def paillier(holder=0, adder=1):
    return PaillierSum(holder, adder, 2048)


@pytest.mark.parametrize("members", [[0, 1, 2, 3], [2, 3], [3], [0, 2]])
def test_every_party_gets_the_sum(members) -> None:
    vectors = np.random.default_rng(4).uniform(-1, 1, (2, 4, 100))
    vectors[:, :, 0] = 1

    def party(session):
        scheme = paillier()
        return [scheme.total(session, vectors[r][session.index], members, r) for r in range(2)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(party, local_sessions(4)))
    for r in range(2):
        assert all((sums[r] == found[0][r]).all() for sums in found)
        assert np.abs(found[0][r] - vectors[r][members].sum(axis=0)).max() <= len(members) * 2.0**-28
        assert found[0][r][0] == len(members)


def test_the_adder_sees_only_ciphertexts_and_the_holder_only_their_sum() -> None:
    sessions = local_sessions(3)
    seen = {}
    for session in sessions:
        for peer, channel in session.channels.items():
            log = seen.setdefault((peer, session.index), [])
            channel.receive = lambda receive=channel.receive, log=log: log.append(receive()) or log[-1]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda s: paillier().total(s, np.full(3, 0.5), [0, 1, 2], 0), sessions))
    assert [len(m) for m in seen[2, 0]] == []  # a member sends the holder nothing
    assert [len(m) for m in seen[1, 0]] == [8, 512]  # the adder sends it one block
    assert [len(m) for m in seen[2, 1]] == [8, 512]


def spoiled(bad, cheat_as, size=2, members=(0, 1, 2)):
    """Party ``cheat_as`` does ``bad(session, its scheme)`` in place of its part; what the others raise, by party."""
    faults = {}

    def party(session):
        scheme = paillier()
        try:
            if session.index == cheat_as:
                bad(session, scheme)
            else:
                scheme.total(session, np.full(size, 0.5), members, 0)
        except Exception as error:
            faults[session.index] = error
        finally:
            leave(session)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(party, local_sessions(3)))
    return faults


def test_a_holder_without_a_key_is_named() -> None:
    def no_key(data):
        return lambda session, _: [_send(session, peer, data) for peer in (1, 2)]

    for data, rule in ((bytes(256), "no public key"), (bytes(10), "no public key"), (bytes(9999), "announced 9999 bytes")):
        faults = spoiled(no_key(data), 0)
        for party in (1, 2):
            assert isinstance(faults[party], ProtocolViolation) and faults[party].peer == 0 and rule in str(faults[party])


def test_a_holder_with_a_shorter_key_than_agreed_is_named() -> None:
    """Short vectors would fit under it, and nothing else would show it."""

    def party(session):
        try:
            return PaillierSum(0, 1, 2048 if session.index == 0 else 3072).total(session, np.full(2, 0.5), [1, 2], 0)
        finally:
            leave(session)

    with ThreadPoolExecutor(3) as pool:
        ran = [pool.submit(party, session) for session in local_sessions(3)]
        for honest in ran[1:]:
            with pytest.raises(ProtocolViolation, match="party 0: .*a key of 2048 bits where 3072 were agreed"):
                honest.result()


@pytest.mark.parametrize(
    ("data", "rule"), [(bytes(512), "between 0 and n"), (b"\1" * 511, "511 bytes where"), (bytes(513), "announced")]
)
def test_a_member_without_ciphertexts_is_named(data, rule) -> None:
    def bad(session, scheme):
        scheme._keys(session)
        _send(session, 1, data)

    fault = spoiled(bad, 2)[1]
    assert isinstance(fault, ProtocolViolation) and fault.peer == 2 and rule in str(fault)


def test_an_adder_that_sends_no_ciphertext_is_named() -> None:
    def bad(session, scheme):
        scheme._keys(session)
        _send(session, 0, bytes(512))

    fault = spoiled(bad, 1)[0]
    assert isinstance(fault, ProtocolViolation) and fault.peer == 1 and "sent no encrypted sum" in str(fault)


@pytest.mark.parametrize("cheat", [1, 2])
def test_a_sum_that_none_can_be_accuses_nobody(cheat) -> None:
    """The adder made it up, or a member's number is far out of range: the ciphertext does not show which, and one is honest."""

    def bad(session, scheme):
        scheme._keys(session)
        data = scheme._held.encrypt([2**1000]).to_bytes()
        if cheat == 1:
            _send(session, 0, data)
        else:
            _send(session, 1, data)

    fault = spoiled(bad, cheat)[0]
    assert isinstance(fault, Disagreement) and "a member or party 1, who adds, deviated" in str(fault)


def test_wrong_roles_and_own_numbers_are_refused() -> None:
    for holder, adder in ((1, 1), (-1, 0)):
        with pytest.raises(ValueError):
            paillier(holder, adder)
    one, two = local_sessions(2)
    with pytest.raises(ValueError, match="among the 2 parties"):
        paillier(0, 2).total(one, np.zeros(1), [0], 0)
    with pytest.raises(ValueError, match="summand"):
        paillier().total(one, np.array([1.5]), [0, 1], 0)
    scheme = paillier()
    scheme._keys(one)
    with pytest.raises(ValueError, match="one party's session"):
        scheme._keys(two)


def test_the_statement_says_who_must_not_collude() -> None:
    statement = paillier().security(5)
    assert (statement.adversary, statement.corruptions, statement.parties, statement.computational_bits) == (
        "semi-honest",
        1,
        5,
        112,
    )
    assert "must not collude" in statement.learns["holder and adder together"]


def test_a_sum_under_ckks_is_close_and_the_same_at_every_party() -> None:
    members, size = [0, 2], 5000  # two blocks
    vectors = np.random.default_rng(5).uniform(-1, 1, (3, size))
    vectors[:, 0] = 1

    with ThreadPoolExecutor(3) as pool:
        sums = list(pool.map(lambda s: CkksSum(0, 1).total(s, vectors[s.index], members, 0), local_sessions(3)))
    assert all((total == sums[0]).all() for total in sums)
    assert np.abs(sums[0]).max() <= 2
    noise = sums[0] - vectors[members].sum(axis=0)
    assert np.abs(noise).max() < 8 * 2.5e-4  # of so many numbers one is farther off with a probability below 1e-11
    assert noise.std() > 2e-4  # what the release adds
    assert CkksSum(0, 1).security(3).computational_bits == 128


def test_a_member_without_a_ckks_ciphertext_is_named() -> None:
    def party(session):
        scheme = CkksSum(0, 1)
        try:
            if session.index == 2:
                scheme._keys(session)
                _send(session, 1, (100).to_bytes(4, "big") + bytes(100))
            else:
                scheme.total(session, np.zeros(3), [0, 2], 0)
        finally:
            leave(session)

    with ThreadPoolExecutor(3) as pool:
        _, adder, _ = [pool.submit(party, session) for session in local_sessions(3)]
        with pytest.raises(ProtocolViolation, match="party 2: encrypted sum: sent no encrypted vector"):
            adder.result()
