"""``signed-by-all``: every party signed digests of the statement's input and output lists. No proof bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.kind import require_no_aggregate, require_nothing_said
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.result import ResultFile
from tallystick.protocol.task import SIGNED_BY_ALL


class SignedByAll:
    """The floor: what a commitment is, the workload defines."""

    name = SIGNED_BY_ALL

    def check_commitment(self, text: str) -> None:
        """Any text."""

    def assemble(self, subject: Subject, said: Mapping[str, str]) -> bytes:
        """No bytes."""
        require_nothing_said(said)
        return b""

    def require_terms(self, parameters: Mapping[str, Any], parties: int, proof: bytes) -> None:
        """Parameters say nothing about a proof of this kind."""

    def inputs(self, subject: Subject) -> bytes:
        """``digest("inputs", canonical inputs)``."""
        return canonical.digest("inputs", canonical.encode([each.to_json() for each in subject.inputs]))

    def output(self, subject: Subject, proof: bytes) -> bytes:
        """``digest("outputs", canonical outputs)``."""
        return canonical.digest("outputs", canonical.encode([each.to_json() for each in subject.outputs]))

    def check(self, subject: Subject, proof: bytes) -> str:
        """Refuse any bytes."""
        if proof:
            raise MalformedDocument("this kind takes no proof bytes")
        return "no proof bytes"

    def open(self, subject: Subject, proof: bytes, file: ResultFile, aggregate: Iterable[bytes] | None) -> str | None:
        """Nothing is to be opened."""
        require_no_aggregate(aggregate)
        return "names this task"
