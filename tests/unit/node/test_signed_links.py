"""What parties sign of their links: their own, for this attempt; and what contradicts what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tallystick.protocol import typed
from tallystick.protocol.agreement import LinkDigest, link_digest
from tallystick.protocol.errors import NotFound, PeerFailed
from tallystick.protocol.operators import Scope
from tallystick.protocol.reasons import Reason
from tallystick.protocol.signature import recover
from tallystick.protocol.statement import Link
from tallystick.signing import signer_from_uri
from tallystick_node.evidence import signed_links
from tallystick_node.evidence.agreement import Word
from unit.node.test_agreement import digest, word_of
from unit.protocol.world import DEPLOYED, make

TASK = bytes([7]) * 32
SIGNERS = {each.address: each for each in (signer_from_uri(f"mnemonic:{number}") for number in range(3))}
A, B, C = SIGNERS
BLAND = word_of(world := make(), world.spec.parties[0])


class Registry:
    """Participants of whom A has C as its operator for signing."""

    def acts_for(self, operator: str, account: str, scope: int) -> bool:
        return (operator, account, scope) == (C, A, Scope.SIGN)


class Deployed:
    participants = Registry()

    def domain(self, contract: str) -> typed.Domain:
        return typed.Domain(contract, 31337, DEPLOYED["TaskLedger"])


class Older:
    def domain(self, contract: str) -> typed.Domain:
        raise NotFound(f"this deployment has no {contract}")


def said(account: str, *, by: str | None = None, attempt: int = 1, chain: Any = None, **changes: dict[str, Any]) -> Word:
    """The word of a party about its links to both others, with changes of the link to a named one."""
    others = [each for each in SIGNERS if each != account]
    links = tuple(
        replace(Link(one, other, 3, 300, digest(one, other).replace("sha256", "blake3")), **changes.get(f"{one}{other}", {}))
        for peer in others
        for one, other in ((account, peer), (peer, account))
    )
    signatures = signed_links.sign(chain or Deployed(), SIGNERS[by or account], TASK, attempt, links)
    return replace(BLAND, links=links, signatures=signatures)


def checked(word: Word, account: str = A, chain: Any = None) -> None:
    signed_links.check(chain or Deployed(), account, TASK, 1, word)


def test_honest_words_are_signed_and_contradict_nothing() -> None:
    words = {account: said(account) for account in SIGNERS}
    for account, word in words.items():
        checked(word, account)
    assert signed_links.contradictions(TASK, 1, words) == []


@pytest.mark.parametrize(
    "word",
    [
        said(A, by=B),
        said(A, attempt=2),
        said(B),
        replace(said(A), signatures=()),
        replace(said(A), signatures=said(A).signatures[1:]),
        replace(said(A), signatures=said(A).signatures[::-1]),
        replace(said(A), links=said(A, **{f"{A}{B}": {"bytes": 1}}).links),
    ],
)
def test_a_word_that_is_not_signed_as_it_should_is_refused(word: Word) -> None:
    with pytest.raises(PeerFailed, match="did not sign") as caught:
        checked(word)
    assert (caught.value.party, caught.value.reason) == (A, Reason.STATEMENT_MISMATCH)


def test_an_operator_signs_for_its_party_and_for_no_other() -> None:
    checked(said(A, by=C))
    with pytest.raises(PeerFailed):
        checked(said(B, by=C), B)


def test_nobody_signs_for_the_links_of_others() -> None:
    word = said(A)
    foreign = (Link(B, C, 3, 300, digest(B, C).replace("sha256", "blake3")),)
    signatures = signed_links.sign(Deployed(), SIGNERS[A], TASK, 1, foreign)  # type: ignore[arg-type]
    with pytest.raises(PeerFailed):
        checked(replace(word, links=(*word.links, *foreign), signatures=(*word.signatures, *signatures)))


@pytest.mark.parametrize("change", [{"digest": "blake3:" + "cd" * 32}, {"bytes": 299}])
def test_ends_that_differ_contradict_one_another_in_a_form_that_the_contract_takes(change: dict[str, Any]) -> None:
    words = {A: said(A), B: said(B, **{f"{A}{B}": change}), C: said(C)}
    ((one, other),) = signed_links.contradictions(TASK, 1, words)
    assert [one[1], other[1]] == [A, B]
    for link, signer, signature in (one, other):
        assert recover(link_digest(Deployed().domain("Disputes"), LinkDigest(*link)), signature) == signer
    assert one[0][:5] == other[0][:5] == (TASK, 1, A, B, 3)


def test_a_party_that_signs_twice_in_one_word_contradicts_itself() -> None:
    twice = said(A), said(A, **{f"{A}{B}": {"bytes": 1}})
    word = replace(twice[0], links=twice[0].links + twice[1].links, signatures=twice[0].signatures + twice[1].signatures)
    assert [(one[1], other[1]) for one, other in signed_links.contradictions(TASK, 1, {A: word})] == [(A, A)]


def test_who_says_one_direction_often_makes_nobody_show_more_than_one_pair() -> None:
    often = [said(A, **{f"{A}{B}": {"bytes": size}}) for size in range(8)]
    links, signatures = ([each for word in often for each in getattr(word, name)[:1]] for name in ("links", "signatures"))
    words = {B: said(B), A: replace(BLAND, links=tuple(links), signatures=tuple(signatures))}
    assert [(one[1], other[1]) for one, other in signed_links.contradictions(TASK, 1, words)] == [(A, A)]


def test_other_numbers_of_messages_prove_nothing() -> None:
    words = {A: said(A), B: said(B, **{f"{A}{B}": {"messages": 2}})}
    assert signed_links.contradictions(TASK, 1, words) == []


def test_where_no_contract_would_take_them_nothing_is_signed() -> None:
    word = said(A, chain=Older())
    assert word.signatures == ()
    checked(word, chain=Older())
    assert signed_links.contradictions(TASK, 1, {A: word, B: said(B, chain=Older(), **{f"{A}{B}": {"bytes": 1}})}) == []
    with pytest.raises(PeerFailed):
        checked(said(A), chain=Older())
