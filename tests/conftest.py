"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# No deadlines: a slow machine, or a kernel that compiles at its first call, is no failure. Timings belong in benchmarks.
# The same examples in each run, so that no change is refused for what another did: `--hypothesis-profile=default` draws new ones.
settings.register_profile("tallystick", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tallystick")


class Together(LoadScopeScheduling):
    """One worker for all of a file, and for all of a folder of integration tests, which share a network of processes."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file.rpartition("/")[0] if "/integration/" in file else file

    def remove_node(self, node: WorkerController) -> str | None:
        """What a dead worker had left goes to others, without the test that killed it.

        The base class gives back units that are done and the deadly test itself: the next worker waits for ever, or dies too.
        """
        units = self.assigned_work.pop(node)
        left = [test for unit in units.values() for test, done in unit.items() if not done]
        for test in left[1:]:
            self.workqueue.setdefault(self._split_scope(test), {})[test] = False
        for other in self.assigned_work:
            self._reschedule(other)
        return left[0] if left else None

    def _reschedule(self, node: WorkerController) -> None:
        if node not in self.registered_collections:
            return  # one that takes the place of a dead worker, and is still reading the tests
        super()._reschedule(node)
        # A worker runs a test when it knows the next one or that there is none: one alone would wait.
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What commands keep of chains for the next one stays with these tests: chains that start in one second share it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """A test that runs a program in its own process leaves no other test's lines to a stream that is closed."""
    yield
    structlog.reset_defaults()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    # In the order of the folders: the networks, which take longest, come before the many small files.
    config.option.loadscopereorder = False
    return Together(config, log)
