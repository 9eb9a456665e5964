from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes
from tallystick.chain.profile import FEES, PROFILES, ChainProfile, profile_named
from tallystick.protocol.errors import Configuration, SignerLocked, WrongChain
from tallystick.signing import signer_from_uri
from unit.chain.rpc_node import Failure, Node

SIGNER = signer_from_uri("mnemonic:1")


def sent(node: Node, profile: ChainProfile) -> dict[str, Any]:
    """The fee fields of the one transaction that a submission makes."""
    raw: list[bytes] = []
    node.methods["eth_sendRawTransaction"] = lambda data: raw.append(bytes.fromhex(data[2:])) or "0x" + "00" * 32
    node.chain(signer=SIGNER, profile=profile).submit("AuditLog", "anchor", b"\1" * 32, 1)
    assert Account.recover_transaction(raw[0]) == SIGNER.address
    if raw[0][0] < 0x80:
        return TypedTransaction.from_bytes(HexBytes(raw[0])).as_dict()
    members = rlp.decode(raw[0])
    return {"type": 0, "nonce": members[0], "gasPrice": int.from_bytes(members[1], "big"), "gas": int.from_bytes(members[2], "big")}


def test_a_chain_with_a_base_fee_pays_for_a_rise(node: Node) -> None:
    found = sent(node, PROFILES["development"])
    assert (found["type"], found["maxFeePerGas"], found["maxPriorityFeePerGas"]) == (2, 2 * 3 + 10**9, 10**9)


def test_a_chain_without_a_base_fee_is_asked_for_its_price(node: Node) -> None:
    found = sent(node, PROFILES["ganache"])
    assert (found["type"], found["gasPrice"]) == (0, 7)


@pytest.mark.parametrize("name", ["besu-qbft", "fisco-bcos"])
def test_a_consortium_chain_pays_nothing(node: Node, name: str) -> None:
    found = sent(node, PROFILES[name])
    assert (found["type"], found["gasPrice"]) == (0, 0)
    assert not node.asked("eth_gasPrice")


def test_a_chain_that_tells_contracts_milliseconds_is_refused_and_one_that_tells_nothing_is_not(node: Node) -> None:
    asked = PROFILES["fisco-bcos"]
    node.methods["eth_call"] = lambda *_: hex(1_800_000_000_000)
    with pytest.raises(WrongChain, match="milliseconds") as caught:
        node.chain(profile=asked)
    assert "feature_evm_timestamp" in caught.value.remedy
    node.chain(profile=PROFILES["besu-qbft"])  # asks nothing
    node.methods["eth_call"] = lambda *_: hex(1_800_000_000)
    node.chain(profile=asked)

    def refuse(*_: Any) -> str:
        raise Failure({"code": -32000, "message": "no code at the address"})

    node.methods["eth_call"] = refuse
    node.chain(profile=asked)


def test_gas_has_a_margin(node: Node) -> None:
    assert sent(node, replace(PROFILES["besu-qbft"], gas_margin=2.0))["gas"] == 2 * 21000


@pytest.mark.parametrize("name", PROFILES)
def test_the_long_extra_data_of_proof_of_authority_is_read_as_it_is(node: Node, name: str) -> None:
    header = {"number": "0x10", "timestamp": "0x2a", "extraData": "0x" + "cd" * 300, "hash": "0x" + "ab" * 32}
    node.methods["eth_getBlockByNumber"] = lambda *_: header
    chain = node.chain(profile=PROFILES[name])
    assert chain.block(16) == header
    assert chain.now() == 42


def test_a_block_counts_as_final_when_others_follow_it(node: Node) -> None:
    assert node.chain(profile=PROFILES["besu-qbft"]).head() == 16
    assert node.chain(profile=PROFILES["public"]).head() == 4
    node.methods["eth_blockNumber"] = lambda: "0x3"
    assert node.chain(profile=PROFILES["public"]).head() == 0


def test_profiles_are_found_by_name_and_checked() -> None:
    assert all(profile_named(name).name == name for name in PROFILES)
    with pytest.raises(Configuration, match="unknown chain profile"):
        profile_named("mainnet")
    with pytest.raises(Configuration, match="unknown fee rule"):
        ChainProfile("x", fees="free")
    assert {profile.fees for profile in PROFILES.values()} == set(FEES)


def test_a_public_key_signs_for_development_chains_alone(node: Node) -> None:
    with pytest.raises(SignerLocked):
        SIGNER.sign_transaction({"chainId": 1, "nonce": 0, "gas": 21000, "gasPrice": 0, "to": SIGNER.address, "value": 0})


def test_a_connection_without_a_signer_only_reads(node: Node) -> None:
    with pytest.raises(SignerLocked):
        node.chain().submit("AuditLog", "anchor", b"\1" * 32, 1)


def answering(node: Node, *messages: str | None) -> list[int]:
    """The node's answers to one submission after another; None takes it. Returns the nonces it saw."""
    left, nonces = list(messages), []

    def take(data: str) -> str:
        nonces.append(int(TypedTransaction.from_bytes(HexBytes(data)).as_dict()["nonce"]))
        if (message := left.pop(0)) is not None:
            raise Failure({"code": -32000, "message": message})
        return "0x" + "00" * 32

    node.methods["eth_sendRawTransaction"] = take
    node.methods["eth_getTransactionCount"] = lambda *_: hex(len(nonces))
    return nonces


@pytest.mark.parametrize(
    "message",
    [
        "nonce too low",
        "replacement transaction underpriced",
        "transaction can't be replaced, mining has already started",
        "Nonce too low: next nonce 7",
        "the tx doesn't have the correct nonce. account has nonce of: 5 tx has nonce of: 4",
    ],
)
def test_a_nonce_that_is_taken_is_followed_by_the_next(node: Node, message: str) -> None:
    nonces = answering(node, message, message, None)
    node.chain(signer=SIGNER).submit("AuditLog", "anchor", b"\1" * 32, 1)
    assert nonces == [0, 1, 2]


@pytest.mark.parametrize("message", ["transaction already imported", "already known", "Known transaction"])
def test_the_very_same_transaction_is_one(node: Node, message: str) -> None:
    nonces = answering(node, message)
    transaction = node.chain(signer=SIGNER).submit("AuditLog", "anchor", b"\1" * 32, 1)
    assert (len(nonces), len(transaction)) == (1, 66)
