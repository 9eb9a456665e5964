"""`tally ca`: a consortium authority on this machine. Its key stays encrypted in one file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tallystick.cli.session import address, of, read, write
from tallystick.client.nodes import server_name
from tallystick.ethereum import keccak
from tallystick.protocol import canonical, typed
from tallystick.protocol.errors import MalformedDocument, SignerLocked
from tallystick.protocol.identity import Certificate, issue_authority, issue_certificate, sign_p256
from tallystick.protocol.revocation import certificate_revocation_digest

app = typer.Typer(name="ca", help="Run a consortium authority.", no_args_is_help=True)
DAY = 86400


@app.command("init")
def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder for authority.pem and authority.key.")],
    name: Annotated[str, typer.Option(help="Common name of the authority.")],
    days: Annotated[int, typer.Option(min=1, max=7300, help="Validity in days.")] = 3650,
) -> None:
    """Create an authority: a P-256 key, encrypted, and its self-signed certificate."""
    session = of(context)
    key = ec.generate_private_key(ec.SECP256R1())
    now = int(time.time())
    certificate = issue_authority(name, key, (now - 60, now + days * DAY))
    write(folder / "authority.key", encrypted(key, session.password(confirm=True)), private=True)
    write(folder / "authority.pem", certificate.pem)
    session.terminal.record(described(certificate) | {"file": str(folder / "authority.pem")})


@app.command("issue")
def issue(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The authority's folder.")],
    public_key: Annotated[Path, typer.Option(help="The participant's public key (PEM).")],
    account: Annotated[str, typer.Option(help="The participant's account.")],
    name: Annotated[str, typer.Option(help="The participant's common name.")],
    out: Annotated[Path, typer.Option(help="Folder for certificate.pem and enrolment.json.")],
    role: Annotated[list[str], typer.Option(help="A role; repeat for several.")],
    host: Annotated[list[str] | None, typer.Option(help="A DNS name or IP address of its node.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Validity in days.")] = 365,
    authority_number: Annotated[int, typer.Option(min=0, help="The authority's number on chain.")] = 0,
) -> None:
    """Certify a participant, and sign its enrolment for the configured chain."""
    session = of(context)
    authority = Certificate.parse(read(folder / "authority.pem"))
    key = private_key(folder / "authority.key", session.password)
    try:
        subject = serialization.load_pem_public_key(read(public_key))
    except (ValueError, TypeError):
        subject = None
    if not isinstance(subject, ec.EllipticCurvePublicKey) or not isinstance(subject.curve, ec.SECP256R1):
        raise MalformedDocument("not a P-256 public key in PEM", party=str(public_key))
    now = int(time.time())
    until = min(now + days * DAY, authority.not_after)
    # The name that callers check a node's TLS by follows from the account, so every certificate has it.
    hosts = [*(host or []), server_name(address(account))]
    certificate = issue_certificate(authority, key, subject, address(account), name, hosts, role, (now - 60, until))
    chain = session.chain()
    domain = chain.domain("ParticipantRegistry")
    r, s = sign_p256(key, typed.enrolment_digest(domain, enrolment_of(certificate)))
    document = canonical.encode(
        {
            "authority": authority_number,
            "chain_id": chain.deployment.chain_id,
            "r": canonical.hex32(r),
            "s": canonical.hex32(s),
        }
    )
    write(out / "certificate.pem", certificate.pem)
    write(out / "enrolment.json", document)
    session.terminal.record(described(certificate) | {"folder": str(out)})


@app.command("revoke")
def revoke(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The authority's folder.")],
    certificate: Annotated[Path, typer.Argument(help="The participant's certificate.")],
    reason: Annotated[str, typer.Option(help="The grounds; only their digest goes on chain.")],
    authority_number: Annotated[int, typer.Option(min=0, help="The authority's number on chain.")] = 0,
) -> None:
    """Put a certificate on the authority's revocation list on chain. An account that is enrolled with it is revoked for good."""
    session = of(context)
    revoked = Certificate.parse(read(certificate))
    key = private_key(folder / "authority.key", session.password)
    chain, digest = session.chain(signing=True), keccak(reason.encode())
    wanted = certificate_revocation_digest(chain.domain("ParticipantRegistry"), revoked.account, revoked.fingerprint, digest)
    sent = chain.participants.revoke_certificate(
        authority_number, revoked.account, revoked.fingerprint, digest, sign_p256(key, wanted)
    )
    session.terminal.record(
        {
            "account": revoked.account,
            "fingerprint": revoked.fingerprint,
            "participant_revoked": any(event.name == "Revoked" for event in sent.events),
            "transaction": sent.transaction,
            "block": sent.block,
        }
    )


@app.command("show")
def show(context: typer.Context, certificate: Annotated[Path, typer.Argument(help="A certificate.")]) -> None:
    """Show what the protocol reads of a certificate."""
    of(context).terminal.record(described(Certificate.parse(read(certificate))))


def described(certificate: Certificate) -> dict[str, object]:
    """A certificate in words."""
    return {
        "common_name": certificate.common_name,
        "account": certificate.account,
        "roles": list(certificate.roles),
        "hosts": list(certificate.hosts),
        "fingerprint": canonical.hex32(certificate.fingerprint),
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "authority": certificate.is_authority,
    }


def enrolment_of(certificate: Certificate) -> typed.Enrolment:
    """What an authority signs about a certificate, as the registry takes it."""
    return typed.Enrolment(
        certificate.account,
        certificate.fingerprint,
        certificate.subject_x,
        certificate.subject_y,
        certificate.roles_mask,
        certificate.not_before,
        certificate.not_after,
    )


def encrypted(key: ec.EllipticCurvePrivateKey, password: str) -> bytes:
    """A private key in encrypted PKCS#8."""
    if len(password) < 8:
        raise SignerLocked("the password is too short", remedy="use at least 8 characters")
    protection = serialization.BestAvailableEncryption(password.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def plain(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key in PKCS#8, not encrypted."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def private_key(path: Path, password: Callable[[], str]) -> ec.EllipticCurvePrivateKey:
    """Open an encrypted (or plain) P-256 key; only an encrypted one asks for the password. Raises SignerLocked."""
    data = read(path)
    try:
        secret = password().encode() if b"ENCRYPTED" in data else None
        key = serialization.load_pem_private_key(data, secret)
    except (ValueError, TypeError):
        raise SignerLocked("the key does not open", party=str(path), remedy="check the password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SignerLocked("the key is not on P-256", party=str(path))
    return key
