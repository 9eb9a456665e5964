"""Authorisations: the terms that a data owner states off chain, and the grant that commits to them on chain.

The terms' root hides each field behind its own salt, so that one field can be shown without the others. The tree is
OpenZeppelin's (``MerkleProof``): leaves hashed twice, pairs sorted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tallystick.ethereum import abi_encode, keccak
from tallystick.protocol import canonical, typed
from tallystick.protocol.errors import Refused
from tallystick.protocol.fields import Fields
from tallystick.protocol.merkle import SortedPairTree
from tallystick.protocol.task import MAX_COLUMNS, MAX_PARTIES, TaskInput, TaskSpec

TYPE = "tallystick.terms/1"
LIMIT = 1 << 20
FIELDS = ("purpose", "algorithms", "columns", "receivers")
MAX_ALGORITHMS = 64


@dataclass(frozen=True)
class Salts:
    """One random 32-byte salt, ``0x…``, for each committed field."""

    purpose: str
    algorithms: str
    columns: str
    receivers: str

    def to_json(self) -> dict[str, str]:
        """The salts as they stand in the document."""
        return {name: getattr(self, name) for name in FIELDS}

    @classmethod
    def from_json(cls, value: Any, where: str = "salts") -> Salts:
        """Read the salts strictly."""
        fields = Fields(value, FIELDS, where)
        return cls(**{name: fields.hex32(name) for name in FIELDS})


@dataclass(frozen=True)
class GrantTerms:
    """What a grant allows: ``grantee`` may use ``dataset`` for ``purpose`` with these algorithms, columns and
    receivers only.

    ``algorithms`` are workload names, or a workload with the digest of the one plan that it may run, with the task that made the
    one model that it may use, or with ``private`` for its tasks that spend of a privacy budget (see :attr:`TaskSpec.algorithms`);
    ``receivers`` accounts in ascending order.
    """

    dataset: str
    grantee: str
    purpose: str
    algorithms: tuple[str, ...]
    columns: tuple[str, ...]
    receivers: tuple[str, ...]
    salts: Salts

    def to_bytes(self) -> bytes:
        """The canonical bytes; they parse, so terms that break a rule raise :class:`MalformedDocument` here."""
        data = canonical.encode(
            {
                "type": TYPE,
                "dataset": self.dataset,
                "grantee": self.grantee,
                "purpose": self.purpose,
                "algorithms": list(self.algorithms),
                "columns": list(self.columns),
                "receivers": list(self.receivers),
                "salts": self.salts.to_json(),
            }
        )
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> GrantTerms:
        """Read terms strictly. Raises :class:`MalformedDocument`."""
        keys = ("type", "dataset", "grantee", "purpose", "algorithms", "columns", "receivers", "salts")
        fields = Fields(canonical.decode(data, LIMIT), keys, "terms")
        fields.constant("type", TYPE)
        return cls(
            dataset=fields.hex32("dataset"),
            grantee=fields.address("grantee"),
            purpose=fields.string("purpose", 256),
            algorithms=fields.names("algorithms", 1, MAX_ALGORITHMS),
            columns=fields.names("columns", 1, MAX_COLUMNS),
            receivers=fields.accounts("receivers", 1, MAX_PARTIES),
            salts=Salts.from_json(fields.object("salts"), "terms.salts"),
        )

    def leaf(self, name: str) -> bytes:
        """The leaf of one of :data:`FIELDS`: keccak256 twice over abi.encode(keccak256(name), salt, canonical JSON)."""
        value = getattr(self, name)
        document = canonical.encode(list(value) if isinstance(value, tuple) else value)
        salt = canonical.unhex32(getattr(self.salts, name))
        return keccak(keccak(abi_encode(["bytes32", "bytes32", "bytes"], [keccak(name.encode()), salt, document])))

    def tree(self) -> SortedPairTree:
        """The tree over the four fields; ``tree().proof(leaf)`` opens one."""
        return SortedPairTree([self.leaf(name) for name in FIELDS])

    def root(self) -> bytes:
        """The terms' root, ``terms`` in the on-chain grant."""
        return self.tree().root

    def permits(self, spec: TaskSpec, given: TaskInput) -> None:
        """Raise :class:`Refused` by the first rule that ``spec``, with ``given`` as the input under these terms,
        breaks.

        Rules, in order: ``grant.terms``, ``grant.dataset``, ``grant.grantee``, ``grant.purpose``, ``grant.algorithm``,
        ``grant.columns``, ``grant.receivers``.
        """
        ask = "ask the data owner for a grant that allows it"
        broken: tuple[tuple[str, bool, str], ...] = (
            ("grant.terms", given.terms != canonical.hex32(self.root()), "the input refers to other terms"),
            ("grant.dataset", given.dataset != self.dataset, "the terms are for another dataset"),
            (
                "grant.grantee",
                spec.requester != self.grantee,
                f"the terms are for {self.grantee}, not {spec.requester}",
            ),
            ("grant.purpose", not within(spec.purpose, self.purpose), f"purpose {spec.purpose!r} is not within {self.purpose!r}"),
            (
                "grant.algorithm",
                not set(spec.algorithms) & set(self.algorithms),
                f"algorithm {spec.algorithms[-1]!r} is not allowed",
            ),
            (
                "grant.columns",
                not set(given.columns) <= set(self.columns),
                f"columns not allowed: {', '.join(sorted(set(given.columns) - set(self.columns)))}",
            ),
            (
                "grant.receivers",
                not set(spec.receivers) <= set(self.receivers),
                f"receivers not allowed: {', '.join(sorted(set(spec.receivers) - set(self.receivers)))}",
            ),
        )
        for rule, failed, message in broken:
            if failed:
                raise Refused(message, rule=rule, party=given.party, remedy=ask)


def within(purpose: str, granted: str) -> bool:
    """Whether ``purpose`` is the granted one or narrower: purposes are paths, ``health/research`` allows ``health/research/x``."""
    return purpose == granted or purpose.startswith(granted + "/")


@dataclass(frozen=True)
class Grant:
    """An authorisation as it stands on chain (``Types.sol``).

    Times in seconds since 1970, inclusive; epsilon in millionths.
    """

    dataset: bytes
    grantee: str
    terms: bytes
    uses: int
    epsilon_micros: int
    not_before: int
    not_after: int
    salt: bytes

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct in ABI order."""
        return (
            self.dataset, self.grantee, self.terms, self.uses, self.epsilon_micros,
            self.not_before, self.not_after, self.salt,
        )  # fmt: skip

    def id(self) -> bytes:
        """The grant's id: its EIP-712 struct hash. The owner signs ``typed.grant_digest(domain, grant.id())``."""
        kinds = ("bytes32", "address", "bytes32", "uint32", "uint64", "uint40", "uint40", "bytes32")
        return typed.struct_hash(typed.GRANT_TYPE, kinds, self.as_tuple())

    def to_json(self) -> dict[str, Any]:
        """The grant in text form, as ``grants.json`` holds it; 64-bit numbers as strings."""
        return {
            "dataset": canonical.hex32(self.dataset),
            "grantee": self.grantee,
            "terms": canonical.hex32(self.terms),
            "uses": self.uses,
            "epsilon_micros": str(self.epsilon_micros),
            "not_before": self.not_before,
            "not_after": self.not_after,
            "salt": canonical.hex32(self.salt),
        }

    @classmethod
    def from_json(cls, value: Any, where: str = "grant") -> Grant:
        """Read the text form strictly."""
        keys = ("dataset", "grantee", "terms", "uses", "epsilon_micros", "not_before", "not_after", "salt")
        fields = Fields(value, keys, where)
        return cls(
            dataset=canonical.unhex32(fields.hex32("dataset")),
            grantee=fields.address("grantee"),
            terms=canonical.unhex32(fields.hex32("terms")),
            uses=fields.integer("uses", 0, 2**32 - 1),
            epsilon_micros=fields.number("epsilon_micros", 2**64 - 1),
            not_before=fields.seconds("not_before"),
            not_after=fields.seconds("not_after"),
            salt=canonical.unhex32(fields.hex32("salt")),
        )
