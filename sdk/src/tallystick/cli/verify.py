"""`tally verify`: every numbered rule over an evidence bundle, each with its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from tallystick.attestation.documents import read_policy
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.rules import EvidenceRefused
from tallystick.chain.connection import Chain
from tallystick.chain.deployment import Deployment
from tallystick.chain.facts import OnlineFacts
from tallystick.chain.profile import profile_named
from tallystick.cli.provenance import read_bundle
from tallystick.cli.session import hex32, of, read, read_pieces
from tallystick.client.result_files import beside
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.attested import Appraisal
from tallystick.protocol.statement import CONTRACTS
from tallystick.protocol.verify import verify_bundle


def verify(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder or a .zip.")],
    result: Annotated[
        Path | None, typer.Option(help="A receiver's result file, for rules 18 and 19, with the files beside it.")
    ] = None,
    aggregate: Annotated[
        Path | None, typer.Option(help="The file with the aggregate, for rule 19 of projection-verified and vector-sum-verified.")
    ] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="An enclave's evidence.json, to be appraised in full by rule 16 of an attested result.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="The appraisal policy for it, as a document (default: hardware only, fully patched).")
    ] = None,
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
    content = read(result) if result else None
    report = verify_bundle(
        read_bundle(bundle),
        trusted=facts,
        trusted_blocks=[hex32(each) for each in trusted_block or ()],
        contracts=contracts,
        result_file=content,
        files=beside(result, content) if result and content else {},
        aggregate=read_pieces(aggregate) if aggregate else None,
        appraisal=Appraisal(read(evidence), _policy(policy)) if evidence else None,
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


def _policy(path: Path | None) -> AppraisalPolicy:
    if path is None:
        return AppraisalPolicy("strictest")
    try:
        return read_policy(read(path))
    except EvidenceRefused as refused:
        raise MalformedDocument(str(refused), party=str(path)) from None
