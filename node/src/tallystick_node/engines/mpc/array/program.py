"""From a function of secret arrays to a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.plan.document import Input, Plan
from tallystick_node.engines.mpc.plan.kinds import Kind, Type, parse_kind
from tallystick_node.engines.mpc.plan.tracing import Tracer


@dataclass(frozen=True)
class Declared:
    """An input before it has a name."""

    owner: str
    shape: tuple[int, ...]
    kind: Kind
    columns: tuple[str, ...]


def declare(owner: str, rows: int, columns: str | Sequence[str] = (), kind: Kind | str = "fixed:18") -> Declared:
    """An input of ``rows`` rows: one column gives an array of one axis, a list of columns a matrix of them side by side.

    Without columns it is a bare array of one axis, for computations in one process.
    """
    found = parse_kind(str(kind))
    if isinstance(columns, str):
        return Declared(owner, (rows,), found, (columns,))
    return Declared(owner, (rows, len(columns)) if columns else (rows,), found, tuple(columns))


def plan_of(function: Callable[..., Any], inputs: Mapping[str, Declared], parties: Sequence[str] = (), fraction: int = 18) -> Plan:
    """Record what ``function`` does, called with a secret array for each of ``inputs`` by name. It runs once, here, on no data.

    ``parties`` are those whom it reveals something to, besides the owners. Raises what the function raises, and InvalidPlan when it
    reveals nothing or is too long.
    """
    named = tuple(dict.fromkeys((*(each.owner for each in inputs.values()), *parties)))
    tracer = Tracer(named, fraction)
    arrays = {}
    for name, each in inputs.items():
        number = tracer.input(Input(name, each.owner, each.shape, each.kind, each.columns))
        arrays[name] = SecretArray(tracer, number, Type(each.shape, each.kind))
    function(**arrays)
    return tracer.plan()
