"""What holds for every test."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# No deadlines: a slow machine, or a kernel that compiles at its first call, is no failure. Timings belong in benchmarks.
settings.register_profile("tallystick", deadline=None)
settings.load_profile("tallystick")


class Together(LoadScopeScheduling):
    """One worker for all of a file, and for all of a folder of integration tests, which share a network of processes."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file.rpartition("/")[0] if "/integration/" in file else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    # In the order of the folders: the networks, which take longest, come before the many small files.
    config.option.loadscopereorder = False
    return Together(config, log)
