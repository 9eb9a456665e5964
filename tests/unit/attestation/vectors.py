"""Genuine evidence: tests that need it skip unless TALLYSTICK_TEE_VECTORS names its folder. None of it is in the repository."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tallystick.attestation.collateral import DcapCollateral

FOLDER = os.environ.get("TALLYSTICK_TEE_VECTORS", "")

needs_vectors = pytest.mark.skipif(not FOLDER, reason="TALLYSTICK_TEE_VECTORS does not name a folder of genuine evidence")


def read(name: str) -> bytes:
    data = (Path(FOLDER) / name).read_bytes()
    return bytes.fromhex(data.decode().strip().removeprefix("0x")) if name.endswith(".hex") else data


def at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def bundle(name: str) -> DcapCollateral:
    """A bundle as dcap-qvl writes it: one JSON file, members as text or hexadecimal."""
    value = json.loads(read(name))
    return DcapCollateral(
        tcb_info=value["tcb_info"].encode(),
        tcb_info_signature=bytes.fromhex(value["tcb_info_signature"]),
        qe_identity=value["qe_identity"].encode(),
        qe_identity_signature=bytes.fromhex(value["qe_identity_signature"]),
        signing_chain=value["tcb_info_issuer_chain"].encode(),
        root_crl=bytes.fromhex(value["root_ca_crl"]),
        pck_crl=bytes.fromhex(value["pck_crl"]),
    )


def responses(
    info: str, identity: str, pck_crl: str, root_crl: str = "dcap/automata/solana/intel_root_ca_crl.der"
) -> DcapCollateral:
    """From the service's own responses; ``pck_crl`` is a DER file, or a bundle to take the list from."""
    solana = "dcap/automata/solana"
    chain = b"".join(
        x509.load_der_x509_certificate(read(f"{solana}/{name}.der")).public_bytes(Encoding.PEM) for name in ("signing", "root")
    )
    crl = bundle(pck_crl).pck_crl if pck_crl.endswith(".json") else read(pck_crl)
    return DcapCollateral.of_responses(read(info), read(identity), chain, read(root_crl), crl)
