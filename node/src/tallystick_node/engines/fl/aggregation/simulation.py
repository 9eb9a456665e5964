"""A round of secure aggregation in one process, among members who drop out where one chooses: for tests, studies and notebooks.

The code of members and coordinator is that of a real round; only the links are missing. The coordinator is no member here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from tallystick_node.engines.credentials import Credential, Signers
from tallystick_node.engines.fl.aggregation.coordinator import Coordinator
from tallystick_node.engines.fl.aggregation.graph import Plan
from tallystick_node.engines.fl.aggregation.member import Member
from tallystick_node.engines.fl.aggregation.messages import Round, pack
from tallystick_node.engines.fl.aggregation.observer import Observer
from tallystick_node.engines.fl.aggregation.quantisation import Words

PHASES = ("advertise", "share", "mask", "confirm", "reveal", "vouch")


@dataclass(frozen=True)
class Outcome:
    """The sum, whose vectors went into it, and the coordinator with what it saw, the members' revealed secrets among it."""

    total: NDArray[np.float64]
    survivors: tuple[int, ...]
    coordinator: Coordinator
    secrets: Mapping[int, bytes]


def simulate(
    vectors: Mapping[int, NDArray[np.float64]], plan: Plan, drops: Mapping[int, str] | None = None, *, verified: bool = False
) -> Outcome:
    """Add the members' vectors. ``drops``: the phase in which a member sends nothing any more. Raises like the real parties."""
    members, gone = tuple(sorted(vectors)), {member: PHASES.index(phase) for member, phase in (drops or {}).items()}
    length = len(vectors[members[0]])
    round_ = Round(b"simulation", 0, members, plan, length, verified)
    keys = {member: Ed25519PrivateKey.generate() for member in members}
    signers = Signers({member: key.public_key() for member, key in keys.items()})
    middle = members[-1] + 1
    coordinator = Coordinator(round_, middle, signers)
    parties = {member: Member(round_, middle, signers, member, Credential(keys[member])) for member in members}

    def alive(phase: str) -> dict[int, Member]:
        return {index: each for index, each in parties.items() if gone.get(index, len(PHASES)) > PHASES.index(phase)}

    adverts = coordinator.advertise({index: each.advertise() for index, each in alive("advertise").items()})
    shares = coordinator.share({index: each.share(adverts) for index, each in alive("share").items()})
    for index, each in alive("mask").items():
        coordinator.add(index, *each.mask(shares[index], vectors[index]))
    announcement = coordinator.announce()
    certificate = coordinator.certify({index: each.confirm(announcement) for index, each in alive("confirm").items()})
    secrets = coordinator.open({index: each.reveal(certificate) for index, each in alive("reveal").items()})
    if not verified:
        words = coordinator.unmasked(coordinator.whole.astype(np.uint32), secrets)
        return Outcome(coordinator.decoded(words), coordinator.survivors, coordinator, secrets)

    def opened(party: Observer) -> Words:
        return party.opened(pack(secrets), coordinator.whole, coordinator.whole.astype(np.uint32))

    words = opened(coordinator)
    ready = alive("reveal")
    sums = {index: each.decoded(opened(each)) for index, each in ready.items()}
    proof, missing = coordinator.prove({index: each.vouch() for index, each in alive("vouch").items()})
    for subject in missing:
        auditor, member = next((index, each) for index, each in alive("vouch").items() if index != subject)
        proof[subject] = member.audit(subject, coordinator.vectors[subject])
        coordinator.audited(auditor, subject, proof[subject])
    for index, each in alive("vouch").items():
        each.accept(pack(proof))
        if not np.array_equal(sums[index], coordinator.decoded(words)):
            raise RuntimeError("members decoded different sums")
    return Outcome(coordinator.decoded(words), coordinator.survivors, coordinator, secrets)
