"""`tally verify`: every numbered rule over an evidence bundle, each with its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from eth_utils.address import to_checksum_address

from tallystick.chain.connection import Chain
from tallystick.chain.deployment import Deployment
from tallystick.chain.profile import profile_named
from tallystick.cli.provenance import read_bundle
from tallystick.cli.session import hex32, of, read
from tallystick.protocol.facts import Log
from tallystick.protocol.statement import CONTRACTS
from tallystick.protocol.verify import verify_bundle


class OnlineFacts:
    """What a node that the verifier trusts says about the chain, up to its final head. Reads only our contracts."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._head = chain.head()
        self._times: dict[int, int] = {}

    @property
    def chain_id(self) -> int:
        """The chain's id."""
        return self._chain.deployment.chain_id

    @property
    def contracts(self) -> Mapping[str, str]:
        """The deployment's addresses."""
        return {name: self._chain.contracts[name].address for name in CONTRACTS}

    def logs(self, contract: str, topics: Sequence[bytes | None]) -> Sequence[Log]:
        """Every matching log, in the order of the chain."""
        found = []
        page = self._chain.profile.log_page
        for first in range(0, self._head + 1, page):
            query = {
                "fromBlock": hex(first),
                "toBlock": hex(min(self._head, first + page - 1)),
                "address": self.contracts[contract],
                "topics": [None if topic is None else "0x" + topic.hex() for topic in topics],
            }
            for log in self._chain.request("eth_getLogs", query):
                block = int(log["blockNumber"], 16)
                if block not in self._times:
                    self._times[block] = int(self._chain.block(block)["timestamp"], 16)
                found.append(
                    Log(
                        str(to_checksum_address(log["address"])),
                        tuple(bytes.fromhex(topic[2:]) for topic in log["topics"]),
                        bytes.fromhex(log["data"][2:]),
                        block,
                        self._times[block],
                        int(log["logIndex"], 16),
                    )
                )
        return found

    def anchored(self) -> str | None:
        """What the facts rest on."""
        return f"the node at {self._chain.shown_url}, up to block {self._head}"


def verify(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder or a .zip.")],
    result: Annotated[Path | None, typer.Option(help="A receiver's result file, for rules 18 and 19.")] = None,
    rpc: Annotated[str, typer.Option(help="Ask this node of the chain instead of the bundle.")] = "",
    trusted_block: Annotated[list[str] | None, typer.Option(help="A block hash that you trust; repeatable.")] = None,
    deployment: Annotated[Path | None, typer.Option(help="The deployment whose contracts you trust.")] = None,
) -> None:
    """Verify an evidence bundle by every numbered rule, offline or against the chain."""
    session = of(context)
    contracts: Mapping[str, str] | None = None
    facts = None
    if rpc or deployment is not None:
        trusted = Deployment.load(deployment or Path(session.setting("deployment")))
        contracts = {name: trusted.contracts[name] for name in CONTRACTS}
        if rpc:
            facts = OnlineFacts(Chain(rpc, trusted, profile=profile_named(session.setting("profile"))))
    report = verify_bundle(
        read_bundle(bundle),
        trusted=facts,
        trusted_blocks=[hex32(each) for each in trusted_block or ()],
        contracts=contracts,
        result_file=read(result) if result else None,
    )
    rows = [
        {"rule": each.number, "title": each.title, "verdict": each.verdict, "detail": each.detail, "party": each.party}
        for each in report.rules
    ]
    if session.terminal.json_output:
        session.terminal.json({"task": report.task, "ok": report.ok, "failed": list(report.failed), "rules": rows})
    else:
        skipped = sum(each.verdict == "skipped" for each in report.rules)
        verdict = "verified" if report.ok else "NOT VERIFIED"
        session.terminal.table(
            ("rule", "verdict", "title", "detail"),
            rows,
            caption=f"{verdict}: {len(report.failed)} failed, {skipped} skipped of {len(rows)}; {report.task or '-'}",
        )
    report.require()
