"""Workloads by name."""

import pytest
from tallystick.protocol.errors import InvalidTask
from tallystick.protocol.task import ADVERSARIES, PROOFS
from tallystick_node.workloads import registry


@pytest.fixture
def fresh():
    registry.workloads.cache_clear()
    yield
    registry.workloads.cache_clear()


def test_each_workload_stands_under_its_name(fresh):
    assert {"statistics", "intersection"} <= set(registry.workloads())
    for name, workload in registry.workloads().items():
        assert registry.workload_named(name) is workload
        assert workload.name == name
        assert set(workload.proofs) <= set(PROOFS)
    assert ADVERSARIES[0] == "semi-honest"


def test_an_unknown_name(fresh):
    with pytest.raises(InvalidTask, match="no workload 'median'") as caught:
        registry.workload_named("median")
    assert "statistics" in caught.value.remedy


def test_packages_add_workloads_but_replace_none(fresh, monkeypatch):
    class Point:
        def __init__(self, name):
            self.name = name

        def load(self):
            return lambda: self

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point("echo"), Point("statistics")])
    assert isinstance(registry.workload_named("echo"), Point)
    assert not isinstance(registry.workload_named("statistics"), Point)
