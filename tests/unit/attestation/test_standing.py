"""Keys go out only to an enclave that the chain allows, on a platform that it knows: each condition by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import DomainIdentity, EnclaveIdentity, SimulatedPlatform
from tallystick.attestation.standing import Standing
from tallystick.attestation.task_quote import TaskQuote

FIRST, LAST = 1_800_000_000, 1_900_000_000
PLATFORM = SimulatedPlatform(ProvisioningAuthority((FIRST, LAST)))
ENCLAVE = EnclaveIdentity(bytes([1]) * 32, bytes([2]) * 32, config_id=bytes([3]) * 64)
QUOTE = PLATFORM.quote_enclave(ENCLAVE, bytes(64))
CUT = TaskQuote.cut(QUOTE)
STANDING = Standing(frozenset({CUT.report.identity}), {CUT.platform: (FIRST, LAST)})


def refused(standing: Standing, quote: bytes, at: int, words: str) -> None:
    with pytest.raises(EvidenceRefused, match=words) as caught:
        standing.require(quote, at)
    assert caught.value.rule is Rule.STANDING


def test_what_the_chain_allows_passes() -> None:
    for at in (FIRST, LAST):
        STANDING.require(QUOTE, at)


def test_each_condition_is_needed() -> None:
    refused(STANDING, QUOTE, FIRST - 1, "not valid now")
    refused(STANDING, QUOTE, LAST + 1, "not valid now")
    refused(replace(STANDING, platforms={}), QUOTE, FIRST, "not registered")
    refused(replace(STANDING, enclaves=frozenset()), QUOTE, FIRST, "not allowed")
    another = SimulatedPlatform(ProvisioningAuthority((FIRST, LAST)))
    refused(STANDING, another.quote_enclave(ENCLAVE, bytes(64)), FIRST, "not registered")
    for other in (replace(ENCLAVE, mrenclave=bytes(32)), replace(ENCLAVE, config_id=bytes(64))):
        refused(STANDING, PLATFORM.quote_enclave(other, bytes(64)), FIRST, "not allowed")
    refused(STANDING, PLATFORM.quote_domain(DomainIdentity(bytes(48)), bytes(64)), FIRST, "not allowed")


def test_what_the_chain_cannot_read_is_refused() -> None:
    with pytest.raises(EvidenceRefused):
        STANDING.require(QUOTE[:-1], FIRST)
    with pytest.raises(EvidenceRefused):
        STANDING.require(b"", FIRST)
