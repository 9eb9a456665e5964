"""Which rows of an owner's table a `statistics` task counts, in which groups, and its columns as numbers."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidData, InvalidTask

from tallystick_node.workloads.reading import fixed
from tallystick_node.workloads.statistics.parameters import Condition, Parameters

COMPARE = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def passing(parameters: Parameters, table: pa.Table) -> NDArray[np.bool_]:
    """For each row whether it passes every filter. A row with an empty cell in a column that is read does not, as pandas leaves it
    out."""
    mask = pa.chunked_array([pa.array(np.ones(table.num_rows, np.bool_))])
    for name in parameters.read:
        mask = pc.and_(mask, pc.is_valid(table.column(name)))
    for condition in parameters.where:
        passed = COMPARE[condition.operator](table.column(condition.column), _value(table, condition))
        mask = pc.and_kleene(mask, passed)
    return np.asarray(pc.fill_null(mask, False).to_numpy(), np.bool_)


def selected(table: pa.Table, mask: NDArray[np.bool_]) -> pa.Table:
    """The rows of the mask; a table that none of its columns is read of has none to filter by."""
    return table if mask.all() else table.filter(pa.array(mask))


def group_index(parameters: Parameters, table: pa.Table) -> NDArray[np.int64]:
    """Each row's group, -1 for a value that the spec does not declare. Raises InvalidTask."""
    if parameters.group_by is None:
        return np.zeros(table.num_rows, np.int64)
    column, texts = parameters.group_by
    values = _typed(table, column, texts, "parameters.group_by.values")
    if len(values.unique()) != len(values):
        raise InvalidTask(f"parameters.group_by.values: one value of column {column!r} twice", remedy="name each group once")
    return np.asarray(pc.index_in(table.column(column), value_set=values).fill_null(-1).to_numpy(), np.int64)


def numbers(parameters: Parameters, table: pa.Table, name: str) -> NDArray[np.int64]:
    """An analysed column in fixed point. Raises InvalidData for one that is no number or has another scale than the task says."""
    scale = parameters.columns[name]
    if not pa.types.is_integer(table.schema.field(name).type):
        raise InvalidData(f"column {name!r} is not numeric", remedy="leave it out of the task's columns")
    if _scale(table, name) != scale:
        raise InvalidData(
            f"column {name!r} has {_scale(table, name)} digits after the point, the task says {scale}",
            remedy="agree on one scale for all owners",
        )
    return np.asarray(table.column(name).to_numpy().astype(np.int64, copy=False), np.int64)


def _value(table: pa.Table, condition: Condition) -> pa.Scalar:
    return _typed(table, condition.column, [condition.value], "parameters.where")[0]


def _typed(table: pa.Table, column: str, texts: Sequence[str], where: str) -> pa.Array:
    """Texts of the spec as values of a column. Raises InvalidTask when they are not of its type."""
    kind = table.schema.field(column).type
    if pa.types.is_integer(kind):
        return pa.array([fixed(text, _scale(table, column), where) for text in texts], pa.int64())
    try:
        return pa.array([unicodedata.normalize("NFC", text) for text in texts], pa.string()).cast(kind)
    except pa.ArrowInvalid:
        raise InvalidTask(
            f"{where}: a value is not of the type of column {column!r}", remedy="write it as the column has it"
        ) from None


def _scale(table: pa.Table, column: str) -> int:
    metadata = table.schema.field(column).metadata or {}
    return int(metadata.get(b"scale", b"0"))
