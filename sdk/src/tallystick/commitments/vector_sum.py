"""Vectors of whole numbers as KZG commitments that add up, and the challenge at which they are opened.

A *word* of one party is from 0 to 2^32 - 1, the sum's from 0 to 2^36 - 1: that of at most 16 words. Seven words are one element,
word k of the seven times 2^(36 k), so elements add up lane by lane without a carry, and stay far below r. A vector of words is cut
into *chunks* of at most 4094 elements, 28,658 words; each chunk ends with two random elements that hide it (:mod:`.kzg`), the sum's
with the sums of the parties', modulo r. Each chunk is one commitment.

Given the commitments of all parties and those of the sum, z is a hash of them, and each is opened at z. If the openings hold and
the values of the parties add up to the sum's, the polynomials do: the difference has degree at most 4095, and so at most 4095 roots
of the r that z could be (Schwartz and Zippel). One choice of commitments passes with a false sum with probability below 2^-241; who
tries t choices gains a factor t.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import islice

from tallystick.commitments import kzg
from tallystick.commitments.kzg import BLINDS, ORDER, POINT, SCALAR, SIZE
from tallystick.ethereum import abi_encode, keccak

WORD_BITS, LANE_BITS, LANES = 32, 36, 7
CHUNK_WORDS = LANES * (SIZE - BLINDS)
MAX_CHUNKS = 4
MAX_WORDS = MAX_CHUNKS * CHUNK_WORDS
MAX_PARTIES = 1 << (LANE_BITS - WORD_BITS)
WORD_BYTES = 8  # of a sum's word in a file
_TAG = keccak(b"tallystick/vector-sum/v1")


def chunks_of(words: int) -> int:
    """How many chunks so many words take. Raises ValueError for none, and for more than 4 chunks hold."""
    if not 1 <= words <= MAX_WORDS:
        raise ValueError(f"a vector sum that the chain checks has 1 to {MAX_WORDS} words, not {words}")
    return -(-words // CHUNK_WORDS)


def elements_of(words: Iterable[int], blinds: Sequence[Sequence[int]]) -> list[list[int]]:
    """The elements of every chunk of a vector of words, the party's or the sum's. ``blinds``: two elements for each chunk.

    Raises ValueError for a word that is not from 0 to 2^36 - 1, and for another number of chunks.
    """
    rest, elements = iter(words), []
    while lanes := list(islice(rest, LANES)):
        if min(lanes) < 0 or max(lanes) >> LANE_BITS:
            raise ValueError(f"a word is not from 0 to 2^{LANE_BITS} - 1")
        elements.append(sum(word << (LANE_BITS * k) for k, word in enumerate(lanes)))
        if len(elements) > MAX_CHUNKS * (SIZE - BLINDS):
            raise ValueError(f"a vector sum that the chain checks has at most {MAX_WORDS} words")
    wide = SIZE - BLINDS
    parts = [elements[start : start + wide] for start in range(0, len(elements), wide)]
    if len(parts) != len(blinds):
        raise ValueError(f"the words take {len(parts)} chunks, not {len(blinds)}")
    return [kzg.hidden(part, each) for part, each in zip(parts, blinds, strict=True)]


def challenge(context: bytes, inputs: bytes, total: bytes) -> int:
    """z, as ``VectorSumVerifier.challenge`` computes it: of the attempt, the hash of all parties' commitments, and that of the
    sum's."""
    hashed = keccak(abi_encode(["bytes32"] * 4, [_TAG, context, inputs, total]))
    return int.from_bytes(hashed, "big") % ORDER


def write_sum(words: Iterable[int], blinds: Sequence[Sequence[int]]) -> Iterable[bytes]:
    """The sum's file, in pieces: the two elements of each chunk, 32 bytes each, big-endian; then the words, eight bytes each,
    little-endian."""
    yield b"".join(each.to_bytes(SCALAR, "big") for pair in blinds for each in pair)
    rest = iter(words)
    while piece := list(islice(rest, 1 << 12)):
        yield struct.pack(f"<{len(piece)}Q", *piece)


def read_sum(content: Iterable[bytes], chunks: int) -> list[list[int]]:
    """The elements of every chunk of the sum, from its file. Raises ValueError when it is not one of so many chunks."""
    head, most = SCALAR * BLINDS * chunks, SCALAR * BLINDS * chunks + WORD_BYTES * MAX_WORDS
    data = bytearray()
    for piece in content:
        data += piece
        if len(data) > most:
            raise ValueError(f"it has more than {most} bytes")
    if len(data) <= head or (len(data) - head) % WORD_BYTES:
        raise ValueError("it does not hold whole words after the elements that hide it")
    flat = [int.from_bytes(data[at : at + SCALAR], "big") for at in range(0, head, SCALAR)]
    if any(each >= ORDER for each in flat):
        raise ValueError("an element that hides it is not below the field's order")
    words = struct.unpack(f"<{(len(data) - head) // WORD_BYTES}Q", data[head:])
    return elements_of(words, [flat[at : at + BLINDS] for at in range(0, len(flat), BLINDS)])


def hash_of(commitments: Iterable[bytes | None]) -> bytes:
    """keccak-256 over commitments one after the other; 48 zeros for None, of a party without input."""
    return keccak(b"".join(bytes(POINT) if each is None else each for each in commitments))
