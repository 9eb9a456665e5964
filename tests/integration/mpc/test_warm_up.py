"""A node whose kernels are not compiled yet accepts no task that needs them, and the others wait for it without a run."""

from __future__ import annotations

import fcntl

import pytest
from integration.mpc.conftest import PATIENCE, Five
from integration.processes import until
from tallystick_node.engines import compiled
from tallystick_node.runs.warm_up import warm

ENGINE = "replicated"


@pytest.mark.slow
def test_a_cold_node_accepts_as_soon_as_it_is_warm(five: Five) -> None:
    dogwood = five.homes[3]
    five.network.halt(dogwood)
    warm(ENGINE)
    mark = compiled.folder() / f"{ENGINE}.warm"
    with mark.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as if another node compiled
        mark.write_text("")
        five.network.launch(dogwood, link_seconds=PATIENCE)
        spec, grants = five.walk(2, ENGINE, [five.cedar, five.dogwood, five.elm])
        task = five.elm.submit(spec, grants.values())
        until(lambda: five.status(five.dogwood, task).phase == "waiting until kernels are compiled")
        until(lambda: five.status(five.cedar, task).state == "admitted")
        assert five.status(five.dogwood, task).state == "received"
    assert five.elm.wait(task, 300) == "Proved"
