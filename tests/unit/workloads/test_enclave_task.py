"""The workload `enclave`: what a task may ask for, what everybody is told of it, and how an owner's table is written."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from eth_utils.address import to_checksum_address
from tallystick.attestation.documents import read_policy, write_policy
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick.protocol.task import Security, TaskInput, TaskSpec
from tallystick_node.engines.tee.reasons import NAMES
from tallystick_node.engines.tee.tables import decode
from tallystick_node.workloads.enclave.parameters import Parameters
from tallystick_node.workloads.enclave.trial import mock
from tallystick_node.workloads.enclave.workload import EnclaveTask, encoded, named
from wasmtime import wat2wasm

NORTH, SOUTH = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
HOST = "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB"
QUERY = "SELECT count(*) AS group_size FROM north JOIN south USING (person)"
MODULE = bytes(wat2wasm("(module)"))
ID = "0x" + "11" * 32


def digest(code: bytes) -> str:
    return "sha256:" + hashlib.sha256(code).hexdigest()


def parameters(**change: Any) -> dict[str, Any]:
    return {
        "algorithm": {"kind": "sql", "content": QUERY},
        "enclave": {"algorithm": digest(QUERY.encode()), "identities": ["sha256:" + "22" * 32]},
        "attestation": {"family": "simulated", "authority": "0x" + "33" * 32},
        "tables": [{"party": NORTH, "name": "north"}, {"party": SOUTH, "name": "south"}],
        "limits": {"memory_mib": 64, "seconds": 30, "fuel": 0, "output_bytes": 1000},
        "minimum_group": 10,
        **change,
    }


def module(**change: Any) -> dict[str, Any]:
    made = {
        "algorithm": {"kind": "wasm", "content": base64.b64encode(MODULE).decode()},
        "enclave": {"algorithm": digest(MODULE), "identities": ["sha256:" + "22" * 32]},
        "limits": {"memory_mib": 64, "seconds": 30, "fuel": 5, "output_bytes": 1000},
    }
    return parameters(**made | change)


def spec(given: dict[str, Any] | None = None, **change: Any) -> TaskSpec:
    inputs = tuple(TaskInput(party, ID, ID, ID, ("person",)) for party in (NORTH, SOUTH))
    made = TaskSpec(
        chain_id=31337,
        task_ledger=NORTH,
        requester=NORTH,
        workload="enclave",
        parameters=given or parameters(),
        purpose="test",
        inputs=inputs,
        receivers=(NORTH,),
        compute=(HOST,),
        security=Security("semi-honest", 0),
        proof="signed-by-all",
        accept_by=2_000_000_000,
        run_seconds=60,
        attempts=1,
        salt=ID,
    )
    return replace(made, **change)


def test_a_task_names_code_enclaves_root_tables_and_host() -> None:
    asked = spec()
    assert TaskSpec.parse(asked.to_bytes()) == asked
    EnclaveTask().check(asked)
    EnclaveTask().check(spec(module()))
    enclosed = EnclaveTask().enclave(asked)
    assert (enclosed.host, enclosed.authority) == (HOST, b"\x33" * 32)
    assert Parameters.parse(module()).code == MODULE


def learned(description: dict[str, Any], **change: Any) -> dict[str, Any]:
    text = json.dumps(description)
    enclave = {"algorithm": digest(text.encode()), "identities": ["sha256:" + "22" * 32]}
    return parameters(algorithm={"kind": "learn", "content": text}, enclave=enclave, **change)


TRAINING = {
    "do": "train",
    "combine": "join",
    "key": "person",
    "features": ["north.age"],
    "label": "south.late",
    "estimator": {"name": "LogisticRegression"},
    "standardise": True,
    "held_out": 20,
    "seed": 7,
    "give": "model",
}
COLUMNS = {NORTH: ("age", "person"), SOUTH: ("late", "person")}


def trained(description: dict[str, Any], columns: dict[str, tuple[str, ...]] = COLUMNS) -> TaskSpec:
    inputs = tuple(TaskInput(party, ID, ID, ID, columns[party]) for party in (NORTH, SOUTH))
    return spec(learned(description), inputs=inputs)


def test_a_training_is_read_before_anybody_runs_it() -> None:
    asked = trained(TRAINING)
    EnclaveTask().check(asked)
    assert TaskSpec.parse(asked.to_bytes()) == asked
    assert "says what is fitted" in EnclaveTask().security(asked).trusted[2]
    rows = {NORTH: 100, SOUTH: 100}
    assert EnclaveTask().cost(asked, rows).seconds > EnclaveTask().cost(spec(), rows).seconds
    for description, columns, words in (
        (TRAINING | {"do": "run"}, COLUMNS, "do: one of"),
        (TRAINING | {"features": ["west.age"]}, COLUMNS, "'west' is no table"),
        (TRAINING, COLUMNS | {SOUTH: ("person",)}, f"reads the column 'late' of {SOUTH}"),
        ({"do": "predict", "combine": "join", "key": "person", "model": "south"}, COLUMNS, f"the column 'part' of {SOUTH}"),
    ):
        with pytest.raises(InvalidTask, match=words):
            EnclaveTask().check(trained(description, columns))


def test_a_grant_may_name_the_code_and_one_byte_is_another_code() -> None:
    assert f"enclave:{digest(QUERY.encode())}" in spec().algorithms
    with pytest.raises(InvalidTask, match="SHA-256 of the algorithm"):
        EnclaveTask().check(spec(parameters(algorithm={"kind": "sql", "content": QUERY + " "})))


HARD = {"family": "hardware", "policy": json.loads(write_policy(AppraisalPolicy("joint", minimum_evaluation=17)))}


def test_a_task_may_ask_for_hardware_by_a_policy_that_all_parties_use() -> None:
    asked = spec(parameters(attestation=HARD), proof="attested-hardware")
    assert TaskSpec.parse(asked.to_bytes()) == asked
    EnclaveTask().check(asked)
    EnclaveTask().check(spec(parameters(attestation=HARD)))
    assert EnclaveTask().enclave(asked).authority is None
    found = Parameters.parse(asked.parameters)
    assert (found.family, found.policy.minimum_evaluation, found.policy.simulations) == ("hardware", 17, frozenset())
    stated = EnclaveTask().security(asked)
    assert "attested, hardware" in stated.learns["host"] and "simulated" not in str(stated)
    assert "attested, simulated" in EnclaveTask().security(spec()).learns["host"]


def own(**change: Any) -> dict[str, Any]:
    return {"family": "hardware", "policy": json.loads(write_policy(AppraisalPolicy("joint", **change)))}


REFUSED: dict[str, Callable[[], TaskSpec]] = {
    "family": lambda: spec(parameters(attestation={"family": "sgx", "authority": ID})),
    "identities": lambda: spec(
        parameters(enclave={"algorithm": digest(QUERY.encode()), "identities": ["sha256:" + "22" * 32, "sha256:" + "11" * 32]})
    ),
    "algorithm.kind": lambda: spec(parameters(algorithm={"kind": "lisp", "content": QUERY})),
    "as base64": lambda: spec(module(algorithm={"kind": "wasm", "content": "AGFzbR=="})),
    "a module": lambda: spec(
        module(
            algorithm={"kind": "wasm", "content": base64.b64encode(b"no").decode()},
            enclave={"algorithm": digest(b"no"), "identities": ["sha256:" + "22" * 32]},
        )
    ),
    "limits.fuel": lambda: spec(parameters(limits={"memory_mib": 64, "seconds": 30, "fuel": 5, "output_bytes": 1000})),
    "how many instructions": lambda: spec(module(limits={"memory_mib": 64, "seconds": 30, "fuel": 0, "output_bytes": 1000})),
    "memory_mib": lambda: spec(parameters(limits={"memory_mib": 8, "seconds": 30, "fuel": 0, "output_bytes": 1000})),
    "minimum_group": lambda: spec(parameters(minimum_group=1)),
    "of another name": lambda: spec(parameters(tables=[{"party": NORTH, "name": "t"}, {"party": SOUTH, "name": "T"}])),
    "owners of the tables": lambda: spec(parameters(tables=[{"party": NORTH, "name": "north"}])),
    "one party, the host": lambda: spec(compute=()),
    "names no roots": lambda: spec(parameters(attestation=own(simulations=frozenset({bytes(32)})))),
    "and keys of its own": lambda: spec(parameters(attestation=own(cca_platforms=frozenset({bytes(32)})))),
    "attestation.policy": lambda: spec(parameters(attestation={"family": "hardware", "policy": {"name": "x"}})),
    "attestation": lambda: spec(parameters(attestation={"family": "hardware", "authority": ID})),
    "may not have": lambda: spec(parameters(attestation={**HARD, "authority": ID})),
    "proof attested-simulated is of another family": lambda: spec(parameters(attestation=HARD), proof="attested-simulated"),
    "proof attested-hardware is of another family": lambda: spec(proof="attested-hardware"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_no_task_may_ask_for_is_refused_by_name(words: str) -> None:
    with pytest.raises(InvalidTask, match=words.replace(".", r"\.")):
        EnclaveTask().check(REFUSED[words]())


def test_the_statement_promises_nothing_against_the_host_and_says_simulated() -> None:
    statement = EnclaveTask().security(spec())
    assert statement.corruptions == 0
    assert HOST in statement.trusted[0] and "attested, simulated" in statement.trusted[0]
    assert "attested, simulated" in statement.learns["host"]
    source = spec(parameters(algorithm={"kind": "python", "content": QUERY}))
    assert "nothing keeps it from" in EnclaveTask().security(source).trusted[2]


def test_every_end_of_an_enclave_has_words_and_a_remedy() -> None:
    for reason in (*NAMES, "InvalidTag", "SIGSYS", "Deadline"):
        error = named(reason)
        assert isinstance(error, InvalidData | OutputRefused) and error.message and error.remedy
    assert "limits.fuel" in named("OutOfFuel").message


def test_a_table_is_written_as_its_columns_are_typed() -> None:
    fields = [
        pa.field("n", pa.int64()),
        pa.field("d", pa.int64(), metadata={"scale": "2"}),
        pa.field("t", pa.date32()),
        pa.field("b", pa.bool_()),
        pa.field("s", pa.string()),
    ]
    cells = [[1, None], [150, None], [dt.date(1970, 1, 2), None], [True, None], ["ö", None]]
    arrays = [pa.array(each, field.type) for each, field in zip(cells, fields, strict=True)]
    found = decode(encoded("north", pa.table(arrays, schema=pa.schema(fields))))
    assert [(each.type, each.scale, list(each.cells)) for each in found.columns] == [
        ("int64", 0, [1, None]),
        ("decimal", 2, [150, None]),
        ("date", 0, [1, None]),
        ("bool", 0, [1, None]),
        ("string", 0, ["ö", None]),
    ]


def test_mock_data_are_typed_by_their_cells() -> None:
    text = "n,d,t,b,s,m\n1,1.5,1970-01-02,true,007,1\n,-2,1970-01-03,false,,x\n"
    found = mock("north", text)
    assert [(each.type, each.scale, list(each.cells)) for each in found.columns] == [
        ("int64", 0, [1, None]),
        ("decimal", 1, [15, -20]),
        ("date", 0, [1, 2]),
        ("bool", 0, [1, 0]),
        ("string", 0, ["007", None]),
        ("string", 0, ["1", "x"]),
    ]
    for bad in ("", "n,m\n1\n", "n\n"):
        with pytest.raises(InvalidData, match="no CSV"):
            mock("north", bad)


VERIFIERS = tuple(to_checksum_address(f"0x{number:040x}") for number in (0xA1, 0xA2))


def vouched(**change: Any) -> TaskSpec:
    """A task that verifiers vouch for; ``change`` of what it says of them, by ``attestation``, or of the spec."""
    stated = change.pop("attestation", HARD)
    policy = read_policy(json.dumps(stated["policy"]).encode())
    terms = {"verifiers": list(VERIFIERS), "threshold": 2, "policy": "sha256:" + policy.digest.hex()}
    terms |= change.pop("terms", {})
    return spec(parameters(attestation=stated, quorum=terms), **{"proof": "attested-hardware-quorum", **change})


def test_a_task_may_name_verifiers_that_vouch_for_its_hardware() -> None:
    asked = vouched()
    assert TaskSpec.parse(asked.to_bytes()) == asked
    EnclaveTask().check(asked)
    terms = Parameters.parse(asked.parameters).quorum
    assert terms is not None and (terms.verifiers, terms.threshold) == (VERIFIERS, 2)
    assert EnclaveTask().enclave(asked).environments == ()  # the chain's list counts
    assert "that no 2 of the 2 verifiers vouch" in EnclaveTask().security(asked).trusted[-1]
    EnclaveTask().check(vouched(attestation=own(cca_platforms=frozenset({bytes(32)}))))  # no maker's root, so verifiers alone


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("and only with it", {"proof": "attested-hardware"}),
        ("not the digest of parameters.attestation.policy", {"terms": {"policy": "sha256:" + "11" * 32}}),
        ("is a party of the task", {"compute": (VERIFIERS[0],)}),
        ("threshold", {"terms": {"threshold": 1}}),
        ("verifiers", {"terms": {"verifiers": list(reversed(VERIFIERS))}}),
        ("names no roots", {"attestation": own(simulations=frozenset({bytes(32)}))}),
    ],
)
def test_verifiers_that_cannot_count_are_refused(words: str, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask, match=words.replace(".", r"\.")):
        EnclaveTask().check(vouched(**change))


def test_a_quorum_goes_with_its_kind_of_proof_and_vouches_for_no_simulation() -> None:
    with pytest.raises(InvalidTask, match="and only with it"):
        EnclaveTask().check(spec(parameters(attestation=HARD), proof="attested-hardware-quorum"))
    terms = {"verifiers": list(VERIFIERS), "threshold": 2, "policy": "sha256:" + Parameters.parse(parameters()).policy.digest.hex()}
    with pytest.raises(InvalidTask, match="of another family"):
        EnclaveTask().check(spec(parameters(quorum=terms), proof="attested-hardware-quorum"))
