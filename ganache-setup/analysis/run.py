"""Analyses of the contracts, each with tools of its own: ``run.py static | symbolic | mutation | coverage``.

Slither and halmos go into environments below ``.venvs``, from the versions in ``slither.txt`` and ``halmos.txt``; forge, through
which both compile, from ``package-lock.json``. What is found stands in ``contracts/analysis.md``. Mutation and
coverage go on where they ended: ``contracts/.cache/analysis`` keeps what they found of sources and tests that did not change since.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SETUP = HERE.parent
PAGE = ROOT / "contracts" / "analysis.md"
KEPT = ROOT / "contracts" / ".cache" / "analysis"
FORGE = HERE / "node_modules" / "@foundry-rs" / "forge-linux-amd64" / "bin"
#: Not run on instrumented contracts: what compares their gas and bytes, what takes long, and what tests the command line.
LEFT_OUT = re.compile(r"gas|layout|life_cycle|commands")
PROJECT = f"""[profile.default]
src = "src"
test = "test"
out = "out"
libs = []
solc = "{SETUP / "solc"}"
offline = true
ast = true
extra_output = ["storageLayout", "metadata"]
evm_version = "paris"
optimizer = true
optimizer_runs = 1000
bytecode_hash = "none"
remappings = ["@openzeppelin/={SETUP / "node_modules" / "@openzeppelin"}/"]
ignored_error_codes = [6335]
allow_paths = ["{ROOT}"]
lint = {{ lint_on_build = false }}
"""


def tool(name: str) -> Path:
    """The program of an environment of its own, installed when it is missing."""
    folder = ROOT / ".venvs" / name
    if not (folder / "bin" / name).exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "-r", HERE / f"{name}.txt"], check=True)
    if not FORGE.exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=HERE, check=True)
    return folder / "bin" / name


def project(folder: Path, *tests: Path) -> dict[str, str]:
    """A Foundry project around the sources; the environment to run tools in."""
    (folder / "foundry.toml").write_text(PROJECT)
    (folder / "src").symlink_to(ROOT / "contracts" / "src")
    (folder / "test").mkdir()
    for test in tests:
        (folder / "test" / test.name).write_bytes(test.read_bytes())
    return {**os.environ, "PATH": f"{FORGE}:{os.environ['PATH']}"}


def static(folder: Path, _: argparse.Namespace) -> str:
    """Slither. Fails for a finding that contracts/analysis.md does not explain, and for an explanation of none."""
    command, report = tool("slither"), folder / "findings.json"
    options = [".", "--filter-paths", "node_modules", "--json", str(report)]
    ran = subprocess.run([command, *options], cwd=folder, env=project(folder), capture_output=True, text=True, check=False)
    if not report.exists():
        sys.exit(ran.stderr[-3000:])
    found = {(each["check"], _place(each)) for each in json.loads(report.read_text())["results"].get("detectors", ())}
    explained = set()
    for check, places in re.findall(r"^\| `([a-z-]+)` \| ([^|]*) \|", PAGE.read_text(), flags=re.MULTILINE):
        explained |= {(check, place) for place in re.findall(r"`([^`]+)`", places)}
    for check, place in sorted(found ^ explained):
        print(f"{check} in {place}: {'not explained' if (check, place) in found else 'explained, and not found any more'}")
    return "" if found == explained else f"{len(found ^ explained)} findings and explanations differ"


def _place(finding: dict[str, Any]) -> str:
    """``Contract.member`` of a finding's first element."""
    names, element = [], finding["elements"][0]
    while element and element["type"] in ("contract", "function", "variable", "node"):
        if element["type"] != "node":
            names.append(element["name"])
        element = element.get("type_specific_fields", {}).get("parent")
    return ".".join(reversed(names[-2:]))


def symbolic(folder: Path, _: argparse.Namespace) -> str:
    """Halmos on the contracts in ``proofs``: what it proves, it proves for every value of the arguments."""
    command = [
        tool("halmos"),
        "--loop",
        "4",
        "--solver-timeout-branching",
        "50ms",
        "--solver-timeout-assertion",
        "600s",
        "--no-status",
    ]
    ran = subprocess.run(command, cwd=folder, env=project(folder, *(HERE / "proofs").glob("*.sol")), check=False)
    return "" if ran.returncode == 0 else "a proof failed"


def mutation(folder: Path, arguments: argparse.Namespace) -> str:
    """Switch every check off in turn. Fails for one whose absence no contract test sees and contracts/analysis.md does not explain,
    and for an explanation of one that is seen."""
    killed = _tests("checks", folder, arguments)
    rows = re.findall(r"^\| `(\w+\.sol)` \| `([^`]+)` \|", PAGE.read_text(), flags=re.MULTILINE)
    explained = {(file, check.replace("\\|", "|")) for file, check in rows}
    sites = [site for site in json.loads((folder / "sites.json").read_text()) if re.search(arguments.only, site["file"])]
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * 3)
    alive = set()
    for site in sites:
        for name in (site["file"], "all"):
            counts[name][0] += bool(killed.get(site["key"]))
            counts[name][1] += site["key"] in killed
            counts[name][2] += 1
        if killed.get(site["key"]) == "":
            place = (Path(site["file"]).name, site["text"])
            alive.add(place)
            if place not in explained:
                print(f"{site['file']}:{site['line']} {site['text']}: no test sees that it is gone")
    explained = {each for each in explained if each[0] in {Path(site["file"]).name for site in sites}}
    for file, text in sorted(explained - alive):
        print(f"{file} {text}: explained, and seen to be gone")
    for name, (seen, tried, of) in sorted(counts.items()):
        print(f"{name:50} {seen:4} of {tried:4} checks are seen to be gone; {of:4} in all")
    _, tried, of = counts["all"]
    if tried < of:
        return f"{of - tried} were not tried"
    return f"{len(explained ^ alive)} survivors and explanations differ" if explained != alive else ""


def coverage(folder: Path, arguments: argparse.Namespace) -> str:
    """Which statements and branches the contract tests reach; fails below 95 % of either."""
    tests = _tests("statements", folder, arguments)
    reached = {key for test in tests.values() for key in test["reached"]}
    failed = [name for test in tests.values() for name in test["failed"]]
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * 6)
    lines: dict[tuple[str, int], bool] = defaultdict(bool)
    for site in json.loads((folder / "sites.json").read_text()):
        for name in (site["file"], "all"):
            counts[name][0 + 2 * site["branch"]] += site["key"] in reached
            counts[name][1 + 2 * site["branch"]] += 1
        lines[site["file"], site["line"]] |= site["key"] in reached
        if site["key"] not in reached:
            print(f"{site['file']}:{site['line']} {site['text']}: not reached")
    for (file, _), hit in lines.items():
        for name in (file, "all"):
            counts[name][4] += hit
            counts[name][5] += 1
    for name, (ran, of, ways, among, hits, all_lines) in sorted(counts.items()):
        print(f"{name:50} lines {hits:4}/{all_lines:<4} statements {ran:4}/{of:<4} branches {ways:4}/{among:<4}")
    ran, of, ways, among, hits, all_lines = counts["all"]
    print(f"lines {hits / all_lines:.1%}, statements {ran / of:.1%}, branches {ways / among:.1%}")
    if failed:
        return f"{len(failed)} tests fail on instrumented contracts: {', '.join(failed)}"
    return "" if min(ran / of, ways / among, hits / all_lines) >= 0.95 else "below 95 %"


def _tests(kind: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the instrumented contracts, and run the contract tests on them; what these and earlier runs found."""
    import instrument  # needs the product's own environment, which runs this

    instrument.make(kind, folder)
    paths = [folder / "sdk", ROOT / "node" / "src", HERE, ROOT / "tests"]
    KEPT.mkdir(parents=True, exist_ok=True)
    found = KEPT / f"{kind}.json"
    options = {"STEP": arguments.step, "SECONDS": arguments.seconds, "ONLY": arguments.only, "TESTS": arguments.tests}
    variables = {"ANALYSIS": folder, "ANALYSIS_KIND": kind, "ANALYSIS_KEPT": found}
    variables |= {f"ANALYSIS_{name}": str(value) for name, value in options.items()}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **{k: str(v) for k, v in variables.items()}}
    tests = [path for path in sorted((ROOT / "tests/contracts").glob("test_*.py")) if not LEFT_OUT.search(path.name)]
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-n0", "-p", "switch", "-p", "no:cacheprovider", *map(str, tests)]
    subprocess.run(command, cwd=ROOT, env=environment, check=False)
    return json.loads(found.read_text())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    analyses = {"static": static, "symbolic": symbolic, "mutation": mutation, "coverage": coverage}
    parser.add_argument("analysis", choices=analyses)
    parser.add_argument("--step", type=int, default=1, help="of the mutants every how many")
    parser.add_argument("--seconds", type=float, default=86400, help="after how long to end; the next run goes on")
    parser.add_argument("--only", default="", help="mutants of files whose names this expression matches")
    parser.add_argument("--tests", type=int, default=9999, help="how many tests a mutant has to survive, the likeliest first")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        problem = analyses[arguments.analysis](Path(name), arguments)
    sys.exit(problem or None)


if __name__ == "__main__":
    main()
