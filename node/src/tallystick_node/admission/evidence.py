"""What this node asks of a task's hardware evidence before it accepts the task, beside what the workload's own rules say.

The floor under appraisal policies is this institution's; who may vouch and which environments count is the chain's.
"""

from __future__ import annotations

from dataclasses import replace

from tallystick.attestation.floor import laxer
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.chain.connection import Chain
from tallystick.protocol import canonical
from tallystick.protocol.errors import ContractRefused, Refused
from tallystick.protocol.proof.attested import EnclaveTerms
from tallystick.protocol.proof.quorum import QuorumTerms
from tallystick.protocol.task import TaskSpec


def require_floor(asked: AppraisalPolicy, floor: AppraisalPolicy | None, requester: str) -> None:
    """Raise Refused where a task's policy accepts more than ``floor`` does: None accepts every policy, but no key of Arm CCA that a
    task names, as these are trusted by nobody's word but its own."""
    more = laxer(asked, floor or replace(asked, cca_platforms=frozenset()))
    if more:
        raise Refused(
            f"the task's appraisal policy accepts more than this node does ({'; '.join(more)})",
            rule="security",
            party=requester,
            remedy="state a stricter policy in parameters.attestation, or ask the operator about the setting policy.appraisal",
        )


def require_time_to_vouch(spec: TaskSpec, asked: AppraisalPolicy, chain: Chain) -> None:
    """Raise Refused where no vouching by the task's policy could hold until it is on chain: nodes take none that ends sooner than
    they need for that."""
    reporting_seconds = chain.profile.reporting_seconds
    if asked.validity <= reporting_seconds:
        raise _refused(
            spec,
            f"an appraisal by the task's policy is good for {asked.validity} s, and to have it on this chain takes a node "
            f"{reporting_seconds} s",
            f"state a validity of more than {reporting_seconds} in parameters.attestation.policy, rather of hours",
        )


def require_quorum(spec: TaskSpec, chain: Chain) -> None:
    """Raise Refused unless the chain would count the verifiers and environments that the task names: a run that cannot be proved is
    not begun."""
    terms, quorum = QuorumTerms.of(spec.parameters), chain.quorum
    least = quorum.threshold()
    if not least or terms.threshold < least:
        raise _refused(
            spec,
            f"the task asks for {terms.threshold} verifiers and the chain for at least {least}"
            if least
            else "the chain takes no result by a quorum of verifiers, as the governor set no threshold",
            "ask for as many as the chain does (`tally quorum list`)",
        )
    named = [account for account in terms.verifiers if quorum.is_verifier(account) and _active(chain, account)]
    if len(named) < terms.threshold:
        raise _refused(
            spec,
            f"only {len(named)} of the verifiers that the task names are named by the governor and active, and "
            f"{terms.threshold} have to vouch",
            "name others (`tally quorum list`)",
        )
    for identity in EnclaveTerms.of(spec.parameters).identities:
        if not quorum.allowed(identity):
            raise _refused(
                spec,
                f"the governor does not allow the environment {canonical.text(identity)}",
                "ask the governor (`tally quorum allow`)",
            )


def _active(chain: Chain, account: str) -> bool:
    try:
        chain.participants.require_active(account, 0)
    except ContractRefused:
        return False
    return True


def _refused(spec: TaskSpec, message: str, remedy: str) -> Refused:
    return Refused(message, rule="proof", party=spec.requester, remedy=remedy)
