"""`intersection` from end to end, against Python's sets."""

import csv
import datetime as dt
import hashlib
import io
import json
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.engines.channel import ChannelError, local_sessions
from tallystick_node.workloads import keys as module
from tallystick_node.workloads.intersection import workload as workload_module
from tallystick_node.workloads.intersection.parameters import Parameters
from tallystick_node.workloads.intersection.workload import RESULT, Intersection
from tallystick_node.workloads.keys import KeyRules, distinct, encode
from unit.workloads.conftest import ACCOUNTS, make_spec, table_of

ARROW = {"int64": pa.int64(), "string": pa.string(), "date": pa.date32()}
DAYS = [dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(4)]


def parameters_of(types, **change):
    keys = [{"party": ACCOUNTS[i], "columns": [f"{'ab'[i]}{j}" for j in range(len(types))]} for i in range(2)]
    return (
        {"keys": keys, "types": types, "fold": False, "duplicates": "group"}
        | {"mode": "ids", "protocol": "automatic", "minimum_group": 2}
        | change
    )


def spec_of(parameters, receivers=(0,)):
    return make_spec("intersection", parameters, dict(enumerate(each["columns"] for each in parameters["keys"])), list(receivers))


def table(rows, types, owner):
    """An owner's table: its key columns and one that is none of the task's business."""
    cells = {f"{'ab'[owner]}{j}": ([row[j] for row in rows], kind, 0) for j, kind in enumerate(types)}
    return table_of(cells | {"secret": (["secret"] * len(rows), "string", 0)})


def meaning(row, types, *, fold=False):
    """What of a row is compared, in Python's own types; None for a row without a key."""
    found = []
    for cell, kind in zip(row, types, strict=True):
        if cell is not None and kind == "string":
            cell = unicodedata.normalize("NFC", cell).strip()
            cell = unicodedata.normalize("NFC", cell.casefold()) if fold else cell
        if cell in (None, ""):
            return None
        found.append(cell)
    return tuple(found)


def matches(own, other, types, *, fold=False):
    """The first own row of each key that the other has, in order."""
    theirs = {meaning(row, types, fold=fold) for row in other} - {None}
    found, seen = [], set()
    for row in own:
        key = meaning(row, types, fold=fold)
        if key in theirs and key not in seen:
            seen.add(key)
            found.append(row)
    return found


def read_result(outcome):
    """The result file's rows as text, its digest checked."""
    (path,) = outcome.files.values()
    content = path.read_bytes()
    assert outcome.result["file"] == {
        "name": path.name,
        "sha256": "sha256:" + hashlib.sha256(content).hexdigest(),
        "rows": outcome.result["cardinality"],
    }
    assert set(outcome.files) == {path.name} == {f"{RESULT}{path.suffix}"}
    if path.suffix == ".parquet":
        columns = pyarrow.parquet.read_table(path)
        return columns.column_names, [tuple(map(str, row)) for row in zip(*columns.to_pydict().values(), strict=True)]
    lines = list(csv.reader(io.StringIO(content.decode())))
    return lines[0], [tuple(line) for line in lines[1:]]


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_matches_are_written_some_at_a_time(run_workload, monkeypatch, name):
    monkeypatch.setattr(workload_module, "BATCH", 3)
    rows = [[(i % 9, DAYS[i % 4]) for i in range(first, 30)] for first in (0, 11)]
    spec = spec_of(parameters_of(["int64", "date"], format=name), [0, 1])
    ran = run_workload(Intersection(), spec, {i: table(rows[i], ["int64", "date"], i) for i in range(2)})
    for number, (own, other) in enumerate([rows, rows[::-1]]):
        header, found = read_result(ran.outcomes[number])
        assert header == [f"{'ab'[number]}{j}" for j in range(2)]
        assert len(found) > 6
        assert found == written(matches(own, other, ["int64", "date"]))
    if name == "parquet":
        with pyarrow.parquet.ParquetFile(ran.outcomes[0].files["matches.parquet"]) as file:
            assert file.schema_arrow.types == [pa.int64(), pa.date32()]
            assert max(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)) == 3


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_file_of_no_matches_has_its_columns(run_workload, name):
    rows = [[(i,) for i in range(first, first + 5)] for first in (0, 50)]
    spec = spec_of(parameters_of(["int64"], format=name), [0])
    ran = run_workload(Intersection(), spec, {i: table(rows[i], ["int64"], i) for i in range(2)})
    assert read_result(ran.outcomes[0]) == (["a0"], [])


@pytest.mark.parametrize("change", [{"format": "arrow"}, {"format": None}, {"format": "parquet", "mode": "cardinality"}])
def test_only_a_file_has_a_format_and_one_of_two(change):
    with pytest.raises(InvalidTask, match="format"):
        Intersection().check(spec_of(parameters_of(["int64"], **change)))


def written(rows):
    return [tuple(str(cell) for cell in row) for row in rows]


COMPOSITE = ["string", "int64", "date"]
LEFT = [("ann", i % 5, DAYS[i % 3]) for i in range(12)] + [
    ("bob", 7, DAYS[0]),
    (None, 1, DAYS[1]),
    ("eve", 1, None),
    ("  ", 1, DAYS[0]),
]
RIGHT = [("bob", 7, DAYS[0]), (" ann ", 2, DAYS[2]), ("ann", 3, DAYS[3]), ("ann", 4, DAYS[1]), (None, 1, DAYS[1]), ("", 1, DAYS[0])]


@pytest.mark.parametrize("mode", ["ids", "cardinality"])
@pytest.mark.parametrize("receivers", [[0], [1], [0, 1]])
def test_composite_keys_against_sets(run_workload, mode, receivers):
    spec = spec_of(parameters_of(COMPOSITE, mode=mode), receivers)
    ran = run_workload(Intersection(), spec, {0: table(LEFT, COMPOSITE, 0), 1: table(RIGHT, COMPOSITE, 1)})
    for number, (own, other) in enumerate([(LEFT, RIGHT), (RIGHT, LEFT)]):
        outcome, expected = ran.outcomes[number], matches(own, other, COMPOSITE)
        assert len(expected) == 3
        assert outcome.opening is None
        if number not in receivers:
            assert (outcome.result, outcome.files) == (None, {})
            continue
        assert (outcome.result["cardinality"], outcome.result["mode"], outcome.result["protocol"]) == (3, mode, "ecdh")
        if mode == "cardinality":
            assert outcome.files == {}
            assert set(outcome.result) == {"cardinality", "mode", "protocol"}
        else:
            names, rows = read_result(outcome)
            assert names == [f"{'ab'[number]}{j}" for j in range(3)]
            assert rows == written(expected)


@pytest.mark.parametrize("receivers", [[0], [1]])
@pytest.mark.parametrize("mode", ["ids", "cardinality"])
def test_who_does_not_receive_gets_no_tags(run_workload, receivers, mode):
    spec = spec_of(parameters_of(COMPOSITE, mode=mode), receivers)
    ran = run_workload(Intersection(), spec, {0: table(LEFT, COMPOSITE, 0), 1: table(RIGHT, COMPOSITE, 1)})
    other = 1 - receivers[0]
    keys = len({meaning(row, COMPOSITE) for row in (LEFT, RIGHT)[receivers[0]]} - {None})
    assert ran.received[other].total() == 72 + 32 + 32 * keys  # the binding, the salt, and masked points only
    assert ran.received[receivers[0]].total() > 72 + 32 + 32 * len(
        {meaning(row, COMPOSITE) for row in (LEFT, RIGHT)[other]} - {None}
    )


@pytest.mark.parametrize("fold", [False, True])
def test_case_normal_forms_and_spaces(run_workload, fold):
    left = [("Zoë",), ("STRASSE",), ("Ann",), ("A\u030a",), ("tab\t",), ("\u2003wide\u3000",), ("ΣΊΣΥΦΟΣ",), ("x y",)]
    right = [("Zoe\u0308",), ("straße",), ("aNN",), ("\u212b",), ("\x1ftab",), ("wide",), ("σίσυφος",), ("xy",)]
    spec = spec_of(parameters_of(["string"], fold=fold))
    ran = run_workload(Intersection(), spec, {0: table(left, ["string"], 0), 1: table(right, ["string"], 1)})
    expected = matches(left, right, ["string"], fold=fold)
    assert len(expected) == (7 if fold else 4)
    assert read_result(ran.outcomes[0])[1] == written(expected)


def test_nothing_in_common(run_workload):
    spec = spec_of(parameters_of(["int64"]))
    ran = run_workload(Intersection(), spec, {0: table([(1,), (2,)], ["int64"], 0), 1: table([(3,), (-1,)], ["int64"], 1)})
    assert ran.outcomes[0].result["cardinality"] == 0
    assert read_result(ran.outcomes[0]) == (["a0"], [])


def test_duplicates(run_workload):
    left, right = [(1,), (2,), (1,), (None,), (None,)], [(1,), (2,), (3,)]
    tables = {0: table(left, ["int64"], 0), 1: table(right, ["int64"], 1)}
    ran = run_workload(Intersection(), spec_of(parameters_of(["int64"])), tables)
    assert read_result(ran.outcomes[0])[1] == [("1",), ("2",)]
    ran = run_workload(Intersection(), spec_of(parameters_of(["int64"], duplicates="reject")), tables)
    assert isinstance(ran.outcomes[0], InvalidData)
    assert "1 rows repeat a key" in str(ran.outcomes[0])
    assert isinstance(ran.outcomes[1], ChannelError)
    assert ran.sent[0].total() == 0
    distinct = {0: table([(1,), (2,), (None,), (None,)], ["int64"], 0), 1: tables[1]}
    ran = run_workload(Intersection(), spec_of(parameters_of(["int64"], duplicates="reject")), distinct)
    assert ran.outcomes[0].result["cardinality"] == 2


def test_the_first_row_stands_for_a_group(run_workload):
    """As it is written there, not as it is compared."""
    left, right = [("x",), (" Ann",), ("ann",), ("ANN ",), ("bob",)], [("aNN",), ("BOB",)]
    tables = {0: table(left, ["string"], 0), 1: table(right, ["string"], 1)}
    ran = run_workload(Intersection(), spec_of(parameters_of(["string"], fold=True)), tables)
    assert read_result(ran.outcomes[0])[1] == [(" Ann",), ("bob",)]


@pytest.mark.parametrize("rows", [[(1,), (2,)], [(1,), (2,), (2,), (2,)], [(1,), (2,), (None,)]])
def test_an_owner_with_too_few_distinct_keys_sends_nothing(run_workload, rows):
    enough = [(i,) for i in range(3)]
    spec = spec_of(parameters_of(["int64"], minimum_group=3), [1])
    ran = run_workload(Intersection(), spec, {0: table(rows, ["int64"], 0), 1: table(enough, ["int64"], 1)})
    assert isinstance(ran.outcomes[0], OutputRefused)
    assert "fewer than 3 distinct keys" in str(ran.outcomes[0])
    assert ran.sent[0].total() == 0
    assert isinstance(ran.outcomes[1], ChannelError)
    ran = run_workload(Intersection(), spec, {0: table(enough, ["int64"], 0), 1: table(enough, ["int64"], 1)})
    assert ran.outcomes[1].result["cardinality"] == 3


def test_the_commitment_is_of_the_set_and_hides_it(run_workload, tmp_path):
    rows = [(3,), (1,), (2,), (1,)]
    spec = spec_of(parameters_of(["int64"]), [0, 1])
    tables = {0: table(rows, ["int64"], 0), 1: table(rows, ["int64"], 1)}
    first, second = (run_workload(Intersection(), spec, tables).outcomes for _ in range(2))
    assert len({each[i].commitment for each in (first, second) for i in range(2)}) == 4
    salt = bytes.fromhex(json.loads((tmp_path / "0/opening.json").read_text())["salt"])
    items = [b"i\0\0\0\x08" + i.to_bytes(8, "big") for i in (3, 1, 2)]
    ends = b"".join((13 * i).to_bytes(8, "little") for i in (1, 2, 3))
    content = salt + (3).to_bytes(8, "little") + ends + b"".join(items)
    assert second[0].commitment == "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("receivers", [[0], [1], [0, 1]])
def test_rr22_finds_the_same(run_workload, receivers):
    left = [(f"name {i % 700}", i % 7, DAYS[i % 4]) for i in range(900)]
    right = [(f"NAME {i % 500} ", i % 7, DAYS[i % 4]) for i in range(1200)]
    spec = spec_of(parameters_of(COMPOSITE, protocol="rr22", fold=True), receivers)
    ran = run_workload(Intersection(), spec, {0: table(left, COMPOSITE, 0), 1: table(right, COMPOSITE, 1)})
    for number, (own, other) in enumerate([(left, right), (right, left)]):
        if number in receivers:
            assert ran.outcomes[number].result["protocol"] == "rr22"
            assert read_result(ran.outcomes[number])[1] == written(matches(own, other, COMPOSITE, fold=True))
        else:
            assert ran.outcomes[number].result is None


# -- keys


def straight_key(cells, types, *, fold):
    """The key's bytes cell by cell."""
    row = meaning(cells, types, fold=fold)
    if row is None:
        return None
    key = b""
    for cell, kind in zip(row, types, strict=True):
        raw = cell.to_bytes(8, "big", signed=True) if kind == "int64" else str(cell).encode()
        key += kind[0].encode() + len(raw).to_bytes(4, "big") + raw
    return key


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.text(" \t\x1c\x85\xa0aAßİſÅ\u030aͅ\0", max_size=5)
CELLS = {"int64": st.integers(-(2**62), 2**62), "date": st.dates(), "string": TEXT}


@st.composite
def keyed_rows(draw):
    types = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4))
    return (
        types,
        draw(st.lists(st.tuples(*(st.none() | CELLS[kind] for kind in types)), min_size=1, max_size=8)),
        draw(st.booleans()),
    )


def arrow_keys(types, rows, *, fold):
    return encode(
        KeyRules(tuple(types), fold, "group"), [pa.array([row[j] for row in rows], ARROW[kind]) for j, kind in enumerate(types)]
    ).to_pylist()


@settings(max_examples=200)
@given(keyed_rows())
def test_keys_equal_the_reference_and_are_injective(drawn):
    types, rows, fold = drawn
    keys = arrow_keys(types, rows, fold=fold)
    assert keys == [straight_key(row, types, fold=fold) for row in rows]
    for i, left in enumerate(rows):
        for j, right in enumerate(rows):
            assert (keys[i] == keys[j]) == (meaning(left, types, fold=fold) == meaning(right, types, fold=fold))


def test_cells_cannot_flow_into_one_another():
    first, second = arrow_keys(["string", "string"], [("ab", "c"), ("a", "bc")], fold=False)
    assert first != second
    assert arrow_keys(["string"], [("1",)], fold=False) != arrow_keys(["int64"], [(1,)], fold=False)


@settings(max_examples=100)
@given(TEXT, st.booleans())
def test_cleaning_twice_is_cleaning_once_for_canonical_equals(text, fold):
    """Canonically equal texts have one key."""
    forms = [(unicodedata.normalize(form, text),) for form in ("NFC", "NFD")]
    assert len(set(arrow_keys(["string"], [(text,), *forms], fold=fold))) == 1


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_batches_do_not_show(monkeypatch, batch):
    rules = Parameters.parse(parameters_of(COMPOSITE)).rules
    keys = table(LEFT, COMPOSITE, 0).select(["a0", "a1", "a2"])
    items, rows = distinct(rules, keys)
    monkeypatch.setattr(module, "BATCH", batch)
    again, same = distinct(rules, pa.concat_tables([keys.slice(0, 3), keys.slice(3)]))
    assert (list(items), rows.tolist()) == (list(again), same.tolist())
    firsts = {}
    for row, cells in enumerate(LEFT):
        firsts.setdefault(meaning(cells, COMPOSITE), row)
    firsts.pop(None)
    assert rows.tolist() == list(firsts.values())


@pytest.mark.parametrize(
    ("types", "cells"),
    [
        (["int64"], (["1"], "string", 0)),
        (["string"], ([1], "int64", 0)),
        (["date"], (["2020-01-01"], "string", 0)),
        (["int64"], ([150], "decimal", 2)),
    ],
)
def test_a_column_of_another_type_is_refused(types, cells):
    """A decimal too: 1.50 at scale 2 would match the integer 150."""
    with pytest.raises(InvalidData, match=f"not of type {types[0]}"):
        distinct(KeyRules(tuple(types), fold=False, duplicates="reject"), table_of({"a0": cells}))


def test_a_decimal_without_digits_after_the_point_is_an_integer():
    items, _ = distinct(KeyRules(("int64",), fold=False, duplicates="reject"), table_of({"a0": ([150, 3], "decimal", 0)}))
    assert len(items) == 2


# -- the spec

BROKEN = [
    ("keys", [], "keys"), ("keys", {}, "keys"), ("keys", parameters_of(["int64"])["keys"][:1], "keys"),
    ("keys", [{"party": ACCOUNTS[0]}] * 2, "keys[0]"), ("keys", [{"party": "0x00", "columns": ["a"]}] * 2, "keys[0].party"),
    ("keys", [{"party": "0x" + "ab" * 20, "columns": ["a"]}] * 2, "keys[0].party"),
    ("keys", [{"party": ACCOUNTS[0], "columns": []}] * 2, "keys[0].columns"),
    ("keys", [{"party": ACCOUNTS[0], "columns": ["a", "a"]}] * 2, "keys[0].columns"),
    ("keys", [{"party": ACCOUNTS[i], "columns": ["a", "b"]} for i in range(2)], "keys: each owner names one column for each type"),
    ("types", [], "types"), ("types", "int64", "types"), ("types", ["decimal"], "types"), ("types", [["int64"]], "types"),
    ("types", [{}], "types"), ("types", [None], "types"), ("types", ["int64"] * 17, "types"), ("types", ["int64"] * 2, "keys"),
    ("fold", 1, "fold"), ("fold", None, "fold"), ("duplicates", "keep", "duplicates"), ("duplicates", None, "duplicates"),
    ("protocol", "kkrt", "protocol"), ("protocol", None, "protocol"),
    ("mode", "shared", "mode"), ("mode", ["ids"], "mode"), ("minimum_group", 1, "minimum_group"),
    ("minimum_group", 1001, "minimum_group"), ("minimum_group", "2", "minimum_group"), ("minimum_group", True, "minimum_group"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "words"), BROKEN, ids=[f"{key}-{i}" for i, (key, _, _) in enumerate(BROKEN)])
def test_each_rule_of_the_parameters_broken_once(key, value, words):
    with pytest.raises(InvalidTask) as caught:
        Parameters.parse(parameters_of(["int64"]) | {key: value})
    assert f"parameters.{words}" in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("key", sorted(parameters_of(["int64"])))
def test_every_key_is_needed_and_no_other_allowed(key):
    good = parameters_of(["int64"])
    with pytest.raises(InvalidTask, match=f"parameters: misses '{key}'"):
        Parameters.parse({name: value for name, value in good.items() if name != key})
    with pytest.raises(InvalidTask, match="parameters: has a key"):
        Parameters.parse(good | {key + "2": 1})


def test_check_of_owners_receivers_and_columns():
    workload, good = Intersection(), parameters_of(["int64"])
    workload.check(spec_of(good))
    assert list(workload.columns(spec_of(good), ACCOUNTS[1])) == ["b0"]
    with pytest.raises(InvalidTask, match="receivers"):
        workload.check(spec_of(good, [2]))
    with pytest.raises(InvalidTask, match="receivers"):
        workload.check(spec_of(good, [0, 2]))
    for columns in ({0: ["a0"]}, {0: ["a0"], 1: ["b0"], 2: ["c0"]}, {0: ["a0"], 2: ["b0"]}):
        with pytest.raises(InvalidTask, match="owners are not"):
            workload.check(make_spec("intersection", good, columns, [0]))
    twice = good | {"keys": [good["keys"][0]] * 2}
    with pytest.raises(InvalidTask, match="stands there once"):
        workload.check(make_spec("intersection", twice, {0: ["a0"], 1: ["b0"]}, [0]))
    with pytest.raises(InvalidTask, match="key columns") as caught:
        workload.check(make_spec("intersection", good, {0: ["a0"], 1: ["b0", "b1"]}, [0]))
    assert caught.value.party == ACCOUNTS[1]


@pytest.mark.parametrize("mode", ["ids", "cardinality"])
def test_security_statement(mode):
    statement = Intersection().security(spec_of(parameters_of(["int64"], mode=mode, protocol="ecdh")))
    assert all("parity" not in each for each in statement.references)
    assert (statement.adversary, statement.corruptions, statement.parties) == ("semi-honest", 1, 2)
    assert (statement.computational_bits, statement.statistical_bits, statement.trusted) == (126, 40, ())
    assert statement.learns["receiver"] == ("which of its own keys match" if mode == "ids" else "how many keys match")


@pytest.mark.parametrize(
    ("protocol", "mode", "assumes"),
    [("rr22", "ids", ["parity"]), ("automatic", "ids", ["parity", "Diffie"]), ("automatic", "cardinality", ["Diffie"])],
)
def test_the_statement_names_what_may_run(protocol, mode, assumes):
    statement = Intersection().security(spec_of(parameters_of(["int64"], mode=mode, protocol=protocol)))
    for word in ("parity", "Diffie"):
        assert (word in " ".join(statement.references)) == (word in assumes)
    assert statement.computational_bits == (126 if "Diffie" in assumes else 128)


def parameters_of_many(number, **change):
    keys = [{"party": ACCOUNTS[i], "columns": ["a0"]} for i in range(number)]
    return parameters_of(["int64"]) | {"keys": keys} | change


@pytest.mark.parametrize(("protocol", "receivers"), [("automatic", [1]), ("kmprt17", [0, 1, 2])])
def test_three_owners(run_workload, protocol, receivers):
    rows = [[(i,) for i in range(first, 40, 1)] for first in (0, 10, 25)]
    rows[0] += [(7,), (None,)]
    spec = spec_of(parameters_of_many(3, protocol=protocol), receivers)
    ran = run_workload(Intersection(), spec, {i: table(rows[i], ["int64"], 0) for i in range(3)})
    for number, outcome in ran.outcomes.items():
        assert outcome.all_commitments == ["", "", ""]
        if number not in receivers:
            assert outcome.result is None
            continue
        assert outcome.result["protocol"] == "kmprt17"
        assert read_result(outcome)[1] == written(rows[2])
    statement = Intersection().security(spec)
    assert (statement.corruptions, statement.parties) == (2, 3)
    assert "do not collude" in statement.learns["colluding owners"]
    predicted = Intersection().cost(spec, {ACCOUNTS[0]: 40, ACCOUNTS[1]: 30, ACCOUNTS[2]: 15})
    assert abs(predicted.bytes_sent - ran.most_sent()) < 200_000


@pytest.mark.parametrize(
    ("number", "change"),
    [(3, {"mode": "cardinality"}), (3, {"protocol": "ecdh"}), (3, {"protocol": "rr22"}), (2, {"protocol": "kmprt17"})],
)
def test_which_protocol_is_for_how_many(number, change):
    with pytest.raises(InvalidTask, match=r"parameters\.protocol"):
        Parameters.parse(parameters_of_many(number, **change))


def test_a_small_set_against_a_prepared_one(tmp_path):
    """Two tasks and a new version of the holder's data: tags are made and sent once for each version."""
    held, asked = [(i,) for i in range(100)], [(i,) for i in range(90, 120)]
    spec = spec_of(parameters_of(["int64"], protocol="unbalanced"), [1])
    workload, sent = Intersection(), []
    workload.check(spec)
    for version in (b"v", b"v", b"w"):
        sessions = [
            replace(each, versions={0: version * 32, 1: bytes(32)}, kept=tmp_path / f"kept{each.index}")
            for each in local_sessions(2)
        ]

        def one(session):
            scratch = tmp_path / f"scratch{session.index}"
            scratch.mkdir(exist_ok=True)
            own = table((held, asked)[session.index], ["int64"], session.index).select([f"{'ab'[session.index]}0"])
            return workload.run(spec, ACCOUNTS[session.index], own, session, scratch)

        with ThreadPoolExecutor(2) as pool:
            holder, asker = pool.map(one, sessions)
        assert holder.result is None
        assert asker.result["protocol"] == "unbalanced"
        assert read_result(asker)[1] == written(asked[:10])
        sent.append(sum(step.bytes for step in sessions[0].meter.steps.values()))
    predicted = workload.cost(spec, {ACCOUNTS[0]: 100, ACCOUNTS[1]: 30})
    assert sent == [predicted.bytes_sent, predicted.bytes_sent - 1100, predicted.bytes_sent]
    with pytest.raises(InvalidTask, match="one receiver"):
        workload.check(spec_of(parameters_of(["int64"], protocol="unbalanced"), [0, 1]))


@pytest.mark.parametrize("protocol", ["rr22", "rr22-malicious", "unbalanced"])
def test_rr22_gives_no_cardinality(protocol):
    with pytest.raises(InvalidTask, match=rf"parameters\.protocol: {protocol} tells which"):
        Parameters.parse(parameters_of(["int64"], mode="cardinality", protocol=protocol))


def test_the_malicious_variant(run_workload):
    left, right = [(i,) for i in range(50)], [(i,) for i in range(40, 400)]
    spec = spec_of(parameters_of(["int64"], protocol="rr22-malicious"), [1])
    ran = run_workload(Intersection(), spec, {0: table(left, ["int64"], 0), 1: table(right, ["int64"], 1)})
    assert read_result(ran.outcomes[1])[1] == written(left[40:])
    assert ran.outcomes[1].result["protocol"] == "rr22-malicious"
    assert Intersection().security(spec).adversary == "malicious-with-abort"
    predicted = Intersection().cost(spec, {ACCOUNTS[0]: 50, ACCOUNTS[1]: 360})
    assert abs(predicted.bytes_sent - ran.most_sent()) < 200_000
    with pytest.raises(InvalidTask, match="one receiver"):
        Intersection().check(spec_of(parameters_of(["int64"], protocol="rr22-malicious"), [0, 1]))


@pytest.mark.parametrize("mode", ["ids", "cardinality"])
@pytest.mark.parametrize("receivers", [[0], [1], [0, 1]])
@pytest.mark.parametrize("sizes", [(300, 300), (20, 900), (900, 20), (2, 2)])
def test_cost_predicts_the_bytes(run_workload, mode, receivers, sizes):
    spec = spec_of(parameters_of(["int64"], mode=mode), receivers)
    tables = {i: table([(j,) for j in range(size)], ["int64"], i) for i, size in enumerate(sizes)}
    ran = run_workload(Intersection(), spec, tables)
    predicted = Intersection().cost(spec, {ACCOUNTS[1]: sizes[1], ACCOUNTS[0]: sizes[0]})
    assert predicted.bytes_sent == ran.most_sent()
    assert predicted.seconds > 0
    assert predicted.memory_bytes > 10**8


@pytest.mark.parametrize("receivers", [[0], [1], [0, 1]])
def test_cost_predicts_the_bytes_of_rr22(run_workload, receivers):
    sizes = (9000, 20_000)
    spec = spec_of(parameters_of(["int64"]), receivers)
    ran = run_workload(Intersection(), spec, {i: table([(j,) for j in range(size)], ["int64"], i) for i, size in enumerate(sizes)})
    predicted = Intersection().cost(spec, dict(zip(ACCOUNTS, sizes, strict=False)))
    assert ran.outcomes[receivers[0]].result["protocol"] == "rr22"
    assert abs(predicted.bytes_sent - ran.most_sent()) < 100_000 + ran.most_sent() / 100
    assert predicted.rounds == 6 + (len(receivers) == 2)


def test_cost_without_row_counts():
    assert Intersection().cost(spec_of(parameters_of(["int64"])), {}).bytes_sent == 104
