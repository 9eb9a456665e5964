"""What a task of the workload `prediction` says, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.mpc.models.answers import OUTPUTS, Output, refusal
from tallystick_node.engines.mpc.models.network import Network
from tallystick_node.engines.mpc.models.trees import Trees
from tallystick_node.workloads.features import Feature, Split, require_distinct
from tallystick_node.workloads.plans.architecture import MAX_INPUTS, Architecture
from tallystick_node.workloads.protocols import protocol_of
from tallystick_node.workloads.reading import TaskParameters


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``party`` owns the model; ``features`` stand in the order of the model's inputs; ``fraction`` is the bits after the point."""

    party: str
    architecture: Architecture
    split: Split
    features: tuple[Feature, ...]
    output: Output
    protocol: str
    fraction: int
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        return _cached(canonical.encode(value))

    @property
    def model(self) -> Network | Trees:
        """The shape of the model."""
        return self.architecture.model

    def own(self, party: str) -> list[Feature]:
        """The features that ``party`` brings, in the model's order."""
        return [each for each in self.features if each.party in ("", party)]


@lru_cache(maxsize=8)
def _cached(document: bytes) -> Parameters:
    value = canonical.decode(document, len(document))
    fields = Fields(value, ("model", "split", "features", "output", "protocol", "fraction", "minimum_group"), "parameters")
    model = Fields(value["model"], ("party", "architecture"), "parameters.model")
    output: Any = fields.choice("output", OUTPUTS)
    parsed = Parameters(
        party=model.address("party"),
        architecture=Architecture.read(value["model"]["architecture"], "parameters.model.architecture"),
        split=Split.read(value["split"], "parameters.split"),
        features=fields.items("features", 1, MAX_INPUTS, Feature.read),
        output=output,
        protocol=protocol_of(fields),
        fraction=fields.integer("fraction", 12, 24),
        minimum_group=fields.integer("minimum_group", 1, 1_000_000),
    )
    require_distinct(parsed.features, "features", "name a column twice")
    if len(parsed.features) != parsed.model.features:
        raise MalformedDocument(f"parameters.features: {len(parsed.features)}, but the model takes {parsed.model.features}")
    if any(each.party == parsed.party for each in parsed.features):
        raise MalformedDocument("parameters.features: the owner of the model brings no features")
    if words := refusal(output, parsed.model.link, parsed.model.outputs):
        raise MalformedDocument(f"parameters.output: {words}")
    return parsed
