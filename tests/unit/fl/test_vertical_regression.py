"""Owners of different columns fit the pooled model, show one another masked numbers alone, and find out wrong messages."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.fl.vertical import regression
from tallystick_node.engines.fl.vertical.coefficients import Coefficients
from tallystick_node.engines.fl.vertical.masked import OFFSET, Layout, multiply, open_products, ring_elements
from tallystick_node.engines.fl.vertical.parts import InvalidPart
from tallystick_node.engines.fl.vertical.regression import Diverged, Settings, Table, train
from tallystick_node.engines.fl.vertical.scoring import mean, score
from tallystick_node.engines.he.errors import HomomorphicError
from tallystick_node.engines.he.paillier.ciphertexts import Encryptor
from tallystick_node.engines.he.paillier.keys import generate
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.plan.watch import Seen
from unit.engines.conftest import CorruptingChannel
from unit.fl.fl_world import breast_cancer
from unit.fl.vertical_world import BITS, key, names, release

SETTINGS = Settings("logistic", epochs=2, batch=16, rate=0.5, ridge=0.01)


@cache
def second_key():
    return generate(BITS)


@cache
def encryptor():
    return Encryptor(key().public)


def people(rows=40, features=5, seed=0):
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(rows, features))
    return columns, columns @ rng.normal(size=features) + 0.3 * rng.normal(size=rows)


def across(columns, targets, cuts, settings=SETTINGS, sessions=None):
    """Each owner's part, or its error: the columns are split at ``cuts``, the first owner has the targets."""
    shares = np.split(columns, cuts, axis=1)
    sessions = sessions or local_sessions(len(shares))

    def one(session):
        place, own = session.index, shares[session.index]
        table = Table(own, tuple(names(own.shape[1], 10 * place)), targets if place == 0 else None)
        try:
            return train(session, range(len(shares)), table, settings, BITS, [key, second_key][place]() if place < 2 else None)
        except Exception as error:
            release(session)
            return error

    with ThreadPoolExecutor(len(shares)) as pool:
        return list(pool.map(one, sessions))


def pooled(columns, targets, settings):
    table = np.column_stack([np.ones(len(columns)), columns])
    weights = np.zeros(table.shape[1])
    for _ in range(settings.epochs):
        for rows in settings.batches(len(table)):
            expected = mean(settings.family, table[rows] @ weights)
            step = table[rows].T @ (expected - targets[rows]) / len(expected) + settings.ridge * np.r_[0, weights[1:]]
            weights = weights - settings.rate * step
    return weights


def joined(parts):
    assert not any(isinstance(each, Exception) for each in parts), parts
    assert [each.owner for each in parts] == list(range(len(parts)))
    assert all(each.intercept is None for each in parts[1:])
    return np.array([parts[0].intercept, *(weight for each in parts for weight in each.weights)])


@pytest.mark.parametrize(("family", "cuts", "tolerance"), [("linear", [0], 1e-3), ("logistic", [1, 2, 4], 4e-3)])
def test_the_weights_are_those_of_the_pooled_columns(family, cuts, tolerance) -> None:
    """A label without columns; four owners. The last batch is smaller than the others."""
    columns, targets = people()
    targets = targets if family == "linear" else (targets > 0).astype(float)
    chosen = Settings(family, epochs=2, batch=16, rate=0.5 if family == "logistic" else 0.1, ridge=0.01)
    parts = across(columns, targets, cuts, chosen)
    expected = pooled(columns, targets, chosen)
    assert np.abs(joined(parts) - expected).max() < tolerance
    assert np.abs(expected).max() > 0.2
    assert [len(each.weights) for each in parts] == [each.shape[1] for each in np.split(columns, cuts, axis=1)]


def test_area_under_the_curve_is_that_of_the_pooled_model() -> None:
    people = breast_cancer()
    features, targets = people.features, people.targets.astype(float)
    chosen = Settings("logistic", epochs=1, batch=25, rate=1, ridge=0.01)
    training, rest = slice(0, 200), slice(200, None)
    parts = across(features[training], targets[training], [15], chosen)
    weights = joined(parts)
    assert np.abs(weights - pooled(features[training], targets[training], chosen)).max() < 4e-3
    plain = LogisticRegression(C=1 / (200 * 0.01)).fit(features[training], targets[training])
    expected = roc_auc_score(targets[rest], plain.decision_function(features[rest]))
    assert abs(roc_auc_score(targets[rest], features[rest] @ weights[1:]) - expected) < 0.005


# -- masked products


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_masked_products_are_shares_of_the_product(data) -> None:
    count, terms = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 4))
    entries, elements = st.integers(-OFFSET, OFFSET - 1), st.integers(0, 2**64 - 1)
    row = st.lists(entries, min_size=terms, max_size=terms)
    matrix = np.array(data.draw(st.lists(row, min_size=count, max_size=count)), np.int64)
    share = np.array(data.draw(st.lists(elements, min_size=terms, max_size=terms)), np.uint64)
    layout = Layout(BITS, terms)
    masks = layout.masks(count)
    message = multiply(encryptor(), layout, matrix, encryptor().encrypt(share), masks)
    opened = open_products(key(), layout, message, count, share)
    assert (opened + ring_elements(masks) == matrix.view(np.uint64) @ share).all()


def test_masks_of_two_holders_cancel_and_are_long_enough() -> None:
    layout = Layout(BITS, 5)
    masks = layout.masks(200)
    opposite = layout.opposite(masks)
    assert not (ring_elements(masks) + ring_elements(opposite)).any()
    largest = 5 * (2 * OFFSET - 1) * (2**64 - 1)
    for each in (masks, opposite):
        assert layout.slot_bits - 3 <= max(each).bit_length() <= layout.mask_bits
        assert len(set(each)) == len(each)
    assert largest << 40 <= 1 << layout.mask_bits and largest + max(masks) < 1 << layout.slot_bits


def test_plaintexts_that_are_no_masked_products_are_refused() -> None:
    layout = Layout(BITS, 3)
    share = np.zeros(3, np.uint64)
    full = layout.slots * layout.slot_bits
    for plaintext in (1 << full, -1, 1 << 2 * layout.slot_bits):
        with pytest.raises(HomomorphicError):
            open_products(key(), layout, encryptor().encrypt([plaintext]).to_bytes(), 2, share)
    assert open_products(key(), layout, encryptor().encrypt([7 | 9 << layout.slot_bits]).to_bytes(), 2, share).tolist() == [7, 9]


# -- messages and input that are wrong


def tampered(owner, peer, number, change, owners=3):
    sessions = local_sessions(owners)
    sessions[owner].channels[peer] = CorruptingChannel(sessions[owner].channels[peer], number, change)
    table, targets = people(rows=12, features=owners)
    chosen = Settings("linear", epochs=1, batch=12, rate=0.1)
    return across(table, targets, list(range(1, owners)), chosen, sessions)


@pytest.mark.parametrize(
    ("owner", "peer", "number", "message", "step"),
    [
        (2, 0, 0, lambda _sent: np.array([13, 1], np.uint64).tobytes(), "sizes"),
        (1, 0, 0, lambda _sent: np.array([12, 0], np.uint64).tobytes(), "sizes"),
        (0, 2, 1, lambda sent: bytes(len(sent)), "key"),
        (0, 1, 1, lambda sent: sent[:-1], "key"),
        (0, 2, 2, lambda sent: bytes(len(sent)), "products"),
        (2, 1, 1, lambda sent: b"\xff" * len(sent), "products"),
        (2, 0, 1, lambda _sent: Encryptor(key().public).encrypt([-5]).to_bytes(), "products"),
        (2, 0, 1, lambda sent: sent[1:], "products"),
    ],
)  # fmt: skip
def test_wrong_messages_are_found_and_named(owner, peer, number, message, step) -> None:
    found = tampered(owner, peer, number, message)[peer]
    assert isinstance(found, ProtocolViolation), found
    assert (found.peer, found.step) == (owner, step)


def test_the_engine_s_verdict_names_the_owner(monkeypatch) -> None:
    """Inside the two-party engine the holders are 0 and 1; in the session, whatever they are."""

    def fail(*_arguments):
        raise ProtocolViolation(1, "transfers", "sent nonsense")

    class Engine(regression.ObliviousAdditive):
        truncate = fail

    monkeypatch.setattr(regression, "ObliviousAdditive", Engine)
    columns, targets = people(rows=12, features=2)
    order, chosen = [1, 2, 0], Settings("linear", 1, 12, 0.1)
    parts = {1: (columns[:, :0], targets, key()), 2: (columns[:, :1], None, second_key()), 0: (columns[:, 1:], None, None)}

    def one(session):
        own, labels, secret = parts[session.index]
        try:
            return train(session, order, Table(own, tuple(names(own.shape[1])), labels), chosen, BITS, secret)
        except Exception as error:
            release(session)
            return error

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(one, local_sessions(3)))
    assert isinstance(found[0], ChannelError)
    assert [(found[place].peer, found[place].step) for place in (1, 2)] == [(2, "transfers"), (1, "transfers")]


def test_a_training_that_diverges_says_so() -> None:
    columns, targets = people(rows=12, features=2)
    found = across(15 * columns / np.abs(columns).max(), targets, [1], Settings("linear", epochs=6, batch=12, rate=4))
    assert all(isinstance(each, Diverged) for each in found), found


def test_unfit_input_is_refused() -> None:
    columns, targets = people()
    session = local_sessions(2)[0]
    with pytest.raises(ValueError, match="'c1' has a number that is not below 16"):
        Table(columns + np.array([0, 16, 0, 0, 0]), tuple(names(5)))
    for bad in (np.full((3, 1), np.nan), np.full((3, 1), np.inf), np.zeros((0, 1)), np.zeros((3, 2))):
        with pytest.raises(ValueError):
            Table(bad, ("c",))
    for change in (
        {"rate": 0.0},
        {"rate": float("nan")},
        {"batch": 1},
        {"epochs": 0},
        {"ridge": -1.0},
        {"ridge": 3.0},
        {"family": "x"},
    ):
        with pytest.raises(ValueError):
            Settings(**{"family": "linear", "epochs": 1, "batch": 8, "rate": 0.5, **change})
    table = Table(columns, tuple(names(5)), targets)
    with pytest.raises(ValueError, match="0 or 1"):
        train(session, [0, 1], table, SETTINGS, BITS, key())
    with pytest.raises(ValueError, match="need a key"):
        train(session, [0, 1], table, SETTINGS, 3072, key())
    with pytest.raises(ValueError, match="has the targets"):
        train(session, [1, 0], table, SETTINGS, BITS, key())


# -- parts and scores


def part(owner, owners=3, weights=(0.5, -0.25)):
    return Coefficients("logistic", owners, owner, tuple(names(len(weights))), weights, 0.125 if owner == 0 else None)


def scored(owners, rows=6, change=None):
    sessions = local_sessions(owners)
    if change:
        sessions[1].channels[0] = CorruptingChannel(sessions[1].channels[0], 0, change)
    columns = np.random.default_rng(1).integers(-40, 40, (owners, rows, 2)) / 8

    def one(session):
        try:
            return score(session, range(owners), part(session.index, owners), columns[session.index])
        except Exception as error:
            return error

    with ThreadPoolExecutor(owners) as pool:
        return columns, list(pool.map(one, sessions)), sessions


@pytest.mark.parametrize("owners", [2, 3, 4])
def test_scores_are_those_of_the_joined_model(owners) -> None:
    columns, found, _ = scored(owners)
    assert (found[0] == 0.125 + (columns @ [0.5, -0.25]).sum(axis=0)).all()
    assert found[1:] == [None] * (owners - 1)
    assert mean("logistic", np.array([-800.0, 0.0, 800.0])).tolist() == [0, 0.5, 1]


def test_the_owner_of_the_label_sees_no_part_of_a_score_among_three() -> None:
    sent = []
    columns, found, _ = scored(3, rows=500, change=lambda message: sent.append(message) or message)
    numbers = np.frombuffer(sent[0], np.uint64)
    own = columns[1] @ [0.5, -0.25]
    assert abs(np.corrcoef(numbers.view(np.int64), own)[0, 1]) < 0.3  # of 500 rows: 8e-12
    assert 0.3 < np.mean(numbers >> np.uint64(63)) < 0.7 and found[0] is not None


def test_wrong_parts_of_scores_are_found() -> None:
    _, found, _ = scored(2, change=lambda message: message[8:])
    assert isinstance(found[0], ProtocolViolation) and (found[0].peer, found[0].step) == (1, "scores")
    _, found, _ = scored(2, change=lambda message: b"\0" * 7 + b"\x80" + message[8:])
    assert isinstance(found[0], ProtocolViolation) and found[0].peer == 1
    _, found, _ = scored(3, rows=20, change=lambda message: bytes(len(message)))
    assert isinstance(found[0], ValueError)


@given(
    st.integers(0, 2), st.lists(st.floats(-1023, 1023), max_size=5), st.floats(-1023, 1023), st.sampled_from(["linear", "logistic"])
)
def test_documents_come_back(owner, weights, intercept, family) -> None:
    made = Coefficients(family, 3, owner, tuple(names(len(weights))), tuple(weights), None if owner else intercept)
    assert Coefficients.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"}, {"family": "poisson"}, {"owners": 1}, {"owner": 3}, {"owner": True}, {"features": ["c0"]}, {"more": 1},
        {"features": ["c0", "c0"]}, {"intercept": None}, {"weights": ["0.5", 1]}, {"weights": ["0.5", "nan"]},
        {"weights": ["0.5", "1024.0"]},
    ],
)  # fmt: skip
def test_other_documents_are_refused(change) -> None:
    with pytest.raises(InvalidPart):
        Coefficients.from_json(json.dumps({**json.loads(part(0).to_json()), **change}).encode())


@given(st.binary(max_size=40))
def test_bytes_that_are_no_document_are_refused(data) -> None:
    with pytest.raises(InvalidPart):
        Coefficients.from_json(data)


def test_what_is_promised() -> None:
    promised = regression.security(3, BITS)
    assert (promised.adversary, promised.corruptions, promised.parties, promised.trusted) == ("semi-honest", 1, 3, ())
    assert (promised.computational_bits, promised.statistical_bits) == (112, 38)


@pytest.mark.parametrize(("family", "batch"), [("logistic", 400), ("linear", 60)])
def test_what_the_engine_between_the_holders_takes_is_foretold(family, batch) -> None:
    """With a last batch that is smaller."""
    rows, weights, asked = 5 * batch + 17, 9, Settings(family, 2, batch, 0.5)

    def one(session) -> tuple[int, int]:
        seen = Seen(dealer=2)
        pair = regression._Pair(ObliviousAdditive(seen.watching(session)), 1 - session.index)
        for each in asked.batches(rows) * asked.epochs:
            pair.mean(np.zeros(each.stop - each.start, np.uint64), family)
            pair.step(np.zeros(weights, np.uint64), np.zeros(weights, np.uint64), asked.rate, each.stop - each.start)
        return seen.bytes, len(re.findall("(?:^|r)s", seen.pattern))

    with ThreadPoolExecutor(2) as pool:
        sent, rounds = zip(*pool.map(one, local_sessions(2)), strict=True)
    foretold = regression.between_holders(asked, rows, weights)
    assert foretold[0] == pytest.approx(max(sent), rel=0.2)
    assert foretold[1] == pytest.approx(max(rounds), rel=0.2)
