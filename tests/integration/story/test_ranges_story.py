"""Statistics whose owners prove to one another and to the chain that what they add up is within the task's bounds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import data
import pytest
from integration.processes import anchor
from integration.story.conftest import Story
from tallystick.protocol.bounds import shape_of
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import TallystickError
from tallystick.protocol.task import SUM_IN_RANGE
from tallystick.protocol.verify import verify_bundle
from tallystick.provenance import Strength, build, query

pytestmark = pytest.mark.slow
COLUMNS = ["mean radius", "diagnosis"]


def parameters(high: str) -> dict[str, Any]:
    return {
        "columns": [{"name": "mean radius", "scale": 4}],
        "compute": ["count", "mean"],
        "bounds": {"row_bits": 10, "values": [{"column": "mean radius", "low": "0", "high": high}]},
    }


def test_ranges_are_proved_by_real_nodes_and_checked_by_chain_bundle_and_graph(story: Story, tmp_path: Path) -> None:
    grants = story.grants()
    columns = dict.fromkeys(grants, COLUMNS)
    spec = story.spec(grants, parameters=parameters("40"), columns=columns, proof=SUM_IN_RANGE)
    task, state = story.run(spec, grants)
    assert state == "Proved"
    result, bundle = story.result(task, tmp_path / "result"), story.bundle(task, tmp_path / "bundle")
    pooled = data.clinical().groupby("diagnosis")
    for group in json.loads(result)["values"]["groups"]:
        assert float(group["mean"]["mean radius"]) == pytest.approx(pooled.get_group(group["group"])["mean radius"].mean())

    def report(changed: Bundle) -> Any:
        anchors, contracts = [anchor(story.network, task)], story.network.deployment.contracts
        return verify_bundle(changed, trusted_blocks=anchors, contracts=contracts, result_file=result)

    whole = report(bundle)
    whole.require(complete=True)
    assert whole.rules[15].detail.startswith("sum of the committed inputs, each within 6 ranges, the sum within 2")
    assert bundle.proof.startswith(shape_of(spec.parameters).to_bytes())
    assert 16 in report(replace(bundle, proof=bundle.proof[:-1] + bytes([bundle.proof[-1] ^ 1]))).failed
    chain = story.network.governor.chain
    head = chain.head()
    graph = build(chain.events(0, head), chain_id=chain.deployment.chain_id, block=head, block_hash="0x", bundles=[bundle])
    assert Strength.SUM_IN_RANGE in {edge.strength for edge in query.by_task(graph, task).edges}


def test_an_owner_whose_rows_are_out_of_bounds_ends_the_task_and_nothing_is_proved(story: Story) -> None:
    grants = story.grants()
    columns = dict.fromkeys(grants, COLUMNS)
    spec = story.spec(grants, parameters=parameters("5"), columns=columns, proof=SUM_IN_RANGE, attempts=1)
    task, state = story.run(spec, grants)
    assert state == "Failed"
    with pytest.raises(TallystickError):
        story.alder.result(task, Path("nowhere"))
