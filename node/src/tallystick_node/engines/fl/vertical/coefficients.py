"""The part of a linear or logistic model that one owner keeps: the weights of its own columns, as a document."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tallystick import flat_json

from tallystick_node.engines.fl.vertical.parts import InvalidPart

Family = Literal["linear", "logistic"]
FAMILIES: tuple[Family, ...] = ("linear", "logistic")
FORMAT = "tallystick vertical regression v1"
MAX_OWNERS, MAX_FEATURES = 32, 4096
MAX_WEIGHT = 1 << 10
MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class Coefficients:
    """``owner`` is this owner's number of ``owners``, 0 for the owner of the label, who alone has an ``intercept``; ``weights``
    are of the columns that ``features`` names."""

    family: Family
    owners: int
    owner: int
    features: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float | None

    def to_json(self) -> bytes:
        """The document; numbers that are not whole stand as text, the shortest of their float64."""
        document = {
            "format": FORMAT, "family": self.family, "owners": self.owners, "owner": self.owner, "features": list(self.features),
            "weights": [repr(each) for each in self.weights],
            "intercept": None if self.intercept is None else repr(self.intercept),
        }  # fmt: skip
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Coefficients:
        """The part in a document. Raises :class:`InvalidPart` for anything that :meth:`to_json` could not have written."""
        if len(data) > MAX_BYTES:
            raise InvalidPart(f"the document has more than {MAX_BYTES} bytes")
        try:
            value = flat_json.parse(data)
        except ValueError:
            raise InvalidPart("the document is not JSON") from None
        names = {"format", "family", "owners", "owner", "features", "weights", "intercept"}
        if not isinstance(value, dict) or set(value) != names or value["format"] != FORMAT:
            raise InvalidPart(f"the document must be an object of {', '.join(sorted(names))}, of the format {FORMAT!r}")
        if value["family"] not in FAMILIES:
            raise InvalidPart(f"family: must be one of {', '.join(FAMILIES)}")
        owners = _integer(value["owners"], 2, MAX_OWNERS, "owners")
        owner = _integer(value["owner"], 0, owners - 1, "owner")
        features, weights = value["features"], value["weights"]
        if not isinstance(features, list) or not isinstance(weights, list) or not len(features) == len(weights) <= MAX_FEATURES:
            raise InvalidPart(f"features and weights: must be lists of one length, at most {MAX_FEATURES}")
        require_names(features)
        if (owner == 0) != (value["intercept"] is not None):
            raise InvalidPart("intercept: is with owner 0, the owner of the label, and with nobody else")
        found = tuple(_number(each, f"weights[{place}]") for place, each in enumerate(weights))
        intercept = None if value["intercept"] is None else _number(value["intercept"], "intercept")
        return cls(value["family"], owners, owner, tuple(features), found, intercept)


def require_names(features: Sequence[Any]) -> None:
    """Raises :class:`InvalidPart` unless they are different names."""
    if not all(isinstance(each, str) and 0 < len(each) <= 128 for each in features) or len(set(features)) != len(features):
        raise InvalidPart("features: must be different names of 1 to 128 characters")


def _integer(value: Any, low: int, high: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidPart(f"{where}: must be an integer from {low} to {high}")
    return value


def _number(value: Any, where: str) -> float:
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        number = math.nan
    if not abs(number) < MAX_WEIGHT or repr(number) != value:
        raise InvalidPart(f"{where}: must be the shortest text of a number below {MAX_WEIGHT} in magnitude")
    return number
