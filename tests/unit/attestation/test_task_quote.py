"""The part of a quote that a chain checks, checked offline: one thing changed is refused by its rule, and genuine quotes pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.attestation.quote import SGX, TDX, read_quote
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import (
    DomainIdentity,
    EnclaveIdentity,
    SimulatedPlatform,
    sgx_report,
    td_report,
)
from tallystick.attestation.task_quote import HARDWARE, SIMULATED, TaskQuote
from unit.attestation import vectors

PLATFORM = SimulatedPlatform(ProvisioningAuthority((1_800_000_000, 1_900_000_000)))
ENCLAVE = EnclaveIdentity(bytes([1]) * 32, bytes([2]) * 32)
DOMAIN = DomainIdentity(bytes([3]) * 48)
DATA = bytes(range(64))
HONEST = TaskQuote.cut(PLATFORM.quote_enclave(ENCLAVE, DATA))
QE = HONEST.endorsement[128:512]
FLAGS = QE[48:64]
QUOTING = EnclaveIdentity(QE[64:96], QE[128:160], 1, 1, FLAGS)


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def signed(at: int) -> TaskQuote:
    return replace(HONEST, signed=flip(HONEST.signed, at))


def endorsed(at: int) -> TaskQuote:
    return replace(HONEST, endorsement=flip(HONEST.endorsement, at))


def domain(**changes: bytes) -> TaskQuote:
    return TaskQuote.cut(PLATFORM.quote_domain(replace(DOMAIN, **changes), DATA))


def quoted_by(qe: EnclaveIdentity, *, trusted: bool = False) -> TaskQuote:
    body = td_report(DOMAIN, DATA, extended=False) if trusted else sgx_report(ENCLAVE, DATA)
    return TaskQuote.cut(PLATFORM.quote(4, TDX if trusted else SGX, body, qe))


CHANGED: dict[str, tuple[Rule, Callable[[], TaskQuote]]] = {
    "version": (Rule.VERSION, lambda: signed(0)),
    "key type": (Rule.DCAP_HEADER, lambda: signed(2)),
    "tee": (Rule.VERSION, lambda: signed(4)),
    "vendor": (Rule.DCAP_HEADER, lambda: signed(12)),
    "body": (Rule.DCAP_QUOTE_SIGNATURE, lambda: signed(120)),
    "report data": (Rule.DCAP_QUOTE_SIGNATURE, lambda: signed(400)),
    "body's size": (Rule.LENGTH, lambda: replace(HONEST, signed=HONEST.signed + bytes(1))),
    "signature": (Rule.DCAP_QUOTE_SIGNATURE, lambda: endorsed(40)),
    "attestation key": (Rule.DCAP_QE_BINDING, lambda: endorsed(100)),
    "QE report": (Rule.DCAP_QE_SIGNATURE, lambda: endorsed(200)),
    "QE signature": (Rule.DCAP_QE_SIGNATURE, lambda: endorsed(530)),
    "authentication data": (Rule.DCAP_QE_BINDING, lambda: endorsed(580)),
    "endorsement's size": (Rule.LENGTH, lambda: replace(HONEST, endorsement=HONEST.endorsement[:575])),
    "another platform": (Rule.DCAP_QE_SIGNATURE, lambda: replace(HONEST, platform=HONEST.endorsement[64:128])),
    "no point": (Rule.KEY, lambda: replace(HONEST, platform=bytes(64))),
    "short key": (Rule.KEY, lambda: replace(HONEST, platform=HONEST.platform[:63])),
    "debug enclave": (
        Rule.DEBUG,
        lambda: TaskQuote.cut(PLATFORM.quote_enclave(replace(ENCLAVE, attributes=b"\7" + bytes(15)), DATA)),
    ),
    "debug domain": (Rule.DEBUG, lambda: domain(td_attributes=b"\1" + bytes(7))),
    "module's signer": (Rule.DCAP_MODULE, lambda: domain(mr_signer_seam=b"\1" + bytes(47))),
    "module's attributes": (Rule.DCAP_MODULE, lambda: domain(seam_attributes=b"\1" + bytes(7))),
    "QE of another signer": (Rule.DCAP_QE_IDENTITY, lambda: quoted_by(replace(QUOTING, mrsigner=bytes(32)))),
    "QE of another product": (Rule.DCAP_QE_IDENTITY, lambda: quoted_by(replace(QUOTING, isv_prod_id=2))),
    "QE for SGX quotes TDX": (Rule.DCAP_QE_IDENTITY, lambda: quoted_by(QUOTING, trusted=True)),
    "debug QE": (Rule.DCAP_QE_IDENTITY, lambda: quoted_by(replace(QUOTING, attributes=bytes([FLAGS[0] | 2]) + FLAGS[1:]))),
    "QE without its key": (
        Rule.DCAP_QE_IDENTITY,
        lambda: quoted_by(replace(QUOTING, attributes=bytes([FLAGS[0] & 0x0F]) + FLAGS[1:])),
    ),
}


def test_quotes_of_each_kind_pass() -> None:
    assert HONEST.verify(SIMULATED).report_data == DATA
    assert TaskQuote.cut(PLATFORM.quote(4, SGX, sgx_report(ENCLAVE, DATA))).verify(SIMULATED).report_data == DATA
    assert domain().verify(SIMULATED).report_data == DATA
    assert TaskQuote.cut(PLATFORM.quote_enclave(ENCLAVE, DATA, 5)).verify(SIMULATED).report_data == DATA
    for extended in (False, True):
        quote = PLATFORM.quote_domain(DOMAIN, DATA, 5, extended=extended)
        assert TaskQuote.cut(quote).verify(SIMULATED).report_data == DATA
    assert quoted_by(QUOTING).verify(SIMULATED)


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_one_thing_changed_is_refused_by_its_rule(name: str) -> None:
    rule, make = CHANGED[name]
    with pytest.raises(EvidenceRefused) as caught:
        make().verify(SIMULATED)
    assert caught.value.rule is rule, str(caught.value)


def test_a_simulation_is_never_hardware() -> None:
    with pytest.raises(EvidenceRefused) as caught:
        HONEST.verify(HARDWARE)
    assert caught.value.rule is Rule.DCAP_QE_IDENTITY


def test_a_body_is_of_the_type_and_size_that_its_header_describes() -> None:
    cut = TaskQuote.cut(PLATFORM.quote_domain(DOMAIN, DATA, 5, extended=True))
    for at in (0, 4, 48, 50, 51, 53):
        other = cut.signed[:at] + bytes([cut.signed[at] ^ 1]) + cut.signed[at + 1 :]
        with pytest.raises(EvidenceRefused) as caught:
            replace(cut, signed=other).verify(SIMULATED)
        assert caught.value.rule in (Rule.VERSION, Rule.LENGTH)
    with pytest.raises(EvidenceRefused) as caught:
        replace(cut, signed=cut.signed[:-64]).verify(SIMULATED)
    assert caught.value.rule is Rule.LENGTH


def test_a_domain_that_a_service_domain_can_change_is_refused() -> None:
    served = replace(DOMAIN, mr_service_td=bytes([1]) + bytes(47))
    with pytest.raises(EvidenceRefused) as caught:
        TaskQuote.cut(PLATFORM.quote_domain(served, DATA, 5, extended=True)).verify(SIMULATED)
    assert caught.value.rule is Rule.SERVICE_TD


@given(st.binary(max_size=700), st.binary(max_size=700), st.binary(max_size=70))
def test_hostile_bytes_are_refused_and_nothing_else(signed: bytes, endorsement: bytes, platform: bytes) -> None:
    with pytest.raises(EvidenceRefused):
        TaskQuote(platform, signed, endorsement).verify(SIMULATED)
    with pytest.raises(EvidenceRefused):
        TaskQuote(HONEST.platform, HONEST.signed[:48] + signed[:384].ljust(384, b"\0"), HONEST.endorsement).verify(SIMULATED)


@vectors.needs_vectors
@pytest.mark.parametrize(
    "file",
    [
        "dcap/phala/sgx_quote",
        "dcap/phala/tdx_quote",
        "dcap/phala/tdx_quote_outdated",
        "dcap/automata/rust/quotev3.hex",
        "dcap/automata/rust/quotev4.hex",
    ],
)
def test_genuine_quotes_pass_as_hardware_alone(file: str) -> None:
    raw = vectors.read(file)
    cut = TaskQuote.cut(raw)
    assert cut.verify(HARDWARE) == read_quote(raw).body
    with pytest.raises(EvidenceRefused):
        cut.verify(SIMULATED)
