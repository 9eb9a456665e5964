"""Averages that a few arbitrary vectors cannot move far, for parties that do not trust one another's updates.

- the median of each entry, and the mean of each entry without the f smallest and f greatest (Yin, Chen, Ramchandran and Bartlett,
  ICML 2018): for fewer than half of the vectors arbitrary;
- Krum, the vector with the closest neighbours, and multi-Krum, the mean of the m with the closest (Blanchard, El Mhamdi, Guerraoui
  and Stainer, NIPS 2017): for 2 f + 2 < n.

What they cost: a rule compares vectors, so whoever applies it sees each of them, and updates say much about the data that they come
from. They cannot be had together with the secure sum, which shows nobody any vector; a round has the one or the other. They also
count each party once, whatever its number of rows, and treat honest parties whose data are unlike the others' as outliers.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.echo import Echo
from tallystick_node.engines.fl.aggregation import quantisation
from tallystick_node.engines.fl.aggregation.base import check_summand
from tallystick_node.engines.fl.aggregation.keys import Numbered
from tallystick_node.engines.fl.aggregation.quantisation import OutOfRange, Words
from tallystick_node.engines.security import SecurityStatement

STEP = "robust mean"
_PIECE = 1 << 15  # entries worked on at a time
_DIGEST = 32

Vectors = NDArray[np.float64]  # of shape (n, k): one vector a row
Rule = Callable[[Vectors], NDArray[np.float64]]


def median(vectors: Vectors) -> NDArray[np.float64]:
    """The median of each entry. Raises ValueError for numbers that are not finite."""
    return trimmed_mean(vectors, (len(vectors) - 1) // 2)


def trimmed_mean(vectors: Vectors, arbitrary: int) -> NDArray[np.float64]:
    """The mean of each entry without the ``arbitrary`` smallest and the ``arbitrary`` greatest. Raises ValueError unless they are
    fewer than half of the vectors and all numbers are finite."""
    _check(vectors)
    if not 0 <= 2 * arbitrary < len(vectors):
        raise ValueError("the vectors that may be arbitrary are fewer than half")
    out = np.empty(vectors.shape[1])
    for start in range(0, len(out), _PIECE):
        piece = np.sort(vectors[:, start : start + _PIECE], axis=0)
        out[start : start + _PIECE] = piece[arbitrary : len(vectors) - arbitrary].mean(axis=0)
    return out


def krum(vectors: Vectors, arbitrary: int, chosen: int = 1) -> NDArray[np.float64]:
    """The mean of the ``chosen`` vectors whose n - f - 2 nearest others are the closest, by the sum of squared distances; of equal
    ones the first. Raises ValueError unless 2 f + 2 < n, 1 <= chosen <= n - f - 2 and all numbers are finite."""
    _check(vectors)
    near = len(vectors) - arbitrary - 2
    if arbitrary < 0 or 2 * arbitrary + 2 >= len(vectors):
        raise ValueError("twice the vectors that may be arbitrary, and two more, are fewer than all")
    if not 1 <= chosen <= near:
        raise ValueError(f"of the vectors 1 to {near} are averaged")
    distances = np.zeros((len(vectors), len(vectors)))
    for one in range(len(vectors)):
        for two in range(one):
            gap = vectors[one] - vectors[two]
            distances[one, two] = distances[two, one] = gap @ gap
    scores = np.sort(distances, axis=1)[:, 1 : near + 1].sum(axis=1)  # without the distance to itself
    return np.asarray(vectors[np.sort(np.argsort(scores, kind="stable")[:chosen])].mean(axis=0))


class RobustSum(Numbered):
    """A robust mean times the number of members, in the place of their sum: members of equal weight only.

    There is nobody to trust for the result: every member shows its vector to every party, each party applies the rule itself, and
    then all compare what they were shown (:mod:`...echo`): a member that shows two parties two vectors is named, and so is a party
    that reports what a member never signed. ``arbitrary``: how many members the rule is made to stand; a round has at least
    ``least`` members. The rule is for all entries but ``added``, those before the last one, which are summed: of those a member can
    say what it likes within the bound of an entry. Vectors are on the grid of integers of a plain sum.

    Adversary. *Privacy*: none, every party sees every vector. *Correctness*: any number of parties may deviate; they are named, or
    give vectors of their own choice, of which the rule stands ``arbitrary``. A party that is lost ends the round.
    """

    step = STEP

    def __init__(self, rule: Rule, arbitrary: int, least: int, added: int = 0) -> None:
        super().__init__()
        self.rule, self.arbitrary, self.least, self.added = rule, arbitrary, least, added

    @classmethod
    def of(cls, name: str, arbitrary: int, added: int = 0) -> RobustSum:
        """By a rule's name: ``median``, ``trimmed-mean``, ``krum`` or ``multi-krum`` (of n - f - 2). Raises ValueError for
        another."""
        rules: dict[str, tuple[Rule, int]] = {
            "median": (median, 2 * arbitrary + 1),
            "trimmed-mean": (lambda vectors: trimmed_mean(vectors, arbitrary), 2 * arbitrary + 1),
            "krum": (lambda vectors: krum(vectors, arbitrary), 2 * arbitrary + 3),
            "multi-krum": (lambda vectors: krum(vectors, arbitrary, len(vectors) - arbitrary - 2), 2 * arbitrary + 3),
        }
        if name not in rules or arbitrary < 0:
            raise ValueError(f"a robust mean is one of {', '.join(rules)}, for a number of arbitrary vectors that is not negative")
        return cls(rules[name][0], arbitrary, rules[name][1], added)

    def total(self, session: Session, vector: NDArray[np.float64], members: Sequence[int], round: int) -> NDArray[np.float64]:  # noqa: A002
        """See :meth:`Aggregation.total`. Raises ValueError for fewer than ``least`` members, or a vector of ``added`` entries or
        fewer."""
        if len(members) < self.least:
            raise ValueError(
                f"this robust mean stands {self.arbitrary} arbitrary vectors among {self.least} or more, not {len(members)}"
            )
        if self.added and len(vector) <= self.added:
            raise ValueError(f"{self.added} entries before the last are added up, and a vector has {len(vector)}")
        if session.index in members:
            check_summand(vector)
        self.begin(session, round)
        mine = quantisation.encode(vector, len(members)) if session.index in members else None
        return self._combined(_shown(session, members, round, len(vector), mine), members)

    def security(self, parties: int) -> SecurityStatement:
        """No privacy of vectors; correct but for the vectors of those who deviate."""
        return SecurityStatement(
            adversary="malicious-with-abort",
            corruptions=0,
            parties=parties,
            computational_bits=128,
            statistical_bits=0,
            trusted=(),
            learns={
                "party": "the vector of every member of every round",
                "member that deviates": f"nothing more; a robust mean stands {self.arbitrary} arbitrary vectors, and a member that "
                "shows two parties two of them is named",
            },
            references=(
                "Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018",
                "Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NIPS 2017",
                "Goldwasser and Lindell, Secure multi-party computation without agreement, Journal of Cryptology 2005",
            ),
        )

    def _combined(self, words: Sequence[Words], members: Sequence[int]) -> NDArray[np.float64]:
        count, length = len(members), len(words[0])
        added, ruled = slice(length - 1 - self.added, length - 1), np.ones(length, np.bool_)
        ruled[added] = False
        rows, total = np.empty((count, np.count_nonzero(ruled))), np.zeros(self.added, np.uint32)
        for row, member, each in zip(rows, members, words, strict=True):
            try:
                row[:] = quantisation.decode(each[ruled], count, 1)
                quantisation.add(total, each[added], count)
            except OutOfRange as error:
                raise ProtocolViolation(member, STEP, f"sent what is no summand: {error}") from None
        out = np.empty(length)
        out[ruled] = np.clip(self.rule(rows), -1, 1) * count
        out[added] = quantisation.decode(total, count, count)
        return out


def _shown(session: Session, members: Sequence[int], round_: int, length: int, mine: Words | None) -> list[Words]:
    """All members' words, the same to all parties: they speak one after another, so that nobody waits in a circle while long
    vectors go round. Raises ProtocolViolation naming a member that signs another vector than it sends, or two vectors."""
    session.mark(f"{STEP}/vectors")
    echo = Echo(session, members, STEP, struct.pack(f"<3Q{len(members)}I", round_, length, len(members), *members))
    found = []
    for member in members:
        if member == session.index:
            assert mine is not None  # a member has words
            echo.tell(hashlib.sha256(mine.data).digest())
            for peer in sorted(session.channels):
                send_array(session, peer, mine)
            found.append(mine)
            continue
        session.patience(member)  # it trains first
        digest = echo.hear(member, _DIGEST)
        words = receive_array(session, member, (length,), STEP, np.uint32)
        if hashlib.sha256(words.data).digest() != digest:
            raise ProtocolViolation(member, STEP, "sent another vector than it signed")
        found.append(words)
    session.mark(f"{STEP}/compare")
    echo.compare(patient=True)
    return found


def _check(vectors: Vectors) -> None:
    if vectors.ndim != 2 or not len(vectors) or not np.isfinite(vectors).all():
        raise ValueError("a robust mean is of one or more vectors of finite numbers")
