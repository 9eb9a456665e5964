"""Fixtures: a synthetic network, once for each proof kind and once for the kind that most tests need."""

from __future__ import annotations

import pytest
from unit.protocol.world import World, make


@pytest.fixture(
    params=["sum-verified", "signed-by-all", "projection-verified", "projection-verified-absent-1", "attested-simulated"]
)
def any_world(request: pytest.FixtureRequest) -> World:
    return make(request.param)


@pytest.fixture
def world() -> World:
    return make()
