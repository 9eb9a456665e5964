"""Evidence, reference values and policies as JSON documents, to be kept with a task, sent to an auditor, or written by hand.

::

    {"document": "tallystick/evidence", "version": 1, "family": "snp",
     "evidence": "<base64>", "endorsements": {"leaf": "<base64>", "chain": "<base64>", "crl": null}}
    {"document": "tallystick/references", "version": 1, "accepted": [{"kind": "sgx-enclave", "mrenclave": "<hex>", ...}]}
    {"document": "tallystick/policy", "version": 1, "name": "...", "advisories": ["INTEL-SA-00615"], ...}

Reading is strict: unknown members, wrong types, and text that is not the one encoding of its bytes break rule 106.
Members that have a default may be left out. Writing gives one text for one value.
"""

from __future__ import annotations

import base64
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

from tallystick.attestation.cca import CcaEndorsements
from tallystick.attestation.collateral import DcapCollateral
from tallystick.attestation.hygon import CsvEndorsements
from tallystick.attestation.nitro import NitroEndorsements
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.reading import Fields, plain, read_json
from tallystick.attestation.references import (
    CcaRealm,
    CsvGuest,
    Identified,
    NitroEnclave,
    Reference,
    ReferenceValues,
    SgxEnclave,
    SgxProduct,
    SnpGuest,
    TrustDomain,
)
from tallystick.attestation.rules import EvidenceRefused, Rule, refusing, require
from tallystick.attestation.snp import SnpEndorsements
from tallystick.attestation.verifier import Endorsements, Evidence

VERSION = 1
MAX_DOCUMENT = 4 << 20

_FAMILIES: Mapping[str, type[Endorsements]] = {
    "dcap": DcapCollateral,
    "snp": SnpEndorsements,
    "nitro": NitroEndorsements,
    "csv": CsvEndorsements,
    "cca": CcaEndorsements,
}
_KINDS: Mapping[str, type[Reference]] = {
    "sgx-enclave": SgxEnclave,
    "sgx-product": SgxProduct,
    "trust-domain": TrustDomain,
    "identified": Identified,
    "snp-guest": SnpGuest,
    "nitro-enclave": NitroEnclave,
    "csv-guest": CsvGuest,
    "cca-realm": CcaRealm,
}


def write_evidence(evidence: Evidence) -> bytes:
    """The document of ``evidence`` with its endorsements."""
    family = next(name for name, kind in _FAMILIES.items() if isinstance(evidence.endorsements, kind))
    endorsements = {item.name: _base64(getattr(evidence.endorsements, item.name)) for item in fields(evidence.endorsements)}
    return _document("evidence", {"family": family, "evidence": _base64(evidence.raw), "endorsements": endorsements})


def read_evidence(document: bytes) -> Evidence:
    """The evidence of a document. Nothing in it is verified yet."""
    value = _open(document, "evidence", {"family", "evidence", "endorsements"})
    family, given = value.get("family"), value.get("endorsements")
    kind = _FAMILIES.get(family) if isinstance(family, str) else None
    if kind is None or not isinstance(given, dict) or set(given) != {item.name for item in fields(kind)}:
        raise EvidenceRefused(Rule.ENDORSEMENT, "the document's family is unknown, or its endorsements are not that family's")
    hints = typing.get_type_hints(kind)
    parts: dict[str, Any] = {
        name: None if text is None and _optional(hints[name]) else _bytes(text) for name, text in given.items()
    }
    return Evidence(_bytes(value.get("evidence")), kind(**parts))


def write_references(references: ReferenceValues) -> bytes:
    """The document of ``references``."""
    names = {kind: name for name, kind in _KINDS.items()}
    return _document("references", {"accepted": [{"kind": names[type(item)], **_members(item)} for item in references.accepted]})


def read_references(document: bytes) -> ReferenceValues:
    """The reference values of a document."""
    value = _open(document, "references", {"accepted"})
    accepted = []
    for item in Fields(value, "references").items("accepted", 1024):
        name = item.get("kind") if isinstance(item, dict) else None
        kind = _KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise EvidenceRefused(Rule.ENDORSEMENT, "a reference value is of an unknown kind")
        accepted.append(_build(kind, {name: member for name, member in item.items() if name != "kind"}))
    return ReferenceValues(tuple(accepted))


def write_policy(policy: AppraisalPolicy) -> bytes:
    """The document of ``policy``."""
    return _document("policy", _members(policy))


def read_policy(document: bytes) -> AppraisalPolicy:
    """The policy of a document."""
    value = _open(document, "policy", {item.name for item in fields(AppraisalPolicy)})
    policy: AppraisalPolicy = _build(AppraisalPolicy, value)
    return policy


def _document(name: str, members: Mapping[str, Any]) -> bytes:
    value = {"document": f"tallystick/{name}", "version": VERSION, **members}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _open(document: bytes, name: str, members: set[str]) -> dict[str, Any]:
    value = read_json(document, f"the {name} document", MAX_DOCUMENT)
    kind, version = value.pop("document", None), value.pop("version", None)
    known = kind == f"tallystick/{name}" and type(version) is int and version == VERSION
    require(known, Rule.VERSION, f"this is not a document of {name}, version {VERSION}")
    require(set(value) <= members, Rule.ENDORSEMENT, f"the {name} document has unknown members")
    return value


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: object) -> bytes:
    with refusing(Rule.ENDORSEMENT, "a member is not base64"):
        data = base64.b64decode(str(text), validate=True)
        require(base64.b64encode(data).decode() == text, Rule.ENDORSEMENT, "a member is not the one base64 of its bytes")
        return data


def _members(value: Any) -> dict[str, Any]:
    return {item.name: plain(getattr(value, item.name)) for item in fields(value)}


def _optional(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)


def _build(kind: Any, value: object) -> Any:
    """A dataclass from its members; its own checks' ``ValueError`` becomes a refusal."""
    if not isinstance(value, dict):
        raise EvidenceRefused(Rule.ENDORSEMENT, "a member is not an object")
    hints, known = typing.get_type_hints(kind), {item.name: item for item in fields(kind)}
    require(set(value) <= set(known), Rule.ENDORSEMENT, "an object has unknown members")
    needed = {name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING}
    require(needed <= set(value), Rule.ENDORSEMENT, "an object lacks members")
    with refusing(Rule.ENDORSEMENT, "an object's members do not fit together"):
        return kind(**{name: _typed(hints[name], item) for name, item in value.items()})


def _typed(hint: Any, value: Any) -> Any:
    """``value`` as the annotation ``hint`` asks for: bytes are hexadecimal, sets and tuples are lists, map keys are texts."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    refusal = EvidenceRefused(Rule.ENDORSEMENT, "a member is of another type")
    if hint in (int, str, bool):
        if type(value) is not hint:
            raise refusal
        return value
    if hint is bytes:
        with refusing(Rule.ENDORSEMENT, "a member is not hexadecimal"):
            data = bytes.fromhex(value)
            require(data.hex() == value, Rule.ENDORSEMENT, "a member is not lower-case hexadecimal")
            return data
    if origin in (frozenset, tuple):
        if not isinstance(value, list):
            raise refusal
        if origin is tuple and arguments[-1] is not Ellipsis:
            require(len(value) == len(arguments), Rule.ENDORSEMENT, "a list has another length")
            return tuple(_typed(argument, item) for argument, item in zip(arguments, value, strict=True))
        items = [_typed(arguments[0], item) for item in value]
        require(origin is tuple or len(set(items)) == len(items), Rule.ENDORSEMENT, "an item of a set stands twice")
        return origin(items)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise refusal
        key, item = arguments
        return {_key(key, name): _typed(item, member) for name, member in value.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        with refusing(Rule.ENDORSEMENT, "a member is not a known word"):
            return hint(value)
    return _build(hint, value)


def _key(hint: Any, name: str) -> Any:
    if hint is str:
        return name
    require(name.isdecimal() and str(int(name)) == name, Rule.ENDORSEMENT, "a key is not a number")
    return int(name)
