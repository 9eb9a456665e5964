"""An owner's node lets code run over its data only once an auditor has approved it: refused, on record, then run and traced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from integration.enclave.test_enclave_story import NAMES, QUERY, Banks
from integration.processes import patiently
from tallystick.chain import algorithms
from tallystick.protocol import canonical
from tallystick.protocol.algorithm import AlgorithmCard, ReadTable, code_digest
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import Refused
from tallystick.provenance import Kind, build, query
from tallystick.testing.network import Network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_code_runs_once_it_was_approved_by_whom_the_owner_named_and_provenance_says_so(tmp_path: Path) -> None:
    with Network(tmp_path / "network", kind=os.environ.get("CHAIN", "anvil")) as network:
        banks = Banks(network)
        north, south = banks.clients[0], banks.clients[NAMES.index("south")]
        author, auditor = network.join("laboratory", ["algorithm-provider"]), network.join("auditor", ["result-receiver"])
        reading = network.connect(auditor.signer)
        home = network.institutions["south"]
        network.halt(home)
        asked = {"approvals": 1, "reviewers": [auditor.account]}
        network.launch(home, policy={"workloads": ["enclave"], "simulations": [banks.fingerprint], **asked})
        grants = banks.grants(QUERY, 3)
        banks.simulation.allow(canonical.untext(banks.named(QUERY)["identity"]))
        card = AlgorithmCard(
            "exposure",
            "1",
            "sql",
            canonical.text(code_digest(QUERY)),
            tuple(ReadTable(name, ("person", "balance")) for name in NAMES),
            "how many people all banks know, and their total",
        )

        def refused() -> Refused:
            with pytest.raises(Refused) as refusal:
                banks.submit(grants, QUERY)
            assert refusal.value.remedy
            return refusal.value

        assert "no algorithm with this digest" in refused().message
        algorithms.register(network.connect(author.signer), card)
        assert "0 of the 1" in refused().message
        algorithms.review(reading, QUERY, card, b"Not read to the end yet.", approved=False)
        rejected = refused()
        assert auditor.account in rejected.message
        records = [AuditRecord.parse(raw) for raw in south.audit(south.account, "refusal")]
        assert [each.rule for each in records if each.message == rejected.message] == ["algorithm-review"]
        algorithms.review(reading, QUERY, card, b"Read: counts and one total, in groups.", approved=True)
        task = banks.submit(grants, QUERY)
        assert north.wait(task, 300) == "Proved"
        algorithms.review(reading, QUERY, card, b"On second thoughts.", approved=False)  # later than the start
        bundle = Bundle.read(patiently(lambda: south.bundle(task, south.account, tmp_path / "bundle")))
        head = north.chain.head()
        events = list(north.chain.events(0, head))
        at = {"chain_id": north.chain.deployment.chain_id, "block": head, "block_hash": str(north.chain.block(head)["hash"])}
        graph = query.by_task(build(events, **at, bundles=[bundle]), task)
        (attempt,) = graph.of(Kind.ATTEMPT)
        assert attempt.attributes["reviews"] == "1 approved, 0 rejected"
        assert [(each.attributes["reviewer"], each.attributes["verdict"]) for each in graph.of(Kind.REVIEW)] == [
            (auditor.account, "approved")
        ]
        assert [each.attributes["author"] for each in graph.of(Kind.ALGORITHM)] == [author.account]
