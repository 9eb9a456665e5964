"""An auditor installs the SDK alone: its wheel, in a fresh environment, with what it declares that it needs and nothing else.

The dependencies are copied from this environment, which holds the locked versions, and `pip check` then says whether the
wheel declares them all. So the test needs no network, and a dependency that only the node declares is missing in it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tallystick.chain import artifacts
from tallystick.chain.deployment import Deployment
from unit.protocol.world import CHAIN, DEPLOYED, PARTIES, make

pytestmark = pytest.mark.slow

SDK = Path(__file__).parents[3] / "sdk"


def closure(name: str) -> set[str]:
    """The names of the distributions that ``name`` declares that it needs, directly or through others."""
    needed: set[str] = set()
    waiting = [name]
    while waiting:
        for line in metadata.requires(waiting.pop()) or ():
            wanted = Requirement(line)
            found = canonicalize_name(wanted.name)
            if found not in needed and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
                needed.add(found)
                waiting.append(found)
    return needed


def copy(name: str, site: Path) -> None:
    """Copy an installed distribution, file by file as it was recorded."""
    for file in metadata.files(name) or ():
        source = Path(str(file.locate()))
        if ".." not in file.parts and source.is_file() and source.suffix != ".pyc":
            target = site / str(file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the SDK alone."""
    folder = tmp_path_factory.mktemp("auditor")
    source = folder / "sdk"
    shutil.copytree(SDK, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, source], check=True, timeout=300
    )
    (wheel,) = folder.glob("tallystick-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=300)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    for name in sorted(closure("tallystick")):
        copy(name, site)
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "-q", "install", "--no-deps", "--no-index", wheel], check=True, timeout=300)
    return folder / "venv" / "bin"


def run(auditor: Path, *command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TALLY", "VIRTUAL_ENV"))}
    program, *arguments = map(str, command)
    return subprocess.run(
        [auditor / program, *arguments], cwd=cwd, env=clean, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_wheel_declares_all_that_it_needs(auditor: Path, tmp_path: Path) -> None:
    done = run(auditor, "python", "-m", "pip", "check", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    for module in ("tallystick_node", "numpy", "pyarrow", "sqlalchemy"):
        assert run(auditor, "python", "-c", f"import {module}", cwd=tmp_path).returncode == 1
    # Every module of the SDK loads with what is there.
    script = (
        "import importlib, pkgutil, tallystick\n"
        "for each in pkgutil.walk_packages(tallystick.__path__, 'tallystick.'):\n"
        "    if each.name != 'tallystick.wire.generate':\n"  # makes the wire code; only a checkout needs it
        "        importlib.import_module(each.name)\n"
    )
    done = run(auditor, "python", "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_auditor_verifies_a_bundle_offline(auditor: Path, tmp_path: Path) -> None:
    world = make()
    world.bundle().write(tmp_path / "bundle.zip")
    (tmp_path / "result.json").write_bytes(world.results[PARTIES[2]])
    addresses = {name: DEPLOYED.get(name, PARTIES[0]) for name in artifacts.CONTRACTS}
    Deployment(CHAIN, addresses, 1, PARTIES[0], PARTIES[0]).save(tmp_path / "deployment.json")
    command = [
        "tally",
        "--json",
        "verify",
        "bundle.zip",
        "--deployment",
        "deployment.json",
        "--trusted-block",
        "0x" + world.head().hex(),
    ]

    def verify(code: int) -> Any:
        done = run(auditor, *command, "--result", "result.json", cwd=tmp_path)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    assert [rule["verdict"] for rule in verify(0)["rules"]] == ["ok"] * 20
    (tmp_path / "result.json").write_bytes(world.results[PARTIES[2]].replace(b"3.5", b"9.5"))
    assert 18 in verify(30)["failed"]
