"""Reading one column of a byte matrix without showing which: Regev encryption with a hint, as in SimplePIR (Henzinger, Hong,
Corrigan-Gibbs, Meiklejohn and Vaikuntanathan, "One Server for the Price of Two", USENIX Security 2023, sections 3 and 4).

The matrix M (rows, columns) holds bytes, read as signed numbers, so that they are small: both readings agree modulo 256, which is
all that is decoded. A is a public matrix (columns, N) expanded from a seed. The hint M A is made once for all queries. A query for
column c is A s + e + 2^24 u_c with a fresh uniform secret s and small errors e; the answer is its product with M; what is left when
M A s is taken away is 2^24 M u_c + M e, of which the top byte is the column's. Everything is modulo 2^32. Of an answer only the
upper 16 bits are sent: leaving out the rest adds at most 2^15 to the noise.

Security: queries are pseudorandom under learning with errors with N = 1024, a uniform secret, modulus 2^32 and errors of standard
deviation 32. Relative to the modulus the errors are larger (2^-27) than those of the Homomorphic Encryption Security Standard
(Albrecht et al., 2018, table for uniform secrets: N = 1024, log q = 29, errors of 3.19, so 2^-27.3), which its authors put
at 128 bits against classical attacks by the lattice estimator. SimplePIR's own errors of 6.4 would be below that line; the noise
has room for more because the plaintext modulus is 2^8, not the 495 or more that it takes at the same number of columns.

Correctness: the noise of one byte is a sum of ``columns`` errors times bytes, subgaussian; :func:`failure_bits` bounds the
probability that any byte of an answer is decoded wrongly. With uniform bytes, as encrypted rows are, and 2^16 columns, the limit
here, it is below 2^-120 for 6,000 rows.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled

N = 1024  # numbers of a secret
SIGMA = 32  # standard deviation of the errors
SEED = 16  # bytes
MAX_COLUMNS = 1 << 16
SECURITY_BITS = 128

Words = NDArray[np.uint32]
Matrix = NDArray[np.int8]
Bytes = NDArray[np.uint8]

_SCALE_BITS = 24  # 2^32 / 256
_DROPPED_BITS = 16  # of an answer
_UNIFORM = (256**2 - 1) / 12 + 0.25  # the mean square of a uniform signed byte
_STEP = 1 << 11  # columns worked on at a time: their part of A, 8 MB, is in the cache
_TALL = 1 << 10  # rows of the matrix that are widened to float64 at a time
_ROW = 4 * N  # bytes of a row of A


def random_seed() -> bytes:
    """A seed of a public matrix A."""
    return secrets.token_bytes(SEED)


def public_rows(seed: bytes, start: int, count: int) -> Words:
    """Rows ``start`` and on of A, shape (count, N): AES-128 in counter mode under the seed, each row at its own place."""
    counter = (start * _ROW // 16).to_bytes(16, "big")
    stream = Cipher(algorithms.AES128(seed), modes.CTR(counter)).encryptor().update(bytes(count * _ROW))
    return np.frombuffer(stream, "<u4").reshape(count, N)


def hint(matrix: Matrix, seed: bytes) -> Words:
    """M A, shape (rows, N). By float64 products, which are exact: a sum of 2^11 products of a byte and a word is below 2^49."""
    rows, columns = matrix.shape
    made = np.zeros((rows, N), np.uint32)
    for start in range(0, columns, _STEP):
        public = public_rows(seed, start, min(_STEP, columns - start)).view(np.int32).astype(np.float64)
        for top in range(0, rows, _TALL):
            part = matrix[top : top + _TALL, start : start + _STEP].astype(np.float64)
            made[top : top + _TALL] += (part @ public).astype(np.int64).astype(np.uint32)
    return made


def encrypt(seed: bytes, columns: int, choices: Sequence[int]) -> tuple[Words, Words]:
    """A query for each of ``choices``, shape (queries, columns), and the secrets that decrypt the answers, shape (queries, N).
    A secret is for one query."""
    count = len(choices)
    hidden = np.frombuffer(secrets.token_bytes(count * _ROW), np.uint32).reshape(count, N)
    queries = _errors((count, columns))
    for start in range(0, columns, _STEP):
        part = public_rows(seed, start, min(_STEP, columns - start))
        queries[:, start : start + len(part)] += _products(part, hidden)
    queries[np.arange(count), np.asarray(choices, np.int64)] += np.uint32(1 << _SCALE_BITS)
    return hidden, queries


def answer(matrix: Matrix, queries: Words) -> NDArray[np.uint16]:
    """The answers to queries, shape (queries, rows): one pass over the matrix, row by row, for all of them."""
    sums = _products(matrix, queries)
    sums += np.uint32(1 << (_DROPPED_BITS - 1))
    return (sums >> np.uint32(_DROPPED_BITS)).astype(np.uint16)


def decrypt(hint_: Words, hidden: Words, answers: NDArray[np.uint16]) -> Bytes:
    """The columns that were asked for, shape (queries, rows)."""
    masked = answers.astype(np.uint32) << np.uint32(_DROPPED_BITS)
    masked -= _products(hint_, hidden)
    masked += np.uint32(1 << (_SCALE_BITS - 1))
    return (masked >> np.uint32(_SCALE_BITS)).astype(np.uint8)


def failure_bits(columns: int, rows: int, mean_square: float = _UNIFORM) -> float:
    """-log2 of a bound on the probability that any of ``rows`` bytes of an answer is decoded wrongly, for matrix rows whose signed
    bytes have ``mean_square`` (at most 2^14, whatever they are)."""
    room = (1 << (_SCALE_BITS - 1)) - (1 << (_DROPPED_BITS - 1))
    spread = SIGMA**2 * columns * mean_square
    return room**2 / (2 * spread) / math.log(2) - 1 - math.log2(rows)


def _errors(shape: tuple[int, int]) -> Words:
    """Discrete Gaussian numbers by inversion of their distribution, to 2^-64."""
    drawn = np.frombuffer(secrets.token_bytes(8 * math.prod(shape)), np.uint64)
    found = np.searchsorted(_TABLE, drawn, side="right") - _REACH
    return found.astype(np.int32).view(np.uint32).reshape(shape)


def _table() -> NDArray[np.uint64]:
    """For each number from -_REACH on, 2^64 times the probability of that or a smaller one; for the last that is left out."""
    with localcontext(prec=60):
        weights = [(Decimal(-x * x) / (2 * SIGMA * SIGMA)).exp() for x in range(-_REACH, _REACH + 1)]
        total, reached, sums = sum(weights), Decimal(0), []
        for weight in weights[:-1]:
            reached += weight
            sums.append(min(int(reached / total * 2**64), 2**64 - 1))
    return np.array(sums, np.uint64)


_REACH = 10 * SIGMA  # what is further away has a probability below 2^-70
_TABLE = _table()


def _products(matrix: NDArray[np.int8] | Words, vectors: Words) -> Words:
    """The product of each vector with the matrix, shape (vectors, rows)."""
    out = np.empty((len(vectors), len(matrix)), np.uint32)
    _multiply(_read_only(matrix), _read_only(vectors), out)
    return out


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """So that the kernel is compiled for one kind of array, mapped from files or not."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@compiled
def _multiply(matrix: NDArray[np.int8] | Words, vectors: Words, out: Words) -> None:
    """Four rows at a time: a vector is then read from cache once for four sums, and the sums do not wait for one another."""
    rows, width = matrix.shape
    whole = rows // 4 * 4
    for row in range(0, whole, 4):
        m0, m1, m2, m3 = matrix[row], matrix[row + 1], matrix[row + 2], matrix[row + 3]
        for number in range(len(vectors)):
            vector = vectors[number]
            s0, s1, s2, s3 = np.uint32(0), np.uint32(0), np.uint32(0), np.uint32(0)
            for i in range(width):
                x = vector[i]
                s0 = np.uint32(s0 + np.uint32(m0[i]) * x)
                s1 = np.uint32(s1 + np.uint32(m1[i]) * x)
                s2 = np.uint32(s2 + np.uint32(m2[i]) * x)
                s3 = np.uint32(s3 + np.uint32(m3[i]) * x)
            out[number, row], out[number, row + 1], out[number, row + 2], out[number, row + 3] = s0, s1, s2, s3
    for row in range(whole, rows):
        for number in range(len(vectors)):
            s = np.uint32(0)
            for i in range(width):
                s = np.uint32(s + np.uint32(matrix[row, i]) * vectors[number, i])
            out[number, row] = s
