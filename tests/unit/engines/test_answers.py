"""That answers about rows that differ in few are not given: the rule, on sets, beside the memory on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tallystick_node.engines import answers as module
from tallystick_node.engines import folders
from tallystick_node.engines.answers import Answers, AnswersFull, AnswersLost, Partition, TooClose

SAME, OTHER = bytes(32), bytes([1] * 32)
VERSION, LATER = b"1" * 32, b"2" * 32


def memory(folder: Path, rows: list[int], version: bytes = VERSION, most: int = 100) -> Answers:
    """The memory of a dataset whose rows hash to ``rows``."""

    def hashes(_key: bytes, going_on: Callable[[], None]) -> NDArray[np.uint64]:
        going_on()
        return np.array(rows, np.uint64)

    return Answers(folder, version, hashes, most)


def of(rows: list[int], *selections: set[int], counts: bool = False) -> Partition:
    labels = [next((number for number, chosen in enumerate(selections) if row in chosen), -1) for row in rows]
    return Partition(np.array(labels, np.int32), counts)


def refused(answers: Answers, partitions: list[Partition], minimum: int, inputs: bytes = SAME) -> bool:
    """Whether an answer is refused; it is given otherwise."""
    try:
        answers.require(partitions, inputs, minimum).remember()
    except TooClose:
        return True
    return False


Selections = list[frozenset[int]]
Earlier = list[tuple[Selections, bool, bytes]]


def unions(selections: Selections) -> set[frozenset[int]]:
    return {frozenset().union(*some) for size in range(1, len(selections) + 1) for some in combinations(selections, size)}


def told(selections: Selections, counts: bool) -> Selections:
    return selections if counts else [*selections, frozenset().union(*selections)]


def rule(earlier: Earlier, new: list[tuple[Selections, bool]], inputs: bytes, minimum: int) -> bool:
    """The rule as the page states it, in sets."""
    for selections, counts in new:
        for a in told(selections, counts):
            if any(a in unions(old) for old, only, among in earlier if among == inputs and (counts or not only)):
                continue
            for old, only, _ in earlier:
                for b in told(old, only):
                    if a & b and 1 <= len(a ^ b) < minimum and b not in unions(selections):
                        return True
    return False


@st.composite
def partition(draw: st.DrawFn, rows: int) -> tuple[Selections, bool]:
    labels = draw(st.lists(st.integers(-1, 2), min_size=rows, max_size=rows))
    selections = [frozenset(row for row in range(rows) if labels[row] == number) for number in range(3)]
    return [each for each in selections if each], draw(st.booleans())


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_exactly_what_the_rule_names_is_refused(data: st.DataObject) -> None:
    rows, minimum = list(range(8)), data.draw(st.integers(2, 4))
    earlier: Earlier = []
    with tempfile.TemporaryDirectory() as name:
        answers = memory(Path(name) / "answers", rows)
        for _ in range(data.draw(st.integers(2, 4))):
            task = data.draw(st.lists(partition(len(rows)), min_size=1, max_size=2))
            inputs = data.draw(st.sampled_from([SAME, OTHER]))
            expected = rule(earlier, task, inputs, minimum)
            asked = [of(rows, *map(set, selections), counts=counts) for selections, counts in task]
            assert refused(answers, asked, minimum, inputs) == expected
            if not expected:
                earlier += [(selections, counts, inputs) for selections, counts in task]


def test_one_row_fewer_is_refused_and_the_same_again_is_not(tmp_path: Path) -> None:
    rows = list(range(100))
    whole, fewer = set(rows), set(rows[1:])
    assert not refused(memory(tmp_path / "a", rows), [of(rows, whole)], 10)
    assert refused(memory(tmp_path / "a", rows), [of(rows, fewer)], 10)
    assert refused(memory(tmp_path / "a", rows), [of(rows, set(rows[9:]))], 10)
    assert not refused(memory(tmp_path / "a", rows), [of(rows, whole)], 10)
    assert not refused(memory(tmp_path / "a", rows), [of(rows, set(rows[10:]))], 10)
    assert not refused(memory(tmp_path / "b", rows), [of(rows, fewer)], 10)


def test_groups_that_leave_out_few_rows_of_a_total_are_refused(tmp_path: Path) -> None:
    rows = list(range(60))
    assert not refused(memory(tmp_path, rows), [of(rows, set(rows))], 10)
    assert refused(memory(tmp_path, rows), [of(rows, set(rows[:30]), set(rows[30:58]))], 10)
    assert not refused(memory(tmp_path, rows), [of(rows, set(rows[:30]), set(rows[30:]))], 10)
    assert not refused(memory(tmp_path, rows), [of(rows, set(rows[:55]), set(rows[55:]))], 10)  # both pass the size test


def test_a_total_that_has_few_rows_more_than_groups_of_an_earlier_task_is_refused(tmp_path: Path) -> None:
    rows = list(range(60))
    assert not refused(memory(tmp_path, rows), [of(rows, set(rows[:30]), set(rows[30:58]))], 10)
    assert refused(memory(tmp_path, rows), [of(rows, set(rows))], 10)
    assert refused(memory(tmp_path, rows), [of(rows, set(rows[:20]), set(rows[20:]))], 10)
    assert not refused(memory(tmp_path, rows), [of(rows, set(rows[:58]))], 10)
    assert not refused(memory(tmp_path, rows), [of(rows, set(rows[:20]), set(rows[20:40]), counts=True)], 10)


def test_few_rows_of_ones_own_are_no_difference_where_they_are_others(tmp_path: Path) -> None:
    rows = list(range(20))
    assert not refused(memory(tmp_path, rows), [of(rows, {0, 1, 2})], 10)
    assert not refused(memory(tmp_path, rows), [of(rows, {3, 4})], 10)
    assert not refused(memory(tmp_path, rows), [of(rows, set())], 10)
    assert refused(memory(tmp_path, rows), [of(rows, {0, 1})], 10)


def test_rows_are_known_again_in_a_revised_dataset(tmp_path: Path) -> None:
    rows = list(range(50))
    assert not refused(memory(tmp_path, rows), [of(rows, set(rows))], 10)
    grown, other = [99, *reversed(rows)], [1000 + row for row in rows]
    assert refused(memory(tmp_path, grown, LATER), [of(grown, set(grown))], 10)
    assert not refused(memory(tmp_path, grown, LATER), [of(grown, set(rows))], 10)
    assert refused(memory(tmp_path, rows[:-3], b"3" * 32), [of(rows[:-3], set(rows))], 10)
    changed = [*rows[:-4], *other[-4:]]  # four rows gone and four new: eight differ
    assert refused(memory(tmp_path, changed, b"4" * 32), [of(changed, set(changed))], 9)
    assert not refused(memory(tmp_path, changed, b"4" * 32), [of(changed, set(changed))], 8)
    assert not refused(memory(tmp_path, other, b"5" * 32), [of(other, set(other))], 10)


def test_equal_rows_are_as_many_as_they_are(tmp_path: Path) -> None:
    rows = [7] * 20 + [8] * 20
    everything = Partition(np.zeros(40, np.int32))
    assert not refused(memory(tmp_path, rows), [everything], 5)
    assert refused(memory(tmp_path, rows[1:], LATER), [Partition(np.zeros(39, np.int32))], 5)
    assert not refused(memory(tmp_path, rows[::-1], b"3" * 32), [everything], 5)


def test_beyond_the_bound_only_what_was_answered_is(tmp_path: Path) -> None:
    rows = list(range(40))
    answers = memory(tmp_path, rows, most=2)
    assert not refused(answers, [of(rows, set(rows[:20]))], 5)
    assert not refused(answers, [of(rows, set(rows[20:]))], 5)
    assert not refused(answers, [of(rows, set(rows[:20]))], 5)
    with pytest.raises(AnswersFull):
        answers.require([of(rows, set(rows[10:30]))], SAME, 5)
    assert refused(answers, [of(rows, set(rows[1:20]))], 5)


def test_of_two_tasks_at_once_one_is_answered(tmp_path: Path) -> None:
    rows = list(range(40))
    answers = memory(tmp_path, rows)
    first, second = (answers.require([of(rows, set(rows[start:]))], SAME, 5) for start in (0, 1))
    first.remember()
    with pytest.raises(TooClose):
        second.remember()
    grown = [*rows, *range(100, 150)]  # another version comes between: its rows are numbered after these
    third = answers.require([of(rows, set(rows[:20]))], SAME, 5)
    assert not refused(memory(tmp_path, grown, LATER), [of(grown, {*rows[:20], *grown[40:]})], 5)
    third.remember()
    assert refused(memory(tmp_path, grown, LATER), [of(grown, set(grown[1:20]))], 5)


def test_as_many_selections_as_a_task_may_have(tmp_path: Path) -> None:
    rows = list(range(5000))
    numbers = np.arange(5000, dtype=np.int32)
    answers = memory(tmp_path, rows)
    assert not refused(answers, [Partition(numbers // 2, counts=True)], 2)
    assert not refused(answers, [Partition(numbers[::-1] // 2, counts=True)], 2)
    assert refused(answers, [Partition((numbers + 1) // 2, counts=True)], 3)


@pytest.mark.parametrize(
    "content", [b"", b"x", SAME, bytes(35), SAME + b"\0\1\7" + bytes(7) + b"no zlib", SAME + b"\0\1\xff" + bytes(7)]
)
def test_what_cannot_be_read_is_not_passed_over(tmp_path: Path, content: bytes) -> None:
    rows = list(range(40))
    answers = memory(tmp_path, rows)
    answers.require([of(rows, set(rows))], SAME, 5).remember()
    (kept,) = tmp_path.glob("answer-*")
    whole = kept.read_bytes()
    kept.write_bytes(content)
    with pytest.raises(AnswersLost):
        answers.require([of(rows, set(rows))], SAME, 5)
    kept.write_bytes(whole)
    (tmp_path / "rows").unlink()
    with pytest.raises(AnswersLost):
        answers.require([of(rows, set(rows))], SAME, 5)


@pytest.mark.parametrize("damage", [lambda whole: whole[:-8], lambda whole: whole[:64], lambda whole: bytes(40) + whole[40:]])
def test_damaged_rows_are_not_numbered_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    rows = list(range(40))
    memory(tmp_path, rows).require([of(rows, set(rows[:20]))], SAME, 5).remember()
    (tmp_path / "rows").write_bytes(damage((tmp_path / "rows").read_bytes()))
    with pytest.raises(AnswersLost):
        memory(tmp_path, rows[::-1]).require([of(rows[::-1], set(rows[1:20]))], SAME, 5)


@pytest.mark.parametrize("damage", [lambda whole: whole[:-4], lambda whole: whole[:64] + bytes(len(whole) - 64)])
def test_damaged_numbers_are_found_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    rows = list(range(40))
    memory(tmp_path, rows).require([of(rows, set(rows[:20]))], SAME, 5).remember()
    (tmp_path / "version").write_bytes(damage((tmp_path / "version").read_bytes()))
    assert refused(memory(tmp_path, rows), [of(rows, set(rows[1:20]))], 5)


def test_a_memory_is_its_owners_alone(tmp_path: Path) -> None:
    rows = list(range(40))
    memory(tmp_path / "answers", rows).require([of(rows, set(rows))], SAME, 5).remember()
    assert (tmp_path / "answers").stat().st_mode & 0o077 == 0
    for path in (tmp_path / "answers").iterdir():
        assert path.name == "lock" or path.stat().st_mode & 0o077 == 0
    key = (tmp_path / "answers" / "rows").read_bytes()[32:64]
    memory(tmp_path / "second", rows).require([of(rows, set(rows))], SAME, 5).remember()
    assert (tmp_path / "second" / "rows").read_bytes()[32:64] != key


class Interrupted(Exception):
    pass


def interrupting() -> None:
    raise Interrupted


def test_who_waits_while_another_task_has_its_turn_says_that_it_goes_on(tmp_path: Path) -> None:
    rows = list(range(40))
    answers, asked = memory(tmp_path, rows), [of(rows, set(rows))]
    asking = answers.require(asked, SAME, 5)
    with folders.turn(tmp_path):
        with pytest.raises(Interrupted):
            answers.require(asked, SAME, 5, interrupting)
        with pytest.raises(Interrupted):
            asking.remember(interrupting)
    assert not answers.kept()
    asking.remember()
    assert len(answers.kept()) == 1


def test_who_waits_has_its_turn_when_the_other_ends(tmp_path: Path) -> None:
    rows = list(range(40))
    answers, asked = memory(tmp_path, rows), [of(rows, set(rows))]
    answers.require(asked, SAME, 5).remember()  # so that nothing but the wait is long
    with ExitStack() as other:
        other.enter_context(folders.turn(tmp_path))
        answers.require(asked, SAME, 5, other.close)
    assert not refused(answers, asked, 5)


@pytest.mark.parametrize("at_once", [1, 7, 40, 1 << 20])
def test_it_says_that_it_goes_on_while_rows_are_hashed_and_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(module, "_SEARCHED", at_once)
    rows, said = list(range(40)), list[int]()

    def going_on() -> None:
        said.append(1)

    memory(tmp_path, rows).require([of(rows, set(rows))], SAME, 5, going_on).remember(going_on)
    first = len(said)
    assert first >= 3  # hashed, told apart, compressed
    memory(tmp_path, rows[::-1], LATER).require([of(rows[::-1], set(rows))], SAME, 5, going_on)
    assert len(said) - first > -(-len(rows) // at_once)
    assert refused(memory(tmp_path, rows[3:], b"3" * 32), [of(rows[3:], set(rows))], 5)  # known again, however many at a time
