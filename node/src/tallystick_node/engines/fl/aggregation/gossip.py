"""A mean without a coordinator and without agreement: parties average with one partner at a time, and some may be lost on the way.

Push-sum (Kempe, Dobra and Gehrke, "Gossip-Based Computation of Aggregate Information", FOCS 2003, section 2): everybody holds a
vector and how much it counts, sends half of both, and adds what it gets; the quotient tends to the mean. Here the partners of a
step are a matching that everybody derives from a public seed, so that two partners end a step with the same. And what counts is
told for each member apart: a party knows which weighted mean of the members' vectors it holds, and so how far it can be off.

How fast. Let P be the sum over parties and members of (weight - 1/n)^2, n - 1 at the start. In expectation a random matching takes
the share n / (2 n - 2) from it when n is even, a half when n is odd, and so P is at most (n - 1) 2^-t after t steps. An estimate is
off by at most the sum of |weight - 1/n|, at most sqrt(n P), in units of the bound of an entry. With probability 1 - d over the
seed, log2(n (n - 1) / (d e^2)) steps therefore reach an error e at all parties: 47 for ten members, e = 1e-5 and d = 1e-2. As the
matchings are public, :func:`steps` counts what a seed takes, and no probability is left. When n is a power of two, the partners
are the edges of a hypercube instead, one dimension after another: log2 n steps, and nothing but rounding is left.

Where all parties need one and the same number, :class:`GossipSum` follows a round of gossip by one that settles it: a party in turn
tells its estimate, and the others accept it only if it is within the errors of both.

Security: none of an update. The first partner gets half of the vector itself, later ones partial means; colluding parties solve
for more. Semi-honest: a party can claim weights for numbers of its own, and moves the mean by up to its claim. Where members
may not see one another's vectors, take :class:`.ring.RingSum`, which also sends less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ChannelError, ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.aggregation.base import Aggregation, check_summand, coordinators
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.security import SecurityStatement

STEP = "gossip"
MAX_MEMBERS = 1 << 10
LEAST_ERROR = 1e-12
_SLACK = 1 + 1e-9  # what rounding may add
_DOMAIN = b"tallystick/v1/gossip/matching\0"
_ROUND = b"tallystick/v1/gossip/round\0"


@dataclass(frozen=True)
class Estimate:
    """``mean``, of shape (k,): the weighted mean of the members' vectors with ``weights``, which add up to 1. ``error``: the most
    by which an entry differs from the mean of all members' vectors, those lost on the way included; 2 says nothing.
    ``lost``: members whose link to this party broke."""

    mean: NDArray[np.float64]
    weights: Mapping[int, float]
    error: float
    lost: tuple[int, ...]


def partners(members: Sequence[int], seed: bytes) -> Iterator[dict[int, int]]:
    """Whom each member meets, step after step without end; of an odd number one is left out of each step."""
    count = len(members)
    key = hashlib.sha256(_DOMAIN + hashlib.sha256(seed).digest() + np.array(members, "<u4").tobytes()).digest()[:SEED]
    stream, dimensions = Stream(key), count.bit_length() - 1
    order = _shuffled(members, stream)
    step = 0
    while True:
        if count == 1 << dimensions:
            yield {member: order[place ^ (1 << step % dimensions)] for place, member in enumerate(order)} if dimensions else {}
        else:
            order = _shuffled(members, stream)
            pairs = list(zip(order[::2], order[1::2], strict=False))
            yield dict(pairs) | {two: one for one, two in pairs}
        step += 1


def steps(members: Sequence[int], seed: bytes, error: float) -> int:
    """After how many steps of this seed every party is within ``error`` of the mean if nobody is lost. Raises ValueError for an
    error below ``LEAST_ERROR`` or more than ``MAX_MEMBERS`` members."""
    if not (1 <= len(members) <= MAX_MEMBERS and LEAST_ERROR <= error <= 2):
        raise ValueError(f"1 to {MAX_MEMBERS} members gossip, to an error from {LEAST_ERROR:g} to 2")
    weights, place = np.eye(len(members)), {member: at for at, member in enumerate(members)}
    for step, met in enumerate(partners(members, seed)):
        if np.abs(weights - 1 / len(members)).sum(axis=1).max() + _rounding(step) <= error:
            return step
        others = [place[met.get(member, member)] for member in members]
        weights = (weights + weights[others]) / 2
    raise AssertionError("partners never end")


def mean(
    session: Session, vector: NDArray[np.float64], members: Sequence[int], seed: bytes, error: float, spare: int = 0
) -> Estimate:
    """This member's estimate of the mean of the members' vectors, every entry of which is within [-1, 1].

    All members call it with the same ``members``, ascending, ``seed``, ``error`` and ``spare``; other parties do not. The seed
    is public and chosen before the vectors are known: the task's and the round's number, say. ``spare`` steps follow those of
    :func:`steps`: they spread what survivors have when somebody is lost, whose partner of that step goes on alone. What of a lost
    party's vector had been passed on still counts; the weights of the estimate say how much.

    Raises ValueError for a vector or settings out of range, ProtocolViolation when a partner sends what can be no half of a
    weighted mean.
    """
    if session.index not in members or spare < 0:
        raise ValueError("members gossip, and the number of spare steps is not negative")
    check_summand(vector)
    due, size = steps(members, seed, error) + spare, len(vector)
    state = np.concatenate([vector, (np.array(members) == session.index).astype(np.float64)])
    session.mark(STEP)
    lost: set[int] = set()
    for _, met in zip(range(due), partners(members, seed), strict=False):
        partner = met.get(session.index)
        if partner is None or partner in lost:
            continue
        try:
            send_array(session, partner, state / 2)
            state /= 2  # also when nothing comes back: what was sent may count there
            session.patience(partner)
            received = receive_array(session, partner, state.shape, STEP, np.float64)
        except ProtocolViolation:
            raise
        except ChannelError:
            lost.add(partner)
            continue
        _check(partner, received[:size], received[size:])
        state += received
    weights = state[size:] / state[size:].sum()
    off = float(np.abs(weights - 1 / len(members)).sum()) + _rounding(due)
    return Estimate(
        state[:size] / state[size:].sum(),
        dict(zip(members, weights.tolist(), strict=True)),
        min(off, 2.0),
        tuple(sorted(lost)),
    )


class GossipSum(Aggregation):
    """The sum of the members' vectors by gossip, each entry within members x ``error`` of it, the same to the bit at every party.

    Partners follow from the session's context, its beacon and the round's number. After the gossip one member, in the order of
    :func:`.coordinators`, tells all parties its estimate; a member accepts it if every entry is within what the two estimates may
    be off, and names it otherwise, so that a party that settles can move the sum by 2 ``error`` x members at most. A party that is
    no member believes what it is told. A member that is lost ends the round: without it the sum would be another.

    Adversary: semi-honest, as the module says. Raises ValueError for an error out of range.
    """

    def __init__(self, error: float) -> None:
        if not LEAST_ERROR <= error <= 1:
            raise ValueError(f"gossip goes on to an error from {LEAST_ERROR:g} to 1")
        self.error = error

    def total(self, session: Session, vector: NDArray[np.float64], members: Sequence[int], round: int) -> NDArray[np.float64]:  # noqa: A002
        """See :meth:`Aggregation.total`."""
        teller, count = coordinators(session, members, round)[0], len(members)
        estimate = None
        if session.index in members:
            seed = hashlib.sha256(_ROUND + hashlib.sha256(session.context).digest() + round.to_bytes(8, "little") + session.beacon)
            estimate = mean(session, vector, members, seed.digest(), self.error)
            if estimate.lost:
                raise ChannelError(estimate.lost[0], "was lost while the members gossiped")
        else:
            session.mark(STEP)
        session.mark(f"{STEP}/settle")
        if session.index == teller:
            assert estimate is not None  # the teller is a member
            told = np.clip(estimate.mean, -1.0, 1.0)
            for peer in sorted(session.channels):
                send_array(session, peer, told)
            return told * count
        session.patience(teller)
        told = receive_array(session, teller, vector.shape, STEP, np.float64)
        if not (np.abs(told) <= 1).all():
            raise ProtocolViolation(teller, STEP, "told a mean that is not finite or not within [-1, 1]")
        if estimate is not None and not (np.abs(told - estimate.mean) <= 2 * self.error).all():
            raise ProtocolViolation(teller, STEP, f"told a mean that is not within {2 * self.error:g} of the one that it gossiped")
        return told * count

    def security(self, parties: int) -> SecurityStatement:
        """The sum, and no privacy."""
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=0,
            parties=parties,
            computational_bits=0,
            statistical_bits=0,
            trusted=(),
            learns={
                "partner in a step": "a weighted mean of vectors, in a member's first step its vector itself",
                "party": "the sum of the members' vectors of every round",
            },
            references=("Kempe, Dobra and Gehrke, Gossip-Based Computation of Aggregate Information, FOCS 2003",),
        )


def _shuffled(members: Sequence[int], stream: Stream) -> list[int]:
    return [members[place] for place in np.argsort(stream.elements((len(members),)), kind="stable")]


def _rounding(step: int) -> float:
    """What so many additions and a division cost, entry by entry: halving is exact."""
    return (step + 2) * 2.0**-52


def _check(peer: int, part: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
    counts = weights.sum()
    if not ((weights >= 0).all() and 0 < counts <= _SLACK / 2 and (np.abs(part) <= counts * _SLACK).all()):
        raise ProtocolViolation(peer, STEP, "sent what is no half of a weighted mean of vectors within [-1, 1]")
