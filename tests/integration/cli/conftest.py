"""A network of two owners and a regulator as real processes, used through the command line alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tallystick.cli.main import app
from tallystick.testing.network import Institution, Network
from typer.testing import CliRunner

PURPOSE = "health/research"


@dataclass
class Ran:
    code: int
    stdout: str
    stderr: str

    @property
    def value(self) -> Any:
        return json.loads(self.stdout)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.stderr)["error"]


class Town:
    """The network; `tally` for each of its people."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.alder, self.birch = network.join("Alder"), network.join("Birch")
        self.regulator = network.join("Regulator", ["regulator"])
        for number, who in enumerate((self.alder, self.birch)):
            rows = [f"{(i * 7 + number) % 50}.{i % 10}5,{'ab'[i % 2]}" for i in range(60)]
            (who.data / "cells.csv").write_text("\n".join(["radius,kind", *rows]) + "\n")
        network.launch(self.alder, self.birch)
        network.write_settings(self.regulator)

    def tally(self, who: Institution | None, *arguments: object, code: int | None = 0, as_json: bool = True) -> Ran:
        """Run `tally` with the settings and the password of ``who``."""
        front: list[str] = ["--json"] if as_json else []
        if who is not None:
            front += ["--config", str(who.folder / "tally.toml"), "--password-file", str(who.folder / "password")]
        done = CliRunner().invoke(app, [*front, *map(str, arguments)])
        assert code is None or done.exit_code == code, (arguments, done.exit_code, done.stdout[-3000:], done.stderr[-3000:])
        return Ran(done.exit_code, done.stdout, done.stderr)

    def publish(self, who: Institution, folder: Path) -> str:
        columns = ["--column", "radius:decimal:2", "--column", "kind:string"]
        name = who.name.lower()
        return str(
            self.tally(who, "dataset", "publish", name, "cells.csv", *columns, "--out", folder / f"{name}.json").value["dataset"]
        )

    def grant(self, who: Institution, dataset: str, out: Path, *, uses: int = 9) -> Path:
        terms = out.with_suffix(".toml")
        terms.write_text(
            f'dataset = "{dataset}"\ngrantee = "{self.alder.account}"\npurpose = "{PURPOSE}"\nalgorithms = ["statistics"]\n'
            f'columns = ["kind", "radius"]\nreceivers = ["{self.alder.account}"]\n'
        )
        self.tally(who, "grant", "issue", terms, "--out", out, "--uses", uses)
        return out

    def draft(
        self, grants: list[Path], out: Path, *, hours: float = 1, minimum: int = 10, where: tuple[object, ...] = (), **changes: Any
    ) -> Path:
        source = out.with_suffix(".toml")
        text = {"requester": self.alder.account, "purpose": PURPOSE, "run_seconds": 300, "attempts": 1, **changes}
        lines = [f"{name} = {json.dumps(value)}" for name, value in text.items()]
        parameters = {
            "columns": [{"name": "radius", "scale": 2}],
            "compute": ["count", "mean"],
            "regression": None,
            "histograms": [],
            "where": where,
            "group_by": {"column": "kind", "values": ["a", "b"]},
            "minimum_group": minimum,
            "ddof": 1,
        }
        out.with_suffix(".parameters.json").write_text(json.dumps(parameters))
        lines += ['workload = "statistics"', 'proof = "sum-verified"', f'receivers = ["{self.alder.account}"]']
        lines.append(f'parameters = "{out.with_suffix(".parameters.json").name}"')
        for path in grants:
            lines += ["[[inputs]]", f'grant_file = "{path}"']
        source.write_text("\n".join(lines) + "\n")
        self.tally(self.alder, "task", "draft", source, "--out", out, "--accept-hours", hours)
        return out

    def patiently(self, who: Institution, *arguments: object, seconds: float = 180) -> Ran:
        """Run it until the node has indexed what the chain says already."""
        give_up = time.monotonic() + seconds
        while True:
            ran = self.tally(who, *arguments, code=None)
            if ran.code != 70 or time.monotonic() > give_up:
                assert ran.code == 0, (arguments, ran)
                return ran
            time.sleep(0.2)


@dataclass
class Proved:
    task: str
    datasets: list[str]
    grants: list[Path]
    spec: Path
    result: Path
    bundle: Path


@pytest.fixture(scope="package")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Network(tmp_path_factory.mktemp("town")) as network:
        yield Town(network)


@pytest.fixture(scope="package")
def proved(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Proved:
    """Two datasets published, granted, and one statistic computed over them, by commands alone."""
    folder = tmp_path_factory.mktemp("proved")
    owners = (town.alder, town.birch)
    datasets = [town.publish(who, folder) for who in owners]
    grants = [town.grant(who, dataset, folder / f"{who.name}-grant.json") for who, dataset in zip(owners, datasets, strict=True)]
    spec = town.draft(grants, folder / "spec.json")
    options = [word for path in grants for word in ("--grant", path)]
    task = town.tally(town.alder, "task", "submit", spec, *options).value["task"]
    assert town.tally(town.alder, "task", "watch", task, "--seconds", 300).value["state"] == "proved"
    town.patiently(town.alder, "result", "fetch", task, "--folder", folder / "result")
    town.patiently(town.alder, "result", "bundle", task, "--folder", folder / "bundle")
    return Proved(task, datasets, grants, spec, folder / "result" / "result.json", folder / "bundle" / "bundle.zip")
