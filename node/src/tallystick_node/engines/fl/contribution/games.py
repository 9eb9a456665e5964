"""Values of the players of a cooperative game, and whole shares to pay by.

A game says what each coalition, a set of players, is worth; the empty one included. Nothing here knows what the players do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

import numpy as np

WHOLE = 10_000  # basis points: what all shares add up to
MAX_EXACT = 16  # players: 65536 coalitions

Worth = Callable[[frozenset[int]], float]
Values = Mapping[int, float]  # player -> its value


@dataclass(frozen=True)
class Sampled:
    """Estimates from sampled orders, their standard errors (without what truncation costs), and how many coalitions were
    evaluated."""

    values: Values
    errors: Values
    evaluated: int


def leave_one_out(players: Sequence[int], worth: Worth) -> Values:
    """What the worth of all loses without each player: n + 1 coalitions. The values do not add up to the worth of all, and of two
    players with the same to give both get nothing."""
    _check(players)
    everyone = frozenset(players)
    whole = worth(everyone)
    return {player: whole - worth(everyone - {player}) for player in players}


def shapley(players: Sequence[int], worth: Worth) -> Values:
    """The Shapley value (Shapley, "A Value for n-Person Games", 1953): what a player adds to those before it, on average over all
    orders. Evaluates each of the 2^n coalitions once; raises ValueError for more than ``MAX_EXACT`` players.

    It is the only value that is efficient (adds up to the worth of all less that of none), symmetric (equal players get the same),
    gives a player that never adds anything nothing, and is additive over games.
    """
    _check(players)
    count = len(players)
    if count > MAX_EXACT:
        raise ValueError(f"{count} players have too many coalitions: sample orders, or take at most {MAX_EXACT} players")
    worths = [
        worth(frozenset(player for place, player in enumerate(players) if coalition >> place & 1))
        for coalition in range(1 << count)
    ]
    values = {}
    for place, player in enumerate(players):
        bit, by_size = 1 << place, [0.0] * count
        for coalition in range(1 << count):
            if not coalition & bit:
                by_size[coalition.bit_count()] += worths[coalition | bit] - worths[coalition]
        values[player] = sum(gain / comb(count - 1, size) for size, gain in enumerate(by_size)) / count
    return values


def sampled_shapley(players: Sequence[int], worth: Worth, orders: int, seed: int, tolerance: float = 0.0) -> Sampled:
    """The Shapley value estimated from random orders, with truncation (Ghorbani and Zou, "Data Shapley", ICML 2019, algorithm 1).

    As soon as a coalition is within ``tolerance`` of the worth of all, the players after it in that order count as adding nothing,
    which biases a value by at most twice that if worths then stay so close; 0 truncates only where nothing is left to add.
    Unless truncated, the values of every order add up to the worth of all less that of none. Coalitions that come again are not
    evaluated again. With two or more ``orders``.
    """
    _check(players)
    if orders < 2 or tolerance < 0:
        raise ValueError("two or more orders are sampled, and the tolerance is not negative")
    known: dict[frozenset[int], float] = {}

    def once(coalition: frozenset[int]) -> float:
        if coalition not in known:
            known[coalition] = worth(coalition)
        return known[coalition]

    generator, whole = np.random.default_rng(seed), once(frozenset(players))
    gains = np.zeros((orders, len(players)))
    for row in gains:
        before, coalition = once(frozenset()), frozenset[int]()
        for place in generator.permutation(len(players)).tolist():
            if tolerance and abs(whole - before) <= tolerance:
                break
            coalition |= {players[place]}
            after = once(coalition)
            row[place] = after - before
            before = after
    errors = gains.std(axis=0, ddof=1) / orders**0.5
    return Sampled(
        dict(zip(players, gains.mean(axis=0).tolist(), strict=True)), dict(zip(players, errors.tolist(), strict=True)), len(known)
    )


def shares(values: Values, parties: int) -> list[int]:
    """The shares of parties 0 to ``parties`` - 1, in their order: whole basis points that add up to exactly ``WHOLE``, the form in
    which a task's settlement takes measured contributions. ``values`` are by the party's number; who has none gets 0.

    In proportion to the values above 0; a party of none or less gets 0, and what it lacks is charged to nobody: whoever states
    values for others to pay by must bound how low one may be. Rounded down, and what is left goes by one each to the
    largest remainders, of equal ones to the lower number: in exact arithmetic, so that equal values give equal bytes everywhere.
    Raises ValueError when a value is not finite or not a party's, or when none is above 0: then there is nothing to pay by.
    """
    if not all(np.isfinite(value) for value in values.values()) or not values.keys() <= set(range(parties)):
        raise ValueError("the value of a party is not finite, or of none of the parties")
    exact = [Fraction(max(values.get(party, 0.0), 0.0)) for party in range(parties)]
    whole = sum(exact, Fraction(0))
    if not whole:
        raise ValueError("no party contributed anything: there is nothing to pay by")
    parts = [divmod(value * WHOLE / whole, 1) for value in exact]
    left = WHOLE - sum(int(down) for down, _ in parts)
    first = sorted(range(parties), key=lambda party: (-parts[party][1], party))[:left]
    return [int(down) + (party in first) for party, (down, _) in enumerate(parts)]


def _check(players: Sequence[int]) -> None:
    if not players or len(set(players)) != len(players):
        raise ValueError("a game has one or more players, each once")
