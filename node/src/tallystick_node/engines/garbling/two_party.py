"""Yao's protocol between two parties over a session: any circuit, on many rows at once, in a constant number of rounds.

The garbler holds both labels of every wire, the evaluator one. The garbler's inputs arrive as labels, the evaluator's by correlated
oblivious transfer whose delta is the garbling's (:mod:`tallystick_node.engines.ot.correlated`), so that they cost no ciphertexts.
Tables are sent as they are made, a megabyte at a time. Values stay garbled between circuits: only :meth:`Yao.reveal` opens any.

Security: semi-honest, either party, with labels of 128 bits of which one bit is known; the hash loses 16 bits more
(:mod:`halfgates`). A garbler that deviates can garble another circuit than was agreed, and learn from the evaluator's result what
it must not: nothing here checks it (cut-and-choose and authenticated garbling would). An evaluator that deviates cannot forge
what it reports to the garbler: the report proves that it holds the labels. A message of another length names its sender and step.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.garbling.circuit import Bits, Circuit, split
from tallystick_node.engines.garbling.halfgates import Hash, Labels, Tables, evaluate, garble
from tallystick_node.engines.garbling.plan import plan_of
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.ot.correlated import GlobalReceiver, GlobalSender
from tallystick_node.engines.security import SecurityStatement

_BATCH = 1 << 26  # bytes of input labels that :meth:`Yao.compute` holds at a time
_DOMAIN = b"tallystick/v1/garbled-output\0"
_DIGEST = 32


def security() -> SecurityStatement:
    """What the protocol promises."""
    return SecurityStatement(
        adversary="semi-honest",
        corruptions=1,
        parties=2,
        computational_bits=110,
        statistical_bits=100,
        trusted=(),
        learns={"garbler": "nothing", "evaluator": "nothing"},
        references=(
            "S. Zahur, M. Rosulek and D. Evans, Two Halves Make a Whole, EUROCRYPT 2015",
            "C. Guo, J. Katz, X. Wang and Y. Yu, S&P 2020, section 7",
            "C. Guo, J. Katz, X. Wang, C. Weng and Y. Yu, CRYPTO 2020",
        ),
    )


@dataclass(frozen=True)
class Garbled:
    """Secret bits of many rows, as one party holds them: (width, rows, 2) labels, of zero at the garbler, of the bit at the
    evaluator."""

    labels: Labels

    @property
    def width(self) -> int:
        """The number of bits."""
        return len(self.labels)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.labels.shape[1])

    def __xor__(self, other: Garbled) -> Garbled:
        return Garbled(self.labels ^ other.labels)

    def __getitem__(self, bits: Any) -> Garbled:
        return Garbled(self.labels[bits])

    def colours(self) -> Bits:
        """The lowest bit of each label: the two parties' colours XOR to the secret bits."""
        return (self.labels[..., 0] & np.uint64(1)).astype(np.uint8)


class Yao:
    """One party's side. Both call the same methods in the same order with the same public arguments.

    Constructing it makes base transfers, about 0.1 s, and draws one delta for everything that follows.
    """

    def __init__(self, session: Session, garbler: int = 0) -> None:
        if session.parties != 2 or garbler not in (0, 1):
            raise ValueError("Yao's protocol is for two parties, one of which garbles")
        self.session = session
        self.garbler = garbler
        self.garbles = session.index == garbler
        self._peer = 1 - session.index
        session.mark("hash seed")
        if self.garbles:
            seed = np.frombuffer(secrets.token_bytes(SEED), np.uint8)
            send_array(session, self._peer, seed)
        else:
            seed = receive_array(session, self._peer, (SEED,), "hash seed", np.uint8)
        self._hash = Hash(seed.tobytes())
        self._labels = Stream(secrets.token_bytes(SEED))
        self._transfers = GlobalSender(session, self._peer) if self.garbles else GlobalReceiver(session, self._peer)

    # -- in and out

    def share(self, owner: int, width: int, rows: int, bits: Bits | None = None) -> Garbled:
        """Secret bits of one party, (width, rows) of uint8 zeros and ones; only ``owner`` gives ``bits``.

        One round: 16 bytes a bit if the garbler owns them; the transfers' rows if the evaluator does. Raises ValueError for bits of
        another shape or value.
        """
        if (bits is not None) != (owner == self.session.index):
            raise ValueError("exactly the owner gives bits")
        if bits is not None and (bits.shape != (width, rows) or bits.dtype != np.uint8 or bits.max(initial=0) > 1):
            raise ValueError("bits are zeros and ones of the announced shape")
        shape = (width, rows, 2)
        if owner != self.garbler:
            self.session.mark("evaluator's input")
            if isinstance(self._transfers, GlobalSender):
                return Garbled(self._transfers.strings(width * rows).reshape(shape))
            assert bits is not None
            return Garbled(self._transfers.strings(np.ascontiguousarray(bits).reshape(-1)).reshape(shape))
        self.session.mark("garbler's input")
        if bits is None:
            return Garbled(receive_array(self.session, self._peer, shape, "garbler's input"))
        zeros = self._labels.elements(shape)
        send_array(self.session, self._peer, self._ones(zeros, bits))
        return Garbled(zeros)

    def public(self, bits: Bits) -> Garbled:
        """Public bits (width, rows), without a message: the evaluator's label is zero, whatever the bit."""
        nothing = np.zeros((*bits.shape, 2), np.uint64)
        return Garbled(self._ones(nothing, bits) if self.garbles else nothing)

    def reveal(self, secret: Garbled, to: Sequence[int] = (0, 1)) -> Bits | None:
        """The bits (width, rows) at the parties of ``to``, None elsewhere. One round for each of them, one bit a bit.

        Raises ProtocolViolation at the garbler when the evaluator reports bits whose labels it does not hold.
        """
        bits = None
        if self.garbler in to:
            self.session.mark("output")
            if self.garbles:
                bits = self._accept(secret)
            else:
                self._report(secret)
        if 1 - self.garbler in to:
            self.session.mark("decoding")
            if self.garbles:
                send_array(self.session, self._peer, np.packbits(secret.colours()))
            else:
                bits = secret.colours() ^ self._packed(secret, "decoding")
        return bits

    # -- circuits

    def evaluate(self, circuit: Circuit, *values: Garbled) -> tuple[Garbled, ...]:
        """The circuit's outputs, row by row. One message after another from the garbler, 32 bytes for each AND and row.

        Raises CircuitError when the values do not fit the circuit.
        """
        circuit.require([value.labels for value in values])
        inputs = np.concatenate([value.labels for value in values])
        plan = plan_of(circuit)
        self.session.mark("tables")
        if isinstance(self._transfers, GlobalSender):
            results = garble(plan, inputs, self._transfers.delta, self._hash, self._send_tables)
        else:
            results = evaluate(plan, inputs, self._hash, self._receive_tables)
        return tuple(Garbled(labels) for labels in split(results, circuit.outputs))

    def compute(
        self, circuit: Circuit, owners: Sequence[int], values: Sequence[Bits | None], rows: int, to: Sequence[int] = (0, 1)
    ) -> tuple[Bits, ...] | None:
        """Inputs, circuit and outputs in one, a batch of rows after another, so that the memory needed does not grow with the rows.

        ``owners`` says whose each input is; ``values`` holds this party's (width, rows), and None for the peer's. The outputs
        (width, rows) at the parties of ``to``, None elsewhere. So party 1 alone learns whether party 0 has less than it::

            mine = bits_of(np.array([fortune], np.uint64), 64)
            values = [mine, None] if session.index == 0 else [None, mine]
            answer = Yao(session).compute(comparator(64), [0, 1], values, rows=1, to=[1])
        """
        size = max(1, _BATCH // (16 * sum(circuit.inputs)))
        found = []
        for start in range(0, rows, size):
            count = min(size, rows - start)
            given = [None if value is None else value[:, start : start + count] for value in values]
            inputs = [
                self.share(owner, width, count, bits) for owner, width, bits in zip(owners, circuit.inputs, given, strict=True)
            ]
            outputs = self.evaluate(circuit, *inputs)
            found.append(self.reveal(Garbled(np.concatenate([output.labels for output in outputs])), to))
            self.session.progress("garbling", (start + count) / rows)
        if self.session.index not in to:
            return None
        empty = np.empty((sum(circuit.outputs), 0), np.uint8)
        return split(np.concatenate([empty, *(bits for bits in found if bits is not None)], axis=1), circuit.outputs)

    # -- steps

    def _ones(self, zeros: Labels, bits: Bits) -> Labels:
        """The labels of bits."""
        assert isinstance(self._transfers, GlobalSender)
        return zeros ^ (np.uint64(0) - bits.astype(np.uint64))[..., None] & self._transfers.delta

    def _report(self, secret: Garbled) -> None:
        send_array(self.session, self._peer, np.packbits(secret.colours()))
        send_array(self.session, self._peer, np.frombuffer(_digest(secret.labels), np.uint8))

    def _accept(self, secret: Garbled) -> Bits:
        bits = secret.colours() ^ self._packed(secret, "output")
        proof = receive_array(self.session, self._peer, (_DIGEST,), "output", np.uint8)
        if not hmac.compare_digest(proof.tobytes(), _digest(self._ones(secret.labels, bits))):
            raise ProtocolViolation(self._peer, "output", "reported bits whose labels it does not hold")
        return bits

    def _packed(self, secret: Garbled, step: str) -> Bits:
        count = secret.width * secret.rows
        packed = receive_array(self.session, self._peer, (-(-count // 8),), step, np.uint8)
        return np.unpackbits(packed, count=count).reshape(secret.width, secret.rows)

    def _send_tables(self, tables: Tables) -> None:
        send_array(self.session, self._peer, tables)

    def _receive_tables(self, count: int) -> Tables:
        return receive_array(self.session, self._peer, (count, 4), "tables")


def _digest(labels: Labels) -> bytes:
    return hashlib.sha256(_DOMAIN + np.ascontiguousarray(labels).tobytes()).digest()
