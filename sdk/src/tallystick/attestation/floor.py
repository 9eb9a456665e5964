"""A floor under appraisal policies: the laxest policy that an institution accepts, whoever writes the one of a task.

A floor is itself an appraisal policy. Another is at least as strict where each of its members accepts no more than the floor's, so
that whatever it accepts, the floor accepts too.
"""

from __future__ import annotations

from tallystick.attestation.policy import AppraisalPolicy

_SETS = ("simulations", "tcb_statuses", "advisories", "service_tds", "snp_without_list", "vmpls", "cca_platforms")
_MOST = ("grace", "max_age", "validity")
_FLAGS = ("smt", "sendable")
_WORDS = 200


def laxer(policy: AppraisalPolicy, floor: AppraisalPolicy) -> list[str]:
    """In which members ``policy`` accepts more than ``floor``, each with what is too much, in at most 200 characters; none
    where it is at least as strict."""
    found = []
    for name in _SETS:
        more = {getattr(each, "value", each) for each in getattr(policy, name) - getattr(floor, name)}
        if more:
            words = sorted(each.hex() if isinstance(each, bytes) else str(each) for each in more)
            found.append(f"{name}: {', '.join(words)}")
    found += [
        f"{name}: {getattr(policy, name)}, above {getattr(floor, name)}"
        for name in _MOST
        if getattr(policy, name) > getattr(floor, name)
    ]
    found += [name for name in _FLAGS if getattr(policy, name) and not getattr(floor, name)]
    if policy.minimum_evaluation < floor.minimum_evaluation:
        found.append(f"minimum_evaluation: {policy.minimum_evaluation}, below {floor.minimum_evaluation}")
    lower = [
        product
        for product, tcb in sorted(policy.snp_minimum.items())
        if (least := floor.snp_minimum.get(product)) is None or not tcb.reaches(least)
    ]
    if lower:
        found.append(f"snp_minimum: {', '.join(lower)}")
    return [each[:_WORDS] for each in found]
