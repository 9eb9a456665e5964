"""Contracts that say which statements ran, and whose checks can be switched off one by one, made from the sources in contracts/src.

Two kinds of probe are written into the sources. A statement calls an account of its number, which a call tracer sees. A check (a
condition that ends in a revert, each alternative of such a condition, a call of a function that requires something) holds only
while the balance of one account is not the check's number. So one build serves every mutant: a test run switches a check off by a
balance. The build is for analysis alone: its bytecode is larger than chains allow, and no artefact of the product is touched.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import solcx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "ganache-setup"))
import build  # noqa: E402 - the product's own build settings

SWITCH = 0x7E57000000000000000000000000000000000000  # an account that nobody has
PROBE = f"""// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

library Probe {{
    function on(uint256 check) internal view returns (bool) {{
        return address(uint160({SWITCH})).balance != check;
    }}

    function hit(uint256 statement) internal view {{
        assembly ("memory-safe") {{
            pop(staticcall(gas(), add({SWITCH}, statement), 0, 0, 0, 0))
        }}
    }}
}}
"""
REQUIRES = re.compile(r"(?:\w+\.)?_?require\w*$")


@dataclass(frozen=True)
class Site:
    """A statement or a check: its number, file, line, what it says, and a name that outlives changes of other files."""

    number: int
    file: str
    line: int
    text: str
    key: str
    branch: bool = False  # a statement that a branch begins with, or the empty way past an if


class Writer:
    """The probes of one source file."""

    def __init__(self, file: str, source: bytes, first: int) -> None:
        self.file, self.source, self.next = file, source, first
        self.sites: list[Site] = []
        self._name = f"{file}@{hashlib.sha256(source).hexdigest()[:16]}"
        self._inserts: list[tuple[int, float, bytes]] = []

    def site(self, node: dict[str, Any], *, branch: bool = False) -> int:
        """Number a node; its number."""
        start, length, _ = map(int, node["src"].split(":"))
        text = " ".join(self.source[start : start + length].decode().split())[:100]
        line, key = self.source.count(b"\n", 0, start) + 1, f"{self._name}#{len(self.sites)}"
        self.sites.append(Site(self.next, self.file, line, text, key, branch))
        self.next += 1
        return self.next - 1

    def around(self, node: dict[str, Any], before: str, after: str, *, past: float = 0) -> None:
        """Insert before a node and behind it, its semicolon included. What is further out begins earlier and ends later."""
        start, length, _ = map(int, node["src"].split(":"))
        end = start + length + self.source[start + length :].startswith(b";")
        self._inserts.append((start, node["_number"], before.encode()))
        self._inserts.append((end, -node["_number"] - past, after.encode()))

    def text(self) -> str:
        """The source with what was inserted. Pure functions become views, since a probe reads the state."""
        found = self.source
        for position, _, text in sorted(self._inserts, key=lambda each: each[:2], reverse=True):
            found = found[:position] + text + found[position:]
        found = re.sub(rb"\bpure\b", b"view", found)
        path = "../" * (self.file.count("/") - 1) or "./"
        return re.sub(r"(pragma solidity [^;]*;)", rf'\1\nimport {{Probe}} from "{path}Probe.sol";', found.decode(), count=1)


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every node of a syntax tree."""
    if isinstance(node, dict):
        if "nodeType" in node:
            yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def checks(tree: dict[str, Any], writer: Writer) -> None:
    """Let every check be switched off."""
    for node in walk(tree):
        if node["nodeType"] == "IfStatement" and _reverts(node["trueBody"]):
            alternatives = list(_alternatives(node["condition"]))
            writer.around(node["condition"], f"Probe.on({writer.site(node['condition'])}) && (", ")")
            for each in alternatives if len(alternatives) > 1 else ():
                writer.around(each, f"(Probe.on({writer.site(each)}) && (", "))")
        elif node["nodeType"] == "ExpressionStatement" and node["expression"]["nodeType"] == "FunctionCall":
            called = node["expression"]["expression"]
            if REQUIRES.match(called.get("memberName", called.get("name", ""))):
                writer.around(node, f"{{ if (Probe.on({writer.site(node)})) ", " }")  # braces, for an else that may follow


def statements(tree: dict[str, Any], writer: Writer) -> None:
    """Let every statement say that it ran, and every if which way it went; but for constructors, which every deployment runs."""
    constructors = [each for each in walk(tree) if each.get("kind") == "constructor"]
    left_out = {node["_number"] for each in constructors for node in walk(each)}
    for node in walk(tree):
        if node["_number"] in left_out:
            continue
        if node["nodeType"] in ("Block", "UncheckedBlock"):
            for number, each in enumerate(node["statements"]):
                if each["nodeType"] not in ("Block", "UncheckedBlock", "PlaceholderStatement"):
                    branch = number == 0 and node.get("_branch", False)
                    writer.around(each, f"Probe.hit({writer.site(each, branch=branch)}); ", "")
        elif node["nodeType"] == "IfStatement":
            for way in ("trueBody", "falseBody"):
                body = node.get(way)
                if body is None:
                    writer.around(node, "", f" else {{ Probe.hit({writer.site(node['condition'], branch=True)}); }}", past=0.5)
                elif body["nodeType"] == "Block":
                    body["_branch"] = True
                else:
                    writer.around(body, f"{{ Probe.hit({writer.site(body, branch=True)}); ", " }")
        elif node["nodeType"] in ("ForStatement", "WhileStatement") and node["body"]["nodeType"] != "Block":
            writer.around(node["body"], f"{{ Probe.hit({writer.site(node['body'], branch=True)}); ", " }")


def _alternatives(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if node["nodeType"] == "BinaryOperation" and node["operator"] == "||":
        yield from _alternatives(node["leftExpression"])
        yield from _alternatives(node["rightExpression"])
    else:
        yield node


def _reverts(body: dict[str, Any]) -> bool:
    while body["nodeType"] == "Block" and len(body["statements"]) == 1:
        body = body["statements"][0]
    return body["nodeType"] == "RevertStatement"


def instrumented(kind: str) -> tuple[dict[str, Any], list[Site]]:
    """The compiler's input with the probes of a kind, ``checks`` or ``statements``, and their sites."""
    plain = build.standard_input()
    asked = {**plain, "settings": {"outputSelection": {"*": {"": ["ast"]}}, "stopAfter": "parsing"}}
    parsed = solcx.compile_standard(asked, solc_binary=build.HERE / "solc", base_path=build.MODULES)
    sources, sites = {}, []
    for name, source in plain["sources"].items():
        writer = Writer(name, source["content"].encode(), len(sites) + 1)
        if "/interfaces/" not in name and "/types/" not in name:
            for number, node in enumerate(walk(parsed["sources"][name]["ast"])):
                node["_number"] = number
            {"checks": checks, "statements": statements}[kind](parsed["sources"][name]["ast"], writer)
        sources[name] = {"content": writer.text()}
        sites += writer.sites
    sources["contracts/Probe.sol"] = {"content": PROBE}
    return {**plain, "sources": sources}, sites


def make(kind: str, folder: Path) -> None:
    """A copy of the SDK in ``folder`` whose artefacts are instrumented, and ``sites.json``."""
    found, sites = instrumented(kind)
    shutil.copytree(ROOT / "sdk" / "src", folder / "sdk", dirs_exist_ok=True)
    build.standard_input = lambda: found
    build.ARTIFACTS = folder / "sdk" / "tallystick" / "chain" / "artifacts"
    build.LAYOUT = folder / "layout.json"
    build.compile_all()
    (folder / "sites.json").write_text(json.dumps([asdict(site) for site in sites]))
