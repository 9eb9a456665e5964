"""Handing out results: a chain that answers late holds up nobody else, above all not the links of the runs."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.wire import node_pb2
from tallystick_node.runs.attempt import result_folder
from tallystick_node.server import services
from tallystick_node.server.services import NodeService
from tallystick_node.store.database import Store
from unit.node.test_agreements import OWN, RUN, WORLD, Me


class Chain:
    """A chain that may take as long as it likes to say its time: it holds up the thread that asks."""

    deployment = SimpleNamespace(chain_id=WORLD.spec.chain_id)

    def __init__(self) -> None:
        self.asked: list[threading.Thread] = []

    def now(self) -> int:
        self.asked.append(threading.current_thread())
        return 1000


class Door:
    async def caller(self, context: Any) -> str:
        return OWN


@pytest.mark.parametrize("what", ["GetResult", "GetBundle"])
def test_a_chain_that_answers_late_holds_up_no_link(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, chain = Store(f"sqlite:///{tmp_path / 'node.db'}"), Chain()
    store.create_run(RUN.task, WORLD.spec.to_bytes())
    for state in ("admitted", "running", "proving", "proved"):
        store.advance(RUN.task, state)
    settings: Any = SimpleNamespace(results=tmp_path / "results", authority=tmp_path / "ca.pem")
    settings.authority.write_text("")
    result_folder(settings, RUN.task).mkdir(parents=True)
    (result_folder(settings, RUN.task) / "result.json").write_bytes(b"{}")
    monkeypatch.setattr(services, "build_bundle", lambda *_: SimpleNamespace(to_zip=lambda: b"{}"))
    parts: tuple[Any, ...] = (Door(), settings, store, chain, None, Me(), "", "")
    service = NodeService(*parts)

    async def fetched() -> list[bytes]:
        return [chunk.data async for chunk in getattr(service, what)(node_pb2.TaskRequest(task=RUN.task), None)]

    assert asyncio.run(fetched()) == [b"{}"]
    assert len(store.audit_records()) == 1 == len(chain.asked)
    assert threading.current_thread() not in chain.asked  # the event loop's
