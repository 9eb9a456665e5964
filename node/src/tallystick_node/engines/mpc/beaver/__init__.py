"""Additive secret sharing over Z_2^64 with correlated randomness: from oblivious transfer and lattices, or from a named dealer."""
