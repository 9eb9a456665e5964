"""Replicated secret sharing for three parties, of which one may deviate: wrong results are found before they are shown."""

from tallystick_node.engines.mpc.malicious.protocol import MaliciousReplicated

__all__ = ["MaliciousReplicated"]
