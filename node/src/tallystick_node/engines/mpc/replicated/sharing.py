"""Replicated sharing among three parties, whatever they promise one another: what takes no message, and who is outside.

A secret x is x_0 + x_1 + x_2 mod 2^64; party i holds x_i and x_{i+1}."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares, Words, word_type
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

PARTIES = 3

Pair = tuple[Ring, Ring]


class Sharing(Protocol):
    """One party's side. What it computes, and what is checked, is its subclasses'."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._seat = Seat(session)

    def public(self, values: Ring) -> Shares:
        """Public values as shares: part 0 holds them."""
        nothing = np.zeros_like(values)
        return Shares((values if self.index == 0 else nothing, values if self.index == 2 else nothing))

    def public_binary(self, values: Words, width: int) -> Binary:
        """Public words as shares: part 0 holds them."""
        words = values.astype(word_type(width))
        nothing = np.zeros_like(words)
        return Binary((words if self.index == 0 else nothing, words if self.index == 2 else nothing), width)

    # -- parties that only bring secrets or only take results

    @classmethod
    def split(cls, values: Ring, parties: int) -> list[tuple[Ring, ...]]:
        """For party i the parts i and i + 1: two uniform parts from a seed of the operating system, and what is missing."""
        cls.security(parties)
        stream = Stream(secrets.token_bytes(SEED))
        parts = [stream.elements(values.shape), stream.elements(values.shape)]
        parts.append(values - parts[0] - parts[1])
        return [(parts[party], parts[(party + 1) % 3]) for party in range(PARTIES)]

    @classmethod
    def combine(cls, parts: Sequence[tuple[Ring, ...]]) -> Ring:
        """The values from what the three parties disclosed, in order. Raises ProtocolViolation where copies of a part differ: it
        names the second of the two parties that hold it."""
        if len(parts) != PARTIES:
            raise ValueError("three parties disclose a secret")
        shape = parts[0][0].shape if parts[0] else ()
        for party, given in enumerate(parts):
            if len(given) != 2 or any(part.shape != shape or part.dtype != np.uint64 for part in given):
                raise ProtocolViolation(
                    party, "combine", "two arrays of 64-bit words were due, of the shape that party 0 disclosed"
                )
        for party in range(PARTIES):
            if not np.array_equal(parts[party - 1][1], parts[party][0]):
                raise ProtocolViolation(party, "combine", f"it and party {(party - 1) % 3} disclosed different copies of a part")
        return parts[0][0] + parts[1][0] + parts[2][0]

    # -- randomness

    def random(self, shape: tuple[int, ...]) -> Shares:
        """Uniform ring elements that no party knows, without a message."""
        return Shares((self._seat.prss.own.elements(shape), self._seat.prss.after.elements(shape)))


def pair(secret: Shares) -> Pair:
    """The two parts that a party holds."""
    first, second = secret.parts
    return first, second


def require_shape(left: Shares, right: Shares) -> None:
    """Raises ValueError unless both have one shape."""
    if left.shape != right.shape:
        raise ValueError(f"the shapes {left.shape} and {right.shape} differ")


def require_matrices(left: Shares, right: Shares) -> None:
    """Raises ValueError unless the matrices have a product."""
    if len(left.shape) != 2 or len(right.shape) != 2 or left.shape[1] != right.shape[0]:
        raise ValueError(f"matrices of shapes {left.shape} and {right.shape} have no product")
