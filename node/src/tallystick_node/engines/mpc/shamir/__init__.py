"""Shamir's secret sharing with a threshold: products, error correction, moving shares to other parties, recovering lost ones."""
