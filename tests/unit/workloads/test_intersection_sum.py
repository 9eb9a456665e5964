"""`intersection-sum` from end to end, against Python's own sums."""

from decimal import Decimal

import pytest
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.engines.channel import ChannelError
from tallystick_node.engines.he.paillier import keys
from tallystick_node.engines.psi import join_sum
from tallystick_node.workloads.intersection.sum import IntersectionSum, Parameters
from unit.workloads.conftest import ACCOUNTS, make_spec, table_of

KEY = keys.generate(join_sum.KEY_BITS)
ENCRYPTOR = join_sum.Encryptor(KEY.public)


@pytest.fixture(autouse=True)
def one_key(monkeypatch):
    """A key and its tables take a second to make."""
    monkeypatch.setattr(join_sum, "generate", lambda bits: KEY)
    monkeypatch.setattr(join_sum, "Encryptor", lambda key: ENCRYPTOR)


def parameters_of(**change):
    return {
        "keys": [{"party": ACCOUNTS[0], "columns": ["id"]}, {"party": ACCOUNTS[1], "columns": ["number"]}],
        "types": ["int64"],
        "fold": False,
        "duplicates": "group",
        "holder": ACCOUNTS[1],
        "sums": [{"name": "spent", "scale": 2}, {"name": "visits", "scale": 0}],
        "minimum_group": 5,
    } | change


def spec_of(parameters, receivers=(0,)):
    return make_spec("intersection-sum", parameters, {0: ["id"], 1: ["number", "spent", "visits"]}, list(receivers))


JOINER = {"id": ([*range(40), 3, None], "int64", 0)}
HOLDER = {
    "number": ([*range(30, 90), 31, None], "int64", 0),
    "spent": ([150 * i - 4000 for i in range(60)] + [10**6, 5], "decimal", 2),
    "visits": ([i % 7 for i in range(60)] + [10**6, 5], "int64", 0),
}
SPENT = f"{Decimal(sum(150 * i - 4000 for i in range(10))).scaleb(-2):.2f}"
VISITS = str(sum(i % 7 for i in range(10)))


@pytest.mark.parametrize("receivers", [[0], [1], [0, 1]])
def test_counts_and_sums(run_workload, receivers):
    """Of a key that repeats its first row counts; a row without a key does not."""
    ran = run_workload(IntersectionSum(), spec_of(parameters_of(), receivers), {0: table_of(JOINER), 1: table_of(HOLDER)})
    for number, outcome in ran.outcomes.items():
        expected = {"matches": 10, "sums": {"spent": SPENT, "visits": VISITS}} if number in receivers else None
        assert outcome.result == expected
        assert outcome.commitment.startswith("sha256:")
        assert outcome.files == {}
    predicted = IntersectionSum().cost(spec_of(parameters_of(), receivers), {ACCOUNTS[0]: 40, ACCOUNTS[1]: 60})
    assert predicted.bytes_sent - ran.most_sent() in (0, join_sum.PLAINTEXT)


def test_too_few_matches_are_refused_at_both(run_workload):
    ran = run_workload(IntersectionSum(), spec_of(parameters_of(minimum_group=11)), {0: table_of(JOINER), 1: table_of(HOLDER)})
    for outcome in ran.outcomes.values():
        assert isinstance(outcome, OutputRefused)
        assert "fewer than 11 keys match" in outcome.message


def test_an_owner_with_too_few_keys_sends_nothing(run_workload):
    few = {"id": ([1, 2, 3, 4, 4], "int64", 0)}
    ran = run_workload(IntersectionSum(), spec_of(parameters_of()), {0: table_of(few), 1: table_of(HOLDER)})
    assert isinstance(ran.outcomes[0], OutputRefused)
    assert isinstance(ran.outcomes[1], ChannelError)
    assert ran.sent[0].total() == 0


def cells(name, values, kind="int64", scale=0):
    return HOLDER | {name: (values, kind, scale)}


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (cells("visits", [None] + [1] * 61), "empty cells"),
        (cells("visits", [1] * 62, "decimal", 1), "no number with 0 digits"),
        (cells("visits", ["a"] * 62, "string"), "no number"),
        (cells("visits", [1 << 60] + [1] * 61), "numbers beyond"),
    ],
)
def test_what_a_holder_cannot_sum(run_workload, held, words):
    tables = {0: table_of(JOINER), 1: table_of(held)}
    ran = run_workload(IntersectionSum(), spec_of(parameters_of()), tables)
    assert isinstance(ran.outcomes[1], InvalidData)
    assert words in ran.outcomes[1].message
    assert "visits" in ran.outcomes[1].message


BROKEN = [
    ("keys", [{"party": ACCOUNTS[0], "columns": ["id"]}], "keys"),
    ("types", ["int64"] * 2, "keys: each owner"),
    ("holder", ACCOUNTS[2], "holder"),
    ("holder", "0x12", "holder"),
    ("sums", [], "sums"),
    ("sums", [{"name": "a", "scale": 0}] * 2, "sums: different"),
    ("sums", [{"name": "number", "scale": 0}], "sums: different"),
    ("sums", [{"name": "a", "scale": 10}], "sums[0].scale"),
    ("sums", [{"name": f"c{i}", "scale": 0} for i in range(17)], "sums"),
    ("minimum_group", 1, "minimum_group"),
    ("fold", 0, "fold"),
    ("duplicates", "sum", "duplicates"),
]


@pytest.mark.parametrize(("key", "value", "words"), BROKEN, ids=[f"{key}-{i}" for i, (key, _, _) in enumerate(BROKEN)])
def test_each_rule_of_the_parameters_broken_once(key, value, words):
    with pytest.raises(InvalidTask) as caught:
        Parameters.parse(parameters_of(**{key: value}))
    assert f"parameters.{words}" in caught.value.message


def test_check_of_owners_receivers_and_columns():
    workload = IntersectionSum()
    workload.check(spec_of(parameters_of()))
    assert list(workload.columns(spec_of(parameters_of()), ACCOUNTS[0])) == ["id"]
    assert list(workload.columns(spec_of(parameters_of()), ACCOUNTS[1])) == ["number", "spent", "visits"]
    with pytest.raises(InvalidTask, match="receivers"):
        workload.check(spec_of(parameters_of(), [0, 2]))
    with pytest.raises(InvalidTask, match="two owners"):
        workload.check(make_spec("intersection-sum", parameters_of(), {0: ["id"]}, [0]))
    with pytest.raises(InvalidTask, match="columns to sum") as caught:
        workload.check(make_spec("intersection-sum", parameters_of(), {0: ["id"], 1: ["number", "spent"]}, [0]))
    assert caught.value.party == ACCOUNTS[1]


def test_security_statement():
    statement = IntersectionSum().security(spec_of(parameters_of()))
    assert (statement.adversary, statement.corruptions, statement.trusted) == ("semi-honest", 1, ())
    assert "below the minimum" in statement.learns["owner of keys only"]
