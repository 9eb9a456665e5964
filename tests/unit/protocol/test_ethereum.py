"""Ethereum's hash, addresses and encoding, against published vectors and the libraries that do more."""

from __future__ import annotations

import subprocess
import sys

import pytest
from eth_utils.address import to_checksum_address as reference
from hypothesis import given
from hypothesis import strategies as st
from tallystick.ethereum import abi_encode, keccak, to_checksum_address

EIP_55 = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)


def test_keccak_is_not_sha3() -> None:
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


@pytest.mark.parametrize("address", EIP_55)
def test_published_checksums(address: str) -> None:
    for form in (address, address.lower(), "0x" + address[2:].upper(), bytes.fromhex(address[2:])):
        assert to_checksum_address(form) == address


@given(st.binary(min_size=20, max_size=20))
def test_every_checksum_is_the_librarys(account: bytes) -> None:
    assert to_checksum_address(account) == reference(account)


@pytest.mark.parametrize("account", ["", "0x", "0x12", EIP_55[0][2:], EIP_55[0] + "00", "0x" + "g" * 40, bytes(19), bytes(21)])
def test_what_is_no_address(account: str | bytes) -> None:
    with pytest.raises(ValueError):
        to_checksum_address(account)


def test_encoding() -> None:
    assert abi_encode(["uint256", "bytes32"], [7, bytes(32)]) == (7).to_bytes(32, "big") + bytes(32)
    for types, values in ((["uint8"], [256]), (["uint8"], ["1"]), (["address"], ["0x12"]), (["bytes32"], [bytes(33)])):
        with pytest.raises((TypeError, ValueError)):
            abi_encode(types, values)


def test_a_worker_imports_none_of_the_large_libraries() -> None:
    large = ("eth_abi", "eth_utils", "pydantic", "web3", "grpc")
    found = f"import sys, tallystick_node.runs.worker; print(*sorted(set({large}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == []
