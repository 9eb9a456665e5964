"""A sum under homomorphic encryption: one party holds the key, another adds what it cannot read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, receive_block, send_array, send_block
from tallystick_node.engines.fl.aggregation.base import Aggregation, Disagreement, check_summand
from tallystick_node.engines.he.errors import HomomorphicError, PlaintextOverflow
from tallystick_node.engines.security import SecurityStatement

STEP = "encrypted sum"


class EncryptedSum(Aggregation):
    """The ``holder`` of the private key sends every party the public one, once. In each round the members send their encrypted
    vectors to the ``adder``, which adds them and sends the holder one encrypted sum; the holder decrypts it and tells every party.

    Both are parties of the session and not the same; either may be a member too. Make one object for each party and session: it
    keeps the key. Adversary: semi-honest. The holder could read every vector if the adder gave them to it: they must not collude.
    An adder that deviates needs nobody to have a single vector decrypted in the place of the sum, which all parties are then told.
    And the others trust the sum that the two make.
    """

    def __init__(self, holder: int, adder: int) -> None:
        if holder == adder or min(holder, adder) < 0:
            raise ValueError("the holder of the key and the adder are two different parties")
        self.holder = holder
        self.adder = adder
        self._session: Session | None = None

    def total(self, session: Session, vector: NDArray[np.float64], members: Sequence[int], round: int) -> NDArray[np.float64]:  # noqa: A002
        """See :meth:`Aggregation.total`. Raises Disagreement at the holder of the key when the sum is none of so many vectors."""
        if max(self.holder, self.adder) >= session.parties:
            raise ValueError(f"the holder and the adder are among the {session.parties} parties of the session")
        if session.index in members:
            check_summand(vector)
        session.mark(STEP)
        self._keys(session)
        terms, size = len(members), vector.size
        own = self.encrypt(vector, terms) if session.index in members else b""
        if session.index == self.adder:
            parts = [own if m == self.adder else _receive(session, m, self.limit(size, terms)) for m in members]
            _send(session, self.holder, self._added(parts, members, size, terms))
        elif session.index in members:
            _send(session, self.adder, own)
        if session.index != self.holder:
            session.patience(self.holder)
            received = receive_array(session, self.holder, vector.shape, STEP, np.float64)
            if not (np.abs(received) <= terms).all():
                raise ProtocolViolation(self.holder, STEP, f"sent a number that is not finite or not within [-{terms}, {terms}]")
            return received
        data = _receive(session, self.adder, self.limit(size, terms))
        try:
            out = self.decrypt(data, size, terms)
        except PlaintextOverflow as error:  # of a member's numbers, or of the adder's making: a ciphertext does not show which
            raise Disagreement(f"{error}: a member or party {self.adder}, who adds, deviated") from None
        except HomomorphicError as error:
            raise ProtocolViolation(self.adder, STEP, f"sent no encrypted sum: {error}") from None
        for peer in sorted(session.channels):
            send_array(session, peer, out)
        return out

    def _keys(self, session: Session) -> None:
        if self._session is session:
            return
        if self._session is not None:
            raise ValueError("an encrypted sum belongs to one party's session: make another object for another session")
        if session.index == self.holder:
            public = self.make_key()
            for peer in sorted(session.channels):
                _send(session, peer, public)
        else:
            data = _receive(session, self.holder, self.key_limit)
            try:
                self.read_key(data)
            except HomomorphicError as error:
                raise ProtocolViolation(self.holder, STEP, f"sent no public key: {error}") from None
        self._session = session

    def _added(self, parts: Sequence[bytes], members: Sequence[int], size: int, terms: int) -> bytes:
        read = []
        for member, part in zip(members, parts, strict=True):
            try:
                read.append(self.read(part, size, terms))
            except HomomorphicError as error:
                raise ProtocolViolation(member, STEP, f"sent no encrypted vector: {error}") from None
        return self.add(read)

    @property
    @abstractmethod
    def key_limit(self) -> int:
        """The most bytes that a public key has."""

    @abstractmethod
    def limit(self, size: int, terms: int) -> int:
        """The most bytes that an encrypted vector has."""

    @abstractmethod
    def make_key(self) -> bytes:
        """Make and keep a private key; return the public one's bytes."""

    @abstractmethod
    def read_key(self, data: bytes) -> None:
        """Keep the public key. Raises :class:`HomomorphicError` for what is none."""

    @abstractmethod
    def encrypt(self, vector: NDArray[np.float64], terms: int) -> bytes:
        """A vector, for a sum of ``terms``."""

    @abstractmethod
    def read(self, data: bytes, size: int, terms: int) -> Any:
        """An encrypted vector, checked. Raises :class:`HomomorphicError` for what is none."""

    @abstractmethod
    def add(self, vectors: Sequence[Any]) -> bytes:
        """The encrypted sum, re-randomised or of a kind that tells no more than the sum."""

    @abstractmethod
    def decrypt(self, data: bytes, size: int, terms: int) -> NDArray[np.float64]:
        """The sum that may be told. Raises :class:`HomomorphicError` where it can be none."""


def roles(statement: SecurityStatement, parties: int) -> SecurityStatement:
    """What the sum promises, given what its encryption does."""
    return replace(
        statement,
        parties=parties,
        learns={
            "holder of the private key": "nothing but the sum, as long as the adder shows it nothing else",
            "adder": "nothing but the sum, as long as it sends the holder nothing else: what it sends is decrypted and told to all",
            "holder and adder together": "the vector of every member: they must not collude",
            "party": "the sum of the members' vectors of every round",
        },
    )


def _send(session: Session, peer: int, data: bytes) -> None:
    session.channels[peer].send(len(data).to_bytes(8, "big"))
    send_block(session.channels[peer], data)


def _receive(session: Session, peer: int, limit: int) -> bytes:
    """Bytes of a length that the sender states, waited for as long as the run may take."""
    session.patience(peer)
    size = int.from_bytes(receive_block(session.channels[peer], 8, STEP), "big")
    if size > limit:
        raise ProtocolViolation(peer, STEP, f"announced {size} bytes where at most {limit} were due")
    return receive_block(session.channels[peer], size, STEP)
