"""What a node that staked a bond does with a run's course, so that no fault of others, or of its own policy, costs it the bond."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.protocol.errors import ChainUnreachable, PeerFailed
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import PROJECTION_ABSENT, TaskSpec
from tallystick_node.admission.agreements import Agreed
from tallystick_node.runs.engine import Runs
from tallystick_node.settings import Policy
from tallystick_node.store.database import Store
from unit.node.test_agreements import OTHERS, OWN, RUN, WORLD, Ledger, Me, agreed, queued


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'node.db'}")


class Known:
    """What was agreed; asked again, what was agreed meanwhile."""

    def __init__(self, *terms: Agreed | None) -> None:
        self.terms = list(terms)

    def of(self, spec: TaskSpec) -> Agreed | None:
        found = self.terms.pop(0) if len(self.terms) > 1 else self.terms[0]
        if found is None:
            raise ChainUnreachable("no answer", party="http://chain")
        return found


def runs_of(store: Store, *terms: Agreed | None, **policy: Any) -> Any:
    settings = SimpleNamespace(policy=Policy(**policy), results=Path("results"))
    store.create_run(RUN.task, WORLD.spec.to_bytes())
    runs: Any = Runs(settings, store, Ledger(bytes(32)), Me(), None, None, None, "")  # type: ignore[arg-type]
    runs._promises._agreements = Known(*terms)
    runs._me = SimpleNamespace(note=lambda *_, **__: None)
    return runs


SPARING = replace(WORLD.spec, proof=PROJECTION_ABSENT[0], requester=OTHERS[0], receivers=(OTHERS[0],))
SILENT = PeerFailed("sent nothing", party=OTHERS[0], reason=Reason.PEER_SILENT)


@pytest.mark.parametrize(("terms", "reports"), [(agreed(0b001), 1), (agreed(0b110), 0), (None, 1)])
def test_who_leaves_a_run_that_may_end_without_it_is_not_silent(store: Store, terms: Agreed | None, reports: int) -> None:
    assert OWN in SPARING.may_be_absent
    runs = runs_of(store, terms)
    runs._fail(RUN, SPARING, SILENT)
    runs._fail(RUN, SPARING, SILENT)  # again, after a restart
    assert queued(store) == [("Disputes", "tenderReport")] * reports
