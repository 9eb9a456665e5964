"""A large intersection of two parties, part by part: memory holds one part, and a run that is killed goes on at the part it was at.

1. ``psi/parts``: each says of which run it kept a journal, how many parts of it are done, and the seal of its items, a hash of all
   of them under a nonce that it keeps. If both kept the same run it goes on after the last part that is done at both; else a new
   one begins, whose *cut* is the salt of the handshake: drawn after both fixed their items, known to both.
2. An item's part is a hash of it under the cut. Each part of a set is filled up with random strings to one size, the same for all
   parts, so that sizes tell nothing of which items there are.
3. Each part is a run of :mod:`rr22` of its own: its own handshake, salt, evaluation and store, and so its own secrets. When it is
   over each party keeps what it found, on disk before the next part begins. A sender's :mod:`labels` go with the part of their
   item, and its seal is of them, too; what fills a part up has labels of zeros, which nobody can open.

Going on. Of an earlier attempt nothing is used again but the cut, which both know and which only says what is compared with what.
The secrets of the part that was killed are gone with the process; the part is done again with new ones, and messages of two runs of
it are those of two intersections of the same sets: neither party learns more. The result is that of a run that nobody stopped. A
party whose items changed meanwhile has no journal that fits, says so, and all begins anew, as a further attempt of the task always
did. A party says which seal its journal has, so that it cannot go on as another than it began as. That does not bind one who
deviates to the items that it sealed, as no commitment does that is not opened. By being killed again and again it can put other
items into one part, once an attempt, and learn of these what :mod:`rr22` tells; by letting all begin anew, into every part. So an
attempt tells at most what an intersection does, and attempts are counted and bounded by the task and its parties. It may also
choose what it puts into a part when it knows the parts before. And what fills up its parts is room for further items: 3 % for a
million in 16 parts, a third for ten thousand, sixteen times as many for ten.

Failure: a part of a set has more items than it takes with less than 2^-40 over all parts (Bernstein); each part's store fails with
2^-40. False matches: less than 2^-40 in all, since tags are cut for all parts together.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block
from tallystick_node.engines.psi import rr22
from tallystick_node.engines.psi.handshake import STATISTICAL_BITS, Bound, Intersection, bind
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.journal import Journal, Run
from tallystick_node.engines.psi.labels import Bytes, Labels
from tallystick_node.engines.psi.oprf import Variant

PART = 1 << 20  # items of a part of the larger set, on average
UNCUT = 1 << 21  # items of the larger set up to which it is one part
HELLO_BYTES = 32 + 4 + 32

_BATCH = 1 << 20  # items that are hashed at a time
_DOMAIN = b"tallystick/v1/psi/parts\0"
_NO_RUN = bytes(32)


@dataclass(frozen=True)
class Cut:
    """How two sets are cut: into ``parts``, of which each has ``own`` and ``theirs`` items with those that fill it up."""

    parts: int
    own: int
    theirs: int

    @classmethod
    def of(cls, own: int, theirs: int, part: int = PART) -> Cut:
        """For sets of so many items, of which the larger has ``part`` in each part on average."""
        parts = max(1, -(-max(own, theirs) // part))
        return cls(parts, _capacity(own, parts), _capacity(theirs, parts))


def exchange(
    run: Bound,
    receivers: Sequence[int],
    variant: Variant,
    folder: Path | None,
    part: int = PART,
    labelled: Labels | None = None,
) -> Intersection:
    """What follows the handshake; both pass the same receivers (one, with labels), variant, ``part`` and width of labels.
    ``folder`` is this party's own, of the task: what an earlier attempt kept there is gone on from. Without one nothing is kept.

    Raises ``ValueError`` for duplicates, :class:`ProtocolViolation` naming the peer and the step, ``ChannelError`` for a lost peer.
    """
    cut = Cut.of(len(run.items), run.theirs, part)
    journal = Journal(folder)
    width = 0 if labelled is None else labelled.width
    kept, done = _agreed(run, cut, journal, _terms(receivers, variant, cut, part, width), _sealing(run.items, labelled))
    journal.forget_from(done)
    places = _placed(run.items, kept.cut, cut.parts)
    receives = run.session.index in receivers
    for number in range(done, cut.parts):
        own = np.flatnonzero(places == number)
        beside = None if labelled is None else _filled(labelled, own, cut.own)
        found, rows = _part(run, cut, number, run.items.take(own), receivers, variant, beside)
        if receives and rows is not None:
            journal.keep_labels(number, rows)
        journal.keep(number, own[found] if receives else np.empty(0, np.int64))
    if not receives:
        return Intersection(run.theirs, None, None)
    positions = np.concatenate([journal.found(number) for number in range(cut.parts)])
    order = np.argsort(positions)
    rows = np.concatenate([journal.labels(number, width) for number in range(cut.parts)])[order] if width else None
    return Intersection(run.theirs, positions[order], len(positions), rows)


def _sealing(items: Items, labelled: Labels | None) -> Callable[[bytes], bytes]:
    """A party's seal under a nonce: a hash of its items, and of its labels, if it has any."""
    rows = b"" if labelled is None or labelled.rows is None else hashlib.sha256(np.ascontiguousarray(labelled.rows).data).digest()
    return lambda nonce: items.commitment(_DOMAIN + nonce + rows)


def _filled(labelled: Labels, own: NDArray[np.int64], size: int) -> Labels:
    """A part's labels, and those of what fills it up; nothing at the receiver."""
    if labelled.rows is None:
        return labelled
    rows = np.zeros((size, labelled.width), np.uint8)
    rows[: len(own)] = labelled.rows[own]
    return Labels(labelled.width, rows)


def _agreed(run: Bound, cut: Cut, journal: Journal, terms: bytes, sealing: Callable[[bytes], bytes]) -> tuple[Run, int]:
    """The run that both go on with, or begin, and how many parts of it are done at both."""
    channel, me, peer = run.session.channels[run.peer], run.session.index, run.peer
    kept = journal.run()
    if kept is None or kept.terms != terms or sealing(kept.nonce) != kept.seals[me > peer]:
        kept = None
    done = journal.done() if kept is not None else 0
    nonce = kept.nonce if kept is not None else secrets.token_bytes(32)
    seal = kept.seals[me > peer] if kept is not None else sealing(nonce)
    channel.mark("psi/parts")
    channel.send((_NO_RUN if kept is None else kept.name) + done.to_bytes(4, "big") + seal)
    hello = receive_block(channel, HELLO_BYTES, "parts")
    name, theirs, their_seal = hello[:32], int.from_bytes(hello[32:36], "big"), hello[36:]
    if kept is None or name != kept.name:
        begun = Run(terms, run.salt, nonce, (seal, their_seal) if me < peer else (their_seal, seal))
        journal.begin(begun)
        return begun, 0
    if their_seal != kept.seals[me < peer]:
        raise ProtocolViolation(peer, "parts", "its items have another seal than those with which the run began")
    if theirs > cut.parts or abs(theirs - done) > 1:
        raise ProtocolViolation(
            peer, "parts", f"it says that {theirs} parts are done, where {done} are: they differ by one at most"
        )
    return kept, min(done, theirs)


def _part(
    run: Bound, cut: Cut, number: int, items: Items, receivers: Sequence[int], variant: Variant, labelled: Labels | None
) -> tuple[NDArray[np.int64], Bytes | None]:
    """Of one part, which of this party's items the peer has, and their labels; none for a party that does not receive."""
    if len(items) > cut.own:
        raise ValueError("a part has more items than it takes: this happens once in 2^40 runs")
    context = hashlib.sha256(_DOMAIN + number.to_bytes(4, "big") + run.session.context).digest()
    session = _within(run.session, context, number, cut.parts)
    bound = bind(session, run.peer, items.filled(cut.own), context)
    if bound.theirs != cut.theirs:
        raise ProtocolViolation(run.peer, "parts", f"it has {bound.theirs} items in a part where {cut.theirs} were due")
    found = rr22.exchange(bound, receivers, variant, labelled, runs=cut.parts)
    if found.positions is None:
        return np.empty(0, np.int64), None
    real = found.positions < len(items)
    return found.positions[real], None if found.labels is None else found.labels[real]


def _within(session: Session, context: bytes, number: int, parts: int) -> Session:
    def progress(phase: str, fraction: float) -> None:
        session.progress(phase, (number + fraction) / parts)

    return replace(session, context=context, progress=progress)


def _placed(items: Items, cut: bytes, parts: int) -> NDArray[np.uint8]:
    """The part of each item."""
    places = np.empty(len(items), np.uint8)
    for start in range(0, len(items), _BATCH):
        some = np.arange(start, min(start + _BATCH, len(items)))
        words = items.take(some).hashes(cut)[0][:, 0]
        places[some] = ((words >> np.uint64(32)) * np.uint64(parts)) >> np.uint64(32)
    return places


def _capacity(items: int, parts: int) -> int:
    """Items that fit in each part: their mean and a deviation s that one of the parts exceeds with at most 2^-41, a half for
    either set: parts exp(-s^2 / (2 mean + 2 s / 3)), by Bernstein."""
    if parts == 1:
        return items
    mean, bound = items / parts, (STATISTICAL_BITS + 1 + math.log2(parts)) * math.log(2)
    return min(items, math.ceil(mean + bound / 3 + math.sqrt(bound * bound / 9 + 2 * bound * mean)))


def _terms(receivers: Sequence[int], variant: Variant, cut: Cut, part: int, width: int) -> bytes:
    """What a run that goes on has in common with the one that began."""
    numbers = (variant.words, part, cut.parts, cut.own, cut.theirs, width, *sorted(receivers))
    return hashlib.sha256(_DOMAIN + b"".join(each.to_bytes(8, "big") for each in numbers)).digest()
