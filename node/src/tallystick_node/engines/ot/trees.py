"""Punctured trees (Goldreich, Goldwasser and Micali 1986): one party knows all leaves of a tree, the other all but one.

From one base transfer for each level of a tree, and with the consistency check of Boyle et al. (CCS 2019, "Efficient two-round OT
extension", section 4.2; SoftSpokenOT, CRYPTO 2022, section 5): each leaf also yields a check value, the party with all leaves sends
their XOR and their digest. It can cheat only so that the other aborts for some choices: a guess at the choice that fails is
noticed, and costs it no more than the bits that it guessed.

Security: malicious with abort, under SHA-256 as a random oracle.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.ot import base

SEED = 16  # bytes of a node
_CHECK = 32  # bytes of a check value and of a digest
STEP = "ot trees"


def grow(session: Session, peer: int, trees: int, depth: int, label: bytes) -> list[list[bytes]]:
    """All leaves of ``trees`` fresh trees, of which ``peer`` gets all but one each, by :func:`puncture`."""
    keys = base.send(session, peer, trees * depth, label)
    sums = bytearray()
    checks = bytearray()
    grown = []
    for tree in range(trees):
        nodes = [secrets.token_bytes(SEED)]
        for level in range(depth):
            pairs = [_children(node) for node in nodes]
            for side in (0, 1):
                sums += _xor(_xor_all([pair[side] for pair in pairs]), keys[tree * depth + level][side])
            nodes = [child for pair in pairs for child in pair]
        values = [_check(node) for node in nodes]
        checks += _xor_all(values) + hashlib.sha256(b"".join(values)).digest()
        grown.append([_leaf(node) for node in nodes])
    send_array(session, peer, np.frombuffer(bytes(sums), np.uint8))
    send_array(session, peer, np.frombuffer(bytes(checks), np.uint8))
    return grown


def puncture(session: Session, peer: int, missing: NDArray[np.uint8], depth: int, label: bytes) -> list[list[bytes]]:
    """The leaves of the trees that ``peer`` grew, but for number ``missing[i]`` of tree i, which is empty.

    Raises ProtocolViolation when the leaves are not those of one tree.
    """
    trees = len(missing)
    sides = (missing[:, None] >> np.arange(depth - 1, -1, -1, dtype=np.uint8)) & 1  # of the missing leaf, from the root
    keys = base.receive(session, peer, np.ascontiguousarray(1 - sides).reshape(-1), label)
    sums = receive_array(session, peer, (trees, depth, 2, SEED), STEP, np.uint8)
    checks = receive_array(session, peer, (trees, 2, _CHECK), STEP, np.uint8)
    known = []
    for tree in range(trees):
        nodes = [b""]
        for level in range(depth):
            pairs = [_children(node) if node else (b"", b"") for node in nodes]
            side = 1 - int(sides[tree, level])
            total = _xor(sums[tree, level, side].tobytes(), keys[tree * depth + level])
            sibling = _xor(total, _xor_all([pair[side] for pair in pairs if pair[side]]))
            hole = nodes.index(b"")
            nodes = [child for pair in pairs for child in pair]
            nodes[2 * hole + side] = sibling
        values = [_check(node) if node else b"" for node in nodes]
        values[nodes.index(b"")] = _xor(checks[tree, 0].tobytes(), _xor_all([value for value in values if value]))
        if not hmac.compare_digest(hashlib.sha256(b"".join(values)).digest(), checks[tree, 1].tobytes()):
            raise ProtocolViolation(peer, STEP, "sent sums that are not those of one tree")
        known.append([_leaf(node) if node else b"" for node in nodes])
    return known


def _children(node: bytes) -> tuple[bytes, bytes]:
    both = hashlib.sha256(b"tallystick/ot/node/v1" + node).digest()
    return both[:SEED], both[SEED:]


def _leaf(node: bytes) -> bytes:
    return hashlib.sha256(b"tallystick/ot/leaf/v1" + node).digest()[:SEED]


def _check(node: bytes) -> bytes:
    return hashlib.sha256(b"tallystick/ot/check/v1" + node).digest()


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")


def _xor_all(values: list[bytes]) -> bytes:
    return (
        bytes(np.bitwise_xor.reduce(np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1), axis=0)) if values else b""
    )
