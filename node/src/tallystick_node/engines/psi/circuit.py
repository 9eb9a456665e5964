"""Circuit PSI: two parties join their tables by common items and hold the joint table in shares; neither learns who is in it.

Pinkas, Schneider, Tkachenko and Yanai, EUROCRYPT 2019, with the oblivious programmable function of Rindal and Schoppmann,
"VOLE-PSI" (EUROCRYPT 2021, section on circuit PSI). Both parties have distinct items and a row of ring elements beside each. The
*placer* is the party with fewer items, the first of two equals; the other is the *spreader*.

1. :mod:`handshake`: sizes, then a salt.
2. ``circuit/bins``: the placer puts each of its items into one of its three bins (:mod:`circuit_bins`) and tells the seed of the
   hash that chose them.
3. :mod:`oprf`: the placer learns a secret function's values at its items, each with the number of the bin's choice; the spreader
   can compute it anywhere.
4. ``circuit/hint``: for each bin the spreader draws a tag and a mask. It sends a store that holds, at each of its items with each
   of the three choices, the bin's tag and the item's row less the bin's mask, all padded by the function. The placer reads it at
   its items. Where the spreader has the item too it finds the bin's tag and a share of the row, elsewhere noise.
5. Each bin's two tags are compared in shares (digits by transfers, then a tree of ANDs, of many bins at once), and rows are kept
   where they are equal and cleared elsewhere. A bin without an item has a random tag.

Security: semi-honest, either party, under what :mod:`oprf` and the two-party engine assume. What each sees besides the sizes is
pseudorandom: messages have lengths that follow from sizes and numbers of columns, whatever the items are. In a run the following
goes wrong, each with less than 2^-40: a store does not take its keys, and the run ends (two stores); the placer's items do not fit
their bins, and it draws another seed before anything was sent (what that tells: :mod:`circuit_bins`); two different tags are equal
and a row counts that should not, for which tags have 40 + log2(bins) bits at least; an item of the spreader has a value of the
function that the placer could compute without having put it in, 2^-64 for each item and choice. A party that deviates can change
results, and can put in items that are not in its data.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, receive_array, receive_block, send_array
from tallystick_node.engines.mpc.beaver import equality
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.protocol import Binary, Shares
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.okvs.shape import Shape
from tallystick_node.engines.okvs.store import Words, random_words
from tallystick_node.engines.psi import oprf
from tallystick_node.engines.psi.circuit_bins import CHOICES, MAX_ITEMS, NoPlacement, Places, bins_of, number_of_bins, placed
from tallystick_node.engines.psi.handshake import BIND_BYTES, STATISTICAL_BITS, Bound, bind
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.oprf import SEMI_HONEST, Hashed

MAX_COLUMNS = 128
MAX_WORDS = 1 << 25  # of all rows of a party, with a tag for each: some 4 GB of memory
SEED = 32  # bytes
SEEDS = 200_000  # bytes, about: what the trees of silent correlations grow from
TRIES = 4  # seeds

_DOMAIN = b"tallystick/v1/psi/circuit\0"


@dataclass(frozen=True)
class Joined:
    """What one party holds: for each bin whether it has a common item, as the ring elements 0 and 1, and the rows of party 0 and
    of party 1 at that item, of shape (bins, columns); zero where there is none. The order of bins tells nothing."""

    peer_items: int
    matched: Shares
    rows: tuple[Shares, Shares]


def placer(sizes: Sequence[int]) -> int:
    """Which of parties 0 and 1, who have so many items, places its own."""
    return int(sizes[1] < sizes[0])


def fits(items: int, columns: int) -> bool:
    """Whether a party may bring so many items with so many columns."""
    return items * (1 + columns) <= MAX_WORDS


def tag_bits(bins: int) -> int:
    """Bits of a tag, in whole digits of the comparison: different ones are equal in any of so many bins with less than 2^-40."""
    return -(-(STATISTICAL_BITS + (bins - 1).bit_length()) // equality.WIDTH) * equality.WIDTH


def join(protocol: ObliviousAdditive, items: Items, rows: Ring, *, widths: tuple[int, int], context: bytes) -> Joined:
    """Join distinct ``items`` and the ``rows`` beside them, of shape (items, columns), with the peer's. ``widths``, the numbers of
    columns of party 0 and party 1, and the context (the task and the attempt) are the same at both.

    Raises ``ValueError`` for duplicates and other local misuse, :class:`ProtocolViolation` naming the peer and the step,
    ``ChannelError`` for a lost peer.
    """
    session = protocol.session
    if not 1 <= len(items) <= MAX_ITEMS or max(widths) > MAX_COLUMNS or min(widths) < 0:
        raise ValueError(f"a join takes 1 to {MAX_ITEMS} items and at most {MAX_COLUMNS} columns")
    if not fits(len(items), widths[session.index]):
        raise ValueError(f"a join takes at most {MAX_WORDS} words of a party, one for each item among them")
    if rows.shape != (len(items), widths[session.index]) or rows.dtype != np.uint64:
        raise ValueError("one row of ring elements for each item")
    if len(items.distinct()) != len(items):
        raise ValueError("items are unique: remove or group duplicates first")
    run = bind(session, 1 - session.index, items, hashlib.sha256(_DOMAIN + context).digest())
    if not 1 <= run.theirs <= MAX_ITEMS:
        raise ProtocolViolation(run.peer, "bind", f"it announces {run.theirs} items: from 1 to {MAX_ITEMS} are joined")
    if not fits(run.theirs, widths[run.peer]):
        raise ProtocolViolation(run.peer, "bind", f"with {run.theirs} items it brings more than {MAX_WORDS} words")
    sizes = [len(items), run.theirs] if session.index == 0 else [run.theirs, len(items)]
    first = placer(sizes)
    spread = widths[1 - first]
    bins = number_of_bins(sizes[first])
    if session.index == first:
        where, tags, others = _place(run, bins, spread)
        own = np.zeros((bins, widths[first]), np.uint64)
        own[where] = rows
    else:
        tags, others = _spread(run, bins, rows)
        own = np.zeros((bins, widths[first]), np.uint64)
    session.progress("linking", 0.5)
    equal = protocol.agree(tags, tag_bits(bins))
    matched = protocol.to_arithmetic(equal)
    session.progress("linking", 0.7)
    kept = {
        first: protocol.gate(_repeated(equal, widths[first]), Shares((own,)), first),
        1 - first: protocol.gate(_repeated(equal, spread), Shares((others,))),
    }
    session.progress("linking", 0.9)
    return Joined(run.theirs, matched, (kept[0], kept[1]))


def bytes_sent(sizes: tuple[int, int], widths: tuple[int, int]) -> tuple[int, int]:
    """What parties 0 and 1 send, within a twentieth and 200 kB, besides what the two-party engine sends when it begins."""
    first = placer(sizes)
    bins, spread = number_of_bins(sizes[first]), widths[1 - first]
    evaluation = oprf.bytes_sent(Shape.of(sizes[first]).total, 1)
    digits, planes = tag_bits(bins) // equality.WIDTH, 8 * -(-bins // 64)
    each = SEEDS + BIND_BYTES + 2 * planes * (digits - 1) + bins * (digits // 7 + spread * 8 + spread // 8)
    sent = [each + 15 * planes * digits, each + 4 * planes * digits]
    sent[first] += SEED + evaluation[0] + bins * 8 * widths[first]
    sent[1 - first] += evaluation[1] + 8 * (1 + spread) * Shape.of(CHOICES * sizes[1 - first]).total + bins * widths[first] // 8
    sent[0] += 8 * bins
    return sent[0], sent[1]


def _place(run: Bound, bins: int, columns: int) -> tuple[Places, Ring, Ring]:
    """The bin of each item of the placer; each bin's tag as it found it, and its parts of the spreader's rows."""
    session, peer = run.session, run.peer
    seed, where, which = _placement(run.items, bins)
    session.channels[peer].mark("circuit/bins")
    session.channels[peer].send(seed)
    shape = Shape.of(len(run.items))
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which, minlength=CHOICES))[:-1]

    def prepare() -> tuple[Hashed, Words]:
        hashed = _joined(
            Hashed.of(run.items.take(part), _salt(run, seed, number)) for number, part in enumerate(np.split(order, ends))
        )
        return hashed, hashed.stored(shape, np.ascontiguousarray(hashed.images[:, :1]))

    hashed, values = oprf.learn(session, peer, shape, prepare, SEMI_HONEST)
    pads = _pads(values, run, columns)
    session.channels[peer].mark("circuit/hint")
    hint = Shape.of(CHOICES * run.theirs)
    found = hashed.read(hint, receive_array(session, peer, (hint.total, 1 + columns), "hint")) ^ pads
    out = random_words(bins, 1 + columns)
    out[where[order]] = found
    return where, out[:, 0], out[:, 1:]


def _spread(run: Bound, bins: int, rows: Ring) -> tuple[Ring, Ring]:
    """Each bin's tag, and its mask, which is the spreader's part of a row there."""
    session, peer = run.session, run.peer
    session.channels[peer].mark("circuit/bins")
    seed = receive_block(session.channels[peer], SEED, "bins")

    def prepare() -> Hashed:
        return _joined(Hashed.of(run.items, _salt(run, seed, number)) for number in range(CHOICES))

    hashed, values = oprf.compute(session, peer, Shape.of(run.theirs), prepare, SEMI_HONEST)
    drawn = random_words(bins, 1 + rows.shape[1])
    content = drawn[_chosen(run.items, seed, bins).T.reshape(-1)]
    content[:, 1:] = np.tile(rows, (CHOICES, 1)) - content[:, 1:]
    content ^= _pads(values, run, rows.shape[1])
    session.channels[peer].mark("circuit/hint")
    send_array(session, peer, hashed.stored(Shape.of(CHOICES * len(run.items)), content))
    return drawn[:, 0], drawn[:, 1:]


def _placement(items: Items, bins: int) -> tuple[bytes, Places, Places]:
    """A seed under which the items can be placed, the bin of each, and which of its three that is."""
    for _ in range(TRIES):
        seed = secrets.token_bytes(SEED)
        try:
            where, which = placed(_chosen(items, seed, bins), bins)
        except NoPlacement:
            continue
        return seed, where, which.astype(np.int64)
    raise NoPlacement(f"the items do not fit the bins under any of {TRIES} seeds")


def _chosen(items: Items, seed: bytes, bins: int) -> Places:
    first, second = items.hashes(seed)
    return bins_of(np.concatenate([first, second], axis=1), bins)


def _salt(run: Bound, seed: bytes, choice: int) -> bytes:
    """Under which items are hashed together with the number of a choice."""
    return hashlib.sha256(run.salt + seed + bytes([choice])).digest()


def _joined(parts: Iterable[Hashed]) -> Hashed:
    listed = list(parts)
    return Hashed(np.concatenate([each.places for each in listed]), np.concatenate([each.images for each in listed]))


def _pads(values: Words, run: Bound, columns: int) -> Words:
    """As many words of the function's value as are padded: two of each of several ideal permutations."""
    pairs = [oprf.scrambled(values, run.salt + b"hint %d" % number) for number in range(1 + columns // 2)]
    return np.concatenate(pairs, axis=1)[:, : 1 + columns]


def _repeated(bits: Binary, columns: int) -> Binary:
    return bits.map(lambda part: np.repeat(part[:, None], columns, axis=1))
