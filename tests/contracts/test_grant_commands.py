"""`tally grant narrow` and `revoke`: what the owner takes back, as the command line tells it."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from contracts.conftest import Case
from tallystick.cli.main import app
from tallystick.client import GrantFile
from tallystick.protocol import canonical
from tallystick.protocol.grant import GrantTerms, Salts
from typer.testing import CliRunner

DAY = 86400


def test_an_owner_narrows_and_takes_back(case: Case, tmp_path: Path) -> None:
    world, owner = case.world, case.world.parties[0]
    index = world.everyone.index(owner)
    world.deployment.save(tmp_path / "deployment.json")
    settings = {"rpc_url": world.url, "deployment": "deployment.json", "signer": f"mnemonic:{index}"}
    settings["profile"] = world.chain.profile.name
    (tmp_path / "tally.toml").write_text("\n".join(f'{name} = "{value}"' for name, value in settings.items()))

    def tally(*arguments: object, code: int = 0) -> Any:
        done = CliRunner().invoke(app, ["--json", "--config", str(tmp_path / "tally.toml"), *map(str, arguments)])
        assert done.exit_code == code, (arguments, done.stdout[-1000:], done.stderr[-1000:])
        return json.loads(done.stdout if code == 0 else done.stderr)

    def granted(name: str, *, issue: bool) -> tuple[Path, str]:
        salts = Salts(*("0x" + secrets.token_hex(32) for _ in range(4)))
        terms = GrantTerms(
            canonical.hex32(case.grants[0].dataset), world.requester.address, "health", ("statistics",), ("a",),
            (world.requester.address,), salts,
        )  # fmt: skip
        made = world.grant(case.grants[0].dataset, terms=terms.root(), uses=5, epsilon_micros=2_000_000)
        if issue:
            world.issue(owner, made)
        (tmp_path / name).write_bytes(GrantFile(made, terms).to_bytes())
        return tmp_path / name, canonical.hex32(made.id())

    file, grant = granted("issued.json", issue=True)
    assert tally("grant", "narrow", file, "--uses", 2, "--epsilon", "0.5")["uses"] == 2
    narrowed = tally("grant", "narrow", file, "--days", 1)
    assert (narrowed["uses"], narrowed["epsilonMicros"]) == (2, 500_000)
    assert 0 < narrowed["notAfter"] - world.chain.now() <= DAY
    assert tally("grant", "narrow", file, "--uses", 3, code=42)["error"]["remedy"]
    (row,) = [row for row in tally("grant", "list") if row["grant"] == grant]
    assert (row["uses"], row["used"], row["revoked"]) == (2, 0, False)

    waiting, other = granted("waiting.json", issue=False)
    assert tally("grant", "revoke", waiting)["grant"] == other
    assert not [row for row in tally("grant", "list") if row["grant"] == other]
    tally("grant", "revoke", file)
    (row,) = [row for row in tally("grant", "list") if row["grant"] == grant]
    assert row["revoked"] is True
