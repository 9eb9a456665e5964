"""Multi-party computation: verifiable sums, and the size test that guards them."""
