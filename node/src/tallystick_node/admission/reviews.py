"""Whether code was reviewed as an owner asks before it runs over the owner's data (docs/spec/algorithm.md)."""

from __future__ import annotations

import contextlib

from tallystick.chain import algorithms
from tallystick.chain.algorithms import Algorithm
from tallystick.chain.connection import Chain
from tallystick.protocol import canonical
from tallystick.protocol.algorithm import KINDS
from tallystick.protocol.errors import ContractRefused, NotFound, Refused
from tallystick.protocol.proof.attested import EnclaveTerms
from tallystick.protocol.task import TaskSpec

from tallystick_node.settings import Policy

RULE = "algorithm-review"


def require_reviews(spec: TaskSpec, chain: Chain, policy: Policy) -> None:
    """Raise Refused unless the code of a task in an enclave has the approvals that the policy asks for, at the latest block.

    The task is one that its workload accepts. Counted are those that the policy names; where it names nobody, every participant but
    the task's requester, who chose the code. One rejection by a named reviewer refuses. The registered kind has to be the task's,
    whether or not the policy asks for approvals: grants name code by its digest alone, and text that was read as a query may be a
    harmful program in another language. Who registers code first says its kind, and may be anybody with the role: a kind that this
    release does not know, under which nothing runs here, therefore binds only where approvals are asked for. Raises
    ChainUnreachable.
    """
    code, kind = EnclaveTerms.of(spec.parameters).algorithm, str(spec.parameters["algorithm"]["kind"])
    digest = canonical.text(code)
    block, _ = chain.latest()
    if not policy.approvals:
        with contextlib.suppress(NotFound):  # nothing says what code is that nobody registered
            registered = algorithms.algorithm_of(chain, code, block)
            if registered.kind in KINDS:
                _require_kind(registered, kind)
        return
    try:
        registered = algorithms.algorithm_of(chain, code, block)
        said = algorithms.reviews_of(chain, code, block)
        counted = policy.reviewers or [each.reviewer for each in said if each.reviewer != spec.requester]
        approved, _ = algorithms.approvals(chain, code, counted, block)
    except (ContractRefused, NotFound) as error:
        raise Refused(
            f"this owner asks for reviews of the code {digest}: {error.message}",
            rule=RULE,
            party=spec.requester,
            remedy=error.remedy,
        ) from None
    _require_kind(registered, kind)
    against = next((each for each in said if not each.approved and each.reviewer in policy.reviewers), None)
    if against is not None:
        raise Refused(
            f"{against.reviewer}, whom this owner named, rejects the code {digest} (block {block})",
            rule=RULE,
            party=against.reviewer,
            remedy="ask the reviewer for the reason (`tally algorithm reviews` has its digest), and register other code",
        )
    if approved < policy.approvals:
        whom = ", ".join(policy.reviewers) or "participants other than its author and the task's requester"
        raise Refused(
            f"the code {digest} has {approved} of the {policy.approvals} approvals that this owner asks for (block {block})",
            rule=RULE,
            party=spec.requester,
            remedy=f"have it reviewed (`tally algorithm review`) by {whom}",
        )


def _require_kind(registered: Algorithm, kind: str) -> None:
    if registered.kind != kind:
        raise Refused(
            f"the code {canonical.text(registered.code)} was registered as {registered.kind}, and the task runs it as {kind}",
            rule=RULE,
            party=registered.author,
            remedy="run it as what it was registered as; if somebody else registered it as what it is not, change one byte, as in "
            "a comment, register that before others see it, and have its new digest granted",
        )
