"""What a relying party accepts of evidence: which environments, by which policy, of which strength, in good standing with whom."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tallystick.attestation.documents import read_evidence
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.references import Identified, ReferenceValues
from tallystick.attestation.result import AttestationResult
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.standing import Standing
from tallystick.attestation.verifier import appraise


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """``identities``: the environments that are accepted; ``policy``: how good they have to be; ``simulated``: what their evidence
    has to be, as neither stands for the other; ``standing``: which platforms and environments count on chain, None where no chain
    is to be asked; ``clock``: seconds since 1970."""

    identities: frozenset[bytes]
    policy: AppraisalPolicy
    simulated: bool
    standing: Standing | None = None
    clock: Callable[[], float] = field(default=time.time, compare=False)

    def appraise(self, document: bytes, report_data: bytes) -> AttestationResult:
        """The appraisal of an evidence document over ``report_data``, 64 bytes. Raises :class:`EvidenceRefused` by the first rule
        that fails."""
        evidence = read_evidence(document)
        now = int(self.clock())
        references = ReferenceValues(tuple(map(Identified, sorted(self.identities))))
        result = appraise(evidence, references, self.policy, report_data, now)
        if result.simulated != self.simulated:
            raise EvidenceRefused(Rule.AUTHORITY, f"the evidence is {result.strength}, of another family than is asked for")
        if self.standing is not None:
            self.standing.require(evidence.raw, now)
        return result
