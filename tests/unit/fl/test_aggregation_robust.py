"""Robust means against arbitrary vectors, and Pedersen commitments to short ones."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import VOUCHER, Identity, ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.credentials import KEY, Credential
from tallystick_node.engines.echo import Echo
from tallystick_node.engines.fl.aggregation import commitment, quantisation, robust
from tallystick_node.engines.fl.aggregation.projection import Accused
from tallystick_node.engines.fl.aggregation.robust import RobustSum
from unit.engines.conftest import leave
from unit.fl.test_aggregation_blame import credential, institutions

NAMES = ["median", "trimmed-mean", "krum", "multi-krum"]


def honest(count: int, size: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.3 + rng.normal(0, 0.02, (count, size))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("attack", ["huge", "opposite", "same", "just outside"])
def test_three_of_ten_arbitrary_vectors_do_not_move_a_robust_mean_far(name: str, attack: str) -> None:
    good = honest(7, 50, 4)
    wrong = {
        "huge": np.full((3, 50), 1e9),
        "opposite": -good[:3],
        "same": np.full((3, 50), -0.7),
        "just outside": np.full((3, 50), 0.38),
    }[attack]
    vectors = np.vstack([wrong[:1], good, wrong[1:]])
    found = RobustSum.of(name, 3).rule(vectors)
    assert np.abs(found - 0.3).max() < 0.1
    if attack != "just outside":
        assert np.abs(vectors.mean(axis=0) - 0.3).max() > 0.1  # which the mean does not stand


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 12), st.integers(1, 8), st.integers(0, 2**32), st.data())
def test_an_entry_of_a_trimmed_mean_lies_among_the_honest(count: int, size: int, seed: int, data) -> None:
    arbitrary = data.draw(st.integers(0, (count - 1) // 2))
    good = honest(count - arbitrary, size, seed)
    vectors = np.vstack([np.random.default_rng(seed).normal(0, 1e6, (arbitrary, size)), good])
    for found in (robust.trimmed_mean(vectors, arbitrary), robust.median(vectors)):
        assert (found >= good.min(axis=0) - 1e-12).all()
        assert (found <= good.max(axis=0) + 1e-12).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32))
def test_the_median_is_numpys(count: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(count, 7))
    assert robust.median(vectors) == pytest.approx(np.median(vectors, axis=0))


def test_krum_by_its_definition() -> None:
    vectors = np.random.default_rng(6).normal(size=(9, 4))
    f, near = 2, 9 - 2 - 2
    scores = [
        sum(sorted(float(((v - w) ** 2).sum()) for j, w in enumerate(vectors) if j != i)[:near]) for i, v in enumerate(vectors)
    ]
    order = np.argsort(scores)
    assert np.array_equal(robust.krum(vectors, f), vectors[order[0]])
    assert robust.krum(vectors, f, 3) == pytest.approx(vectors[order[:3]].mean(axis=0))


def test_means_that_do_not_stand_so_many_are_refused() -> None:
    vectors = np.zeros((6, 3))
    for act in (
        lambda: robust.trimmed_mean(vectors, 3),
        lambda: robust.trimmed_mean(vectors, -1),
        lambda: robust.krum(vectors, 2),
        lambda: robust.krum(vectors, 1, 4),
        lambda: robust.krum(vectors, 1, 0),
        lambda: robust.median(np.full((3, 2), np.nan)),
        lambda: robust.median(np.zeros(3)),
        lambda: robust.krum(np.full((7, 2), np.inf), 1),
        lambda: RobustSum.of("mean", 1),
        lambda: RobustSum.of("median", -1),
        lambda: RobustSum.of("median", 1, 3).total(local_sessions(3)[0], np.zeros(2), [0, 1, 2], 0),
    ):
        with pytest.raises(ValueError):
            act()
    with pytest.raises(ValueError, match="or more, not 3"):
        RobustSum.of("krum", 1).total(local_sessions(3)[0], np.zeros(2), [0, 1, 2], 0)


def everyone(parties, part):
    """What each party ends with, an error in its place: ``part(session)`` in a thread for each."""

    def one(session):
        try:
            return part(session)
        except Exception as error:
            return error
        finally:
            leave(session)

    with ThreadPoolExecutor(parties) as pool:
        return list(pool.map(one, local_sessions(parties)))


def test_members_and_others_get_the_same_robust_mean_round_after_round() -> None:
    """The two entries before the last are added up; a round may have but one other."""
    vectors = np.vstack([honest(4, 9, 1), np.full((1, 9), -1.0), np.zeros((1, 9))])

    def part(session):
        rule = RobustSum.of("median", 2, 2)
        return [rule.total(session, vectors[session.index][:size], [0, 1, 2, 3, 4], round_) for round_, size in ((1, 9), (2, 3))]

    found = everyone(6, part)
    assert all(np.array_equal(each[r], found[0][r]) for each in found for r in range(2))
    medians, sums = np.median(vectors[:5], axis=0) * 5, vectors[:5].sum(axis=0)
    due = np.concatenate([medians[:6], sums[6:8], medians[8:]])
    assert np.abs(found[0][0] - due).max() <= 5 * quantisation.error(5)
    assert np.abs(found[0][1] - np.append(sums[:2], medians[2])).max() <= 5 * quantisation.error(5)
    assert found[0][0][0] > 5 * 0.25  # the mean, drawn away by party 4, is below


class Twofold(Echo):
    """A member that tells party 1 another digest, of the vector that it then sends it, and signs both; with two keys, if it has
    them."""

    keys: tuple[Credential, ...] = ()

    def tell(self, word: bytes) -> None:
        for peer, channel in sorted(self._session.channels.items()):
            if self.keys:
                self._credential = self.keys[peer]
            told = hashlib.sha256(OTHER.data).digest() if peer == 1 else word
            said = self._heard[self._session.index] = self._sign(told)
            channel.send(said[: KEY + VOUCHER] + said[-64:] + told)


class Forging(Echo):
    """A party that reports of party 1 what that never signed."""

    def report(self) -> bytes:
        false = super().report()
        place = KEY + VOUCHER + 96 + KEY + VOUCHER
        return false[:place] + bytes(32) + false[place + 32 :]


OTHER = np.zeros(4, np.uint32)


def cheated(monkeypatch, cheater: type[Echo], identities=None) -> list:
    """What three members end with, of whom party 2 cheats."""

    def sent(session, peer, words):
        send_array(session, peer, OTHER if issubclass(cheater, Twofold) and (session.index, peer) == (2, 1) else words)

    monkeypatch.setattr(robust, "send_array", sent)
    monkeypatch.setattr(robust, "Echo", lambda session, *about: (cheater if session.index == 2 else Echo)(session, *about))

    def part(session):
        if identities is not None:
            session = replace(session, identity=identities[session.index])
        return RobustSum.of("median", 1).total(session, np.full(4, 0.1), [0, 1, 2], 0)

    return everyone(3, part)


@pytest.mark.parametrize(
    ("cheater", "rule"),
    [
        (Twofold, "told two parties different things, and signed both"),
        (Forging, "reports a word of party 1 that this one never signed"),
    ],
)
def test_who_shows_two_vectors_or_reports_a_false_one_is_named(monkeypatch, cheater, rule) -> None:
    for fault in cheated(monkeypatch, cheater)[:2]:
        assert isinstance(fault, ProtocolViolation) and fault.peer == 2 and rule in str(fault), fault


@pytest.mark.parametrize("named", [2, None])
def test_two_vectors_signed_with_two_keys_name_who_has_them(monkeypatch, named) -> None:
    """Each of two honest parties met one of the keys. Where institutions vouch for keys the member is named; else each party can
    only say that the other reports a key that it does not know."""
    made, vouched = institutions(3)
    keys = tuple(credential(made[2]) for _ in range(2))

    def identity(party):
        own = Ed25519PrivateKey.generate()
        voucher = made[party].sign(b"session" + own.public_key().public_bytes_raw()) + b"\0"
        return Identity(own.private_bytes_raw(), voucher, vouched)

    cheater = type("TwoKeys", (Twofold,), {"keys": keys})
    found = cheated(monkeypatch, cheater, None if named is None else [identity(party) for party in range(3)])
    for party, fault in enumerate(found[:2]):
        assert isinstance(fault, ProtocolViolation) and fault.peer == (1 - party if named is None else named), fault
        assert ("two keys for one session" in str(fault)) == (named is not None)


def test_a_vector_that_its_member_did_not_sign_names_it(monkeypatch) -> None:
    class Unsigned(Echo):
        def tell(self, word: bytes) -> None:
            self._session.broadcast(self._credential.announced + bytes(64) + word)

    for fault in cheated(monkeypatch, Unsigned)[:2]:
        assert isinstance(fault, ProtocolViolation) and fault.peer == 2 and "did not sign" in str(fault)


def test_another_vector_than_the_signed_one_names_its_member(monkeypatch) -> None:
    class Other(Echo):
        def tell(self, word: bytes) -> None:
            super().tell(bytes(32))

    for fault in cheated(monkeypatch, Other)[:2]:
        assert isinstance(fault, ProtocolViolation) and fault.peer == 2 and "another vector than it signed" in str(fault)


def test_a_vector_of_an_earlier_round_does_not_do_for_this_one(monkeypatch) -> None:
    """What was signed for one round is no word of another: a round's signature, said again, is not the member's."""
    earlier: list[bytes] = []

    class Again(Echo):
        def tell(self, word: bytes) -> None:
            self._credential = CREDENTIAL
            self._heard[self._session.index] = said = self._sign(word)
            earlier.append(said[-64:])
            self._session.broadcast(self._credential.announced + earlier[0] + word)

    def part(session):
        rule = RobustSum.of("median", 1)
        return [rule.total(session, np.full(4, 0.1), [0, 1, 2], round_) for round_ in range(2)]

    monkeypatch.setattr(robust, "Echo", lambda session, *about: (Again if session.index == 2 else Echo)(session, *about))
    for fault in everyone(3, part)[:2]:
        assert isinstance(fault, ProtocolViolation) and fault.peer == 2 and "did not sign" in str(fault)


CREDENTIAL = Credential(Ed25519PrivateKey.generate())


def test_a_robust_mean_stays_with_one_session_and_uses_a_rounds_number_once() -> None:
    rule, (first, other, _) = RobustSum.of("median", 1), local_sessions(3)
    assert rule.begin(first, 4) and not rule.begin(first, 5)
    for session, round_ in ((first, 5), (first, 3), (other, 6)):
        with pytest.raises(ValueError):
            rule.begin(session, round_)


@pytest.mark.parametrize("added", [0, 1])
@pytest.mark.parametrize("steps", [quantisation.levels(3) + 1, 1 << 31])
def test_an_update_that_is_not_within_the_bound_names_its_member(steps: int, added: int, monkeypatch) -> None:
    encode = quantisation.encode

    def huge(vector, summands):
        return np.full(2, steps, np.uint32) if vector[0] == 0.5 else encode(vector, summands)

    monkeypatch.setattr(quantisation, "encode", huge)
    found = everyone(3, lambda one: RobustSum.of("median", 1, added).total(one, np.full(2, one.index / 4), [0, 1, 2], 0))
    for fault in found:
        assert isinstance(fault, ProtocolViolation) and fault.peer == 2 and "no summand" in str(fault)


def committed():
    rng = np.random.default_rng(3)
    vectors = [rng.integers(0, 2**32, 20, dtype=np.uint32) for _ in range(3)]
    made = [commitment.commit(vector) for vector in vectors]
    return vectors, made, np.sum(vectors, axis=0, dtype=np.uint64), sum(each.blinding for each in made)


def test_the_sum_of_what_was_committed_opens_the_sum_of_the_commitments() -> None:
    vectors, made, whole, blinding = committed()
    commitment.find_liars(vectors, made)
    commitment.verify([each.point for each in made], whole, blinding)


@pytest.mark.parametrize("forged", ["dropped", "changed", "invented", "wrapped", "unblinded", "large"])
def test_another_sum_does_not_open_it(forged: str) -> None:
    vectors, made, whole, blinding = committed()
    if forged == "dropped":
        whole = whole - vectors[0]
    elif forged == "changed":
        whole[3] += np.uint64(1)
    elif forged == "invented":
        whole = whole + vectors[0]
    elif forged == "wrapped":
        whole = whole.astype(np.uint32).astype(np.uint64)
    elif forged == "unblinded":
        blinding += 1
    else:
        whole[0] = 2**50
    with pytest.raises(Accused, match="aggregate"):
        commitment.verify([each.point for each in made], whole, blinding)


def test_a_forged_commitment_names_its_party() -> None:
    vectors, made, whole, blinding = committed()
    with pytest.raises(Accused) as caught:
        commitment.find_liars(vectors, [made[0], made[2], made[2]])
    assert caught.value.party == 1
    with pytest.raises(Accused) as caught:
        commitment.verify([made[0].point, made[1].point, b"\1" * 64], whole, blinding)
    assert caught.value.party == 2
    with pytest.raises(ValueError, match="at most"):
        commitment.commit(np.zeros(commitment.MAX_ENTRIES + 1, np.uint32))
