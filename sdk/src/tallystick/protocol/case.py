"""One bundle under verification: its documents, parsed once, and the chain's events about its task.

A lookup that another rule answers for raises :class:`Blocked`, so that one broken thing shows up under one number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tallystick.protocol import canonical, events
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.facts import BundleFacts, ChainEvidence, ChainFacts
from tallystick.protocol.grant import Grant, GrantTerms
from tallystick.protocol.identity import Certificate
from tallystick.protocol.proof.attested import Appraisal
from tallystick.protocol.proof.kind import ProofKind
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.subject import Subject, result_of, subject_of
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import Proposal, TaskSpec
from tallystick.protocol.typed import Domain, Result

GRANTS_LIMIT = 1 << 20


class Blocked(Exception):  # noqa: N818 - not an error: another rule reports it
    """A rule cannot be decided: ``str()`` says why. Its verdict is `skipped`."""


@dataclass(frozen=True)
class Case:
    """The parsed bundle. Accounts map to their certificates, roots to their terms, grant ids to their grants."""

    spec: TaskSpec
    spec_bytes: bytes
    terms: Mapping[str, GrantTerms]
    grants: Mapping[str, Grant]
    certificates: Mapping[str, Certificate]
    authority: Certificate
    envelope: Envelope
    statement: Statement
    proof: bytes
    facts: ChainFacts
    contracts: Mapping[str, str] | None = None
    result_file: bytes | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    aggregate: Iterable[bytes] | None = None
    appraisal: Appraisal | None = None
    at: int | None = None

    @classmethod
    def parse(
        cls,
        bundle: Bundle,
        *,
        trusted: ChainFacts | None,
        trusted_blocks: Collection[bytes],
        contracts: Mapping[str, str] | None,
        result_file: bytes | None,
        files: Mapping[str, str],
        aggregate: Iterable[bytes] | None,
        appraisal: Appraisal | None,
        at: int | None,
    ) -> Case:
        """Parse every document. Raises :class:`MalformedDocument`; the message begins with the file's name."""
        envelope = _named("statement.dsse.json", Envelope.parse, bundle.statement)
        terms = [_named(f"terms/{name}", GrantTerms.parse, data) for name, data in bundle.terms.items()]
        certificates = [_named(f"certificates/{name}", Certificate.parse, data) for name, data in bundle.certificates.items()]
        by_account = {certificate.account: certificate for certificate in certificates}
        if len(by_account) != len(certificates):
            raise MalformedDocument("certificates: two for one account")
        # The bundle's own evidence must parse even where better facts are at hand.
        evidence = BundleFacts(_named("chain.json", ChainEvidence.parse, bundle.chain), trusted_blocks)
        return cls(
            spec=_named("spec.json", TaskSpec.parse, bundle.spec),
            spec_bytes=bundle.spec,
            terms={canonical.hex32(each.root()): each for each in terms},
            grants=_named("grants.json", parse_grants, bundle.grants),
            certificates=by_account,
            authority=_named("authority.pem", Certificate.parse, bundle.authority),
            envelope=envelope,
            statement=_named("statement.dsse.json", Statement.parse, envelope.payload),
            proof=bundle.proof,
            facts=trusted or evidence,
            contracts=contracts,
            result_file=result_file,
            files=files,
            aggregate=aggregate,
            appraisal=appraisal,
            at=at,
        )

    @property
    def task(self) -> bytes:
        """The task's id, as the statement names it."""
        return canonical.unhex32(self.statement.task)

    @cached_property
    def proposed(self) -> events.Event | None:
        """The chain's event of the proposal, if there is one."""
        found = events.find(self.facts, events.PROPOSED, task=self.task)
        return found[0] if found else None

    @property
    def proposal(self) -> Proposal:
        """The proposal on chain. Raises :class:`Blocked`."""
        if self.proposed is None:
            raise Blocked("no proposal on chain (rule 3)")
        proposal: Proposal = self.proposed["proposal"]
        return proposal

    @cached_property
    def started(self) -> events.Event | None:
        """The chain's event that started this attempt, if there is one."""
        found = events.find(self.facts, events.STARTED, task=self.task)
        return next((each for each in found if each["attempt"] == self.statement.attempt), None)

    @property
    def start(self) -> events.Event:
        """As :attr:`started`. Raises :class:`Blocked`."""
        if self.started is None:
            raise Blocked("no start of this attempt on chain (rule 10)")
        return self.started

    @cached_property
    def proved(self) -> events.Event | None:
        """The chain's event of the accepted proof, if there is one."""
        found = events.find(self.facts, events.RESULT_PROVED, task=self.task)
        return found[0] if found else None

    def before_start(self, kind: events.EventType, **indexed: Any) -> list[events.Event]:
        """The events of this type before the attempt started."""
        limit = self.start.position
        return [each for each in events.find(self.facts, kind, **indexed) if each.position < limit]

    @property
    def kind(self) -> ProofKind:
        """The kind of proof that the statement names."""
        return KINDS[self.statement.proof]

    @property
    def subject(self) -> Subject:
        """What the proof is about. Raises :class:`MalformedDocument` when a commitment is none of its kind."""
        for each in self.statement.inputs:
            self.kind.check_commitment(each.commitment)
        return subject_of(self.statement, self.spec.parties)

    @property
    def proved_subject(self) -> Subject:
        """As :attr:`subject`, for other rules than the one that reports malformed commitments. Raises :class:`Blocked`."""
        try:
            return self.subject
        except MalformedDocument:
            raise Blocked("a commitment is malformed (rule 15)") from None

    @property
    def present(self) -> tuple[str, ...]:
        """The parties that the statement does not name absent."""
        return tuple(party for party in self.spec.parties if party not in self.statement.absent)

    def result(self) -> Result:
        """The on-chain ``Result`` that the envelope's signatures are over."""
        return result_of(self.statement)

    def domain(self, contract: str) -> Domain:
        """The EIP-712 domain of a contract on this chain."""
        return Domain(contract, self.facts.chain_id, self.facts.contracts[contract])


def parse_grants(data: bytes) -> dict[str, Grant]:
    """Read ``grants.json``: a canonical list of grants, by id. Raises :class:`MalformedDocument`."""
    value = canonical.decode(data, GRANTS_LIMIT)
    if not isinstance(value, list) or not 1 <= len(value) <= 16:
        raise MalformedDocument("grants: not a list of 1 to 16 grants")
    grants = [Grant.from_json(each, f"grants[{index}]") for index, each in enumerate(value)]
    return {canonical.hex32(grant.id()): grant for grant in grants}


def grants_bytes(grants: Collection[Grant]) -> bytes:
    """The canonical bytes of ``grants.json``."""
    return canonical.encode([grant.to_json() for grant in grants])


def _named(name: str, parse: Any, data: bytes) -> Any:
    try:
        return parse(data)
    except MalformedDocument as error:
        raise MalformedDocument(f"{name}: {error.message}", party=error.party, remedy=error.remedy) from None
