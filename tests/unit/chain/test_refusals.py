"""Every custom error of every contract becomes a refusal by its name, with its arguments and what to do about it."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi import encode as abi_encode
from eth_utils import keccak, to_checksum_address
from tallystick.chain import artifacts
from tallystick.chain.contract import REMEDIES, decode_error

#: OpenZeppelin's own, of names that only the constructor sets.
NEVER = {"InvalidShortString", "StringTooLong"}

ACCOUNT = to_checksum_address("0x" + "a1" * 20)
SAMPLES: dict[str, Any] = {"bytes32": b"\7" * 32, "bytes4": b"abcd", "address": ACCOUNT.lower(), "string": "a rule", "bool": True}


def custom_errors() -> list[tuple[str, dict[str, Any]]]:
    return [(name, entry) for name in artifacts.CONTRACTS for entry in artifacts.load(name).abi if entry["type"] == "error"]


def sample(kind: str) -> Any:
    return SAMPLES.get(kind, 42)


def revert_data(entry: dict[str, Any]) -> bytes:
    kinds = [member["type"] for member in entry["inputs"]]
    return keccak(text=f"{entry['name']}({','.join(kinds)})")[:4] + abi_encode(kinds, [sample(kind) for kind in kinds])


@pytest.mark.parametrize(
    ("contract", "entry"), custom_errors(), ids=lambda value: value if isinstance(value, str) else value["name"]
)
def test_every_custom_error_is_decoded(contract: str, entry: dict[str, Any]) -> None:
    refusal = decode_error(contract, revert_data(entry))
    assert refusal.error == entry["name"]
    expected = [ACCOUNT if member["type"] == "address" else sample(member["type"]) for member in entry["inputs"]]
    assert list(refusal.arguments) == expected
    assert all(f"{member['name']}=" in refusal.message for member in entry["inputs"])
    assert refusal.remedy == REMEDIES.get(entry["name"], "")
    assert refusal.party == (ACCOUNT if ACCOUNT in expected else contract)


def test_no_two_errors_share_a_selector() -> None:
    signatures = {f"{e['name']}({','.join(m['type'] for m in e['inputs'])})" for _, e in custom_errors()}
    assert len({keccak(text=signature)[:4] for signature in signatures}) == len(signatures)


def test_every_error_has_a_remedy_and_no_remedy_is_for_an_error_that_is_gone() -> None:
    assert set(REMEDIES) == {entry["name"] for _, entry in custom_errors()} - NEVER


def test_every_short_revert_is_still_a_refusal() -> None:
    for contract, entry in custom_errors():
        data = revert_data(entry)
        for length in range(len(data)):
            refusal = decode_error(contract, data[:length])
            assert refusal.error in (entry["name"], "unknown")


def test_what_the_compiler_reverts_with_has_a_name() -> None:
    text = decode_error("TaskLedger", keccak(text="Error(string)")[:4] + abi_encode(["string"], ["why"]))
    assert (text.error, text.arguments) == ("Error", ("why",))
    panic = decode_error("TaskLedger", keccak(text="Panic(uint256)")[:4] + abi_encode(["uint256"], [0x11]))
    assert (panic.error, panic.arguments) == ("Panic", (0x11,))


def test_text_that_is_no_text_is_a_refusal() -> None:
    data = keccak(text="BadProof(string)")[:4] + abi_encode(["bytes"], [b"\xff\xfe"])
    assert decode_error("ProofRegistry", data).error == "BadProof"
