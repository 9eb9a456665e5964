"""Contracts that are none of ours: compiled from contracts/test with the settings of the contracts themselves."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import solcx
from contracts.conftest import Actor
from eth_abi import encode as abi_encode
from eth_utils import keccak, to_checksum_address
from tallystick.chain.connection import Receipt

ROOT = Path(__file__).parents[2]


def build() -> Any:
    """ganache-setup/build.py, which is a script and no package."""
    spec = importlib.util.spec_from_file_location("tallystick_contract_build", ROOT / "ganache-setup" / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def creation_code(name: str) -> bytes:
    """The creation code of contracts/test/<name>.sol."""
    tools = build()
    source = ROOT / "contracts" / "test" / f"{name}.sol"
    request = {"language": "Solidity", "sources": {f"test/{name}.sol": {"content": source.read_text()}}, "settings": tools.SETTINGS}
    output = solcx.compile_standard(request, solc_binary=tools.HERE / "solc", base_path=tools.MODULES)
    return bytes.fromhex(output["contracts"][f"test/{name}.sol"][name]["evm"]["bytecode"]["object"])


def create(actor: Actor, code: bytes) -> str:
    """Deploy; the address."""
    chain = actor.chain
    transaction = {
        "chainId": chain.deployment.chain_id,
        "nonce": int(chain.request("eth_getTransactionCount", actor.address, "latest"), 16),
        "gas": 4_000_000,
        "gasPrice": int(chain.request("eth_gasPrice"), 16),
        "value": 0,
        "data": "0x" + code.hex(),
    }
    sent = chain.request("eth_sendRawTransaction", "0x" + actor.signer.sign_transaction(transaction).hex())
    chain.receipt(sent)
    return str(to_checksum_address(chain.request("eth_getTransactionReceipt", sent)["contractAddress"]))


def call_data(signature: str, *values: Any) -> str:
    """Call data for ``name(type,type)``."""
    kinds = signature[signature.index("(") + 1 : -1]
    return "0x" + (keccak(text=signature)[:4] + abi_encode(kinds.split(",") if kinds else [], values)).hex()


def tell(actor: Actor, to: str, signature: str, *values: Any) -> Receipt:
    """One transaction to a contract that is none of ours."""
    return actor.chain.receipt(actor.chain.transact("foreign", to, call_data(signature, *values)), "foreign")
