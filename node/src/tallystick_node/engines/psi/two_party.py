"""Private set intersection of two parties: one handshake, then one of two protocols.

``rr22`` (:mod:`rr22`) for all but small sets; ``ecdh`` (:mod:`ecdh`) for small ones, for cardinalities, which the other cannot give
without more, and for more than 2^24 items. ``automatic`` chooses by the sizes that the handshake tells both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tallystick_node.engines.channel import ProtocolViolation, Session
from tallystick_node.engines.okvs.shape import Shape
from tallystick_node.engines.psi import ecdh, rr22, tags
from tallystick_node.engines.psi.curve25519 import POINT
from tallystick_node.engines.psi.ecdh import Mode
from tallystick_node.engines.psi.handshake import BIND_BYTES, Intersection, bind, tag_bytes
from tallystick_node.engines.psi.items import Items

Protocol = Literal["automatic", "rr22", "ecdh"]

PROTOCOLS: tuple[Protocol, ...] = ("automatic", "rr22", "ecdh")
SMALL = 1 << 13  # items of both together: below, the base transfers and trees of rr22 cost more than points on a curve

_DOMAIN = b"tallystick/v1/psi\0"


def intersect(
    session: Session,
    items: Items,
    *,
    peer: int,
    receivers: Sequence[int],
    mode: Mode,
    protocol: Protocol,
    context: bytes,
) -> Intersection:
    """Intersect distinct ``items`` with those of ``peer``; both pass the same receivers, mode, protocol and context (the task and
    attempt).

    Raises ``ValueError`` for duplicates and other local misuse, :class:`ProtocolViolation` naming the peer and the step,
    ``ChannelError`` for a lost peer.
    """
    pair = {session.index, peer}
    if peer not in session.channels or not receivers or not set(receivers) <= pair or mode not in ("ids", "cardinality"):
        raise ValueError("an intersection has two parties, one or both of them receivers, and mode ids or cardinality")
    if protocol not in PROTOCOLS or (protocol == "rr22" and mode != "ids"):
        raise ValueError(f"the protocol is one of {', '.join(PROTOCOLS)}, and rr22 gives no cardinality alone")
    if protocol == "rr22" and len(items) > rr22.MAX_ITEMS:
        raise ValueError(f"rr22 takes at most {rr22.MAX_ITEMS} items")
    if len(items.distinct()) != len(items):
        raise ValueError("items are unique: remove or group duplicates first")
    run = bind(session, peer, items, hashlib.sha256(_DOMAIN + context).digest())
    if chosen(protocol, mode, len(items), run.theirs) == "ecdh":
        return ecdh.exchange(run, receivers, mode)
    if run.theirs > rr22.MAX_ITEMS:
        raise ProtocolViolation(peer, "bind", f"it announces more than {rr22.MAX_ITEMS} items")
    return rr22.exchange(run, receivers)


def chosen(protocol: Protocol, mode: Mode, own: int, theirs: int) -> Protocol:
    """The protocol that runs: ``rr22`` or ``ecdh``."""
    if protocol != "automatic":
        return protocol
    return "rr22" if mode == "ids" and own + theirs >= SMALL and max(own, theirs) <= rr22.MAX_ITEMS else "ecdh"


@dataclass(frozen=True)
class Prediction:
    """Of one run: bytes that each party sends, in the order of the sizes; the rest of the party with most."""

    protocol: Protocol
    bytes_sent: tuple[int, int]
    rounds: int
    seconds: float
    memory_bytes: int


def predict(protocol: Protocol, mode: Mode, sizes: tuple[int, int], receivers: Sequence[int]) -> Prediction:
    """What a run of parties 0 and 1 with so many items will cost. Bytes are exact for ``ecdh``, and within about one per cent, or
    100 kB, for ``rr22``. Seconds are of two cores that both parties share."""
    total = sum(sizes)
    tag = tag_bytes(*sizes)
    if chosen(protocol, mode, *sizes) == "ecdh":
        sent = [BIND_BYTES + POINT * own + (total - own) * tag * (1 - party in receivers) for party, own in enumerate(sizes)]
        return Prediction("ecdh", (sent[0], sent[1]), 4, 2.5e-5 * 2 * max(sizes), 300 * total)
    first = rr22.encoder(receivers, dict(enumerate(sizes)))
    slots, others = Shape.of(sizes[first]).total, sizes[1 - first]
    evaluation = rr22.evaluation_bytes(slots)
    encoder = BIND_BYTES + evaluation[0] + 8 * slots + (-(-others // 8) + 32) * (len(receivers) == 2)
    sender = BIND_BYTES + evaluation[1] + others * tags.width(tag)
    pair = (encoder, sender) if first == 0 else (sender, encoder)
    return Prediction("rr22", pair, 12, 0.4 + 1.1e-6 * (sizes[first] + others), 230 * slots + 120 * total)
