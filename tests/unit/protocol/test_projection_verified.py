"""The kind `projection-verified` in bundles: honest ones pass every rule, and each change fails the rule that is about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.commitments import projection
from tallystick.protocol import canonical, events
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.projection_verified import Contribution, Projections
from tallystick.protocol.proof.subject import Subject, context_of, subject_of
from tallystick.protocol.task import PROOFS
from tallystick.protocol.verify import Report, verify_bundle
from tallystick.provenance.graph import Strength
from unit.protocol.world import AGGREGATE, CHAIN, DEPLOYED, PARTIES, STRANGER, VECTORS, World, make

KIND = KINDS["projection-verified"]
OTHER = hashlib.sha256(b"other").digest()
CONTENT = projection.encode(AGGREGATE)


@pytest.fixture
def world() -> World:
    return make("projection-verified")


def check(world: World, **given: Any) -> Report:
    options: dict[str, Any] = {
        "trusted_blocks": [world.head()],
        "contracts": DEPLOYED,
        "result_file": world.results[PARTIES[2]],
        "aggregate": [CONTENT],
    }
    return verify_bundle(world.bundle(), **(options | given))


def proof_of(world: World) -> Projections:
    return Projections.parse(world.proof, 3)


def agree_on(world: World, **changes: Any) -> None:
    """Let all parties sign another proof."""
    world.proof = replace(proof_of(world), **changes).to_bytes()
    world.state_proof()


def test_there_is_one_kind_and_one_strength_for_each_name() -> None:
    assert set(KINDS) == set(PROOFS)
    assert set(PROOFS) < set(Strength)


def test_an_honest_bundle_passes_every_rule(world: World) -> None:
    report = check(world)
    report.require(complete=True)
    assert "2 projections add up" in report.rules[15].detail


def test_without_the_aggregate_the_opening_is_not_checked(world: World) -> None:
    report = check(world, aggregate=None)
    assert report.ok
    assert [(rule.number, rule.verdict) for rule in report.rules if rule.verdict != "ok"] == [(19, "skipped")]


def test_an_aggregate_in_small_pieces_is_the_same(world: World) -> None:
    check(world, aggregate=(CONTENT[at : at + 3] for at in range(0, len(CONTENT), 3))).require(complete=True)


@pytest.mark.parametrize(
    "aggregate",
    [
        projection.encode((AGGREGATE[0] + 1, *AGGREGATE[1:])),
        projection.encode(AGGREGATE[:-1]),
        CONTENT[:-1],
        b"\xff" * 8,
        projection.encode(VECTORS[0]),
    ],
)
def test_another_aggregate_fails_rule_19(world: World, aggregate: bytes) -> None:
    assert check(world, aggregate=[aggregate]).failed == (19,)


def test_an_aggregate_whose_projection_is_false_though_its_root_is_right(world: World) -> None:
    """All parties collude in the sum; who holds the aggregate still sees it."""
    own = proof_of(world).own
    false = (1, 2, 3, 4)
    agree_on(world, own=(projection.add([own[0], false]), *own[1:]), aggregate=projection.add([proof_of(world).aggregate, false]))
    report = check(world)
    assert report.failed == (19,)
    assert "projections that all parties signed" in report.rules[18].detail


@pytest.mark.parametrize("kind", ["sum-verified", "signed-by-all"])
def test_other_kinds_have_no_aggregate(kind: str) -> None:
    assert check(make(kind)).failed == (19,)


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def other_root(world: World) -> None:
    roots = (flip(proof_of(world).roots[0], 0), *proof_of(world).roots[1:])
    world.proof = replace(proof_of(world), roots=roots).to_bytes()


def shifted(world: World) -> None:
    own = proof_of(world).own
    agree_on(world, own=((own[0][0] ^ 1, *own[0][1:]), *own[1:]))


def too_large(world: World) -> None:
    own = proof_of(world).own
    agree_on(world, own=((own[0][0] + projection.MODULUS, *own[0][1:]), *own[1:]))


def hidden_input(world: World) -> None:
    own, whole = proof_of(world).own, proof_of(world).aggregate
    agree_on(world, own=(*own[:2], (1, 0, 0, 0)), aggregate=projection.add([whole, (1, 0, 0, 0)]))


def another_context(world: World) -> None:
    """The proof of one attempt, stated for the next one."""
    world.statement = replace(world.statement, attempt=2)
    world.change(events.STARTED, attempt=2)
    for kind, values in world.events:
        if kind in (events.ACCEPTED, events.DEBITED):
            values["attempt"] = 2
    world.record()


def no_root(world: World) -> None:
    inputs = (replace(world.statement.inputs[0], commitment=canonical.text(bytes(32))), world.statement.inputs[1])
    world.statement = replace(world.statement, inputs=inputs)
    world.record()


TAMPERS: list[tuple[str, set[int], Callable[[World], Any]]] = [
    ("a bit of a root in the proof", {15, 16}, other_root),
    ("a bit of a projection in the proof", {15, 16}, lambda w: setattr(w, "proof", flip(w.proof, 32 * 12 + 31))),
    ("a bit of the aggregate's root in the proof", {15, 19}, lambda w: setattr(w, "proof", flip(w.proof, 32))),
    ("a bit of the aggregate's projection in the proof", {15, 16}, lambda w: setattr(w, "proof", flip(w.proof, 32 * 4 - 1))),
    ("no proof bytes", {16}, lambda w: setattr(w, "proof", b"")),
    ("more proof bytes", {16}, lambda w: setattr(w, "proof", w.proof + bytes(32))),
    ("a proof of two parties", {16}, lambda w: setattr(w, "proof", w.proof[: 32 * 19])),
    ("another head", {16}, lambda w: setattr(w, "proof", flip(w.proof, 31))),
    ("all signed projections that do not add up", {16}, shifted),
    ("all signed a projection above p", {16}, too_large),
    ("all signed a projection of a party without input", {16}, hidden_input),
    ("another root in the statement", {15, 16}, lambda w: replace_input(w, canonical.text(OTHER))),
    ("a root of zeros", {15}, no_root),
    ("a root that is none", {15}, lambda w: replace_input(w, "bn254:" + "01" * 64)),
    ("a stranger signs for a party", {13}, lambda w: w.signers.update({PARTIES[1]: STRANGER})),
    ("another attempt", {15, 19}, another_context),
]


def replace_input(world: World, commitment: str) -> None:
    first, *rest = world.statement.inputs
    world.statement = replace(world.statement, inputs=(replace(first, commitment=commitment), *rest))
    world.record()


@pytest.mark.parametrize(("rules", "tamper"), [each[1:] for each in TAMPERS], ids=[each[0] for each in TAMPERS])
def test_one_change_fails_its_rules(world: World, rules: set[int], tamper: Callable[[World], Any]) -> None:
    tamper(world)
    assert set(check(world).failed) == rules


def subject(world: World) -> Subject:
    return subject_of(world.statement, world.spec.parties)


@given(st.lists(st.lists(st.integers(0, 2**32), min_size=4, max_size=4), min_size=2, max_size=2), st.data())
def test_honest_projections_add_up_and_an_aggregate_of_something_else_does_not(
    vectors: list[list[int]], data: st.DataObject
) -> None:
    world = make("projection-verified")
    roots = [projection.root([projection.encode(each)]) for each in vectors]
    inputs = tuple(
        replace(given, commitment=canonical.text(root)) for given, root in zip(world.statement.inputs, roots, strict=True)
    )
    about = replace(subject(world), inputs=inputs)
    total = [sum(column) for column in zip(*vectors, strict=True)]
    cheat = data.draw(st.sampled_from(["nothing", "dropped", "changed", "invented"]))
    if cheat == "dropped":
        total = vectors[0]
    elif cheat == "changed":
        total[data.draw(st.integers(0, 3))] += data.draw(st.integers(1, 2**20))
    elif cheat == "invented":
        total = [a + b for a, b in zip(total, data.draw(st.lists(st.integers(1, 9), min_size=4, max_size=4)), strict=True)]
    honest = total == [sum(column) for column in zip(*vectors, strict=True)]
    aggregate_root = projection.root([projection.encode(total)])
    points = projection.points(projection.challenge(about.context, [*roots, bytes(32)], aggregate_root))
    whole = projection.project(total, points)
    own = [*(projection.project(each, points) for each in vectors), projection.ZERO]
    said = {party: Contribution(each, aggregate_root, whole).to_text() for party, each in zip(about.parties, own, strict=True)}
    if honest:
        proof = KIND.assemble(about, said)
        assert KIND.check(about, proof)
        assert len(KIND.output(about, proof)) == 32
    else:
        with pytest.raises(MalformedDocument, match="add up"):
            KIND.assemble(about, said)


NUMBERS = st.tuples(*[st.integers(0, 2**64 - 1)] * 4)


@given(NUMBERS, st.binary(min_size=32, max_size=32), NUMBERS)
def test_a_contribution_comes_back_as_it_was(own: Any, root: bytes, aggregate: Any) -> None:
    said = Contribution(own, root, aggregate)
    assert Contribution.parse(said.to_text()) == said
    assert len(said.to_text()) <= 256


@pytest.mark.parametrize(
    "text", ["", "projection:", "projection:" + "0" * 191 + "A", "projection:" + "0" * 193, "0" * 192, "projection:" + "٠" * 192]
)
def test_text_that_is_no_contribution_is_refused(text: str) -> None:
    with pytest.raises(MalformedDocument, match="contribution"):
        Contribution.parse(text)


@given(st.binary(max_size=900), st.integers(1, 4))
def test_bytes_that_are_no_proof_are_refused(data: bytes, parties: int) -> None:
    with pytest.raises(MalformedDocument):
        Projections.parse(data, parties)


def test_the_context_names_chain_registry_task_and_attempt() -> None:
    first = (CHAIN, PARTIES[0], OTHER, 1)
    others = [
        (CHAIN + 1, PARTIES[0], OTHER, 1),
        (CHAIN, PARTIES[1], OTHER, 1),
        (CHAIN, PARTIES[0], bytes(32), 1),
        (CHAIN, PARTIES[0], OTHER, 2),
    ]
    assert len({context_of(*each) for each in (first, *others)}) == 5
