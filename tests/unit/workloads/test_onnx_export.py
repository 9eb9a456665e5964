"""A trained model as ONNX says of raw rows what the model says, carries its origin, and can be imported again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the package onnx: install tallystick-node[onnx]")

from onnx.reference import ReferenceEvaluator
from tallystick.protocol.errors import Configuration, InvalidData
from tallystick.protocol.result import ResultFile, file_digest
from tallystick_node import app
from tallystick_node.data.onnx_export import export_model
from tallystick_node.data.onnx_model import read_model
from tallystick_node.engines.fl.parameters import Parameters
from tallystick_node.workloads.training import parameters as training_parameters
from unit.workloads.conftest import ACCOUNTS, ID

CENTERS, SCALES = np.array([40.0, -3.25, 0.096]), np.array([12.5, 1.0, 0.014])
FEATURES = [
    {"column": name, "center": str(center), "scale": str(scale)}
    for name, center, scale in zip(("age", "ß|b", "c"), CENTERS, SCALES, strict=True)
]
CLASSES = {"column": "ill", "values": ["no", "yes", "größer"]}
NUMBER = {"column": "cost", "center": "200", "scale": "50"}
MODELS = {
    "linear": ({"name": "linear", "bound": 3, "penalty": "0"}, NUMBER),
    "logistic": ({"name": "logistic", "penalty": "0"}, CLASSES),
    "perceptron": ({"name": "perceptron", "hidden": [8, 5], "penalty": "0"}, CLASSES),
}
GENERATOR = np.random.default_rng(5)
ROWS = GENERATOR.normal(CENTERS, SCALES, (200, 3))


def folder_of(path: Path, name: str, **changes: Any) -> tuple[Path, Parameters]:
    """The result files of a training with random numbers."""
    kind, target = MODELS[name]
    _, _, learner = training_parameters.read_model(kind, FEATURES, target, "x")
    numbers = learner.layout.unflatten(np.random.default_rng(7).normal(0, 1, learner.layout.size))
    files = {"model.safetensors": numbers.save({"task": ID}), "model-card.md": "# Größe\n".encode()}
    model = {"digest": numbers.digest(), "layout": learner.layout.document, "kind": kind, "features": FEATURES, "target": target}
    result = ResultFile(
        task=ID, attempt=1, receiver=ACCOUNTS[0], workload="training", values={"model": {**model, **changes}},
        files={file: file_digest(content) for file, content in files.items()}, opening=None, salt=ID,
    )  # fmt: skip
    for file, content in {**files, "result.json": result.to_bytes()}.items():
        (path / file).write_bytes(content)
    return path, numbers


def said_by(name: str, numbers: Parameters) -> np.ndarray:
    """In float64, straight from the formulas: numbers, or probabilities."""
    current = (ROWS - CENTERS) / SCALES
    if name == "linear":
        return (current @ numbers["weight"] + numbers["bias"]) * 50 + 200
    arrays = list(numbers.values())
    for place in range(0, len(arrays), 2):
        current = current @ arrays[place] + arrays[place + 1]
        current = np.maximum(current, 0) if place + 2 < len(arrays) else current
    powers = np.exp(current - current.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", MODELS)
def test_raw_rows_get_the_models_answers(name: str, tmp_path: Path) -> None:
    folder, numbers = folder_of(tmp_path, name)
    content = export_model(folder)
    answers = dict(zip(*(lambda run: (run.output_names, run.run(None, {"columns": ROWS.astype(np.float32)})))(
        ReferenceEvaluator(content)), strict=True))  # fmt: skip
    expected = said_by(name, numbers)
    if name == "linear":
        assert np.abs(answers["number"][:, 0] - expected).max() < 1e-3
        return
    assert np.abs(answers["probabilities"] - expected).max() < 1e-4
    sure = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2] > 1e-3
    assert sure.sum() > 100
    assert (np.array(CLASSES["values"])[expected.argmax(axis=1)] == answers["class"])[sure].all()


@pytest.mark.parametrize("name", MODELS)
def test_what_was_exported_can_be_imported(name: str, tmp_path: Path) -> None:
    folder, numbers = folder_of(tmp_path, name)
    path = tmp_path / "model.onnx"
    path.write_bytes(export_model(folder))
    imported = read_model(path)
    assert imported.scaling is not None
    assert np.allclose(imported.scaling, (CENTERS, SCALES), rtol=1e-6)
    weights = np.concatenate([each.ravel() for each in numbers.values()])
    if name == "linear":
        weights = weights * 50 + np.array([0, 0, 0, 200])
    assert np.allclose(imported.weights, weights, rtol=1e-6, atol=1e-6)
    assert imported.architecture.classes == (() if name == "linear" else tuple(CLASSES["values"]))
    assert imported.architecture.model.link == ("identity" if name == "linear" else "softmax")


def test_it_carries_its_card_and_origin_and_is_the_same_each_time(tmp_path: Path) -> None:
    folder, numbers = folder_of(tmp_path, "logistic")
    content = export_model(folder)
    assert content == export_model(folder)
    said = {each.key: each.value for each in onnx.ModelProto.FromString(content).metadata_props}
    assert said.pop("result") == file_digest((folder / "result.json").read_bytes())
    assert json.loads(said.pop("columns")) == [each["column"] for each in FEATURES]
    assert said == {"task": ID, "model": numbers.digest(), "target": "ill", "card": "# Größe\n"}


@pytest.mark.parametrize("file", ["model.safetensors", "model-card.md"])
def test_a_changed_file_is_refused(file: str, tmp_path: Path) -> None:
    folder, _ = folder_of(tmp_path, "logistic")
    content = bytearray((folder / file).read_bytes())
    content[-1] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(InvalidData, match="it was changed") as caught:
        export_model(folder)
    assert caught.value.party == ACCOUNTS[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "sha256:" + "0" * 64}, {"kind": {"name": "boosting"}}, {"kind": MODELS["linear"][0]}, {"kind": 7},
        {"target": NUMBER},
        {"features": FEATURES[:2]}, {"features": []}, {"target": {"column": "ill", "values": ["a", "b"]}}, {"more": 1},
    ],
)  # fmt: skip
def test_values_that_do_not_fit_the_numbers_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    folder, _ = folder_of(tmp_path, "logistic", **changes)
    with pytest.raises(InvalidData):
        export_model(folder)


def test_other_results_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Configuration, match="cannot be read"):
        export_model(tmp_path)
    folder, _ = folder_of(tmp_path, "linear")
    result = ResultFile.parse((folder / "result.json").read_bytes())
    for changes in ({"workload": "statistics"}, {"values": {}}, {"files": {}}):
        (folder / "result.json").write_bytes(ResultFile(**{**vars(result), **changes}).to_bytes())
        with pytest.raises(InvalidData):
            export_model(folder)


def test_the_commands_export_and_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "result").mkdir()
    folder, _ = folder_of(tmp_path / "result", "perceptron")
    model = str(tmp_path / "model.onnx")
    monkeypatch.setattr(sys, "argv", ["tallystick-node", "export-model", str(folder), model])
    app.main()
    assert f"bytes in {model}" in capsys.readouterr().out
    with pytest.raises(SystemExit):  # the file is there
        app.main()
    monkeypatch.setattr(sys, "argv", ["tallystick-node", "import-model", model, str(tmp_path / "imported")])
    app.main()
    architecture = json.loads((tmp_path / "imported/architecture.json").read_text())
    assert architecture["classes"] == CLASSES["values"]
