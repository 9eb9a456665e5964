"""What the parties of a secure sum tell one another: lists of records by member, and statements that members sign.

Messages pass through the coordinator. What must not be changed on the way is signed with the member's key for the session
(Ed25519), together with the round's digest: a statement of another session, round, length or set of members is no statement of
this one.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tallystick_node.engines.channel import ChannelError, ProtocolViolation
from tallystick_node.engines.fl.aggregation.graph import Plan

SIGNATURE = 64  # bytes
MEMBER = 4  # bytes
_DOMAIN = b"tallystick/v1/secure-aggregation/"


class TooFewLeft(ChannelError):  # noqa: N818 - a verdict on a round
    """More members are gone than the round tolerates: ``lost`` are they, ``peer`` is the first of them."""

    def __init__(self, step: str, lost: tuple[int, ...], least: int) -> None:
        gone = ", ".join(map(str, lost))
        super().__init__(lost[0], f"{step}: parties {gone} are gone, and fewer than the {least} that a round needs are left")
        self.lost = lost


@dataclass(frozen=True)
class Round:
    """What all parties of a round know beforehand. ``context`` names session and task, ``members`` ascend."""

    context: bytes
    number: int
    members: tuple[int, ...]
    plan: Plan
    length: int  # entries of a vector
    verified: bool  # whether members commit to what they send and the sum is checked against it
    turn: int = 0  # how many coordinators were lost in this round before

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that every key, mask and signature of the round is bound to."""
        plan = self.plan
        fixed = struct.pack(
            "<6Q?I",
            self.number,
            self.length,
            len(self.members),
            plan.corrupted,
            plan.dropped,
            plan.degree,
            self.verified,
            self.turn,
        )
        members = struct.pack(f"<{len(self.members)}I", *self.members)
        return hashlib.sha256(_DOMAIN + b"round\0" + hashlib.sha256(self.context).digest() + fixed + members).digest()

    def statement(self, kind: bytes, member: int, content: bytes) -> bytes:
        """The bytes that a member signs."""
        return _DOMAIN + kind + b"\0" + self.digest + struct.pack("<I", member) + content


def pack(records: Mapping[int, bytes]) -> bytes:
    """Records of one size, in the order of the members they are of."""
    return b"".join(struct.pack("<I", member) + records[member] for member in sorted(records))


def unpack(peer: int, step: str, message: bytes, size: int, most: int) -> dict[int, bytes]:
    """What :func:`pack` packed, from a peer. Raises ProtocolViolation unless the message is at most ``most`` records of so many
    bytes, of members in ascending order."""
    whole = MEMBER + size
    if len(message) % whole:
        raise ProtocolViolation(peer, step, f"sent {len(message)} bytes where records of {whole} were due")
    if len(message) > most * whole:
        raise ProtocolViolation(peer, step, f"sent more records than the {most} members can fill")
    records: dict[int, bytes] = {}
    last = -1
    for at in range(0, len(message), whole):
        member = int.from_bytes(message[at : at + MEMBER], "little")
        if member <= last:
            raise ProtocolViolation(peer, step, "sent records that are not of members in ascending order")
        last = member
        records[member] = message[at + MEMBER : at + whole]
    return records
