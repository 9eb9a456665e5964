"""A node that runs with an operator's key: it computes, proves and reports for its institution, whose own key is elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.processes import until
from integration.story.conftest import Story
from tallystick.chain import operators
from tallystick.chain.facts import OnlineFacts
from tallystick.client import audit, disputes, settlement
from tallystick.protocol import canonical
from tallystick.protocol.agreement import Demand
from tallystick.protocol.errors import Configuration
from tallystick.protocol.operators import NODE, Scope
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.verify import verify_bundle
from tallystick.signing import create_keystore
from tallystick.testing.network import FAST_SCRYPT, Network

pytestmark = pytest.mark.slow
COINS = 10**18


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Network(tmp_path_factory.mktemp("operator"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Story(network)


def checked(story: Story) -> subprocess.CompletedProcess[str]:
    """`tallystick-node check` of Birch's settings."""
    config = story.hospitals[1].folder / "node.toml"
    command = [sys.executable, "-m", "tallystick_node.app", "check", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_node_acts_for_its_institution_by_an_operators_key(story: Story, tmp_path: Path) -> None:
    birch, chain = story.hospitals[1], story.birch.chain
    key = create_keystore(birch.folder / "operator.json", (birch.folder / "password").read_text(), iterations=FAST_SCRYPT)
    chain.receipt(chain.transact("coins", key, "0x", COINS))
    story.network.halt(birch)
    story.network.write_settings(birch, signer="keystore:operator.json")
    refused = checked(story)
    assert refused.returncode != 0 and "tally operator authorise" in refused.stderr, refused.stderr
    assert Configuration.code in refused.stderr or "may not" in refused.stderr

    operators.authorise(chain, key, NODE, chain.now() + 86400)
    story.network.launch(birch, signer="keystore:operator.json")
    spent = nonce(story, birch.account)
    grants = story.grants()  # by Birch's own key, over its own connection
    task, state = story.run(story.spec(grants), grants)
    assert state == "Proved"

    bundle = story.bundle(task, tmp_path)
    report = verify_bundle(bundle, trusted=OnlineFacts(story.alder.chain), contracts=story.network.deployment.contracts)
    assert report.ok and report.rules[12].detail == "3 parties, 1 of them by operators"
    assert nonce(story, birch.account) <= spent + 1  # the grant, and nothing that the node wrote
    assert nonce(story, key) > 0

    until(lambda: story.alder.chain.audit.head_of(birch.account)["size"] > 0, 180)
    regulator = story.network.client(story.regulator)
    assert audit.examine(regulator.nodes, regulator.chain, birch.account, story.regulator.account).complete

    answered_by_itself(story, task, bundle.statement)
    operators.authorise(chain, key, Scope(0), 0)
    until(lambda: "taken back" in ready(story), 180)


def ready(story: Story) -> str:
    """What Birch's node says of itself."""
    settings = tomllib.loads((story.hospitals[1].folder / "node.toml").read_text())
    try:
        with urllib.request.urlopen(f"http://{settings['metrics']}/readyz", timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as unready:
        return unready.read().decode()


def answered_by_itself(story: Story, task: str, envelope: bytes) -> None:
    """Birch's node is asked for one of its rows and shows where it stands."""
    deal = settlement.deal_of(story.alder.chain, task)
    stated = Statement.parse(Envelope.parse(envelope).payload)
    part = next(each for each in stated.inputs if each.party == story.birch.account)
    rows = sum(1 for _ in (story.hospitals[1].data / "clinical.csv").open()) - 1
    asked = Demand(canonical.unhex32(part.dataset), canonical.untext(part.rows), rows // 2, rows)
    raised = disputes.demand_opening(story.alder.chain, deal, asked).event("DisputeRaised")
    (found,) = until(lambda: [each for each in disputes.disputes_of(story.alder.chain, deal) if each.outcome != "pending"], 180)
    assert (found.dispute, found.outcome) == (canonical.hex32(raised["dispute"]), "dismissed")


def nonce(story: Story, account: str) -> int:
    return int(story.alder.chain.request("eth_getTransactionCount", account, "latest"), 16)
