"""Verifiable secure sum of integer vectors among n >= 2 parties with input, by additive shares over Z_r.

r is the order of BN254, so that shares, Pedersen commitments and the check on chain live in one field. With v_i the
vector of party i and rho_i its blinding:

1. ``commit``: party i splits (v_i, rho_i) into one share for each input party, commits to each share as C_ij (vector
Pedersen, CRYPTO 1991) and broadcasts a hash of these points, so that nobody chooses an input after seeing the others'.
2. ``open``: it broadcasts the points, signed. C_i = sum_j C_ij is its input commitment, by definition and for everyone alike.
   Every participant tells every other who signed what (:mod:`..echo`): who broadcast two things is named by all, before any share
   is sent.
3. Where ranges are asked for, everybody then shows that its committed input is in them (:mod:`.ranged`).
4. ``share``: it sends party j the share j, which j checks against C_ij: a wrong share names its sender.
5. ``partial``: party j adds its shares and sends the sum to the receivers only, who check it against sum_i C_ij: a
wrong sum names its party. The partial sums add up to the totals, which open sum_i C_i: what the chain checks.

Receivers without input hold no shares; they see the commitments and get the partial sums.

Security. Privacy: perfect against any n - 1 colluding input parties that follow the protocol (they miss one share of
each other party, and the commitments hide perfectly); the hash commitment hides by its 256-bit nonce in the random
oracle model. Receivers learn the totals, and so, with n - 1 parties' help, the rest. Correctness: the totals are
those of the committed inputs even if parties deviate, under discrete logarithms in BN254 (~100 bits); the deviating
peer is named to the party that it wronged, and to all where it told two parties two things, if institutions vouch for the keys
that sign. Not covered: a party may commit to a false input, and without ranges to an absurdly large one; a silent party stops
the run.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tallystick.commitments import bn254, pedersen
from tallystick.commitments.ranges import Shape

from tallystick_node.engines.alive import Alive, GoingOn, receive_worked_on
from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block, send_block
from tallystick_node.engines.echo import Echo
from tallystick_node.engines.mpc import ranged

ORDER = bn254.ORDER
MAX_LENGTH = 1 << 16  # values in one vector
MAX_BITS = 240  # of an input's magnitude: the sum of 2^12 parties' values still stays below r/2

_SCALAR = 32
_POINT = 64
_NONCE = 32
_DOMAIN = b"tallystick/v1/sum\0"


@dataclass(frozen=True)
class SumOutcome:
    """What one participant ends with."""

    commitments: tuple[bn254.Point, ...]  # of every participant's input, in order; None for those without input
    sum_commitment: bn254.Point
    totals: tuple[int, ...] | None  # centred integers; None when not a receiver
    blinding: int | None  # opens ``sum_commitment`` to the totals; None when not a receiver
    range_proof: bytes = b""  # of this party's input, where ranges are asked for
    total_range_proof: bytes = b""  # of the totals, made by the first receiver


def secure_sum(
    session: Session,
    values: Sequence[int] | None,
    *,
    length: int,
    inputs: Sequence[int],
    receivers: Sequence[int],
    context: bytes,
    ranges: Shape | None = None,
    ready: Callable[[GoingOn], None] | None = None,
) -> SumOutcome:
    """Add the input parties' vectors of ``length`` values; only ``receivers`` learn the totals.

    ``values`` is None for a party not in ``inputs``; ``context`` (the task and the attempt) is equal everywhere. ``ranges``: the
    forms that every input, and the sum, is shown to satisfy. ``ready``: what an input party does before it says anything, however
    long that takes, and calls what it is given now and then meanwhile (:mod:`..alive`). Raises what ``ready`` does, ``ValueError``
    for local misuse (``OutOfRange`` for values, or totals, that are not in the ranges), :class:`ProtocolViolation` naming a
    deviating peer, ``ChannelError`` for a lost one.
    """
    inputs, receivers = sorted(set(inputs)), sorted(set(receivers))
    _check_arguments(session, values, length, inputs, receivers)
    if ranges is not None and ranges.entries != length:
        raise ValueError("the ranges are about vectors of another length")
    run = _Sum(session, length, inputs, receivers, hashlib.sha256(_DOMAIN + context).digest())
    own = run.split(values) if values is not None else []
    openings = run.exchange_commitments(own, ready)
    commitments = tuple(bn254.total(openings[party]) if party in inputs else None for party in range(session.parties))
    proof, total_proof = b"", b""
    if ranges is not None:
        secret = None if values is None else (values, sum(share[-1] for share in own) % ORDER)
        proof = ranged.exchange(session, ranges, context, secret, commitments, inputs)
    session.progress("sum", 0.4)
    session.mark("sum/share")  # by receivers without input too: both ends of a link mark the same phases
    partial = run.exchange_shares(own, openings) if values is not None else []
    session.progress("sum", 0.8)
    totals, blinding = run.collect(partial, openings)
    if ranges is not None and totals is not None and blinding is not None and session.index == receivers[0]:
        total_proof = ranged.prove_total(ranges, context, totals, blinding)
    session.progress("sum", 1.0)
    return SumOutcome(commitments, bn254.total(commitments), totals, blinding, proof, total_proof)


def _check_arguments(session: Session, values: Sequence[int] | None, length: int, inputs: list[int], receivers: list[int]) -> None:
    if len(inputs) < 2 or not receivers or not {*inputs, *receivers} <= set(range(session.parties)):
        raise ValueError("a secure sum needs two or more input parties and a receiver, all of the session")
    if not 0 < length <= MAX_LENGTH:
        raise ValueError(f"a secure sum takes vectors of 1 to {MAX_LENGTH} values")
    if (values is not None) != (session.index in inputs):
        raise ValueError("exactly the input parties give values")
    if values is not None and (len(values) != length or any(abs(each) >> MAX_BITS for each in values)):
        raise ValueError(f"an input vector has {length} values with magnitudes below 2^{MAX_BITS}")


class _Sum:
    """One run, as one participant sees it. A share is a list of scalars, the last of them of the blinding."""

    def __init__(self, session: Session, length: int, inputs: list[int], receivers: list[int], context: bytes) -> None:
        self.session = session
        self.length = length
        self.inputs = inputs
        self.receivers = receivers
        self.context = context

    def split(self, values: Sequence[int]) -> list[list[int]]:
        """One share for each input party, in order."""
        secret = [*values, secrets.randbelow(ORDER)]
        shares = [[secrets.randbelow(ORDER) for _ in secret] for _ in self.inputs[1:]]
        shares.append([(each - sum(column)) % ORDER for each, *column in zip(secret, *shares, strict=True)])
        return shares

    def exchange_commitments(self, own: list[list[int]], ready: Callable[[GoingOn], None] | None) -> dict[int, list[bn254.Point]]:
        """Steps commit and open: the points C_ij of every input party i."""
        session, me = self.session, self.session.index
        peers = [party for party in self.inputs if party != me]
        bodies: dict[int, bytes] = {}
        session.mark("sum/commit")
        if ready is not None:
            ready(Alive(session.channels.values()))
        if own:
            bodies[me] = secrets.token_bytes(_NONCE) + b"".join(bn254.encode(_commit(share)) for share in own)
            session.broadcast(self._seal(me, bodies[me]))
        seals = {party: receive_worked_on(session.channels[party], 32, "commit") for party in peers}
        session.mark("sum/open")
        echo = Echo(session, self.inputs, "open", self.context)
        if own:
            echo.tell(bodies[me])
        for party in peers:
            bodies[party] = echo.hear(party, _NONCE + _POINT * len(self.inputs))
            if not hmac.compare_digest(self._seal(party, bodies[party]), seals[party]):
                raise ProtocolViolation(party, "open", "the commitments are not those it was bound to by its hash")
        session.mark("sum/echo")
        echo.compare()
        return {party: _points(party, "open", bodies[party][_NONCE:]) for party in self.inputs}

    def exchange_shares(self, own: list[list[int]], openings: dict[int, list[bn254.Point]]) -> list[int]:
        """Step share: this party's partial sum."""
        session, me = self.session, self.session.index
        position = self.inputs.index(me)
        for party, share in zip(self.inputs, own, strict=True):
            if party != me:
                send_block(session.channels[party], _pack(share))
        partial = list(own[position])
        for party in self.inputs:
            if party == me:
                continue
            share = self._receive_vector(party, "share", openings[party][position])
            partial = [(a + b) % ORDER for a, b in zip(partial, share, strict=True)]
        return partial

    def collect(self, partial: list[int], openings: dict[int, list[bn254.Point]]) -> tuple[tuple[int, ...] | None, int | None]:
        """Step partial: the totals and the blinding, for receivers."""
        session, me = self.session, self.session.index
        session.mark("sum/partial")
        if partial:
            for party in self.receivers:
                if party != me:
                    send_block(session.channels[party], _pack(partial))
        if me not in self.receivers:
            return None, None
        sums = partial or [0] * (self.length + 1)
        for position, party in enumerate(self.inputs):
            if party == me:
                continue
            expected = bn254.total(openings[each][position] for each in self.inputs)
            theirs = self._receive_vector(party, "partial", expected)
            sums = [(a + b) % ORDER for a, b in zip(sums, theirs, strict=True)]
        return tuple(each - ORDER if each > ORDER // 2 else each for each in sums[:-1]), sums[-1]

    def _receive_vector(self, party: int, step: str, commitment: bn254.Point) -> list[int]:
        packed = receive_block(self.session.channels[party], _SCALAR * (self.length + 1), step)
        vector = [int.from_bytes(packed[at : at + _SCALAR], "big") for at in range(0, len(packed), _SCALAR)]
        if any(each >= ORDER for each in vector):
            raise ProtocolViolation(party, step, "a scalar is not reduced modulo the group's order")
        if _commit(vector) != commitment:
            raise ProtocolViolation(party, step, "the values do not open the commitment made to them")
        return vector

    def _seal(self, party: int, body: bytes) -> bytes:
        return hashlib.sha256(self.context + b"commit" + party.to_bytes(4, "big") + body).digest()


def _commit(vector: Sequence[int]) -> bn254.Point:
    return pedersen.commit(vector[:-1], vector[-1])


def _pack(vector: Sequence[int]) -> bytes:
    return b"".join(each.to_bytes(_SCALAR, "big") for each in vector)


def _points(party: int, step: str, packed: bytes) -> list[bn254.Point]:
    try:
        return [bn254.decode(packed[at : at + _POINT]) for at in range(0, len(packed), _POINT)]
    except ValueError:
        raise ProtocolViolation(party, step, "a commitment is not a point of BN254") from None
