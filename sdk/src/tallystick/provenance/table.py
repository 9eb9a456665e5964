"""The graph as rows for a table: one for each edge, in the order of the chain."""

from __future__ import annotations

from tallystick.provenance.graph import Graph

COLUMNS = ("block", "from", "relation", "to", "proof")


def rows(graph: Graph) -> list[tuple[str, str, str, str, str]]:
    """Rows under :data:`COLUMNS`."""
    found = []
    for edge in sorted(graph.edges, key=lambda edge: edge.block or 0):
        source, target = graph.nodes[edge.source], graph.nodes[edge.target]
        block = "" if edge.block is None else str(edge.block)
        found.append((block, f"{source.kind} {source.label}", edge.relation, f"{target.kind} {target.label}", str(edge.strength)))
    return found


def caption(graph: Graph) -> str:
    """What state of which chain the answer is true at."""
    return f"true at block {graph.block} ({graph.block_hash}) of chain {graph.chain_id}"


def findings(graph: Graph) -> list[str]:
    """What is not well-formed in the documents behind the graph, a line for each statement or result file."""
    return [
        f"{node.id} is proved, and {node.attributes['finding']}" for node in graph.nodes.values() if "finding" in node.attributes
    ]


def unread(graph: Graph) -> list[str]:
    """What bundles hold that cannot be read and that no digest on chain leads to, a line for each statement that they are about."""
    return [
        f"{node.attributes['unread']}, about {node.id}: ask who made the bundle for another; it says nothing of the task's parties"
        for node in graph.nodes.values()
        if "unread" in node.attributes
    ]
