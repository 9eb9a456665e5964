"""What every party said in a task's verified rounds, as each party keeps it of all: so that the others speak for one that is gone.

In a round each member signs the root of its masked vector, and it, or another in its stead, signs the projections of the vector at
points that follow from all roots; the sum is accepted when the projections add up to the aggregate's (:mod:`.observer`). All that
passes through the coordinator to everybody. So a party's vector, for the proof of the whole task, is here not what it sent in the
rounds but what it vouched for: for each round twelve entries, the eight words of its root, little-endian, and four projections;
zeros where it gave nothing to the sum. The aggregate's holds the sums of the words, and the projections of the aggregate that this
party used. Every party computes the roots and projections of all.

What that rests on: each round's own check, which every party made, with an error of at most (9 d / 2^64)^4 for a sum of d entries.
A false sum whose projections do not add up in some round is not covered up by the task's proof, but with the same probability for
d = 12 times the rounds. Whoever opens what it sent in a round is held to the root.

A later attempt of the task may repeat rounds, from the same model: with other survivors the difference of the two sums would be
what one owner said. So a party stays bound, over all attempts, to the survivors that it confirms (:meth:`Record.bind`). As in one
round (:mod:`.turn`), of two sums only one has enough confirmations, whoever of the others forgets or deviates.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from tallystick.commitments import projection
from tallystick.commitments.projection import ENTRY_BYTES, MODULUS, POINTS, Projection

from tallystick_node.engines.fl.aggregation.base import OtherSurvivors
from tallystick_node.engines.folders import keep_names

Said = tuple[bytes, Projection]  # a root of 32 bytes, and the projections of the vector
_WORDS = 8
_VECTOR = ENTRY_BYTES * (_WORDS + POINTS)  # bytes of one party's part of a round
_READ = 64  # rounds read at a time


class Record:
    """The rounds of one task at one party, in a file of its own. ``parties``: of the session. A record that is opened again goes on
    where it was. Nothing in it is secret: every party holds the same."""

    def __init__(self, folder: Path, parties: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path, self._bound, self._parties = folder / "said", folder / "bound", parties
        self._size = _VECTOR * (parties + 1)  # of one round: the parties' parts, and the aggregate's
        for path in (self._path, self._bound):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        keep_names(folder)
        self.rewind(self.entries)

    @property
    def entries(self) -> int:
        """How many rounds there are."""
        return self._path.stat().st_size // self._size

    def rewind(self, entries: int) -> None:
        """Forget what comes after so many rounds. Raises ValueError when there are fewer."""
        if entries > self.entries:
            raise ValueError(f"a record of {self.entries} rounds cannot go back to {entries}")
        with self._path.open("r+b") as file:
            file.truncate(self._size * entries)
            os.fsync(file.fileno())

    def bind(self, survivors: Collection[int]) -> None:
        """Before this party confirms who survives the next round: what is rewound does not change it, nor a power failure. Raises
        OtherSurvivors when it confirmed others for this round."""
        now = bytes(party in survivors for party in range(self._parties))
        with self._bound.open("r+b") as file:
            file.seek(self._parties * self.entries)
            before = file.read(self._parties)
            if len(before) < self._parties:
                file.seek(self._parties * self.entries)
                file.write(now)
                file.flush()
                os.fsync(file.fileno())
            elif before != now:
                raise OtherSurvivors(f"round {self.entries + 1} was summed in an earlier attempt with other survivors")

    def append(self, said: Mapping[int, Said], aggregate: Projection) -> None:
        """One round: what each member vouched for whose vector went into the sum, and the projections of the sum that this party
        used. It lasts through a power failure."""
        parts, words = [], [0] * _WORDS
        for party in range(self._parties):
            root, projections = said.get(party, (bytes(4 * _WORDS), projection.ZERO))
            own = struct.unpack(f"<{_WORDS}I", root)
            words = [(a + b) % MODULUS for a, b in zip(words, own, strict=True)]
            parts.append(projection.encode([*own, *projections]))
        parts.append(projection.encode([*words, *aggregate]))
        with self._path.open("ab") as file:
            file.write(b"".join(parts))
            file.flush()
            os.fsync(file.fileno())

    def roots(self) -> tuple[list[bytes], bytes]:
        """The roots of all parties' vectors, and of the aggregate's."""
        *parties, aggregate = (projection.root(self._vector(place)) for place in range(self._parties + 1))
        return parties, aggregate

    def project(self, at: Projection) -> tuple[list[Projection], Projection]:
        """The projections of all parties' vectors, and of the aggregate's."""
        found = [projection.project_content(self._vector(place), at)[1] for place in range(self._parties + 1)]
        return found[:-1], found[-1]

    def share_sums(self, path: Path) -> None:
        """Write the aggregate's vector, whose root is proved, into a file for a receiver."""
        with path.open("wb") as file:
            file.writelines(self._vector(self._parties))

    def _vector(self, place: int) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while data := file.read(self._size * _READ):
                starts = range(place * _VECTOR, len(data), self._size)
                yield b"".join(data[start : start + _VECTOR] for start in starts)
