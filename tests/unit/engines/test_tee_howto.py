"""The code of the how-to runs as it stands there."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tallystick.attestation.documents import read_policy, write_evidence, write_policy, write_references
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX, TDX
from tallystick.attestation.references import ReferenceValues, SgxEnclave
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.verifier import Evidence
from tallystick_node.engines.tee import devices
from tallystick_node.engines.tee.appraisal import Accepted
from tallystick_node.engines.tee.devices import TsmAttester
from tallystick_node.engines.tee.enclave import EnclaveRefused
from tallystick_node.engines.tee.manifest import fresh
from tallystick_node.engines.tee.platforms import hardware
from unit.engines.test_tee_platforms import Guest

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "attest.md").read_text()
APPRAISE, RUN, DOMAIN = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NOW = int(time.time())
WINDOW = (NOW - 1_000, NOW + 100_000)


def test_the_code_of_the_page_runs_an_enclave_and_appraises_it() -> None:
    authority, receiver = ProvisioningAuthority(WINDOW), X25519PrivateKey.generate()
    space: dict[str, Any] = {
        "exported": authority.export(b"password"),
        "password": b"password",
        "publisher": bytes(32),
        "nonce_of_the_owner": b"\x01" * 32,
        "nonce": b"\x02" * 32,
        "receiver": receiver,
        "receiver_public": receiver.public_key().public_bytes_raw(),
    }
    try:
        exec(RUN, space)
    except EnclaveRefused as refused:
        if "not in force on this host" not in str(refused):
            raise
        pytest.skip(str(refused))
    assert space["output"] == b"42"
    manifest, enclave, runs = space["manifest"], space["enclave"], space["runs"]
    reference = SgxEnclave(manifest.measurement, 0, manifest.configuration(enclave.in_force))
    space |= {
        "evidence": write_evidence(Evidence(space["quote"], authority.collateral(SGX, WINDOW))),
        "references": write_references(ReferenceValues((reference,))),
        "policy": write_policy(AppraisalPolicy("dev", simulations=frozenset({authority.fingerprint}))),
        "expected_report_data": runs.key_digest(enclave.public_key) + fresh(manifest.conditions, b"\x01" * 32),
        "at": NOW,
    }
    exec(APPRAISE, space)
    assert space["verdict"].startswith("sgx: attested, simulated, contraindicated, good until ")
    strict = space | {"policy": write_policy(AppraisalPolicy("strict"))}
    exec(APPRAISE, strict)
    assert strict["verdict"] == "refused by rule 204, dcap.root"


def test_what_a_trust_domain_writes_is_what_its_node_gives_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a faked domain, with the responses of Intel's service as a simulated authority would give them."""
    authority = ProvisioningAuthority(WINDOW)
    guest, collateral = Guest(authority), authority.collateral(TDX, WINDOW)
    monkeypatch.setattr(devices, "TsmAttester", lambda: TsmAttester(files=guest.tsm))
    monkeypatch.chdir(tmp_path)

    def response(name: str, signed: bytes, signature: bytes) -> bytes:
        return b'{"%s":%s,"signature":"%s"}' % (name.encode(), signed, signature.hex().encode())

    exec(
        DOMAIN,
        {
            "tcb_info": response("tcbInfo", collateral.tcb_info, collateral.tcb_info_signature),
            "qe_identity": response("enclaveIdentity", collateral.qe_identity, collateral.qe_identity_signature),
            "signing_chain": collateral.signing_chain,
            "root_crl": collateral.root_crl,
            "pck_crl": collateral.pck_crl,
        },
    )
    assert capsys.readouterr().out.strip() == f"sha256:{guest.identity.hex()}"
    with hardware("tdx", (tmp_path / "endorsements.json").read_bytes(), guest.devices) as platform:
        document = platform.endorsed(platform.quoting.quote(None, b"\x05" * 64))  # type: ignore[arg-type]
    policy = AppraisalPolicy("dev", simulations=frozenset({authority.fingerprint}))
    accepted = Accepted(identities=frozenset({guest.identity}), policy=policy, simulated=True)
    assert accepted.appraise(document, b"\x05" * 64).kind == "tdx"


def test_the_policies_of_the_page_are_well_formed() -> None:
    names = [read_policy(text.encode()).name for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    assert names == ["milan", "intel"]
