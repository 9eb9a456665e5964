# ruff: noqa: N818 - the names say what happened; the base class says that they are errors
"""Every error of Tallystick, in one tree.

::

    TallystickError                TS-1000  anything of ours (never raised itself)
    |-- MalformedDocument          TS-1101  bytes that are not a well-formed document of the expected type
    |-- InvalidTask                TS-1201  a well-formed task spec that breaks a rule of its workload or of the protocol
    |-- InvalidData                TS-1301  a data table that breaks a rule: types, NaN, range, duplicates
    |-- OutputRefused              TS-1401  the output policy forbids the release of a result
    |-- Refused                    TS-2101  an admission or authorisation rule says no; ``rule`` names it
    |-- VerificationFailed         TS-3101  a numbered rule of docs/spec/verification.md fails; ``rule`` is its number
    |-- ChainUnreachable           TS-4101  no answer from the chain's endpoint
    |-- WrongChain                 TS-4102  the chain's id, or a contract's code, is not the deployment's
    |-- ContractRefused            TS-4103  a contract reverted; ``error`` and ``arguments`` are its custom error
    |-- SignerLocked               TS-5101  a key is not available: wrong password, missing file, closed device
    |-- PeerFailed                 TS-6101  another party broke the protocol, vanished, or answered for another task
    |-- Deadline                   TS-6102  a wait reached its deadline
    |-- RunFailed                  TS-6103  a run ended without a result; ``reason`` says why
    |-- NotFound                   TS-7101  the thing that was named does not exist
    `-- Configuration              TS-8101  settings that are missing, contradictory or unreadable

Codes are stable: a code never changes its meaning and is never used again. One table (:data:`TABLE`) gives each code
its gRPC status and its exit code. A message says what happened, ``party`` to whom (an account, or ``None``),
``remedy`` what to do next. None of the three may hold a secret: they travel to peers and into logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from tallystick.protocol.reasons import Reason


class TallystickError(Exception):
    """The root of the tree: ``code`` and ``area`` belong to the class; message, party and remedy to the instance."""

    code: ClassVar[str] = "TS-1000"
    area: ClassVar[str] = "tallystick"

    def __init__(self, message: str, *, party: str | None = None, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.party = party
        self.remedy = remedy

    def __str__(self) -> str:
        where = f" (party {self.party})" if self.party else ""
        then = f" Remedy: {self.remedy}" if self.remedy else ""
        return f"{self.code}: {self.message}{where}{then}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments defeat the default pickling of exceptions, and errors cross process pools.
        return (_rebuild, (type(self), dict(self.__dict__)))

    def problem(self) -> dict[str, str]:
        """The fields of the wire message ``Problem``: ``code, message, party, remedy``."""
        return {"code": self.code, "message": self.message, "party": self.party or "", "remedy": self.remedy}


def _rebuild(kind: type[TallystickError], state: dict[str, Any]) -> TallystickError:
    error = kind.__new__(kind, state["message"])
    error.__dict__.update(state)
    return error


class MalformedDocument(TallystickError):
    """Bytes that are not a well-formed document of the expected type."""

    code = "TS-1101"
    area = "documents"


class InvalidTask(TallystickError):
    """A well-formed task spec that breaks a rule of its workload or of the protocol."""

    code = "TS-1201"
    area = "tasks"


class InvalidData(TallystickError):
    """A data table that breaks a rule: missing columns, types, NaN, range, duplicate keys."""

    code = "TS-1301"
    area = "data"


class OutputRefused(TallystickError):
    """The output policy forbids the release of a result. ``rule`` is the policy's stable name."""

    code = "TS-1401"
    area = "output"

    def __init__(self, message: str, *, rule: str = "group-too-small", party: str | None = None, remedy: str = "") -> None:
        super().__init__(message, party=party, remedy=remedy)
        self.rule = rule


class Refused(TallystickError):
    """An admission or authorisation rule says no. ``rule`` is the rule's stable name, for example ``grant.purpose``."""

    code = "TS-2101"
    area = "admission"

    def __init__(self, message: str, *, rule: str, party: str | None = None, remedy: str = "") -> None:
        super().__init__(message, party=party, remedy=remedy)
        self.rule = rule


class VerificationFailed(TallystickError):
    """A numbered rule of ``docs/spec/verification.md`` fails. ``rule`` is the number."""

    code = "TS-3101"
    area = "verification"

    def __init__(self, message: str, *, rule: int, party: str | None = None, remedy: str = "") -> None:
        super().__init__(message, party=party, remedy=remedy)
        self.rule = rule


class ChainUnreachable(TallystickError):
    """No answer from the chain's endpoint."""

    code = "TS-4101"
    area = "chain"


class WrongChain(TallystickError):
    """The chain's id, or the code at a contract's address, is not the deployment's."""

    code = "TS-4102"
    area = "chain"


class ContractRefused(TallystickError):
    """A contract reverted. ``error`` is the name of its custom error, ``arguments`` its decoded arguments."""

    code = "TS-4103"
    area = "chain"

    def __init__(
        self, message: str, *, error: str, arguments: tuple[Any, ...] = (), party: str | None = None, remedy: str = ""
    ) -> None:
        super().__init__(message, party=party, remedy=remedy)
        self.error = error
        self.arguments = arguments


class SignerLocked(TallystickError):
    """A key is not available: wrong password, missing file, closed device."""

    code = "TS-5101"
    area = "signing"


class PeerFailed(TallystickError):
    """Another party broke the protocol, vanished, or answered for another task; ``reason`` says which, for the chain."""

    code = "TS-6101"
    area = "peers"

    def __init__(self, message: str, *, party: str | None = None, remedy: str = "", reason: Reason = Reason.PEER_VIOLATION) -> None:
        super().__init__(message, party=party, remedy=remedy)
        self.reason = reason


class Deadline(TallystickError):
    """A wait reached its deadline."""

    code = "TS-6102"
    area = "peers"


class RunFailed(TallystickError):
    """A run ended without a result; ``reason`` says why, and ``rule`` which output policy forbids it, if one does."""

    code = "TS-6103"
    area = "runs"

    def __init__(self, message: str, *, reason: Reason, party: str | None = None, remedy: str = "", rule: str = "") -> None:
        super().__init__(message, party=party, remedy=remedy)
        self.reason = reason
        self.rule = rule


class NotFound(TallystickError):
    """The thing that was named does not exist, or the caller may not know that it does."""

    code = "TS-7101"
    area = "lookup"


class Configuration(TallystickError):
    """Settings that are missing, contradictory or unreadable."""

    code = "TS-8101"
    area = "configuration"


@dataclass(frozen=True)
class Row:
    """One row of the table: how an error leaves a process and a server."""

    error: type[TallystickError]
    grpc: str  # the name of a google.rpc.Code
    exit: int  # of a process, 10 to 99; 1 and 2 stay with the interpreter and the command line's usage errors


TABLE: Mapping[str, Row] = MappingProxyType(
    {
        row.error.code: row
        for row in (
            Row(TallystickError, "UNKNOWN", 10),
            Row(MalformedDocument, "INVALID_ARGUMENT", 11),
            Row(InvalidTask, "INVALID_ARGUMENT", 12),
            Row(InvalidData, "FAILED_PRECONDITION", 13),
            Row(OutputRefused, "FAILED_PRECONDITION", 14),
            Row(Refused, "PERMISSION_DENIED", 20),
            Row(VerificationFailed, "DATA_LOSS", 30),
            Row(ChainUnreachable, "UNAVAILABLE", 40),
            Row(WrongChain, "FAILED_PRECONDITION", 41),
            Row(ContractRefused, "FAILED_PRECONDITION", 42),
            Row(SignerLocked, "UNAUTHENTICATED", 50),
            Row(PeerFailed, "ABORTED", 60),
            Row(Deadline, "DEADLINE_EXCEEDED", 61),
            Row(RunFailed, "ABORTED", 62),
            Row(NotFound, "NOT_FOUND", 70),
            Row(Configuration, "INTERNAL", 80),
        )
    }
)

GRPC_STATUS: Mapping[str, str] = MappingProxyType({code: row.grpc for code, row in TABLE.items()})

GRPC_NUMBERS: Mapping[str, int] = MappingProxyType(
    {
        "OK": 0,
        "CANCELLED": 1,
        "UNKNOWN": 2,
        "INVALID_ARGUMENT": 3,
        "DEADLINE_EXCEEDED": 4,
        "NOT_FOUND": 5,
        "ALREADY_EXISTS": 6,
        "PERMISSION_DENIED": 7,
        "RESOURCE_EXHAUSTED": 8,
        "FAILED_PRECONDITION": 9,
        "ABORTED": 10,
        "OUT_OF_RANGE": 11,
        "UNIMPLEMENTED": 12,
        "INTERNAL": 13,
        "UNAVAILABLE": 14,
        "DATA_LOSS": 15,
        "UNAUTHENTICATED": 16,
    }
)


def exit_code(error: BaseException) -> int:
    """The process exit code for ``error``: by its code if it is ours, 130 for an interrupt, 1 for anything else."""
    if isinstance(error, TallystickError):
        return TABLE[error.code].exit
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def error_of(code: str, message: str, *, party: str = "", remedy: str = "") -> TallystickError:
    """Rebuild an error that arrived as a wire ``Problem``. An unknown code becomes :class:`PeerFailed` and names the
    code.

    What only the sender knew does not travel: ``rule`` is ``"remote"`` (or 0), ``error`` is ``"remote"``, ``reason`` is the
    class's default.
    """
    row = TABLE.get(code)
    if row is None:
        return PeerFailed(f"unknown error code {code[:16]!r}: {message}", party=party or None, remedy=remedy)
    kind = row.error
    if issubclass(kind, Refused):
        return kind(message, rule="remote", party=party or None, remedy=remedy)
    if issubclass(kind, VerificationFailed):
        return kind(message, rule=0, party=party or None, remedy=remedy)
    if issubclass(kind, ContractRefused):
        return kind(message, error="remote", party=party or None, remedy=remedy)
    if issubclass(kind, RunFailed):
        return kind(message, reason=Reason.INTERNAL, party=party or None, remedy=remedy)
    return kind(message, party=party or None, remedy=remedy)


def tree(root: type[TallystickError] = TallystickError) -> Iterator[type[TallystickError]]:
    """Every class of the tree that this module defines, the root first."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == __name__:
            yield from tree(child)
