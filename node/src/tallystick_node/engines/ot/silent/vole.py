"""Vector oblivious linear evaluation over GF(2^64), silently: c = b + delta a for a random vector a.

The *sender* holds delta, two elements of GF(2^64), and b of pairs of elements; the *receiver* holds a of elements and pairs c. The
product delta a is taken lane by lane (:mod:`field`). Both ends call with the same count; a is random, so a receiver that wants a
vector of its own sends the difference.

    delta, b = vole_send(session, peer, count)      # uint64[2], uint64[count, 2]
    a, c = vole_receive(session, peer, count)       # uint64[count], uint64[count, 2]

How: the noise is a random element at one random place of each tree (:mod:`forest`). Rows of an extension give both parties shares
of delta times every element of the noise, 64 rows each (Gilboa, CRYPTO 1999), which the sender adds to the sum of all leaves: so
the receiver's missing leaf becomes the sender's plus delta times the element. :mod:`code` compresses leaves and noise alike (Boyle,
Couteau, Gilboa and Ishai, CCS 2018; Boyle et al., CCS 2019). Each call makes its base transfers anew, and delta with them.

Security: semi-honest, either party, under dual learning parity with regular noise over GF(2^64) for the code (parameters in
:mod:`shape`), AES as an ideal permutation, and :mod:`tallystick_node.engines.ot.rows` (which is malicious with abort, but does not
make the rest so). A message of another length raises ProtocolViolation naming the peer and the step.

For t trees of depth d the receiver sends 4 t (d + 64) bytes of corrections and the base transfers, the sender 16 t (d + 2): in all
some 0.35 MB for 10^6 correlations. Rounds: those of the rows, and a message.
"""

from __future__ import annotations

import secrets

import numpy as np

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.ot.rows import RowReceiver, RowSender
from tallystick_node.engines.ot.silent.code import Code
from tallystick_node.engines.ot.silent.field import WIDE, Words, packed
from tallystick_node.engines.ot.silent.forest import STEP, Forests, sides, total
from tallystick_node.engines.ot.silent.shape import Shape, shape

_LABEL = b"silent vole"


def vole_send(session: Session, peer: int, count: int) -> tuple[Words, Words]:
    """Delta, of two words, and b, of shape (count, 2)."""
    form = shape(count)
    extension = RowSender(session, peer, _LABEL)
    rows = extension.rows(form.trees * (form.depth + WIDE.bits)).reshape(form.trees, -1, 2)
    session.channels[peer].mark(STEP)
    leaves = Forests(session, peer, session.index).grow(form, rows[:, : form.depth], extension.delta)
    send_array(session, peer, packed(WIDE, rows[:, form.depth :]) ^ _sums(leaves, form))
    return extension.delta, Code(session.context).compress(WIDE, leaves, count)


def vole_receive(session: Session, peer: int, count: int) -> tuple[Words, Words]:
    """The vector a, of shape (count,), and c = b + delta a, of shape (count, 2)."""
    form = shape(count)
    holes = np.frombuffer(secrets.token_bytes(8 * form.trees), np.int64) & ((1 << form.depth) - 1)
    noise = np.frombuffer(secrets.token_bytes(8 * form.trees), np.uint64)
    places = np.unpackbits(noise.view(np.uint8), bitorder="little").reshape(form.trees, WIDE.bits)
    choices = np.concatenate([1 - sides(holes, form.depth), places], axis=1)
    rows = RowReceiver(session, peer, _LABEL).rows(choices.reshape(-1)).reshape(form.trees, -1, 2)
    session.channels[peer].mark(STEP)
    leaves = Forests(session, peer, peer).puncture(form, rows[:, : form.depth], holes)
    lacking = receive_array(session, peer, (form.trees, 2), STEP)
    hole = np.arange(form.trees) * (1 << form.depth) + holes
    leaves[hole] = lacking ^ packed(WIDE, rows[:, form.depth :]) ^ _sums(leaves, form)
    vector = np.zeros(form.size, np.uint64)
    vector[hole] = noise
    code = Code(session.context)
    return code.compress(WIDE, vector, count), code.compress(WIDE, leaves, count)


def _sums(leaves: Words, form: Shape) -> Words:
    return total(leaves.reshape(form.trees, -1, 2), 0, 1)
