"""The messages and services of nodes, generated from ``node.proto`` by ``python -m tallystick.wire.generate``."""
