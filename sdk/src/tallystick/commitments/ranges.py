"""Proofs that linear forms of a committed vector lie in ranges, in zero knowledge, without a trusted set-up.

C = sum v_k G_k + rho H is a Pedersen commitment (:mod:`.pedersen`). A :class:`Form` is F(v) = o + sum c_k v_k with public
integers o and c_k; the proof shows that the committed vector has 0 <= F(v) < 4^d for every form, d the form's digits, and nothing
else about it. So a bound is one form, an interval two, and "at least k members" is the form n - k.

The protocol is a sigma protocol made non-interactive (Fiat and Shamir, CRYPTO 1986) with the polynomial argument for membership
that Groth and Kohlweiss use for bits (EUROCRYPT 2015, figure 1) and Bootle et al. for vectors of digits (ESORICS 2015, section
4.1), here for digits of base 4, and for all digits of all forms at once. With d_j the digits, a_j and e_k random masks:

- B commits to the d_j over generators D_j, A to the a_j, E to the e_k over the G_k, K_s (s = 0 to 3) to the coefficients of X^s
  in P_j(X) = prod over t = 0 to 3 of ((d_j - t) X + a_j). That of X^4 is 0 exactly when d_j is 0, 1, 2 or 3.
- The challenge x is a hash of the context, the forms, the place, C and these seven points.
- The responses are f_j = d_j x + a_j, g_k = v_k x + e_k and three blindings. The masks are chosen so that each form's equation
  sum 4^j f_j = o x + sum c_k g_k holds; so a form's first f_j follows from the others and is not sent.
- The verifier requires x B + A = sum f_j D_j + z_1 H; sum x^s K_s = sum f_j (f_j - x)(f_j - 2x)(f_j - 3x) D_j + z_2 H; and x C +
  E = sum g_k G_k + z_3 H.

Perfect honest-verifier zero knowledge: responses are uniform among those that fit, and the seven points follow from them or hide
perfectly. Knowledge soundness: five accepting answers to one first message give an opening of C whose forms have digits 0 to 3,
or a relation between generators (discrete logarithms on BN254, about 100 bits); as a random-oracle argument it loses a factor of
the number of hash queries (Attema, Fehr and Klooss, TCC 2022). Forms are taken modulo the group's order: a form says what it says
of integers where the values it ranges over are bounded, by other forms, far below the order.

A chain adds about one multiplication for each digit and value, shared by all proofs of a task, and eight for each proof: see
``RangeVerifier.sol``. Bulletproofs (Bünz et al., IEEE S&P 2018) are shorter and need two multiplications for each bit there.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from tallystick.commitments import bn254, pedersen
from tallystick.commitments.bn254 import ORDER, Point
from tallystick.ethereum import keccak

BASE = 4
MAX_VALUES = 126
MAX_DIGITS = 256  # of all forms of one proof
MAX_FORM_DIGITS = 64
TOTAL = (1 << 256) - 1
"""The place of the proof about the sum; a party's is its index."""
WORD = 32
POINT_COUNT = 7
TAG = keccak(b"tallystick/range/v1")


class RangeRefused(ValueError):  # noqa: N818 - as OpeningMismatch
    """The proof does not show that the committed vector is in its ranges."""


class OutOfRange(ValueError):  # noqa: N818
    """This vector is not in the ranges, so there is no proof of it."""


@dataclass(frozen=True)
class Form:
    """offset + the sum of coefficient times value over ``terms``, (index, coefficient) each, in [0, 4^digits)."""

    digits: int
    offset: int
    terms: tuple[tuple[int, int], ...]

    def of(self, vector: Sequence[int]) -> int:
        """The form's value for a vector of integers."""
        return self.offset + sum(coefficient * vector[index] for index, coefficient in self.terms)

    def digits_of(self, vector: Sequence[int]) -> list[int]:
        """The digits, least significant first. Raises :class:`OutOfRange`."""
        value = self.of(vector)
        if not 0 <= value < BASE**self.digits:
            raise OutOfRange(f"a value is not from 0 to {BASE}^{self.digits} - 1")
        return [value >> (2 * j) & 3 for j in range(self.digits)]

    def words(self) -> list[int]:
        """The form as the contract reads it: digits, number of terms, offset, then index and coefficient of each term."""
        flat = [word for index, coefficient in self.terms for word in (index, coefficient % ORDER)]
        return [self.digits, len(self.terms), self.offset % ORDER, *flat]


@dataclass(frozen=True)
class Shape:
    """What a task's range proofs say: of each input, ``entries`` values, the forms ``inputs``; of their sum ``total``."""

    entries: int
    inputs: tuple[Form, ...]
    total: tuple[Form, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.entries <= MAX_VALUES:
            raise ValueError(f"range proofs are about 1 to {MAX_VALUES} values")
        for forms in (self.inputs, self.total):
            if not forms or sum(form.digits for form in forms) > MAX_DIGITS:
                raise ValueError(f"the ranges of one proof have 1 to {MAX_DIGITS} digits of base 4 in all")
            for form in forms:
                if not 1 <= form.digits <= MAX_FORM_DIGITS or not 1 <= len(form.terms) <= self.entries:
                    raise ValueError(f"a form has 1 to {MAX_FORM_DIGITS} digits, and at least one term")
                if any(not 0 <= index < self.entries for index, _ in form.terms):
                    raise ValueError("a form names a value that there is not")

    def to_bytes(self) -> bytes:
        """The words of the contract, 32 bytes each."""
        words = [self.entries, len(self.inputs), len(self.total)]
        words += [word for form in (*self.inputs, *self.total) for word in form.words()]
        return b"".join(word.to_bytes(WORD, "big") for word in words)

    @classmethod
    def read(cls, data: bytes) -> tuple[Self, int]:
        """The shape at the start of ``data``, and where it ends. Raises ValueError."""
        words = _words(data)
        try:
            entries, inputs, total = next(words), next(words), next(words)
            if max(inputs, total) > MAX_DIGITS:
                raise ValueError("more forms than a proof has digits")
            forms = [_read_form(words) for _ in range(inputs + total)]
        except StopIteration:
            raise ValueError("the forms end too soon") from None
        shape = cls(entries, tuple(forms[:inputs]), tuple(forms[inputs:]))
        encoded = shape.to_bytes()
        if not data.startswith(encoded):
            raise ValueError("a number of a form is not reduced")
        return shape, len(encoded)


@dataclass(frozen=True)
class Proof:
    """Seven points B, A, E, K_0 to K_3; a response for each value, and for each digit but each form's first; three blindings."""

    points: tuple[Point, ...]
    values: tuple[int, ...]
    digits: tuple[int, ...]
    blindings: tuple[int, int, int]

    def to_bytes(self) -> bytes:
        """The proof as the contract reads it."""
        scalars = (*self.values, *self.digits, *self.blindings)
        return b"".join(map(bn254.encode, self.points)) + b"".join(each.to_bytes(WORD, "big") for each in scalars)

    @classmethod
    def parse(cls, data: bytes, entries: int, forms: Sequence[Form]) -> Self:
        """Read a proof strictly. Raises :class:`RangeRefused`."""
        if len(data) != size_of(entries, forms):
            raise RangeRefused("a range proof has another length than its forms say")
        head = 2 * WORD * POINT_COUNT
        try:
            points = tuple(bn254.decode(data[at : at + 2 * WORD]) for at in range(0, head, 2 * WORD))
        except ValueError:
            raise RangeRefused("a range proof holds what is no point of the curve") from None
        scalars = tuple(_words(data[head:]))
        if any(each >= ORDER for each in scalars):
            raise RangeRefused("a number of a range proof is not reduced")
        z_digits, z_coefficients, z_values = scalars[-3:]
        return cls(points, scalars[:entries], scalars[entries:-3], (z_digits, z_coefficients, z_values))


def size_of(entries: int, forms: Sequence[Form]) -> int:
    """The length of a proof in bytes."""
    return WORD * (2 * POINT_COUNT + entries + sum(form.digits - 1 for form in forms) + 3)


def digit_generators(count: int) -> list[Point]:
    """The first ``count`` generators D_0, D_1, .. of digits."""
    return [pedersen.generator(b"D", index) for index in range(count)]


def table() -> bytes:
    """The generators that ``RangeVerifier`` is constructed with: H, every G_k, every D_j, 64 bytes each."""
    values, blind = pedersen.generators(MAX_VALUES)
    return b"".join(map(bn254.encode, [blind, *values, *digit_generators(MAX_DIGITS)]))


def prove(context: bytes, shape: bytes, place: int, forms: Sequence[Form], vector: Sequence[int], blinding: int) -> Proof:
    """Prove the forms of the commitment to ``vector`` under ``blinding``.

    ``context``: 32 bytes that name the attempt; ``shape``: :meth:`Shape.to_bytes`; ``place``: the party's index, or ``TOTAL``.
    Raises :class:`OutOfRange` when a form does not hold.
    """
    digits = [digit for form in forms for digit in form.digits_of(vector)]
    value_masks = [secrets.randbelow(ORDER) for _ in vector]
    masks = _masks(forms, value_masks)
    coefficients = [_coefficients(digit, mask) for digit, mask in zip(digits, masks, strict=True)]
    blinds = [secrets.randbelow(ORDER) for _ in range(POINT_COUNT)]
    rows = [digits, masks, *([row[s] for row in coefficients] for s in range(BASE))]
    over_digits, over_values = digit_generators(len(digits)), pedersen.generators(len(vector))
    blind = over_values[1]
    b, a, *k = (
        bn254.msm([*over_digits, blind], [*row, each]) for row, each in zip(rows, (blinds[0], blinds[1], *blinds[3:]), strict=True)
    )
    e = bn254.msm([*over_values[0], blind], [*value_masks, blinds[2]])
    points = (b, a, e, *k)
    x = _challenge(context, shape, place, pedersen.commit(vector, blinding), points)
    answers = [(digit * x + mask) % ORDER for digit, mask in zip(digits, masks, strict=True)]
    return Proof(
        points,
        tuple((value * x + mask) % ORDER for value, mask in zip(vector, value_masks, strict=True)),
        tuple(answers[place] for place in _sent(forms)),
        (
            (blinds[0] * x + blinds[1]) % ORDER,
            sum(each * pow(x, s, ORDER) for s, each in enumerate(blinds[3:])) % ORDER,
            (blinding * x + blinds[2]) % ORDER,
        ),
    )


def verify(context: bytes, shape: bytes, place: int, forms: Sequence[Form], commitment: Point, proof: Proof) -> None:
    """Raise :class:`RangeRefused` unless ``proof`` shows the forms of what ``commitment`` commits to."""
    x = _challenge(context, shape, place, commitment, proof.points)
    answers = _answers(forms, proof, x)
    b, a, e, *k = proof.points
    over_digits = digit_generators(len(answers))
    over_values, blind = pedersen.generators(len(proof.values))
    z_digits, z_coefficients, z_values = proof.blindings
    products = [answer * (answer - x) * (answer - 2 * x) * (answer - 3 * x) % ORDER for answer in answers]
    powers = [pow(x, s, ORDER) for s in range(BASE)]
    equations: tuple[tuple[list[Point], list[int], list[Point], list[int], int], ...] = (
        ([b, a], [x, 1], over_digits, answers, z_digits),
        (k, powers, over_digits, products, z_coefficients),
        ([commitment, e], [x, 1], over_values, list(proof.values), z_values),
    )
    for left, scalars, generators, responses, z in equations:
        negated = [-each for each in (*responses, z)]
        if bn254.msm([*left, *generators, blind], [*scalars, *negated]) is not None:
            raise RangeRefused("a range proof does not hold")


def _masks(forms: Sequence[Form], value_masks: Sequence[int]) -> list[int]:
    """A mask for each digit, such that those of a form weigh as much as the form of the values' masks, without the offset."""
    masks: list[int] = []
    for form in forms:
        rest = [secrets.randbelow(ORDER) for _ in range(form.digits - 1)]
        weight = sum(coefficient * value_masks[index] for index, coefficient in form.terms)
        masks += [(weight - sum(each << (2 * j) for j, each in enumerate(rest, 1))) % ORDER, *rest]
    return masks


def _answers(forms: Sequence[Form], proof: Proof, x: int) -> list[int]:
    """The response of every digit: of each form's first, what its equation leaves."""
    sent = iter(proof.digits)
    answers: list[int] = []
    for form in forms:
        rest = [next(sent) for _ in range(form.digits - 1)]
        weight = form.offset * x + sum(coefficient * proof.values[index] for index, coefficient in form.terms)
        answers += [(weight - sum(each << (2 * j) for j, each in enumerate(rest, 1))) % ORDER, *rest]
    return answers


def _sent(forms: Sequence[Form]) -> Iterator[int]:
    start = 0
    for form in forms:
        yield from range(start + 1, start + form.digits)
        start += form.digits


def _coefficients(digit: int, mask: int) -> list[int]:
    """Of X^0 to X^3 in the product of (digit - t) X + mask over t = 0 to 3."""
    product = [1]
    for t in range(BASE):
        slope = digit - t
        product = [(low * slope + high * mask) % ORDER for low, high in zip([0, *product], [*product, 0], strict=True)]
    return product[:BASE]


def _challenge(context: bytes, shape: bytes, place: int, commitment: Point, points: Sequence[Point]) -> int:
    """x, as ``RangeVerifier`` computes it."""
    said = [TAG, context, keccak(shape), place.to_bytes(WORD, "big"), bn254.encode(commitment), *map(bn254.encode, points)]
    return int.from_bytes(keccak(b"".join(said)), "big") % ORDER


def _words(data: bytes) -> Iterator[int]:
    for at in range(0, len(data) - WORD + 1, WORD):
        yield int.from_bytes(data[at : at + WORD], "big")


def _read_form(words: Iterator[int]) -> Form:
    digits, terms, offset = next(words), next(words), next(words)
    if terms > MAX_VALUES:
        raise ValueError("more terms than values")
    pairs = []
    for _ in range(terms):
        index, coefficient = next(words), next(words)
        pairs.append((index, _centred(coefficient)))
    return Form(digits, _centred(offset), tuple(pairs))


def _centred(number: int) -> int:
    return number - ORDER if number > ORDER // 2 else number
