"""Commitments to what owners sent, opened where all of them say: they add up, hide, and catch who uses another sum."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tallystick.commitments import kzg, vector_sum
from tallystick.commitments.kzg import ORDER, SCALAR, OpeningRefused
from tallystick_node.engines.channel import VOUCHER, Identity, ProtocolViolation, Session, local_sessions
from tallystick_node.engines.credentials import KEY, Credential
from tallystick_node.engines.echo import Echo
from tallystick_node.engines.fl.aggregation import opened
from tallystick_node.engines.fl.aggregation.opened import Opened, open_sums
from unit.engines.conftest import run_parties

OWNERS, PARTIES, WORDS = (0, 1, 2), 4, 20  # party 3 only receives
VECTORS = [[secrets.randbelow(2**32) for _ in range(WORDS)] for _ in OWNERS]
SUMS = [sum(column) for column in zip(*VECTORS, strict=True)]


def run(sums: Callable[[int], list[int]] = lambda _: SUMS, vectors: list[list[int]] = VECTORS) -> list[Opened | Exception]:
    """Each party's outcome, with the sums that it believes."""

    def one(session: Session) -> Opened:
        sent = vectors[session.index] if session.index in OWNERS else None
        return open_sums(session, OWNERS, sent, sums(session.index))

    context = secrets.token_bytes(32)
    return run_parties([replace(each, context=context) for each in local_sessions(PARTIES, seconds=300)], one)


def test_openings_add_up_and_the_file_leads_to_the_sums_commitments() -> None:
    found = run()
    assert all(isinstance(each, Opened) for each in found), found
    first = found[0]
    assert isinstance(first, Opened)
    assert all(
        (each.commitments, each.total, each.shown, each.blinds) == (first.commitments, first.total, first.shown, first.blinds)
        for each in found
    )
    assert [row is None for row in first.commitments] == [False, False, False, True]
    assert not found[3].own
    assert sum(each.own[0].value for each in found[:3]) % ORDER == first.shown[0].value
    (elements,) = vector_sum.read_sum(vector_sum.write_sum(SUMS, first.blinds), 1)
    assert kzg.commit(elements) == first.total[0]
    with pytest.raises(OpeningRefused):
        kzg.verify(first.total[0], 1, first.shown[0])


def test_nothing_that_is_published_is_the_same_again() -> None:
    """The same words, committed to anew: fresh elements hide them, so commitments and values are others."""
    once, again = run(), run()
    for a, b in zip(once[:3], again[:3], strict=True):
        assert isinstance(a, Opened) and isinstance(b, Opened)
        assert not set(a.commitments[:3]) & set(b.commitments[:3])
        assert a.own[0].value != b.own[0].value


def test_nobody_opens_where_another_sum_was_used() -> None:
    """Openings at two points would show more than the elements hide, so all parties end before the first."""
    found = run(lambda party: SUMS if party != 1 else [SUMS[0] + 1, *SUMS[1:]])
    assert all(isinstance(each, ProtocolViolation) for each in found), found
    assert [each.peer for each in found if isinstance(each, ProtocolViolation)] == [1, 0, 1, 1]
    assert all("found another sum" in str(each) for each in found)


def test_a_sum_of_something_else_that_all_use_does_not_add_up() -> None:
    false = run(lambda _: [SUMS[0] + 1, *SUMS[1:]])
    assert isinstance(false[0], Opened)
    assert sum(each.own[0].value for each in false[:3]) % ORDER != false[0].shown[0].value


def test_an_owner_may_make_up_for_a_false_sum_by_what_it_commits_to() -> None:
    """What the module says is not shown: that what an owner commits to is what it sent before the sum was known."""
    first, second, third = VECTORS
    false = [SUMS[0] + 1, *SUMS[1:]]
    helped = run(lambda _: false, [first, [second[0] + 1, *second[1:]], third])
    assert isinstance(helped[0], Opened)
    assert sum(each.own[0].value for each in helped[:3]) % ORDER == helped[0].shown[0].value


class Twofold(Echo):
    """An owner that tells party 0 one thing and everybody else another, and signs both."""

    second: bytes

    def tell(self, word: bytes) -> None:
        first, second = word, word[: -len(self.second)] + self.second
        for peer in sorted(self._session.channels):
            told = first if peer == 0 else second
            said = self._heard[self._session.index] = self._sign(told)
            self._session.channels[peer].send(said[: KEY + VOUCHER] + said[-64:] + told)


def run_with(monkeypatch: pytest.MonkeyPatch, cheater: Callable[..., Echo]) -> list[Opened | Exception]:
    """The outcomes where party 1 cheats."""

    def made(session: Session, *about: Any) -> Echo:
        return (cheater if session.index == 1 else Echo)(session, *about)

    monkeypatch.setattr(opened, "Echo", made)
    return run()


def named(found: list[Opened | Exception]) -> list[int]:
    """Whom the parties other than 1 name."""
    honest = [each for place, each in enumerate(found) if place != 1]
    assert all(isinstance(each, ProtocolViolation) for each in honest), found
    return [each.peer for each in honest if isinstance(each, ProtocolViolation)]


def test_an_owner_that_tells_two_parties_different_things_is_named_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Honest parties would else find two points, and each name the other."""
    Twofold.second = bytes(SCALAR)
    found = run_with(monkeypatch, Twofold)
    assert named(found) == [1, 1, 1]
    assert all("told two parties different things, and signed both" in str(found[party]) for party in (0, 2, 3))


def test_a_word_that_its_owner_did_not_sign_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsigned(Echo):
        def _sign(self, word: bytes) -> bytes:
            return super()._sign(word + b"?")

    found = run_with(monkeypatch, Unsigned)
    assert named(found) == [1, 1, 1] and "did not sign what it sent" in str(found[0])


def test_who_reports_a_word_that_was_never_said_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lying(Echo):
        def report(self) -> bytes:
            said = bytearray(super().report())
            said[KEY + VOUCHER] ^= 1  # of the digest of what party 0 said
            return bytes(said)

    found = run_with(monkeypatch, Lying)
    assert named(found) == [1, 1, 1] and "never signed" in str(found[2])


def test_a_signature_of_another_attempt_convicts_nobody() -> None:
    sessions = local_sessions(2)
    earlier = Echo(replace(sessions[0], context=b"earlier"), (0, 1), "proof")
    earlier.tell(b"an old word")
    sessions[1].channels[0].receive()
    session = replace(sessions[0], context=b"now")
    now = Echo(session, (0,), "proof")
    now._credential = earlier._credential
    now.tell(b"a word")
    listening = Echo(replace(sessions[1], context=b"now"), (0,), "proof")
    assert listening.hear(0, 6) == b"a word"
    listening.check(0, now.report())
    with pytest.raises(ProtocolViolation, match="never signed") as caught:
        listening.check(0, earlier._heard[0])
    assert caught.value.peer == 0  # who reports it: here the two are the same party


def test_two_keys_that_an_institution_vouched_for_name_their_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Party 1 announces one key to party 0 and another to the others: each honest party met one of them."""
    keys = [Ed25519PrivateKey.generate() for _ in range(2)]

    class TwoKeys(Twofold):
        def _sign(self, word: bytes) -> bytes:
            self._credential = Credential(keys[word[-SCALAR:] == self.second])
            return super()._sign(word)

    TwoKeys.second = bytes(SCALAR)

    def one(session: Session) -> Opened:
        sent = VECTORS[session.index] if session.index in OWNERS else None
        return open_sums(session, OWNERS, sent, SUMS)

    def made(session: Session, *about: Any) -> Echo:
        return (TwoKeys if session.index == 1 else Echo)(session, *about)

    monkeypatch.setattr(opened, "Echo", made)
    vouched = [
        Identity(Ed25519PrivateKey.generate().private_bytes_raw(), bytes(VOUCHER), lambda peer, key, voucher: True)
        for _ in range(PARTIES)
    ]
    sessions = [
        replace(each, context=bytes(32), identity=own)
        for each, own in zip(local_sessions(PARTIES, seconds=300), vouched, strict=True)
    ]
    found = run_parties(sessions, one)
    assert named(found) == [1, 1, 1] and "announced two keys" in str(found[0])


def test_an_element_that_is_not_reduced_names_its_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(session: Session) -> Opened:
        return open_sums(session, OWNERS, VECTORS[session.index] if session.index in OWNERS else None, SUMS)

    sessions = local_sessions(PARTIES, seconds=300)
    channel = sessions[1].channels[0]
    plain = channel.send
    monkeypatch.setattr(channel, "send", lambda message: plain(b"\xff" * len(message)))
    found = run_parties(sessions, one)
    assert isinstance(found[0], ProtocolViolation)
    assert (found[0].peer, found[0].step) == (1, "proof")


def test_sums_that_are_too_long_are_refused_before_anything_is_sent() -> None:
    (session, *_) = local_sessions(2)
    with pytest.raises(ValueError, match="1 to 114632 words"):
        open_sums(session, (0, 1), None, [0] * (vector_sum.MAX_WORDS + 1))
