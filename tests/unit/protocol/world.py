"""A synthetic network of three parties, complete: real keys, certificates, signatures, commitments, receipts, headers.

Everything the tests tamper with is a plain attribute; :meth:`World.bundle` puts it together again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import rlp
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric import ec
from eth_abi.abi import encode as abi_encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from tallystick.attestation.quote import SgxReport
from tallystick.attestation.runs import commitment, task_digest
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import EnclaveIdentity, SimulatedPlatform, sgx_report
from tallystick.commitments import pedersen, projection, ranges
from tallystick.protocol import canonical, events, receipts, typed
from tallystick.protocol.bounds import shape_of
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.case import grants_bytes
from tallystick.protocol.facts import BlockEvidence, ChainEvidence
from tallystick.protocol.fields import order
from tallystick.protocol.grant import Grant, GrantTerms, Salts
from tallystick.protocol.identity import Certificate, issue_authority, issue_certificate
from tallystick.protocol.proof import sum_verified
from tallystick.protocol.proof.attested import AttestedRun, EnclaveTerms
from tallystick.protocol.proof.groth16 import Circuit, Groth16Terms, ProvedCircuit, attempt_input
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.projection_verified import Contribution
from tallystick.protocol.proof.subject import Subject, result_of, subject_of
from tallystick.protocol.proof.sum_in_range import Contribution as RangeContribution
from tallystick.protocol.result import Opening, ResultFile, file_digest
from tallystick.protocol.statement import (
    CONTRACTS,
    CodeRelease,
    Envelope,
    Link,
    MeasuredCost,
    Statement,
    StatementInput,
    StatementOutput,
)
from tallystick.protocol.task import Security, TaskInput, TaskSpec, proposal_of
from unit.protocol import groth16_world, quorum_world, vector_sum_world

CHAIN = 31337
START = 1_800_000_000
DAY = 86400
ENCLAVE = EnclaveIdentity(hashlib.sha256(b"code").digest(), hashlib.sha256(b"publisher").digest())
ALGORITHM, OUTPUT = hashlib.sha256(b"select 1").digest(), hashlib.sha256(b"salted output").digest()
VECTORS = ((3, 5, 2**40, 0, 9), (4, 6, 2**33, 1, 0))
SHARES = (((3, 5), 77), ((4, -6), 1234))  # of kinds with sums: a count and a sum, and the blinding
RANGED: dict[str, Any] = {  # what such a task is about, as statistics are
    "columns": [{"name": "age", "scale": 0}],
    "compute": ["mean"],
    "regression": None,
    "histograms": [],
    "where": [],
    "group_by": None,
    "minimum_group": 7,
    "ddof": 1,
    "bounds": {"row_bits": 4, "values": [{"column": "age", "low": "-2", "high": "2"}]},
}
AGGREGATE = tuple(map(sum, zip(*VECTORS, strict=True)))
FILES = {"model.bin": canonical.text(hashlib.sha256(b"model").digest())}
DEPLOYED = {name: to_checksum_address(hashlib.sha256(name.encode()).digest()[:20]) for name in CONTRACTS}


def salt(label: str) -> str:
    return "0x" + hashlib.sha256(label.encode()).hexdigest()


@dataclass(frozen=True)
class Account:
    key: PrivateKey

    @property
    def address(self) -> str:
        return to_checksum_address(keccak(self.key.public_key.format(compressed=False)[1:])[12:])

    def sign(self, digest: bytes) -> bytes:
        signature = self.key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([27 + signature[64]])


def p256(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(number, ec.SECP256R1())


ACCOUNTS = sorted((Account(PrivateKey.from_int(n)) for n in (11, 12, 13)), key=lambda each: order(each.address))
PARTIES = [each.address for each in ACCOUNTS]
WORLD_DOMAIN = typed.Domain("ProofRegistry", CHAIN, DEPLOYED["ProofRegistry"])
REQUESTER = Account(PrivateKey.from_int(99)).address
STRANGER = Account(PrivateKey.from_int(666))


def log_of(kind: events.EventType, /, **values: Any) -> tuple[bytes, list[bytes], bytes]:
    topics = [kind.topic, *(abi_encode([abi], [values[name]]) for name, abi in kind.indexed)]
    data = abi_encode([abi for _, abi in kind.data], [values[name] for name, _ in kind.data])
    return bytes.fromhex(DEPLOYED[kind.contract][2:]), topics, data


def header_of(parent: bytes, number: int, timestamp: int, root: bytes) -> bytes:
    def number_bytes(value: int) -> bytes:
        return value.to_bytes((value.bit_length() + 7) // 8, "big")

    zero, one = bytes(32), b"\x01"
    height, time = number_bytes(number), number_bytes(timestamp)
    return rlp.encode([parent, zero, bytes(20), zero, zero, root, bytes(256), b"", height, one, one, time, b"", zero, bytes(8)])


@dataclass
class World:
    proof_kind: str
    spec: TaskSpec
    terms: list[GrantTerms]
    grants: list[Grant]
    authority: Certificate
    ca_key: ec.EllipticCurvePrivateKey
    certificates: dict[str, Certificate]
    statement: Statement
    results: dict[str, bytes]
    proof: bytes
    events: list[tuple[events.EventType, dict[str, Any]]]
    signers: dict[str, Account] = field(default_factory=dict)
    contracts: dict[str, str] = field(default_factory=lambda: dict(DEPLOYED))

    def change(self, kind: events.EventType, index: int = 0, /, **values: Any) -> None:
        """Change the index-th event of this type."""
        found = [each for each in self.events if each[0] is kind][index]
        found[1].update(values)

    def drop(self, kind: events.EventType, index: int = 0) -> None:
        del self.events[[i for i, each in enumerate(self.events) if each[0] is kind][index]]

    def insert_before(self, at: events.EventType, kind: events.EventType, /, **values: Any) -> None:
        self.events.insert(next(i for i, each in enumerate(self.events) if each[0] is at), (kind, values))

    def agree(self, **changes: Any) -> None:
        """Change the statement, and let the chain and every party follow."""
        self.statement = replace(self.statement, **changes)
        if "task" in changes:
            self._rename_results()
        self.settle()

    def _rename_results(self) -> None:
        task = self.statement.task
        self.results = {who: replace(ResultFile.parse(data), task=task).to_bytes() for who, data in self.results.items()}
        digest = file_digest(next(iter(self.results.values())))
        outputs = tuple(replace(each, sha256=digest) for each in self.statement.outputs)
        self.statement = replace(self.statement, outputs=outputs)

    def settle(self) -> None:
        """Recompute what the statement implies: proof fields, proof bytes and the chain's event."""
        kind, subject = KINDS[self.statement.proof], subject_of(self.statement, self.spec.parties)
        self.proof = kind.assemble(subject, self.contributions(subject))
        self.state_proof()

    def contributions(self, subject: Subject) -> dict[str, str]:
        """What each party adds to the proof."""
        if self.statement.proof == "sum-in-range":
            return ranged(subject, self.spec.parameters)
        if self.statement.proof == "groth16":
            return {PARTIES[2]: proved_circuit(subject).to_text()}
        if self.statement.proof == "attested-simulated":
            return dict.fromkeys(subject.parties, attested_run(subject).to_text())
        if self.statement.proof == "attested-hardware-quorum":
            return dict.fromkeys(subject.parties, quorum_world.said(subject))
        if self.statement.proof == "vector-sum-verified":
            return vector_sum_world.contributions(subject)
        return contributions_of(subject) if self.statement.proof.startswith("projection-verified") else {}

    def state_proof(self) -> None:
        """Let statement and chain say what follows from the proof bytes as they are."""
        kind, subject = KINDS[self.statement.proof], subject_of(self.statement, self.spec.parties)
        self.statement = replace(
            self.statement,
            proof_inputs=canonical.hex32(kind.inputs(subject)),
            proof_output=canonical.hex32(kind.output(subject, self.proof)),
        )
        self.record()

    def record(self) -> None:
        """Let the chain's proof event say what the statement says."""
        result = result_of(self.statement)
        self.change(
            events.RESULT_PROVED,
            statement=result.statement,
            kind=result.proof_kind,
            attempt=result.attempt,
            inputs=result.inputs,
            output=result.output,
        )

    def signatures(self) -> dict[str, bytes]:
        domain = WORLD_DOMAIN
        digest = typed.result_digest(domain, result_of(self.statement))
        return {party: signer.sign(digest) for party, signer in self.signers.items()}

    def blocks(self) -> list[BlockEvidence]:
        made, parent = [], bytes(32)
        for number, (kind, values) in enumerate(self.events, start=1):
            address, topics, data = log_of(kind, **values)
            receipt = b"\x02" + rlp.encode([b"\x01", b"\x52\x08", bytes(256), [[address, topics, data]]])
            header = header_of(parent, number, START + number, receipts.receipts_root([receipt]))
            parent = receipts.Header.parse(header).hash
            made.append(BlockEvidence(header, (receipt,)))
        return made

    def head(self) -> bytes:
        return receipts.Header.parse(self.blocks()[-1].header).hash

    def bundle(self, **changes: Any) -> Bundle:
        envelope = Envelope(CHAIN, self.statement.to_bytes(), self.signatures())
        made = Bundle(
            spec=self.spec.to_bytes(),
            grants=grants_bytes(self.grants),
            authority=self.authority.pem,
            statement=envelope.to_bytes(),
            proof=self.proof,
            chain=ChainEvidence(CHAIN, self.contracts, tuple(self.blocks())).to_bytes(),
            terms={f"{canonical.hex32(each.root())}.json": each.to_bytes() for each in self.terms},
            certificates={f"{account}.pem": each.pem for account, each in self.certificates.items()},
        )
        return replace(made, **changes)


def contributions_of(subject: Subject) -> dict[str, str]:
    """Honest parties' parts of a proof by projections of :data:`VECTORS`."""
    roots = [canonical.untext(text) if text else bytes(32) for text in subject.commitments]
    aggregate_root = projection.root([projection.encode(AGGREGATE)])
    points = projection.points(projection.challenge(subject.context, roots, aggregate_root))
    own = [*(projection.project(each, points) for each in VECTORS), projection.ZERO]
    whole = projection.project(AGGREGATE, points)
    return {party: Contribution(each, aggregate_root, whole).to_text() for party, each in zip(subject.parties, own, strict=True)}


def ranged(subject: Subject, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Honest parties' range proofs of :data:`SHARES`; the third party receives and proves the sum's."""
    shape = shape_of(parameters)
    encoded = shape.to_bytes()
    own = [ranges.prove(subject.context, encoded, place, shape.inputs, *each).to_bytes() for place, each in enumerate(SHARES)]
    totals, blinding = [a + b for a, b in zip(SHARES[0][0], SHARES[1][0], strict=True)], SHARES[0][1] + SHARES[1][1]
    total = ranges.prove(subject.context, encoded, ranges.TOTAL, shape.total, totals, blinding).to_bytes()
    said = [
        RangeContribution(encoded, own[0], b""),
        RangeContribution(encoded, own[1], b""),
        RangeContribution(encoded, b"", total),
    ]
    return {party: each.to_text() for party, each in zip(subject.parties, said, strict=True)}


def circuit() -> Circuit:
    """A key that the first party registered."""
    return Circuit(PARTIES[0], hashlib.sha256(b"w times w is y").digest(), groth16_world.ceremony()[1])


def proved_circuit(subject: Subject) -> ProvedCircuit:
    """A proof that somebody knows a root of 49, for this subject."""
    first = attempt_input(subject.context, KINDS["groth16"].inputs(subject))
    return ProvedCircuit(circuit(), (49,), root_proof(first))


@cache
def root_proof(attempt: int) -> bytes:
    return groth16_world.encoded(*groth16_world.prove(groth16_world.ceremony()[2], attempt, 7))


@cache
def simulated_platform() -> SimulatedPlatform:
    return SimulatedPlatform(ProvisioningAuthority((START - DAY, START + 365 * DAY)))


def attested_quote(subject: Subject, enclave: EnclaveIdentity = ENCLAVE) -> bytes:
    """The quote of a run of :data:`ENCLAVE` with what the statement says."""
    commitments = [canonical.untext(each.commitment) for each in subject.inputs]
    about = task_digest(subject.context, ALGORITHM, commitments, OUTPUT) + hashlib.sha256(b"key").digest()
    return simulated_platform().quote_enclave(enclave, about)


def attested_run(subject: Subject, enclave: EnclaveIdentity = ENCLAVE) -> AttestedRun:
    return AttestedRun.of_quote(ALGORITHM, OUTPUT, attested_quote(subject, enclave))


@cache
def certificates() -> tuple[ec.EllipticCurvePrivateKey, Certificate, dict[str, Certificate]]:
    ca_key = p256(1000)
    validity = (START - DAY, START + 365 * DAY)
    authority = issue_authority("Test consortium", ca_key, validity)
    issued = {
        party: issue_certificate(
            authority,
            ca_key,
            p256(2000 + index).public_key(),
            party,
            f"Hospital {index}",
            ["localhost", "127.0.0.1"],
            ["data-provider", "result-receiver"],
            validity,
        )
        for index, party in enumerate(PARTIES)
    }
    return ca_key, authority, issued


def make(kind: str = "sum-verified") -> World:
    ca_key, authority, issued = certificates()
    providers, receiver = PARTIES[:2], PARTIES[2]
    chain: list[tuple[events.EventType, dict[str, Any]]] = []
    chain.append(
        (
            events.AUTHORITY_ADDED,
            {
                "authority": 1,
                "x": authority.subject_x,
                "y": authority.subject_y,
                "notBefore": authority.not_before,
                "notAfter": authority.not_after,
            },
        )
    )
    for party, certificate in issued.items():
        values = {
            "account": party,
            "fingerprint": certificate.fingerprint,
            "authority": 1,
            "subjectX": certificate.subject_x,
            "subjectY": certificate.subject_y,
            "roles": certificate.roles_mask,
            "notBefore": certificate.not_before,
            "notAfter": certificate.not_after,
        }
        chain.append((events.ENROLLED, values))
    terms, grants, inputs, rows = [], [], [], []
    for index, party in enumerate(providers):
        dataset = hashlib.sha256(f"dataset {party}".encode()).digest()
        rows.append(hashlib.sha256(f"rows {party}".encode()).digest())
        stated = GrantTerms(
            dataset=canonical.hex32(dataset),
            grantee=REQUESTER,
            purpose="quality of care",
            algorithms=("intersection", "statistics"),
            columns=("age", "radius"),
            receivers=(receiver,),
            salts=Salts(*(salt(f"{party} {name}") for name in ("purpose", "algorithms", "columns", "receivers"))),
        )
        grant = Grant(dataset, REQUESTER, stated.root(), 3, 5_000_000, START - DAY, START + DAY, hashlib.sha256(b"g").digest())
        granted = {
            "grant": grant.id(),
            "dataset": dataset,
            "grantee": REQUESTER,
            "terms": grant.terms,
            "uses": 3,
            "epsilonMicros": 5_000_000,
            "notBefore": grant.not_before,
            "notAfter": grant.not_after,
        }
        published = {
            "dataset": dataset,
            "owner": party,
            "version": 1,
            "descriptor": bytes(32),
            "rows": rows[index],
            "schema": bytes(32),
        }
        chain += [(events.PUBLISHED, published), (events.GRANTED, granted)]
        terms.append(stated)
        grants.append(grant)
        identity = (canonical.hex32(dataset), canonical.hex32(grant.id()), canonical.hex32(grant.terms))
        inputs.append(TaskInput(party, *identity, ("age", "radius")))
    parameters: dict[str, Any] = {"measures": ["mean"], "minimum_group": 5, "privacy": {"epsilon": "0.25"}}
    if kind == "sum-in-range":
        parameters |= RANGED
    values: dict[str, Any] = {"mean": "3.5"}
    if kind == "groth16":
        parameters["groth16"] = Groth16Terms(circuit().id).to_json()
        values["public_inputs"] = ["49"]
    if kind == "attested-simulated":
        identity_of = SgxReport.read(sgx_report(ENCLAVE, bytes(64))).identity
        parameters["enclave"] = EnclaveTerms(ALGORITHM, (identity_of,)).to_json()
        values["output"] = canonical.text(OUTPUT)
    if kind == "attested-hardware-quorum":
        parameters |= quorum_world.parameters()
        values["output"] = canonical.text(OUTPUT)
    spec = TaskSpec(
        chain_id=CHAIN,
        task_ledger=DEPLOYED["TaskLedger"],
        requester=REQUESTER,
        workload="statistics",
        parameters=parameters,
        purpose="quality of care",
        inputs=tuple(inputs),
        receivers=(receiver,),
        compute=(),
        security=Security("semi-honest", 2),
        proof=kind,
        accept_by=START + DAY,
        run_seconds=600,
        attempts=2,
        salt=salt("task"),
    )
    proposal = proposal_of(spec)
    task = proposal.id()
    chain.append(
        (
            events.PROPOSED,
            {"task": task, "requester": REQUESTER, "spec": proposal.spec, "proposal": proposal.as_tuple()},
        )
    )
    chain += [(events.ACCEPTED, {"task": task, "party": party, "attempt": 1}) for party in PARTIES]
    for grant in grants:
        chain.append((events.DEBITED, {"grant": grant.id(), "task": task, "attempt": 1, "used": 1, "spentMicros": 250_000}))
    chain.append((events.STARTED, {"task": task, "attempt": 1, "runBy": START + 700}))
    chain.append(
        (
            events.RESULT_PROVED,
            {
                "task": task,
                "statement": b"",
                "kind": b"",
                "attempt": 1,
                "inputs": b"",
                "output": b"",
                "submitter": receiver,
            },
        )
    )
    pedersen_commitments = [sum_verified.point_text(pedersen.commit(*each)) for each in SHARES]
    enclosed = [canonical.text(commitment(bytes(32), each)) for each in (b"first", b"second")]
    commitments = {
        "sum-verified": pedersen_commitments,
        "sum-in-range": pedersen_commitments,
        "signed-by-all": [canonical.text(bytes(32))] * 2,
        "projection-verified": [canonical.text(projection.root([projection.encode(each)])) for each in VECTORS],
        "vector-sum-verified": vector_sum_world.commitments() if kind == "vector-sum-verified" else [],
        "groth16": enclosed,
        "attested-simulated": enclosed,
        "attested-hardware-quorum": enclosed,
    }[kind.partition("-absent-")[0]]
    opening = Opening((7, -1), 77 + 1234) if kind.startswith("sum-") else None
    result = ResultFile(canonical.hex32(task), 1, receiver, "statistics", values, FILES, opening, salt("result"))
    stated_inputs = tuple(
        StatementInput(given.party, given.dataset, canonical.text(rows[index]), given.grant, commitments[index])
        for index, given in enumerate(inputs)
    )
    statement = Statement(
        chain_id=CHAIN,
        contracts=DEPLOYED,
        task=canonical.hex32(task),
        attempt=1,
        spec=canonical.text(spec.digest()),
        workload="statistics",
        code=tuple(CodeRelease(party, canonical.text(hashlib.sha256(b"release").digest())) for party in PARTIES),
        inputs=stated_inputs,
        outputs=(StatementOutput(receiver, file_digest(result.to_bytes())),),
        links=tuple(
            Link(a, b, 3, 300, "blake3:" + hashlib.sha256(f"{a}{b}".encode()).hexdigest())
            for a in PARTIES
            for b in PARTIES
            if a != b
        ),
        proof=kind,
        proof_inputs="0x" + "00" * 32,
        proof_output="0x" + "00" * 32,
        security=Security("semi-honest", 2),
        cost=MeasuredCost(1800, 4, 1500),
    )
    world = World(
        kind,
        spec,
        terms,
        grants,
        authority,
        ca_key,
        dict(issued),
        statement,
        {receiver: result.to_bytes()},
        b"",
        chain,
        {each.address: each for each in ACCOUNTS},
    )
    world.settle()
    return world
