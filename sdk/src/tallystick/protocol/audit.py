"""Records of a node's append-only log (refusals, accesses, statements, runs), and the verification of a log against
its head.

A record is its body and the node's signature over ``digest("audit", body)``. The body names chain, account and index,
so that a record holds in one log at one place. Leaves are whole records; heads are RFC 9162 roots, anchored in
``AuditLog``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tallystick.protocol import canonical, merkle
from tallystick.protocol.errors import VerificationFailed
from tallystick.protocol.fields import Fields
from tallystick.protocol.signature import recover, verify_signature

TYPE = "tallystick.audit/1"
LIMIT = 1 << 16
KINDS = ("refusal", "access", "run", "statement")


@dataclass(frozen=True)
class AuditRecord:
    """One record. ``at`` in seconds since 1970; ``party`` whom it is about; ``task`` and ``dataset`` are ``0x…``, or
    empty.

    ``rule`` is the refusing rule's name, else empty. ``detail`` holds texts only, and never a secret or a row.
    """

    chain_id: int
    account: str
    index: int
    at: int
    kind: str
    task: str
    dataset: str
    party: str
    rule: str
    message: str
    detail: Mapping[str, str]
    signature: bytes = b""

    def body(self) -> bytes:
        """The canonical bytes that are signed (as ``digest("audit", body)``)."""
        return canonical.encode(self._body())

    def _body(self) -> dict[str, Any]:
        names = ("chain_id", "account", "index", "at", "kind", "task", "dataset", "party", "rule", "message")
        return {"type": TYPE, **{name: getattr(self, name) for name in names}, "detail": dict(self.detail)}

    def digest(self) -> bytes:
        """What the node's account signs."""
        return canonical.digest("audit", self.body())

    def signed(self, sign_digest: Callable[[bytes], bytes]) -> AuditRecord:
        """This record with the signature that ``sign_digest`` gives.

        Raises :class:`MalformedDocument` for a bad field.
        """
        record = AuditRecord(**{**vars(self), "signature": sign_digest(self.digest())})
        self.parse(record.to_bytes())
        return record

    def to_bytes(self) -> bytes:
        """The signed record: the leaf of the log."""
        return canonical.encode({"body": self._body(), "signature": "0x" + self.signature.hex()})

    @classmethod
    def parse(cls, data: bytes) -> AuditRecord:
        """Read a record strictly, without checking its signature. Raises :class:`MalformedDocument`."""
        outer = Fields(canonical.decode(data, LIMIT), ("body", "signature"), "audit")
        keys = (
            "type", "chain_id", "account", "index", "at", "kind", "task", "dataset", "party", "rule", "message",
            "detail",
        )  # fmt: skip
        value = outer.object("body")
        body = Fields(value, keys, "audit.body")
        body.constant("type", TYPE)
        detail = Fields(body.object("detail"), value["detail"], "audit.body.detail")
        return cls(
            chain_id=body.integer("chain_id", 1, canonical.MAX_INTEGER),
            account=body.address("account"),
            index=body.integer("index", 0, canonical.MAX_INTEGER),
            at=body.seconds("at"),
            kind=body.choice("kind", KINDS),
            task=body.hex32("task") if value["task"] != "" else "",
            dataset=body.hex32("dataset") if value["dataset"] != "" else "",
            party=body.address("party") if value["party"] != "" else "",
            rule=body.string("rule", 64, empty=True),
            message=body.string("message", 1024),
            detail=MappingProxyType({name: detail.string(name, 4096, empty=True) for name in value["detail"]}),
            signature=outer.hexbytes("signature", 65),
        )

    def verify(self, chain_id: int, account: str, index: int, operators: Collection[str] = ()) -> None:
        """Raise :class:`VerificationFailed` unless ``account``, or one of its ``operators``, signed this as record ``index`` of
        its log on ``chain_id``.
        """
        if (self.chain_id, self.account, self.index) != (chain_id, account, index):
            raise VerificationFailed(f"the record is not number {index} of this log", rule=0, party=account)
        if recover(self.digest(), self.signature) not in operators:
            verify_signature(account, self.digest(), self.signature)


def verify_log(
    records: Sequence[bytes],
    *,
    chain_id: int,
    account: str,
    heads: Sequence[tuple[int, bytes]],
    operators: Collection[str] = (),
) -> None:
    """Raise unless ``records`` are the complete log of ``account`` from index 0, and every anchored head fits them.

    ``heads`` are the (size, root) pairs of ``AuditLog``'s ``Anchored`` events, in order. Each head's root is
    recomputed, which implies that each tree extends the one before. ``operators`` are keys that the account let write its
    log at any time: a head that it anchored stands for what they wrote. Raises :class:`VerificationFailed` (rule 0) or
    :class:`MalformedDocument`.
    """
    for index, record in enumerate(records):
        AuditRecord.parse(record).verify(chain_id, account, index, operators)
    hashes = [merkle.leaf_hash(record) for record in records]
    last = 0
    for size, root in heads:
        if size <= last or size > len(hashes):
            raise VerificationFailed(f"records up to the anchored size {size} are missing", rule=0, party=account)
        if merkle.root_of_hashes(hashes[:size]) != root:
            raise VerificationFailed(f"the records do not have the root anchored at size {size}", rule=0, party=account)
        last = size
