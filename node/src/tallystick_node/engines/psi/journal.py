"""What a party keeps of an intersection in parts, from one attempt to the next: which run it is, and what each part found, with
the labels that it got.

Everything is written whole or not at all, also through a power failure. It tells which of the party's rows match, and belongs on a
disk that is as well protected as the rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines import folders

Places = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_RUN, _PART, _LABELS = "run", "part-", "labels-"
_WORDS = 5


@dataclass(frozen=True)
class Run:
    """``terms``: a hash of what it was begun with; ``cut``: what items are parted by; ``nonce``: of this party's seal, a secret;
    ``seals``: of both parties' items, the lower party's first. 32 bytes each."""

    terms: bytes
    cut: bytes
    nonce: bytes
    seals: tuple[bytes, bytes]

    @property
    def name(self) -> bytes:
        """What both parties call it, 32 bytes."""
        return hashlib.sha256(b"tallystick/v1/psi/run\0" + self.cut + b"".join(self.seals)).digest()


class Journal:
    """Of one task, in a folder of the party's own; without one, in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._found: dict[int, Places] = {}
        self._labels: dict[int, Bytes] = {}
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def run(self) -> Run | None:
        """The run that was begun last; None when there is none."""
        try:
            content = self._path(_RUN).read_bytes() if self._folder is not None else b""
        except FileNotFoundError:
            return None
        if len(content) != 32 * _WORDS:
            return None
        terms, cut, nonce, first, second = (content[32 * i : 32 * i + 32] for i in range(_WORDS))
        return Run(terms, cut, nonce, (first, second))

    def begin(self, run: Run) -> None:
        """Begin a run, and forget what was before."""
        if self._folder is not None:
            self._path(_RUN).unlink(missing_ok=True)  # first: parts of one run must not be found under another
        self.forget_from(0)
        if self._folder is not None:
            folders.put(self._path(_RUN), run.terms + run.cut + run.nonce + b"".join(run.seals))

    def done(self) -> int:
        """How many parts are done, one after another from the first."""
        number = 0
        while self._has(number):
            number += 1
        return number

    def keep(self, number: int, found: Places) -> None:
        """A part is done."""
        if self._folder is None:
            self._found[number] = found
        else:
            folders.put(self._path(f"{_PART}{number}"), found.astype("<i8").tobytes())

    def keep_labels(self, number: int, rows: Bytes) -> None:
        """What labels a part found, before it is done."""
        if self._folder is None:
            self._labels[number] = rows
        else:
            folders.put(self._path(f"{_LABELS}{number}"), rows.tobytes())

    def found(self, number: int) -> Places:
        """What :meth:`keep` was given."""
        if self._folder is None:
            return self._found[number]
        return np.fromfile(self._path(f"{_PART}{number}"), "<i8").astype(np.int64)

    def labels(self, number: int, width: int) -> Bytes:
        """What :meth:`keep_labels` was given, rows of ``width``."""
        if self._folder is None:
            return self._labels[number]
        return np.fromfile(self._path(f"{_LABELS}{number}"), np.uint8).reshape(-1, width)

    def forget_from(self, number: int) -> None:
        """Forget all parts from this one on."""
        if self._folder is None:
            self._found = {each: found for each, found in self._found.items() if each < number}
            return
        for prefix in (_PART, _LABELS):
            for path in self._folder.glob(f"{prefix}*"):
                if int(path.name.removeprefix(prefix)) >= number:
                    path.unlink()
        folders.keep_names(self._folder)

    def _has(self, number: int) -> bool:
        return self._path(f"{_PART}{number}").exists() if self._folder is not None else number in self._found

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / name
