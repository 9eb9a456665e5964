"""What is to be computed (the task spec), and the proposal that stands for it on chain."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from types import MappingProxyType
from typing import Any

from tallystick.ethereum import keccak
from tallystick.protocol import canonical, typed
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import MAX_SECONDS, Fields, order

TYPE = "tallystick.task/1"
LIMIT = 1 << 20
MAX_PARTIES = 16
MAX_ATTEMPTS = 16
MAX_COLUMNS = 4096
SIGNED_BY_ALL = "signed-by-all"
SUM_VERIFIED = "sum-verified"
SUM_IN_RANGE = "sum-in-range"
PROJECTION_VERIFIED = "projection-verified"
VECTOR_SUM_VERIFIED = "vector-sum-verified"
GROTH16 = "groth16"  # also the object in such a task's parameters that names the key
ATTESTED_HARDWARE = "attested-hardware"
ATTESTED_SIMULATED = "attested-simulated"
ATTESTED_QUORUM = "attested-hardware-quorum"
ENCLAVE = "enclave"  # the object in an attested task's parameters that names its algorithm and the enclaves that count
SECURE = "secure"  # the method of an aggregation that shows nothing but sums, and proves them
PROJECTION_ABSENT = ("projection-verified-absent-1", "projection-verified-absent-2", "projection-verified-absent-3")
"""The kinds for tasks that end without some of their parties: place k has the kind for at most k + 1 of them."""
ATTESTED = (ATTESTED_HARDWARE, ATTESTED_SIMULATED, ATTESTED_QUORUM)
"""The kinds for tasks that an enclave computes."""
SUMS = (SUM_VERIFIED, SUM_IN_RANGE, PROJECTION_VERIFIED, *PROJECTION_ABSENT, VECTOR_SUM_VERIFIED)
"""The kinds for results that are sums of what the parties committed to."""
PROOFS = (SIGNED_BY_ALL, *SUMS, GROTH16, *ATTESTED)
ADVERSARIES = ("semi-honest", "malicious-with-abort", "malicious-with-identifiable-abort")
ZERO32 = bytes(32)
EPSILON = re.compile(r"(0|[1-9][0-9]{0,12})(\.[0-9]{1,15})?")


@dataclass(frozen=True)
class TaskInput:
    """One party's data in a task: ``dataset``, ``grant`` and ``terms`` (the terms root) are ``0x…`` ids."""

    party: str
    dataset: str
    grant: str
    terms: str
    columns: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The input as it stands in the spec."""
        return {
            "party": self.party,
            "dataset": self.dataset,
            "grant": self.grant,
            "terms": self.terms,
            "columns": list(self.columns),
        }

    @classmethod
    def from_json(cls, value: Any, where: str = "input") -> TaskInput:
        """Read an input strictly."""
        fields = Fields(value, ("party", "dataset", "grant", "terms", "columns"), where)
        return cls(
            party=fields.address("party"),
            dataset=fields.hex32("dataset"),
            grant=fields.hex32("grant"),
            terms=fields.hex32("terms"),
            columns=fields.names("columns", 1, MAX_COLUMNS),
        )


@dataclass(frozen=True)
class Security:
    """The security that the requester asks for: the adversary, and how many parties may collude."""

    adversary: str
    corruptions: int

    def to_json(self) -> dict[str, Any]:
        """The demand as it stands in the spec."""
        return {"adversary": self.adversary, "corruptions": self.corruptions}

    @classmethod
    def from_json(cls, value: Any, where: str = "security") -> Security:
        """Read a demand strictly."""
        fields = Fields(value, ("adversary", "corruptions"), where)
        return cls(fields.choice("adversary", ADVERSARIES), fields.integer("corruptions", 0, MAX_PARTIES))


@dataclass(frozen=True)
class TaskSpec:
    """A task, completely: what every party authorises. ``accept_by`` in seconds since 1970, ``run_seconds`` per
    attempt.

    ``parameters`` belong to the workload; the workload checks them, here they are only canonical JSON. ``salt`` is 32
    random bytes, ``0x…``: it keeps two equal tasks apart, and the spec's digest on chain from being guessed. ``compute``
    are the parties that compute on what the owners share among them, for a workload that has such; they may own and
    receive too, or neither.
    """

    chain_id: int
    task_ledger: str
    requester: str
    workload: str
    parameters: Mapping[str, Any]
    purpose: str
    inputs: tuple[TaskInput, ...]
    receivers: tuple[str, ...]
    compute: tuple[str, ...]
    security: Security
    proof: str
    accept_by: int
    run_seconds: int
    attempts: int
    salt: str

    def to_bytes(self) -> bytes:
        """The canonical bytes; they parse, so a spec that breaks a rule raises :class:`MalformedDocument` here."""
        data = canonical.encode(
            {
                "type": TYPE,
                "chain_id": self.chain_id,
                "task_ledger": self.task_ledger,
                "requester": self.requester,
                "workload": self.workload,
                "parameters": self.parameters,
                "purpose": self.purpose,
                "inputs": [each.to_json() for each in self.inputs],
                "receivers": list(self.receivers),
                "compute": list(self.compute),
                "security": self.security.to_json(),
                "proof": self.proof,
                "accept_by": self.accept_by,
                "run_seconds": self.run_seconds,
                "attempts": self.attempts,
                "salt": self.salt,
            }
        )
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> TaskSpec:
        """Read a spec strictly. Raises :class:`MalformedDocument`."""
        keys = (
            "type", "chain_id", "task_ledger", "requester", "workload", "parameters", "purpose", "inputs", "receivers",
            "compute", "security", "proof", "accept_by", "run_seconds", "attempts", "salt",
        )  # fmt: skip
        fields = Fields(canonical.decode(data, LIMIT), keys, "task")
        fields.constant("type", TYPE)
        inputs = fields.items("inputs", 1, MAX_PARTIES, TaskInput.from_json)
        if any(order(a.party) >= order(b.party) for a, b in itertools.pairwise(inputs)):
            raise MalformedDocument("task.inputs: must be strictly ascending by the party's number, one for each party")
        spec = cls(
            chain_id=fields.integer("chain_id", 1, canonical.MAX_INTEGER),
            task_ledger=fields.address("task_ledger"),
            requester=fields.address("requester"),
            workload=fields.string("workload", 64),
            parameters=MappingProxyType(fields.object("parameters")),
            purpose=fields.string("purpose", 256),
            inputs=inputs,
            receivers=fields.accounts("receivers", 1, MAX_PARTIES),
            compute=fields.accounts("compute", 0, MAX_PARTIES),
            security=Security.from_json(fields.object("security"), "task.security"),
            proof=fields.choice("proof", PROOFS),
            accept_by=fields.seconds("accept_by"),
            run_seconds=fields.integer("run_seconds", 1, 2**32 - 1),
            attempts=fields.integer("attempts", 1, MAX_ATTEMPTS),
            salt=fields.hex32("salt"),
        )
        if len(spec.parties) > MAX_PARTIES:
            raise MalformedDocument(f"task: {len(spec.parties)} parties, more than {MAX_PARTIES}")
        _epsilon_micros(spec.parameters)
        _uses(spec.parameters)
        return spec

    def digest(self) -> bytes:
        """The spec's digest, ``spec`` on chain."""
        return canonical.digest("task", self.to_bytes())

    @property
    def parties(self) -> tuple[str, ...]:
        """Input parties, receivers and computing parties, each once, ascending by the account's number: the proposal's order."""
        return tuple(sorted({each.party for each in self.inputs} | {*self.receivers, *self.compute}, key=order))

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The names by which a grant may allow this task: the workload's, which allows all its tasks but those whose parameters
        hold an ``aggregation`` with a ``method`` other than ``secure``, which ``<workload>:<method>`` allows alone; where they hold
        ``privacy``, so that the task is debited, ``<workload>:private``; where they hold the ``model`` of an earlier ``task``,
        ``<workload>:<that task>``, which allows this model alone; where they hold a ``plan``,
        ``<workload>:sha256:<digest of the plan>``, which allows this plan alone; and where they hold an ``enclave``,
        ``<workload>:<its algorithm>``, which allows the code with this digest alone. A task whose parameters hold ``labels``, which
        are single rows of an owner, is allowed by ``<workload>:labels`` alone."""
        if self.parameters.get("labels") is not None:
            return (f"{self.workload}:labels",)
        plan, model, method = self.parameters.get("plan"), self.parameters.get("model"), self.aggregation
        names = [self.workload if method in ("", SECURE) else f"{self.workload}:{method}"]
        enclave = self.parameters.get("enclave")
        if self.parameters.get("privacy") is not None:
            names.append(f"{self.workload}:private")
        if isinstance(model, Mapping) and isinstance(model.get("task"), str):
            names.append(f"{self.workload}:{model['task']}")
        if isinstance(enclave, Mapping) and isinstance(enclave.get("algorithm"), str):
            names.append(f"{self.workload}:{enclave['algorithm']}")
        if plan is not None:
            names.append(f"{self.workload}:{canonical.text(canonical.digest('plan', canonical.encode(plan)))}")
        return tuple(names)

    @property
    def attestation(self) -> str:
        """What every record says of a task in an enclave, ``attested, simulated`` or ``attested, hardware``; empty where it is in
        none."""
        given = self.parameters.get("attestation")
        family = given.get("family") if isinstance(given, Mapping) else None
        return f"attested, {family}" if isinstance(family, str) else ""

    @property
    def aggregation(self) -> str:
        """The method by which the parties of this task add up what they say, where the parameters hold an ``aggregation``; else
        the empty text."""
        aggregation = self.parameters.get("aggregation")
        method = aggregation.get("method") if isinstance(aggregation, Mapping) else ""
        return method if isinstance(method, str) else ""

    @property
    def epsilon_micros(self) -> int:
        """What the grant of every input is debited for an attempt, in millionths of epsilon: where the parameters hold ``privacy``,
        its ``epsilon``, rounded up; else 0."""
        return _epsilon_micros(self.parameters)

    @property
    def uses(self) -> int:
        """How many uses of every input's grant an attempt takes: where the parameters hold ``lookups``, that number; else 1."""
        return _uses(self.parameters)

    @property
    def may_be_absent(self) -> tuple[str, ...]:
        """The parties without whom the task may end, of whom at most :func:`tolerated` are absent: owners who neither receive nor
        compute nor proposed the task. None, where the kind of proof tolerates no absence."""
        if not tolerated(self.proof):
            return ()
        needed = {self.requester, *self.receivers, *self.compute}
        return tuple(each.party for each in self.inputs if each.party not in needed)

    def roles_of(self, party: str) -> tuple[str, ...]:
        """The roles that ``party`` must hold on chain for its part in the task."""
        own = ["data-provider"] if self.input_of(party) else ["result-receiver"] if party in self.receivers else []
        return (*own, "compute") if party in self.compute else tuple(own)

    def input_of(self, party: str) -> TaskInput | None:
        """The input of ``party``, or None when it only receives or takes no part."""
        return next((each for each in self.inputs if each.party == party), None)


def tolerated(proof: str) -> int:
    """How many parties may be absent from a result of this kind of proof."""
    return PROJECTION_ABSENT.index(proof) + 1 if proof in PROJECTION_ABSENT else 0


def _epsilon_micros(parameters: Mapping[str, Any]) -> int:
    privacy = parameters.get("privacy")
    if privacy is None:
        return 0
    text = privacy.get("epsilon") if isinstance(privacy, dict) else None
    if not isinstance(text, str) or not EPSILON.fullmatch(text):
        raise MalformedDocument(
            "task.parameters.privacy: must be null or hold an epsilon, a decimal text of at most 13 digits before the point and 15 "
            "after it: every input's grant is debited it"
        )
    return int((Decimal(text) * 1_000_000).to_integral_value(ROUND_CEILING))


def _uses(parameters: Mapping[str, Any]) -> int:
    lookups = parameters.get("lookups", 1)
    if type(lookups) is not int or not 1 <= lookups < 2**32:
        raise MalformedDocument("task.parameters.lookups: must be from 1 to 2^32 - 1: every input's grant is debited as many uses")
    return lookups


@dataclass(frozen=True)
class Party:
    """One party's part in a proposal, and what an attempt debits its grant (``Types.sol``). All but the account is zero for a party
    without input; with one, ``uses`` is at least 1."""

    account: str
    dataset: bytes = ZERO32
    grant: bytes = ZERO32
    epsilon_micros: int = 0
    uses: int = 0

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct in ABI order."""
        return (self.account, self.dataset, self.grant, self.epsilon_micros, self.uses)

    def hash(self) -> bytes:
        """The EIP-712 struct hash."""
        kinds = ("address", "bytes32", "bytes32", "uint64", "uint32")
        return typed.struct_hash(typed.PARTY_TYPE, kinds, self.as_tuple())


@dataclass(frozen=True)
class Proposal:
    """A task as proposed on chain (``Types.sol``). Its id is its EIP-712 struct hash."""

    requester: str
    spec: bytes
    parties: tuple[Party, ...]
    proof_kind: bytes
    accept_by: int
    run_seconds: int
    attempts: int
    salt: bytes = field(default=ZERO32)

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct in ABI order, with the parties nested."""
        parties = [party.as_tuple() for party in self.parties]
        return (
            self.requester, self.spec, parties, self.proof_kind, self.accept_by, self.run_seconds, self.attempts,
            self.salt
        )  # fmt: skip

    def id(self) -> bytes:
        """The task's id."""
        return task_id(self)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The parties' accounts, in order."""
        return tuple(party.account for party in self.parties)


def proposal_of(spec: TaskSpec) -> Proposal:
    """The proposal that stands for ``spec`` on chain: a function of the spec alone, so that all parties derive the same."""
    parties = []
    for account in spec.parties:
        given = spec.input_of(account)
        if given is None:
            parties.append(Party(account))
        else:
            dataset, grant = canonical.unhex32(given.dataset), canonical.unhex32(given.grant)
            parties.append(Party(account, dataset, grant, spec.epsilon_micros, spec.uses))
    return Proposal(
        requester=spec.requester,
        spec=spec.digest(),
        parties=tuple(parties),
        proof_kind=typed.proof_kind(spec.proof),
        accept_by=min(spec.accept_by, MAX_SECONDS),
        run_seconds=spec.run_seconds,
        attempts=spec.attempts,
        salt=canonical.unhex32(spec.salt),
    )


def task_id(proposal: Proposal) -> bytes:
    """The EIP-712 struct hash of the proposal, as ``TaskLedger.taskId`` computes it."""
    parties = keccak(b"".join(party.hash() for party in proposal.parties))
    kinds = ("address", "bytes32", "bytes32", "bytes4", "uint40", "uint32", "uint8", "bytes32")
    values = (
        proposal.requester, proposal.spec, parties, proposal.proof_kind,
        proposal.accept_by, proposal.run_seconds, proposal.attempts, proposal.salt,
    )  # fmt: skip
    return typed.struct_hash(typed.PROPOSAL_TYPE, kinds, values)
