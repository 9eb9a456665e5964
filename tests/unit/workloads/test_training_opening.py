"""`training` whose sums the chain checks by openings of commitments: from real rows to a proof, and what is too long for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tallystick.commitments.vector_sum import LANE_BITS
from tallystick.protocol.errors import InvalidData, InvalidTask, MalformedDocument
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.result import ResultFile
from tallystick.protocol.statement import StatementInput, StatementOutput
from tallystick.protocol.task import VECTOR_SUM_VERIFIED
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.workloads.training.opening import opened
from tallystick_node.workloads.training.workload import AGGREGATE, Training
from unit.workloads.test_training import TABLES, asked, spec_of

KIND = KINDS[VECTOR_SUM_VERIFIED]


def opening_spec(**changes):
    return replace(spec_of(asked(**changes), receivers=(0, 3)), proof=VECTOR_SUM_VERIFIED)


@pytest.mark.slow
def test_three_owners_train_and_a_receiver_checks_their_sums(run_workload) -> None:
    spec = opening_spec(schedule__rounds=2)
    ran = run_workload(Training(), spec, TABLES)
    outcomes = [ran.outcomes[number] for number in range(4)]
    assert not any(isinstance(each, Exception) for each in outcomes), outcomes
    assert outcomes[3].commitment == "" and len({tuple(each.all_commitments) for each in outcomes}) == 1
    inputs = tuple(
        StatementInput(part.party, part.dataset, "", part.grant, outcomes[0].all_commitments[spec.parties.index(part.party)])
        for part in spec.inputs
    )
    outputs = tuple(StatementOutput(party, "") for party in spec.receivers)
    subject = Subject(bytes(32), tuple(spec.parties), inputs, outputs)
    said = {party: outcomes[number].contribution for number, party in enumerate(spec.parties)}
    proof = KIND.assemble(subject, said)
    assert "3 committed vectors" in KIND.check(subject, proof)
    file = ResultFile("0x" + "11" * 32, 1, spec.receivers[0], "training", {}, {}, None, "0x" + "11" * 32)
    for receiver in (0, 3):
        content = outcomes[receiver].files[AGGREGATE].read_bytes()
        assert KIND.open(subject, proof, file, [content]) is not None
        with pytest.raises(MalformedDocument, match="not the one that the proof is about"):
            KIND.open(subject, proof, file, [content[:-8] + (1).to_bytes(8, "little")])
    assert [AGGREGATE in each.files for each in outcomes] == [True, False, False, True]


def test_a_sum_that_no_words_have_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """A coordinator that is an owner can bring it about; the words of the sum's file would not hold it."""
    journal = Journal(tmp_path / "rounds")
    journal.append(np.ones(2, np.uint32), np.array([5, 2**LANE_BITS], np.uint64))
    (session, *_) = local_sessions(3)
    with pytest.raises(InvalidData, match="greater than what its owners can have sent"):
        opened(session, (0, 1, 2), journal)
    assert not session.meter.steps[""].messages


def test_what_is_committed_to_number_by_number_is_bounded() -> None:
    Training().check(opening_spec(schedule__rounds=500))
    with pytest.raises(InvalidTask, match="commits to each number") as caught:
        Training().check(opening_spec(schedule__rounds=900, model={"name": "perceptron", "hidden": [16], "penalty": "0"}))
    assert "projection-verified" in caught.value.remedy


def test_a_task_says_that_its_commitments_hide_for_ever_and_what_they_take() -> None:
    spec = opening_spec()
    other = replace(spec, proof="projection-verified")
    assert "could open the masks" in Training().security(spec).learns["public"]
    assert "projections" in Training().security(other).learns["public"]
    rows = dict.fromkeys((part.party for part in spec.inputs), 200)
    assert Training().cost(spec, rows).seconds > Training().cost(other, rows).seconds + 5
