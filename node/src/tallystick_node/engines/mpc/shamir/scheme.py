"""Shamir's secret sharing (CACM 1979) among the members of a committee, over the field of 2^61 - 1.

A secret is the value at 0 of a polynomial of degree t; the member of number i holds the value at i + 1. Any t + 1 members have the
secret, t have nothing. Linear operations are local. A product (Ben-Or, Goldwasser and Wigderson, STOC 1988, in the form of Gennaro,
Rabin and Rabin, PODC 1998) needs 2t + 1 members: each shares the product of its shares anew, and the shares of that are combined by
the weights that would reconstruct it. One round.

A session may have more parties than the committee: they bring secrets and take results. All parties call the same methods in the
same order; one that is no member holds zeros in the place of shares, which say nothing and are never sent.

Security: semi-honest, t colluding members (and any other parties), perfectly but for AES as the generator of the randomness.
Against members that deviate: a result that is opened is the polynomial that its shares agree on, so that wrong shares are noticed
while they are at most n - t - 1 and named while they are at most half of that; an owner or a member that shares inconsistent or
false values in :meth:`Shamir.share`, :meth:`Shamir.multiply` and :meth:`Shamir.random` is not. Every element is checked to be one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tallystick_node.engines.channel import ChannelError, ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.mpc.shamir import code, field
from tallystick_node.engines.mpc.shamir.field import ORDER, Elements
from tallystick_node.engines.security import SecurityStatement


@dataclass(frozen=True)
class Committee:
    """Who holds shares: parties of a session by number, ``threshold`` of whom learn nothing. Raises ValueError for what is none."""

    members: tuple[int, ...]
    threshold: int

    def __post_init__(self) -> None:
        if list(self.members) != sorted(set(self.members)) or not self.members or self.members[0] < 0:
            raise ValueError("the members of a committee are parties in order, each once")
        if not 1 <= self.threshold < len(self.members):
            raise ValueError("the threshold is at least 1 and below the number of members")

    @property
    def points(self) -> tuple[int, ...]:
        """Where the members' shares are evaluated, in order."""
        return tuple(member + 1 for member in self.members)


@dataclass(frozen=True)
class Secret:
    """An array of secrets, as one party holds it: its share of each; zeros at a party that is no member."""

    part: Elements

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.part.shape

    def __add__(self, other: Secret) -> Secret:
        return Secret(field.add(self.part, other.part))

    def __sub__(self, other: Secret) -> Secret:
        return self + -other

    def __neg__(self) -> Secret:
        return self.map(field.negate)

    def scaled(self, factor: Elements) -> Secret:
        """Each secret times a public element, or an array of them that broadcasts."""
        return self.map(lambda part: field.multiply(part, factor))

    def sum(self, axis: int | None = None) -> Secret:
        """The sum along an axis, or of all."""
        return self.map(lambda part: field.total(part, axis))

    def __getitem__(self, index: Any) -> Secret:
        return self.map(lambda part: np.asarray(part[index]))

    def reshape(self, *shape: int) -> Secret:
        """The same elements in another shape."""
        return self.map(lambda part: part.reshape(*shape))

    def map(self, linear: Callable[[Elements], Elements]) -> Secret:
        """Apply a linear function to the share: to move, repeat, gather or add up elements."""
        return Secret(linear(self.part))


@dataclass(frozen=True)
class Opening:
    """Opened values, the members whose shares were wrong, and those from whom none arrived."""

    values: Elements
    wrong: tuple[int, ...]
    lost: tuple[int, ...]


class Shamir:
    """One party's side of the protocol among the members of a committee and the other parties of a session."""

    def __init__(self, session: Session, committee: Committee) -> None:
        if committee.members[-1] >= session.parties:
            raise ValueError("the members of a committee are parties of the session")
        self.session = session
        self.committee = committee

    @staticmethod
    def security(committee: Committee) -> SecurityStatement:
        """What the protocol promises."""
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=committee.threshold,
            parties=len(committee.members),
            computational_bits=128,
            statistical_bits=60,
            trusted=(),
            learns={"member": "nothing", "owner": "nothing", "receiver": "nothing"},
            references=(
                "A. Shamir, How to Share a Secret, CACM 1979",
                "M. Ben-Or, S. Goldwasser and A. Wigderson, STOC 1988",
                "R. Gennaro, M. Rabin and T. Rabin, PODC 1998",
            ),
        )

    # -- in and out

    def share(self, owner: int, shape: tuple[int, ...], values: Elements | None = None) -> Secret:
        """Secrets of one party, member or not; only ``owner`` gives ``values``, elements of the field. One round.

        Raises ValueError for values of another shape and for words that are no elements.
        """
        if (values is not None) != (owner == self.session.index):
            raise ValueError("exactly the owner gives values")
        if values is not None and (values.shape != shape or values.dtype != np.uint64 or not field.are_elements(values)):
            raise ValueError("the owner gives field elements of the announced shape")
        self.session.mark("share")
        return Secret(deal_out(self.session, [owner], values, shape, self.committee, "share")[0])

    def public(self, values: Elements) -> Secret:
        """Public elements as shares, without a message."""
        return Secret(values.copy() if self.is_member else np.zeros_like(values))

    def reveal(self, secret: Secret, to: Sequence[int] | None = None) -> Elements | None:
        """The values at the parties of ``to`` (None: all), None elsewhere. One round, all members send.

        Raises ProtocolViolation naming the first member whose share is wrong, where the others tell which that is;
        :class:`code.Inconsistent` where they do not; ChannelError for a member that sends nothing.
        """
        found = self._open(secret, to, "reveal", strict=True)
        if found is not None and found.wrong:
            raise ProtocolViolation(found.wrong[0], "reveal", "sent a share off the polynomial of the others")
        return None if found is None else found.values

    def open(self, secret: Secret, to: Sequence[int] | None = None) -> Opening | None:
        """Like :meth:`reveal`, but despite members that send nothing, or wrong shares while the others tell which these are.

        With e wrong shares, t + 1 + 2e must arrive; with fewer the wrong ones are noticed, or not even that when only t + 1 do.
        Raises :class:`code.Inconsistent` when too few arrive or wrong ones cannot be told.
        """
        return self._open(secret, to, "open", strict=False)

    # -- products and randomness

    def multiply(self, left: Secret, right: Secret) -> Secret:
        """Element by element. One round: each of 2t + 1 members sends an element to every other. Raises ValueError with fewer."""
        if left.shape != right.shape:
            raise ValueError(f"the shapes {left.shape} and {right.shape} differ")
        dealers = self.committee.members[: 2 * self.committee.threshold + 1]
        if len(dealers) <= 2 * self.committee.threshold:
            raise ValueError("products need more than twice the threshold in members")
        self.session.mark("multiply")
        product = field.multiply(left.part, right.part)
        mine = product if self.session.index in dealers else None
        shares = deal_out(self.session, dealers, mine, product.shape, self.committee, "multiply")
        return Secret(field.combine([code.lagrange([dealer + 1 for dealer in dealers])], shares)[0])

    def random(self, shape: tuple[int, ...]) -> Secret:
        """Uniform elements that no t members know. One round: every member deals a part, and n - t independent combinations of the
        n dealings are used (Damgard and Nielsen, CRYPTO 2007)."""
        self.session.mark("random")
        members, size = self.committee.members, int(np.prod(shape, dtype=np.int64))
        fresh = len(members) - self.committee.threshold
        count = -(-size // fresh)
        mine = field.random((count,)) if self.is_member else None
        dealt = deal_out(self.session, members, mine, (count,), self.committee, "random")
        extracted = field.combine([[pow(point, k, ORDER) for point in self.committee.points] for k in range(fresh)], dealt)
        return Secret(np.concatenate(extracted)[:size].reshape(shape))

    # -- steps

    @property
    def is_member(self) -> bool:
        """Whether this party holds shares."""
        return self.session.index in self.committee.members

    def _open(self, secret: Secret, to: Sequence[int] | None, step: str, *, strict: bool) -> Opening | None:
        receivers = range(self.session.parties) if to is None else to
        self.session.mark(step)
        index, lost, wrong = self.session.index, [], []
        if self.is_member:
            for receiver in receivers:
                if receiver != index:
                    try:
                        send_array(self.session, receiver, secret.part)
                    except ChannelError:  # a receiver that is gone needs nothing
                        if strict:
                            raise
        if index not in receivers:
            return None
        shares = {index + 1: secret.part} if self.is_member else {}
        for member in self.committee.members:
            if member == index:
                continue
            try:
                shares[member + 1] = receive_elements(self.session, member, secret.shape, step)
            except ProtocolViolation:
                if strict:
                    raise
                wrong.append(member)
            except ChannelError:
                if strict:
                    raise
                lost.append(member)
        found = code.reconstruct(shares, self.committee.threshold)
        wrong += [point - 1 for point in found.wrong]
        return Opening(found.values, tuple(sorted(wrong)), tuple(lost))


def receive_elements(session: Session, peer: int, shape: tuple[int, ...], step: str) -> Elements:
    """An array of field elements from a peer. Raises ProtocolViolation for another length and for words that are no elements."""
    received = receive_array(session, peer, shape, step)
    if not field.are_elements(received):
        raise ProtocolViolation(peer, step, "sent a number that is no element of the field")
    return received


def deal_out(
    session: Session, dealers: Sequence[int], mine: Elements | None, shape: tuple[int, ...], to: Committee, step: str
) -> list[Elements]:
    """What each dealer deals to this party: a share, under a fresh polynomial, of the dealer's values (``mine`` at a dealer); zeros
    at a party that is no member of ``to``."""
    kept = np.zeros(shape, np.uint64)
    if mine is not None:
        for member, share in zip(to.members, code.deal(mine, to.threshold, to.points), strict=True):
            if member == session.index:
                kept = share
            else:
                send_array(session, member, share)
    if session.index not in to.members:
        return [kept for _ in dealers]
    return [kept if dealer == session.index else receive_elements(session, dealer, shape, step) for dealer in dealers]
