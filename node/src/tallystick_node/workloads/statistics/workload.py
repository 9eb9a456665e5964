"""`statistics`: joint statistics over the rows of two or more owners who hold the same columns for different people.

Each owner computes exact moments of its own rows. The pooled size of every group is tested before anything is revealed; then
the moments are added under secret sharing with Pedersen commitments, whose sum the chain checks. Only the receivers learn the
totals, and from them the statistics; nobody learns another owner's moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from tallystick.commitments.ranges import OutOfRange, size_of
from tallystick.protocol.errors import InvalidTask, OutputRefused
from tallystick.protocol.proof.sum_in_range import Contribution
from tallystick.protocol.proof.sum_verified import point_text
from tallystick.protocol.task import SUM_IN_RANGE, SUM_VERIFIED, TaskSpec

from tallystick_node.engines import moments as engine
from tallystick_node.engines.channel import Session
from tallystick_node.engines.moments import Moments, SingularMoments
from tallystick_node.engines.mpc.additive import MAX_LENGTH, secure_sum
from tallystick_node.engines.mpc.threshold import at_least
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost, Outcome, Workload, require_owners_compute
from tallystick_node.workloads.statistics.parameters import Parameters
from tallystick_node.workloads.statistics.part import OwnPart

MAX_PROOF = 96 << 10  # all proof bytes: what nodes of a chain pass on in one transaction is 128 KiB
POINT = 64  # bytes of a commitment


class Statistics(Workload):
    """The workload `statistics`."""

    name = "statistics"
    proofs: tuple[str, ...] = (SUM_VERIFIED, SUM_IN_RANGE)
    kernels: tuple[str, ...] = ("answers",)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a statistics task that can run."""
        parameters = Parameters.parse(spec.parameters)
        require_owners_compute(spec)
        if len(spec.inputs) < 2:
            raise InvalidTask("statistics needs two or more owners", remedy="name a second input")
        if parameters.length > MAX_LENGTH:
            raise InvalidTask(
                f"parameters: the statistics need {parameters.length} sums, more than {MAX_LENGTH}",
                remedy="ask for fewer groups, bins or columns",
            )
        _require_ranges(spec, parameters)
        for part in spec.inputs:
            if set(part.columns) != set(parameters.read):
                raise InvalidTask(
                    "an input's columns are not those that the parameters read",
                    party=part.party,
                    remedy=f"list exactly {', '.join(parameters.read)}",
                )

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """Every owner reads the same columns."""
        return Parameters.parse(spec.parameters).read

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """Privacy against all but one owner who follow the protocol; a wrong sum, share or commitment names its sender."""
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=len(spec.inputs) - 1,
            parties=len(spec.parties),
            computational_bits=100,
            statistical_bits=128,
            trusted=(),
            learns={
                "owner": "for each group whether its pooled size reaches the minimum; nothing else of the others",
                "receiver": "the totals: count, sums and those cross products that the statistics need, for each group; "
                "an owner that receives can subtract its own part from them",
                "public": "the spec, who took part, and commitments that hide their content",
            },
            references=("Pedersen 1991", "Jakobsson and Juels 2000", "docs/explanation/statistics.md"),
        )

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of the last owner, who sends most: its mixed ciphertexts go to every other owner.

        Time goes into four multiplications on secp256k1 for each ciphertext and owner, one owner after the other, and into
        the sum's commitments, which are the dearer the longer the vector is; and where ranges are proved, into each digit.
        """
        parameters = Parameters.parse(spec.parameters)
        owners, peers = len(spec.inputs), len(spec.parties) - 1
        tests, length, others = parameters.tests, parameters.length, owners - 1
        ciphertexts = tests * parameters.minimum_group
        test_bytes = others * (98 + 99 * ciphertexts) + 66 * tests + (peers - others) * tests
        sum_bytes = peers * (225 + 257 * owners) + 32 * (length + 1) * (others + min(len(spec.receivers), peers))
        most = max(rows.values(), default=0)
        width = len(parameters.columns) + 1
        regressors = len(parameters.regression[1]) if parameters.regression else 0
        sizes_and_sums = ciphertexts * owners * 4e-4 + length * (1 + 1.5 * owners) * 1e-3
        range_bytes, range_seconds = 0, 0.0
        if parameters.ranges is not None:
            digits = sum(form.digits for form in parameters.ranges.inputs) + length
            range_bytes, range_seconds = peers * size_of(length, parameters.ranges.inputs), digits * (2 + owners) * 4e-3
        equations = len(parameters.groups) * regressors**4 * 1.2e-6  # a receiver solves them in exact fractions
        return Cost(
            bytes_sent=test_bytes + sum_bytes + range_bytes,
            rounds=6 + owners + (parameters.ranges is not None),
            seconds=1.5 + most * width * width * 2e-9 + sizes_and_sums + range_seconds + equations,
            memory_bytes=150_000_000 + most * max(width * 24, 60 + 20 * len(parameters.histograms)) + ciphertexts * 1000,
        )

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one party's side. Raises OutputRefused when a group, or a bin of a histogram, is too small, or tells of few rows of
        this party together with an earlier answer."""
        parameters = Parameters.parse(spec.parameters)
        inputs = [spec.parties.index(part.party) for part in spec.inputs]
        receivers = [spec.parties.index(account) for account in spec.receivers]
        part = None if table is None else OwnPart(spec, party, parameters, table, session)
        session.mark("sizes")
        tests, context = parameters.tests, session.context
        large = at_least(
            session,
            None if part is None else part.count,
            groups=tests,
            threshold=parameters.minimum_group,
            inputs=inputs,
            context=context,
        )
        if not all(large):
            raise OutputRefused(
                f"group or bin {large.index(False)} has fewer than {parameters.minimum_group} rows in all",
                remedy="ask for fewer groups, wider bins or a wider filter",
            )
        session.mark("sum")
        try:
            outcome = secure_sum(
                session,
                None if part is None else part.vector,
                length=parameters.length,
                inputs=inputs,
                receivers=receivers,
                context=context,
                ranges=parameters.ranges,
                ready=None if part is None else part.remember,  # only now: every owner's rule has passed
            )
        except OutOfRange:
            raise OutputRefused(
                f"the owners committed to fewer than {parameters.minimum_group} rows of a group or bin, and its size test passed",
                remedy="an owner answered the size test falsely: no result is given out, and none is signed",
            ) from None
        commitments = [point_text(point) if i in inputs else "" for i, point in enumerate(outcome.commitments)]
        own = commitments[session.index]
        contribution = ""
        if parameters.ranges is not None:
            contribution = Contribution(parameters.ranges.to_bytes(), outcome.range_proof, outcome.total_range_proof).to_text()
        if outcome.totals is None:
            return Outcome(commitment=own, all_commitments=commitments, contribution=contribution)
        return Outcome(
            commitment=own,
            all_commitments=commitments,
            contribution=contribution,
            result=self._finalise(parameters, outcome.totals),
            opening={"totals": [str(total) for total in outcome.totals], "blinding": str(outcome.blinding)},
        )

    # -- a receiver's part

    def _finalise(self, parameters: Parameters, totals: Sequence[int]) -> dict[str, Any]:
        width = len(parameters.columns)
        position = 0
        answer = []
        for group in parameters.groups:
            whole = [0] * engine.vector_length(width)
            for place in parameters.needed:
                whole[place] = totals[position]
                position += 1
            found = engine.moments_of_vector(whole, width)
            values = self._statistics(parameters, found)
            histograms = []
            for histogram in parameters.histograms:
                size = len(histogram.edges) - 1
                counts = list(totals[position : position + size])
                position += size
                histograms.append({"column": histogram.column, "edges": list(histogram.edges), "counts": counts})
            if histograms:
                values["histograms"] = histograms
            if parameters.group_by:
                values["group"] = group
            answer.append(values)
        return {"groups": answer, "ddof": parameters.ddof}

    def _statistics(self, parameters: Parameters, found: Moments) -> dict[str, Any]:
        names, scales = parameters.names, list(parameters.columns.values())
        places = range(len(names))
        values: dict[str, Any] = {}
        wanted = set(parameters.compute)
        if "count" in wanted:
            values["count"] = found.count
        if "sum" in wanted:
            values["sum"] = {names[i]: f"{Decimal(f'{found.sums[i]}E-{scales[i]}'):f}" for i in places}
        if "mean" in wanted:
            values["mean"] = {names[i]: _text(engine.mean, found, i, scales[i]) for i in places}
        if "variance" in wanted:
            values["variance"] = {
                names[i]: _text(engine.covariance, found, i, i, scales[i], scales[i], parameters.ddof) for i in places
            }
        if "std" in wanted:
            values["std"] = {names[i]: _text(engine.deviation, found, i, scales[i], parameters.ddof) for i in places}
        if "covariance" in wanted:
            values["covariance"] = [
                [_text(engine.covariance, found, i, j, scales[i], scales[j], parameters.ddof) for j in places] for i in places
            ]
        if "correlation" in wanted:
            values["correlation"] = [[_text(engine.correlation, found, i, j) for j in places] for i in places]
        if parameters.regression:
            values["regression"] = self._regression(parameters, found, scales)
        return values

    def _regression(self, parameters: Parameters, found: Moments, scales: Sequence[int]) -> dict[str, Any]:
        assert parameters.regression is not None
        target, regressors = parameters.regression
        positions = [parameters.names.index(name) for name in regressors]
        try:
            fit = engine.least_squares(found, parameters.names.index(target), positions, scales)
        except SingularMoments as error:
            return {"undefined": str(error)}
        return {
            "target": target,
            "intercept": repr(fit.intercept),
            "coefficients": dict(zip(regressors, map(repr, fit.coefficients), strict=True)),
            "r_squared": None if fit.r_squared is None else repr(fit.r_squared),
            "residual_std": None if fit.residual_deviation is None else repr(fit.residual_deviation),
        }


def _text(statistic: Any, *arguments: Any) -> str | None:
    """The shortest text of the correctly rounded value, or None where the statistic does not exist."""
    try:
        return repr(statistic(*arguments))
    except SingularMoments:
        return None


def _require_ranges(spec: TaskSpec, parameters: Parameters) -> None:
    """Bounds go with range proofs, which fit into a transaction."""
    if (spec.proof == SUM_IN_RANGE) != (parameters.ranges is not None):
        raise InvalidTask(f"parameters.bounds belong to the proof {SUM_IN_RANGE}", remedy="give both or neither")
    if parameters.ranges is None:
        return
    shape = parameters.ranges
    size = len(shape.to_bytes()) + POINT * (len(spec.parties) + 1)
    size += len(spec.inputs) * size_of(shape.entries, shape.inputs) + size_of(shape.entries, shape.total)
    if size > MAX_PROOF:
        raise InvalidTask(
            f"the range proofs of {len(spec.inputs)} owners, with what they say, take {size} bytes, more than {MAX_PROOF}",
            remedy="ask for fewer columns, groups or bins, or for narrower bounds",
        )
