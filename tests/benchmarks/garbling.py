"""Garbled circuits: AND gates a second beside the AES that they need, measured in the same run through the same call."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tallystick_node.engines.channel import Session
from tallystick_node.engines.garbling.aes128 import aes128
from tallystick_node.engines.garbling.arithmetic import comparator
from tallystick_node.engines.garbling.circuit import Circuit
from tallystick_node.engines.garbling.halfgates import Hash, Tables, evaluate, garble
from tallystick_node.engines.garbling.plan import plan_of
from tallystick_node.engines.garbling.sha256 import sha256
from tallystick_node.engines.garbling.two_party import Garbled, Yao
from tallystick_node.engines.mpc.prss import Stream

from benchmarks.parties import measure

REPEATS = 5
BLOCKS = 1 << 14  # encrypted at a time: as many as the garbler's hash takes
ROUNDS = 64
WAITING = 1 << 20  # garbled tables: 32 MiB
WORK: dict[str, tuple[Callable[[], Circuit], int]] = {
    "AES-128": (aes128, 1024),
    "SHA-256": (sha256, 128),
    "64-bit less-than": (lambda: comparator(64), 1 << 16),
}


def run() -> dict[str, Any]:
    """AND gates garbled and evaluated a second on one core, and by two processes, beside what the AES alone would allow.

    An AND takes four blocks of AES at the garbler and two at the evaluator, so that one core that does both can do no more than a
    sixth of its blocks a second, and two processes with a core each no more than a quarter. Two processes run the protocol over the
    channels of a real run, from garbled inputs to garbled outputs. Each number is the best of several.
    """
    rows = []
    for name, (make, count) in WORK.items():
        circuit = make()
        ands = len(plan_of(circuit).ands) * count
        blocks = BLOCKS * ROUNDS / _best(_aes)
        one = ands / _best(lambda circuit=circuit, count=count: _alone(circuit, count))
        measured = measure(2, partial(_setup, name), _work, REPEATS, _check)
        two = ands / measured.best
        rows += [
            {"circuit": name, "rows": count, "processes": 1, "ours": one, "aes_limit": blocks / 6, "fraction": one * 6 / blocks},
            {"circuit": name, "rows": count, "processes": 2, "ours": two, "aes_limit": blocks / 4, "fraction": two * 4 / blocks}
            | measured.row(),
        ]
        sys.stderr.write(f"{name}: {one / 1e6:.1f} M AND/s alone, {two / 1e6:.1f} by two; {blocks / 1e6:.0f} M blocks of AES\n")
    worst = min((row for row in rows if row["processes"] == 1), key=lambda row: row["fraction"])
    return {"unit": "AND/s", **{key: worst[key] for key in ("ours", "aes_limit", "fraction")}, "rows": rows}


def _best(work: Callable[[], object]) -> float:
    """The least CPU seconds of this process, all in one thread; the first time compiles and is not counted."""
    seconds = []
    for _ in range(REPEATS + 1):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds[1:])


def _aes() -> None:
    hashing = Hash(bytes(16))
    hashing.tweak(BLOCKS)
    blocks = hashing.blocks(BLOCKS)
    blocks[:] = 0
    for _ in range(ROUNDS):
        hashing.permuted(blocks)


def _alone(circuit: Circuit, rows: int) -> None:
    """Garble and evaluate some rows after the others, so that few tables wait; all inputs are zero."""
    plan, seed = plan_of(circuit), secrets.token_bytes(16)
    delta = np.frombuffer(secrets.token_bytes(16), np.uint64) | np.array([1, 0], np.uint64)
    garbling, evaluating, labels = Hash(seed), Hash(seed), Stream(secrets.token_bytes(16))
    size = max(1, WAITING // len(plan.ands))
    for start in range(0, rows, size):
        width = min(size, rows - start)
        zeros = labels.elements((plan.inputs, width, 2))
        tables: list[Tables] = []
        expected = garble(plan, zeros, delta, garbling, lambda made, tables=tables: tables.append(made.copy()))
        queue = iter(tables)
        found = evaluate(plan, zeros, evaluating, lambda _, queue=queue: next(queue))
        if not np.isin(found ^ expected, [0, *delta]).all():
            sys.exit("an output label is of neither kind")


def _setup(name: str, session: Session) -> tuple[Yao, Circuit, list[Garbled]]:
    make, rows = WORK[name]
    circuit, yao = make(), Yao(session)
    owners = [number % 2 for number in range(len(circuit.inputs))]
    values = [
        yao.share(owner, width, rows, np.zeros((width, rows), np.uint8) if owner == session.index else None)
        for owner, width in zip(owners, circuit.inputs, strict=True)
    ]
    return yao, circuit, values


def _work(_: Session, state: tuple[Yao, Circuit, list[Garbled]]) -> tuple[Garbled, ...]:
    yao, circuit, values = state
    return yao.evaluate(circuit, *values)


def _check(_: Session, state: tuple[Yao, Circuit, list[Garbled]], result: tuple[Garbled, ...]) -> None:
    """A fast wrong answer is no answer."""
    yao, circuit, values = state
    wanted = circuit.evaluate(*(np.zeros((value.width, 1), np.uint8) for value in values))
    for found, bits in zip(result, wanted, strict=True):
        opened = yao.reveal(found)
        if opened is None or (opened != bits).any():
            sys.exit("another result than in the clear")
