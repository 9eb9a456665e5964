"""Correlated randomness: shares of random values and of their products, that parties use up one by one (Beaver, CRYPTO 1991)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from tallystick_node.engines.mpc.ring import Ring


@dataclass(frozen=True)
class Triple:
    """A party's parts of random a and b and of c, their product: element by element, or of matrices."""

    a: Ring
    b: Ring
    c: Ring


@dataclass(frozen=True)
class Fork:
    """A party's parts, by XOR, of random words a, b_0 and b_1 and of c_0 = a & b_0 and c_1 = a & b_1."""

    a: Ring
    b: tuple[Ring, Ring]
    c: tuple[Ring, Ring]


class Correlations(ABC):
    """A source of correlated randomness. All parties ask for the same in the same order; nothing is given twice."""

    @abstractmethod
    def triples(self, count: int) -> Triple:
        """``count`` products in Z_2^64."""

    @abstractmethod
    def matrices(self, rows: int, inner: int, columns: int) -> Triple:
        """One product of a (rows, inner) and an (inner, columns) matrix over Z_2^64."""

    @abstractmethod
    def forks(self, count: int) -> Fork:
        """``count`` words of 64 pairs of AND triples, of which both of a pair share one side."""
