"""Labelled private set intersection of two parties: the receiver learns which of its items the sender has, and what the sender has
beside those.

One handshake, then RR22 (:mod:`rr22`) with :mod:`labels`, in either variant; what is large runs in parts (:mod:`parts`).
Commutative masks (:mod:`ecdh`) give the sender no function that it could pad with. For a large set that is asked again and again:
:mod:`unbalanced`, with labels too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from tallystick_node.engines.channel import ProtocolViolation, Session
from tallystick_node.engines.psi import parts, rr22
from tallystick_node.engines.psi.handshake import Intersection, Prediction, bind
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.labels import Labels
from tallystick_node.engines.psi.openings import Check, Show
from tallystick_node.engines.psi.two_party import VARIANTS, predict

Labelled = Literal["rr22", "rr22-malicious"]

_DOMAIN = b"tallystick/v1/psi/labelled\0"


def intersect_labelled(
    session: Session,
    items: Items,
    labels: Labels,
    *,
    peer: int,
    receiver: int,
    protocol: Labelled,
    context: bytes,
    folder: Path | None = None,
    shows: Show | None = None,
    checks: Check | None = None,
) -> Intersection:
    """Intersect distinct ``items`` with those of ``peer``; the receiver ends with positions and labels. Both pass the same width,
    receiver, protocol and context (the task and attempt); the sender passes its rows. ``folder`` is this party's own, of the
    task: a large intersection goes on from what an earlier attempt left there. With openings, for up to ``parts.UNCUT`` items, the
    receiver ``shows`` rows, which the sender ``checks`` before it sends a label.

    Raises ``ValueError`` for duplicates and other local misuse, :class:`ProtocolViolation` naming the peer and the step,
    ``ChannelError`` for a lost peer.
    """
    if peer not in session.channels or receiver not in (session.index, peer) or protocol not in VARIANTS:
        raise ValueError(f"a labelled intersection has two parties, one of them its receiver, and one of {', '.join(VARIANTS)}")
    if len(items) > rr22.MAX_ITEMS:
        raise ValueError(f"rr22 takes at most {rr22.MAX_ITEMS} items")
    if (shows or checks) and len(items) > parts.UNCUT:
        raise ValueError(f"rows are opened of at most {parts.UNCUT} items")
    if session.index != receiver:
        labels.beside(len(items))
    width = labels.width.to_bytes(4, "big")
    run = bind(session, peer, items, hashlib.sha256(_DOMAIN + width + context).digest())
    if run.theirs > rr22.MAX_ITEMS:
        raise ProtocolViolation(peer, "bind", f"it announces more than {rr22.MAX_ITEMS} items")
    if max(len(items), run.theirs) <= parts.UNCUT:
        return rr22.exchange(run, [receiver], VARIANTS[protocol], labels, shows=shows, checks=checks)
    if shows or checks:
        raise ProtocolViolation(peer, "bind", f"it announces more than {parts.UNCUT} items in a task with openings")
    return parts.exchange(run, [receiver], VARIANTS[protocol], folder, labelled=labels)


def predict_labelled(protocol: Labelled, sizes: tuple[int, int], receiver: int, width: int) -> Prediction:
    """What a run of parties 0 and 1 with so many items will cost: that without labels, and all of the sender's labels."""
    plain, sent_labels = predict(protocol, "ids", sizes, [receiver]), sizes[1 - receiver]
    if max(sizes) > parts.UNCUT:
        cut = parts.Cut.of(sent_labels, sizes[receiver])
        sent_labels = cut.parts * cut.own
    sent = list(plain.bytes_sent)
    sent[1 - receiver] += width * sent_labels
    seconds = plain.seconds + (1 if protocol == "rr22" else 6) * 2e-9 * width * sum(sizes)
    return Prediction(tuple(sent), plain.rounds, seconds, plain.memory_bytes + 3 * width * max(sizes))
