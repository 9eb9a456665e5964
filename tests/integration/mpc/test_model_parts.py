"""A model trained by one task scores new people in another, each owner with its part, over real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.mpc.conftest import ALDER, BIRCH, TYPES, Five, patients
from integration.mpc.test_boosted_trees import asked, parts_of, scored_rows
from integration.mpc.test_tasks_of_every_kind import RADIUS, SYMMETRY, TEXTURE, split
from tallystick.protocol import canonical
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import Refused
from tallystick.protocol.verify import verify_bundle
from tallystick_node.workloads.base import EARLIER

pytestmark = pytest.mark.slow
OTHERS = np.arange(450, 569)  # people of whom the model's task saw nothing


@pytest.fixture(scope="module")
def datasets(five: Five) -> dict[str, str]:
    """Both owners' new people."""
    found = {}
    for home, client, names in ((five.homes[0], five.alder, ALDER), (five.homes[1], five.birch, BIRCH)):
        patients().iloc[OTHERS][list(names)].to_csv(home.data / "others.csv", index=False)
        found[client.account] = client.publish("others", "others.csv", [TYPES[name] for name in names])[0]
    return found


def test_new_people_are_scored_and_explained(five: Five, datasets: dict[str, str], tmp_path: Path) -> None:
    parameters = asked(five, key_bits=2048)
    task, parts = parts_of(five, "boosting", parameters, (), tmp_path / "trained")
    model = {"task": task, "workload": "boosting", "features": parameters["features"], "target": parameters["target"]}
    said: dict[str, Any] = {
        "model": model, "split": split(five), "output": "score", "told": [five.elm.account], "explain": True, "minimum_group": 10,
    }  # fmt: skip
    columns = {five.alder.account: ["id", RADIUS, TEXTURE], five.birch.account: ["id", SYMMETRY]}
    spec, grants = five.draft("joint-prediction", said, (), [five.alder, five.elm], columns, datasets=datasets)
    asked_task = five.elm.submit(spec, grants.values())
    assert five.elm.wait(asked_task, 300) == "Proved"
    laid_out = [path for home in five.homes for path in home.folder.glob(f"runs/*/{EARLIER}")]
    assert not laid_out, "a run leaves no second copy of the model behind"
    values, contents = {}, {}
    for name, client in (("elm", five.elm), ("alder", five.alder)):
        paths = five.patiently(lambda client=client, name=name: client.result(asked_task, tmp_path / name))
        contents[name] = next(path for path in paths if path.name == "result.json").read_bytes()
        values[name] = json.loads(contents[name])["values"]
    bundle = Bundle.read(five.patiently(lambda: five.elm.bundle(asked_task, five.alder.account, tmp_path / "bundle")))
    contracts = five.network.deployment.contracts
    for content in contents.values():
        verified = verify_bundle(bundle, trusted_blocks=[five.anchor(asked_task)], contracts=contracts, result_file=content)
        verified.require(complete=True)

    frame = patients().iloc[OTHERS].iloc[np.array(values["alder"]["own_rows"]) - 1]
    found = np.array(values["elm"]["predictions"], float)
    np.testing.assert_allclose(found, scored_rows(parts, frame), atol=1e-9)
    explanation = values["elm"]["explanation"]
    shares = np.array([each["values"] for each in explanation["owners"]], float)
    np.testing.assert_allclose(shares.sum(axis=0) + float(explanation["base"]), found, atol=1e-9)
    assert values["elm"]["columns"] is None and values["alder"]["predictions"] is None
    own = np.array([each["values"] for each in values["alder"]["columns"]], float)
    np.testing.assert_allclose(own.sum(axis=0), shares[1], atol=1e-9)  # Birch has the label and comes first

    refused_without(five, five.draft("joint-prediction", {**said, "model": {**model, "task": canonical.hex32(bytes(32))}},
                                     (), [five.alder, five.elm], columns, datasets=datasets), "no result")  # fmt: skip
    part = five.homes[1].folder / "results" / task[2:18] / "model-part.json"
    part.write_bytes(part.read_bytes().replace(b"1", b"2", 1))
    again = five.draft("joint-prediction", said, (), [five.alder, five.elm], columns, datasets=datasets)
    refused_without(five, again, "not the one")


def refused_without(five: Five, drafted: Any, words: str) -> None:
    """A node that lacks its part of the model refuses the task, and says why."""
    spec, grants = drafted
    with pytest.raises(Refused, match=words):
        five.elm.submit(spec, grants.values())
