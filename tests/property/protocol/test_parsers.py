# ruff: noqa: E501 - lists of hostile inputs read better in rows
"""Hostile bytes: whatever arrives, a parser gives a document or raises our own error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.protocol import canonical, receipts
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.case import parse_grants
from tallystick.protocol.dataset import DatasetDescriptor
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.facts import BundleFacts, ChainEvidence
from tallystick.protocol.grant import GrantTerms
from tallystick.protocol.identity import Certificate
from tallystick.protocol.result import ResultFile
from tallystick.protocol.signature import recover
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import TaskSpec
from tallystick.protocol.verify import verify_bundle
from unit.protocol.world import ACCOUNTS, CHAIN, PARTIES, START, make, salt

WORLD = make()
BUNDLE = WORLD.bundle()
RECORD = AuditRecord(CHAIN, PARTIES[0], 0, START, "run", "", "", "", "", "m", {}).signed(ACCOUNTS[0].sign)
DATASET = (
    b'{"columns":[{"name":"a","nullable":false,"type":"int64"}],"created":1,"name":"n","owner":"' + PARTIES[0].encode()
    + b'","root":"sha256:' + b"0" * 64 + b'","rows":1,"salt":"' + salt("x").encode() + b'","type":"tallystick.dataset/1"}'
)  # fmt: skip
PARSERS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "dataset": (DATASET, DatasetDescriptor.parse),
    "terms": (next(iter(BUNDLE.terms.values())), GrantTerms.parse),
    "task": (BUNDLE.spec, TaskSpec.parse),
    "grants": (BUNDLE.grants, parse_grants),
    "statement": (WORLD.statement.to_bytes(), Statement.parse),
    "envelope": (BUNDLE.statement, Envelope.parse),
    "result": (WORLD.results[PARTIES[2]], ResultFile.parse),
    "audit": (RECORD.to_bytes(), AuditRecord.parse),
    "chain": (BUNDLE.chain, lambda data: BundleFacts(ChainEvidence.parse(data))),
    "certificate": (WORLD.authority.der, Certificate.parse),
    "pem": (WORLD.certificates[PARTIES[0]].pem, Certificate.parse),
    "header": (WORLD.blocks()[0].header, receipts.Header.parse),
    "receipt": (WORLD.blocks()[0].receipts[0], receipts.parse_receipt),
    "zip": (BUNDLE.to_zip(), Bundle.of_zip),
}


def parse(parser: Callable[[bytes], Any], data: bytes) -> None:
    try:
        parser(data)
    except MalformedDocument as error:
        assert error.message


@pytest.mark.parametrize("name", PARSERS)
def test_the_seed_of_each_parser_is_read(name: str) -> None:
    data, parser = PARSERS[name]
    parser(data)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60)
@given(data=st.binary(max_size=300))
def test_random_bytes(name: str, data: bytes) -> None:
    parse(PARSERS[name][1], data)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60)
@given(where=st.floats(0, 1, exclude_max=True), patch=st.binary(min_size=1, max_size=6), cut=st.integers(0, 6))
def test_mutated_bytes(name: str, where: float, patch: bytes, cut: int) -> None:
    seed, parser = PARSERS[name]
    at = int(where * len(seed))
    parse(parser, seed[:at] + patch + seed[at + cut :])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="ascii"), max_size=6), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200)
@given(JSON)
def test_canonical_round_trip(value: Any) -> None:
    data = canonical.encode(value)
    assert canonical.decode(data, 1 << 20) == value
    assert canonical.encode(json.loads(data)) == data


@pytest.mark.parametrize("name", ["dataset", "terms", "task", "statement", "envelope", "result", "audit", "grants", "chain"])
@settings(max_examples=60)
@given(data=st.data())
def test_any_value_replaced_by_any_json(name: str, data: st.DataObject) -> None:
    seed, parser = PARSERS[name]
    document = json.loads(seed)
    parent: Any = document
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(parent[key], (dict, list)) and parent[key] and data.draw(st.booleans()):
            parent = parent[key]
            continue
        parent[key] = data.draw(JSON)
        break
    parse(parser, canonical.encode(document))


@settings(max_examples=40)
@given(
    name=st.sampled_from(["spec", "grants", "authority", "statement", "proof", "chain"]),
    where=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
)
def test_verification_reports_and_never_raises(name: str, where: float, flip: int) -> None:
    data = bytearray(getattr(BUNDLE, name))
    data[int(where * len(data))] ^= flip
    report = verify_bundle(replace(BUNDLE, **{name: bytes(data)}), trusted_blocks=[WORLD.head()])
    assert len(report.rules) == 20
    # A change of one byte of PEM text may leave the certificate as it is; every other change is found.
    assert not report.ok or name == "authority"


@settings(max_examples=100)
@given(st.binary(max_size=70), st.binary(min_size=32, max_size=32))
def test_signatures_of_any_bytes(signature: bytes, digest: bytes) -> None:
    assert recover(digest, signature) not in PARTIES
