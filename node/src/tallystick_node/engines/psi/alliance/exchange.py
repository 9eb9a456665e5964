"""ECDH-PSI between this party and one of another platform: the alliance's handshake, then its message flow.

1. Handshake. Rank 1 sends a request: versions, suits of curve, hash and map, formats of points, its number of items, who receives.
   Rank 0 answers with what both can do, or refuses with a code and words that say which side must change what.
2. ``enc``: each sends its items as points times its own secret, in batches that are numbered; the last one says that it is.
3. ``dual.enc``, on a stream of its own: to a peer that receives, each sends back the peer's batches times its own secret, batch for
   batch in the order in which they came. Who receives compares.

One suit is published in full, and so is all that this offers: Curve25519, an item's point the u-coordinate SHA-256(item), points as
32 bytes, little-endian, compared whole. The maps of RFC 9380 have numbers in the handshake but no domain separation tag, and
truncation has a length but not which end stays.

Security: semi-honest, decisional Diffie-Hellman in Curve25519 and its twist. Both learn both sizes, a receiver which of its items
match. Three things are weaker than in :mod:`ecdh`, by the published protocol. Half of all u-coordinates belong to the twist, and
which half shows through any secret: the peer learns how many of the items are of either half, one bit where there is one item.
Nothing salts the hash: what masks runs apart is the secret, drawn anew for each. And neither is bound to its items before it sees
the other's number of them. Points of low order are refused; what else a peer that deviates can do is to lie about its items, or to
answer wrongly.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Channel, ProtocolViolation
from tallystick_node.engines.psi import curve25519
from tallystick_node.engines.psi.alliance import messages
from tallystick_node.engines.psi.alliance.messages import DUAL, ECDH_PSI, ENCRYPTED, EVERYBODY, Batch, Request, Response, Suit
from tallystick_node.engines.psi.alliance.wire import Malformed
from tallystick_node.engines.psi.curve25519 import POINT, Points
from tallystick_node.engines.psi.ecdh import keys_of, shuffled
from tallystick_node.engines.psi.handshake import Intersection
from tallystick_node.engines.psi.items import Items

BATCH = 4096  # items of a batch that is sent
MAX_ITEMS = 1 << 26  # of the peer
WORDS = 256  # characters of a peer's refusal that are shown


@dataclass(frozen=True)
class Streams:
    """The two streams to a peer: the main one, and the one of points that come back."""

    main: Channel
    dual: Channel


def intersect_with_platform(streams: Streams, rank: int, items: Items, result_to_rank: int) -> Intersection:
    """Intersect distinct ``items`` with those of the peer. ``rank``: 0 or 1; ``result_to_rank``: who receives, -1 for both. Both
    sides are given the same.

    Raises ``ValueError`` for local misuse, :class:`ProtocolViolation` naming the step, also when either refuses the other's terms,
    and ``ChannelError`` for a lost peer.
    """
    if rank not in (0, 1) or result_to_rank not in (EVERYBODY, 0, 1):
        raise ValueError("ranks are 0 and 1, and the receiver is one of them, or -1 for both")
    if len(items.distinct()) != len(items):
        raise ValueError("items are unique: remove or group duplicates first")
    announced = None  # a response does not say how many items the other has
    if rank == 0:
        announced = _answer(streams, result_to_rank)
    else:
        _propose(streams, len(items), result_to_rank)
    receives, peer_receives = result_to_rank in (EVERYBODY, rank), result_to_rank in (EVERYBODY, 1 - rank)
    order, scalar = shuffled(len(items)), curve25519.random_scalar()
    with ThreadPoolExecutor(1) as other:
        over = threading.Event()
        sending = other.submit(_send_masked, streams.main, items, order, scalar, over)
        try:
            theirs = _mask_again(streams, scalar, announced, peer_receives=peer_receives)
        except BaseException:
            over.set()  # else all items are still sent to a peer that broke the protocol, as slowly as it takes them
            raise
        sending.result()
    if not receives:
        return Intersection(len(theirs), None, None)
    own = _batches(streams.dual, DUAL, len(items))
    come_back = np.concatenate([np.empty((0, POINT), np.uint8), *own])
    if len(come_back) != len(items):
        raise ProtocolViolation(streams.dual.peer, DUAL, f"it returned {len(come_back)} points of {len(items)}")
    positions = np.sort(order[np.isin(keys_of(come_back), keys_of(theirs))])
    return Intersection(len(theirs), positions, len(positions))


def _propose(streams: Streams, items: int, result_to_rank: int) -> None:
    """Rank 1's handshake."""
    streams.main.send(Request(rank=1, items=items, result_to_rank=result_to_rank).to_bytes())
    peer = streams.main.peer
    try:
        given = Response.parse(streams.main.receive())
    except Malformed as error:
        raise ProtocolViolation(peer, "handshake", f"no response: {error}") from None
    if given.code != messages.OK:
        words = "".join(sign if sign.isprintable() else "?" for sign in given.words[:WORDS])
        raise ProtocolViolation(peer, "handshake", f"it refuses by code {given.code}: {words}")
    wrong = (
        ("algorithm", given.algorithm, ECDH_PSI),
        ("suit", given.suit, Suit()),
        ("point_octet_format", given.format, messages.UNCOMPRESSED),
        ("result_to_rank", given.result_to_rank, result_to_rank),
    )
    for name, value, due in wrong:
        if value != due:
            raise ProtocolViolation(peer, "handshake", f"it chose {name} {value} where {due} was offered")
    if given.bits > 0 or given.version not in (0, 1) or given.io_version not in (0, 1):
        raise ProtocolViolation(peer, "handshake", "it chose truncation, or versions of parameters, that were not offered")


def _answer(streams: Streams, result_to_rank: int) -> int:
    """Rank 0's handshake: how many items the other announces."""
    content = streams.main.receive()
    try:
        version = messages.version_of(content)
        if version != messages.VERSION:
            refusal = messages.UNSUPPORTED_VERSION, f"handshake version {version} is not supported: use {messages.VERSION}"
            raise _refused(streams, *refusal)
        request = Request.parse(content)
    except Malformed as error:
        raise _refused(streams, messages.INVALID_REQUEST, str(error)) from None
    broken: tuple[tuple[bool, int, str], ...] = (
        (request.rank != 1, messages.INVALID_REQUEST, "the requester is of rank 1"),
        (ECDH_PSI not in request.algorithms, messages.UNSUPPORTED_ALGO, "only ECDH-PSI is supported, algorithm 1"),
        (
            Suit() not in request.suits or 1 not in request.versions,
            messages.UNSUPPORTED_PARAMS,
            "version 1 of the suit Curve25519, SHA-256, DIRECT_HASH_AS_POINT_X is supported: offer it",
        ),
        (
            messages.UNCOMPRESSED not in request.formats,
            messages.UNSUPPORTED_PARAMS,
            "points are supported as POINT_OCTET_FORMAT_UNCOMPRESSED: offer it",
        ),
        (1 not in request.io_versions, messages.UNSUPPORTED_PARAMS, "version 1 of PsiDataIoProposal is supported: offer it"),
        (
            request.result_to_rank != result_to_rank,
            messages.HANDSHAKE_REFUSED,
            f"result_to_rank is {result_to_rank} at rank 0 and {request.result_to_rank} at rank 1: agree on one",
        ),
        (not 0 <= request.items <= MAX_ITEMS, messages.UNSUPPORTED_PARAMS, f"0 to {MAX_ITEMS} items are supported"),
    )
    for failed, code, words in broken:
        if failed:
            raise _refused(streams, code, words)
    streams.main.send(Response(result_to_rank).to_bytes())
    return request.items


def _refused(streams: Streams, code: int, words: str) -> ProtocolViolation:
    """Say so to the peer; what to raise."""
    streams.main.send(Response(EVERYBODY, code=code, words=words).to_bytes())
    return ProtocolViolation(streams.main.peer, "handshake", f"its request is refused by code {code}: {words}")


def _send_masked(main: Channel, items: Items, order: NDArray[np.int64], scalar: bytes, over: threading.Event) -> None:
    """Send own items, to the end or until the run is over."""
    index = 0
    for start in range(0, len(order), BATCH):
        if over.is_set():
            return
        hashed = _points([items[place] for place in order[start : start + BATCH]])
        masked = curve25519.multiply(hashed, scalar)
        main.send(Batch(ENCRYPTED, index, last=False, count=len(masked), points=masked.tobytes()).to_bytes())
        index += 1
    # An empty batch ends: the reference implementation ends at one, whatever a batch before says.
    main.send(Batch(ENCRYPTED, index, last=True, count=0, points=b"").to_bytes())


def _points(items: list[bytes]) -> Points:
    return np.frombuffer(b"".join(hashlib.sha256(item).digest() for item in items), np.uint8).reshape(-1, POINT)


def _mask_again(streams: Streams, scalar: bytes, announced: int | None, *, peer_receives: bool) -> Points:
    """The peer's points times the scalar, which go back to a peer that receives."""
    found = [np.empty((0, POINT), np.uint8)]
    total = 0
    for points, send in _received(streams.main, ENCRYPTED, MAX_ITEMS if announced is None else announced):
        products = curve25519.multiply(points, scalar)
        if not products.any(axis=1).all():
            raise ProtocolViolation(streams.main.peer, ENCRYPTED, "it sent a point of low order")
        found.append(products)
        total += len(products)
        if peer_receives:
            streams.dual.send(send(DUAL, products))
    if announced is not None and total != announced:
        raise ProtocolViolation(streams.main.peer, ENCRYPTED, f"it sent {total} items where it announced {announced}")
    return np.concatenate(found)


def _batches(channel: Channel, kind: str, most: int) -> list[Points]:
    return [points for points, _ in _received(channel, kind, most)]


def _received(channel: Channel, kind: str, most: int) -> Iterator[tuple[Points, partial[bytes]]]:
    """Batches of at most ``most`` points, to the last: the points of each, and how to send others in its place."""
    index = total = 0
    while True:
        try:
            batch = Batch.parse(channel.receive())
        except Malformed as error:
            raise ProtocolViolation(channel.peer, kind, f"no batch: {error}") from None
        total += batch.count
        if batch.type != kind or batch.index != index:
            raise ProtocolViolation(channel.peer, kind, f"batch {index} of type {kind} was due")
        if batch.count < 0 or len(batch.points) != POINT * batch.count:
            raise ProtocolViolation(channel.peer, kind, f"{len(batch.points)} bytes are not {batch.count} points of {POINT}")
        if total > most:
            raise ProtocolViolation(channel.peer, kind, f"it sent more than {most} points")
        if not batch.count and not batch.last:
            raise ProtocolViolation(channel.peer, kind, "only the last batch may be empty")
        yield np.frombuffer(batch.points, np.uint8).reshape(-1, POINT), partial(_packed, index, last=batch.last)
        if batch.last:
            return
        index += 1


def _packed(index: int, kind: str, points: Points, *, last: bool) -> bytes:
    return Batch(kind, index, last, len(points), points.tobytes()).to_bytes()
