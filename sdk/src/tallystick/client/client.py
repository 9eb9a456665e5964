"""One participant's hands: everything that needs both the chain and nodes."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tallystick.chain.connection import Chain, Receipt
from tallystick.client import audit, follow
from tallystick.client.grant_file import GrantFile
from tallystick.client.nodes import Nodes
from tallystick.protocol import canonical, typed
from tallystick.protocol.dataset import Column, DatasetDescriptor, schema_digest
from tallystick.protocol.errors import ContractRefused, PeerFailed, Refused, SignerLocked
from tallystick.protocol.fields import order
from tallystick.protocol.grant import Grant, GrantTerms, Salts
from tallystick.protocol.identity import Certificate, sign_p256
from tallystick.protocol.task import Security, TaskInput, TaskSpec, proposal_of
from tallystick.signing import Signer
from tallystick.wire import node_pb2

DAY = 86400


class Client:
    """A participant with its chain connection and, for what needs them, the nodes it talks to.

    Raises SignerLocked when the connection has no signer. It keeps nothing between calls, so several threads may use one.
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
        domain = self.chain.domain("ParticipantRegistry")
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
        return self.chain.participants.enrol(authority, enrolment, by_authority, by_subject)

    # -- data and its use

    def publish(self, name: str, path: str, columns: Sequence[Column]) -> tuple[str, DatasetDescriptor]:
        """Let the own node commit to a file below its data folder, and publish the commitment; id and descriptor."""
        descriptor = self.attach(name, path, columns)
        return self.record(descriptor), descriptor

    def attach(self, name: str, path: str, columns: Sequence[Column]) -> DatasetDescriptor:
        """Let the own node commit to a file below its data folder. Nothing goes on chain before :meth:`record`."""
        declared = canonical.encode([column.to_json() for column in columns])
        request = node_pb2.AttachRequest(name=name, path=path, columns=declared)
        reply = self.nodes.call(self.account, "AttachDataset", request, 600)
        return DatasetDescriptor.parse(reply.descriptor)

    def record(self, descriptor: DatasetDescriptor) -> str:
        """Publish the digests of a descriptor; the dataset's id. Nothing else of it leaves this machine."""
        digests = (descriptor.digest(), canonical.untext(descriptor.root), schema_digest(descriptor))
        receipt = self.chain.datasets.publish(*digests)
        return canonical.hex32(receipt.event("Published")["dataset"])

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
        epsilon_micros: int = 0,
    ) -> GrantFile:
        """Allow a use of an own dataset: signed, recorded on chain, and answered as the file to hand to the grantee.

        ``epsilon_micros``: the privacy budget for tasks that spend of one, in millionths of epsilon.
        """
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
            epsilon_micros=epsilon_micros,
            not_before=now,
            not_after=now + days * DAY,
            salt=secrets.token_bytes(32),
        )
        digest = typed.grant_digest(self.chain.domain("GrantLedger"), grant.id())
        self.chain.grants.issue(grant, self.signer.sign_digest(digest))
        return GrantFile(grant, terms)

    def revoke_grant(self, grant: Grant) -> Receipt:
        """End a grant at once."""
        return self.chain.grants.revoke(grant)

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
        compute: Sequence[str] = (),
        adversary: str = "semi-honest",
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
            compute=tuple(sorted(compute, key=order)),
            security=Security(adversary, corruptions),
            proof=proof,
            accept_by=follow.present(self.chain) + accept_seconds,
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
            self.chain.tasks.propose(proposal)
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
                self.chain.tasks.cancel(proposal)
            raise
        return canonical.hex32(proposal.id())

    def wait(self, task: str, seconds: float, each: Callable[[str], None] = lambda _: None) -> str:
        """Wait until a task is final, with ``each`` for every state's name; the last one. Raises Deadline.

        A failed task is waited for a little longer: the parties may begin another attempt.
        """
        told = ""

        def tell(found: follow.TaskState) -> None:
            nonlocal told
            if found.state != told:
                told = found.state
                each(told)

        return follow.wait(self.chain, task, seconds, tell).state

    def result(self, task: str, folder: Path) -> list[Path]:
        """Fetch the result files from the own node."""
        return self.nodes.files(self.account, "GetResult", task, folder)

    def bundle(self, task: str, account: str, folder: Path) -> Path:
        """Fetch the evidence bundle from a party's node."""
        found = self.nodes.files(account, "GetBundle", task, folder)
        if not found:
            raise PeerFailed("the node sent no bundle", party=account, remedy="ask another party")
        return found[0]

    def audit(self, account: str, kind: str = "") -> list[bytes]:
        """The audit records of a node that this account may see."""
        return [found.record for found in audit.listed(self.nodes, account, kind=kind)]

    def refusals(self) -> list[bytes]:
        """The refusals on record at every configured node, as far as this account may see them."""
        return [record for account in self.nodes.accounts for record in self.audit(account, "refusal")]
