"""Audit records and logs: signed, in place, complete, and under every anchored head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tallystick.protocol import canonical, merkle
from tallystick.protocol.audit import AuditRecord, verify_log
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from unit.protocol.world import ACCOUNTS, CHAIN, PARTIES, START, salt

NODE = ACCOUNTS[0]


def record(index: int, **changes: Any) -> AuditRecord:
    made = AuditRecord(
        CHAIN, NODE.address, index, START, "refusal", salt("t"), "", PARTIES[1], "grant.purpose", "no", {"asked": "x"}
    )
    return replace(made, **changes).signed(NODE.sign)


RECORDS = [record(index).to_bytes() for index in range(5)]
HEADS = [(2, merkle.root(RECORDS[:2])), (5, merkle.root(RECORDS))]


def check(records: list[bytes], heads: list[tuple[int, bytes]] = HEADS, chain_id: int = CHAIN) -> None:
    verify_log(records, chain_id=chain_id, account=NODE.address, heads=heads)


def test_an_honest_log() -> None:
    check(RECORDS)
    check(RECORDS, [])
    check([*RECORDS, record(5).to_bytes()])
    assert AuditRecord.parse(RECORDS[0]) == record(0)


@pytest.mark.parametrize(
    "records",
    [
        RECORDS[:4],
        RECORDS[1:],
        [*RECORDS[:2], *RECORDS[3:]],
        [RECORDS[1], RECORDS[0], *RECORDS[2:]],
        [*RECORDS[:3], record(3, message="yes").to_bytes(), RECORDS[4]],
        [*RECORDS[:4], replace(record(4), message="yes").to_bytes()],
        [*RECORDS[:4], record(4, chain_id=1).to_bytes()],
        [*RECORDS[:4], record(4, account=PARTIES[1]).to_bytes()],
    ],
    ids=[
        "cut",
        "without the first",
        "a gap",
        "swapped",
        "rewritten",
        "unsigned change",
        "another chain",
        "another log",
    ],
)
def test_logs_that_were_changed(records: list[bytes]) -> None:
    with pytest.raises(VerificationFailed):
        check(records)


def test_heads_only_grow() -> None:
    for heads in ([HEADS[1], HEADS[0]], [HEADS[0], HEADS[0]], [(0, merkle.root([]))]):
        with pytest.raises(VerificationFailed):
            check(RECORDS, heads)


@pytest.mark.parametrize("changes", [{"kind": "rumour"}, {"task": "0x1"}, {"party": "someone"}, {"message": ""}, {"at": -1}])
def test_records_that_break_a_rule_are_not_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedDocument):
        record(0, **changes)


def test_details_are_texts() -> None:
    with pytest.raises(MalformedDocument):
        record(0, detail={"rows": 3})
    body = record(0)._body()
    with pytest.raises(MalformedDocument):
        AuditRecord.parse(canonical.encode({"body": body, "signature": "0x" + "0" * 132}))
