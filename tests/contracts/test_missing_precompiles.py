"""A verifier is not constructed where a precompile that it needs is missing: there each proof would fail, or too many would hold.

Every chain of these tests has them, so that the constructors are made to ask an account that answers as a missing one does: by
success, and with no bytes.
"""

from __future__ import annotations

from typing import Any

import pytest
from contracts.conftest import World
from contracts.test_vector_sum_verifier import needs_openings
from eth_abi import encode as abi_encode
from tallystick.chain import artifacts
from tallystick.chain.transport import Transport
from tallystick.commitments import ranges
from tallystick.ethereum import keccak

NOBODY = 0xFE  # neither a precompile nor a contract
PUSH1, PUSH32 = 0x60, 0x7F
GAS = 25_000_000


def asking_nobody(code: bytes, precompile: int) -> bytes:
    """The creation code with another account for a precompile, wherever it names that."""
    changed, at = bytearray(code), 0
    while at < len(code):
        if code[at : at + 2] == bytes([PUSH1, precompile]):
            changed[at + 1] = NOBODY
        at += 1 + (code[at] - PUSH1 + 1 if PUSH1 <= code[at] <= PUSH32 else 0)
    return bytes(changed)


def constructed(world: World, code: bytes) -> dict[str, Any]:
    """What the chain answers to a construction."""
    call = {"from": world.governor.address, "data": "0x" + code.hex(), "gas": hex(GAS)}
    return Transport(world.url, 60).answer("eth_call", [call, "latest"])


@pytest.mark.parametrize(
    ("name", "precompile"),
    [("SumVerifier", 6), ("RangeVerifier", 6), ("RangeVerifier", 7), pytest.param("VectorSumVerifier", 10, marks=needs_openings)],
)
def test_no_verifier_is_constructed_without_its_precompiles(world: World, name: str, precompile: int) -> None:
    code = artifacts.load(name).bytecode + (abi_encode(["bytes"], [ranges.table()]) if name == "RangeVerifier" else b"")
    refusal = keccak(b"PrecompileMissing(address)")[:4].hex() + f"{NOBODY:064x}"
    assert refusal in str(constructed(world, asking_nobody(code, precompile)))
    assert constructed(world, code)["result"].startswith("0x60")
