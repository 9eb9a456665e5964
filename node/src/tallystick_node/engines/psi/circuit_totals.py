"""What two parties compute from totals over a shared join before anything is shown: whether they are of enough rows, and sums that
are wider than a word."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.functions.batch import plus, stack, times
from tallystick_node.engines.mpc.protocol import Shares
from tallystick_node.engines.mpc.ring import MAGNITUDE

DIGIT = 20  # bits

_Bits = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def enough(protocol: ObliviousAdditive, counts: Shares, minimum: int) -> _Bits:
    """For each count below 2^62 whether it reaches the minimum, told to both parties; nothing else is."""
    short = protocol.reveal_binary(protocol.negative(plus(protocol, counts, -minimum)))
    assert short is not None  # both learn it
    return np.asarray(short == 0)


def in_digits(protocol: ObliviousAdditive, words: Shares) -> Shares:
    """For numbers sum_i words[i] 2^(20 i), with words below 2^61 in magnitude: the same numbers as digits from 0 to 2^20 - 1, the
    highest of any sign. Who sees the digits learns the numbers; the words would tell more."""
    rest, digits = words[0], []
    for number in range(1, words.shape[0]):
        upper = _upper(protocol, rest)
        digits.append(rest - times(upper, 1 << DIGIT))
        rest = words[number] + upper
    return stack([*digits, rest])


def _upper(protocol: ObliviousAdditive, secret: Shares) -> Shares:
    """Secrets below 2^62 in magnitude divided by 2^20, rounded down: exact."""
    bits = protocol.decompose(plus(protocol, secret, MAGNITUDE))
    shifted = bits.map(lambda part: part >> np.uint64(DIGIT), 64 - DIGIT)
    return plus(protocol, protocol.compose(shifted), -(MAGNITUDE >> DIGIT))
