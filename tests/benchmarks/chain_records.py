"""What the chain takes: records per second of one account, and the gas of every operation of the life of a task."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.conftest import KIND, Actor, Case, World
from contracts.test_proof_registry import Sum
from eth_abi import encode as abi_encode
from tallystick.chain.connection import Chain, Receipt
from tallystick.chain.deployment import deploy
from tallystick.chain.profile import PROFILES
from tallystick.signing import signer_from_uri
from tallystick.testing.local_chain import LocalChain
from web3 import HTTPProvider, Web3

RECORDS = 200


def run() -> dict[str, Any]:
    """Records per second of one account (waiting for each, and sending ahead), and the gas of every operation."""
    with tempfile.TemporaryDirectory() as folder, LocalChain(Path(folder), kind=KIND) as local:
        world = world_on(local)
        enrolled = [world.enrol(actor).gas_used for actor in (*world.parties, world.requester)]
        rows = [{"operation": "enrol", "gas": max(enrolled)}]
        owner = world.parties[0]
        grants = [world.grant(world.publish(owner)) for _ in range(RECORDS)]
        rows += [
            _timed("publish", lambda _: owner.send("DatasetRegistry", "publish", *(secrets.token_bytes(32) for _ in range(3)))),
            _timed("grant", lambda i: world.issue(owner, grants[i], by=owner)),
            _timed("revoke a grant", lambda i: owner.send("GrantLedger", "revoke", grants[i].as_tuple())),
            _timed("anchor an audit head", lambda i: owner.send("AuditLog", "anchor", secrets.token_bytes(32), i + 1)),
            _ahead(owner),
            *_task(world),
        ]
    slowest = min(row["records_per_second"] for row in rows if "records_per_second" in row)
    return {"ours": slowest, "unit": "records/s", "chain": KIND, "rows": rows}


def world_on(local: LocalChain) -> World:
    """Contracts deployed on a fresh chain, with one authority; nobody is enrolled."""
    signers = [signer_from_uri(f"mnemonic:{index}") for index in range(9)]
    deployment = deploy(Web3(HTTPProvider(local.url)), signers[0])
    profile = PROFILES["development" if KIND == "anvil" else "ganache"]
    world = World([Chain(local.url, deployment, signer=signer, profile=profile) for signer in signers])
    world.add_authority()
    return world


def _timed(operation: str, act: Callable[[int], Receipt]) -> dict[str, Any]:
    sys.stderr.write(f"{operation} ...\n")
    began = time.perf_counter()
    gas = [act(number).gas_used for number in range(RECORDS)]
    return {
        "operation": operation,
        "gas": max(gas),
        "records": RECORDS,
        "records_per_second": RECORDS / (time.perf_counter() - began),
    }


def _ahead(owner: Actor) -> dict[str, Any]:
    """Published without waiting for each receipt; the time ends with the last one."""
    began = time.perf_counter()
    sent = [owner.chain.submit("DatasetRegistry", "publish", *(secrets.token_bytes(32) for _ in range(3))) for _ in range(RECORDS)]
    gas = [owner.chain.receipt(transaction).gas_used for transaction in sent]
    seconds = time.perf_counter() - began
    return {"operation": "publish, sent ahead", "gas": max(gas), "records": RECORDS, "records_per_second": RECORDS / seconds}


def _task(world: World) -> list[dict[str, Any]]:
    """One whole three-party task, proved as a sum."""
    grants = [world.grant(world.publish(actor)) for actor in world.parties]
    for actor, grant in zip(world.parties, grants, strict=True):
        world.issue(actor, grant)
    proof = Sum(world, world.proposal(grants))
    case = Case(world, grants, proof.proposal)
    content = abi_encode(["uint256[2][]", "uint256[2]"], [proof.inputs, proof.sum])
    gas = {
        "propose (3 parties)": case.propose().gas_used,
        "accept (3 signatures, 3 debits)": world.accept(proof.proposal, grants).gas_used,
        "prove (sum-verified, 3 parties)": world.prove(proof.proposal, proof.result(proof.inputs, proof.sum), content).gas_used,
    }
    gas["whole three-party task"] = sum(gas.values())
    return [{"operation": operation, "gas": used} for operation, used in gas.items()]
