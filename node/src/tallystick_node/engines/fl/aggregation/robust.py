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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session
from tallystick_node.engines.fl.aggregation import quantisation
from tallystick_node.engines.fl.aggregation.plain import PlainSum
from tallystick_node.engines.fl.aggregation.quantisation import OutOfRange, Words
from tallystick_node.engines.security import SecurityStatement

_PIECE = 1 << 15  # entries worked on at a time

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


@dataclass(frozen=True)
class RobustSum(PlainSum):
    """A robust mean times the number of members, in the place of their sum: members of equal weight only.

    The coordinator of a plain sum applies the rule in the place of adding: it sees every update and is trusted for the result.
    ``arbitrary``: how many members the rule is made to stand; a round has at least ``least`` members.
    """

    rule: Rule
    arbitrary: int
    least: int
    step = "robust mean"
    outcome = "the robust mean"

    @classmethod
    def of(cls, name: str, arbitrary: int) -> RobustSum:
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
        return cls(rules[name][0], arbitrary, rules[name][1])

    def total(self, session: Session, vector: NDArray[np.float64], members: Sequence[int], round: int) -> NDArray[np.float64]:  # noqa: A002
        """See :meth:`Aggregation.total`. Raises ValueError for fewer than ``least`` members."""
        if len(members) < self.least:
            raise ValueError(
                f"this robust mean stands {self.arbitrary} arbitrary vectors among {self.least} or more, not {len(members)}"
            )
        return super().total(session, vector, members, round)

    def combine(self, vectors: Iterator[tuple[int, Words]], length: int, count: int) -> Words:
        """See :meth:`PlainSum.combine`: the mean by the rule, times ``count``."""
        rows = np.empty((count, length))
        for row, (member, words) in zip(rows, vectors, strict=True):
            try:
                row[:] = quantisation.decode(words, count, 1)
            except OutOfRange as error:
                raise ProtocolViolation(member, self.step, f"sent what is no summand: {error}") from None
        return quantisation.encode(np.clip(self.rule(rows), -1, 1), count) * np.uint32(count)

    def security(self, parties: int) -> SecurityStatement:
        """No privacy against the coordinator of a round, which is also trusted for the result."""
        return replace(
            super().security(parties),
            references=(
                "Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018",
                "Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NIPS 2017",
            ),
        )


def _check(vectors: Vectors) -> None:
    if vectors.ndim != 2 or not len(vectors) or not np.isfinite(vectors).all():
        raise ValueError("a robust mean is of one or more vectors of finite numbers")
