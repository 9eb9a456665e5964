"""How rows are dealt to the clients of a simulation: evenly, or unlike one another in labels or in number.

Every function returns one array of row numbers a client, ascending; each row goes to exactly one client, and the same seed gives
the same partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
ATTEMPTS = 1000


def iid(rows: int, clients: int, seed: int) -> list[Indices]:
    """Equal shares, drawn at random; sizes differ by at most one."""
    _check(rows, clients, 0)
    return _sorted(np.array_split(np.random.default_rng(seed).permutation(rows), clients))


def dirichlet(labels: NDArray[Any], clients: int, concentration: float, seed: int, minimum: int = 0) -> list[Indices]:
    """Label skew: the rows of each label are split in proportions drawn from a symmetric Dirichlet distribution (Yurochkin et
    al., ICML 2019, section 4). The smaller ``concentration``, the fewer clients share a label.

    Drawn again until every client has ``minimum`` rows; raises ValueError when that does not come about.
    """
    _check(len(labels), clients, minimum)
    _above_zero(concentration)
    generator = np.random.default_rng(seed)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for _ in range(ATTEMPTS):
        parts: list[list[Indices]] = [[] for _ in range(clients)]
        for group in groups:
            for part, piece in zip(parts, _split(generator.permutation(group), generator, clients, concentration), strict=True):
                part.append(piece)
        joined = [np.concatenate(part) for part in parts]
        if min(map(len, joined)) >= minimum:
            return _sorted(joined)
    raise ValueError(f"no draw gives each of {clients} clients {minimum} rows: raise the concentration or lower the minimum")


def shards(labels: NDArray[Any], clients: int, each: int, seed: int) -> list[Indices]:
    """Label skew: rows sorted by label are cut into ``clients`` times ``each`` shards, of which every client gets ``each`` at
    random (McMahan et al., AISTATS 2017, section 3): most clients see about as many labels."""
    _check(len(labels), clients, each)
    if each < 1:
        raise ValueError("a client gets at least one shard")
    generator = np.random.default_rng(seed)
    mixed = generator.permutation(len(labels))
    pieces = np.array_split(mixed[np.argsort(labels[mixed], kind="stable")], clients * each)
    order = generator.permutation(len(pieces)).reshape(clients, each)
    return _sorted([np.concatenate([pieces[piece] for piece in own]) for own in order])


def quantities(rows: int, clients: int, concentration: float, seed: int, minimum: int = 1) -> list[Indices]:
    """Quantity skew: every client gets ``minimum`` rows, and the rest is split in proportions drawn from a symmetric Dirichlet
    distribution."""
    _check(rows, clients, minimum)
    _above_zero(concentration)
    generator = np.random.default_rng(seed)
    mixed = generator.permutation(rows)
    due = np.split(mixed[: clients * minimum], clients)
    rest = _split(mixed[clients * minimum :], generator, clients, concentration)
    return _sorted([np.concatenate(pair) for pair in zip(due, rest, strict=True)])


def _split(rows: Indices, generator: np.random.Generator, clients: int, concentration: float) -> Sequence[Indices]:
    shares = np.cumsum(generator.dirichlet(np.full(clients, concentration)))[:-1]
    return np.split(rows, np.rint(np.clip(shares, 0, 1) * len(rows)).astype(np.int64))


def _sorted(parts: Sequence[Indices]) -> list[Indices]:
    return [np.sort(part).astype(np.int64) for part in parts]


def _check(rows: int, clients: int, minimum: int) -> None:
    if clients < 1 or minimum < 0 or clients * minimum > rows:
        raise ValueError(f"{rows} rows cannot be dealt to {clients} clients with at least {minimum} for each")


def _above_zero(concentration: float) -> None:
    if not 0 < concentration < np.inf:
        raise ValueError("the concentration of a Dirichlet distribution is above 0")
