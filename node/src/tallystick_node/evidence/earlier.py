"""Results of earlier tasks that a run reads: this node has them, as the statement that all parties signed says."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData
from tallystick.protocol.result import NAME, ResultFile, file_digest
from tallystick.protocol.statement import Envelope, Statement

from tallystick_node.store.database import Store
from tallystick_node.workloads.base import EARLIER, SPEC


def folder_of(results: Path, task: str) -> Path:
    """Where the result files of a task lie, below the node's folder of results."""
    return results / task[2:18]


def require_result(results: Path, store: Store, account: str, task: str) -> ResultFile:
    """The result that ``account`` received of a proved task. Raises InvalidData where it has none here, or its files are not
    those that the statement binds."""
    run, statement = store.run(task), store.recall(task, "statement")
    folder = folder_of(results, task)
    if run is None or run.state != "proved" or statement is None or not (folder / NAME).is_file():
        raise InvalidData(
            f"this node has no result of the task {task}", remedy="name a proved task of which this owner received one"
        )
    content = (folder / NAME).read_bytes()
    stated = {each.receiver: each.sha256 for each in Statement.parse(Envelope.parse(statement).payload).outputs}
    if stated.get(account) != file_digest(content):
        raise InvalidData(f"the result file of the task {task} is not the one that its statement binds", remedy="put it back")
    result = ResultFile.parse(content)
    for name, digest in result.files.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise InvalidData(f"the file {name!r} of the task {task} is not the one that its result names", remedy="put it back")
    return result


def lay_out(results: Path, store: Store, account: str, task: str, scratch: Path) -> None:
    """Copy an earlier result into a run's folder, with the spec of its task. Raises InvalidData."""
    result, target = require_result(results, store, account, task), scratch / EARLIER / task
    run = store.run(task)
    assert run is not None  # it has a result
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in result.files:
        shutil.copyfile(folder_of(results, task) / name, target / name)
    (target / NAME).write_bytes(result.to_bytes())
    (target / SPEC).write_bytes(run.spec)


def clear(scratch: Path) -> None:
    """Remove what was laid out in a run's folder, which outlives the run: models and rows need not lie there twice."""
    shutil.rmtree(scratch / EARLIER, ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return canonical.text(hashlib.file_digest(file, "sha256").digest())
