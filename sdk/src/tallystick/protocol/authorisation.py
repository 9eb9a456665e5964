"""Rules 2 to 10: the task was specified, permitted, authorised and accepted, by whom the chain says, before it ran."""

from __future__ import annotations

from typing import NoReturn

from tallystick.protocol import canonical, events, task
from tallystick.protocol.case import Blocked, Case
from tallystick.protocol.errors import Refused, VerificationFailed
from tallystick.protocol.grant import Grant, GrantTerms
from tallystick.protocol.identity import Certificate, verify_chain
from tallystick.protocol.task import TaskInput


def fail(rule: int, message: str, party: str | None = None) -> NoReturn:
    """Raise the failure of a numbered rule."""
    remedy = "do not rely on this result; ask the party, or the chain, for the original"
    raise VerificationFailed(message, rule=rule, party=party, remedy=remedy)


def spec_digest(case: Case) -> str:
    """Rule 2: the digest of the spec's bytes is ``spec`` of the proposal on chain."""
    digest = canonical.digest("task", case.spec_bytes)
    if digest != case.proposal.spec:
        fail(2, "the spec is not the one that was proposed on chain")
    return canonical.text(digest)


def task_identity(case: Case) -> str:
    """Rule 3: the statement's task was proposed on this chain in this ledger, and its id is the hash of the
    proposal."""
    if case.spec.chain_id != case.facts.chain_id or case.spec.task_ledger != case.facts.contracts["TaskLedger"]:
        fail(3, "the spec is for another chain or another task ledger")
    expected = case.contracts
    if expected is not None and any(case.facts.contracts[name] != expected.get(name) for name in case.facts.contracts):
        fail(3, "the bundle is about other contracts than the deployment's")
    if case.proposed is None:
        fail(3, "the chain knows no proposal of this task")
    if case.proposal.id() != case.task:
        fail(3, "the proposal on chain does not hash to the task's id")
    return case.statement.task


def proposal_derivation(case: Case) -> str:
    """Rule 4: the proposal is the one that the spec stands for, with the debits of epsilon."""
    proposal = case.proposal
    if proposal.spec != canonical.digest("task", case.spec_bytes):
        raise Blocked("the proposal is for another spec (rule 2)")
    if task.proposal_of(case.spec) != proposal:
        fail(4, "the proposal on chain is not derived from the spec")
    return f"{len(proposal.parties)} parties"


def certificates(case: Case) -> str:
    """Rule 5: every party has a certificate that the authority issued, valid when the attempt started."""
    for party in case.spec.parties:
        verify_chain(_certificate(case, party), case.authority, case.start.log.timestamp, rule=5)
    return f"{len(case.spec.parties)} certificates by {case.authority.common_name}"


def enrolments(case: Case) -> str:
    """Rule 6: each certificate is the one enrolled on chain for its account under this authority, active at the
    start."""
    for party in case.spec.parties:
        certificate = case.certificates.get(party)
        if certificate is None:
            raise Blocked("a certificate is missing (rule 5)")
        enrolled = case.before_start(events.ENROLLED, account=party)
        if not enrolled:
            fail(6, "the account was not enrolled when the attempt started", party)
        last = enrolled[-1]
        shown = (certificate.fingerprint, certificate.subject_x, certificate.subject_y)
        if (last["fingerprint"], last["subjectX"], last["subjectY"]) != shown:
            fail(6, "the certificate is not the one enrolled on chain", party)
        if not last["notBefore"] <= case.start.log.timestamp <= last["notAfter"]:
            fail(6, "the enrolment was not valid when the attempt started", party)
        authority = case.before_start(events.AUTHORITY_ADDED, authority=last["authority"])
        key = (case.authority.subject_x, case.authority.subject_y)
        if not authority or (authority[-1]["x"], authority[-1]["y"]) != key:
            fail(6, "the chain enrolled the account under another authority", party)
        _check_active(case, party)
    return "as enrolled on chain"


def _check_active(case: Case, party: str) -> None:
    if case.before_start(events.REVOKED, account=party):
        fail(6, "the participant was revoked before the attempt started", party)
    suspended = case.before_start(events.SUSPENDED, account=party)
    reinstated = case.before_start(events.REINSTATED, account=party)
    if suspended and (not reinstated or reinstated[-1].position < suspended[-1].position):
        fail(6, "the participant was suspended when the attempt started", party)


def grants(case: Case) -> str:
    """Rule 7: each input's grant was issued on chain over that party's dataset, and the terms open to its root."""
    for given in case.spec.inputs:
        grant, terms = _grant(case, given), _terms(case, given)
        if canonical.hex32(grant.terms) != given.terms or terms.root() != grant.terms:
            fail(7, "the terms do not open the grant", given.party)
        if canonical.hex32(grant.dataset) != given.dataset:
            fail(7, "the grant is for another dataset", given.party)
        issued = case.before_start(events.GRANTED, grant=grant.id())
        if not issued:
            fail(7, "the grant was not issued on chain before the attempt started", given.party)
        published = case.before_start(events.PUBLISHED, dataset=grant.dataset)
        if not published or published[0]["owner"] != given.party:
            fail(7, "the dataset is not published by this party", given.party)
    return f"{len(case.spec.inputs)} grants, their terms opened"


def permissions(case: Case) -> str:
    """Rule 8: the terms permit this spec: grantee, purpose, algorithm, columns, receivers; and the grant was in its
    validity."""
    for given in case.spec.inputs:
        grant = _grant(case, given)
        try:
            _terms(case, given).permits(case.spec, given)
        except Refused as error:
            fail(8, f"{error.rule}: {error.message}", given.party)
        if grant.grantee != case.spec.requester:
            fail(8, "the grant on chain is for another requester", given.party)
        if not grant.not_before <= case.start.log.timestamp <= grant.not_after:
            fail(8, "the grant was not valid when the attempt started", given.party)
    return f"purpose {case.spec.purpose!r}, algorithm {case.spec.algorithms[-1]!r}"


def debits(case: Case) -> str:
    """Rule 9: each grant was debited on chain for this task and attempt, within its uses and its epsilon."""
    for given in case.spec.inputs:
        grant = _grant(case, given)
        debited = events.find(case.facts, events.DEBITED, grant=grant.id(), task=case.task)
        this = [each for each in debited if each["attempt"] == case.statement.attempt]
        if len(this) != 1:
            fail(9, f"the grant was debited {len(this)} times for this attempt", given.party)
        if this[0]["used"] > grant.uses or this[0]["spentMicros"] > grant.epsilon_micros:
            fail(9, "the grant was overdrawn", given.party)
    return f"attempt {case.statement.attempt}"


def acceptances(case: Case) -> str:
    """Rule 10: every party accepted this attempt on chain before its deadline, and it started."""
    if case.started is None:
        fail(10, "the attempt did not start on chain")
    for party in case.spec.parties:
        accepted = _accepted(case, party)
        if accepted is None:
            fail(10, "the party did not accept this attempt", party)
        if accepted.log.timestamp > case.spec.accept_by:
            fail(10, "the party accepted after the deadline", party)
    return f"started in block {case.started.log.block}"


def _accepted(case: Case, party: str) -> events.Event | None:
    found = events.find(case.facts, events.ACCEPTED, task=case.task, party=party)
    return next((each for each in found if each["attempt"] == case.statement.attempt), None)


def _certificate(case: Case, party: str) -> Certificate:
    certificate = case.certificates.get(party)
    if certificate is None:
        fail(5, "the bundle has no certificate of this party", party)
    return certificate


def _grant(case: Case, given: TaskInput) -> Grant:
    grant = case.grants.get(given.grant)
    if grant is None:
        fail(7, "the bundle has no grant with the id that the spec names", given.party)
    return grant


def _terms(case: Case, given: TaskInput) -> GrantTerms:
    terms = case.terms.get(given.terms)
    if terms is None:
        fail(7, "the bundle has no terms with the root that the spec names", given.party)
    return terms
