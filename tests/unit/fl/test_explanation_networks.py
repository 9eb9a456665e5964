"""Owen values of split networks: those of the definition where exact, near where sampled, and what owners may not say."""

from __future__ import annotations

import random
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
from tallystick_node.engines.channel import ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.fl.explanation import networks
from tallystick_node.engines.fl.explanation.networks import BACKGROUND, MAX_COLUMNS, ORDERS, STEP, explain
from tallystick_node.engines.fl.parameters import Layout
from tallystick_node.engines.fl.split.parts import Part
from tallystick_node.engines.fl.split.prediction import predict
from tallystick_node.engines.fl.split.towers import Normals, Tower, Trained
from unit.fl.test_split_learning import together

CUT = 2


def model(widths, seed=0):
    """An untrained network: its values are as unlike 0 as those of a trained one."""
    normals = Normals(bytes([seed]) * 32, "test")

    def drawn(sizes, last):
        tower = Tower(sizes, last)
        return Trained(tower, tower.layout.unflatten(2 * tower.initial(normals)))

    bottoms = [drawn((width, 5, CUT), "tanh") if width else None for width in widths]
    top = drawn((CUT * sum(width > 0 for width in widths), 4, 1), "linear")
    parts = []
    for number, (width, bottom) in enumerate(zip(widths, bottoms, strict=True)):
        named = tuple(f"c{number}.{column}" for column in range(width))
        parts.append(Part(number, len(widths), named, CUT, bottom, top if number == 0 else None))
    return parts


def shares_of(widths, rows, seed=1):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(rows, width)) for width in widths]


def pooled(parts, shares):
    given = [part.bottom.run(own) for part, own in zip(parts, shares, strict=True) if part.bottom is not None]
    return parts[0].top.run(np.concatenate(given, axis=1))[:, 0]


def by_definition(parts, shares):
    """Owen values against all rows: over all orders in which the columns of each owner stand together."""
    rows, owners = len(shares[0]), [number for number, own in enumerate(shares) if own.shape[1]]
    found, worths = [np.zeros_like(own) for own in shares], {}

    def worth(known):
        if known not in worths:
            mixed = []
            for number, own in enumerate(shares):
                both = np.repeat(own[None], rows, axis=0)  # of shape (rows, background, columns)
                for column in range(own.shape[1]):
                    if (number, column) in known:
                        both[:, :, column] = own[:, None, column]
                mixed.append(both.reshape(rows * rows, -1))
            worths[known] = pooled(parts, mixed).reshape(rows, rows).mean(axis=1)
        return worths[known]

    orders = 0
    for order in permutations(owners):
        ways = [[]]
        for owner in order:
            ways = [[*way, *((owner, c) for c in inner)] for way in ways for inner in permutations(range(shares[owner].shape[1]))]
        orders += len(ways)
        for way in ways:
            before = frozenset()
            for owner, column in way:
                found[owner][:, column] += worth(before | {(owner, column)}) - worth(before)
                before |= {(owner, column)}
    return [each / orders for each in found]


def explained(parts, shares):
    widths = [own.shape[1] for own in shares]
    count = len(parts)
    return together(count, lambda s: explain(s, range(count), parts[s.index], shares[s.index], widths))


@pytest.mark.parametrize("widths", [[2, 3], [0, 2, 1], [1, 2, 2], [0, 3]])
def test_values_are_those_of_the_definition(widths) -> None:
    parts, shares = model(widths), shares_of(widths, 9)
    found, due = explained(parts, shares), by_definition(parts, shares)
    assert not any(isinstance(each, Exception) for each in found), found
    for each, own in zip(found, due, strict=True):
        np.testing.assert_allclose(each.columns, own, atol=1e-12)
    scores = pooled(parts, shares)
    assert found[0].base == pytest.approx(scores.mean())
    np.testing.assert_allclose(found[0].owners, np.column_stack([own.sum(axis=1) for own in due]), atol=1e-12)
    np.testing.assert_allclose(found[0].owners.sum(axis=1) + found[0].base, scores, atol=1e-12)
    assert np.abs(found[0].owners).max() > 0.1 and found[1].base is None and found[1].owners is None


def test_sampled_orders_add_up_and_are_near(monkeypatch) -> None:
    """Five columns have 120 orders, of which eight are drawn, always the same: one draw in 400 is farther off. A few rows are the
    background of many, and pieces of the rows are run one after another."""
    order = random.Random(1)
    monkeypatch.setattr(networks, "secrets", SimpleNamespace(SystemRandom=lambda: order))
    widths = [1, 5]
    parts, shares = model(widths), shares_of(widths, BACKGROUND + 3)
    monkeypatch.setattr(networks, "_PIECE", 1 << 14)
    found = explained(parts, shares)
    scores = pooled(parts, shares)
    np.testing.assert_allclose(found[0].owners.sum(axis=1) + found[0].base, scores, atol=1e-9)
    for number, each in enumerate(found):
        np.testing.assert_allclose(each.columns.sum(axis=1), found[0].owners[:, number], atol=1e-9)
    monkeypatch.setattr(networks, "ORDERS", 120)
    near = explained(parts, shares)
    np.testing.assert_allclose(near[0].owners, found[0].owners, atol=1e-9)  # exact whatever the orders
    error = np.abs(near[1].columns - found[1].columns).mean()
    assert 0 < error < 0.3 * np.abs(near[1].columns).mean()


def test_a_column_without_effect_gets_nothing_and_alike_ones_the_same() -> None:
    widths = [1, 3]
    parts, shares = model(widths), shares_of(widths, 12)
    bottom = parts[1].bottom
    numbers = bottom.tower.layout.flatten(bottom.parameters)
    weight = bottom.tower.layout.views(numbers)["weight0"]
    weight[0], weight[1] = 0, weight[2]
    changed = Trained(bottom.tower, Layout(bottom.tower.layout.entries).unflatten(numbers))
    parts[1] = Part(1, 2, parts[1].features, CUT, changed, None)
    shares[1][:, 1] = shares[1][:, 2]
    values = explained(parts, shares)[1].columns
    np.testing.assert_allclose(values[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(values[:, 1], values[:, 2], atol=1e-12)
    assert np.abs(values[:, 1]).max() > 0.01


def test_what_an_owner_may_not_say() -> None:
    widths = [1, 3]
    parts, shares = model(widths), shares_of(widths, 5)
    good = [np.zeros((5, CUT)), np.tile(np.arange(3), (6, 1)).astype(np.uint32), np.zeros((5, 5, 6, 2, CUT))]

    def label(*messages):
        def work(session):
            if session.index == 0:
                return explain(session, range(2), parts[0], shares[0], widths)
            session.channels[0].mark(STEP)
            for each in messages:
                send_array(session, 0, each)
            return None

        return together(2, work)[0]

    assert label(*good).columns.shape == (5, 1)
    for place, wrong, words in (
        (0, np.full((5, CUT), np.nan), "within"),
        (0, np.full((5, CUT), 1.5), "within"),
        (1, np.full((6, 3), 2, np.uint32), "none of its 3 columns"),
        (1, np.zeros((6, 2), np.uint32), "bytes"),
        (2, np.full((5, 5, 6, 2, CUT), 2.0), "within"),
        (2, np.zeros((5, 5, 6, 1, CUT)), "bytes"),
    ):
        found = label(*good[:place], wrong, *good[place + 1 :])
        assert isinstance(found, ProtocolViolation) and found.peer == 1 and words in str(found), found

    def owner(session):
        if session.index == 1:
            return explain(session, range(2), parts[1], shares[1], widths)
        session.channels[1].mark(STEP)
        return send_array(session, 1, np.full((5, 3), np.inf))

    found = together(2, owner)[1]
    assert isinstance(found, ProtocolViolation) and "not finite" in str(found)


def test_what_is_too_much_or_does_not_fit() -> None:
    widths = [1, 3]
    parts, shares = model(widths), shares_of(widths, 5)
    session = local_sessions(2)[0]
    for own, columns, counts, words in (
        (parts[0], shares[0], [1, MAX_COLUMNS + 1], "at most"),
        (parts[0], shares[0], [1] * 9, "at most"),
        (parts[1], shares[1], widths, "another owner's"),
        (parts[0], shares[0], [2, 3], "where the model has"),
        (parts[0], shares[0][:0], widths, "where the model has"),
        (parts[0], np.zeros((1 << 22, 1)), [1, MAX_COLUMNS], "too many rows"),
    ):
        with pytest.raises(ValueError, match=words):
            explain(session, range(2), own, columns, counts)
    assert networks.hybrids(4) == BACKGROUND * ORDERS * 3 and networks.hybrids(1) == networks.hybrids(0) == 0


def test_scores_are_those_of_the_prediction() -> None:
    widths = [2, 2]
    parts, shares = model(widths), shares_of(widths, 40)
    scores = together(2, lambda s: predict(s, range(2), parts[s.index], shares[s.index]))[0]
    found = explained(parts, shares)[0]
    np.testing.assert_allclose(found.owners.sum(axis=1) + found.base, scores, atol=1e-12)
