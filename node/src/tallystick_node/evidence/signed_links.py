"""What each party saw of its links, signed so that a contradiction can be shown on chain (``Disputes.proveTwoDigests``).

A party signs a direction once for an attempt, when its run is over: two signed digests of the same messages that differ are a lie
of one of their signers, and a breach where it is one signer.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from tallystick.chain.connection import Chain
from tallystick.chain.operators import signs_for
from tallystick.protocol.agreement import LinkDigest, link_digest
from tallystick.protocol.errors import NotFound, PeerFailed
from tallystick.protocol.operators import Scope
from tallystick.protocol.reasons import Reason
from tallystick.protocol.statement import Link
from tallystick.signing import Signer

from tallystick_node.evidence.agreement import Word

SignedLink = tuple[tuple[Any, ...], str, bytes]  # as the contract takes it


def sign(chain: Chain, signer: Signer, task: bytes, attempt: int, links: Sequence[Link]) -> tuple[bytes, ...]:
    """The own signature of each link; none where the deployment has no contract that would take them."""
    return tuple(signer.sign_digest(each) for each in _digests(chain, task, attempt, links))


def check(chain: Chain, account: str, task: bytes, attempt: int, word: Word) -> None:
    """Raise PeerFailed unless a peer's word is of its own links, and signed by it, or an operator for it, for this attempt. Raises
    ChainUnreachable."""
    own = all(account in (link.sender, link.recipient) for link in word.links)
    digests = _digests(chain, task, attempt, word.links)
    if not own or len(digests) != len(word.signatures):
        raise _unsigned(account)
    for digest, signature in zip(digests, word.signatures, strict=True):
        if not signs_for(chain, account, Scope.SIGN, digest, signature):
            raise _unsigned(account)


def contradictions(task: bytes, attempt: int, words: Mapping[str, Word]) -> list[tuple[SignedLink, SignedLink]]:
    """Two signed digests of the same messages that differ, as the contract takes them, for each direction where there are any: of
    one signer, if it contradicts itself. A word may hold one direction many times, and each pair that is shown costs gas."""
    said: dict[tuple[str, str, int], list[SignedLink]] = {}
    for account, word in words.items():
        for link, signature in zip(word.links, word.signatures, strict=False):  # none are signed where nothing could take them
            signed = _struct(task, attempt, link).as_tuple(), account, signature
            said.setdefault((link.sender, link.recipient, link.messages), []).append(signed)
    found = ([pair for pair in itertools.combinations(each, 2) if pair[0][0] != pair[1][0]] for each in said.values())
    return [min(pairs, key=lambda pair: pair[0][1] != pair[1][1]) for pairs in found if pairs]


def _digests(chain: Chain, task: bytes, attempt: int, links: Sequence[Link]) -> list[bytes]:
    try:
        domain = chain.domain("Disputes")
    except NotFound:
        return []
    return [link_digest(domain, _struct(task, attempt, link)) for link in links]


def _struct(task: bytes, attempt: int, link: Link) -> LinkDigest:
    digest = bytes.fromhex(link.digest.rpartition(":")[2])
    return LinkDigest(task, attempt, link.sender, link.recipient, link.messages, link.bytes, digest)


def _unsigned(account: str) -> PeerFailed:
    return PeerFailed(
        "did not sign what it saw of its links in this attempt",
        party=account,
        reason=Reason.STATEMENT_MISMATCH,
        remedy="check that its node and this one know the same deployment",
    )
