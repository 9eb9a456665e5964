"""A chain with the contracts deployed and a small cast enrolled; each test runs in a snapshot that is undone after it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tallystick.chain.connection import Chain, Receipt
from tallystick.chain.deployment import deploy
from tallystick.chain.profile import PROFILES
from tallystick.protocol import typed
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.grant import Grant
from tallystick.protocol.identity import ROLES, sign_p256
from tallystick.protocol.task import Party, Proposal
from tallystick.signing import AccountSigner, signer_from_uri
from tallystick.testing.local_chain import LocalChain
from web3 import HTTPProvider, Web3

KIND = os.environ.get("CHAIN", "anvil")
ALL_ROLES = sum(ROLES.values())
DAY = 86400


def b32(number: int) -> bytes:
    return number.to_bytes(32, "big")


@dataclass
class Actor:
    """One account with its certificate key. The certificate itself is not read on chain: its fingerprint is random here."""

    chain: Chain
    signer: AccountSigner
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    fingerprint: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def address(self) -> str:
        return self.signer.address

    def send(self, contract: str, function: str, *arguments: Any, value: int = 0) -> Receipt:
        return self.chain.send(contract, function, *arguments, value=value)


class World:
    """The deployed contracts and everybody who acts on them, each over a connection of its own."""

    def __init__(self, connections: list[Chain]) -> None:
        self.url = connections[0].url
        self.deployment = connections[0].deployment
        self.everyone = [Actor(chain, chain.signer) for chain in connections]  # type: ignore[arg-type]
        self.governor, *rest = self.everyone
        self.stranger = rest.pop()
        self.parties = sorted(rest[:3], key=lambda actor: int(actor.address, 16))
        self.requester, self.relayer, self.newcomer, self.regulator = rest[3:7]
        self.chain = self.governor.chain
        self.authority_key = ec.generate_private_key(ec.SECP256R1())
        self.now = self.chain.now()

    def domain(self, contract: str) -> typed.Domain:
        return typed.Domain(contract, self.deployment.chain_id, self.deployment.contracts[contract])

    def call(self, contract: str, function: str, *arguments: Any) -> Any:
        return self.chain.call(contract, function, *arguments)

    def travel(self, seconds: int) -> None:
        self.chain.request("evm_increaseTime", seconds)
        self.chain.request("evm_mine")

    # -- enrolment

    def add_authority(self, key: ec.EllipticCurvePrivateKey | None = None) -> int:
        point = (key or self.authority_key).public_key().public_numbers()
        receipt = self.governor.send(
            "ParticipantRegistry", "addAuthority", b32(point.x), b32(point.y), self.now - DAY, self.now + 3650 * DAY
        )
        return int(receipt.event("AuthorityAdded")["authority"])

    def enrolment(self, actor: Actor, roles: int = ALL_ROLES, **changes: Any) -> typed.Enrolment:
        point = actor.key.public_key().public_numbers()
        made = typed.Enrolment(
            actor.address, actor.fingerprint, b32(point.x), b32(point.y), roles, self.now - DAY, self.now + 365 * DAY
        )
        return replace(made, **changes)

    def enrol(self, actor: Actor, enrolment: typed.Enrolment | None = None, **options: Any) -> Receipt:
        made = enrolment or self.enrolment(actor)
        domain = options.get("domain", self.domain("ParticipantRegistry"))
        by_authority = sign_p256(options.get("authority_key", self.authority_key), typed.enrolment_digest(domain, made))
        possession = typed.possession_digest(domain, made.account, made.fingerprint)
        by_subject = sign_p256(options.get("subject_key", actor.key), possession)
        return actor.send("ParticipantRegistry", "enrol", options.get("authority", 0), made.as_tuple(), by_authority, by_subject)

    # -- datasets and grants

    def publish(self, actor: Actor) -> bytes:
        receipt = actor.send("DatasetRegistry", "publish", *(secrets.token_bytes(32) for _ in range(3)))
        return bytes(receipt.event("Published")["dataset"])

    def grant(self, dataset: bytes, **changes: Any) -> Grant:
        made = Grant(
            dataset=dataset,
            grantee=self.requester.address,
            terms=secrets.token_bytes(32),
            uses=3,
            epsilon_micros=0,
            not_before=self.now - DAY,
            not_after=self.now + 30 * DAY,
            salt=secrets.token_bytes(32),
        )
        return replace(made, **changes)

    def issue(self, owner: Actor, grant: Grant, *, domain: typed.Domain | None = None, by: Actor | None = None) -> Receipt:
        digest = typed.grant_digest(domain or self.domain("GrantLedger"), grant.id())
        return (by or self.relayer).send("GrantLedger", "issue", grant.as_tuple(), owner.signer.sign_digest(digest))

    # -- tasks

    def proposal(self, grants: list[Grant], receivers: tuple[Actor, ...] = (), **changes: Any) -> Proposal:
        parties = [
            Party(actor.address, grant.dataset, grant.id(), 0, 1) for actor, grant in zip(self.parties, grants, strict=False)
        ]
        parties += [Party(actor.address) for actor in receivers]
        made = Proposal(
            requester=self.requester.address,
            spec=secrets.token_bytes(32),
            parties=tuple(sorted(parties, key=lambda party: int(party.account, 16))),
            proof_kind=typed.proof_kind("signed-by-all"),
            accept_by=self.chain.now() + 3600,
            run_seconds=600,
            attempts=2,
            salt=secrets.token_bytes(32),
        )
        return replace(made, **changes)

    def actor(self, account: str) -> Actor:
        return next(actor for actor in [*self.parties, self.regulator, self.newcomer] if actor.address == account)

    def acceptance(self, actor: Actor, proposal: Proposal, attempt: int = 1, domain: typed.Domain | None = None) -> bytes:
        domain = domain or self.domain("TaskLedger")
        digest = typed.acceptance_digest(domain, proposal.id(), proposal.spec, attempt)
        return actor.signer.sign_digest(digest)

    def accept(self, proposal: Proposal, grants: list[Grant], *, attempt: int = 1, indices: list[int] | None = None) -> Receipt:
        indices = list(range(len(proposal.parties))) if indices is None else indices
        signatures = [self.acceptance(self.actor(proposal.parties[i].account), proposal, attempt) for i in indices]
        return self.relayer.send(
            "TaskLedger", "accept", proposal.as_tuple(), attempt, indices, signatures, self.terms(proposal, grants)
        )

    def terms(self, proposal: Proposal, grants: list[Grant]) -> list[bytes]:
        by_id = {grant.id(): grant.terms for grant in grants}
        return [by_id.get(party.grant, bytes(32)) for party in proposal.parties]

    def result(self, proposal: Proposal, **changes: Any) -> typed.Result:
        made = typed.Result(
            task=proposal.id(),
            attempt=1,
            statement=secrets.token_bytes(32),
            inputs=secrets.token_bytes(32),
            output=secrets.token_bytes(32),
            proof_kind=proposal.proof_kind,
        )
        return replace(made, **changes)

    def signatures(self, proposal: Proposal, result: typed.Result, domain: typed.Domain | None = None) -> list[bytes]:
        digest = typed.result_digest(domain or self.domain("ProofRegistry"), result)
        return [self.actor(party.account).signer.sign_digest(digest) for party in proposal.parties]

    def prove(self, proposal: Proposal, result: typed.Result, proof: bytes = b"", **options: Any) -> Receipt:
        signatures = options.get("signatures") or self.signatures(proposal, result)
        return self.relayer.send("ProofRegistry", "submit", proposal.as_tuple(), result.as_tuple(), signatures, proof)

    def state(self, proposal: Proposal) -> str:
        names = ["None", "Proposed", "Running", "Proved", "Failed", "Cancelled", "Expired"]
        return names[self.call("TaskLedger", "taskAt", proposal.id())["state"]]


class refused:
    """The block ends in exactly this custom error."""

    def __init__(self, error: str) -> None:
        self.error = error

    def __enter__(self) -> refused:
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> bool:
        assert kind is not None, f"expected {self.error}, but nothing was refused"
        assert isinstance(value, ContractRefused), f"expected {self.error}, got {value!r}"
        assert value.error == self.error, f"expected {self.error}, got {value}"
        return True


@pytest.fixture(scope="session")
def _connections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Chain]]:
    profile = PROFILES["development" if KIND == "anvil" else "ganache"]
    signers = [signer_from_uri(f"mnemonic:{index}") for index in range(9)]
    with LocalChain(tmp_path_factory.mktemp("chain"), kind=KIND) as chain:
        deployment = deploy(Web3(HTTPProvider(chain.url)), signers[0])
        yield [Chain(chain.url, deployment, signer=signer, profile=profile) for signer in signers]


@pytest.fixture
def empty(_connections: list[Chain]) -> Iterator[World]:
    """Contracts deployed, nobody enrolled."""
    snapshot = _connections[0].request("evm_snapshot")
    yield World(_connections)
    _connections[0].request("evm_revert", snapshot)


@pytest.fixture
def world(empty: World) -> World:
    """One authority; three data parties, a requester and a regulator enrolled. Newcomer, relayer, stranger are not."""
    empty.add_authority()
    for actor in [*empty.parties, empty.requester, empty.regulator]:
        empty.enrol(actor)
    return empty


@dataclass
class Case:
    """A three-party task with its grants, as proposed."""

    world: World
    grants: list[Grant]
    proposal: Proposal

    def propose(self) -> Receipt:
        return self.world.requester.send("TaskLedger", "propose", self.proposal.as_tuple())

    def start(self) -> Receipt:
        self.propose()
        return self.world.accept(self.proposal, self.grants)


@pytest.fixture
def case(world: World) -> Case:
    """Three datasets published and granted; the proposal is made but not sent."""
    grants = []
    for actor in world.parties:
        grant = world.grant(world.publish(actor))
        world.issue(actor, grant)
        grants.append(grant)
    return Case(world, grants, world.proposal(grants))
