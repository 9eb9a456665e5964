"""Rows that a receiver opens: an honest one passes, one that swapped rows is found as often as the coin draws one of these."""

import datetime as dt
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.protocol import canonical
from tallystick.protocol.dataset import Column, DatasetDescriptor
from tallystick.protocol.errors import InvalidData, InvalidTask, MalformedDocument, OutputRefused, Refused
from tallystick.protocol.fields import order
from tallystick.protocol.grant import GrantTerms, Salts
from tallystick_node.admission.gate import Gate
from tallystick_node.data.commit import decode_row, encode_rows, rows_root
from tallystick_node.engines.channel import ProtocolViolation, Registered, local_sessions
from tallystick_node.engines.psi import openings as engine
from tallystick_node.engines.psi import parts
from tallystick_node.engines.psi.items import Items
from tallystick_node.settings import Policy
from tallystick_node.store.database import Store
from tallystick_node.workloads.intersection import openings as module
from tallystick_node.workloads.intersection import workload as intersection
from tallystick_node.workloads.intersection.openings import Checker, Shower, drawn
from tallystick_node.workloads.intersection.parameters import Parameters
from tallystick_node.workloads.intersection.workload import Intersection
from tallystick_node.workloads.keys import distinct
from unit.workloads.conftest import ACCOUNTS, ID, make_spec, table_of

COLUMNS = (Column("name", "string", nullable=True), Column("born", "date", nullable=False))
RULES = {"types": ["date", "string"], "fold": True, "duplicates": "group", "mode": "ids", "minimum_group": 2}
DAY = dt.date(2020, 1, 1)
MINE = [(f"Zoë {i}", DAY) for i in range(20)] + [("ZOË 3 ", DAY), (None, DAY), ("", DAY)]
THEIRS = [(f"zoë {i}", DAY) for i in range(10, 30)]


def table(rows):
    return table_of({"name": ([row[0] for row in rows], "string", 0), "born": ([row[1] for row in rows], "date", 0)})


def registered(rows, columns=COLUMNS, secret=b"s" * 32):
    """A dataset of these rows, and the digest of its descriptor."""
    root = canonical.text(rows_root(table(rows), columns, secret))
    descriptor = DatasetDescriptor(ACCOUNTS[0], "people", columns, len(rows), root, "0x" + "11" * 32, 1)
    return Registered(descriptor.to_bytes(), secret), descriptor.digest()


def parameters(**change):
    keys = [{"party": ACCOUNTS[number], "columns": ["born", "name"]} for number in (0, 1)]
    return {"keys": keys, **RULES, "protocol": "rr22", "openings": 5} | change


def spec_of(receivers=(0,), **change):
    return make_spec("intersection", parameters(**change), {0: ["born", "name"], 1: ["born", "name"]}, list(receivers))


def run(used, tmp_path, rows=MINE, **change):
    """Both outcomes of a task in which the receiver registered ``rows`` and puts in what is ``used``."""
    spec, (own, version) = spec_of(**change), registered(rows)
    Intersection().check(spec)
    sessions = [replace(each, versions={0: version, 1: bytes(32)}) for each in local_sessions(2, 300.0)]
    sessions[0] = replace(sessions[0], registered=own)

    def one(session):
        scratch = tmp_path / str(session.index)
        scratch.mkdir(exist_ok=True)
        mine = table(used if session.index == 0 else THEIRS).select(["born", "name"])
        try:
            return Intersection().run(spec, ACCOUNTS[session.index], mine, session, scratch)
        except Exception as error:
            for channel in session.channels.values():
                for _ in range(4):
                    channel.send(b"")  # so that nobody waits for who gave up
            return error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, sessions))


@pytest.mark.parametrize("protocol", ["rr22", "rr22-malicious"])
def test_who_compares_what_it_registered_passes(tmp_path, protocol):
    first, second = run(MINE, tmp_path, protocol=protocol, openings=40)
    assert first.result["cardinality"] == 10
    assert second.result is None


def swaps(monkeypatch, rows):
    """A receiver that opens the rows that it registered, and claims of keys which it did not put in that it knows their values."""

    class Swapper(Shower):
        def __call__(self, coin):
            rules, columns = self._rules, self._columns
            items, _ = distinct(rules, table(rows).select(list(columns)))
            honest = Shower(self._count, self._registered, table(rows), rules, columns, items)
            message, places = honest(coin)
            own = list(self._items)
            return message, np.array([own.index(items[place]) if items[place] in own else 0 for place in places], np.int64)

    monkeypatch.setattr(intersection, "Shower", Swapper)


@pytest.mark.parametrize(("protocol", "times"), [("rr22", 3), ("rr22-malicious", 2)])
def test_who_swapped_rows_is_found_exactly_if_the_coin_draws_one(tmp_path, monkeypatch, protocol, times):
    coins, original, rows = [], module.drawn, MINE[:20]
    monkeypatch.setattr(module, "drawn", lambda coin, *rest: coins.append(coin) or original(coin, *rest))
    swaps(monkeypatch, rows)
    used = rows[:10] + [(f"other {i}", DAY) for i in range(10)]
    for _ in range(times):
        coins.clear()
        first, second = run(used, tmp_path, rows, protocol=protocol, openings=1)
        (coin,) = set(coins)
        if original(coin, 1, 20)[0] >= 10:
            assert isinstance(second, ProtocolViolation)
            assert (second.peer, second.step) == (0, "openings")
            assert "did not compare the keys" in str(second)
            assert isinstance(first, Exception)  # and it learns nothing: tags come later
        else:
            assert first.result["cardinality"] == 0


def test_who_swapped_all_rows_is_found(tmp_path, monkeypatch):
    swaps(monkeypatch, MINE[:20])
    first, second = run([(f"zoë {i}", DAY) for i in range(20, 40)], tmp_path, MINE[:20], openings=1)
    assert isinstance(second, ProtocolViolation)
    assert isinstance(first, Exception)


def test_who_puts_in_more_keys_than_it_has_rows_is_found(tmp_path, monkeypatch):
    """All registered rows among them, so that each that is drawn passes."""
    rows = MINE[:20]
    swaps(monkeypatch, rows)
    first, second = run([*rows, ("zoë 25", DAY)], tmp_path, rows)
    assert isinstance(second, ProtocolViolation)
    assert (second.peer, second.step) == (0, "openings")
    assert "compares 21 keys, and registered 20 rows" in str(second)
    assert isinstance(first, Exception)  # and it learns nothing


def test_a_swapped_fraction_is_found_with_the_probability_that_is_said():
    """Over many coins, always the same ones: 1 - (1 - f)^k."""
    coins = [number.to_bytes(32, "big") for number in range(4000)]
    for count, swapped in ((1, 0.1), (5, 0.2), (20, 0.05)):
        found = np.mean([any(row < 200 * swapped for row in drawn(coin, count, 200)) for coin in coins])
        assert abs(found - (1 - (1 - swapped) ** count)) < 0.03


def test_rows_are_drawn_evenly():
    counts = np.bincount([row for number in range(400) for row in drawn(number.to_bytes(32, "big"), 25, 10)], minlength=10)
    assert counts.sum() == 10_000
    assert abs(counts - 1000).max() < 150


# -- what a checker reads


def opened(rows=MINE, count=6, coin=b"c" * 32, columns=COLUMNS):
    """A checker, the coin, a message that opens rows, and the places of their keys."""
    given, version = registered(rows, columns)
    rules = Parameters.parse(parameters()).rules
    items, _ = distinct(rules, table(rows).select(["born", "name"]))
    message, places = Shower(count, given, table(rows), rules, ["born", "name"], items)(coin)
    return Checker(count, version, rules, ["born", "name"]), coin, message, [items[place] for place in places]


def test_a_checker_reads_the_keys_that_are_shown():
    for seed in range(8):
        checker, coin, message, keys = opened(coin=bytes([seed]) * 32)
        assert list(checker(coin, message, len(MINE))) == keys


def changed(change):
    checker, coin, message, _ = opened()
    document = canonical.decode(message, 1 << 24)
    change(document)
    return checker, coin, canonical.encode(document)


def other_descriptor(document):
    document["descriptor"] = registered(MINE[:5])[0].descriptor.hex()


def other_row(document):
    document["rows"][0]["row"] = encode_rows(table([("eve", DAY)]), COLUMNS)[0].hex()


def rows_in_another_order(document):
    document["rows"].reverse()


def other_salt(document):
    document["rows"][1]["salt"] = "00" * 32


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (other_descriptor, "another descriptor"),
        (other_row, "not the one that it registered"),
        (other_salt, "not the one that it registered"),
        (rows_in_another_order, "not the one that it registered"),
        (lambda document: document["rows"].pop(), "malformed"),
        (lambda document: document["rows"][0].update(path=[]), "not the one that it registered"),
        (lambda document: document["rows"][0].update(salt="zz"), "malformed"),
        (lambda document: document["rows"][0].update(path=[1]), "malformed"),
        (lambda document: document.update(more=1), "malformed"),
    ],
)
def test_a_checker_refuses_what_was_not_registered(change, rule):
    checker, coin, message = changed(change)
    with pytest.raises(ValueError, match=rule):
        checker(coin, message, len(MINE))


def test_a_checker_refuses_bytes_that_are_no_message():
    checker, coin, message, _ = opened()
    for content in (b"", b"{}", message[:-1], b"\xff" * 40):
        with pytest.raises(ValueError, match="malformed"):
            checker(coin, content, len(MINE))


def test_a_coin_that_was_told_late_is_refused():
    def side(session):
        if session.index == 0:
            return engine.show(session, 1, b"salt", np.zeros((1, 2), np.uint64), lambda coin: (b"", np.zeros(0, np.int64)))
        channel = session.channels[0]
        channel.mark("psi/openings")
        channel.send(bytes(32))
        channel.receive()
        return channel.send(b"x" * 32)

    with ThreadPoolExecutor(2) as pool:
        showing, _ = (pool.submit(side, session) for session in local_sessions(2, 300.0))
        error = showing.exception()
    assert isinstance(error, ProtocolViolation)
    assert "half of the coin" in str(error)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.text(max_size=5)),
            st.one_of(st.none(), st.integers(-(2**61), 2**61)),
            st.booleans(),
            st.dates(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_row_is_read_as_it_was_written(rows):
    columns = (
        Column("s", "string", nullable=True),
        Column("n", "decimal", 2, nullable=True),
        Column("b", "bool"),
        Column("d", "date"),
    )
    cells = {
        name: ([row[at] for row in rows], kind, 0)
        for at, (name, kind) in enumerate(zip("snbd", ("string", "int64", "bool", "date"), strict=True))
    }
    written = encode_rows(table_of(cells), columns)
    for row, content in zip(rows, written, strict=True):
        text = None if row[0] is None else unicodedata.normalize("NFC", row[0])
        assert decode_row(content, columns) == [text, row[1], row[2], (row[3] - dt.date(1970, 1, 1)).days]
        for bad in (content[:-1], content + b"\0", b"\2" + content[1:]):
            with pytest.raises(MalformedDocument):
                decode_row(bad, columns)


# -- who may ask for it


def test_openings_are_refused_where_they_would_show_more_than_keys():
    wide = (*COLUMNS, Column("income", "int64"))
    descriptor = DatasetDescriptor(ACCOUNTS[0], "people", wide, 1, canonical.text(bytes(32)), "0x" + "11" * 32, 1)
    rules = Parameters.parse(parameters()).rules
    with pytest.raises(OutputRefused, match="columns beside the keys"):
        Shower(1, Registered(descriptor.to_bytes(), bytes(32)), table(MINE), rules, ["born", "name"], Items.of([]))


@pytest.mark.parametrize(
    "change", [{"protocol": "automatic"}, {"protocol": "ecdh"}, {"openings": 0}, {"openings": 101}, {"openings": True}]
)
def test_openings_are_of_two_protocols_and_few(change):
    with pytest.raises(InvalidTask, match="openings"):
        Intersection().check(spec_of(**change))


@pytest.mark.parametrize("named", [True, False])
def test_a_grant_names_who_is_shown_rows(monkeypatch, tmp_path, named):
    """The receiver's own grant: that it receives the matches itself does not allow to open its rows to another."""
    receivers = sorted(ACCOUNTS[: 2 if named else 1], key=order)
    salts = Salts(*("0x" + f"{number:064x}" for number in range(4)))
    terms = GrantTerms(ID, ACCOUNTS[0], "test", ("intersection",), ("born", "name"), tuple(receivers), salts)
    part = replace(spec_of().inputs[0], terms=canonical.hex32(terms.root()))
    spec = replace(spec_of(), inputs=(part, spec_of().inputs[1]))
    store = Store(f"sqlite:///{tmp_path}/node.db")
    store.put_document("terms", terms.root(), terms.to_bytes())
    gate = Gate(ACCOUNTS[0], None, store, Policy(), tmp_path)
    binding = keccak(abi_encode(["bytes32", "bytes32"], [canonical.unhex32(part.dataset), terms.root()]))
    monkeypatch.setattr(gate, "_grant", lambda _part: {"binding": binding})
    try:
        if named:
            gate._terms_rule(spec, part)
        else:
            with pytest.raises(Refused, match="opens 5 of this party's rows") as refused:
                gate._terms_rule(spec, part)
            assert refused.value.rule == "grant.receivers"
    finally:
        store.close()


def test_openings_are_of_one_receiver():
    with pytest.raises(InvalidTask, match="openings are of one receiver"):
        Intersection().check(spec_of(receivers=(0, 1)))


def test_a_large_set_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "UNCUT", 10)
    first, second = run(MINE, tmp_path)
    assert isinstance(first, InvalidData)
    assert isinstance(second, InvalidData)


def test_a_spec_says_who_is_shown_rows():
    spec = spec_of(openings=7)
    shown = [Intersection().shown_rows(spec, ACCOUNTS[number]) for number in (0, 1)]
    assert shown == [{ACCOUNTS[1]: 7}, {}]
    assert "7 of the receiver's rows in each attempt" in Intersection().security(spec).learns["owner"]
    assert (
        Intersection().shown_rows(
            make_spec(
                "intersection",
                {k: v for k, v in parameters().items() if k != "openings"},
                {0: ["born", "name"], 1: ["born", "name"]},
                [0],
            ),
            ACCOUNTS[0],
        )
        == {}
    )
