"""The compression function of SHA-256 as a circuit (FIPS 180-4, section 6.2.2): about 22,500 AND gates."""

from __future__ import annotations

from functools import cache
from itertools import count
from math import isqrt

from tallystick_node.engines.garbling.builder import Builder, Word
from tallystick_node.engines.garbling.circuit import Circuit

_ROUNDS = 64
_WORD = 32


@cache
def sha256() -> Circuit:
    """One block: inputs the message block (512 bits) and the state (256), output the next state, all big-endian strings."""
    builder = Builder()
    schedule, state = _words(builder.input(512)), _words(builder.input(256))
    for i in range(16, _ROUNDS):
        early = _mixed(builder, schedule[i - 15], (7, 18), 3)
        late = _mixed(builder, schedule[i - 2], (17, 19), 10)
        schedule.append(builder.add_many([schedule[i - 16], early, schedule[i - 7], late]))
    a, b, c, d, e, f, g, h = state
    for word, constant in zip(schedule, _constants(), strict=True):
        choice = builder.select_words(e, f, g)
        first = builder.add_many([h, _mixed(builder, e, (6, 11, 25)), choice, builder.word(constant, _WORD), word])
        second = builder.add(_mixed(builder, a, (2, 13, 22)), builder.majority(a, b, c))
        a, b, c, d, e, f, g, h = builder.add(first, second), a, b, c, builder.add(d, first), e, f, g
    final = [builder.add(old, new) for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]
    builder.output([bit for word in reversed(final) for bit in word])
    return builder.build()


def initial() -> bytes:
    """The state before the first block: the fractions of the square roots of the first eight primes."""
    return b"".join((isqrt(prime << 64) & 0xFFFFFFFF).to_bytes(4) for prime in _primes(8))


def pad(message: bytes) -> list[bytes]:
    """The blocks of a message (section 5.1.1)."""
    padded = message + b"\x80" + bytes(-(len(message) + 9) % 64) + (8 * len(message)).to_bytes(8)
    return [padded[i : i + 64] for i in range(0, len(padded), 64)]


def _words(word: Word) -> list[Word]:
    return [word[i : i + _WORD] for i in reversed(range(0, len(word), _WORD))]


def _mixed(builder: Builder, word: Word, turns: tuple[int, ...], shift: int | None = None) -> Word:
    """XOR of the word rotated right, and shifted right."""
    mixed = builder.xor_words(*(word[turn:] + word[:turn] for turn in turns))
    if shift is not None:
        mixed = [builder.xor(bit, word[i + shift]) if i + shift < _WORD else bit for i, bit in enumerate(mixed)]
    return mixed


def _primes(number: int) -> list[int]:
    primes: list[int] = []
    for candidate in count(2):
        if len(primes) == number:
            break
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
    return primes


def _constants() -> list[int]:
    """The first 32 bits of the fractions of the cube roots of the first 64 primes."""
    return [_cube_root(prime << 96) & 0xFFFFFFFF for prime in _primes(_ROUNDS)]


def _cube_root(number: int) -> int:
    low, high = 0, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle)
    return low
