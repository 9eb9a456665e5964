"""How parties come to one statement: honest words agree, and whoever's word contradicts is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.protocol import canonical
from tallystick.protocol.errors import PeerFailed, RunFailed
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.projection_verified import Contribution
from tallystick.protocol.proof.subject import subject_of
from tallystick.protocol.reasons import Reason
from tallystick.protocol.statement import Link, Statement
from tallystick_node.evidence.agreement import (
    Known,
    Registered,
    Word,
    blaming,
    check_commitments,
    complete,
    draft,
)
from unit.protocol.world import DEPLOYED, PARTIES, World, make

A, B, C = PARTIES
NOTHING = Known(())


def digest(*words: str) -> str:
    return canonical.text(canonical.digest("test", "/".join(words).encode()))


def word_of(world: World, account: str) -> Word:
    others = [each for each in PARTIES if each != account]
    given = {part.party: part.commitment for part in world.statement.inputs}
    return Word(
        commitment=given.get(account, ""),
        contribution=world.contributions(subject_of(world.statement, world.spec.parties)).get(account, ""),
        output=digest("output", account) if account in world.spec.receivers else "",
        links=tuple(
            Link(one, other, 3, 300, digest(one, other).replace("sha256", "blake3"))
            for peer in others
            for one, other in ((account, peer), (peer, account))
        ),
        signatures=(),
        seconds_ms=1500,
        certificate=world.certificates[account].pem.decode(),
        release=digest("release"),
    )


@pytest.fixture(scope="module")
def world() -> World:
    return make("sum-verified")


@pytest.fixture(scope="module")
def words(world: World) -> dict[str, Word]:
    return {account: word_of(world, account) for account in PARTIES}


def build(world: World, words: dict[str, Word], known: Known = NOTHING) -> tuple[Statement, bytes]:
    datasets = {part.dataset: Registered(bytes(32), bytes(32)) for part in world.spec.inputs}
    found = draft(world.spec, 1, words, datasets, DEPLOYED, known)
    with blaming():
        content = KINDS[world.spec.proof].assemble(subject_of(found.statement, world.spec.parties), found.said)
    return complete(world.spec, found.statement, content), content


def built(world: World, words: dict[str, Word]) -> Statement:
    return build(world, words)[0]


def test_everybody_builds_the_same_statement(world: World, words: dict[str, Word]) -> None:
    arrived = {account: Word.parse(word.to_bytes(), account) for account, word in words.items()}
    statement = built(world, arrived)
    assert statement.to_bytes() == built(world, dict(reversed(words.items()))).to_bytes()
    assert len(statement.links) == len(PARTIES) * (len(PARTIES) - 1)
    assert statement.cost.bytes == 300 * len(statement.links)
    assert [each.party for each in statement.code] == PARTIES


@pytest.mark.parametrize("change", [{"digest": digest("other")}, {"messages": 2}, {"bytes": 299}])
@pytest.mark.parametrize("liar", [A, B])
def test_ends_of_a_link_that_saw_different_messages(
    world: World, words: dict[str, Word], change: dict[str, Any], liar: str
) -> None:
    """Nobody else can tell which of the two lies, so nobody is named."""
    links = tuple(replace(each, **change) if (each.sender, each.recipient) == (A, B) else each for each in words[liar].links)
    with pytest.raises(RunFailed, match=f"transcript mismatch: {A} and {B}") as caught:
        built(world, {**words, liar: replace(words[liar], links=links)})
    assert (caught.value.party, caught.value.reason) == (None, Reason.TRANSCRIPT_MISMATCH)


def test_a_word_that_leaves_a_link_out(world: World, words: dict[str, Word]) -> None:
    links = tuple(each for each in words[B].links if (each.sender, each.recipient) != (B, A))
    with pytest.raises(PeerFailed) as caught:
        built(world, {**words, B: replace(words[B], links=links)})
    assert caught.value.party == B


def test_a_receiver_that_names_no_result_file(world: World, words: dict[str, Word]) -> None:
    (receiver,) = world.spec.receivers
    with pytest.raises(PeerFailed, match="names no result file") as caught:
        built(world, {**words, receiver: replace(words[receiver], output="")})
    assert caught.value.party == receiver


def test_a_claim_to_another_commitment(world: World, words: dict[str, Word]) -> None:
    seen = Known([words[account].commitment for account in PARTIES])
    check_commitments(world.spec, words, seen)
    owner = world.spec.inputs[0].party
    claimed = {**words, owner: replace(words[owner], commitment=digest("another"))}
    with pytest.raises(PeerFailed, match="another commitment") as caught:
        check_commitments(world.spec, claimed, seen)
    assert (caught.value.party, caught.value.reason) == (owner, Reason.STATEMENT_MISMATCH)


@pytest.fixture(scope="module")
def projecting() -> World:
    return make("projection-verified")


@pytest.fixture(scope="module")
def announced(projecting: World) -> dict[str, Word]:
    return {account: word_of(projecting, account) for account in PARTIES}


def changed(words: dict[str, Word], account: str, **values: Any) -> dict[str, Word]:
    said = replace(Contribution.parse(words[account].contribution), **values)
    return {**words, account: replace(words[account], contribution=said.to_text())}


def test_the_announced_projections_become_the_proof(projecting: World, announced: dict[str, Word]) -> None:
    statement, content = build(projecting, announced)
    assert content == projecting.proof
    kind, subject = KINDS["projection-verified"], subject_of(statement, projecting.spec.parties)
    assert statement.proof_inputs == canonical.hex32(kind.inputs(subject))
    assert statement.proof_output == canonical.hex32(kind.output(subject, content))


def test_a_party_that_used_another_aggregate_is_named(projecting: World, announced: dict[str, Word]) -> None:
    for values in ({"aggregate_root": b"\1" * 32}, {"aggregate": (1, 2, 3, 4)}):
        with pytest.raises(PeerFailed, match="another aggregate") as caught:
            built(projecting, changed(announced, B, **values))
        assert (caught.value.party, caught.value.reason) == (B, Reason.STATEMENT_MISMATCH)


def test_a_projection_that_may_not_be_names_its_party(projecting: World, announced: dict[str, Word]) -> None:
    for account, own in ((B, (2**61 - 1, 0, 0, 0)), (C, (0, 0, 0, 1))):
        with pytest.raises(PeerFailed, match="announces a projection") as caught:
            built(projecting, changed(announced, account, own=own))
        assert caught.value.party == account


def test_updates_that_do_not_add_up_prove_nothing_and_accuse_nobody(projecting: World, announced: dict[str, Word]) -> None:
    with pytest.raises(RunFailed, match="do not add up") as caught:
        built(projecting, changed(announced, A, own=(1, 2, 3, 4)))
    assert (caught.value.party, caught.value.reason) == (None, Reason.STATEMENT_MISMATCH)


def test_a_contribution_where_none_is_taken_names_its_party(world: World, words: dict[str, Word]) -> None:
    with pytest.raises(PeerFailed, match="takes nothing") as caught:
        built(world, {**words, B: replace(words[B], contribution="more")})
    assert caught.value.party == B


MEMBERS = ("commitment", "contribution", "output", "links", "seconds_ms", "certificate", "release")
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_word_name_their_sender(content: bytes) -> None:
    with pytest.raises(PeerFailed) as caught:
        Word.parse(content, A)
    assert (caught.value.party, caught.value.reason) == (A, Reason.STATEMENT_MISMATCH)


@given(member=st.sampled_from(MEMBERS), value=JUNK)
def test_one_member_of_the_wrong_form_names_its_sender(world: World, words: dict[str, Word], member: str, value: Any) -> None:
    raw = canonical.decode(words[A].to_bytes(), 1 << 20)
    if raw[member] == value or (member == "seconds_ms" and isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return  # a word that may be said
    raw[member] = value
    with pytest.raises(PeerFailed) as caught:
        built(world, {**words, A: Word.parse(canonical.encode(raw), A)})
    assert caught.value.party == A


def test_a_word_with_somebody_elses_certificate(words: dict[str, Word]) -> None:
    with pytest.raises(PeerFailed, match="not well-formed"):
        Word.parse(words[B].to_bytes(), A)


@pytest.fixture(scope="module")
def tolerant() -> World:
    """Its first two parties own data, and one of them may be absent."""
    return make("projection-verified-absent-1")


@pytest.fixture(scope="module")
def known(tolerant: World) -> Known:
    words = {account: word_of(tolerant, account) for account in PARTIES}
    return Known([words[each].commitment for each in PARTIES], [words[each].contribution for each in PARTIES])


def alone(world: World, known: Known, *present: str) -> tuple[Any, bytes]:
    """What parties build of whose words they have. They have no link to another."""
    words = {}
    for account in present:
        word = word_of(world, account)
        links = tuple(each for each in word.links if {each.sender, each.recipient} <= set(present))
        words[account] = replace(word, links=links)
    check_commitments(world.spec, words, known)
    return build(world, words, known)


def test_of_an_absent_party_the_statement_says_what_the_others_know(tolerant: World, known: Known) -> None:
    statement, content = alone(tolerant, known, B, C)
    assert statement.absent == (A,)
    assert [each.party for each in statement.code] == [B, C] and len(statement.links) == 2
    assert [each.commitment for each in statement.inputs] == known.commitments[:2]
    assert "2 projections" in KINDS[tolerant.spec.proof].check(subject_of(statement, PARTIES), content)


def test_who_knows_otherwise_of_an_absent_party_builds_another_statement(tolerant: World, known: Known) -> None:
    other = Known([digest("another"), *known.commitments[1:]], known.contributions)
    assert alone(tolerant, other, B, C)[0] != alone(tolerant, known, B, C)[0]
    forged = replace(Contribution.parse(known.contributions[0]), own=(1, 2, 3, 4)).to_text()
    with pytest.raises(RunFailed, match="do not add up"):
        alone(tolerant, Known(known.commitments, [forged, *known.contributions[1:]]), B, C)


@pytest.mark.parametrize("present", [(A, B), (C,)])
def test_a_task_that_cannot_do_without_the_absent_has_no_statement(tolerant: World, known: Known, present: tuple[str, ...]) -> None:
    """Its receiver; more owners than it tolerates."""
    with pytest.raises(PeerFailed, match="cannot do without"):
        alone(tolerant, known, *present)


def test_a_task_that_tolerates_no_absence_has_no_statement_without_a_word(projecting: World, announced: dict[str, Word]) -> None:
    with pytest.raises(PeerFailed, match="cannot do without") as caught:
        built(projecting, {account: word for account, word in announced.items() if account != B})
    assert caught.value.party == B


def test_a_present_party_adds_what_the_others_know_of_it(tolerant: World, known: Known) -> None:
    said = replace(Contribution.parse(known.contributions[1]), own=(1, 2, 3, 4)).to_text()
    with pytest.raises(PeerFailed, match="another part to the proof") as caught:
        alone(tolerant, Known(known.commitments, [known.contributions[0], said, known.contributions[2]]), B, C)
    assert caught.value.party == B
