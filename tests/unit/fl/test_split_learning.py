"""Split networks: the pooled network number for number, labels that gradients do not tell, and messages of cheaters."""

from __future__ import annotations

import contextlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.fl.parameters import Layout, Parameters
from tallystick_node.engines.fl.split.network import Settings, fit
from tallystick_node.engines.fl.split.parts import InvalidPart, Part
from tallystick_node.engines.fl.split.prediction import predict
from tallystick_node.engines.fl.split.protection import Protection, most_area
from tallystick_node.engines.fl.split.towers import Normals, Tower
from tallystick_node.engines.fl.split.training import assist, lead, security
from tallystick_node.engines.fl.vertical.boosting import quality
from unit.engines.conftest import leave
from unit.fl.fl_world import breast_cancer

EXACT = Settings(
    bottom=(16,), cut=8, top=(8,), epochs=20, batch=32, rate=0.1, momentum=0.5, penalty=1e-3, divergence=math.inf, seed=3
)
SMALL = replace(EXACT, epochs=2, cut=3)
KEYS = [bytes([number]) * 32 for number in range(1, 5)]


def malignant():
    rows = breast_cancer()
    return rows.features, rows.targets < 0.5


def rare():
    """One malignant case in seven."""
    columns, labels = malignant()
    kept = np.concatenate([np.flatnonzero(~labels), np.flatnonzero(labels)[:60]])
    kept = np.random.default_rng(0).permutation(kept)
    return columns[kept], labels[kept]


def parted(count):
    held_out = np.arange(count) % 5 == 0
    return ~held_out, held_out


def together(parties, work, sessions=None):
    """What each party's ``work(session)`` gives, or its error."""
    sessions = sessions or local_sessions(parties)

    def one(session):
        try:
            return work(session)
        except Exception as error:
            return error
        finally:
            leave(session)

    with ThreadPoolExecutor(parties) as pool:
        return list(pool.map(one, sessions))


def names(columns):
    return [f"c{number}" for number in range(columns.shape[1])]


def train(shares, labels, settings, keys=KEYS, sessions=None):
    owners = range(len(shares))

    def one(session):
        own, key = shares[session.index], keys[session.index]
        if session.index == 0:
            return lead(session, owners, own, names(own), labels, settings, key)
        return assist(session, owners, own, names(own), settings, key)

    return together(len(shares), one, sessions=sessions)


def scores(parts, shares):
    owners = range(len(shares))
    return together(len(shares), lambda session: predict(session, owners, parts[session.index], shares[session.index]))[0]


class Tapped:
    """A channel that keeps the gradients that come in."""

    def __init__(self, inner, cut):
        self.inner, self.peer, self.cut, self.seen = inner, inner.peer, cut, []

    def receive_into(self, view):
        size = self.inner.receive_into(view)
        self.seen.append(np.frombuffer(bytes(view)).reshape(-1, self.cut))
        return size

    def __getattr__(self, name):
        return getattr(self.inner, name)


@cache
def attacked(source, divergence, run=0):
    """AUC on held-out rows, and of the attacks on labels by the gradients that the second owner gets.

    By length: the mean over batches. By direction: the first principal direction of each row's gradients summed over all epochs,
    whichever way it points.
    """
    columns, labels = source()
    settings = replace(EXACT, divergence=divergence)
    learned, held_out = parted(len(labels))
    sessions = local_sessions(2)
    tap = sessions[1].channels[0] = Tapped(sessions[1].channels[0], settings.cut)
    keys = [bytes([run + 10 * number + 1]) * 32 for number in range(2)]
    parts = train(np.split(columns[learned], [15], axis=1), labels[learned], settings, keys, sessions)
    auc = quality(scores(parts, np.split(columns[held_out], [15], axis=1)), labels[held_out])["auc"]
    truth, lengths = labels[learned], []
    sums = np.zeros((len(truth), settings.cut))
    batches = [rows for _, rows in settings.batches(len(truth))]
    for rows, gradients in zip(batches, tap.seen, strict=True):
        norms = np.linalg.norm(gradients, axis=1)
        sums[rows] += gradients / np.median(norms)
        if 0 < truth[rows].sum() < len(rows):
            lengths.append(quality(norms, truth[rows])["auc"])
    direction = quality(sums @ np.linalg.svd(sums, full_matrices=False)[2][0], truth)["auc"]
    return auc, float(np.mean(lengths)), max(direction, 1 - direction)


def test_owners_together_train_the_pooled_network() -> None:
    columns, labels = malignant()
    learned, held_out = parted(len(labels))
    cuts = [10, 22]
    parts = train(np.split(columns[learned], cuts, axis=1), labels[learned], EXACT)
    pooled = fit(np.split(columns[learned], cuts, axis=1), labels[learned], EXACT, KEYS[:3])
    shares = np.split(columns[held_out], cuts, axis=1)
    found, due = scores(parts, shares), pooled(shares)
    np.testing.assert_allclose(found, due, rtol=1e-9, atol=1e-9)
    auc = quality(found, labels[held_out])["auc"]
    assert abs(auc - quality(due, labels[held_out])["auc"]) <= 0.005
    assert auc > 0.99


def test_an_owner_of_the_label_without_columns() -> None:
    columns, labels = malignant()
    shares = [columns[:, :0], columns]
    parts = train(shares, labels, EXACT)
    assert parts[0].bottom is None
    assert quality(scores(parts, shares), labels)["auc"] > 0.99
    assert Part.from_bytes(parts[0].to_bytes()).to_bytes() == parts[0].to_bytes()


def test_the_same_keys_give_the_same_model_with_noise_and_other_keys_another() -> None:
    columns, labels = malignant()
    shares, settings = np.split(columns[:100], [15], axis=1), replace(SMALL, divergence=0.5)

    def digests(keys):
        return [part.bottom.parameters.digest() for part in train(shares, labels[:100], settings, keys)]

    first = digests(KEYS)
    assert digests(KEYS) == first
    assert all(one != other for one, other in zip(digests([b"\7" * 32, b"\x08" * 32]), first, strict=True))


def test_exact_gradients_tell_labels_by_length_and_by_direction() -> None:
    _, length, direction = attacked(rare, math.inf)
    assert length > 0.8
    assert direction > 0.99


def test_protected_gradients_hide_labels_at_little_cost() -> None:
    exact = np.mean([attacked(rare, math.inf, run)[0] for run in range(3)])
    protected = [attacked(rare, 0.25, run) for run in range(3)]
    auc, length, direction = np.mean(protected, axis=0)
    assert abs(length - 0.5) < 0.04
    assert direction < most_area(0.25) < 0.72
    assert auc > exact - 0.015


def test_both_classes_have_the_promised_distance_after_noise() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(40_000) % 4 == 0
    gradients = np.where(labels[:, None], [-0.9, -0.3, 0.2], [0.1, 0.05, 0.0]) + rng.normal(size=(40_000, 3)) * 0.05
    noised = Protection(0.2, Normals(KEYS[0], "noise 1")).protect(gradients, labels)
    one, other = noised[labels], noised[~labels]
    difference = one.mean(axis=0) - other.mean(axis=0)
    covariances = [np.cov(each.T) for each in (one, other)]
    a, b = (np.linalg.inv(each) for each in covariances)
    divergences = (np.trace(a @ covariances[1] + b @ covariances[0]) + difference @ (a + b) @ difference) / 2 - 3
    assert divergences == pytest.approx(0.2, abs=0.05)
    np.testing.assert_allclose(noised.mean(axis=0), gradients.mean(axis=0), atol=0.03)  # no bias


def test_noise_gives_the_narrower_class_the_covariance_of_the_wider() -> None:
    rng = np.random.default_rng(2)
    labels = np.arange(40_000) % 4 == 0
    gradients = rng.normal(size=(40_000, 3)) * np.where(labels, 0.05, 1.0)[:, None] + np.outer(labels, [0.6, 0.8, 0.0])
    noised = Protection(100.0, Normals(KEYS[0], "noise 1")).protect(gradients, labels)
    for label in (True, False):
        np.testing.assert_allclose(np.cov(noised[labels == label].T), np.eye(3), atol=0.05)


def test_a_batch_of_one_class_and_gradients_that_vanish_are_noised_or_kept() -> None:
    protection = Protection(0.2, Normals(KEYS[0], "noise 1"))
    alike = np.full((8, 3), 0.5)
    assert np.std(protection.protect(alike, np.ones(8, bool)), axis=0).max() > 1
    np.testing.assert_array_equal(protection.protect(np.zeros((8, 3)), np.arange(8) < 3), np.zeros((8, 3)))


@given(st.floats(1e-6, 100))
def test_the_bound_on_telling_classes_apart_covers_normal_ones(divergence) -> None:
    area = 0.5 * (1 + math.erf(math.sqrt(divergence) / 2))  # of N(0, 1) from N(sqrt(divergence), 1)
    assert area <= most_area(divergence) + 1e-12 <= 1 + 1e-12


@given(st.integers(1, 4), st.integers(0, 3), st.sampled_from(["tanh", "linear"]), st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=20, deadline=None)
def test_gradients_of_a_tower_are_its_differences(width, hidden, last, seed) -> None:
    rng = np.random.default_rng(seed)
    tower = Tower((3, *[4] * hidden, width), last)
    point, rows = rng.normal(size=tower.layout.size), rng.normal(size=(5, 3))
    wish = rng.normal(size=(5, width))
    gradient, before = tower.backward(point, tower.forward(point, rows), wish)
    for _ in range(3):
        way, other = rng.normal(size=point.shape), rng.normal(size=rows.shape)
        step = 1e-7
        change = (
            np.sum(wish * (tower.forward(point + step * way, rows)[-1] - tower.forward(point - step * way, rows)[-1])) / 2 / step
        )
        assert change == pytest.approx(gradient @ way, rel=1e-4, abs=1e-4)
        change = (
            np.sum(wish * (tower.forward(point, rows + step * other)[-1] - tower.forward(point, rows - step * other)[-1]))
            / 2
            / step
        )
        assert change == pytest.approx(np.sum(before * other), rel=1e-4, abs=1e-4)


def small():
    columns, labels = malignant()
    return np.split(columns[:64], [15], axis=1), labels[:64]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (np.full((32, 3), np.nan), "not within"),
        (np.full((32, 3), 1.5), "not within"),
        (np.full((32, 3), np.inf), "not within"),
        (np.zeros((31, 3)), "768 were due"),
        (np.zeros((32, 4)), "768 were due"),
    ],
)
def test_activations_that_no_bottom_gives_are_refused(bad, rule) -> None:
    (own, _), labels = small()

    def work(session):
        if session.index == 0:
            return lead(session, [0, 1], own, names(own), labels, SMALL, KEYS[0])
        session.channels[0].send((64).to_bytes(8, "little") + SMALL.digest(64))
        return send_array(session, 0, bad)

    error = together(2, work)[0]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (1, "activations")
    assert rule in str(error)


@pytest.mark.parametrize("bad", [np.full((32, 3), np.nan), np.full((32, 3), -2e6), np.zeros((16, 3))])
def test_gradients_that_no_loss_has_are_refused(bad) -> None:
    (_, other), _ = small()

    def work(session):
        if session.index == 1:
            return assist(session, [0, 1], other, names(other), SMALL, KEYS[1])
        session.channels[1].send((64).to_bytes(8, "little") + SMALL.digest(64))
        return send_array(session, 1, bad)

    error = together(2, work)[1]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (0, "gradients")


def test_other_rows_or_settings_are_found_before_anything_is_sent() -> None:
    shares, labels = small()
    found = train([shares[0], shares[1][:-1]], labels, SMALL)
    assert all(isinstance(error, ProtocolViolation) and error.step == "hello" for error in found)
    assert "number of rows" in str(found[0])

    def work(session):
        if session.index == 0:
            return lead(session, [0, 1], shares[0], names(shares[0]), labels, SMALL, KEYS[0])
        return assist(session, [0, 1], shares[1], names(shares[1]), replace(SMALL, divergence=1.0), KEYS[1])

    found = together(2, work)
    assert [(error.peer, error.step) for error in found] == [(1, "hello"), (0, "hello")]
    assert "settings" in str(found[1])


def test_a_silent_owner_is_named() -> None:
    (own, _), labels = small()
    error = together(2, lambda session: session.index == 0 and lead(session, [0, 1], own, names(own), labels, SMALL, KEYS[0]))[0]
    assert isinstance(error, ChannelError)
    assert error.peer == 1


def test_predictions_need_fitting_parts_rows_and_numbers() -> None:
    shares, labels = small()
    parts = train(shares, labels, SMALL)
    with pytest.raises(ValueError, match="another owner's"):
        predict(local_sessions(2)[0], [0, 1], parts[1], shares[1])
    with pytest.raises(ValueError, match="15"):
        predict(local_sessions(2)[0], [0, 1], parts[0], shares[0][:, 1:])
    found = scores(parts, [shares[0], shares[1][:-1]])
    assert isinstance(found, ProtocolViolation)
    assert found.step == "prediction"

    def work(session):
        if session.index == 0:
            return predict(session, [0, 1], parts[0], shares[0])
        send_array(session, 0, np.array([64], np.uint64))
        return send_array(session, 0, np.full((64, 3), 2.0))

    found = together(2, work)[0]
    assert isinstance(found, ProtocolViolation)
    assert (found.peer, found.step) == (1, "prediction")


def test_parts_are_files_and_each_owner_keeps_its_own_alone() -> None:
    shares, labels = small()
    parts = train(shares, labels, SMALL)
    for part in parts:
        assert Part.from_bytes(part.to_bytes()).to_bytes() == part.to_bytes()
    assert parts[1].top is None
    whole = parts[0].to_bytes()
    for bad in (b"", whole[:-8], whole.replace(b"split network v1", b"split network v2"), parts[1].to_bytes()[:40]):
        with pytest.raises(InvalidPart):
            Part.from_bytes(bad)
    with pytest.raises(InvalidPart, match="top"):
        replace(parts[1], top=parts[0].top)
    with pytest.raises(InvalidPart, match="cut"):
        replace(parts[0], cut=4)
    with pytest.raises(InvalidPart, match="features"):
        replace(parts[1], features=("c",) * 15)


@given(
    st.dictionaries(
        st.sampled_from(["owner", "owners", "cut", "features", "bottom", "top"]),
        st.recursive(
            st.none() | st.integers(-3, 1 << 40) | st.text(max_size=3) | st.booleans(),
            lambda each: st.lists(each, max_size=4),
            max_leaves=6,
        ),
    )
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_hostile_headers_are_refused(changes) -> None:
    header = {
        "format": "tallystick split network v1",
        "owner": 1,
        "owners": 2,
        "cut": 1,
        "features": ["c"],
        "bottom": [1, 1],
        "top": None,
    }
    arrays = Layout(Tower((1, 1), "tanh").layout.entries).unflatten(np.zeros(2))
    data = Parameters({f"bottom.{name}": array for name, array in arrays.items()}).save({**header, **changes})
    with contextlib.suppress(InvalidPart):
        assert Part.from_bytes(data).to_bytes() == data


def test_unfit_input_is_refused() -> None:
    shares, labels = small()
    session = local_sessions(2)[0]
    with pytest.raises(ValueError, match="both classes"):
        lead(session, [0, 1], shares[0], names(shares[0]), np.ones(64, bool), SMALL, KEYS[0])
    with pytest.raises(ValueError, match="not of one table"):
        lead(session, [0, 1], shares[0], names(shares[1])[1:], labels, SMALL, KEYS[0])
    with pytest.raises(ValueError, match="not finite"):
        lead(session, [0, 1], shares[0] * np.nan, names(shares[0]), labels, SMALL, KEYS[0])
    with pytest.raises(ValueError, match="32 bytes"):
        lead(session, [0, 1], shares[0], names(shares[0]), labels, SMALL, b"short")
    for field, value in (("cut", 0), ("batch", 0), ("rate", math.nan), ("momentum", 1.0), ("divergence", 0.0), ("seed", -1)):
        with pytest.raises(ValueError, match="out of range"):
            replace(SMALL, **{field: value})


def test_training_that_diverges_says_so() -> None:
    shares, labels = small()
    found = train(shares, labels, replace(SMALL, rate=10.0, penalty=10.0, epochs=100))
    assert isinstance(found[0], ValueError)
    assert "diverged" in str(found[0])


def test_the_statement_says_what_gradients_tell() -> None:
    exact, noised = security(3, EXACT), security(3, replace(EXACT, divergence=0.25))
    assert "labels can be read" in exact.learns["other owner"]
    assert "0.719" in noised.learns["other owner"]
    assert noised.corruptions == 2
