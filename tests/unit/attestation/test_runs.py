"""The digests of enclave runs are those of the specification, and sealed data open for their own key and context only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tallystick.attestation import runs

PAGE = (Path(__file__).parents[3] / "docs" / "spec" / "attestation.md").read_text()
KEYS = [bytes([1]) * 32, bytes([2]) * 32]


def test_the_specifications_vectors_recompute() -> None:
    found = dict(re.findall(r"^\| `(\w+)\([^|]*\| `([0-9a-f]{64})` \|$", PAGE, re.MULTILINE))
    assert found == {
        "key_digest": runs.key_digest(KEYS[0]).hex(),
        "input_context": runs.input_context(b"code", KEYS, 1).hex(),
        "output_context": runs.output_context(b"code", KEYS, [b"in"]).hex(),
        "run_digest": runs.run_digest(b"code", KEYS, [b"in"], [b"out", b"out"], [b"", b"state"]).hex(),
    }


def test_sealed_data_open_for_their_key_and_context_only() -> None:
    key = X25519PrivateKey.generate()
    context = runs.input_context(b"code", KEYS, 0)
    sealed = runs.seal(key.public_key().public_bytes_raw(), b"secret", context)
    assert len(sealed) == len(b"secret") + runs.OVERHEAD
    assert runs.unseal(key, sealed, context) == b"secret"
    for other, text, about in (
        (X25519PrivateKey.generate(), sealed, context),
        (key, sealed[:-1] + bytes([sealed[-1] ^ 1]), context),
        (key, sealed, runs.input_context(b"code", KEYS, 1)),
        (key, sealed, runs.input_context(b"code", KEYS[::-1], 0)),
        (key, sealed, runs.input_context(b"cod3", KEYS, 0)),
    ):
        with pytest.raises(InvalidTag):
            runs.unseal(other, text, about)


def test_groups_cannot_be_moved_into_one_another() -> None:
    values = [
        runs.run_digest(b"code", [b"a"], [b"b"], []),
        runs.run_digest(b"code", [], [b"a", b"b"], []),
        runs.run_digest(b"code", [b"a", b"b"], [], []),
        runs.run_digest(b"code", [], [], [b"a", b"b"]),
        runs.output_context(b"code", [b"a"], [b"b"]),
    ]
    assert len(set(values)) == len(values)


def test_a_sealed_state_opens_under_its_key_for_its_code_only() -> None:
    key = bytes(32)
    sealed = runs.seal_state(key, b"state", b"code")
    assert runs.unseal_state(key, sealed, b"code") == b"state"
    assert runs.seal_state(key, b"state", b"code") != sealed
    for other, text, code in (
        (b"\x01" * 32, sealed, b"code"),
        (key, sealed, b"cod3"),
        (key, sealed[:-1] + bytes([sealed[-1] ^ 1]), b"code"),
    ):
        with pytest.raises(InvalidTag):
            runs.unseal_state(other, text, code)
