"""A graph in the making: what every handler of an event does to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tallystick.chain.contract import Event
from tallystick.provenance.graph import Edge, Kind, Node, Strength


class Draft:
    """Nodes and edges as far as the events were taken. Handlers are named after the events that they take: ``_Proposed``."""

    def __init__(self, times: Mapping[int, int]) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self._times = times

    def take(self, event: Event) -> None:
        """Add one event; names that say nothing about provenance are passed over."""
        handler = getattr(self, f"_{event.name}", None)
        if handler is not None:
            handler(event)

    def node(self, event: Event, kind: Kind, identifier: str, label: str, **attributes: str) -> str:
        """A node of this kind, made if it is not there; its id."""
        name = f"{kind}:{identifier}"
        at = self._times.get(event.block)
        self.nodes.setdefault(name, Node(name, kind, label, event.block, at, attributes))
        return name

    def mark(self, name: str, **attributes: str) -> None:
        """Set attributes of a node, if it is there."""
        if name in self.nodes:
            node = self.nodes[name]
            self.nodes[name] = replace(node, attributes={**node.attributes, **attributes})

    def edge(self, event: Event, source: str, target: str, relation: str, strength: Strength = Strength.CHAIN) -> None:
        """An edge from cause to effect."""
        self.edges.append(Edge(source, target, relation, strength, event.block, event.transaction))

    def account(self, event: Event, account: str) -> str:
        """The node of an account."""
        return self.node(event, Kind.PARTICIPANT, account, short(account), account=account, status="active")


def hex_of(value: Any) -> str:
    """Bytes of the chain as ``0x…``."""
    return "0x" + bytes(value).hex()


def short(text: str) -> str:
    """A label for something that has no other name."""
    head, _, body = text.rpartition(":")
    return f"{body[:8]}…{body[-4:]}" if not head else f"{head}:{body[:6]}…{body[-4:]}"
