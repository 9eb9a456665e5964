"""A plan: what is computed, on whose inputs, and shown to whom. Immutable, canonical, and read strictly.

The bytes are JSON by RFC 8785, with integers and no floats, so that a plan has one digest,
``sha256("tallystick/v1/plan\\0" + bytes)``: that digest is what owners of data authorise. What a stranger sends can be too large,
or no plan, which raises :class:`InvalidPlan`; whatever parses computes what it says, and nothing else.

Values are numbered in order: first the inputs, then what each step gives. A step names only values before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from tallystick import flat_json

from tallystick_node.engines.mpc.plan.kinds import MAX_FRACTION, Kind, Type, check_shape, parse_kind
from tallystick_node.engines.mpc.plan.step import Step

TYPE = "tallystick.plan/1"
LIMIT = 1 << 20  # bytes
MAX_STEPS = 20_000
MAX_INPUTS = 256
MAX_REVEALS = 256
MAX_PARTIES = 16
MAX_COLUMNS = 1024
MAX_TOTAL = 1 << 32  # elements of all values together

MAX_DEPTH = 8  # of arrays and objects in one another

_DOMAIN = b"tallystick/v1/plan\0"


class InvalidPlan(ValueError):  # noqa: N818 - a verdict
    """No plan: the message says where and which rule is broken."""


@dataclass(frozen=True)
class Input:
    """``owner`` brings an array of ``shape``: the values of ``columns``, side by side if there is a second axis."""

    name: str
    owner: str
    shape: tuple[int, ...]
    kind: Kind
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reveal:
    """Value ``value`` is shown to the parties of ``receivers``, and to nobody else, under ``name``."""

    name: str
    value: int
    receivers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """Build one with :mod:`tracing` or :meth:`parse`; both check every rule. Plans of the same bytes are equal."""

    parties: tuple[str, ...]
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    reveals: tuple[Reveal, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    @cached_property
    def types(self) -> tuple[Type, ...]:
        """The type of each value. Raises ValueError or TypeError where a step's operands do not fit."""
        types = [Type(each.shape, each.kind) for each in self.inputs]
        for number, step in enumerate(self.steps):
            try:
                types += step.types(types)
            except (ValueError, TypeError) as error:
                raise InvalidPlan(f"plan.steps[{number}]: {error}") from None
        if sum(each.size for each in types) > MAX_TOTAL:
            raise InvalidPlan(f"plan: its values have more than {MAX_TOTAL} elements together")
        return tuple(types)

    @cached_property
    def first_values(self) -> tuple[int, ...]:
        """For each step the number of its first result."""
        numbers, types = [], [Type(each.shape, each.kind) for each in self.inputs]
        for step in self.steps:
            numbers.append(len(types))
            types += step.types(types)
        return tuple(numbers)

    @property
    def receivers(self) -> tuple[str, ...]:
        """The parties that are shown something, in the plan's order."""
        shown = {party for each in self.reveals for party in each.receivers}
        return tuple(party for party in self.parties if party in shown)

    @property
    def owners(self) -> tuple[str, ...]:
        """The parties that bring something, in the plan's order."""
        bringing = {each.owner for each in self.inputs}
        return tuple(party for party in self.parties if party in bringing)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "type": TYPE,
            "parties": list(self.parties),
            "inputs": [
                {
                    "name": each.name,
                    "owner": each.owner,
                    "shape": list(each.shape),
                    "kind": str(each.kind),
                    "columns": list(each.columns),
                }
                for each in self.inputs
            ],
            "steps": [each.to_json() for each in self.steps],
            "reveals": [{"name": each.name, "value": each.value, "to": list(each.receivers)} for each in self.reveals],
        }

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return _canonical(self.to_json())

    def digest(self) -> bytes:
        """What owners authorise: 32 bytes."""
        return hashlib.sha256(_DOMAIN + self.to_bytes()).digest()

    @classmethod
    def parse(cls, data: bytes) -> Plan:
        """Read canonical bytes. Raises InvalidPlan, and nothing else."""
        if len(data) > LIMIT:
            raise InvalidPlan(f"plan: {len(data)} bytes, more than {LIMIT}")
        try:
            value = flat_json.parse(data)
        except ValueError as error:  # not UTF-8, not JSON, an integer of thousands of digits, deep
            raise InvalidPlan(f"plan: no JSON that is read here: {str(error)[:80]}") from None
        plan = cls.from_json(value)
        if plan.to_bytes() != data:
            raise InvalidPlan("plan: not in canonical form (RFC 8785)")
        return plan

    @classmethod
    def from_json(cls, value: Any) -> Plan:
        """Read the JSON of :meth:`to_json` strictly. Raises InvalidPlan, and nothing else."""
        fields = _object(value, ("type", "parties", "inputs", "steps", "reveals"), "plan")
        if fields["type"] != TYPE:
            raise InvalidPlan(f"plan.type: must be {TYPE!r}")
        parties = _names(fields["parties"], 1, MAX_PARTIES, "plan.parties")
        plan = cls(
            parties=parties,
            inputs=tuple(
                _input(each, parties, f"plan.inputs[{i}]") for i, each in _list(fields["inputs"], 1, MAX_INPUTS, "plan.inputs")
            ),
            steps=tuple(_step(each, f"plan.steps[{i}]") for i, each in _list(fields["steps"], 0, MAX_STEPS, "plan.steps")),
            reveals=tuple(
                _reveal(each, parties, f"plan.reveals[{i}]") for i, each in _list(fields["reveals"], 1, MAX_REVEALS, "plan.reveals")
            ),
        )
        plan.check()
        return plan

    def check(self) -> None:
        """The rules that concern the whole. Raises InvalidPlan."""
        types = self.types
        for what, named in (("inputs", self.inputs), ("reveals", self.reveals)):
            names = [each.name for each in named]
            if len(set(names)) != len(names):
                raise InvalidPlan(f"plan.{what}: two have one name")
        for number, each in enumerate(self.reveals):
            if not 0 <= each.value < len(types) or types[each.value].public:
                raise InvalidPlan(f"plan.reveals[{number}].value: no secret value of the plan")
        if len(self.to_bytes()) > LIMIT:
            raise InvalidPlan(f"plan: more than {LIMIT} bytes")


def _step(value: Any, where: str) -> Step:
    try:
        return Step.from_json(value)
    except (ValueError, TypeError) as error:
        raise InvalidPlan(f"{where}: {error}") from None


def _input(value: Any, parties: Sequence[str], where: str) -> Input:
    fields = _object(value, ("name", "owner", "shape", "kind", "columns"), where)
    try:
        shape, kind = check_shape(fields["shape"]), parse_kind(fields["kind"])
    except ValueError as error:
        raise InvalidPlan(f"{where}: {error}") from None
    columns = _names(fields["columns"], 0, MAX_COLUMNS, f"{where}.columns")
    if kind.fraction > MAX_FRACTION:
        raise InvalidPlan(f"{where}.kind: secrets have at most {MAX_FRACTION} fraction bits")
    if columns and not (len(shape) == 1 and len(columns) == 1) and not (len(shape) == 2 and shape[1] == len(columns)):
        raise InvalidPlan(f"{where}.columns: {len(columns)} do not fill an array of shape {shape}")
    owner = fields["owner"]
    if owner not in parties:
        raise InvalidPlan(f"{where}.owner: no party of the plan")
    return Input(_name(fields["name"], f"{where}.name"), owner, shape, kind, columns)


def _reveal(value: Any, parties: Sequence[str], where: str) -> Reveal:
    fields = _object(value, ("name", "value", "to"), where)
    receivers = _names(fields["to"], 1, MAX_PARTIES, f"{where}.to")
    if list(receivers) != [party for party in parties if party in receivers]:
        raise InvalidPlan(f"{where}.to: parties of the plan, in its order")
    if type(fields["value"]) is not int:
        raise InvalidPlan(f"{where}.value: must be the number of a value")
    return Reveal(_name(fields["name"], f"{where}.name"), fields["value"], receivers)


def _object(value: Any, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != set(keys):
        raise InvalidPlan(f"{where}: must be an object with exactly {', '.join(keys)}")
    return value


def _list(value: Any, low: int, high: int, where: str) -> enumerate[Any]:
    if not isinstance(value, list) or not low <= len(value) <= high:
        raise InvalidPlan(f"{where}: must be a list of {low} to {high} items")
    return enumerate(value)


def _names(value: Any, low: int, high: int, where: str) -> tuple[str, ...]:
    names = tuple(_name(each, f"{where}[{number}]") for number, each in _list(value, low, high, where))
    if len(set(names)) != len(names):
        raise InvalidPlan(f"{where}: names one thing twice")
    return names


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 128 or not value.isprintable():
        raise InvalidPlan(f"{where}: must be printable text of 1 to 128 characters")
    return value


def _canonical(value: Any) -> bytes:
    """RFC 8785 for what a plan holds: ASCII keys, texts, integers within 2^53, truth values, null."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_refuse).encode()
    except UnicodeEncodeError:
        raise InvalidPlan("plan: a text has unpaired surrogates") from None


def _refuse(value: Any) -> NoReturn:
    raise InvalidPlan(f"plan: a {type(value).__name__} has no place in it")
