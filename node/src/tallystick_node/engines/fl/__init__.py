"""Federated learning: one loop of rounds, written once, over learners, strategies and ways to add the clients' vectors."""
