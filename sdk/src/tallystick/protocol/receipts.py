"""Block headers and receipts as the chain hashes them, so that events can be proved from one trusted block hash.

The evidence for an event is its block's header and all receipts of that block: the receipts' trie root is in the
header, the header's hash is the block hash, and headers lead from parent to parent. Source: Ethereum yellow paper,
section 4.4 and appendix D (Merkle-Patricia trie); EIP-2718 (typed receipts); EIP-1559, 4895, 4844, 4788 and 7685
(header fields).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rlp

from tallystick.ethereum import keccak, to_checksum_address
from tallystick.protocol.errors import MalformedDocument

MAX_HEADER = 4096
MAX_RECEIPT = 1 << 20
MAX_DEPTH = 5
"""How deep RLP may nest: a receipt has fields, logs, log, topics, topic."""

_HASHES = ("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom")
_NUMBERS = ("difficulty", "number", "gasLimit", "gasUsed", "timestamp")
# In the order in which forks appended them; a header has a prefix of these.
_APPENDED = (
    ("baseFeePerGas", True),
    ("withdrawalsRoot", False),
    ("blobGasUsed", True),
    ("excessBlobGas", True),
    ("parentBeaconBlockRoot", False),
    ("requestsHash", False),
)


@dataclass(frozen=True)
class Header:
    """What the evidence needs of a header. ``timestamp`` in seconds since 1970."""

    hash: bytes
    parent: bytes
    receipts_root: bytes
    number: int
    timestamp: int

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Read an RLP header. Raises :class:`MalformedDocument`."""
        fields = _list(data, MAX_HEADER, "block header")
        if len(fields) < 15 or any(not isinstance(each, bytes) for each in fields):
            raise MalformedDocument("block header: not a list of at least 15 byte strings")
        if len(fields[0]) != 32 or len(fields[5]) != 32 or len(fields[8]) > 8 or len(fields[11]) > 8:
            raise MalformedDocument("block header: a field has the wrong size")
        return cls(keccak(data), fields[0], fields[5], int.from_bytes(fields[8], "big"), int.from_bytes(fields[11], "big"))


@dataclass(frozen=True)
class RawLog:
    """One log of a receipt: contract (EIP-55), topics of 32 bytes, data."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes


def header_bytes(block: Mapping[str, Any]) -> bytes:
    """The RLP header of a JSON-RPC block, whose values may be hex text, bytes or integers (as web3 gives them).

    Raises :class:`MalformedDocument` when a field is missing, or when the header does not hash to the block's
    ``hash``: a chain with a different header cannot be proved this way.
    """
    try:
        values: list[bytes] = [_bytes(block[name]) for name in _HASHES]
        values += [_number(block[name]) for name in _NUMBERS]
        values += [_bytes(block[name]) for name in ("extraData", "mixHash", "nonce")]
        for name, numeric in _APPENDED:
            if block.get(name) is None:
                break
            values.append(_number(block[name]) if numeric else _bytes(block[name]))
        data = bytes(rlp.encode(values))
        expected = _bytes(block["hash"])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedDocument(f"block: {error}") from None
    if keccak(data) != expected:
        raise MalformedDocument("block: the header's fields do not hash to the block's hash")
    return data


def receipt_bytes(receipt: Mapping[str, Any]) -> bytes:
    """The consensus encoding of a JSON-RPC receipt: its type byte, if not 0, and RLP of status, gas, bloom and logs.

    Raises :class:`MalformedDocument` when a field is missing or of the wrong type.
    """
    try:
        logs = [
            [_bytes(log["address"]), [_bytes(topic) for topic in log["topics"]], _bytes(log["data"])] for log in receipt["logs"]
        ]
        body = [_number(receipt["status"]), _number(receipt["cumulativeGasUsed"]), _bytes(receipt["logsBloom"]), logs]
        kind = int.from_bytes(_number(receipt.get("type", 0)), "big")
        return (bytes([kind]) if kind else b"") + bytes(rlp.encode(body))
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedDocument(f"receipt: {error}") from None


def parse_receipt(data: bytes) -> tuple[bool, tuple[RawLog, ...]]:
    """Whether the transaction succeeded, and its logs. Raises :class:`MalformedDocument`."""
    if not data:
        raise MalformedDocument("receipt: empty")
    fields = _list(data[1:] if data[0] < 0x80 else data, MAX_RECEIPT, "receipt")
    if len(fields) != 4 or not isinstance(fields[0], bytes) or not isinstance(fields[3], list):
        raise MalformedDocument("receipt: not status, gas, bloom and logs")
    logs = []
    for log in fields[3]:
        if not (isinstance(log, list) and len(log) == 3 and isinstance(log[0], bytes) and isinstance(log[2], bytes)):
            raise MalformedDocument("receipt: a log is not address, topics and data")
        topics = log[1]
        if len(log[0]) != 20 or not isinstance(topics, list) or len(topics) > 4:
            raise MalformedDocument("receipt: a log's address or topics have the wrong size")
        if any(not isinstance(topic, bytes) or len(topic) != 32 for topic in topics):
            raise MalformedDocument("receipt: a topic is not 32 bytes")
        logs.append(RawLog(to_checksum_address(log[0]), tuple(topics), log[2]))
    return fields[0] == b"\x01", tuple(logs)


def receipts_root(receipts: Sequence[bytes]) -> bytes:
    """The root of the trie that maps RLP(i) to receipt i, as a header's ``receiptsRoot``."""
    pairs = sorted((_nibbles(bytes(rlp.encode(index))), receipt) for index, receipt in enumerate(receipts))
    return keccak(rlp.encode(_node(pairs, 0)))


def _node(pairs: Sequence[tuple[tuple[int, ...], bytes]], depth: int) -> Any:
    """The trie node over sorted (nibbles, value) pairs that agree in their first ``depth`` nibbles."""
    if not pairs:
        return b""
    first, last = pairs[0][0], pairs[-1][0]
    if len(pairs) == 1:
        return [_compact(first[depth:], leaf=True), pairs[0][1]]
    shared = depth
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_compact(first[depth:shared], leaf=False), _reference(_node(pairs, shared))]
    branch: list[Any] = [
        _reference(_node([pair for pair in pairs if len(pair[0]) > depth and pair[0][depth] == nibble], depth + 1))
        for nibble in range(16)
    ]
    branch.append(pairs[0][1] if len(first) == depth else b"")
    return branch


def _reference(node: Any) -> Any:
    """A node shorter than a hash stands in its parent itself."""
    if node == b"":
        return b""
    encoded = bytes(rlp.encode(node))
    return node if len(encoded) < 32 else keccak(encoded)


def _compact(nibbles: Sequence[int], *, leaf: bool) -> bytes:
    """Hex-prefix encoding, yellow paper appendix C."""
    flag = 2 * leaf + len(nibbles) % 2
    padded = [flag, *nibbles] if len(nibbles) % 2 else [flag, 0, *nibbles]
    return bytes(high << 4 | low for high, low in zip(padded[::2], padded[1::2], strict=True))


def _nibbles(key: bytes) -> tuple[int, ...]:
    return tuple(nibble for byte in key for nibble in (byte >> 4, byte & 15))


def _list(data: bytes, limit: int, what: str) -> list[Any]:
    if len(data) > limit:
        raise MalformedDocument(f"{what}: {len(data)} bytes, more than {limit}")
    value, end = _item(data, 0, MAX_DEPTH, what)
    if end != len(data):
        raise MalformedDocument(f"{what}: bytes after the RLP")
    if not isinstance(value, list):
        raise MalformedDocument(f"{what}: not an RLP list")
    return value


def _item(data: bytes, at: int, depth: int, what: str) -> tuple[Any, int]:
    """One strict RLP item and where it ends (yellow paper, appendix B). Nesting is bounded."""
    if at >= len(data) or depth == 0:
        raise MalformedDocument(f"{what}: RLP that ends early or nests more than {MAX_DEPTH} deep")
    first = data[at]
    if first < 0x80:
        return data[at : at + 1], at + 1
    base = 0xC0 if first >= 0xC0 else 0x80
    size, start = first - base, at + 1
    if size > 55:
        start = at + 1 + size - 55
        size = int.from_bytes(data[at + 1 : start], "big")
        if size < 56 or data[at + 1] == 0:
            raise MalformedDocument(f"{what}: an RLP length that is not the shortest")
    end = start + size
    if end > len(data):
        raise MalformedDocument(f"{what}: RLP that ends early")
    if base == 0x80:
        if size == 1 and data[start] < 0x80:
            raise MalformedDocument(f"{what}: an RLP byte that is not the shortest")
        return data[start:end], end
    items: list[Any] = []
    while start < end:
        item, start = _item(data, start, depth - 1, what)
        items.append(item)
    if start != end:
        raise MalformedDocument(f"{what}: an RLP list that ends inside an item")
    return items, end


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x"))
    if isinstance(value, int):
        raise TypeError("a number where bytes are expected")
    return bytes(value)


def _number(value: Any) -> bytes:
    number = int(value, 16) if isinstance(value, str) else int(value)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
