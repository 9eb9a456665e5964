"""The specification's page lists the rules and roots that the code applies, no more and no fewer."""

from __future__ import annotations

import re
from pathlib import Path

from tallystick.attestation import roots
from tallystick.attestation.rules import Rule
from tallystick.attestation.simulation.authority import FMSPC

PAGE = (Path(__file__).parents[3] / "docs" / "spec" / "attestation.md").read_text()


def test_the_page_has_every_rule() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `([a-z.-]+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [(str(rule.number), rule.code, rule.title) for rule in Rule]


def test_the_page_has_every_root() -> None:
    rows = dict(re.findall(r"^\| ([A-Za-z0-9 -]+) \| `([0-9a-f]{64})` \|$", PAGE, re.MULTILINE))
    assert rows == {name: root.hex() for root, name in roots._VENDORS.items()}
    assert f"`{FMSPC.hex()}`" in PAGE
