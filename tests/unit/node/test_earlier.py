"""Results of earlier tasks: what a node has as the statement binds it goes into a run, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData
from tallystick.protocol.result import NAME, ResultFile, file_digest
from tallystick.protocol.statement import Envelope, StatementOutput
from tallystick.protocol.task import proposal_of
from tallystick_node.evidence.earlier import clear, folder_of, lay_out, require_result
from tallystick_node.store.database import Store
from tallystick_node.workloads.base import EARLIER, SPEC
from unit.protocol.world import PARTIES, make

OWNER = PARTIES[2]
PART = b"a part of a model"


@dataclass
class Kept:
    """A node's store and its results, with one proved task of which ``OWNER`` received a file."""

    store: Store
    results: Path
    task: str
    spec: bytes

    @property
    def folder(self) -> Path:
        return folder_of(self.results, self.task)

    def refused(self, words: str, account: str = OWNER, task: str = "") -> None:
        with pytest.raises(InvalidData, match=words):
            require_result(self.results, self.store, account, task or self.task)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    world = make()
    task, spec = canonical.hex32(proposal_of(world.spec).id()), world.spec.to_bytes()
    content = ResultFile(
        task=task, attempt=1, receiver=OWNER, workload="boosting", values={"rows": 3},
        files={"model-part.json": canonical.text(hashlib.sha256(PART).digest())}, opening=None, salt="0x" + "11" * 32,
    ).to_bytes()  # fmt: skip
    statement = replace(world.statement, outputs=(StatementOutput(OWNER, file_digest(content)),))
    store = Store(f"sqlite:///{tmp_path / 'node.db'}")
    store.create_run(task, spec)
    for state in ("admitted", "running", "proving"):
        store.advance(task, state)
    store.remember(task, statement=Envelope(31337, statement.to_bytes(), {OWNER: bytes(65)}).to_bytes())
    store.advance(task, "proved")
    made = Kept(store, tmp_path / "results", task, spec)
    made.folder.mkdir(parents=True)
    (made.folder / NAME).write_bytes(content)
    (made.folder / "model-part.json").write_bytes(PART)
    yield made
    store.close()


def test_what_the_statement_binds_goes_into_the_run(kept: Kept, tmp_path: Path) -> None:
    lay_out(kept.results, kept.store, OWNER, kept.task, tmp_path)
    laid = tmp_path / EARLIER / kept.task
    assert {each.name: each.read_bytes() for each in laid.iterdir()} == {
        "model-part.json": PART,
        NAME: (kept.folder / NAME).read_bytes(),
        SPEC: kept.spec,
    }
    clear(tmp_path)
    assert not (tmp_path / EARLIER).exists() and (kept.folder / "model-part.json").read_bytes() == PART
    clear(tmp_path)  # of a run that reads none


def test_what_it_does_not_bind_is_refused(kept: Kept) -> None:
    kept.refused("not the one that its statement binds", account=PARTIES[0])
    kept.refused("no result of the task", task="0x" + "00" * 32)
    (kept.folder / "model-part.json").write_bytes(PART + b"!")
    kept.refused("'model-part.json' .* is not the one")
    (kept.folder / "model-part.json").unlink()
    kept.refused("'model-part.json' .* is not the one")
    content = (kept.folder / NAME).read_bytes()
    (kept.folder / NAME).write_bytes(content.replace(b'"rows":3', b'"rows":4'))
    kept.refused("result file .* is not the one")
    (kept.folder / NAME).unlink()
    kept.refused("no result of the task")


def test_a_task_that_is_not_proved_has_no_result(kept: Kept) -> None:
    spec = replace(make().spec, salt="0x" + "22" * 32)
    task = canonical.hex32(proposal_of(spec).id())
    kept.store.create_run(task, spec.to_bytes())
    kept.refused("no result of the task", task=task)
