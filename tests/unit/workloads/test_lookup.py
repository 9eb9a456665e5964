"""`lookup` from end to end, against a dictionary of rows."""

import contextlib
import csv
import datetime as dt
import hashlib
import io
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick.protocol.task import proposal_of
from tallystick_node.engines.channel import ChannelError, Session, local_sessions
from tallystick_node.engines.pir.lookup import MAX_LOOKUPS
from tallystick_node.workloads.lookup.parameters import FOUND, MAX_ROW_BYTES, MAX_VALUES, Parameters
from tallystick_node.workloads.lookup.rows import NotARow, decode_row, encode_rows
from tallystick_node.workloads.lookup.workload import RESULT, Lookup
from unit.engines.conftest import run_parties
from unit.workloads.conftest import ACCOUNTS, make_spec, table_of

OWNER, ASKER = 1, 0
NAMES = ["ann", "bob", "Zoë", "eve", None, "dan", "kim", "lee", "pat", "sam", "tom", "uma"]
BORN = [dt.date(1970 + i, 2, 1 + i) for i in range(12)]
VALUES = {
    "limit": ([None if i == 3 else i * 100 for i in range(12)], "int64", 0),
    "rate": ([i * 125 - 250 for i in range(12)], "decimal", 2),
    "note": ([f"n°{i}, of many" for i in range(12)], "string", 0),
    "open": ([i % 2 == 0 for i in range(12)], "bool", 0),
    "since": (BORN, "date", 0),
}
TABLE = table_of({"name": (NAMES, "string", 0), "born": (BORN, "date", 0), **VALUES})
ASKED = [("bob", BORN[1]), (" zoë ", BORN[2]), ("ann", BORN[5]), ("eve", BORN[3]), (None, BORN[0]), ("uma", BORN[11])]
KEYS = table_of(
    {"who": ([a for a, _ in ASKED], "string", 0), "day": ([b for _, b in ASKED], "date", 0), "x": ([1] * 6, "int64", 0)}
)


def parameters_of(**change):
    return {
        "table": {"party": ACCOUNTS[OWNER], "keys": ["name", "born"], "values": list(VALUES)},
        "asker": {"party": ACCOUNTS[ASKER], "keys": ["who", "day"]},
        "types": ["string", "date"],
        "fold": True,
        "duplicates": "reject",
        "lookups": 8,
        "row_bytes": 64,
        "minimum_group": 2,
    } | change


def spec_of(receivers=(ASKER,), columns=None, compute=(), **change):
    parameters = parameters_of(**change)
    named = {OWNER: [*parameters["table"]["keys"], *parameters["table"]["values"]], ASKER: parameters["asker"]["keys"]}
    return make_spec("lookup", parameters, columns or named, list(receivers), compute)


@pytest.fixture
def run(tmp_path):
    """``run(spec, owner's table, asker's table, version)``: both outcomes, and what each sent, by step."""

    def made(spec, table=TABLE, keys=KEYS, version=b"\1" * 32, told=None):
        Lookup().check(spec)

        def party(session):
            name, own = ("owner", table) if session.index == OWNER else ("asker", keys)
            kept, scratch = tmp_path / name / "kept", tmp_path / name / "scratch"
            scratch.mkdir(parents=True, exist_ok=True)
            seen = version if session.index == OWNER else told or version
            session = Session(
                session.index, session.channels, meter=session.meter, versions={OWNER: seen, ASKER: bytes(32)}, kept=kept
            )
            account = ACCOUNTS[session.index]
            try:
                return Lookup().run(spec, account, own.select(list(Lookup().columns(spec, account))), session, scratch)
            except (InvalidData, OutputRefused, ChannelError):
                session.broadcast(b"")  # its node would tell the other
                raise

        sessions = local_sessions(2)
        outcomes = run_parties(sessions, party)
        return outcomes[OWNER], outcomes[ASKER], [each.meter.steps for each in sessions]

    return made


def read(outcome):
    content = outcome.files[RESULT].read_bytes()
    assert outcome.result["file"]["sha256"] == "sha256:" + hashlib.sha256(content).hexdigest()
    return list(csv.reader(io.StringIO(content.decode())))


def test_rows_of_every_type_and_keys_that_are_not_there(run):
    owner, asker, _ = run(spec_of())
    assert read(asker) == [
        ["who", "day", "found", *VALUES],
        ["bob", "1971-02-02", "true", "100", "-1.25", "n°1, of many", "false", "1971-02-02"],
        [" zoë ", "1972-02-03", "true", "200", "0.00", "n°2, of many", "true", "1972-02-03"],
        ["ann", "1975-02-06", "false", "", "", "", "", ""],
        ["eve", "1973-02-04", "true", "", "1.25", "n°3, of many", "false", "1973-02-04"],
        ["uma", "1981-02-12", "true", "1100", "11.25", "n°11, of many", "false", "1981-02-12"],
    ]
    assert (owner.result, owner.files) == (None, {})
    assert {name: asker.result[name] for name in ("lookups", "keys", "found")} == {"lookups": 8, "keys": 5, "found": 4}
    assert asker.all_commitments[OWNER] == owner.commitment == asker.result["table"]
    assert asker.all_commitments[ASKER] == asker.commitment != owner.commitment


def test_later_runs_send_little_and_what_the_owner_sees_is_the_number(run):
    other = table_of({"who": ([], "string", 0), "day": ([], "date", 0)})
    _, _, first = run(spec_of())
    _, _, second = run(spec_of())
    _, asker, third = run(spec_of(), keys=other)
    assert read(asker) == [["who", "day", "found", *VALUES]]
    totals = [[sum(step.bytes for step in steps.values()) for steps in each] for each in (first, second, third)]
    assert totals[0][OWNER] > 300_000 > 10_000 > totals[1][OWNER]
    assert totals[1] == totals[2]
    assert totals[0][ASKER] == totals[1][ASKER]
    changed = TABLE.set_column(2, TABLE.schema.field(2), pa.array([i * 1000 for i in range(12)], pa.int64()))
    _, asker, fourth = run(spec_of(), table=changed, version=b"\2" * 32)
    assert read(asker)[1][3] == "1000"
    assert sum(step.bytes for step in fourth[OWNER].values()) < totals[0][OWNER] / 20


def test_the_cost_is_that_of_a_first_lookup(run):
    spec = spec_of()
    _, _, steps = run(spec)
    predicted = Lookup().cost(spec, {ACCOUNTS[OWNER]: 11, ACCOUNTS[ASKER]: 6})
    sent = [sum(step.bytes for step in each.values()) for each in steps]
    assert predicted.bytes_sent == pytest.approx(max(sent), rel=0.02)
    assert predicted.rounds == max(sum(step.rounds for step in each.values()) for each in steps)
    million = Lookup().cost(spec_of(row_bytes=256), {ACCOUNTS[OWNER]: 1 << 20})
    assert 25e6 < million.bytes_sent < 40e6
    assert Lookup().cost(spec, {ACCOUNTS[OWNER]: 2**62}).seconds > 1


def test_duplicates_of_the_table_and_of_the_asker(run):
    twice = pa.concat_tables([TABLE, TABLE])
    owner, _, _ = run(spec_of(), table=twice)
    assert isinstance(owner, InvalidData)
    _, asker, _ = run(spec_of(duplicates="group"), table=twice, keys=pa.concat_tables([KEYS, KEYS]))
    assert asker.result["keys"] == 5


def test_what_one_party_may_not_ends_the_run(run):
    owner, asker, _ = run(spec_of(minimum_group=12))
    assert isinstance(owner, OutputRefused)  # eleven rows have a key
    assert isinstance(asker, ChannelError)
    owner, _, _ = run(spec_of(row_bytes=20))
    assert isinstance(owner, InvalidData)
    assert "row_bytes" in owner.message
    _, asker, _ = run(spec_of(lookups=4))
    assert isinstance(asker, InvalidData)
    assert "more distinct keys" in asker.message
    _, asker, _ = run(spec_of(types=["string", "string"]))
    assert isinstance(asker, InvalidData)


def test_another_version_than_the_registered_one_is_refused(run):
    _, asker, _ = run(spec_of(), told=b"\7" * 32)
    assert isinstance(asker, ChannelError)
    assert "another version of the data" in asker.rule
    assert asker.peer == OWNER


def test_a_row_that_is_none_names_the_owner(run, monkeypatch):
    monkeypatch.setattr("tallystick_node.workloads.lookup.workload.encode_rows", lambda table, _: [b"?"] * len(table))
    _, asker, _ = run(spec_of())
    assert isinstance(asker, ChannelError)
    assert (asker.peer, "unknown type" in asker.rule) == (OWNER, True)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"lookups": 1025}, "lookups"),
        ({"privacy": None}, "privacy"),
        ({"row_bytes": 4097}, "row_bytes"),
        ({"types": ["string"]}, "one column for each type"),
        ({"asker": {"party": ACCOUNTS[OWNER], "keys": ["who", "day"]}}, "owner itself"),
        ({"asker": {"party": ACCOUNTS[2], "keys": ["who", "day"]}}, "two inputs"),
        ({"asker": {"party": ACCOUNTS[ASKER], "keys": ["rate", "day"]}}, "one name"),
        (
            {
                "table": {"party": ACCOUNTS[OWNER], "keys": ["name", "born"], "values": ["born"]},
                "columns": {OWNER: ["name", "born"], ASKER: ["who", "day"]},
            },
            "key column",
        ),
        ({"table": {"party": ACCOUNTS[OWNER], "keys": ["name", "born"], "values": ["found"]}}, "one name"),
        ({"table": {"party": ACCOUNTS[OWNER], "keys": ["name", "born"], "values": []}}, "table.values"),
        ({"minimum_group": 1}, "minimum_group"),
        ({"extra": 1}, "extra"),
        ({"receivers": (OWNER,)}, "only receiver"),
        ({"receivers": (ASKER, OWNER)}, "only receiver"),
        ({"columns": {OWNER: ["name", "born"], ASKER: ["who", "day"]}}, "not those"),
        ({"compute": (2,)}, "owners alone"),
    ],
)
def test_each_rule_of_the_parameters(change, rule):
    spec = spec_of(**change)
    with pytest.raises(InvalidTask) as caught:
        Lookup().check(spec)
    assert rule in caught.value.message


def test_what_a_task_says_of_itself():
    spec = spec_of()
    assert {party.uses for party in proposal_of(spec).parties} == {spec.uses} == {8}
    assert Lookup().epsilon_micros(spec) == spec.epsilon_micros == 0
    assert [Lookup().lookups(spec, ACCOUNTS[party]) for party in (OWNER, ASKER)] == [8, 0]
    assert Lookup().columns(spec, ACCOUNTS[OWNER]) == ("name", "born", *VALUES)
    assert "not which" in Lookup().security(spec).learns["owner"]
    first, second = Parameters.parse(spec.parameters), Parameters.parse(parameters_of(fold=False))
    assert first.table_name("0x1") != second.table_name("0x1") != second.table_name("0x2")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**62), 2**62),
            st.none() | st.text(max_size=20),
            st.none() | st.dates(),
            st.none() | st.booleans(),
        ),
        max_size=5,
    ),
    st.integers(0, 18),
)
def test_rows_come_back_as_text(rows, scale):
    kinds = [("decimal", scale), ("string", 0), ("date", 0), ("bool", 0)]
    columns = {str(i): ([row[i] for row in rows], kind, places) for i, (kind, places) in enumerate(kinds)}
    encoded = encode_rows(table_of(columns), 4096)
    for row, data in zip(rows, encoded, strict=True):
        cells = decode_row(data, 4)
        assert cells[0] == ("" if row[0] is None else f"{Decimal(row[0]).scaleb(-scale):f}")
        assert cells[1:] == [
            row[1] or "",
            row[2].isoformat() if row[2] else "",
            "" if row[3] is None else json.dumps(row[3]),
        ]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=30), st.integers(0, 4))
def test_any_bytes_are_a_row_or_refused(data, cells):
    with contextlib.suppress(NotARow):
        assert len(decode_row(data, cells)) == cells


@pytest.mark.parametrize(
    "data", [b"", b"i1234567", b"d\x13" + bytes(8), b"s\5\0abc", b"s\1\0\xff", b"t\xff\xff\xff\x7f", b"nn", b"x"]
)
def test_what_is_no_row(data):
    with pytest.raises(NotARow):
        decode_row(data, 1)


def test_the_reference_page_has_the_bounds():
    page = (Path(__file__).parents[3] / "docs/reference/workloads.md").read_text().split("\n## `lookup`\n")[1].split("\n## `")[0]
    bounds = (f"1 to {MAX_LOOKUPS} |", f"8 to {MAX_ROW_BYTES} |", f"1 to {MAX_VALUES} others", f"`{RESULT}`", f"`{FOUND}`")
    for text in bounds:
        assert text in page, text
