"""What each party heard of each, signed, so that who tells two parties two words is named by both.

Over a link to each peer, whoever tells two peers two words makes these build two statements, and each of them could only name the
other. So who speaks signs its word, and each party then reports to every other whose key signed which digest. It is the echo
broadcast of Goldwasser and Lindell (Secure multi-party computation without agreement, Journal of Cryptology 2005) with signatures;
as there the run ends where somebody cheats. Withstands any number of malicious parties: an honest one signs one word in an attempt,
and so is named by nobody who is honest.

Assumed: the registry's answers about operators. A word counts as its party's where an operator signed that could do so as the
attempt started or later, be it revoked since (docs/spec/word.md): so nobody that cheats can, by revoking a key, have the one named
that heard it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallystick.chain.connection import Chain
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument, PeerFailed, RunFailed
from tallystick.protocol.fields import Fields
from tallystick.protocol.reasons import Reason
from tallystick.protocol.signature import recover
from tallystick.protocol.task import MAX_PARTIES, TaskSpec
from tallystick.signing import Signer

from tallystick_node.evidence.agreement import SIGNATURE

DOMAIN = "word"
LIMIT = 1 << 14  # bytes of a report


@dataclass(frozen=True)
class Said:
    """That a party said the word with this SHA-256, 32 bytes, and its signature of that."""

    digest: bytes
    signature: bytes


@dataclass(frozen=True)
class Report:
    """What a party tells every other when it has heard all words: who is absent for it, and what each of the rest said. Both in the
    order of the parties."""

    absent: tuple[str, ...]
    heard: Mapping[str, Said]

    def to_bytes(self) -> bytes:
        """Canonical bytes, for the peers."""
        heard = [
            {"party": account, "digest": canonical.text(said.digest), "signature": "0x" + said.signature.hex()}
            for account, said in self.heard.items()
        ]
        return canonical.encode({"absent": list(self.absent), "heard": heard})

    @classmethod
    def parse(cls, data: bytes, account: str, spec: TaskSpec) -> Report:
        """Read the report of ``account``. Raises PeerFailed naming it, also where it does not say one thing of each party, or finds
        one absent without which the task cannot end."""
        try:
            fields = Fields(canonical.decode(data, LIMIT), cls.__dataclass_fields__, "report")
            absent = fields.accounts("absent", 0, MAX_PARTIES)
            heard = fields.items("heard", 0, MAX_PARTIES, _heard)
            if account in absent or not set(absent) <= set(spec.may_be_absent):
                raise MalformedDocument("report.absent: names a party without which there is no report, or no result")
            if [party for party, _ in heard] != [party for party in spec.parties if party not in absent]:
                raise MalformedDocument("report.heard: is not about each party that is not absent, once and in their order")
        except MalformedDocument as error:
            raise PeerFailed(
                f"reports in a form that is none what it heard: {error.message}", party=account, reason=Reason.STATEMENT_MISMATCH
            ) from None
        return cls(absent, dict(heard))


def _heard(value: Any, where: str) -> tuple[str, Said]:
    fields = Fields(value, ("party", "digest", "signature"), where)
    signature = fields.hexbytes("signature", SIGNATURE)
    if len(signature) != SIGNATURE:
        raise MalformedDocument(f"{where}.signature: has {len(signature)} bytes and not {SIGNATURE}")
    return fields.address("party"), Said(canonical.untext(fields.digest("digest")), signature)


class Heard:
    """The words of one attempt, as ``own`` heard them.

    ``context``: names chain, contract, task and attempt, 32 bytes; ``started``: when the attempt did, in seconds since 1970;
    ``signers``: for each party, by account, the keys that could sign for it then.
    """

    def __init__(self, chain: Chain, own: str, context: bytes, started: int, signers: Mapping[str, Collection[str]]) -> None:
        self._chain, self._own = chain, own
        self._context, self._started, self._signers = context, started, signers
        self._heard: dict[str, Said] = {}

    def say(self, signer: Signer, word: bytes) -> bytes:
        """The message that tells a peer the own word, the same for all: its signature, then the word."""
        said = hashlib.sha256(word).digest()
        signature = signer.sign_digest(digest(self._context, self._own, said))
        self._heard[self._own] = Said(said, signature)
        return signature + word

    def take(self, account: str, message: bytes) -> bytes:
        """The word in a peer's message. Raises PeerFailed naming the peer unless it signed that word for this attempt. Asks no
        chain."""
        signature, word = message[:SIGNATURE], message[SIGNATURE:]
        said = Said(hashlib.sha256(word).digest(), signature)
        if self._signer(account, said) not in self._signers[account]:
            raise PeerFailed(
                "did not sign its word for this attempt",
                party=account,
                reason=Reason.STATEMENT_MISMATCH,
                remedy="check that its node signs with a key that could sign for it as the attempt started, and knows the same "
                "deployment",
            )
        self._heard[account] = said
        return word

    def report(self, parties: Sequence[str]) -> bytes:
        """What this party heard and whom it finds absent, of the parties in their order."""
        absent = tuple(account for account in parties if account not in self._heard)
        return Report(absent, {account: self._heard[account] for account in parties if account in self._heard}).to_bytes()

    def compare(self, reporter: str, report: Report) -> None:
        """Hold a peer's report against what this party heard itself.

        Raises PeerFailed naming the party that signed two words, or the reporter where that party signed no such word; RunFailed
        where two words have this party's own signature; ChainUnreachable, which it can only where a digest differs.
        """
        for account, own in self._heard.items():
            theirs = report.heard.get(account, own)
            if theirs.digest == own.digest:
                continue
            if not self._signed(account, theirs):
                raise PeerFailed(
                    f"reports a word of {account} that this one did not sign for this attempt",
                    party=reporter,
                    reason=Reason.STATEMENT_MISMATCH,
                    remedy="ask the reporter's operator for its node's log: honest nodes report what was signed, and nothing else",
                )
            both = f"{canonical.text(own.digest)}, and {canonical.text(theirs.digest)} to {reporter}"
            if account == self._own:
                raise RunFailed(
                    f"two words of this attempt have this party's own signature: {both}",
                    reason=Reason.INTERNAL,
                    remedy="let one node alone sign with a key; if none did, the key is stolen: revoke it",
                )
            raise PeerFailed(
                f"told two parties two words on the run, and signed both: {both}",
                party=account,
                reason=Reason.STATEMENT_MISMATCH,
                remedy="run the task without it until its operator has explained that: a node says one word in an attempt",
            )

    def _signer(self, account: str, said: Said) -> str | None:
        return recover(digest(self._context, account, said.digest), said.signature)

    def _signed(self, account: str, said: Said) -> bool:
        """Whether a word counts as its party's, now and for everybody who asks later. Raises ChainUnreachable."""
        signer = self._signer(account, said)
        if signer is None or signer in self._signers[account]:
            return signer is not None
        return self._chain.participants.could_sign(signer, account, self._started)


def digest(context: bytes, account: str, said: bytes) -> bytes:
    """What a party signs of its word: ``context`` and the word's SHA-256 have 32 bytes."""
    return canonical.digest(DOMAIN, context + bytes.fromhex(account[2:]) + said)
