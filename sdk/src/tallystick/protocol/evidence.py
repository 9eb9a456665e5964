"""Rules 11 to 20: all parties signed one statement about this attempt, the chain proved it, and the file is its
output."""

from __future__ import annotations

from tallystick.protocol import canonical, events
from tallystick.protocol.authorisation import fail
from tallystick.protocol.case import Blocked, Case
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.facts import BundleFacts
from tallystick.protocol.operators import Scope
from tallystick.protocol.proof.attested import Attested
from tallystick.protocol.proof.quorum import AttestedQuorum, appraise_run
from tallystick.protocol.result import ResultFile, file_digest
from tallystick.protocol.signature import recover, verify_signature
from tallystick.protocol.task import tolerated
from tallystick.protocol.typed import proof_kind, result_digest


def statement_digest(case: Case) -> str:
    """Rule 11: SHA-256 of the statement's pre-authentication encoding is the statement that the chain proved."""
    if case.proved is None:
        raise Blocked("no proof on chain (rule 17)")
    if case.proved["statement"] != case.envelope.statement_digest:
        fail(11, "the statement is not the one that was proved on chain")
    return canonical.text(case.envelope.statement_digest)


def statement_fields(case: Case) -> str:
    """Rule 12: the statement says of spec, contracts, inputs, receivers and datasets what the spec and the chain
    say."""
    stated, spec = case.statement, case.spec
    if stated.chain_id != case.facts.chain_id or case.envelope.chain_id != case.facts.chain_id:
        fail(12, "chain_id: another chain")
    for name, address in stated.contracts.items():
        if case.facts.contracts[name] != address:
            fail(12, f"contracts.{name}: another address")
    if stated.spec != canonical.text(canonical.digest("task", case.spec_bytes)):
        fail(12, "spec: another digest")
    if (stated.workload, stated.proof, stated.security) != (spec.workload, spec.proof, spec.security):
        fail(12, "workload, proof or security: not the spec's")
    if tuple(each.receiver for each in stated.outputs) != spec.receivers:
        fail(12, "outputs: not one for each receiver")
    if not set(stated.absent) <= set(spec.may_be_absent) or len(stated.absent) > tolerated(spec.proof):
        fail(12, "absent: a party without which the task does not end, or more of them than it tolerates")
    if tuple(each.party for each in stated.code) != case.present:
        fail(12, "code: not one release for each party that is present")
    inputs = [(each.party, each.dataset, each.grant) for each in stated.inputs]
    if inputs != [(each.party, each.dataset, each.grant) for each in spec.inputs]:
        fail(12, "inputs: not the spec's")
    for each in stated.inputs:
        published = case.before_start(events.PUBLISHED, dataset=canonical.unhex32(each.dataset))
        if not published:
            raise Blocked("a dataset is not published (rule 7)")
        if canonical.text(published[-1]["rows"]) != each.rows:
            fail(12, "rows: not the commitment on chain", each.party)
    releases = sorted({each.sha256[:19] for each in stated.code})
    absent = f"; absent: {', '.join(stated.absent)}" if stated.absent else ""
    return f"workload {stated.workload!r}, code {', '.join(releases)}{absent}"


def signatures(case: Case) -> str:
    """Rule 13: every party that is not named absent, and nobody else, signed the on-chain ``Result`` that stands for the
    statement, itself or by an operator that might sign for it then."""
    if set(case.envelope.signatures) != set(case.present):
        fail(13, "the signatures are not one for each party that is present")
    digest = result_digest(case.domain("ProofRegistry"), case.result())
    operated = [party for party in case.present if _by_operator(case, party, digest)]
    for party in case.present:
        if party not in operated:
            verify_signature(party, digest, case.envelope.signatures[party], rule=13)
    words = f"{len(case.present)} parties"
    words += f", {len(operated)} of them by operators" if operated else ""
    return words + (f", {len(case.statement.absent)} absent" if case.statement.absent else "")


def _by_operator(case: Case, party: str, digest: bytes) -> bool:
    """Whether an operator signed for a party that, as the chain's events say, might do so when the result was proved."""
    signer = recover(digest, case.envelope.signatures[party])
    if signer in (None, party) or case.proved is None:
        return False
    said = events.find(case.facts, events.OPERATOR_CHANGED, account=party, operator=signer)
    before = [each for each in said if each.position < case.proved.position]
    if not before:
        return False
    last = before[-1]
    return bool(last["scopes"] & Scope.SIGN) and case.proved.log.timestamp <= last["notAfter"]


def transcript(case: Case) -> str:
    """Rule 14: the transcript has one link for each ordered pair of present parties, and its root is over these links."""
    parties = case.present
    pairs = [(a, b) for a in parties for b in parties if a != b]
    if [(link.sender, link.recipient) for link in case.statement.links] != pairs:
        fail(14, "the links are not one for each ordered pair of present parties")
    return case.statement.transcript_root


def recomputation(case: Case) -> str:
    """Rule 15: ``proof_inputs`` and ``proof_output`` are what the proof kind makes of the statement's inputs and
    outputs, and of the proof bytes where they are bound by it."""
    stated = case.statement
    try:
        subject = case.subject
        inputs = case.kind.inputs(subject)
    except MalformedDocument as error:
        fail(15, error.message)
    if canonical.hex32(inputs) != stated.proof_inputs:
        fail(15, "proof_inputs: not over the statement's inputs")
    try:
        output = case.kind.output(subject, case.proof)
    except MalformedDocument:
        raise Blocked("the proof bytes are malformed (rule 16)") from None
    if canonical.hex32(output) != stated.proof_output:
        fail(15, "proof_output: not over the statement's outputs and proof")
    return stated.proof


def proof_shown(case: Case) -> str:
    """Rule 16: the proof bytes show what the proof kind promises; an enclave's evidence, where it was given, holds in full."""
    subject = case.proved_subject
    if case.appraisal is not None and case.proved is None:
        raise Blocked("no proof on chain (rule 17)")
    try:
        words = case.kind.check(subject, case.proof)
        case.kind.require_terms(case.spec.parameters, len(subject.parties), case.proof)
        if case.appraisal is not None and case.proved is not None:
            about = (subject, case.proof, case.spec.parameters, case.proved.log.timestamp)
            if isinstance(case.kind, Attested):
                found = case.appraisal.of_run(*about)
            elif isinstance(case.kind, AttestedQuorum):
                found = appraise_run(case.appraisal, *about)
            else:
                fail(16, "evidence of an enclave was given, and the proof is of another kind")
            words += f"; evidence appraised: {found.strength}, {found.claims.get('tcb_status', found.kind)}"
    except MalformedDocument as error:
        fail(16, error.message)
    return words


def proof_on_chain(case: Case) -> str:
    """Rule 17: the chain recorded a proof of this task and attempt, of the spec's kind, over this statement's
    result, and the absent parties that the statement names."""
    if case.proved is None:
        fail(17, "the chain recorded no proof of this task")
    event, result = case.proved, case.result()
    if event["kind"] != proof_kind(case.spec.proof):
        fail(17, "the chain recorded a proof of another kind")
    if (event["attempt"], event["inputs"], event["output"]) != (result.attempt, result.inputs, result.output):
        fail(17, "the chain recorded another attempt or result")
    recorded = events.find(case.facts, events.PARTIES_ABSENT, task=case.task)
    if [each["parties"] for each in recorded] != ([case.statement.absent] if case.statement.absent else []):
        fail(17, "the chain recorded other absent parties than the statement names")
    if case.started is not None and event.position < case.started.position:
        fail(17, "the chain recorded the proof before the attempt started")
    return f"{case.spec.proof} in block {event.log.block}"


def result_digest_matches(case: Case) -> str:
    """Rule 18: the result file has the digest that the statement gives for one of its receivers, and each file beside it has
    the digest that the result file gives."""
    if case.result_file is None:
        raise Blocked("no result file was given")
    digest = file_digest(case.result_file)
    receivers = [each.receiver for each in case.statement.outputs if each.sha256 == digest]
    if not receivers:
        fail(18, "the result file is not an output of this task")
    words = f"the file of {', '.join(receivers)}"
    if not case.files:
        return words
    try:
        named = ResultFile.parse(case.result_file).files
    except MalformedDocument:
        raise Blocked("the result file does not parse (rule 19)") from None
    for name, found in case.files.items():
        if named.get(name) != found:
            fail(18, f"{name}: not a file that the result file names, or changed")
    return f"{words}, with {len(case.files)} of the {len(named)} files that it names"


def result_opening(case: Case) -> str:
    """Rule 19: the result file names this task and attempt, and opens what was proved, as the proof kind says."""
    if case.result_file is None:
        raise Blocked("no result file was given")
    try:
        found = ResultFile.parse(case.result_file)
    except MalformedDocument as error:
        fail(19, error.message)
    if (found.task, found.attempt) != (case.statement.task, case.statement.attempt):
        fail(19, "the result file is of another task or attempt")
    subject = case.proved_subject
    try:
        case.kind.check(subject, case.proof)
    except MalformedDocument:
        raise Blocked("the proof does not hold (rule 16)") from None
    try:
        opened = case.kind.open(subject, case.proof, found, case.aggregate)
    except MalformedDocument as error:
        fail(19, error.message)
    if opened is None:
        raise Blocked("the aggregate's file was not given")
    return opened


def chain_facts(case: Case) -> str:
    """Rule 20: what the other rules took from the chain rests on something that the verifier trusts."""
    words = case.facts.anchored()
    if case.at is not None and isinstance(case.facts, BundleFacts) and case.facts.latest() > case.at:
        fail(20, f"the bundle has a block from after {case.at}")
    if words is None:
        raise Blocked("no trusted block hash and no chain endpoint were given: the chain's part is the bundle's word")
    return words
