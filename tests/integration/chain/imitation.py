"""An endpoint in front of Anvil that behaves as another kind of chain does where clients notice.

Besu: methods, error codes and words of its JSON-RPC (`EXCEEDS_RPC_MAX_BLOCK_RANGE`, `UNKNOWN_BLOCK`, `METHOD_NOT_FOUND`), and the
headers of QBFT.
FISCO BCOS 3: its Web3 endpoint (`bcos-rpc/web3jsonrpc`): no base fee, few methods, and a clock of contracts in milliseconds unless
`feature_evm_timestamp` is on; headers are in seconds. Its bound on ranges of logs, and the words for it, are of our making.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import requests
from tallystick.chain.connection import READ_CLOCK
from tallystick.testing.local_chain import LocalChain

BESU, FISCO = "besu-qbft", "fisco-bcos"
#: Everything that a client of ours may ask a consortium chain for.
METHODS = {
    "eth_blockNumber",
    "eth_call",
    "eth_chainId",
    "eth_estimateGas",
    "eth_gasPrice",
    "eth_getBlockByNumber",
    "eth_getCode",
    "eth_getLogs",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_sendRawTransaction",
}
RANGE = {BESU: 1000, FISCO: 2000}
QBFT_EXTRA = "0x" + "f8" * 250  # vanity, validators, round, committed seals: far above the 32 bytes of Ethereum


class FreeChain(LocalChain):
    """Anvil where gas costs nothing, with a chain id of its own."""

    def __init__(self, *arguments: Any, chain_id: int) -> None:
        super().__init__(*arguments)
        self.chain_id = chain_id

    def _command(self) -> list[str]:
        return [*super()._command(), "--base-fee", "0", "--gas-price", "0", "--disable-min-priority-fee"]


class Imitation:
    """The endpoint. ``behind``: blocks by which it lags; ``range``: most blocks between the ends of a query of logs;
    ``refusals``: what it refused, by method; ``milliseconds``: see above."""

    def __init__(self, kind: str, chain: LocalChain) -> None:
        self.kind, self.chain = kind, chain
        self.behind = 0
        self.range = RANGE[kind]
        self.milliseconds = False
        self.refusals: list[str] = []
        self.pages: list[int] = []
        imitation = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                reply = {"jsonrpc": "2.0", "id": asked["id"], **imitation.answer(asked["method"], asked.get("params") or [])}
                body = json.dumps(reply).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, parameters: list[Any]) -> dict[str, Any]:
        if method not in METHODS:
            return self._refuse(
                method, -32601, "Method not found" if self.kind == BESU else "The method does not exist/is not available."
            )
        special: Callable[[list[Any]], dict[str, Any] | None] | None = getattr(self, f"_{method.removeprefix('eth_')}", None)
        found = special(parameters) if special else None
        return found if found is not None else self._forward(method, parameters)

    def _forward(self, method: str, parameters: list[Any]) -> dict[str, Any]:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        answer = requests.post(self.chain.url, json=asked, timeout=60).json()
        return {key: answer[key] for key in ("result", "error") if key in answer}

    def _refuse(self, method: str, code: int, message: str) -> dict[str, Any]:
        self.refusals.append(method)
        return {"error": {"code": code, "message": message}}

    def _blockNumber(self, parameters: list[Any]) -> dict[str, Any]:
        return {"result": hex(max(0, int(self._forward("eth_blockNumber", parameters)["result"], 16) - self.behind))}

    def _getBlockByNumber(self, parameters: list[Any]) -> dict[str, Any]:
        if parameters[0] in ("finalized", "safe"):
            return self._refuse("eth_getBlockByNumber", -39001, "Unknown block")
        if parameters[0] == "latest":
            parameters = [self._blockNumber([])["result"], *parameters[1:]]
        found = self._forward("eth_getBlockByNumber", parameters)
        if isinstance(found.get("result"), dict):
            found["result"]["extraData"] = QBFT_EXTRA
            if self.kind == BESU:
                found["result"].pop("baseFeePerGas", None)
        return found

    def _getLogs(self, parameters: list[Any]) -> dict[str, Any] | None:
        first, last = (int(parameters[0][name], 16) for name in ("fromBlock", "toBlock"))
        if last - first > self.range:
            words = "Requested range exceeds maximum range limit" if self.kind == BESU else "block range too large"
            return self._refuse("eth_getLogs", -32000 if self.kind == FISCO else -32005, words)
        self.pages.append(last - first + 1)
        return None

    def _call(self, parameters: list[Any]) -> dict[str, Any] | None:
        if parameters[0].get("data") == READ_CLOCK and self.milliseconds:
            seconds = int(self._forward("eth_call", parameters)["result"], 16)
            return {"result": "0x" + (1000 * seconds).to_bytes(32, "big").hex()}
        return None

    def _gasPrice(self, _: list[Any]) -> dict[str, Any]:
        return {"result": "0x0"}
