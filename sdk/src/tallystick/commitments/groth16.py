"""Proofs of Groth, "On the Size of Pairing-Based Non-interactive Arguments" (EUROCRYPT 2016, section 3.2), over BN254: keys,
proofs, and their check, as ``Groth16Verifier.sol`` does it.

What a proof shows: whoever made it knew values that satisfy the key's circuit together with the public inputs. That rests on
assumptions in the generic group model, and on the set-up: somebody who kept the randomness by which the key was made proves
anything, and no check of the key can tell. Provers are not here: circuits come with their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from tallystick.commitments import bn254, bn254_pairing
from tallystick.commitments.bn254 import ORDER
from tallystick.commitments.bn254_pairing import TwistPoint

MAX_INPUTS = 32
WORD = 32
_FIRST, _SECOND = 64, bn254_pairing.SIZE  # bytes of a point of each group
_FIXED = _FIRST + 3 * _SECOND
PROOF_SIZE = 2 * _FIRST + _SECOND


class Groth16Refused(ValueError):  # noqa: N818 - a verdict, as the others of its kind
    """A key or proof is malformed, or the proof does not hold."""


@dataclass(frozen=True)
class VerifyingKey:
    """What a circuit's proofs are checked with. ``inputs``: the point for one, then one for each public input."""

    alpha: bn254.Point
    beta: TwistPoint
    gamma: TwistPoint
    delta: TwistPoint
    inputs: tuple[bn254.Point, ...]

    @property
    def count(self) -> int:
        """How many public inputs a proof has."""
        return len(self.inputs) - 1

    def to_bytes(self) -> bytes:
        """The points as the contract takes them: alpha, beta, gamma, delta, then those of the inputs."""
        second = b"".join(map(bn254_pairing.encode, (self.beta, self.gamma, self.delta)))
        return bn254.encode(self.alpha) + second + b"".join(map(bn254.encode, self.inputs))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote, and refuse a key that the contract would not register: points outside their groups, a
        point at infinity that would free a prover of what it stands for, and gamma and delta of a set-up without second phase.

        Raises :class:`Groth16Refused`.
        """
        count, odd = divmod(len(data) - _FIXED, _FIRST)
        if odd or not 2 <= count <= MAX_INPUTS + 1:
            raise Groth16Refused(f"a key has 1 to {MAX_INPUTS} public inputs, each with a point")
        alpha, rest = _first(data[:_FIRST]), data[_FIRST:]
        beta, gamma, delta = (_second(rest[at * _SECOND : (at + 1) * _SECOND]) for at in range(3))
        inputs = tuple(_first(data[at : at + _FIRST]) for at in range(_FIXED, len(data), _FIRST))
        if None in (alpha, beta, gamma, delta, *inputs[1:]):
            raise Groth16Refused("a point of the key is at infinity")
        if gamma is not None and delta is not None and gamma[0] == delta[0]:
            raise Groth16Refused("gamma and delta are the same: the set-up has no second phase, and anybody can prove anything")
        return cls(alpha, beta, gamma, delta, inputs)


@dataclass(frozen=True)
class Groth16Proof:
    """The three points of a proof."""

    a: bn254.Point
    b: TwistPoint
    c: bn254.Point

    def to_bytes(self) -> bytes:
        """256 bytes, as the contract takes them."""
        return bn254.encode(self.a) + bn254_pairing.encode(self.b) + bn254.encode(self.c)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote. Raises :class:`Groth16Refused`."""
        if len(data) != PROOF_SIZE:
            raise Groth16Refused(f"the points of a proof take {PROOF_SIZE} bytes")
        a, b, c = _first(data[:_FIRST]), _second(data[_FIRST : _FIRST + _SECOND]), _first(data[_FIRST + _SECOND :])
        if a is None:
            raise Groth16Refused("A of the proof is at infinity")
        return cls(a, b, c)


def verify(key: VerifyingKey, inputs: Sequence[int], proof: Groth16Proof) -> None:
    """Raise :class:`Groth16Refused` unless e(A, B) = e(alpha, beta) e(sum, gamma) e(C, delta), where the sum is that of the key's
    points times one and the ``inputs``, which have to be reduced modulo the group's order.

    Key and proof are what their ``parse`` returned.
    """
    if len(inputs) != key.count:
        raise Groth16Refused(f"the circuit has {key.count} public inputs, not {len(inputs)}")
    if not all(0 <= each < ORDER for each in inputs):
        raise Groth16Refused("a public input is not reduced modulo the group's order")
    if not _balances(key, tuple(inputs), proof):
        raise Groth16Refused("the proof does not hold for this key and these public inputs")


@lru_cache(maxsize=16)  # several rules ask the same of one proof
def _balances(key: VerifyingKey, inputs: tuple[int, ...], proof: Groth16Proof) -> bool:
    total = bn254.msm(key.inputs, [1, *inputs])
    pairs = ((bn254.neg(proof.a), proof.b), (key.alpha, key.beta), (total, key.gamma), (proof.c, key.delta))
    return bn254_pairing.product_is_one(pairs)


def _first(data: bytes) -> bn254.Point:
    try:
        return bn254.decode(data)
    except ValueError as error:
        raise Groth16Refused(str(error)) from None


@lru_cache(maxsize=64)  # whether a point has the group's order takes long to see, and keys come back
def _second(data: bytes) -> TwistPoint:
    try:
        return bn254_pairing.decode(data)
    except ValueError as error:
        raise Groth16Refused(str(error)) from None
