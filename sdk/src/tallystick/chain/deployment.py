"""Where the contracts are, and whether the code there is ours.

A deployment is made once per chain by :func:`deploy` and kept in a file. Three contracts name one another (grants know tasks,
tasks know proofs, proofs know tasks), all as immutables: their addresses follow from the deployer's nonces, so there is no
setter that anybody could call later.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rlp

from tallystick import flat_json
from tallystick.chain import artifacts
from tallystick.chain.contract import decode_error
from tallystick.chain.transport import MAX_DEPTH, Transport
from tallystick.commitments import ranges
from tallystick.ethereum import keccak, to_checksum_address
from tallystick.protocol.errors import Configuration, Deadline, NotFound, WrongChain
from tallystick.signing import DEVELOPMENT_CHAINS, Signer

if TYPE_CHECKING:  # a second to import, and only an annotation here
    from web3 import Web3

GAS_LIMIT = 8_000_000
RECEIPT_SECONDS = 120
POINT_EVALUATION = f"0x{10:040x}"  # the precompile of EIP-4844


@dataclass(frozen=True)
class Deployment:
    """The contracts' addresses on one chain, the block that the ledgers were complete at, and who deployed and who governs.

    A deployment of an older release may lack settlement and disputes, the registry of algorithms, and the newest verifiers: tasks
    there cannot be paid for, owners cannot ask for reviews, or results not for their kinds of proof.
    """

    chain_id: int
    contracts: dict[str, str]
    block: int
    deployer: str
    governor: str

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read a deployment file. Raises NotFound or Configuration."""
        try:
            raw = flat_json.parse(path.read_bytes(), MAX_DEPTH)
            later = set(artifacts.CONTRACTS) - set(artifacts.LEDGERS)
            present = [name for name in artifacts.CONTRACTS if name not in later or name in raw["contracts"]]
            contracts = {name: to_checksum_address(raw["contracts"][name]) for name in present}
            people = [to_checksum_address(raw[name]) for name in ("deployer", "governor")]
            return cls(int(raw["chainId"]), contracts, int(raw["block"]), *people)
        except FileNotFoundError:
            raise NotFound("there is no deployment file", party=str(path), remedy="run `tally chain deploy`") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Configuration(
                f"the deployment file is damaged: {error or type(error).__name__}",
                party=str(path),
                remedy="restore it, or remove it and deploy again (`tally chain deploy`)",
            ) from None

    def save(self, path: Path) -> None:
        """Write the deployment file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        body = {
            "chainId": self.chain_id,
            "block": self.block,
            "deployer": self.deployer,
            "governor": self.governor,
            "contracts": self.contracts,
        }
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n")
        partial.replace(path)

    def verify(self, chain: Web3 | Transport) -> None:
        """Raise WrongChain unless the chain's id and the code at every address are those of this release.

        Raises ChainUnreachable when the chain does not answer, or not in its form.
        """
        chain = chain if isinstance(chain, Transport) else Transport.of(chain)
        found = chain.number("eth_chainId")
        if found != self.chain_id:
            raise WrongChain(
                f"the chain's id is {found}, the deployment's {self.chain_id}",
                remedy="connect to the right chain, or name its deployment file",
            )
        for name, address in self.contracts.items():
            artifact = artifacts.load(name)
            code = chain.data("eth_getCode", address, "latest")
            if not code:
                raise WrongChain(
                    f"there is no code at the address of {name}",
                    party=address,
                    remedy="the chain was reset: deploy again (`tally chain deploy`)",
                )
            if keccak(artifact.masked(code)) != keccak(artifact.runtime):
                raise WrongChain(
                    f"the code of {name} is not this release's",
                    party=address,
                    remedy="use the release that the consortium deployed, or its deployment file",
                )


def deploy(web3: Web3, signer: Signer, governor: str | None = None) -> Deployment:
    """Deploy every contract and register the verifiers. ``governor`` defaults to the signer.

    When the governor is another account, the verifiers are deployed but the governor must register them
    (``ProofRegistry.addVerifier``). Raises WrongChain when a deployed contract's code is not the artefact's.
    """
    chain = Transport.of(web3)
    governor = governor or signer.address
    chain_id = chain.number("eth_chainId")
    first = _next_nonce(chain, signer)
    at = {name: _create_address(signer.address, first + index) for index, name in enumerate(artifacts.LEDGERS)}
    arguments: dict[str, list[Any]] = {
        "ParticipantRegistry": [governor],
        "DatasetRegistry": [at["ParticipantRegistry"]],
        "GrantLedger": [at["ParticipantRegistry"], at["DatasetRegistry"], at["TaskLedger"]],
        "TaskLedger": [at["ParticipantRegistry"], at["DatasetRegistry"], at["GrantLedger"], at["ProofRegistry"]],
        "ProofRegistry": [at["ParticipantRegistry"], at["TaskLedger"]],
        "AuditLog": [at["ParticipantRegistry"]],
    }
    block = 0
    for index, name in enumerate(artifacts.LEDGERS):
        landed, block = _create(web3, chain, signer, chain_id, first + index, name, arguments[name])
        if landed != at[name]:
            raise WrongChain(f"{name} landed at another address", remedy="let nobody else use the deployer meanwhile")
    return _complete(web3, signer, Deployment(chain_id, at, block, signer.address, governor))


def ensure(web3: Web3, signer: Signer, path: Path) -> Deployment:
    """The deployment in ``path`` when it is whole on this chain, else a new one, saved there.

    A development chain is deployed to anew whenever it was reset or the contracts changed. Elsewhere the addresses that a file
    names are never replaced: they are what a consortium agreed on. What this release has and the file lacks (settlement, disputes,
    the registry of algorithms, verifiers) is deployed when the signer is the governor, and verifiers are registered. Raises
    WrongChain where code is missing or another release's, and wherever the file is another chain's.
    """
    try:
        deployment = Deployment.load(path)
    except NotFound:
        deployment = deploy(web3, signer)
        deployment.save(path)
        return deployment
    try:
        deployment.verify(web3)
    except WrongChain:
        if deployment.chain_id not in DEVELOPMENT_CHAINS or Transport.of(web3).number("eth_chainId") != deployment.chain_id:
            raise
        deployment = deploy(web3, signer)
        deployment.save(path)
    if signer.address == deployment.governor and not deployment.contracts.keys() >= set(artifacts.CONTRACTS):
        deployment = _complete(web3, signer, deployment)
        deployment.save(path)
    return deployment


def _complete(web3: Web3, signer: Signer, deployment: Deployment) -> Deployment:
    """The deployment with all of this release: what it lacks is deployed, and verifiers are registered if the signer governs."""
    chain, chain_id = Transport.of(web3), deployment.chain_id
    if not deployment.contracts.keys() >= set(artifacts.ENFORCEMENT):
        enforcing = _enforcement(web3, chain, signer, deployment)
        deployment = replace(deployment, contracts={**deployment.contracts, **enforcing})
    lacking = [name for name in (*artifacts.REVIEWS, *artifacts.VERIFIERS) if name not in deployment.contracts]
    missing = [name for name in lacking if name != "VectorSumVerifier" or evaluates_points(chain)]
    added = {
        name: _create(web3, chain, signer, chain_id, _next_nonce(chain, signer), name, _arguments(name, deployment))[0]
        for name in missing
    }
    whole = replace(deployment, contracts={**deployment.contracts, **added})
    whole.verify(chain)
    if deployment.governor == signer.address:
        at = deployment.contracts["ProofRegistry"]
        registry = web3.eth.contract(web3.to_checksum_address(at), abi=artifacts.load("ProofRegistry").abi)
        for name in added.keys() & set(artifacts.VERIFIERS):
            call = registry.encode_abi("addVerifier", [added[name]])
            _send(chain, signer, chain_id, _next_nonce(chain, signer), {"to": at, "data": call})
    return whole


def evaluates_points(chain: Transport) -> bool:
    """Whether the chain has the precompile for openings of KZG commitments: from Cancun on, and so not Ganache.

    Where not, ``VectorSumVerifier`` would not be constructed, and is left out: the ledger refuses tasks that ask for its kind of
    proof. Input of another length is what the precompile refuses, and what an account without code takes.
    """
    return chain.answer("eth_call", [{"to": POINT_EVALUATION, "data": "0x"}, "latest"]).get("result") != "0x"


def _arguments(name: str, deployment: Deployment) -> list[Any]:
    """What the registry of algorithms, or a verifier, is constructed with."""
    if name == "RangeVerifier":
        return [ranges.table()]
    asks = name in (*artifacts.REVIEWS, *artifacts.ATTESTATION, *artifacts.CIRCUITS)
    return [deployment.contracts["ParticipantRegistry"]] if asks else []


def _enforcement(web3: Web3, chain: Transport, signer: Signer, deployment: Deployment) -> dict[str, str]:
    """Deploy settlement and disputes, which name each other."""
    first, ledgers = _next_nonce(chain, signer), deployment.contracts
    at = {name: _create_address(signer.address, first + index) for index, name in enumerate(artifacts.ENFORCEMENT)}
    shared = [ledgers["ParticipantRegistry"], ledgers["TaskLedger"], ledgers["ProofRegistry"]]
    for index, (name, other) in enumerate((("Settlement", "Disputes"), ("Disputes", "Settlement"))):
        landed, _ = _create(web3, chain, signer, deployment.chain_id, first + index, name, [*shared, at[other]])
        if landed != at[name]:
            raise WrongChain(f"{name} landed at another address", remedy="let nobody else use the deployer meanwhile")
    return at


def _create(
    web3: Web3, chain: Transport, signer: Signer, chain_id: int, nonce: int, name: str, arguments: list[Any]
) -> tuple[str, int]:
    """Deploy one contract; its address and block. Raises WrongChain, by the constructor's reason, where it is not constructed."""
    artifact = artifacts.load(name)
    data = web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode).constructor(*arguments).data_in_transaction
    try:
        receipt = _send(chain, signer, chain_id, nonce, {"data": data})
    except WrongChain:
        raise _refusal(chain, signer, name, data) from None
    with chain.understood("eth_getTransactionReceipt"):
        return to_checksum_address(receipt["contractAddress"]), int(receipt["blockNumber"], 16)


def _refusal(chain: Transport, signer: Signer, name: str, data: str) -> WrongChain:
    """Why a contract is not constructed, as far as the chain says it: a receipt holds no reason, so the chain is asked again."""
    call = {"from": signer.address, "data": data, "gas": hex(GAS_LIMIT)}
    found = chain.answer("eth_call", [call, "latest"]).get("error", {}).get("data")
    if isinstance(found, dict):  # Ganache wraps the revert data
        found = found.get("result")
    try:
        reason = decode_error(name, bytes.fromhex(str(found).removeprefix("0x"))).message
    except ValueError:
        reason = f"{name} is not constructed, and the chain does not say why"
    return WrongChain(
        f"the chain refused a deployment transaction: {reason}",
        party=signer.address,
        remedy="use a chain that has the precompiles of docs/how-to/use-a-consortium-chain.md, and gas enough for a block",
    )


def _next_nonce(chain: Transport, signer: Signer) -> int:
    return chain.number("eth_getTransactionCount", to_checksum_address(signer.address), "latest")


def _create_address(sender: str, nonce: int) -> str:
    """The address of a contract that ``sender`` creates with ``nonce`` (yellow paper, section 7)."""
    return to_checksum_address(keccak(rlp.encode([bytes.fromhex(sender[2:]), nonce]))[12:])


def _send(chain: Transport, signer: Signer, chain_id: int, nonce: int, fields: dict[str, Any]) -> dict[str, Any]:
    transaction = {
        "chainId": chain_id,
        "nonce": nonce,
        "gas": GAS_LIMIT,
        "gasPrice": chain.number("eth_gasPrice"),
        "value": 0,
        **fields,
    }
    sent = chain.request("eth_sendRawTransaction", "0x" + signer.sign_transaction(transaction).hex())
    give_up = time.monotonic() + RECEIPT_SECONDS
    while (receipt := chain.request("eth_getTransactionReceipt", sent)) is None:
        if time.monotonic() > give_up:
            raise Deadline(
                f"a deployment transaction was not carried out within {RECEIPT_SECONDS} s",
                party=chain.shown,
                remedy="look whether the chain makes blocks and the account can pay",
            )
        time.sleep(0.02)
    with chain.understood("eth_getTransactionReceipt"):
        found = dict(receipt)
        done = int(found["status"], 16) == 1
    if not done:
        raise WrongChain("the chain refused a deployment transaction", party=signer.address)
    return found
