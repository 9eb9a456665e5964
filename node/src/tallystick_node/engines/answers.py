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

What this does not stop: more than two selections can be combined, as a whole less its two halves but for one row, also where the
halves are among the selections of one task; and with many answers about random selections nearly all rows can be found (Dinur and
Nissim, PODS 2003). A refusal tells one bit of the rows. Noise, that is differential privacy, is the remedy for both.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines import folders
from tallystick_node.engines.compiled import compiled

KEY = 32  # bytes
Labels = NDArray[np.int32]
Hashes = NDArray[np.uint64]
Counts = NDArray[np.int64]

_ROWS, _VERSION, _ANSWER = "rows", "version", "answer-"
_HEAD = struct.Struct("<?BQ")  # of a partition: whether of counts; bytes of a label; bytes of all, compressed
_STEP = np.uint64(0x9E3779B97F4A7C15)
_SEARCHED = 1 << 20  # rows that are looked for at a time
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
    ``rows(key, going_on)``: 64 bits of a hash of each of its rows under a key of ``KEY`` bytes; ``most``: answers that are kept.
    Beyond these only what was answered before, over the same inputs, is answered."""

    folder: Path
    version: bytes
    rows: Callable[[bytes, Callable[[], None]], Hashes]
    most: int

    def require(
        self, partitions: Sequence[Partition], inputs: bytes, minimum: int, going_on: Callable[[], None] = lambda: None
    ) -> Asking:
        """Raise TooClose unless these selections may be answered, AnswersFull if there is no room to remember them, AnswersLost.
        ``inputs``: 32 bytes that name whose data is counted together; ``going_on`` is called now and then."""
        with folders.turn(self.folder, going_on):
            numbers, seen = self._numbers(going_on)
        asking = Asking(self, [_Asked(_spread(each, numbers, seen)) for each in partitions], inputs, minimum)
        # Others need not wait for it: what they answer now is compared with before it is remembered.
        asking.compare(self.kept(), going_on)
        return asking

    def kept(self) -> list[Path]:
        """The files of the answers that were given, in their order."""
        return sorted(self.folder.glob(f"{_ANSWER}*"))

    def _numbers(self, going_on: Callable[[], None]) -> tuple[NDArray[np.uint32], int]:
        """The number of each of the version's rows, and how many numbers are given."""
        key, known = self._known()
        kept = _checked(_read(self.folder / _VERSION))
        if kept[:32] == self.version:
            numbers = np.frombuffer(kept, np.uint32, offset=32)
            if not len(numbers) or int(numbers.max()) < len(known):
                return numbers, len(known)
        hashes = self.rows(key, going_on)
        going_on()
        hashes = _distinct(hashes)
        numbers, new = np.zeros(len(hashes), np.uint32), np.ones(len(hashes), np.bool_)
        if len(known):
            going_on()
            order = np.argsort(known)
            ordered = known[order]
            for start in range(0, len(hashes), _SEARCHED):
                going_on()
                places = np.searchsorted(ordered, hashes[start : start + _SEARCHED])
                numbers[start : start + _SEARCHED] = order[np.minimum(places, len(known) - 1)]
            new = known[numbers] != hashes
        numbers[new] = np.arange(len(known), len(known) + np.count_nonzero(new), dtype=np.uint32)
        known = np.concatenate([known, hashes[new]])
        going_on()
        folders.put(self.folder / _ROWS, _with_check(key + known.tobytes()))
        going_on()
        folders.put(self.folder / _VERSION, _with_check(self.version + numbers.tobytes()))
        return numbers, len(known)

    def _known(self) -> tuple[bytes, Hashes]:
        """The key, and the hashes of all rows by their numbers."""
        content = _read(self.folder / _ROWS)
        if not content and not self.kept():
            return secrets.token_bytes(KEY), np.zeros(0, np.uint64)
        checked = _checked(content)
        if not checked:
            raise AnswersLost("the rows of earlier answers cannot be read")
        return checked[:KEY], np.frombuffer(checked, np.uint64, offset=KEY)


class Asking:
    """What one task asks for, and may be answered as far as the answers go that it was compared with."""

    def __init__(self, answers: Answers, asked: Sequence[_Asked], inputs: bytes, minimum: int) -> None:
        self._answers, self._asked, self._inputs, self._minimum = answers, asked, inputs, minimum
        self._compared: set[Path] = set()

    def compare(self, kept: Sequence[Path], going_on: Callable[[], None] = lambda: None) -> None:
        """With the answers that it was not compared with yet; ``going_on`` is called now and then. Raises TooClose, AnswersFull and
        AnswersLost."""
        for path in kept:
            if path in self._compared:
                continue
            same, before = _unpacked(_read(path), self._inputs)
            for earlier in before:
                sizes = _sizes(earlier.labels)
                for each in self._asked:
                    each.compare(earlier, sizes, self._minimum, same=same)
                    going_on()
            self._compared.add(path)
        if any((still & close).any() for each in self._asked for still, close in zip(each.open, each.close, strict=True)):
            raise TooClose
        if self._new and len(kept) >= self._answers.most:
            raise AnswersFull

    def remember(self, going_on: Callable[[], None] = lambda: None) -> None:
        """Keep that it is answered, before it is; ``going_on`` is called now and then. Raises what :meth:`compare` does, where
        another task came first."""
        folder = self._answers.folder
        with folders.turn(folder, going_on):
            kept = self._answers.kept()
            self.compare(kept, going_on)
            if self._new:
                last = int(kept[-1].name.removeprefix(_ANSWER)) if kept else 0
                packed = _packed([each.partition for each in self._asked], self._inputs, going_on)
                folders.put(folder / f"{_ANSWER}{last + 1:06}", packed)

    @property
    def _new(self) -> bool:
        return any(still.any() for each in self._asked for still in each.open)


class _Asked:
    """A partition of a new task. Of it, and of all its selections as one unless it is of counts: which selections no earlier task
    answered, and which are too close to an earlier one."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self._sizes = _sizes(partition.labels)
        self.open = [self._sizes > 0] if partition.counts else [self._sizes > 0, np.array([self._sizes.any()])]
        self.close = [np.zeros(len(each), np.bool_) for each in self.open]

    def compare(self, earlier: Partition, sizes: Counts, minimum: int, *, same: bool) -> None:
        """With a partition of an earlier task, whose selections are of these sizes; ``same``: that was over the same inputs."""
        answers = same and (self.partition.counts or not earlier.counts)
        single = _Overlaps.of(self.partition.labels, earlier.labels, (self._sizes, sizes))
        for old in [single] if earlier.counts else [single, single.second_as_one()]:
            follows = old.unions_of_first()
            for place, overlaps in enumerate([old] if self.partition.counts else [old, old.first_as_one()]):
                self.close[place][overlaps.near(minimum, ~follows)] = True
                if answers and old is single:
                    self.open[place] &= ~overlaps.unions_of_second()


@dataclass(frozen=True)
class _Overlaps:
    """Pairs of selections, of a first and a second partition, with rows in common, how many, and the sizes of all selections."""

    first: Counts
    second: Counts
    common: Counts
    sizes: tuple[Counts, Counts]

    @classmethod
    def of(cls, first: Labels, second: Labels, sizes: tuple[Counts, Counts]) -> _Overlaps:
        """Of two partitions, either of which may end before the other: rows that were seen later are not in it."""
        height, width = map(len, sizes)
        if height * width <= _DENSE:
            counted = np.zeros(height * width, np.int64)
            _count(first, second, width, counted)
            found = np.flatnonzero(counted)
            common = counted[found]
        else:
            size = min(len(first), len(second))
            both = np.flatnonzero((first[:size] >= 0) & (second[:size] >= 0))
            found, common = np.unique(first[both].astype(np.int64) * width + second[both], return_counts=True)
        return cls(*np.divmod(found, max(1, width)), common.astype(np.int64), sizes)

    def first_as_one(self) -> _Overlaps:
        """With all selections of the first together."""
        common = _sums(self.second, self.common, len(self.sizes[1]))
        found = np.flatnonzero(common)
        return _Overlaps(np.zeros_like(found), found, common[found], (self.sizes[0].sum(keepdims=True), self.sizes[1]))

    def second_as_one(self) -> _Overlaps:
        """With all selections of the second together."""
        common = _sums(self.first, self.common, len(self.sizes[0]))
        found = np.flatnonzero(common)
        return _Overlaps(found, np.zeros_like(found), common[found], (self.sizes[0], self.sizes[1].sum(keepdims=True)))

    def near(self, minimum: int, of_second: NDArray[np.bool_]) -> Counts:
        """The selections of the first that differ in 1 to ``minimum`` - 1 rows from one of these of the second, and share some."""
        apart = self.sizes[0][self.first] + self.sizes[1][self.second] - 2 * self.common
        return self.first[(apart >= 1) & (apart < minimum) & of_second[self.second]]

    def unions_of_first(self) -> NDArray[np.bool_]:
        """Which selections of the second are unions of such of the first."""
        whole = self.common == self.sizes[0][self.first]
        return np.equal(_sums(self.second[whole], self.common[whole], len(self.sizes[1])), self.sizes[1])

    def unions_of_second(self) -> NDArray[np.bool_]:
        """Which selections of the first are unions of such of the second."""
        whole = self.common == self.sizes[1][self.second]
        return np.equal(_sums(self.first[whole], self.common[whole], len(self.sizes[0])), self.sizes[0])


@compiled
def _count(first: Labels, second: Labels, width: int, counted: Counts) -> None:
    for row in range(min(len(first), len(second))):
        if first[row] >= 0 and second[row] >= 0:
            counted[first[row] * width + second[row]] += 1


def _sizes(labels: Labels) -> Counts:
    """How many rows each selection has."""
    return np.bincount(labels + 1, minlength=1)[1:].astype(np.int64)


def _sums(places: Counts, numbers: Counts, size: int) -> Counts:
    return np.bincount(places, numbers, size).astype(np.int64)


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


def _packed(partitions: Sequence[Partition], inputs: bytes, going_on: Callable[[], None]) -> bytes:
    """What :func:`_unpacked` reads: the inputs; of each partition a head, and compressed its labels, each one more than it is."""
    content = [inputs]
    for each in partitions:
        going_on()
        kind = np.min_scalar_type(int(each.labels.max(initial=-1)) + 1)
        packed = zlib.compress((each.labels + 1).astype(kind).tobytes(), 1)
        content += [_HEAD.pack(each.counts, kind.itemsize, len(packed)), packed]
    return b"".join(content)


def _unpacked(content: bytes, inputs: bytes) -> tuple[bool, list[Partition]]:
    """Whether an answer was over these inputs, and its partitions. Raises AnswersLost."""
    found: list[Partition] = []
    start = len(inputs)
    try:
        while start < len(content) or not found:
            counts, size, length = _HEAD.unpack_from(content, start)
            start += _HEAD.size + length
            if start > len(content):
                raise ValueError
            labels = np.frombuffer(zlib.decompress(content[start - length : start]), f"<u{size}")
            found.append(Partition(labels.astype(np.int32) - 1, counts))
    except (ValueError, TypeError, struct.error, zlib.error):
        raise AnswersLost("an earlier answer cannot be read") from None
    return content[: len(inputs)] == inputs, found


def _with_check(content: bytes) -> bytes:
    """With a digest of it before it: rows whose numbers are others' would be compared with others' in silence."""
    return hashlib.sha256(content).digest() + content


def _checked(content: bytes) -> bytes:
    """What :func:`_with_check` was given; nothing for what is not whole."""
    return content[32:] if hashlib.sha256(content[32:]).digest() == content[:32] else b""


def _read(path: Path) -> bytes:
    """Nothing where there is nothing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise AnswersLost(f"what was answered cannot be read: {error.strerror}") from None
