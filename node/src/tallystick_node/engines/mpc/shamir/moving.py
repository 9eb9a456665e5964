"""Shares that move: to other parties and another threshold, and back to a member that lost its own; the secrets stay secret.

:func:`move` (Desmedt and Jajodia, 1997): each old member shares its share among the new members, who combine what they get by the
weights that would reconstruct the secret. Moving to the same committee renews all shares: what an adversary learned before is of no
use afterwards (Herzberg, Jarecki, Krawczyk and Yung, CRYPTO 1995). :func:`recover` (same paper, section 4): the helpers mask their
shares by polynomials that are zero at the lost member's point, and it interpolates the masked ones there.

Security: semi-honest, t old and t' new members, as :mod:`scheme`. Beyond that, when more than t + 1 old members deal in
:func:`move`, every new member checks that what was dealt are shares of degree t' of values on one polynomial of degree t, with
coefficients that it draws after all has arrived: a false or inconsistent dealing ends the run there, but for a chance of about
2^-60, if new members answer rightly or, up to t' of them false, are 2t' + 1 or more. What is opened for it are zeros, under
polynomials that are independent of those of the new shares: else t old members' shares would determine the secret. In
:func:`recover` wrong shares are noticed as in an opening; false masks are not.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.mpc.shamir import code, field
from tallystick_node.engines.mpc.shamir.field import ORDER, Elements
from tallystick_node.engines.mpc.shamir.scheme import Committee, Secret, Shamir, deal_out, receive_elements


def move(protocol: Shamir, secret: Secret, to: Committee, dealers: Sequence[int] | None = None) -> tuple[Shamir, Secret]:
    """The same secrets, shared among the members of ``to`` under its threshold; old shares are of no further use.

    ``dealers`` are the old members that deal (None: all): t + 1 or more, so that others may be gone. All parties give the same. One
    round; two more for the check, where there is one. Raises ValueError for other dealers, ProtocolViolation or
    :class:`code.Inconsistent` as :mod:`scheme`; Inconsistent names the points of the dealers when their dealings do not fit.
    """
    old, session = protocol.committee, protocol.session
    dealers = _some_of(old, dealers)
    moved = Shamir(session, to)
    session.mark("move")
    dealt = deal_out(session, dealers, secret.part if session.index in dealers else None, secret.shape, to, "move")
    points = [dealer + 1 for dealer in dealers]
    checks = code.parity(points, old.threshold)
    if checks:
        session.mark("move check")
        if moved.is_member:
            _check(session, points, field.combine(checks, dealt), to)
    used = old.threshold + 1
    (part,) = field.combine([code.lagrange(points[:used])], dealt[:used])
    return moved, Secret(part)


def recover(protocol: Shamir, secret: Secret, lost: int, helpers: Sequence[int] | None = None) -> Secret:
    """The same secrets; ``lost``, a member whose share is gone, has it again, and nobody learns anything else.

    ``helpers`` are the members that help (None: all others): t + 1 or more. The lost member gives a Secret of the right shape, of
    whatever content. Two rounds. Raises ValueError for other parties, and as :meth:`Shamir.reveal` does.
    """
    committee, session = protocol.committee, protocol.session
    helpers = _some_of(committee, [each for each in committee.members if each != lost] if helpers is None else helpers)
    if lost not in committee.members or lost in helpers:
        raise ValueError("a member that lost its share is helped by others")
    degree, index, shape = committee.threshold, session.index, secret.shape
    session.mark("recover masks")
    if index in helpers:
        masked = secret.part
        own = code.deal(field.random(shape), degree - 1, [helper + 1 for helper in helpers])
        for helper, values in zip(helpers, own, strict=True):  # q(x) (x - lost): zero at the lost member's point
            mask = field.multiply(values, np.uint64((helper - lost) % ORDER))
            if helper == index:
                masked = field.add(masked, mask)
            else:
                send_array(session, helper, mask)
        for helper in helpers:
            if helper != index:
                masked = field.add(masked, receive_elements(session, helper, shape, "recover masks"))
    session.mark("recover")
    if index in helpers:
        send_array(session, lost, masked)
    if index != lost:
        return secret
    shares = {helper + 1: receive_elements(session, helper, shape, "recover") for helper in helpers}
    found = code.reconstruct(shares, degree, at=lost + 1)
    if found.wrong:
        raise ProtocolViolation(found.wrong[0] - 1, "recover", "sent a share off the polynomial of the others")
    return Secret(found.values)


def _some_of(committee: Committee, parties: Sequence[int] | None) -> list[int]:
    chosen = sorted(committee.members if parties is None else set(parties))
    if not set(chosen) <= set(committee.members) or len(chosen) <= committee.threshold:
        raise ValueError("more members than the threshold are needed, and no others")
    return chosen


def _check(session: Session, dealers: Sequence[int], zeros: Sequence[Elements], to: Committee) -> None:
    """Convince this new member that ``zeros``, arrays that it holds shares of, are zero and shared by degree t'.

    Each member sends a seed to all others, and gets from them the combinations of their shares that it expands to.
    """
    index = session.index
    seed = secrets.token_bytes(SEED)
    others = [member for member in to.members if member != index]
    for member in others:
        send_array(session, member, np.frombuffer(seed, np.uint8))
    seeds = {member: receive_array(session, member, (SEED,), "move check", np.uint8).tobytes() for member in others}
    for member in others:
        send_array(session, member, _combined(zeros, seeds[member]))
    shares = {member + 1: receive_elements(session, member, (len(zeros),), "move check") for member in others}
    shares[index + 1] = _combined(zeros, seed)
    found = code.reconstruct(shares, to.threshold)
    if found.wrong:
        raise ProtocolViolation(found.wrong[0] - 1, "move check", "sent a combination off the polynomial of the others")
    if np.any(found.values):
        raise code.Inconsistent(dealers, "were not dealt as shares of one secret")


def _combined(arrays: Sequence[Elements], seed: bytes) -> Elements:
    """One random combination of the elements of each array."""
    weights = field.expand(Stream(seed), (arrays[0].size,))
    return np.array([field.total(field.multiply(array.reshape(-1), weights)) for array in arrays], np.uint64)
