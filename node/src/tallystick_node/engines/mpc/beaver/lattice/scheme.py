"""Encryption that lets the other party multiply by numbers of its own and add (Brakerski, CRYPTO 2012; Fan and Vercauteren, 2012).

One party has a secret key s with coefficients -1, 0 and 1, and encrypts m as (c_0, c_1) with c_0 + c_1 s = Q m / t + e, where c_1
comes from a seed. The other multiplies by plaintext polynomials and adds, then makes the result fresh: it adds an encryption of
zero under the public key, a uniform mask to the plaintext, and noise of 126 bits to c_0. So the key holder learns the masked
plaintext and no more: the noise that depends on the other's numbers has about 71 bits, 76 in a product of matrices, and is drowned
to within 2^-42, or 2^-38, in statistical distance for a whole ciphertext. At last all is scaled down to two of the four primes.

Security: semi-honest. Ring learning with errors in dimension 8192, modulus of 192 bits, ternary secret, errors of standard
deviation 3.24: above 128 bits by the tables of the Homomorphic Encryption Standard (2018), which allow 218 bits. AES as a
pseudo-random function."""

from __future__ import annotations

import secrets

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.compiled import compiled, inlined
from tallystick_node.engines.mpc.beaver.lattice.modular import reduced, times
from tallystick_node.engines.mpc.beaver.lattice.numbers import KEPT, PRIMES, RATIOS, Plain, Signed, lift
from tallystick_node.engines.mpc.beaver.lattice.transform import Modulus, N, Residues
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.mpc.ring import Ring

STEP = "lattice"

WORD = 6  # bytes of a residue on the wire
_SPARE = 64  # words more than are needed, of which one is refused once in 2^27

Rows = np.ndarray[tuple[int, int], np.dtype[np.int64]]


class Polynomials:
    """Rows of polynomials modulo the first primes, of shape (primes, rows, N), to and from the wire."""

    @staticmethod
    def send(session: Session, peer: int, residues: Residues) -> None:
        """6 bytes for each residue."""
        primes = np.array(PRIMES, np.int64)[: len(residues), None, None]
        whole = residues.astype(np.int64)
        whole += (whole >> np.int64(63)) & primes
        send_array(session, peer, np.ascontiguousarray(whole.view(np.uint8).reshape(-1, 8)[:, :WORD]))

    @staticmethod
    def receive(session: Session, peer: int, primes: int, rows: int) -> Residues:
        """Raises ProtocolViolation for a residue that is none."""
        packed = receive_array(session, peer, (primes, rows, N, WORD), STEP, np.uint8)
        words = np.zeros((primes, rows, N, 8), np.uint8)
        words[..., :WORD] = packed
        whole = words.view(np.int64)[..., 0]
        if np.any(whole >= np.array(PRIMES, np.int64)[:primes, None, None]):
            raise ProtocolViolation(peer, STEP, "sent residues that are too large")
        return whole.astype(np.float64)


class KeyHolder:
    """Encrypts, and decrypts what comes back."""

    def __init__(self, session: Session, peer: int) -> None:
        """Draws a key and sends the public one."""
        self._session, self._peer = session, peer
        self._draw = Stream(secrets.token_bytes(SEED))
        self._secret = _transformed(lift(_ternary(self._draw, 1)))
        self._encrypt_into(lift(_errors(self._draw, 1)))

    def encrypt(self, plain: Plain, scaled: Signed) -> None:
        """Encrypt and send rows of m, given as Q m mod t."""
        residues = plain.scaled(scaled)
        residues += lift(_errors(self._draw, len(scaled)))
        self._encrypt_into(residues)

    def _encrypt_into(self, residues: Residues) -> None:
        seed = secrets.token_bytes(SEED)
        first = _transformed(residues)
        rows = residues.shape[1]
        add_products(first, -_uniform(seed, rows), self._secret, _by_one(rows))
        send_array(self._session, self._peer, np.frombuffer(seed, np.uint8))
        Polynomials.send(self._session, self._peer, first)

    def answer(self, rows: int) -> Residues:
        """c_0 + c_1 s of the rows that the peer sent back, modulo Q'."""
        first, second = (Polynomials.receive(self._session, self._peer, KEPT, rows) for _ in range(2))
        _transformed(second)
        total = np.zeros_like(second)
        add_products(total, second, self._secret, _by_one(rows))
        _back(total)
        total += first
        return total


class Multiplier:
    """Multiplies what the key holder encrypted."""

    def __init__(self, session: Session, peer: int) -> None:
        """Waits for the public key."""
        self._session, self._peer = session, peer
        self._draw = Stream(secrets.token_bytes(SEED))
        self._public = self.ciphertexts(1)

    def ciphertexts(self, rows: int) -> tuple[Residues, Residues]:
        """What the key holder encrypted next: c_0 and c_1, transformed."""
        seed = receive_array(self._session, self._peer, (SEED,), STEP, np.uint8).tobytes()
        return Polynomials.receive(self._session, self._peer, len(PRIMES), rows), _uniform(seed, rows)

    def reply(self, sums: tuple[Residues, Residues], plain: Plain, masks: Signed) -> None:
        """Send rows of ciphertexts (transformed), made fresh, with masks (as Q r mod t) added to their plaintexts."""
        rows = sums[0].shape[1]
        fresh = _transformed(lift(_ternary(self._draw, rows)))
        for part, public in zip(sums, self._public, strict=True):
            add_products(part, fresh, public, _by_one(rows))
            _back(part)
        first, second = sums
        first += plain.scaled(masks)
        first += _noise(self._draw, rows)
        second += lift(_errors(self._draw, rows))
        for part in sums:
            Polynomials.send(self._session, self._peer, _scaled_down(part))


def transformed(u: Signed) -> Residues:
    """Plaintext polynomials, to multiply by."""
    return _transformed(lift(u))


def add_products(total: Residues, left: Residues, right: Residues, rows: Rows) -> None:
    """For each (i, j, k) of ``rows``: add row j of ``left`` times row k of ``right`` to row i of ``total``; all are transformed."""
    _add_products(total, left, right, rows, np.array(PRIMES, np.float64))


def _by_one(rows: int) -> Rows:
    """Every row times the one row."""
    return np.array([(row, row, 0) for row in range(rows)], np.int64)


def _transformed(residues: Residues) -> Residues:
    for polynomials, p in zip(residues, PRIMES, strict=False):  # the residues modulo the last primes may be gone
        Modulus.of(p).forward(polynomials)
    return residues


def _back(residues: Residues) -> None:
    for polynomials, p in zip(residues, PRIMES, strict=False):
        Modulus.of(p).backward(polynomials)


def _uniform(seed: bytes, rows: int) -> Residues:
    """The residues that a seed stands for: words of 48 bits, but for those that are no residue."""
    stream, count = Stream(seed), rows * N
    out = np.empty((len(PRIMES), rows, N))
    for number, p in enumerate(PRIMES):
        words = stream.elements((count + _SPARE,)) >> np.uint64(16)
        if np.any(words[:count] >= np.uint64(p)):
            words = words[words < np.uint64(p)]
        out[number] = words[:count].reshape(rows, N)
    return out


def _ternary(stream: Stream, rows: int) -> Signed:
    """Uniform among -1, 0 and 1, to within 2^-63."""
    return (stream.elements((rows, N)) % np.uint64(3)).view(np.int64) - np.int64(1)


def _errors(stream: Stream, rows: int) -> Signed:
    """Centred binomial, of 21 and 21 bits: variance 10.5."""
    out = np.empty((rows, N), np.int64)
    _count_bits(stream.elements((rows, N)), out)
    return out


def _noise(stream: Stream, rows: int) -> Residues:
    """Uniform between -2^125 and 2^125."""
    high, low = (stream.elements((rows, N)) >> np.uint64(1) for _ in range(2))
    residues = lift(high.view(np.int64) - np.int64(1 << 62), 1 << 63)
    residues += lift(low.view(np.int64))
    return residues


def _scaled_down(residues: Residues) -> Residues:
    """The nearest integers to residues modulo Q times Q' / Q, modulo Q'."""
    _scale_down(residues, np.array(PRIMES, np.float64), RATIOS, KEPT)
    return residues[:KEPT]


@compiled
def _add_products(total: Residues, left: Residues, right: Residues, rows: Rows, primes: Residues) -> None:
    for number in range(len(total)):
        p = primes[number]
        inverse = 1 / p
        for entry in range(len(rows)):
            sums = total[number, rows[entry, 0]]
            a, b = left[number, rows[entry, 1]], right[number, rows[entry, 2]]
            for i in range(N):
                sums[i] = reduced(sums[i] + times(a[i], b[i], p, inverse), p, inverse)


@compiled
def _count_bits(words: Ring, out: Signed) -> None:
    for row in range(len(words)):
        for i in range(N):
            first, second = words[row, i] & np.uint64(0x1FFFFF), words[row, i] >> np.uint64(43)
            out[row, i] = np.int64(_ones(first)) - np.int64(_ones(second))


@inlined
def _ones(word: np.uint64) -> np.uint64:
    """The number of ones of a word of at most 32 bits."""
    pairs = word - ((word >> np.uint64(1)) & np.uint64(0x55555555))
    fours = (pairs & np.uint64(0x33333333)) + ((pairs >> np.uint64(2)) & np.uint64(0x33333333))
    eights = (fours + (fours >> np.uint64(4))) & np.uint64(0x0F0F0F0F)
    return ((eights * np.uint64(0x01010101)) >> np.uint64(24)) & np.uint64(0xFF)


@compiled
def _scale_down(residues: Residues, primes: Residues, ratios: Residues, kept: int) -> None:
    """Divide by the last prime, rounding, until ``kept`` are left; ``ratios[k, i]`` is the inverse of prime k modulo prime i."""
    for last in range(len(primes) - 1, kept - 1, -1):
        for number in range(last):
            p, ratio = primes[number], ratios[last, number]
            inverse = 1 / p
            for row in range(residues.shape[1]):
                for i in range(N):
                    rest = reduced(residues[last, row, i], primes[last], 1 / primes[last])
                    difference = reduced(residues[number, row, i] - rest, p, inverse)
                    residues[number, row, i] = reduced(times(difference, ratio, p, inverse), p, inverse)
