"""Homomorphic commitments in the group that the chain's precompiles know: pure arithmetic, importing nothing of
ours."""
