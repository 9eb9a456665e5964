"""One party's own work that needs no peer, cut into pieces: done by an executor that the session has.

A piece names one of ``WORKS`` and brings arrays; its answer is one array. Nothing else can be asked for, so that whoever does the
work runs no code that the asking process sends. Pieces hold the party's own inputs and secrets: an executor belongs to the party.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = tuple[NDArray[Any], ...]

#: The module of each work, whose function ``perform`` takes the arrays of a piece.
WORKS = {"psi/points": "tallystick_node.engines.psi.points"}


class LocalWorkFailed(Exception):  # noqa: N818 - a verdict
    """An executor did not do a piece, or not as it is: the message says why."""


class Executor(Protocol):
    """Who does the work."""

    def map(self, work: str, pieces: Iterable[Arrays]) -> Iterator[NDArray[Any]]:
        """The answers to the pieces, in their order; pieces are taken as there is room for them. Raises what the work raises, and
        LocalWorkFailed. What an answer holds is for the caller to check."""


class Here:
    """The process itself, one piece after another."""

    def map(self, work: str, pieces: Iterable[Arrays]) -> Iterator[NDArray[Any]]:
        """See :class:`Executor`."""
        for piece in pieces:
            yield perform(work, piece)


HERE = Here()


def perform(work: str, piece: Arrays) -> NDArray[Any]:
    """Do one piece. Raises ValueError for a work that is none of ``WORKS``."""
    if work not in WORKS:
        raise ValueError("no such work")
    answer: NDArray[Any] = np.ascontiguousarray(importlib.import_module(WORKS[work]).perform(*piece))
    return answer
