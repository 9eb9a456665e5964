"""Secure computation through the whole story: spec, grants, run, evidence, bundle, verification, provenance."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.mpc.conftest import ALDER, BIRCH, ROWS, Five, patients, walked
from integration.processes import stopped, until, workers
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import Refused
from tallystick.protocol.verify import verify_bundle
from tallystick.provenance import Kind, build, query

pytestmark = pytest.mark.slow

RIDGE = 0.01
FEATURES = (*ALDER[1:], *BIRCH[1:-1])


def model(five: Five) -> dict[str, Any]:
    """The parameters of a logistic regression on columns of both owners, whose rows are matched by id."""
    frame, alder, birch = patients(), five.alder.account, five.birch.account
    features = [
        {"party": owner, "column": name, "center": f"{frame[name].mean():.4f}", "scale": f"{frame[name].std():.4f}"}
        for owner, names in ((alder, ALDER[1:]), (birch, BIRCH[1:-1]))
        for name in names
    ]
    keys = [{"party": owner, "columns": ["id"]} for owner in (alder, birch)]
    join = {"mode": "intersection", "keys": keys, "types": ["int64"], "fold": False, "duplicates": "reject"}
    return {
        "family": "logistic",
        "split": {"by": "columns", "join": join},
        "features": features,
        "target": {"party": birch, "column": "malignant", "center": "0", "scale": "1"},
        "method": {"name": "newton", "iterations": 6},
        "ridge": str(RIDGE),
        "evaluate": True,
        "protocol": "replicated",
        "fraction": 20,
        "minimum_group": 10,
    }


@pytest.fixture(scope="module")
def proved(five: Five, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes, Bundle]:
    """A proved regression over three nodes, of which Cedar brings nothing and learns the model: task, result file, bundle."""
    columns = {five.alder.account: list(ALDER), five.birch.account: list(BIRCH)}
    spec, grants = five.draft("regression", model(five), (five.alder, five.birch, five.cedar), [five.cedar], columns)
    task = five.elm.submit(spec, grants.values())
    assert five.elm.wait(task, 300) == "Proved"
    folder = tmp_path_factory.mktemp("proved")
    paths = five.patiently(lambda: five.cedar.result(task, folder / "result"))
    content = next(path for path in paths if path.name == "result.json").read_bytes()
    return task, content, Bundle.read(five.patiently(lambda: five.elm.bundle(task, five.birch.account, folder / "bundle")))


def test_the_model_is_scikit_learns_on_the_joint_rows(proved: tuple[str, bytes, Bundle]) -> None:
    frame = patients()
    joint = np.intersect1d(*ROWS.values())
    scaled = np.column_stack([(frame[n] - round(frame[n].mean(), 4)) / round(frame[n].std(), 4) for n in FEATURES])[joint]
    label = frame["malignant"].to_numpy()[joint]
    pooled = LogisticRegression(C=1 / (RIDGE * len(joint)), tol=1e-8, max_iter=1000).fit(scaled, label)
    values = json.loads(proved[1])["values"]
    assert values["rows"] == len(joint)
    assert [each["column"] for each in values["coefficients"]] == list(FEATURES)
    found = np.array([float(each["scaled"]) for each in values["coefficients"]])
    assert np.abs(found - pooled.coef_[0]).max() < 0.01
    assert abs(float(values["scaled_intercept"]) - pooled.intercept_[0]) < 0.01
    assert abs(float(values["quality"]["auc"]) - roc_auc_score(label, pooled.decision_function(scaled))) < 0.005


def test_every_rule_holds_offline(five: Five, proved: tuple[str, bytes, Bundle]) -> None:
    task, result, bundle = proved
    contracts = five.network.deployment.contracts
    report = verify_bundle(bundle, trusted_blocks=[five.anchor(task)], contracts=contracts, result_file=result)
    report.require(complete=True)


def test_a_changed_model_or_a_changed_document_is_found(five: Five, proved: tuple[str, bytes, Bundle]) -> None:
    task, result, bundle = proved
    options: dict[str, Any] = {"trusted_blocks": [five.anchor(task)], "contracts": five.network.deployment.contracts}
    slope = json.loads(result)["values"]["coefficients"][0]["value"]
    forged = result.replace(f'"{slope}"'.encode(), f'"{float(slope) * 2}"'.encode())
    assert forged != result
    assert verify_bundle(bundle, result_file=forged, **options).failed == (18,)
    statement = bytearray(bundle.statement)
    statement[len(statement) // 2] ^= 1
    assert verify_bundle(replace(bundle, statement=bytes(statement)), result_file=result, **options).failed


def test_the_model_is_traced_to_both_datasets_and_all_three_parties(five: Five, proved: tuple[str, bytes, Bundle]) -> None:
    task, result, bundle = proved
    chain = five.network.governor.chain
    head = chain.head()
    whole = build(chain.events(0, head), chain_id=chain.deployment.chain_id, block=head, block_hash="0x", bundles=[bundle])
    found = " ".join(node.id for node in query.by_task(whole, task).nodes.values())
    for each in (*five.datasets.values(), *(client.account for client in (five.alder, five.birch, five.cedar))):
        assert each in found
    assert query.by_file(whole, hashlib.sha256(result).hexdigest()).of(Kind.TASK)[0].id == f"task:{task}"


@pytest.mark.parametrize(
    ("protocol", "adversary"),
    [("two-party", "semi-honest"), ("replicated-malicious", "malicious-with-abort")],
)
def test_owners_share_and_are_done_others_compute_and_one_receives(
    five: Five, tmp_path: Path, protocol: str, adversary: str
) -> None:
    """The owners' workers end before the computation does; their nodes sign the statement with the others at the end."""
    rounds = {"two-party": 60, "replicated-malicious": 300}[protocol]  # some seconds of work, within which to look
    compute = {"two-party": [five.cedar, five.dogwood], "replicated-malicious": [five.cedar, five.dogwood, five.elm]}[protocol]
    spec, grants = five.walk(rounds, protocol, compute, adversary=adversary)
    task = five.elm.submit(spec, grants.values())
    dogwood = five.homes[3]
    (worker,) = until(lambda: workers(dogwood))
    five.computing(task, five.cedar)
    with stopped(worker):  # so that the computation cannot end before we have looked
        until(lambda: not workers(five.homes[0]) and not workers(five.homes[1]))
        assert workers(dogwood) == [worker] and workers(five.homes[2])
        assert five.status(five.alder, task).state == "proving"
    assert five.elm.wait(task, 300) == "Proved"
    paths = five.patiently(lambda: five.elm.result(task, tmp_path / "result"))
    content = next(path for path in paths if path.name == "result.json").read_bytes()
    (output,) = json.loads(content)["values"]["outputs"]
    assert np.abs(np.array(output["numbers"], float) - walked(rounds)).max() < 0.001
    bundle = Bundle.read(five.patiently(lambda: five.elm.bundle(task, five.alder.account, tmp_path / "bundle")))
    options: dict[str, Any] = {"trusted_blocks": [five.anchor(task)], "contracts": five.network.deployment.contracts}
    verify_bundle(bundle, result_file=content, **options).require(complete=True)
    for client, home in zip(five.clients[:4], five.homes, strict=False):
        with pytest.raises(Refused):
            five.elm.nodes.files(client.account, "GetResult", task, tmp_path)
        assert not (home.folder / "results" / task[2:18]).exists()  # nobody else holds the result


def test_a_protocol_that_is_weaker_than_the_task_demands_is_refused(five: Five) -> None:
    spec, grants = five.walk(2, "two-party", [five.cedar, five.dogwood], adversary="malicious-with-abort")
    with pytest.raises(Refused, match="withstands"):
        five.elm.submit(spec, grants.values())
