"""Replicated secret sharing over Z_2^64 for three parties, honest majority, semi-honest."""

from tallystick_node.engines.mpc.replicated.protocol import Replicated

__all__ = ["Replicated"]
