"""Verifying keys, proofs and public inputs as snarkjs writes them: ``verification_key.json``, ``proof.json``, ``public.json``.

Points stand there in projective coordinates whose last is one, numbers as decimal text, and a number a + b i as ``[a, b]``, which
the precompiles take the other way round.
"""

from __future__ import annotations

import re
from typing import Any

from tallystick import flat_json
from tallystick.commitments import bn254, bn254_pairing
from tallystick.commitments.bn254 import ORDER
from tallystick.commitments.groth16 import MAX_INPUTS, Groth16Proof, Groth16Refused, VerifyingKey

LIMIT = 1 << 16  # bytes of a file
_NUMBER = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)


def read_key(data: bytes) -> VerifyingKey:
    """A key of ``verification_key.json``. Raises :class:`Groth16Refused`."""
    value = _object(data, "verification_key.json")
    listed = value.get("IC")
    if not isinstance(listed, list) or not 2 <= len(listed) <= MAX_INPUTS + 1:
        raise Groth16Refused(f"IC: a key has 1 to {MAX_INPUTS} public inputs, each with a point")
    if value.get("nPublic") != len(listed) - 1:
        raise Groth16Refused("nPublic: not the number of points in IC, less one")
    points = [_first(each, f"IC[{place}]") for place, each in enumerate(listed)]
    second = (bn254_pairing.encode(_second(value.get(name), name)) for name in ("vk_beta_2", "vk_gamma_2", "vk_delta_2"))
    alpha = bn254.encode(_first(value.get("vk_alpha_1"), "vk_alpha_1"))
    return VerifyingKey.parse(alpha + b"".join(second) + b"".join(map(bn254.encode, points)))


def read_proof(data: bytes) -> Groth16Proof:
    """A proof of ``proof.json``. Raises :class:`Groth16Refused`."""
    value = _object(data, "proof.json")
    a, c = (bn254.encode(_first(value.get(name), name)) for name in ("pi_a", "pi_c"))
    return Groth16Proof.parse(a + bn254_pairing.encode(_second(value.get("pi_b"), "pi_b")) + c)


def read_public(data: bytes) -> tuple[int, ...]:
    """The public inputs of ``public.json``. Raises :class:`Groth16Refused`."""
    value = _decoded(data, "public.json")
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_INPUTS:
        raise Groth16Refused(f"public.json: a list of 1 to {MAX_INPUTS} numbers")
    numbers = tuple(_number(each, "public.json") for each in value)
    if any(each >= ORDER for each in numbers):
        raise Groth16Refused("public.json: a number is not reduced modulo the group's order")
    return numbers


def _object(data: bytes, name: str) -> dict[str, Any]:
    value = _decoded(data, name)
    if not isinstance(value, dict) or value.get("protocol") != "groth16" or value.get("curve") not in ("bn128", "bn254"):
        raise Groth16Refused(f"{name}: not of the protocol groth16 on the curve bn128")
    return value


def _decoded(data: bytes, name: str) -> Any:
    if len(data) > LIMIT:
        raise Groth16Refused(f"{name}: longer than {LIMIT} bytes")
    try:
        return flat_json.parse(data)
    except ValueError:
        raise Groth16Refused(f"{name}: not JSON, or nested too deep") from None


def _number(value: Any, where: str) -> int:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise Groth16Refused(f"{where}: numbers are decimal text of at most 78 digits")
    return int(value)


def _first(value: Any, where: str) -> bn254.Point:
    if not isinstance(value, list) or len(value) != 3 or value[2] != "1":
        raise Groth16Refused(f"{where}: a point is [x, y, 1], not at infinity")
    point = (_number(value[0], where), _number(value[1], where))
    if not bn254.is_on_curve(point):
        raise Groth16Refused(f"{where}: not a point of BN254's first group")
    return point


def _second(value: Any, where: str) -> bn254_pairing.TwistPoint:
    if not isinstance(value, list) or len(value) != 3 or value[2] != ["1", "0"]:
        raise Groth16Refused(f"{where}: a point is [[x, x'], [y, y'], [1, 0]], not at infinity")
    pairs = []
    for each in value[:2]:
        if not isinstance(each, list) or len(each) != 2:
            raise Groth16Refused(f"{where}: a coordinate is a pair of numbers")
        first, second = (_number(number, where) for number in each)
        if first >= bn254.P or second >= bn254.P:
            raise Groth16Refused(f"{where}: a coordinate is not reduced")
        pairs.append((first, second))
    return pairs[0], pairs[1]
