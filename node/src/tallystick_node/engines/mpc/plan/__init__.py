"""Computations as documents: what is computed on whose inputs and shown to whom, traced once, hashed, foretold and run."""
