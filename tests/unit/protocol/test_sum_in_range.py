"""`sum-in-range`: honest bundles pass every rule, and each change fails the rule that is about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.commitments import pedersen, ranges
from tallystick.commitments.ranges import Form, Shape
from tallystick.protocol.bounds import shape_of
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.subject import Subject, subject_of
from tallystick.protocol.proof.sum_in_range import Contribution
from tallystick.protocol.proof.sum_verified import point_text
from tallystick.protocol.result import Opening, ResultFile, file_digest
from tallystick.protocol.statement import StatementOutput
from tallystick.protocol.verify import Report, verify_bundle
from unit.protocol.world import DAY, DEPLOYED, PARTIES, SHARES, START, World, make, ranged

KIND = KINDS["sum-in-range"]


@pytest.fixture
def world() -> World:
    return make("sum-in-range")


def subject(world: World) -> Subject:
    return subject_of(world.statement, world.spec.parties)


def check(world: World) -> Report:
    return verify_bundle(
        world.bundle(),
        trusted_blocks=[world.head()],
        contracts=DEPLOYED,
        result_file=world.results[PARTIES[2]],
        at=START + DAY,
    )


def agree_on(world: World, proof: bytes) -> Report:
    """Let all parties sign other proof bytes, and the chain record them."""
    world.proof = proof
    world.state_proof()
    return check(world)


def said_by(said: Mapping[str, str], **changes: Any) -> Mapping[str, str]:
    """Everybody's contribution, that of the first party changed."""
    return dict(said) | {PARTIES[0]: replace(Contribution.parse(said[PARTIES[0]]), **changes).to_text()}


def test_an_honest_bundle_passes_every_rule(world: World) -> None:
    report = check(world)
    report.require(complete=True)
    assert report.rules[15].detail == "sum of the committed inputs, each within 3 ranges, the sum within 1"


def test_proof_bytes_about_anything_else_fail_rule_16(world: World) -> None:
    good = world.proof
    end = len(shape_of(world.spec.parameters).to_bytes())
    for other in (good + bytes(32), good[:-32], good[:-1] + bytes([good[-1] ^ 1]), good[: end + 100], b""):
        assert 16 in agree_on(world, other).failed
    flipped = good[: end + 70] + bytes([good[end + 70] ^ 1]) + good[end + 71 :]
    assert agree_on(world, flipped).failed == (16,)
    assert agree_on(world, good).ok


def test_bounds_other_than_the_specs_fail_rule_16(world: World) -> None:
    """All parties agree to prove less than the task demands."""
    wide = dict(world.spec.parameters) | {"minimum_group": 6}
    said = ranged(subject(world), wide)
    report = agree_on(world, KIND.assemble(subject(world), said))
    assert report.failed == (16,)
    assert report.rules[15].detail == "the proof is about other ranges than the spec's"


def test_a_proof_of_another_attempt_or_task_is_refused(world: World) -> None:
    for about in (subject(world), replace(subject(world), context=bytes(32))):
        said = ranged(replace(about, context=bytes(31) + b"\1"), world.spec.parameters)
        with pytest.raises(MalformedDocument) as caught:
            KIND.assemble(about, said)
        assert caught.value.party == PARTIES[0]


def test_whoever_says_something_that_does_not_fit_is_named(world: World) -> None:
    about, honest = subject(world), world.contributions(subject(world))
    second, third = (Contribution.parse(honest[party]) for party in PARTIES[1:])
    for party, text in (
        (PARTIES[0], ""),
        (PARTIES[0], "range:00"),
        (PARTIES[0], "range:0::"),
        (PARTIES[1], replace(second, own=b"").to_text()),
        (PARTIES[1], replace(second, total=third.total).to_text()),
        (PARTIES[1], replace(second, own=second.own + bytes(32)).to_text()),
        (PARTIES[1], replace(second, own=second.own[:-32]).to_text()),
        (PARTIES[2], replace(third, total=third.total + bytes(32)).to_text()),
        (PARTIES[1], replace(second, own=Contribution.parse(honest[PARTIES[0]]).own).to_text()),
        (PARTIES[2], replace(third, own=second.own).to_text()),
        (PARTIES[2], replace(third, total=b"").to_text()),
    ):
        with pytest.raises(MalformedDocument) as caught:
            KIND.assemble(about, honest | {party: text})
        assert caught.value.party == party, text


def test_nobody_is_named_for_the_ranges_that_another_party_says(world: World) -> None:
    about, honest = subject(world), world.contributions(subject(world))
    other = replace(shape_of(world.spec.parameters), total=(Form(1, 0, ((0, 1),)),)).to_bytes()
    for party in PARTIES:
        said = dict(honest) | {party: replace(Contribution.parse(honest[party]), shape=other).to_text()}
        with pytest.raises(MalformedDocument, match="different ranges") as caught:
            KIND.assemble(about, said)
        assert caught.value.party is None


def test_an_input_out_of_range_and_a_group_too_small_cannot_be_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provers that put what is left into the last digit."""

    def digits_of(form: Form, vector: list[int]) -> list[int]:
        value = form.of(vector)
        low = [value >> (2 * j) & 3 for j in range(form.digits - 1)]
        return [*low, (value - sum(each << (2 * j) for j, each in enumerate(low))) >> (2 * form.digits - 2)]

    about, shape = subject(world), shape_of(world.spec.parameters)
    honest = world.contributions(about)
    monkeypatch.setattr(Form, "digits_of", digits_of)
    poisoned, blinding = [3, 7], SHARES[0][1]
    own = ranges.prove(about.context, shape.to_bytes(), 0, shape.inputs, poisoned, blinding).to_bytes()
    text = point_text(pedersen.commit(poisoned, blinding))
    inputs = (replace(about.inputs[0], commitment=text), *about.inputs[1:])
    with pytest.raises(MalformedDocument, match="its input") as caught:
        KIND.assemble(replace(about, inputs=inputs), said_by(honest, own=own))
    assert caught.value.party == PARTIES[0]
    with pytest.raises(MalformedDocument, match="the sum") as caught:
        KIND.assemble(about, ranged(about, dict(world.spec.parameters) | {"minimum_group": 8}))
    assert caught.value.party == PARTIES[2]


def test_infinity_is_no_input(world: World) -> None:
    with pytest.raises(MalformedDocument):
        KIND.check_commitment("bn254:" + "0" * 128)


def test_a_file_that_opens_another_sum_or_number_of_totals_fails_rule_19(world: World) -> None:
    for opening in (Opening((7, 0), 77 + 1234), Opening((7, -1, 0), 77 + 1234), None):
        file = replace(ResultFile.parse(world.results[PARTIES[2]]), opening=opening, task=world.statement.task)
        world.results[PARTIES[2]] = file.to_bytes()
        world.statement = replace(world.statement, outputs=(StatementOutput(PARTIES[2], file_digest(file.to_bytes())),))
        world.record()
        assert check(world).failed == (19,)


@given(st.text(max_size=40), st.binary(max_size=8))
def test_contributions_are_read_strictly(text: str, data: bytes) -> None:
    for each in (text, "range:" + text, Contribution(data, data, data).to_text() + text):
        try:
            assert Contribution.parse(each).to_text() == each
        except MalformedDocument:
            continue


def test_malformed_shapes_in_a_proof_are_documents_errors() -> None:
    with pytest.raises(MalformedDocument):
        KIND.require_terms({}, 3, b"")
    shape = Shape(1, (Form(1, 0, ((0, 1),)),), (Form(1, 0, ((0, 1),)),))
    with pytest.raises(MalformedDocument):
        KIND.require_terms({"bounds": None}, 3, shape.to_bytes())
