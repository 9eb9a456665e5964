"""The chain: reads at a block, writes that were tried before they cost anything, events page by page.

Every connection checks that the chain is the configured one and that the code at every address is this release's.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.chain.contract import Contract, Event, decode_error, decode_log, name_of_log
from tallystick.chain.contracts import (
    AlgorithmRegistry,
    AuditLog,
    DatasetRegistry,
    Disputes,
    GrantLedger,
    Groth16Verifier,
    HardwareVerifier,
    ParticipantRegistry,
    ProofRegistry,
    QuorumVerifier,
    Settlement,
    SimulationVerifier,
    TaskLedger,
)
from tallystick.chain.deployment import Deployment
from tallystick.chain.profile import PROFILES, ChainProfile
from tallystick.chain.transport import SECONDS, Transport, message_of, unhex
from tallystick.ethereum import keccak, to_checksum_address
from tallystick.protocol import typed
from tallystick.protocol.errors import ChainUnreachable, ContractRefused, Deadline, NotFound, SignerLocked, WrongChain
from tallystick.signing import Signer

Block = int | str
NONCE_ATTEMPTS = 12
SEND_ATTEMPTS = 4
READ_CLOCK = "0x4260005260206000f3"  # TIMESTAMP; PUSH 0; MSTORE; PUSH 32; PUSH 0; RETURN
LOGS = 5_000  # of a page, about: a few megabytes, and a fraction of a second to read
MILLISECONDS = 10**11  # a time above it, in seconds, is in the year 5138
#: How nodes word that the execution itself failed; every other JSON-RPC error is about the node, not about the contract.
EXECUTION_FAILED = ("revert", "vm exception", "evm error", "out of gas", "gas required", "insufficient funds")
#: How nodes word that another transaction of the account has this nonce, and that they have this very transaction already.
NONCE_TAKEN = ("nonce", "underpriced", "can't be replaced")  # geth and Anvil, geth, Ganache
SENT_ALREADY = ("already imported", "already known", "known transaction")


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
        seconds: float = SECONDS,
    ) -> None:
        self.url = url
        self.deployment = deployment
        self.profile = profile
        self.signer = signer
        self._transport = Transport(url, seconds)
        self._lock = threading.Lock()
        self._page = profile.log_page  # blocks of the last page of logs that the node took
        self.contracts = {name: Contract(name, address) for name, address in deployment.contracts.items()}
        self.participants = ParticipantRegistry(self)
        self.datasets = DatasetRegistry(self)
        self.grants = GrantLedger(self)
        self.tasks = TaskLedger(self)
        self.proofs = ProofRegistry(self)
        self.audit = AuditLog(self)
        self.algorithms = AlgorithmRegistry(self)
        self.settlement = Settlement(self)
        self.disputes = Disputes(self)
        self.hardware = HardwareVerifier(self)
        self.simulation = SimulationVerifier(self)
        self.quorum = QuorumVerifier(self)
        self.circuits = Groth16Verifier(self)
        self._by_address = {contract.address.lower(): name for name, contract in self.contracts.items()}
        deployment.verify(self._transport)
        if profile.clock:
            self._require_seconds()

    @property
    def shown_url(self) -> str:
        """The URL without credentials, query and path."""
        return self._transport.shown

    # -- reads ---------------------------------------------------------------------------------------------------------

    def request(self, method: str, *parameters: Any) -> Any:
        """One JSON-RPC call. Raises ChainUnreachable; a revert is raised by :meth:`call` and :meth:`send` only."""
        return self._transport.request(method, *parameters)

    def head(self) -> int:
        """Number of the latest block that counts as final by the profile."""
        return max(0, self._transport.number("eth_blockNumber") - self.profile.confirmations)

    def latest(self) -> tuple[int, str]:
        """Number and hash of the latest block, final or not."""
        latest = self.block("latest")
        with self._transport.understood("eth_getBlockByNumber"):
            return int(latest["number"], 16), str(latest["hash"])

    def tip(self) -> tuple[int, str]:
        """:meth:`head`, and the hash of the latest block, final or not: while it is the same, nothing has happened."""
        number, found = self.latest()
        return max(0, number - self.profile.confirmations), found

    def block(self, number: Block) -> Mapping[str, Any]:
        """Header of a block: ``number``, ``hash``, ``parentHash``, ``timestamp`` and the rest as JSON-RPC gives them."""
        found = self.request("eth_getBlockByNumber", _block(number), False)
        if found is None:
            raise ChainUnreachable(f"the chain has no block {number}", party=self.shown_url, remedy="wait for it")
        with self._transport.understood("eth_getBlockByNumber"):
            return dict(found)

    def hash_at(self, number: int) -> str:
        """The hash of the block of this number; empty where the chain has none, or none any more."""
        found = self.request("eth_getBlockByNumber", hex(number), False)
        return str(found["hash"]) if isinstance(found, dict) and "hash" in found else ""

    def now(self) -> int:
        """The time of the latest block, in seconds since 1970: the only clock that contracts know."""
        latest = self.block("latest")
        with self._transport.understood("eth_getBlockByNumber"):
            return int(latest["timestamp"], 16)

    def call(self, contract: str, function: str, *arguments: Any, block: Block = "latest") -> Any:
        """Read from a contract at a block. Raises ContractRefused, or NotFound where the deployment lacks the contract."""
        bound = self._bound(contract)
        message = {"to": bound.address, "data": bound.encode(function, *arguments)}
        returned = self._execute(contract, "eth_call", message, _block(block))
        with self._transport.understood("eth_call"):
            return bound.decode(function, returned)

    def events(self, first: int, last: int) -> Iterator[Event]:
        """Our events in blocks first..last, in order. Pages by the profile and halves a page that the node refuses."""
        for _, page in self.event_pages(first, last):
            yield from page

    def event_pages(self, first: int, last: int) -> Iterator[tuple[int, list[Event]]]:
        """Our events in blocks first..last, page by page, each with its last block."""
        for until, logs in self.log_pages(first, last):
            with self._transport.understood("eth_getLogs"):
                page = [event for log in logs if (event := self.event_of(log)) is not None]
            # A node that ignores the range would give the same event on every page.
            if any(not first <= event.block <= until for event in page):
                raise ChainUnreachable("the chain answered eth_getLogs for other blocks", party=self.shown_url)
            yield until, page
            first = until + 1

    def log_pages(self, first: int, last: int) -> Iterator[tuple[int, list[Any]]]:
        """The logs of our contracts in blocks first..last as JSON-RPC gives them, page by page, each with its last block.

        Nodes refuse by blocks, by results, by bytes or by time, each in its own words: whatever the words, a page that was refused
        is halved, and the next scan begins near the size that was taken. Where blocks are full, pages are of fewer blocks.
        """
        size = min(self.profile.log_page, 2 * self._page)
        while first <= last:
            until = min(last, first + size - 1)
            query = {
                "fromBlock": hex(first),
                "toBlock": hex(until),
                "address": [contract.address for contract in self.contracts.values()],
            }
            answer = self._transport.answer("eth_getLogs", (query,))
            if "error" in answer:
                if size == 1:
                    raise self._transport.refused("eth_getLogs", answer)
                size = max(1, size // 2)
                continue
            if not isinstance(answer["result"], list):
                raise ChainUnreachable("the chain's answer to eth_getLogs is no list", party=self.shown_url)
            size = self._page = max(1, min(size, (until - first + 1) * LOGS // max(1, len(answer["result"]))))
            yield until, answer["result"]
            first = until + 1

    def event_name(self, log: Mapping[str, Any]) -> str | None:
        """The name of the event in a log, or None when it is none of ours."""
        return name_of_log(self._by_address, log)

    def event_of(self, log: Mapping[str, Any]) -> Event | None:
        """A log as an event of ours, or None when it is none. Raises what the ABI library raises for one that does not decode."""
        return decode_log(self._by_address, log)

    # -- writes --------------------------------------------------------------------------------------------------------

    def send(self, contract: str, function: str, *arguments: Any, value: int = 0) -> Receipt:
        """Try, sign, send, and wait for the receipt; ``value`` is paid along, in wei. Raises ContractRefused before gas is spent
        where the rule is known.

        A transaction that passed the try and still reverted met another state (the acceptance that turns out to be the last
        debits the grants, for example, and needs more gas): it is tried again, and then works or names its rule.
        """
        for attempt in range(SEND_ATTEMPTS):
            try:
                return self.receipt(self.submit(contract, function, *arguments, value=value), contract)
            except ContractRefused as error:
                if error.error != "reverted" or attempt == SEND_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def submit(self, contract: str, function: str, *arguments: Any, value: int = 0) -> str:
        """Try, sign and send; the transaction's hash."""
        bound = self._bound(contract)
        return self.transact(contract, bound.address, bound.encode(function, *arguments), value)

    def own(self) -> Signer:
        """The signer. Raises SignerLocked when the connection only reads."""
        if self.signer is None:
            raise SignerLocked("this connection only reads", remedy="configure a signer")
        return self.signer

    def domain(self, contract: str) -> typed.Domain:
        """The EIP-712 domain of one of our contracts. Raises NotFound."""
        return typed.Domain(contract, self.deployment.chain_id, self._bound(contract).address)

    def transact(self, contract: str, to: str, data: str, value: int = 0) -> str:
        """Try, sign and send call data to any contract, ``contract`` being its name in errors; the transaction's hash."""
        sender = to_checksum_address(self.own().address)
        message = {"from": sender, "to": to, "data": data, "value": hex(value)}
        with self._lock:
            gas = int.from_bytes(self._execute(contract, "eth_estimateGas", message), "big")
            return self._sign_and_send(sender, to, data, gas, value)

    def _bound(self, contract: str) -> Contract:
        if contract not in self.contracts:
            raise NotFound(
                f"this deployment has no {contract}", party=self.shown_url, remedy="the governor adds it (`tally chain deploy`)"
            )
        return self.contracts[contract]

    def _sign_and_send(self, sender: str, to: str, data: str, gas: int, value: int = 0) -> str:
        """Sign with the account's next nonce. An operator and its node may share an account, so the chain is asked each
        time, and a nonce that somebody else took meanwhile is followed by the next. The very same transaction, sent by both,
        is one transaction."""
        assert self.signer is not None
        for attempt in range(NONCE_ATTEMPTS):
            transaction = {
                "chainId": self.deployment.chain_id,
                "nonce": self._transport.number("eth_getTransactionCount", sender, "pending"),
                "gas": int(gas * self.profile.gas_margin),
                "to": to,
                "value": value,
                "data": data,
                **self._fees(),
            }
            signed = self.signer.sign_transaction(transaction)
            answer = self._transport.answer("eth_sendRawTransaction", ("0x" + signed.hex(),))
            if "error" not in answer:
                return "0x" + keccak(signed).hex()
            said = message_of(answer).lower()
            if any(words in said for words in SENT_ALREADY):
                return "0x" + keccak(signed).hex()
            if not any(words in said for words in NONCE_TAKEN) or attempt == NONCE_ATTEMPTS - 1:
                raise self._transport.refused("eth_sendRawTransaction", answer)
            # Two senders in step would meet again and again.
            time.sleep(0.05 * (attempt + 1) * (0.5 + secrets.randbelow(1000) / 1000))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def receipt(self, transaction: str, contract: str = "") -> Receipt:
        """Wait for a transaction. Raises Deadline, or ContractRefused when it was carried out and reverted."""
        give_up, pause = time.monotonic() + self.profile.receipt_seconds, 0.002
        while True:
            found = self.request("eth_getTransactionReceipt", transaction)
            if isinstance(found, dict) and found.get("blockNumber"):
                break
            if found is not None and not isinstance(found, dict):
                raise ChainUnreachable("the chain's answer is no receipt", party=self.shown_url)
            if time.monotonic() > give_up:
                raise Deadline(
                    f"transaction {transaction} was not carried out within {self.profile.receipt_seconds:g} s",
                    party=self.shown_url,
                    remedy="look whether the chain makes blocks and the account can pay",
                )
            time.sleep(pause)
            pause = min(2 * pause, self.profile.poll_seconds / 4)
        with self._transport.understood("eth_getTransactionReceipt"):
            if int(found["status"], 16) != 1:
                raise ContractRefused(f"{contract or 'the contract'} reverted in transaction {transaction}", error="reverted")
            events = [decode_log(self._by_address, log) for log in found["logs"]]
            return Receipt(
                transaction=transaction,
                block=int(found["blockNumber"], 16),
                block_hash=str(found["blockHash"]),
                gas_used=int(found["gasUsed"], 16),
                events=tuple(event for event in events if event is not None),
            )

    def _require_seconds(self) -> None:
        """Raises WrongChain when contracts are told milliseconds: every deadline and validity would have passed. A node that does
        not carry out code that is no contract tells nothing."""
        answer = self._transport.answer("eth_call", ({"data": READ_CLOCK}, "latest"))
        if "error" in answer:
            return
        with self._transport.understood("eth_call"):
            told = int.from_bytes(unhex(answer["result"]), "big")
        if told >= MILLISECONDS:
            raise WrongChain(
                "contracts on this chain are told milliseconds where they need seconds",
                party=self.shown_url,
                remedy="have the chain's committee switch on feature_evm_timestamp (FISCO BCOS 3.12 or newer), then deploy",
            )

    # -- transport -----------------------------------------------------------------------------------------------------

    def _fees(self) -> dict[str, int]:
        if self.profile.fees == "zero":
            return {"gasPrice": 0}
        if self.profile.fees == "legacy":
            return {"gasPrice": self._transport.number("eth_gasPrice")}
        latest = self.block("latest")
        with self._transport.understood("eth_getBlockByNumber"):
            base = int(latest.get("baseFeePerGas", "0x0"), 16)
        tip = 10**9
        return {"maxFeePerGas": 2 * base + tip, "maxPriorityFeePerGas": tip, "type": 2}

    def _execute(self, contract: str, method: str, message: Mapping[str, Any], *more: Any) -> bytes:
        """What the execution returned. Raises ContractRefused when the execution failed, ChainUnreachable when the node did."""
        answer = self._transport.answer(method, (message, *more))
        if "error" not in answer:
            with self._transport.understood(method):
                return unhex(answer["result"])
        data = answer["error"].get("data")
        if isinstance(data, dict):  # Ganache wraps the revert data
            data = data.get("result") or data.get("data")
        said = message_of(answer)
        failed = answer["error"].get("code") == 3 or any(words in said.lower() for words in EXECUTION_FAILED)
        if isinstance(data, str) and data.startswith("0x") and (failed or len(data) > 2):
            with self._transport.understood(method):
                raise decode_error(contract, unhex(data))
        if failed:
            raise ContractRefused(f"{contract} refused: {said}", error="unknown")
        raise self._transport.refused(method, answer)


def _block(block: Block) -> str:
    return hex(block) if isinstance(block, int) else block
