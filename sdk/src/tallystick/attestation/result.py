"""Attestation results in the shape of draft-ietf-rats-ear, with trustworthiness vectors of draft-ietf-rats-ar4si.

A result exists only where every rule held; what it still has to say is how strong the ground is. A simulation is
*contraindicated* in the standard's terms, whatever else holds, so that a relying party that knows nothing of ours refuses it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tallystick.attestation.roots import Authority

PROFILE = "tag:github.com,2023:veraison/ear"


class Tier(IntEnum):
    """Trust tiers of AR4SI; the worst claim of a vector decides its status."""

    NONE = 0
    AFFIRMING = 2
    WARNING = 32
    CONTRAINDICATED = 96


def tier(claim: int) -> Tier:
    """The tier that a claim's value lies in."""
    return max(step for step in Tier if step <= claim) if claim >= Tier.AFFIRMING else Tier.NONE


@dataclass(frozen=True)
class TrustVector:
    """The AR4SI claims that this verifier makes; zero claims nothing. Claim values are those of the draft."""

    configuration: int = 0
    executables: int = 0
    hardware: int = 0
    runtime_opaque: int = 0
    instance_identity: int = 0
    file_system: int = 0
    storage_opaque: int = 0
    sourced_data: int = 0

    @property
    def status(self) -> Tier:
        """The worst tier of all claims."""
        return max(tier(claim) for claim in self.claims().values())

    def claims(self) -> dict[str, int]:
        """The claims under their names in EAR."""
        return {name.replace("_", "-"): value for name, value in vars(self).items()}


APPROVED, UNSAFE_CONFIGURATION = 2, 32
APPROVED_RUNTIME = 2
GENUINE_HARDWARE, UNSAFE_HARDWARE, UNRECOGNIZED_HARDWARE = 2, 32, 97
ENCRYPTED_MEMORY, VISIBLE_MEMORY = 2, 96


@dataclass(frozen=True)
class AttestationResult:
    """What an appraisal found. ``claims`` are the evidence's own, by neutral names, as text or numbers. ``identity`` is what runs,
    as one digest. ``platform`` is a digest that is the same for everything on one machine, and so nothing for a public place.

    ``evidence`` is SHA-256 of the bytes that the hardware signed: evidence can be padded and re-encoded, so a digest of the whole
    is no identity. Single use is a matter of the report data. ``expires``: the first time at which certificates, lists, TCB
    information or the policy's validity end; appraise anew by then.
    """

    kind: str
    authority: Authority
    vector: TrustVector
    report_data: bytes
    measurement: bytes
    identity: bytes
    platform: bytes
    evidence: bytes
    endorsements: bytes
    policy: str
    policy_digest: bytes
    appraised: int
    expires: int
    claims: Mapping[str, str | int]

    @property
    def simulated(self) -> bool:
        """Whether the root was a simulation's: then nothing protects the computation from the operator of the machine."""
        return not self.authority.hardware

    @property
    def strength(self) -> str:
        """``attested, hardware`` or ``attested, simulated``: what records and people are shown."""
        return f"attested, {self.authority.strength}"

    @property
    def status(self) -> Tier:
        """The EAR status."""
        return self.vector.status

    def ear(self, build: str, developer: str) -> dict[str, Any]:
        """The claims of an Entity Attestation Result, to be signed by the verifier as it signs other documents."""
        return {
            "eat_profile": PROFILE,
            "iat": self.appraised,
            "exp": self.expires,
            "ear.verifier-id": {"build": build, "developer": developer},
            "eat_nonce": base64.urlsafe_b64encode(self.report_data).rstrip(b"=").decode(),
            "submods": {
                self.kind: {
                    "ear.status": self.status.name.lower(),
                    "ear.trustworthiness-vector": self.vector.claims(),
                    "ear.appraisal-policy-id": f"{self.policy}#sha256:{self.policy_digest.hex()}",
                    "tallystick.strength": self.strength,
                    "tallystick.authority": f"{self.authority.name}#sha256:{self.authority.fingerprint.hex()}",
                    "tallystick.measurement": self.measurement.hex(),
                    "tallystick.evidence": f"sha256:{self.evidence.hex()}",
                    "tallystick.endorsements": f"sha256:{self.endorsements.hex()}",
                    "tallystick.claims": dict(self.claims),
                }
            },
        }


def digest(signed: bytes) -> bytes:
    """The identity of evidence: SHA-256 of what was signed, under its own domain."""
    return hashlib.sha256(b"tallystick/attestation/evidence/v1" + signed).digest()
