"""Vector oblivious linear evaluation over GF(2^64), silently: c = b + delta a for a random vector a.

The *sender* holds delta, two elements of GF(2^64), and b of pairs of elements; the *receiver* holds a of elements and pairs c. The
product delta a is taken lane by lane (:mod:`field`). Both ends call with the same count, from 1 to 2^26; a is random, so a receiver
that wants a vector of its own sends the difference.

    delta, b = vole_send(session, peer, count)      # uint64[2], uint64[count, 2]
    a, c = vole_receive(session, peer, count)       # uint64[count], uint64[count, 2]

From a sparse vector of noise (:mod:`sparse`), which :mod:`code` compresses on both sides (Boyle, Couteau, Gilboa and Ishai, CCS
2018; Boyle et al., CCS 2019). Each call makes its base transfers anew, and delta with them.

Security: semi-honest, either party, under dual learning parity with regular noise over GF(2^64) for the code (parameters in
:mod:`shape`), AES as an ideal permutation, and :mod:`tallystick_node.engines.ot.rows` (which is malicious with abort, but does not
make the rest so; :mod:`checked` does). A message of another length raises ProtocolViolation naming the peer and the step.

Bytes: those of base transfers, some 15 KB, and of the sparse vector, in all 0.32 MB for 10^6. Rounds: those of the rows, and a
message.
"""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.channel import Session
from tallystick_node.engines.ot.rows import RowReceiver, RowSender
from tallystick_node.engines.ot.silent.code import Code
from tallystick_node.engines.ot.silent.field import WORDS, Words
from tallystick_node.engines.ot.silent.forest import Room
from tallystick_node.engines.ot.silent.shape import shape
from tallystick_node.engines.ot.silent.sparse import SparseReceiver, SparseSender

_LABEL = b"silent vole"


def vole_send(session: Session, peer: int, count: int) -> tuple[Words, Words]:
    """Delta, of two words, and b, of shape (count, 2)."""
    form = shape(count)
    rows = RowSender(session, peer, _LABEL)
    leaves = SparseSender(session, peer, _LABEL, rows, Room()).vector(WORDS, form)
    (b,) = Code(session.context).compress(WORDS, count, leaves)
    return rows.delta, b


def vole_receive(session: Session, peer: int, count: int) -> tuple[Words, Words]:
    """The vector a, of shape (count,), and c = b + delta a, of shape (count, 2)."""
    form = shape(count)
    noise = SparseReceiver(session, peer, _LABEL, RowReceiver(session, peer, _LABEL), Room()).vector(WORDS, form)
    vector = np.zeros(form.size, np.uint64)
    vector[noise.places] = noise.elements[:, 0]
    a, c = Code(session.context).compress(WORDS, count, vector, noise.leaves)
    return a, c
