"""`intersection` with labels, against a join of pandas; and cells as bytes."""

import csv
import datetime as dt
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.protocol import canonical
from tallystick.protocol.dataset import Column, DatasetDescriptor
from tallystick.protocol.errors import InvalidData, InvalidTask, Refused
from tallystick.protocol.grant import GrantTerms, Salts
from tallystick_node.data.commit import rows_root
from tallystick_node.engines.channel import Registered, local_sessions
from tallystick_node.workloads.intersection import workload as workload_module
from tallystick_node.workloads.intersection.labels import MAX_TEXT, LabelTerms
from tallystick_node.workloads.intersection.parameters import Parameters
from tallystick_node.workloads.intersection.workload import Intersection
from unit.workloads.conftest import ACCOUNTS, make_spec, table_of

DAYS = [dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(4)]
COLUMNS = [
    {"name": "visits", "type": "int64"},
    {"name": "balance", "type": "decimal", "scale": 2},
    {"name": "city", "type": "string", "bytes": 12},
    {"name": "active", "type": "bool"},
    {"name": "since", "type": "date"},
]
GIVEN = {"party": ACCOUNTS[1], "columns": COLUMNS}
TERMS = LabelTerms.read(GIVEN, "labels")


def parameters_of(labels=GIVEN, **change):
    keys = [{"party": ACCOUNTS[i], "columns": ["ab"[i]]} for i in range(2)]
    rules = {"keys": keys, "types": ["int64"], "fold": False, "duplicates": "group", "mode": "ids", "protocol": "automatic"}
    return rules | {"minimum_group": 2, "labels": labels} | change


def spec_of(parameters, receivers=(0,), columns=None):
    given = {0: ["a"], 1: ["b", *(each["name"] for each in COLUMNS)]} if columns is None else columns
    return make_spec("intersection", parameters, given, list(receivers))


def sender(ids):
    """What the second owner has: with empty cells, text of one, two and four bytes a sign, and numbers at both ends."""
    number = len(ids)
    edge = [None, -(2**63), 2**63 - 1, 0, -1]
    return table_of(
        {
            "b": (ids, "int64", 0),
            "visits": ([edge[i % 5] for i in range(number)], "int64", 0),
            "balance": ([None if i % 7 == 0 else i * 101 - 300 for i in range(number)], "decimal", 2),
            "city": ([[None, "", "Bern", "Zürich", "🏔🏔🏔"][i % 5] for i in range(number)], "string", 0),
            "active": ([[None, True, False][i % 3] for i in range(number)], "bool", 0),
            "since": ([None if i % 4 == 3 else DAYS[i % 4] for i in range(number)], "date", 0),
        }
    )


OWN = [5, 3, 90, 7, 41, None, 8, 3]
IDS = [100, 41, 3, 8, 9, 10, 7, 5, 77, 78, 3]


def joined(own=OWN, ids=IDS):
    """What the receiver must get: of each of its keys that match the other's first row."""
    rows = sender(ids).to_pylist()
    found = []
    for key in dict.fromkeys(own):
        if key in ids and key is not None:
            row = rows[ids.index(key)]
            scaled = None if row["balance"] is None else Decimal(row["balance"]).scaleb(-2)
            found.append({"a": key, **row, "balance": scaled})
            del found[-1]["b"]
    return found


def tables(own=OWN, ids=IDS):
    return {0: table_of({"a": (own, "int64", 0), "other": ([0] * len(own), "int64", 0)}), 1: sender(ids)}


@pytest.mark.parametrize("protocol", ["automatic", "rr22-malicious"])
def test_the_receiver_gets_the_columns_of_its_matches(run_workload, monkeypatch, protocol):
    monkeypatch.setattr(workload_module, "BATCH", 2)
    spec = spec_of(parameters_of(protocol=protocol, format="parquet"))
    ran = run_workload(Intersection(), spec, tables())
    receiver, giver = ran.outcomes[0], ran.outcomes[1]
    found = pyarrow.parquet.read_table(receiver.files["matches.parquet"])
    assert found.to_pylist() == joined()
    assert found.schema.types == [pa.int64(), pa.int64(), pa.decimal128(19, 2), pa.string(), pa.bool_(), pa.date32()]
    assert receiver.result["labels"] == {"columns": [each["name"] for each in COLUMNS], "unreadable": 0}
    assert receiver.result["protocol"] == ("rr22" if protocol == "automatic" else protocol)
    assert (receiver.result["cardinality"], receiver.result["file"]["rows"]) == (5, 5)
    assert giver.result is None and not giver.files
    predicted = Intersection().cost(spec, {ACCOUNTS[0]: len(OWN), ACCOUNTS[1]: len(IDS)})
    assert abs(predicted.bytes_sent - ran.most_sent()) < 200_000


def test_the_sender_receives_no_more_than_without_labels(run_workload):
    """What comes to it is as long, whatever matches: nothing after the tags."""
    lengths = []
    for own in (OWN, [number + 10_000 for number in range(len(set(OWN) - {None}))]):
        ran = run_workload(Intersection(), spec_of(parameters_of()), tables(own=own))
        lengths.append(ran.received[1])
        assert not ran.received[1].keys() & {"psi/tags", "psi/labels", "psi/matches"}
    assert lengths[0] == lengths[1]


def test_nothing_matches_and_in_text(run_workload):
    spec = spec_of(parameters_of())
    ran = run_workload(Intersection(), spec, tables(own=[1, 2, 4]))
    assert ran.outcomes[0].files["matches.csv"].read_text().splitlines() == ['"a","visits","balance","city","active","since"']
    ran = run_workload(Intersection(), spec, tables(own=[41, 8]))
    with ran.outcomes[0].files["matches.csv"].open() as file:
        rows = list(csv.DictReader(file))
    assert [row["balance"] for row in rows] == ["-1.99", "0.03"]
    assert [(row["a"], row["city"], row["active"], row["since"]) for row in rows] == [
        ("41", "", "true", "2020-01-02"),
        ("8", "Zürich", "", ""),
    ]


def test_a_prepared_set_gives_labels_and_keeps_them_for_a_version(tmp_path):
    spec = spec_of(parameters_of(protocol="unbalanced", format="parquet"))
    workload, sent = Intersection(), []
    workload.check(spec)
    for version in (b"v", b"v", b"w"):
        sessions = [
            replace(each, versions={0: bytes(32), 1: version * 32}, kept=tmp_path / f"kept{each.index}")
            for each in local_sessions(2)
        ]

        def one(session):
            scratch = tmp_path / f"scratch{session.index}"
            scratch.mkdir(exist_ok=True)
            account = ACCOUNTS[session.index]
            own = tables()[session.index].select(list(workload.columns(spec, account)))
            return workload.run(spec, account, own, session, scratch)

        with ThreadPoolExecutor(2) as pool:
            asker, holder = pool.map(one, sessions)
        assert pyarrow.parquet.read_table(asker.files["matches.parquet"]).to_pylist() == joined()
        assert holder.result is None
        sent.append(sum(step.bytes for step in sessions[1].meter.steps.values()))
    kept = 10 * (11 + TERMS.width)
    assert sent[0] == sent[2] == sent[1] + kept


def opened(own, asked, tmp_path):
    """Both outcomes of a task in which the receiver registered ``own``, asks for ``asked`` and opens one row."""
    columns = (Column("a", "int64", nullable=True),)
    root = canonical.text(rows_root(own, columns, b"s" * 32))
    descriptor = DatasetDescriptor(ACCOUNTS[0], "clients", columns, own.num_rows, root, "0x" + "11" * 32, 1)
    spec = spec_of(parameters_of(protocol="rr22-malicious", openings=1, format="parquet"))
    Intersection().check(spec)
    sessions = [replace(each, versions={0: descriptor.digest(), 1: bytes(32)}) for each in local_sessions(2, 300.0)]
    sessions[0] = replace(sessions[0], registered=Registered(descriptor.to_bytes(), b"s" * 32))

    def one(session):
        scratch = tmp_path / str(session.index)
        scratch.mkdir(exist_ok=True)
        account = ACCOUNTS[session.index]
        mine = asked if session.index == 0 else sender(IDS).select(list(Intersection().columns(spec, account)))
        try:
            return Intersection().run(spec, account, mine, session, scratch)
        except Exception as error:
            for channel in session.channels.values():
                for _ in range(4):
                    channel.send(b"")  # so that nobody waits for who gave up
            return error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, sessions))


def test_a_receiver_that_opens_rows_gets_labels_if_it_asks_by_the_table_that_it_registered(tmp_path):
    own = table_of({"a": (OWN, "int64", 0)})
    receiver, giver = opened(own, own, tmp_path)
    assert pyarrow.parquet.read_table(receiver.files["matches.parquet"]).to_pylist() == joined()
    assert giver.result is None
    receiver, giver = opened(own, table_of({"a": (IDS, "int64", 0)}), tmp_path)
    assert isinstance(giver, Exception)
    assert isinstance(receiver, Exception)


def test_a_table_of_other_labels_is_another_table():
    """Else its pads would mask two different rows."""
    names = set()
    for columns in (COLUMNS, COLUMNS[:1], [COLUMNS[2] | {"bytes": 13}], [COLUMNS[1] | {"scale": 3}], [COLUMNS[1]]):
        parameters = Parameters.parse(parameters_of({"party": ACCOUNTS[1], "columns": columns}, protocol="unbalanced"))
        names.add(parameters.table_name("0x" + "11" * 32, ACCOUNTS[1]))
    without = {name: value for name, value in parameters_of(protocol="unbalanced").items() if name != "labels"}
    names.add(Parameters.parse(without).table_name("0x" + "11" * 32, ACCOUNTS[1]))
    assert len(names) == 6


def test_the_commitment_is_to_labels_too(run_workload, tmp_path):
    ran = run_workload(Intersection(), spec_of(parameters_of()), tables())
    salt = bytes.fromhex(json.loads((tmp_path / "1/opening.json").read_text())["salt"])
    ids = list(dict.fromkeys(IDS))
    rows = TERMS.encode(sender(IDS).slice(0, len(ids)))
    ends = b"".join((13 * i).to_bytes(8, "little") for i in range(1, len(ids) + 1))
    items = b"".join(b"i\0\0\0\x08" + i.to_bytes(8, "big") for i in ids)
    content = salt + rows.tobytes() + len(ids).to_bytes(8, "little") + ends + items
    assert ran.outcomes[1].commitment == "sha256:" + hashlib.sha256(content).hexdigest()


# -- what a task may ask for


def test_the_statement_says_what_the_receiver_learns_and_what_it_rests_on():
    for protocol, adversary, word in (
        ("automatic", "semi-honest", "parity"),
        ("rr22-malicious", "malicious-with-abort", "parity"),
        ("unbalanced", "semi-honest", "Diffie"),
    ):
        statement = Intersection().security(spec_of(parameters_of(protocol=protocol)))
        assert statement.adversary == adversary
        assert word in " ".join(statement.references)
        assert "visits, balance, city, active, since" in statement.learns["receiver"]
        assert "visits" not in statement.learns["owner"]
    assert "Diffie" not in " ".join(Intersection().security(spec_of(parameters_of())).references)


@pytest.mark.parametrize("receivers", [(0, 1), (1,)])
def test_labels_are_for_the_other_owner_alone(receivers):
    with pytest.raises(InvalidTask, match=r"one receiver"):
        Intersection().check(spec_of(parameters_of(), receivers))


def test_the_giver_reads_its_columns_and_no_other_does():
    workload, spec = Intersection(), spec_of(parameters_of())
    workload.check(spec)
    assert list(workload.columns(spec, ACCOUNTS[1])) == ["b", "visits", "balance", "city", "active", "since"]
    assert list(workload.columns(spec, ACCOUNTS[0])) == ["a"]
    for columns in ({0: ["a"], 1: ["b"]}, {0: ["a", "visits"], 1: ["b", *TERMS.names]}, {0: ["a"], 1: ["b", *TERMS.names, "more"]}):
        with pytest.raises(InvalidTask, match="those of labels"):
            workload.check(spec_of(parameters_of(), columns=columns))


def terms_for(spec, algorithms, columns):
    salt = "0x" + "01" * 32
    return GrantTerms(
        spec.inputs[1].dataset, spec.requester, spec.purpose, algorithms, columns, spec.receivers, Salts(salt, salt, salt, salt)
    )


def test_a_grant_names_labels_and_covers_their_columns():
    spec = spec_of(parameters_of())
    columns = tuple(sorted(["b", *TERMS.names]))
    for algorithms, covered, rule in (
        (("intersection:labels",), columns, None),
        (("intersection",), columns, "grant.algorithm"),
        (("intersection:labels",), columns[1:], "grant.columns"),
    ):
        terms = terms_for(spec, algorithms, covered)
        given = replace(spec.inputs[1], terms="0x" + terms.root().hex())
        if rule is None:
            terms.permits(spec, given)
            continue
        with pytest.raises(Refused) as caught:
            terms.permits(spec, given)
        assert caught.value.rule == rule
    without = {name: value for name, value in parameters_of().items() if name != "labels"}
    plain = spec_of(without, columns={0: ["a"], 1: ["b"]})
    assert (spec.algorithms, plain.algorithms) == (("intersection:labels",), ("intersection",))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "labels"),
        ({"party": ACCOUNTS[1]}, "labels: misses"),
        ({"party": ACCOUNTS[2], "columns": COLUMNS}, "labels: one of two owners"),
        ({"party": ACCOUNTS[1], "columns": []}, "labels.columns"),
        ({"party": ACCOUNTS[1], "columns": COLUMNS[:1] * 2}, "labels.columns: each stands there once"),
        ({"party": ACCOUNTS[1], "columns": [{"name": "b", "type": "int64"}]}, "labels: no key column"),
        ({"party": ACCOUNTS[1], "columns": [{"name": "a", "type": "int64"}]}, "labels: no key column"),
        ({"party": ACCOUNTS[1], "columns": [{"name": "x", "type": "float"}]}, r"labels.columns\[0\].type"),
        ({"party": ACCOUNTS[1], "columns": [{"name": "x", "type": "string"}]}, r"labels.columns\[0\].bytes"),
        ({"party": ACCOUNTS[1], "columns": [{"name": "x", "type": "string", "bytes": MAX_TEXT + 1}]}, r"labels.columns\[0\].bytes"),
        ({"party": ACCOUNTS[1], "columns": [{"name": "x", "type": "int64", "bytes": 8}]}, r"labels.columns\[0\].bytes"),
        ({"party": ACCOUNTS[1], "columns": [{"name": "x", "type": "decimal"}]}, r"labels.columns\[0\].scale"),
        ({"party": ACCOUNTS[1], "columns": [{"name": "x", "type": "decimal", "scale": 19}]}, r"labels.columns\[0\].scale"),
        (
            {"party": ACCOUNTS[1], "columns": [{"name": f"x{i}", "type": "string", "bytes": MAX_TEXT} for i in range(4)]},
            "labels.columns: a row takes 4104 bytes",
        ),
    ],
)
def test_each_rule_of_labels_broken_once(labels, words):
    with pytest.raises(InvalidTask, match=rf"parameters\.{words}") as caught:
        Parameters.parse(parameters_of(labels))
    assert caught.value.remedy


@pytest.mark.parametrize("change", [{"mode": "cardinality"}, {"protocol": "ecdh"}])
def test_labels_need_a_protocol_that_can_give_them(change):
    with pytest.raises(InvalidTask, match=r"parameters\.labels"):
        Parameters.parse(parameters_of(**change))
    three = [{"party": ACCOUNTS[i], "columns": ["abc"[i]]} for i in range(3)]
    with pytest.raises(InvalidTask, match=r"parameters\.labels"):
        Parameters.parse(parameters_of(keys=three))


@pytest.mark.parametrize(
    ("column", "cells", "words"),
    [
        ("visits", (["1"] * len(IDS), "string", 0), "its type and scale"),
        ("balance", ([1] * len(IDS), "decimal", 3), "its type and scale"),
        ("visits", ([1] * len(IDS), "decimal", 1), "its type and scale"),
        ("city", (["x"] * (len(IDS) - 2) + ["x" * 13] * 2, "string", 0), "takes 13 bytes"),
    ],
)
def test_a_column_that_is_not_what_the_task_says_is_refused_before_anything_is_sent(run_workload, column, cells, words):
    found = sender(IDS)
    changed = table_of({column: cells})
    place = found.schema.get_field_index(column)
    given = {0: tables()[0], 1: found.set_column(place, changed.schema.field(0), changed.column(0))}
    ran = run_workload(Intersection(), spec_of(parameters_of()), given)
    assert isinstance(ran.outcomes[1], InvalidData)
    assert words in ran.outcomes[1].message
    assert not ran.sent[1]


# -- cells


CELLS = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "decimal": st.integers(-(2**63), 2**63 - 1),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda text: len(text.encode()) <= 12),
    "bool": st.booleans(),
    "date": st.dates(),
}
ROW = st.tuples(*(st.none() | CELLS[each["type"]] for each in COLUMNS))


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, max_size=6))
def test_cells_come_back(rows):
    cells = {each["name"]: ([row[place] for row in rows], each["type"], each.get("scale", 0)) for place, each in enumerate(COLUMNS)}
    table = table_of(cells)
    encoded = TERMS.encode(table)
    assert encoded.shape == (len(rows), TERMS.width)
    columns, unreadable = TERMS.decode(encoded)
    assert unreadable == 0
    for column, field, expected in zip(columns, TERMS.fields, table.columns, strict=True):
        assert column.type == field.type
        values = column.to_pylist()
        if pa.types.is_decimal(column.type):
            values = [None if value is None else int(value.scaleb(2)) for value in values]
        assert values == expected.to_pylist()


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=2 * TERMS.width, max_size=2 * TERMS.width))
def test_every_string_of_bytes_is_some_row(data):
    """So that what a sender that deviates puts there ends nothing, and what is written can be read."""
    columns, unreadable = TERMS.decode(np.frombuffer(data, np.uint8).reshape(2, -1))
    table = pa.table(columns, schema=pa.schema(TERMS.fields))
    table.validate(full=True)
    assert 0 <= unreadable <= 2 * len(COLUMNS)
    assert unreadable <= sum(column.null_count for column in table.columns)
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ({"name": "x", "type": "string", "bytes": 3}, b"\x04\0abc"),
        ({"name": "x", "type": "string", "bytes": 3}, b"\x02\0\xff\xfe\0"),
        ({"name": "x", "type": "bool"}, b"\x03"),
        ({"name": "x", "type": "int64"}, b"\x02" + bytes(8)),
        ({"name": "x", "type": "decimal", "scale": 1}, b"\xff" + bytes(8)),
        ({"name": "x", "type": "date"}, b"\x01" + (3_000_000).to_bytes(4, "little")),
        ({"name": "x", "type": "date"}, b"\x01" + (-1_000_000).to_bytes(4, "little", signed=True)),
    ],
)
def test_a_cell_that_nobody_encodes_reads_as_none_and_is_counted(column, cell):
    terms = LabelTerms.read({"party": ACCOUNTS[1], "columns": [column]}, "labels")
    ((found,), unreadable) = terms.decode(np.frombuffer(cell, np.uint8).reshape(1, -1))
    assert (found.to_pylist(), unreadable) == ([None], 1)
