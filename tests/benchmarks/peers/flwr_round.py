"""Flower's rounds in its own simulation (Ray workers on this machine), run by the interpreter of Flower's own environment.

``flwr_round.py plain|secagg CLIENTS PARAMETERS ROUNDS`` prints one line of JSON: the seconds of each round after the first, from
the server's call for updates to the end of its aggregation. Clients add a constant to the float32 parameters and do no training.
SecAgg+ runs with five shares, of which three reconstruct.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

os.environ.update(FLWR_TELEMETRY_ENABLED="0", RAY_USAGE_STATS_ENABLED="0", RAY_DISABLE_DOCKER_CPU_WARNING="1")


def main() -> None:
    """Run the rounds."""
    import numpy as np
    from flwr.client import ClientApp, NumPyClient
    from flwr.client.mod import secaggplus_mod
    from flwr.common import ndarrays_to_parameters
    from flwr.server import LegacyContext, ServerApp, ServerConfig
    from flwr.server.strategy import FedAvg
    from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
    from flwr.simulation import run_simulation

    secure, clients, parameters, rounds = sys.argv[1] == "secagg", *map(int, sys.argv[2:5])
    begun: list[float] = []
    ended: list[float] = []

    class Client(NumPyClient):
        def fit(self, parameters: Any, config: Any) -> Any:
            return [each + np.float32(0.01) for each in parameters], 100, {}

    class Timed(FedAvg):
        def configure_fit(self, *given: Any, **named: Any) -> Any:
            begun.append(time.perf_counter())
            return super().configure_fit(*given, **named)

        def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
            if failures:
                raise RuntimeError(f"clients failed: {failures}")
            answer = super().aggregate_fit(server_round, results, failures)
            ended.append(time.perf_counter())
            return answer

    server = ServerApp()

    @server.main()
    def serve(grid: Any, context: Any) -> None:
        strategy = Timed(
            fraction_fit=1.0,
            fraction_evaluate=0.0,
            min_fit_clients=clients,
            min_available_clients=clients,
            initial_parameters=ndarrays_to_parameters([np.zeros(parameters, np.float32)]),
        )
        legacy = LegacyContext(context=context, config=ServerConfig(num_rounds=rounds + 1), strategy=strategy)
        fit = SecAggPlusWorkflow(num_shares=5, reconstruction_threshold=3, max_weight=100) if secure else None
        (DefaultWorkflow(fit_workflow=fit) if fit else DefaultWorkflow())(grid, legacy)

    client = ClientApp(client_fn=lambda _: Client().to_client(), mods=[secaggplus_mod] if secure else [])
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server_app=server, client_app=client, num_supernodes=clients, backend_config=resources)
    seconds = [end - begin for begin, end in zip(begun, ended, strict=True)][1:]
    sys.stdout.write("RESULT " + json.dumps({"seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
