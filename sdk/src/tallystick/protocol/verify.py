"""Verification of an evidence bundle by the twenty numbered rules of ``docs/spec/verification.md``.

The numbers are the same here, there, in the tests and in :class:`VerificationFailed`. What is trusted: the contracts
of the deployment that the verifier names, the chain as :class:`ChainFacts` gives it, SHA-256, keccak-256, ECDSA on
secp256k1 and P-256, discrete logarithms on BN254, and keccak-256 as a random oracle. Nothing in the bundle is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tallystick.protocol import authorisation, evidence
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.case import Blocked, Case
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.facts import ChainFacts
from tallystick.protocol.proof.attested import Appraisal

OK, FAILED, SKIPPED = "ok", "failed", "skipped"

TITLES: Mapping[int, str] = {
    1: "documents are well-formed",
    2: "the spec is the one proposed on chain",
    3: "the task is the proposal on this chain and ledger",
    4: "the proposal is derived from the spec",
    5: "certificates lead to the authority and were valid",
    6: "certificates are those enrolled on chain, active at the start",
    7: "grants were issued on chain and their terms open",
    8: "the terms permit the task",
    9: "grants were debited for this attempt",
    10: "all parties accepted this attempt",
    11: "the statement is the one proved on chain",
    12: "the statement says what spec and chain say",
    13: "every party signed the result",
    14: "the transcript is complete and has its root",
    15: "proof inputs and output recompute",
    16: "the proof shows what its kind promises",
    17: "the chain recorded the proof",
    18: "the result file is an output of this task",
    19: "the result file opens what was proved",
    20: "the chain's facts are anchored",
}

_RULES: Mapping[int, Callable[[Case], str]] = {
    2: authorisation.spec_digest,
    3: authorisation.task_identity,
    4: authorisation.proposal_derivation,
    5: authorisation.certificates,
    6: authorisation.enrolments,
    7: authorisation.grants,
    8: authorisation.permissions,
    9: authorisation.debits,
    10: authorisation.acceptances,
    11: evidence.statement_digest,
    12: evidence.statement_fields,
    13: evidence.signatures,
    14: evidence.transcript,
    15: evidence.recomputation,
    16: evidence.proof_shown,
    17: evidence.proof_on_chain,
    18: evidence.result_digest_matches,
    19: evidence.result_opening,
    20: evidence.chain_facts,
}


@dataclass(frozen=True)
class RuleVerdict:
    """One rule's verdict: ``ok``, ``failed`` or ``skipped``; ``detail`` says with what, or why. ``party`` is at
    fault, if one is."""

    number: int
    title: str
    verdict: str
    detail: str
    party: str | None = None


@dataclass(frozen=True)
class Report:
    """The verdicts of all rules, in order. ``task`` is ``0x…``, or empty when the bundle did not parse."""

    task: str
    rules: tuple[RuleVerdict, ...]

    @property
    def ok(self) -> bool:
        """Whether no rule failed. Skipped rules say what was not checked."""
        return all(rule.verdict != FAILED for rule in self.rules)

    @property
    def failed(self) -> tuple[int, ...]:
        """The numbers of the rules that failed."""
        return tuple(rule.number for rule in self.rules if rule.verdict == FAILED)

    def require(self, *, complete: bool = False) -> None:
        """Raise :class:`VerificationFailed` by the first rule that failed; with ``complete``, also by one that was
        skipped."""
        for rule in self.rules:
            if rule.verdict == FAILED or (complete and rule.verdict == SKIPPED):
                raise VerificationFailed(
                    f"rule {rule.number} ({rule.title}): {rule.detail}",
                    rule=rule.number,
                    party=rule.party,
                    remedy="do not rely on this result; see docs/spec/verification.md for the rule",
                )


def verify_bundle(
    bundle: Bundle,
    *,
    trusted: ChainFacts | None = None,
    trusted_blocks: Collection[bytes] = (),
    contracts: Mapping[str, str] | None = None,
    result_file: bytes | None = None,
    files: Mapping[str, str] = MappingProxyType({}),
    aggregate: Iterable[bytes] | None = None,
    appraisal: Appraisal | None = None,
    at: int | None = None,
) -> Report:
    """Apply every rule and report; never raises for anything in the bundle.

    ``trusted`` answers for the chain (online); without it the bundle's own chain evidence is used, anchored at
    ``trusted_blocks`` (hashes that the verifier has from elsewhere). ``contracts`` are the deployment's addresses by
    name: give them whenever ``trusted`` is not given, or the bundle may be about contracts of the forger's own.
    ``result_file`` is a receiver's file, for rules 18 and 19; ``files`` maps the names of files that came with it to their
    digests, ``sha256:…``, for rule 18; ``aggregate`` the bytes of the file with the aggregate, in
    pieces, for rule 19 where the proof kind has one. ``appraisal``: an enclave's evidence with the verifier's policy, to be
    appraised in full by rule 16, as of the block that proved the result. ``at``, in seconds: no evidence may be from after
    this time.
    """
    try:
        case = Case.parse(
            bundle,
            trusted=trusted,
            trusted_blocks=trusted_blocks,
            contracts=contracts,
            result_file=result_file,
            files=files,
            aggregate=aggregate,
            appraisal=appraisal,
            at=at,
        )
    except MalformedDocument as error:
        first = RuleVerdict(1, TITLES[1], FAILED, error.message, error.party)
        rest = (RuleVerdict(n, TITLES[n], SKIPPED, "the documents did not parse (rule 1)") for n in _RULES)
        return Report("", (first, *rest))
    verdicts = [RuleVerdict(1, TITLES[1], OK, f"{len(bundle.files())} files")]
    verdicts += [_apply(number, case) for number in _RULES]
    return Report(case.statement.task, tuple(verdicts))


def _apply(number: int, case: Case) -> RuleVerdict:
    try:
        return RuleVerdict(number, TITLES[number], OK, _RULES[number](case))
    except Blocked as reason:
        return RuleVerdict(number, TITLES[number], SKIPPED, str(reason))
    except VerificationFailed as error:
        if error.rule != number:
            return RuleVerdict(number, TITLES[number], SKIPPED, f"{error.message} (rule {error.rule})", error.party)
        return RuleVerdict(number, TITLES[number], FAILED, error.message, error.party)
    except MalformedDocument as error:
        # A log of the right contract that does not decode: no honest chain has one.
        return RuleVerdict(number, TITLES[number], FAILED, error.message, error.party)
