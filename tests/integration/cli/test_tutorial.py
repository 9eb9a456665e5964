"""The tutorial is a script: every command of its page is run, in order, and ends as the page says.

It takes one to four minutes, so it runs with `-m slow` alone: whenever the page, or what it uses, changes.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tallystick.chain.deployment import ensure
from tallystick.signing import signer_from_uri
from tallystick.testing.local_chain import LocalChain, free_port
from web3 import HTTPProvider, Web3

PAGE = Path(__file__).parents[3] / "docs" / "tutorials" / "first-network.md"


@pytest.mark.slow
@pytest.mark.timeout(680)
def test_the_tutorial_runs_command_by_command(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert blocks[0] == "make setup\nmake chain\n"
    deployment = tmp_path / "deployment.json"
    with LocalChain(tmp_path / "chain") as chain:
        ensure(Web3(HTTPProvider(chain.url)), signer_from_uri("mnemonic:0"), deployment)
        # What this test has in place of the page's: the environment, the deployment, a chain and ports of its own.
        replaced = {
            "$PWD/.venv/bin": str(Path(sys.executable).parent),
            "$PWD/contracts/deployments/31337.json": str(deployment),
            "http://127.0.0.1:8545": chain.url,
            "9001": str(free_port()),
            "9002": str(free_port()),
            "make chain-stop\n": "",
            "sleep 2\n": "sleep 15\n",  # until the node has read what the chain says
        }
        script = "\n".join(blocks[1:])
        for old, new in replaced.items():
            assert old in script
            script = script.replace(old, new)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TALLY")}
        try:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=clean, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, timeout=620, check=False,
            )  # fmt: skip
        finally:
            for path in tmp_path.rglob("node.pid"):
                with contextlib.suppress(ProcessLookupError, ValueError):
                    os.kill(int(path.read_text()), signal.SIGTERM)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for words in ("2 answer", "state       proved", '"count": 45', "verified: 0 failed, 0 skipped of 20", "verdict   ok"):
        assert words in done.stdout
    assert [done.stdout.count(f"exit code {code}") for code in (30, 20)] == [1, 2]
    assert "rule 18" in done.stderr
    assert "grant.purpose" in done.stdout
    assert "the grant is revoked" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
