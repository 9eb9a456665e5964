"""Genuine Nitro documents: one of a running enclave, two of debug mode; see vectors.py."""

from __future__ import annotations

import base64

import pytest
from tallystick.attestation.nitro import NitroEndorsements, NitroFacts, verify_nitro
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.references import NitroEnclave, ReferenceValues
from tallystick.attestation.result import Tier
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.verifier import Evidence, appraise
from unit.attestation import vectors

pytestmark = vectors.needs_vectors

NAMES = ["valid-attestation-doc-bytes", "debug-mode-attestation-doc-bytes", "valid-attestation-doc-base64"]


def document(name: str) -> bytes:
    raw = vectors.read(f"nitro/evervault/{name}")
    return base64.b64decode(raw) if name.endswith("base64") else raw


def enclave(facts: NitroFacts) -> NitroEnclave:
    return NitroEnclave(facts.pcrs[0], facts.pcrs[1], facts.pcrs[2], {8: facts.pcrs[8]})


@pytest.mark.parametrize("name", NAMES)
def test_verdict(name: str) -> None:
    raw = document(name)
    facts = verify_nitro(raw)
    assert facts.authority.name == "AWS Nitro Enclaves Root G1"
    given = Evidence(raw, NitroEndorsements()), ReferenceValues((enclave(facts),)), AppraisalPolicy("nitro"), facts.report_data
    if name == NAMES[0]:
        found = appraise(*given, facts.timestamp + 10)
        assert (found.status, found.strength, found.kind) == (Tier.AFFIRMING, "attested, hardware", "nitro")
        with pytest.raises(EvidenceRefused) as refused:
            appraise(*given, facts.timestamp + 301)
        assert refused.value.rule is Rule.AGE
    else:
        with pytest.raises(EvidenceRefused) as refused:
            appraise(*given, facts.timestamp)
        assert refused.value.rule is Rule.DEBUG
