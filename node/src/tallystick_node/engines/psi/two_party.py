"""Private set intersection of two parties: one handshake, then one of two protocols.

``rr22`` (:mod:`rr22`) for all but small sets, and ``rr22-malicious``, its variant against parties that deviate; ``ecdh``
(:mod:`ecdh`) for small sets, for cardinalities, which the other cannot give without more, and for more than 2^24 items.
``automatic`` chooses between ``rr22`` and ``ecdh`` by the sizes that the handshake tells both. What is large runs in parts
(:mod:`parts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tallystick_node.engines.channel import ProtocolViolation, Session
from tallystick_node.engines.okvs.shape import Shape
from tallystick_node.engines.psi import ecdh, oprf, parts, rr22, tags
from tallystick_node.engines.psi.curve25519 import POINT
from tallystick_node.engines.psi.ecdh import Mode
from tallystick_node.engines.psi.handshake import BIND_BYTES, Intersection, Prediction, bind, tag_bytes
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.openings import Check, Show

Protocol = Literal["automatic", "rr22", "rr22-malicious", "ecdh"]

PROTOCOLS: tuple[Protocol, ...] = ("automatic", "rr22", "rr22-malicious", "ecdh")
VARIANTS = {"rr22": oprf.SEMI_HONEST, "rr22-malicious": oprf.MALICIOUS}
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
    folder: Path | None = None,
    shows: Show | None = None,
    checks: Check | None = None,
) -> Intersection:
    """Intersect distinct ``items`` with those of ``peer``; both pass the same receivers, mode, protocol and context (the task and
    attempt). ``folder`` is this party's own, of the task: a large intersection goes on from what an earlier attempt left there.
    With openings, which one of ``VARIANTS`` has for up to ``parts.UNCUT`` items, the receiver ``shows`` and the other ``checks``.

    Raises ``ValueError`` for duplicates and other local misuse, :class:`ProtocolViolation` naming the peer and the step,
    ``ChannelError`` for a lost peer.
    """
    pair = {session.index, peer}
    if peer not in session.channels or not receivers or not set(receivers) <= pair or mode not in ("ids", "cardinality"):
        raise ValueError("an intersection has two parties, one or both of them receivers, and mode ids or cardinality")
    if protocol not in PROTOCOLS or (protocol in VARIANTS and mode != "ids"):
        raise ValueError(f"the protocol is one of {', '.join(PROTOCOLS)}, and rr22 gives no cardinality alone")
    if (shows or checks) and (protocol not in VARIANTS or len(items) > parts.UNCUT):
        raise ValueError(f"rows are opened by {' and '.join(VARIANTS)}, of at most {parts.UNCUT} items")
    if protocol in VARIANTS and len(items) > rr22.MAX_ITEMS:
        raise ValueError(f"rr22 takes at most {rr22.MAX_ITEMS} items")
    run = bind(session, peer, items, hashlib.sha256(_DOMAIN + context).digest())
    runs = chosen(protocol, mode, len(items), run.theirs)
    if runs == "ecdh":
        return ecdh.exchange(run, receivers, mode)
    if run.theirs > rr22.MAX_ITEMS:
        raise ProtocolViolation(peer, "bind", f"it announces more than {rr22.MAX_ITEMS} items")
    if shows or checks:
        if run.theirs > parts.UNCUT:
            raise ProtocolViolation(peer, "bind", f"it announces more than {parts.UNCUT} items in a task with openings")
        return rr22.exchange(run, receivers, VARIANTS[runs], shows=shows, checks=checks)
    if max(len(items), run.theirs) > parts.UNCUT:
        return parts.exchange(run, receivers, VARIANTS[runs], folder)
    return rr22.exchange(run, receivers, VARIANTS[runs])


def chosen(protocol: Protocol, mode: Mode, own: int, theirs: int) -> Protocol:
    """The protocol that runs, which is not ``automatic``."""
    if protocol != "automatic":
        return protocol
    return "rr22" if mode == "ids" and own + theirs >= SMALL and max(own, theirs) <= rr22.MAX_ITEMS else "ecdh"


def predict(protocol: Protocol, mode: Mode, sizes: tuple[int, int], receivers: Sequence[int]) -> Prediction:
    """What a run of parties 0 and 1 with so many items will cost. Bytes are exact for ``ecdh``, and within about one per cent, or
    100 kB, for ``rr22``. Seconds are of two cores that both parties share."""
    total = sum(sizes)
    runs = chosen(protocol, mode, *sizes)
    if runs == "ecdh":
        tag = tag_bytes(*sizes)
        sent = [BIND_BYTES + POINT * own + (total - own) * tag * (1 - party in receivers) for party, own in enumerate(sizes)]
        return Prediction(tuple(sent), 4, 2.5e-5 * 2 * max(sizes), 300 * total)
    if max(sizes) <= parts.UNCUT:
        return predict_in_one(VARIANTS[runs], sizes, receivers)
    cut = parts.Cut.of(*sizes)
    one = predict_in_one(VARIANTS[runs], (cut.own, cut.theirs), receivers, cut.parts)
    sent = [BIND_BYTES + parts.HELLO_BYTES + cut.parts * each for each in one.bytes_sent]
    return Prediction(tuple(sent), 3 + cut.parts * one.rounds, cut.parts * one.seconds, one.memory_bytes + 60 * max(sizes))


def predict_in_one(variant: oprf.Variant, sizes: tuple[int, int], receivers: Sequence[int], runs: int = 1) -> Prediction:
    """Like :func:`predict`, of ``rr22`` in one part, one of so many runs."""
    tag, first = tag_bytes(*sizes, runs), rr22.encoder(receivers, dict(enumerate(sizes)))
    slots, others, words = Shape.of(sizes[first]).total, sizes[1 - first], variant.words
    evaluation = oprf.bytes_sent(slots, words)
    encoder = BIND_BYTES + evaluation[0] + (-(-others // 8) + 32) * (len(receivers) == 2)
    sender = BIND_BYTES + evaluation[1] + others * (tags.width(tag) if words == 1 else 16)
    pair = (encoder, sender) if first == 0 else (sender, encoder)
    seconds = 0.4 + (1.1e-6 if words == 1 else 1.7e-6) * (sizes[first] + others)
    return Prediction(pair, (6 if words == 1 else 9) + (len(receivers) == 2), seconds, 250 * slots + 120 * sum(sizes))
