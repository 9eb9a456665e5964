"""The interface of a workload, and the objects that cross it. The pattern for every workload of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.protocol.errors import InvalidTask
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.security import SecurityStatement

EARLIER, SPEC = "earlier", "spec.json"


@dataclass(frozen=True)
class Cost:
    """Predicted before the run, measured after it. Bytes are those of the party that sends most, summed over its peers."""

    bytes_sent: int
    rounds: int
    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class ToVouch:
    """What verifiers are asked to vouch for: the public ``key`` of the enclave, 32 bytes; and as documents the ``evidence`` of its
    run with its endorsements, and the ``policy`` by which they appraise it."""

    key: bytes
    evidence: bytes
    policy: bytes


@dataclass(frozen=True)
class Outcome:
    """What one party's worker ends with."""

    commitment: str  # this party's input commitment: "bn254:<128 hex>" or "sha256:<hex>"; "" without input
    all_commitments: Sequence[str] = ()  # of every party, in party order, as this party saw them
    result: Mapping[str, Any] | None = None  # the values of the result document; None when not a receiver
    files: Mapping[str, Path] = field(default_factory=dict)  # further result files by name, for a receiver
    contribution: str = ""  # what this party adds to the proof, as the proof kind defines; for projection-verified its projections
    all_contributions: Sequence[str] = ()  # in tasks that may end without a party: those of every party, as this party knows them
    absent: Sequence[int] = ()  # parties that dropped out of such a task, by index
    to_vouch: ToVouch | None = None  # for attested-hardware-quorum
    opening: Mapping[str, Any] | None = None  # for sum-verified, a receiver: {"totals": [decimal text], "blinding": ...}


@dataclass(frozen=True)
class Enclosed:
    """That a run is in an enclave: which party's node launches it, and the fingerprint, 32 bytes, of the root of simulation that
    its evidence may end in; None where it has to be of hardware, which every party appraises by ``appraisal``. ``environments``:
    the identities of hardware that the task accepts and that no list on chain is asked about, so that only a party can say that it
    trusts them."""

    host: str
    authority: bytes | None
    environments: Sequence[bytes] = ()
    appraisal: AppraisalPolicy | None = None


def require_owners_compute(spec: TaskSpec) -> None:
    """Raise InvalidTask when the spec names computing parties: in this kind of task the owners compute alone."""
    if spec.compute:
        raise InvalidTask(f"{spec.workload} is computed by its owners alone", remedy="leave compute empty")


class Workload(Protocol):
    """One kind of task. Workloads inherit from it, for what it says of those without differential privacy."""

    name: str
    proofs: tuple[str, ...]  # the proof kinds it can give
    kernels: tuple[str, ...] = ()  # the engines that every run needs compiled, besides those of the protocol that a task names

    def check(self, spec: TaskSpec) -> None:
        """Raise ``InvalidTask`` naming the field, the rule and the remedy unless ``spec`` is one that this workload can run."""

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The columns of ``party``'s dataset that the run reads: a grant must cover them all."""

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """The statement for this task."""

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Predict for one party, from public facts: the spec and each input party's registered row count."""

    def earlier(self, spec: TaskSpec) -> Sequence[str]:
        """The ids of the tasks whose results, which owners received, an owner's run reads: none, for a workload that says nothing
        of them. Its node puts the files of each into ``scratch / EARLIER / id``, with the task's spec as ``SPEC``."""
        return ()

    def epsilon_micros(self, spec: TaskSpec) -> int:
        """What the run spends of every owner's privacy budget, in millionths of epsilon, rounded up. None, for a workload that says
        nothing of differential privacy; it is asked only for specs that :meth:`check` accepts."""
        return 0

    def enclave(self, spec: TaskSpec) -> Enclosed | None:
        """The enclave that the run is in: none, for a workload that says nothing of it."""
        return None

    def lookups(self, spec: TaskSpec, party: str) -> int:
        """How many single rows of ``party``'s data an attempt reads for another: none, for a workload that says nothing of it."""
        return 0

    def compared(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The other owners with whose rows an attempt compares ``party``'s, telling somebody else how they match: none, for a
        workload that says nothing of it."""
        return ()

    def shown_rows(self, spec: TaskSpec, party: str) -> Mapping[str, int]:
        """How many whole rows of ``party``'s data an attempt opens to other parties, by account: none, for a workload that says
        nothing of it."""
        return {}

    def kept(self, spec: TaskSpec) -> Sequence[str]:
        """The names of the folders below ``session.kept`` that a run uses: none, for a workload that says nothing of them."""
        return ()

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one party's side in a worker process. ``table`` holds exactly :meth:`columns`; None for a pure receiver.

        Raises ``OutputRefused`` when the output policy forbids release (minimum group size), ``ChannelError`` when a peer
        fails, ``InvalidData`` when the table breaks a rule (NaN, range, duplicate keys).
        """
