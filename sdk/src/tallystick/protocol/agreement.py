"""What is agreed about a task besides its run: fee, bonds, shares, arbiters; and what is signed for settlement and disputes.

The structs and their EIP-712 encodings are those of ``Terms.sol``. Signatures are good for one chain and one contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tallystick.ethereum import abi_encode, keccak
from tallystick.protocol import typed
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import order

COIN = "0x" + "00" * 20
"""In the place of a token: the chain's own coin."""
WHOLE = 10_000
"""Basis points."""
BREACHES = (
    "signed two results for one attempt",
    "signed two digests of the same messages",
    "signed an opening that does not lead to its commitment",
    "staked a bond and did not accept in time",
    "let a run end in silence",
)
"""The breaches that the contract sees by itself, in the order of ``IDisputes.Breach``."""
CONTRADICTION = "signed another digest of the same messages than the other end"
MAX_ARBITERS = 7
MAX_SECONDS = 30 * 86400
AGREEMENT_TYPE = (
    "Agreement(bytes32 task,address token,uint128 fee,uint128 bond,uint32 disputeSeconds,uint32 rulingSeconds,"
    "bool measured,bool upheldByDefault,uint16[] shares,address[] arbiters,uint128 price)"
)
CONTRIBUTION_TYPE = "Contribution(bytes32 task,uint8 attempt,bytes32 result,uint16[] shares)"
LINK_DIGEST_TYPE = "LinkDigest(bytes32 task,uint8 attempt,address from,address to,uint64 messages,uint64 size,bytes32 digest)"
OPENING_TYPE = "Opening(bytes32 task,bytes32 dataset,bytes32 rows,bytes32 leaf,uint64 index,uint64 size,bytes32[] path)"


@dataclass(frozen=True)
class Agreement:
    """The terms of one task (``Terms.sol``). Its id is its EIP-712 struct hash.

    ``fee`` and ``bond`` in the smallest unit of ``token`` (wei of the chain's own coin); ``shares`` of the parties, in their order,
    in basis points. Without ``arbiters`` the governor judges. ``upheld_by_default``: what a challenge comes to when they are
    silent. With a ``price`` there are no shares: each party is paid that for every use which the ledger debited of its grant, in
    all attempts up to the proved one, and ``fee`` is the most that all are paid.
    """

    task: bytes
    token: str
    fee: int
    bond: int
    dispute_seconds: int
    ruling_seconds: int
    measured: bool
    upheld_by_default: bool
    shares: tuple[int, ...]
    arbiters: tuple[str, ...] = ()
    price: int = 0

    def __post_init__(self) -> None:
        """Raises :class:`MalformedDocument` for terms that the contract would refuse."""
        rules = (
            (self.shares and sum(self.shares) != WHOLE, f"the shares are not {WHOLE} basis points in all"),
            (any(not 0 <= share <= WHOLE for share in self.shares), "a share is not from 0 to 10000 basis points"),
            (len(self.arbiters) > MAX_ARBITERS, f"there are more than {MAX_ARBITERS} arbiters"),
            (list(self.arbiters) != sorted(set(self.arbiters), key=order), "the arbiters are not ascending, each once"),
            (not 0 < self.dispute_seconds <= MAX_SECONDS, "the time for disputes is not from one second to 30 days"),
            (not 0 < self.ruling_seconds <= MAX_SECONDS, "the time for rulings is not from one second to 30 days"),
            (
                any(not 0 <= each < 2**128 for each in (self.fee, self.bond, self.price)),
                "an amount is negative, or not below 2^128",
            ),
            (self.price and (self.shares or self.measured), "with a price for each use there are no shares, declared or measured"),
        )
        for broken, rule in rules:
            if broken:
                raise MalformedDocument(f"agreement: {rule}")

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct in ABI order."""
        return (
            self.task, self.token, self.fee, self.bond, self.dispute_seconds, self.ruling_seconds, self.measured,
            self.upheld_by_default, list(self.shares), list(self.arbiters), self.price,
        )  # fmt: skip

    @classmethod
    def of(cls, values: Iterable[Any]) -> Agreement:
        """From the members in ABI order, as the chain gives them."""
        task, token, fee, bond, dispute, ruling, measured, default, shares, arbiters, price = values
        return cls(bytes(task), token, fee, bond, dispute, ruling, measured, default, tuple(shares), tuple(arbiters), price)

    def owed(self, uses: Sequence[int], attempts: int) -> list[int]:
        """What each party of a proved task is owed of the fee, in their order, if none is at fault: ``uses`` as the proposal says,
        ``attempts`` as were started."""
        if not self.price:
            return [self.fee * share // WHOLE for share in self.shares]
        used, all_ = [each * attempts for each in uses], sum(uses) * attempts
        enough = all_ * self.price <= self.fee
        return [each * self.price if enough else self.fee * each // all_ for each in used]

    def id(self) -> bytes:
        """The EIP-712 struct hash."""
        kinds = ("bytes32", "address", "uint128", "uint128", "uint32", "uint32", "bool", "bool", "bytes32", "bytes32", "uint128")
        shares, arbiters = _array("uint16", self.shares), _array("address", self.arbiters)
        return typed.struct_hash(AGREEMENT_TYPE, kinds, (*self.as_tuple()[:8], shares, arbiters, self.price))


def standard_agreement(task: bytes) -> Agreement:
    """The terms under which a task without an agreement can be challenged: only the record is at stake."""
    return Agreement(task, COIN, 0, 0, 3 * 86400, 14 * 86400, False, False, ())


@dataclass(frozen=True)
class LinkDigest:
    """What one end saw of one direction of a link when the run ended. An end signs it once for each attempt and direction: a digest
    that is taken in the middle of a run may be followed by another of as many messages."""

    task: bytes
    attempt: int
    sender: str
    recipient: str
    messages: int
    size: int
    digest: bytes

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct in ABI order."""
        return (self.task, self.attempt, self.sender, self.recipient, self.messages, self.size, self.digest)

    def hash(self) -> bytes:
        """The EIP-712 struct hash."""
        kinds = ("bytes32", "uint8", "address", "address", "uint64", "uint64", "bytes32")
        return typed.struct_hash(LINK_DIGEST_TYPE, kinds, self.as_tuple())


@dataclass(frozen=True)
class Demand:
    """Which row's place an owner is to show: of ``dataset``, with the commitment ``rows`` over ``size`` rows, that at ``index``."""

    dataset: bytes
    rows: bytes
    index: int
    size: int

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct in ABI order."""
        return (self.dataset, self.rows, self.index, self.size)


@dataclass(frozen=True)
class Opening:
    """Where a row stands in a dataset, as its owner states it: ``leaf`` is the leaf's hash, ``rows`` the commitment that it opens,
    ``size`` the number of rows (RFC 9162 over SHA-256). Whoever takes one checks it with :func:`tallystick.protocol.merkle`."""

    task: bytes
    dataset: bytes
    rows: bytes
    leaf: bytes
    index: int
    size: int
    path: tuple[bytes, ...]

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct in ABI order."""
        return (self.task, self.dataset, self.rows, self.leaf, self.index, self.size, list(self.path))

    def hash(self) -> bytes:
        """The EIP-712 struct hash."""
        kinds = ("bytes32", "bytes32", "bytes32", "bytes32", "uint64", "uint64", "bytes32")
        return typed.struct_hash(OPENING_TYPE, kinds, (*self.as_tuple()[:6], _array("bytes32", self.path)))


def contribution_digest(domain: typed.Domain, task: bytes, attempt: int, result: bytes, shares: Sequence[int]) -> bytes:
    """What every party signs about measured shares; ``result`` is the proved ``Result``'s struct hash. Domain of Settlement."""
    kinds = ("bytes32", "uint8", "bytes32", "bytes32")
    return domain.digest(typed.struct_hash(CONTRIBUTION_TYPE, kinds, (task, attempt, result, _array("uint16", shares))))


def link_digest(domain: typed.Domain, link: LinkDigest) -> bytes:
    """What an end of a link signs about it; domain of Disputes."""
    return domain.digest(link.hash())


def opening_digest(domain: typed.Domain, opening: Opening) -> bytes:
    """What a dataset's owner signs about an opening; domain of Disputes."""
    return domain.digest(opening.hash())


def _array(kind: str, values: Sequence[Any]) -> bytes:
    """The hash of an array's elements, each padded to a word (EIP-712, "Definition of encodeData")."""
    return keccak(b"".join(abi_encode([kind], [value]) for value in values))
