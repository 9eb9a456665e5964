"""Whatever an endpoint does, a caller sees ChainUnreachable (or Deadline), and never a credential of its URL."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from tallystick.chain import transport
from tallystick.chain.connection import Chain
from tallystick.chain.deployment import deploy
from tallystick.chain.profile import PROFILES
from tallystick.protocol.errors import ChainUnreachable, ContractRefused, Deadline, SignerLocked, TallystickError
from tallystick.signing import signer_from_uri
from tallystick.testing.local_chain import rpc
from unit.chain.rpc_node import DEPLOYMENT, Failure, Node
from web3 import HTTPProvider, Web3

HASH = "0x" + "11" * 32
SIGNER = signer_from_uri("mnemonic:1")
PROFILE = replace(PROFILES["development"], receipt_seconds=0.2)

#: Each way of using a chain, and the last JSON-RPC method that it comes to.
USES: dict[str, Callable[[Chain], Any]] = {
    "eth_blockNumber": lambda chain: chain.head(),
    "eth_getBlockByNumber": lambda chain: chain.now(),
    "eth_call": lambda chain: chain.call("TaskLedger", "taskAt", bytes(32)),
    "eth_getLogs": lambda chain: list(chain.events(0, 5)),
    "eth_estimateGas": lambda chain: chain.submit("AuditLog", "anchor", bytes(32), 1),
    "eth_getTransactionCount": lambda chain: chain.submit("AuditLog", "anchor", bytes(32), 1),
    "eth_sendRawTransaction": lambda chain: chain.submit("AuditLog", "anchor", bytes(32), 1),
    "eth_getTransactionReceipt": lambda chain: chain.receipt(HASH),
}

ANSWERS: dict[str, tuple[int, bytes]] = {
    "status 500": (500, b"Internal Server Error"),
    "status 401": (401, b'{"jsonrpc":"2.0","id":1,"result":"0x1"}'),
    "status 302": (302, b""),
    "status 204": (204, b""),
    "HTML": (200, b"<html><body>Welcome to nginx!</body></html>"),
    "nothing": (200, b""),
    "cut off": (200, b'{"jsonrpc":"2.0","id":1,"resu'),
    "not UTF-8": (200, b'{"result":"\xff\xfe"}'),
    "a list": (200, b"[]"),
    "null": (200, b"null"),
    "a number": (200, b"7"),
    "no result": (200, b'{"jsonrpc":"2.0","id":1}'),
    "deep": (200, b"[" * 200_000),
    "endless digits": (200, b'{"result":' + b"9" * 10_000 + b"}"),
    "an error": (200, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"internal"}}'),
    "an error without a message": (200, b'{"jsonrpc":"2.0","id":1,"error":{}}'),
    "an error as text": (200, b'{"jsonrpc":"2.0","id":1,"error":"rate limited"}'),
    "an error as a number": (200, b'{"jsonrpc":"2.0","id":1,"error":5}'),
    "a result of another type": (200, b'{"jsonrpc":"2.0","id":1,"result":{"status":[]}}'),
    "a result that is a text": (200, b'{"jsonrpc":"2.0","id":1,"result":"surprise"}'),
    "a result that is true": (200, b'{"jsonrpc":"2.0","id":1,"result":true}'),
    "a list of results": (200, b'{"jsonrpc":"2.0","id":1,"result":[7]}'),
    "short data": (200, b'{"jsonrpc":"2.0","id":1,"result":"0x0102030405"}'),
    "a half byte of a receipt": (200, b'{"jsonrpc":"2.0","id":1,"result":{"blockNumber":"0x1","status":"0x1","logs":[{}]}}'),
}


#: A number is a number: these uses read a short quantity rightly, and a transaction's hash is computed, not read.
SENSIBLE = {
    ("eth_blockNumber", "short data"),
    ("eth_estimateGas", "short data"),
    ("eth_getTransactionCount", "short data"),
    *(("eth_sendRawTransaction", name) for name in ANSWERS if "result" in name and "no result" not in name),
    ("eth_sendRawTransaction", "short data"),
    ("eth_sendRawTransaction", "a half byte of a receipt"),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("method", USES)
def test_an_answer_that_is_none_is_one_error(node: Node, method: str, answer: str) -> None:
    chain = node.chain(signer=SIGNER, profile=PROFILE)
    node.methods["eth_sendRawTransaction"] = lambda _: HASH
    node.raw, node.only = ANSWERS[answer], method
    if (method, answer) in SENSIBLE:
        USES[method](chain)
        return
    with pytest.raises((ChainUnreachable, Deadline)) as caught:
        USES[method](chain)
    assert "127.0.0.1" in str(caught.value)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("method", ["eth_chainId", "eth_getCode"])
def test_a_connection_is_refused_in_the_same_way(node: Node, method: str, answer: str) -> None:
    node.raw, node.only = ANSWERS[answer], method
    with pytest.raises(TallystickError) as caught:
        node.chain()
    assert caught.value.code == ("TS-4102" if answer == "short data" else "TS-4101")


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_deployment_is_refused_in_the_same_way(node: Node, answer: str) -> None:
    node.raw = ANSWERS[answer]
    # Short data is a chain id, of a chain that the development key does not sign for.
    with pytest.raises(SignerLocked if answer == "short data" else ChainUnreachable):
        deploy(Web3(HTTPProvider(node.url)), signer_from_uri("mnemonic:0"))


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_local_chains_calls_are_refused_in_the_same_way(node: Node, answer: str) -> None:
    node.raw = ANSWERS[answer]
    try:
        rpc(node.url, "eth_chainId")
    except ChainUnreachable:
        return
    assert "result" in json.loads(ANSWERS[answer][1])


@pytest.mark.parametrize("method", USES)
def test_an_endpoint_that_hangs_is_left(node: Node, method: str) -> None:
    chain = node.chain(signer=SIGNER, profile=PROFILE)
    chain._transport.seconds = 1.0
    node.methods["eth_sendRawTransaction"] = lambda _: HASH
    node.raw, node.only = 120.0, method
    began = time.monotonic()
    with pytest.raises(ChainUnreachable):
        USES[method](chain)
    assert time.monotonic() - began < 100  # before the answer


def test_an_estimate_that_was_never_answered_is_asked_for_again(node: Node) -> None:
    chain = node.chain(signer=SIGNER, profile=PROFILE)
    chain._transport.seconds = 1.0
    asked: list[object] = []

    def estimate(message: object, *_: object) -> str:
        asked.append(message)
        if len(asked) == 1:
            chain._transport.seconds = 60.0  # of every question from now on
            time.sleep(30)
        return hex(21000)

    node.methods["eth_estimateGas"] = estimate
    node.methods["eth_sendRawTransaction"] = lambda _: HASH
    assert chain.submit("AuditLog", "anchor", bytes(32), 1).startswith("0x")
    assert len(asked) == 2 and asked[0] == asked[1]


@pytest.mark.parametrize(("method", "times"), [("eth_blockNumber", 2), ("eth_sendRawTransaction", 1), ("evm_mine", 1)])
def test_what_only_reads_is_asked_again_when_the_endpoint_stood_still(node: Node, method: str, times: int) -> None:
    chain = node.chain(profile=PROFILE)
    chain._transport.seconds = 1.0
    asked: list[object] = []

    def answer(*_: object) -> str:
        asked.append(None)
        if len(asked) == 1:
            chain._transport.seconds = 60.0  # of every question from now on
            time.sleep(30)
        return "0x7"

    node.methods[method] = answer
    try:
        assert chain.request(method) == "0x7"
    except ChainUnreachable:
        assert times == 1
    assert len(asked) == times


def test_an_endpoint_that_drips_is_left() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def drip() -> None:
        connection, _ = listener.accept()
        with suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99000000\r\n\r\n")
            for _ in range(300):
                connection.sendall(b" " * 70_000)
                time.sleep(0.1)

    threading.Thread(target=drip, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(ChainUnreachable):
        Chain(f"http://127.0.0.1:{listener.getsockname()[1]}", DEPLOYMENT, seconds=0.2)
    assert time.monotonic() - began < 20  # before the last drop
    listener.close()


def test_an_answer_without_end_is_left(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = node.chain()
    monkeypatch.setattr(transport, "ANSWER_LIMIT", 1000)
    node.raw = (200, b'{"result":"0x1"}' + b" " * 984)
    assert chain.head() == 1
    node.raw = (200, b'{"result":"0x1"}' + b" " * 985)
    with pytest.raises(ChainUnreachable, match="more than 1000 bytes"):
        chain.head()


def test_nobody_listens(unused_port: int) -> None:
    with pytest.raises(ChainUnreachable):
        Chain(f"http://127.0.0.1:{unused_port}", DEPLOYMENT)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "http://", "ftp://127.0.0.1/x", "http://[::1", "http://h:99999999/", "file:///etc"]
)
def test_a_url_that_is_none_is_unreachable(url: str) -> None:
    with pytest.raises(ChainUnreachable) as caught:
        Chain(url, DEPLOYMENT)
    str(caught.value)


def test_a_receipt_that_never_comes_ends_at_the_deadline(node: Node) -> None:
    node.methods["eth_getTransactionReceipt"] = lambda _: None
    with pytest.raises(Deadline):
        node.chain(profile=PROFILE).receipt(HASH)


def test_a_refusal_by_the_contract_is_no_failure_of_the_node(node: Node) -> None:
    chain = node.chain()
    for error in (
        {"code": 3, "message": "execution reverted", "data": "0x"},
        {"code": -32000, "message": "VM Exception while processing transaction: revert", "data": "0x"},
        {"code": -32000, "message": "Execution reverted"},
        {"code": -32003, "message": "Out of gas: gas required exceeds allowance: 30000000"},
    ):
        node.methods["eth_call"] = lambda *_, error=error: raise_(Failure(error))
        with pytest.raises(ContractRefused):
            chain.call("TaskLedger", "taskAt", bytes(32))


@pytest.mark.parametrize("data", ["0xzz", "Reverted", 7, [], {"result": 5}, None])
def test_a_revert_with_senseless_data_is_one_error(node: Node, data: Any) -> None:
    chain = node.chain()
    node.methods["eth_call"] = lambda *_: raise_(Failure({"code": 3, "message": "execution reverted", "data": data}))
    with pytest.raises((ContractRefused, ChainUnreachable)):
        chain.call("TaskLedger", "taskAt", bytes(32))


def raise_(error: Exception) -> None:
    raise error


SECRETS = ("alice", "pass", "path-key", "query-key")


@pytest.mark.parametrize("answer", ["status 500", "HTML", "an error", "a list", "refused", "hang"])
def test_credentials_of_the_url_are_never_shown(
    node: Node, answer: str, caplog: pytest.LogCaptureFixture, unused_port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.INFO)  # names the path of each request at its own debug level
    port = unused_port if answer == "refused" else node.port
    url = f"http://alice:pass@127.0.0.1:{port}/path-key?key=query-key"
    node.raw = 1.0 if answer == "hang" else ANSWERS.get(answer)
    with pytest.raises(ChainUnreachable) as caught:
        Chain(url, DEPLOYMENT, seconds=0.3)
    shown = (
        "".join(traceback.format_exception(caught.value)) + str(caught.value.problem()) + caplog.text + "".join(capfd.readouterr())
    )
    assert not [secret for secret in SECRETS if secret in shown.replace("pass ", "").replace("pytest", "")], shown
    assert f"127.0.0.1:{port}" in caught.value.party


def test_credentials_of_the_url_are_used(node: Node) -> None:
    chain = node.chain(url=node.url.replace("//", "//alice:pass@"))
    assert node.headers["Authorization"] == "Basic YWxpY2U6cGFzcw=="
    assert chain.shown_url == node.url


def test_a_redirection_is_not_followed(node: Node) -> None:
    node.raw, node.location = (307, b""), node.url + "/elsewhere"
    with pytest.raises(ChainUnreachable, match="HTTP 307"):
        node.chain()
    assert len(node.calls) == 1
