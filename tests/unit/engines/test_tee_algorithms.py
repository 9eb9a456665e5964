"""Queries and modules in an enclave: what they give, that it is attested, what is refused, and by which limit they are stopped."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import duckdb
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tallystick.attestation import runs
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX, read_quote
from tallystick.attestation.references import ReferenceValues, SgxEnclave
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.verifier import Evidence, appraise
from tallystick_node.engines.tee import sql, wasm, worker
from tallystick_node.engines.tee.enclave import Enclave, EnclaveFailed, EnclaveRefused, TaskRun
from tallystick_node.engines.tee.manifest import EnclaveManifest, Limits
from tallystick_node.engines.tee.quoting import QuotingProcess
from tallystick_node.engines.tee.reasons import (
    AlgorithmFailed,
    AlgorithmRefused,
    NoGroupSize,
    NoResult,
    OutOfFuel,
    OutOfHeap,
    OutputTooLarge,
    TooFewRows,
)
from tallystick_node.engines.tee.tables import Column, Table, encode
from wasmtime import wat2wasm

NOW = int(time.time())
WINDOW = (NOW - 1_000, NOW + 100_000)
CONTEXT = b"\x07" * 32
LIMITS = Limits(memory=2 << 30, seconds=20, heap=64 << 20, fuel=10_000_000, output=10_000, minimum_group=2)


def table(name: str, amounts: list[int | None]) -> bytes:
    keys = Column("person", "string", 0, [f"P-{place}" for place in range(len(amounts))])
    return encode(Table(name, len(amounts), (keys, Column("amount", "decimal", 2, amounts))))


NORTH, SOUTH = table("north", [150, 250, None, 400]), table("south", [1, 2, 3])
JOINED = b"""SELECT count(*) AS group_size, sum(north.amount) AS north, sum(south.amount) AS south
FROM north JOIN south USING (person)"""
# counts the bytes of its input and adds them up, in the order that they come
SUM = wat2wasm("""(module
  (memory (export "memory") 1 8)
  (func (export "allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "run") (param $place i32) (param $size i32) (result i64) (local $sum i64) (local $end i32)
    (local.set $end (i32.add (local.get $place) (local.get $size)))
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $place))))
      (local.set $place (i32.add (local.get $place) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $place) (local.get $end))))
    (i64.store (i32.const 0) (local.get $sum))
    (i64.const 8)))""")


@pytest.fixture(scope="module")
def authority() -> ProvisioningAuthority:
    return ProvisioningAuthority(WINDOW)


@pytest.fixture(scope="module")
def quoting(authority: ProvisioningAuthority) -> Iterator[QuotingProcess]:
    with QuotingProcess(authority) as process:
        try:
            Enclave(of("sql", JOINED), process).__exit__(None, None, None)
        except EnclaveRefused as refused:
            if "not in force on this host" not in str(refused):
                raise
            pytest.skip(f"this host cannot confine an enclave: {refused}")
        yield process


def of(kind: str, algorithm: bytes, **limits: Any) -> EnclaveManifest:
    return EnclaveManifest(algorithm, bytes(32), kind=kind, limits=replace(LIMITS, **limits))


def commitments_of(*tables: bytes) -> list[bytes]:
    return [runs.commitment(bytes([place]) * 32, each) for place, each in enumerate(tables)]


def computed(quoting: QuotingProcess, asked: EnclaveManifest, *tables: bytes) -> tuple[bytes, Enclave, TaskRun]:
    receiver = X25519PrivateKey.generate()
    receivers, code = [receiver.public_key().public_bytes_raw()], CONTEXT + hashlib.sha256(asked.algorithm).digest()
    together = runs.inputs_digest(commitments_of(*tables))
    with Enclave(asked, quoting) as started:
        inputs = [
            runs.seal(started.public_key, bytes([place]) * 32 + together + each, runs.input_context(code, receivers, place))
            for place, each in enumerate(tables)
        ]
        run = started.compute(inputs, receivers, CONTEXT, 120)
    salted = runs.unseal(receiver, run.outputs[0], runs.output_context(code, receivers, commitments_of(*tables)))
    assert run.output == hashlib.sha256(salted).digest()
    return salted[32:], started, run


def test_a_query_joins_tables_of_owners_and_its_evidence_names_attempt_code_inputs_and_output(
    authority: ProvisioningAuthority, quoting: QuotingProcess
) -> None:
    asked = of("sql", JOINED)
    found, started, run = computed(quoting, asked, NORTH, SOUTH)
    assert found == b"group_size,north,south\n3,4.00,0.06\n"
    named = runs.task_digest(CONTEXT, hashlib.sha256(JOINED).digest(), commitments_of(NORTH, SOUTH), run.output)
    policy = AppraisalPolicy("simulated", simulations=frozenset({authority.fingerprint}))
    reference = SgxEnclave(asked.measurement, 0, asked.configuration(started.in_force))
    evidence = Evidence(run.quote, authority.collateral(SGX, WINDOW))
    key = hashlib.sha256(started.public_key).digest()
    assert appraise(evidence, ReferenceValues((reference,)), policy, named + key, NOW).strength == "attested, simulated"


def test_a_module_computes_on_the_same_bytes(quoting: QuotingProcess) -> None:
    found, _, _ = computed(quoting, of("wasm", SUM), NORTH, SOUTH)
    assert int.from_bytes(found, "little") == sum(NORTH + SOUTH)


REVIEWED = b"""
from tallystick_node.engines.tee.tables import decode

def run(inputs):
    return str([sum(cell or 0 for cell in decode(each).columns[1].cells) for each in inputs]).encode()
"""


@pytest.mark.slow
def test_a_reviewed_python_function_gets_the_tables(quoting: QuotingProcess) -> None:
    found, _, _ = computed(quoting, of("python", REVIEWED), NORTH, SOUTH)
    assert found == b"[800, 6]"
    with pytest.raises(EnclaveFailed) as failed:
        computed(quoting, of("python", REVIEWED, minimum_group=4), NORTH, SOUTH)
    assert failed.value.reason == "TooFewRows"


def test_an_input_is_used_with_those_that_its_owner_was_told_of_and_with_no_others() -> None:
    """The host has the sealed inputs, and can seal others as well as anybody."""
    key, receiver, algorithm = X25519PrivateKey.generate(), X25519PrivateKey.generate(), b"def run(inputs): return b''.join(inputs)"
    public, receivers = key.public_key().public_bytes_raw(), [receiver.public_key().public_bytes_raw()]
    code, salts = CONTEXT + hashlib.sha256(algorithm).digest(), [bytes([each]) * 32 for each in range(3)]
    settings = {"kind": "python", "minimum_group": 0, "output": 1 << 20, "frame": 1 << 20}

    def sealed(place: int, salt: bytes, data: bytes, told: list[bytes]) -> bytes:
        return runs.seal(public, salt + runs.inputs_digest(told) + data, runs.input_context(code, receivers, place))

    def used(*inputs: bytes) -> bytes:
        given = {worker.RECEIVER: receivers, worker.INPUT: list(inputs), worker.RELEASED: []}
        return worker.task(key, algorithm, given, CONTEXT, settings)[0]

    told = [runs.commitment(salts[0], NORTH), runs.commitment(salts[1], SOUTH)]
    north, south = sealed(0, salts[0], NORTH, told), sealed(1, salts[1], SOUTH, told)
    assert used(north, south)[32:] == b"".join(told)
    mine = runs.commitment(salts[2], SOUTH)
    for others in ([], [sealed(1, salts[2], SOUTH, told)], [sealed(1, salts[2], SOUTH, [told[0], mine])]):
        with pytest.raises(NoResult) as refused:
            used(north, *others)
        assert worker.reason(refused.value) == "OtherInputs"
    with pytest.raises(ValueError, match="no salt"):
        used(runs.seal(public, salts[0], runs.input_context(code, receivers, 0)))


STOPPED = {
    "fuel": ("wasm", SUM, {"fuel": 1_000}, "OutOfFuel"),
    "memory": ("sql", b"SELECT 9 AS group_size, array_agg(n) FROM range(9000000) AS r(n)", {}, "OutOfHeap"),
}


@pytest.mark.parametrize("name", ["fuel", pytest.param("memory", marks=pytest.mark.slow)])
def test_an_enclave_says_by_which_limit_it_was_stopped_and_no_more(quoting: QuotingProcess, name: str) -> None:
    kind, algorithm, limits, reason = STOPPED[name]
    with pytest.raises(EnclaveFailed) as failed:
        computed(quoting, of(kind, algorithm, **limits), NORTH, SOUTH)
    assert str(failed.value) == f"the enclave ended without a result: {reason}"


@pytest.fixture
def query(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """A query outside of an enclave, in the same configuration."""

    def ask(text: str, **limits: int) -> bytes:
        with duckdb.connect(":memory:", config=sql.CLOSED) as connection:
            monkeypatch.setattr(sql, "connection", connection)
            return sql.run(text.encode(), [NORTH, SOUTH], vars(replace(LIMITS, **limits)))

    return ask


REFUSED = {
    "SELECT * FROM read_text('/etc/hostname')": "reads what is no input",
    "SELECT * FROM query('SELECT 1')": "reads what is no input",
    "SELECT * FROM duckdb_settings()": "reads what is no input",
    "SELECT * FROM '/etc/hostname'": "is no input",
    "SELECT * FROM west": "is no input",
    "SELECT * FROM pg_catalog.pg_tables": "is no input",
    "SELECT random() FROM north": "something else each time",
    "SELECT (SELECT now())": "something else each time",
    "SELECT current_timestamp": "something else each time",
    "SELECT age(DATE '2000-01-01')": "something else each time",
    "SELECT * FROM north USING SAMPLE 1": "a sample",
    "SELECT 1; SELECT 2": "one statement",
    "": "one statement",
    "COPY north TO 'x'": "not a SELECT",
    "SET threads = 4": "not a SELECT",
    "ATTACH 'x'": "not a SELECT",
    "INSTALL httpfs": "not a SELECT",
    "DESCRIBE north": "not a SELECT",
    "WITH x AS (INSERT INTO north SELECT * FROM south RETURNING person) SELECT 9 AS group_size FROM x": "not a SELECT",
    "WITH x AS (UPDATE north SET amount = 0 RETURNING person) SELECT 9 AS group_size FROM x": "not a SELECT",
    "WITH x AS (DELETE FROM north RETURNING person) SELECT 9 AS group_size FROM x": "not a SELECT",
    "WITH x AS (COPY north TO 'x') SELECT 9 AS group_size": "not a SELECT",
    "SELECT (WITH duckdb_tables AS (SELECT 1) SELECT 9) AS group_size, sql FROM duckdb_tables": "is no input",
    "SELECT 9 AS group_size, pg_sleep(0)": "something else each time",
    "SELECT FROM": "not a SELECT",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_query_reads_nothing_but_its_tables_and_is_the_same_each_time(text: str, query: Callable[..., bytes]) -> None:
    with pytest.raises(AlgorithmRefused, match=REFUSED[text]):
        query(text)


def test_groups_below_the_minimum_are_left_out_and_a_result_without_sizes_is_none(query: Callable[..., bytes]) -> None:
    grouped = "SELECT amount > 2 AS more, count(*) AS group_size, sum(amount) AS total FROM north GROUP BY 1 ORDER BY 1"
    assert query(grouped) == b"more,group_size,total\ntrue,2,6.50\n"
    for text in (
        "SELECT count(*) FROM north",
        "SELECT 1.5 AS group_size",
        "SELECT NULL AS group_size",
        "SELECT true AS group_size",
    ):
        with pytest.raises(NoGroupSize):
            query(text)


def test_a_column_may_have_the_name_of_a_function_and_a_moment_may_not_be_called_like_a_column() -> None:
    sql.require_closed("SELECT age, now, north.user FROM north", {"north"})
    for name in ("current_date", "user", "localtime", '"CURRENT_USER"'):
        with pytest.raises(AlgorithmRefused, match="something else each time"):
            sql.require_closed(f"SELECT {name} FROM north", {"north"})


def test_queries_in_parts_are_queries_too(query: Callable[..., bytes]) -> None:
    text = """WITH RECURSIVE steps AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM steps WHERE n < 3),
        parts AS MATERIALIZED (SELECT n FROM steps INTERSECT (VALUES (2), (3)))
        SELECT 9 AS group_size, n FROM (FROM parts) WHERE EXISTS (SELECT 1 FROM north) ORDER BY n"""
    assert query(text) == b"group_size,n\n9,2\n9,3\n"


def test_a_query_reads_no_time_zone_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with duckdb.connect(":memory:", config=sql.CLOSED) as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        monkeypatch.setattr(sql, "connection", connection)
        found = sql.run(b"SELECT 9 AS group_size, to_timestamp(0)::VARCHAR AS at", [NORTH], vars(LIMITS))
    assert found == b"group_size,at\n9,1970-01-01 00:00:00+00\n"


def test_limits_and_failures_of_a_query_have_names(query: Callable[..., bytes]) -> None:
    for text, limits, kind in (
        (JOINED.decode(), {"minimum_group": 4}, TooFewRows),
        ("SELECT 9 AS group_size, repeat('x', 20000) FROM north", {}, OutputTooLarge),
        ("SELECT 9 AS group_size, person::INTEGER FROM north", {}, AlgorithmFailed),
        ("SELECT 9 AS group_size, [1, 2] AS list", {}, AlgorithmRefused),
    ):
        with pytest.raises(kind):
            query(text, **limits)


def module(body: str, more: str = "", memory: str = "1 8") -> bytes:
    return bytes(
        wat2wasm(f"""(module {more} (memory (export "memory") {memory})
        (func (export "allocate") (param i32) (result i32) (i32.const 1024))
        (func (export "run") (param i32 i32) (result i64) {body}))""")
    )


MODULES = {
    "no module": (JOINED, AlgorithmRefused),
    "an import": (module("(i64.const 0)", '(import "wasi_snapshot_preview1" "fd_write" (func))'), AlgorithmRefused),
    "other exports": (bytes(wat2wasm('(module (memory (export "memory") 1))')), AlgorithmRefused),
    "threads": (b"\0asm\1\0\0\0\5\4\1\3\1\1", AlgorithmRefused),
    "a trap": (module("unreachable"), AlgorithmFailed),
    "a loop": (module("(loop $on (br $on)) (i64.const 0)"), OutOfFuel),
    "too much output": (module("(i64.const 0x0000000000008000)"), OutputTooLarge),
    "output elsewhere": (module("(i64.const 0x7000000000000010)"), AlgorithmFailed),
    "memory at first": (module("(i64.const 0)", memory="2000"), OutOfHeap),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_may_not_run_or_fails_is_ended_by_name(name: str) -> None:
    algorithm, kind = MODULES[name]
    with pytest.raises(kind):
        wasm.run(algorithm, [NORTH], vars(LIMITS))


def test_a_module_cannot_grow_beyond_its_memory_and_gives_canonical_nans() -> None:
    grown = module("(i64.store (i32.const 0) (i64.extend_i32_s (memory.grow (i32.const 2000)))) (i64.const 8)", memory="1")
    assert wasm.run(grown, [NORTH], vars(LIMITS)) == b"\xff" * 8
    nan = module("(f64.store (i32.const 0) (f64.sqrt (f64.neg (f64.const nan:0x123)))) (i64.const 8)")
    assert wasm.run(nan, [NORTH], vars(LIMITS)) == (0x7FF8 << 48).to_bytes(8, "little")


def test_kind_limits_and_one_byte_of_the_query_are_measured() -> None:
    asked = of("sql", JOINED)
    for other in (of("sql", JOINED + b" "), of("sql", JOINED, fuel=1), of("sql", JOINED, minimum_group=1), of("wasm", JOINED)):
        assert other.measurement != asked.measurement
    assert of("sql", JOINED).measurement == asked.measurement


FORGER = b"""
import hashlib, sys

def run(inputs):
    frame = sys._getframe()
    while "channel" not in frame.f_locals:
        frame = frame.f_back
    key = hashlib.sha256(frame.f_locals["key"].public_key().public_bytes_raw()).digest()
    frame.f_globals["send"](frame.f_locals["channel"], b"Q", %s)
    return b""
"""


def test_a_function_cannot_have_evidence_made_of_another_run_than_its_own(quoting: QuotingProcess) -> None:
    """It shares the process that speaks to the launcher, and evidence of a confidential VM does not measure it."""
    another = runs.task_digest(bytes(32), hashlib.sha256(JOINED).digest(), [], bytes(32))
    whole = FORGER % (repr(another) + " + key + bytes(32)").encode()
    with Enclave(of("python", whole), quoting) as started, pytest.raises(EnclaveFailed):
        started.compute([], [], CONTEXT, 120)
    code = FORGER % repr(another).encode()
    with Enclave(of("python", code), quoting) as started:
        run = started.compute([], [], CONTEXT, 120)
    report = read_quote(run.quote).body.report_data
    assert report[:32] == runs.task_digest(CONTEXT, hashlib.sha256(code).digest(), [], another)
