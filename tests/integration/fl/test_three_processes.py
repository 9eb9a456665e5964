"""The code of a simulation as three processes over mutual TLS, under the secure and verified sum: the same model, to the bit."""

from __future__ import annotations

from functools import partial

import pytest
from benchmarks.parties import measure
from integration.fl.training import FEDERATION, compare, people, prepare, train
from tallystick_node.engines.fl.simulation import Simulation


@pytest.mark.slow
def test_three_processes_train_the_model_of_the_simulation() -> None:
    simulated = FEDERATION.run(Simulation(people()))
    assert measure(3, prepare, train, 1, partial(compare, simulated.digest)).messages > 0
