"""Evidence, reference values and policies come back from their documents as they went in, and nothing else does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.attestation.documents import (
    read_evidence,
    read_policy,
    read_references,
    write_evidence,
    write_policy,
    write_references,
)
from tallystick.attestation.nitro import NitroEndorsements
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX
from tallystick.attestation.references import (
    CcaRealm,
    CsvGuest,
    NitroEnclave,
    ReferenceValues,
    SgxEnclave,
    SgxProduct,
    SnpGuest,
    TrustDomain,
)
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.snp import SnpEndorsements
from tallystick.attestation.snp_report import SnpTcb
from tallystick.attestation.tcb import TcbStatus
from tallystick.attestation.verifier import Evidence, appraise
from unit.attestation.test_cca import arm
from unit.attestation.test_csv import endorsements, hygon
from unit.attestation.test_dcap import DATA, ENCLAVE, NOW, world

ZERO = bytes(48)
REFERENCES = ReferenceValues(
    (
        SgxEnclave(ENCLAVE.mrenclave, 1, b"\x01" * 64),
        SgxProduct(b"\x02" * 32, 3, 4),
        TrustDomain(ZERO, ZERO, ZERO, ZERO, b"\x05" * 48),
        SnpGuest(ZERO, minimum_guest_svn=2),
        NitroEnclave(ZERO, ZERO, ZERO, {8: b"\x06" * 48, 4: ZERO}),
        CsvGuest(bytes(32)),
        CcaRealm(bytes(32), bytes(32), frozenset({(b"\x01" * 32, b"\x02" * 32), (b"\x03" * 32, b"\x04" * 32)}), (bytes(32),) * 4),
    )
)
POLICY = AppraisalPolicy(
    "all",
    simulations=frozenset({b"\x01" * 32, b"\x02" * 32}),
    tcb_statuses=frozenset({TcbStatus.OUT_OF_DATE, TcbStatus.SW_HARDENING_NEEDED}),
    advisories=frozenset({"INTEL-SA-00002", "INTEL-SA-00001"}),
    grace=5,
    snp_minimum={"Milan": SnpTcb(1, 2, 3, 4), "Turin": SnpTcb(1, 2, 3, 4, 5)},
    vmpls=frozenset({0, 2}),
    smt=True,
)


def test_evidence_of_every_family_comes_back_and_verifies() -> None:
    w = world()
    given_evidence = [
        Evidence(w.quote(), w.collateral[SGX]),
        Evidence(hygon().report(), endorsements()),
        Evidence(arm().token(), arm().endorsements),
        Evidence(b"document", NitroEndorsements()),
        Evidence(b"report", SnpEndorsements(b"leaf", b"chain", None)),
        Evidence(b"report", SnpEndorsements(b"leaf", b"chain", b"crl")),
    ]
    for evidence in given_evidence:
        assert read_evidence(write_evidence(evidence)) == evidence
    again = read_evidence(write_evidence(given_evidence[0]))
    policy = AppraisalPolicy("x", simulations=w.roots)
    assert appraise(again, ReferenceValues((SgxEnclave(ENCLAVE.mrenclave),)), policy, DATA, NOW).kind == "sgx"


def test_references_and_policies_come_back() -> None:
    assert read_references(write_references(REFERENCES)) == REFERENCES
    again = read_policy(write_policy(POLICY))
    assert again == POLICY
    assert again.digest == POLICY.digest
    assert read_policy(b'{"document":"tallystick/policy","version":1,"name":"plain"}') == AppraisalPolicy("plain")


Read = Callable[[bytes], object]


def changed(document: bytes, path: list[Any], value: Any) -> bytes:
    """The document with one member replaced (``...``: left out)."""
    root = json.loads(document)
    place = root
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(root).encode()


EVIDENCE = write_evidence(Evidence(b"report", SnpEndorsements(b"leaf", b"chain", None)))
CASES: list[tuple[Read, bytes, list[Any], Any, Rule]] = [
    (read_evidence, EVIDENCE, ["document"], "tallystick/policy", Rule.VERSION),
    (read_evidence, EVIDENCE, ["version"], 2, Rule.VERSION),
    (read_evidence, EVIDENCE, ["version"], True, Rule.VERSION),
    (read_evidence, EVIDENCE, ["family"], "dcap", Rule.ENDORSEMENT),
    (read_evidence, EVIDENCE, ["family"], [], Rule.ENDORSEMENT),
    (read_evidence, EVIDENCE, ["evidence"], ..., Rule.ENDORSEMENT),
    (read_evidence, EVIDENCE, ["evidence"], "cmVwb3J0=", Rule.ENDORSEMENT),
    (read_evidence, EVIDENCE, ["evidence"], "cmVwb3J1dB==", Rule.ENDORSEMENT),
    (read_evidence, EVIDENCE, ["endorsements"], [], Rule.ENDORSEMENT),
    (read_evidence, EVIDENCE, ["endorsements", "leaf"], None, Rule.ENDORSEMENT),
    (read_evidence, EVIDENCE, ["endorsements", "crl"], ..., Rule.ENDORSEMENT),
    (read_evidence, EVIDENCE, ["more"], 1, Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted"], {}, Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 0], "x", Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 0, "kind"], "other", Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 0, "kind"], [], Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 0, "mrenclave"], ..., Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 0, "mrenclave"], "AB" * 32, Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 0, "mrenclave"], 5, Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 0, "minimum_isv_svn"], True, Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 0, "other"], 1, Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 4, "others"], {"08": "00"}, Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 4, "others"], [], Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 6, "components"], [["00"]], Rule.ENDORSEMENT),
    (read_references, write_references(REFERENCES), ["accepted", 6, "components"], "00", Rule.ENDORSEMENT),
    (read_policy, write_policy(POLICY), ["name"], ..., Rule.ENDORSEMENT),
    (read_policy, write_policy(POLICY), ["grace"], -1, Rule.ENDORSEMENT),
    (read_policy, write_policy(POLICY), ["tcb_statuses"], ["Revoked"], Rule.ENDORSEMENT),
    (read_policy, write_policy(POLICY), ["tcb_statuses"], ["Fine"], Rule.ENDORSEMENT),
    (read_policy, write_policy(POLICY), ["vmpls"], [0, 0], Rule.ENDORSEMENT),
    (read_policy, write_policy(POLICY), ["smt"], 1, Rule.ENDORSEMENT),
    (read_policy, write_policy(POLICY), ["snp_minimum", "Milan"], [], Rule.ENDORSEMENT),
    (read_policy, write_policy(POLICY), ["snp_minimum", "Milan", "other"], 1, Rule.ENDORSEMENT),
]


@pytest.mark.parametrize(("read", "document", "path", "value", "rule"), CASES)
def test_anything_else_is_refused(read: Read, document: bytes, path: list[Any], value: Any, rule: Rule) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        read(changed(document, path, value))
    assert caught.value.rule is rule


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_hostile_documents_are_refused_and_nothing_else(data: st.DataObject) -> None:
    good, read = data.draw(
        st.sampled_from(
            [(EVIDENCE, read_evidence), (write_references(REFERENCES), read_references), (write_policy(POLICY), read_policy)]
        )
    )
    start = data.draw(st.integers(0, len(good)))
    hostile = good[:start] + data.draw(st.binary(max_size=8)) + good[start + data.draw(st.integers(0, 8)) :]
    with contextlib.suppress(EvidenceRefused):
        read(hostile)


def test_deep_and_large_documents_are_refused() -> None:
    for hostile in (b"[" * 100_000, b'{"a":' * 50_000, b" " * (5 << 20)):
        for read in (read_evidence, read_references, read_policy):
            with pytest.raises(EvidenceRefused):
                read(hostile)
