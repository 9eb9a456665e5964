"""The array API at one party of a running protocol: every party executes the same program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.mpc.plan.engine import Engine
from tallystick_node.engines.mpc.plan.execute import perform
from tallystick_node.engines.mpc.plan.kinds import BIT, Kind, Type, encode
from tallystick_node.engines.mpc.plan.operation import Value
from tallystick_node.engines.mpc.plan.roles import bits_of
from tallystick_node.engines.mpc.plan.step import Step, constant
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares
from tallystick_node.engines.mpc.ring import Ring, decode_integers


class Immediate(Engine):
    """Does each operation at once. ``parties`` are the names of the protocol's, in its order."""

    def __init__(self, protocol: Protocol, parties: Sequence[str], fraction: int = 18) -> None:
        super().__init__(fraction)
        self._protocol = protocol
        self._parties = tuple(parties)

    def share(self, values: NDArray[Any] | None, owner: str, kept: Type) -> Value:
        """Secrets of one party; the others' ``values`` are not looked at."""
        seat = self._parties.index(owner)
        own = seat == self._protocol.index
        shared = self._protocol.share(seat, kept.shape, encode(values, kept.kind) if own and values is not None else None)
        return bits_of(self._protocol, shared) if kept.kind == BIT else shared

    def constant(self, elements: Ring, kind: Kind) -> Value:
        """A public value."""
        return perform(self._protocol, constant(elements, kind), [], [])[0]

    def apply(
        self,
        operation: str,
        operands: Sequence[Value],
        attributes: Mapping[str, Any],
        operand_types: Sequence[Type],
        types: Sequence[Type],
    ) -> Sequence[Value]:
        """Do it."""
        return perform(self._protocol, Step(operation, tuple(range(len(operands))), attributes), operands, operand_types)

    def reveal(self, value: Value, kind: Type, to: Sequence[str] | None, name: str | None) -> NDArray[Any] | None:
        """The numbers at the parties of ``to``, None elsewhere. Raises OutOfRange for a number that has left the range."""
        seats = None if to is None else [self._parties.index(party) for party in to]
        if isinstance(value, Binary):
            words = self._protocol.reveal_binary(value, seats)
            return None if words is None else words.astype(bool)
        assert isinstance(value, Shares)
        elements = self._protocol.reveal(value, seats)
        return None if elements is None else decoded(elements, kind.kind)


def decoded(elements: Ring, kind: Kind) -> NDArray[Any]:
    """The numbers of ring elements: int64, float64 or bool. Raises OutOfRange."""
    whole = decode_integers(elements)
    if kind == BIT:
        return np.asarray(whole.astype(bool))
    return np.array(whole) if not kind.fraction else np.asarray(whole / float(1 << kind.fraction))
