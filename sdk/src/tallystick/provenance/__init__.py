"""Who used what, for whom, under which grant, and what stands behind each step: rebuilt from the chain's events.

Bundles only add names to what the chain holds digests of; a document whose digest is not on chain is refused.
"""

from tallystick.provenance.build import build
from tallystick.provenance.graph import Edge, Graph, Kind, Node, Strength

__all__ = ["Edge", "Graph", "Kind", "Node", "Strength", "build"]
