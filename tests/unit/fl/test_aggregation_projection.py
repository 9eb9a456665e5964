"""Sums of long vectors checked by projections, as parties and the contract check them; and a task's journal."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.commitments.projection import challenge, project_content
from tallystick.commitments.projection import points as points_of
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.fl.aggregation import projection
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.engines.fl.aggregation.secure import SecureSum

P = (1 << 61) - 1
CONTEXT = bytes(range(32))


def by_definition(vector, point: int) -> int:
    return sum(int(entry) * pow(point, k + 1, P) for k, entry in enumerate(vector)) % P


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 6000), st.binary(min_size=32, max_size=32), st.data())
def test_a_projection_is_what_its_definition_says_in_whatever_pieces(seed: int, size: int, hashed: bytes, data) -> None:
    rng = np.random.default_rng(seed)
    points = points_of(hashed)
    words = rng.integers(0, 2**32, size, dtype=np.uint32)
    words[: size // 3] = 2**32 - 1
    cut = data.draw(st.integers(0, size))
    projector = projection.Projector(points)
    due = tuple(by_definition(words, point) for point in points)
    assert projector.project([words]) == due == projector.project([words[:cut], words[cut:]])
    whole = words.astype(np.uint64) * np.uint64(65535)
    assert projector.project([whole[:cut], whole[cut:]]) == tuple(value * 65535 % P for value in due)


def test_projections_of_the_largest_words_do_not_overflow() -> None:
    words = np.full(1 << 13, 2**32 - 1, np.uint32)
    points = (P - 1, P - 2, 1, 0)
    assert projection.Projector(points).project([words]) == tuple(by_definition(words, point) for point in points)


def committed(count: int = 4, size: int = 3000):
    rng = np.random.default_rng(2)
    vectors = [rng.integers(0, 2**32, size, dtype=np.uint32) for _ in range(count)]
    total = np.sum(vectors, axis=0, dtype=np.uint64)
    return vectors, total, [projection.root(bytes([party]), vector) for party, vector in enumerate(vectors)]


def judge(vectors, total, roots) -> None:
    projector = projection.Projector(points_of(challenge(CONTEXT, roots, projection.root(b"sum", total))))
    projection.verify([projector.project([vector]) for vector in vectors], projector.project([total]))


def test_the_sum_of_what_was_committed_passes() -> None:
    judge(*committed())


@pytest.mark.parametrize("forged", ["dropped", "changed", "invented", "wrapped"])
def test_another_sum_does_not(forged: str) -> None:
    vectors, total, roots = committed()
    if forged == "dropped":
        total = total - vectors[1]
    elif forged == "changed":
        total[-1] -= np.uint64(1)
    elif forged == "invented":
        total = total + vectors[0]
    else:
        total = total.astype(np.uint32).astype(np.uint64)
    with pytest.raises(projection.Accused, match="not the sum of what was committed"):
        judge(vectors, total, roots)


def test_numbers_that_are_no_projections_are_refused() -> None:
    zero = (0,) * 4
    for party, wrong in ((2, (P, 0, 0, 0)), (3, (-1, 0, 0, 0))):
        given_ = [zero] * 4
        given_[party] = wrong
        with pytest.raises(projection.Accused) as caught:
            projection.verify(given_, zero)
        assert caught.value.party == party
    projection.verify([(1, 0, 0, 0), (P - 1, 0, 0, 0), zero, zero], zero)


def test_entries_too_large_for_a_sum_are_refused() -> None:
    with pytest.raises(projection.Accused, match="below"):
        projection.Projector((1, 2, 3, 4)).project([np.array([projection.ENTRY], np.uint64)])


def test_roots_tell_vectors_labels_and_types_apart() -> None:
    vector = np.arange(10, dtype=np.uint32)
    whole = projection.Root(b"a")
    whole.update(vector[:3])
    whole.update(vector[3:])
    assert whole.digest() == projection.root(b"a", vector)
    others = [projection.root(b"b", vector), projection.root(b"a", vector[:-1]), projection.root(b"a", vector[::-1])]
    assert len({whole.digest(), *others}) == 4


def test_one_proof_covers_the_rounds_of_a_task(tmp_path) -> None:
    """Three parties, not all of whom take part in each round, keep a journal each; their projections add up to that of the sums."""
    sessions = local_sessions(3)
    journals = [Journal(tmp_path / str(party)) for party in range(3)]
    given_ = np.random.default_rng(1).uniform(-1, 1, (3, 500))

    def one(session):
        secure = SecureSum(journal=journals[session.index])
        for number, members in enumerate(([0, 1], [1, 2], [0, 1, 2])):
            secure.total(session, given_[session.index], members, number)
        return True

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(one, sessions))
    assert [journal.entries for journal in journals] == [1500] * 3
    journals[1] = Journal(tmp_path / "1")  # a party that starts again
    roots = [journal.roots() for journal in journals]
    assert len({sums for _, sums in roots}) == 1
    points = points_of(challenge(CONTEXT, [own for own, _ in roots], roots[0][1]))
    found = [journal.project(points) for journal in journals]
    assert len({sums for _, sums in found}) == 1
    projection.verify([own for own, _ in found], found[0][1])
    for _ in range(2):  # also for an attempt after one that gave it away
        journals[0].share_sums(tmp_path / "aggregate")
        assert project_content([(tmp_path / "aggregate").read_bytes()], points) == (roots[0][1], found[0][1])
    assert Journal(tmp_path / "0").entries == 1500
    journals[2].rewind(1000)
    with pytest.raises(projection.Accused):
        projection.verify([found[0][0], found[1][0], journals[2].project(points)[0]], found[0][1])


def test_a_journal_forgets_a_round_that_was_written_by_half(tmp_path) -> None:
    journal = Journal(tmp_path)
    journal.append(np.ones(5, np.uint32), np.full(5, 7, np.uint64))
    journal.append(None, np.full(5, 9, np.uint64))
    with (tmp_path / "sums").open("ab") as file:
        file.write(secrets.token_bytes(12))
    again = Journal(tmp_path)
    assert again.entries == 10
    assert again.roots() == journal.roots()
    assert (tmp_path / "sent").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ValueError, match="as long"):
        again.append(np.ones(4, np.uint32), np.ones(5, np.uint64))


def test_only_verified_rounds_are_kept(tmp_path) -> None:
    with pytest.raises(ValueError, match="verified"):
        SecureSum(verified=False, journal=Journal(tmp_path))


def test_a_journal_does_not_make_up_rounds_that_it_does_not_have(tmp_path) -> None:
    journal = Journal(tmp_path)
    journal.append(np.ones(5, np.uint32), np.full(5, 7, np.uint64))
    with pytest.raises(ValueError, match="5 entries"):
        journal.rewind(6)
    assert journal.entries == 5
