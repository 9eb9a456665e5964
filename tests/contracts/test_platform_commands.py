"""`tally platform`: a platform is registered and revoked, an enclave allowed and ended, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contracts.conftest import DAY, World
from contracts.test_attestation_verifier import Network, words
from contracts.test_oversight_commands import tally
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import EnclaveIdentity, SimulatedPlatform
from tallystick.attestation.task_quote import TaskQuote
from tallystick.chain.enclaves import standing
from tallystick.protocol import canonical
from tallystick.protocol.task import ATTESTED_HARDWARE, ATTESTED_SIMULATED


def test_a_platform_and_its_enclave_come_and_go(empty: World, tmp_path: Path) -> None:
    world, governor, anyone = empty, empty.governor, empty.stranger
    authority = ProvisioningAuthority((world.now - DAY, world.now + DAY))
    platform = SimulatedPlatform(authority)
    quote = platform.quote_enclave(EnclaveIdentity(bytes(32), bytes(32)), bytes(64))
    cut = TaskQuote.cut(quote)
    identity = canonical.text(cut.report.identity)
    (tmp_path / "quote").write_bytes(quote)
    (tmp_path / "chain.pem").write_bytes(authority.chain(platform.pck))
    (tmp_path / "rubbish").write_bytes(b"rubbish")

    refusal = tally(world, tmp_path, anyone, "platform", "register", tmp_path / "quote", code=70)["error"]
    assert "tally platform name" in refusal["remedy"]
    tally(world, tmp_path, governor, "platform", "name", tmp_path / "chain.pem")
    made = tally(world, tmp_path, anyone, "platform", "register", tmp_path / "quote")
    assert made["serves"] == ATTESTED_SIMULATED
    tally(world, tmp_path, anyone, "platform", "register", tmp_path / "chain.pem", code=42)
    assert tally(world, tmp_path, anyone, "platform", "register", tmp_path / "rubbish", code=11)["error"]["party"]
    tally(world, tmp_path, anyone, "platform", "allow", identity, "--simulated", code=42)
    tally(world, tmp_path, governor, "platform", "allow", identity, "--simulated")

    rows = tally(world, tmp_path, anyone, "platform", "list")
    assert [(row["kind"], row["id"]) for row in rows] == [("platform", made["platform"]), ("enclave", identity)]
    found = standing(world.chain, ATTESTED_SIMULATED)
    found.require(quote, world.now)
    assert not standing(world.chain, ATTESTED_HARDWARE).platforms

    tally(world, tmp_path, governor, "platform", "disallow", identity, "--simulated", "--reason", "a fault")
    tally(world, tmp_path, governor, "platform", "revoke", made["platform"], "--simulated", "--reason", "stolen")
    tally(world, tmp_path, governor, "platform", "drop", tmp_path / "chain.pem")
    assert tally(world, tmp_path, anyone, "platform", "list") == []


def test_what_counts_is_read_block_by_block_and_all_anew_where_the_chain_changed(
    empty: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, reads = empty.chain, []
    events = chain.events

    def recorded(first: int, last: int) -> Any:
        reads.append((first, last))
        return events(first, last)

    monkeypatch.setattr(chain, "events", recorded)
    standing(chain, ATTESTED_SIMULATED)
    reads.clear()
    before = chain.request("evm_snapshot")
    head = chain.head()
    network = Network(empty)
    found = standing(chain, ATTESTED_SIMULATED)
    assert list(found.platforms) == [b"".join(words(network.platform.pck.public_key()))]
    assert len(found.enclaves) == 2
    assert standing(chain, ATTESTED_SIMULATED) == found
    assert not standing(chain, ATTESTED_HARDWARE).platforms
    assert reads == [(head + 1, chain.head())]
    later = chain.head()
    network.govern("disallow", next(iter(found.enclaves)), bytes(32))
    assert len(standing(chain, ATTESTED_SIMULATED).enclaves) == 1
    assert reads[1:] == [(later + 1, later + 1)]
    chain.request("evm_revert", before)
    assert not standing(chain, ATTESTED_SIMULATED).enclaves
    assert reads[2:] == [(0, head)]
