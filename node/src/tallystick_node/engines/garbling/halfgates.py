"""Half-gates garbling with free XOR and point-and-permute (Zahur, Rosulek and Evans, EUROCRYPT 2015): 32 bytes for each AND.

A wire's two labels are 128 bits: W for zero and W + D for one, D secret and odd, so that their lowest bits (colours) differ. The
garbler computes four hashes for an AND and sends two ciphertexts; the evaluator, who holds one label of each wire, computes two.

The hash is H(x, i) = E_k(s(x) + i) + s(x) + i with AES-128 as E and the linear orthomorphism s(l, r) = (l + r, l) of Guo, Katz,
Wang and Yu (S&P 2020, section 7): the form that the half-gates paper has, one call of AES for each hash. In the ideal-cipher model
it is circular correlation robust for labels as garbling derives them, sums of random ones and D: two inputs under one key, or one
and a call made offline, meet only by chance. So that a call made offline can meet few of them, the key k is replaced by the next of
a public random stream after 2^16 hashes (Guo, Katz, Wang, Weng and Yu, CRYPTO 2020, change it with every tweak); the tweak i counts
on under one key. p calls of AES find D with probability about p 2^-110.

Labels of many rows are uint64 arrays (..., rows, 2); tables are (gates, rows, 4). The frontier, three-halves garbling (Rosulek and
Roy, CRYPTO 2021), would send 25 bytes instead of 32, for more hashing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.garbling.plan import TABLES, Plan, Slots
from tallystick_node.engines.mpc.prss import SEED, Stream

Labels = NDArray[np.uint64]
Tables = NDArray[np.uint64]

_PER_KEY = 1 << 16  # hashes under one key


class Hash:
    """The hash of one direction of one session, from a public random seed; both parties hash in the same order."""

    def __init__(self, seed: bytes) -> None:
        self._keys = Stream(seed)
        self._left = 0
        self._tweak = np.uint64(0)
        self._blocks = np.empty((0, 2), np.uint64)
        self._ciphertexts = np.empty((0, 2), np.uint64)

    def tweak(self, count: int) -> np.uint64:
        """The first of the next ``count`` tweaks, which are used under one key."""
        if count > self._left:
            key = self._keys.elements((SEED,), np.uint8).tobytes()
            self._cipher = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()  # noqa: S305 - the permutation itself is wanted
            self._left = max(_PER_KEY, count)
            self._tweak = np.uint64(0)
        first = self._tweak
        self._left -= count
        self._tweak = first + np.uint64(count)
        return first

    def blocks(self, count: int) -> Labels:
        """Room for ``count`` blocks (count, 2), used again by the next call."""
        if count > len(self._blocks):
            self._blocks = np.empty((count, 2), np.uint64)
            self._ciphertexts = np.empty((count + 1, 2), np.uint64)  # OpenSSL's binding asks for room for a block more
        return self._blocks[:count]

    def permuted(self, blocks: Labels) -> Labels:
        """Every block encrypted under the current key; valid until the next call."""
        out = self._ciphertexts[: len(blocks) + 1]
        self._cipher.update_into(blocks.data.cast("B"), out.data.cast("B"))
        return out


def garble(plan: Plan, zeros: Labels, delta: Labels, hashing: Hash, send: Callable[[Tables], None]) -> Labels:
    """Garble a circuit for every row; returns the zero labels of the output bits.

    ``zeros`` are the zero labels of the inputs (inputs, rows, 2), ``delta`` is D (2,). ``send`` gets the tables in order, as arrays
    (n, 4), n at most ``TABLES``, valid during the call.
    """
    rows = zeros.shape[1]
    results = np.empty((len(plan.results), rows, 2), np.uint64)
    room = np.empty((TABLES, 4), np.uint64)
    for start, stop in plan.parts(rows):
        width = stop - start
        labels = np.empty((plan.slots, width, 2), np.uint64)
        labels[: plan.inputs] = zeros[:, start:stop]
        for group in plan.messages(width):
            done = 0
            for step in group:
                _xor(labels, plan.xors[slice(*step.xors)])
                gates = plan.ands[slice(*step.ands)]
                count = len(gates) * width
                if count:
                    tweak = hashing.tweak(2 * count)
                    blocks = hashing.blocks(4 * count)
                    _ask_both(labels, gates, delta, tweak, blocks)
                    ciphertexts = hashing.permuted(blocks)
                    _garble(labels, gates, delta, blocks, ciphertexts, room[done : done + count])
                    done += count
            if done:
                send(room[:done])
        _zeros_out(labels, plan.results, plan.inverted, delta, results[:, start:stop])
    return results


def evaluate(plan: Plan, active: Labels, hashing: Hash, receive: Callable[[int], Tables]) -> Labels:
    """Evaluate what :func:`garble` made, with one label of each input bit and row; returns one of each output bit.

    ``receive(n)`` gives the next message of n tables (n, 4).
    """
    rows = active.shape[1]
    results = np.empty((len(plan.results), rows, 2), np.uint64)
    for start, stop in plan.parts(rows):
        width = stop - start
        labels = np.empty((plan.slots, width, 2), np.uint64)
        labels[: plan.inputs] = active[:, start:stop]
        for group in plan.messages(width):
            total = sum(step.ands[1] - step.ands[0] for step in group) * width
            tables = receive(total) if total else np.empty((0, 4), np.uint64)
            done = 0
            for step in group:
                _xor(labels, plan.xors[slice(*step.xors)])
                gates = plan.ands[slice(*step.ands)]
                count = len(gates) * width
                if count:
                    tweak = hashing.tweak(2 * count)
                    blocks = hashing.blocks(2 * count)
                    _ask_one(labels, gates, tweak, blocks)
                    ciphertexts = hashing.permuted(blocks)
                    _evaluate(labels, gates, blocks, ciphertexts, tables[done : done + count])
                    done += count
        _active_out(labels, plan.results, results[:, start:stop])
    return results


@compiled
def _xor(labels: Labels, gates: Slots) -> None:
    for gate in range(len(gates)):
        left, right, out = labels[gates[gate, 0]], labels[gates[gate, 1]], labels[gates[gate, 2]]
        for row in range(len(out)):
            out[row, 0] = left[row, 0] ^ right[row, 0]
            out[row, 1] = left[row, 1] ^ right[row, 1]


@compiled
def _ask_both(labels: Labels, gates: Slots, delta: Labels, tweak: np.uint64, blocks: Labels) -> None:
    """The four blocks of each gate and row: both labels of the left input, both of the right."""
    rows = labels.shape[1]
    d0, d1 = delta[0] ^ delta[1], delta[0]
    at = 0
    for gate in range(len(gates)):
        left, right = labels[gates[gate, 0]], labels[gates[gate, 1]]
        inversions = np.uint64(gates[gate, 3])
        x = np.uint64(0) - (inversions & np.uint64(1))
        y = np.uint64(0) - (inversions >> np.uint64(1))
        for row in range(rows):
            a0, a1 = left[row, 0] ^ (x & delta[0]), left[row, 1] ^ (x & delta[1])
            b0, b1 = right[row, 0] ^ (y & delta[0]), right[row, 1] ^ (y & delta[1])
            s0 = a0 ^ a1 ^ tweak
            blocks[at, 0], blocks[at, 1] = s0, a0
            blocks[at + 1, 0], blocks[at + 1, 1] = s0 ^ d0, a0 ^ d1
            s0 = b0 ^ b1 ^ (tweak + np.uint64(1))
            blocks[at + 2, 0], blocks[at + 2, 1] = s0, b0
            blocks[at + 3, 0], blocks[at + 3, 1] = s0 ^ d0, b0 ^ d1
            at += 4
            tweak += np.uint64(2)


@compiled
def _garble(labels: Labels, gates: Slots, delta: Labels, blocks: Labels, ciphertexts: Labels, tables: Tables) -> None:
    rows = labels.shape[1]
    at = 0
    one = np.uint64(1)
    d0, d1 = delta[0], delta[1]
    e0, e1 = d0 ^ d1, d0  # the two blocks of a wire differ by it
    for gate in range(len(gates)):
        left, right, out = labels[gates[gate, 0]], labels[gates[gate, 1]], labels[gates[gate, 2]]
        inversions = np.uint64(gates[gate, 3])
        flip_a, flip_b = inversions & one, inversions >> one
        x = np.uint64(0) - flip_a
        for row in range(rows):
            a0, a1 = left[row, 0] ^ (x & d0), left[row, 1] ^ (x & d1)
            colour_a = np.uint64(0) - (a0 & one)
            colour_b = np.uint64(0) - ((right[row, 0] & one) ^ flip_b)
            block = 4 * at
            g0 = ciphertexts[block, 0] ^ ciphertexts[block + 1, 0] ^ e0 ^ (colour_b & d0)
            g1 = ciphertexts[block, 1] ^ ciphertexts[block + 1, 1] ^ e1 ^ (colour_b & d1)
            h0 = ciphertexts[block + 2, 0] ^ ciphertexts[block + 3, 0] ^ e0
            h1 = ciphertexts[block + 2, 1] ^ ciphertexts[block + 3, 1] ^ e1
            tables[at, 0], tables[at, 1] = g0, g1
            tables[at, 2], tables[at, 3] = h0 ^ a0, h1 ^ a1
            sum0 = ciphertexts[block, 0] ^ blocks[block, 0] ^ ciphertexts[block + 2, 0] ^ blocks[block + 2, 0]
            sum1 = ciphertexts[block, 1] ^ blocks[block, 1] ^ ciphertexts[block + 2, 1] ^ blocks[block + 2, 1]
            out[row, 0] = sum0 ^ (colour_a & g0) ^ (colour_b & h0)
            out[row, 1] = sum1 ^ (colour_a & g1) ^ (colour_b & h1)
            at += 1


@compiled
def _ask_one(labels: Labels, gates: Slots, tweak: np.uint64, blocks: Labels) -> None:
    """The two blocks of each gate and row: the label of the left input, that of the right."""
    rows = labels.shape[1]
    at = 0
    for gate in range(len(gates)):
        left, right = labels[gates[gate, 0]], labels[gates[gate, 1]]
        for row in range(rows):
            a0, b0 = left[row, 0], right[row, 0]
            blocks[at, 0], blocks[at, 1] = a0 ^ left[row, 1] ^ tweak, a0
            blocks[at + 1, 0], blocks[at + 1, 1] = b0 ^ right[row, 1] ^ (tweak + np.uint64(1)), b0
            at += 2
            tweak += np.uint64(2)


@compiled
def _evaluate(labels: Labels, gates: Slots, blocks: Labels, ciphertexts: Labels, tables: Tables) -> None:
    rows = labels.shape[1]
    at = 0
    one = np.uint64(1)
    for gate in range(len(gates)):
        left, right, out = labels[gates[gate, 0]], labels[gates[gate, 1]], labels[gates[gate, 2]]
        for row in range(rows):
            colour_a = np.uint64(0) - (left[row, 0] & one)
            colour_b = np.uint64(0) - (right[row, 0] & one)
            for word in range(2):
                hashed = blocks[2 * at, word] ^ ciphertexts[2 * at, word] ^ blocks[2 * at + 1, word] ^ ciphertexts[2 * at + 1, word]
                crossed = colour_b & (tables[at, 2 + word] ^ left[row, word])
                out[row, word] = hashed ^ (colour_a & tables[at, word]) ^ crossed
            at += 1


@compiled
def _zeros_out(labels: Labels, slots: Slots, inverted: NDArray[np.bool_], delta: Labels, results: Labels) -> None:
    for place in range(len(slots)):
        mask = np.uint64(0) - np.uint64(inverted[place])
        for row in range(results.shape[1]):
            for word in range(2):
                label = labels[slots[place], row, word] if slots[place] >= 0 else np.uint64(0)
                results[place, row, word] = label ^ (mask & delta[word])


@compiled
def _active_out(labels: Labels, slots: Slots, results: Labels) -> None:
    for place in range(len(slots)):
        if slots[place] >= 0:
            results[place] = labels[slots[place]]
        else:
            results[place] = np.uint64(0)
