"""Where a row stands in an attached dataset: its leaf's hash and the path to the commitment. No row and no salt is shown.

Whoever demands an opening on chain (docs/spec/settlement.md) learns that the committed tree has a leaf at this place, and its hash,
which is salted: nobody can guess the row from it. The owner that cannot answer does not hold the rows that it committed to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tallystick.protocol import canonical, merkle
from tallystick.protocol.agreement import Demand, Opening
from tallystick.protocol.dataset import DatasetDescriptor
from tallystick.protocol.errors import InvalidData

from tallystick_node.data.commit import leaf_hashes
from tallystick_node.data.connect import open_table
from tallystick_node.store.models import DatasetRow


def opening(row: DatasetRow, task: bytes, demand: Demand, going_on: Callable[[], None]) -> Opening:
    """The opening that answers a demand about an attached dataset. Raises InvalidData where the demand is not for what was
    committed to, or the file has changed: then there is nothing true to show. It takes as long as all rows take to hash;
    ``going_on`` is called now and then, and may raise."""
    descriptor = DatasetDescriptor.parse(row.descriptor)
    if canonical.text(demand.rows) != descriptor.root or demand.size != descriptor.rows or not 0 <= demand.index < demand.size:
        raise InvalidData("the demand is for another commitment, or for a row that there is not", remedy="tell the arbiters so")
    hashes = leaf_hashes(open_table(Path(row.path), descriptor.columns), descriptor.columns, row.secret, going_on)
    going_on()  # of a large file the trees, too, take minutes
    if merkle.root_of_hashes(hashes) != demand.rows:
        raise InvalidData("the data file is not the one that was published", remedy="put the published file back")
    going_on()
    path = merkle.InclusionProofs(hashes, hashed=True).path(demand.index)
    return Opening(task, demand.dataset, demand.rows, hashes[demand.index], demand.index, demand.size, tuple(path))
