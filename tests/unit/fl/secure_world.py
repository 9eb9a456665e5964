"""A round of secure aggregation step by step: six members and a coordinator between them, whom tests make drop out or cheat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.engines.credentials import Credential, Signers
from tallystick_node.engines.fl.aggregation import graph
from tallystick_node.engines.fl.aggregation.coordinator import Coordinator
from tallystick_node.engines.fl.aggregation.member import Member
from tallystick_node.engines.fl.aggregation.messages import Round, pack
from tallystick_node.engines.fl.aggregation.observer import Observer

MIDDLE = 99  # the coordinator
LENGTH = 60


class World:
    """Six members, one of whom may collude and two drop out, and a coordinator between them; step by step."""

    def __init__(self, *, verified: bool = True, members: int = 6, number: int = 0) -> None:
        self.members = tuple(range(members))
        self.signing = {member: Ed25519PrivateKey.generate() for member in self.members}
        self.begin(number, verified=verified)
        rng = np.random.default_rng(5)
        self.vectors = {member: rng.uniform(-1, 1, LENGTH) for member in self.members}

    def begin(self, number: int, *, verified: bool = True) -> None:
        keys = Signers({member: key.public_key() for member, key in self.signing.items()})
        self.round = Round(b"task", number, self.members, graph.plan(len(self.members), 1, 2), LENGTH, verified)
        self.coordinator = Coordinator(self.round, MIDDLE, keys)
        self.party = {member: Member(self.round, MIDDLE, keys, member, Credential(self.signing[member])) for member in self.members}
        self.watcher = Observer(self.round, MIDDLE, keys)

    def adverts(self) -> bytes:
        return self.coordinator.advertise({member: each.advertise() for member, each in self.party.items()})

    def shares(self) -> dict[int, bytes]:
        adverts = self.adverts()
        self.watcher.advertised(adverts)
        return self.coordinator.share({member: each.share(adverts) for member, each in self.party.items()})

    def announcement(self, silent: tuple[int, ...] = ()) -> bytes:
        shares = self.shares()
        for member, each in self.party.items():
            if member not in silent:
                self.coordinator.add(member, *each.mask(shares[member], self.vectors[member]))
        return self.coordinator.announce()

    def alive(self) -> dict[int, Member]:
        return {member: self.party[member] for member in self.coordinator.survivors}

    def certificate(self, silent: tuple[int, ...] = ()) -> bytes:
        announcement = self.announcement(silent)
        self.watcher.announced(announcement)
        return self.coordinator.certify({member: each.confirm(announcement) for member, each in self.alive().items()})

    def opening(self, silent: tuple[int, ...] = ()) -> bytes:
        certificate = self.certificate(silent)
        self.watcher.certified(certificate)
        return pack(self.coordinator.open({member: each.reveal(certificate) for member, each in self.alive().items()}))

    def proof(self, opening: bytes, whole=None) -> dict[int, bytes]:
        for each in (self.coordinator, self.watcher, *self.alive().values()):
            opened(each, opening, self.coordinator.whole if whole is None else whole)
        return self.coordinator.prove({member: each.vouch() for member, each in self.alive().items()})[0]


def opened(party: Observer, opening: bytes, whole: np.ndarray) -> np.ndarray:
    return party.opened(opening, whole, whole.astype(np.uint32))


def said(world: World, member: int, kind: bytes, content: bytes, key: Ed25519PrivateKey | None = None) -> bytes:
    """The content with a signature of the member, or of whoever has the key."""
    return content + (key or world.signing[member]).sign(world.round.statement(kind, member, content))


def changed(message: bytes, at: int = 0) -> bytes:
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]


def refused(peer: int, rule: str, act: Callable[..., object], *given: object) -> None:
    with pytest.raises(ProtocolViolation, match=rule) as caught:
        act(*given)
    assert caught.value.peer == peer
