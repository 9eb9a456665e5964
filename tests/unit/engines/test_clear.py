"""The ideal functionality: it computes what a protocol promises, refuses what one could not, and claims no protection."""

from __future__ import annotations

import numpy as np
import pytest
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc.clear import Clear
from tallystick_node.engines.mpc.ring import MAGNITUDE, OutOfRange
from unit.engines.ideal import clear, ring

EDGES = ring([0, 1, -1, MAGNITUDE - 1, 1 - MAGNITUDE, 2**63 - 1, -(2**63)])


def test_it_claims_nothing() -> None:
    statement = Clear.security(1)
    assert statement.adversary == "none" and statement.corruptions == 0 and "every secret" in statement.learns["party"]
    for several in (lambda: Clear.security(2), lambda: Clear(local_sessions(2)[0]), lambda: Clear.split(EDGES, 2)):
        with pytest.raises(ValueError, match="one party"):
            several()


def test_secrets_come_in_and_go_out() -> None:
    protocol = clear()
    assert (protocol.reveal(protocol.share(0, EDGES.shape, EDGES)) == EDGES).all()
    assert protocol.reveal(protocol.public(EDGES), to=()) is None
    (parts,) = Clear.split(EDGES, 1)
    assert (Clear.combine([protocol.disclose(protocol.accept(parts))]) == EDGES).all()
    with pytest.raises(ValueError, match="announced"):
        protocol.share(0, (3,), EDGES)


def test_arithmetic_and_conversions() -> None:
    protocol = clear()
    secret = protocol.public(EDGES)
    assert (protocol.reveal(protocol.multiply(secret, secret)) == EDGES * EDGES).all()
    assert (protocol.reveal(protocol.matmul(secret.reshape(1, 7), secret.reshape(7, 1))) == (EDGES * EDGES).sum()).all()
    assert (protocol.reveal_binary(protocol.negative(secret)) == (EDGES.view(np.int64) < 0)).all()
    bits = protocol.decompose(secret)
    assert bits.width == 64 and (protocol.reveal(protocol.compose(bits)) == EDGES).all()
    low = bits.map(lambda part: (part & np.uint64(7)).astype(np.uint8), 3)
    assert (protocol.reveal(protocol.compose(protocol.not_(low))) == (~EDGES & np.uint64(7))).all()
    assert (protocol.reveal(protocol.to_arithmetic(protocol.and_(bits.bit(0), bits.bit(1)))) == (EDGES & np.uint64(3) == 3)).all()
    both = protocol.shuffle([secret, -secret])
    assert not (both[0] + both[1]).parts[0].any() and sorted(both[0].parts[0]) == sorted(EDGES)
    assert len(set(protocol.random((100,)).parts[0])) == 100


@pytest.mark.parametrize(("rounding", "error"), [("exact", 0), ("up", 1), ("down", -1)])
def test_truncation_errs_as_asked(rounding, error) -> None:
    protocol = clear(rounding)
    whole = EDGES[:5].view(np.int64)
    assert (protocol.reveal(protocol.truncate(protocol.public(EDGES[:5]), 5)).view(np.int64) == (whole >> 5) + error).all()


def test_what_no_protocol_could_do_is_refused() -> None:
    protocol = clear()
    for wrong in EDGES[5:]:
        with pytest.raises(OutOfRange):
            protocol.truncate(protocol.public(np.array([wrong])), 1)
    for bits in (0, 32):
        with pytest.raises(ValueError, match="1 to 31"):
            protocol.truncate(protocol.public(EDGES[:1]), bits)
    with pytest.raises(ValueError, match="differ"):
        protocol.multiply(protocol.public(EDGES), protocol.public(EDGES[:1]))
    with pytest.raises(ValueError, match="no product"):
        protocol.matmul(protocol.public(EDGES), protocol.public(EDGES))
    with pytest.raises(ValueError, match="one shape"):
        protocol.and_(protocol.decompose(protocol.public(EDGES)), protocol.negative(protocol.public(EDGES)))
