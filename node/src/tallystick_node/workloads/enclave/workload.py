"""`enclave`: a query, a module, training, prediction or a reviewed function over the tables of several owners, in an enclave.

It runs at one party, the host. Owners authorise the code by its digest. Each gives its table only to an enclave whose evidence it
has accepted, sealed; the output leaves sealed to the receivers. The task says what the evidence has to be of: a simulation, or
hardware that the host's node runs in; everybody is shown which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from tallystick.attestation.documents import write_policy
from tallystick.attestation.rules import EvidenceRefused
from tallystick.attestation.standing import Standing
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused, TallystickError
from tallystick.protocol.proof.attested import AttestedRun
from tallystick.protocol.proof.quorum import QuorumRun
from tallystick.protocol.result import file_digest
from tallystick.protocol.task import ATTESTED_HARDWARE, ATTESTED_QUORUM, ATTESTED_SIMULATED, SIGNED_BY_ALL, TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.engines.tee import joint
from tallystick_node.engines.tee.enclave import EnclaveFailed, EnclaveRefused
from tallystick_node.engines.tee.hosting import HostedEnclave
from tallystick_node.engines.tee.joint import MAX_INPUT, Finished, Terms
from tallystick_node.engines.tee.tables import Column, Table, encode
from tallystick_node.workloads.base import Cost, Enclosed, Outcome, ToVouch, Workload
from tallystick_node.workloads.enclave.parameters import HARDWARE, SIMULATED, Parameters

RESULTS = {"sql": "result.csv", "learn": "result.csv", "wasm": "result.bin", "python": "result.bin"}
EVIDENCE = "evidence.json"
START, LOADING, CELL = 5.0, 15.0, 2e-6  # seconds: to start, to load scikit-learn, and to seal, open and load a cell
_TOO_LARGE, _NO_SIZE = partial(OutputRefused, rule="output-too-large"), partial(OutputRefused, rule="no-group-size")
_ENDS: dict[str, tuple[Callable[..., TallystickError], str, str]] = {
    "AlgorithmRefused": (InvalidData, "the algorithm is not one that may run", "try it with `tally enclave try`"),
    "AlgorithmFailed": (InvalidData, "the algorithm ended with an error of its own", "try it with data like the owners'"),
    "OutOfFuel": (InvalidData, "the module executed as many instructions as limits.fuel allows", "allow more fuel"),
    "OutOfHeap": (InvalidData, "the algorithm needs more memory than limits.memory_mib", "allow more memory"),
    "MemoryError": (InvalidData, "tables and algorithm need more memory than the enclave has", "allow more memory, or give less"),
    "OutputTooLarge": (_TOO_LARGE, "the output is longer than limits.output_bytes", "allow more, or give less"),
    "TooFewRows": (
        OutputRefused,
        "there are fewer rows than minimum_group, of an input, of a class, or of what is fitted or judged",
        "use a larger dataset, or describe less of it: fewer features, classes, trees or leaves",
    ),
    "NoGroupSize": (_NO_SIZE, "the result has no column group_size of whole numbers", "count the rows behind each row"),
    "KeyTwice": (InvalidData, "a table has one key in two rows, so that it cannot be joined", "give one row for each key"),
    "NotConverged": (InvalidData, "the fit did not end within its iterations", "standardise, or allow a larger max_iter"),
    "MalformedInput": (InvalidData, "an input is no table, or no model of ours", "give the table as the enclave's result had it"),
    "NoSealingKey": (
        InvalidData,
        "the code keeps a state, and the host's environment gives no key to seal one under",
        "keep no state, or run at a host whose platform gives such keys",
    ),
    "OtherInputs": (InvalidData, "the inputs are not those that the owners told one another of", "ask the host and the owners"),
    "SIGXCPU": (InvalidData, "the enclave computed longer than limits.seconds", "allow more seconds"),
    "SIGKILL": (InvalidData, "the enclave was ended, as it computed longer than limits.seconds", "allow more seconds"),
}


_TRUSTED = {
    "sql": "the query with the authorised digest: it decides what of the inputs is in the output, in groups that it counts itself",
    "learn": "the description with the authorised digest: it says what is fitted or predicted, and what of it is in the output; a "
    "model or a metric tells of the rows, as nothing is added to it, and a prediction tells of a row what the model's giver chose",
    "wasm": "the module with the authorised digest: it decides what of the inputs is in the output",
    "python": "the Python source with the authorised digest, wholly: nothing keeps it from telling the host its inputs",
}


_PLATFORMS = {
    SIMULATED: (
        "the host {host}, attested, simulated: who administers its machine can read all inputs while they are computed on",
        "whoever holds the key of the simulated authority: it can attest code that does not run",
    ),
    HARDWARE: (
        "the maker of {host}'s processor, attested, hardware: that its environment keeps out whoever administers the machine",
        "the image that enclave.identities name: that it fixes all that runs in the environment, and launches code as ours does",
    ),
}


class EnclaveTask(Workload):
    """The workload `enclave`."""

    name = "enclave"
    proofs: tuple[str, ...] = (SIGNED_BY_ALL, ATTESTED_SIMULATED, ATTESTED_HARDWARE, ATTESTED_QUORUM)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec names its code, enclaves, host and tables as it must."""
        parameters = Parameters.parse(spec.parameters)
        parameters.check(spec)
        others = (ATTESTED_HARDWARE, ATTESTED_QUORUM) if parameters.family == SIMULATED else (ATTESTED_SIMULATED,)
        if spec.proof in others:
            raise InvalidTask(
                f"the proof {spec.proof} is of another family than evidence that is {parameters.family}",
                remedy="name the family that the host has in parameters.attestation, and the proof of that family",
            )

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """What the spec names: all goes into the enclave."""
        part = spec.input_of(party)
        assert part is not None
        return part.columns

    def enclave(self, spec: TaskSpec) -> Enclosed:
        """Launched by the party that computes; evidence ends in the simulated root that the parameters name, or in a vendor's. Of
        what is proved on chain, the chain says which environments count."""
        parameters = Parameters.parse(spec.parameters)
        unlisted = parameters.family == HARDWARE and spec.proof == SIGNED_BY_ALL
        environments = sorted(parameters.identities) if unlisted else ()
        appraisal = parameters.policy if parameters.family == HARDWARE else None
        return Enclosed(spec.compute[0], parameters.authority, environments, appraisal)

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """Nothing is promised against whoever administers the host's machine, unless its environment keeps it out."""
        host, parameters = spec.compute[0], Parameters.parse(spec.parameters)
        strength = f"attested, {parameters.family}"
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=0,
            parties=len(spec.parties),
            computational_bits=128,
            statistical_bits=128,
            trusted=(
                *(each.format(host=host) for each in _PLATFORMS[parameters.family]),
                _TRUSTED[parameters.kind],
                *_vouched(parameters),
            ),
            learns={
                "host": f"{strength}: of what it passes on, which is sealed, how long it is; how long the code computes, and "
                "by which limit or kind of error it ends without a result, which can depend on the inputs; and see trusted",
                "owner": "that the run ended",
                "receiver": "the output, of at most limits.output_bytes",
                "public": "the spec and who took part",
            },
            references=(
                "RFC 9180 (HPKE), base mode with X25519, HKDF-SHA256 and AES-256-GCM: gap Diffie-Hellman in Curve25519",
                "RFC 9334 (RATS): evidence is appraised before any input is sealed; docs/spec/attestation.md",
            ),
        )

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of an owner that sends its sealed table; the host's machine computes for at most ``limits.seconds``."""
        parameters = Parameters.parse(spec.parameters)
        cells = sum(len(part.columns) * rows.get(part.party, 0) for part in spec.inputs)
        largest = max(len(part.columns) * rows.get(part.party, 0) for part in spec.inputs)
        return Cost(
            bytes_sent=20_000 * len(spec.parties) + 17 * largest,
            rounds=4,
            seconds=START + LOADING * (parameters.kind == "learn") + CELL * cells,
            memory_bytes=parameters.limits.memory + 200 * cells,
        )

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one party's side. Raises InvalidData or OutputRefused, naming the limit, where the enclave was stopped."""
        parameters = Parameters.parse(spec.parameters)
        data = None if table is None else encoded(parameters.tables[party], table)
        if data is not None and len(data) > MAX_INPUT:
            raise InvalidData(f"the table takes more than {MAX_INPUT} bytes", remedy="read fewer columns, or a smaller dataset")
        terms = _terms(spec, parameters, session.standing)
        launch = (lambda: _launched(session, parameters)) if party == spec.compute[0] else None
        try:
            found = joint.run(session, terms, data, launch)
        except EnclaveFailed as failed:
            raise named(failed.reason) from None
        except EnclaveRefused as refused:
            raise InvalidTask(str(refused), remedy="ask the host's operator: see docs/how-to/compute-in-an-enclave.md") from None
        except EvidenceRefused as refused:
            raise InvalidTask(
                f"the host's own enclave is none that the task accepts: {refused}",
                remedy="write enclave.identities and attestation.authority as the host's `tally enclave describe` gives them",
            ) from None
        commitments = dict(zip((part.party for part in spec.inputs), map(canonical.text, found.commitments), strict=True))
        values, files = (None, {}) if found.output is None else _result(parameters, found, scratch)
        return Outcome(
            commitment=commitments.get(party, ""),
            all_commitments=[commitments.get(each, "") for each in spec.parties],
            result=values,
            files=files,
            contribution=_contribution(spec.proof, parameters, session.context, found),
            to_vouch=None if parameters.quorum is None else ToVouch(found.key, found.evidence, write_policy(parameters.policy)),
        )


def _vouched(parameters: Parameters) -> tuple[str, ...]:
    if parameters.quorum is None:
        return ()
    least, count = parameters.quorum.threshold, len(parameters.quorum.verifiers)
    return (f"for what the chain shows of the hardware: that no {least} of the {count} verifiers vouch for what they did not find",)


def _contribution(proof: str, parameters: Parameters, context: bytes, found: Finished) -> str:
    if proof == SIGNED_BY_ALL:
        return ""
    if parameters.quorum is not None:
        return QuorumRun.appraised(context, parameters.digest, found.digest, found.result, parameters.quorum).to_text()
    try:
        return AttestedRun.of_quote(parameters.digest, found.digest, found.quote).to_text()
    except EvidenceRefused as refused:
        raise InvalidTask(f"the evidence cannot be proved on chain: {refused}", remedy="ask for a proof signed-by-all") from None


def _terms(spec: TaskSpec, parameters: Parameters, standing: Standing | None) -> Terms:
    place = spec.parties.index
    return Terms(
        host=place(spec.compute[0]),
        owners=[place(part.party) for part in spec.inputs],
        receivers=[place(each) for each in spec.receivers],
        algorithm=parameters.digest,
        conditions=parameters.manifest.conditions,
        identities=parameters.identities,
        policy=parameters.policy,
        simulated=parameters.family == SIMULATED,
        output=parameters.limits.output,
        seconds=float(spec.run_seconds),
        standing=standing,
    )


def _launched(session: Session, parameters: Parameters) -> HostedEnclave:
    if session.launcher is None:
        raise EnclaveRefused("this node launches no enclaves")
    return HostedEnclave(session.launcher, parameters.manifest)


def named(reason: str) -> TallystickError:
    """What to say where an enclave ended without a result."""
    kind, message, remedy = _ENDS.get(
        reason, (InvalidData, f"the enclave ended without a result: {reason}", "try it with `tally enclave try`")
    )
    return kind(message, remedy=remedy)


def _result(parameters: Parameters, found: Finished, scratch: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    assert found.output is not None
    name = RESULTS[parameters.kind]
    output, evidence = scratch / name, scratch / EVIDENCE
    output.write_bytes(found.output)
    evidence.write_bytes(found.evidence)
    values = {
        "evidence": found.result.strength,
        "status": found.result.status.name.lower(),
        "authority": f"{found.result.authority.name}, {canonical.text(found.result.authority.fingerprint)}",
        "measurement": found.result.measurement.hex(),
        "algorithm": canonical.text(parameters.digest),
        "output": canonical.text(found.digest),
        "salt": canonical.hex32(found.salt),
        "file": {"name": name, "sha256": file_digest(found.output), "bytes": len(found.output)},
    }
    return values, {name: output, EVIDENCE: evidence}


def encoded(name: str, table: pa.Table) -> bytes:
    """An owner's table as it is sealed: see :mod:`tallystick_node.engines.tee.tables`."""
    return encode(Table(name, table.num_rows, tuple(_column(field, table.column(field.name)) for field in table.schema)))


def _column(field: pa.Field, column: pa.ChunkedArray) -> Column:
    scale = int((field.metadata or {}).get(b"scale", b"0"))
    if pa.types.is_date32(field.type):
        return Column(field.name, "date", 0, column.cast(pa.int32()).to_pylist())
    if pa.types.is_boolean(field.type):
        return Column(field.name, "bool", 0, column.cast(pa.int8()).to_pylist())
    if pa.types.is_int64(field.type):
        return Column(field.name, "decimal" if scale else "int64", scale, column.to_pylist())
    return Column(field.name, "string", 0, column.to_pylist())
