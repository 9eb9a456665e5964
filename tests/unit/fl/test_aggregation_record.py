"""What all parties hold of every member's rounds: linear, bound to each word, and the same when it is opened again."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from tallystick.commitments import projection
from tallystick.commitments.projection import MODULUS, Projection
from tallystick_node.engines.fl.aggregation.base import OtherSurvivors
from tallystick_node.engines.fl.aggregation.record import Record

PARTIES = 4
AT = projection.points(bytes(range(32)))


def drawn() -> Projection:
    a, b, c, d = (secrets.randbelow(MODULUS) for _ in range(4))
    return a, b, c, d


def said(*members: int) -> dict[int, tuple[bytes, Projection]]:
    return {member: (secrets.token_bytes(32), drawn()) for member in members}


def total(given: dict[int, tuple[bytes, Projection]]) -> Projection:
    return projection.add(each for _, each in given.values())


def made(folder: Path) -> Record:
    """Three rounds: all, then without party 1, then without 1 and 3."""
    record = Record(folder, PARTIES)
    for members in ((0, 1, 2, 3), (0, 2, 3), (0, 2)):
        given = said(*members)
        record.append(given, total(given))
    return record


def test_what_members_vouched_for_adds_up_to_the_aggregate(tmp_path: Path) -> None:
    own, aggregate = made(tmp_path).project(AT)
    assert projection.add(own) == aggregate
    assert len(set(own)) == PARTIES


def test_an_aggregate_that_was_used_and_is_not_the_sum_shows(tmp_path: Path) -> None:
    record = made(tmp_path)
    given = said(0, 1, 2)
    record.append(given, projection.add([total(given), (0, 1, 0, 0)]))
    own, aggregate = record.project(AT)
    assert projection.add(own) != aggregate


def test_the_root_binds_each_word_of_each_round(tmp_path: Path) -> None:
    first, rounds = Record(tmp_path / "a", 2), [said(0, 1), said(1)]
    for given in rounds:
        first.append(given, total(given))
    (zero, one), aggregate = first.roots()
    root, numbers = rounds[1][1]
    for change in ((bytes([root[0] ^ 1]) + root[1:], numbers), (root, (numbers[0] ^ 1, *numbers[1:]))):
        other = Record(tmp_path / secrets.token_hex(4), 2)
        other.append(rounds[0], total(rounds[0]))
        other.append({1: change}, total({1: change}))
        assert other.roots()[0][0] == zero and other.roots()[0][1] != one and other.roots()[1] != aggregate


def test_it_goes_on_where_it_was_and_back(tmp_path: Path) -> None:
    record = made(tmp_path)
    roots = record.roots()
    again = Record(tmp_path, PARTIES)
    assert (again.entries, again.roots()) == (3, roots)
    given = said(2)
    again.append(given, total(given))
    assert again.entries == 4 and again.roots() != roots
    with (tmp_path / "said").open("ab") as file:
        file.write(b"half a round")
    again = Record(tmp_path, PARTIES)
    again.rewind(3)
    assert again.roots() == roots
    with pytest.raises(ValueError, match="cannot go back"):
        again.rewind(4)


def test_a_round_that_is_repeated_has_the_survivors_that_were_confirmed(tmp_path: Path) -> None:
    record = Record(tmp_path, PARTIES)
    for members in ((0, 1, 2, 3), (0, 1, 3), (0, 1, 3)):
        record.bind(members)
        given = said(*members)
        record.append(given, total(given))
    record.rewind(1)
    again = Record(tmp_path, PARTIES)  # in a later attempt
    with pytest.raises(OtherSurvivors, match="round 2"):
        again.bind((0, 1, 2, 3))
    again.bind((0, 1, 3))
    given = said(0, 1, 3)
    again.append(given, total(given))
    with pytest.raises(OtherSurvivors, match="round 3"):
        again.bind((0, 1))


def test_a_receivers_file_opens_the_aggregate(tmp_path: Path) -> None:
    record = made(tmp_path)
    record.share_sums(tmp_path / "aggregate.bin")
    found = projection.project_content([(tmp_path / "aggregate.bin").read_bytes()], AT)
    assert found == (record.roots()[1], record.project(AT)[1])
