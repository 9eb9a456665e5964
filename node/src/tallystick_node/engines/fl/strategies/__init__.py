"""Strategies: from the global model and the sum of the clients' changes to the next global model.

They differ in what they ask of a client (a proximal term, a correction of its gradients) and in what they do with the mean change.
"""

from tallystick_node.engines.fl.strategies.adaptive import FedAdam, FedYogi
from tallystick_node.engines.fl.strategies.averaging import FedAvg, FedProx
from tallystick_node.engines.fl.strategies.base import State, Strategy
from tallystick_node.engines.fl.strategies.scaffold import Scaffold

__all__ = ["FedAdam", "FedAvg", "FedProx", "FedYogi", "Scaffold", "State", "Strategy"]
