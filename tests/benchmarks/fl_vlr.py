"""Vertical logistic regression between two owners, beside FATE's published time and beside our own two-party secret sharing.

FATE publishes, for its logistic regression without an arbiter (Hetero-SSHE-LR, FATE 2.0, ``doc/2.0/fate/performance.md``), 4 min
54 s for an epoch of 100 000 rows of 30 + 300 columns, on two hosts with 16 cores each and a network of 1 Gb/s.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.vertical.coefficients import Coefficients
from tallystick_node.engines.fl.vertical.regression import Settings, Table, train
from tallystick_node.engines.he.paillier.keys import PrivateKey, generate
from tallystick_node.engines.mpc.array import Immediate, SecretArray
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.models.glm import Descent, fit
from tallystick_node.engines.mpc.plan.kinds import Type, fixed
from tallystick_node.engines.mpc.protocol import Shares
from tallystick_node.engines.mpc.ring import FixedPoint

from benchmarks.parties import Measured, measure

FATE_SECONDS, FATE_ROWS, FATE_CORES = 294.0, 100_000, 32
GUEST, HOST = 30, 300
ROWS, BATCH, RATE, BITS = 1024, 1024, 0.5, 2048
FRACTION = 18

Floats = NDArray[np.float64]


def run() -> dict[str, Any]:
    """An epoch of logistic regression, 1024 rows of 30 + 300 columns: Paillier, and secret sharing; beside FATE's figure, scaled.

    Both of ours are two processes with one thread each over mutual TLS. The times take in the exchange of keys, the base transfers
    and the last messages; Paillier keys are made before.
    """
    paillier = measure(2, _keys, _train, 1, _check)
    shared = measure(2, _nothing, _train_shared, 1)
    peer = FATE_SECONDS * ROWS / FATE_ROWS
    rows = [_row("paillier", paillier, peer), _row("secret sharing", shared, peer)]
    return {
        "ours": paillier.median,
        "unit": "s an epoch",
        "peer": "FATE 2.0 Hetero-SSHE-LR, as published",
        "peer_value": peer,
        "ratio": paillier.median / peer,
        "ratio_to_secret_sharing": paillier.median / shared.median,
        "note": f"FATE was not run: its {FATE_SECONDS:g} s for {FATE_ROWS} rows on {FATE_CORES} cores are scaled to {ROWS} rows,"
        " not to our cores; ratio_cpu in the rows is to its core seconds",
        "rows": rows,
    }


def _row(what: str, measured: Measured, peer: float) -> dict[str, Any]:
    cores = measured.row()["cpu"] / (peer * FATE_CORES)
    sys.stderr.write(f"{what}: {measured.median:.2f} s, {measured.bytes / 1e6:.1f} MB; FATE scaled {peer:.2f} s\n")
    return {
        "what": what,
        "size": f"{ROWS} x ({GUEST}+{HOST})",
        **measured.row(),
        "ratio": measured.median / peer,
        "ratio_cpu": cores,
    }


def _data() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(1)
    columns = np.clip(rng.normal(size=(ROWS, GUEST + HOST)) / 3, -4, 4)
    return columns, (columns @ rng.normal(size=GUEST + HOST) > 0).astype(np.float64)


def _keys(_session: Session) -> PrivateKey:
    return generate(BITS)


def _nothing(_session: Session) -> None:
    return None


def _train(session: Session, key: PrivateKey) -> Coefficients:
    columns, labels = _data()
    own = columns[:, :GUEST] if session.index == 0 else columns[:, GUEST:]
    names = tuple(f"c{number}" for number in range(own.shape[1]))
    table = Table(own, names, labels if session.index == 0 else None)
    return train(session, (0, 1), table, Settings("logistic", 1, BATCH, RATE), BITS, key)


def _check(session: Session, _key: PrivateKey, part: Coefficients) -> None:
    columns, labels = _data()
    first = columns * (0.5 - labels)[:, None]
    expected = -RATE / BATCH * first.sum(axis=0)
    own = expected[:GUEST] if session.index == 0 else expected[GUEST:]
    if np.abs(np.array(part.weights) - own).max() > 2e-3:
        raise AssertionError("the weights are wrong")


def _train_shared(session: Session, _state: None) -> Shares:
    """By the engine of secret sharing, inputs shared first."""
    protocol = ObliviousAdditive(session)
    columns, labels = _data()
    encode = FixedPoint(FRACTION).encode
    parts = [(0, columns[:, :GUEST]), (1, columns[:, GUEST:])]
    shares = [protocol.share(owner, own.shape, encode(own) if session.index == owner else None) for owner, own in parts]
    table = Shares((np.concatenate([each.parts[0] for each in shares], axis=1),))
    target = protocol.share(0, labels.shape, encode(labels) if session.index == 0 else None)
    engine = Immediate(protocol, ["0", "1"], FRACTION)
    features, answer = (SecretArray(engine, each, Type(each.shape, fixed(FRACTION))) for each in (table, target))
    found: Shares = fit(features, answer, "logistic", Descent(1, BATCH, RATE), ridge=0).reference
    return found
