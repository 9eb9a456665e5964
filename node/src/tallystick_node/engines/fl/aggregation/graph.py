"""Who masks with whom: all with all, or for many members a sparse random graph, and the numbers that make either safe.

Bell, Bonawitz, Gascon, Lepoint and Raykova (CCS 2020, section 3) replace the complete graph of Bonawitz et al. (CCS 2017) by the
Harary graph of degree k under a random order: a ring in which each member is joined to the k / 2 on each side. For n members of
whom c may collude, the coordinator among them if it is a member, and d may drop out, k and the threshold t of the shares are the
smallest for which, by union bounds over the members,

- a member has t neighbours that collude with probability at most 2^-80 (hypergeometric tail; drawn from the n - d least that join),
- fewer than t of a member's neighbours stay with probability at most 2^-40,
- k / 2 successive members of the ring are all colluding or gone, without which the rest stays connected, with probability at most
  2^-80.

Where no k below n - 1 does, the graph is complete and t = c + 1. The order is drawn from a digest of what all members announced:
the coordinator chooses it as little as any member. Colluding members can try other keys until they like the order; 40 of the 80
bits are for that.

What the sparse graph does not give: a coordinator that *chooses*, after it has seen the graph, whom it declares gone can cut the
ring in two and learn the sum of either part instead of that of both. Members refuse survivors among whom the graph is cut or who
keep fewer than t neighbours; where colluding members are the only bridge they cannot see it. Against such a coordinator take the
complete graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, log2

import numpy as np

from tallystick_node.engines.mpc.prss import SEED, Stream

SECURITY = 80  # bits: 40, and 40 for trying orders
CORRECTNESS = 40  # bits

Graph = Mapping[int, frozenset[int]]  # member -> its neighbours


@dataclass(frozen=True)
class Plan:
    """The numbers of a round."""

    members: int
    corrupted: int  # members that may collude; a coordinator that is a member counts among them
    dropped: int  # members that may drop out, over the whole round
    degree: int  # neighbours of a member
    threshold: int  # shares that have a secret

    @property
    def complete(self) -> bool:
        """Whether all mask with all."""
        return self.degree == self.members - 1

    @property
    def least(self) -> int:
        """How many members must stay."""
        return self.members - self.dropped

    @property
    def quorum(self) -> int:
        """How many members must confirm who survived: any two sets of so many have an honest member in common."""
        return (self.members + self.corrupted) // 2 + 1


@lru_cache(maxsize=256)
def plan(members: int, corrupted: int, dropped: int) -> Plan:
    """The numbers for a round. Raises ValueError unless corrupted + 2 dropped < members: beyond that two different sets of
    survivors could both be confirmed."""
    if members < 2 or corrupted < 0 or dropped < 0:
        raise ValueError("a secure sum has two or more members, and no negative number of them colludes or drops out")
    if corrupted + 2 * dropped >= members:
        raise ValueError(
            f"of {members} members {corrupted} cannot collude while {dropped} drop out: colluding plus twice the dropping ones "
            "must be fewer than all; allow fewer"
        )
    high = 4
    while high < members - 1 and _threshold(members, corrupted, dropped, high) is None:
        high *= 2
    low = high // 2
    while high - low > 2:
        middle = (low + high) // 4 * 2
        if _threshold(members, corrupted, dropped, middle) is None:
            low = middle
        else:
            high = middle
    threshold = _threshold(members, corrupted, dropped, high) if high < members - dropped - 1 else None
    if threshold is None:
        return Plan(members, corrupted, dropped, members - 1, corrupted + 1)
    return Plan(members, corrupted, dropped, high, threshold)


def _threshold(members: int, corrupted: int, dropped: int, degree: int) -> int | None:
    """The smallest threshold that is safe with a degree, if the degree is enough."""
    if degree >= members - dropped - 1:
        return None
    outside = (corrupted + dropped) / members
    if outside and log2(members) + degree / 2 * log2(outside) > -SECURITY:
        return None
    others = members - dropped - 1
    total, above, threshold = comb(others, degree), 0, min(corrupted, degree) + 1
    for hit in range(min(corrupted, degree), -1, -1):
        above += comb(corrupted, hit) * comb(others - corrupted, degree - hit)
        if members * above << SECURITY > total:
            break
        threshold = hit
    if not 1 <= threshold <= degree:
        return None
    staying = members - 1 - dropped
    below = sum(comb(staying, hit) * comb(dropped, degree - hit) for hit in range(threshold))
    return None if members * below << CORRECTNESS > comb(members - 1, degree) else threshold


def draw(members: Sequence[int], degree: int, seed: bytes) -> Graph:
    """The graph among ``members``, ascending: complete when they are at most ``degree`` + 1, otherwise the Harary graph of the even
    degree, in the order that the seed gives."""
    everyone = frozenset(members)
    if len(members) <= degree + 1:
        return {member: everyone - {member} for member in members}
    key = hashlib.sha256(b"tallystick/v1/secure-aggregation/graph\0" + seed).digest()[:SEED]
    order = [members[place] for place in np.argsort(Stream(key).elements((len(members),)), kind="stable")]
    size, steps = len(order), [*range(-(degree // 2), 0), *range(1, degree // 2 + 1)]
    return {member: frozenset(order[(place + step) % size] for step in steps) for place, member in enumerate(order)}


def holds(graph: Graph, survivors: Collection[int], threshold: int) -> bool:
    """Whether the graph among the survivors is connected and leaves each at least ``threshold`` neighbours."""
    staying = frozenset(survivors)
    if any(len(graph[member] & staying) < threshold for member in staying):
        return False
    reached, edge = set[int](), set(list(staying)[:1])
    while edge:
        reached |= edge
        edge = {other for member in edge for other in graph[member] & staying} - reached
    return len(reached) == len(staying)
