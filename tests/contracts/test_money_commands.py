"""`tally settlement` and `tally dispute` on a real chain: a task is paid, staked for, disputed, judged and settled."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from contracts.conftest import Actor, Case, World
from tallystick.cli.main import app
from tallystick.cli.settlement import amount
from tallystick.client import disputes, settlement
from tallystick.protocol import canonical
from tallystick.protocol.agreement import BREACHES, LinkDigest, Opening
from tallystick.protocol.errors import MalformedDocument, NotFound, SignerLocked
from tallystick.protocol.task import Proposal, Security, TaskInput, TaskSpec, proposal_of
from typer.testing import CliRunner


@dataclass
class Desk:
    """`tally` for each actor, and a task's spec."""

    world: World
    case: Case
    folder: Path
    spec: Path
    proposal: Proposal

    @property
    def task(self) -> str:
        return canonical.hex32(self.proposal.id())

    def tally(self, who: Actor, *arguments: object, code: int = 0) -> Any:
        index = next(i for i in range(9) if self.world.everyone[i] is who)
        config = self.folder / f"{index}.toml"
        if not config.exists():
            self.world.deployment.save(self.folder / "deployment.json")
            lines = {"rpc_url": self.world.url, "deployment": "deployment.json", "signer": f"mnemonic:{index}"}
            lines["profile"] = self.world.chain.profile.name
            config.write_text("\n".join(f'{name} = "{value}"' for name, value in lines.items()))
        done = CliRunner().invoke(app, ["--json", "--config", str(config), *map(str, arguments)])
        assert done.exit_code == code, (arguments, done.exit_code, done.stdout[-2000:], done.stderr[-2000:])
        return json.loads(done.stdout if code == 0 else done.stderr)

    def prove(self) -> None:
        self.world.requester.send("TaskLedger", "propose", self.proposal.as_tuple())
        self.world.accept(self.proposal, self.case.grants)
        self.world.prove(self.proposal, self.world.result(self.proposal))


@pytest.fixture
def desk(case: Case, tmp_path: Path) -> Desk:
    world = case.world
    inputs = [
        TaskInput(actor.address, canonical.hex32(grant.dataset), canonical.hex32(grant.id()), canonical.hex32(grant.terms), ("a",))
        for actor, grant in zip(world.parties, case.grants, strict=True)
    ]
    spec = TaskSpec(
        chain_id=world.deployment.chain_id,
        task_ledger=world.deployment.contracts["TaskLedger"],
        requester=world.requester.address,
        workload="statistics",
        parameters={},
        purpose="health",
        inputs=tuple(inputs),
        receivers=(world.parties[0].address,),
        compute=(),
        security=Security("semi-honest", 1),
        proof="signed-by-all",
        accept_by=world.chain.now() + 3600,
        run_seconds=600,
        attempts=2,
        salt=canonical.hex32(secrets.token_bytes(32)),
    )
    (tmp_path / "spec.json").write_bytes(spec.to_bytes())
    return Desk(world, case, tmp_path, tmp_path / "spec.json", proposal_of(spec))


def test_a_task_is_paid_disputed_settled_and_claimed(desk: Desk) -> None:
    world, task, (one, two, three) = desk.world, desk.task, desk.world.parties
    terms = ["--fee", "1gwei", "--bond", "500", "--dispute-hours", 1, "--ruling-hours", 1, "--arbiter", world.regulator.address]
    shares = ["--share", f"{one.address}=7000", "--share", f"{two.address}=3000"]
    assert desk.tally(world.requester, "settlement", "open", desk.spec, *terms, *shares)["task"] == task
    assert desk.tally(one, "settlement", "post", task, code=70)["error"]["party"] == task  # not proposed: give the spec
    for actor in (one, two, three):
        assert desk.tally(actor, "settlement", "post", task, "--spec", desk.spec)["bond"] == 500
    desk.prove()
    shown = desk.tally(world.stranger, "settlement", "show", task)
    assert (shown["stage"], shown["staked"], shown["arbiters"]) == (
        "open",
        [a.address for a in (one, two, three)],
        [world.regulator.address],
    )
    assert shown["shares"] == {one.address: 7000, two.address: 3000, three.address: 0}

    grounds = desk.folder / "grounds.txt"
    grounds.write_text("what two sent is not what two said")
    raised = desk.tally(three, "dispute", "challenge", task, grounds, "--accused", two.address)
    assert desk.tally(world.stranger, "settlement", "settle", task, code=42)["error"]["code"] == "TS-4103"
    assert desk.tally(world.stranger, "dispute", "judge", task, raised["dispute"], grounds, "--uphold", code=42)
    assert desk.tally(world.regulator, "dispute", "judge", task, raised["dispute"], grounds, "--uphold")["decided"] is True
    listed = desk.tally(world.stranger, "dispute", "list", task)
    assert [(each["accused"], each["outcome"], each["by_default"]) for each in listed["disputes"]] == [
        (two.address, "upheld", False)
    ]
    assert listed["disputes"][0]["opinions"] == {world.regulator.address: True}

    world.travel(3700)
    settled = desk.tally(world.stranger, "settlement", "settle", task)
    part = 500 // 3
    requester = 3 * 10**8 + 500 - 2 * part
    expected = {one.address: 7 * 10**8 + 500 + part, two.address: 0, three.address: 500 + part, world.requester.address: requester}
    assert (settled["paid"], settled["payouts"]) == (True, expected)
    assert desk.tally(one, "settlement", "claim", task, "--to", world.stranger.address)["amount"] == expected[one.address]
    assert desk.tally(one, "settlement", "claim", task, code=42)["error"]["party"] == one.address
    assert desk.tally(world.stranger, "settlement", "show", task)["stage"] == "paid"

    traced = desk.tally(world.stranger, "provenance", "task", task)
    nodes = {node["id"].partition(":")[0]: node for node in traced["nodes"]}
    assert nodes["dispute"]["attributes"]["outcome"] == "upheld"
    assert nodes["agreement"]["attributes"]["stage"] == "paid"
    said = {(edge["source"].partition(":")[0], edge["relation"], edge["target"].partition(":")[0]) for edge in traced["edges"]}
    assert {
        ("participant", "challenged in", "dispute"), ("participant", "is accused in", "dispute"),
        ("task", "was disputed in", "dispute"), ("statement", "is disputed in", "dispute"),
        ("participant", "opened", "agreement"), ("agreement", "sets the terms of", "task"),
        ("participant", "staked a bond under", "agreement"),
    } <= said  # fmt: skip


def test_measured_contributions_are_signed_one_by_one_and_relayed(desk: Desk) -> None:
    world, task = desk.world, desk.task
    desk.tally(world.requester, "settlement", "open", desk.spec, "--fee", "1000", "--measured", "--dispute-hours", 1)
    desk.prove()
    parties = world.parties
    points = [1000, 2000, 7000]
    shares = [word for actor, each in zip(parties, points, strict=True) for word in ("--share", f"{actor.address}={each}")]
    files = [desk.folder / f"{index}.signature.json" for index in range(3)]
    for actor, file in zip(parties, files, strict=True):
        desk.tally(actor, "settlement", "sign", task, *shares, "--out", file)
    assert desk.tally(world.stranger, "settlement", "measure", task, *files[:2], code=11)["error"]["party"] == parties[2].address
    other = desk.folder / "other.json"
    desk.tally(parties[2], "settlement", "sign", task, "--share", f"{parties[2].address}=10000", "--out", other)
    assert "different" in desk.tally(world.stranger, "settlement", "measure", task, *files, other, code=11)["error"]["message"]
    good = json.loads(files[0].read_text())
    for wrong in (
        {},
        good | {"task": "0x" + "00" * 32},
        good | {"shares": [-1, 3001, 7000]},
        good | {"shares": [1e999, 0, 0]},
        good | {"x": 1},
    ):
        other.write_text(json.dumps(wrong))
        assert desk.tally(world.stranger, "settlement", "measure", task, other, code=11)["error"]["party"] == str(other)
    desk.tally(world.stranger, "settlement", "measure", task, *files)
    world.travel(3700)
    amounts = desk.tally(world.stranger, "settlement", "settle", task)["payouts"]
    assert [amounts[actor.address] for actor in parties] == [100, 200, 700]


def test_a_bond_is_lost_for_a_missed_deadline(desk: Desk) -> None:
    world, task, (one, two, three) = desk.world, desk.task, desk.world.parties
    desk.tally(world.requester, "settlement", "open", desk.spec, "--bond", "30", "--dispute-hours", 1)
    for actor in (one, two, three):
        desk.tally(actor, "settlement", "post", task, "--spec", desk.spec)
    desk.tally(one, "dispute", "tender", task, code=70)  # not proposed: give the spec
    desk.tally(one, "dispute", "tender", task, "--spec", desk.spec)
    world.requester.send("TaskLedger", "propose", desk.proposal.as_tuple())
    desk.tally(two, "dispute", "tender", task)
    world.travel(3700)
    desk.tally(world.stranger, "task", "expire", task)
    assert desk.tally(world.stranger, "dispute", "late", task)["accused"] == [three.address]
    world.travel(3700)
    amounts = desk.tally(world.stranger, "settlement", "settle", task)["payouts"]
    assert amounts == {one.address: 40, two.address: 40, three.address: 0, world.requester.address: 10}
    breaches = desk.tally(world.stranger, "dispute", "list", task)["breaches"]
    assert [(each["accused"], each["breach"]) for each in breaches] == [(three.address, BREACHES[3])]


def test_evidence_is_shown_from_python(desk: Desk) -> None:
    """What has no command: digests of links and openings, as a node would show them."""
    world, (one, two, _) = desk.world, desk.world.parties
    desk.prove()
    deal = settlement.deal_of(world.chain, desk.task)
    assert not deal.agreed and deal.proposal == desk.proposal
    link = LinkDigest(deal.task, 1, one.address, two.address, 3, 100, secrets.token_bytes(32))
    other = LinkDigest(deal.task, 1, one.address, two.address, 3, 100, secrets.token_bytes(32))
    disputes.prove_two_digests(
        world.stranger.chain, deal, disputes.sign_link(one.chain, link), disputes.sign_link(two.chain, other)
    )
    opening = Opening(deal.task, desk.case.grants[0].dataset, bytes(32), bytes(32), 0, 2, ())
    disputes.prove_false_opening(world.stranger.chain, deal, opening, disputes.sign_opening(one.chain, opening))
    accused = [each["accused"] for each in disputes.breaches_of(world.chain, deal)]
    assert accused == [f"{one.address} or {two.address}", one.address]
    assert disputes.disputes_of(world.chain, deal) == []  # who lied about a link is for a challenge to say
    with pytest.raises(NotFound):
        settlement.agreed_deal_of(world.chain, desk.task)
    with pytest.raises(NotFound):
        settlement.deal_of(world.chain, canonical.hex32(secrets.token_bytes(32)))


@pytest.mark.parametrize(
    ("text", "units"),
    [("0", 0), ("250", 250), (str(2**128 - 1), 2**128 - 1), ("12wei", 12), ("1.5 gwei", 15 * 10**8), ("0.2ether", 2 * 10**17)],
)
def test_amounts_are_read_exactly(text: str, units: int) -> None:
    assert amount(text) == units


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "0.0000000001gwei", "1e9", "1 dollar", "9" * 60, "340282366920938463463374607431768211456"]
)
def test_amounts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(MalformedDocument):
        amount(text)


def test_who_only_reads_signs_nothing(desk: Desk) -> None:
    world = desk.world
    reading = type(world.chain)(world.url, world.deployment, profile=world.chain.profile)
    with pytest.raises(SignerLocked):
        reading.own()
