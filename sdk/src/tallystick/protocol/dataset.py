"""What a data owner publishes about a dataset: its descriptor, and the digests of it that stand on chain.

The descriptor is salted, so the chain's digests tell nothing about names, columns or the number of rows to anyone who
was not handed the descriptor. The canonical row encoding and the rows commitment are defined in
``docs/spec/dataset.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tallystick.ethereum import abi_encode, keccak
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

TYPE = "tallystick.dataset/1"
LIMIT = 1 << 20
COLUMN_TYPES = ("int64", "decimal", "string", "bool", "date")
MAX_COLUMNS = 4096
MAX_SCALE = 18


@dataclass(frozen=True)
class Column:
    """One column.

    ``scale`` (decimals only, 0 to 18) is the number of digits after the point; the unscaled value is an int64.
    """

    name: str
    type: str
    scale: int | None = None
    nullable: bool = False

    def to_json(self) -> dict[str, Any]:
        """The column as it stands in a document."""
        value: dict[str, Any] = {"name": self.name, "type": self.type, "nullable": self.nullable}
        if self.scale is not None:
            value["scale"] = self.scale
        return value

    @classmethod
    def from_json(cls, value: Any, where: str = "column") -> Column:
        """Read a column strictly."""
        fields = Fields(value, ("name", "type", "nullable"), where, optional=("scale",))
        kind = fields.choice("type", COLUMN_TYPES)
        if fields.has("scale") != (kind == "decimal"):
            raise MalformedDocument(f"{where}: exactly the decimal columns have a scale")
        scale = fields.integer("scale", 0, MAX_SCALE) if kind == "decimal" else None
        return cls(fields.string("name", 128), kind, scale, fields.boolean("nullable"))


@dataclass(frozen=True)
class DatasetDescriptor:
    """A dataset's description.

    ``root`` is ``sha256:…`` over the salted rows, ``salt`` 32 random bytes, ``created`` seconds.
    """

    owner: str
    name: str
    columns: tuple[Column, ...]
    rows: int
    root: str
    salt: str
    created: int

    def to_bytes(self) -> bytes:
        """The canonical bytes; a descriptor that breaks a rule raises :class:`MalformedDocument` here."""
        data = canonical.encode(
            {
                "type": TYPE,
                "owner": self.owner,
                "name": self.name,
                "columns": [column.to_json() for column in self.columns],
                "rows": self.rows,
                "root": self.root,
                "salt": self.salt,
                "created": self.created,
            }
        )
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> DatasetDescriptor:
        """Read a descriptor strictly. Raises :class:`MalformedDocument`."""
        keys = ("type", "owner", "name", "columns", "rows", "root", "salt", "created")
        fields = Fields(canonical.decode(data, LIMIT), keys, "dataset")
        fields.constant("type", TYPE)
        columns = fields.items("columns", 1, MAX_COLUMNS, Column.from_json)
        if len({column.name for column in columns}) != len(columns):
            raise MalformedDocument("dataset.columns: two columns have the same name")
        return cls(
            owner=fields.address("owner"),
            name=fields.string("name", 256),
            columns=columns,
            rows=fields.integer("rows", 0, 2**48),
            root=fields.digest("root"),
            salt=fields.hex32("salt"),
            created=fields.seconds("created"),
        )

    def digest(self) -> bytes:
        """The descriptor's digest, ``descriptor`` on chain."""
        return canonical.digest("dataset", self.to_bytes())

    def id(self) -> bytes:
        """The dataset's id at its first version."""
        return dataset_id(self.owner, self.digest())


def descriptor_digest(descriptor: DatasetDescriptor) -> bytes:
    """The digest of a descriptor under the domain ``dataset``."""
    return descriptor.digest()


def schema_digest(descriptor: DatasetDescriptor) -> bytes:
    """The digest of the columns with the descriptor's salt, under the domain ``schema``.

    Hiding, as everything on chain.
    """
    value = {"columns": [column.to_json() for column in descriptor.columns], "salt": descriptor.salt}
    return canonical.digest("schema", canonical.encode(value))


def dataset_id(owner: str, descriptor: bytes) -> bytes:
    """The id that DatasetRegistry gives: keccak256(abi.encode(owner, descriptor digest)), of the first version's
    descriptor.
    """
    return keccak(abi_encode(["address", "bytes32"], [owner, descriptor]))
