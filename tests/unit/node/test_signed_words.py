"""Who signed which word: what counts as a party's word, and who is named where reports of it differ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.protocol import canonical
from tallystick.protocol.errors import ChainUnreachable, PeerFailed, RunFailed
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec
from tallystick_node.evidence.signed_words import SIGNATURE, Heard, Report, Said, digest
from unit.protocol.world import ACCOUNTS, PARTIES, STRANGER, Account, make

A, B, C = PARTIES
KEYS = dict(zip(PARTIES, ACCOUNTS, strict=True))
CONTEXT, STARTED = hashlib.sha256(b"one attempt").digest(), 1_800_000_000
STRICT, TOLERANT = make("sum-verified").spec, make("projection-verified-absent-1").spec  # without A or B, not both
PAGE = Path(__file__).parents[3] / "docs/spec/word.md"


class Key:
    """A node's signer."""

    def __init__(self, account: Account) -> None:
        self.address, self.sign_digest = account.address, account.sign


class Registry:
    """Which operators could sign since an attempt started: it keeps what it was asked."""

    def __init__(self, *could: tuple[str, str], away: bool = False) -> None:
        self.participants = self
        self.could, self.away, self.asked = could, away, 0

    def could_sign(self, operator: str, account: str, since: int) -> bool:
        self.asked += 1
        if self.away:
            raise ChainUnreachable("no answer")
        assert since == STARTED
        return (operator, account) in self.could


def hearing(own: str, chain: Any = None, context: bytes = CONTEXT, **operators: Collection[str]) -> Heard:
    signers = {account: (account, *operators.get(account, ())) for account in PARTIES}
    return Heard(chain or Registry(), own, context, STARTED, signers)


def message(account: str, word: bytes, key: Account | None = None, context: bytes = CONTEXT) -> bytes:
    return hearing(account, context=context).say(Key(key or KEYS[account]), word)  # type: ignore[arg-type]


def said(account: str, word: bytes, key: Account | None = None, context: bytes = CONTEXT) -> Said:
    return Said(hashlib.sha256(word).digest(), message(account, word, key, context)[:SIGNATURE])


def heard_all(own: str, chain: Any = None) -> Heard:
    """A party that has said its word and heard those of the others."""
    heard = hearing(own, chain)
    for account in PARTIES:
        if account == own:
            heard.say(Key(KEYS[own]), account.encode())  # type: ignore[arg-type]
        else:
            assert heard.take(account, message(account, account.encode())) == account.encode()
    return heard


def reported(**changed: Said) -> Report:
    """What a party reports that was told what this one was, but of some."""
    return Report((), {account: changed.get(account, said(account, account.encode())) for account in PARTIES})


# -- what counts as a word


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"word",
        bytes(SIGNATURE) + b"word",
        message(A, b"another")[:SIGNATURE] + b"word",
        message(A, b"word", key=KEYS[B]),
        message(A, b"word", key=STRANGER),
        message(B, b"word", key=KEYS[A]),  # as an operator of B would sign
        message(A, b"word", context=hashlib.sha256(b"another attempt").digest()),
    ],
    ids=["nothing", "no signature", "zeros", "of another word", "by a peer", "by a stranger", "for another", "of another attempt"],
)
def test_a_word_that_its_sender_did_not_sign_for_this_attempt_names_it(received: bytes) -> None:
    chain = Registry((STRANGER.address, A))  # whoever could sign only later does not count
    with pytest.raises(PeerFailed, match="did not sign its word") as caught:
        hearing(C, chain).take(A, received)
    assert (caught.value.party, caught.value.reason, chain.asked) == (A, Reason.STATEMENT_MISMATCH, 0)
    assert caught.value.remedy


@given(st.binary(max_size=200))
def test_bytes_are_no_word(received: bytes) -> None:
    with pytest.raises(PeerFailed) as caught:
        hearing(C).take(A, received)
    assert caught.value.party == A


def test_an_operator_that_could_sign_as_the_attempt_started_signs_words() -> None:
    heard = hearing(C, **{A: (STRANGER.address,)})
    assert heard.take(A, message(A, b"word", key=STRANGER)) == b"word"
    with pytest.raises(PeerFailed):
        heard.take(B, message(B, b"word", key=STRANGER))


# -- what differs


def test_what_equals_the_own_view_costs_no_question_and_no_signature() -> None:
    chain = Registry(away=True)
    heard = heard_all(C, chain)
    heard.compare(A, reported())
    heard.compare(A, reported(**{B: Said(hashlib.sha256(B.encode()).digest(), bytes(SIGNATURE))}))
    assert chain.asked == 0


def test_who_signed_two_words_is_named_by_both_who_heard_them() -> None:
    words = {B: b"one word", C: b"another"}
    for own, other in ((B, C), (C, B)):
        heard = heard_all(own)
        heard.take(A, message(A, words[own]))
        with pytest.raises(PeerFailed, match="two words") as caught:
            heard.compare(other, reported(**{A: said(A, words[other])}))
        assert (caught.value.party, caught.value.reason) == (A, Reason.STATEMENT_MISMATCH)
        assert caught.value.remedy and hashlib.sha256(words[other]).hexdigest() in caught.value.message


def test_who_reports_of_itself_another_word_than_it_told_is_named() -> None:
    with pytest.raises(PeerFailed, match="two words") as caught:
        heard_all(C).compare(A, reported(**{A: said(A, b"another")}))
    assert caught.value.party == A


@pytest.mark.parametrize(
    "forged",
    [
        Said(bytes(32), bytes(SIGNATURE)),
        Said(bytes(32), said(A, A.encode()).signature),
        said(A, b"another", key=KEYS[B]),
        said(A, b"another", key=STRANGER),
        said(B, b"another", key=KEYS[A]),
        said(A, b"another", context=hashlib.sha256(b"another attempt").digest()),
    ],
    ids=["zeros", "of another word", "by the reporter", "by a stranger", "for another", "of another attempt"],
)
def test_who_reports_a_word_that_was_never_signed_is_named(forged: Said) -> None:
    for own in (A, C):  # also by the one whose word it is to be
        with pytest.raises(PeerFailed, match=f"a word of {A}") as caught:
            heard_all(own).compare(B, reported(**{A: forged}))
        assert (caught.value.party, caught.value.reason) == (B, Reason.STATEMENT_MISMATCH)


def test_nobody_has_an_honest_peer_named_by_revoking_the_operator_that_signed() -> None:
    chain, second = Registry((STRANGER.address, A)), said(A, b"another", key=STRANGER)
    with pytest.raises(PeerFailed) as caught:
        heard_all(C, chain).compare(B, reported(**{A: second}))
    assert (caught.value.party, chain.asked) == (A, 1)
    away = Registry(away=True)
    with pytest.raises(ChainUnreachable):
        heard_all(C, away).compare(B, reported(**{A: second}))


def test_two_words_with_the_own_signature_accuse_nobody() -> None:
    with pytest.raises(RunFailed, match="own signature") as caught:
        heard_all(C).compare(B, reported(**{C: said(C, b"another")}))
    assert (caught.value.party, caught.value.reason) == (None, Reason.INTERNAL)


def test_of_whom_one_of_two_heard_nothing_there_is_nothing_to_compare() -> None:
    heard = hearing(C)
    heard.say(Key(KEYS[C]), C.encode())  # type: ignore[arg-type]
    heard.take(B, message(B, B.encode()))
    heard.compare(B, reported(**{A: said(A, b"another")}))  # it heard A, and this one did not
    heard_all(C).compare(B, Report((A,), {B: said(B, B.encode()), C: said(C, C.encode())}))


# -- reports


def test_a_report_is_read_as_it_was_written() -> None:
    assert Report.parse(heard_all(C).report(PARTIES), C, STRICT) == reported()
    heard = hearing(C)
    heard.say(Key(KEYS[C]), C.encode())  # type: ignore[arg-type]
    heard.take(B, message(B, B.encode()))
    assert Report.parse(heard.report(PARTIES), C, TOLERANT).absent == (A,)


@pytest.mark.parametrize(
    ("spec", "report"),
    [
        (STRICT, Report((), {})),
        (STRICT, Report((), {A: said(A, b""), B: said(B, b"")})),
        (STRICT, Report((), {B: said(B, b""), A: said(A, b""), C: said(C, b"")})),
        (STRICT, Report((), {A: said(A, b""), B: said(B, b""), STRANGER.address: said(C, b"")})),
        (STRICT, Report((A,), {B: said(B, b""), C: said(C, b"")})),
        (TOLERANT, Report((A,), {A: said(A, b""), B: said(B, b""), C: said(C, b"")})),
        (TOLERANT, Report((B, A), {C: said(C, b"")})),
        (TOLERANT, Report((A, A), {B: said(B, b""), C: said(C, b"")})),
        (TOLERANT, Report((C,), {A: said(A, b""), B: said(B, b"")})),
        (TOLERANT, Report((STRANGER.address,), {A: said(A, b""), B: said(B, b""), C: said(C, b"")})),
    ],
    ids=[
        "of nobody", "one left out", "out of order", "of a stranger", "absent where none may be", "absent and heard",
        "absent out of order", "absent twice", "absent without which there is no result", "a stranger absent",
    ],
)  # fmt: skip
def test_a_report_says_one_thing_of_each_party(spec: TaskSpec, report: Report) -> None:
    with pytest.raises(PeerFailed, match="in a form that is none") as caught:
        Report.parse(report.to_bytes(), B, spec)
    assert (caught.value.party, caught.value.reason) == (B, Reason.STATEMENT_MISMATCH)


def test_nobody_reports_itself_absent() -> None:
    report = Report((A,), {B: said(B, b""), C: said(C, b"")})
    assert Report.parse(report.to_bytes(), B, TOLERANT) == report
    with pytest.raises(PeerFailed) as caught:
        Report.parse(report.to_bytes(), A, TOLERANT)
    assert caught.value.party == A


@given(data=st.binary(max_size=200) | st.just(b'{"absent":[],"heard":[1,2,3]}') | st.just(b"[" * 20_000))
def test_bytes_that_are_no_report_name_their_sender(data: bytes) -> None:
    with pytest.raises(PeerFailed) as caught:
        Report.parse(data, C, STRICT)
    assert caught.value.party == C


@pytest.mark.parametrize("member", ["digest", "signature", "party"])
@given(value=st.none() | st.integers(-5, 5) | st.text(max_size=8))
def test_one_member_of_the_wrong_form_names_its_sender(member: str, value: Any) -> None:
    raw = canonical.decode(reported().to_bytes(), 1 << 14)
    raw["heard"][1][member] = value
    with pytest.raises(PeerFailed) as caught:
        Report.parse(canonical.encode(raw), B, STRICT)
    assert caught.value.party == B


@pytest.mark.parametrize("size", [0, SIGNATURE - 1, SIGNATURE + 1])
def test_a_signature_of_another_length_names_its_sender(size: int) -> None:
    report = reported(**{A: Said(hashlib.sha256(b"another").digest(), bytes(size))})
    with pytest.raises(PeerFailed, match="signature") as caught:
        Report.parse(report.to_bytes(), B, STRICT)
    assert caught.value.party == B


def test_what_is_signed_is_what_the_specification_says() -> None:
    """docs/spec/word.md, its vector."""
    account = "0x000000000000000000000000000000000000dEaD"
    value = digest(bytes(range(32)), account, hashlib.sha256(b"{}").digest())
    (stated,) = re.findall(r"\| `([0-9a-f]{64})` \|", PAGE.read_text(encoding="utf-8"))
    assert value.hex() == stated
