"""Evidence beside dcap-qvl, what evidence costs on chain, and what an enclave costs beside plain Python."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from contracts.conftest import KIND, Case
from contracts.test_attestation_verifier import Run
from contracts.test_quorum_verifier import Vouched
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from tallystick.attestation import certificates, collateral, runs, sm2
from tallystick.attestation.collateral import DcapCollateral
from tallystick.attestation.nitro import NitroEndorsements
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX, TDX, read_quote
from tallystick.attestation.references import CsvGuest, Identified, NitroEnclave, Reference, ReferenceValues, SnpGuest
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import DomainIdentity, EnclaveIdentity, SimulatedPlatform
from tallystick.attestation.snp_report import SnpTcb
from tallystick.attestation.verifier import Evidence, appraise
from tallystick.protocol import typed
from tallystick.protocol.task import ATTESTED_QUORUM, ATTESTED_SIMULATED
from tallystick.testing.local_chain import LocalChain
from tallystick_node.engines.tee.enclave import Enclave
from tallystick_node.engines.tee.manifest import EnclaveManifest
from tallystick_node.engines.tee.quoting import QuotingProcess
from tallystick_node.engines.tee.worker import python
from unit.attestation import test_cca, test_csv, test_nitro, test_snp

from benchmarks.chain_records import world_on
from benchmarks.peers import python_with

PEER = "dcap-qvl==0.7.0"
KEPT = (
    certificates._certificate,
    certificates._verify_issued,
    certificates._revocation_list,
    collateral._tcb_info,
    collateral._qe_identity,
    sm2.verify,
)
TIMES = 60
REPEATS = 5
NOW = int(time.time())
WINDOW = (NOW - 86_400, NOW + 20 * 86_400)
DATA = bytes(range(64))
ROWS = 300_000
ALGORITHM = b"""
import json

def run(inputs):
    groups = {}
    for data in inputs:
        for line in data.decode().splitlines():
            group, x, y = line.split(",")
            sums = groups.setdefault(group, [0, 0, 0, 0, 0])
            x, y = int(x), int(y)
            for place, value in enumerate((1, x, y, x * x, x * y)):
                sums[place] += value
    return json.dumps(groups, sort_keys=True).encode()
"""


def run_verify() -> dict[str, Any]:
    """Appraising evidence of each kind, milliseconds of processor time on one core; SGX and TDX beside dcap-qvl (Rust), same bytes.

    Everything is parsed and verified, from the bytes of evidence and endorsements to the result: `ours` as for the first time, with
    nothing kept of earlier appraisals, as the peer does; `again_ms` where certificates, lists and signed statements are known.
    Evidence is simulated; `quote_gas` is what a three-party result costs more for its quote than one that is signed by all alone,
    `quorum_gas` for the word of two verifiers of three, `registration_gas` a transaction that registers a platform; all with the
    precompile.
    """
    rows = []
    with _one_core():
        for name, tee, quote, authority in _quotes():
            given = authority.collateral(tee, WINDOW)
            policy = AppraisalPolicy("benchmark", simulations=frozenset({authority.fingerprint}))
            references = ReferenceValues((Identified(read_quote(quote).body.identity),))
            evidence = Evidence(quote, given)
            row = {"evidence": name, **_appraisal(partial(appraise, evidence, references, policy, DATA, NOW))}
            rows.append({**row, **_peer(quote, given, authority, row["ours"])})
        rows += [{"evidence": name, **_appraisal(work)} for name, work in _others().items()]
    for row in rows:
        peer = f", dcap-qvl {row['peer_value']:.2f} ms" if "peer" in row else ""
        sys.stderr.write(f"{row['evidence']}: {row['ours']:.2f} ms, again {row['again_ms']:.2f} ms{peer}\n")
    worst = max((row for row in rows if "ratio" in row), key=lambda row: float(row["ratio"]))
    found = {key: worst[key] for key in ("ours", "again_ms", "peer", "peer_value", "ratio")}
    return {**found, "unit": "ms", **_gas(), "chain": KIND, "rows": rows}


def run_task() -> dict[str, Any]:
    """A run in a simulated enclave beside the same Python here: totals of 300,000 lines by group, milliseconds.

    Ours takes the sealed input, opens it, computes, seals the output and gives the quote. `start_ms` comes before, once for each
    task: measuring, launching, confining and attesting an enclave. Wall-clock; the median of several runs, both sides in turn.
    """
    lines = "".join(f"{i % 7},{i * 7919 % 1000},{i * 104729 % 1000}\n" for i in range(ROWS)).encode()
    manifest = EnclaveManifest(ALGORITHM, hashlib.sha256(b"publisher").digest())
    receiver, context, salt = X25519PrivateKey.generate(), secrets.token_bytes(32), secrets.token_bytes(32)
    receivers, code = [receiver.public_key().public_bytes_raw()], context + hashlib.sha256(ALGORITHM).digest()
    commitments = [runs.commitment(salt, lines)]
    content = salt + runs.inputs_digest(commitments) + lines
    starts, ours, plain = [], [], []
    with QuotingProcess(ProvisioningAuthority(WINDOW)) as quoting:
        for number in range(REPEATS + 1):
            began = time.perf_counter()
            with Enclave(manifest, quoting) as enclave:
                enclave.attest(bytes(32))
                starts.append(1000 * (time.perf_counter() - began))
                sealed = runs.seal(enclave.public_key, content, runs.input_context(code, receivers, 0))
                began = time.perf_counter()
                done = enclave.compute([sealed], receivers, context)
                ours.append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
            expected = python(ALGORITHM)([lines])
            plain.append(1000 * (time.perf_counter() - began))
            opening = runs.output_context(code, receivers, commitments)
            if runs.unseal(receiver, done.outputs[0], opening)[32:] != expected:
                sys.exit("the enclave found another result")
            sys.stderr.write(f"run {number}: start {starts[-1]:.0f}, enclave {ours[-1]:.0f}, plain {plain[-1]:.0f} ms\n")
    value, peer = (sorted(times[1:])[REPEATS // 2] for times in (ours, plain))  # the first warms up
    return {
        "ours": value,
        "peer": "plain Python",
        "peer_value": peer,
        "ratio": value / peer,
        "unit": "ms",
        "start_ms": sorted(starts[1:])[REPEATS // 2],
        "runs": ours[1:],
    }


@contextmanager
def _one_core() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _milliseconds(work: Callable[[], Any]) -> float:
    """Of processor time for each, the best of three times."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for _ in range(TIMES):
            work()
        best = min(best, time.process_time() - began)
    return 1000 * best / TIMES


def _appraisal(work: Callable[[], Any]) -> dict[str, Any]:
    """Milliseconds of the first appraisal, and of one after others."""

    def first() -> None:
        for kept in KEPT:
            kept.cache_clear()
        work()

    return {"ours": _milliseconds(first), "again_ms": _milliseconds(work)}


def _quotes() -> Iterator[tuple[str, int, bytes, ProvisioningAuthority]]:
    authority = ProvisioningAuthority(WINDOW)
    platform = SimulatedPlatform(authority)
    yield "SGX, quote v3", SGX, platform.quote_enclave(EnclaveIdentity(bytes(32), bytes(32)), DATA), authority
    yield "TDX, quote v4", TDX, platform.quote_domain(DomainIdentity(bytes(48)), DATA), authority


def _others() -> dict[str, Callable[[], Any]]:
    """Appraisals of the families that the peer does not know; the evidence is that of the unit tests."""
    amd, nitro, hygon, arm = test_snp.amd(), test_nitro.nitro(), test_csv.hygon(), test_cca.arm()
    pcr = test_nitro.pcr
    made: dict[str, tuple[Evidence, Reference, bytes]] = {
        "SEV-SNP (Milan)": (Evidence(amd.report(), amd.endorsements()), SnpGuest(b"\x04" * 48), amd.root),
        "Nitro": (
            Evidence(nitro.document(test_nitro.NOW), NitroEndorsements()),
            NitroEnclave(pcr(0), pcr(1), pcr(2)),
            nitro.fingerprint,
        ),
        "CSV": (Evidence(hygon.report(), test_csv.endorsements()), CsvGuest(b"\x06" * 32), hygon.fingerprint),
        "CCA": (Evidence(arm.token(), arm.endorsements), test_cca.REFERENCE, arm.fingerprint),
    }
    found: dict[str, Callable[[], Any]] = {}
    for name, (evidence, reference, root) in made.items():
        least = {"Milan": SnpTcb(4, 1, 20, 200)}
        policy = AppraisalPolicy("benchmark", simulations=frozenset({root}), snp_minimum=least)
        references = ReferenceValues((reference,))
        found[name] = partial(appraise, evidence, references, policy, test_snp.DATA, test_snp.NOW)
    return found


def _peer(quote: bytes, given: DcapCollateral, authority: ProvisioningAuthority, ours: float) -> dict[str, Any]:
    """The peer's time for the same evidence, which it accepts."""
    text = {name: getattr(given, name).decode() for name in ("tcb_info", "qe_identity", "signing_chain")}
    asked = {
        "quote": quote.hex(),
        "root": authority.root.public_bytes(Encoding.DER).hex(),
        "now": NOW,
        "times": TIMES,
        "collateral": {
            "pck_crl_issuer_chain": authority.chain(SimulatedPlatform(authority).pck).rstrip(b"\0").decode(),
            "root_ca_crl": given.root_crl.hex(),
            "pck_crl": given.pck_crl.hex(),
            "tcb_info_issuer_chain": text["signing_chain"],
            "tcb_info": text["tcb_info"],
            "tcb_info_signature": given.tcb_info_signature.hex(),
            "qe_identity_issuer_chain": text["signing_chain"],
            "qe_identity": text["qe_identity"],
            "qe_identity_signature": given.qe_identity_signature.hex(),
        },
    }
    command = [str(python_with("dcap-qvl", PEER)), str(Path(__file__).parent / "peers" / "dcap_verify.py")]
    answer = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True, timeout=300)
    theirs = float(json.loads(answer.stdout.splitlines()[-1])["milliseconds"])
    return {"peer": "dcap-qvl", "peer_value": theirs, "ratio": ours / theirs}


def _gas() -> dict[str, int]:
    """Gas of a registration, and of one three-party result for its quote, or for two verifiers of three."""
    with tempfile.TemporaryDirectory() as folder, LocalChain(Path(folder), kind=KIND) as local:
        world = world_on(local)
        for actor in (*world.parties, world.requester):
            world.enrol(actor)
        grants = [world.grant(world.publish(actor)) for actor in world.parties]
        for actor, grant in zip(world.parties, grants, strict=True):
            world.issue(actor, grant)
        plain = Case(world, grants, world.proposal(grants))
        plain.start()
        signed = world.prove(plain.proposal, world.result(plain.proposal)).gas_used
        attested = Case(world, grants, world.proposal(grants, proof_kind=typed.proof_kind(ATTESTED_SIMULATED)))
        attested.start()
        run = Run(world, attested.proposal)
        registration = run.register(SimulatedPlatform(run.authority).pck).gas_used
        quoted = run.prove(run.proof()).gas_used
        appraised = Case(world, grants, world.proposal(grants, proof_kind=typed.proof_kind(ATTESTED_QUORUM)))
        appraised.start()
        vouched = Vouched(world, appraised.proposal)
        quorum = vouched.prove(vouched.proof()).gas_used
        return {"quote_gas": quoted - signed, "quorum_gas": quorum - signed, "registration_gas": registration}
