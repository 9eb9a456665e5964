"""Which protocol a task's parameters ask for: a name, or ``additive-dealer:<account>``, which names the dealer.

A dealer makes correlated randomness for the computing parties. It is named in ``compute`` too, so that it holds the role on
chain, and every owner's node must allow it by name. It neither owns nor receives: it has no part in what is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tallystick.protocol.errors import InvalidTask
from tallystick.protocol.fields import Fields, address
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.mpc.plan.offers import OFFERS, SECURE
from tallystick_node.engines.mpc.plan.roles import Cast, Offer
from tallystick_node.engines.security import SecurityStatement

DEALT = tuple(name for name, offer in OFFERS.items() if offer.deal is not None)


def protocol_of(fields: Fields, key: str = "protocol") -> str:
    """The text of a parameter that asks for a protocol. Raises MalformedDocument."""
    text = fields.string(key, 128)
    name, mark, dealer = text.partition(":")
    if mark and name in DEALT:
        address(dealer, f"parameters.{key}: the dealer")
        return text
    return fields.choice(key, (*SECURE, *(f"{each}:<account of the dealer>" for each in DEALT)))


@dataclass(frozen=True)
class Choice:
    """A protocol and, where it has one, its dealer's account."""

    name: str
    dealer: str | None

    @classmethod
    def of(cls, text: str) -> Choice:
        """From what :func:`protocol_of` read."""
        name, _, dealer = text.partition(":")
        return cls(name, dealer or None)

    @property
    def offer(self) -> Offer:
        """The engine's."""
        return OFFERS[self.name]

    def computing(self, spec: TaskSpec) -> tuple[str, ...]:
        """The parties of ``compute`` that hold shares."""
        return tuple(each for each in spec.compute if each != self.dealer)

    def cast(self, spec: TaskSpec) -> Cast:
        """Who does what."""
        return Cast(spec.parties, self.computing(spec), self.dealer)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the protocol is for as many parties as compute, and its dealer for nothing else."""
        if self.dealer is not None:
            if self.dealer not in spec.compute:
                raise InvalidTask(
                    "the dealer is not among the task's computing parties", party=self.dealer, remedy="name it in compute too"
                )
            if spec.input_of(self.dealer) is not None or self.dealer in spec.receivers:
                raise InvalidTask(
                    "the dealer owns or receives in the task, and would learn what it deals for",
                    party=self.dealer,
                    remedy="let an account deal that neither owns nor receives",
                )
        count = len(self.computing(spec))
        if not self.offer.fewest <= count <= self.offer.most:
            raise InvalidTask(
                f"{self.name} is for {self.offer.fewest} to {self.offer.most} computing parties, not {count}",
                remedy="name them in compute, or choose another protocol",
            )

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """The protocol's statement, with the dealer by its account."""
        promised = self.offer.kind.security(len(self.computing(spec)))
        return promised if self.dealer is None else replace(promised, trusted=(f"dealer {self.dealer}",))
