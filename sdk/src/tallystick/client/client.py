"""One participant's hands: everything that needs both the chain and nodes."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallystick.chain.connection import Chain, Receipt
from tallystick.client.nodes import Nodes
from tallystick.protocol import canonical, typed
from tallystick.protocol.dataset import Column, DatasetDescriptor, schema_digest
from tallystick.protocol.errors import ContractRefused, Deadline, MalformedDocument, Refused, SignerLocked
from tallystick.protocol.fields import order
from tallystick.protocol.grant import Grant, GrantTerms, Salts
from tallystick.protocol.identity import Certificate, sign_p256
from tallystick.protocol.task import Security, TaskInput, TaskSpec, proposal_of
from tallystick.signing import Signer
from tallystick.wire import node_pb2

DAY = 86400


@dataclass(frozen=True)
class GrantFile:
    """A grant with its terms, as its owner hands it to the grantee."""

    grant: Grant
    terms: GrantTerms

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        terms = canonical.decode(self.terms.to_bytes(), 1 << 20)
        return canonical.encode({"grant": self.grant.to_json(), "terms": terms})

    @classmethod
    def parse(cls, data: bytes) -> GrantFile:
        """Read a grant file. Raises MalformedDocument."""
        value = canonical.decode(data, 1 << 20)
        if not isinstance(value, dict) or set(value) != {"grant", "terms"}:
            raise MalformedDocument("a grant file has the members grant and terms")
        return cls(Grant.from_json(value["grant"]), GrantTerms.parse(canonical.encode(value["terms"])))


class Client:
    """A participant with its chain connection and, for what needs them, the nodes it talks to.

    Raises SignerLocked when the connection has no signer. Not safe to use from several threads at once.
    """

    def __init__(self, chain: Chain, nodes: Nodes | None = None) -> None:
        if chain.signer is None:
            raise SignerLocked("a client acts for an account", remedy="configure a signer")
        self.chain = chain
        self.signer: Signer = chain.signer
        self._nodes = nodes

    @property
    def account(self) -> str:
        """The account that this client acts for."""
        return self.signer.address

    @property
    def nodes(self) -> Nodes:
        """The nodes. Raises SignerLocked when none are configured."""
        if self._nodes is None:
            raise SignerLocked("this needs nodes and a certificate", remedy="configure certificate, key, authority, nodes")
        return self._nodes

    # -- joining

    def enrol(self, authority: int, certificate: Certificate, subject_key: Any, authority_key: Any) -> Receipt:
        """Enrol the account with its certificate. The authority's key signs here: use it where both keys are at hand."""
        domain = self._domain("ParticipantRegistry")
        enrolment = typed.Enrolment(
            account=self.account,
            fingerprint=certificate.fingerprint,
            subject_x=certificate.subject_x,
            subject_y=certificate.subject_y,
            roles=certificate.roles_mask,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
        )
        by_authority = sign_p256(authority_key, typed.enrolment_digest(domain, enrolment))
        possession = typed.possession_digest(domain, self.account, certificate.fingerprint)
        by_subject = sign_p256(subject_key, possession)
        return self.chain.send("ParticipantRegistry", "enrol", authority, enrolment.as_tuple(), by_authority, by_subject)

    # -- data and its use

    def publish(self, name: str, path: str, columns: Sequence[Column]) -> tuple[str, DatasetDescriptor]:
        """Let the own node commit to a file below its data folder, and publish the commitment; id and descriptor."""
        declared = canonical.encode([column.to_json() for column in columns])
        request = node_pb2.AttachRequest(name=name, path=path, columns=declared)
        reply = self.nodes.call(self.account, "AttachDataset", request, 600)
        descriptor = DatasetDescriptor.parse(reply.descriptor)
        receipt = self.chain.send(
            "DatasetRegistry",
            "publish",
            descriptor.digest(),
            canonical.untext(descriptor.root),
            schema_digest(descriptor),
        )
        return canonical.hex32(receipt.event("Published")["dataset"]), descriptor

    def grant(
        self,
        dataset: str,
        grantee: str,
        *,
        purpose: str,
        algorithms: Sequence[str],
        columns: Sequence[str],
        receivers: Sequence[str],
        uses: int,
        days: int = 30,
    ) -> GrantFile:
        """Allow a use of an own dataset: signed, recorded on chain, and answered as the file to hand to the grantee."""
        now = self.chain.now()
        salts = Salts(*(canonical.hex32(secrets.token_bytes(32)) for _ in range(4)))
        terms = GrantTerms(
            dataset=dataset,
            grantee=grantee,
            purpose=purpose,
            algorithms=tuple(sorted(algorithms)),
            columns=tuple(columns),
            receivers=tuple(sorted(receivers, key=order)),
            salts=salts,
        )
        grant = Grant(
            dataset=canonical.unhex32(dataset),
            grantee=grantee,
            terms=terms.root(),
            uses=uses,
            epsilon_micros=0,
            not_before=now,
            not_after=now + days * DAY,
            salt=secrets.token_bytes(32),
        )
        digest = typed.grant_digest(self._domain("GrantLedger"), grant.id())
        self.chain.send("GrantLedger", "issue", grant.as_tuple(), self.signer.sign_digest(digest))
        return GrantFile(grant, terms)

    def revoke_grant(self, grant: Grant) -> Receipt:
        """End a grant at once."""
        return self.chain.send("GrantLedger", "revoke", grant.as_tuple())

    # -- tasks

    def draft(
        self,
        workload: str,
        parameters: Mapping[str, Any],
        grants: Mapping[str, GrantFile],
        columns: Mapping[str, Sequence[str]],
        *,
        receivers: Sequence[str],
        purpose: str,
        proof: str,
        corruptions: int = 1,
        accept_seconds: int = 600,
        run_seconds: int = 600,
        attempts: int = 2,
    ) -> TaskSpec:
        """A spec from what the requester holds: for each owner its grant file and the columns to read."""
        inputs = [
            TaskInput(
                party=owner,
                dataset=canonical.hex32(file.grant.dataset),
                grant=canonical.hex32(file.grant.id()),
                terms=canonical.hex32(file.grant.terms),
                columns=tuple(columns[owner]),
            )
            for owner, file in grants.items()
        ]
        return TaskSpec(
            chain_id=self.chain.deployment.chain_id,
            task_ledger=self.chain.deployment.contracts["TaskLedger"],
            requester=self.account,
            workload=workload,
            parameters=parameters,
            purpose=purpose,
            inputs=tuple(sorted(inputs, key=lambda part: order(part.party))),
            receivers=tuple(sorted(receivers, key=order)),
            security=Security("semi-honest", corruptions),
            proof=proof,
            accept_by=self.chain.now() + accept_seconds,
            run_seconds=run_seconds,
            attempts=attempts,
            salt=canonical.hex32(secrets.token_bytes(32)),
        )

    def submit(self, spec: TaskSpec, grants: Iterable[GrantFile]) -> str:
        """Propose a task on chain and hand its documents to every party's node; the task's id. Doing it again is harmless.

        Raises what the first node that refuses answers, after the proposal was withdrawn.
        """
        proposal = proposal_of(spec)
        try:
            self.chain.send("TaskLedger", "propose", proposal.as_tuple())
        except ContractRefused as error:
            if error.error != "TaskExists":
                raise
        documents = [file.to_bytes() for file in grants]
        request = node_pb2.SubmitTaskRequest(spec=spec.to_bytes(), grants=documents)
        try:
            for account in spec.parties:
                self.nodes.call(account, "SubmitTask", request, 120)
        except Refused:
            with contextlib.suppress(ContractRefused):
                self.chain.send("TaskLedger", "cancel", proposal.as_tuple())
            raise
        return canonical.hex32(proposal.id())

    def wait(self, task: str, seconds: float, each: Callable[[str], None] = lambda _: None) -> str:
        """Wait until the chain calls a task final; the state's name. Raises Deadline."""
        names = ("None", "Proposed", "Running", "Proved", "Failed", "Cancelled", "Expired")
        give_up = time.monotonic() + seconds
        last = ""
        while True:
            state = names[self.chain.call("TaskLedger", "taskAt", canonical.unhex32(task))["state"]]
            if state != last:
                each(state)
                last = state
            if state in names[3:]:
                return state
            if time.monotonic() > give_up:
                raise Deadline(
                    f"the task is still {state.lower()} after {seconds:g} s",
                    party=task,
                    remedy="`tally task show` says what each party did; anyone may expire it after its deadline",
                )
            time.sleep(max(0.1, self.chain.profile.poll_seconds))

    def result(self, task: str, folder: Path) -> list[Path]:
        """Fetch the result files from the own node."""
        return self.nodes.files(self.account, "GetResult", task, folder)

    def bundle(self, task: str, account: str, folder: Path) -> Path:
        """Fetch the evidence bundle from a party's node."""
        return self.nodes.files(account, "GetBundle", task, folder)[0]

    def audit(self, account: str, kind: str = "") -> list[bytes]:
        """The audit records of a node that this account may see."""
        request = node_pb2.AuditRequest(kind=kind)
        return [bytes(record.record) for record in self.nodes.stream(account, "ListAudit", request)]

    def refusals(self) -> list[bytes]:
        """The refusals on record at every configured node, as far as this account may see them."""
        return [record for account in self.nodes.accounts for record in self.audit(account, "refusal")]

    def _domain(self, contract: str) -> typed.Domain:
        return typed.Domain(contract, self.chain.deployment.chain_id, self.chain.deployment.contracts[contract])
