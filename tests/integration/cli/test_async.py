"""`AsyncClient` over a real network: many things at once, a stream as it comes, cancellation and deadlines."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from integration.cli.conftest import PURPOSE, Proved, Town
from tallystick.client import AsyncClient, Client, GrantFile
from tallystick.protocol.errors import Deadline, NotFound
from tallystick.wire import node_pb2

pytestmark = pytest.mark.slow

PARAMETERS: dict[str, Any] = {
    "columns": [{"name": "radius", "scale": 2}],
    "compute": ["count", "mean"],
    "regression": None,
    "histograms": [],
    "where": [],
    "group_by": {"column": "kind", "values": ["a", "b"]},
    "minimum_group": 10,
    "ddof": 1,
}


def people(town: Town) -> tuple[AsyncClient, AsyncClient]:
    return AsyncClient(town.network.client(town.alder)), AsyncClient(town.network.client(town.birch))


async def draft(alder: AsyncClient, grants: dict[str, GrantFile], **changes: Any) -> Any:
    columns = {owner: ["kind", "radius"] for owner in grants}
    return await alder.draft(
        "statistics", PARAMETERS, grants, columns, receivers=[alder.account], purpose=PURPOSE, proof="sum-verified", **changes
    )


async def grants_of(owners: tuple[AsyncClient, ...], datasets: list[str], grantee: str) -> dict[str, GrantFile]:
    asked = (
        owner.grant(
            dataset, grantee, purpose=PURPOSE, algorithms=["statistics"], columns=["kind", "radius"], receivers=[grantee], uses=5
        )
        for owner, dataset in zip(owners, datasets, strict=True)
    )
    return dict(zip((owner.account for owner in owners), await asyncio.gather(*asked), strict=True))


def test_two_tasks_at_once_watched_as_they_go(town: Town, proved: Proved, tmp_path: Path) -> None:
    async def follow(owners: tuple[AsyncClient, ...]) -> tuple[str, list[str]]:
        alder = owners[0]
        grants = await grants_of(owners, proved.datasets, alder.account)
        task = await alder.submit(await draft(alder, grants), list(grants.values()))
        seen = [(status.state, time.monotonic()) async for status in alder.watch(alder.account, task)]
        assert seen[-1][1] - seen[0][1] > 0.1  # they came one by one, not all at the end
        return task, [state for state, _ in seen]

    async def main() -> None:
        owners = people(town)
        async with owners[0] as alder, owners[1] as birch:
            done = await asyncio.gather(*(follow(owners) for _ in range(2)))
            assert len({task for task, _ in done}) == 2
            for task, states in done:
                assert states[-1] == "proved"
                assert "running" in states
                assert await alder.wait(task, 300) == "Proved"
                assert (await alder.result(task, tmp_path / task[:8]))[0].name == "result.json"
            # Twenty reads and a page of events at the same time, by both.
            infos = await asyncio.gather(*(who.ask(birch.account, "GetInfo", node_pb2.InfoRequest()) for who in owners * 10))
            assert {info.name for info in infos} == {"Birch"}
            names = [event.name async for event in alder.chain.events(0, await alder.chain.head())]
            assert names.count("ResultProved") >= 3

    asyncio.run(main())


def test_transactions_of_one_account_sent_at_once_all_arrive(town: Town, proved: Proved) -> None:
    async def main() -> None:
        birch = people(town)[1]
        made = await asyncio.gather(*(grants_of((birch,), proved.datasets[1:], town.alder.account) for _ in range(6)))
        assert len({file.grant.id() for each in made for file in each.values()}) == 6

    asyncio.run(main())


def test_cancelling_a_wait_and_leaving_a_stream_end_their_threads(town: Town, proved: Proved) -> None:
    async def main() -> None:
        owners = people(town)
        alder = owners[0]
        grants = await grants_of(owners, proved.datasets, alder.account)
        spec = await draft(alder, grants)
        # Only proposed, and handed to Alder's node alone: it stays like this.
        from tallystick.protocol.task import proposal_of

        await alder.chain.send("TaskLedger", "propose", proposal_of(spec).as_tuple())
        task = "0x" + proposal_of(spec).id().hex()
        request = node_pb2.SubmitTaskRequest(spec=spec.to_bytes(), grants=[file.to_bytes() for file in grants.values()])
        await alder.ask(alder.account, "SubmitTask", request)
        waiting = asyncio.create_task(alder.wait(task, 600))
        await asyncio.sleep(0.3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(Deadline, match="no answer within"):
            await alder.within(0.3).wait(task, 600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                async for status in alder.watch(alder.account, task):
                    assert status.task == task
        await alder.chain.send("TaskLedger", "cancel", proposal_of(spec).as_tuple())
        with pytest.raises(NotFound):
            async for _ in alder.watch(alder.account, "0x" + "00" * 32):
                pass
        for who in owners:
            who.close()

    before = threading.active_count()
    asyncio.run(main())
    ended = time.monotonic()
    while threading.active_count() > before and time.monotonic() - ended < 60:
        time.sleep(0.05)
    assert threading.active_count() <= before  # and not only after the ten minutes for which they would have waited


def test_a_sync_and_an_async_client_are_the_same(town: Town) -> None:
    sync = town.network.client(town.alder)
    names = [name for name in vars(Client) if not name.startswith("_") and callable(vars(Client)[name])]
    assert [name for name in names if not hasattr(AsyncClient, name)] == []
    assert asyncio.run(AsyncClient(sync).chain.head()) == sync.chain.head()
