"""Plans: what is recorded, how it is written, what is refused, and that running one gives what computing at once gives."""

from __future__ import annotations

import base64
import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.protocol import canonical
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.clear import Clear
from tallystick_node.engines.mpc.plan.document import LIMIT, MAX_STEPS, InvalidPlan, Plan
from tallystick_node.engines.mpc.plan.execute import evaluate
from tallystick_node.engines.mpc.plan.kinds import decimal_text, encode, exact_text, fixed, parse_exact, parse_kind
from tallystick_node.engines.mpc.plan.leakage import leakage
from tallystick_node.engines.mpc.plan.table import OPERATIONS
from tallystick_node.engines.mpc.protocol import Shares
from tallystick_node.engines.mpc.replicated import Replicated

N = 12
DRAW = np.random.default_rng(4)
DATA = {
    "x": DRAW.normal(size=N),
    "y": DRAW.normal(size=(N, 2)),
    "k": DRAW.integers(0, 5, N),
    "b": DRAW.integers(0, 2, N).astype(bool),
}
INPUTS = {
    "x": sa.declare("alder", N, "age"),
    "y": sa.declare("birch", N, ["mass", "height"]),
    "k": sa.declare("birch", N, kind="integer"),
    "b": sa.declare("cedar", N, kind="bit"),
}


def program(x, y, k, b):
    """A bit of everything."""
    weights = np.arange(100.0).reshape(2, 50) / 64
    sa.reveal((x * y[:, 0]).mean(), to=["cedar"], name="mean product")
    sa.reveal(sa.where(b, x, 0.25).sum(), to=["alder", "cedar"], name="chosen")
    sa.reveal((y @ weights)[:2, ::10], to=["birch"], name="projected")
    sa.reveal(sa.sort_by(k, x)[1][::-1], to=["cedar"], name="sorted")
    sa.reveal(sa.quantile(x, [0.25, 0.5]), to=["cedar"], name="quantiles")
    sa.reveal(b & (k >= 2), name="bits")
    sa.reveal(sa.sigmoid(x).max() - sa.clip(x, -1, None).min(), to=["cedar"], name="spread")
    sa.reveal(sa.group_public(k, x, size=5)[1], to=["cedar"], name="groups")


def made() -> Plan:
    return sa.plan_of(program, INPUTS, ["cedar"])


def test_a_plan_run_in_roles_gives_what_computing_at_once_gives() -> None:
    plan, at_once = made(), {}

    def remember(value, to=None, name=None):
        at_once[name] = sa.reveal(value, to)

    with sa.simulate(["alder", "birch", "cedar"]) as laboratory, pytest.MonkeyPatch.context() as patch:
        owners = {name: each.owner for name, each in INPUTS.items()}
        arrays = {name: sa.secret(values, owner=owners[name]) for name, values in DATA.items()}
        patch.setattr(laboratory, "reveal", lambda *a, _r=laboratory.reveal: at_once.setdefault(a[3], _r(*a)))
        program(**arrays)
    found = sa.run_locally(plan, DATA, ["alder", "birch", "cedar"])
    for reveal in plan.reveals:
        for party in plan.parties:
            assert (reveal.name in found[party]) == (party in reveal.receivers)
        shown = found[reveal.receivers[0]][reveal.name]
        assert shown.shape == at_once[reveal.name].shape and shown.dtype == at_once[reveal.name].dtype
        assert np.abs(shown.astype(float) - at_once[reveal.name].astype(float)).max() < 1e-3
    assert abs(float(found["cedar"]["mean product"]) - (DATA["x"] * DATA["y"][:, 0]).mean()) < 1e-4


def test_equal_programs_have_one_plan_and_another_program_another() -> None:
    assert made().digest() == made().digest()
    assert Plan.parse(made().to_bytes()) == made()
    other = sa.plan_of(lambda **arrays: program(**arrays), {**INPUTS, "x": sa.declare("alder", N, "weight")}, ["cedar"])
    assert other.digest() != made().digest()


def test_the_bytes_are_canonical_and_the_digest_is_tagged() -> None:
    data = made().to_bytes()
    assert canonical.encode(json.loads(data)) == data
    assert canonical.decode(data, LIMIT) == made().to_json()
    assert made().digest() == canonical.digest("plan", data)


def test_equal_operations_are_recorded_once_and_unused_ones_not_at_all() -> None:
    def twice(x, y):
        sa.sort(x)
        sa.reveal((x + 1) * (x + 1), name="square")
        sa.reveal(y.sum(), to=["birch"], name="sum")

    plan = sa.plan_of(twice, {"x": sa.declare("alder", 3), "y": sa.declare("birch", 3)})
    assert [step.operation for step in plan.steps] == ["constant", "add", "multiply", "sum"]


def test_numbers_are_not_there_while_a_plan_is_recorded() -> None:
    def peeks(x):
        return float(sa.reveal(x.sum(), name="sum"))

    with pytest.raises(TypeError):
        sa.plan_of(peeks, {"x": sa.declare("alder", 3)})
    with pytest.raises(TypeError, match="branch"):
        sa.plan_of(lambda x: sa.reveal(x if x.sum() > 0 else -x), {"x": sa.declare("alder", 3)})


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x, "reveals nothing"),
        (lambda x: sa.reveal(x, to=["nobody"]), "nobody"),
        (lambda x: sa.reveal(x, to=[]), "nobody"),
        (lambda x: (sa.reveal(x, name="a"), sa.reveal(-x, name="a")), "two values"),
    ],
)
def test_what_is_no_computation_is_refused_at_once(function, words) -> None:
    with pytest.raises(ValueError, match=words):
        sa.plan_of(function, {"x": sa.declare("alder", 3)})


def test_a_computation_beyond_the_bounds_is_refused() -> None:
    def endless(x):
        for _ in range(MAX_STEPS + 1):
            x = -x + x.sum()
        sa.reveal(x)

    with pytest.raises(InvalidPlan, match="bytes, more than"):
        sa.plan_of(endless, {"x": sa.declare("alder", 3)})


# -- hostile documents


def document(**changes) -> dict:
    value = {
        "type": "tallystick.plan/1",
        "parties": ["a", "b"],
        "inputs": [
            {"name": "x", "owner": "a", "shape": [4, 2], "kind": "fixed:18", "columns": ["u", "v"]},
            {"name": "k", "owner": "b", "shape": [4], "kind": "integer", "columns": []},
        ],
        "steps": [
            {"op": "sum", "in": [0], "axis": 1},
            {"op": "constant", "shape": [], "kind": "fixed:18", "numbers": ["0.5"]},
            {"op": "multiply", "in": [2, 3]},
            {"op": "less", "in": [4, 3]},
        ],
        "reveals": [{"name": "r", "value": 4, "to": ["b"]}],
    }
    value.update(changes)
    return value


def test_the_document_of_these_tests_is_a_plan() -> None:
    plan = Plan.from_json(document())
    assert plan.types[4].shape == (4,)
    assert Plan.parse(plan.to_bytes()) == plan


def at(path: list, value):
    def change(given: dict) -> None:
        target = given
        for each in path[:-1]:
            target = target[each]
        if value is None:
            del target[path[-1]]
        else:
            target[path[-1]] = value

    return change


CONSTANT = {"op": "constant", "shape": [65], "kind": "integer", "packed": base64.b64encode(bytes(8 * 65)).decode()}
BROKEN = [
    (at(["type"], "tallystick.plan/2"), "plan.type"),
    (at(["more"], 1), "exactly"),
    (at(["steps"], None), "exactly"),
    (at(["parties"], []), "plan.parties"),
    (at(["parties"], ["a", "a", "b"]), "twice"),
    (at(["parties"], ["a", "b\n"]), "printable"),
    (at(["parties"], ["a", 7]), "printable"),
    (at(["parties"], [str(n) for n in range(17)]), "1 to 16"),
    (at(["inputs"], []), "plan.inputs"),
    (at(["inputs", 0, "owner"], "c"), "owner"),
    (at(["inputs", 0, "owner"], ["a"]), "owner"),
    (at(["inputs", 0, "shape"], [4, -2]), "shape"),
    (at(["inputs", 0, "shape"], [4, 2.0]), "shape"),
    (at(["inputs", 0, "shape"], [4, True]), "shape"),
    (at(["inputs", 0, "shape"], [1 << 20, 1 << 20]), "elements"),
    (at(["inputs", 0, "shape"], [0, 1 << 60]), "natural numbers"),
    (at(["inputs", 0, "shape"], [1] * 9), "at most 8"),
    (at(["inputs", 0, "kind"], "float"), "kind"),
    (at(["inputs", 0, "kind"], "fixed:25"), "fraction bits"),
    (at(["inputs", 0, "kind"], "fixed:018"), "kind"),
    (at(["inputs", 0, "columns"], ["u"]), "do not fill"),
    (at(["inputs", 0, "columns"], ["u", "u"]), "twice"),
    (at(["inputs", 1, "name"], "x"), "one name"),
    (at(["inputs", 1, "extra"], 1), "exactly"),
    (at(["steps"], {}), "plan.steps"),
    (at(["steps"], [{"op": "negative", "in": [0]}] * (MAX_STEPS + 1)), "0 to"),
    (at(["steps", 0], "sum"), "no operation"),
    (at(["steps", 0, "op"], "eval"), "no operation"),
    (at(["steps", 0, "op"], ["sum"]), "no operation"),
    (at(["steps", 0, "in"], [9]), "earlier value"),
    (at(["steps", 0, "in"], [2]), "earlier value"),
    (at(["steps", 0, "in"], [-1]), "earlier value"),
    (at(["steps", 0, "in"], [True]), "`in`"),
    (at(["steps", 0, "in"], 0), "`in`"),
    (at(["steps", 0, "in"], [0, 1]), "takes 1 operands"),
    (at(["steps", 0, "axis"], 2), "out of bounds"),
    (at(["steps", 0, "axis"], "1"), "integer"),
    (at(["steps", 0, "keepdims"], True), "attributes"),
    (at(["steps", 0, "axis"], None), "attributes"),
    (at(["steps", 1, "numbers"], ["0.50"]), "decimal"),
    (at(["steps", 1, "numbers"], ["1e3"]), "decimal"),
    (at(["steps", 1, "numbers"], [0.5]), "decimal"),
    (at(["steps", 1, "numbers"], ["0.1"]), "fraction bits|bits after"),
    (at(["steps", 1, "numbers"], ["-0"]), "number"),
    (at(["steps", 1, "numbers"], ["99999999999999999999"]), "number"),
    (at(["steps", 1, "numbers"], []), "as many"),
    (at(["steps", 1, "shape"], [65]), "packed"),
    (at(["steps", 1], {**CONSTANT, "packed": "AAAA"}), "as many"),
    (at(["steps", 1], {**CONSTANT, "packed": "*"}), "base64"),
    (at(["steps", 1], {**CONSTANT, "packed": 7}), "base64"),
    (at(["steps", 1], {**CONSTANT, "packed": base64.b64encode(b"\x7f" * 8 * 65).decode()}), "out of range"),
    (at(["steps", 1], {**CONSTANT, "kind": "bit", "packed": base64.b64encode(b"\x02" * 8 * 65).decode()}), "out of range"),
    (at(["steps", 2, "in"], [3, 3]), "constants only"),
    (at(["steps", 2], {"op": "add", "in": [1, 2]}), "one kind"),
    (at(["steps", 2], {"op": "matmul", "in": [0, 0]}), "no product"),
    (at(["steps", 2], {"op": "reshape", "in": [0], "shape": [9]}), "reshape"),
    (at(["steps", 2], {"op": "broadcast", "in": [0], "shape": [1 << 27, 4, 2]}), "elements"),
    (at(["steps", 2], {"op": "transpose", "in": [0], "axes": [0, 0]}), "permute"),
    (at(["steps", 2], {"op": "index", "in": [0], "items": [0]}), "indices"),
    (at(["steps", 2], {"op": "index", "in": [0], "items": [[0, 9, 1], 0]}), "out of bounds"),
    (at(["steps", 2], {"op": "index", "in": [0], "items": [[3, 2, 1], 0]}), "out of bounds"),
    (at(["steps", 2], {"op": "index", "in": [0], "items": [[0, 1, 0], 0]}), "step"),
    (at(["steps", 2], {"op": "index", "in": [0], "items": [[0, -1, 1], 0]}), "count"),
    (at(["steps", 2], {"op": "take", "in": [0], "axis": 0, "indices": [4]}), "out of bounds"),
    (at(["steps", 2], {"op": "take", "in": [0], "axis": 0, "indices": [-1]}), "integer"),
    (at(["steps", 2], {"op": "scale", "in": [0], "factor": "100000.5"}), "below"),
    (at(["steps", 2], {"op": "scale", "in": [0], "factor": "nan"}), "decimal"),
    (at(["steps", 2], {"op": "cast", "in": [0], "kind": "integer"}), "change"),
    (at(["steps", 2], {"op": "cast", "in": [1], "kind": "fixed:30"}), "change"),
    (at(["steps", 2], {"op": "sort", "in": [1], "descending": False, "bits": 63}), "integer"),
    (at(["steps", 2], {"op": "sort", "in": [1], "descending": 0, "bits": 44}), "true or false"),
    (at(["steps", 2], {"op": "top_k", "in": [1], "k": 5, "largest": True, "bits": 44}), "4 numbers"),
    (at(["steps", 2], {"op": "group_public", "in": [1], "size": 1 << 40}), "integer"),
    (at(["steps", 2], {"op": "one_hot", "in": [0], "size": 3}), "integers"),
    (at(["steps", 2], {"op": "clip", "in": [0], "low": "1", "high": "0"}), "above"),
    (at(["steps", 2], {"op": "power", "in": [0], "exponent": 2}), "decimal"),
    (at(["steps", 2], {"op": "quantile", "in": [0], "q": ["2"], "bits": 44}), "between"),
    (at(["reveals"], []), "plan.reveals"),
    (at(["reveals", 0, "value"], 6), "no secret value"),
    (at(["reveals", 0, "value"], 3), "no secret value"),
    (at(["reveals", 0, "value"], "4"), "number of a value"),
    (at(["reveals", 0, "to"], ["c"]), "parties of the plan"),
    (at(["reveals", 0, "to"], ["b", "a"]), "in its order"),
    (at(["reveals", 0, "to"], []), "1 to 16"),
    (at(["reveals", 0, "name"], ""), "printable"),
]


@pytest.mark.parametrize(("change", "words"), BROKEN)
def test_every_rule_of_a_plan_refuses_what_breaks_it(change, words) -> None:
    value = copy.deepcopy(document())
    change(value)
    with pytest.raises(InvalidPlan, match=words):
        Plan.from_json(value)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b'"' + b"[" * 50, b"1" * 10_000, b" " * (LIMIT + 1), b"null", b"[]",
        json.dumps(document()).encode(),  # with spaces
        json.dumps(document(), separators=(",", ":")).encode(),  # not sorted
        Plan.from_json(document()).to_bytes().replace(b'"axis":1', b'"axis":1.0'),
        Plan.from_json(document()).to_bytes().replace(b'"axis":1', b'"axis":1,"axis":1'),
        Plan.from_json(document()).to_bytes().replace(b'"u"', b'"\\ud800"'),
    ],
)  # fmt: skip
def test_bytes_that_are_no_canonical_plan_are_refused(data) -> None:
    with pytest.raises(InvalidPlan):
        Plan.parse(data)


@given(position=st.integers(0, 10_000), byte=st.binary(min_size=1, max_size=3))
@settings(max_examples=200)
def test_changed_bytes_are_another_plan_or_none(position, byte) -> None:
    data = Plan.from_json(document()).to_bytes()
    position %= len(data)
    changed = data[:position] + byte + data[position + len(byte) :]
    try:
        plan = Plan.parse(changed)
    except InvalidPlan:
        return
    assert plan.to_bytes() == changed
    assert (plan.digest() == Plan.from_json(document()).digest()) == (changed == data)


def test_every_operation_says_what_shape_and_kind_it_gives() -> None:
    """Whatever an expression of the array API's tests records, its inferred types are those of the computed values."""
    plan, session = made(), local_sessions(1)[0]
    protocol = Clear(session)
    inputs = []
    for each in plan.inputs:
        elements = encode(DATA[each.name], each.kind)
        inputs.append(protocol.public_binary(elements, 1) if each.kind.name == "bit" else protocol.public(elements))
    for number, value in evaluate(protocol, plan, inputs):
        kept = plan.types[plan.reveals[number].value]
        assert value.shape == kept.shape
        assert isinstance(value, Shares) == kept.kind.numeric


def test_each_operation_of_the_table_is_tried_by_the_array_tests() -> None:
    from unit.engines import test_array

    seen: set[str] = set()
    names = {"x": (4, 3), "y": (4, 3), "k": (4, 3), "v": (9,), "w": (9,), "b": (4, 3)}
    kinds = {"k": "integer", "w": "integer", "b": "bit"}

    for expression in [*test_array.EXPRESSIONS, *test_array.CLOSE, "np.group_extremes(w, v)[2]"]:
        ours = sa if "axis" not in expression and "kind=" not in expression else test_array._Ours()

        def record(ours=ours, expression=expression, **arrays):
            shaped = {name: array.reshape(*names[name]) for name, array in arrays.items()}
            sa.reveal(test_array.evaluate(expression, shaped, ours))

        declared = {name: sa.declare("a", int(np.prod(shape)), kind=kinds.get(name, "fixed:18")) for name, shape in names.items()}
        seen |= {step.operation for step in sa.plan_of(record, declared).steps}
    assert set(OPERATIONS) <= seen


# -- numbers in words


@given(st.integers(-(2**62) + 1, 2**62 - 1), st.integers(0, 24))
def test_a_number_has_one_exact_text(element, fraction) -> None:
    text = exact_text(element, fraction)
    assert parse_exact(text, fraction) == element
    assert "e" not in text.lower()


@given(st.floats(-(2.0**60), 2.0**60).filter(lambda value: value == 0 or abs(value) > 1e-20))
def test_a_float_has_one_text(value) -> None:
    assert float(decimal_text(value)) == value


@pytest.mark.parametrize("text", ["fixed:0", "fixed:31", "fixed:", "int", "Fixed:18", "bit ", 7, None])
def test_no_other_text_is_a_kind(text) -> None:
    with pytest.raises(ValueError):
        parse_kind(text)


def test_kinds_have_bounds() -> None:
    with pytest.raises(ValueError):
        fixed(31)
    assert str(parse_kind("fixed:18")) == "fixed:18"


# -- in words


def test_leakage_says_who_brings_and_learns_what() -> None:
    sentences = leakage(made(), Replicated.security(3))
    text = "\n".join(sentences)
    assert "alder brings x, 12 numbers from the columns age." in sentences
    assert "birch brings y, 24 numbers (12 × 2) from the columns mass, height." in sentences
    assert "cedar learns mean product, 1 number = mean(x × (y[0:12, 0])), which depends on the data of alder, birch." in text
    assert "birch learns projected" in text and "birch learns sorted" not in text
    assert "any one party of the 3 that compute (semi-honest)" in text


def test_leakage_names_a_party_that_learns_nothing_and_one_that_only_sees_its_own() -> None:
    def own(x, y):
        sa.reveal(x, to=["a"], name="x")
        sa.reveal(y.sum() + x.sum(), to=["a"], name="sum")

    sentences = leakage(sa.plan_of(own, {"x": sa.declare("a", 3), "y": sa.declare("b", 3)}), Replicated.security(3))
    assert "b learns no result." in sentences
    assert any("its own input" in each for each in sentences)
