"""What statistics over one dataset were answered, by which rows, and whether one more answer would tell of few rows by difference.

Who has the sum over a selection of rows, and over another that differs in one row, has that row's value as the difference. So the
owner of the rows keeps, for each answer, which rows it was about, and refuses a further one that is too close.

A selection *a* of a new task is *too close* to a selection *b* of an earlier one if both have a row in common and differ in at
least one and fewer than ``minimum`` rows, with these exceptions, which tell nothing that is not answered anyway:

- *a* was answered before, over the same inputs of the same owners: it is the union of selections of one earlier task.
- *b* follows from what the new task answers: it is the union of selections that stand in one partition with *a*. Then *a* and *b*
  differ in whole selections of the new task, each of which passed its size test.

Differences are of this owner's own rows: to those who know all others' rows nothing else hides them. All answers of the dataset
are compared, whoever asked and whoever received: receivers can put their results together.

Rows are known again by a keyed hash of their content, across versions of the dataset: a row whose cells changed is another one.
Equal rows are told apart by their order. Each row gets a number when it is first seen; an answer is kept as the number of the
selection, or none, at each row. All is on the owner's own disk, under a key that is drawn for it. Rows that hash to the same 64
bits count as equal: of ten million, any two with a probability of 2^-18.

What this does not stop: more than two answers can be combined, as a whole less its two halves but for one row; and with many
answers about random selections nearly all rows can be found (Dinur and Nissim, PODS 2003). A refusal tells one bit of the rows.
Noise, that is differential privacy, is the remedy for both.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines import folders

KEY = 32  # bytes
Labels = NDArray[np.int32]
Hashes = NDArray[np.uint64]

_ROWS, _VERSION, _ANSWER = "rows", "version", "answer-"
_STEP = np.uint64(0x9E3779B97F4A7C15)
_DENSE = 1 << 22  # pairs of selections that are counted in an array


class TooClose(Exception):  # noqa: N818 - a verdict
    """An answer would tell of few rows."""


class AnswersFull(Exception):  # noqa: N818 - a verdict
    """No more answers may be kept."""


class AnswersLost(Exception):  # noqa: N818 - a verdict
    """What was answered cannot be read."""


@dataclass(frozen=True)
class Partition:
    """Selections that exclude one another: ``labels[row]`` is the number of a row's selection, -1 for none, in the order of the
    dataset's rows. ``counts``: only the numbers of rows are told. Otherwise, what all selections have together follows from the
    answer, too, and is a selection of its own."""

    labels: Labels
    counts: bool = False


@dataclass(frozen=True)
class Answers:
    """The memory of one dataset, in a ``folder`` of its own. ``version``: 32 bytes that name the dataset's version as it is read;
    ``rows(key)``: 64 bits of a hash of each of its rows under a key of ``KEY`` bytes; ``most``: answers that are kept. Beyond
    these only what was answered before, over the same inputs, is answered."""

    folder: Path
    version: bytes
    rows: Callable[[bytes], Hashes]
    most: int

    def require(self, partitions: Sequence[Partition], inputs: bytes, minimum: int) -> None:
        """Raise TooClose unless these selections may be answered, AnswersFull if there is no room to remember them, AnswersLost.
        ``inputs``: 32 bytes that name whose data is counted together."""
        with folders.turn(self.folder):
            self._new(partitions, inputs, minimum)

    def remember(self, partitions: Sequence[Partition], inputs: bytes, minimum: int) -> None:
        """Like :meth:`require`, since another run may have come first; and keep them, before they are answered."""
        with folders.turn(self.folder):
            if new := self._new(partitions, inputs, minimum):
                numbers = [int(path.name.removeprefix(_ANSWER)) for path in self._kept()]
                folders.put(self.folder / f"{_ANSWER}{max(numbers, default=0) + 1:06}", _packed(new, inputs))

    def _new(self, partitions: Sequence[Partition], inputs: bytes, minimum: int) -> list[Partition]:
        """The partitions as they would be kept, over all rows that were ever seen; none if all was answered before."""
        numbers, seen = self._numbers()
        asked = [_Asked(_spread(each, numbers, seen)) for each in partitions]
        kept = self._kept()
        for path in kept:
            same, before = _unpacked(_read(path), inputs)
            for earlier in before:
                for each in asked:
                    each.compare(earlier, minimum, same=same)
        if any((still & close).any() for each in asked for still, close in zip(each.open, each.close, strict=True)):
            raise TooClose
        if not any(still.any() for each in asked for still in each.open):
            return []
        if len(kept) >= self.most:
            raise AnswersFull
        return [each.partition for each in asked]

    def _kept(self) -> list[Path]:
        return sorted(self.folder.glob(f"{_ANSWER}*"))

    def _numbers(self) -> tuple[NDArray[np.uint32], int]:
        """The number of each of the version's rows, and how many numbers are given."""
        key, known = self._known()
        kept = _read(self.folder / _VERSION)
        if kept[:32] == self.version and len(kept) % 4 == 0:
            numbers = np.frombuffer(kept, np.uint32, offset=32)
            if not len(numbers) or int(numbers.max()) < len(known):
                return numbers, len(known)
        hashes = _distinct(self.rows(key))
        order = np.argsort(known)
        places = np.searchsorted(known, hashes, sorter=order)
        numbers = order[np.minimum(places, len(known) - 1)].astype(np.uint32) if len(known) else np.zeros(len(hashes), np.uint32)
        new = np.ones(len(hashes), np.bool_) if not len(known) else known[numbers] != hashes
        numbers[new] = np.arange(len(known), len(known) + np.count_nonzero(new), dtype=np.uint32)
        known = np.concatenate([known, hashes[new]])
        folders.put(self.folder / _ROWS, key + known.tobytes())
        folders.put(self.folder / _VERSION, self.version + numbers.tobytes())
        return numbers, len(known)

    def _known(self) -> tuple[bytes, Hashes]:
        """The key, and the hashes of all rows by their numbers."""
        content = _read(self.folder / _ROWS)
        if not content and not self._kept():
            return secrets.token_bytes(KEY), np.zeros(0, np.uint64)
        if len(content) < KEY or len(content) % 8:
            raise AnswersLost("the rows of earlier answers cannot be read")
        return content[:KEY], np.frombuffer(content, np.uint64, offset=KEY)


class _Asked:
    """A partition of a new task. Of each view of it, itself and all its selections as one: which selections no earlier task
    answered, and which are too close to an earlier one."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self._views = _views(partition)
        self.open = [_sizes(view) > 0 for view in self._views]
        self.close = [np.zeros(len(each), np.bool_) for each in self.open]

    def compare(self, earlier: Partition, minimum: int, *, same: bool) -> None:
        """With a partition of an earlier task; ``same``: that was over the same inputs."""
        answers = same and (self.partition.counts or not earlier.counts)
        for which, old in enumerate(_views(earlier)):
            follows = _Overlaps(self.partition.labels, old).unions_of_first()
            for place, view in enumerate(self._views):
                overlaps = _Overlaps(view, old)
                self.close[place][overlaps.near(minimum, ~follows)] = True
                if answers and not which:
                    self.open[place] &= ~overlaps.unions_of_second()


class _Overlaps:
    """Which selections of two partitions have rows in common, and how many. The second may end before the first: no row that was
    seen later is in it."""

    def __init__(self, first: Labels, second: Labels) -> None:
        self._sizes = _sizes(first), _sizes(second)
        head = first[: len(second)]
        both = np.flatnonzero((head >= 0) & (second >= 0))
        width = len(self._sizes[1])
        pairs = head[both].astype(np.int64) * width + second[both]
        if len(self._sizes[0]) * width <= _DENSE:
            counted = np.bincount(pairs)
            found = np.flatnonzero(counted)
            self._common = counted[found]
        else:
            found, self._common = np.unique(pairs, return_counts=True)
        self._first, self._second = np.divmod(found, max(1, width))

    def near(self, minimum: int, of_second: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The selections of the first that differ in 1 to ``minimum`` - 1 rows from one of these of the second, and share some."""
        apart = self._sizes[0][self._first] + self._sizes[1][self._second] - 2 * self._common
        return self._first[(apart >= 1) & (apart < minimum) & of_second[self._second]]

    def unions_of_first(self) -> NDArray[np.bool_]:
        """Which selections of the second are unions of such of the first."""
        inside = np.zeros(len(self._sizes[1]), np.int64)
        np.add.at(inside, self._second, np.where(self._common == self._sizes[0][self._first], self._common, 0))
        return np.equal(inside, self._sizes[1])

    def unions_of_second(self) -> NDArray[np.bool_]:
        """Which selections of the first are unions of such of the second."""
        inside = np.zeros(len(self._sizes[0]), np.int64)
        np.add.at(inside, self._first, np.where(self._common == self._sizes[1][self._second], self._common, 0))
        return np.equal(inside, self._sizes[0])


def _views(partition: Partition) -> list[Labels]:
    labels = partition.labels
    several = not partition.counts and len(labels) > 0 and int(labels.max()) > 0
    return [labels, np.minimum(labels, 0)] if several else [labels]


def _sizes(labels: Labels) -> NDArray[np.int64]:
    return np.bincount(labels[labels >= 0]).astype(np.int64)


def _spread(partition: Partition, numbers: NDArray[np.uint32], seen: int) -> Partition:
    labels = np.full(seen, -1, np.int32)
    labels[numbers] = partition.labels
    return Partition(labels, partition.counts)


def _distinct(hashes: Hashes) -> Hashes:
    """The hashes, where those that are equal are told apart by their order."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.bool_)
    places = np.arange(len(ordered))
    number = (places - np.maximum.accumulate(np.where(first, places, 0))).astype(np.uint64)
    distinct = np.empty_like(hashes)
    distinct[order] = ordered + number * _STEP
    return distinct


def _packed(partitions: Sequence[Partition], inputs: bytes) -> bytes:
    content = b"".join(struct.pack("<?", each.counts) + each.labels.tobytes() for each in partitions)
    return inputs + struct.pack("<I", len(partitions)) + zlib.compress(content, 1)


def _unpacked(content: bytes, inputs: bytes) -> tuple[bool, list[Partition]]:
    """Whether an answer was over these inputs, and its partitions. Raises AnswersLost."""
    try:
        (number,) = struct.unpack("<I", content[32:36])
        plain = zlib.decompress(content[36:])
        size, left = divmod(len(plain), number)
        if left or size % 4 != 1:
            raise ValueError
    except (ValueError, struct.error, zlib.error, ZeroDivisionError):
        raise AnswersLost("an earlier answer cannot be read") from None
    parts = [plain[start : start + size] for start in range(0, len(plain), size)]
    return content[:32] == inputs, [Partition(np.frombuffer(part, np.int32, offset=1), part[0] == 1) for part in parts]


def _read(path: Path) -> bytes:
    """Nothing where there is nothing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise AnswersLost(f"what was answered cannot be read: {error.strerror}") from None
