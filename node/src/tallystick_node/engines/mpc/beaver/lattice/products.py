"""Products of shared numbers, by encryption: party 0 holds the key, party 1 multiplies.

For c = (a_0 + a_1) (b_0 + b_1) party 0 sends its a_0 and b_0 encrypted, party 1 answers with a_0 b_1 + b_0 a_1 + r, and each adds
what it knows by itself. The numbers are secrets, or random where products are to be used later. One by one, 8192 numbers are the
values of one polynomial modulo each of six slot primes; of matrices, blocks are laid out in the coefficients of polynomials so that
a coefficient of the product is an inner product (Cheetah, section 3).

| | bytes, party 0 | bytes, party 1 |
|---|---|---|
| 8192 products | 6 * 196,624 | 3 * 196,608 |
| a block of a matrix, of the result's blocks | 196,624 | 196,608 |
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.beaver.correlations import Triple
from tallystick_node.engines.mpc.beaver.lattice import numbers
from tallystick_node.engines.mpc.beaver.lattice.blocks import DEEPEST, Blocks
from tallystick_node.engines.mpc.beaver.lattice.numbers import KEPT, PAIRS, PRIMES, RING, SLOT_PRIMES
from tallystick_node.engines.mpc.beaver.lattice.scheme import STEP, WORD, KeyHolder, Multiplier, add_products, transformed
from tallystick_node.engines.mpc.beaver.lattice.transform import N, Residues
from tallystick_node.engines.mpc.matrix import add_product
from tallystick_node.engines.mpc.prss import SEED, Stream, blocks
from tallystick_node.engines.mpc.ring import Ring

_GROUP = 4  # rows of 8192 triples at a time
TILE = 256  # rows, inner length and columns of matrices at a time
_POLYNOMIALS = 256  # of long inner products, at a time


class Products:
    """One of two parties. Triples are made 8192 at a time, and what is left over is kept."""

    def __init__(self, session: Session) -> None:
        """Makes a key at party 0, and sends its public part."""
        self._session = session
        peer = 1 - session.index
        session.mark(STEP)
        self._holder = KeyHolder(session, peer) if session.index == 0 else None
        self._multiplier = Multiplier(session, peer) if session.index == 1 else None
        self._draw = Stream(secrets.token_bytes(SEED))
        self._left: Ring = np.empty((3, 0), np.uint64)

    def triples(self, count: int) -> Triple:
        """``count`` products in the ring."""
        pieces = [self._left]
        missing = -(-max(0, count - self._left.shape[1]) // N)
        if missing:
            a, b = self._draw.elements((2, missing * N))
            pieces.append(np.stack([a, b, self.multiply(a, b)]))
        together = np.concatenate(pieces, axis=1)
        self._left = together[:, count:].copy()
        return Triple(*np.ascontiguousarray(together[:, :count]))

    def multiply(self, a: Ring, b: Ring) -> Ring:
        """This party's part of the products of numbers of which it has these parts, a multiple of 8192 of them."""
        self._session.mark(STEP)
        a, b = a.reshape(-1, N), b.reshape(-1, N)
        c = a * b
        groups = list(blocks(len(a), _GROUP))
        if self._holder is not None:
            # One group ahead: this party encrypts while the other multiplies.
            for group, following in zip([None, *groups], [*groups, None], strict=True):
                if following is not None:
                    for values in (a[following], b[following]):
                        for plain, scaled in zip(PAIRS, _coefficients(values, scaled=True), strict=True):
                            self._holder.encrypt(plain, scaled)
                if group is not None:
                    answers = [self._holder.answer(group.stop - group.start) for _ in PAIRS]
                    c[group] += numbers.slot_sum(numbers.slot_results(answers))
        else:
            for group in groups:
                c[group] -= self._masks(a[group], b[group])
        return c.reshape(-1)

    def matrices(self, rows: int, inner: int, columns: int) -> Triple:
        """A product of a (rows, inner) and an (inner, columns) matrix."""
        self._session.mark(STEP)
        a, b = self._draw.elements((rows, inner)), self._draw.elements((inner, columns))
        c = np.zeros((rows, columns), np.uint64)
        add_product(c, a, b)
        for i in blocks(rows, TILE):
            for j in blocks(columns, TILE):
                for k in blocks(inner, TILE):
                    c[i, j] += self._cross(a[i, k], b[k, j])
        return Triple(a, b, c)

    def inner(self, a: Ring, b: Ring) -> Ring:
        """This party's part of the product of an (r, n) and an (n, c) matrix of which it has these parts, for few rows and columns
        and a long n: as many numbers as a polynomial has coefficients are multiplied and added up by one product."""
        self._session.mark(STEP)
        c = np.zeros((len(a), b.shape[1]), np.uint64)
        add_product(c, a, b)
        for k in _pieces(len(a), len(b), b.shape[1]):
            c += self._cross(np.ascontiguousarray(a[:, k]), b[k])
        return c

    def _masks(self, a: Ring, b: Ring) -> Ring:
        """What party 1 adds to the answers that it gives."""
        assert self._multiplier is not None
        rows = len(a)
        each = np.array([(row, row, row) for row in range(rows)], np.int64)
        masks = np.stack([_below(self._draw, t, a.shape) for t in SLOT_PRIMES])
        out = numbers.slot_sum(masks)
        factors = [_coefficients(values, scaled=False) for values in (b, a)]
        given = [[self._multiplier.ciphertexts(rows) for _ in PAIRS] for _ in range(2)]
        for number, (plain, scaled) in enumerate(zip(PAIRS, numbers.slot_coefficients(masks, scaled=True), strict=True)):
            sums = tuple(np.zeros_like(part) for part in given[0][number])
            for operand in range(2):
                by = transformed(factors[operand][number])
                for total, part in zip(sums, given[operand][number], strict=True):
                    add_products(total, part, by, each)
            self._multiplier.reply((sums[0], sums[1]), plain, scaled)
        return out

    def _cross(self, a: Ring, b: Ring) -> Ring:
        """This party's part of a_0 b_1 + a_1 b_0."""
        layout = Blocks.of(a.shape[0], a.shape[1], b.shape[1])
        left, right = layout.left(a), layout.right(b)
        if self._holder is not None:
            self._holder.encrypt(RING, numbers.ring_scale(left))
            self._holder.encrypt(RING, numbers.ring_scale(right))
            return layout.result(numbers.ring_result(self._holder.answer(layout.results)))
        assert self._multiplier is not None
        masks = self._draw.elements((layout.results, N))
        given = [self._multiplier.ciphertexts(len(operand)) for operand in (left, right)]
        plains = [transformed(operand.view(np.int64)) for operand in (left, right)]
        sums = tuple(np.zeros((len(part), layout.results, N)) for part in given[0])
        table = layout.products()
        for side in range(2):
            add_products(sums[side], given[0][side], plains[1], table)
            add_products(sums[side], plains[0], given[1][side], table)
        self._multiplier.reply((sums[0], sums[1]), RING, numbers.ring_scale(masks))
        return np.uint64(0) - layout.result(masks)


def inner_bytes(rows: int, inner: int, columns: int) -> tuple[int, int]:
    """What parties 0 and 1 send for :meth:`Products.inner`."""
    sent = [0, 0]
    for k in _pieces(rows, inner, columns):
        cut = Blocks.of(rows, k.stop - k.start, columns)
        i, j, across = cut.counts
        sent[0] += 2 * SEED + len(PRIMES) * N * WORD * (i * j + j * across)
        sent[1] += 2 * KEPT * N * WORD * cut.results
    return sent[0], sent[1]


def _pieces(rows: int, inner: int, columns: int) -> Iterator[slice]:
    return blocks(inner, N * min(DEEPEST, max(1, _POLYNOMIALS // (rows + columns))))


def _coefficients(values: Ring, *, scaled: bool) -> list[numbers.Signed]:
    return numbers.slot_coefficients(numbers.slot_residues(values), scaled=scaled)


def _below(stream: Stream, bound: int, shape: tuple[int, ...]) -> Residues:
    """Uniform below a bound of 32 bits, to within 2^-96: the rest of 128 random bits."""
    high, low = stream.elements((2, *shape))
    rest: Ring = (high % np.uint64(bound)) * np.uint64(2**64 % bound) % np.uint64(bound) + low % np.uint64(bound)
    rest %= np.uint64(bound)
    return rest.astype(np.float64)
