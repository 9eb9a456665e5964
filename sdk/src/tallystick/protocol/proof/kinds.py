"""The kinds of proof by name. A new kind is a module beside this one, a name in :data:`tallystick.protocol.task.PROOFS`, and a
verifier contract."""

from __future__ import annotations

from collections.abc import Mapping

from tallystick.protocol.proof import attested, groth16, quorum
from tallystick.protocol.proof.kind import ProofKind
from tallystick.protocol.proof.projection_verified import ProjectionVerified
from tallystick.protocol.proof.signed_by_all import SignedByAll
from tallystick.protocol.proof.sum_in_range import SumInRange
from tallystick.protocol.proof.sum_verified import SumVerified
from tallystick.protocol.proof.vector_sum_verified import VectorSumVerified
from tallystick.protocol.task import PROJECTION_ABSENT, PROJECTION_VERIFIED

_ALL: tuple[ProofKind, ...] = (
    SignedByAll(),
    SumVerified(),
    SumInRange(),
    *(ProjectionVerified(name) for name in (PROJECTION_VERIFIED, *PROJECTION_ABSENT)),
    VectorSumVerified(),
    groth16.KIND,
    attested.HARDWARE,
    attested.SIMULATED,
    quorum.KIND,
)
KINDS: Mapping[str, ProofKind] = {kind.name: kind for kind in _ALL}
"""Every name in ``PROOFS``, and its kind."""
