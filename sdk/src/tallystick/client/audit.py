"""A node's audit log against the heads that its account anchored on chain.

Records are signed, so nobody else can have written them; anchored heads are roots over all records so far, so the node
itself cannot change or forget one without an anchored head giving it away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from tallystick.chain.connection import Chain
from tallystick.chain.operators import ever_allowed
from tallystick.client.nodes import Nodes
from tallystick.protocol import merkle
from tallystick.protocol.audit import AuditRecord, verify_log
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.identity import ROLES
from tallystick.protocol.operators import Scope
from tallystick.wire import node_pb2

ASK = "ask the node's operator, and keep what you have: it is evidence"


@dataclass(frozen=True)
class Listed:
    """One record as a node lists it. ``size`` and ``proof``: the anchored head that it proves to be under, 0 without one."""

    index: int
    record: bytes
    size: int = 0
    proof: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a check found in order. ``proved`` records are under an anchored head; the rest is too young to be."""

    account: str
    records: int
    proved: int
    anchored: int  # the size of the latest head
    heads: int
    complete: bool  # whether the whole log was there to be checked against every head


def listed(nodes: Nodes, account: str, *, kind: str = "", task: str = "", dataset: str = "") -> Iterator[Listed]:
    """The records of a node that the caller may see, in order."""
    request = node_pb2.AuditRequest(kind=kind, task=task, dataset=dataset)
    with nodes.stream(account, "ListAudit", request) as answers:
        for each in answers:
            yield Listed(each.index, bytes(each.record), each.tree_size, tuple(map(bytes, each.inclusion)))


def heads_of(chain: Chain, account: str, last: int | None = None) -> list[tuple[int, bytes]]:
    """The (size, root) pairs that an account anchored, in order: up to a block, or to the last one that is final by the profile."""
    found = chain.events(0, chain.head() if last is None else last)
    return [(each["size"], each["root"]) for each in found if each.name == "Anchored" and each["account"] == account]


def sees_everything(chain: Chain, reader: str, account: str) -> bool:
    """Whether ``reader`` may see all records of the log of ``account``, and not only those about itself."""
    return reader == account or bool(chain.participants.participant(reader)["roles"] & ROLES["regulator"])


def examine(nodes: Nodes, chain: Chain, account: str, reader: str) -> Verdict:
    """Fetch a node's log and check it: signatures, inclusion proofs and, for whom may see all of it, that nothing is missing.

    Raises VerificationFailed naming the record.
    """
    # What was anchored before the listing must be in it; what is anchored meanwhile may prove records in it, also where the block
    # is not final yet: a node proves its records against the newest head.
    due = max((size for size, _ in heads_of(chain, account)), default=0)
    found = list(listed(nodes, account))
    complete = sees_everything(chain, reader, account)
    return check(
        found,
        chain_id=chain.deployment.chain_id,
        account=account,
        heads=heads_of(chain, account, chain.latest()[0]),
        due=due if complete else None,
        operators=ever_allowed(chain, account, Scope.REPORT),
    )


def check(
    found: Sequence[Listed],
    *,
    chain_id: int,
    account: str,
    heads: Sequence[tuple[int, bytes]],
    due: int | None,
    operators: Collection[str] = (),
) -> Verdict:
    """Check listed records. ``due``: how many records the whole log must have at least; None when only a part was to be seen.

    Raises VerificationFailed naming the first record that is not in order, or those that are missing.
    """
    roots = dict(heads)
    anchored = max(roots, default=0)
    last = -1
    proved = 0
    for each in found:
        if each.index <= last:
            raise _broken(f"record {each.index} comes after record {last}", account)
        if due is not None and each.index != last + 1:
            raise _missing(last + 1, each.index - 1, account)
        last = each.index
        try:
            AuditRecord.parse(each.record).verify(chain_id, account, each.index, operators)
        except (MalformedDocument, VerificationFailed) as error:
            raise _broken(f"record {each.index}: {error.message}", account) from None
        if each.size:
            _prove(each, roots, account)
            proved += 1
    if due is not None:
        if last + 1 < due:
            raise _missing(last + 1, due - 1, account)
        covered = [(size, root) for size, root in heads if size <= last + 1]
        try:
            records = [each.record for each in found]
            verify_log(records, chain_id=chain_id, account=account, heads=covered, operators=operators)
        except VerificationFailed as error:
            raise _broken(error.message, account) from None
        proved = max((size for size, _ in covered), default=0)
    return Verdict(account, len(found), proved, anchored, len(heads), due is not None)


def _prove(each: Listed, roots: dict[int, bytes], account: str) -> None:
    root = roots.get(each.size)
    if root is None:
        raise _broken(
            f"record {each.index}: the node proves it against a head of {each.size} records, which it never anchored", account
        )
    try:
        merkle.verify_inclusion(each.record, each.index, each.size, each.proof, root)
    except VerificationFailed as error:
        raise _broken(
            f"record {each.index} is not the one under the head of {each.size} records: {error.message}", account
        ) from None


def _missing(first: int, last: int, account: str) -> VerificationFailed:
    which = f"record {first} is" if first == last else f"records {first} to {last} are"
    return _broken(f"{which} missing, and anchored on chain", account)


def _broken(message: str, account: str) -> VerificationFailed:
    return VerificationFailed(message, rule=0, party=account, remedy=ASK)
