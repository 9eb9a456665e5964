"""Taking a local file as a dataset: read it, commit to its rows with a fresh secret, keep both, answer the descriptor."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from tallystick.protocol import canonical
from tallystick.protocol.dataset import Column, DatasetDescriptor, dataset_id
from tallystick.protocol.errors import InvalidData, MalformedDocument

from tallystick_node.data.commit import SECRET_BYTES, rows_root
from tallystick_node.data.connect import open_table
from tallystick_node.store.database import Store
from tallystick_node.store.models import DatasetRow


def attach(store: Store, data_dir: Path, owner: str, name: str, path: str, columns: bytes) -> bytes:
    """The canonical descriptor of the file ``path`` below ``data_dir`` with the declared ``columns`` (canonical JSON list).

    Raises InvalidData (outside the folder, missing, or its content breaks a rule) or MalformedDocument.
    """
    file = (data_dir / path).resolve()
    if not file.is_relative_to(data_dir.resolve()) or not file.is_file():
        raise InvalidData("no such file below the node's data folder", party=path, remedy="put the file there")
    declared = canonical.decode(columns, 1 << 20)
    if not isinstance(declared, list) or not declared:
        raise MalformedDocument("columns: a list of at least one column")
    parsed = tuple(Column.from_json(column) for column in declared)
    table = open_table(file, parsed)
    secret = secrets.token_bytes(SECRET_BYTES)
    descriptor = DatasetDescriptor(
        owner=owner,
        name=name,
        columns=parsed,
        rows=table.num_rows,
        root=canonical.text(rows_root(table, parsed, secret)),
        salt=canonical.hex32(secrets.token_bytes(32)),
        created=int(time.time()),
    )
    content = descriptor.to_bytes()
    stat = file.stat()
    store.put_dataset(
        DatasetRow(
            dataset=canonical.hex32(dataset_id(owner, descriptor.digest())),
            path=str(file),
            descriptor=content,
            secret=secret,
            size=stat.st_size,
            modified_ns=stat.st_mtime_ns,
        )
    )
    return content
