"""What runs, as one digest, in every family: byte for byte as docs/spec/attested-task.md says, written out here a second time."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from tallystick.attestation.cca import verify_cca
from tallystick.attestation.hygon import verify_csv
from tallystick.attestation.nitro import verify_nitro
from tallystick.attestation.references import Identified
from tallystick.attestation.snp import verify_snp
from unit.attestation.test_cca import COMPONENT, COMPONENTS, arm
from unit.attestation.test_csv import endorsements, hygon
from unit.attestation.test_dcap import NOW
from unit.attestation.test_nitro import nitro, pcr
from unit.attestation.test_snp import amd


def identity(family: int, *fields: bytes) -> bytes:
    return hashlib.sha256(b"tallystick/tee/identity/v1" + bytes([family]) + b"".join(fields)).digest()


def sized(field: bytes) -> bytes:
    return len(field).to_bytes(2, "big") + field


def snp(**changes: Any) -> Any:
    return verify_snp(amd().report(**changes), amd().endorsements(), NOW, frozenset({amd().root}))


def csv(**changes: Any) -> Any:
    return verify_csv(hygon().report(**changes), endorsements(), frozenset({hygon().fingerprint}))


def cca(realm: dict[str, Any] | None = None, platform: dict[str, Any] | None = None) -> Any:
    return verify_cca(arm().token(realm, platform), arm().endorsements, frozenset(), frozenset({arm().fingerprint}))


def nitro_of(**changes: Any) -> Any:
    return verify_nitro(nitro().document(NOW, **changes), frozenset({nitro().fingerprint}))


def test_identities_are_those_of_the_page() -> None:
    assert snp().identity == identity(2, bytes(32), b"\x04" * 48, bytes(32), bytes(96))
    assert nitro_of().identity == identity(3, pcr(0), pcr(1), pcr(2))
    assert csv().identity == identity(4, b"\x06" * 32, bytes(16), bytes(16), bytes(32))
    registers = sized(b"\x03" * 48) + 4 * sized(bytes(48))
    implementation = b"SIMULATION ONLY".ljust(32, b"\0")
    ((signer, measured),) = COMPONENTS
    expected = identity(5, registers, bytes(64), implementation, sized(b"\x07"), sized(signer), sized(measured))
    assert cca().identity == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (snp, lambda: snp(measurement=b"\x05" * 48)),
        (snp, lambda: snp(host_data=b"\x01" + bytes(31))),
        (nitro_of, lambda: nitro_of(pcrs=dict.fromkeys((0, 1, 2, 3, 4, 8), b"\t" * 48))),
        (csv, lambda: csv(measurement=b"\x07" * 32)),
        (cca, lambda: cca(realm={"INITIAL": b"\x04" * 48})),
        (cca, lambda: cca(realm={"EXTENSIBLE": [b"\x01" * 48, *[bytes(48)] * 3]})),
        (cca, lambda: cca(realm={"PERSONALISATION": b"\x01" * 64})),
        (cca, lambda: cca(platform={"CONFIGURATION": b"\x08"})),
        (cca, lambda: cca(platform={"COMPONENTS": [COMPONENT, {**COMPONENT, 2: b"\x09" * 32}]})),
    ],
)
def test_what_runs_decides_and_what_it_says_does_not(one: Any, other: Any) -> None:
    assert one().identity == one().identity
    assert one().identity != other().identity
    reference = Identified(one().identity)
    assert reference.matches(one())
    assert not reference.matches(other())


def test_report_data_and_machine_are_no_part_of_it() -> None:
    assert snp(report_data=bytes(64)).identity == snp().identity
    assert csv(report_data=bytes(64)).identity == csv().identity
    assert cca(realm={"CHALLENGE": bytes(64)}).identity == cca().identity
    assert cca(platform={"INSTANCE": b"\x01" * 33}).identity == cca().identity
    assert cca(platform={"INSTANCE": b"\x01" * 33}).platform != cca().platform
    assert nitro_of(module_id="i-1-enc1").identity == nitro_of().identity
    assert nitro_of(module_id="i-1-enc1").platform != nitro_of().platform
