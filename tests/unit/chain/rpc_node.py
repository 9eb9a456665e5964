"""A JSON-RPC endpoint whose every answer a test decides."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eth_utils import keccak, to_checksum_address
from tallystick.chain import artifacts
from tallystick.chain.connection import Chain
from tallystick.chain.contract import _events, _type_of
from tallystick.chain.deployment import Deployment

CHAIN_ID = 31337
BLOCK_HASH = "0x" + "ab" * 32


def address_of(name: str) -> str:
    return str(to_checksum_address(keccak(text=name)[:20]))


DEPLOYMENT = Deployment(CHAIN_ID, {name: address_of(name) for name in artifacts.CONTRACTS}, 1, address_of("a"), address_of("b"))


class Failure(Exception):
    """A JSON-RPC error, as the object that the node answers."""

    def __init__(self, error: Any) -> None:
        self.error = error


class Node:
    """A well-behaved node at first: the right chain id, the right code. ``methods`` answer by name; ``raw`` answers in bytes
    instead of them all: (HTTP status, body), or a number of seconds to hang."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self.raw: tuple[int, bytes] | float | None = None
        self.only = ""  # the raw answer is for this method alone
        self.location = ""
        self.headers: dict[str, str] = {}
        self.methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: hex(CHAIN_ID),
            "eth_getCode": lambda address, _: self.code[address.lower()],
            "eth_blockNumber": lambda: "0x10",
            "eth_gasPrice": lambda: "0x7",
            "eth_getBlockByNumber": lambda number, _: {"number": "0x10", "timestamp": "0x5", "baseFeePerGas": "0x3"},
            "eth_call": lambda *_: "0x" + "5".zfill(64),
            "eth_estimateGas": lambda *_: "0x5208",
            "eth_getTransactionCount": lambda *_: "0x0",
        }
        self.code = {address_of(name).lower(): "0x" + artifacts.load(name).runtime.hex() for name in artifacts.CONTRACTS}
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                node.headers = dict(self.headers)
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                node.calls.append((asked["method"], asked["params"]))
                status, body = node.answer(asked)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                if node.location:
                    self.send_header("location", node.location)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that gave up on a hanging answer is what some tests want."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def answer(self, asked: dict[str, Any]) -> tuple[int, bytes]:
        if self.raw is not None and self.only in ("", asked["method"]):
            if isinstance(self.raw, float):
                time.sleep(self.raw)
                return 200, b"{}"
            return self.raw
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            reply["result"] = self.methods[asked["method"]](*asked["params"])
        except Failure as failure:
            reply["error"] = failure.error
        return 200, json.dumps(reply).encode()

    def asked(self, method: str) -> list[list[Any]]:
        return [parameters for name, parameters in self.calls if name == method]

    def chain(self, **options: Any) -> Chain:
        return Chain(options.pop("url", self.url), options.pop("deployment", DEPLOYMENT), **options)


def anchored(block: int, index: int = 0, size: int = 1) -> dict[str, Any]:
    """A log of AuditLog.Anchored as a node answers it."""
    [topic] = [topic for topic, entry in _events("AuditLog").items() if entry["name"] == "Anchored"]
    assert [_type_of(member) for member in _events("AuditLog")[topic]["inputs"]] == ["address", "uint64", "bytes32"]
    return {
        "address": address_of("AuditLog").lower(),
        "topics": [topic, "0x" + "00" * 12 + "11" * 20, "0x" + size.to_bytes(32, "big").hex()],
        "data": "0x" + "22" * 32,
        "blockNumber": hex(block),
        "blockHash": BLOCK_HASH,
        "transactionHash": "0x" + "33" * 32,
        "logIndex": hex(index),
    }
