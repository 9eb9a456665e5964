"""W3C PROV-JSON (Member Submission, 24 April 2013) of a graph.

Participants are agents, tasks and attempts activities, everything else entities. Edges here go from cause to effect;
PROV's go from effect to cause.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from tallystick.provenance.graph import Edge, Graph, Kind

NAMESPACE = "https://tallystick.network/prov#"
_SECTION = {Kind.PARTICIPANT: "agent", Kind.TASK: "activity", Kind.ATTEMPT: "activity"}
# By what the effect and the cause are: the relation, the effect's role in it, the cause's role in it.
_RELATIONS = {
    ("entity", "entity"): ("wasDerivedFrom", "prov:generatedEntity", "prov:usedEntity"),
    ("entity", "agent"): ("wasAttributedTo", "prov:entity", "prov:agent"),
    ("entity", "activity"): ("wasGeneratedBy", "prov:entity", "prov:activity"),
    ("activity", "entity"): ("used", "prov:activity", "prov:entity"),
    ("activity", "agent"): ("wasAssociatedWith", "prov:activity", "prov:agent"),
    ("activity", "activity"): ("wasInformedBy", "prov:informed", "prov:informant"),
    ("agent", "entity"): ("wasInfluencedBy", "prov:influencee", "prov:influencer"),
}


def document(graph: Graph) -> dict[str, Any]:
    """The PROV-JSON document, ready for ``json``."""
    made: dict[str, Any] = {"prefix": {"ts": NAMESPACE}}
    for node in graph.nodes.values():
        section = _SECTION.get(node.kind, "entity")
        described: dict[str, Any] = {"prov:label": node.label, "prov:type": _qualified(str(node.kind))}
        described |= {f"ts:{name}": value for name, value in sorted(node.attributes.items())}
        if node.block is not None:
            described["ts:block"] = node.block
        if node.at is not None:
            time = dt.datetime.fromtimestamp(node.at, dt.UTC).isoformat()
            described["prov:startTime" if section == "activity" else "ts:time"] = time
        made.setdefault(section, {})[_name(node.id)] = described
    for index, edge in enumerate(graph.edges):
        relation, body = _relation(graph, edge)
        made.setdefault(relation, {})[f"_:e{index}"] = body
    made.setdefault("entity", {})["ts:chain-state"] = {
        "prov:label": "the state of the chain that this document is true at",
        "ts:chain_id": graph.chain_id,
        "ts:block": graph.block,
        "ts:block_hash": graph.block_hash,
    }
    return made


def _relation(graph: Graph, edge: Edge) -> tuple[str, dict[str, Any]]:
    effect, cause = (_SECTION.get(graph.nodes[name].kind, "entity") for name in (edge.target, edge.source))
    relation, role_of_effect, role_of_cause = _RELATIONS[effect, cause]
    body: dict[str, Any] = {
        role_of_effect: _name(edge.target),
        role_of_cause: _name(edge.source),
        "ts:relation": edge.relation,
        "ts:proof": str(edge.strength),
    }
    if edge.block is not None:
        body["ts:block"] = edge.block
    if edge.transaction:
        body["ts:transaction"] = edge.transaction
    return relation, body


def _name(identifier: str) -> str:
    # PROV-JSON names are qualified names: the part after the prefix takes neither colons nor a hash sign.
    return "ts:" + identifier.replace(":", "-").replace("#", "-v")


def _qualified(name: str) -> dict[str, str]:
    return {"$": f"ts:{name}", "type": "prov:QUALIFIED_NAME"}
