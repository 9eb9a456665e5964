"""An operator and its node share one account: two processes that never heard of each other send from it at once."""

from __future__ import annotations

import multiprocessing
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from tallystick.chain.connection import Chain
from tallystick.chain.deployment import Deployment, deploy
from tallystick.signing import signer_from_uri
from tallystick.testing.local_chain import LocalChain
from web3 import HTTPProvider, Web3

SENDS = 6
SHARED = "mnemonic:0"


@pytest.fixture(scope="module")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalChain, Deployment]]:
    with LocalChain(tmp_path_factory.mktemp("chain")) as local:
        yield local, deploy(Web3(HTTPProvider(local.url)), signer_from_uri(SHARED))


def add_authorities(url: str, deployment: Deployment, start: Any, done: Any) -> None:
    """The governor's calls: none depends on another, so only the nonce can be in the way."""
    chain = Chain(url, deployment, signer=signer_from_uri(SHARED))
    point = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296).to_bytes(32, "big")
    other = (0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5).to_bytes(32, "big")
    start.wait()
    try:
        made = [
            chain.send("ParticipantRegistry", "addAuthority", point, other, secrets.randbelow(10**6), chain.now() + 10**6)
            for _ in range(SENDS)
        ]
        done.put([int(receipt.event("AuthorityAdded")["authority"]) for receipt in made])
    except Exception as error:
        done.put(repr(error))


@pytest.mark.parametrize(
    "block_time",
    [
        pytest.param(None, id="a block for each transaction"),
        pytest.param(1, id="a block each second", marks=pytest.mark.slow),
    ],
)
def test_two_processes_with_one_account_lose_no_transaction(anvil: tuple[LocalChain, Deployment], block_time: int | None) -> None:
    local, deployment = anvil
    chain = Chain(local.url, deployment)
    first = chain.head() + 1
    if block_time:
        local.rpc("evm_setIntervalMining", block_time)
    context = multiprocessing.get_context("spawn")
    start, done = context.Event(), context.Queue()
    pair = [context.Process(target=add_authorities, args=(local.url, deployment, start, done)) for _ in range(2)]
    for process in pair:
        process.start()
    start.set()
    results = [done.get(timeout=300) for _ in pair]
    for process in pair:
        process.join(10)
    assert all(isinstance(result, list) for result in results), results
    numbers = [number for result in results for number in result]
    assert len(set(numbers)) == 2 * SENDS
    on_chain = [event["authority"] for event in chain.events(first, chain.head()) if event.name == "AuthorityAdded"]
    assert sorted(on_chain) == sorted(numbers)
