"""A rehearsal in the clear of what a protocol would do: no message passes, but each primitive is paid for at the protocol's price.

It computes on zeros in one place. Where a protocol's course depends on chance and not on data, as sorting does by its secret
permutation, the rehearsal draws its own: what it foretells is then one such course, and not exactly the one to come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc.clear import Clear
from tallystick_node.engines.mpc.plan.rehearse import OPENING, price
from tallystick_node.engines.mpc.plan.roles import Offer
from tallystick_node.engines.mpc.protocol import Binary, Shares, Words
from tallystick_node.engines.mpc.ring import Ring

Result = TypeVar("Result")


class Predictor(Clear):
    """Stands for the protocol of ``offer`` among ``parties``; ``bytes_sent`` and ``rounds`` are each party's so far."""

    name: ClassVar[str] = "predictor"

    def __init__(self, offer: Offer, parties: int) -> None:
        super().__init__(local_sessions(1)[0])
        self._offer = offer
        self._count = parties
        self.bytes_sent = [0] * parties
        self.rounds = [0] * parties
        self.multiplications = 0  # in matrix products, at one party: their cost is not in messages
        self._listened = [True] * parties
        self.pay(OPENING, 1)
        if hasattr(offer.kind, "sigmoid_fixed"):
            self.sigmoid_fixed = self._sigmoid  # functions use it where a protocol has it

    def pay(self, primitive: str, count: int, width: int = 64, seats: Sequence[int] | None = None) -> None:
        """Add the price of a primitive on ``count`` elements."""
        if not count:
            return
        due = price(self._offer, self._count, primitive, width, None if seats is None else tuple(seats))
        for party, sent in enumerate(due.bytes_sent(count)):
            self.bytes_sent[party] += sent
            for what in due.pattern[party]:
                self.rounds[party] += what == "s" and self._listened[party]
                self._listened[party] = what == "r"

    def hear_outside(self) -> None:
        """Every party receives from one that does not compute."""
        self._listened = [True] * self._count

    def tell_outside(self, size: int) -> None:
        """Every party sends ``size`` bytes to one that does not compute."""
        self.bytes_sent = [sent + size for sent in self.bytes_sent]
        self.rounds = [rounds + listened for rounds, listened in zip(self.rounds, self._listened, strict=True)]
        self._listened = [False] * self._count

    def averaged(self, work: Callable[[], Result], times: int) -> Result:
        """Do something several times, and pay for it once: the average."""
        sent, rounds, multiplications = list(self.bytes_sent), list(self.rounds), self.multiplications
        for _ in range(times):
            found = work()
        self.bytes_sent = [old + round((new - old) / times) for old, new in zip(sent, self.bytes_sent, strict=True)]
        self.rounds = [old + round((new - old) / times) for old, new in zip(rounds, self.rounds, strict=True)]
        self.multiplications = multiplications + (self.multiplications - multiplications) // times
        return found

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
        self.pay(primitive, shape[0] * shape[1])
        self.multiplications += shape[0] * shape[1] * left.shape[1]
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


def zeros(shape: tuple[int, ...], *, bits: bool) -> Any:
    """An input to rehearse on."""
    if bits:
        return Binary((np.zeros(shape, np.uint8),), 1)
    return Shares((np.zeros(shape, np.uint64),))
