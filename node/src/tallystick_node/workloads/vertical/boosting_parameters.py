"""What a task of the workloads `boosting` and `shared-boosting` says, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.fl.vertical.binning import MAX_BINS
from tallystick_node.engines.fl.vertical.boosting import Bits, Settings
from tallystick_node.engines.fl.vertical.parts import MAX_DEPTH
from tallystick_node.workloads.encodings import ordinal
from tallystick_node.workloads.features import decimal
from tallystick_node.workloads.protocols import protocol_of
from tallystick_node.workloads.vertical.parameters import Vertical, read_common, read_key_bits

MAX_TREES = 500
COMMON = ("split", "features", "target", "trees", "depth", "bins", "rate", "penalty", "child_weight", "held_out", "seed")


@dataclass(frozen=True)
class Common(Vertical):
    """What every boosting says. No child has fewer than ``minimum_group`` rows."""

    settings: Settings

    @property
    def least_rows(self) -> int:
        """Two children's."""
        return 2 * self.minimum_group

    def labels(self, table: pa.Table) -> Bits:
        """Which rows have the target's second value. Raises InvalidData."""
        found: Bits = self.answers(table) > 0
        return found


@dataclass(frozen=True)
class Parameters(Common):
    """Of `boosting`: ``key_bits`` is the size of the Paillier key."""

    key_bits: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        fields = Fields(dict(value), (*COMMON, "key_bits", "minimum_group"), "parameters")
        return cls(**_common(fields, value), key_bits=read_key_bits(fields))


@dataclass(frozen=True)
class SharedParameters(Common):
    """Of `shared-boosting`: ``fraction`` is the bits after the point."""

    protocol: str
    fraction: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> SharedParameters:
        fields = Fields(dict(value), (*COMMON, "protocol", "fraction", "minimum_group"), "parameters")
        parsed = cls(**_common(fields, value), protocol=protocol_of(fields), fraction=fields.integer("fraction", 12, 24))
        if not parsed.settings.penalty:
            raise MalformedDocument("parameters.penalty: must be above 0")
        return parsed


def _common(fields: Fields, value: Mapping[str, Any]) -> dict[str, Any]:
    said = read_common(fields, value, ordinal)
    try:
        settings = Settings(
            trees=fields.integer("trees", 1, MAX_TREES),
            depth=fields.integer("depth", 1, MAX_DEPTH),
            bins=fields.integer("bins", 2, MAX_BINS),
            rate=decimal(value["rate"], "parameters.rate"),
            penalty=decimal(value["penalty"], "parameters.penalty"),
            child_weight=decimal(value["child_weight"], "parameters.child_weight"),
            child_rows=said["minimum_group"],
        )
    except ValueError as error:
        raise MalformedDocument(f"parameters: {error}") from None
    return {**said, "settings": settings}
