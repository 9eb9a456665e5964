"""Algorithms and their reviews over one connection (docs/spec/algorithm.md).

Functions that send act for the connection's signer. Trusted: the chain's endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tallystick.chain.connection import Block, Chain, Receipt
from tallystick.protocol import canonical
from tallystick.protocol.algorithm import AlgorithmCard, code_digest, kind_named, kind_number, reason_digest
from tallystick.protocol.errors import MalformedDocument, NotFound
from tallystick.protocol.fields import order

PAGE = 64
NOBODY = "0x" + "00" * 20


@dataclass(frozen=True)
class Algorithm:
    """What the chain holds of an algorithm. ``registered_at`` in seconds since 1970; ``reviewers``: how many ever reviewed it."""

    code: bytes
    author: str
    kind: str
    card: bytes
    registered_at: int
    withdrawn: bool
    reviewers: int


@dataclass(frozen=True)
class Review:
    """What a reviewer says now. ``reviewed_at`` in seconds since 1970; ``reason``: digest of the written one."""

    reviewer: str
    approved: bool
    reviewed_at: int
    reason: bytes


def algorithm_of(chain: Chain, code: bytes, block: Block = "latest") -> Algorithm:
    """An algorithm by the digest of its code. Raises NotFound where it was never registered."""
    found = chain.algorithms.algorithm_at(code, block=block)
    if not found["kind"]:
        raise NotFound(
            "the chain knows no algorithm with this digest",
            party=canonical.text(code),
            remedy="register the code (`tally algorithm register`); a changed byte is another algorithm",
        )
    return Algorithm(
        code,
        found["author"],
        kind_named(found["kind"]),
        found["card"],
        found["registeredAt"],
        found["withdrawn"],
        found["reviewers"],
    )


def reviews_of(chain: Chain, code: bytes, block: Block = "latest") -> list[Review]:
    """What every reviewer says of an algorithm, in the order of their first reviews. Raises ContractRefused for an unknown one.

    Give a block's number where the pages have to be of one state.
    """
    found: list[Review] = []
    while len(found) % PAGE == 0:
        after = found[-1].reviewer if found else NOBODY
        page = chain.algorithms.reviews_of(code, after, PAGE, block=block)
        found += [Review(each["reviewer"], each["approved"], each["reviewedAt"], each["reason"]) for each in page]
        if not page:
            break
    return found[::-1]


def approvals(chain: Chain, code: bytes, reviewers: Iterable[str], block: Block = "latest") -> tuple[int, int]:
    """How many of these accounts approve an algorithm, and how many reject it, as the contract counts them. Raises ContractRefused
    for an algorithm that is unknown or withdrawn.

    A page of accounts is counted at a time, however many there are, since an endpoint bounds what one call may cost; all pages are
    of one block, which is the latest of the moment where none is given.
    """
    counted = sorted(set(reviewers), key=order)
    if block == "latest" and len(counted) > PAGE:
        block, _ = chain.latest()
    approved = rejected = 0
    for first in range(0, max(1, len(counted)), PAGE):  # without accounts, too, the algorithm has to be a usable one
        found = chain.algorithms.approvals(code, counted[first : first + PAGE], block=block)
        approved, rejected = approved + found["approved"], rejected + found["rejected"]
    return approved, rejected


def register(chain: Chain, card: AlgorithmCard) -> Receipt:
    """Register a card's code as the own account's algorithm. Raises ContractRefused."""
    return chain.algorithms.register(canonical.untext(card.code), kind_number(card.kind), card.digest())


def review(chain: Chain, code: bytes, card: AlgorithmCard, reason: bytes, *, approved: bool) -> Receipt:
    """Approve or reject code that the own account has read, with its card, and the written reason.

    Raises NotFound or MalformedDocument where code and card are not those that were registered, ContractRefused where the own
    account may not review it or says so already.
    """
    digest = code_digest(code)
    require_card(algorithm_of(chain, digest), card)
    return chain.algorithms.review(digest, approved, reason_digest(reason))


def require_card(registered: Algorithm, card: AlgorithmCard) -> None:
    """Raise MalformedDocument unless a card is the one that an algorithm was registered with, and says its kind."""
    if (canonical.text(registered.code), registered.card, registered.kind) != (card.code, card.digest(), card.kind):
        raise MalformedDocument(
            "the card is not the one that this code was registered with",
            party=registered.author,
            remedy="ask the author for code and card of the same version",
        )
