"""Compile the contracts with py-solc-x and write the artefacts that the SDK ships, and the snapshot of sizes and storage layouts.

``build.py`` compiles when a source, a setting or the compiler changed; ``build.py --check`` compiles nothing and fails when
an artefact does not belong to the sources as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import solcx
from solcx.exceptions import SolcError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SOURCES = ROOT / "contracts" / "src"
ARTIFACTS = ROOT / "sdk" / "src" / "tallystick" / "chain" / "artifacts"
LAYOUT = ROOT / "contracts" / "snapshots" / "layout.json"
MODULES = HERE / "node_modules"
CONTRACTS = (
    "ParticipantRegistry",
    "DatasetRegistry",
    "GrantLedger",
    "TaskLedger",
    "ProofRegistry",
    "AuditLog",
    "Settlement",
    "Disputes",
    "AlgorithmRegistry",
    "SignedByAllVerifier",
    "SumVerifier",
    "RangeVerifier",
    "Groth16Verifier",
    "ProjectionVerifier",
    "HardwareVerifier",
    "SimulationVerifier",
    "QuorumVerifier",
    "ProjectionAbsent1Verifier",
    "ProjectionAbsent2Verifier",
    "ProjectionAbsent3Verifier",
    "VectorSumVerifier",
)
SETTINGS: dict[str, Any] = {
    # Paris: the oldest EVM among the chains we target (Ganache stops at Shanghai, FISCO BCOS 3 defaults to Paris).
    "evmVersion": "paris",
    "optimizer": {"enabled": True, "runs": 1000},
    # Without a metadata hash the bytecode depends on code alone, so a comment does not change the pinned code hash.
    "metadata": {"bytecodeHash": "none"},
    "outputSelection": {
        "*": {
            "*": [
                "abi",
                "storageLayout",
                "userdoc",
                "evm.bytecode.object",
                "evm.deployedBytecode.object",
                "evm.deployedBytecode.immutableReferences",
            ]
        }
    },
}
IGNORED_WARNINGS = {"6335"}  # future keywords in OpenZeppelin's sources


def compiler_version() -> str:
    """The locked version of the compiler."""
    lock = json.loads((HERE / "package-lock.json").read_text())
    return str(lock["packages"]["node_modules/solc"]["version"])


def standard_input() -> dict[str, Any]:
    """The compiler's standard JSON input. Source names are relative, so a build does not depend on where it runs."""
    sources = {f"contracts/{path.relative_to(SOURCES)}": {"content": path.read_text()} for path in sorted(SOURCES.rglob("*.sol"))}
    return {"language": "Solidity", "sources": sources, "settings": SETTINGS}


def source_hash() -> str:
    """Hash of everything that decides the bytecode: sources, settings, compiler and library versions."""
    library = json.loads((HERE / "package-lock.json").read_text())["packages"]["node_modules/@openzeppelin/contracts"]
    facts = [standard_input(), compiler_version(), library["version"]]
    return "sha256:" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def stale() -> list[str]:
    """Names of the contracts whose artefact is missing or belongs to other sources; ``layout`` for the snapshot."""
    expected = source_hash()
    found = {"layout": json.loads(LAYOUT.read_text())["sourceHash"] if LAYOUT.exists() else None}
    for name in CONTRACTS:
        path = ARTIFACTS / f"{name}.json"
        found[name] = json.loads(path.read_text())["sourceHash"] if path.exists() else None
    return [name for name, value in found.items() if value != expected]


def layout_of(contract: dict[str, Any]) -> dict[str, Any]:
    """How large a deployed contract is, and which slot holds what; types without the compiler's numbers, which any change moves."""
    layout = contract["storageLayout"]
    storage = [
        f"{entry['slot']}+{entry['offset']} {entry['label']}: {re.sub(r'[)][0-9]+(_storage)?', ')', entry['type'])}"
        for entry in layout["storage"]
    ]
    return {"bytes": len(contract["evm"]["deployedBytecode"]["object"]) // 2, "storage": storage}


def compile_all() -> None:
    """Compile and write every artefact. Exits with the compiler's own messages on an error."""
    try:
        output = solcx.compile_standard(standard_input(), solc_binary=HERE / "solc", base_path=MODULES)
    except SolcError as error:
        lines = [e["formattedMessage"] for e in json.loads(error.stdout_data)["errors"] if e["severity"] == "error"]
        sys.exit("\n".join(lines))
    for message in output.get("errors", []):
        if message.get("errorCode") not in IGNORED_WARNINGS:
            print(message["formattedMessage"], file=sys.stderr)
    expected = source_hash()
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    layouts: dict[str, Any] = {}
    for unit, contracts in output["contracts"].items():
        for name, contract in contracts.items():
            if not unit.startswith("contracts/") or name not in CONTRACTS:
                continue
            evm = contract["evm"]
            artifact = {
                "name": name,
                "abi": contract["abi"],
                "notices": {signature: entry["notice"] for signature, entry in contract["userdoc"].get("methods", {}).items()},
                "bytecode": "0x" + evm["bytecode"]["object"],
                "deployedBytecode": "0x" + evm["deployedBytecode"]["object"],
                "immutableReferences": [
                    [reference["start"], reference["length"]]
                    for references in evm["deployedBytecode"].get("immutableReferences", {}).values()
                    for reference in references
                ],
                "compiler": compiler_version(),
                "settings": {key: SETTINGS[key] for key in ("evmVersion", "optimizer", "metadata")},
                "sourceHash": expected,
            }
            (ARTIFACTS / f"{name}.json").write_text(json.dumps(artifact, indent=1, sort_keys=True) + "\n")
            layouts[name] = layout_of(contract)
            print(f"{name}: {len(evm['deployedBytecode']['object']) // 2} bytes")
    LAYOUT.write_text(json.dumps({"sourceHash": expected, "contracts": layouts}, indent=1, sort_keys=True) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when an artefact is stale; compile nothing")
    arguments = parser.parse_args()
    missing = stale()
    if not missing:
        print("the contract artefacts are fresh")
    elif arguments.check:
        sys.exit(f"stale contract artefacts: {', '.join(missing)}. Run `make generate`.")
    elif not MODULES.exists():
        sys.exit("the compiler is not installed: run `make setup`")
    else:
        compile_all()


if __name__ == "__main__":
    main()
