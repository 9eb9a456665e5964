"""Pairings, keys and proofs of Groth16 against py_ecc, snarkjs, and what hostile bytes may be."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc import optimized_bn128 as curve
from tallystick.commitments import bn254, bn254_pairing, groth16, snarkjs
from tallystick.commitments.bn254 import ORDER, P
from tallystick.commitments.bn254_pairing import GENERATOR
from tallystick.commitments.groth16 import Groth16Proof, Groth16Refused, VerifyingKey
from unit.protocol import groth16_world as oracle

ONE = (1, 2)
FOLDER = Path(__file__).parents[2] / "vectors" / "groth16"
FILES = {name: (FOLDER / f"{name}.json").read_bytes() for name in ("verification_key", "proof", "public", "without_second_phase")}
SIZE = 448 + 3 * 64


@pytest.fixture(scope="module")
def key() -> VerifyingKey:
    return VerifyingKey.parse(oracle.ceremony()[1])


@pytest.fixture(scope="module")
def proof() -> Groth16Proof:
    return Groth16Proof.parse(oracle.encoded(*oracle.prove(oracle.ceremony()[2], 12345, 7)))


@given(st.integers(min_value=0, max_value=2 * ORDER))
@settings(max_examples=5, deadline=None)
def test_the_second_group_is_py_eccs(scalar: int) -> None:
    point = bn254_pairing.multiply(GENERATOR, scalar)
    assert bn254_pairing.encode(point) == oracle.encoded(oracle.mul(curve.G2, scalar))
    assert bn254_pairing.decode(bn254_pairing.encode(point)) == point


def test_the_pairing_is_bilinear_and_not_one() -> None:
    a, b = 2**200 + 7, 5**90
    left, right = bn254.multiply(ONE, a), bn254_pairing.multiply(GENERATOR, b)
    assert bn254_pairing.product_is_one([(left, right), (bn254.multiply(ONE, -a * b), GENERATOR)])
    assert not bn254_pairing.product_is_one([(left, right), (bn254.multiply(ONE, 1 - a * b), GENERATOR)])
    assert not bn254_pairing.product_is_one([(ONE, GENERATOR)])
    assert bn254_pairing.product_is_one([(None, GENERATOR), (ONE, None)])
    assert bn254_pairing.product_is_one([])


@pytest.mark.slow
def test_py_ecc_says_the_same_of_a_product() -> None:
    three, five = oracle.mul(curve.G1, 3), oracle.mul(curve.G2, 5)
    assert curve.pairing(five, three) == curve.pairing(curve.G2, oracle.mul(curve.G1, 15))
    left = (bn254.multiply(ONE, 3), bn254_pairing.multiply(GENERATOR, 5))
    assert bn254_pairing.product_is_one([left, (bn254.multiply(ONE, -15), GENERATOR)])
    assert not bn254_pairing.product_is_one([left, (bn254.multiply(ONE, -14), GENERATOR)])


@pytest.mark.parametrize(
    "data",
    [
        oracle.outside(),
        bytes(127),
        bytes(129),
        bytes(127) + b"\1",
        P.to_bytes(32, "big") * 4,
        bn254_pairing.encode(GENERATOR)[:96] + (P + 1).to_bytes(32, "big"),
        (P + int.from_bytes(bn254_pairing.encode(GENERATOR)[:32], "big")).to_bytes(32, "big")
        + bn254_pairing.encode(GENERATOR)[32:],
    ],
)
def test_what_is_no_point_of_the_second_group_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="BN254's second group"):
        bn254_pairing.decode(data)


def test_a_point_of_the_curve_outside_the_group_is_on_the_curve() -> None:
    """So it is the order that refuses it."""
    b, a, d, c = (int.from_bytes(oracle.outside()[at : at + 32], "big") for at in range(0, 128, 32))
    assert curve.is_on_curve((curve.FQ2([a, b]), curve.FQ2([c, d]), curve.FQ2.one()), curve.b2)


def test_a_proof_holds_for_its_inputs_and_for_no_others(key: VerifyingKey, proof: Groth16Proof) -> None:
    groth16.verify(key, (12345, 49), proof)
    for inputs in ((12346, 49), (12345, 50), (0, 0)):
        with pytest.raises(Groth16Refused, match="does not hold"):
            groth16.verify(key, inputs, proof)
    for many in ((12345,), (12345, 49, 0), ()):
        with pytest.raises(Groth16Refused, match="2 public inputs, not"):
            groth16.verify(key, many, proof)
    for unreduced in ((12345 + ORDER, 49), (12345, 49 - ORDER)):
        with pytest.raises(Groth16Refused, match="not reduced"):
            groth16.verify(key, unreduced, proof)


def test_each_point_of_a_proof_counts(key: VerifyingKey, proof: Groth16Proof) -> None:
    data = proof.to_bytes()
    for at in range(31, 256, 32):
        with pytest.raises(Groth16Refused, match="not a point"):
            Groth16Proof.parse(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    twice = bn254_pairing.multiply(proof.b, 2)
    for other in (
        Groth16Proof(bn254.multiply(proof.a, 2), proof.b, proof.c),
        Groth16Proof(proof.a, twice, proof.c),
        Groth16Proof(proof.a, proof.b, bn254.multiply(proof.c, 2)),
        Groth16Proof(proof.a, proof.b, None),
        Groth16Proof(proof.a, None, proof.c),
    ):
        with pytest.raises(Groth16Refused, match="does not hold"):
            groth16.verify(key, (12345, 49), other)
    for short in (data[:-1], data + b"\0", b""):
        with pytest.raises(Groth16Refused, match="take 256 bytes"):
            Groth16Proof.parse(short)
    with pytest.raises(Groth16Refused, match="A of the proof is at infinity"):
        Groth16Proof.parse(bytes(64) + data[64:])


def test_keys_that_would_let_anybody_prove_anything_are_refused(key: VerifyingKey) -> None:
    data = key.to_bytes()
    assert VerifyingKey.parse(data) == key
    for start, size in ((0, 64), (64, 128), (192, 128), (320, 128), (512, 64), (576, 64)):
        with pytest.raises(Groth16Refused, match="at infinity"):
            VerifyingKey.parse(data[:start] + bytes(size) + data[start + size :])
    VerifyingKey.parse(data[:448] + bytes(64) + data[512:])  # the point for one frees nobody of anything
    for start in (64, 192, 320):
        with pytest.raises(Groth16Refused, match="second group"):
            VerifyingKey.parse(data[:start] + oracle.outside() + data[start + 128 :])
    negated = oracle.encoded(curve.neg(oracle.ceremony()[0].verifying()[2]))
    for delta in (data[192:320], negated):
        with pytest.raises(Groth16Refused, match="no second phase"):
            VerifyingKey.parse(data[:320] + delta + data[448:])
    for other in (data[:-1], data[:512], data + data[-64:] * 31, b""):
        with pytest.raises(Groth16Refused, match="1 to 32 public inputs"):
            VerifyingKey.parse(other)


def test_what_snarkjs_made_is_read_and_holds() -> None:
    made, inputs = snarkjs.read_key(FILES["verification_key"]), snarkjs.read_public(FILES["public"])
    assert inputs == (12345, 49)
    groth16.verify(made, inputs, snarkjs.read_proof(FILES["proof"]))
    with pytest.raises(Groth16Refused, match="does not hold"):
        groth16.verify(made, (12346, 49), snarkjs.read_proof(FILES["proof"]))
    with pytest.raises(Groth16Refused, match="no second phase"):
        snarkjs.read_key(FILES["without_second_phase"])


def changed(name: str, change: Callable[[Any], None]) -> bytes:
    value = json.loads(FILES[name])
    change(value)
    return json.dumps(value).encode()


KEY_CHANGES: list[Callable[[Any], Any]] = [
    lambda v: v.update(protocol="plonk"),
    lambda v: v.update(curve="bls12381"),
    lambda v: v.update(nPublic=3),
    lambda v: v.update(IC=v["IC"][:1]),
    lambda v: v.update(IC=v["IC"] * 20, nPublic=59),
    lambda v: v.update(IC="IC"),
    lambda v: v.update(vk_alpha_1=["0", "1", "0"]),
    lambda v: v.update(vk_alpha_1=["1", "3", "1"]),
    lambda v: v.update(vk_alpha_1=["01", "2", "1"]),
    lambda v: v.update(vk_alpha_1=[1, 2, 1]),
    lambda v: v.update(vk_alpha_1=["-1", "2", "1"]),
    lambda v: v.update(vk_alpha_1=["٣", "2", "1"]),
    lambda v: v.update(vk_alpha_1=["1" * 79, "2", "1"]),
    lambda v: v.update(vk_beta_2=[["0", "0"], ["1", "0"], ["0", "0"]]),
    lambda v: v.update(vk_beta_2=[["1", "0", "0"], ["1", "0"], ["1", "0"]]),
    lambda v: v.update(vk_beta_2=[[str(P), "0"], ["1", "0"], ["1", "0"]]),
    lambda v: v.update(vk_beta_2=[["1", "0"], ["1", "0"], ["1", "0"]]),
    lambda v: v.update(vk_beta_2=None),
    lambda v: v.pop("vk_gamma_2"),
    lambda v: v.update(vk_beta_2=[v["vk_beta_2"][0][::-1], v["vk_beta_2"][1][::-1], ["1", "0"]]),
]


@pytest.mark.parametrize("change", KEY_CHANGES)
def test_keys_are_read_strictly(change: Callable[[Any], None]) -> None:
    with pytest.raises(Groth16Refused):
        snarkjs.read_key(changed("verification_key", change))


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_hostile_files_raise_nothing_else(data: bytes) -> None:
    for reader in (snarkjs.read_key, snarkjs.read_proof, snarkjs.read_public):
        with contextlib.suppress(Groth16Refused):
            reader(data)


@pytest.mark.parametrize("data", [b"", b"[" * 40_000, b'["1"]' * 3, b"[1]", b"[]", b'["-1"]', b"9" * 5000, b" " * 70_000, b"\xff"])
def test_files_that_are_none_are_refused(data: bytes) -> None:
    for reader in (snarkjs.read_key, snarkjs.read_proof, snarkjs.read_public):
        with pytest.raises(Groth16Refused):
            reader(data)


def test_public_inputs_are_reduced_numbers_in_text() -> None:
    assert snarkjs.read_public(json.dumps([str(ORDER - 1)]).encode()) == (ORDER - 1,)
    for value in ([str(ORDER)], ["1"] * 33, [1], [None], "1"):
        with pytest.raises(Groth16Refused):
            snarkjs.read_public(json.dumps(value).encode())


@given(st.integers(min_value=0, max_value=SIZE * 8 - 1))
@settings(max_examples=10, deadline=None)
def test_a_key_with_a_flipped_bit_is_refused(bit: int) -> None:
    data = bytearray(oracle.ceremony()[1])
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Groth16Refused):
        VerifyingKey.parse(bytes(data))
