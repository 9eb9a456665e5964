"""A log against its anchored heads: what a node could do to it, done, and what the check says."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.client.audit import Listed, Verdict, check, examine
from tallystick.protocol import merkle
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.errors import VerificationFailed
from tallystick.protocol.identity import ROLES
from tallystick.wire import node_pb2
from tallystick_node.server.services import NodeService
from unit.protocol.world import ACCOUNTS, CHAIN, START

OWNER, OTHER = ACCOUNTS[0], ACCOUNTS[1]


def record(index: int, message: str = "refused", signer: object = OWNER) -> bytes:
    made = AuditRecord(CHAIN, OWNER.address, index, START + index, "refusal", "", "", "", "purpose", f"{message} {index}", {})
    return made.signed(signer.sign).to_bytes()  # type: ignore[attr-defined]


RECORDS = [record(index) for index in range(7)]
HEADS = [(3, merkle.root(RECORDS[:3])), (6, merkle.root(RECORDS[:6]))]


def listing(records: list[bytes] = RECORDS, size: int = 6) -> list[Listed]:
    return [
        Listed(
            index, each, size if index < size else 0, tuple(merkle.inclusion_proof(records[:size], index)) if index < size else ()
        )
        for index, each in enumerate(records)
    ]


def broken(found: list[Listed], *, due: int | None = 6, heads: list[tuple[int, bytes]] = HEADS) -> str:
    with pytest.raises(VerificationFailed) as caught:
        check(found, chain_id=CHAIN, account=OWNER.address, heads=heads, due=due)
    assert caught.value.party == OWNER.address
    assert caught.value.remedy
    return caught.value.message


def test_a_whole_log_is_in_order() -> None:
    verdict = check(listing(), chain_id=CHAIN, account=OWNER.address, heads=HEADS, due=6)
    assert (verdict.records, verdict.proved, verdict.anchored, verdict.heads, verdict.complete) == (7, 6, 6, 2, True)


def test_a_part_of_a_log_is_checked_by_its_proofs() -> None:
    part = [each for each in listing() if each.index in (1, 4)]
    verdict = check(part, chain_id=CHAIN, account=OWNER.address, heads=HEADS, due=None)
    assert (verdict.records, verdict.proved, verdict.complete) == (2, 2, False)


def test_a_changed_record_is_named() -> None:
    found = listing()
    found[2] = replace(found[2], record=found[2].record.replace(b"refused 2", b"refused 9"))
    assert broken(found).startswith("record 2: ")


def test_a_record_that_was_written_again_is_named_though_its_signature_is_right() -> None:
    again = [*RECORDS]
    again[2] = record(2, "never mind")
    assert "record 2 is not the one under the head of 6" in broken(
        [*listing()[:2], replace(listing()[2], record=again[2]), *listing()[3:]]
    )
    # The node makes proofs of its own for the changed log: they lead to no anchored root.
    assert "leads to another root" in broken(listing(again))
    # It gives no proofs at all: then the heads themselves do not fit.
    assert "root anchored at size 3" in broken([Listed(index, each) for index, each in enumerate(again)])


def test_records_of_somebody_else_or_of_another_place_are_named() -> None:
    assert broken([Listed(0, record(0, signer=OTHER))], due=0, heads=[]).startswith("record 0: ")
    assert broken([Listed(0, RECORDS[1])], due=0, heads=[]).startswith("record 0: ")


@pytest.mark.parametrize(
    ("kept", "words"),
    [([0, 1, 2, 3], "records 4 to 5 are missing"), ([0, 1, 3, 4, 5, 6], "record 2 is missing"), ([], "records 0 to 5 are missing")],
)
def test_forgotten_records_are_named(kept: list[int], words: str) -> None:
    assert words in broken([listing()[index] for index in kept])


def test_a_head_that_was_never_anchored_proves_nothing() -> None:
    assert "which it never anchored" in broken(listing(size=5))


def test_records_out_of_order_are_named() -> None:
    found = listing()
    assert "record 0 comes after record 1" in broken([found[1], found[0]], due=None)


class Node:
    """A node with the first ``records`` of its log, which anchored heads of the sizes ``anchored``, one a block; and the chain that
    it and its auditor ask."""

    def __init__(self, records: int, anchored: list[int], confirmations: int = 0) -> None:
        self.records, self.anchored, self.profile = RECORDS[:records], anchored, SimpleNamespace(confirmations=confirmations)
        self.deployment = SimpleNamespace(chain_id=CHAIN)
        self.participants = SimpleNamespace(
            participant=lambda _: {"roles": ROLES["regulator"]}, operators_of=lambda _: [], require_active=lambda *_: None
        )
        self.listing = NodeService(
            SimpleNamespace(caller=self._caller), None, SimpleNamespace(audit_records=self._read), self, None, OWNER, "", ""
        )  # type: ignore[arg-type]
        self.meanwhile = lambda: None

    async def _caller(self, _: Any) -> str:
        return OWNER.address

    def _read(self) -> list[bytes]:
        found = list(self.records)
        self.meanwhile()
        return found

    def anchor(self) -> None:
        """The log grows and is anchored again."""
        self.records = RECORDS[: len(self.records) + 1]
        self.anchored.append(len(self.records))

    def call(self, *_: str) -> dict[str, int]:
        return {"size": self.anchored[-1]}

    def latest(self) -> tuple[int, str]:
        return len(self.anchored), "0x"

    def head(self) -> int:
        return len(self.anchored) - self.profile.confirmations

    def events(self, first: int, last: int) -> list[dict[str, Any]]:
        return [Anchored(block, size) for block, size in enumerate(self.anchored, 1) if first <= block <= last]

    @contextmanager
    def stream(self, *_: Any) -> Any:
        async def answers() -> list[node_pb2.AuditRecord]:
            return [each async for each in self.listing.ListAudit(node_pb2.AuditRequest(), None)]

        yield asyncio.run(answers())

    def examined(self) -> Verdict:
        return examine(self, self, OWNER.address, OTHER.address)  # type: ignore[arg-type]


class Anchored(dict[str, Any]):
    name = "Anchored"

    def __init__(self, block: int, size: int) -> None:
        super().__init__(account=OWNER.address, size=size, root=merkle.root(RECORDS[:size]))
        self.block = block


def test_a_head_that_is_not_final_yet_is_nothing_to_accuse_a_node_of() -> None:
    verdict = Node(6, [3, 6], confirmations=1).examined()
    assert (verdict.records, verdict.proved, verdict.complete) == (6, 6, True)


def test_a_log_that_grows_and_is_anchored_while_it_is_listed_is_in_order() -> None:
    node = Node(4, [3])  # of four records, of which no head will ever be
    node.meanwhile = node.anchor
    verdict = node.examined()
    assert (verdict.records, verdict.complete) == (4, True)
