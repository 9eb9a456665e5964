"""Headers and receipts: a block of Anvil as recorded, and hostile RLP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rlp
from tallystick.protocol import receipts
from tallystick.protocol.errors import MalformedDocument

RECORDED = json.loads((Path(__file__).parent / "anvil_block.json").read_text())
BLOCK: dict[str, Any] = RECORDED["block"]
# An empty bloom filter is recorded as a star.
RECEIPTS = [bytes.fromhex(text.removeprefix("0x").replace("*", "00" * 256)) for text in RECORDED["receipts"]]


def test_the_header_hashes_to_the_block() -> None:
    header = receipts.Header.parse(receipts.header_bytes(BLOCK))
    assert header.hash.hex() == BLOCK["hash"][2:]
    assert header.parent.hex() == BLOCK["parentHash"][2:]
    assert (header.number, header.timestamp) == (int(BLOCK["number"], 16), int(BLOCK["timestamp"], 16))


def test_the_receipts_of_131_transactions_have_the_headers_root() -> None:
    header = receipts.Header.parse(receipts.header_bytes(BLOCK))
    assert len(RECEIPTS) == 131
    assert receipts.receipts_root(RECEIPTS) == header.receipts_root
    assert receipts.receipts_root(RECEIPTS[:-1]) != header.receipts_root
    assert receipts.receipts_root(RECEIPTS[::-1]) != header.receipts_root


def test_roots_of_few_receipts() -> None:
    """The empty trie's root is the yellow paper's; one receipt is one leaf under the key RLP(0)."""
    assert receipts.receipts_root([]).hex() == "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
    leaf = rlp.encode([b"\x20\x80", RECEIPTS[0]])
    assert receipts.receipts_root(RECEIPTS[:1]) == receipts.keccak(leaf)


def test_receipts_encode_as_recorded_and_read_back() -> None:
    assert receipts.receipt_bytes(RECORDED["receipt_0"]) == RECEIPTS[0]
    read = [receipts.parse_receipt(data) for data in RECEIPTS]
    assert sum(len(logs) for _, logs in read) == 44
    assert sum(not succeeded for succeeded, _ in read) == 1
    topics = {log.topics for _, logs in read for log in logs}
    assert topics == {((42).to_bytes(32, "big"),)}


def test_blocks_and_receipts_that_lack_something() -> None:
    with pytest.raises(MalformedDocument, match="hash to the block"):
        receipts.header_bytes({**BLOCK, "gasUsed": "0x1"})
    for key in ("stateRoot", "number", "hash"):
        with pytest.raises(MalformedDocument):
            receipts.header_bytes({name: value for name, value in BLOCK.items() if name != key})
    with pytest.raises(MalformedDocument):
        receipts.header_bytes({**BLOCK, "miner": 5})
    with pytest.raises(MalformedDocument):
        receipts.receipt_bytes({**RECORDED["receipt_0"], "logs": [{}]})


LOG = [bytes(20), [bytes(32)], b""]
BAD_LOGS: list[Any] = [
    b"",
    [b""],
    [[bytes(19), [], b""]],
    [[bytes(20), [b"x"], b""]],
    [[bytes(20), [bytes(32)] * 5, b""]],
]
BAD_LOGS += [[[bytes(20), b"", b""]], [[[], [], b""]], [[bytes(20), [], []]], [[bytes(20), [[]], b""]]]


@pytest.mark.parametrize("logs", BAD_LOGS, ids=range(len(BAD_LOGS)))
def test_hostile_logs(logs: Any) -> None:
    assert receipts.parse_receipt(rlp.encode([b"\1", b"", b"", [LOG]]))[0]
    with pytest.raises(MalformedDocument):
        receipts.parse_receipt(rlp.encode([b"\1", b"", b"", logs]))


@pytest.mark.parametrize(
    "data",
    [b"", b"\2", b"\x80", b"\xc0", b"\xf9\xff\xff", b"\xc1" * 900, rlp.encode([b"1"] * 14), rlp.encode([[]] * 20)],
)
def test_hostile_headers_and_receipts(data: bytes) -> None:
    with pytest.raises(MalformedDocument):
        receipts.Header.parse(data)
    with pytest.raises(MalformedDocument):
        receipts.parse_receipt(data)


def test_sizes_are_bounded() -> None:
    with pytest.raises(MalformedDocument, match="more than"):
        receipts.Header.parse(bytes(receipts.MAX_HEADER + 1))


@pytest.mark.parametrize("data", [b"\x81\x05", b"\xf8\x05" + b"\1" * 5, b"\xb8\x01\xff", b"\xc2\x83a", b"\xc0\xc0", b"\xb9\0\x38"])
def test_rlp_has_one_form(data: bytes) -> None:
    with pytest.raises(MalformedDocument):
        receipts.Header.parse(data)


def test_deep_rlp_is_refused_without_recursion() -> None:
    data = b"\xc0"
    for _ in range(1000):
        data = (bytes([0xC0 + len(data)]) if len(data) < 56 else b"\xf9" + len(data).to_bytes(2, "big")) + data
    with pytest.raises(MalformedDocument, match="nests"):
        receipts.Header.parse(data)
