"""`tally platform`: machines whose enclaves may prove results, and the enclaves that may."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick.attestation.rules import EvidenceRefused
from tallystick.chain import enclaves
from tallystick.cli.session import hex32, of, read
from tallystick.ethereum import keccak
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.task import ATTESTED_HARDWARE, ATTESTED_SIMULATED

app = typer.Typer(name="platform", help="Machines and enclaves that may prove results.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="A PCK chain in PEM, or a quote that brings it.")]
Reason = Annotated[str, typer.Option(help="The grounds; only their digest goes on chain.")]
Simulated = Annotated[bool, typer.Option("--simulated", help="Of the simulation, not of genuine hardware.")]
Identity = Annotated[str, typer.Argument(help="An enclave's identity, sha256:….")]


@app.command("register")
def register(context: typer.Context, file: File) -> None:
    """Register a platform by its certificate (anyone). It becomes public, and with it the processor's id (PPID)."""
    session = of(context)
    data = read(file)
    try:
        kind, sent = enclaves.register_platform(session.chain(signing=True), data)
    except EvidenceRefused as refused:
        raise MalformedDocument(str(refused), party=str(file)) from None
    made = sent.event("PlatformRegistered")
    session.terminal.record(
        {
            "platform": made["platform"],
            "serves": kind,
            "not_after": made["notAfter"],
            "transaction": sent.transaction,
            "block": sent.block,
            "gas": sent.gas_used,
        }
    )


@app.command("list")
def listing(context: typer.Context) -> None:
    """List the platforms and enclaves that count now."""
    session = of(context)
    chain = session.chain()
    events = list(session.events(chain, "PlatformRegistered", "PlatformRevoked", "EnclaveAllowed", "EnclaveDisallowed"))
    rows: list[dict[str, Any]] = []
    for kind in enclaves.VERIFIERS:
        found = enclaves.standing_of(events, kind)
        rows += [
            {"kind": "platform", "id": f"0x{keccak(key).hex()}", "serves": kind, "not_after": last}
            for key, (_, last) in sorted(found.platforms.items())
        ]
        rows += [
            {"kind": "enclave", "id": canonical.text(identity), "serves": kind, "not_after": ""}
            for identity in sorted(found.enclaves)
        ]
    session.terminal.table(("kind", "id", "serves", "not_after"), rows)


@app.command("revoke")
def revoke(
    context: typer.Context,
    platform: Annotated[str, typer.Argument(help="A platform's id, 0x….")],
    reason: Reason,
    simulated: Simulated = False,
) -> None:
    """Revoke a platform for good, registered or not (governor)."""
    _govern(context, simulated, "revokePlatform", hex32(platform), keccak(reason.encode()))


@app.command("allow")
def allow(context: typer.Context, identity: Identity, simulated: Simulated = False) -> None:
    """Let results come from an enclave (governor)."""
    _govern(context, simulated, "allow", canonical.untext(identity))


@app.command("disallow")
def disallow(context: typer.Context, identity: Identity, reason: Reason, simulated: Simulated = False) -> None:
    """End the use of an enclave at once (governor)."""
    _govern(context, simulated, "disallow", canonical.untext(identity), keccak(reason.encode()))


@app.command("name")
def name(context: typer.Context, file: File) -> None:
    """Let the simulation authority that certified a platform certify platforms (governor)."""
    _authority(context, file, "nameAuthority")


@app.command("drop")
def drop(context: typer.Context, file: File) -> None:
    """Take no more platforms of a simulation authority; those that it certified stay (governor)."""
    _authority(context, file, "dropAuthority")


def _authority(context: typer.Context, file: Path, function: str) -> None:
    try:
        _, issuer, _ = enclaves.read_pck_chain(read(file))
        key = enclaves.key_words(issuer)
    except EvidenceRefused as refused:
        raise MalformedDocument(str(refused), party=str(file)) from None
    _govern(context, True, function, *key)


def _govern(context: typer.Context, simulated: bool, function: str, *arguments: bytes) -> None:
    session = of(context)
    kind = ATTESTED_SIMULATED if simulated else ATTESTED_HARDWARE
    sent = session.chain(signing=True).send(enclaves.VERIFIERS[kind], function, *arguments)
    session.terminal.record({"serves": kind, "transaction": sent.transaction, "block": sent.block})
