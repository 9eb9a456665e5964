"""The kinds of model that owners of different columns hold in parts: how a part is kept, and how all owners score rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from tallystick.protocol.errors import InvalidData

from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.explanation import joint_trees, linear, networks
from tallystick_node.engines.fl.explanation.joint_trees import Explanation
from tallystick_node.engines.fl.split import parts as split_parts
from tallystick_node.engines.fl.split import prediction as split_prediction
from tallystick_node.engines.fl.vertical import parts as tree_parts
from tallystick_node.engines.fl.vertical import prediction as tree_prediction
from tallystick_node.engines.fl.vertical.coefficients import Coefficients
from tallystick_node.engines.fl.vertical.scoring import score
from tallystick_node.workloads.encodings import Encoded, measured, ordinal
from tallystick_node.workloads.vertical.parameters import Floats

P = TypeVar("P")


@dataclass(frozen=True)
class Division(Generic[P]):
    """How scores are divided among owners and columns. ``explain``, called after :meth:`ModelKind.score` and as that is, with the
    owners' numbers of columns last, raises as that does; ``told`` is what it tells whom. ``require`` raises ValueError for numbers
    of columns that it is not for; ``hybrids`` is how many rows' worth of messages an owner of so many columns sends for a row."""

    explain: Callable[[Session, Sequence[int], P, Floats, Sequence[int]], Explanation]
    told: Mapping[str, str]
    require: Callable[[Sequence[int]], None] = lambda _widths: None
    hybrids: Callable[[int], int] = lambda _width: 0


class ModelKind(ABC, Generic[P]):
    """One kind; ``P`` is an owner's part. Scores are log-odds, or linear predictors of a number."""

    words: str  # what people call it
    file: str  # that holds a part, in the result of the task that trained it
    row_bytes: int  # that an owner sends another for a row, about
    numbers = False  # whether the target may be a number
    division: Division[P]  # of scores among owners and columns
    told: ClassVar[Mapping[str, str]]  # what scoring rows tells whom

    @abstractmethod
    def feature(self, value: Any, where: str) -> Encoded:
        """A feature as a task says it. Raises MalformedDocument."""

    @abstractmethod
    def to_bytes(self, part: P) -> bytes:
        """The file."""

    @abstractmethod
    def parse(self, data: bytes) -> P:
        """The part in a file. Raises ValueError."""

    @abstractmethod
    def names(self, part: P) -> Sequence[str]:
        """The owner's columns of the model."""

    @abstractmethod
    def score(self, session: Session, owners: Sequence[int], part: P, columns: Floats) -> Floats:
        """The scores of rows at the owner of the label, who is the first of ``owners``, numbers in the session; zeros elsewhere.
        Raises ValueError; ProtocolViolation and ChannelError."""

    def read(self, data: bytes) -> P:
        """The part in a file of an earlier result. Raises InvalidData."""
        try:
            return self.parse(data)
        except ValueError as error:
            raise InvalidData(f"{self.file} is no part of a model: {error}", remedy="put the result's own file back") from None


class Trees(ModelKind[tree_parts.Part]):
    """Boosted trees."""

    words = "gradient-boosted trees"
    file, row_bytes = "model-part.json", 40
    told: ClassVar[Mapping[str, str]] = {
        "owner of the label": "the scores, and each row's way through each tree: on which side of thresholds that it does not know"
        " the others' values lie",
        "other owner": "which rows come to which of its own splits",
    }
    division = Division(
        joint_trees.explain,
        {
            "owner of the label": "at every split of the others who of all rows goes which way, which splits ask for the same"
            " column, and the values of those nameless columns",
            "other owner": "the values of its own columns",
        },
    )

    def feature(self, value: Any, where: str) -> Encoded:
        """See :class:`ModelKind`."""
        return ordinal(value, where)

    def to_bytes(self, part: tree_parts.Part) -> bytes:
        """See :class:`ModelKind`."""
        return part.to_json()

    def parse(self, data: bytes) -> tree_parts.Part:
        """See :class:`ModelKind`."""
        return tree_parts.Part.from_json(data)

    def names(self, part: tree_parts.Part) -> Sequence[str]:
        """See :class:`ModelKind`."""
        return part.features

    def score(self, session: Session, owners: Sequence[int], part: tree_parts.Part, columns: Floats) -> Floats:
        """See :class:`ModelKind`."""
        return tree_prediction.predict(session, owners, part, columns)


class Linear(ModelKind[Coefficients]):
    """Linear and logistic regression."""

    words = "linear or logistic regression"
    file, row_bytes = "model-part.json", 8
    numbers = True
    told: ClassVar[Mapping[str, str]] = {
        "owner of the label": "the scores, and of the others' shares in them the sum alone: with one other owner, that owner's. As"
        " many rows as an owner has weights give these to whoever knows the rows",
        "other owner": "nothing",
    }
    division = Division(
        linear.explain,
        {
            "owner of the label": "every owner's part of every score but for a constant, from which weights follow for whoever"
            " knows the columns of as many rows",
            "other owner": "the values of its own columns",
        },
    )

    def feature(self, value: Any, where: str) -> Encoded:
        """See :class:`ModelKind`."""
        return measured(value, where)

    def to_bytes(self, part: Coefficients) -> bytes:
        """See :class:`ModelKind`."""
        return part.to_json()

    def parse(self, data: bytes) -> Coefficients:
        """See :class:`ModelKind`."""
        return Coefficients.from_json(data)

    def names(self, part: Coefficients) -> Sequence[str]:
        """See :class:`ModelKind`."""
        return part.features

    def score(self, session: Session, owners: Sequence[int], part: Coefficients, columns: Floats) -> Floats:
        """See :class:`ModelKind`."""
        found = score(session, owners, part, columns)
        return np.zeros(len(columns)) if found is None else found


class Network(ModelKind[split_parts.Part]):
    """Split networks."""

    words = "a split neural network"
    file, row_bytes = "model-part.safetensors", 64
    told: ClassVar[Mapping[str, str]] = {
        "owner of the label": "the scores, and for each row what each other owner's bottom gives, from which columns can be"
        " guessed",
        "other owner": "nothing",
    }
    division = Division(
        networks.explain,
        {
            "owner of the label": "what each other owner's bottom gives for hybrids of every row with some others, more and more"
            " of the owner's nameless columns being the row's, from which columns are guessed the better; and the values of these",
            "other owner": "the values of its own columns",
        },
        networks.require,
        networks.hybrids,
    )

    def feature(self, value: Any, where: str) -> Encoded:
        """See :class:`ModelKind`."""
        return measured(value, where)

    def to_bytes(self, part: split_parts.Part) -> bytes:
        """See :class:`ModelKind`."""
        return part.to_bytes()

    def parse(self, data: bytes) -> split_parts.Part:
        """See :class:`ModelKind`."""
        return split_parts.Part.from_bytes(data)

    def names(self, part: split_parts.Part) -> Sequence[str]:
        """See :class:`ModelKind`."""
        return part.features

    def score(self, session: Session, owners: Sequence[int], part: split_parts.Part, columns: Floats) -> Floats:
        """See :class:`ModelKind`."""
        return split_prediction.predict(session, owners, part, columns)


TREES, LINEAR, NETWORK = Trees(), Linear(), Network()
KINDS: Mapping[str, ModelKind[Any]] = {
    "boosting": TREES,
    "shared-boosting": TREES,
    "vertical-regression": LINEAR,
    "split-training": NETWORK,
}
