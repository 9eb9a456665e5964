"""Datasets, terms, specs, statements, results: round trips, and one change at a time that must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tallystick.protocol import canonical, merkle
from tallystick.protocol.dataset import Column, DatasetDescriptor, dataset_id, schema_digest
from tallystick.protocol.errors import MalformedDocument, Refused
from tallystick.protocol.grant import FIELDS, Grant, GrantTerms
from tallystick.protocol.merkle import SortedPairTree
from tallystick.protocol.proof.sum_verified import point_of
from tallystick.protocol.result import Opening, ResultFile, opening_of
from tallystick.protocol.statement import Envelope, Statement, pae
from tallystick.protocol.task import TaskSpec, proposal_of
from unit.protocol.world import CHAIN, PARTIES, REQUESTER, START, World, make, salt

DESCRIPTOR = DatasetDescriptor(
    owner=PARTIES[0],
    name="Breast cancer",
    columns=(Column("age", "int64"), Column("mass", "decimal", 2, nullable=True), Column("name", "string")),
    rows=569,
    root=canonical.text(merkle.root([b"row"])),
    salt=salt("dataset"),
    created=START,
)
WORLD = make()
DOCUMENTS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "dataset": (DESCRIPTOR.to_bytes(), DatasetDescriptor.parse),
    "terms": (WORLD.terms[0].to_bytes(), GrantTerms.parse),
    "task": (WORLD.spec.to_bytes(), TaskSpec.parse),
    "statement": (WORLD.statement.to_bytes(), Statement.parse),
    "result": (WORLD.results[PARTIES[2]], ResultFile.parse),
    "envelope": (Envelope(CHAIN, WORLD.statement.to_bytes(), WORLD.signatures()).to_bytes(), Envelope.parse),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_round_trip(name: str) -> None:
    data, parse = DOCUMENTS[name]
    assert parse(data).to_bytes() == data


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict) and path[-1:] not in [("parameters",), ("values",), ("files",)]:
        return found + [place for key in value for place in places(value[key], (*path, key))]
    if isinstance(value, list):
        return found + [place for index, item in enumerate(value) for place in places(item, (*path, index))]
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_value_is_typed_and_every_key_required(name: str) -> None:
    data, parse = DOCUMENTS[name]
    for path in places(json.loads(data)):
        for change in ("remove", "null", "true", "float", "extra"):
            document = json.loads(data)
            parent = document
            for step in path[:-1]:
                parent = parent[step]
            if change == "remove" and isinstance(parent, dict):
                del parent[path[-1]]
            elif change == "extra" and isinstance(parent, dict):
                parent["zzz"] = 1
            elif change in ("null", "true"):
                value = None if change == "null" else True
                if parent[path[-1]] == value or path[-1] in ("opening", "nullable"):
                    continue
                parent[path[-1]] = value
            elif change == "float":
                parent[path[-1]] = "1.5" if isinstance(parent[path[-1]], int) else -1
            else:
                continue
            with pytest.raises(MalformedDocument):
                parse(canonical.encode(document))


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": ()},
        {"columns": (Column("a", "int64"), Column("a", "bool"))},
        {"columns": (Column("a", "float"),)},
        {"columns": (Column("a", "int64", 2),)},
        {"columns": (Column("a", "decimal"),)},
        {"columns": (Column("a", "decimal", 19),)},
        {"rows": -1},
        {"name": ""},
        {"name": "n" * 257},
        {"owner": PARTIES[0].lower()},
        {"root": "0x" + "0" * 64},
    ],
)
def test_descriptors_that_break_a_rule_have_no_bytes(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedDocument):
        replace(DESCRIPTOR, **changes).to_bytes()


def test_every_digest_of_a_dataset_depends_on_its_salt() -> None:
    other = replace(DESCRIPTOR, salt=salt("another"))
    assert other.digest() != DESCRIPTOR.digest()
    assert schema_digest(other) != schema_digest(DESCRIPTOR)
    assert DESCRIPTOR.id() == dataset_id(DESCRIPTOR.owner, DESCRIPTOR.digest()) != other.id()


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": WORLD.spec.inputs[::-1]},
        {"inputs": (WORLD.spec.inputs[0], WORLD.spec.inputs[0])},
        {"inputs": ()},
        {"receivers": ()},
        {"receivers": PARTIES[::-1]},
        {"compute": PARTIES[::-1]},
        {"compute": (PARTIES[0], PARTIES[0])},
        {"attempts": 0},
        {"attempts": 17},
        {"run_seconds": 0},
        {"accept_by": 2**40},
        {"proof": "trust-me"},
        {"chain_id": 0},
        {"parameters": {"share": 0.5}},
        {"parameters": {"lookups": 0}},
        {"parameters": {"lookups": 2**32}},
        {"parameters": {"lookups": True}},
    ],
)
def test_specs_that_break_a_rule_have_no_bytes(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedDocument):
        replace(WORLD.spec, **changes).to_bytes()


def test_a_proposal_has_the_parties_in_the_order_of_their_numbers() -> None:
    proposal = proposal_of(WORLD.spec)
    assert list(proposal.accounts) == PARTIES
    assert proposal.parties[2].grant == bytes(32)


@pytest.mark.parametrize(
    ("privacy", "micros"),
    [
        (None, 0), ({"epsilon": "0"}, 0), ({"epsilon": "3", "delta": "0.00001"}, 3_000_000), ({"epsilon": "0.25"}, 250_000),
        ({"epsilon": "0.000000000000001"}, 1), ({"epsilon": "1.0000001"}, 1_000_001),
        ({"epsilon": "9999999999999.999999999999999"}, 10**19),
    ],
)  # fmt: skip
def test_every_grant_is_debited_the_epsilon_of_the_parameters_rounded_up(privacy: Any, micros: int) -> None:
    spec = TaskSpec.parse(replace(WORLD.spec, parameters={"privacy": privacy}).to_bytes())
    assert [party.epsilon_micros for party in proposal_of(spec).parties] == [micros, micros, 0]
    assert spec.epsilon_micros == micros < 2**64


def test_every_grant_is_debited_a_use_for_each_lookup_and_one_where_there_are_none() -> None:
    for parameters, uses in (({}, 1), ({"lookups": 16}, 16)):
        spec = TaskSpec.parse(replace(WORLD.spec, parameters=parameters).to_bytes())
        assert [party.uses for party in proposal_of(spec).parties] == [uses, uses, 0]


def test_a_grant_may_allow_a_workloads_private_tasks_alone() -> None:
    private = replace(WORLD.spec, parameters={"privacy": {"epsilon": "1"}})
    assert private.algorithms == ("statistics", "statistics:private")
    named = replace(WORLD.spec, parameters={"model": {"task": "0x" + "ab" * 32}})
    assert named.algorithms == ("statistics", "statistics:0x" + "ab" * 32)
    assert replace(WORLD.spec, parameters={"model": {"name": "logistic"}}).algorithms == ("statistics",)
    given, terms = private.inputs[0], replace(WORLD.terms[0], algorithms=("statistics:private",))
    given = replace(given, terms=canonical.hex32(terms.root()))
    terms.permits(replace(private, inputs=(given, *private.inputs[1:])), given)
    for privacy in ({}, {"privacy": None}):
        with pytest.raises(Refused, match=r"'statistics' is not allowed"):
            terms.permits(replace(private, parameters=privacy), given)


@pytest.mark.parametrize(
    "privacy", [{}, 3, "3", [], {"epsilon": 3}, {"epsilon": "-1"}, {"epsilon": "1e3"}, {"epsilon": "03"}, {"epsilon": "1."}]
)
def test_privacy_without_an_epsilon_that_can_be_debited_is_no_spec(privacy: Any) -> None:
    with pytest.raises(MalformedDocument, match="every input's grant is debited it"):
        replace(WORLD.spec, parameters={"privacy": privacy}).to_bytes()


@pytest.mark.parametrize(
    ("rule", "spec", "given"),
    [
        ("grant.terms", {}, {"terms": "0x" + "0" * 64}),
        ("grant.dataset", {}, {"dataset": "0x" + "0" * 64}),
        ("grant.grantee", {"requester": PARTIES[0]}, {}),
        ("grant.purpose", {"purpose": "Quality of care"}, {}),
        ("grant.algorithm", {"workload": "training"}, {}),
        ("grant.columns", {}, {"columns": ("age", "name")}),
        ("grant.receivers", {"receivers": (PARTIES[0], PARTIES[2])}, {}),
    ],
)
def test_terms_refuse_by_rule(rule: str, spec: dict[str, Any], given: dict[str, Any], world: World) -> None:
    terms = world.terms[0]
    if rule == "grant.dataset":
        other = replace(terms, dataset="0x" + "1" * 64)
        assert other.root() == terms.root()  # the dataset is bound by the grant, not by the terms' root
    terms.permits(world.spec, world.spec.inputs[0])
    with pytest.raises(Refused) as caught:
        terms.permits(replace(world.spec, **spec), replace(world.spec.inputs[0], **given))
    assert caught.value.rule == rule
    assert caught.value.party == PARTIES[0]
    assert caught.value.remedy


def test_each_field_of_the_terms_opens_alone() -> None:
    terms = WORLD.terms[0]
    for name in FIELDS:
        SortedPairTree.verify(terms.leaf(name), terms.tree().proof(terms.leaf(name)), terms.root())
    assert len({terms.leaf(name) for name in FIELDS}) == len(FIELDS)


def test_grants_in_text_keep_64_bit_numbers() -> None:
    grant = replace(WORLD.grants[0], epsilon_micros=2**64 - 1)
    assert Grant.from_json(json.loads(canonical.encode(grant.to_json()))) == grant
    for wrong in ("", "-1", "01", str(2**64), 7):
        with pytest.raises(MalformedDocument):
            Grant.from_json({**grant.to_json(), "epsilon_micros": wrong})


def test_pre_authentication_encoding_of_the_dsse_specification() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (b"DSSEv1 29 http://example.com/HelloWorld 11 hello world")


@pytest.mark.parametrize("keyid", ["eip155:1", f"eip155:01:{REQUESTER}", f"x:1:{REQUESTER}", "eip155:1:0x0", "a:b:c:d"])
def test_keyids_that_name_no_account(keyid: str) -> None:
    document = json.loads(DOCUMENTS["envelope"][0])
    document["signatures"] = [{**document["signatures"][0], "keyid": keyid}]
    with pytest.raises(MalformedDocument):
        Envelope.parse(canonical.encode(document))


def test_envelopes_have_each_signature_once_in_order() -> None:
    document = json.loads(DOCUMENTS["envelope"][0])
    signatures = document["signatures"]
    for wrong in (signatures[::-1], [signatures[0], signatures[0]], []):
        with pytest.raises(MalformedDocument):
            Envelope.parse(canonical.encode({**document, "signatures": wrong}))


@pytest.mark.parametrize("text", ["", "bn254:", "sha256:" + "0" * 64, "bn254:" + "01" * 64, "bn254:" + "G" * 128])
def test_texts_that_are_no_commitment(text: str) -> None:
    with pytest.raises(MalformedDocument):
        point_of(text)


def test_openings_keep_large_and_negative_integers() -> None:
    opening = opening_of([2**200, -3, 0], 2**253)
    assert Opening.from_json(json.loads(canonical.encode(opening.to_json()))) == opening
    for wrong in ("-0", "1.0", "01", "", "1" * 101):
        with pytest.raises(MalformedDocument):
            Opening.from_json({"totals": [wrong], "blinding": "0"})
