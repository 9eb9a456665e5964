"""The chain: reads at a block, writes that were tried before they cost anything, events page by page.

Every connection checks that the chain is the configured one and that the code at every address is this release's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from eth_utils.address import to_checksum_address
from web3 import HTTPProvider, Web3
from web3.middleware import ExtraDataToPOAMiddleware

from tallystick.chain.contract import Contract, Event, decode_error, decode_log
from tallystick.chain.deployment import Deployment
from tallystick.chain.profile import PROFILES, ChainProfile
from tallystick.protocol.errors import ChainUnreachable, ContractRefused, Deadline, SignerLocked
from tallystick.signing import Signer

Block = int | str
NONCE_ATTEMPTS = 5
SEND_ATTEMPTS = 4


@dataclass(frozen=True)
class Receipt:
    """A transaction that the chain carried out. ``events`` are ours among its logs."""

    transaction: str
    block: int
    block_hash: str
    gas_used: int
    events: tuple[Event, ...]

    def event(self, name: str) -> Event:
        """The first event of this name. Raises KeyError."""
        for found in self.events:
            if found.name == name:
                return found
        raise KeyError(name)


class Chain:
    """A connection to one chain. Safe to use from several threads; transactions of one account are sent in order.

    Raises ChainUnreachable or WrongChain at construction.
    """

    def __init__(
        self,
        url: str,
        deployment: Deployment,
        *,
        signer: Signer | None = None,
        profile: ChainProfile = PROFILES["development"],
        seconds: float = 15.0,
    ) -> None:
        self.url = url
        self.deployment = deployment
        self.profile = profile
        self.signer = signer
        self._web3 = Web3(HTTPProvider(url, request_kwargs={"timeout": seconds}, exception_retry_configuration=None))
        if profile.proof_of_authority:
            self._web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        self._lock = threading.Lock()
        self.contracts = {name: Contract(name, address) for name, address in deployment.contracts.items()}
        self._by_address = {contract.address.lower(): name for name, contract in self.contracts.items()}
        try:
            deployment.verify(self._web3)
        except OSError as error:
            raise self._unreachable(error) from None

    @property
    def shown_url(self) -> str:
        """The URL without credentials, query and path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or ''}".rstrip(":")

    # -- reads ---------------------------------------------------------------------------------------------------------

    def request(self, method: str, *parameters: Any) -> Any:
        """One JSON-RPC call. Raises ChainUnreachable; a revert is raised by :meth:`call` and :meth:`send` only."""
        answer = self._raw(method, parameters)
        if "error" in answer:
            raise ChainUnreachable(f"the chain refused {method}: {answer['error'].get('message', '')}", party=self.shown_url)
        return answer["result"]

    def head(self) -> int:
        """Number of the latest block that counts as final by the profile."""
        return max(0, int(self.request("eth_blockNumber"), 16) - self.profile.confirmations)

    def block(self, number: Block) -> Mapping[str, Any]:
        """Header of a block: ``number``, ``hash``, ``parentHash``, ``timestamp`` and the rest as JSON-RPC gives them."""
        found = self.request("eth_getBlockByNumber", _block(number), False)
        if found is None:
            raise ChainUnreachable(f"the chain has no block {number}", party=self.shown_url, remedy="wait for it")
        return dict(found)

    def now(self) -> int:
        """The time of the latest block, in seconds since 1970: the only clock that contracts know."""
        return int(self.block("latest")["timestamp"], 16)

    def call(self, contract: str, function: str, *arguments: Any, block: Block = "latest") -> Any:
        """Read from a contract at a block. Raises ContractRefused."""
        bound = self.contracts[contract]
        message = {"to": bound.address, "data": bound.encode(function, *arguments)}
        return bound.decode(function, self._execute(contract, "eth_call", message, _block(block)))

    def events(self, first: int, last: int) -> Iterator[Event]:
        """Our events in blocks first..last, in order. Pages by the profile and halves a page that the node refuses."""
        size = self.profile.log_page
        while first <= last:
            until = min(last, first + size - 1)
            query = {
                "fromBlock": hex(first),
                "toBlock": hex(until),
                "address": [contract.address for contract in self.contracts.values()],
            }
            answer = self._raw("eth_getLogs", (query,))
            if "error" in answer:
                if size == 1:
                    raise ChainUnreachable("the chain refuses eth_getLogs", party=self.shown_url)
                size = max(1, size // 2)
                continue
            for log in answer["result"]:
                event = decode_log(self._by_address, log)
                if event is not None:
                    yield event
            first = until + 1

    # -- writes --------------------------------------------------------------------------------------------------------

    def send(self, contract: str, function: str, *arguments: Any) -> Receipt:
        """Try, sign, send, and wait for the receipt. Raises ContractRefused before gas is spent where the rule is known.

        A transaction that passed the try and still reverted met another state (the acceptance that turns out to be the last
        debits the grants, for example, and needs more gas): it is tried again, and then works or names its rule.
        """
        for attempt in range(SEND_ATTEMPTS):
            try:
                return self.receipt(self.submit(contract, function, *arguments), contract)
            except ContractRefused as error:
                if error.error != "reverted" or attempt == SEND_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def submit(self, contract: str, function: str, *arguments: Any) -> str:
        """Try, sign and send; the transaction's hash."""
        if self.signer is None:
            raise SignerLocked("this connection only reads", remedy="configure a signer")
        bound = self.contracts[contract]
        sender = to_checksum_address(self.signer.address)
        message = {"from": sender, "to": bound.address, "data": bound.encode(function, *arguments)}
        with self._lock:
            gas = int.from_bytes(self._execute(contract, "eth_estimateGas", message), "big")
            return self._sign_and_send(sender, bound.address, message["data"], gas)

    def _sign_and_send(self, sender: str, to: str, data: str, gas: int) -> str:
        """Sign with the account's next nonce. An operator and its node may share an account, so the chain is asked each
        time, and a nonce that somebody else took meanwhile is followed by the next."""
        assert self.signer is not None
        for attempt in range(NONCE_ATTEMPTS):
            transaction = {
                "chainId": self.deployment.chain_id,
                "nonce": int(self.request("eth_getTransactionCount", sender, "pending"), 16),
                "gas": int(gas * self.profile.gas_margin),
                "to": to,
                "value": 0,
                "data": data,
                **self._fees(),
            }
            try:
                return str(self.request("eth_sendRawTransaction", "0x" + self.signer.sign_transaction(transaction).hex()))
            except ChainUnreachable as error:
                taken = "nonce" in error.message or "underpriced" in error.message
                if not taken or attempt == NONCE_ATTEMPTS - 1:
                    raise
            time.sleep(0.05 * (attempt + 1))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def receipt(self, transaction: str, contract: str = "") -> Receipt:
        """Wait for a transaction. Raises Deadline, or ContractRefused when it was carried out and reverted."""
        give_up = time.monotonic() + self.profile.receipt_seconds
        while True:
            found = self.request("eth_getTransactionReceipt", transaction)
            if found is not None and found.get("blockNumber"):
                break
            if time.monotonic() > give_up:
                raise Deadline(
                    f"transaction {transaction} was not carried out within {self.profile.receipt_seconds:g} s",
                    party=self.shown_url,
                    remedy="look whether the chain makes blocks and the account can pay",
                )
            time.sleep(min(self.profile.poll_seconds, 0.02) if self.profile.poll_seconds < 0.1 else 0.25)
        if int(found["status"], 16) != 1:
            raise ContractRefused(f"{contract or 'the contract'} reverted in transaction {transaction}", error="reverted")
        events = [decode_log(self._by_address, log) for log in found["logs"]]
        return Receipt(
            transaction=transaction,
            block=int(found["blockNumber"], 16),
            block_hash=found["blockHash"],
            gas_used=int(found["gasUsed"], 16),
            events=tuple(event for event in events if event is not None),
        )

    # -- transport -----------------------------------------------------------------------------------------------------

    def _fees(self) -> dict[str, int]:
        if self.profile.fees == "zero":
            return {"gasPrice": 0}
        if self.profile.fees == "legacy":
            return {"gasPrice": int(self.request("eth_gasPrice"), 16)}
        base = int(self.block("latest").get("baseFeePerGas", "0x0"), 16)
        tip = 10**9
        return {"maxFeePerGas": 2 * base + tip, "maxPriorityFeePerGas": tip, "type": 2}

    def _execute(self, contract: str, method: str, message: Mapping[str, Any], *more: Any) -> bytes:
        answer = self._raw(method, (message, *more))
        if "error" not in answer:
            text = answer["result"][2:]
            return bytes.fromhex(text if len(text) % 2 == 0 else "0" + text)
        data = answer["error"].get("data")
        if isinstance(data, dict):  # Ganache wraps the revert data
            data = data.get("result") or data.get("data")
        if isinstance(data, str) and data.startswith("0x"):
            raise decode_error(contract, bytes.fromhex(data[2:]))
        raise ContractRefused(f"{contract} refused: {answer['error'].get('message', 'no reason given')}", error="unknown")

    def _raw(self, method: str, parameters: Any) -> dict[str, Any]:
        try:
            return dict(self._web3.provider.make_request(method, list(parameters)))  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> ChainUnreachable:
        return ChainUnreachable(
            f"the chain does not answer ({type(error).__name__})",
            party=self.shown_url,
            remedy="check the URL and that the chain runs (`make chain-status`)",
        )


def _block(block: Block) -> str:
    return hex(block) if isinstance(block, int) else block
