"""The outbox on a real chain that takes blocks back, however deep: every write is there again, once, and so it stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.chain_records import world_on
from contracts.conftest import Case, World
from tallystick.protocol.errors import ContractRefused
from tallystick.testing.local_chain import LocalChain
from tallystick_node.anchoring.outbox import Outbox
from tallystick_node.store.database import Store, Write


class Party:
    """The first party of a task: its writes go through an outbox, those of the others do not."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        for actor in (*world.parties, world.requester):
            world.enrol(actor)
        grants = [world.grant(world.publish(actor)) for actor in world.parties]
        for actor, grant in zip(world.parties, grants, strict=True):
            world.issue(actor, grant)
        self.case = Case(world, grants, world.proposal(grants))
        self.chain = world.parties[0].chain
        self.store = Store(url)
        self.refused: list[str] = []
        self.outbox = Outbox(self.store, self.chain, self._note)

    def _note(self, key: str, error: ContractRefused) -> None:
        self.refused.append(f"{key}: {error.error}")

    def accepts(self) -> Write:
        proposal = self.case.proposal
        arguments = [proposal.as_tuple(), 1, [0], [self.world.acceptance(self.world.parties[0], proposal)]]
        return Write("accept:x:1", "TaskLedger", "accept", [*arguments, self.world.terms(proposal, self.case.grants)])

    def proves(self) -> Write:
        result = self.world.result(self.case.proposal)
        signatures = self.world.signatures(self.case.proposal, result)
        return Write("submit:x:1", "ProofRegistry", "submit", [self.case.proposal.as_tuple(), result.as_tuple(), signatures, b""])

    def carry_out(self) -> None:
        """What was put off is due now."""
        with self.store._engine.begin() as connection:
            connection.exec_driver_sql("update outbox set not_before = 0")
        self.outbox.flush()

    def records(self) -> list[str]:
        """What the chain shows of this party's writes."""
        own = self.world.parties[0].address
        found = self.chain.events(0, self.chain.head())
        mine = (
            each
            for each in found
            if each.name in ("ResultProved", "Anchored") or (each.name, each.arguments.get("party")) == ("Accepted", own)
        )
        return sorted(each.name for each in mine)

    def sent(self) -> int:
        return int(self.chain.request("eth_getTransactionCount", self.chain.own().address, "latest"), 16)


EVERYTHING = ["Accepted", "Anchored", "ResultProved"]


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    with LocalChain(tmp_path / "chain") as local:
        made = Party(world_on(local), f"sqlite:///{tmp_path / 'node.db'}")
        yield made
        made.store.close()


@pytest.mark.parametrize("depth", [1, 3])
def test_writes_that_a_reorganisation_took_away_are_on_the_chain_again_once(party: Party, depth: int) -> None:
    party.case.propose()
    party.world.accept(party.case.proposal, party.case.grants, indices=[1, 2])
    for write in (party.accepts(), party.proves(), Write("anchor:1", "AuditLog", "anchor", [b"\1" * 32, 1])):
        party.store.enqueue(write)
    party.outbox.flush()
    assert party.records() == EVERYTHING
    party.chain.request("anvil_reorg", depth, [])
    assert len(party.records()) == 3 - depth
    party.outbox.flush()
    assert party.records() == EVERYTHING and party.refused == [] and party.store.due_writes() == []
    before = party.sent()
    party.outbox.flush()
    assert party.sent() == before


def test_what_a_write_rests_on_may_be_gone_for_a_while(party: Party) -> None:
    """The proposal is the requester's, and went with the acceptance."""
    before = party.chain.request("evm_snapshot")
    party.case.propose()
    party.store.enqueue(party.accepts())
    party.outbox.flush()
    party.chain.request("evm_revert", before)
    party.outbox.flush()
    assert party.records() == [] and party.refused == []
    party.case.propose()
    party.carry_out()
    assert party.records() == ["Accepted"]
