"""What one party keeps of a task's verified rounds, so that one proof covers them all: what it sent, and what the sum was.

Points are drawn when all vectors are committed to, so the vectors must last until then: they lie in two files of a folder of the
party's own, four bytes for each entry that it sent and eight for each of the aggregate, one round after the other. What lies there
is masked: it says no more than the coordinator saw.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tallystick.commitments.projection import Projection, root

from tallystick_node.engines.fl.aggregation.projection import Projector
from tallystick_node.engines.fl.aggregation.quantisation import Words
from tallystick_node.engines.fl.aggregation.whole import Whole
from tallystick_node.engines.folders import keep_names

_PIECE = 1 << 18  # entries read at a time


class Journal:
    """The rounds of one task at one party. A journal that is opened again goes on where it was."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sent, self._sums = folder / "sent", folder / "sums"
        for path in (self._sent, self._sums):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        keep_names(folder)
        self.rewind(min(self._sent.stat().st_size // 4, self._sums.stat().st_size // 8))

    @property
    def entries(self) -> int:
        """How many entries all rounds have together."""
        return self._sums.stat().st_size // 8

    def rewind(self, entries: int) -> None:
        """Forget what comes after so many entries: rounds that a party repeats after a fault. Raises ValueError when there are
        fewer: what is missing would be zeros, and the proof one of other sums than were used."""
        if entries > self.entries:
            raise ValueError(f"a journal of {self.entries} entries cannot go back to {entries}")
        for path, size in ((self._sums, 8), (self._sent, 4)):
            with path.open("r+b") as file:
                file.truncate(size * entries)
                os.fsync(file.fileno())

    def append(self, sent: Words | None, whole: Whole) -> None:
        """One round: the masked vector of this party that went into the sum, if one did, and the sum. It lasts: a power failure
        after this takes nothing of it."""
        if sent is not None and len(sent) != len(whole):
            raise ValueError("what a party sent in a round is as long as the sum")
        mine = np.zeros(len(whole), np.uint32) if sent is None else sent
        for path, words, kind in ((self._sent, mine, np.uint32), (self._sums, whole, np.uint64)):
            with path.open("ab") as file:
                file.write(np.ascontiguousarray(words, kind).data)
                file.flush()
                os.fsync(file.fileno())

    def roots(self) -> tuple[bytes, bytes]:
        """The roots of all that this party sent and of all sums: its commitment, and the aggregate's."""
        sent = (piece.astype("<u8").tobytes() for piece in self._pieces(self._sent, np.uint32))
        return root(sent), root(piece.tobytes() for piece in self._pieces(self._sums, np.uint64))

    def project(self, at: Projection) -> tuple[Projection, Projection]:
        """The projections of all that this party sent and of all sums."""
        projector = Projector(at)
        return projector.project(self._pieces(self._sent, np.uint32)), projector.project(self._pieces(self._sums, np.uint64))

    def words(self) -> tuple[list[int], list[int]]:
        """All that this party sent and all sums, entry by entry: for a proof that commits to each of them."""
        sent, sums = self._pieces(self._sent, np.uint32), self._pieces(self._sums, np.uint64)
        return [word for piece in sent for word in piece.tolist()], [word for piece in sums for word in piece.tolist()]

    def share_sums(self, path: Path) -> None:
        """Give the file of all sums, whose root is the aggregate's, to a receiver, without a copy: under a second name. The journal
        keeps it, for an attempt after one that failed with all rounds done; what is written to either afterwards is in both."""
        path.unlink(missing_ok=True)
        path.hardlink_to(self._sums)

    @staticmethod
    def _pieces(path: Path, kind: type[np.generic]) -> Iterator[NDArray[Any]]:
        with path.open("rb") as file:
            while data := file.read(_PIECE * np.dtype(kind).itemsize):
                yield np.frombuffer(data, kind)
