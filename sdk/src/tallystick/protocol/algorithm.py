"""The card of an algorithm, and digests of what is said about it (docs/spec/algorithm.md).

The chain holds the digest of the code, that of its card, and those of the reasons that reviewers gave. Whoever has the files can
hold them against it; nobody else learns more than that they exist.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import MAX_COLUMNS, MAX_PARTIES

TYPE = "tallystick.algorithm/1"
LIMIT = 1 << 20
KINDS = ("sql", "wasm", "python", "learn")
"""What code can be, in the order of the numbers that the chain knows them by: the first is 1. New ones come last."""

MAX_REASON = 1 << 20  # bytes


@dataclass(frozen=True)
class ReadTable:
    """A table that an algorithm reads, under the name that its code uses, and the columns that it reads of it."""

    name: str
    columns: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The table as it stands in the card."""
        return {"name": self.name, "columns": list(self.columns)}

    @classmethod
    def from_json(cls, value: Any, where: str = "table") -> ReadTable:
        """Read the table strictly. Raises :class:`MalformedDocument`."""
        fields = Fields(value, ("name", "columns"), where)
        return cls(fields.string("name", 128), fields.names("columns", 1, MAX_COLUMNS))


@dataclass(frozen=True)
class AlgorithmCard:
    """What an author says of its code: ``code`` is the SHA-256 of the code's bytes, ``kind`` one of :data:`KINDS`, ``gives`` what
    comes out of it, in words. A reviewer checks that this is true; nothing else does."""

    name: str
    version: str
    kind: str
    code: str
    tables: tuple[ReadTable, ...]
    gives: str

    def to_bytes(self) -> bytes:
        """The canonical bytes; they parse, so a card that breaks a rule raises :class:`MalformedDocument` here."""
        data = canonical.encode(
            {
                "type": TYPE,
                "name": self.name,
                "version": self.version,
                "kind": self.kind,
                "code": self.code,
                "tables": [table.to_json() for table in self.tables],
                "gives": self.gives,
            }
        )
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> AlgorithmCard:
        """Read a card strictly. Raises :class:`MalformedDocument`."""
        keys = ("type", "name", "version", "kind", "code", "tables", "gives")
        fields = Fields(canonical.decode(data, LIMIT), keys, "card")
        fields.constant("type", TYPE)
        tables = fields.items("tables", 1, MAX_PARTIES, ReadTable.from_json)
        if len({table.name for table in tables}) != len(tables):
            raise MalformedDocument("card.tables: names the same table twice")
        return cls(
            name=fields.string("name", 128),
            version=fields.string("version", 64),
            kind=fields.choice("kind", KINDS),
            code=fields.digest("code"),
            tables=tables,
            gives=fields.string("gives", 4096),
        )

    def digest(self) -> bytes:
        """The card's digest, ``card`` on chain."""
        return canonical.digest("algorithm-card", self.to_bytes())


def code_digest(code: bytes) -> bytes:
    """The digest that names an algorithm, in grants (``enclave:sha256:…``), in tasks and on chain: SHA-256 of its bytes."""
    return hashlib.sha256(code).digest()


def reason_digest(reason: bytes) -> bytes:
    """The digest of a review's written reason, ``reason`` on chain. Raises :class:`MalformedDocument` where there is none."""
    if not reason.strip() or len(reason) > MAX_REASON:
        raise MalformedDocument(f"a reason has 1 to {MAX_REASON} bytes", remedy="write down what was read and what was found")
    return canonical.digest("algorithm-review", reason)


def verdict_word(approved: bool) -> str:  # noqa: FBT001 - the only thing that it says
    """``approved`` or ``rejected``."""
    return "approved" if approved else "rejected"


def kind_number(kind: str) -> int:
    """The number by which the chain knows a kind. Raises :class:`MalformedDocument`."""
    if kind not in KINDS:
        raise MalformedDocument(f"{kind!r} is no kind of algorithm", remedy=f"one of {', '.join(KINDS)}")
    return KINDS.index(kind) + 1


def kind_named(number: int) -> str:
    """The kind that the chain knows by a number; ``kind 9`` for one that this release does not know."""
    return KINDS[number - 1] if 1 <= number <= len(KINDS) else f"kind {number}"
