"""Private lookup of rows by key, between the owner of a table and one asker.

1. ``table``: the owner says which version of the table it has, and its digest; the asker which it holds; the owner sends what is
   missing: nothing, the changes since then (:class:`~.public.Patch`), or all that an asker holds (:class:`~.public.Public`).
2. ``keys``: the asker's keys, blinded, and back evaluated (:mod:`oprf`): what places and opens their rows.
3. ``queries``, in batches: an encrypted query for each key's column, and the answers (:mod:`lwe`).

The asker fills its keys up with random ones to the number that was declared: the owner sees that number, and nothing of the keys.

Security. The messages tell the owner nothing of the keys, under learning with errors and decisional Diffie-Hellman. Every answer is
checked against its column's digest, all of it, whether a key is found or not: an owner that answers from another matrix than it
stated is noticed and named. That the asker ends the run tells such an owner one bit, whether a column that it changed was asked
for. An owner that evaluates all points under another key is noticed too; one that does so with a single point of n + 1 is noticed
with probability 1/(n + 1), and else makes that key be not found. An owner can make a table other than its data: hence semi-honest.
The asker, even a malicious one, can open rows of at most as many keys as it had evaluated, as they were up to then: n + 1, if it
has another key evaluated in place of the known item. It gets the answers to n queries; all else that it sees is sealed. It learns
the number of slots, so about how many rows there are, between versions how many changed, and whether something changed in the
columns of keys that it looked up before.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.channel import (
    Channel,
    ProtocolViolation,
    Session,
    receive_array,
    receive_block,
    send_array,
    send_block,
)
from tallystick_node.engines.pir import lwe, oprf
from tallystick_node.engines.pir.lwe import Bytes
from tallystick_node.engines.pir.public import DIGEST, HEADER, LABEL, NotATable, Patch, Public, column_digest, read_header
from tallystick_node.engines.pir.table import Table, columns_of, labels_of, open_row, sealed_width
from tallystick_node.engines.psi.curve25519 import POINT
from tallystick_node.engines.security import SecurityStatement

BATCH = 16  # queries between two turns
MAX_LOOKUPS = 1 << 10
MAX_PATCHES = 16
VERSION = 32  # bytes of what names the version of the data

_NOTHING = bytes(DIGEST)


@dataclass(frozen=True)
class Offer:
    """What an owner serves: a table of the data whose version 32 bytes name, and the patches that led to it, oldest first."""

    version: bytes
    table: Table
    patches: Sequence[bytes] = ()


def security() -> SecurityStatement:
    """What a lookup promises."""
    return SecurityStatement(
        adversary="semi-honest",
        corruptions=1,
        parties=2,
        computational_bits=min(lwe.SECURITY_BITS, oprf.SECURITY_BITS),
        statistical_bits=64,
        trusted=(),
        learns={
            "owner": "how many keys are looked up, as declared; not which, nor whether they are found",
            "asker": "about how many rows there are, how many changed since it last asked, and whether something changed in the "
            "column of a key that it asked for before; of rows none but those of its keys",
            "public": "the spec and who took part",
        },
        references=(
            "A. Henzinger et al., One Server for the Price of Two, USENIX Security 2023",
            "S. Jarecki, A. Kiayias and H. Krawczyk, Round-Optimal Password-Protected Secret Sharing, ASIACRYPT 2014",
            "M. Albrecht et al., Homomorphic Encryption Security Standard, 2018",
        ),
    )


def serve(session: Session, peer: int, offer: Offer, lookups: int) -> None:
    """Answer so many lookups of ``peer``. Raises :class:`ProtocolViolation` naming the peer and the step, ``ChannelError``."""
    channel, table = session.channels[peer], offer.table
    public = table.public
    channel.mark("lookup/table")
    digest = public.digest
    send_block(channel, offer.version + digest + public.header())
    _send_missing(session, peer, offer, digest, receive_block(channel, DIGEST, "table"))
    channel.mark("lookup/keys")
    points = np.frombuffer(receive_block(channel, (lookups + 1) * POINT, "keys"), np.uint8).reshape(-1, POINT)
    try:
        evaluated = oprf.evaluate_blinded(table.keys, points)
    except ValueError as error:
        raise ProtocolViolation(peer, "keys", str(error)) from None
    send_block(channel, evaluated.tobytes())
    channel.mark("lookup/queries")
    for start in range(0, lookups, BATCH):
        shape = (min(BATCH, lookups - start), public.layout.columns)
        send_array(session, peer, lwe.answer(table.matrix, receive_array(session, peer, shape, "queries", np.uint32)))
        session.progress("lookup", min(1.0, (start + BATCH) / lookups))


def ask(
    session: Session,
    peer: int,
    items: Sequence[bytes],
    lookups: int,
    version: bytes,
    row_bytes: int,
    held: Public | None = None,
    keep: Callable[[Public], None] = lambda _: None,
) -> list[bytes | None]:
    """The rows of ``items`` in the table of ``peer``, None for each that it has not.

    ``lookups``: the declared number, at least that of the items. ``version``: what names the version of the data that both know.
    ``held``: what was kept of an earlier lookup, and ``keep`` keeps what is held now, if it is another. Raises ``ValueError`` for
    local misuse, :class:`ProtocolViolation` naming the peer and the step, ``ChannelError`` for a lost peer.
    """
    if len(items) > lookups or len(set(items)) != len(items) or not 1 <= lookups <= MAX_LOOKUPS:
        raise ValueError("more items than lookups, items that repeat, or more lookups than one run takes")
    channel = session.channels[peer]
    channel.mark("lookup/table")
    session.patience(peer)  # the owner may have to make its table first
    public = _receive_missing(session, channel, version, row_bytes, held)
    if public is not held:
        keep(public)
    channel.mark("lookup/keys")
    padded = [*items, *(secrets.token_bytes(32) for _ in range(lookups - len(items)))]
    blinding = oprf.Blinding(padded)
    send_block(channel, blinding.points.tobytes())
    evaluated = np.frombuffer(receive_block(channel, public.keys * blinding.points.size, "keys"), np.uint8).reshape(-1, POINT)
    try:
        outputs = blinding.finish(evaluated, public.keys, public.check)
    except ValueError as error:
        raise ProtocolViolation(peer, "keys", str(error)) from None
    channel.mark("lookup/queries")
    found: list[bytes | None] = []
    for start in range(0, lookups, BATCH):
        part = outputs[:, start : start + BATCH]
        columns = _read_columns(session, peer, public, [int(each) for each in columns_of(part[0], public.layout)])
        found += [_opened(part[:, i], column, public) for i, column in enumerate(columns)]
        session.progress("lookup", min(1.0, (start + BATCH) / lookups))
    return found[: len(items)]


def _send_missing(session: Session, peer: int, offer: Offer, digest: bytes, held: bytes) -> None:
    channel, public = session.channels[peer], offer.table.public
    patches = _since(offer.patches, held) if held != digest else []
    if patches is not None and sum(map(len, patches)) <= public.size:
        channel.send(len(patches).to_bytes(2, "big") + b"".join(len(each).to_bytes(8, "big") for each in patches))
        for each in patches:
            send_block(channel, each)
        return
    channel.send(b"\xff\xff")
    for part in (public.hint, public.digests, public.stash):
        send_array(session, peer, part)


def _since(patches: Sequence[bytes], held: bytes) -> Sequence[bytes] | None:
    """The patches that lead on from a version; None when that is unknown."""
    for number, each in enumerate(patches):
        if each[:DIGEST] == held:
            return patches[number:]
    return None


def _receive_missing(session: Session, channel: Channel, version: bytes, row_bytes: int, held: Public | None) -> Public:
    peer, step = channel.peer, "table"
    first = receive_block(channel, VERSION + DIGEST + HEADER, step)
    if first[:VERSION] != version:
        raise ProtocolViolation(peer, step, "it serves another version of the data than the registered one")
    digest = first[VERSION : VERSION + DIGEST]
    try:
        layout = read_header(first[VERSION + DIGEST :])[0]
        if layout.width != sealed_width(row_bytes):
            raise NotATable(f"rows of {layout.width} bytes where {sealed_width(row_bytes)} are due")
        send_block(channel, held.digest if held is not None else _NOTHING)
        kind = channel.receive()
        if kind == b"\xff\xff":
            public = _receive_public(session, peer, first[VERSION + DIGEST :])
        elif held is not None:
            public = _receive_patches(channel, kind, held, step)
        else:
            raise NotATable("changes of a table that is not held")
    except NotATable as error:
        raise ProtocolViolation(peer, step, str(error)) from None
    if public.digest != digest:
        raise ProtocolViolation(peer, step, "what it sends of the table has another digest than it stated")
    return public


def _receive_public(session: Session, peer: int, header: bytes) -> Public:
    layout, stash, keys, seed, check = read_header(header)
    hint = receive_array(session, peer, (layout.rows, lwe.N), "table", np.uint32)
    digests = receive_array(session, peer, (layout.columns, DIGEST), "table", np.uint8)
    entries = receive_array(session, peer, (stash, LABEL + layout.width), "table", np.uint8)
    return Public(layout, seed, keys, check, hint, digests, entries)


def _receive_patches(channel: Channel, kind: bytes, held: Public, step: str) -> Public:
    sizes = [int.from_bytes(kind[at : at + 8], "big") for at in range(2, len(kind), 8)]
    count = int.from_bytes(kind[:2], "big")
    if len(kind) != 2 + 8 * count or count > MAX_PATCHES or sum(sizes) > 2 * held.size:
        raise NotATable("changes that are too many, or larger than the table")
    for size in sizes:
        held = Patch.parse(receive_block(channel, size, step), held.layout).applied(held)
    return held


def _read_columns(session: Session, peer: int, public: Public, columns: Sequence[int]) -> Bytes:
    """The columns' bytes, shape (columns, rows), each checked against its digest."""
    hidden, queries = lwe.encrypt(public.seed, public.layout.columns, columns)
    send_array(session, peer, queries)
    shape = (len(columns), public.layout.rows)
    read = lwe.decrypt(public.hint, hidden, receive_array(session, peer, shape, "queries", np.uint16))
    for content, column in zip(read, columns, strict=True):
        if column_digest(content.data) != public.digests[column].tobytes():
            raise ProtocolViolation(peer, "queries", "an answer is not that of the table that it stated")
    return read


def _opened(outputs: Bytes, column: Bytes, public: Public) -> bytes | None:
    """The row of the key with these outputs of F, one for each of its keys: in its column, or in the stash."""
    bands = column.reshape(public.layout.bands, public.layout.width)
    for output, label in zip(outputs, labels_of(outputs), strict=True):
        stashed = public.stash[(public.stash[:, :LABEL] == label).all(axis=1), LABEL:]
        found = next((row for slot in (*bands, *stashed) if (row := open_row(output, slot)) is not None), None)
        if found is not None:
            return found
    return None
