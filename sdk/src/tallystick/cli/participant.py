"""`tally participant`: keys, enrolment, and who takes part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tallystick.chain.connection import Chain
from tallystick.cli.ca import encrypted, enrolment_of, plain, private_key
from tallystick.cli.session import address, hex32, of, read, read_json, write
from tallystick.ethereum import keccak
from tallystick.protocol import typed
from tallystick.protocol.errors import Configuration, MalformedDocument, NotFound
from tallystick.protocol.identity import Certificate, role_names, sign_p256
from tallystick.signing import create_keystore

app = typer.Typer(name="participant", help="Join, and see who takes part.", no_args_is_help=True)
STATUS = ("none", "active", "suspended", "revoked")
Account = Annotated[str, typer.Argument(help="An account, 0x….")]
Reason = Annotated[str, typer.Option(help="The grounds; only their digest goes on chain.")]


@app.command("key")
def key(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder for the new keys.")],
    plain_node_key: Annotated[
        bool, typer.Option("--plain-node-key", help="Leave node.key unencrypted (mode 0600): a node service reads it unattended.")
    ] = False,
) -> None:
    """Create an account's keystore and a node's P-256 key under one password."""
    session = of(context)
    password = session.password(confirm=True)
    made = ec.generate_private_key(ec.SECP256R1())
    sealed = plain(made) if plain_node_key else encrypted(made, password)
    address = create_keystore(folder / "keystore.json", password)
    public = made.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write(folder / "node.key", sealed, private=True)
    write(folder / "node.pub", public)
    session.terminal.record({"account": address, "folder": str(folder)})


@app.command("enrol")
def enrol(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder with certificate.pem, enrolment.json and node.key.")],
) -> None:
    """Enrol the configured signer's account, or rotate its certificate."""
    session = of(context)
    certificate = Certificate.parse(read(folder / "certificate.pem"))
    signed = read_json(folder / "enrolment.json")
    if not isinstance(signed, dict) or not {"authority", "chain_id", "r", "s"} <= signed.keys():
        raise MalformedDocument("not an enrolment", party=str(folder / "enrolment.json"))
    chain = session.chain(signing=True)
    if signed["chain_id"] != chain.deployment.chain_id:
        raise Configuration(f"the enrolment is for chain {signed['chain_id']}", remedy="ask the authority for one for this chain")
    subject = private_key(folder / "node.key", session.password)
    domain = chain.domain("ParticipantRegistry")
    possession = sign_p256(subject, typed.possession_digest(domain, certificate.account, certificate.fingerprint))
    by_authority = (hex32(str(signed["r"])), hex32(str(signed["s"])))
    number = int(signed["authority"])
    enrolment = enrolment_of(certificate).as_tuple()
    sent = chain.participants.enrol(number, enrolment, by_authority, possession)
    session.terminal.record(
        {"account": certificate.account, "transaction": sent.transaction, "block": sent.block, "gas": sent.gas_used}
    )


@app.command("show")
def show(context: typer.Context, account: Account) -> None:
    """Show one participant's registration."""
    session = of(context)
    chain = session.chain()
    found = _registered(chain, address(account))
    if found["status"] == "none":
        raise NotFound("the account never enrolled", party=account, remedy="`tally participant list` shows who did")
    motion = chain.participants.motion_against(address(account))
    if int(motion["regulator"], 16):
        found |= {"suspension_moved_by": motion["regulator"], "effective_at": motion["effectiveAt"], "reason": motion["reason"]}
    session.terminal.record(found)


@app.command("list")
def listing(context: typer.Context) -> None:
    """List everybody who ever enrolled, with the status of now."""
    session = of(context)
    chain = session.chain()
    accounts = dict.fromkeys(event["account"] for event in session.events(chain, "Enrolled"))
    rows = [_registered(chain, account) for account in accounts]
    session.terminal.table(("account", "status", "roles", "not_after"), rows)


@app.command("suspend")
def suspend(context: typer.Context, account: Account, reason: Reason) -> None:
    """Suspend a participant (governor)."""
    _write(context, "suspend", address(account), keccak(reason.encode()))


@app.command("reinstate")
def reinstate(context: typer.Context, account: Account) -> None:
    """Lift a suspension (governor)."""
    _write(context, "reinstate", address(account))


@app.command("revoke")
def revoke(context: typer.Context, account: Account, reason: Reason) -> None:
    """Revoke a participant for good (governor, or the participant itself)."""
    _write(context, "revoke", address(account), keccak(reason.encode()))


@app.command("move")
def move(context: typer.Context, account: Account, reason: Reason) -> None:
    """Move to suspend a participant (regulator). It takes effect after two days, when somebody carries it out."""
    _write(context, "moveSuspension", address(account), keccak(reason.encode()))


@app.command("carry")
def carry(context: typer.Context, account: Account) -> None:
    """Carry out a motion to suspend that is due (anyone)."""
    _write(context, "carrySuspension", address(account))


@app.command("drop")
def drop(context: typer.Context, account: Account, reason: Reason) -> None:
    """Drop a motion to suspend (governor, or the regulator that moved it)."""
    _write(context, "dropSuspension", address(account), keccak(reason.encode()))


def _registered(chain: Chain, account: str) -> dict[str, Any]:
    found = chain.participants.participant(account)
    return {
        "account": account,
        "status": STATUS[found["status"]],
        "roles": list(role_names(found["roles"])),
        "fingerprint": found["fingerprint"],
        "authority": found["authority"],
        "not_before": found["notBefore"],
        "not_after": found["notAfter"],
    }


def _write(context: typer.Context, function: str, account: str, *arguments: Any) -> None:
    session = of(context)
    sent = session.chain(signing=True).send("ParticipantRegistry", function, account, *arguments)
    session.terminal.record({"account": account, "transaction": sent.transaction, "block": sent.block})
