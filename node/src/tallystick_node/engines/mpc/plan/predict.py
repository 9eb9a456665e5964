"""A rehearsal in the clear of what a protocol would do: no message passes, but each primitive is paid for at the protocol's price.

It computes on zeros in one place. Where a protocol's course depends on chance and not on data, as sorting does by its secret
permutation, the rehearsal draws its own: what it foretells is then one such course, and not exactly the one to come.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc.clear import Clear
from tallystick_node.engines.mpc.plan.rehearse import matrix_price, price
from tallystick_node.engines.mpc.plan.roles import Offer
from tallystick_node.engines.mpc.plan.stage import Stage, Want
from tallystick_node.engines.mpc.protocol import Binary, Shares, Words
from tallystick_node.engines.mpc.ring import Ring


class Ledger:
    """What each party sends, and in which order it sends (s) and receives (r); multiplications of matrix products besides."""

    def __init__(self, parties: int) -> None:
        self.bytes_sent = [0] * parties
        self.patterns = [""] * parties
        self.multiplications = 0  # at one party: their cost is not in messages
        self.wanted: Counter[Want] = Counter()  # elements of each primitive, under a protocol that makes randomness in advance

    def note(self, sent: Sequence[int], patterns: Sequence[str]) -> None:
        """Add bytes and an order of sending and receiving, of each party."""
        self.bytes_sent = [old + more for old, more in zip(self.bytes_sent, sent, strict=True)]
        self.patterns = [old + more for old, more in zip(self.patterns, patterns, strict=True)]

    def append(self, other: Ledger) -> None:
        """What comes next."""
        self.note(other.bytes_sent, other.patterns)
        self.multiplications += other.multiplications
        self.wanted += other.wanted

    @property
    def rounds(self) -> int:
        """How often a party sends after it has received, at the party that does so most."""
        return max(len(re.findall("(?:^|r)s", pattern)) for pattern in self.patterns)

    @classmethod
    def averaged(cls, samples: Sequence[Ledger]) -> Ledger:
        """The average of the bytes; the order of the sample whose rounds are in the middle."""
        middle = sorted(samples, key=lambda each: each.rounds)[len(samples) // 2]
        found = cls(len(middle.patterns))
        found.note(
            [round(sum(party) / len(samples)) for party in zip(*(each.bytes_sent for each in samples), strict=True)],
            middle.patterns,
        )
        found.multiplications, found.wanted = middle.multiplications, middle.wanted
        return found


class Predictor(Clear):
    """Stands for the protocol of ``offer`` among ``parties``, and keeps what it would cost in ``ledger``."""

    name: ClassVar[str] = "predictor"

    def __init__(self, offer: Offer, parties: int, stage: Stage | None = None) -> None:
        """``stage`` is that of the whole rehearsal, where ``offer`` has batches."""
        super().__init__(local_sessions(1)[0])
        self._offer = offer
        self._stage = stage
        self._count = parties
        self._others = offer.members(parties) - parties  # a dealer, which parties outside have nothing to do with
        self.ledger = Ledger(offer.members(parties))
        if hasattr(offer.kind, "sigmoid_fixed"):
            self.sigmoid_fixed = self._sigmoid  # functions use it where a protocol has it

    def pay(self, primitive: str, count: int, width: int = 64, seats: Sequence[int] | None = None) -> None:
        """Add the price of a primitive on ``count`` elements."""
        if count:
            places = None if seats is None else tuple(seats)
            if self._stage is None:
                due = price(self._offer, self._count, primitive, width, places)
            else:
                due = self._stage.price(primitive, width, places, count)
                self.ledger.wanted[primitive, width, places] += count
            self.ledger.note(due.bytes_sent(count), due.pattern)

    def hear_outside(self) -> None:
        """Every party receives from one that does not compute."""
        self.ledger.note([0] * (self._count + self._others), ["r"] * self._count + [""] * self._others)

    def tell_outside(self, size: int) -> None:
        """Every party sends ``size`` bytes to one that does not compute."""
        self.ledger.note([size] * self._count + [0] * self._others, ["s"] * self._count + [""] * self._others)

    # -- in and out

    def reveal(self, secret: Shares, to: Sequence[int] | None = None) -> Ring | None:
        """The values."""
        self.pay("reveal", secret.size, seats=to)
        return super().reveal(secret)

    def reveal_binary(self, secret: Binary, to: Sequence[int] | None = None) -> Words | None:
        """The words."""
        self.pay("reveal_binary", secret.size, secret.width, to)
        return super().reveal_binary(secret)

    def disclose(self, secret: Shares) -> tuple[Ring, ...]:
        """The values."""
        self.pay("disclose", secret.size)
        return super().disclose(secret)

    # -- arithmetic

    def multiply(self, left: Shares, right: Shares) -> Shares:
        """Paid."""
        self.pay("multiply", left.size)
        return super().multiply(left, right)

    def matmul(self, left: Shares, right: Shares) -> Shares:
        """Paid."""
        return self._matmul("matmul", left, right)

    def truncate(self, secret: Shares, bits: int) -> Shares:
        """Paid; without the check of the range, since zeros may lead anywhere."""
        self.pay("truncate", secret.size)
        return self._shifted(secret, bits)

    def multiply_fixed(self, left: Shares, right: Shares, fraction: int) -> Shares:
        """Paid."""
        self.pay("multiply_fixed", left.size)
        return self._shifted(super().multiply(left, right), fraction)

    def matmul_fixed(self, left: Shares, right: Shares, fraction: int) -> Shares:
        """Paid."""
        return self._shifted(self._matmul("matmul_fixed", left, right), fraction)

    def _matmul(self, primitive: str, left: Shares, right: Shares) -> Shares:
        shape = (left.shape[0], right.shape[1])
        if self._stage is not None and left.size and right.size:
            self.ledger.note(*self._stage.matrix(primitive, left.shape[0], left.shape[1], shape[1]))
        elif self._offer.deal is None or not left.size or not right.size:
            self.pay(primitive, shape[0] * shape[1])
        else:
            due = matrix_price(self._offer, self._count, primitive)
            self.ledger.note(due.bytes_sent(left.shape[0], left.shape[1], shape[1]), due.pattern)
        self.ledger.multiplications += shape[0] * shape[1] * left.shape[1]
        return Shares((np.zeros(shape, np.uint64),))

    @staticmethod
    def _shifted(secret: Shares, bits: int) -> Shares:
        return secret.map(lambda part: (part.view(np.int64) >> np.int64(bits)).view(np.uint64))

    def _sigmoid(self, secret: Shares, fraction: int) -> Shares:
        self.pay("sigmoid_fixed", secret.size)
        return secret

    # -- Boolean and conversions

    def and_(self, left: Binary, right: Binary) -> Binary:
        """Paid."""
        self.pay("and_", left.size, left.width)
        return super().and_(left, right)

    def negative(self, secret: Shares) -> Binary:
        """Paid."""
        self.pay("negative", secret.size)
        return super().negative(secret)

    def decompose(self, secret: Shares) -> Binary:
        """Paid."""
        self.pay("decompose", secret.size)
        return super().decompose(secret)

    def to_arithmetic(self, bits: Binary) -> Shares:
        """Paid."""
        self.pay("to_arithmetic", bits.size, 1)
        return Shares((bits.parts[0].astype(np.uint64),))

    def compose(self, words: Binary) -> Shares:
        """Paid."""
        self.pay("compose", words.size, words.width)
        return Shares((words.parts[0].astype(np.uint64),))

    # -- permutations and randomness

    def shuffle(self, rows: Sequence[Shares]) -> list[Shares]:
        """Paid."""
        self.pay("shuffle", sum(each.size for each in rows))
        return super().shuffle(rows)

    def random(self, shape: tuple[int, ...]) -> Shares:
        """Paid."""
        self.pay("random", int(np.prod(shape, dtype=np.int64)))
        return super().random(shape)


def zeros(shape: tuple[int, ...], *, bits: bool = False) -> Any:
    """A secret to rehearse on, which takes no memory."""
    if bits:
        return Binary((np.broadcast_to(np.zeros((), np.uint8), shape),), 1)
    return Shares((np.broadcast_to(np.zeros((), np.uint64), shape),))
