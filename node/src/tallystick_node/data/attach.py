"""Taking a local file as a dataset: read it, commit to its rows with a fresh secret, keep both, answer the descriptor."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from tallystick.protocol import canonical
from tallystick.protocol.dataset import LIMIT, MAX_COLUMNS, Column, DatasetDescriptor
from tallystick.protocol.errors import InvalidData, MalformedDocument

from tallystick_node.data.commit import SECRET_BYTES, rows_root
from tallystick_node.data.connect import open_table
from tallystick_node.store.database import Store
from tallystick_node.store.models import DatasetRow


def attach(store: Store, data_dir: Path, owner: str, name: str, path: str, columns: bytes) -> bytes:
    """The canonical descriptor of the file ``path`` below ``data_dir`` with the declared ``columns`` (canonical JSON list).

    Raises InvalidData (outside the folder, missing, or its content breaks a rule) or MalformedDocument.
    """
    file = _inside(data_dir, path)
    declared = canonical.decode(columns, LIMIT)
    if not isinstance(declared, list) or not 1 <= len(declared) <= MAX_COLUMNS:
        raise MalformedDocument(f"columns: a list of 1 to {MAX_COLUMNS} columns")
    parsed = tuple(Column.from_json(column, f"columns[{index}]") for index, column in enumerate(declared))
    if len({column.name for column in parsed}) != len(parsed):
        raise MalformedDocument("columns: two columns have the same name")
    stat = file.stat()  # before the content: a file that changes while it is read is then seen to have changed
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
    store.put_dataset(
        DatasetRow(
            digest=canonical.hex32(descriptor.digest()),
            path=str(file),
            descriptor=content,
            secret=secret,
            size=stat.st_size,
            modified_ns=stat.st_mtime_ns,
        )
    )
    return content


def require_unchanged(row: DatasetRow) -> None:
    """Raise InvalidData unless the file of an attached dataset still holds the rows that were committed to.

    A file of the same size and time is taken to be the same; another is read, and its rows are committed to again.
    """
    remedy = "put the published file back, or publish a new version"
    try:
        stat = Path(row.path).stat()
    except OSError:
        raise InvalidData("the data file is gone", remedy=remedy) from None
    if (stat.st_size, stat.st_mtime_ns) == (row.size, row.modified_ns):
        return
    descriptor = DatasetDescriptor.parse(row.descriptor)
    root = rows_root(open_table(Path(row.path), descriptor.columns), descriptor.columns, row.secret)
    if canonical.text(root) != descriptor.root:
        raise InvalidData("the data file is not the one that was published", remedy=remedy)


def _inside(data_dir: Path, path: str) -> Path:
    """The file itself, symbolic links followed. Raises InvalidData unless it is a file that lies below the folder."""
    try:
        file = (data_dir / path).resolve()
        inside = file.is_relative_to(data_dir.resolve()) and file.is_file()
    except (OSError, RuntimeError, ValueError):  # too long a name, links in a circle, a NUL
        inside = False
    if not inside:
        raise InvalidData("no such file below the node's data folder", remedy="put the file there")
    return file
