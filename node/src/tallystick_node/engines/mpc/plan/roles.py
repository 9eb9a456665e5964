"""Who does what in the run of a plan: owners who share and are done, parties that compute, receivers who put results together.

A party may have several of these roles. One that computes sees nothing but its shares; an owner outside the computation sends
shares and is not needed again; a receiver outside gets shares of what is revealed to it, and nothing else. A dealer, where the
protocol has one, sends randomness to those who compute, and gets neither inputs nor shares nor results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from tallystick_node.engines.channel import Buffer, Channel, ChannelError, ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.mpc.plan import pieces
from tallystick_node.engines.mpc.plan.document import Input, Plan
from tallystick_node.engines.mpc.plan.execute import evaluate
from tallystick_node.engines.mpc.plan.kinds import BIT
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares
from tallystick_node.engines.mpc.ring import Ring


@dataclass(frozen=True)
class Offer:
    """A protocol that plans run on: ``open`` joins it over a session of the computing parties only. With a dealer, that is the last
    party of the session, and does ``deal``. A protocol that makes randomness in advance makes that of ``batch`` products at a time,
    and cuts products of matrices into tiles of ``tile`` rows, inner length and columns."""

    kind: type[Protocol]
    open: Callable[[Session], Protocol]
    fewest: int
    most: int
    deal: Callable[[Session], None] | None = None
    batch: int = 0
    tile: int = 0

    def members(self, computing: int) -> int:
        """How many parties the protocol's session has, its dealer among them."""
        return computing + (self.deal is not None)


@dataclass(frozen=True)
class Cast:
    """``parties`` of the session in its order, by name, which of them compute, in the protocol's order, and which one deals."""

    parties: tuple[str, ...]
    computing: tuple[str, ...]
    dealer: str | None = None
    seats: tuple[int, ...] = field(init=False)  # the computing parties' numbers in the session

    def __post_init__(self) -> None:
        if len(set(self.computing)) != len(self.computing) or not set(self.computing) <= set(self.parties):
            raise ValueError("the computing parties are different ones of the session")
        if self.dealer is not None and (self.dealer in self.computing or self.dealer not in self.parties):
            raise ValueError("the dealer is a party of the session that does not compute")
        object.__setattr__(self, "seats", tuple(self.parties.index(each) for each in self.computing))

    @property
    def members(self) -> tuple[int, ...]:
        """The numbers in the session of those who compute and of the dealer, the last."""
        return self.seats if self.dealer is None else (*self.seats, self.parties.index(self.dealer))


class Part:
    """One party's part in the run of a plan. All parties make one with equal arguments and call :meth:`run`."""

    def __init__(self, plan: Plan, offer: Offer, cast: Cast, session: Session) -> None:
        if not set(plan.parties) <= set(cast.parties):
            raise ValueError("a party of the plan is not in the session")
        if not offer.fewest <= len(cast.computing) <= offer.most:
            raise ValueError(f"{offer.kind.name} is for {offer.fewest} to {offer.most} computing parties")
        if (cast.dealer is None) != (offer.deal is None):
            raise ValueError(f"{offer.kind.name} has {'no' if offer.deal is None else 'a'} dealer")
        if cast.dealer in (*plan.owners, *plan.receivers):
            raise ValueError("the dealer neither brings nor receives anything")
        self._plan, self._offer, self._cast, self._session = plan, offer, cast, session
        self._name = cast.parties[session.index]
        self._computes = self._name in cast.computing

    def run(self, inputs: Mapping[str, Ring]) -> dict[str, Ring]:
        """The elements of what is revealed to this party, by name; ``inputs`` are its own, encoded in the inputs' kinds.

        Raises ValueError for inputs of other names or shapes than the plan's, :class:`ChannelError` naming a peer of the session.
        """
        own = {each.name: each.shape for each in self._plan.inputs if each.owner == self._name}
        if {name: values.shape for name, values in inputs.items()} != own:
            raise ValueError(f"{self._name} brings inputs of the names and shapes that the plan says")
        with np.errstate(over="ignore"):  # the ring wraps; NumPy warns of it for arrays without axes
            if self._name == self._cast.dealer:
                self._deal()
                return {}
            if not self._computes:
                self._send_inputs(inputs)
                return self._collect()
            return self._compute(inputs)

    def _deal(self) -> None:
        """The dealer: asked now and then, until those who compute are done."""
        assert self._offer.deal is not None
        members = self._cast.members
        session = subset(self._session, members)
        with named(members):
            self._offer.deal(replace(session, patience=lambda number: self._session.patience(members[number])))

    def _compute(self, inputs: Mapping[str, Ring]) -> dict[str, Ring]:
        with named(self._cast.members):
            protocol = self._offer.open(subset(self._session, self._cast.members))
        shared = self._inputs(protocol, inputs)
        results: dict[str, Ring] = {}
        with named(self._cast.members):
            revealed = evaluate(protocol, self._plan, shared, lambda done: self._session.progress("computing", 0.1 + 0.85 * done))
            del shared
            for number, value in revealed:
                self._show(protocol, number, value, results)
            protocol.close()
        return results

    # -- inputs

    def _send_inputs(self, inputs: Mapping[str, Ring]) -> None:
        """An owner outside the computation."""
        for each in self._plan.inputs:
            if each.owner == self._name:
                for seat in self._cast.seats:
                    self._session.channels[seat].mark("input")
                for first, count in pieces.parts(math.prod(each.shape)):
                    given = pieces.piece(inputs[each.name], each.shape, first, count)
                    split = self._offer.kind.split(given, len(self._cast.seats))
                    for seat, parts in zip(self._cast.seats, split, strict=True):
                        for part in parts:
                            send_array(self._session, seat, part)

    def _inputs(self, protocol: Protocol, inputs: Mapping[str, Ring]) -> list[Shares | Binary]:
        shared: list[Shares | Binary] = []
        for each in self._plan.inputs:
            if each.owner not in self._cast.computing:
                self._session.channels[self._cast.parties.index(each.owner)].mark("input")
            taken = partial(self._input, protocol, each, inputs.get(each.name))
            shared.append(pieces.gathered(self._session.store, each.shape, taken))
        return shared

    def _input(self, protocol: Protocol, declared: Input, values: Ring | None, first: int, count: int) -> Shares | Binary:
        """A piece of an input."""
        if declared.owner in self._cast.computing:
            own = None if values is None else pieces.piece(values, declared.shape, first, count)
            with named(self._cast.members):
                numbers = protocol.share(self._cast.computing.index(declared.owner), (count,), own)
        else:
            owner = self._cast.parties.index(declared.owner)
            parts = tuple(receive_array(self._session, owner, (count,), "input") for _ in range(self._parts()))
            with named(self._cast.members):
                numbers = protocol.accept(parts)
        with named(self._cast.members):
            return bits_of(protocol, numbers) if declared.kind == BIT else numbers

    def _parts(self) -> int:
        """How many parts a party of the protocol holds of each secret."""
        return len(self._offer.kind.split(np.zeros(0, np.uint64), len(self._cast.seats))[0])

    # -- outputs

    def _show(self, protocol: Protocol, number: int, value: Shares | Binary, results: dict[str, Ring]) -> None:
        reveal, shape = self._plan.reveals[number], value.shape
        inside = [self._cast.computing.index(party) for party in reveal.receivers if party in self._cast.computing]
        outside = [self._cast.parties.index(party) for party in reveal.receivers if party not in self._cast.computing]
        for receiver in outside:
            self._session.channels[receiver].mark("output")

        def one(first: int, count: int) -> Ring:
            some = pieces.piece(value, shape, first, count)
            numbers = protocol.to_arithmetic(some) if isinstance(some, Binary) else some
            found = protocol.reveal(numbers, inside) if inside else None
            if outside:
                parts = protocol.disclose(numbers)
                for receiver in outside:
                    for part in parts:
                        send_array(self._session, receiver, part)
            return np.zeros(0, np.uint64) if found is None else found

        if protocol.index in inside:
            results[reveal.name] = pieces.gathered(self._session.store, shape, one)
        else:
            for first, count in pieces.parts(value.size):
                one(first, count)

    def _collect(self) -> dict[str, Ring]:
        """A receiver outside the computation; nothing for any other party."""
        results: dict[str, Ring] = {}
        for number in reveal_order(self._plan):
            reveal = self._plan.reveals[number]
            if self._name not in reveal.receivers:
                continue
            for seat in self._cast.seats:
                self._session.channels[seat].mark("output")
            shape = self._plan.types[reveal.value].shape
            results[reveal.name] = pieces.gathered(self._session.store, shape, self._collected)
        return results

    def _collected(self, _first: int, count: int) -> Ring:
        """A piece of what is revealed to this party."""
        parts = []
        for seat in self._cast.seats:
            self._session.patience(seat)
            parts.append(tuple(receive_array(self._session, seat, (count,), "output") for _ in range(self._parts())))
        with named(self._cast.seats):
            return self._offer.kind.combine(parts)


def reveal_order(plan: Plan) -> list[int]:
    """The plan's reveals in the order in which their values come to be: the order in which they are shown."""
    return sorted(range(len(plan.reveals)), key=lambda number: (plan.reveals[number].value, number))


def bits_of(protocol: Protocol, numbers: Shares) -> Binary:
    """Input bits, which are shared as the numbers 0 and 1, as bits: whether 0 is greater than minus the number."""
    return protocol.negative(-numbers)


def subset(session: Session, members: Sequence[int]) -> Session:
    """The session among some of its parties, numbered in the order of ``members``; this party is one of them.

    Marks, progress and the meter stay those of ``session``. A ChannelError raised inside names parties by their new numbers;
    :func:`named` gives them back their own.
    """
    if list(members) == list(range(session.parties)):
        return session
    channels: dict[int, Channel] = {
        number: _Renumbered(number, session.channels[member]) for number, member in enumerate(members) if member != session.index
    }
    own = list(members).index(session.index)
    return replace(session, index=own, channels=channels, patience=lambda _: None)  # those who compute take turns


@contextmanager
def named(members: Sequence[int]) -> Iterator[None]:
    """Raise errors from a subset of a session as those of the session."""
    try:
        yield
    except ProtocolViolation as error:
        rule = error.rule.removeprefix(f"{error.step}: ")
        raise ProtocolViolation(members[error.peer], error.step, rule) from None
    except ChannelError as error:
        raise ChannelError(members[error.peer], error.rule) from None


class _Renumbered:
    """A channel whose peer has another number."""

    def __init__(self, peer: int, inner: Channel) -> None:
        self.peer = peer
        self._inner = inner

    def send(self, message: Buffer) -> None:
        with self._renamed():
            self._inner.send(message)

    def receive(self) -> bytes:
        with self._renamed():
            return self._inner.receive()

    def receive_into(self, view: memoryview) -> int:
        with self._renamed():
            return self._inner.receive_into(view)

    def mark(self, phase: str) -> None:
        self._inner.mark(phase)

    @contextmanager
    def _renamed(self) -> Iterator[None]:
        try:
            yield
        except ChannelError as error:
            raise ChannelError(self.peer, error.rule) from None
