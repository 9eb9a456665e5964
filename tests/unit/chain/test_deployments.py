from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tallystick.chain import artifacts
from tallystick.chain.deployment import Deployment, ensure
from tallystick.protocol.errors import Configuration, NotFound, WrongChain
from tallystick.signing import signer_from_uri
from unit.chain.rpc_node import DEPLOYMENT, Node, address_of
from web3 import HTTPProvider, Web3


def test_a_release_finds_its_own_code(node: Node) -> None:
    assert node.chain().deployment == DEPLOYMENT
    assert {address for address, _ in node.asked("eth_getCode")} == set(DEPLOYMENT.contracts.values())


def test_another_chain_id_is_another_chain(node: Node) -> None:
    node.methods["eth_chainId"] = lambda: "0x1"
    with pytest.raises(WrongChain, match="id is 1"):
        node.chain()


@pytest.mark.parametrize("name", artifacts.CONTRACTS)
def test_no_code_and_changed_code_are_refused_by_name(node: Node, name: str) -> None:
    address = address_of(name).lower()
    right = bytes.fromhex(node.code[address][2:])
    for code, said in ((b"", "no code"), (bytes([right[0] ^ 1]) + right[1:], "not this release's"), (right + b"\0", "not this")):
        node.code[address] = "0x" + code.hex()
        with pytest.raises(WrongChain, match=f"{said}.*") as caught:
            node.chain()
        assert name in str(caught.value)
        assert caught.value.party == address_of(name)
        assert caught.value.remedy


def test_immutables_may_differ_and_nothing_around_them(node: Node) -> None:
    artifact = artifacts.load("TaskLedger")
    start, length = artifact.immutables[0]
    code = bytearray(artifact.runtime)
    code[start : start + length] = b"\xff" * length
    address = address_of("TaskLedger").lower()
    node.code[address] = "0x" + code.hex()
    node.chain()
    code[start - 1] ^= 1
    node.code[address] = "0x" + code.hex()
    with pytest.raises(WrongChain):
        node.chain()


def test_a_deployment_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "31337.json"
    DEPLOYMENT.save(path)
    assert Deployment.load(path) == DEPLOYMENT


def damaged() -> dict[str, str]:
    whole = {**asdict(DEPLOYMENT), "chainId": DEPLOYMENT.chain_id}
    contracts = DEPLOYMENT.contracts
    return {
        "": json.dumps(whole),
        "empty": "",
        "cut off": json.dumps(whole)[:-40],
        "a list": "[]",
        "null": "null",
        "deep": "[" * 100_000,
        "no contracts": json.dumps({**whole, "contracts": {}}),
        "contracts as a list": json.dumps({**whole, "contracts": list(contracts)}),
        "an address that is none": json.dumps({**whole, "contracts": {**contracts, "TaskLedger": "0x12"}}),
        "an address that is a number": json.dumps({**whole, "contracts": {**contracts, "TaskLedger": 12}}),
        "no governor": json.dumps({**whole, "governor": None}),
        "a block that is none": json.dumps({**whole, "block": "soon"}),
    }


def test_the_file_that_is_damaged_below_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "31337.json"
    path.write_text(damaged()[""])
    assert Deployment.load(path) == DEPLOYMENT


@pytest.mark.parametrize("kind", [kind for kind in damaged() if kind])
def test_a_damaged_file_is_named_and_never_replaced(node: Node, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "31337.json"
    path.write_text(damaged()[kind])
    for attempt in (
        lambda: Deployment.load(path),
        lambda: ensure(Web3(HTTPProvider(node.url)), signer_from_uri("mnemonic:0"), path),
    ):
        with pytest.raises(Configuration) as caught:
            attempt()
        assert caught.value.party == str(path)
        assert caught.value.remedy
    assert path.read_text() == damaged()[kind]


def test_a_folder_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Configuration):
        Deployment.load(tmp_path)
    with pytest.raises(NotFound):
        Deployment.load(tmp_path / "nothing.json")


def test_a_consortiums_file_is_never_replaced(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    theirs = replace(DEPLOYMENT, chain_id=2024)
    theirs.save(path)
    node.methods["eth_chainId"] = lambda: hex(2024)
    node.code = dict.fromkeys(node.code, "0x")
    with pytest.raises(WrongChain, match="no code"):
        ensure(Web3(HTTPProvider(node.url)), signer_from_uri("mnemonic:0"), path)
    assert Deployment.load(path) == theirs


def test_a_file_of_another_chain_is_never_replaced(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "31337.json"
    DEPLOYMENT.save(path)
    node.methods["eth_chainId"] = lambda: hex(1337)
    with pytest.raises(WrongChain, match="id is 1337"):
        ensure(Web3(HTTPProvider(node.url)), signer_from_uri("mnemonic:0"), path)
    assert Deployment.load(path) == DEPLOYMENT


def test_a_whole_deployment_is_used_as_it_is(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "31337.json"
    DEPLOYMENT.save(path)
    assert ensure(Web3(HTTPProvider(node.url)), signer_from_uri("mnemonic:0"), path) == DEPLOYMENT
    assert not node.asked("eth_sendRawTransaction")
