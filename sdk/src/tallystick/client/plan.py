"""What a task would mean, before anybody agrees to it: who learns what, who must say yes, what it uses up, until when.

Everything here follows from the spec and the chain. What only a node knows, the workload's own security statement and its
predicted cost, comes in as a :class:`NodeWord`; without one the plan says that it is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tallystick.chain.connection import Chain
from tallystick.protocol import canonical
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.identity import ROLES
from tallystick.protocol.task import TaskInput, TaskSpec, proposal_of


@dataclass(frozen=True)
class NodeWord:
    """What a node says about a task: its workload's security statement and predicted cost, as JSON objects."""

    account: str
    security: Mapping[str, Any]
    cost: Mapping[str, Any]


@dataclass(frozen=True)
class GrantUse:
    """A grant that the task would use. ``left``: how many attempts it still allows; times in seconds since 1970."""

    grant: str
    uses: int
    used: int
    left: int
    revoked: bool
    not_before: int
    not_after: int
    epsilon_micros: int
    spent_micros: int


@dataclass(frozen=True)
class PartyPlan:
    """One party's part. ``reads`` of its own data, empty for a party that only receives."""

    party: str
    approves_as: str  # the role that it must hold: data-provider, or result-receiver
    active: bool
    reads: tuple[str, ...]
    dataset: str
    grant: GrantUse | None
    receives: bool


@dataclass(frozen=True)
class Reveals:
    """Whom the task tells what, whatever the workload. What a workload's protocol tells besides, only its statement says."""

    receivers: str
    parties: str
    public: str
    protocol: str


@dataclass(frozen=True)
class Plan:
    """A task, foretold. ``obstacles`` are the reasons why the chain or a party's node would say no today."""

    task: str
    workload: str
    purpose: str
    requester: str
    proof: str
    adversary: str
    corruptions: int
    accept_by: int
    run_seconds: int
    attempts: int
    now: int
    parties: tuple[PartyPlan, ...]
    reveals: Reveals
    transactions: int  # of one attempt, together: proposal, acceptances, proof
    word: NodeWord | None
    obstacles: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The plan, ready for ``json``."""
        made = asdict(self)
        made["parties"] = [asdict(each) for each in self.parties]
        return made


def plan(spec: TaskSpec, chain: Chain, word: NodeWord | None = None) -> Plan:
    """Foretell a task from its spec and the chain as it is now; with ``word``, also what a node says about it."""
    now = chain.now()
    obstacles: list[str] = []
    if (spec.chain_id, spec.task_ledger) != (chain.deployment.chain_id, chain.contracts["TaskLedger"].address):
        obstacles.append("the spec is for another chain or task ledger")
    if spec.accept_by <= now:
        obstacles.append("the deadline for acceptance has passed: draft the task again")
    if not _active(chain, spec.requester, "requester"):
        obstacles.append(f"{spec.requester} is not active as a requester")
    parties = tuple(_party(spec, account, chain, now, obstacles) for account in spec.parties)
    return Plan(
        task=canonical.hex32(proposal_of(spec).id()),
        workload=spec.workload,
        purpose=spec.purpose,
        requester=spec.requester,
        proof=spec.proof,
        adversary=spec.security.adversary,
        corruptions=spec.security.corruptions,
        accept_by=spec.accept_by,
        run_seconds=spec.run_seconds,
        attempts=spec.attempts,
        now=now,
        parties=parties,
        reveals=_reveals(spec, word),
        transactions=2 + len(parties),
        word=word,
        obstacles=tuple(obstacles),
    )


def _party(spec: TaskSpec, account: str, chain: Chain, now: int, obstacles: list[str]) -> PartyPlan:
    given = spec.input_of(account)
    role = "data-provider" if given else "result-receiver"
    active = _active(chain, account, role)
    if not active:
        obstacles.append(f"{account} is not active as a {role}")
    if given is not None:
        obstacles += _dataset_obstacles(chain, given)
    used = _grant(chain, given) if given else None
    if given is not None:
        obstacles += _grant_obstacles(spec, given, used, chain, now)
    return PartyPlan(
        party=account,
        approves_as=role,
        active=active,
        reads=given.columns if given else (),
        dataset=given.dataset if given else "",
        grant=used,
        receives=account in spec.receivers,
    )


def _active(chain: Chain, account: str, role: str) -> bool:
    try:
        chain.call("ParticipantRegistry", "requireActive", account, ROLES[role])
    except ContractRefused:
        return False
    return True


def _dataset_obstacles(chain: Chain, given: TaskInput) -> list[str]:
    try:
        owner = chain.call("DatasetRegistry", "requireUsable", canonical.unhex32(given.dataset))
    except ContractRefused as error:
        return [f"dataset {given.dataset[:10]}… cannot be used: {error.error}"]
    return [] if owner == given.party else [f"dataset {given.dataset[:10]}… belongs to {owner}, not to {given.party}"]


def _grant(chain: Chain, given: TaskInput) -> GrantUse | None:
    found = chain.call("GrantLedger", "accountOf", canonical.unhex32(given.grant))
    if not any(found["binding"]):
        return None
    return GrantUse(
        grant=given.grant,
        uses=found["uses"],
        used=found["used"],
        left=found["uses"] - found["used"],
        revoked=found["revoked"],
        not_before=found["notBefore"],
        not_after=found["notAfter"],
        epsilon_micros=found["epsilonMicros"],
        spent_micros=found["spentMicros"],
    )


def _grant_obstacles(spec: TaskSpec, given: TaskInput, used: GrantUse | None, chain: Chain, now: int) -> list[str]:
    name = f"the grant of {given.party}"
    if used is None:
        return [f"{name} is not on chain"]
    grantee = chain.call("GrantLedger", "accountOf", canonical.unhex32(given.grant))["grantee"]
    rules = (
        (grantee != spec.requester, f"{name} was given to {grantee}, not to the requester"),
        (used.revoked, f"{name} is revoked"),
        (used.left == 0, f"{name} is used up"),
        (now < used.not_before, f"{name} is not valid yet"),
        (now > used.not_after, f"{name} has ended"),
    )
    return [message for broken, message in rules if broken]


def _reveals(spec: TaskSpec, word: NodeWord | None) -> Reveals:
    columns = sorted({column for given in spec.inputs for column in given.columns})
    return Reveals(
        receivers=f"the result of {spec.workload} over {', '.join(columns)}",
        parties="the whole spec (parameters, purpose, everybody's columns) and the terms of every grant in it; no row",
        public="the accounts, the ids of datasets and grants, the proof kind, the deadlines and every state; workload, purpose "
        "and columns only as salted digests",
        protocol="; ".join(f"{role}: {what}" for role, what in word.security.get("learns", {}).items())
        if word
        else f"not known here: the security statement of {spec.workload} is its nodes' to give",
    )
