"""The ideal functionality: one party that holds every secret in the clear, with the methods of a secret-sharing protocol.

**It protects nothing.** It is for dry runs in a notebook, for planning, and for tests: what a function over
:class:`~tallystick_node.engines.mpc.protocol.Protocol` computes here is what every real protocol must compute, and a secret that
leaves the range a real protocol can truncate is caught here instead of turning into a wrong number there.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares, Words, word_type
from tallystick_node.engines.mpc.ring import MAGNITUDE, OutOfRange, Ring
from tallystick_node.engines.security import SecurityStatement

Rounding = Callable[[tuple[int, ...]], NDArray[np.int64]]

_TOP = np.uint64(63)


class Clear(Protocol):
    """All secrets in one place. A share is the secret itself.

    ``rounding`` gives, for a shape, the error of a truncation in units of the last place, each -1, 0 or 1: what real protocols are
    allowed to be off by, for tests against the worst case. Without it truncation rounds down exactly.
    """

    name: ClassVar[str] = "clear"

    def __init__(self, session: Session, rounding: Rounding | None = None) -> None:
        if session.parties != 1:
            raise ValueError("the clear protocol has one party")
        self.session = session
        self._rounding = rounding
        self._draw = np.random.default_rng(secrets.randbits(128))

    @classmethod
    def security(cls, parties: int) -> SecurityStatement:
        """That it promises nothing."""
        if parties != 1:
            raise ValueError("the clear protocol has one party")
        return SecurityStatement(
            adversary="none",
            corruptions=0,
            parties=1,
            computational_bits=0,
            statistical_bits=0,
            trusted=("the one party, with every secret",),
            learns={"party": "every secret and every intermediate value, in the clear"},
        )

    def share(self, owner: int, shape: tuple[int, ...], values: Ring | None = None) -> Shares:
        """The values themselves."""
        if owner != 0 or values is None or values.shape != shape:
            raise ValueError("the owner gives values of the announced shape")
        return Shares((values.copy(),))

    def public(self, values: Ring) -> Shares:
        """The values themselves."""
        return Shares((values,))

    def public_binary(self, values: Words, width: int) -> Binary:
        """The words themselves."""
        return Binary((values.astype(word_type(width)),), width)

    def reveal(self, secret: Shares, to: Sequence[int] | None = None) -> Ring | None:
        """The values, unless the party is not of ``to``."""
        return secret.parts[0].copy() if to is None or 0 in to else None

    def reveal_binary(self, secret: Binary, to: Sequence[int] | None = None) -> Words | None:
        """The words, unless the party is not of ``to``."""
        return secret.parts[0].copy() if to is None or 0 in to else None

    @classmethod
    def split(cls, values: Ring, parties: int) -> list[tuple[Ring, ...]]:
        """The values themselves, for the one party."""
        if parties != 1:
            raise ValueError("the clear protocol has one party")
        return [(values.copy(),)]

    def accept(self, parts: tuple[Ring, ...]) -> Shares:
        """What :meth:`split` gave."""
        return Shares(parts)

    def disclose(self, secret: Shares) -> tuple[Ring, ...]:
        """The values themselves."""
        return secret.parts

    @classmethod
    def combine(cls, parts: Sequence[tuple[Ring, ...]]) -> Ring:
        """What :meth:`disclose` gave."""
        ((values,),) = parts
        return values

    def multiply(self, left: Shares, right: Shares) -> Shares:
        """Element by element, in the ring."""
        if left.shape != right.shape:
            raise ValueError(f"the shapes {left.shape} and {right.shape} differ")
        return Shares((np.multiply(left.parts[0], right.parts[0]),))

    def matmul(self, left: Shares, right: Shares) -> Shares:
        """The matrix product, in the ring."""
        if len(left.shape) != 2 or len(right.shape) != 2 or left.shape[1] != right.shape[0]:
            raise ValueError(f"matrices of shapes {left.shape} and {right.shape} have no product")
        return Shares((left.parts[0] @ right.parts[0],))

    def truncate(self, secret: Shares, bits: int) -> Shares:
        """Shifted right. Raises OutOfRange for a secret that a real protocol could not shift."""
        if not 1 <= bits <= 31:
            raise ValueError("secrets are shifted by 1 to 31 bits")
        whole = secret.parts[0].view(np.int64)
        if np.any((whole <= -MAGNITUDE) | (whole >= MAGNITUDE)):
            raise OutOfRange("a secret of 2^62 or more cannot be truncated")
        shifted = whole >> np.int64(bits)
        if self._rounding is not None:
            shifted = shifted + self._rounding(secret.shape)
        return Shares((np.asarray(shifted).view(np.uint64),))

    def and_(self, left: Binary, right: Binary) -> Binary:
        """Bit by bit."""
        if left.shape != right.shape or left.width != right.width:
            raise ValueError("both sides of AND have one shape and one width")
        return Binary((left.parts[0] & right.parts[0],), left.width)

    def negative(self, secret: Shares) -> Binary:
        """The top bit of each secret."""
        return Binary((np.asarray(secret.parts[0] >> _TOP).astype(np.uint8),), 1)

    def decompose(self, secret: Shares) -> Binary:
        """The 64 bits of each secret."""
        return Binary(secret.parts, 64)

    def to_arithmetic(self, bits: Binary) -> Shares:
        """Bits as 0 and 1."""
        return self.compose(bits)

    def compose(self, words: Binary) -> Shares:
        """Words as ring elements."""
        return Shares((words.parts[0].astype(np.uint64),))

    def shuffle(self, rows: Sequence[Shares]) -> list[Shares]:
        """One uniform permutation of all."""
        order = self._draw.permutation(rows[0].shape[0])
        return [each[order] for each in rows]

    def random(self, shape: tuple[int, ...]) -> Shares:
        """Uniform ring elements."""
        drawn: NDArray[Any] = self._draw.integers(0, 1 << 64, shape, np.uint64)
        return Shares((np.asarray(drawn),))
