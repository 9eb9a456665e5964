"""Range proofs within a secure sum: nobody sends a share before everybody's committed input is shown to be in its ranges.

Step ``range`` of :mod:`.additive`, between ``echo`` and ``share``: each input party broadcasts a proof that its input
commitment C_i satisfies the forms (:mod:`tallystick.commitments.ranges`), and every participant checks every other's. A
proof that does not hold names its sender. Once the totals are open, the first receiver proves the forms of the sum, for
those who cannot open it.

Security: as of the proofs, in zero knowledge with a hash as the random oracle. What an input satisfies is a matter of its
commitment alone: a party may still commit to another vector in the ranges than its data give.
"""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.commitments import bn254, ranges
from tallystick.commitments.ranges import Proof, RangeRefused, Shape

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block

STEP = "range"


def exchange(
    session: Session,
    shape: Shape,
    context: bytes,
    own: tuple[Sequence[int], int] | None,
    commitments: Sequence[bn254.Point],
    inputs: Sequence[int],
) -> bytes:
    """Prove this party's input, a vector with its blinding, and check all others'. Returns its proof, empty without an input.

    Raises :class:`ProtocolViolation` naming a party whose proof does not hold, and ``OutOfRange`` before anything is sent when this
    party's own vector is not in its ranges.
    """
    session.mark("sum/range")
    encoded, forms, proof = shape.to_bytes(), shape.inputs, b""
    if own is not None:
        proof = ranges.prove(context, encoded, session.index, forms, *own).to_bytes()
        session.broadcast(proof)
    size = ranges.size_of(shape.entries, forms)
    for party in inputs:
        if party == session.index:
            continue
        theirs = receive_block(session.channels[party], size, STEP)
        try:
            ranges.verify(context, encoded, party, forms, commitments[party], Proof.parse(theirs, shape.entries, forms))
        except RangeRefused as error:
            raise ProtocolViolation(party, STEP, f"its input is not shown to be in the task's ranges: {error}") from None
    return proof


def prove_total(shape: Shape, context: bytes, totals: Sequence[int], blinding: int) -> bytes:
    """The proof of the sum's forms. Raises ``OutOfRange`` when the totals do not satisfy them."""
    return ranges.prove(context, shape.to_bytes(), ranges.TOTAL, shape.total, totals, blinding).to_bytes()
