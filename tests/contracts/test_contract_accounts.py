"""A contract (EIP-1271) can be a dataset's owner and a task's party, and counts only when it answers rightly."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from contracts.conftest import DAY, KIND, Actor, World, refused
from contracts.foreign import build, create, creation_code, tell
from cryptography.hazmat.primitives.asymmetric import ec
from eth_abi import encode as abi_encode
from tallystick.chain import artifacts
from tallystick.chain.connection import Receipt
from tallystick.protocol import typed
from tallystick.protocol.grant import Grant
from tallystick.protocol.task import Proposal
from tallystick.signing import Signer

ANSWERS = ["Right", "Refuses", "Reverts", "Nothing", "Short", "RightAligned", "True", "Dirty", "Burns"]
# Ganache tries an endless loop for longer than a call may take, before it says that it ran out of gas.
WRONG = ANSWERS[1:] if KIND == "anvil" else ANSWERS[1:-1]
LEDGER, GRANTS, PROOFS = "TaskLedger", "GrantLedger", "ProofRegistry"


@dataclass
class Wallet:
    """An actor whose account is a contract. Its owner's key signs, and its owner pays."""

    owner: Actor
    address: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    fingerprint: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def signer(self) -> Signer:
        return self.owner.signer

    def send(self, contract: str, function: str, *arguments: Any) -> Receipt:
        bound = self.owner.chain.contracts[contract]
        call = bytes.fromhex(bound.encode(function, *arguments)[2:])
        return tell(self.owner, self.address, "execute(address,bytes)", bound.address, call)

    def answers(self, how: str) -> None:
        tell(self.owner, self.address, "setAnswer(uint8)", ANSWERS.index(how))


@pytest.fixture
def wallet(world: World) -> Wallet:
    """Enrolled in every role, in the place of the third party."""
    address = create(world.newcomer, creation_code("Wallet") + abi_encode(["address"], [world.newcomer.address]))
    made = Wallet(world.newcomer, address)
    world.parties = sorted([*world.parties[:2], made], key=lambda actor: int(actor.address, 16))  # type: ignore[list-item]
    world.enrol(made)  # type: ignore[arg-type]
    return made


@dataclass
class Run:
    world: World
    wallet: Wallet
    grants: list[Grant]
    proposal: Proposal

    def propose(self) -> None:
        self.world.requester.send(LEDGER, "propose", self.proposal.as_tuple())

    @property
    def index(self) -> int:
        return next(i for i, party in enumerate(self.proposal.parties) if party.account == self.wallet.address)

    def used(self) -> list[int]:
        return [self.world.call(GRANTS, "accountOf", grant.id())["used"] for grant in self.grants]


@pytest.fixture
def run(world: World, wallet: Wallet) -> Run:
    grants = []
    for actor in world.parties:
        grant = world.grant(world.publish(actor))
        world.issue(actor, grant)
        grants.append(grant)
    return Run(world, wallet, grants, world.proposal(grants))


def test_a_contract_account_grants_accepts_and_proves(run: Run) -> None:
    run.propose()
    run.world.accept(run.proposal, run.grants)
    assert run.world.state(run.proposal) == "Running"
    run.world.prove(run.proposal, run.world.result(run.proposal))
    assert run.world.state(run.proposal) == "Proved"
    assert run.used() == [1, 1, 1]


def test_a_contract_account_revokes_withdraws_and_reports_failures(run: Run) -> None:
    run.propose()
    run.world.accept(run.proposal, run.grants)
    run.wallet.send(LEDGER, "fail", run.proposal.as_tuple(), 1, "0x" + "00" * 20, 1, bytes(32))
    assert run.world.state(run.proposal) == "Failed"
    grant = next(grant for grant in run.grants if grant.id() == run.proposal.parties[run.index].grant)
    run.wallet.send(GRANTS, "revoke", grant.as_tuple())
    with refused("GrantIsRevoked"):
        run.world.accept(run.proposal, run.grants, attempt=2)
    run.wallet.send("DatasetRegistry", "withdraw", grant.dataset)


@pytest.mark.parametrize("how", WRONG)
def test_a_wallet_that_answers_wrongly_grants_nothing(world: World, wallet: Wallet, how: str) -> None:
    grant = world.grant(world.publish(wallet))  # type: ignore[arg-type]
    wallet.answers(how)
    with refused("BadOwnerSignature"):
        world.issue(wallet, grant)  # type: ignore[arg-type]
    wallet.answers("Right")
    world.issue(wallet, grant)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", WRONG)
def test_a_wallet_that_answers_wrongly_accepts_nothing(run: Run, how: str) -> None:
    run.propose()
    run.wallet.answers(how)
    for indices in ([run.index], [0, 1, 2]):
        with refused("BadAcceptance"):
            run.world.accept(run.proposal, run.grants, indices=indices)
    assert (run.world.state(run.proposal), run.used()) == ("Proposed", [0, 0, 0])


@pytest.mark.parametrize("how", WRONG)
def test_a_wallet_that_answers_wrongly_proves_nothing(run: Run, how: str) -> None:
    run.propose()
    run.world.accept(run.proposal, run.grants)
    run.wallet.answers(how)
    with refused("BadSignature"):
        run.world.prove(run.proposal, run.world.result(run.proposal))
    assert run.world.state(run.proposal) == "Running"


def test_nobody_elses_key_signs_for_a_wallet(run: Run) -> None:
    run.propose()
    world, proposal = run.world, run.proposal
    digest = typed.acceptance_digest(world.domain(LEDGER), proposal.id(), proposal.spec, 1)
    for signature in (world.stranger.signer.sign_digest(digest), b"", bytes(65), secrets.token_bytes(2000)):
        with refused("BadAcceptance"):
            world.relayer.send(
                LEDGER, "accept", proposal.as_tuple(), 1, [run.index], [signature], world.terms(proposal, run.grants)
            )


def test_a_wallets_owner_is_not_the_wallet(run: Run) -> None:
    grant = run.world.grant(run.world.publish(run.world.parties[0]), not_after=run.world.now + DAY)
    with refused("BadOwnerSignature"):
        run.world.issue(run.world.newcomer, grant)
    with refused("NotAParty"):
        run.world.newcomer.send(LEDGER, "fail", started(run).as_tuple(), 1, "0x" + "00" * 20, 1, bytes(32))


def started(run: Run) -> Proposal:
    run.propose()
    run.world.accept(run.proposal, run.grants)
    return run.proposal


def test_sources_for_tests_are_in_no_artefact() -> None:
    tools = build()
    assert not [name for name in tools.standard_input()["sources"] if "Wallet" in name or "test" in name.split("/")]
    assert "Wallet" not in artifacts.CONTRACTS
    shipped = {path.stem for path in Path(artifacts.__file__).parent.glob("*.json")}
    assert shipped == set(artifacts.CONTRACTS)
