"""Homomorphic encryption: Paillier for exact sums of integers, CKKS for approximate sums and products of real vectors."""
