"""Parameters: flat and back without loss, one digest for one model, and files that can only hold what is due."""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save
from tallystick_node.engines.fl.parameters import Entry, Layout, Parameters, load_arrays, save_arrays

numbers = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda kind: arrays(
        kind,
        array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
    )
)
models = st.dictionaries(st.text("abcxyz.0_", min_size=1, max_size=6), numbers, min_size=1, max_size=4).filter(
    lambda held: sum(array.size for array in held.values()) > 0
)


@given(models)
def test_flat_and_back_and_through_a_file_without_loss(held) -> None:
    parameters = Parameters(held)
    vector = parameters.layout.flatten(parameters)
    assert vector.shape == (parameters.layout.size,)
    for back in (parameters.layout.unflatten(vector), Parameters.load(parameters.save(), parameters.layout)):
        assert list(back) == list(held) and back.layout == parameters.layout and back.digest() == parameters.digest()
        assert all((back[name] == held[name]).all() and back[name].dtype == held[name].dtype for name in held)


@given(models)
def test_whatever_changes_a_model_changes_its_digest(held) -> None:
    digest = Parameters(held).digest()
    name = next(name for name, array in held.items() if array.size)
    changed = {key: array.copy() for key, array in held.items()}
    changed[name].reshape(-1)[0] += 1024
    others = [changed, {f"{key}!" if key == name else key: array for key, array in held.items()}]
    others.append({key: array[None] for key, array in held.items()})
    others.append({key: array.astype({4: np.float64, 8: np.float32}[array.itemsize]) for key, array in held.items()})
    if len(held) > 1:
        others.append(dict(reversed(held.items())))
    assert len({digest, *(Parameters(other).digest() for other in others)}) == len(others) + 1


def test_the_digest_is_fixed() -> None:
    held = {"w": np.array([[1.0, -2.0]]), "b": np.array([0.5], np.float32)}
    header = b'[["w","float64",[1,2]],["b","float32",[1]]]'
    content = b"tallystick federated model v1\0" + struct.pack("<Q", len(header)) + header + struct.pack("<ddf", 1, -2, 0.5)
    assert Parameters(held).digest() == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert Parameters({"w": np.array([-0.0])}).digest() == Parameters({"w": np.array([0.0])}).digest()


def test_parameters_are_copies_that_nobody_changes() -> None:
    held = np.ones(2)
    parameters = Parameters({"w": held})
    held[0] = 5
    assert parameters["w"][0] == 1
    with pytest.raises(ValueError, match="read-only"):
        parameters["w"][0] = 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_names_its_array(bad) -> None:
    with pytest.raises(ValueError, match="^bias: holds a number that is not finite$"):
        Parameters({"weight": np.zeros(2), "bias": np.array([0.0, bad])})
    layout = Layout((Entry("weight", (2,), "float64"), Entry("bias", (1,), "float32")))
    for value in (bad, 1e300):  # the second overflows float32
        with pytest.raises(ValueError, match="^bias: holds a number that is not finite$"):
            layout.unflatten(np.array([0.0, 0.0, value]))


def test_lengths_kinds_and_layouts_must_agree() -> None:
    layout = Layout((Entry("w", (2,), "float64"),))
    with pytest.raises(ValueError, match=r"a vector of shape \(3,\) where \(2,\) is due"):
        layout.unflatten(np.zeros(3))
    with pytest.raises(ValueError, match="not .*'w', 'float64', .2"):
        layout.flatten(Parameters({"w": np.zeros((2, 1))}))
    with pytest.raises(ValueError, match="w: holds int64"):
        Parameters({"w": np.zeros(2, np.int64)})
    with pytest.raises(ValueError, match="two arrays"):
        Layout((Entry("w", (2,), "float64"), Entry("w", (2,), "float64")))
    for entries in ((), (Entry("w", (0,), "float64"),), (Entry("w", (1 << 15, 1 << 15), "float64"),)):
        with pytest.raises(ValueError, match="a model has 1 to"):
            Layout(entries)
    for name in ("", "a\nb", "x" * 257, "__metadata__"):
        with pytest.raises(ValueError, match="printable"):
            Entry(name, (), "float64")


def test_a_file_holds_exactly_what_is_due() -> None:
    layout = Layout((Entry("w", (2,), "float64"),))
    good = Parameters({"w": np.zeros(2)}).save()
    for content, rule in [
        (b"", "no safetensors file"),
        (good[:-1], "no safetensors file"),
        (b"\xff" * 64, "no safetensors file"),
        (save({"v": np.zeros(2)}), "lacks the array w"),
        (save({"w": np.zeros(2), "v": np.zeros(2)}), "2 arrays where 1 are due"),
        (save({"w": np.zeros(3)}), "the file's arrays are"),
        (save({"w": np.zeros(2, np.float32)}), "the file's arrays are"),
        (save({"w": np.zeros(2, np.int64)}), "w: holds int64"),
        (save({"w": np.array([0, np.nan])}), "w: holds a number that is not finite"),
        (save({"w": np.zeros(2)}, metadata={"header": "[1]"}), "its header is no JSON object"),
        (save({"w": np.zeros(2)}, metadata={"header": "{"}), "no safetensors file"),
        (save({"w": np.zeros(2)}, metadata={"header": "[" * 100_000}), "no safetensors file"),
    ]:
        with pytest.raises(ValueError, match=rule):
            Parameters.load(content, layout)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_raise(content) -> None:
    with pytest.raises(ValueError):
        load_arrays(len(content).to_bytes(8, "little") + content)


def test_a_header_comes_back() -> None:
    content = save_arrays({"w": np.ones(1)}, {"round": 3, "history": [1.5, None]})
    assert json.dumps(load_arrays(content)[1], sort_keys=True) == '{"history": [1.5, null], "round": 3}'
    assert content == save_arrays({"w": np.ones(1)}, {"history": [1.5, None], "round": 3})
