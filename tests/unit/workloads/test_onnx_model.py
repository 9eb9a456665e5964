"""Models imported from ONNX files answer as the models that scikit-learn trained; hostile files give one clear error."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the package onnx: install tallystick-node[onnx]")
skl2onnx = pytest.importorskip("skl2onnx", reason="needs the package skl2onnx to make ONNX files")

from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import Configuration, InvalidData
from tallystick_node import app
from tallystick_node.data import onnx_graph
from tallystick_node.data.connect import open_table
from tallystick_node.data.model_files import write_model
from tallystick_node.data.onnx_model import read_model
from tallystick_node.engines.mpc.array import declare, plan_of, reveal
from tallystick_node.engines.mpc.array.simulate import run_locally
from tallystick_node.engines.mpc.models.answers import answer
from tallystick_node.engines.mpc.models.network import AveragePool, Convolution, Network
from tallystick_node.workloads.plans.prediction import _declared_model, _prepared_model, _scores
from tallystick_node.workloads.plans.prediction_parameters import Parameters

DIGITS, CANCER, DIABETES = (load(return_X_y=True) for load in (load_digits, load_breast_cancer, load_diabetes))
FRACTION = 20


def answered(imported, rows, output):
    """What the model says of rows, computed in the clear by the program of the workload."""
    model = imported.architecture.model
    parameters = Parameters("A", imported.architecture, None, (), output, "replicated", FRACTION, 1)
    prepared = _prepared_model(model, np.round(imported.weights, 9))
    inputs = _declared_model(parameters)
    inputs["rows"] = declare("A", len(rows), [f"x{i}" for i in range(rows.shape[1])], f"fixed:{FRACTION}")
    given = {**{name: prepared[name] for name in inputs if name != "rows"}, "rows": rows}

    def program(rows, **arrays):
        reveal(answer(_scores(parameters, rows, arrays), model.link, output), to=["A"], name="found")

    return run_locally(plan_of(program, inputs, fraction=FRACTION), given, ["A"], "clear")["A"]["found"]


def scaled(imported, rows):
    centers, scales = imported.scaling or (0.0, 1.0)
    return (rows - centers) / scales


def exported(model, data, path):
    rows, target = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows, target)
        path.write_bytes(skl2onnx.to_onnx(model, rows[:1].astype(np.float32)).SerializeToString())
    return read_model(path)


CLASSIFIERS = [
    (make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=60, random_state=0)), CANCER),
    (MLPClassifier((16,), activation="tanh", max_iter=30, random_state=0), DIGITS),
    (make_pipeline(StandardScaler(), LogisticRegression()), CANCER),
    (LogisticRegression(max_iter=10), DIGITS),
    (GradientBoostingClassifier(n_estimators=10, random_state=0), CANCER),
    (GradientBoostingClassifier(n_estimators=3, max_depth=2, random_state=0), DIGITS),
    (RandomForestClassifier(7, max_depth=4, random_state=0), CANCER),
    (RandomForestClassifier(7, max_depth=4, random_state=0), DIGITS),
    (DecisionTreeClassifier(max_depth=4, random_state=0), DIGITS),
    (LinearSVC(random_state=0), (StandardScaler().fit_transform(CANCER[0]), CANCER[1])),
]


@pytest.mark.parametrize(("model", "data"), CLASSIFIERS, ids=lambda each: getattr(each, "__class__", type(each)).__name__)
def test_classifiers_name_the_classes_that_scikit_learn_names(model, data, tmp_path) -> None:
    imported = exported(model, data, tmp_path / "model.onnx")
    assert imported.architecture.classes in ((), tuple(map(str, range(max(data[1]) + 1))))
    found = answered(imported, scaled(imported, data[0][:400]), "class")
    assert np.mean(found == model.predict(data[0][:400])) >= 0.995
    if imported.architecture.model.link != "identity":
        shown = answered(imported, scaled(imported, data[0][:50]), "probability")
        assert np.abs(shown[:, -1] - model.predict_proba(data[0][:50])[:, -1]).max() < 3e-3


REGRESSORS = [
    LinearRegression(),
    make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,), activation="logistic", max_iter=60, random_state=0)),
    GradientBoostingRegressor(n_estimators=10, random_state=0),
    RandomForestRegressor(5, max_depth=4, random_state=0),
]


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda each: type(each).__name__)
def test_regressors_say_what_scikit_learn_says(model, tmp_path) -> None:
    rows = DIABETES[0] / DIABETES[0].std(0)
    imported = exported(model, (rows, DIABETES[1]), tmp_path / "model.onnx")
    found = answered(imported, scaled(imported, rows), "raw")[:, 0]
    assert np.mean(np.abs(found - model.predict(rows)) < 0.05) >= 0.99  # a feature may equal a threshold up to rounding


def saved(path, nodes, tensors=(), shape=(None, 4), inputs=("x",)):
    """A file of these nodes and tensors (name -> array)."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(each, np.float32 if np.asarray(each).dtype.kind == "f" else np.int64), name)
         for name, each in dict(tensors).items()],
    )  # fmt: skip
    model = helper.make_model(graph)
    path.write_bytes(model.SerializeToString())
    return model


def test_a_convolutional_network(tmp_path) -> None:
    """LeNet's operators, against NumPy."""
    order = np.random.default_rng(0)
    filters, dense = order.normal(size=(3, 1, 3, 3)), order.normal(size=(2, 3 * 4))
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "f"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Relu", ["a"], ["b"]),
        node("AveragePool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["c", "s"], ["d"]),
        node("Gemm", ["d", "w", "v"], ["e"], transB=1, alpha=0.5, beta=2.0),
        node("Softmax", ["e"], ["y"]),
    ]
    path = tmp_path / "cnn.onnx"
    saved(path, nodes, {"f": filters, "w": dense, "v": np.array([0.25, -0.5]), "s": np.array([-1, 12])}, (None, 1, 8, 8))
    imported = read_model(path)
    model = imported.architecture.model
    assert isinstance(model, Network) and model.link == "softmax" and model.inputs == (1, 8, 8)
    assert model.layers[0] == Convolution((3, 3), (2, 2), (0, 0, 1, 1), 3) and model.layers[2] == AveragePool((2, 2), (2, 2))
    images = DIGITS[0][:20].reshape(-1, 8, 8) / 16
    padded = np.pad(images, ((0, 0), (0, 1), (0, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    hidden = np.maximum(np.einsum("nhwij,fij->nfhw", seen, filters[:, 0]), 0).reshape(20, 3, 2, 2, 2, 2).mean(axis=(3, 5))
    expected = 0.5 * hidden.reshape(20, -1) @ dense.T + 2 * np.array([0.25, -0.5])
    assert np.abs(answered(imported, images.reshape(20, -1), "raw") - expected).max() < 1e-3


MODES = ["LEAF", "LEAF", "BRANCH_GTE", "BRANCH_LT", "LEAF", "LEAF", "LEAF"]  # after the first


def ensemble(**changes):
    """Two stumps of unlike depth, by XGBoost's rule."""
    attributes = {
        "nodes_treeids": [0, 0, 0, 1, 1, 1, 1, 1], "nodes_nodeids": [0, 1, 2, 0, 1, 2, 3, 4],
        "nodes_featureids": [1, 0, 0, 0, 2, 0, 0, 0], "nodes_values": [0.5, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0],
        "nodes_modes": ["BRANCH_LT", *MODES],
        "nodes_truenodeids": [1, 0, 0, 1, 3, 0, 0, 0], "nodes_falsenodeids": [2, 0, 0, 2, 4, 0, 0, 0],
        "target_treeids": [0, 0, 1, 1, 1], "target_nodeids": [1, 2, 2, 3, 4], "target_ids": [0] * 5,
        "target_weights": [1.0, 2.0, 10.0, 20.0, 30.0], "n_targets": 1, "base_values": [0.5],
    }  # fmt: skip
    given = {name: each for name, each in {**attributes, **changes}.items() if each is not None}
    return [helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **given)]


def test_trees_of_unlike_depth_and_opposite_rules(tmp_path) -> None:
    saved(tmp_path / "t.onnx", ensemble())
    imported = read_model(tmp_path / "t.onnx")
    assert imported.architecture.model.depth == 2 and imported.architecture.model.rule == "less"
    rows = np.array([[1.0, 0.5, -1.0, 0], [0.75, 0.25, 0, 0], [2.0, 0.0, -2.0, 0]])
    assert answered(imported, rows, "raw")[:, 0].tolist() == [32.5, 11.5, 21.5]
    saved(tmp_path / "t.onnx", ensemble(aggregate_function="AVERAGE"))
    assert answered(read_model(tmp_path / "t.onnx"), rows, "raw")[:, 0].tolist() == [16.5, 6.0, 11.0]


GEMM = helper.make_node("Gemm", ["x", "w", "b"], ["y"])
WEIGHTS = {"w": np.ones((4, 2)), "b": np.ones(2)}


FIRST = helper.make_node("Gemm", ["x", "w"], ["a"])


def node_of(name, *inputs, **attributes):
    return helper.make_node(name, list(inputs or ("x",)), ["y"], **attributes)


HOSTILE = {
    "unknown operator": ([node_of("Erf")], {}),
    "foreign domain": ([node_of("Gemm", "x", "w", domain="com.example")], WEIGHTS),
    "no weights": ([node_of("Relu")], {}),
    "weights of another shape": ([GEMM], {**WEIGHTS, "w": np.ones((3, 2))}),
    "biases of another shape": ([GEMM], {**WEIGHTS, "b": np.ones((2, 2))}),
    "weights that are computed": ([node_of("MatMul", "x", "x")], {}),
    "weights without an end": ([GEMM], {**WEIGHTS, "b": np.array([np.nan, 1])}),
    "endless weights": ([GEMM], {**WEIGHTS, "b": np.array([np.inf, 1])}),
    "transposed rows": ([helper.make_node("Gemm", ["x", "w"], ["y"], transA=1)], WEIGHTS),
    "an attribute of another type": ([helper.make_node("Gemm", ["x", "w"], ["y"], alpha="one")], WEIGHTS),
    "a branch": ([FIRST, node_of("Relu", "a"), helper.make_node("Tanh", ["a"], ["z"])], WEIGHTS),
    "a value made twice": ([GEMM, GEMM], WEIGHTS),
    "a sum with itself": ([FIRST, node_of("Add", "a", "a")], WEIGHTS),
    "another class's probability": ([FIRST, node_of("Sub", "b", "a")], WEIGHTS),
    "an operator after the softmax": ([FIRST, helper.make_node("Softmax", ["a"], ["c"]),
                                       node_of("Relu", "c")], WEIGHTS),
    "a subgraph": ([helper.make_node("Loop", ["x"], ["y"], body=helper.make_graph([], "b", [], []))], {}),
    "a softmax over rows": ([FIRST, node_of("Softmax", "a", axis=0)], WEIGHTS),
    "a reshape over rows": ([FIRST, node_of("Reshape", "a", "s")], {**WEIGHTS, "s": np.array([2, -1])}),
    "an empty reshape": ([FIRST, node_of("Reshape", "a", "s")],
                         {**WEIGHTS, "s": np.array([-1, 0])}),
    "a convolution of rows": ([node_of("Conv", "x", "k")], {"k": np.ones((1, 1, 1, 1))}),
    "a scaler of nothing": ([helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[0.0])], {}),
    "linear without coefficients": ([helper.make_node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml")], {}),
    "linear with half a row": ([helper.make_node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml",
                                                 coefficients=[1.0] * 6)], {}),
    "lists of nodes that differ": (ensemble(nodes_values=[1.0]), {}),
    "a node twice": (ensemble(nodes_nodeids=[0, 1, 1, 0, 1, 2, 3, 4]), {}),
    "a circle": (ensemble(nodes_truenodeids=[1, 0, 0, 1, 0, 0, 0, 0]), {}),
    "a node with two parents": (ensemble(nodes_truenodeids=[1, 0, 0, 1, 2, 0, 0, 0]), {}),
    "a child that is not there": (ensemble(nodes_truenodeids=[9, 0, 0, 1, 3, 0, 0, 0]), {}),
    "a feature that is not there": (ensemble(nodes_featureids=[4, 0, 0, 0, 2, 0, 0, 0]), {}),
    "a mode that is not taken": (ensemble(nodes_modes=["BRANCH_EQ", *MODES]), {}),
    "modes that differ": (ensemble(nodes_modes=["BRANCH_LEQ", *MODES]), {}),
    "a value of no leaf": (ensemble(target_nodeids=[0, 2, 2, 3, 4]), {}),
    "a value of no output": (ensemble(target_ids=[1] * 5), {}),
    "too many outputs": (ensemble(n_targets=1 << 40), {}),
    "numbers of nodes that are not whole": (ensemble(nodes_treeids=[float("nan")] * 8), {}),
    "a smallest of trees": (ensemble(aggregate_function="MIN"), {}),
    "no trees": (ensemble(**{f"nodes_{each}": None for each in (
        "treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_models_that_are_not_taken(case, tmp_path) -> None:
    saved(tmp_path / "m.onnx", *HOSTILE[case])
    with pytest.raises(InvalidData, match="the ONNX file: "):
        read_model(tmp_path / "m.onnx")


def test_the_good_ones_beside_them_are_taken(tmp_path) -> None:
    for nodes, tensors in (([GEMM], WEIGHTS), (ensemble(), {})):
        saved(tmp_path / "m.onnx", nodes, tensors)
        read_model(tmp_path / "m.onnx")


def deep(levels):
    """A tree that goes left ``levels`` times."""
    count = 2 * levels + 1
    inner = [number < levels for number in range(count)]
    return ensemble(
        nodes_treeids=[0] * count, nodes_nodeids=list(range(count)), nodes_featureids=[0] * count, nodes_values=[0.0] * count,
        nodes_modes=["BRANCH_LT" if each else "LEAF" for each in inner],
        nodes_truenodeids=[number + 1 if each else 0 for number, each in enumerate(inner)],
        nodes_falsenodeids=[levels + 1 + number if each else 0 for number, each in enumerate(inner)],
        target_treeids=[0], target_nodeids=[levels], target_ids=[0], target_weights=[1.0],
    )  # fmt: skip


def test_deep_trees(tmp_path) -> None:
    saved(tmp_path / "m.onnx", deep(10))
    assert read_model(tmp_path / "m.onnx").architecture.model.depth == 10
    for levels in (11, 500):
        saved(tmp_path / "m.onnx", deep(levels))
        with pytest.raises(InvalidData, match="deeper than 10"):
            read_model(tmp_path / "m.onnx")


def test_files_that_are_broken(tmp_path, monkeypatch) -> None:
    path = tmp_path / "m.onnx"
    model = saved(path, [GEMM], WEIGHTS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidData):
            read_model(path)
    order = np.random.default_rng(0)
    for _ in range(200):
        changed = bytearray(whole)
        for place in order.integers(0, len(whole), 3):
            changed[place] = order.integers(256)
        path.write_bytes(changed)
        try:
            read_model(path)
        except InvalidData:
            continue
    tensor = model.graph.initializer[0]
    for dims, data in (
        ([1 << 40, 1 << 40], b""),
        ([-1, 2], b""),
        ([1 << 21, 2], tensor.raw_data),
        ([4, 2], b"123"),
        ([1] * 9, b""),
    ):
        tensor.ClearField("dims")
        tensor.dims.extend(dims)
        tensor.raw_data = data
        path.write_bytes(model.SerializeToString())
        with pytest.raises(InvalidData, match="the ONNX file: "):
            read_model(path)
    monkeypatch.setattr(onnx_graph, "MAX_BYTES", 100)
    with pytest.raises(InvalidData, match="more than 100 bytes"):
        read_model(path)
    with pytest.raises(InvalidData, match="cannot be read"):
        read_model(tmp_path / "none.onnx")


def test_other_files_are_never_opened(tmp_path) -> None:
    path = tmp_path / "m.onnx"
    model = saved(path, [GEMM], WEIGHTS)
    (tmp_path / "secret").write_bytes(np.ones(8, np.float32).tobytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InvalidData, match="another file"):
        read_model(path)


def test_inputs_must_be_one_matrix(tmp_path) -> None:
    for shape, inputs in (((None, 4), ("x", "z")), ((None, None), ("x",)), ((4,), ("x",)), ((1, 2, 3), ("x",))):
        saved(tmp_path / "m.onnx", [GEMM], WEIGHTS, shape, inputs)
        with pytest.raises(InvalidData, match="input"):
            read_model(tmp_path / "m.onnx")


def test_the_command_writes_what_the_workload_reads(tmp_path, monkeypatch, capsys) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    imported = exported(model, CANCER, tmp_path / "model.onnx")
    folder = tmp_path / "made"
    monkeypatch.setattr(sys, "argv", ["tallystick-node", "import-model", str(tmp_path / "model.onnx"), str(folder)])
    app.main()
    assert "31 weights" in capsys.readouterr().out
    table = open_table(folder / "weights.csv", [Column("weight", "decimal", scale=9)])
    assert np.abs(table.column(0).to_numpy() / 1e9 - imported.weights).max() < 1e-9
    assert (folder / "weights.csv").stat().st_mode & 0o077 == 0
    assert json.loads((folder / "architecture.json").read_text()) == imported.architecture.to_json()
    features = json.loads((folder / "features.json").read_text())
    scaler = model.named_steps["standardscaler"]
    assert np.allclose([float(each["center"]) for each in features], scaler.mean_)
    assert np.allclose([float(each["scale"]) for each in features], scaler.scale_)
    with pytest.raises(SystemExit):
        app.main()
    assert "has files already" in capsys.readouterr().err
    with pytest.raises(Configuration):
        write_model(imported, tmp_path / "model.onnx" / "below")


def test_without_the_package(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(Configuration, match="package onnx") as caught:
        read_model(tmp_path / "m.onnx")
    assert "tallystick-node[onnx]" in caught.value.remedy
