"""`tally participant move, carry, drop` and `tally ca revoke`: oversight from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from contracts.conftest import DAY, Actor, World
from cryptography.hazmat.primitives import serialization
from tallystick.cli.main import app
from tallystick.protocol.identity import issue_authority, issue_certificate
from typer.testing import CliRunner


def tally(world: World, folder: Path, who: Actor, *arguments: object, code: int = 0) -> Any:
    world.deployment.save(folder / "deployment.json")
    settings = {"rpc_url": world.url, "deployment": "deployment.json", "signer": f"mnemonic:{world.everyone.index(who)}"}
    settings["profile"] = world.chain.profile.name
    config = folder / f"{world.everyone.index(who)}.toml"
    config.write_text("\n".join(f'{name} = "{value}"' for name, value in settings.items()))
    done = CliRunner().invoke(app, ["--json", "--config", str(config), *map(str, arguments)])
    assert done.exit_code == code, (arguments, done.stdout[-1000:], done.stderr[-1000:])
    return json.loads(done.stdout if code == 0 else done.stderr)


def test_a_motion_is_moved_shown_dropped_and_carried(world: World, tmp_path: Path) -> None:
    account, (regulator, governor, anyone) = world.parties[0].address, (world.regulator, world.governor, world.stranger)
    tally(world, tmp_path, regulator, "participant", "move", account, "--reason", "no answer to audit 7")
    shown = tally(world, tmp_path, anyone, "participant", "show", account)
    assert (shown["status"], shown["suspension_moved_by"]) == ("active", regulator.address)
    assert tally(world, tmp_path, anyone, "participant", "carry", account, code=42)["error"]["remedy"]
    tally(world, tmp_path, governor, "participant", "drop", account, "--reason", "it answered")
    assert "suspension_moved_by" not in tally(world, tmp_path, anyone, "participant", "show", account)
    tally(world, tmp_path, regulator, "participant", "move", account, "--reason", "no answer to audit 8")
    world.travel(2 * DAY + 1)
    tally(world, tmp_path, anyone, "participant", "carry", account)
    assert tally(world, tmp_path, anyone, "participant", "show", account)["status"] == "suspended"


def test_an_authority_revokes_a_certificate_by_its_key(world: World, tmp_path: Path) -> None:
    actor = world.newcomer
    authority = issue_authority("Consortium CA", world.authority_key, (world.now - DAY, world.now + 365 * DAY))
    public = actor.key.public_key()
    validity = (world.now - DAY, world.now + 100 * DAY)
    certificate = issue_certificate(authority, world.authority_key, public, actor.address, "Newcomer", [], ["requester"], validity)
    actor.fingerprint = certificate.fingerprint
    world.enrol(actor)
    (tmp_path / "certificate.pem").write_bytes(certificate.pem)
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "authority.key").write_bytes(world.authority_key.private_bytes(*encoding))
    (tmp_path / "authority.key").chmod(0o600)
    arguments = ("ca", "revoke", tmp_path, tmp_path / "certificate.pem", "--reason", "the key was stolen")
    done = tally(world, tmp_path, world.stranger, *arguments)
    assert (done["account"], done["participant_revoked"]) == (actor.address, True)
    assert tally(world, tmp_path, world.stranger, "participant", "show", actor.address)["status"] == "revoked"
    assert tally(world, tmp_path, world.stranger, *arguments, code=42)["error"]["code"] == "TS-4103"
