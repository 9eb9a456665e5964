"""A tree of SecureBoost between two owners, and the same on shares of three parties, beside FATE's published time.

Ours are processes of their own over mutual TLS. FATE is not run here: it needs a cluster of services. Its figure is from its
repository, in ``doc/2.0/fate/performance/performance_multi_engines.md``: Hetero-SecureBoost of FATE 2.0 takes 2 min 11 s for a
tree (there an epoch) on the fastest of its engines, with 16 cores of a Xeon Platinum 8255C at each of two owners, 100,000 rows,
and 30 columns with the label and 300 without. Its depth, bins and key are not said there; ours are FATE's defaults but for the key,
which is of 1024 bits by default there and of 2048 here.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.vertical.boosting import Settings, fit
from tallystick_node.engines.fl.vertical.parts import Branch, Part
from tallystick_node.engines.fl.vertical.secureboost import assist, lead
from tallystick_node.engines.fl.vertical.shared import SharedBoosting
from tallystick_node.engines.he.paillier.keys import generate
from tallystick_node.engines.mpc.array.immediate import decoded
from tallystick_node.engines.mpc.plan.kinds import encode
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.plan.roles import Cast
from tallystick_node.engines.mpc.plan.roles import Part as Role

from benchmarks.parties import measure

PUBLISHED = {"seconds": 131.0, "rows": 100_000, "columns": 300, "cores": 16}
SIZE = (10_000, 3, 30)  # rows, columns with the label and without
SETTINGS = Settings(trees=1, depth=3, bins=32, rate=0.3, penalty=0.1, child_weight=0.0, child_rows=2)
BITS = 2048
REPEATS = 1


class Owner:
    """One owner's columns of the same made-up people; owner 0 has the label."""

    def __init__(self, rows: int, few: int, many: int, session: Session) -> None:
        self.columns, self.labels = people(rows, few + many)
        self.own = self.columns[:, :few] if session.index == 0 else self.columns[:, few:]
        self.names = [f"c{number}" for number in range(self.own.shape[1])]
        self.key = generate(BITS) if session.index == 0 else None


class Sharer:
    """One of three parties that grow the tree on shares: the two owners, and one that computes."""

    parties = ("label", "other", "third")

    def __init__(self, session: Session) -> None:
        rows, few, many = SIZE
        self.name = self.parties[session.index]
        self.columns, self.labels = people(rows, few + many)
        self.boosting = SharedBoosting({"label": few, "other": many}, rows, 0, SETTINGS)
        self.plan = self.boosting.plan()
        self.kinds = {each.name: each.kind for each in self.plan.inputs}
        self.own = {"label": self.columns[:, :few], "other": self.columns[:, few:]}.get(self.name)

    def run(self, session: Session) -> Part | None:
        """The party's part of the model, if it gets one."""
        inputs = {}
        if self.own is not None:
            prepared = self.boosting.prepare(self.name, self.own, self.labels if self.name == "label" else None)
            inputs = {name: encode(values, self.kinds[name]) for name, values in prepared.items()}
        shown = Role(self.plan, OFFERS["replicated"], Cast(self.parties, self.parties), session).run(inputs)
        if self.own is None:
            return None
        kinds = {each.name: self.plan.types[each.value].kind for each in self.plan.reveals}
        found = {name: decoded(elements, kinds[name]) for name, elements in shown.items()}
        return self.boosting.part(self.name, self.own, [f"c{number}" for number in range(self.own.shape[1])], found)


def people(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Columns, and a label that depends on all of them."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(rows, columns))
    return table, table @ rng.normal(size=columns) + rng.normal(size=rows) > 0


def run() -> dict[str, Any]:
    """Processor seconds for a tree of depth 3 on 10,000 rows of 33 columns of two owners, beside FATE's published time.

    Of both owners together: as long as a tree takes, at most, where each has a core of its own. Other work on the machine disturbs
    it less than the time on the clock, which is in ``rows``.
    """
    measured = measure(2, partial(Owner, *SIZE), _work, REPEATS, _check)
    shared = measure(3, Sharer, _share, REPEATS).row()
    rows, _, columns = SIZE
    peer = PUBLISHED["seconds"] * rows / PUBLISHED["rows"] * columns / PUBLISHED["columns"] * PUBLISHED["cores"]
    row = measured.row()
    for what, each in (("encrypted", row), ("on shares", shared)):
        sys.stderr.write(f"{what}: {each['cpu']:.1f} s of processor time, {each['seconds']:.1f} s on the clock\n")
    sys.stderr.write(f"FATE scaled: {peer:.1f} s\n")
    return {
        "ours": row["cpu"],
        "unit": "s a tree",
        "peer": "FATE 2.0 Hetero-SecureBoost, published",
        "peer_value": peer,
        "ratio": row["cpu"] / peer,
        "note": "peer_value is FATE's published 131 s a tree (100,000 rows, 30 and 300 columns, 16 cores at each owner) scaled:"
        " times our share of rows x columns without the label, times 16 for one core; another processor, network and key size",
        "ours_on_shares": shared["cpu"],
        "ratio_on_shares": shared["cpu"] / peer,
        "rows": [{"what": "encrypted", "rows": rows, "columns": SIZE[1:], **row}, {"what": "on shares, 3 parties", **shared}],
    }


def _work(session: Session, owner: Owner) -> Part:
    if owner.key is not None:
        return lead(session, (0, 1), owner.own, owner.names, owner.labels, SETTINGS, owner.key)
    return assist(session, (0, 1), owner.own, owner.names, SETTINGS, BITS)


def _share(session: Session, sharer: Sharer) -> Part | None:
    return sharer.run(session)


def _check(session: Session, owner: Owner, part: Part) -> None:
    """The label's owner has the tree of the pooled columns, but for who brings them."""
    if part.ensemble is None:
        return
    pooled = fit(owner.columns, owner.labels, SETTINGS, [f"c{number}" for number in range(owner.columns.shape[1])])
    assert pooled.ensemble is not None
    for ours, due in zip(part.ensemble.trees[0], pooled.ensemble.trees[0], strict=True):
        if ours != due and not (isinstance(ours, Branch) and isinstance(due, Branch)):
            raise AssertionError("the tree is another than that of the pooled columns")
