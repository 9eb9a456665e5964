"""Base oblivious transfer: the endemic OT of Masny and Rindal (CCS 2019, section 5) over secp256k1, one round.

The receiver of choice c sends two points r_0, r_1 with r_c = aG - H(r_{1-c}); the sender sends B = yG. With M_i = r_i + H(r_{1-i})
the sender's keys are hashes of y M_0 and y M_1, and the receiver knows the one of a B = y M_c.

Security: malicious with abort on either side, under the gap Diffie-Hellman assumption in the random-oracle model. It is *endemic*:
a party that cheats may choose the keys that it itself gets, which the extension of :mod:`extension` allows (Roy, CRYPTO 2022,
section 2). The group has prime order, so no point is of small order; libsecp256k1 refuses what is not the encoding of a point, and
infinity is refused here. All hashes are bound to the session's context, to who sends and receives, to a label and to the number of
the transfer.

One transfer costs 66 bytes; the sender adds 33 bytes for all of them.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.mpc import secp256k1
from tallystick_node.engines.mpc.secp256k1 import ENCODED, Point

KEY = 16  # bytes
STEP = "base ot"


def send(session: Session, peer: int, count: int, label: bytes) -> list[tuple[bytes, bytes]]:
    """The keys of ``count`` transfers to ``peer``, 16 bytes each. Raises ProtocolViolation for what is no pair of points."""
    domain = _domain(session.context, session.index, peer, label)
    secret = secp256k1.random_scalar()
    own = secp256k1.base(secret)
    packed = secp256k1.encode(own)
    send_array(session, peer, np.frombuffer(packed, np.uint8))
    offers = receive_array(session, peer, (count, 2, ENCODED), STEP, np.uint8)
    keys = []
    for number in range(count):
        codes = [offers[number, side].tobytes() for side in (0, 1)]
        points = [_decode(code, peer) for code in codes]
        pair = []
        for side in (0, 1):
            masked = secp256k1.add(points[side], hash_to_group(domain, number, codes[1 - side]))
            if masked is None:
                raise ProtocolViolation(peer, STEP, "sent points that add up to infinity")
            pair.append(_key(domain, number, side, packed, codes, secp256k1.multiply(masked, secret)))
        keys.append((pair[0], pair[1]))
    return keys


def receive(session: Session, peer: int, choices: NDArray[np.uint8], label: bytes) -> list[bytes]:
    """The key of each choice, of the transfers that ``peer`` sends. Raises ProtocolViolation for what is no point."""
    domain = _domain(session.context, peer, session.index, label)
    secrets = [secp256k1.random_scalar() for _ in choices]
    codes: list[list[bytes]] = []
    for number, (choice, secret) in enumerate(zip(choices.tolist(), secrets, strict=True)):
        other = secp256k1.encode(secp256k1.base(secp256k1.random_scalar()))
        mask = hash_to_group(domain, number, other)
        chosen = secp256k1.encode(secp256k1.add(secp256k1.base(secret), secp256k1.neg(mask)))
        hash_to_group(domain, number, chosen)  # its time depends on the point: spend that of both points, whichever was chosen
        codes.append([(chosen, other)[choice], (other, chosen)[choice]])
    offers = np.frombuffer(b"".join(code for pair in codes for code in pair), np.uint8)
    send_array(session, peer, offers)
    packed = receive_array(session, peer, (ENCODED,), STEP, np.uint8).tobytes()
    theirs = _decode(packed, peer)
    return [
        _key(domain, number, choice, packed, codes[number], secp256k1.multiply(theirs, secret))
        for number, (choice, secret) in enumerate(zip(choices.tolist(), secrets, strict=True))
    ]


def hash_to_group(domain: bytes, number: int, code: bytes) -> Point:
    """A point whose logarithm nobody knows, by trying: the first digest of a counter that is an abscissa of the curve, with a sign
    bit. As random as the hash is."""
    state = hashlib.sha512(b"tallystick/ot/group/v1" + domain + number.to_bytes(4, "big") + code)
    for attempt in range(256):  # half of all abscissas are on the curve
        trial = state.copy()
        trial.update(bytes([attempt]))
        digest = trial.digest()
        try:
            return secp256k1.decode(bytes([2 + (digest[32] & 1)]) + digest[:32])
        except ValueError:
            continue
    raise ArithmeticError("no point in 256 attempts")


def _domain(context: bytes, sender: int, receiver: int, label: bytes) -> bytes:
    parts = (context, sender.to_bytes(4, "big"), receiver.to_bytes(4, "big"), label)
    return hashlib.sha256(b"tallystick/ot/base/v1" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def _key(domain: bytes, number: int, side: int, own: bytes, codes: list[bytes], shared: Point) -> bytes:
    head = b"tallystick/ot/key/v1" + domain + number.to_bytes(4, "big") + bytes([side])
    return hashlib.sha256(head + own + codes[0] + codes[1] + secp256k1.encode(shared)).digest()[:KEY]


def _decode(code: bytes, peer: int) -> Point:
    try:
        point = secp256k1.decode(code)
    except ValueError:
        point = None
    if point is None:
        raise ProtocolViolation(peer, STEP, "sent what is no point of the group")
    return point
