"""Three hospitals train a model whose sums the chain checks by openings of commitments, over real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts.test_vector_sum_verifier import needs_openings, ready
from integration.processes import anchor
from integration.story.conftest import PURPOSE, Story
from integration.story.test_training import COLUMNS, parameters
from tallystick.client.result_files import beside
from tallystick.protocol.errors import VerificationFailed
from tallystick.protocol.proof.vector_sum_verified import VectorSum
from tallystick.protocol.task import VECTOR_SUM_VERIFIED
from tallystick.protocol.verify import verify_bundle
from tallystick.provenance import Strength, build, query

pytestmark = [pytest.mark.slow, needs_openings]


def test_a_model_is_trained_and_its_sums_are_opened_on_the_chain(story: Story, tmp_path: Path) -> None:
    ready(story.network.local.url)
    grants = story.grants(algorithms=["training"], columns=COLUMNS)
    asked = parameters()
    asked["schedule"]["rounds"] = 2
    spec = story.alder.draft(
        "training", asked, grants, dict.fromkeys(grants, COLUMNS), proof=VECTOR_SUM_VERIFIED, receivers=[story.alder.account],
        purpose=PURPOSE, corruptions=2,
    )  # fmt: skip
    task = story.alder.submit(spec, list(grants.values()))
    assert story.alder.wait(task, 300) == "Proved"
    paths = {path.name: path for path in story.patiently(lambda: story.alder.result(task, tmp_path / "result"))}
    bundle = story.bundle(task, tmp_path / "bundle")
    content, sums = paths["result.json"].read_bytes(), paths["aggregate.bin"].read_bytes()

    def verify(aggregate: bytes) -> None:
        verify_bundle(
            bundle,
            trusted_blocks=[anchor(story.network, task)],
            contracts=story.network.deployment.contracts,
            result_file=content,
            files=beside(paths["result.json"], content),
            aggregate=[aggregate],
        ).require(complete=True)

    verify(sums)
    changed = bytearray(sums)
    changed[64 + 8 * 5] ^= 1
    with pytest.raises(VerificationFailed, match="19"):
        verify(bytes(changed))
    proof = VectorSum.parse(bundle.proof, len(spec.parties))
    assert all(proof.commitments) and len(proof.total) == 1
    chain = story.network.governor.chain
    head = chain.head()
    graph = build(chain.events(0, head), chain_id=chain.deployment.chain_id, block=head, block_hash="0x", bundles=[bundle])
    assert Strength.VECTOR_SUM_VERIFIED in {edge.strength for edge in query.by_task(graph, task).edges}
