"""Federated learning by owners of the same columns."""
