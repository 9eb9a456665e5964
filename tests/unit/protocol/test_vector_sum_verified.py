"""The kind `vector-sum-verified` in bundles: honest ones pass every rule, and each change fails the rule that is about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.commitments import kzg, vector_sum
from tallystick.commitments.kzg import ORDER, POINT, Opening
from tallystick.protocol import events
from tallystick.protocol.errors import Configuration, MalformedDocument
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.subject import Subject, subject_of
from tallystick.protocol.proof.vector_sum_verified import Contribution, VectorSum, commitments_of, commitments_text
from tallystick.protocol.verify import Report, verify_bundle
from unit.protocol import vector_sum_world
from unit.protocol.vector_sum_world import CONTENT, SUM, SUM_BLINDS
from unit.protocol.world import DEPLOYED, PARTIES, STRANGER, World, make

KIND = KINDS["vector-sum-verified"]
ITEMS = 4  # two parties with input, one without, and the sum
POINTS_END = 32 + POINT * ITEMS


@pytest.fixture
def world() -> World:
    return make("vector-sum-verified")


def check(world: World, **given: Any) -> Report:
    options: dict[str, Any] = {
        "trusted_blocks": [world.head()],
        "contracts": DEPLOYED,
        "result_file": world.results[PARTIES[2]],
        "aggregate": [CONTENT],
    }
    return verify_bundle(world.bundle(), **(options | given))


def subject(world: World) -> Subject:
    return subject_of(world.statement, world.spec.parties)


def proof_of(world: World) -> VectorSum:
    return VectorSum.parse(world.proof, 3)


def agree_on(world: World, **changes: Any) -> None:
    """Let all parties sign another proof."""
    world.proof = replace(proof_of(world), **changes).to_bytes()
    world.state_proof()


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_an_honest_bundle_passes_every_rule(world: World) -> None:
    report = check(world)
    report.require(complete=True)
    assert "2 committed vectors add up" in report.rules[15].detail
    skipped = check(world, aggregate=None)
    assert skipped.ok
    assert [(rule.number, rule.verdict) for rule in skipped.rules if rule.verdict != "ok"] == [(19, "skipped")]
    assert VectorSum.parse(world.proof, 3).to_bytes() == world.proof


def test_another_setup_fails_no_rule(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing about the bundle, and so has words of its own."""
    monkeypatch.setattr(kzg, "_SETUP_DIGEST", "00" * 32)
    monkeypatch.setattr(kzg, "_load", kzg._load.__wrapped__)
    with pytest.raises(Configuration, match="another trusted set-up") as caught:
        check(world)
    assert "eth-account" in caught.value.remedy


@pytest.mark.parametrize(
    "aggregate",
    [
        b"".join(vector_sum.write_sum((SUM[0] + 1, *SUM[1:]), SUM_BLINDS)),
        b"".join(vector_sum.write_sum(SUM, [(SUM_BLINDS[0][0], SUM_BLINDS[0][1] + 1)])),
        b"".join(vector_sum.write_sum(SUM[:-1], SUM_BLINDS)),
        CONTENT[:-1],
        b"\xff" * len(CONTENT),
        b"",
    ],
)
def test_another_aggregate_fails_rule_19(world: World, aggregate: bytes) -> None:
    assert check(world, aggregate=[aggregate]).failed == (19,)


def in_proof(at: int) -> Callable[[World], None]:
    return lambda world: setattr(world, "proof", flip(world.proof, at))


def other_value(world: World) -> None:
    (first, *rest) = proof_of(world).openings
    assert first is not None
    agree_on(world, openings=((replace(first[0], value=first[0].value ^ 1),), *rest))


def unreduced(world: World) -> None:
    (first, *rest) = proof_of(world).openings
    assert first is not None
    agree_on(world, openings=((replace(first[0], value=first[0].value + ORDER),), *rest))


def other_sum(world: World) -> None:
    """A sum that is not that of the vectors, committed to and opened as it should be."""
    (elements,) = vector_sum.elements_of((SUM[0] + 1, *SUM[1:]), SUM_BLINDS)
    total = (kzg.commit(elements),)
    z = replace(proof_of(world), total=total).challenge(subject(world).context)
    own = [(kzg.open_at(each, z),) for each in vector_sum_world.elements()[:2]]
    agree_on(world, total=total, openings=(*own, None), shown=(kzg.open_at(elements, z),))


def no_point(world: World) -> None:
    """All agree on bytes that are no point, in statement and proof."""
    replace_input(world, commitments_text([b"\xff" * POINT]))
    agree_on(world, commitments=((b"\xff" * POINT,), *proof_of(world).commitments[1:]))


def another_context(world: World) -> None:
    """The proof of one attempt, stated for the next one."""
    world.statement = replace(world.statement, attempt=2)
    world.change(events.STARTED, attempt=2)
    for kind, values in world.events:
        if kind in (events.ACCEPTED, events.DEBITED):
            values["attempt"] = 2
    world.record()


def replace_input(world: World, commitment: str) -> None:
    first, *rest = world.statement.inputs
    world.statement = replace(world.statement, inputs=(replace(first, commitment=commitment), *rest))
    world.record()


TAMPERS: list[tuple[str, set[int], Callable[[World], Any]]] = [
    ("a bit of a commitment in the proof", {15, 16}, in_proof(32 + 3)),
    ("a bit of the sum's commitment in the proof", {15, 16}, in_proof(POINTS_END - 1)),
    ("a bit of a value in the proof", {15, 16}, in_proof(POINTS_END + 31)),
    ("a bit of an opening's point in the proof", {15, 16}, in_proof(POINTS_END + 40)),
    ("a bit of the sum's value in the proof", {15, 16}, in_proof(POINTS_END + 3 * 80 + 31)),
    ("a value of a party without input", {16}, in_proof(POINTS_END + 2 * 80 + 31)),
    ("another number of chunks", {16}, in_proof(31)),
    ("no proof bytes", {16}, lambda w: setattr(w, "proof", b"")),
    ("more proof bytes", {16}, lambda w: setattr(w, "proof", w.proof + bytes(128))),
    ("all signed a value that does not open", {16}, other_value),
    ("all signed a value that is not reduced", {16}, unreduced),
    ("all signed another sum, truly opened", {16}, other_sum),
    ("all signed a commitment that is no point", {16}, no_point),
    ("another commitment in the statement", {15, 16}, lambda w: replace_input(w, vector_sum_world.commitments()[1])),
    ("a commitment of zeros", {15}, lambda w: replace_input(w, commitments_text([bytes(POINT)]))),
    ("a commitment that is none", {15}, lambda w: replace_input(w, "bn254:" + "01" * 64)),
    ("a stranger signs for a party", {13}, lambda w: w.signers.update({PARTIES[1]: STRANGER})),
    ("another attempt", {16, 19}, another_context),
]


@pytest.mark.parametrize(("rules", "tamper"), [each[1:] for each in TAMPERS], ids=[each[0] for each in TAMPERS])
def test_one_change_fails_its_rules(world: World, rules: set[int], tamper: Callable[[World], Any]) -> None:
    tamper(world)
    assert set(check(world).failed) == rules


def changed(world: World, party: int, **changes: Any) -> dict[str, str]:
    """What all say, one of them something else."""
    said = vector_sum_world.contributions(subject(world))
    return said | {PARTIES[party]: replace(Contribution.parse(said[PARTIES[party]]), **changes).to_text()}


def test_who_says_something_else_is_named(world: World) -> None:
    about, honest = subject(world), vector_sum_world.contributions(subject(world))
    KIND.assemble(about, honest)
    own = Contribution.parse(honest[PARTIES[1]]).own
    cases = {
        "used another sum": changed(world, 1, total=(vector_sum_world.points()[0],)),
        "opens another number of chunks": changed(world, 1, own=(*own, *own)),
        "the opening of its vector is refused": changed(world, 1, own=(replace(own[0], value=own[0].value ^ 1),)),
        "a contribution is written": honest | {PARTIES[1]: "kzg-openings:00"},
    }
    for rule, said in cases.items():
        with pytest.raises(MalformedDocument, match=rule) as caught:
            KIND.assemble(about, said)
        assert caught.value.party == PARTIES[1], rule
    with pytest.raises(MalformedDocument, match="opens another number") as caught:
        KIND.assemble(about, changed(world, 2, own=own))
    assert caught.value.party == PARTIES[2]


def test_values_that_do_not_add_up_name_nobody(world: World) -> None:
    """A sum of something else, which all parties used, opened as it should be."""
    about = subject(world)
    (elements,) = vector_sum.elements_of(SUM[::-1], SUM_BLINDS)
    total = (kzg.commit(elements),)
    inputs = vector_sum.hash_of([*vector_sum_world.points()[:2], None])
    z = vector_sum.challenge(about.context, inputs, vector_sum.hash_of(total))
    shown = (kzg.open_at(elements, z),)
    own: list[tuple[Opening, ...]] = [(kzg.open_at(each, z),) for each in vector_sum_world.elements()[:2]]
    said = {party: Contribution(each, total, shown).to_text() for party, each in zip(about.parties, [*own, ()], strict=True)}
    with pytest.raises(MalformedDocument, match="not the sum of what the parties committed to") as caught:
        KIND.assemble(about, said)
    assert caught.value.party is None


openings = st.lists(st.builds(Opening, st.integers(0, 2**256 - 1), st.binary(min_size=POINT, max_size=POINT)), max_size=4).map(
    tuple
)


@given(openings, st.lists(st.binary(min_size=POINT, max_size=POINT), max_size=4).map(tuple), openings)
def test_contributions_are_read_as_they_are_written(
    own: tuple[Opening, ...], total: tuple[bytes, ...], shown: tuple[Opening, ...]
) -> None:
    made = Contribution(own, total, shown)
    assert Contribution.parse(made.to_text()) == made


@given(st.text(max_size=300))
def test_other_text_is_refused(text: str) -> None:
    for read in (Contribution.parse, commitments_of):
        for given_ in (text, f"kzg-openings:{text}", f"kzg:{text}", "kzg-openings:" + "0" * 161 + "::", "kzg:" + "A" * 96):
            with pytest.raises(MalformedDocument):
                read(given_)
                assert given_ == "kzg-openings:::"
                raise MalformedDocument("nothing is opened: that is a contribution, which a proof refuses")


@given(st.binary(max_size=700))
def test_other_bytes_are_no_proof(data: bytes) -> None:
    with pytest.raises(MalformedDocument):
        VectorSum.parse(data, 3)


def test_commitments_of_one_to_four_chunks_are_read() -> None:
    for chunks in (1, 4):
        points = [bytes([number + 1]) * POINT for number in range(chunks)]
        assert commitments_of(commitments_text(points)) == points
    for points in ([], [b"\1" * POINT] * 5):
        with pytest.raises(MalformedDocument):
            commitments_of(commitments_text(points))


def test_the_specifications_vectors() -> None:
    text = (Path(__file__).parents[3] / "docs/spec/vector-sum.md").read_text(encoding="utf-8")
    (elements,) = vector_sum.elements_of([1, 2, 3], [(4, 5)])
    commitment = kzg.commit(elements)
    z = vector_sum.challenge(b"\1" * 32, vector_sum.hash_of([commitment, None]), vector_sum.hash_of([commitment]))
    opening = kzg.open_at(elements, z)
    for value in (elements[0], commitment.hex(), f"{z:064x}", f"{opening.value:064x}", opening.proof.hex(), f"{ORDER:x}"):
        assert f"`{value}`" in text
    assert f"{vector_sum.MAX_WORDS:,} words" in text
