"""Two-party private set intersection of a small set with a large one that is prepared once.

The *holder* of the large set draws a secret scalar for a version of its data and makes a tag of every item: 88 bits of the item's
point of Curve25519 times the scalar, an oblivious pseudo-random function (Jarecki, Kiayias and Krawczyk, ASIACRYPT 2014, in the use
of Resende and Aranha, FC 2018). The tags, sorted, go to the *asker* once, and both keep theirs. A question then costs three curve
multiplications for each item that is asked for, and 64 bytes, whatever the large set is.

1. ``psi/hello``: the asker says how many items it has and which tags it holds, by their digest; the holder which it has.
2. ``psi/tags``: if they differ, the holder sends its tags: 11 bytes each; with :mod:`labels`, those after the tags, each masked by
   a pad that is a hash of its item's product.
3. ``psi/items``: the asker sends its items as points times a fresh scalar; the holder returns them times its own. The asker takes
   its scalar off, and looks up what is left among the tags.

A new version of the data has a new scalar: with the old one the asker would see which tags are new, and, where a label changed
under the same pad, by what. The salt of the hashes is the version, which is public and fixed before the scalar is drawn.

Security: semi-honest, under decisional Diffie-Hellman in Curve25519, the hash to the curve a random oracle. Both learn both sizes;
the asker learns which of its items the holder has, and their labels. It can test no item without asking, and read no label: the pad
is an output of a random oracle at a point whose tag shows 88 bits of 255. Askers who compare what they hold see that it is of one
table, and ask as one. One pair of items has one tag with 2^-88: a false match in a run has less than 2^-40, whatever the sizes, of
which no pair has more than 2^46.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines import folders
from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, receive_block, send_array, send_block
from tallystick_node.engines.local_work import HERE, Executor
from tallystick_node.engines.psi import curve25519, labels, tags
from tallystick_node.engines.psi.curve25519 import POINT
from tallystick_node.engines.psi.handshake import Prediction
from tallystick_node.engines.psi.items import MAX_ITEMS, Items
from tallystick_node.engines.psi.labels import Bytes, Labels
from tallystick_node.engines.psi.points import products
from tallystick_node.engines.psi.tags import Words

TAG = 11  # bytes
BATCH = 1 << 14  # items between two messages
MAX_ASKED = 1 << 20

_DOMAIN = b"tallystick/v1/psi/unbalanced\0"
_NOTHING = bytes(32)
_NAME = "tags"


@dataclass(frozen=True)
class Table:
    """What an asker holds, which tells it nothing: tags of shape (n, 2), sorted, and in their order masked labels, of shape (n,
    width), of width 0 where there are none."""

    tags: Words
    sealed: Bytes

    def digest(self, version: bytes) -> bytes:
        """What names it."""
        state = hashlib.sha256(_DOMAIN + b"tags" + version + len(self.tags).to_bytes(8, "big") + _width(self.sealed.shape[1]))
        for part in (self.tags, self.sealed):
            state.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        return state.digest()

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return self.tags.tobytes() + self.sealed.tobytes()

    @classmethod
    def of(cls, content: bytes, width: int) -> Table | None:
        """What was kept; None for what cannot be read."""
        number, left = divmod(len(content), 16 + width)
        if left:
            return None
        kept_tags = np.frombuffer(content, np.uint64, 2 * number).reshape(-1, 2)
        return cls(kept_tags, np.frombuffer(content, np.uint8, width * number, 16 * number).reshape(number, width))


@dataclass(frozen=True)
class Prepared:
    """A large set as its holder keeps it: the secret, and what an asker gets."""

    version: bytes
    scalar: bytes
    table: Table

    @property
    def digest(self) -> bytes:
        """What names the table."""
        return self.table.digest(self.version)


@dataclass(frozen=True)
class Asked:
    """What an asker ends with: the places of those of its items that the holder has, ascending, their labels, of width 0 where
    there are none, and how many items the holder has."""

    places: NDArray[np.int64]
    labels: Bytes
    number: int


def prepare(
    items: Items,
    version: bytes,
    progress: Callable[[float], None] = lambda _fraction: None,
    labelled: Labels | None = None,
    executor: Executor = HERE,
) -> Prepared:
    """Draw a scalar and make the tags of distinct items, and mask their labels: 30 microseconds each. ``version`` names the data,
    32 bytes. ``executor`` does the multiplications, and learns items and scalar. Raises LocalWorkFailed."""
    scalar = curve25519.random_scalar()
    found = np.empty((len(items), 2), np.uint64)
    sealed = np.empty((len(items), 0), np.uint8) if labelled is None else labelled.beside(len(items)).copy()
    start = 0
    for made in products(items, _salt(version), scalar, executor):
        stop = start + len(made)
        found[start:stop] = _words(made)
        sealed[start:stop] ^= _pads(made, version, sealed.shape[1])
        progress(stop / len(items))
        start = stop
    order = np.lexsort((found[:, 1], found[:, 0]))
    return Prepared(version, scalar, Table(found[order], sealed[order]))


def kept(
    folder: Path,
    version: bytes,
    items: Callable[[], Items],
    progress: Callable[[float], None] = lambda _fraction: None,
    width: int = 0,
    rows: Callable[[], Bytes] | None = None,
    executor: Executor = HERE,
) -> Prepared:
    """What a holder kept in ``folder`` of this version, else prepared from ``items`` and their labels, ``rows`` of ``width``, and
    kept there in place of what was."""
    mark = hashlib.sha256(_DOMAIN + b"kept" + bytes([TAG]) + _width(width) + version).digest()
    with folders.turn(folder) as current:
        found = _read(current)
        table = Table.of(found[64:], width)
        if found[:32] == mark and len(found) >= 64 and table is not None:
            return Prepared(version, found[32:64], table)
        prepared = prepare(items(), version, progress, Labels(width, rows()) if rows is not None else None, executor)
        _write(current, mark + prepared.scalar + prepared.table.to_bytes())
        return prepared


def serve(session: Session, peer: int, prepared: Prepared) -> int:
    """The holder's side; how many items were asked for. Raises ProtocolViolation and ChannelError."""
    channel = session.channels[peer]
    channel.mark("psi/hello")
    hello = receive_block(channel, 40, "hello")
    asked = int.from_bytes(hello[:8], "big")
    if asked > MAX_ASKED:
        raise ProtocolViolation(peer, "hello", f"it asks for more than {MAX_ASKED} items")
    digest = prepared.digest
    channel.send(len(prepared.table.tags).to_bytes(8, "big") + digest)
    channel.mark("psi/tags")
    if hello[8:] != digest:
        tags.send_sorted(session, peer, prepared.table.tags, TAG)
        send_array(session, peer, prepared.table.sealed)
    channel.mark("psi/items")
    for size in _batches(asked):
        points = np.frombuffer(receive_block(channel, size * POINT, "items"), np.uint8).reshape(-1, POINT)
        send_block(channel, _multiplied(peer, points, prepared.scalar).tobytes())
    return asked


def ask(session: Session, peer: int, items: Items, version: bytes, folder: Path, width: int = 0) -> Asked:
    """The asker's side, with distinct items and the width of a label. What it holds is kept in ``folder``. Raises ValueError for
    too many items, ProtocolViolation and ChannelError."""
    if len(items) > MAX_ASKED:
        raise ValueError(f"at most {MAX_ASKED} items are asked for")
    channel = session.channels[peer]
    held = _held(folder, width)
    digest = _NOTHING if held is None else held.digest(version)
    channel.mark("psi/hello")
    channel.send(len(items).to_bytes(8, "big") + digest)
    session.patience(peer)  # it may have to prepare
    hello = receive_block(channel, 40, "hello")
    number = int.from_bytes(hello[:8], "big")
    if number > MAX_ITEMS:
        raise ProtocolViolation(peer, "hello", f"it announces more than {MAX_ITEMS} items")
    channel.mark("psi/tags")
    if held is None or not hmac.compare_digest(digest, hello[8:]):
        words = np.stack(tags.receive(session, peer, number, TAG, "tags"), axis=1)
        held = Table(words, receive_array(session, peer, (number, width), "labels", np.uint8))
        if not hmac.compare_digest(held.digest(version), hello[8:]):
            raise ProtocolViolation(peer, "tags", "they are not those of the digest that it gave")
        with folders.turn(folder) as current:
            _write(current, held.to_bytes())
    if number != len(held.tags):
        raise ProtocolViolation(peer, "hello", f"it announces {number} items where it has {len(held.tags)}")
    channel.mark("psi/items")
    mask, unmask = curve25519.invertible_scalar()
    own, pads = np.empty((len(items), 2), np.uint64), np.empty((len(items), width), np.uint8)
    start = 0
    for size in _batches(len(items)):
        hashed = curve25519.hash_to_curve(items[start : start + size], _salt(version))
        send_block(channel, curve25519.multiply(hashed, mask).tobytes())
        points = np.frombuffer(receive_block(channel, size * POINT, "items"), np.uint8).reshape(-1, POINT)
        products = _multiplied(peer, points, unmask)
        own[start : start + size], pads[start : start + size] = _words(products), _pads(products, version, width)
        start += size
        session.progress("psi", start / len(items))
    try:
        found = tags.match(own, np.ascontiguousarray(held.tags[:, 0]), np.ascontiguousarray(held.tags[:, 1]), TAG)
    except ValueError:  # the items are distinct: two products are equal
        raise ProtocolViolation(peer, "items", "it multiplied two points by different numbers") from None
    matched = np.flatnonzero(found >= 0)
    matched = matched[np.argsort(found[matched])]
    places = found[matched]
    return Asked(places, held.sealed[matched] ^ pads[places], number)


def predict(sizes: tuple[int, int], asker: int, width: int = 0) -> Prediction:
    """What a first run costs: later ones save the holder TAG and ``width`` bytes and 30 microseconds for each item that it has."""
    asked, held = sizes[asker], sizes[1 - asker]
    sent = [0, 0]
    sent[asker], sent[1 - asker] = 40 + asked * POINT, 40 + asked * POINT + (TAG + width) * held
    rounds = 2 + -(-asked // BATCH)
    return Prediction(tuple(sent), rounds, 3e-5 * held + 8e-5 * asked, (120 + 3 * width) * (held + asked))


def _multiplied(peer: int, points: NDArray[np.uint8], scalar: bytes) -> NDArray[np.uint8]:
    products = curve25519.multiply(points, scalar)
    if not products.any(axis=1).all():
        raise ProtocolViolation(peer, "items", "it sent a point of low order")
    return products


def _words(points: NDArray[np.uint8]) -> Words:
    cut = np.zeros((len(points), 16), np.uint8)
    cut[:, :TAG] = points[:, :TAG]
    return cut.view(np.uint64)


def _salt(version: bytes) -> bytes:
    return hashlib.sha256(_DOMAIN + version).digest()


def _pads(points: NDArray[np.uint8], version: bytes, width: int) -> Bytes:
    if not width:
        return np.empty((len(points), 0), np.uint8)
    name = _DOMAIN + b"label" + version
    pads = b"".join(labels.of_point(name, point.tobytes(), width) for point in points)
    return np.frombuffer(pads, np.uint8).reshape(-1, width)


def _width(width: int) -> bytes:
    return width.to_bytes(4, "big")


def _batches(number: int) -> Iterator[int]:
    for start in range(0, number, BATCH):
        yield min(BATCH, number - start)


def _held(folder: Path, width: int) -> Table | None:
    with folders.turn(folder) as current:
        content = _read(current)
    return Table.of(content, width) if content else None


def _read(current: Path) -> bytes:
    """Nothing where there is nothing."""
    try:
        return (current / _NAME).read_bytes()
    except OSError:
        return b""


def _write(current: Path, content: bytes) -> None:
    with folders.replacing(current) as fresh:
        (fresh / _NAME).write_bytes(content)
