"""Are the sums of a task's rounds those of what the parties sent? By commitments whose openings the chain checks.

At the end of the rounds every owner has what it sent, masked, and everybody the sums (:mod:`.journal`). Each owner commits to all
that it sent (:mod:`tallystick.commitments.vector_sum`), hidden by two random elements for each chunk; the sum's commitments are
those of the sums with the sums of these elements. From all commitments follows the point at which each is opened.

The elements are added up by additive shares modulo r: an owner sends every other owner a share, each adds what it has, and shows
that sum with its commitments to everybody, signed. Before anything is opened all tell one another the point, and who finds another
ends the run; with it they compare what each owner signed (:mod:`...echo`), so that an owner that tells two parties different things
is named, and not one deceived party by another.

Privacy: perfect where two owners or more are honest, whatever the others send, for an honest owner's elements are known only up to
their sum, and honest owners open at one point. So what stands on the chain says nothing about what was sent, for ever: not even to
one who some day opens the masks. Correctness: whoever shows a false share, sum or commitment makes the values not add up, or an
opening fail; a false opening names its party, values that do not add up name nobody.

Unlike with :mod:`.projection`, the commitments that are shown are to vectors that have this sum: no party's word stands behind a
value. What is not shown: that a party's vector is what its data give, what it sent in the rounds, nor that its words are in range.
Commitments are made when the sums are known. So an aggregator that is an owner, or has one for an accomplice, can pass off any sum
as one in which that owner's vector is another, as with projections; here that owner is committed to the other vector.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tallystick.commitments import kzg, vector_sum
from tallystick.commitments.kzg import BLINDS, ORDER, POINT, SCALAR, Opening

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block, send_block
from tallystick_node.engines.echo import Echo

STEP = "proof"
Blinds = list[tuple[int, ...]]  # two elements for each chunk


@dataclass(frozen=True)
class Opened:
    """What one party ends with: all parties' commitments, None for those without input; its own openings; and of the sum the
    commitments, the openings, and the elements that hide it."""

    commitments: tuple[tuple[bytes, ...] | None, ...]
    own: tuple[Opening, ...]
    total: tuple[bytes, ...]
    shown: tuple[Opening, ...]
    blinds: Blinds


def open_sums(session: Session, owners: Sequence[int], sent: Iterable[int] | None, sums: Sequence[int]) -> Opened:
    """Commit to ``sent`` (None for a party that is no owner) and to ``sums``, words of equal number, and open both.

    Raises ValueError when they are too long, :class:`ProtocolViolation` for a peer that sends no elements of the field.
    """
    chunks = vector_sum.chunks_of(len(sums))
    session.mark(STEP)
    blinds = [kzg.draw_blinds() for _ in range(chunks)] if sent is not None else []
    elements = vector_sum.elements_of(sent, blinds) if sent is not None else []
    commitments = tuple(map(kzg.commit, elements))
    partial = _share(session, owners, [each for pair in blinds for each in pair])
    echo = Echo(session, sorted(owners), STEP)
    if sent is not None:
        echo.tell(b"".join(commitments) + _pack(partial))
    every: dict[int, tuple[bytes, ...]] = {session.index: commitments} if sent is not None else {}
    total = list(partial) if sent is not None else [0] * (BLINDS * chunks)
    for peer in owners:
        if peer == session.index:
            continue
        session.patience(peer)  # it commits to all rounds first
        said = echo.hear(peer, (POINT + BLINDS * SCALAR) * chunks)
        every[peer] = tuple(said[at : at + POINT] for at in range(0, POINT * chunks, POINT))
        total = _add(total, _unpack(peer, said[POINT * chunks :]))
    whole = [tuple(total[at : at + BLINDS]) for at in range(0, len(total), BLINDS)]
    summed = vector_sum.elements_of(sums, whole)
    totals = tuple(map(kzg.commit, summed))
    rows = tuple(every.get(party) for party in range(session.parties))
    inputs = vector_sum.hash_of(point for row in rows for point in (row or (None,) * chunks))
    z = vector_sum.challenge(session.context, inputs, vector_sum.hash_of(totals))
    _agree(session, echo, z)
    return Opened(
        commitments=rows,
        own=tuple(kzg.open_at(each, z) for each in elements),
        total=totals,
        shown=tuple(kzg.open_at(each, z) for each in summed),
        blinds=whole,
    )


def _agree(session: Session, echo: Echo, z: int) -> None:
    """Nobody opens anything before all say that they open at the same point: whoever knows the sum learns another value of an
    owner's polynomial from each point at which any of the others opens, and the elements hide one. Whoever heard the same of all
    owners and finds another point added up to another sum."""
    mine = z.to_bytes(SCALAR, "big") + echo.report()
    session.broadcast(mine)
    for peer in sorted(session.channels):
        session.patience(peer)
        theirs = receive_block(session.channels[peer], len(mine), STEP)
        echo.check(peer, theirs[SCALAR:])
        if theirs[:SCALAR] != mine[:SCALAR]:
            raise ProtocolViolation(peer, STEP, "found another sum than this party: one of the two was deceived")


def _share(session: Session, owners: Sequence[int], secret: list[int]) -> list[int]:
    """The sum of the shares that this owner gets of all owners' elements, its own among them; nothing for others."""
    if not secret:
        return []
    own = list(secret)
    others = [owner for owner in owners if owner != session.index]
    for peer in others:
        share = [secrets.randbelow(ORDER) for _ in secret]
        own = [(mine - theirs) % ORDER for mine, theirs in zip(own, share, strict=True)]
        send_block(session.channels[peer], _pack(share))
    for peer in others:
        session.patience(peer)
        own = _add(own, _unpack(peer, receive_block(session.channels[peer], SCALAR * len(secret), STEP)))
    return own


def _add(first: list[int], second: list[int]) -> list[int]:
    return [(a + b) % ORDER for a, b in zip(first, second, strict=True)]


def _pack(elements: Iterable[int]) -> bytes:
    return b"".join(each.to_bytes(SCALAR, "big") for each in elements)


def _unpack(peer: int, data: bytes) -> list[int]:
    found = [int.from_bytes(data[at : at + SCALAR], "big") for at in range(0, len(data), SCALAR)]
    if any(each >= ORDER for each in found):
        raise ProtocolViolation(peer, STEP, "an element is not below the field's order")
    return found
