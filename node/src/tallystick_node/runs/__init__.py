"""Runs: their life from a submitted spec to a proof on chain, and the worker processes that compute."""
