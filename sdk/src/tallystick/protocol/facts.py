"""What the chain says, as the verification rules ask it: logs of the deployed contracts, from two kinds of source.

:class:`ChainFacts` is the interface. :class:`BundleFacts` answers from a bundle's ``chain.json``, anchored at block
hashes that the verifier trusts; an online source answers from a node that the verifier trusts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from tallystick.protocol import canonical, receipts
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.fields import Fields
from tallystick.protocol.statement import CONTRACTS

TYPE = "tallystick.chain/1"
LIMIT = 1 << 26
MAX_BLOCKS = 1 << 16
MAX_RECEIPTS = 1 << 14


@dataclass(frozen=True)
class Log:
    """One log of a successful transaction.

    ``timestamp`` is its block's, in seconds; ``index`` orders logs within the block.
    """

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    timestamp: int
    index: int


class ChainFacts(Protocol):
    """A source of logs. Implementations give only logs of the canonical chain, of blocks that they regard as final."""

    @property
    def chain_id(self) -> int:
        """The chain's EIP-155 id."""

    @property
    def contracts(self) -> Mapping[str, str]:
        """The address of each contract in :data:`~tallystick.protocol.statement.CONTRACTS`."""

    def logs(self, contract: str, topics: Sequence[bytes | None]) -> Sequence[Log]:
        """Every log of ``contract`` whose topics equal those given (None: any), in the order of the chain."""

    def anchored(self) -> str | None:
        """In words, what the facts rest on; None when on nothing but the bundle's own word.

        Raises :class:`VerificationFailed` (rule 20) when the facts do not hold against what is trusted.
        """


@dataclass(frozen=True)
class BlockEvidence:
    """One block: its RLP header and, unless it only links others to a trusted block, all its receipts in consensus
    form.
    """

    header: bytes
    receipts: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        """The block as it stands in ``chain.json``."""
        return {"header": "0x" + self.header.hex(), "receipts": ["0x" + each.hex() for each in self.receipts]}

    @classmethod
    def from_json(cls, value: Any, where: str) -> BlockEvidence:
        """Read a block strictly."""
        fields = Fields(value, ("header", "receipts"), where)
        return cls(fields.hexbytes("header", receipts.MAX_HEADER), fields.items("receipts", 0, MAX_RECEIPTS, _receipt))


@dataclass(frozen=True)
class ChainEvidence:
    """The document ``chain.json``."""

    chain_id: int
    contracts: Mapping[str, str]
    blocks: tuple[BlockEvidence, ...]

    def to_bytes(self) -> bytes:
        """The canonical bytes. Raises :class:`MalformedDocument` if they would not parse."""
        data = canonical.encode(
            {
                "type": TYPE,
                "chain_id": self.chain_id,
                "contracts": dict(self.contracts),
                "blocks": [block.to_json() for block in self.blocks],
            }
        )
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> ChainEvidence:
        """Read the document strictly. Raises :class:`MalformedDocument`."""
        fields = Fields(canonical.decode(data, LIMIT), ("type", "chain_id", "contracts", "blocks"), "chain")
        fields.constant("type", TYPE)
        contracts = Fields(fields.object("contracts"), CONTRACTS, "chain.contracts")
        return cls(
            chain_id=fields.integer("chain_id", 1, canonical.MAX_INTEGER),
            contracts=MappingProxyType({name: contracts.address(name) for name in CONTRACTS}),
            blocks=fields.items("blocks", 1, MAX_BLOCKS, BlockEvidence.from_json),
        )


class BundleFacts:
    """Facts from a bundle. Without ``trusted_blocks`` they are only the bundle's word, and :meth:`anchored` says None.

    Every block whose receipts are used must be a trusted one or an ancestor of one through headers in the bundle, and
    its receipts must have the header's root. Absence is not provable here: a suspension that the bundle leaves out is
    unseen, so this source leans on the contracts, which refuse inactive participants when a task starts.
    """

    def __init__(self, evidence: ChainEvidence, trusted_blocks: Collection[bytes] = ()) -> None:
        self.evidence = evidence
        self._trusted = frozenset(trusted_blocks)
        parsed = [(receipts.Header.parse(block.header), block) for block in evidence.blocks]
        self._headers = {header.hash: header for header, _ in parsed}
        self._with_receipts = [(header, block) for header, block in parsed if block.receipts]
        self._logs = [log for header, block in self._with_receipts for log in _logs(header, block)]
        self._logs.sort(key=lambda log: (log.block, log.index))

    @property
    def chain_id(self) -> int:
        """The chain id that the bundle states."""
        return self.evidence.chain_id

    @property
    def contracts(self) -> Mapping[str, str]:
        """The addresses that the bundle states."""
        return self.evidence.contracts

    def logs(self, contract: str, topics: Sequence[bytes | None]) -> Sequence[Log]:
        """See :meth:`ChainFacts.logs`."""
        address = self.contracts[contract]
        return [log for log in self._logs if log.address == address and _match(log.topics, topics)]

    def anchored(self) -> str | None:
        """See :meth:`ChainFacts.anchored`."""
        numbers = [header.number for header in self._headers.values()]
        if len(set(numbers)) != len(self.evidence.blocks):
            raise VerificationFailed("two blocks of the bundle have the same number", rule=20)
        for header, block in self._with_receipts:
            if receipts.receipts_root(block.receipts) != header.receipts_root:
                raise VerificationFailed(f"the receipts of block {header.number} do not have its root", rule=20)
        if not self._trusted:
            return None
        reached: set[bytes] = set()
        for head in self._trusted:
            current = head
            while current in self._headers and current not in reached:
                reached.add(current)
                current = self._headers[current].parent
        for header, _ in self._with_receipts:
            if header.hash not in reached:
                raise VerificationFailed(
                    f"block {header.number} does not lead to a trusted block",
                    rule=20,
                    remedy="give the hash, from your own node, of this block or of a later one that it links to",
                )
        return f"receipts of {len(self._with_receipts)} blocks, up to a trusted block hash"

    def latest(self) -> int:
        """The time of the latest block in the bundle, in seconds."""
        return max(header.timestamp for header in self._headers.values())


def _logs(header: receipts.Header, block: BlockEvidence) -> list[Log]:
    logs: list[Log] = []
    count = 0
    for data in block.receipts:
        succeeded, raw = receipts.parse_receipt(data)
        for each in raw if succeeded else ():
            logs.append(Log(each.address, each.topics, each.data, header.number, header.timestamp, count))
            count += 1
    return logs


def _match(topics: Sequence[bytes], wanted: Sequence[bytes | None]) -> bool:
    return len(topics) >= len(wanted) and all(want in (None, topic) for want, topic in zip(wanted, topics, strict=False))


def _receipt(value: Any, where: str) -> bytes:
    data = Fields({"it": value}, ("it",), where).hexbytes("it", receipts.MAX_RECEIPT)
    if not data:
        raise MalformedDocument(f"{where}: empty")
    return data
