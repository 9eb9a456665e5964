"""Private join and compute: how many items two parties have in common, and the sums of one party's numbers over them.

Ion, Kreuter, Nergiz, Patel, Saxena, Seth, Raykova, Shanahan and Yung, "On Deploying Secure Computing: Private
Intersection-Sum-with-Cardinality" (EuroS&P 2020), the protocol from Diffie-Hellman and an additively homomorphic cryptosystem, here
Curve25519 (:mod:`ecdh`) and Paillier (:mod:`tallystick_node.engines.he.paillier`). The *holder* has numbers beside its items, the
*joiner* has items only.

1. :mod:`handshake`: sizes, then a salt.
2. ``join/items``: the joiner sends its items masked, shuffled; the holder masks them again and returns them in another order.
3. ``join/numbers``: the holder sends its items masked, shuffled, each with a ciphertext of its numbers, packed.
4. The joiner masks those again and sees which of the holder's tags are among its own: not which of its items they are.
   With fewer than ``minimum`` it says so, and both end.
5. ``join/sums``: it adds the ciphertexts of the matches, masks the sum if the holder is not to learn it, re-randomises, and
   sends it. The holder decrypts, and returns the plaintext when the joiner is a receiver.

Security: semi-honest, under decisional Diffie-Hellman in Curve25519, the hash to the curve as a random oracle, and decisional
composite residuosity. Both learn both sizes. The joiner learns the number of matches, whether it is a receiver or not, and also
where that is below the minimum; the holder learns it as a receiver, and otherwise only that the minimum is reached. Sums of few
matches tell much of each: hence the minimum. A joiner that deviates can add what it likes; nothing here notices that.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block, send_block
from tallystick_node.engines.he.errors import InvalidCiphertext, InvalidKey, PlaintextOverflow
from tallystick_node.engines.he.paillier.ciphertexts import Ciphertexts, Encryptor, decrypt
from tallystick_node.engines.he.paillier.keys import PublicKey, generate
from tallystick_node.engines.he.paillier.packing import Packing
from tallystick_node.engines.psi import curve25519
from tallystick_node.engines.psi.curve25519 import POINT
from tallystick_node.engines.psi.ecdh import keys_of, masked, masked_again, shuffled
from tallystick_node.engines.psi.handshake import BIND_BYTES, Bound, bind, tag_bytes
from tallystick_node.engines.psi.items import Items

KEY_BITS = 3072
CIPHERTEXT = KEY_BITS // 4  # bytes
PLAINTEXT = KEY_BITS // 8
SLOT_BITS = 64
MAX_COLUMNS = (KEY_BITS - 3) // SLOT_BITS
MAX_ITEMS = 1 << 22  # of either
BATCH = 1 << 10  # items between two messages

_DOMAIN = b"tallystick/v1/psi/join\0"
_REFUSED = (1 << 64) - 1

Numbers = NDArray[np.int64]


class TooFewMatches(Exception):  # noqa: N818 - a refusal, not a fault
    """Fewer items match than the minimum: no sums are made."""


@dataclass(frozen=True)
class JoinSum:
    """What one party ends with: a receiver the number of matches and the sums, others None."""

    peer_items: int
    matches: int | None
    sums: tuple[int, ...] | None


def number_bound(items: int) -> int:
    """What the magnitude of a number must stay below, so that sums over so many items fit."""
    return Packing(KEY_BITS, SLOT_BITS, max(1, items)).bias


def join_and_sum(
    session: Session,
    items: Items,
    numbers: Numbers | None,
    *,
    peer: int,
    columns: int,
    receivers: Sequence[int],
    minimum: int,
    context: bytes,
) -> JoinSum:
    """Join distinct ``items`` with those of ``peer``. The holder gives ``numbers`` of shape (items, columns), the joiner None; all
    else is the same at both.

    Raises ``ValueError`` for local misuse, :class:`TooFewMatches` at both parties, :class:`ProtocolViolation` naming the peer and
    the step, ``ChannelError`` for a lost peer.
    """
    if peer not in session.channels or not receivers or not set(receivers) <= {session.index, peer}:
        raise ValueError("a join has two parties, one or both of them receivers")
    if not 1 <= columns <= MAX_COLUMNS or len(items) > MAX_ITEMS or minimum < 1:
        raise ValueError(f"1 to {MAX_COLUMNS} columns, at most {MAX_ITEMS} items, and a minimum of at least 1")
    if len(items.distinct()) != len(items):
        raise ValueError("items are unique: remove or group duplicates first")
    if numbers is not None and (numbers.shape != (len(items), columns) or numbers.dtype != np.int64):
        raise ValueError("one row of int64 for each item")
    run = bind(session, peer, items, hashlib.sha256(_DOMAIN + context).digest())
    if run.theirs > MAX_ITEMS:
        raise ProtocolViolation(peer, "bind", f"it announces more than {MAX_ITEMS} items")
    if numbers is None:
        return _join(run, columns, set(receivers), minimum)
    return _hold(run, numbers, set(receivers), minimum)


def bytes_sent(own: int, theirs: int, *, holds: bool) -> int:
    """What a party sends, exactly when all receive and enough items match."""
    if holds:
        return BIND_BYTES + theirs * tag_bytes(own, theirs) + PLAINTEXT + own * (POINT + CIPHERTEXT) + PLAINTEXT
    return BIND_BYTES + own * POINT + 8 + CIPHERTEXT


def _hold(run: Bound, numbers: Numbers, receivers: set[int], minimum: int) -> JoinSum:
    channel, peer = run.session.channels[run.peer], run.peer
    scalar = curve25519.random_scalar()
    width = tag_bytes(len(run.items), run.theirs)
    key = generate(KEY_BITS)
    packing = Packing(KEY_BITS, SLOT_BITS, max(1, len(run.items)))
    encryptor = Encryptor(key)
    channel.mark("join/items")
    theirs = [masked_again(peer, receive_block(channel, size * POINT, "items"), scalar, width) for size in _batches(run.theirs)]
    tags = np.concatenate([np.empty((0, width), np.uint8), *theirs])
    send_block(channel, tags[shuffled(len(tags))].tobytes())
    channel.mark("join/numbers")
    channel.send(key.public.to_bytes())
    order = shuffled(len(run.items))
    done = 0
    for size in _batches(len(order)):
        mine = order[done : done + size]
        plaintexts = [packing.pack(row)[0] for row in numbers[mine]]
        channel.send(masked(run.items, mine, run.salt, scalar) + encryptor.encrypt(plaintexts).to_bytes())
        done += size
        run.session.progress("psi", done / len(order))
    channel.mark("join/sums")
    told = receive_block(channel, 8 + CIPHERTEXT, "sums")
    matches = int.from_bytes(told[:8], "big")
    if matches == _REFUSED:
        raise TooFewMatches
    learns = run.session.index in receivers
    if learns and not minimum <= matches <= run.theirs:
        raise ProtocolViolation(peer, "sums", f"it says that {matches} items match: from {minimum} to {run.theirs} can")
    try:
        (total,) = decrypt(key, Ciphertexts.from_bytes(key.public, told[8:], 1))
        sums = packing.unpack([total], numbers.shape[1], matches) if learns else None
    except (InvalidCiphertext, PlaintextOverflow):
        raise ProtocolViolation(peer, "sums", "it sent what is no sum of the numbers that it was sent") from None
    if peer in receivers:
        if total < 0:
            raise ProtocolViolation(peer, "sums", "it sent what is no sum of the numbers that it was sent")
        channel.send(total.to_bytes(PLAINTEXT, "big"))
    if sums is None:
        return JoinSum(run.theirs, None, None)
    return JoinSum(run.theirs, matches, tuple(sums.tolist()))


def _join(run: Bound, columns: int, receivers: set[int], minimum: int) -> JoinSum:
    channel, peer = run.session.channels[run.peer], run.peer
    scalar = curve25519.random_scalar()
    width = tag_bytes(len(run.items), run.theirs)
    packing = Packing(KEY_BITS, SLOT_BITS, max(1, run.theirs))
    channel.mark("join/items")
    order = shuffled(len(run.items))
    done = 0
    for size in _batches(len(order)):
        send_block(channel, masked(run.items, order[done : done + size], run.salt, scalar))
        done += size
    own = keys_of(np.frombuffer(receive_block(channel, len(order) * width, "tags"), np.uint8).reshape(-1, width))
    channel.mark("join/numbers")
    try:
        key = PublicKey.from_bytes(receive_block(channel, PLAINTEXT, "key"))
    except InvalidKey:
        raise ProtocolViolation(peer, "key", "it sent no public key") from None
    encryptor = Encryptor(key)
    total = encryptor.encrypt([0])
    matches = done = 0
    for size in _batches(run.theirs):
        both = receive_block(channel, size * (POINT + CIPHERTEXT), "numbers")
        tags = masked_again(peer, both[: size * POINT], scalar, width)
        try:
            numbers = Ciphertexts.from_bytes(key, both[size * POINT :], size)
        except InvalidCiphertext:
            raise ProtocolViolation(peer, "numbers", "it sent what is no ciphertext under its key") from None
        which = np.flatnonzero(np.isin(keys_of(tags), own))
        if len(which):
            total += Ciphertexts(key, tuple(numbers.values[i] for i in which)).total()
            matches += len(which)
        done += size
        run.session.progress("psi", done / run.theirs)
    channel.mark("join/sums")
    if matches < minimum:
        channel.send(_REFUSED.to_bytes(8, "big") + bytes(CIPHERTEXT))
        raise TooFewMatches
    # more than 2^40 times longer than what it hides, and below a third of n with it
    mask = 0 if peer in receivers else secrets.randbits(KEY_BITS - 4)
    shown = encryptor.refresh(total.add_plain([mask]))
    channel.send((matches if peer in receivers else 0).to_bytes(8, "big") + shown.to_bytes())
    if run.session.index not in receivers:
        return JoinSum(run.theirs, None, None)
    plaintext = int.from_bytes(receive_block(channel, PLAINTEXT, "sums"), "big") - mask
    try:
        sums = packing.unpack([plaintext], columns, matches)
    except PlaintextOverflow:
        raise ProtocolViolation(peer, "sums", "it decrypted to what is no sum of its numbers") from None
    return JoinSum(run.theirs, matches, tuple(sums.tolist()))


def _batches(number: int) -> Iterator[int]:
    """Sizes of messages."""
    for start in range(0, number, BATCH):
        yield min(BATCH, number - start)
