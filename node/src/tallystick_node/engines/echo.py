"""One word of each of some parties to all the others, the same to all: signed, and compared before anybody relies on it.

Over a link to each peer, whoever tells two peers two things makes two honest parties differ, and each can only name the other. So
who speaks signs its word, and each party then reports to every other whose key signed which digest: a party that signed two words
is named by all who hear of both, and so is who reports a word that was never signed. It is the echo broadcast of Goldwasser and
Lindell (Secure multi-party computation without agreement, Journal of Cryptology 2005) with signatures, and as there the run ends
where somebody cheats. Withstands any number of malicious parties, if institutions vouch for the keys (:mod:`.credentials`): without
that, who forwards what does not fit is named.

A session has one word of each speaker for a step and what that is about: the signature is bound to these, to the session's context
and to the speaker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tallystick_node.engines.channel import VOUCHER, ProtocolViolation, Session, receive_block, send_block
from tallystick_node.engines.credentials import KEY, Credential, Signers

_DIGEST, _SIGNATURE = 32, 64  # bytes
_ANNOUNCED = KEY + VOUCHER
_SAID = _DIGEST + _SIGNATURE
_DOMAIN = b"tallystick/v1/echo\0"


class Echo:
    """The words of ``speakers``, positions of parties in the same order everywhere, in one step of a session; ``about``: which one
    of the steps of that name it is, where there are several."""

    def __init__(self, session: Session, speakers: Sequence[int], step: str, about: bytes = b"") -> None:
        self._session, self._speakers, self._step = session, tuple(speakers), step
        self._credential = Credential.of(session)
        self._signers = Signers({}, None if session.identity is None else session.identity.check)
        self._signers.meet(session.index, self._credential.announced)
        self._place = _DOMAIN + b"".join(hashlib.sha256(each).digest() for each in (step.encode(), about, session.context))
        self._heard: dict[int, bytes] = {}  # by speaker: its key with its voucher, the word's digest, the signature

    def tell(self, word: bytes) -> None:
        """Say the own word to every peer."""
        said = self._heard[self._session.index] = self._sign(word)
        for peer in sorted(self._session.channels):
            send_block(self._session.channels[peer], said[:_ANNOUNCED] + said[-_SIGNATURE:] + word)

    def hear(self, peer: int, size: int) -> bytes:
        """The word of a speaker, of ``size`` bytes. Raises ProtocolViolation naming it unless it signed that word."""
        message = receive_block(self._session.channels[peer], _ANNOUNCED + _SIGNATURE + size, self._step)
        announced, signature, word = message[:_ANNOUNCED], message[_ANNOUNCED:-size], message[-size:]
        said = hashlib.sha256(word).digest() + signature
        self._signers.meet(peer, announced)
        if not self._signed(peer, said):
            raise ProtocolViolation(peer, self._step, "did not sign what it sent")
        self._heard[peer] = announced + said
        return word

    def compare(self, *, patient: bool = False) -> None:
        """Tell every peer what this party heard, and compare it with what each heard; ``patient``: for as long as the run may take,
        since others may still be hearing long words. Raises what :meth:`check` does."""
        mine = self.report()
        self._session.broadcast(mine)
        for peer, channel in sorted(self._session.channels.items()):
            if patient:
                self._session.patience(peer)
            self.check(peer, receive_block(channel, len(mine), self._step))

    def report(self) -> bytes:
        """What this party heard, for the peers: as many bytes from each."""
        return b"".join(self._heard[speaker] for speaker in self._speakers)

    def check(self, peer: int, report: bytes) -> None:
        """Compare what a peer heard. Raises ProtocolViolation naming the speaker that signed two words, with one key or with two,
        or the peer that reports one which was not signed."""
        size = _ANNOUNCED + _SAID
        for place, speaker in enumerate(self._speakers):
            theirs = report[place * size : (place + 1) * size]
            announced, said = theirs[:_ANNOUNCED], theirs[_ANNOUNCED:]
            if said[:_DIGEST] == self._heard[speaker][_ANNOUNCED:-_SIGNATURE]:
                continue
            self._signers.check_announced(peer, speaker, announced)
            if self._signed(speaker, said):
                raise ProtocolViolation(speaker, self._step, "told two parties different things, and signed both")
            raise ProtocolViolation(peer, self._step, f"reports a word of party {speaker} that this one never signed")

    def _sign(self, word: bytes) -> bytes:
        digest = hashlib.sha256(word).digest()
        return self._credential.announced + digest + self._credential.sign(self._statement(self._session.index, digest))

    def _signed(self, speaker: int, said: bytes) -> bool:
        return self._signers.signed(speaker, self._statement(speaker, said[:_DIGEST]), said[_DIGEST:])

    def _statement(self, speaker: int, digest: bytes) -> bytes:
        return self._place + speaker.to_bytes(4, "big") + digest
