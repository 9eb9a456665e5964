"""The admission rules, in order. The first that fails refuses; its name is what the refusal's record holds.

 1 chain           the spec is for this chain and ledger
 2 workload        this node runs the workload and the workload accepts the spec
 3 parties         at most as many parties as the policy allows; this account is one of them; who computes on an owner's
                   data owns or receives in the task, or is named by the owner's policy
 4 proof           the workload can give the proof kind that the spec asks for
 5 security        the workload's security statement meets the spec's demand and this node's; a simulated authority whose evidence
                   the task accepts, and each environment of hardware that no list on chain is asked about, is one that the policy
                   names; its policy for hardware accepts no more than this node's floor; verifiers that are to vouch for that are
                   as many as the chain asks for, named and active, and the environments allowed, and what they say holds by that
                   policy until it is on chain
 6 requester       active on chain, as a requester
 7 participants    every party is active on chain, in the roles that its part in the task needs
 8 dataset         this party's dataset is attached here, usable on chain, its file unchanged and its root the registered one
 9 terms           the grant's terms are known and open the grant on chain
10 grant-...       the terms permit the task (grantee, purpose, algorithm, columns, receivers)
11 grant-state     the grant is on chain, valid now, not revoked, and has the uses left that an attempt takes
12 privacy-budget  the task's proposal debits what the run spends of epsilon, and the grant has as much left
13 earlier-result  this party has the results of earlier tasks that the run reads, as their statements bind them
14 minimum-group   the task's minimum group is at least this node's
15 lookup-rate     the requester has as many lookups in this party's data left of those that the policy allows a day
16 differencing    this party's dataset was compared with data of each other owner less often than the policy allows a day
17 run-time        the run is long enough to compute, and to say in time on this chain when it stalls
18 agreement       what was agreed about the task pays this party what it asks, has the others stake what it asks, and asks no
                   larger bond of it than the policy lets it stake, unless its operator did
19 algorithm-review  code that runs over this party's data in an enclave is of the kind that it was registered as, if it was, has
                   the approvals that the policy asks for, and nobody whom the policy names rejects it
"""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from tallystick.chain.connection import Chain
from tallystick.protocol import canonical
from tallystick.protocol.dataset import DatasetDescriptor
from tallystick.protocol.errors import ContractRefused, InvalidData, InvalidTask, Refused
from tallystick.protocol.grant import GrantTerms
from tallystick.protocol.identity import ROLES, roles_mask
from tallystick.protocol.task import ADVERSARIES, ATTESTED_QUORUM, TaskInput, TaskSpec

from tallystick_node.admission.agreements import Agreements, require_terms
from tallystick_node.admission.evidence import require_floor, require_quorum, require_time_to_vouch
from tallystick_node.admission.reviews import require_reviews
from tallystick_node.data.attach import require_unchanged
from tallystick_node.evidence.earlier import require_result
from tallystick_node.settings import Policy
from tallystick_node.store.database import RunRecord, Store
from tallystick_node.workloads.base import Workload
from tallystick_node.workloads.registry import workload_named

DAY = 86_400  # seconds
NOT_BEGUN = ("received", "refused", "cancelled")  # states of runs whose last attempt reads nothing: none is cancelled once it runs


class Gate:
    """The admission of tasks at one node."""

    def __init__(self, account: str, chain: Chain, store: Store, policy: Policy, results: Path) -> None:
        self._account = account
        self._chain = chain
        self._store = store
        self._policy = policy
        self._results = results
        self._agreements = Agreements(chain, store)

    def check(self, spec: TaskSpec) -> None:
        """Raise Refused by the first rule that fails."""
        self._chain_rule(spec)
        workload = self._workload_rule(spec)
        self._parties_rule(spec)
        self._promise_rules(spec, workload)
        self._enclave_rule(spec, workload)
        self._participant_rules(spec)
        part = spec.input_of(self._account)
        if part is not None:
            self._dataset_rule(part)
            self._terms_rule(spec, part)
            self._grant_rule(spec, part)
            self._budget_rule(spec, part, workload)
            self._earlier_rule(spec, workload)
        self._minimum_rule(spec)
        self._rate_rule(spec, workload)
        self._differencing_rule(spec, workload)
        self._time_rule(spec)
        require_terms(self._agreements.of(spec), spec, self._account, self._policy)
        if part is not None and workload.enclave(spec) is not None:
            require_reviews(spec, self._chain, self._policy)

    def _chain_rule(self, spec: TaskSpec) -> None:
        deployment = self._chain.deployment
        if (spec.chain_id, spec.task_ledger) != (deployment.chain_id, deployment.contracts["TaskLedger"]):
            raise Refused(
                "the spec is for another chain or task ledger",
                rule="chain",
                party=spec.requester,
                remedy="make the spec for this consortium's deployment",
            )

    def _workload_rule(self, spec: TaskSpec) -> Workload:
        if spec.workload not in self._policy.workloads:
            raise Refused(
                f"this node does not run the workload {spec.workload!r}",
                rule="workload",
                party=spec.requester,
                remedy="ask its operator, or choose another workload",
            )
        try:
            workload = workload_named(spec.workload)
            workload.check(spec)
        except InvalidTask as error:
            raise Refused(error.message, rule="workload", party=spec.requester, remedy=error.remedy) from None
        return workload

    def _parties_rule(self, spec: TaskSpec) -> None:
        if self._account not in spec.parties or len(spec.parties) > self._policy.max_parties:
            raise Refused(
                "this account is no party of the task, or the task has more parties than this node allows",
                rule="parties",
                party=spec.requester,
                remedy="name the right accounts",
            )
        if spec.input_of(self._account) is None:
            return
        allowed = {*(part.party for part in spec.inputs), *spec.receivers, *self._policy.compute}
        stranger = next((account for account in spec.compute if account not in allowed), None)
        if stranger is not None:
            raise Refused(
                f"this owner does not let {stranger} compute on its data: it neither owns nor receives in the task",
                rule="parties",
                party=stranger,
                remedy="let owners and receivers of the task compute, or have every owner name the account in its "
                "node's setting policy.compute",
            )

    def _promise_rules(self, spec: TaskSpec, workload: Workload) -> None:
        if spec.proof not in workload.proofs:
            raise Refused(
                f"{workload.name} cannot give a proof {spec.proof}",
                rule="proof",
                party=spec.requester,
                remedy=f"ask for one of {', '.join(workload.proofs)}",
            )
        given = workload.security(spec)
        weaker = ADVERSARIES.index(given.adversary) < ADVERSARIES.index(spec.security.adversary)
        if weaker or given.corruptions < spec.security.corruptions:
            raise Refused(
                f"{workload.name} withstands {given.corruptions} {given.adversary} parties, less than the task demands",
                rule="security",
                party=spec.requester,
                remedy="lower the demand, or choose another workload",
            )
        if ADVERSARIES.index(given.adversary) < ADVERSARIES.index(self._policy.adversary):
            raise Refused(
                f"this node takes part only in what withstands {self._policy.adversary} parties",
                rule="security",
                party=spec.requester,
                remedy="choose a protocol with a stronger security statement",
            )

    def _enclave_rule(self, spec: TaskSpec, workload: Workload) -> None:
        enclosed = workload.enclave(spec)
        if enclosed is None:
            return
        for identity in map(canonical.text, enclosed.environments):
            if identity not in self._policy.environments:
                raise Refused(
                    f"this node accepts no evidence of the environment {identity}",
                    rule="security",
                    party=spec.requester,
                    remedy="have its operator name the environment in the setting policy.environments once its image was examined: "
                    "it decides what happens to the data; or ask for the proof attested-hardware: then the chain's list counts",
                )
        if enclosed.appraisal is not None:
            require_floor(enclosed.appraisal, self._policy.appraisal, spec.requester)
            if spec.proof == ATTESTED_QUORUM:
                require_time_to_vouch(spec, enclosed.appraisal, self._chain)
        if spec.proof == ATTESTED_QUORUM:
            require_quorum(spec, self._chain)
        if enclosed.authority is None:
            return
        authority = canonical.hex32(enclosed.authority)
        if authority not in self._policy.simulations:
            raise Refused(
                f"this node accepts no evidence of the simulated authority {authority}",
                rule="security",
                party=spec.requester,
                remedy="have its operator name the authority in the setting policy.simulations: its enclaves are simulated, and "
                "protect nothing from whoever administers the host's machine",
            )

    def _participant_rules(self, spec: TaskSpec) -> None:
        self._active(spec.requester, ROLES["requester"], "requester")
        for account in spec.parties:
            self._active(account, roles_mask(spec.roles_of(account)), "participants")

    def _active(self, account: str, role: int, rule: str) -> None:
        try:
            self._chain.participants.require_active(account, role)
        except ContractRefused as error:
            raise Refused(error.message, rule=rule, party=account, remedy=error.remedy) from None

    def _dataset_rule(self, part: TaskInput) -> None:
        dataset = canonical.unhex32(part.dataset)
        try:
            self._chain.datasets.require_usable(dataset)
        except ContractRefused as error:
            raise Refused(error.message, rule="dataset", party=self._account, remedy=error.remedy) from None
        registered = self._chain.datasets.dataset_at(dataset)
        row = self._store.dataset(registered["descriptor"])
        if row is None:
            raise Refused(
                "no data file is attached for the dataset as it was published last",
                rule="dataset",
                party=self._account,
                remedy="attach the file at this node and publish what it answers",
            )
        if canonical.text(registered["rows"]) != DatasetDescriptor.parse(row.descriptor).root:
            raise Refused("the rows on chain are not those of the dataset's descriptor", rule="dataset", party=self._account)
        try:
            require_unchanged(row)
        except InvalidData as error:
            raise Refused(error.message, rule="dataset", party=self._account, remedy=error.remedy) from None

    def _terms_rule(self, spec: TaskSpec, part: TaskInput) -> None:
        document = self._store.document(canonical.unhex32(part.terms))
        if document is None:
            raise Refused(
                "no grant terms with this root were handed over",
                rule="terms",
                party=spec.requester,
                remedy="submit the task with the grant file of its dataset",
            )
        terms = GrantTerms.parse(document)
        binding = keccak(abi_encode(["bytes32", "bytes32"], [canonical.unhex32(part.dataset), terms.root()]))
        if self._grant(part)["binding"] != binding:
            raise Refused("these terms are not those of the grant on chain", rule="terms", party=spec.requester)
        terms.permits(spec, part)
        for account, number in workload_named(spec.workload).shown_rows(spec, self._account).items():
            if account not in terms.receivers:
                raise Refused(
                    f"the task opens {number} of this party's rows in each attempt to {account}, which the grant does not "
                    "name as a receiver",
                    rule="grant.receivers",
                    party=spec.requester,
                    remedy="ask for no openings, or for a grant that names that party as a receiver",
                )

    def _grant_rule(self, spec: TaskSpec, part: TaskInput) -> None:
        grant, now = self._grant(part), self._chain.now()
        left = grant["uses"] - grant["used"]
        problems = [
            (int(grant["grantee"], 16) == 0, "there is no such grant on chain"),
            (grant["grantee"] != spec.requester, "the grant was given to another account"),
            (grant["revoked"], "the grant is revoked"),
            (not grant["notBefore"] <= now <= grant["notAfter"], "the grant is not valid now"),
            (
                left < spec.uses,
                f"an attempt takes {spec.uses} use{'s' * (spec.uses > 1)} of the grant, which has {left} left of {grant['uses']}",
            ),
        ]
        for failed, message in problems:
            if failed:
                raise Refused(message, rule="grant-state", party=spec.requester, remedy="ask the dataset's owner for a new grant")

    def _budget_rule(self, spec: TaskSpec, part: TaskInput, workload: Workload) -> None:
        debit, spent, grant = spec.epsilon_micros, workload.epsilon_micros(spec), self._grant(part)
        if debit < spent:
            raise Refused(
                f"the run spends {_epsilon(spent)} of epsilon and the proposal debits {_epsilon(debit)}",
                rule="privacy-budget",
                party=spec.requester,
                remedy="state what the run spends as the epsilon of parameters.privacy",
            )
        left = grant["epsilonMicros"] - grant["spentMicros"]
        if debit > left:
            raise Refused(
                f"the task spends {_epsilon(debit)} of epsilon and the grant has {_epsilon(left)} left of "
                f"{_epsilon(grant['epsilonMicros'])}",
                rule="privacy-budget",
                party=spec.requester,
                remedy="spend less epsilon, or ask the dataset's owner for a new grant",
            )

    def _earlier_rule(self, spec: TaskSpec, workload: Workload) -> None:
        for task in workload.earlier(spec):
            try:
                require_result(self._results, self._store, self._account, task)
            except InvalidData as error:
                raise Refused(error.message, rule="earlier-result", party=self._account, remedy=error.remedy) from None

    def _minimum_rule(self, spec: TaskSpec) -> None:
        asked = spec.parameters.get("minimum_group")
        if spec.input_of(self._account) is not None and (type(asked) is not int or asked < self._policy.minimum_group):
            raise Refused(
                f"this node releases nothing about fewer than {self._policy.minimum_group} rows",
                rule="minimum-group",
                party=spec.requester,
                remedy=f"set minimum_group to at least {self._policy.minimum_group}",
            )

    def _rate_rule(self, spec: TaskSpec, workload: Workload) -> None:
        asked = workload.lookups(spec, self._account)
        if not asked:
            return
        used = sum(
            attempts * workload.lookups(other, self._account)
            for attempts, other in self._begun()
            if (other.requester, other.workload) == (spec.requester, spec.workload)
        )
        if used + asked > self._policy.lookups_per_day:
            raise Refused(
                f"with these {asked} lookups and {used} before the requester passes what this node allows in 24 hours, "
                f"{self._policy.lookups_per_day}",
                rule="lookup-rate",
                party=spec.requester,
                remedy="ask for fewer, or later",
            )

    def _differencing_rule(self, spec: TaskSpec, workload: Workload) -> None:
        own = spec.input_of(self._account)
        others = workload.compared(spec, self._account)
        if own is None or not others:
            return
        before = [
            (attempts, set(workload_named(other.workload).compared(other, self._account)))
            for attempts, other in self._begun()
            if attempts and any((part.party, part.dataset) == (own.party, own.dataset) for part in other.inputs)
        ]
        for account in others:
            used = sum(attempts for attempts, compared in before if account in compared)
            if used >= self._policy.intersections_per_day:
                raise Refused(
                    f"this party's dataset was compared with data of {account} {used} times in 24 hours, as often as this node "
                    "allows: answers to questions that differ in few rows tell of those rows",
                    rule="differencing",
                    party=account,
                    remedy="ask later",
                )

    def _begun(self) -> list[tuple[int, TaskSpec]]:
        """The tasks that moved within a day or still run, each with the number of its attempts that may have read data."""
        return [(self._attempts(run), TaskSpec.parse(run.spec)) for run in self._store.runs_since(time.time() - DAY)]

    def _attempts(self, run: RunRecord) -> int:
        if run.state == "expired":  # of a task that none started, or of one that ran: only what was kept tells
            return self._store.begun(run.task)
        return run.attempt - (run.state in NOT_BEGUN)

    def _time_rule(self, spec: TaskSpec) -> None:
        margin = self._chain.profile.reporting_seconds
        if spec.run_seconds < 2 * margin:
            raise Refused(
                f"the run has {spec.run_seconds} s, of which nodes need the last {margin} s to report on chain that it stalls",
                rule="run-time",
                party=spec.requester,
                remedy=f"set run_seconds to at least {2 * margin}",
            )

    def _grant(self, part: TaskInput) -> dict[str, Any]:
        return dict(self._chain.grants.account_of(canonical.unhex32(part.grant)))


def _epsilon(micros: int) -> str:
    return f"{Decimal(micros) / 1_000_000:f}"
