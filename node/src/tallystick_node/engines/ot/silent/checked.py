"""Vector oblivious linear evaluation over GF(2^128), silently and against malicious parties: c = b + delta a.

    delta, b = checked_vole_send(session, peer, count)      # uint64[2], uint64[count, 2]
    a, c = checked_vole_receive(session, peer, count)       # uint64[count, 2], uint64[count, 2]

As :mod:`vole`, with a check of the sparse vector before it is compressed (Weng, Yang, Katz and Wang, "Wolverine", S&P 2021, section
5.1). The receiver draws an element of GF(2^128) after the leaves are fixed: the value there of the polynomials with coefficients v,
w and u must be related as v, w and u are. Its value of u it sends under the mask of one more evaluation, made from 128 rows. The
sender commits to its value, the receiver sends its own, the sender opens: so a sender that sent wrong sums cannot fit its answer to
what it hears, and a receiver that lies about u cannot hear what its lie made of delta.

Security: malicious with abort, either party, for N places up to N / 2^128, under dual learning parity with regular noise over
GF(2^128), AES as an ideal permutation, SHA-256 as a random oracle. A sender can guess in which half of its leaves a place of noise
lies, and goes unnoticed when it is right: one bit for each bit of luck, of 600 places or more. A malicious receiver chooses
a, and of delta's bits what :mod:`tallystick_node.engines.ot.rows` says. Aborts raise ProtocolViolation with the peer and the step.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.ot.rows import RowReceiver, RowSender
from tallystick_node.engines.ot.silent.code import Code
from tallystick_node.engines.ot.silent.field import BLOCKS, Words, add_block_product, multiples, packed, polynomial
from tallystick_node.engines.ot.silent.forest import Room
from tallystick_node.engines.ot.silent.shape import shape
from tallystick_node.engines.ot.silent.sparse import Sparse, SparseReceiver, SparseSender

CHECK = "silent check"

_LABEL = b"checked silent vole"
_DIGEST = 32


def checked_vole_send(session: Session, peer: int, count: int) -> tuple[Words, Words]:
    """Delta, of two words, and b, of shape (count, 2). Raises ProtocolViolation when the peer cheats."""
    rows = RowSender(session, peer, _LABEL)
    leaves = SparseSender(session, peer, _LABEL, rows, Room()).vector(BLOCKS, shape(count))
    mask = packed(BLOCKS, rows.rows(BLOCKS.bits)[None])
    session.channels[peer].mark(CHECK)
    point, told = receive_array(session, peer, (2, 2), CHECK)
    value = mask ^ polynomial(leaves, multiples(point, BLOCKS))
    add_block_product(value, told[None], multiples(rows.delta, BLOCKS))
    salt = secrets.token_bytes(_DIGEST)
    send_array(session, peer, np.frombuffer(_commitment(session, salt, value), np.uint8))
    theirs = receive_array(session, peer, (1, 2), CHECK)
    if not hmac.compare_digest(theirs.tobytes(), value.tobytes()):
        raise ProtocolViolation(peer, CHECK, "its vector is not the one that it told of")
    send_array(session, peer, np.frombuffer(salt, np.uint8))
    (b,) = Code(session.context).compress(BLOCKS, count, leaves)
    return rows.delta, b


def checked_vole_receive(session: Session, peer: int, count: int) -> tuple[Words, Words]:
    """The vector a and c = b + delta a, both of shape (count, 2). Raises ProtocolViolation when the peer cheats."""
    form = shape(count)
    rows = RowReceiver(session, peer, _LABEL)
    noise = SparseReceiver(session, peer, _LABEL, rows, Room()).vector(BLOCKS, form)
    element = np.frombuffer(secrets.token_bytes(16), np.uint64)
    mask = packed(BLOCKS, rows.rows(np.unpackbits(element.view(np.uint8), bitorder="little"))[None])
    session.channels[peer].mark(CHECK)
    vector = np.zeros((form.size, 2), np.uint64)
    vector[noise.places] = noise.elements
    _prove(session, peer, noise, vector, element, mask)
    a, c = Code(session.context).compress(BLOCKS, count, vector, noise.leaves)
    return a, c


def _prove(session: Session, peer: int, noise: Sparse, vector: Words, element: Words, mask: Words) -> None:
    """The receiver's side of the check."""
    point = np.frombuffer(secrets.token_bytes(16), np.uint64)
    table = multiples(point, BLOCKS)
    send_array(session, peer, np.stack([point, element ^ polynomial(vector, table)]))
    committed = receive_array(session, peer, (_DIGEST,), CHECK, np.uint8)
    value = mask ^ polynomial(noise.leaves, table)
    send_array(session, peer, value)
    salt = receive_array(session, peer, (_DIGEST,), CHECK, np.uint8).tobytes()
    if not hmac.compare_digest(_commitment(session, salt, value), committed.tobytes()):
        raise ProtocolViolation(peer, CHECK, "sent sums that are not those of its trees")


def _commitment(session: Session, salt: bytes, value: Words) -> bytes:
    domain = b"tallystick/ot/silent/check/v1" + len(session.context).to_bytes(4, "big") + session.context
    return hashlib.sha256(domain + salt + value.tobytes()).digest()
