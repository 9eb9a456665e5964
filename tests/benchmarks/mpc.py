"""Operations on secrets among processes, ours over mutual TLS with transcripts, beside SPU over plain TCP, in one invocation.

Inputs are shared before, like numbers in the middle of a computation; results stay shared: only the operation is timed, with the
checks of the malicious protocol and the correlated randomness of the two-party one. Our results are revealed afterwards and
compared with NumPy's, like SPU's.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.array import Immediate, SecretArray
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.functions.compare import less
from tallystick_node.engines.mpc.functions.sigmoid import sigmoid
from tallystick_node.engines.mpc.functions.sort import sort
from tallystick_node.engines.mpc.malicious import MaliciousReplicated
from tallystick_node.engines.mpc.models.glm import Descent, fit
from tallystick_node.engines.mpc.plan.kinds import Type, fixed
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares
from tallystick_node.engines.mpc.replicated import Replicated
from tallystick_node.engines.mpc.ring import FixedPoint, decode_integers, encode_integers

from benchmarks.parties import Measured, measure
from benchmarks.peers import python_with

SPU, JAX = "spu==0.9.5", ("jax==0.4.34", "jaxlib==0.4.34")
FRACTION = 18
PROTOCOLS: dict[str, type[Protocol]] = {
    "semi-honest": Replicated,
    "malicious": MaliciousReplicated,
    "two parties": ObliviousAdditive,
}
FEATURES, BATCH, EPOCHS, RATE = 100, 1024, 10, 0.5

Array = NDArray[Any]


@dataclass(frozen=True)
class Operation:
    """``plain`` is what NumPy makes of the ``inputs``; ``secret`` the same on shares; ``tolerance`` how far they may be apart."""

    inputs: Callable[[np.random.Generator, int], list[Array]]
    secret: Callable[..., Shares | Binary]
    plain: Callable[..., Array]
    tolerance: float


def run_mul() -> dict[str, Any]:
    """Products of 10^6 secrets, integer and fixed-point, among three parties, beside SPU (ABY3)."""
    rows = [_beside("mul", 1_000_000, ["ABY3"], repeats=9), _beside("fixed-mul", 1_000_000, ["ABY3"], repeats=9)]
    return _worst(rows)


def run_matmul() -> dict[str, Any]:
    """Fixed-point matrix product of 1000 x 1000 x 1000 among three parties, beside SPU (ABY3)."""
    return _worst([_beside("matmul", 1000, ["ABY3"], repeats=5)])


def run_less() -> dict[str, Any]:
    """10^6 comparisons among three parties, beside SPU (ABY3)."""
    return _worst([_beside("less", 1_000_000, ["ABY3"], repeats=5)])


def run_sigmoid() -> dict[str, Any]:
    """10^6 sigmoids, off by at most 1e-3, among three parties, beside SPU (ABY3)."""
    return _worst([_beside("sigmoid", 1_000_000, ["ABY3"], repeats=3)])


def run_sort() -> dict[str, Any]:
    """A sort of 10^5 fixed-point numbers among three parties, beside the faster of SPU's ABY3 and SEMI2K (two parties, dealer)."""
    return _worst([_beside("sort", 100_000, ["ABY3", "SEMI2K"], repeats=2)])


def run_lr() -> dict[str, Any]:
    """Logistic regression, 10240 x 100, 10 epochs of batches of 1024, three parties, beside the faster of SPU's ABY3 and SEMI2K."""
    return _worst([_beside("lr", 10_240, ["ABY3", "SEMI2K"], repeats=2)])


def run_two() -> dict[str, Any]:
    """10^6 comparisons and products between two parties without a dealer, beside SPU (CHEETAH)."""
    rows = [_beside(name, 1_000_000, ["CHEETAH"], ours=("two parties",), repeats=2) for name in ("less", "mul")]
    return _worst(rows)


# -- both sides


def _beside(
    name: str, size: int, peers: Sequence[str], *, repeats: int, ours: Sequence[str] = ("semi-honest", "malicious")
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for protocol in ours:
        found[protocol] = _ours(protocol, name, size, repeats).row()
        sys.stderr.write(f"{name} {size}: {protocol} {_words(found[protocol])}\n")
    for peer in peers:
        answers[peer] = _spu(peer, name, size, repeats)
        sys.stderr.write(f"{name} {size}: SPU {peer} {_words(answers[peer])}\n")
    best = min(answers, key=lambda peer: answers[peer]["seconds"])
    row: dict[str, Any] = {"what": name, "size": size, "peer": best, "peer_seconds": answers[best]["seconds"], "spu": answers}
    for protocol in ours:
        kind = "_malicious" if protocol == "malicious" else ""
        row[f"ours{kind}"] = found[protocol]
        row[f"ratio{kind}"] = found[protocol]["seconds"] / answers[best]["seconds"]
        row[f"ratio_cpu{kind}"] = found[protocol]["cpu"] / answers[best]["cpu"]  # steadier where other work shares the machine
        row[f"ratio_bytes{kind}"] = found[protocol]["bytes"] / answers[best]["bytes"]
    return row


def _words(row: dict[str, Any]) -> str:
    return f"{row['seconds']:.4f} s, cpu {row['cpu']:.3f} s, {row['bytes'] / 1e6:.1f} MB, {row['messages']} messages of one party"


def _worst(rows: list[dict[str, Any]]) -> dict[str, Any]:
    worst = max(rows, key=lambda row: row["ratio"])
    result = {
        "ours": worst["ours"]["seconds"],
        "unit": "s",
        "peer": f"SPU {SPU.split('==')[1]} {worst['peer']}",
        "peer_value": worst["peer_seconds"],
        "ratio": worst["ratio"],
        "rows": rows,
    }
    if "ratio_malicious" in worst:
        worst = max(rows, key=lambda row: row["ratio_malicious"])
        result |= {"ours_malicious": worst["ours_malicious"]["seconds"], "ratio_malicious": worst["ratio_malicious"]}
    return result


def _spu(protocol: str, name: str, size: int, repeats: int) -> dict[str, Any]:
    interpreter = python_with("spu-jax", SPU, *JAX)
    script = Path(__file__).parent / "peers" / "spu_mpc.py"
    command = [str(interpreter), str(script), protocol, name, str(size), str(repeats)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    found = json.loads(answer.stdout.splitlines()[-1])
    if found["error"] > 0.02:
        sys.exit(f"SPU is off by {found['error']} in {name}")
    seconds, cpu = statistics.median(found["seconds"]), statistics.median(found["cpu"])
    return {**found, "seconds": seconds, "best": min(found["seconds"]), "cpu": cpu}


# -- our parties


def _ours(protocol: str, name: str, size: int, repeats: int) -> Measured:
    parties = 2 if protocol == "two parties" else 3
    parts = [partial(step, protocol, name, size) for step in (_setup, _work, _check)]
    return measure(parties, parts[0], parts[1], repeats, parts[2])


def _inputs(name: str, size: int) -> list[Array]:
    return OPERATIONS[name].inputs(np.random.default_rng(1), size)


def _setup(protocol: str, name: str, size: int, session: Session) -> tuple[Protocol, list[Shares]]:
    running = PROTOCOLS[protocol](session)
    shares = []
    for values in _inputs(name, size):
        encoded = encode_integers(values) if values.dtype.kind == "i" else FixedPoint(FRACTION).encode(values)
        given = running.share(0, values.shape, encoded if session.index == 0 else None)
        shares.append(Shares(running.disclose(given)))  # made fresh: parts of an input may be zero, which costs less
    _settle(running)
    return running, shares


def _work(_protocol: str, name: str, _size: int, _session: Session, state: tuple[Protocol, list[Shares]]) -> Shares | Binary:
    running, shares = state
    result = OPERATIONS[name].secret(running, *shares)
    _settle(running)
    return result


def _settle(running: Protocol) -> None:
    """Checks that wait until something is shown are part of the work."""
    if isinstance(running, MaliciousReplicated):
        running.verify()


def _check(_protocol: str, name: str, size: int, _session: Session, state: tuple[Protocol, Any], result: Any) -> None:
    running = state[0]
    inputs, operation = _inputs(name, size), OPERATIONS[name]
    expected = operation.plain(*inputs)
    if isinstance(result, Binary):
        shown = running.reveal_binary(result)
    else:
        elements = running.reveal(result)
        assert elements is not None
        shown = decode_integers(elements) if inputs[0].dtype.kind == "i" else FixedPoint(FRACTION).decode(elements)
    error = np.max(np.abs(np.asarray(shown, float) - expected.astype(float)))
    if error > operation.tolerance:
        raise ValueError(f"{name} is off by {error}")


def _reals(count: int, scale: float = 1.0) -> Callable[[np.random.Generator, int], list[Array]]:
    return lambda order, size: [order.uniform(-4, 4, size) * scale for _ in range(count)]


def _regression(order: np.random.Generator, size: int) -> list[Array]:
    features = order.normal(size=(size, FEATURES)) / 3
    return [features, (features @ order.normal(size=FEATURES) > 0).astype(float)]


def _fit(protocol: Protocol, features: Shares, labels: Shares) -> Shares:
    """By the product's own function of arrays."""
    engine = Immediate(protocol, [str(party) for party in range(protocol.parties)], FRACTION)
    table, answer = (SecretArray(engine, each, Type(each.shape, fixed(FRACTION))) for each in (features, labels))
    found: Shares = fit(table, answer, "logistic", Descent(EPOCHS, BATCH, RATE), ridge=0).reference
    return found


def _fit_plainly(features: Array, labels: Array) -> Array:
    table = np.column_stack([np.ones(len(features)), features])
    weights = np.zeros(table.shape[1])
    for _ in range(EPOCHS):
        for start in range(0, len(table), BATCH):
            part = table[start : start + BATCH]
            error = labels[start : start + BATCH] - 1 / (1 + np.exp(-part @ weights))
            weights += RATE / BATCH * (part.T @ error)
    return weights


ULP = 2.0**-FRACTION
OPERATIONS = {
    "mul": Operation(
        lambda order, size: [order.integers(-1000, 1000, size) for _ in range(2)],
        lambda protocol, left, right: protocol.multiply(left, right),
        np.multiply,
        0,
    ),
    "fixed-mul": Operation(
        _reals(2), lambda protocol, left, right: protocol.multiply_fixed(left, right, FRACTION), np.multiply, 8 * ULP
    ),
    "matmul": Operation(
        lambda order, size: [order.uniform(-1, 1, (size, size)) for _ in range(2)],
        lambda protocol, left, right: protocol.matmul_fixed(left, right, FRACTION),
        np.matmul,
        1e-3,
    ),
    "less": Operation(_reals(2), less, np.less, 0),
    "sigmoid": Operation(_reals(1), partial(sigmoid, fraction=FRACTION), lambda x: 1 / (1 + np.exp(-x)), 1e-3 + 4 * ULP),
    "sort": Operation(_reals(1), sort, np.sort, ULP),
    "lr": Operation(_regression, _fit, _fit_plainly, 5e-3),
}
