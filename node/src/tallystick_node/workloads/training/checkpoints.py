"""Where a party of a training stands, kept from one attempt of a task to the next, and how the parties agree where to go on.

After every round a party keeps its checkpoint. When an attempt fails, parties may have been a round apart, so each keeps the last
two. The next attempt goes on from the last one that all have, or begins anew. What comes after is of rounds that are repeated: it
is forgotten, with its part of the journal.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from tallystick_node.engines import folders
from tallystick_node.engines.channel import ProtocolViolation, Session

_NAME = re.compile(r"([0-9]{1,6})-([0-9]{1,15})")
_KEPT = 2
_MARK = struct.Struct("<IQ")


@dataclass(frozen=True, order=True)
class Mark:
    """A point of a training: after how many rounds, with how many entries of the journal."""

    round: int
    entries: int


class Checkpoints:
    """The checkpoints of one task in a folder of the party's own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder

    @property
    def marks(self) -> list[Mark]:
        """What is kept, the oldest first."""
        found = [_NAME.fullmatch(path.name) for path in self._folder.iterdir()]
        return sorted(Mark(int(each[1]), int(each[2])) for each in found if each)

    def keep(self, mark: Mark, content: bytes) -> None:
        """Keep a checkpoint, whole or not at all, also through a power failure, and forget all but the last two."""
        folders.put(self._path(mark), content)
        for old in self.marks[:-_KEPT]:
            self._path(old).unlink()

    def rewind(self, entries: int) -> None:
        """Forget the checkpoints that come after so many entries of the journal: without these they stand for nothing."""
        for mark in self.marks:
            if mark.entries > entries:
                self._path(mark).unlink()

    def read(self, mark: Mark) -> bytes:
        """One that is kept."""
        return self._path(mark).read_bytes()

    def agree(self, session: Session) -> Mark | None:
        """The last point that every party keeps; None when there is none. Raises ProtocolViolation for a peer's words that name no
        points."""
        session.mark("checkpoints")
        mine = self.marks[-_KEPT:]
        session.broadcast(b"".join(_MARK.pack(each.round, each.entries) for each in mine))
        common = set(mine)
        for peer, channel in sorted(session.channels.items()):
            session.patience(peer)  # it may prepare a long table first
            said = channel.receive()
            if len(said) % _MARK.size or len(said) > _KEPT * _MARK.size:
                raise ProtocolViolation(peer, "checkpoints", f"named no {_KEPT} points of a training")
            common &= {Mark(*each) for each in _MARK.iter_unpack(said)}
        return max(common, default=None)

    def _path(self, mark: Mark) -> Path:
        return self._folder / f"{mark.round}-{mark.entries}"
