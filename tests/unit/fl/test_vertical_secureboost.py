"""Owners of different columns together grow exactly the trees of one owner of all columns, and find out messages that are wrong."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.fl.vertical import passive, secureboost
from tallystick_node.engines.fl.vertical.binning import Binned
from tallystick_node.engines.fl.vertical.boosting import FRACTION, Settings, fit
from tallystick_node.engines.fl.vertical.encrypted import Histograms, Layout
from tallystick_node.engines.fl.vertical.parts import Part
from tallystick_node.engines.fl.vertical.prediction import predict, score
from tallystick_node.engines.he.errors import PlaintextOverflow
from tallystick_node.engines.he.paillier.ciphertexts import Encryptor, decrypt
from unit.engines.conftest import CorruptingChannel
from unit.fl.vertical_world import BITS, SETTINGS, across, joined, key, names, people, release


@pytest.mark.parametrize("cuts", [[3], [0], [2, 4], [1, 1, 5]])
def test_the_trees_are_those_of_the_pooled_columns(cuts) -> None:
    """Two owners; a label without columns; three; four, of whom one has no columns."""
    columns, labels = people()
    parts = across(columns, labels, cuts)
    assert not any(isinstance(each, Exception) for each in parts), parts
    assert joined(parts) == joined([fit(columns, labels, SETTINGS, names(6))])


def test_of_cuts_of_equal_worth_the_first_is_taken() -> None:
    """Two columns of one owner are alike: it resolves the tie in its own order, which the owner of the label does not know."""
    columns, labels = people(seed=1)
    columns[:, 3] = columns[:, 5] = columns[:, 1]
    parts = across(columns, labels, [1])
    assert joined(parts) == joined([fit(columns, labels, SETTINGS, names(6))])
    used = {each.feature for each in parts[1].splits.values()}
    assert 0 in used and not used & {2, 4}


def test_an_owner_keeps_its_own_splits_alone() -> None:
    """Names are drawn at random, and the order in which cuts are offered too: two trainings show other ones."""
    columns, labels = people()
    first, second = across(columns, labels, [2]), across(columns, labels, [2])
    assert joined(first) == joined(second)
    assert first[1].ensemble is None and first[1].owner == 1 and first[1].features == ("c2", "c3", "c4", "c5")
    assert first[1].splits and not set(first[1].splits) & {*first[0].splits, *second[1].splits}


def walked(parts, columns, cuts, rows=()):
    """The scores that each owner gets, or its error; ``rows`` says how many rows each has, where not all."""
    shares = np.split(columns, cuts, axis=1)
    shares = [share[:count] for share, count in zip(shares, rows or [len(columns)] * len(parts), strict=True)]
    sessions = local_sessions(len(parts))
    found = [None] * len(parts)

    def one(session):
        try:
            found[session.index] = predict(session, range(len(parts)), parts[session.index], shares[session.index])
        except Exception as error:
            release(session)
            found[session.index] = error

    threads = [threading.Thread(target=one, args=(each,)) for each in sessions]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return found


def test_rows_are_scored_by_all_owners_as_by_one() -> None:
    """New rows, with parts that went through their documents."""
    columns, labels = people()
    parts = [Part.from_json(each.to_json()) for each in across(columns, labels, [2, 4])]
    new, _ = people(rows=77, seed=5)
    scores, *others = walked(parts, new, [2, 4])
    assert np.array_equal(scores, score(fit(columns, labels, SETTINGS, names(6)), new))
    assert len(np.unique(scores)) > 5 and not any(each.any() for each in others)


def test_a_walk_that_no_tree_makes_is_refused() -> None:
    columns, labels = people()
    parts = across(columns, labels, [2])
    stranger = across(columns, labels, [2])
    foreign = walked([stranger[0], parts[1]], columns, [2])
    assert isinstance(foreign[1], ProtocolViolation) and "not this party's" in foreign[1].rule
    assert isinstance(foreign[0], ChannelError)
    sessions = local_sessions(2)
    fewer = walked(parts, columns, [2], rows=(120, 60))
    assert isinstance(fewer[1], ProtocolViolation) and "another number of rows" in fewer[1].rule
    with pytest.raises(ValueError, match="another owner's"):
        predict(sessions[0], (1, 0), parts[0], columns[:, :2])
    with pytest.raises(ValueError, match="predict together"):
        score(parts[0], columns[:, :2])


# -- hostile messages: number, sender, what becomes of it, who finds out, and what it says


def flip(position):
    return lambda message: message[:position] + bytes([message[position] ^ 255]) + message[position + 1 :]


CHEATS = {
    "an even modulus": (0, 1, lambda message: message[:-1] + b"\0", "modulus"),
    "other rows": (0, 0, lambda message: (7).to_bytes(8, "little"), "number of rows"),
    "no ciphertexts": (0, 2, lambda message: bytes(len(message)), "no ciphertexts"),
    "few derivatives": (0, 2, lambda message: message[:-1], "were due"),
    "a choice of nothing offered": (0, 4, lambda message: b"\xff" * len(message), "not offered"),
    "too many choices": (0, 3, lambda message: b"\xff" * len(message), "more cuts of a node"),
    "few rows left": (0, 6, lambda message: bytes(len(message)), "fewer than 5 rows"),
    "no partition": (0, 5, lambda message: b"\0", "otherwise than its chosen cut"),
    "bits beyond the last": (0, 5, lambda message: b"\xff", "beyond the last row"),
    "other rows at the passive party": (1, 0, lambda message: (7).to_bytes(8, "little"), "number of rows"),
    "many candidates": (1, 1, lambda message: b"\xff" * 4, "announces more than"),
    "sums that are none": (1, 2, flip(5), "no sums of the encrypted"),
    "no unit": (1, 2, lambda message: bytes(len(message)), "no sums of the encrypted"),
    "other rows left": (1, 4, flip(3), "than those whose sums it sent"),
    "all rows left": (1, 4, lambda message: bytes(len(message)), "fewer than 5 rows"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_wrong_message_is_found_out(cheat) -> None:
    """The label's owner has no columns, so that every split is the passive party's; party 0 sends the label's messages."""
    sender, number, change, rule = CHEATS[cheat]
    columns, labels = people(rows=60, features=2)
    sessions = local_sessions(2)
    channels = sessions[sender].channels
    channels[1 - sender] = CorruptingChannel(channels[1 - sender], number, change)
    found = across(columns, labels, [0], Settings(2, 2, 4, 0.3, 1.0, 0.0, 5), sessions)
    error = found[1 - sender]
    assert isinstance(error, ProtocolViolation) and error.peer == sender and rule in str(error), found
    assert isinstance(found[sender], ChannelError | ValueError)


def test_sums_of_other_rows_than_a_nodes_are_found_out(monkeypatch) -> None:
    """A passive party that adds honest ciphertexts of all rows where only a node's were due."""
    columns, labels = people(rows=60, features=2)
    honest = Histograms.of
    monkeypatch.setattr(passive.Histograms, "of", lambda self, rows: honest(self, np.append(rows, rows)))
    label, _ = across(columns, labels, [0], sessions=local_sessions(2))
    assert isinstance(label, ProtocolViolation) and ("not those of some" in str(label) or "whose sums" in str(label)), label


@pytest.mark.parametrize(("owners", "labels"), [((0, 1), np.zeros(120, bool)), ((0, 1), people()[1][1:]), ((1, 0), people()[1])])
def test_what_cannot_be_trained_is_refused(owners, labels) -> None:
    with pytest.raises(ValueError, match=r"both classes|not of one table"):
        secureboost.lead(local_sessions(2)[0], owners, people()[0][:, :3], names(3), labels, SETTINGS, key())


def test_the_statement_tells_what_each_learns() -> None:
    promised = secureboost.security(3, BITS)
    assert promised.adversary == "semi-honest" and promised.parties == 3
    assert {"owner of the label", "other owner"} == set(promised.learns)


# -- encrypted sums


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_encrypted_sums_are_those_of_the_clear(data) -> None:
    """Any rows of any bins: sums of cells, the rest of a part, the sums left of cuts, packed and decrypted."""
    rows = data.draw(st.integers(2, 40))
    widths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    columns = np.column_stack([rng.integers(0, width, rows) for width in widths]).astype(float)
    binned, layout = Binned(columns, 4), Layout(rows, BITS)
    first, second = rng.integers(-(1 << FRACTION), (1 << FRACTION) + 1, rows), rng.integers(1, (1 << FRACTION - 2) + 1, rows)
    encryptor = _encryptor()
    histograms = Histograms(binned, encryptor.encrypt(layout.join(first, second)))
    part = np.flatnonzero(rng.random(rows) < 0.6)
    rest = np.setdiff1d(np.arange(rows), part)
    if not len(part) or not len(rest):
        return
    whole = histograms.of(np.arange(rows))
    for some, cells in ((rest, histograms.without(whole, histograms.of(part), binned.counts(rest))), (part, histograms.of(part))):
        cuts = binned.cuts(some, 1)
        left = histograms.cumulative(cells, cuts)
        opened = layout.unpack(decrypt(key(), encryptor.refresh(layout.pack(key().public, left))), len(cuts))
        assert opened.first.tolist() == binned.to_left(binned.sums(some, first))[cuts].tolist()
        assert opened.second.tolist() == binned.to_left(binned.sums(some, second))[cuts].tolist()


_ENCRYPTORS: list[Encryptor] = []


def _encryptor() -> Encryptor:
    if not _ENCRYPTORS:
        _ENCRYPTORS.append(Encryptor(key().public))
    return _ENCRYPTORS[0]


def test_the_largest_sums_fit_and_larger_plaintexts_do_not() -> None:
    layout = Layout(5, BITS)
    sums = [((-1) ** place * (5 << FRACTION), 5 << FRACTION - 2) for place in range(layout.slots)]
    plain = layout.join(*(np.array(each) for each in zip(*sums, strict=True)))
    total = sum(each << place * layout.width for place, each in enumerate(plain))
    assert abs(total) < key().public.largest
    opened = layout.unpack([total], layout.slots)
    assert list(zip(opened.first.tolist(), opened.second.tolist(), strict=True)) == sums
    with pytest.raises(PlaintextOverflow):
        layout.unpack([1 << layout.slots * layout.width], layout.slots)
