"""`linked-statistics`: statistics over the join of two owners' tables, which shows neither the join nor who is in it.

Each owner has columns beside its keys. Nobody learns which keys match. How many do is compared with the minimum in shares; only if
every group reaches it do the receivers learn its count and the sums that the statistics follow from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines import moments as engine
from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.moments import Moments, SingularMoments
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.plan.roles import named, subset
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.psi import circuit
from tallystick_node.engines.psi.circuit_bins import MAX_ITEMS, number_of_bins
from tallystick_node.engines.psi.circuit_totals import enough
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost, Outcome, Workload, require_owners_compute
from tallystick_node.workloads.keys import commit, distinct
from tallystick_node.workloads.linked.parameters import Parameters
from tallystick_node.workloads.linked.totals import NoTotals, Totals, crossed_bytes, moments_of, totals_length, words_of

BEGIN = 500_000  # bytes that a party sends at most before the join and after the totals: base transfers, a key, first correlations


_LARGER = "use a larger dataset, or ask for fewer groups"


class LinkedStatistics(Workload):
    """The workload `linked-statistics`."""

    name = "linked-statistics"
    proofs: tuple[str, ...] = ("signed-by-all",)
    kernels: tuple[str, ...] = ("intersection", "two-party", "hidden-join")

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec joins two owners."""
        parameters = Parameters.parse(spec.parameters)
        require_owners_compute(spec)
        owners = [part.party for part in spec.inputs]
        if len(owners) != 2 or set(parameters.keys) != set(owners):
            raise InvalidTask("a join has two owners, each with its key columns", remedy="name both in keys")
        for part in spec.inputs:
            if set(part.columns) != set(parameters.read(part.party)):
                raise InvalidTask("an input's columns are not those that the parameters read", party=part.party)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The party's key columns, the columns that are computed with, and that of the groups."""
        return Parameters.parse(spec.parameters).read(party)

    def compared(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The other: whoever receives, both learn whether enough keys match."""
        return [part.party for part in spec.inputs if part.party != party]

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """Secure against one owner who follows the protocol."""
        engine_says = ObliviousAdditive.security(2)
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=1,
            parties=len(spec.parties),
            computational_bits=engine_says.computational_bits,
            statistical_bits=engine_says.statistical_bits,
            trusted=(),
            learns={
                "owner": "how many distinct keys the other owner has, and for each group whether the minimum of keys match: "
                "not which",
                "receiver": "for each group how many keys match, and the sums and those sums of products over them that the "
                "statistics need; an owner that receives can subtract what it knows of its own rows",
                "public": "the spec and who took part",
            },
            references=(
                "Pinkas, Schneider, Tkachenko and Yanai, EUROCRYPT 2019; Rindal and Schoppmann, EUROCRYPT 2021: circuit PSI",
                "Raghuraman and Rindal, CCS 2022: dual learning parity with regular noise",
                *engine_says.references,
            ),
        )

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of the owner who sends more, if every row has a key of its own."""
        parameters = Parameters.parse(spec.parameters)
        first, second = _owners(spec)
        sizes = max(1, rows.get(first, 0)), max(1, rows.get(second, 0))
        widths = parameters.width(first), parameters.width(second)
        bins = number_of_bins(min(sizes))
        joining = circuit.bytes_sent(sizes, widths)
        crossing = crossed_bytes(parameters, (first, second), bins)
        words = sum(widths)
        return Cost(
            bytes_sent=BEGIN + max(a + b for a, b in zip(joining, crossing, strict=True)),
            rounds=45,
            seconds=2.5 + 6e-6 * sum(sizes) + bins * (1.5e-5 + 1e-6 * words) + 1.5e-8 * sum(crossing),
            memory_bytes=250_000_000 + 120 * (2 + words) * max(sizes),
        )

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one party's side. Raises OutputRefused when this owner has fewer keys than the minimum, or fewer match."""
        parameters = Parameters.parse(spec.parameters)
        owners = [spec.parties.index(owner) for owner in _owners(spec)]
        unknown = [""] * len(spec.parties)  # each owner's commitment is its own word: the run does not show it to others
        if table is None:
            return Outcome(commitment="", all_commitments=unknown, result=_received(parameters, session, owners))
        session.progress("preparing the rows", 0.05)
        table = _complete(table)
        items, first = distinct(parameters.rules, table.select(list(parameters.keys[party])))
        if len(items) < parameters.minimum_group:
            raise OutputRefused(f"an owner has fewer than {parameters.minimum_group} distinct keys", remedy=_LARGER)
        if len(items) > MAX_ITEMS:
            raise InvalidData(f"more than {MAX_ITEMS} distinct keys", remedy="use a smaller dataset")
        if not circuit.fits(len(items), parameters.width(party)):
            raise InvalidData(
                f"{len(items)} keys with {parameters.width(party)} words each are too many together",
                remedy="ask for fewer groups or columns, say fewer bits, or use a smaller dataset",
            )
        words = words_of(parameters, party, table.take(pa.array(first)))
        commitment, opening = commit(items, words.tobytes())
        (scratch / "opening.json").write_text(json.dumps(opening))
        session.mark("link")
        found, most = self._linked(spec, parameters, items, words, session)
        if found is None:
            return Outcome(commitment=commitment, all_commitments=unknown)
        try:
            moments = moments_of(parameters, found, most)
        except NoTotals as error:
            other = next(owner for owner in owners if owner != session.index)
            raise ProtocolViolation(other, "totals", str(error)) from None
        return Outcome(commitment=commitment, all_commitments=unknown, result=_described(parameters, moments))

    def _linked(
        self, spec: TaskSpec, parameters: Parameters, items: Items, words: Ring, session: Session
    ) -> tuple[Ring | None, int]:
        """Join and compute, between the owners; the totals where this one receives, and how many keys can match."""
        owners = _owners(spec)
        pair = [spec.parties.index(each) for each in owners]
        outside = [spec.parties.index(each) for each in spec.receivers if each not in owners]
        widths = parameters.width(owners[0]), parameters.width(owners[1])
        with named(pair):
            protocol = ObliviousAdditive(subset(session, pair))
            joined = circuit.join(protocol, items, words, widths=widths, context=session.context)
            totals = Totals.of(protocol, parameters, owners, joined)
            large = enough(protocol, totals.counts, parameters.minimum_group)
        for receiver in outside:
            session.channels[receiver].mark("minimum")
            send_array(session, receiver, large.astype(np.uint8))
        _require_enough(parameters, large)
        with named(pair):
            packed = totals.packed(protocol, parameters)
            found = protocol.reveal(packed, [owners.index(each) for each in spec.receivers if each in owners])
        for receiver in outside:
            session.channels[receiver].mark("totals")
            send_array(session, receiver, protocol.disclose(packed)[0])
        return found, min(len(items), joined.peer_items)


def _owners(spec: TaskSpec) -> tuple[str, str]:
    """Both owners, in the order of the task's parties."""
    first, second = sorted((part.party for part in spec.inputs), key=spec.parties.index)
    return first, second


def _require_enough(parameters: Parameters, large: NDArray[np.bool_]) -> None:
    if not large.all():
        group = f" of group {parameters.groups[large.argmin()]!r}" if parameters.group_by else ""
        raise OutputRefused(f"fewer than {parameters.minimum_group} keys{group} match", remedy=_LARGER)


def _received(parameters: Parameters, session: Session, owners: Sequence[int]) -> dict[str, Any]:
    """What a receiver without data is told by both owners, which must agree on what they both know."""
    session.mark("link")
    told, parts = [], []
    for owner in owners:
        session.channels[owner].mark("minimum")
        session.patience(owner)
        told.append(receive_array(session, owner, (len(parameters.groups),), "minimum", np.uint8))
        if told[-1].max() > 1 or not np.array_equal(told[-1], told[0]):
            raise ProtocolViolation(owner, "minimum", "its answer is not one bit for each group, or not the other owner's")
    _require_enough(parameters, told[0] == 1)
    for owner in owners:
        session.channels[owner].mark("totals")
        session.patience(owner)
        parts.append((receive_array(session, owner, (totals_length(parameters),), "totals"),))
    try:
        return _described(parameters, moments_of(parameters, ObliviousAdditive.combine(parts), MAX_ITEMS))
    except NoTotals as error:
        raise InvalidData(str(error), remedy="one of the owners did not follow the protocol: ask for the task again") from None


def _complete(table: pa.Table) -> pa.Table:
    """The rows without an empty cell, as `statistics` leaves others out."""
    mask = None
    for column in table.columns:
        present = pc.is_valid(column)
        mask = present if mask is None else pc.and_(mask, present)
    return table.filter(mask)


def _described(parameters: Parameters, found: Sequence[Moments]) -> dict[str, Any]:
    groups = [_statistics(parameters, each) for each in found]
    if parameters.group_by:
        groups = [{"group": name, **values} for name, values in zip(parameters.groups, groups, strict=True)]
    return {"groups": groups, "ddof": parameters.ddof}


def _statistics(parameters: Parameters, found: Moments) -> dict[str, Any]:
    """As the result of `statistics`, but that a column is named with its owner."""
    scales, ddof, wanted = [each.scale for each in parameters.columns], parameters.ddof, set(parameters.compute)
    places = range(len(scales))
    values: dict[str, Any] = {"count": found.count}
    single: dict[str, Callable[[int], str | None]] = {
        "sum": lambda i: f"{Decimal(f'{found.sums[i]}E-{scales[i]}'):f}",
        "mean": lambda i: _text(engine.mean, found, i, scales[i]),
        "variance": lambda i: _text(engine.covariance, found, i, i, scales[i], scales[i], ddof),
        "std": lambda i: _text(engine.deviation, found, i, scales[i], ddof),
    }
    if parameters.columns:
        values["columns"] = [
            {"party": each.party, "column": each.column, **{name: make(i) for name, make in single.items() if name in wanted}}
            for i, each in enumerate(parameters.columns)
        ]
    if "covariance" in wanted:
        values["covariance"] = [[_text(engine.covariance, found, i, j, scales[i], scales[j], ddof) for j in places] for i in places]
    if "correlation" in wanted:
        values["correlation"] = [[_text(engine.correlation, found, i, j) for j in places] for i in places]
    return values


def _text(statistic: Any, *arguments: Any) -> str | None:
    """The shortest text of the correctly rounded value, or None where the statistic does not exist."""
    try:
        return repr(statistic(*arguments))
    except SingularMoments:
        return None
