"""The result file that a receiver gets: values, a salt that hides them behind the file's hash, and the opening of the
proof.

Its plain SHA-256 is the statement's output for that receiver. It names every file beside it by its digest, so the statement
binds those too. Numbers with a fraction are decimal strings.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import MAX_ATTEMPTS

TYPE = "tallystick.result/1"
LIMIT = 1 << 28
MAX_TOTALS = 1 << 16
MAX_FILES = 64
NAME = "result.json"
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,99}")


@dataclass(frozen=True)
class Opening:
    """The totals behind a sum-verified result, as integers, and the sum of the parties' blindings."""

    totals: tuple[int, ...]
    blinding: int

    def to_json(self) -> dict[str, Any]:
        """The opening with its integers as decimal text."""
        return {"totals": [str(total) for total in self.totals], "blinding": str(self.blinding)}

    @classmethod
    def from_json(cls, value: Any, where: str = "result.opening") -> Opening:
        """Read an opening strictly."""
        fields = Fields(value, ("totals", "blinding"), where)
        return cls(fields.items("totals", 1, MAX_TOTALS, _integer), _integer(fields.string("blinding", 101), where))


@dataclass(frozen=True)
class ResultFile:
    """One receiver's result.

    ``task`` and ``salt`` are ``0x…``; ``files`` maps the names of the files beside it to their plain SHA-256, ``sha256:…``;
    ``opening`` is there exactly for sum-verified results.
    """

    task: str
    attempt: int
    receiver: str
    workload: str
    values: Mapping[str, Any]
    files: Mapping[str, str]
    opening: Opening | None
    salt: str

    def to_bytes(self) -> bytes:
        """The canonical bytes. Raises :class:`MalformedDocument` if they would not parse."""
        data = canonical.encode(
            {
                "type": TYPE,
                "task": self.task,
                "attempt": self.attempt,
                "receiver": self.receiver,
                "workload": self.workload,
                "values": self.values,
                "files": self.files,
                "opening": self.opening.to_json() if self.opening else None,
                "salt": self.salt,
            }
        )
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> ResultFile:
        """Read a result file strictly. Raises :class:`MalformedDocument`."""
        keys = ("type", "task", "attempt", "receiver", "workload", "values", "files", "opening", "salt")
        value = canonical.decode(data, LIMIT)
        fields = Fields(value, keys, "result")
        fields.constant("type", TYPE)
        return cls(
            task=fields.hex32("task"),
            attempt=fields.integer("attempt", 1, MAX_ATTEMPTS),
            receiver=fields.address("receiver"),
            workload=fields.string("workload", 64),
            values=MappingProxyType(fields.object("values")),
            files=_files(fields.object("files")),
            opening=None if value["opening"] is None else Opening.from_json(value["opening"]),
            salt=fields.hex32("salt"),
        )


def file_digest(data: bytes) -> str:
    """The plain SHA-256 of a result file, ``sha256:…``."""
    return canonical.text(hashlib.sha256(data).digest())


def opening_of(totals: Sequence[int], blinding: int) -> Opening:
    """An opening from integers."""
    return Opening(tuple(int(total) for total in totals), int(blinding))


def _files(value: dict[str, Any]) -> Mapping[str, str]:
    if len(value) > MAX_FILES:
        raise MalformedDocument(f"result.files: more than {MAX_FILES}")
    for name in value:
        if not _FILE.fullmatch(name) or name == NAME:
            raise MalformedDocument("result.files: a name is no plain name of a file beside the result file")
    fields = Fields(value, tuple(value), "result.files")
    return MappingProxyType({name: fields.digest(name) for name in value})


def _integer(value: Any, where: str) -> int:
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        raise MalformedDocument(f"{where}: not an integer as decimal text of at most 100 digits")
    return int(value)
