"""The test vectors of docs/spec, recomputed from their description."""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from pathlib import Path

from eth_utils.crypto import keccak
from tallystick.commitments import projection
from tallystick.protocol import canonical, merkle, typed
from tallystick.protocol.grant import GrantTerms, Salts
from tallystick.protocol.task import PROOFS

SPEC = Path(__file__).parents[3] / "docs/spec"


def page(name: str) -> str:
    return (SPEC / name).read_text(encoding="utf-8")


def test_canonical() -> None:
    for domain in ("task", "dataset"):
        assert f'| `digest("{domain}", "{{}}")` | `{canonical.text(canonical.digest(domain, b"{}"))}` |' in page("canonical.md")


def test_terms() -> None:
    one = "0x" + "0" * 39 + "1"
    salts = Salts(*(f"0x{number:02x}" + f"{number:02x}" * 31 for number in (1, 2, 3, 4)))
    terms = GrantTerms("0x" + "0" * 64, one, "research", ("statistics",), ("age",), (one,), salts)
    assert f"`{canonical.hex32(terms.root())}`" in page("grant.md")


def test_kinds_and_type_hashes() -> None:
    text = page("task.md")
    for name in PROOFS:
        assert f"| kind of `{name}` | `0x{typed.proof_kind(name).hex()}` |" in text
    for kind in (typed.PARTY_TYPE, typed.PROPOSAL_TYPE, typed.RESULT_TYPE, typed.GRANT_TYPE):
        assert f"| type hash of {kind.partition('(')[0]} | `0x{keccak(kind.encode()).hex()}` |" in text
        assert kind.removesuffix(typed.PARTY_TYPE) or kind == typed.PARTY_TYPE
    for kind in (
        typed.ENROLMENT_TYPE,
        typed.POSSESSION_TYPE,
        typed.ACCEPTANCE_TYPE,
        typed.RESULT_TYPE,
        typed.GRANT_TYPE,
    ):
        assert kind in page("identity.md")


def test_projections() -> None:
    root = projection.root([projection.encode([1, 2, 3])])
    challenge = projection.challenge(b"\1" * 32, [root, bytes(32)], root)
    points = projection.points(challenge)
    text = page("statement.md")
    for value in (
        root.hex(),
        challenge.hex(),
        *(", ".join(map(str, each)) for each in (points, projection.project([1, 2, 3], points))),
    ):
        assert f"`{value}`" in text


def test_rows() -> None:
    text = page("dataset.md")
    encoded = [bytes.fromhex(found) for found in re.findall(r"^\| \d \| .* \| `([0-9a-f]+)` \|$", text, re.MULTILINE)]
    name = "Zoë".encode()
    first = b"\1" + struct.pack(">q", -1) + b"\1" + struct.pack(">q", 7150)
    first += b"\1" + struct.pack(">I", len(name)) + name + b"\1\1" + b"\1" + struct.pack(">i", 19000)
    assert len(encoded) == 3
    assert encoded[0] == first
    salts = [hmac.new(b"\x2a" * 32, struct.pack(">Q", index), hashlib.sha256).digest() for index in range(3)]
    root = merkle.root([salt + row for salt, row in zip(salts, encoded, strict=True)])
    assert f"`{canonical.text(root)}`" in text
