"""A few cases of each target of the fuzzer, always the same: for many, run `python -m property.fuzz_evidence`."""

from __future__ import annotations

from property.fuzz_evidence import fuzz


def test_hostile_evidence_is_accepted_or_refused_and_nothing_else() -> None:
    counts, _ = fuzz(800, seed=7)
    verdicts = {verdict for _, verdict in counts}
    assert (sum(counts.values()), verdicts) == (800, {"accepted", "refused"})
