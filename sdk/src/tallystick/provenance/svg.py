"""A self-contained SVG drawing of a graph: five columns from participants to results, edges coloured by their proof.

Certificates stand in their participant's card, attempts in their task's, statements in their result's. Only edges
between neighbouring columns are drawn; who asked and who received stands in the cards, so no line crosses a column.
Labels come from certificates and bundles and are hostile: control characters go, text is cut and escaped.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from tallystick.provenance.graph import Graph, Kind, Node, Strength
from tallystick.provenance.table import caption

WIDTH = 1200
CARD = 188
GAP_Y = 16
LINE = 16
TOP = 132
TITLES = ("Participants", "Datasets", "Grants", "Tasks", "Results")
STROKES = {
    Strength.SUM_VERIFIED: ("#0a7d4b", "2.6", "", "sum verified by the chain"),
    Strength.SIGNED_BY_ALL: ("#1f5fbf", "2.2", "", "signed by all parties, checked by the chain"),
    Strength.CHAIN: ("#5b6270", "1.4", "", "recorded by a contract"),
    Strength.DOCUMENT: ("#b0661c", "1.6", "5 4", "document whose digest is on chain"),
}
FILLS = (
    ("#eef3fb", "#2f5d9e"),
    ("#eef7f1", "#2d7a50"),
    ("#fbf5e9", "#98701c"),
    ("#f4effa", "#6a4a9c"),
    ("#fdeff0", "#a4404d"),
)
_COLUMN = {Kind.PARTICIPANT: 0, Kind.DATASET: 1, Kind.GRANT: 2, Kind.TASK: 3, Kind.STATEMENT: 4}


@dataclass
class _Card:
    column: int
    title: str
    lines: list[str] = field(default_factory=list)
    order: float = 0.0
    y: float = 0.0

    @property
    def height(self) -> int:
        return 34 + LINE * len(self.lines)


def draw(graph: Graph, title: str = "Provenance") -> str:
    """The drawing, a complete SVG document of width 1200, dark on light."""
    home, cards = _cards(graph)
    links = _links(graph, home, cards)
    _arrange(cards, links)
    height = int(max([card.y + card.height for card in cards.values()], default=TOP + 40)) + 40
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            'role="img" font-family="Inter, Helvetica, Arial, \'DejaVu Sans\', sans-serif">'
        ),
        f"<title>{_text(title, 200)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="24" y="36" font-size="20" font-weight="600" fill="#1b1f27">{_text(title, 90)}</text>',
        f'<text x="24" y="58" font-size="12" fill="#5b6270">{_text(caption(graph), 150)}</text>',
        *_legend(),
    ]
    for index, name in enumerate(TITLES):
        parts.append(
            f'<text x="{_x(index)}" y="{TOP - 14}" font-size="12" font-weight="600" letter-spacing="0.6" '
            f'fill="{FILLS[index][1]}">{name.upper()}</text>'
        )
    parts += [_curve(cards[source], cards[target], strength) for (source, target), strength in links.items()]
    parts += [_box(card) for card in cards.values()]
    return "\n".join([*parts, "</svg>", ""])


def _cards(graph: Graph) -> tuple[dict[str, str], dict[str, _Card]]:
    """The card that each node is shown in, and the cards."""
    home: dict[str, str] = {}
    cards: dict[str, _Card] = {}
    for node in graph.nodes.values():
        if node.kind in _COLUMN:
            home[node.id] = node.id
            cards[node.id] = _Card(_COLUMN[node.kind], _title(node), _lines(graph, node))
    for edge in graph.edges:
        inner = graph.nodes[edge.target if edge.source in cards else edge.source]
        outer = edge.source if inner.id == edge.target else edge.target
        nested = {
            Kind.CERTIFICATE: Kind.PARTICIPANT, Kind.ATTEMPT: Kind.TASK, Kind.RESULT: Kind.STATEMENT
        }.get(inner.kind)  # fmt: skip
        if nested is None or outer not in cards or graph.nodes[outer].kind is not nested:
            continue
        home[inner.id] = outer
        cards[outer].lines += _nested_lines(graph, inner)
    for node in graph.nodes.values():
        if node.id not in home:  # its card is not part of this answer: it stands for itself
            column = {Kind.CERTIFICATE: 0, Kind.ATTEMPT: 3, Kind.RESULT: 4}[node.kind]
            home[node.id] = node.id
            cards[node.id] = _Card(column, f"{node.kind} {node.label}")
    return home, cards


def _title(node: Node) -> str:
    if node.kind is Kind.PARTICIPANT:
        return node.label
    if node.kind is Kind.DATASET:
        return f"{node.label}  v{node.attributes['version']}"
    return node.label


def _lines(graph: Graph, node: Node) -> list[str]:
    had = node.attributes
    if node.kind is Kind.PARTICIPANT:
        return [*([had["roles"]] if "roles" in had else []), *([had["status"]] if had["status"] != "active" else [])]
    if node.kind is Kind.DATASET:
        return [f"withdrawn at block {had['withdrawn_at_block']}"] if "withdrawn_at_block" in had else []
    if node.kind is Kind.GRANT:
        lines = [f"for {_who(graph, had['grantee'])}", f"used {had['used']} of {had['uses']}"]
        lines += [had["purpose"]] if "purpose" in had else []
        return lines + ([f"revoked at block {had['revoked_at_block']}"] if "revoked_at_block" in had else [])
    if node.kind is Kind.TASK:
        lines = [f"{had['workload']}: {had['purpose']}"] if "purpose" in had else []
        return [*lines, f"asked by {_who(graph, had['requester'])}", had["state"]]
    return [had["proof"]]


def _nested_lines(graph: Graph, node: Node) -> list[str]:
    if node.kind is Kind.CERTIFICATE:
        return [f"certificate {node.label}"]
    if node.kind is Kind.ATTEMPT:
        return [f"{node.label}: {node.attributes.get('state', 'accepting')}"]
    return [f"file {node.label.removeprefix('sha256:')}", f"to {_who(graph, node.attributes['receiver'])} (document)"]


def _who(graph: Graph, account: str) -> str:
    node = graph.nodes.get(f"{Kind.PARTICIPANT}:{account}")
    return node.label if node else f"{account[:8]}…{account[-4:]}"


def _links(graph: Graph, home: dict[str, str], cards: dict[str, _Card]) -> dict[tuple[str, str], Strength]:
    """Edges between cards of neighbouring columns, each with the strongest proof among the edges it stands for."""
    rank = list(Strength)
    links: dict[tuple[str, str], Strength] = {}
    for edge in graph.edges:
        if edge.relation == "is the grantee of":  # said in the grant's card
            continue
        pair = (home[edge.source], home[edge.target])
        if cards[pair[1]].column - cards[pair[0]].column != 1:
            continue
        known = links.get(pair)
        if known is None or rank.index(edge.strength) < rank.index(known):
            links[pair] = edge.strength
    return links


def _arrange(cards: dict[str, _Card], links: dict[tuple[str, str], Strength]) -> None:
    """Order each column by the mean position of its neighbours (barycentre heuristic), then stack and centre it."""
    columns = [[name for name, card in cards.items() if card.column == index] for index in range(len(TITLES))]
    for column in columns:
        for position, name in enumerate(column):
            cards[name].order = position / max(1, len(column))
    for _ in range(4):
        for column in (*columns, *reversed(columns)):
            for name in column:
                near = [cards[b if a == name else a].order for a, b in links if name in (a, b)]
                cards[name].order = sum(near) / len(near) if near else cards[name].order
            column.sort(key=lambda name: cards[name].order)
            for position, name in enumerate(column):
                cards[name].order = (position + 0.5) / len(column)
    heights = [sum(cards[name].height + GAP_Y for name in column) for column in columns]
    for column, used in zip(columns, heights, strict=True):
        y = TOP + (max(heights) - used) / 2
        for name in column:
            cards[name].y = y
            y += cards[name].height + GAP_Y


def _x(column: int) -> int:
    return 24 + column * (WIDTH - 48 - CARD) // (len(TITLES) - 1)


def _curve(source: _Card, target: _Card, strength: Strength) -> str:
    colour, width, dash, _ = STROKES[strength]
    x1, y1 = _x(source.column) + CARD, source.y + source.height / 2
    x2, y2 = _x(target.column), target.y + target.height / 2
    middle = (x1 + x2) / 2
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="M{x1} {y1:.1f} C{middle} {y1:.1f} {middle} {y2:.1f} {x2} {y2:.1f}" fill="none" '
        f'stroke="{colour}" stroke-width="{width}"{dashed}/>'
    )


def _box(card: _Card) -> str:
    x, (fill, stroke) = _x(card.column), FILLS[card.column]
    lines = [
        (
            f'<rect x="{x}" y="{card.y:.1f}" width="{CARD}" height="{card.height}" rx="6" fill="{fill}" '
            f'stroke="{stroke}" stroke-width="1.2"/>'
        ),
        (
            f'<text x="{x + 10}" y="{card.y + 21:.1f}" font-size="13" font-weight="600" fill="#1b1f27">'
            f"{_text(card.title, 22)}</text>"
        ),
    ]
    for index, line in enumerate(card.lines):
        y = card.y + 38 + LINE * index
        lines.append(f'<text x="{x + 10}" y="{y:.1f}" font-size="11" fill="#444b58">{_text(line, 29)}</text>')
    return "\n".join(lines)


def _legend() -> list[str]:
    parts, x = [], 24
    for colour, width, dash, words in STROKES.values():
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<path d="M{x} 82 h28" stroke="{colour}" stroke-width="{width}"{dashed}/>')
        parts.append(f'<text x="{x + 34}" y="86" font-size="11" fill="#444b58">{words}</text>')
        x += 60 + 6 * len(words)
    return parts


def _text(value: str, most: int) -> str:
    """XML text of at most ``most`` characters, without control, surrogate, unassigned or bidirectional controls."""
    clean = "".join(character if unicodedata.category(character)[0] != "C" else "�" for character in value)
    cut = clean if len(clean) <= most else clean[: most - 1] + "…"
    return escape(cut, {'"': "&quot;"})
