"""What a task would mean, before anybody agrees to it: who learns what, who must say yes, what it uses up, until when.

:func:`plan` needs the spec and the chain alone. What only nodes know, the workload's security statement, its predicted cost
and what their own admission would say, :func:`ask` asks them; without it the plan says that it is not known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from tallystick import flat_json
from tallystick.chain.connection import Chain
from tallystick.client.nodes import Nodes
from tallystick.protocol import canonical
from tallystick.protocol.errors import ContractRefused, Refused, TallystickError
from tallystick.protocol.grant import GrantTerms
from tallystick.protocol.identity import ROLES, roles_mask
from tallystick.protocol.task import TaskInput, TaskSpec, proposal_of
from tallystick.wire import node_pb2


@dataclass(frozen=True)
class NodeWord:
    """What a party's node says about a task: JSON objects as its workload gives them, and the refusal it would meet there.

    ``fault`` says why there is nothing else: the node does not answer, or cannot read the task.
    """

    account: str
    security: Mapping[str, Any]
    cost: Mapping[str, Any]
    refusal_rule: str = ""
    refusal: str = ""
    fault: str = ""


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
    """One party's part. ``reads`` of its own data, empty for a party without input."""

    party: str
    approves_as: str  # the roles that it must hold: data-provider, result-receiver, compute
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
    words: tuple[NodeWord, ...]
    obstacles: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The plan, ready for ``json``."""
        made = asdict(self)
        made["parties"] = [asdict(each) for each in self.parties]
        made["words"] = [asdict(each) for each in self.words]
        return made


def plan(
    spec: TaskSpec, chain: Chain, words: Sequence[NodeWord] = (), terms: Mapping[str, GrantTerms] = MappingProxyType({})
) -> Plan:
    """Foretell a task from its spec and the chain as it is now; with ``words``, also from what the nodes say.

    ``terms`` by their roots (``0x…``), as grant files hold them: with them, whether they permit the task is foretold too.
    """
    now = chain.now()
    obstacles: list[str] = []
    if (spec.chain_id, spec.task_ledger) != (chain.deployment.chain_id, chain.contracts["TaskLedger"].address):
        obstacles.append("the spec is for another chain or task ledger")
    if spec.accept_by <= now:
        obstacles.append("the deadline for acceptance has passed: draft the task again")
    if not _active(chain, spec.requester, ROLES["requester"]):
        obstacles.append(f"{spec.requester} is not active as a requester")
    parties = tuple(_party(spec, account, chain, now, obstacles) for account in spec.parties)
    obstacles += [problem for given in spec.inputs if (problem := _terms_obstacle(spec, given, terms.get(given.terms)))]
    obstacles += [f"the node of {each.account}: {each.refusal or each.fault}" for each in words if each.refusal or each.fault]
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
        reveals=_reveals(spec, words),
        transactions=2 + len(parties),
        words=tuple(words),
        obstacles=tuple(obstacles),
    )


def _party(spec: TaskSpec, account: str, chain: Chain, now: int, obstacles: list[str]) -> PartyPlan:
    given = spec.input_of(account)
    roles = ", ".join(spec.roles_of(account))
    active = _active(chain, account, roles_mask(spec.roles_of(account)))
    if not active:
        obstacles.append(f"{account} is not active as {roles}")
    if given is not None:
        obstacles += _dataset_obstacles(chain, given)
    used = _grant(chain, given) if given else None
    if given is not None:
        obstacles += _grant_obstacles(spec, given, used, chain, now)
    return PartyPlan(
        party=account,
        approves_as=roles,
        active=active,
        reads=given.columns if given else (),
        dataset=given.dataset if given else "",
        grant=used,
        receives=account in spec.receivers,
    )


def _active(chain: Chain, account: str, roles: int) -> bool:
    try:
        chain.participants.require_active(account, roles)
    except ContractRefused:
        return False
    return True


def _dataset_obstacles(chain: Chain, given: TaskInput) -> list[str]:
    try:
        owner = chain.datasets.require_usable(canonical.unhex32(given.dataset))
    except ContractRefused as error:
        return [f"dataset {given.dataset[:10]}… cannot be used: {error.error}"]
    return [] if owner == given.party else [f"dataset {given.dataset[:10]}… belongs to {owner}, not to {given.party}"]


def _grant(chain: Chain, given: TaskInput) -> GrantUse | None:
    found = chain.grants.account_of(canonical.unhex32(given.grant))
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
    grantee = chain.grants.account_of(canonical.unhex32(given.grant))["grantee"]
    rules = (
        (grantee != spec.requester, f"{name} was given to {grantee}, not to the requester"),
        (used.revoked, f"{name} is revoked"),
        (used.left < spec.uses, f"{name} has {used.left} uses left, and an attempt takes {spec.uses}"),
        (now < used.not_before, f"{name} is not valid yet"),
        (now > used.not_after, f"{name} has ended"),
        (
            spec.epsilon_micros > used.epsilon_micros - used.spent_micros,
            f"{name} has less of its privacy budget left than an attempt spends",
        ),
    )
    return [message for broken, message in rules if broken]


def _terms_obstacle(spec: TaskSpec, given: TaskInput, terms: GrantTerms | None) -> str:
    try:
        if terms is not None:
            terms.permits(spec, given)
    except Refused as refusal:
        return f"the terms of {given.party}: {refusal.message}"
    return ""


def _reveals(spec: TaskSpec, words: Sequence[NodeWord]) -> Reveals:
    columns = sorted({column for given in spec.inputs for column in given.columns})
    said = {json.dumps(each.security.get("learns"), sort_keys=True): each.security for each in words if each.security}
    protocol = f"not known here: the security statement of {spec.workload} is its nodes' to give"
    if len(said) == 1:
        protocol = "; ".join(f"{role}: {what}" for role, what in next(iter(said.values())).get("learns", {}).items())
    elif said:
        protocol = "the parties' nodes give different statements: they do not run the same release"
    return Reveals(
        receivers=f"the result of {spec.workload} over {', '.join(columns)}",
        parties="the whole spec (parameters, purpose, everybody's columns) and the terms of every grant in it; no row",
        public="the accounts, the ids of datasets and grants, the proof kind, the deadlines and every state; workload, purpose "
        "and columns only as salted digests",
        protocol=protocol,
    )


def ask(nodes: Nodes, spec: TaskSpec, rows: Mapping[str, int] = MappingProxyType({}), seconds: float = 20) -> tuple[NodeWord, ...]:
    """What each party's node says about the task. ``rows``: rows of the inputs by party, as far as they are known."""
    return tuple(_word(nodes, account, spec, rows, seconds) for account in spec.parties)


def _word(nodes: Nodes, account: str, spec: TaskSpec, rows: Mapping[str, int], seconds: float) -> NodeWord:
    try:
        said = nodes.call(account, "PlanTask", node_pb2.PlanRequest(spec=spec.to_bytes(), rows=rows), seconds)
    except TallystickError as error:
        return NodeWord(account, {}, {}, fault=error.message)
    return NodeWord(account, _object(said.security), _object(said.cost), said.refusal_rule, said.refusal.message)


def _object(text: str) -> dict[str, Any]:
    """A JSON object from a node; what is none says nothing."""
    try:
        value = flat_json.parse(text.encode())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
